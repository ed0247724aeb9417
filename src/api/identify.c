/*
 * api/identify.c: from the headers of a request to who sent it, and what that one may do.
 * A cookie is sent by a browser whichever site's page asks it to, so it counts only with proof that the page is ours: for what changes
 * something, a header that other sites cannot add without being allowed to; for a WebSocket, its Origin.
 */
#include "api/access.h"
#include "api/api.h"

#include <strings.h>

/* Its name makes browsers insist on Secure, Path=/ and no Domain. */
#define COOKIE ACCESS_COOKIE "="

/* "socle_ID_SECRET" → its key; NULL: none that counts. */
static struct key *key_of(struct access *a, const char *text, size_t len)
{
    char copy[ACCESS_KEY_MAX], *id = copy + strlen("socle_");
    struct key *k;

    if (len >= sizeof(copy) || len <= strlen("socle_") + ACCESS_KEY_ID + 1 ||
        !str_starts(text, "socle_"))
        return NULL;
    memcpy(copy, text, len);
    copy[len] = 0;
    if (strlen(copy) != len || id[ACCESS_KEY_ID] != '_')
        return NULL;
    id[ACCESS_KEY_ID] = 0;
    k = access_key(a, id);
    return k && access_key_is(k, id + ACCESS_KEY_ID + 1) && !access_key_expired(a, k) ? k : NULL;
}

/* "a=b; __Host-socle=KEY; c=d" */
static const char *cookie_value(const char *cookies, size_t *ret_len)
{
    for (const char *p = cookies; *p; p += strcspn(p, ";"), p += *p == ';') {
        p += strspn(p, " \t");
        if (str_starts(p, COOKIE)) {
            *ret_len = strcspn(p + strlen(COOKIE), "; \t");
            return p + strlen(COOKIE);
        }
    }
    return NULL;
}

static bool is_own_page(const struct access_claim *claim)
{
    return claim->origin && claim->host && *claim->host && str_starts(claim->origin, "https://") &&
           strcasecmp(claim->origin + strlen("https://"), claim->host) == 0;
}

static int check_page(const struct access_claim *claim, struct err *e)
{
    const bool reads = strcmp(claim->method, "GET") == 0 && !claim->websocket;

    if (reads)
        return 0;
    if (claim->origin && *claim->origin && !is_own_page(claim))
        return err_set(e, -EPERM, "a page of another site may not do that");
    if (claim->websocket ? !is_own_page(claim) : !claim->marked)
        return err_set(e, -EPERM,
                       "with a cookie, header 'X-Socle: 1' (of a WebSocket: Origin) is needed");
    return 0;
}

bool access_again(struct access *a, struct access_who *who, u32 *ret_rights)
{
    struct key *k;

    if (!who->key[0])
        return true; /* the socket's peer stays who it was */
    k = access_key(a, who->key);
    who->user = k && !access_key_expired(a, k) ? access_user(a, k->rec.user) : NULL;
    if (!who->user || who->user->rec.disabled)
        return false;
    who->scope = access_role_rights(k->rec.role);
    if (k->rec.kind == KEY_TOKEN && !k->rec.shell)
        who->scope &= ~(u32)API_SHELL;
    *ret_rights = access_role_rights(who->user->rec.role) & who->scope;
    return true;
}

int access_identify(struct access *a, const struct access_claim *claim, struct access_who *ret,
                    u32 *ret_rights, struct err *e)
{
    const char *bearer =
        claim->authorization && strncasecmp(claim->authorization, "Bearer ", 7) == 0
            ? claim->authorization + 7
            : NULL;
    size_t len = bearer ? strlen(bearer) : 0;
    const char *cookie = !bearer && claim->cookie ? cookie_value(claim->cookie, &len) : NULL;
    struct key *k = bearer || cookie ? key_of(a, bearer ? bearer : cookie, len) : NULL;

    *ret = (struct access_who){};
    if (!k || (cookie && k->rec.kind != KEY_SESSION))
        return err_set(e, -EKEYREJECTED,
                       bearer || cookie ? "this session or token is not valid" : "log in first");
    str_copy(ret->key, sizeof(ret->key), k->id);
    str_copy(ret->name, sizeof(ret->name), k->rec.user);
    ret->token = k->rec.kind == KEY_TOKEN;
    if (!access_again(a, ret, ret_rights))
        return err_set(e, -EKEYREJECTED, "this session or token is not valid");
    access_key_touch(a, k);
    return cookie ? check_page(claim, e) : 0;
}

static bool grant_is_on(const struct access_grant *g, const struct instance *i)
{
    const struct instance_tag *tags = i->cfg.tags.items;

    if (g->instance)
        return strcmp(g->instance, i->id) == 0;
    for (u32 t = 0; t < i->cfg.tags.n; t++)
        if (g->tag && strcmp(tags[t].tag, g->tag) == 0)
            return true;
    return false;
}

static u32 granted(const struct access_who *who, const struct instance *i)
{
    const struct access_grant *g = who->user ? who->user->rec.grants.items : NULL;
    u32 rights = 0;

    for (u32 n = 0; g && n < who->user->rec.grants.n; n++)
        if (!i || grant_is_on(&g[n], i))
            rights |= access_role_rights(g[n].role) & (API_VIEW | API_OPERATE);
    return rights & who->scope;
}

u32 access_rights_on(const struct access_who *who, const struct instance *i)
{
    return granted(who, i);
}

u32 access_rights_any(const struct access_who *who)
{
    return granted(who, NULL);
}
