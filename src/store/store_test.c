/*
 * store/store_test.c: what a store promises, by the same rows of both implementations; random histories compared; what a file
 * promises besides.
 */
#include "store/store.h"

#include "store/store_mem.h"
#include "testlib/test.h"

#include <fcntl.h>
#include <sqlite3.h>
#include <stdlib.h>
#include <unistd.h>

static struct store *open_file(const char *name)
{
    AUTO(free) char *path = str_new("%s/%s", test_dir(), name);
    struct store *s = NULL;
    struct err e = {};

    CHECK_OK(store_open(path, &s, &e), &e);
    return s;
}

/* One request of a row; "=" and "~" are a transaction's parts. */
static int put(struct store *s, const char *key, const char *value, u64 *ret_rev)
{
    struct store_txn t = {};

    store_txn_put(&t, key, value);
    return store_txn(s, &t, ret_rev, NULL);
}

static int put_if(struct store *s, const char *key, u64 rev, const char *value)
{
    struct store_txn t = {};

    store_txn_if(&t, key, rev);
    if (value)
        store_txn_put(&t, key, value);
    else
        store_txn_delete(&t, key);
    return store_txn(s, &t, NULL, NULL);
}

/* "a=1@1 b=2@2"; deleted: "a-@3". */
static const char *text_of(struct store_list *l)
{
    static char text[4096];
    AUTO(strbuf) struct strbuf b = {};

    for (u32 i = 0; i < l->n; i++) {
        const struct store_rec *r = &l->rec[i];

        strbuf_add(&b, "%s%s%s%s@%llu", i ? " " : "", r->key, r->value ? "=" : "-",
                   r->value ? r->value : "", r->rev);
    }
    if (l->more)
        strbuf_add(&b, " …");
    str_copy(text, sizeof(text), b.text ? b.text : "");
    store_list_fini(l);
    return text;
}

static const char *range(struct store *s, const char *prefix, const char *after, u32 limit)
{
    struct store_list l = {};
    struct err e = {};

    CHECK_OK(store_range(s, prefix, after, limit, &l, &e), &e);
    return text_of(&l);
}

static const char *changes(struct store *s, u64 from, u32 limit)
{
    struct store_list l = {};
    struct err e = {};

    CHECK_OK(store_changes(s, from, limit, &l, &e), &e);
    return text_of(&l);
}

static void count(void *arg)
{
    (*(u32 *)arg)++;
}

static void check_promises(struct store *s)
{
    struct store_txn two = {}, twice = {};
    struct store_rec rec;
    struct err e = {};
    u32 told = 0;
    u64 rev = 0;

    CHECK_EQ(store_revision(s), 0);
    CHECK_EQ(store_get(s, "a/1", &rec, &e), -ENOENT);
    store_on_change(s, count, &told);
    CHECK_EQ(put(s, "a/2", "two", &rev), 0);
    CHECK_EQ(rev, 1);
    CHECK_EQ(told, 1);
    store_txn_if(&two, "a/1", 0);
    store_txn_put(&two, "b", "{}");
    store_txn_put(&two, "a/1", "one");
    CHECK_OK(store_txn(s, &two, &rev, &e), &e);
    CHECK_EQ(rev, 2);
    CHECK_STR(range(s, "", NULL, 9), "a/1=one@2 a/2=two@1 b={}@2");
    CHECK_STR(range(s, "a/", NULL, 9), "a/1=one@2 a/2=two@1");
    CHECK_STR(range(s, "a/", NULL, 1), "a/1=one@2 …");
    CHECK_STR(range(s, "a/", "a/1", 1), "a/2=two@1");
    CHECK_STR(range(s, "c", NULL, 9), "");

    CHECK_EQ(store_txn(s, &two, &rev, &e), -ESTALE); /* a/1 is there */
    CHECK_EQ(put_if(s, "a/1", 1, "x"), -ESTALE);
    CHECK_EQ(store_revision(s), 2);
    CHECK_EQ(put_if(s, "a/1", 2, "x"), 0);
    CHECK_EQ(put_if(s, "a/2", 1, NULL), 0);
    CHECK_EQ(store_get(s, "a/1", &rec, &e), 0);
    CHECK_STR(rec.value, "x");
    CHECK_EQ(rec.rev, 3);
    store_rec_fini(&rec);
    CHECK_STR(range(s, "", NULL, 9), "a/1=x@3 b={}@2");

    CHECK_STR(changes(s, 0, 9), "a/2=two@1 a/1=one@2 b={}@2 a/1=x@3 a/2-@4");
    CHECK_STR(changes(s, 0, 2), "a/2=two@1 a/1=one@2 b={}@2 …"); /* a transaction stays together */
    CHECK_STR(changes(s, 4, 9), "");
    store_txn_put(&twice, "d", "1");
    store_txn_delete(&twice, "d");
    CHECK_EQ(store_txn(s, &twice, NULL, &e), -EINVAL);
    CHECK_EQ(put(s, "", "1", NULL), -EINVAL);
    CHECK_EQ(put(s, "a b", "1", NULL), -EINVAL);
    CHECK_EQ(put(s, "\xc3\xa4", "1", NULL), -EINVAL);
    CHECK_EQ(told, 4);
    CHECK_EQ(store_revision(s), 4);
    store_close(s);
}

