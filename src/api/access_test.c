/*
 * api/access_test.c: who may do what: every route with every role, from the rows; what a request says about who it is from; codes, waits,
 * keys and the audit log.
 */
#include "api/access_rig.h"
#include "api/totp.h"
#include "testlib/test.h"

#include <ctype.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdlib.h>
#include <unistd.h>

/* ---- the matrix ---- */

/*
 * Of each row a letter for each of `people`: y may, x is refused (403), h is told that it does not exist (404), - must log in (401).
 * "web" has the grants, "other" none.
 */
static const struct {
    const char *name,
        *grant; /* "viewer", "operator" on "web"; "tag": operator of the tag of "web" */
    int role, scope;
    const char *instance;
} people[] = {
    { NULL, NULL, 0, 0, "web" },
    { "none", NULL, ACCESS_NONE, ACCESS_ADMIN, "web" },
    { "viewer", NULL, ACCESS_VIEWER, ACCESS_ADMIN, "web" },
    { "operator", NULL, ACCESS_OPERATOR, ACCESS_ADMIN, "web" },
    { "admin", NULL, ACCESS_ADMIN, ACCESS_ADMIN, "web" },
    { "admin", NULL, ACCESS_ADMIN, ACCESS_VIEWER, "web" }, /* by a token of a viewer's rights */
    { "sees-web", "viewer", ACCESS_NONE, ACCESS_ADMIN, "web" },
    { "sees-web", "viewer", ACCESS_NONE, ACCESS_ADMIN, "other" },
    { "runs-web", "operator", ACCESS_NONE, ACCESS_ADMIN, "web" },
    { "runs-web", "operator", ACCESS_NONE, ACCESS_ADMIN, "other" },
    { "runs-tag", "tag", ACCESS_NONE, ACCESS_ADMIN, "web" },
    { "runs-tag", "tag", ACCESS_NONE, ACCESS_ADMIN, "other" },
    { "runs-tag", "tag", ACCESS_NONE, ACCESS_VIEWER, "web" },
};

