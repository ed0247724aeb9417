/*
 * layer/registry_http.c: requests to a registry, by libcurl.
 * A registry that answers 401 says what it wants: "Bearer" and where a token is to be had, or "Basic".
 */
#include "layer/registry_http.h"

#include "conf/conf.h"
#include "layer/http.h"

#include <curl/curl.h>
#include <poll.h>
#include <stdlib.h>
#include <strings.h>
#include <unistd.h>

enum { CHALLENGE_MAX = 4096 };

struct registry_http {
    const struct registry_cfg *cfg;
    CURL *curl;
    bool plain; /* HTTP is allowed */
    bool basic; /* the registry asked for a password */
    char *token;
    char challenge[CHALLENGE_MAX]; /* of the last answer; "" */
    char error[CURL_ERROR_SIZE];
};

static bool is_here(const char *host)
{
    static const char *const names[] = { "localhost", "127.0.0.1", "[::1]" };

    for_each_row(n, names) {
        size_t len = strlen(*n);

        if (strncmp(host, *n, len) == 0 && (!host[len] || host[len] == ':'))
            return true;
    }
    return false;
}

struct registry_http *registry_http_new(const struct registry_cfg *cfg)
{
    struct registry_http *h = xnew(struct registry_http);

    h->cfg = cfg;
    h->plain = cfg->insecure || is_here(cfg->ref->host);
    h->curl = curl_easy_init();
    must(h->curl);
    return h;
}

void registry_http_free(struct registry_http *h)
{
    if (!h)
        return;
    curl_easy_cleanup(h->curl);
    if (h->token)
        explicit_bzero(h->token, strlen(h->token));
    free(h->token);
    free(h);
}

static size_t on_body(char *p, size_t, size_t len, void *opaque)
{
    struct registry_sink *to = opaque;

    if (len > to->max - to->len) {
        to->code = -EFBIG;
        return 0;
    }
    to->len += len;
    digest_add(&to->sum, p, len);
    if (to->fd < 0)
        strbuf_add_mem(&to->text, p, len);
    else
        to->code = fd_write_all(to->fd, p, len);
    if (to->code == 0 && to->told)
        to->code = to->told(to->opaque, to->len);
    return to->code < 0 ? 0 : len;
}

/* Each answer's headers, also those of a redirect: the last one's challenge stays. */
static size_t on_header(char *p, size_t, size_t len, void *opaque)
{
    static const char name[] = "WWW-Authenticate:";
    struct registry_http *h = opaque;
    size_t at = sizeof(name) - 1, n;

    if (len > 5 && strncmp(p, "HTTP/", 5) == 0)
        h->challenge[0] = 0;
    if (len <= at || strncasecmp(p, name, at) != 0)
        return len;
    while (at < len && p[at] == ' ')
        at++;
    n = min(len - at, sizeof(h->challenge) - 1);
    memcpy(h->challenge, p + at, n);
    h->challenge[n] = 0;
    h->challenge[strcspn(h->challenge, "\r\n")] = 0;
    return len;
}

bool registry_http_param(const char *challenge, const char *name, char *ret, size_t size)
{
    const size_t len = strlen(name);
    const char *at = challenge + strcspn(challenge, " ");

    while (*at) {
        size_t key, value;

        at += strspn(at, " ,\t");
        key = strcspn(at, "=");
        if (!at[key] || at[key + 1] != '"')
            return false;
        value = strcspn(at + key + 2, "\"");
        if (!at[key + 2 + value])
            return false;
        if (key == len && strncasecmp(at, name, len) == 0) {
            if (value >= size)
                return false;
            memcpy(ret, at + key + 2, value);
            ret[value] = 0;
            return true;
        }
        at += key + 2 + value + 1;
    }
    return false;
}