TEST(store_in_memory)
{
    check_promises(store_mem_new());
}

TEST(store_in_a_file)
{
    check_promises(open_file("rows.db"));
}

TEST(store_limits)
{
    struct store *s = store_mem_new();
    AUTO(free) char *big = xnew_n(char, STORE_VALUE_MAX + 2);
    char key[STORE_KEY_MAX + 2] = {};

    memset(big, 'x', STORE_VALUE_MAX + 1);
    CHECK_EQ(put(s, "k", big, NULL), -E2BIG);
    big[STORE_VALUE_MAX] = 0;
    CHECK_EQ(put(s, "k", big, NULL), 0);
    memset(key, 'k', STORE_KEY_MAX + 1);
    CHECK_EQ(put(s, key, "", NULL), -EINVAL);
    key[STORE_KEY_MAX] = 0;
    CHECK_EQ(put(s, key, "", NULL), 0);
    store_close(s);
}

/* The same random transactions to both; some compare, some of these in vain. */
TEST(store_histories_agree)
{
    struct store *s[2] = { store_mem_new(), open_file("history.db") };
    u64 rand = 11;

    for (u32 i = 0; i < 400; i++) {
        struct store_txn t = {};
        char key[6][8], value[6][24];
        u32 n = (u32)(1 + test_rand(&rand) % 5);
        u64 from;
        int r[2];

        for (u32 k = 0; k < n; k++) {
            str_fmt(key[k], sizeof(key[k]), "%c/%u", (char)('a' + test_rand(&rand) % 3),
                    (u32)(test_rand(&rand) % 7));
            str_fmt(value[k], sizeof(value[k]), "%llx", test_rand(&rand));
            if (test_rand(&rand) % 8 == 0)
                store_txn_if(&t, key[k], test_rand(&rand) % 3 ? 0 : test_rand(&rand) % (i + 1));
            if (test_rand(&rand) % 4)
                store_txn_put(&t, key[k], value[k]);
            else
                store_txn_delete(&t, key[k]);
        }
        for (u32 k = 0; k < 2; k++)
            r[k] = store_txn(s[k], &t, NULL, NULL);
        CHECK_EQ(r[0], r[1]);
        CHECK_EQ(store_revision(s[0]), store_revision(s[1]));
        if (i % 10)
            continue;
        from = test_rand(&rand) % (store_revision(s[0]) + 1);
        for (u32 k = 0; k < 4; k++) {
            const char *prefix = (const char *[]){ "", "a/", "b", "c/1" }[k];
            AUTO(free) char *want = xdup(range(s[0], prefix, k ? NULL : "a/3", 1 + i % 9));

            CHECK_STR(range(s[1], prefix, k ? NULL : "a/3", 1 + i % 9), want);
        }
        AUTO(free) char *want = xdup(changes(s[0], from, 1 + i % 9));
        CHECK_STR(changes(s[1], from, 1 + i % 9), want);
    }
    store_close(s[0]);
    store_close(s[1]);
}