/* clang-format off */
static const struct {
    const char *method, *path, *want;
} matrix[] = {
    /*                                                n v o a t  sees runs tag */
    { "GET",    "/1.0",                             "-yyyyyyyyyyyy" },
    { "GET",    "/1.0/openapi.json",                "-yyyyyyyyyyyy" },
    { "GET",    "/1.0/events",                      "-xyyyyyyyyyyy" },
    { "POST",   "/1.0/backup",                      "-xxxyxxxxxxxx" },
    { "GET",    "/1.0/host/terminal",               "-xxxyxxxxxxxx" },
    { "GET",    "/1.0/instances",                   "-xyyyyyyyyyyy" },
    { "POST",   "/1.0/instances",                   "-xxxyxxxxxxxx" },
    { "GET",    "/1.0/instances/{name}",            "-hyyyyyhyhyhy" },
    { "PATCH",  "/1.0/instances/{name}",            "-hxxyxxhxhxhx" },
    { "DELETE", "/1.0/instances/{name}",            "-hxxyxxhxhxhx" },
    { "POST",   "/1.0/instances/{name}/rename",     "-hxxyxxhxhxhx" },
    { "POST",   "/1.0/instances/{name}/action",     "-hxyyxxhyhyhx" },
    { "GET",    "/1.0/instances/{name}/log",        "-hyyyyyhyhyhy" },
    { "GET",    "/1.0/instances/{name}/console",    "-hxyyxxhyhyhx" },
    { "GET",    "/1.0/instances/{name}/exec",       "-hxyyxxhyhyhx" },
    { "GET",    "/1.0/instances/{name}/files",      "-hxyyxxhyhyhx" },
    { "GET",    "/1.0/instances/{name}/snapshots",  "-hyyyyyhyhyhy" },
    { "POST",   "/1.0/instances/{name}/snapshots",  "-hxxyxxhxhxhx" },
    { "DELETE", "/1.0/instances/{name}/snapshots/{snapshot}", "-hxxyxxhxhxhx" },
    { "POST",   "/1.0/instances/{name}/restore",    "-hxxyxxhxhxhx" },
    { "POST",   "/1.0/instances/{name}/clone",      "-hxxyxxhxhxhx" },
    { "GET",    "/1.0/instances/{name}/exports",    "-hxxyxxhxhxhx" },
    { "POST",   "/1.0/instances/{name}/exports",    "-hxxyxxhxhxhx" },
    { "GET",    "/1.0/instances/{name}/exports/{export}/content", "-hxxhxxhxhxhx" }, /* "1" is none */
    { "DELETE", "/1.0/instances/{name}/exports/{export}", "-hxxyxxhxhxhx" },
    { "GET",    "/1.0/instances/{name}/metrics",    "-hyyyyyhyhyhy" },
    { "GET",    "/1.0/instances/{name}/metrics/history", "-hyyyyyhyhyhy" },
    { "GET",    "/1.0/metrics",                     "-xyyyyyyyyyyy" },
    { "GET",    "/1.0/metrics/instances",           "-xyyyyyyyyyyy" },
    { "GET",    "/1.0/metrics/host",                "-xyyyyxxxxxxx" },
    { "GET",    "/1.0/metrics/host/history",        "-xyyyyxxxxxxx" },
    { "GET",    "/1.0/images",                      "-xyyyyxxxxxxx" },
    { "POST",   "/1.0/images",                      "-xxxyxxxxxxxx" },
    { "DELETE", "/1.0/images/{name}",               "-xxxyxxxxxxxx" },
    { "GET",    "/1.0/images/{name}/content",       "-xxyyxxxxxxxx" },
    { "GET",    "/1.0/catalogues",                  "-xyyyyxxxxxxx" },
    { "POST",   "/1.0/catalogues",                  "-xxxyxxxxxxxx" },
    { "PUT",    "/1.0/catalogues/{name}",           "-xxxyxxxxxxxx" },
    { "POST",   "/1.0/catalogues/{name}/update",    "-xxxyxxxxxxxx" },
    { "DELETE", "/1.0/catalogues/{name}",           "-xxxyxxxxxxxx" },
    { "GET",    "/1.0/uploads",                     "-xxxyxxxxxxxx" },
    { "POST",   "/1.0/uploads",                     "-xxxyxxxxxxxx" },
    { "GET",    "/1.0/uploads/{id}",                "-xxxyxxxxxxxx" },
    { "PATCH",  "/1.0/uploads/{id}",                "-xxxyxxxxxxxx" },
    { "PUT",    "/1.0/uploads/{id}",                "-xxxyxxxxxxxx" },
    { "DELETE", "/1.0/uploads/{id}",                "-xxxyxxxxxxxx" },
    { "GET",    "/1.0/networks",                    "-xyyyyxxxxxxx" },
    { "POST",   "/1.0/networks",                    "-xxxyxxxxxxxx" },
    { "GET",    "/1.0/networks/{name}",             "-xyyyyxxxxxxx" },
    { "PATCH",  "/1.0/networks/{name}",             "-xxxyxxxxxxxx" },
    { "DELETE", "/1.0/networks/{name}",             "-xxxyxxxxxxxx" },
    { "GET",    "/1.0/tasks",                       "-xyyyyyyyyyyy" },
    { "GET",    "/1.0/tasks/{number}",              "-xyyyyyhyhyhy" },
    { "DELETE", "/1.0/tasks/{number}",              "-xxyyxxxyyyyx" },
    { "POST",   "/1.0/login",                       "yyyyyyyyyyyyy" },
    { "GET",    "/1.0/setup",                       "yyyyyyyyyyyyy" },
    { "POST",   "/1.0/setup",                       "yyyyyyyyyyyyy" },
    { "GET",    "/1.0/support",                     "-xxxyxxxxxxxx" },
    { "POST",   "/1.0/logout",                      "-yyyyyyyyyyyy" },
    { "GET",    "/1.0/self",                        "-yyyyyyyyyyyy" },
    { "POST",   "/1.0/self/password",               "-yyyyyyyyyyyy" },
    { "GET",    "/1.0/users",                       "-xxxyxxxxxxxx" },
    { "POST",   "/1.0/users",                       "-xxxyxxxxxxxx" },
    { "GET",    "/1.0/users/{name}",                "-xxxyxxxxxxxx" },
    { "PATCH",  "/1.0/users/{name}",                "-xxxyxxxxxxxx" },
    { "DELETE", "/1.0/users/{name}",                "-xxxyxxxxxxxx" },
    { "POST",   "/1.0/users/{name}/totp",           "-yyyyyyyyyyyy" },
    { "DELETE", "/1.0/users/{name}/totp",           "-xxxyxxxxxxxx" },
    { "GET",    "/1.0/tokens",                      "-yyyyyyyyyyyy" },
    { "POST",   "/1.0/tokens",                      "-yyyyyyyyyyyy" },
    { "DELETE", "/1.0/tokens/{id}",                 "-yyyyyyyyyyyy" },
    { "GET",    "/1.0/audit",                       "-xxxyxxxxxxxx" },
};
/* clang-format on */

static const char *wanted(const struct api_route *row)
{
    for_each_row(m, matrix)
        if (strcmp(m->method, row->method) == 0 && strcmp(m->path, row->path) == 0)
            return m->want;
    return NULL;
}

/* What shall only be read is read; of the rest a parameter that does not exist is found wrong after the rights. */
static void path_for(struct access_rig *r, const struct api_route *row, const char *instance,
                     char *ret, size_t size)
{
    AUTO(strbuf) struct strbuf path = {};
    const bool get = strcmp(row->method, "GET") == 0;
    const char *of = str_starts(row->path, "/1.0/instances") ? instance
                     : str_starts(row->path, "/1.0/tasks")
                         ? (strcmp(instance, "web") == 0 ? r->task_web : r->task_other)
                     : str_starts(row->path, "/1.0/users") ? "viewer"
                                                           : "none";
    bool first = true;

    for (const char *p = row->path; *p;) {
        const size_t len = strcspn(p, "{"), name = strcspn(p + len, "}");

        strbuf_add(&path, "%.*s%s", (int)len, p, !p[len] ? "" : first ? of : "1");
        first = first && !p[len];
        p += len + name + (p[len + name] != 0);
    }
    str_fmt(ret, size, "%s%s", path.text, get ? "" : "?no-such=1");
}

