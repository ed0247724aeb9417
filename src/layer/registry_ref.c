/*
 * layer/registry_ref.c: the names that images have in registries (OCI distribution specification, "Pulling manifests").
 */
#include "layer/digest.h"
#include "layer/registry.h"

#define SCHEME "docker://"

#define LOWER  "abcdefghijklmnopqrstuvwxyz"
#define DIGITS "0123456789"

bool registry_is_ref(const char *text)
{
    size_t len = strcspn(text, "/");

    if (str_starts(text, SCHEME))
        return true;
    if (!len || !text[len] || text[0] == '.')
        return false;
    return memchr(text, '.', len) || memchr(text, ':', len) ||
           (len == strlen("localhost") && str_starts(text, "localhost"));
}

/* HOST or HOST:PORT; "[::1]:5000" too. */
static bool host_ok(const char *host)
{
    size_t n = host[0] == '[' ? strcspn(host, "]") + 1 : strcspn(host, ":");
    u64 port;

    if (host[0] == '[') {
        if (n > strlen(host) || strspn(host + 1, DIGITS "abcdefABCDEF:.") != n - 2)
            return false;
    } else if (!n || strspn(host, LOWER "ABCDEFGHIJKLMNOPQRSTUVWXYZ" DIGITS ".-") < n) {
        return false;
    }
    if (!host[n])
        return true;
    return host[n] == ':' && str_u64(host + n + 1, &port) == 0 && port > 0 && port < 65536 &&
           strspn(host + n + 1, DIGITS) == strlen(host + n + 1);
}

/* Parts of small letters and digits, with '.', '_', '-' between those. */
static bool name_ok(const char *name)
{
    const char *at = name;

    for (;;) {
        size_t len = strcspn(at, "/");

        if (!len || strspn(at, LOWER DIGITS "._-") < len || strchr("._-", at[0]) ||
            strchr("._-", at[len - 1]))
            return false;
        if (!at[len])
            return true;
        at += len + 1;
    }
}

static bool tag_ok(const char *tag)
{
    const size_t len = strlen(tag);

    return len && len <= 128 && tag[0] != '.' && tag[0] != '-' &&
           strspn(tag, LOWER "ABCDEFGHIJKLMNOPQRSTUVWXYZ" DIGITS "._-") == len;
}

int registry_parse(const char *text, struct registry_ref *ret, struct err *e)
{
    const char *at = str_starts(text, SCHEME) ? text + strlen(SCHEME) : text;
    const size_t host = strcspn(at, "/");
    char rest[600], *want;

    *ret = (struct registry_ref){};
    if (!at[host] || !str_copy(rest, sizeof(rest), at + host + 1) || host >= sizeof(ret->host))
        return err_set(e, -EINVAL, "'%.80s': HOST/NAME:TAG is expected", text);
    memcpy(ret->host, at, host);
    want = strchr(rest, '@');
    if (!want)
        want = strchr(rest, ':');
    if (want && *want == '@' && !digest_ok(want + 1))
        return err_set(e, -EINVAL, "'%.80s': @sha256: and 64 digits are expected", text);
    if (want && *want == ':' && !tag_ok(want + 1))
        return err_set(e, -EINVAL, "'%.80s': a tag has at most 128 letters, digits, '.', '_', '-'",
                       text);
    str_copy(ret->want, sizeof(ret->want), want ? want + 1 : "latest");
    if (want)
        *want = 0;
    if (!host_ok(ret->host) || !name_ok(rest) || !str_copy(ret->name, sizeof(ret->name), rest))
        return err_set(e, -EINVAL, "'%.80s': HOST/NAME is expected, in small letters", text);
    return 0;
}