TEST(store_file_lasts)
{
    struct store *s = open_file("lasts.db");
    AUTO(free) char *copy = str_new("%s/copy.db", test_dir());
    struct err e = {};

    CHECK_EQ(put(s, "k", "v", NULL), 0);
    CHECK_OK(store_backup(s, copy, &e), &e);
    CHECK_EQ(store_backup(s, copy, &e), -EEXIST);
    CHECK_EQ(put(s, "k", "later", NULL), 0);
    store_close(s);
    s = open_file("lasts.db");
    CHECK_EQ(store_revision(s), 2);
    CHECK_STR(range(s, "", NULL, 9), "k=later@2");
    store_close(s);
    s = open_file("copy.db");
    CHECK_STR(range(s, "", NULL, 9), "k=v@1");
    CHECK_STR(changes(s, 0, 9), "k=v@1");
    store_close(s);
}

/* The log does not grow for ever, and who asks for what was cut is told so. */
TEST(store_log_is_cut)
{
    struct store *s = open_file("cut.db");
    struct store_list l = {};
    struct err e = {};
    struct store_txn t = {};
    char key[STORE_OPS_MAX][8];
    u64 n = 0;

    for (u32 i = 0; i < STORE_OPS_MAX; i++) {
        str_fmt(key[i], sizeof(key[i]), "%u", i);
        store_txn_put(&t, key[i], "x");
    }
    for (n = 0; n * STORE_OPS_MAX <= 2 * STORE_CHANGES_KEPT; n++)
        CHECK_OK(store_txn(s, &t, NULL, &e), &e);
    CHECK_EQ(store_changes(s, 1, 9, &l, &e), -ESTALE);
    CHECK_OK(store_changes(s, n - STORE_CHANGES_KEPT / STORE_OPS_MAX, 100000, &l, &e), &e);
    CHECK(l.n >= STORE_CHANGES_KEPT - STORE_OPS_MAX && l.n <= STORE_CHANGES_KEPT + STORE_OPS_MAX);
    store_list_fini(&l);
    store_close(s);
    s = open_file("cut.db");
    CHECK_EQ(store_changes(s, 1, 9, &l, &e), -ESTALE);
    store_close(s);
}

/* A file of schema 1, as it was written then: its records are there, and its log. */
TEST(store_migrates)
{
    static const char *const sql[] = {
#include "store/schema1.inc"
    };
    AUTO(free) char *path = str_new("%s/old.db", test_dir());
    sqlite3 *db = NULL;
    struct store *s;

    CHECK_EQ(sqlite3_open(path, &db), SQLITE_OK);
    for_each_row(line, sql)
        CHECK_EQ(sqlite3_exec(db, *line, NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(db);
    s = open_file("old.db");
    CHECK_EQ(store_revision(s), 3);
    CHECK_STR(range(s, "", NULL, 9), "instance/i1={\"name\":\"web1\"}@3");
    CHECK_STR(changes(s, 1, 9), "old-@2 instance/i1={\"name\":\"web1\"}@3");
    CHECK_EQ(put(s, "new", "1", NULL), 0);
    store_close(s);
    s = open_file("old.db");
    CHECK_EQ(store_revision(s), 4);
    store_close(s);
}

/* What is not ours, or newer than we are, is left alone. */
TEST(store_refuses)
{
    static const struct {
        const char *why, *sql, *text;
    } rows[] = {
        { "a database of another program", "CREATE TABLE t (x)", "something else" },
        { "a newer schema", "PRAGMA application_id = 1399808876; PRAGMA user_version = 99", "99" },
        { "no database", NULL, "not a database" },
    };

    for_each_row(row, rows) {
        AUTO(free) char *path = str_new("%s/bad.db", test_dir());
        struct store *s = NULL;
        struct err e = {};
        sqlite3 *db = NULL;

        ROW(row);
        if (row->sql) {
            CHECK_EQ(sqlite3_open(path, &db), SQLITE_OK);
            CHECK_EQ(sqlite3_exec(db, row->sql, NULL, NULL, NULL), SQLITE_OK);
            sqlite3_close(db);
        } else {
            AUTO(fd) int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

            CHECK_EQ(fd_write_all(fd, "this is a text and no database, of some length", 46), 0);
        }
        CHECK_EQ(store_open(path, &s, &e), -EBADMSG);
        CHECK_HAS(e.text, row->text);
        unlink(path);
    }
}