static char letter(int status, const char *path)
{
    const bool of_one = str_starts(path, "/1.0/instances/") || str_starts(path, "/1.0/tasks/");

    return status == 401 ? '-' : status == 403 ? 'x' : status == 404 && of_one ? 'h' : 'y';
}

static void give_people(struct access_rig *r)
{
    for_each_row(p, people) {
        struct user_rec rec = { .role = p->role };
        struct access_grant *g;

        if (!p->name || access_user(&r->access, p->name))
            continue;
        if (p->grant) {
            g = rec.grants.items = xnew(struct access_grant);
            rec.grants.n = 1;
            g->role = strcmp(p->grant, "viewer") == 0 ? ACCESS_VIEWER : ACCESS_OPERATOR;
            if (strcmp(p->grant, "tag") == 0)
                g->tag = xdup("blue");
            else
                g->instance = xdup(r->id_web);
        }
        CHECK_EQ(access_user_put(&r->access, p->name, &rec, NULL), 0);
    }
}

TEST(access_matrix)
{
    struct access_rig r;
    u32 routes = 0;

    access_rig_open(&r, test_dir(), "matrix");
    give_people(&r);
    for_each_api_route(row) {
        const char *want = wanted(row);
        char got[ARRAY_LEN(people) + 1] = "", why[200], path[200];

        str_fmt(why, sizeof(why), "%s %s: what was found, and what is expected", row->method,
                row->path);
        test_row(why);
        for (u32 p = 0; p < ARRAY_LEN(people); p++) {
            path_for(&r, row, people[p].instance, path, sizeof(path));
            access_rig_as(&r, people[p].name, people[p].scope);
            got[p] = letter(access_rig_ask(&r, row->method, path, ""), path);
        }
        CHECK_STR(got, want ? want : "a row of the matrix");
        routes++;
    }
    test_row("rows of routes that do not exist");
    CHECK_EQ(routes, ARRAY_LEN(matrix));
    access_rig_close(&r);
}

/* Lists, and single tasks, are of what one may see. */
TEST(access_filters)
{
    struct access_rig r;

    access_rig_open(&r, test_dir(), "filters");
    give_people(&r);
    access_rig_as(&r, "sees-web", ACCESS_ADMIN);
    CHECK_EQ(access_rig_ask(&r, "GET", "/1.0/instances", ""), 200);
    CHECK_HAS(r.got.body.text, "\"web\"");
    CHECK(!strstr(r.got.body.text, "\"other\""));
    CHECK_EQ(access_rig_ask(&r, "GET", "/1.0/tasks", ""), 200);
    CHECK_HAS(r.got.body.text, "\"web\"");
    CHECK(!strstr(r.got.body.text, "\"other\""));
    CHECK_EQ(access_rig_ask(&r, "GET", "/1.0", ""), 200);
    CHECK(!strstr(r.got.body.text, "\"dir\""));
    access_rig_as(&r, "runs-web", ACCESS_ADMIN);
    CHECK_EQ(access_rig_cancel(&r, r.task_other), 404);
    CHECK_EQ(access_rig_cancel(&r, r.task_web), 409); /* it has ended */
    access_rig_as(&r, "sees-web", ACCESS_ADMIN);
    CHECK_EQ(access_rig_cancel(&r, r.task_web), 403);
    access_rig_close(&r);
}

/* What cloud-init is told is for who may change it. */
TEST(access_cloud)
{
    struct access_rig r;

    access_rig_open(&r, test_dir(), "cloud");
    give_people(&r);
    access_rig_as(&r, "admin", ACCESS_ADMIN);
    CHECK_EQ(access_rig_ask(&r, "PATCH", "/1.0/instances/web",
                            "{\"cloud\": {\"user_data\": \"#cloud-config\\npassword: p\\n\"}}"),
             200);
    CHECK_EQ(access_rig_ask(&r, "GET", "/1.0/instances/web", ""), 200);
    CHECK_HAS(r.got.body.text, "password: p");
    access_rig_as(&r, "viewer", ACCESS_ADMIN);
    CHECK_EQ(access_rig_ask(&r, "GET", "/1.0/instances/web", ""), 200);
    CHECK(!strstr(r.got.body.text, "password: p"));
    access_rig_as(&r, "runs-web", ACCESS_ADMIN);
    CHECK_EQ(access_rig_ask(&r, "GET", "/1.0/instances/web", ""), 200);
    CHECK(!strstr(r.got.body.text, "password: p"));
    access_rig_close(&r);
}

/* ---- users and tokens by the API ---- */

