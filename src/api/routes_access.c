/*
 * api/routes_access.c: login and logout, users, tokens, the audit log.
 */
#include "api/login.h"
#include "api/routes.h"
#include "api/totp.h"

#include <sodium.h>
#include <stdlib.h>

enum { TOKEN_SECONDS = 90 * 24 * 3600, TOKEN_SECONDS_MAX = 10 * 365 * 24 * 3600 };

struct login_body {
    char *user, *password, *code;
    bool bearer;
};
struct setup_body {
    char *code, *user, *password;
};
struct setup_view {
    bool needed;
    char *fingerprint;
};
struct own_password_body {
    char *old, *password;
};
struct user_body {
    char *name, *password;
    int role;
    bool disabled;
    struct field_list grants;
};
struct user_view {
    char *name;
    int role;
    struct field_list grants;
    bool disabled, password, totp;
    u64 created;
};
struct totp_body {
    char *code;
};
struct totp_view {
    char *secret, *uri;
};
struct token_body {
    char *user, *name;
    int role;
    bool shell;
    u64 seconds;
};
struct token_view {
    char *id, *kind, *user, *name, *from, *role;
    bool shell;
    u64 created, expires, used;
};
struct key_view {
    char *user, *token, *id;
    u64 expires;
};
struct self_view {
    char *name, *from, *key;
    bool view, operate, admin, shell;
};
struct audit_view {
    u64 number, time;
    char *who, *from, *what, *path, *note;
    u32 status;
};

/* clang-format off */
static const struct field login_fields[] = {
    FIELD_STR(login_body, user, "a user's name", .required = true),
    FIELD_STR(login_body, password, "the user's password", .required = true),
    FIELD_STR(login_body, code, "one-time code, of a user who has these"),
    FIELD_BOOL(login_body, bearer, "the session is told in the answer, in place of a cookie"),
    {},
};
static const struct field setup_fields[] = {
    FIELD_STR(setup_body, code, "the setup code, which `socle info` on the host shows", .required = true),
    FIELD_STR(setup_body, user, "name of the first user", .sdflt = "root", .ok = spec_name_ok,
              .want = "1 to 63 letters, digits, '.', '-' or '_', a letter or digit first,"),
    FIELD_STR(setup_body, password, "the user's password", .required = true),
    {},
};
static const struct field setup_view_fields[] = {
    FIELD_BOOL(setup_view, needed, "there are no users, and one may be made by POST"),
    FIELD_STR(setup_view, fingerprint, "SHA-256 of the certificate of HTTPS"),
    {},
};
static const struct field own_password_fields[] = {
    FIELD_STR(own_password_body, old, "the password until now", .required = true),
    FIELD_STR(own_password_body, password, "the new one", .required = true),
    {},
};
#define USER_FIELDS \
    FIELD_STR(user_body, password, "no login without one"), \
    FIELD_ENUM(user_body, role, access_roles, "on everything"), \
    FIELD_BOOL(user_body, disabled, "is refused"), \
    FIELD_LIST(user_body, grants, access_grant_fields, access_grant, ACCESS_GRANTS_MAX, "roles on single instances")