static void set_common(struct registry_http *h, const char *url, struct registry_sink *to)
{
    CURL *c = h->curl;

    http_begin(c, url, h->plain, h->error);
    curl_easy_setopt(c, CURLOPT_HEADERFUNCTION, on_header);
    curl_easy_setopt(c, CURLOPT_HEADERDATA, h);
    curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(c, CURLOPT_WRITEDATA, to);
}

static int sink_begin(struct registry_sink *to)
{
    to->len = 0;
    to->text.len = 0;
    to->code = 0;
    digest_fini(&to->sum);
    digest_init(&to->sum);
    if (to->fd >= 0 && (ftruncate(to->fd, 0) < 0 || lseek(to->fd, 0, SEEK_SET) < 0))
        return -errno;
    return 0;
}

/* One request; the status of its answer, 0 when there was none, or a negative errno that another try does not change. */
static long perform(struct registry_http *h, struct registry_sink *to, struct err *e)
{
    long status = 0;
    int r = sink_begin(to);
    CURLcode code;

    if (r < 0)
        return err_code(e, r, "begin a file anew");
    h->error[0] = 0;
    h->challenge[0] = 0;
    code = curl_easy_perform(h->curl);
    if (to->code == -EFBIG)
        return err_set(e, -EFBIG, "the answer has more than %llu bytes", to->max);
    if (to->code < 0)
        return err_code(e, to->code, "keep what was fetched");
    if (code == CURLE_OK)
        curl_easy_getinfo(h->curl, CURLINFO_RESPONSE_CODE, &status);
    else
        err_set(e, -EIO, "%s", h->error[0] ? h->error : curl_easy_strerror(code));
    return code == CURLE_PEER_FAILED_VERIFICATION || code == CURLE_UNSUPPORTED_PROTOCOL ? -EPERM
                                                                                        : status;
}

/* What a registry's own words say: {"errors":[{"code":…,"message":…}]}. */
static void add_reason(const struct registry_sink *to, struct err *e)
{
    json_t *j = to->fd < 0 && to->text.len ? json_loadb(to->text.text, min(to->text.len, 4096ul),
                                                        JSON_REJECT_DUPLICATES, NULL)
                                           : NULL;
    const char *word = json_string_value(
        json_object_get(json_array_get(json_object_get(j, "errors"), 0), "message"));
    struct err was = *e;

    if (word)
        err_set(e, was.code, "%s: %.80s", was.text, word);
    json_decref(j);
}

static int refusal(long status, const struct registry_sink *to, struct err *e)
{
    static const struct {
        long status;
        int code;
        const char *words;
    } known[] = {
        { 401, -EACCES, "the registry wants other credentials" },
        { 403, -EACCES, "the registry does not allow it" },
        { 404, -ENOENT, "the registry does not have it" },
    };

    for_each_row(k, known) {
        if (k->status != status)
            continue;
        err_set(e, k->code, "%s", k->words);
        add_reason(to, e);
        return k->code;
    }
    return err_set(e, -EIO, "the registry answers with status %ld", status);
}

/* Again while the network or the registry fails; the last status. */
static int perform_tries(struct registry_http *h, struct registry_sink *to, long *ret_status,
                         struct err *e)
{
    long status = 0;

    for (unsigned i = 0; i < REGISTRY_TRIES; i++) {
        if (i)
            (void)poll(NULL, 0, 1000 << (i - 1));
        status = perform(h, to, e);
        if (status < 0)
            return (int)status;
        if (status && status != 429 && status < 500)
            break;
    }
    *ret_status = status;
    return status ? 0 : e->code;
}

static char *escaped(struct registry_http *h, const char *text)
{
    char *made = curl_easy_escape(h->curl, text, 0), *copy = xdup(made ? made : "");

    curl_free(made);
    return copy;
}

static int keep_token(struct registry_http *h, const struct registry_sink *to, struct err *e)
{
    json_t *j;
    const char *token;
    int r = conf_load(to->text.text ? to->text.text : "", to->text.len, &j, e);

    if (r < 0)
        return r;
    token = json_string_value(json_object_get(j, "token"));
    if (!token)
        token = json_string_value(json_object_get(j, "access_token"));
    if (token && !strpbrk(token, "\r\n"))
        h->token = xdup(token);
    json_decref(j);
    return h->token ? 0 : err_set(e, -EBADMSG, "the answer has no token");
}