static const struct {
    const char *why, *as;
    int scope;
    const char *method, *path, *body;
    int status;
    const char *says;
} requests[] = {
    { "a user without a password", "admin", ACCESS_ADMIN, "POST", "/1.0/users",
      "{\"name\": \"new\", \"role\": \"viewer\"}", 204, NULL },
    { "twice", "admin", ACCESS_ADMIN, "POST", "/1.0/users", "{\"name\": \"new\"}", 409, "exists" },
    { "a name that is a path", "admin", ACCESS_ADMIN, "POST", "/1.0/users", "{\"name\": \"a/b\"}",
      400, "\"field\":\"name\"" },
    { "a short password", "admin", ACCESS_ADMIN, "POST", "/1.0/users",
      "{\"name\": \"new2\", \"password\": \"short\"}", 400, "\"field\":\"password\"" },
    { "a grant of what is not there", "admin", ACCESS_ADMIN, "PATCH", "/1.0/users/new",
      "{\"grants\": [{\"instance\": \"gone\"}]}", 400, "\"field\":\"grants\"" },
    { "a grant to change", "admin", ACCESS_ADMIN, "PATCH", "/1.0/users/new",
      "{\"grants\": [{\"instance\": \"web\", \"role\": \"admin\"}]}", 400, "viewer or operator" },
    { "a grant of everything and nothing", "admin", ACCESS_ADMIN, "PATCH", "/1.0/users/new",
      "{\"grants\": [{\"role\": \"viewer\"}]}", 400, "on an instance, or on a tag" },
    { "a grant", "admin", ACCESS_ADMIN, "PATCH", "/1.0/users/new",
      "{\"role\": \"none\", \"grants\": [{\"instance\": \"web\", \"role\": \"operator\"}]}", 204,
      NULL },
    { "it is shown by name", "admin", ACCESS_ADMIN, "GET", "/1.0/users/new", "", 200,
      "{\"instance\":\"web\",\"role\":\"operator\"}" },
    { "no hash is shown", "admin", ACCESS_ADMIN, "GET", "/1.0/users/new", "", 200,
      "\"password\":false" },
    { "unknown member", "admin", ACCESS_ADMIN, "PATCH", "/1.0/users/new", "{\"totp\": \"x\"}", 400,
      "\"field\":\"totp\"" },
    { "a token of one's own", "viewer", ACCESS_ADMIN, "POST", "/1.0/tokens", "{\"name\": \"ci\"}",
      200, "\"token\":\"socle_" },
    { "a token of another", "viewer", ACCESS_ADMIN, "POST", "/1.0/tokens", "{\"user\": \"admin\"}",
      403, "forbidden" },
    { "a token of another, by an admin", "admin", ACCESS_ADMIN, "POST", "/1.0/tokens",
      "{\"user\": \"viewer\"}", 200, "\"token\":\"socle_" },
    { "one's own are listed", "viewer", ACCESS_ADMIN, "GET", "/1.0/tokens", "", 200, "\"ci\"" },
    { "a secret for oneself", "viewer", ACCESS_ADMIN, "POST", "/1.0/users/viewer/totp", "{}", 200,
      "otpauth://totp/Socle:viewer" },
    { "a secret for another", "viewer", ACCESS_ADMIN, "POST", "/1.0/users/admin/totp", "{}", 403,
      "forbidden" },
    { "a wrong code does not begin it", "viewer", ACCESS_ADMIN, "POST", "/1.0/users/viewer/totp",
      "{\"code\": \"abcdef\"}", 400, "\"field\":\"code\"" },
    { "delete", "admin", ACCESS_ADMIN, "DELETE", "/1.0/users/new", "", 204, NULL },
    { "gone", "admin", ACCESS_ADMIN, "GET", "/1.0/users/new", "", 404, "no user" },
};

TEST(access_requests)
{
    struct access_rig r;

    access_rig_open(&r, test_dir(), "requests");
    give_people(&r);
    for_each_row(row, requests) {
        ROW(row);
        access_rig_as(&r, row->as, row->scope);
        CHECK_EQ(access_rig_ask(&r, row->method, row->path, row->body), row->status);
        if (row->says)
            CHECK_HAS(r.got.body.text, row->says);
    }
    access_rig_close(&r);
}

/* What a token must not do: it would outlive its own end. */
TEST(access_tokens_make_nothing)
{
    static const struct {
        const char *method, *path, *body;
    } rows[] = {
        { "POST", "/1.0/tokens", "{}" },
        { "DELETE", "/1.0/tokens/none", "" },
        { "POST", "/1.0/users/admin/totp", "{}" },
        { "POST", "/1.0/self/password", "{\"old\": \"12345678\", \"password\": \"12345678\"}" },
        { "POST", "/1.0/logout", "" },
    };
    struct access_rig r;

    access_rig_open(&r, test_dir(), "tokens");
    give_people(&r);
    access_rig_as(&r, "admin", ACCESS_ADMIN);
    r.who.token = true;
    for_each_row(row, rows) {
        test_row(row->path);
        CHECK_EQ(access_rig_ask(&r, row->method, row->path, row->body), 403);
        CHECK_HAS(r.got.body.text, "a token may not");
    }
    access_rig_close(&r);
}

/* A login from its body to its key, and what ends it. */
static void set_password(struct access_rig *r, const char *name, const char *password)
{
    AUTO(free) char *path = str_new("/1.0/users/%s", name);
    AUTO(free) char *body = str_new("{\"password\": \"%s\"}", password);

    access_rig_as(r, "admin", ACCESS_ADMIN);
    CHECK_EQ(access_rig_ask(r, "PATCH", path, body), 204);
}