static const struct field user_new_fields[] = {
    FIELD_STR(user_body, name, "the user's name", .required = true, .ok = spec_name_ok,
              .want = "1 to 63 letters, digits, '.', '-' or '_', a letter or digit first,"),
    USER_FIELDS,
    {},
};
static const struct field user_edit_fields[] = { USER_FIELDS, {} };
static const struct field user_view_fields[] = {
    FIELD_STR(user_view, name, "the user's name"),
    FIELD_ENUM(user_view, role, access_roles, "on everything"),
    FIELD_BOOL(user_view, disabled, "is refused"),
    FIELD_LIST(user_view, grants, access_grant_fields, access_grant, ACCESS_GRANTS_MAX, "roles on single instances"),
    FIELD_BOOL(user_view, password, "there is one"),
    FIELD_BOOL(user_view, totp, "a login needs a code, too"),
    FIELD_INT(user_view, created, "when, in seconds since 1970"),
    {},
};
static const struct field totp_fields[] = {
    FIELD_STR(totp_body, code, "a code of the new secret: from now on a login needs one; without it a new secret is made"),
    {},
};
static const struct field totp_view_fields[] = {
    FIELD_STR(totp_view, secret, "base32"),
    FIELD_STR(totp_view, uri, "the same for authenticator programs"),
    {},
};
static const struct field token_new_fields[] = {
    FIELD_STR(token_body, user, "whose it is, if it is not one's own"),
    FIELD_STR(token_body, name, "what it is for", .sdflt = ""),
    FIELD_ENUM(token_body, role, access_roles, "at most this", .dflt = ACCESS_ADMIN),
    FIELD_BOOL(token_body, shell, "of role admin: it may have a shell of the host, too"),
    FIELD_INT(token_body, seconds, "how long it is valid", .dflt = TOKEN_SECONDS, .min = 1, .max = TOKEN_SECONDS_MAX),
    {},
};
static const struct field token_view_fields[] = {
    FIELD_STR(token_view, id, "it is deleted by this"),
    FIELD_STR(token_view, kind, "session or token"),
    FIELD_STR(token_view, user, "whose it is"),
    FIELD_STR(token_view, name, "what it is for"),
    FIELD_STR(token_view, from, "a session: where the login came from"),
    FIELD_STR(token_view, role, "at most this"),
    FIELD_BOOL(token_view, shell, "a token: it may have a shell of the host"),
    FIELD_INT(token_view, created, "when, in seconds since 1970"),
    FIELD_INT(token_view, expires, "until when"),
    FIELD_INT(token_view, used, "when last"),
    {},
};
static const struct field key_view_fields[] = {
    FIELD_STR(key_view, user, "whose it is"),
    FIELD_STR(key_view, id, "a token: it is deleted by this"),
    FIELD_STR(key_view, token, "what is shown as \"Authorization: Bearer\"; it is told only here"),
    FIELD_INT(key_view, expires, "until when, in seconds since 1970"),
    {},
};
static const struct field self_fields[] = {
    FIELD_STR(self_view, name, "a user's name; of a process at the unix socket \"uid N\""),
    FIELD_STR(self_view, from, "an address, or \"unix\""),
    FIELD_STR(self_view, key, "of the session or token"),
    FIELD_BOOL(self_view, view, "may see everything"),
    FIELD_BOOL(self_view, operate, "may start and stop everything"),
    FIELD_BOOL(self_view, admin, "may change everything"),
    FIELD_BOOL(self_view, shell, "may have a shell of the host"),
    {},
};
static const struct field audit_fields[] = {
    FIELD_INT(audit_view, number, "rises"),
    FIELD_INT(audit_view, time, "when, in seconds since 1970"),
    FIELD_STR(audit_view, who, "a user's name; of a process at the unix socket \"uid N\""),
    FIELD_STR(audit_view, from, "an address, or \"unix\""),
    FIELD_STR(audit_view, what, "the method"),
    FIELD_STR(audit_view, path, "of what"),
    FIELD_STR(audit_view, note, "what besides"),
    FIELD_INT(audit_view, status, "the answer's"),
    {},
};
/* clang-format on */

/* A session of a person, or a process of the host: what a token must not do lest it outlives its own end. */
static int check_no_token(const struct api_call *c, struct err *e)
{
    return c->rq->who && c->rq->who->token
               ? err_set(e, -EPERM, "a token may not do that; log in with a password")
               : 0;
}

static bool is_self(const struct api_call *c, const char *user)
{
    return c->rq->who && c->rq->who->user && strcmp(c->rq->who->user->name, user) == 0;
}

static int check_self_or_admin(const struct api_call *c, const char *user, struct err *e)
{
    return is_self(c, user) || (c->rights & API_ADMIN)
               ? 0
               : err_set(e, -EACCES, "this needs a right that you do not have");
}

/* ---- one's own ---- */

static int log_in(struct api_call *c, struct err *e)
{
    const struct login_body *b = c->body;
    const struct login_wish wish = { b->user, b->password, b->code, c->rq->from ? c->rq->from : "",
                                     b->bearer };

    return login_begin(c, &wish, e);
}

static int get_setup(struct api_call *c, struct err *e [[maybe_unused]])
{
    const struct access *a = c->rq->access;

    api_answer_json(
        c, json_pack("{s:b, s:s}", "needed", a->setup[0] != 0, "fingerprint", a->fingerprint));
    return 0;
}

static int set_up(struct api_call *c, struct err *e)
{
    const struct setup_body *b = c->body;

    return login_setup(c, b->code, b->user, b->password, e);
}

