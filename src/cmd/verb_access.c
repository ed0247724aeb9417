/*
 * cmd/verb_access.c: `socle user, token, audit, info`: who may do what, and who did.
 */
#include "cmd/ask.h"
#include "cmd/verb.h"

#include <stdio.h>
#include <stdlib.h>

enum { PASSWORD_ROOM = 1100, DAY = 24 * 3600 };

static int simple(struct verb *v, const char *method, const char *path, json_t *body, struct err *e)
{
    json_t *j =
        path && (body || strcmp(method, "DELETE") == 0) ? verb_ask(v, method, path, body, e) : NULL;

    if (!j && e->code == 0)
        err_set(e, -EINVAL, "what was given is not UTF-8");
    json_decref(body);
    json_decref(j);
    return j ? 0 : e->code;
}

/* The options that were given, as members of a user. */
static json_t *given(const struct verb *v, const struct opt *opts)
{
    json_t *all = conf_print(verb_fields, v), *some = json_object();

    for (u32 i = 0; opts[i].name; i++) {
        json_t *value = json_object_get(all, opts[i].field);

        if (!(v->args.seen & (1ull << i)) || !value || strcmp(opts[i].field, "dir") == 0 ||
            strcmp(opts[i].field, "host") == 0 || strcmp(opts[i].field, "no_password") == 0)
            continue;
        json_object_set(some, opts[i].field, value);
    }
    json_decref(all);
    return some;
}

/* Twice, on a terminal: nobody sees what is typed. */
static int ask_password(const char *question, json_t *into, const char *member, bool twice,
                        struct err *e)
{
    char first[PASSWORD_ROOM] = "", second[PASSWORD_ROOM] = "";
    int r = ask_line(question, first, sizeof(first), false, e);

    if (r >= 0 && twice && ask_is_tty())
        r = ask_line("Once more: ", second, sizeof(second), false, e);
    if (r >= 0 && twice && ask_is_tty() && strcmp(first, second) != 0)
        r = err_set(e, -EINVAL, "that was another one");
    if (r >= 0 && json_object_set_new(into, member, json_string(first)) < 0)
        r = err_set(e, -EINVAL, "a password is UTF-8");
    explicit_bzero(first, sizeof(first));
    explicit_bzero(second, sizeof(second));
    return r;
}

/* ---- users ---- */

static void print_grants(const json_t *value, struct strbuf *out)
{
    const json_t *g;
    size_t i;

    json_array_foreach(value, i, g)
    {
        const char *instance = json_string_value(json_object_get(g, "instance"));
        const char *tag = json_string_value(json_object_get(g, "tag"));

        strbuf_add(out, "%s%s%s: %s", i ? ", " : "", instance ? "" : "tag ",
                   instance ? instance
                   : tag    ? tag
                            : "",
                   json_string_value(json_object_get(g, "role")));
    }
}

int verb_users(struct verb *v, struct err *e)
{
    static const struct column columns[] = {
        { "NAME", "name", NULL },
        { "ROLE", "role", NULL },
        { "PASSWORD", "password", verb_print_yes },
        { "CODES", "totp", verb_print_yes },
        { "DISABLED", "disabled", verb_print_yes },
        { "GRANTS", "grants", print_grants },
    };

    return verb_print_list(v, "/1.0/users", columns, ARRAY_LEN(columns), e);
}

int verb_user_create(struct verb *v, struct err *e)
{
    json_t *body = given(v, verb_user_create_opts);
    int r = 0;

    json_object_set_new(body, "name", json_string(v->args.arg[0]));
    if (!v->no_password)
        r = ask_password("Password: ", body, "password", true, e);
    if (r >= 0)
        return simple(v, "POST", "/1.0/users", body, e);
    json_decref(body);
    return r;
}

int verb_user_set(struct verb *v, struct err *e)
{
    AUTO(free) char *path = verb_path("users", v->args.arg[0], "", e);

    return simple(v, "PATCH", path, given(v, verb_user_set_opts), e);
}