static int log_in(struct access_rig *r, const char *name, const char *password, const char *code)
{
    AUTO(free)
    char *body =
        str_new("{\"user\": \"%s\", \"password\": \"%s\", \"code\": \"%s\", \"bearer\": true}",
                name, password, code);

    access_rig_as(r, NULL, 0);
    return access_rig_ask(r, "POST", "/1.0/login", body);
}

TEST(access_login)
{
    static const char secret[] = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"; /* of RFC 6238 */
    struct access_rig r;
    struct user_rec rec;

    access_rig_open(&r, test_dir(), "login");
    give_people(&r);
    CHECK_EQ(log_in(&r, "viewer", "correct horse", ""), 401); /* there is no password */
    set_password(&r, "viewer", "correct horse");
    CHECK_EQ(log_in(&r, "viewer", "correct house", ""), 401);
    CHECK_HAS(r.got.body.text, "name, password or code is wrong");
    CHECK_EQ(log_in(&r, "nobody", "correct horse", ""), 401);
    CHECK_HAS(r.got.body.text, "name, password or code is wrong");
    CHECK_EQ(log_in(&r, "viewer", "correct horse", ""), 200);
    CHECK_HAS(r.got.body.text, "\"token\":\"socle_");

    rec = user_rec_copy(&access_user(&r.access, "viewer")->rec);
    rec.totp = xdup(secret);
    CHECK_EQ(access_user_put(&r.access, "viewer", &rec, NULL), 0);
    access_rig_now = 1111111109;
    CHECK_EQ(log_in(&r, "viewer", "correct horse", ""), 401);
    CHECK_EQ(log_in(&r, "viewer", "correct horse", "081804"), 200);
    CHECK_EQ(log_in(&r, "viewer", "correct horse", "081804"), 401); /* a code counts once */

    rec = user_rec_copy(&access_user(&r.access, "viewer")->rec);
    rec.disabled = true;
    CHECK_EQ(access_user_put(&r.access, "viewer", &rec, NULL), 0);
    access_rig_now += 60;
    CHECK_EQ(log_in(&r, "viewer", "correct horse", "050471"), 401);
    access_rig_close(&r);
}

static int set_up(struct access_rig *r, const char *code, const char *user)
{
    AUTO(free)
    char *body = str_new("{\"code\": \"%s\", \"user\": \"%s\", \"password\": \"correct horse\"}",
                         code, user);

    access_rig_as(r, NULL, 0);
    return access_rig_ask(r, "POST", "/1.0/setup", body);
}

static void end_users(struct access_rig *r)
{
    while (r->access.users)
        must(access_user_delete(&r->access, r->access.users->name, NULL) >= 0);
}

/* The first user is made by the code, once, and by nothing else. */
TEST(access_setup)
{
    struct access_rig r;
    char code[ACCESS_SETUP_TEXT + 1], typed[64] = "";

    access_rig_open(&r, test_dir(), "setup");
    CHECK_EQ(set_up(&r, "", "root"), 409); /* nobody began it */
    access_setup_begin(&r.access);
    str_copy(code, sizeof(code), r.access.setup);
    CHECK_EQ(strlen(code), (size_t)ACCESS_SETUP_TEXT);
    for (u32 i = 0; code[i]; i++)
        typed[i] = code[i] == '-' ? ' ' : (char)toupper((unsigned char)code[i]);

    r.rights = API_ALL;
    r.known = false;
    CHECK_EQ(access_rig_ask(&r, "GET", "/1.0", ""), 200); /* a process of the host */
    CHECK_HAS(r.got.body.text, code);
    access_rig_as(&r, NULL, 0);
    CHECK_EQ(access_rig_ask(&r, "GET", "/1.0/setup", ""), 200);
    CHECK_HAS(r.got.body.text, "\"needed\":true");
    CHECK(!strstr(r.got.body.text, code));

    CHECK_EQ(set_up(&r, "0000-0000-0000-0000", "root"), 401);
    CHECK_EQ(set_up(&r, "", "root"), 401);
    CHECK_EQ(set_up(&r, code, "no name"), 400);
    CHECK(!r.access.users);
    CHECK_EQ(set_up(&r, typed, "root"), 200);
    CHECK_HAS(r.got.cookie, "__Host-socle=socle_");
    CHECK_EQ(access_user(&r.access, "root")->rec.role, ACCESS_ADMIN);
    CHECK_EQ(set_up(&r, code, "second"), 409);
    CHECK_EQ(r.access.n_users, 1u);
    CHECK_EQ(log_in(&r, "root", "correct horse", ""), 200);
    access_setup_begin(&r.access);
    CHECK(!r.access.setup[0]); /* there is a user */
    access_rig_close(&r);
}

/* A user who is made otherwise ends it, also while a password is hashed; guesses wait. */
TEST(access_setup_ends)
{
    struct user_rec rec = { .role = ACCESS_VIEWER };
    struct access_rig r;
    char code[ACCESS_SETUP_TEXT + 1];
    int status = 401;

    access_rig_open(&r, test_dir(), "setup-ends");
    access_setup_begin(&r.access);
    str_copy(code, sizeof(code), r.access.setup);
    for (u32 i = 0; i < 20 && status == 401; i++)
        status = set_up(&r, "0000-0000-0000-0000", "root");
    CHECK_EQ(status, 429);
    CHECK_EQ(set_up(&r, code, "root"), 429); /* the right one waits, too */
    access_rig_now += 3600;
    CHECK_EQ(access_user_put(&r.access, "ann", &rec, NULL), 0);
    CHECK_EQ(set_up(&r, code, "root"), 409);
    CHECK(!access_user(&r.access, "root"));
    end_users(&r);
    CHECK_EQ(set_up(&r, "", "root"), 409); /* until the next start */
    access_rig_close(&r);
}