static int log_out(struct api_call *c, struct err *e)
{
    const struct access_who *who = c->rq->who;
    int r = check_no_token(c, e);

    if (r >= 0 && !(who && who->key[0]))
        r = err_set(e, -EINVAL, "there is no session");
    if (r >= 0)
        r = access_key_delete(c->rq->access, who->key, e);
    if (r >= 0)
        str_copy(c->ret->cookie, sizeof(c->ret->cookie),
                 ACCESS_COOKIE "=; Path=/; Secure; HttpOnly; SameSite=Strict; Max-Age=0");
    return r;
}

static int get_self(struct api_call *c, struct err *e [[maybe_unused]])
{
    const struct access_who *who = c->rq->who;

    api_answer_json(
        c, json_pack("{s:s, s:s, s:s, s:b, s:b, s:b, s:b}", "name", who ? who->name : "", "from",
                     c->rq->from ? c->rq->from : "", "key", who ? who->key : "", "view",
                     (c->rights & API_VIEW) != 0, "operate", (c->rights & API_OPERATE) != 0,
                     "admin", (c->rights & API_ADMIN) != 0, "shell", (c->rights & API_SHELL) != 0));
    return 0;
}

static int set_own_password(struct api_call *c, struct err *e)
{
    const struct own_password_body *b = c->body;
    const struct access_who *who = c->rq->who;
    int r = check_no_token(c, e);

    if (r < 0)
        return r;
    if (!who || !who->user)
        return err_set(e, -EINVAL, "a process of the host has no password");
    return login_set_password(c, who->user->name, b->old, b->password, e);
}

/* ---- users ---- */

static json_t *grants_json(struct api_call *c, const struct user_rec *rec)
{
    const struct access_grant *g = rec->grants.items;
    json_t *list = json_array();

    host_lock(c->host);
    for (u32 n = 0; n < rec->grants.n; n++) {
        const struct instance *i = g[n].instance ? host_by_id_locked(c->host, g[n].instance) : NULL;

        if (i || g[n].tag) /* an instance that is gone has no name */
            json_array_append_new(list, json_pack("{s:s, s:s}", i ? "instance" : "tag",
                                                  i ? i->cfg.spec.name : g[n].tag, "role",
                                                  access_roles[g[n].role]));
    }
    host_unlock(c->host);
    return list;
}

static json_t *user_json(struct api_call *c, const struct user *u)
{
    const struct user_rec *r = &u->rec;

    return json_pack("{s:s, s:s, s:b, s:o, s:b, s:b, s:I}", "name", u->name, "role",
                     access_roles[r->role], "disabled", r->disabled, "grants", grants_json(c, r),
                     "password", r->password != NULL, "totp", r->totp != NULL, "created",
                     (json_int_t)r->created);
}

static int list_users(struct api_call *c, struct err *e [[maybe_unused]])
{
    json_t *list = json_array();

    for (const struct user *u = c->rq->access->users; u; u = u->next)
        json_array_append_new(list, user_json(c, u));
    api_answer_list(c, list, NULL);
    return 0;
}

static struct user *find_user(struct api_call *c, struct err *e)
{
    struct user *u = access_user(c->rq->access, c->name);

    if (!u)
        err_set(e, -ENOENT, "there is no user '%.63s'", c->name);
    return u;
}

static int get_user(struct api_call *c, struct err *e)
{
    const struct user *u = find_user(c, e);

    if (!u)
        return e->code;
    api_answer_json(c, user_json(c, u));
    return 0;
}

static int check_grant_locked(struct api_call *c, struct access_grant *g, struct err *e)
{
    const struct instance *i;

    if (!g->instance == !g->tag)
        return err_set(e, -EINVAL, "a grant is on an instance, or on a tag");
    if (g->role != ACCESS_VIEWER && g->role != ACCESS_OPERATOR)
        return err_set(e, -EINVAL, "a grant's role is viewer or operator");
    if (g->tag)
        return 0;
    i = host_find_locked(c->host, g->instance);
    if (!i)
        return err_set(e, -EINVAL, "there is no instance '%.63s'", g->instance);
    free(g->instance);
    g->instance = xdup(i->id); /* it stays the same, and is never another's */
    return 0;
}

/* Names of instances become their IDs. */
static int check_grants(struct api_call *c, struct user_body *b, struct err *e)
{
    struct access_grant *g = b->grants.items;
    int r = 0;

    host_lock(c->host);
    for (u32 n = 0; n < b->grants.n && r >= 0; n++)
        r = check_grant_locked(c, &g[n], e);
    host_unlock(c->host);
    if (r < 0)
        err_field(e, "grants");
    return r;
}

