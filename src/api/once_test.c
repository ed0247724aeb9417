/*
 * api/once_test.c: requests that are sent again with their key: done once, answered the same, also by the next socled; what is kept of them.
 */
#include "api/access_rig.h"
#include "testlib/test.h"

static int ask(struct access_rig *r, const char *key, const char *method, const char *path,
               const char *body)
{
    int status;

    r->once = key;
    status = access_rig_ask(r, method, path, body);
    r->once = NULL;
    return status;
}

static void open_as_admin(struct access_rig *r, const char *name)
{
    struct user_rec rec = { .role = ACCESS_ADMIN };

    access_rig_open(r, test_dir(), name);
    CHECK_EQ(access_user_put(&r->access, "admin", &rec, NULL), 0);
    rec.role = ACCESS_ADMIN;
    CHECK_EQ(access_user_put(&r->access, "second", &rec, NULL), 0);
    access_rig_as(r, "admin", ACCESS_ADMIN);
}

static u32 instances(struct access_rig *r)
{
    u32 n;

    host_lock(&r->host);
    n = r->host.n;
    host_unlock(&r->host);
    return n;
}

static const struct {
    const char *why, *method, *path, *body;
    int status, again; /* again: of the second time */
    int without;       /* of the second time without a key */
} rows[] = {
    { "a task", "POST", "/1.0/instances", "{\"name\": \"one\", \"kernel\": \"/k\"}", 202, 202,
      409 },
    { "an edit", "PATCH", "/1.0/instances/web", "{\"notes\": \"x\"}", 200, 200, 200 },
    { "a new name", "POST", "/1.0/instances/other/rename", "{\"name\": \"else\"}", 200, 200, 404 },
    { "nothing to be told", "POST", "/1.0/users", "{\"name\": \"new\"}", 204, 204, 409 },
    { "a password, hashed on another thread", "PATCH", "/1.0/users/new",
      "{\"password\": \"correct horse\"}", 204, 204, 204 },
    { "a user with a password", "POST", "/1.0/users",
      "{\"name\": \"late\", \"password\": \"correct horse\"}", 204, 204, 409 },
    { "a record that is gone", "DELETE", "/1.0/users/new", "", 204, 204, 404 },
    { "a secret is told once", "POST", "/1.0/tokens", "{\"name\": \"ci\"}", 200, 409, 200 },
    { "what was refused is looked at anew", "POST", "/1.0/users", "{\"name\": \"a/b\"}", 400, 400,
      400 },
    { "what only reads", "GET", "/1.0/instances", "", 200, 200, 200 },
};

TEST(once_answers)
{
    struct access_rig r;

    open_as_admin(&r, "once");
    for_each_row(row, rows) {
        AUTO(free) char *first = NULL;
        char key[16];
        u64 etag;

        ROW(row);
        str_fmt(key, sizeof(key), "key%td", row - rows);
        access_rig_as(&r, "admin", ACCESS_ADMIN);
        CHECK_EQ(ask(&r, key, row->method, row->path, row->body), row->status);
        first = xdup(r.got.body.text ? r.got.body.text : "");
        etag = r.got.etag;
        CHECK_EQ(ask(&r, key, row->method, row->path, row->body), row->again);
        if (row->again < 300 && strcmp(row->method, "GET") != 0) {
            CHECK_STR(r.got.body.text ? r.got.body.text : "", first);
            CHECK_EQ(r.got.etag, etag);
        }
        access_rig_restart(&r);
        access_rig_as(&r, "admin", ACCESS_ADMIN);
        CHECK_EQ(ask(&r, key, row->method, row->path, row->body), row->again);
        CHECK_EQ(ask(&r, NULL, row->method, row->path, row->body), row->without);
    }
    access_rig_close(&r);
}

/* Changes that only prepare one do not count as it: the password is what was asked for. */
TEST(once_counts_the_end)
{
    struct access_rig r;
    u64 used;

    open_as_admin(&r, "end");
    CHECK_EQ(
        ask(&r, "k1", "POST", "/1.0/users", "{\"name\": \"u\", \"password\": \"horse battery\"}"),
        204);
    CHECK(access_user(&r.access, "u") && access_user(&r.access, "u")->rec.password);
    test_row("a short one makes nobody");
    CHECK_EQ(ask(&r, "k2", "POST", "/1.0/users", "{\"name\": \"v\", \"password\": \"short\"}"),
             400);
    CHECK(!access_user(&r.access, "v"));
    test_row("changed with the rest");
    used = r.access.once.n;
    CHECK_EQ(ask(&r, "k3", "PATCH", "/1.0/users/u",
                 "{\"role\": \"viewer\", \"password\": \"other battery\"}"),
             204);
    CHECK_EQ(r.access.once.n, used + 1);
    CHECK_EQ(access_user(&r.access, "u")->rec.role, ACCESS_VIEWER);
    access_rig_close(&r);
}