/* Whatever is secret is given a word that is searched for. */
TEST(access_support_has_no_secrets)
{
    static const char *const secrets[] = { "s3cret", "$argon2", "socle_", "GEZDGNBVGY3TQOJQ" };
    struct access_rig r;
    struct user_rec rec;
    AUTO(free) char *log = NULL, *key = NULL;
    FILE *f;

    access_rig_open(&r, test_dir(), "support");
    give_people(&r);
    set_password(&r, "viewer", "s3cret horse");
    key = access_rig_fill(&r, "TOKEN");
    rec = user_rec_copy(&access_user(&r.access, "viewer")->rec);
    rec.totp = xdup("GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ");
    CHECK_EQ(access_user_put(&r.access, "viewer", &rec, NULL), 0);
    access_rig_as(&r, "admin", ACCESS_ADMIN);
    CHECK_EQ(
        access_rig_ask(&r, "PATCH", "/1.0/instances/web",
                       "{\"notes\": \"s3cret\", \"append\": \"pw=s3cret\", \"cloud\": "
                       "{\"user_data\": \"#cloud-config\\npassword: s3cret\\n\", \"hostname\": "
                       "\"s3cret\"}}"),
        200);
    log = str_new("%s/socled.log", r.host.dir);
    f = fopen(log, "w");
    CHECK(f != NULL);
    fprintf(f, "socled: a line\nsocled: there are no users; setup code s3cret makes the first\n");
    fclose(f);

    CHECK_EQ(access_rig_ask(&r, "GET", "/1.0/support", ""), 200);
    CHECK_HAS(r.got.body.text, "\"name\":\"web\"");
    CHECK_HAS(r.got.body.text, "socled: a line");
    CHECK_HAS(r.got.body.text, "\"name\":\"viewer\"");
    CHECK_HAS(r.got.body.text, "\"kernel\":");
    for (u32 i = 0; i < ARRAY_LEN(secrets); i++)
        CHECK(!strstr(r.got.body.text, secrets[i]));
    access_rig_close(&r);
}

/* The answers to wrong passwords come later and later. */
TEST(access_lockout)
{
    u64 wait = 0;
    struct access_rig r;
    struct err e = {};

    access_rig_open(&r, test_dir(), "lockout");
    for (u32 n = 0; n < 12; n++) {
        CHECK_OK(tries_begin(&r.access, "u", "10.0.0.1", &e), &e);
        if (tries_begin(&r.access, "u", "10.0.0.2", &e) == -EDQUOT) {
            wait++;
            access_rig_now += 60;
        }
    }
    CHECK(wait >= 4);
    CHECK_OK(tries_begin(&r.access, "v", "10.0.0.1", &e),
             &e); /* another user is not kept waiting */
    tries_forgive(&r.access, "u", "10.0.0.1");
    CHECK_OK(tries_begin(&r.access, "u", "10.0.0.1", &e), &e);
    for (u32 n = 0; n < 40; n++) { /* one address, many names */
        char name[16];

        str_fmt(name, sizeof(name), "n%u", n);
        if (tries_begin(&r.access, name, "10.0.0.9", &e) < 0)
            break;
        CHECK(n < 25);
    }
    CHECK_EQ(e.code, -EDQUOT);
    for (u32 n = 0; n < 2 * TRIES_MAX; n++) { /* more than the table holds */
        char name[16];

        str_fmt(name, sizeof(name), "m%u", n);
        (void)tries_begin(&r.access, name, name, &e);
    }
    CHECK_EQ(tries_begin(&r.access, "x", "10.0.0.9", &e),
             -EDQUOT); /* who waits is not pushed out */
    access_rig_now += 2 * 3600;
    CHECK_OK(tries_begin(&r.access, "x", "10.0.0.9", &e), &e);
    access_rig_close(&r);
}

/* ---- what a request says ---- */