/* What is done is what is recorded with a key of the request: of a change with a new password the second half. */
static int change_user(struct api_call *c, const char *name, struct user_rec *rec,
                       const char *password, struct err *e)
{
    struct host_rider *rider = password ? host_ride(NULL) : NULL;
    int r = access_user_put(c->rq->access, name, rec, e);

    if (!password)
        return r;
    host_ride(rider);
    return r < 0 ? r : login_set_password(c, name, NULL, password, e);
}

/* The record, and its password, which takes longer. */
static int put_user(struct api_call *c, const char *name, struct user_body *b,
                    const struct user *was, struct err *e)
{
    struct access *a = c->rq->access;
    struct user_rec rec = was ? user_rec_copy(&was->rec) : (struct user_rec){ .created = a->now() };
    const struct field_list old = rec.grants;
    int r = check_grants(c, b, e);

    if (r >= 0) {
        rec.role = b->role;
        rec.disabled = b->disabled;
        rec.grants = b->grants;
        b->grants = old;
        r = b->password && !was ? login_make_user(c, name, &rec, b->password, e)
                                : change_user(c, name, &rec, b->password, e);
    }
    user_rec_fini(&rec);
    return r;
}

static int create_user(struct api_call *c, struct err *e)
{
    struct user_body *b = c->body;

    if (access_user(c->rq->access, b->name))
        return err_set(e, -EEXIST, "there is a user '%s'", b->name);
    str_copy(c->note, sizeof(c->note), b->name);
    return put_user(c, b->name, b, NULL, e);
}

/* What the user is, changed by what the body says; null is the default. */
static int parse_edit(struct api_call *c, const struct user *u, struct user_body *ret,
                      struct err *e)
{
    json_t *j = user_json(c, u), *changes = NULL, *value;
    const char *name;
    int r = conf_load(c->rq->body, c->rq->body_len, &changes, e);

    json_object_del(j, "name");
    json_object_del(j, "password");
    json_object_del(j, "totp");
    json_object_del(j, "created");
    if (r >= 0 && !json_is_object(changes))
        r = err_set(e, -EINVAL, "an object with what is to be changed is expected");
    json_object_foreach(changes, name, value)
    {
        if (json_is_null(value))
            json_object_del(j, name);
        else
            json_object_set(j, name, value);
    }
    if (r >= 0)
        r = conf_parse(user_edit_fields, ret, j, e);
    json_decref(changes);
    json_decref(j);
    return r;
}

static int edit_user(struct api_call *c, struct err *e)
{
    const struct user *u = find_user(c, e);
    struct user_body b = {};
    int r;

    if (!u)
        return e->code;
    r = parse_edit(c, u, &b, e);
    if (r >= 0)
        r = put_user(c, u->name, &b, u, e);
    api_wipe(user_edit_fields, &b);
    return r;
}

static int delete_user(struct api_call *c, struct err *e)
{
    return access_user_delete(c->rq->access, c->name, e);
}

/* ---- one-time codes ---- */

static int make_totp(struct api_call *c, struct user_rec *rec, struct err *e)
{
    char secret[TOTP_SECRET_TEXT + 1];
    AUTO(free) char *uri = NULL;
    int r;

    totp_secret(secret);
    free(rec->totp_next);
    rec->totp_next = xdup(secret);
    r = access_user_put(c->rq->access, c->name, rec, e);
    if (r < 0)
        return r;
    uri = str_new("otpauth://totp/Socle:%s?secret=%s&issuer=Socle", c->name, secret);
    api_answer_json(c, json_pack("{s:s, s:s}", "secret", secret, "uri", uri));
    c->ret->secret = true;
    sodium_memzero(secret, sizeof(secret));
    return 0;
}

static int begin_totp(struct api_call *c, struct user_rec *rec, const char *code, struct err *e)
{
    u64 step;

    if (!rec->totp_next)
        return err_set(e, -EINVAL, "there is no new secret; ask for one first");
    if (totp_check(rec->totp_next, code, c->rq->access->now(), &step) < 0) {
        err_set(e, -EINVAL, "this is not the code of the new secret");
        return err_field(e, "code");
    }
    free(rec->totp);
    rec->totp = TAKE(rec->totp_next);
    rec->totp_used = step;
    c->ret->status = 204;
    return access_user_put(c->rq->access, c->name, rec, e);
}