/* One's own, which the old one is asked for, or another's. */
int verb_user_password(struct verb *v, struct err *e)
{
    AUTO(free) char *path = v->args.n ? verb_path("users", v->args.arg[0], "", e) : NULL;
    json_t *body = json_object();
    int r = v->args.n && !path ? e->code : 0;

    if (r >= 0 && !v->args.n)
        r = ask_password("Old password: ", body, "old", false, e);
    if (r >= 0)
        r = ask_password("New password: ", body, "password", true, e);
    if (r >= 0)
        return simple(v, path ? "PATCH" : "POST", path ? path : "/1.0/self/password", body, e);
    json_decref(body);
    return r;
}

int verb_user_delete(struct verb *v, struct err *e)
{
    AUTO(free) char *path = verb_path("users", v->args.arg[0], "", e);

    return simple(v, "DELETE", path, NULL, e);
}

int verb_user_codes(struct verb *v, struct err *e)
{
    AUTO(free) char *path = verb_path("users", v->args.arg[0], "/totp", e);
    char code[16];
    json_t *j, *body;
    int r;

    if (!path || v->off)
        return simple(v, "DELETE", path, NULL, e);
    body = json_object();
    j = verb_ask(v, "POST", path, body, e);
    json_decref(body);
    if (!j)
        return e->code;
    printf("secret: %s\nuri: %s\n", json_string_value(json_object_get(j, "secret")),
           json_string_value(json_object_get(j, "uri")));
    json_decref(j);
    (void)fflush(stdout);
    r = ask_line("A code that the program shows now: ", code, sizeof(code), true, e);
    return r < 0 ? r : simple(v, "POST", path, json_pack("{s:s}", "code", code), e);
}

/* ---- tokens ---- */

int verb_tokens(struct verb *v, struct err *e)
{
    static const struct column columns[] = {
        { "ID", "id", NULL },
        { "KIND", "kind", NULL },
        { "USER", "user", NULL },
        { "NAME", "name", NULL },
        { "ROLE", "role", NULL },
        { "EXPIRES", "expires", verb_print_time },
        { "USED", "used", verb_print_time },
        { "FROM", "from", NULL },
    };

    return verb_print_list(v, "/1.0/tokens", columns, ARRAY_LEN(columns), e);
}

int verb_token_create(struct verb *v, struct err *e)
{
    json_t *body = json_pack("{s:s, s:I}", "name", v->args.arg[0], "seconds",
                             (json_int_t)v->days * DAY),
           *j;
    json_t *all = given(v, verb_token_create_opts);

    if (body && json_object_get(all, "user"))
        json_object_set(body, "user", json_object_get(all, "user"));
    if (body && json_object_get(all, "role"))
        json_object_set(body, "role", json_object_get(all, "role"));
    if (body && v->shell)
        json_object_set_new(body, "shell", json_true());
    json_decref(all);
    j = body ? verb_ask(v, "POST", "/1.0/tokens", body, e) : NULL;
    json_decref(body);
    if (!j)
        return e->code ? e->code : err_set(e, -EINVAL, "the name is not UTF-8");
    printf("%s\n", json_string_value(json_object_get(j, "token")));
    json_decref(j);
    return 0;
}

int verb_token_delete(struct verb *v, struct err *e)
{
    AUTO(free) char *path = verb_path("tokens", v->args.arg[0], "", e);

    return simple(v, "DELETE", path, NULL, e);
}

/* ---- what happened, and who is there ---- */

int verb_audit(struct verb *v, struct err *e)
{
    static const struct column columns[] = {
        { "TIME", "time", verb_print_time },
        { "WHO", "who", NULL },
        { "FROM", "from", NULL },
        { "STATUS", "status", NULL },
        { "WHAT", "what", NULL },
        { "PATH", "path", NULL },
        { "NOTE", "note", NULL },
    };
    AUTO(free) char *path = str_new("/1.0/audit?limit=%u", v->limit);
    json_t *j = verb_ask(v, "GET", path, NULL, e);

    if (!j)
        return e->code;
    verb_print_rows(v, json_object_get(j, "list"), columns, ARRAY_LEN(columns));
    json_decref(j);
    return 0;
}