static const struct {
    const char *why, *method, *authorization, *cookie, *origin, *host; /* KEY, TOKEN: those */
    bool websocket, marked;
    int code;
} claims[] = {
    { "nothing", "GET", "", "", "", "h", false, false, -EKEYREJECTED },
    { "bearer", "GET", "Bearer KEY", "", "", "h", false, false, 0 },
    { "bearer token", "POST", "bearer TOKEN", "", "", "h", false, false, 0 },
    { "bearer changes without a mark", "POST", "Bearer KEY", "", "https://evil", "h", false, false,
      0 },
    { "another scheme", "GET", "Basic KEY", "", "", "h", false, false, -EKEYREJECTED },
    { "a byte more", "GET", "Bearer KEYx", "", "", "h", false, false, -EKEYREJECTED },
    { "only its beginning", "GET", "Bearer socle_", "", "", "h", false, false, -EKEYREJECTED },
    { "no secret", "GET", "Bearer socle_0123456789abcdef_", "", "", "h", false, false,
      -EKEYREJECTED },
    { "cookie reads", "GET", "", "a=b; __Host-socle=KEY; c=d", "", "h", false, false, 0 },
    { "cookie alone", "GET", "", "__Host-socle=KEY", "", "h", false, false, 0 },
    { "a cookie whose name ends so", "GET", "", "x__Host-socle=KEY", "", "h", false, false,
      -EKEYREJECTED },
    { "a token is no cookie", "GET", "", "__Host-socle=TOKEN", "", "h", false, false,
      -EKEYREJECTED },
    { "cookie changes without a mark", "POST", "", "__Host-socle=KEY", "", "h", false, false,
      -EPERM },
    { "cookie changes", "POST", "", "__Host-socle=KEY", "", "h", false, true, 0 },
    { "cookie changes, own page", "POST", "", "__Host-socle=KEY", "https://h", "h", false, true,
      0 },
    { "cookie changes, another's page", "POST", "", "__Host-socle=KEY", "https://evil", "h", false,
      true, -EPERM },
    { "page without TLS", "POST", "", "__Host-socle=KEY", "http://h", "h", false, true, -EPERM },
    { "websocket, own page", "GET", "", "__Host-socle=KEY", "https://h", "h", true, false, 0 },
    { "websocket, another port's page", "GET", "", "__Host-socle=KEY", "https://h:1", "h", true,
      false, -EPERM },
    { "websocket, no page", "GET", "", "__Host-socle=KEY", "", "h", true, true, -EPERM },
    { "websocket, no host", "GET", "", "__Host-socle=KEY", "https://", "", true, true, -EPERM },
    { "websocket by a program", "GET", "Bearer TOKEN", "", "", "h", true, false, 0 },
};

TEST(access_claims)
{
    struct access_rig r;

    access_rig_open(&r, test_dir(), "claims");
    give_people(&r);
    for_each_row(row, claims) {
        AUTO(free) char *authorization = access_rig_fill(&r, row->authorization);
        AUTO(free) char *cookie = access_rig_fill(&r, row->cookie);
        const struct access_claim claim = { row->method, authorization,  cookie,     row->origin,
                                            row->host,   row->websocket, row->marked };
        struct access_who who;
        struct err e = {};
        u32 rights = 0;

        ROW(row);
        CHECK_EQ(access_identify(&r.access, &claim, &who, &rights, &e), row->code);
        if (row->code == 0)
            CHECK_STR(who.name, "viewer");
    }
    access_rig_close(&r);
}

/* Idle, too old, its user disabled or gone: a key ends; and what it is after a restart. */
TEST(access_keys_end)
{
    struct access_who who;
    struct access_rig r;
    struct user_rec rec;
    struct err e = {};
    u32 rights;

    access_rig_open(&r, test_dir(), "ends");
    give_people(&r);
    access_rig_now = 1000000;
    for (u32 n = 0; n < 2; n++) { /* the second time as the records say */
        AUTO(free) char *text = access_rig_fill(&r, "Bearer KEY");
        const struct access_claim claim = { .method = "GET", .authorization = text };

        CHECK_OK(access_identify(&r.access, &claim, &who, &rights, &e), &e);
        access_rig_now += ACCESS_IDLE_SECONDS - 1;
        CHECK_OK(access_identify(&r.access, &claim, &who, &rights, &e), &e);
        access_rig_restart(&r);
        CHECK_OK(access_identify(&r.access, &claim, &who, &rights, &e), &e);
        access_rig_now += ACCESS_IDLE_SECONDS;
        CHECK_EQ(access_identify(&r.access, &claim, &who, &rights, &e), -EKEYREJECTED);
    }
    {
        AUTO(free) char *text = access_rig_fill(&r, "Bearer KEY");
        const struct access_claim claim = { .method = "GET", .authorization = text };

        for (u32 n = 0; n < 23; n++) {
            access_rig_now += 3600;
            CHECK_OK(access_identify(&r.access, &claim, &who, &rights, &e), &e);
        }
        access_rig_now += 3600;
        CHECK_EQ(access_identify(&r.access, &claim, &who, &rights, &e), -EKEYREJECTED);
    }
    {
        AUTO(free) char *text = access_rig_fill(&r, "Bearer TOKEN");
        const struct access_claim claim = { .method = "GET", .authorization = text };

        CHECK_OK(access_identify(&r.access, &claim, &who, &rights, &e), &e);
        CHECK(access_again(&r.access, &who, &rights));
        rec = user_rec_copy(&access_user(&r.access, "viewer")->rec);
        rec.disabled = true;
        CHECK_OK(access_user_put(&r.access, "viewer", &rec, &e), &e);
        CHECK(!access_again(&r.access, &who, &rights));
        CHECK_EQ(access_identify(&r.access, &claim, &who, &rights, &e), -EKEYREJECTED);
        CHECK_OK(access_user_delete(&r.access, "viewer", &e), &e);
        rec = (struct user_rec){ .role = ACCESS_ADMIN }; /* another with this name */
        CHECK_OK(access_user_put(&r.access, "viewer", &rec, &e), &e);
        CHECK_EQ(access_identify(&r.access, &claim, &who, &rights, &e), -EKEYREJECTED);
    }
    access_rig_close(&r);
}