TEST(once_whose)
{
    static const char one[] = "{\"name\": \"one\", \"kernel\": \"/k\"}",
                      two[] = "{\"name\": \"two\", \"kernel\": \"/k\"}";
    struct access_rig r;
    u32 n;

    open_as_admin(&r, "whose");
    n = instances(&r);
    CHECK_EQ(ask(&r, "key", "POST", "/1.0/instances", one), 202);
    test_row("another body, another path, another query");
    CHECK_EQ(ask(&r, "key", "POST", "/1.0/instances", two), 422);
    CHECK_HAS(r.got.body.text, "key_reused");
    CHECK_EQ(ask(&r, "key", "POST", "/1.0/networks", one), 422);
    CHECK_EQ(ask(&r, "key", "DELETE", "/1.0/instances/web?force=on", ""), 422);
    CHECK_EQ(instances(&r), n + 1);
    test_row("a key is its user's");
    access_rig_as(&r, "second", ACCESS_ADMIN);
    CHECK_EQ(ask(&r, "key", "POST", "/1.0/instances", two), 202);
    CHECK_EQ(instances(&r), n + 2);
    test_row("rights are those of now");
    access_rig_as(&r, "admin", ACCESS_VIEWER);
    CHECK_EQ(ask(&r, "key", "POST", "/1.0/instances", one), 403);
    test_row("a day later it is another request");
    access_rig_as(&r, "admin", ACCESS_ADMIN);
    access_rig_now += ONCE_KEPT_SECONDS - 1;
    CHECK_EQ(ask(&r, "key", "POST", "/1.0/instances", one), 202);
    access_rig_now += 1;
    CHECK_EQ(ask(&r, "key", "POST", "/1.0/instances", one), 409);
    access_rig_close(&r);
}

static u32 records(struct access_rig *r)
{
    AUTO(store_list) struct store_list l = {};

    host_lock(&r->host);
    must(store_range(r->host.store, "once/", NULL, ONCE_MAX, &l, NULL) >= 0);
    host_unlock(&r->host);
    return l.n;
}

/* Those that are too old leave as others come; of a user who sends too many the oldest do, and nobody else's. */
TEST(once_leaves)
{
    struct access_rig r;
    char key[24], body[40];

    open_as_admin(&r, "leaves");
    CHECK_EQ(ask(&r, "first", "PATCH", "/1.0/instances/web", "{\"notes\": \"first\"}"), 200);
    access_rig_as(&r, "second", ACCESS_ADMIN);
    for (u32 i = 0; i < ONCE_USER_MAX + 3; i++) {
        str_fmt(key, sizeof(key), "k%u", i);
        str_fmt(body, sizeof(body), "{\"notes\": \"%u\"}", i);
        CHECK_EQ(ask(&r, key, "PATCH", "/1.0/instances/web", body), 200);
    }
    CHECK_EQ(records(&r), ONCE_USER_MAX + 1);
    CHECK_EQ(r.access.once.n, ONCE_USER_MAX + 1);
    test_row("the oldest left, the newest did not, nor did another's");
    CHECK_EQ(ask(&r, "k2", "PATCH", "/1.0/instances/web", "{\"notes\": \"other\"}"), 200);
    CHECK_EQ(ask(&r, key, "PATCH", "/1.0/instances/web", "{\"notes\": \"other\"}"), 422);
    access_rig_as(&r, "admin", ACCESS_ADMIN);
    CHECK_EQ(ask(&r, "first", "PATCH", "/1.0/instances/web", "{\"notes\": \"other\"}"), 422);
    test_row("a day later");
    access_rig_now += ONCE_KEPT_SECONDS;
    for (u32 i = 0; i < 10; i++) {
        str_fmt(key, sizeof(key), "new%u", i);
        CHECK_EQ(ask(&r, key, "PATCH", "/1.0/instances/web", "{\"notes\": \"y\"}"), 200);
    }
    CHECK_EQ(records(&r), ONCE_USER_MAX + 1 - 10);
    access_rig_close(&r);
}

TEST(once_keys)
{
    char longest[ONCE_KEY_MAX + 1] = "";

    memset(longest, 'x', ONCE_KEY_MAX);
    CHECK(once_key_ok(longest));
    CHECK(once_key_ok("6b1a4f8e-0c2f"));
    CHECK(!once_key_ok(""));
    CHECK(!once_key_ok("a b"));
    CHECK(!once_key_ok("a\n"));
    CHECK(!once_key_ok("\xc3\xa4"));
}