static int set_totp(struct api_call *c, struct err *e)
{
    const struct totp_body *b = c->body;
    int r = check_self_or_admin(c, c->name, e);
    const struct user *u;
    struct user_rec rec;

    if (r >= 0)
        r = check_no_token(c, e);
    if (r < 0)
        return r;
    u = find_user(c, e);
    if (!u)
        return e->code;
    rec = user_rec_copy(&u->rec);
    r = b->code ? begin_totp(c, &rec, b->code, e) : make_totp(c, &rec, e);
    user_rec_fini(&rec);
    return r;
}

static int delete_totp(struct api_call *c, struct err *e)
{
    const struct user *u = find_user(c, e);
    struct user_rec rec;
    int r;

    if (!u)
        return e->code;
    rec = user_rec_copy(&u->rec);
    free(TAKE(rec.totp));
    free(TAKE(rec.totp_next));
    r = access_user_put(c->rq->access, c->name, &rec, e);
    user_rec_fini(&rec);
    return r;
}

/* ---- tokens and sessions ---- */

static json_t *key_json(const struct key *k)
{
    return json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:b, s:I, s:I, s:I}", "id", k->id, "kind",
                     k->rec.kind == KEY_TOKEN ? "token" : "session", "user", k->rec.user, "name",
                     k->rec.name ? k->rec.name : "", "from", k->rec.from ? k->rec.from : "", "role",
                     access_roles[k->rec.role], "shell", k->rec.shell, "created",
                     (json_int_t)k->rec.created, "expires", (json_int_t)k->rec.expires, "used",
                     (json_int_t)k->used);
}

/* One's own; of who may change everything, all. */
static int list_tokens(struct api_call *c, struct err *e [[maybe_unused]])
{
    const struct access *a = c->rq->access;
    json_t *list = json_array();

    for (const struct key *k = a->keys; k; k = k->next)
        if (!access_key_expired(a, k) && ((c->rights & API_ADMIN) || is_self(c, k->rec.user)))
            json_array_append_new(list, key_json(k));
    api_answer_list(c, list, NULL);
    return 0;
}

static int new_token(struct api_call *c, const struct token_body *b, const char *user,
                     struct err *e)
{
    struct access *a = c->rq->access;
    struct key_rec rec = { .kind = KEY_TOKEN,
                           .user = xdup(user),
                           .name = xdup(b->name),
                           .role = b->role,
                           .shell = b->shell,
                           .expires = a->now() + b->seconds };
    char text[ACCESS_KEY_MAX];
    const char *id;
    int r = access_key_new(a, &rec, text, &id, e);

    if (r < 0) {
        free(rec.user);
        free(rec.name);
        return r;
    }
    str_copy(c->note, sizeof(c->note), id);
    c->ret->secret = true;
    api_answer_json(c, json_pack("{s:s, s:s, s:s, s:I}", "id", id, "user", user, "token", text,
                                 "expires", (json_int_t)access_key(a, id)->rec.expires));
    sodium_memzero(text, sizeof(text));
    return 0;
}

static int create_token(struct api_call *c, struct err *e)
{
    const struct token_body *b = c->body;
    const struct access_who *who = c->rq->who;
    const char *user = b->user ? b->user : who && who->user ? who->user->name : NULL;
    int r = check_no_token(c, e);

    if (r >= 0 && !user)
        r = err_set(e, -EINVAL, "'user' is missing: whose token it is");
    if (r >= 0)
        r = check_self_or_admin(c, user, e);
    if (r >= 0 && !access_user(c->rq->access, user))
        r = err_set(e, -ENOENT, "there is no user '%.63s'", user);
    if (r >= 0 && (b->role == ACCESS_NONE || strlen(b->name) > ACCESS_NAME_MAX))
        r = err_set(e, -EINVAL, "a token has a role, and a name of at most %d bytes",
                    ACCESS_NAME_MAX);
    if (r >= 0 && b->shell && b->role != ACCESS_ADMIN)
        r = err_set(e, -EINVAL, "'shell' is for tokens of role admin");
    return r < 0 ? r : new_token(c, b, user, e);
}

static int delete_token(struct api_call *c, struct err *e)
{
    const struct key *k = access_key(c->rq->access, c->name);
    int r = check_no_token(c, e);

    if (r >= 0 && (!k || check_self_or_admin(c, k->rec.user, e) < 0))
        r = err_set(e, -ENOENT, "there is no token '%.20s'", c->name);
    return r < 0 ? r : access_key_delete(c->rq->access, c->name, e);
}

/* ---- audit ---- */