/* So many that some have the same place: each is found, until it is deleted, and after a restart. */
TEST(access_many_keys)
{
    enum { USERS = 8, EACH = 60, ALL = USERS * EACH };
    char ids[ALL][ACCESS_KEY_ID + 1];
    struct access_rig r;
    struct err e = {};
    u32 shared = 0;

    access_rig_open(&r, test_dir(), "many");
    for (u32 n = 0; n < ALL; n++) {
        struct key_rec rec = { .kind = KEY_TOKEN,
                               .user = str_new("u%u", n / EACH),
                               .expires = access_rig_now + 1000 };
        char text[ACCESS_KEY_MAX];
        const char *id = "";

        CHECK_OK(access_key_new(&r.access, &rec, text, &id, &e), &e);
        str_copy(ids[n], sizeof(ids[n]), id);
    }
    for (u32 n = 0; n < ALL; n++)
        shared += access_key(&r.access, ids[n])->same != NULL;
    CHECK(shared > 0); /* 480 in 4096 places: 28 are expected */
    for (u32 n = 0; n < ALL; n += 2)
        CHECK_OK(access_key_delete(&r.access, ids[n], &e), &e);
    for (u32 round = 0; round < 2; round++) {
        for (u32 n = 0; n < ALL; n++)
            CHECK_EQ(access_key(&r.access, ids[n]) != NULL, n % 2);
        access_rig_restart(&r);
    }
    CHECK_EQ(access_key_delete(&r.access, ids[0], &e), -ENOENT);
    access_rig_close(&r);
}

/* RFC 6238, appendix B, its last six digits. */
TEST(access_totp)
{
    static const char secret[] = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ";
    static const struct {
        const char *why;
        u64 now;
        const char *code;
        int r;
    } rows[] = {
        { "59 s", 59, "287082", 0 },
        { "2005", 1111111109, "081804", 0 },
        { "2033", 2000000000, "279037", 0 },
        { "a step later", 2000000030, "279037", 0 },
        { "a step before", 1999999970, "279037", 0 },
        { "two steps later", 2000000060, "279037", -EKEYREJECTED },
        { "wrong", 59, "287083", -EKEYREJECTED },
        { "its first digits", 59, "28708", -EKEYREJECTED },
        { "more digits", 59, "2870820", -EKEYREJECTED },
        { "none", 59, "", -EKEYREJECTED },
    };
    char made[TOTP_SECRET_TEXT + 1];
    u64 step = 0;

    for_each_row(row, rows) {
        ROW(row);
        CHECK_EQ(totp_check(secret, row->code, row->now, &step), row->r);
    }
    CHECK_EQ(totp_check("short", "287082", 59, &step), -EINVAL);
    CHECK_EQ(totp_check("GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJ1", "287082", 59, &step), -EINVAL);
    totp_secret(made);
    CHECK_EQ(totp_check(made, "", 59, &step), -EKEYREJECTED);
}

/* ---- the audit log ---- */

static void add(struct audit *a, const char *path)
{
    struct audit_entry entry = { .who = "w", .from = "f", .what = "POST", .status = 200 };

    str_copy(entry.path, sizeof(entry.path), path);
    audit_add(a, &entry, 1);
}

TEST(access_audit)
{
    AUTO(free) char *dir = str_new("%s/audit", test_dir());
    AUTO(free) char *file = str_new("%s/audit.log", dir);
    AUTO(fd) int fd = -1;
    struct audit a;
    struct err e = {};
    json_t *list;
    bool more;

    CHECK_EQ(mkdir(dir, 0700), 0);
    CHECK_OK(audit_open(&a, dir, &e), &e);
    for (u32 i = 0; i < 5; i++)
        add(&a, "/1.0/x");
    add(&a, "/1.0/\xff");
    audit_close(&a);
    fd = open(file, O_WRONLY | O_APPEND | O_CLOEXEC);
    CHECK_EQ(fd_write_all(fd, "{\"number\": 9", 12), 0); /* a kill */
    CHECK_OK(audit_open(&a, dir, &e), &e);
    add(&a, "/1.0/y");
    list = audit_list(&a, ~0ull, 3, &more);
    CHECK_EQ(json_array_size(list), 3);
    CHECK(more);
    CHECK_EQ(json_integer_value(json_object_get(json_array_get(list, 0), "number")), 6);
    json_decref(list);
    list = audit_list(&a, 4, 100, &more);
    CHECK_EQ(json_array_size(list), 3);
    CHECK(!more);
    json_decref(list);
    /* it is bounded, and goes on in the file before */
    for (u32 i = 0; i < 2 * AUDIT_FILE_MAX / 100; i++)
        add(&a, "/1.0/instances/a-name-that-is-about-as-long-as-they-are/action");
    list = audit_list(&a, ~0ull, 20000, &more);
    CHECK_EQ(json_array_size(list), 20000);
    json_decref(list);
    CHECK(lseek(fd, 0, SEEK_END) < AUDIT_FILE_MAX + 1000);
    audit_close(&a);
}