/* Asks for a token where the registry says. */
static int get_token(struct registry_http *h, struct err *e)
{
    struct registry_sink to = { .fd = -1, .max = REGISTRY_TOKEN_MAX };
    char realm[1024], service[256] = "";
    AUTO(free) char *scope = str_new("repository:%s:pull", h->cfg->ref->name);
    AUTO(free) char *one = NULL, *two = escaped(h, scope);
    AUTO(free) char *url = NULL;
    long status;
    int r;

    if (!registry_http_param(h->challenge, "realm", realm, sizeof(realm)))
        return err_set(e, -EBADMSG, "the registry wants a token and does not say from where");
    (void)registry_http_param(h->challenge, "service", service, sizeof(service));
    one = escaped(h, service);
    url = str_new("%s%sservice=%s&scope=%s", realm, strchr(realm, '?') ? "&" : "?", one, two);
    set_common(h, url, &to);
    if (h->cfg->credentials)
        curl_easy_setopt(h->curl, CURLOPT_USERPWD, h->cfg->credentials);
    r = perform_tries(h, &to, &status, e);
    if (r == 0)
        r = status == 200 ? keep_token(h, &to, e) : refusal(status, &to, e);
    strbuf_fini(&to.text);
    digest_fini(&to.sum);
    return r < 0 ? err_wrap(e, "a token of '%.60s'", realm) : 0;
}

/* One request with what is known of the registry's wishes. */
static int request(struct registry_http *h, const char *url, const char *accept,
                   struct registry_sink *to, long *ret_status, struct err *e)
{
    struct curl_slist *headers = NULL;
    AUTO(free) char *line = accept ? str_new("Accept: %s", accept) : NULL;
    AUTO(free) char *bearer = h->token ? str_new("Authorization: Bearer %s", h->token) : NULL;
    int r;

    if (line)
        headers = curl_slist_append(headers, line);
    if (bearer)
        headers = curl_slist_append(headers, bearer); /* libcurl sends it to no other host */
    set_common(h, url, to);
    curl_easy_setopt(h->curl, CURLOPT_HTTPHEADER, headers);
    if (h->basic)
        curl_easy_setopt(h->curl, CURLOPT_USERPWD, h->cfg->credentials);
    r = perform_tries(h, to, ret_status, e);
    curl_slist_free_all(headers);
    if (bearer)
        explicit_bzero(bearer, strlen(bearer));
    return r;
}

/* After a 401: gets what the registry asks for.  0: it is worth another request. */
static int answer_challenge(struct registry_http *h, const struct registry_sink *to, struct err *e)
{
    if (strncasecmp(h->challenge, "Bearer ", 7) == 0) {
        free(TAKE(h->token)); /* one may have become too old */
        return get_token(h, e);
    }
    if (strncasecmp(h->challenge, "Basic", 5) == 0 && h->cfg->credentials && !h->basic) {
        h->basic = true;
        return 0;
    }
    return refusal(401, to, e);
}

int registry_http_get(struct registry_http *h, const char *path, const char *accept,
                      struct registry_sink *to, struct err *e)
{
    const struct registry_ref *ref = h->cfg->ref;
    AUTO(free)
    char *url =
        str_new("%s://%s/v2/%s/%s", h->plain ? "http" : "https", ref->host, ref->name, path);
    long status = 0;
    int r = request(h, url, accept, to, &status, e);

    if (r == 0 && status == 401) {
        r = answer_challenge(h, to, e);
        if (r == 0)
            r = request(h, url, accept, to, &status, e);
    }
    if (r < 0)
        return r;
    return status == 200 ? 0 : refusal(status, to, e);
}