static int list_audit(struct api_call *c, struct err *e)
{
    const struct page *q = c->query;
    AUTO(free) char *next = NULL;
    u64 before = ~0ull;
    json_t *list;
    bool more;

    if (*q->after && str_u64(q->after, &before) < 0) {
        err_set(e, -EINVAL, "'after' is '%.20s'; an entry's number is expected", q->after);
        return err_field(e, "after");
    }
    list = audit_list(&c->rq->access->audit, before, q->limit, &more);
    if (more)
        next = str_new("%lld", (long long)json_integer_value(json_object_get(
                                   json_array_get(list, json_array_size(list) - 1), "number")));
    api_answer_list(c, list, next);
    return 0;
}

/* clang-format off */
static const struct api_schema schemas[] = {
    { "Login",       login_fields, .size = sizeof(struct login_body), .secret = true },
    { "Setup",       setup_fields, .size = sizeof(struct setup_body), .secret = true },
    { "SetupState",  setup_view_fields },
    { "OwnPassword", own_password_fields, .size = sizeof(struct own_password_body), .secret = true },
    { "UserNew",     user_new_fields, .size = sizeof(struct user_body), .secret = true },
    { "UserEdit",    user_edit_fields, .optional = true },
    { "User",        user_view_fields },
    { "TotpCode",    totp_fields, .size = sizeof(struct totp_body) },
    { "Totp",        totp_view_fields },
    { "TokenNew",    token_new_fields, .size = sizeof(struct token_body) },
    { "Token",       token_view_fields },
    { "Key",         key_view_fields },
    { "Self",        self_fields },
    { "AuditEntry",  audit_fields },
    {},
};

static const struct api_route routes[] = {
    { "POST", "/1.0/login", API_PUBLIC, 200, NULL, 0, "Login", "Key", false, log_in, "Begin a session" },
    { "GET", "/1.0/setup", API_PUBLIC, 200, NULL, 0, NULL, "SetupState", false, get_setup, "Show whether the first user is still to be made" },
    { "POST", "/1.0/setup", API_PUBLIC, 200, NULL, 0, "Setup", "Key", false, set_up, "Make the first user, and begin a session" },
    { "POST", "/1.0/logout", API_SELF, 204, NULL, 0, NULL, NULL, false, log_out, "End this session" },
    { "GET", "/1.0/self", API_SELF, 200, NULL, 0, NULL, "Self", false, get_self, "Show who asks" },
    { "POST", "/1.0/self/password", API_SELF, 204, NULL, 0, "OwnPassword", NULL, false, set_own_password, "Change one's own password; other sessions end" },
    { "GET", "/1.0/users", API_ADMIN, 200, NULL, 0, NULL, "User", true, list_users, "List users by name" },
    { "POST", "/1.0/users", API_ADMIN, 204, NULL, 0, "UserNew", NULL, false, create_user, "Create a user" },
    { "GET", "/1.0/users/{name}", API_ADMIN, 200, NULL, 0, NULL, "User", false, get_user, "Show a user" },
    { "PATCH", "/1.0/users/{name}", API_ADMIN, 204, NULL, 0, "UserEdit", NULL, false, edit_user, "Change a user; a new password ends the user's sessions" },
    { "DELETE", "/1.0/users/{name}", API_ADMIN, 204, NULL, 0, NULL, NULL, false, delete_user, "Delete a user, with tokens and sessions" },
    { "POST", "/1.0/users/{name}/totp", API_SELF, 200, NULL, 0, "TotpCode", "Totp", false, set_totp, "Make a secret for one-time codes, or begin to ask for them; one's own, or an admin" },
    { "DELETE", "/1.0/users/{name}/totp", API_ADMIN, 204, NULL, 0, NULL, NULL, false, delete_totp, "Ask for no one-time codes" },
    { "GET", "/1.0/tokens", API_SELF, 200, NULL, 0, NULL, "Token", true, list_tokens, "List one's own tokens and sessions; of an admin all" },
    { "POST", "/1.0/tokens", API_SELF, 200, NULL, 0, "TokenNew", "Key", false, create_token, "Create a token" },
    { "DELETE", "/1.0/tokens/{id}", API_SELF, 204, NULL, 0, NULL, NULL, false, delete_token, "End a token or a session" },
    { "GET", "/1.0/audit", API_ADMIN, 200, QUERY(page), NULL, "AuditEntry", true, list_audit, "Show who did what from where, the newest first" },
    {},
};
/* clang-format on */

const struct api_part api_part_access = { "Users, logins and tokens", routes, schemas };
