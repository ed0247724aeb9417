/*
 * host/cloud.c: what cloud-init in a guest is told: checked, and written as NoCloud wants it.
 * Meta-data and our network-config are JSON, which is YAML as well, so that nothing that a user wrote has to be quoted by hand.
 */
#include "host/cloud.h"

#include "vm/spec.h"

#include <ctype.h>
#include <stdlib.h>

/* What user data may begin with: by that cloud-init knows what it is. */
static bool user_data_ok(const char *s)
{
    static const char *const heads[] = {
        "#cloud-config", "#!",           "#cloud-boothook", "#include",
        "#part-handler", "## template:", "Content-Type:",   "MIME-Version:",
    };

    for_each_row(h, heads)
        if (str_starts(s, *h))
            return strlen(s) <= CLOUD_TEXT_MAX;
    return false;
}

/* A version 1 or 2 of a network description, with or without its outer name. */
static bool network_ok(const char *s)
{
    const char *line = s;

    while (*line == '#' || *line == '\n' || str_starts(line, "---")) { /* comments go before */
        line += strcspn(line, "\n");
        line += *line == '\n';
    }
    return (str_starts(line, "version:") || str_starts(line, "network:") || *line == '{') &&
           strlen(s) <= CLOUD_TEXT_MAX;
}

static bool is_base64(const char *s, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if (!isalnum((unsigned char)s[i]) && !strchr("+/=", s[i]))
            return false;
    return len > 0;
}

/* "TYPE BASE64 [COMMENT]" of authorized_keys, without options, which would be commands. */
static bool key_ok(const char *s)
{
    static const char *const types[] = { "ssh-", "ecdsa-sha2-", "sk-ssh-", "sk-ecdsa-" };
    const char *data = strchr(s, ' ');
    bool known = false;

    for_each_row(t, types)
        known |= str_starts(s, *t);
    for (const char *p = s; *p; p++)
        if ((unsigned char)*p < ' ' || *p == 127)
            return false;
    return known && data && strlen(s) <= CLOUD_KEY_MAX &&
           is_base64(data + 1, strcspn(data + 1, " "));
}

/* RFC 1123: labels of letters, digits and '-', which does not begin or end one. */
static bool hostname_ok(const char *s)
{
    size_t len;

    if (strlen(s) > CLOUD_HOSTNAME_MAX)
        return false;
    for (;; s += len + 1) {
        len = strcspn(s, ".");
        if (len == 0 || len > 63 || s[0] == '-' || s[len - 1] == '-')
            return false;
        for (size_t i = 0; i < len; i++)
            if (!isalnum((unsigned char)s[i]) && s[i] != '-')
                return false;
        if (!s[len])
            return true;
    }
}

/* clang-format off */
static const struct field key_fields[] = {
    FIELD_STR(cloud_key, key, "a line as in authorized_keys, without options", .required = true, .first = true, .ok = key_ok,
              .want = "a public key of at most 8192 bytes, as ssh-ed25519 AAAA… comment,"),
    {},
};
const struct field cloud_fields[] = {
    FIELD_BOOL(cloud_cfg, enable, "tell it who it is, also when nothing else is said"),
    FIELD_STR(cloud_cfg, user_data, "user data: #cloud-config, or another kind that cloud-init knows", .ok = user_data_ok,
              .want = "at most 49152 bytes that begin with #cloud-config, #!, or another head that cloud-init knows"),
    FIELD_LIST(cloud_cfg, keys, key_fields, cloud_key, CLOUD_KEYS_MAX, "public keys that may log in by ssh as its first user", .metavar = "KEY"),
    FIELD_STR(cloud_cfg, hostname, "its host name; the machine's when it is missing", .ok = hostname_ok,
              .want = "labels of letters, digits and '-', at most 253 bytes,"),
    FIELD_STR(cloud_cfg, network, "network-config, version 1 or 2; DHCP on each card when it is missing", .ok = network_ok,
              .want = "at most 49152 bytes that begin with version: or network:"),
    {},
};
/* clang-format on */

bool cloud_is_used(const struct cloud_cfg *c)
{
    return c->enable || c->user_data || c->keys.n || c->hostname || c->network;
}

static u64 add_to_sum(u64 sum, const char *text)
{
    for (const char *p = text; *p; p++)
        sum = (sum ^ (u8)*p) * 0x100000001b3ull; /* FNV-1a */
    return (sum ^ 0xff) * 0x100000001b3ull; /* which is in no text: where one ends counts, too */
}

/* A machine's name may have what a host name has not. */
static char *hostname_of(const struct cloud_cfg *c, const struct cloud_who *who)
{
    char *name = xdup(c->hostname ? c->hostname : who->name);

    for (char *p = name; *p; p++)
        if (*p == '_')
            *p = '-';
    return name;
}

static char *dump(json_t *j)
{
    char *text = json_dumps(j, JSON_COMPACT);

    must(text);
    json_decref(j);
    return text;
}

static char *network_of(const struct cloud_who *who)
{
    json_t *cards = json_object();

    for (u32 i = 0; i < who->nets->n; i++) {
        const struct vm_net *n = (const struct vm_net *)who->nets->items + i;
        char name[16];

        str_fmt(name, sizeof(name), "net%u", i);
        if (n->mac)
            json_object_set_new(
                cards, name,
                json_pack("{s:{s:s}, s:b}", "match", "macaddress", n->mac, "dhcp4", 1));
    }
    return dump(json_pack("{s:i, s:o}", "version", 2, "ethernets", cards));
}

void cloud_texts(const struct cloud_cfg *c, const struct cloud_who *who, struct cloud_texts *ret)
{
    AUTO(free) char *hostname = hostname_of(c, who), *id = NULL;
    json_t *keys = json_array();
    u64 sum = 0xcbf29ce484222325ull;

    ret->user_data = xdup(c->user_data ? c->user_data : "#cloud-config\n{}\n");
    ret->network = c->network ? xdup(c->network) : network_of(who);
    for (u32 i = 0; i < c->keys.n; i++) {
        const char *key = ((const struct cloud_key *)c->keys.items + i)->key;

        sum = add_to_sum(sum, key);
        json_array_append_new(keys, json_string(key));
    }
    sum = add_to_sum(add_to_sum(sum, ret->user_data), ret->network);
    ret->sum = sum = add_to_sum(add_to_sum(sum, hostname), who->uuid);
    id = str_new("%s-%016llx", who->uuid, sum);
    ret->meta_data = dump(json_pack("{s:s, s:s, s:o}", "instance-id", id, "local-hostname",
                                    hostname, "public-keys", keys));
}

void cloud_texts_fini(struct cloud_texts *t)
{
    free(t->user_data);
    free(t->meta_data);
    free(t->network);
    *t = (struct cloud_texts){};
}
