/*
 * store/store_sqlite.c: a store in one SQLite file: write-ahead log, synchronous=FULL.
 *   (1) `user_version` is the schema's, `application_id` says that the file is ours.  A migration is one transaction.
 *   (2) The revision is in `meta`, changed by the transaction that raises it; `s->rev` is what was committed last.
 *   (3) The change log is cut when it has twice STORE_CHANGES_KEPT rows; `compacted` is the revision of the last row that was cut.
 */
#include "store/store.h"
#include "store/store_ops.h"

#include <fcntl.h>
#include <sqlite3.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum { SCHEMA = 2, APPLICATION = 0x536f636c }; /* "Socl" */

enum stmt {
    S_GET,
    S_RANGE,
    S_PUT,
    S_DELETE,
    S_CHANGE,
    S_META,
    S_SET_REV,
    S_CHANGES,
    S_COUNT,
    S_CUT_AT,
    S_CUT,
    S_SET_CUT,
    STMTS
};

/* clang-format off */
static const char *const texts[STMTS] = {
    [S_GET]     = "SELECT key, value, rev FROM record WHERE key = ?1",
    [S_RANGE]   = "SELECT key, value, rev FROM record WHERE key >= ?1 AND key < ?2 AND key > ?3 ORDER BY key LIMIT ?4",
    [S_PUT]     = ("INSERT INTO record (key, value, rev) VALUES (?1, ?2, ?3) "
                   "ON CONFLICT (key) DO UPDATE SET value = excluded.value, rev = excluded.rev"),
    [S_DELETE]  = "DELETE FROM record WHERE key = ?1",
    [S_CHANGE]  = "INSERT INTO change (rev, key, value) VALUES (?3, ?1, ?2)",
    [S_META]    = "SELECT revision, compacted FROM meta",
    [S_SET_REV] = "UPDATE meta SET revision = ?1",
    [S_CHANGES] = "SELECT key, value, rev FROM change WHERE rev > ?1 ORDER BY rev, key LIMIT ?2",
    [S_COUNT]   = "SELECT count(*) FROM change",
    [S_CUT_AT]  = "SELECT rev FROM change ORDER BY rev DESC LIMIT 1 OFFSET ?1",
    [S_CUT]     = "DELETE FROM change WHERE rev <= ?1",
    [S_SET_CUT] = "UPDATE meta SET compacted = ?1",
};

/* The step to each schema from the one before. */
static const char *const steps[SCHEMA] = {
    ("CREATE TABLE meta (revision INTEGER NOT NULL);"
     "INSERT INTO meta VALUES (0);"
     "CREATE TABLE record (key TEXT NOT NULL PRIMARY KEY, value TEXT NOT NULL, rev INTEGER NOT NULL) WITHOUT ROWID;"
     "CREATE TABLE change (rev INTEGER NOT NULL, key TEXT NOT NULL, value TEXT, PRIMARY KEY (rev, key)) WITHOUT ROWID;"),
    /* 2: the log can be cut */
    "ALTER TABLE meta ADD COLUMN compacted INTEGER NOT NULL DEFAULT 0;",
};
/* clang-format on */

struct sqlite {
    struct store s;
    sqlite3 *db;
    sqlite3_stmt *stmt[STMTS];
    u64 rev, compacted;
    u32 changes; /* rows of the log */
};

static struct sqlite *sqlite_of(struct store *s)
{
    return container_of(s, struct sqlite, s);
}

static int fail(struct sqlite *q, const char *what, struct err *e)
{
    int code = sqlite3_errcode(q->db) & 0xff, r = -EIO;

    if (code == SQLITE_FULL)
        r = -ENOSPC;
    else if (code == SQLITE_BUSY || code == SQLITE_LOCKED)
        r = -EBUSY;
    else if (code == SQLITE_NOTADB || code == SQLITE_CORRUPT)
        r = -EBADMSG;
    return err_set(e, r, "records: %s: %s", what, sqlite3_errmsg(q->db));
}

static int exec(struct sqlite *q, const char *sql, const char *what, struct err *e)
{
    return sqlite3_exec(q->db, sql, NULL, NULL, NULL) == SQLITE_OK ? 0 : fail(q, what, e);
}

/* Steps a statement that gives no row. */
static int run(struct sqlite *q, enum stmt which, struct err *e)
{
    int code = sqlite3_step(q->stmt[which]);
    int r = code == SQLITE_DONE ? 0 : fail(q, "write", e);

    sqlite3_reset(q->stmt[which]);
    return r;
}

static void bind_text(struct sqlite *q, enum stmt which, int at, const char *text)
{
    if (text)
        sqlite3_bind_text(q->stmt[which], at, text, -1, SQLITE_STATIC);
    else
        sqlite3_bind_null(q->stmt[which], at);
}

static void bind_u64(struct sqlite *q, enum stmt which, int at, u64 v)
{
    sqlite3_bind_int64(q->stmt[which], at, (sqlite3_int64)v);
}

/* All rows (key, value, rev) of a statement. */
static int rows(struct sqlite *q, enum stmt which, struct store_list *ret, struct err *e)
{
    sqlite3_stmt *st = q->stmt[which];
    int code, r = 0;

    while ((code = sqlite3_step(st)) == SQLITE_ROW)
        store_list_add(ret, (const char *)sqlite3_column_text(st, 0),
                       (const char *)sqlite3_column_text(st, 1),
                       (size_t)sqlite3_column_bytes(st, 1), (u64)sqlite3_column_int64(st, 2));
    if (code != SQLITE_DONE)
        r = fail(q, "read", e);
    sqlite3_reset(st);
    if (r < 0)
        store_list_fini(ret);
    return r;
}

static int sqlite_get(struct store *s, const char *key, struct store_rec *ret, struct err *e)
{
    struct sqlite *q = sqlite_of(s);
    struct store_list l = {};
    int r;

    bind_text(q, S_GET, 1, key);
    r = rows(q, S_GET, &l, e);
    if (r < 0)
        return r;
    if (l.n == 0)
        return err_set(e, -ENOENT, "there is no record '%s'", key);
    *ret = l.rec[0];
    free(l.rec);
    return 0;
}

static void limit_list(struct store_list *l, u32 limit)
{
    if (l->n <= limit)
        return;
    l->more = true;
    while (l->n > limit)
        store_rec_fini(&l->rec[--l->n]);
}

static int sqlite_range(struct store *s, const char *prefix, const char *after, u32 limit,
                        struct store_list *ret, struct err *e)
{
    struct sqlite *q = sqlite_of(s);
    char end[STORE_KEY_MAX + 2];
    struct store_list l = {};
    int r;

    str_fmt(end, sizeof(end), "%s\x7f", prefix); /* keys are ASCII from '!' to '~' */
    bind_text(q, S_RANGE, 1, prefix);
    bind_text(q, S_RANGE, 2, end);
    bind_text(q, S_RANGE, 3, after ? after : "");
    bind_u64(q, S_RANGE, 4, (u64)limit + 1);
    r = rows(q, S_RANGE, &l, e);
    if (r < 0)
        return r;
    limit_list(&l, limit);
    *ret = l;
    return 0;
}

static int compare(struct sqlite *q, const struct store_cmp *c, struct err *e)
{
    u64 rev;
    int code;

    bind_text(q, S_GET, 1, c->key);
    code = sqlite3_step(q->stmt[S_GET]);
    rev = code == SQLITE_ROW ? (u64)sqlite3_column_int64(q->stmt[S_GET], 2) : 0;
    sqlite3_reset(q->stmt[S_GET]);
    if (code != SQLITE_ROW && code != SQLITE_DONE)
        return fail(q, "read", e);
    if (rev != c->rev)
        return err_set(e, -ESTALE, "record '%s' has revision %llu, not %llu", c->key, rev, c->rev);
    return 0;
}

static int change(struct sqlite *q, const struct store_op *op, u64 rev, struct err *e)
{
    const enum stmt which = op->value ? S_PUT : S_DELETE;
    int r;

    bind_text(q, which, 1, op->key);
    if (op->value) {
        bind_text(q, which, 2, op->value);
        bind_u64(q, which, 3, rev);
    }
    r = run(q, which, e);
    if (r < 0)
        return r;
    bind_text(q, S_CHANGE, 1, op->key);
    bind_text(q, S_CHANGE, 2, op->value);
    bind_u64(q, S_CHANGE, 3, rev);
    return run(q, S_CHANGE, e);
}

/* One number of one row. */
static int number(struct sqlite *q, enum stmt which, u64 *ret, struct err *e)
{
    int r = 0;

    if (sqlite3_step(q->stmt[which]) == SQLITE_ROW)
        *ret = (u64)sqlite3_column_int64(q->stmt[which], 0);
    else
        r = fail(q, "read", e);
    sqlite3_reset(q->stmt[which]);
    return r;
}

/* The log, cut. */
struct cut {
    u64 at;   /* the last revision that it lacks; 0: it was not cut */
    u64 left; /* its rows */
};

static int cut(struct sqlite *q, struct cut *ret, struct err *e)
{
    int r;

    bind_u64(q, S_CUT_AT, 1, STORE_CHANGES_KEPT);
    r = number(q, S_CUT_AT, &ret->at, e);
    bind_u64(q, S_CUT, 1, ret->at);
    if (r >= 0)
        r = run(q, S_CUT, e);
    bind_u64(q, S_SET_CUT, 1, ret->at);
    if (r >= 0)
        r = run(q, S_SET_CUT, e);
    return r < 0 ? r : number(q, S_COUNT, &ret->left, e);
}

static int txn_inside(struct sqlite *q, const struct store_txn *t, struct cut *ret_cut,
                      struct err *e)
{
    int r = 0;

    for (u32 i = 0; i < t->n_cmp && r >= 0; i++)
        r = compare(q, &t->cmp[i], e);
    for (u32 i = 0; i < t->n_op && r >= 0; i++)
        r = change(q, &t->op[i], q->rev + 1, e);
    if (r < 0 || !t->n_op)
        return r;
    bind_u64(q, S_SET_REV, 1, q->rev + 1);
    r = run(q, S_SET_REV, e);
    if (r >= 0 && q->changes + t->n_op > 2 * STORE_CHANGES_KEPT)
        r = cut(q, ret_cut, e);
    return r;
}

static int sqlite_txn(struct store *s, const struct store_txn *t, struct err *e)
{
    struct sqlite *q = sqlite_of(s);
    struct cut cut = {};
    int r = exec(q, "BEGIN IMMEDIATE", "begin", e);

    if (r < 0)
        return r;
    r = txn_inside(q, t, &cut, e);
    if (r >= 0)
        r = exec(q, "COMMIT", "commit", e);
    if (r < 0) {
        sqlite3_exec(q->db, "ROLLBACK", NULL, NULL, NULL);
        return r;
    }
    /* it is committed: nothing may fail any more */
    q->rev += t->n_op ? 1 : 0;
    q->changes = cut.at ? (u32)cut.left : q->changes + t->n_op;
    q->compacted = cut.at ? cut.at : q->compacted;
    return 0;
}

static u64 sqlite_revision(struct store *s)
{
    return sqlite_of(s)->rev;
}

static int sqlite_changes(struct store *s, u64 from, u32 limit, struct store_list *ret,
                          struct err *e)
{
    struct sqlite *q = sqlite_of(s);
    struct store_list l = {};
    u32 kept;
    int r;

    if (from < q->compacted)
        return err_set(e, -ESTALE, "changes after revision %llu are kept, not after %llu",
                       q->compacted, from);
    bind_u64(q, S_CHANGES, 1, from);
    bind_u64(q, S_CHANGES, 2, (u64)limit + STORE_OPS_MAX);
    r = rows(q, S_CHANGES, &l, e);
    if (r < 0)
        return r;
    kept = min(limit, l.n);
    while (kept && kept < l.n && l.rec[kept].rev == l.rec[kept - 1].rev)
        kept++;
    limit_list(&l, kept);
    *ret = l;
    return 0;
}

static int sqlite_backup(struct store *s, const char *file, struct err *e)
{
    struct sqlite *q = sqlite_of(s);
    sqlite3_stmt *st = NULL;
    int r = 0;

    if (access(file, F_OK) == 0)
        return err_set(e, -EEXIST, "'%s' exists", file);
    if (sqlite3_prepare_v2(q->db, "VACUUM INTO ?1", -1, &st, NULL) != SQLITE_OK)
        return fail(q, "backup", e);
    sqlite3_bind_text(st, 1, file, -1, SQLITE_STATIC);
    if (sqlite3_step(st) != SQLITE_DONE)
        r = fail(q, "backup", e);
    sqlite3_finalize(st);
    return r;
}

static void sqlite_close(struct store *s)
{
    struct sqlite *q = sqlite_of(s);

    for (u32 i = 0; i < STMTS; i++)
        sqlite3_finalize(q->stmt[i]);
    sqlite3_close(q->db);
    free(q);
}

static const struct store_ops ops = { sqlite_get,     sqlite_range,  sqlite_txn,  sqlite_revision,
                                      sqlite_changes, sqlite_backup, sqlite_close };

static int pragma(struct sqlite *q, const char *name, int *ret, struct err *e)
{
    AUTO(free) char *sql = str_new("PRAGMA %s", name);
    sqlite3_stmt *st = NULL;
    int r = -EIO;

    if (sqlite3_prepare_v2(q->db, sql, -1, &st, NULL) == SQLITE_OK &&
        sqlite3_step(st) == SQLITE_ROW) {
        *ret = sqlite3_column_int(st, 0);
        r = 0;
    }
    if (r < 0)
        r = fail(q, name, e);
    sqlite3_finalize(st);
    return r;
}

static int migrate(struct sqlite *q, int from, struct err *e)
{
    AUTO(free)
    char *mark =
        str_new("PRAGMA user_version = %d; PRAGMA application_id = %d", SCHEMA, APPLICATION);
    int r = exec(q, "BEGIN EXCLUSIVE", "begin", e);

    for (int i = from; i < SCHEMA && r >= 0; i++)
        r = exec(q, steps[i], "bring the schema up to date", e);
    if (r >= 0)
        r = exec(q, mark, "mark the schema", e);
    if (r >= 0)
        r = exec(q, "COMMIT", "commit", e);
    if (r < 0)
        sqlite3_exec(q->db, "ROLLBACK", NULL, NULL, NULL);
    return r;
}

static int open_schema(struct sqlite *q, struct err *e)
{
    int version = 0, application = 0, tables = 0;
    int r = exec(q, "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL", "open", e);

    if (r >= 0)
        r = pragma(q, "user_version", &version, e);
    if (r >= 0)
        r = pragma(q, "application_id", &application, e);
    if (r >= 0)
        r = pragma(q, "schema_version", &tables, e);
    if (r < 0)
        return r;
    if (application != APPLICATION && (tables || version))
        return err_set(e, -EBADMSG, "it is a database of something else");
    if (version > SCHEMA)
        return err_set(e, -EBADMSG, "its schema is %d; this version knows %d", version, SCHEMA);
    return version < SCHEMA ? migrate(q, version, e) : 0;
}

static int prepare(struct sqlite *q, struct err *e)
{
    sqlite3_stmt *meta;
    u64 n = 0;
    int r;

    for (u32 i = 0; i < STMTS; i++)
        if (sqlite3_prepare_v3(q->db, texts[i], -1, SQLITE_PREPARE_PERSISTENT, &q->stmt[i], NULL) !=
            SQLITE_OK)
            return fail(q, "its tables", e);
    meta = q->stmt[S_META];
    if (sqlite3_step(meta) != SQLITE_ROW)
        return err_set(e, -EBADMSG, "it has no revision");
    q->rev = (u64)sqlite3_column_int64(meta, 0);
    q->compacted = (u64)sqlite3_column_int64(meta, 1);
    sqlite3_reset(meta);
    r = number(q, S_COUNT, &n, e);
    if (r >= 0)
        q->changes = (u32)n;
    return r;
}

int store_open(const char *file, struct store **ret, struct err *e)
{
    struct sqlite *q = xnew(struct sqlite);
    AUTO(fd)
    int fd = open(file, O_RDWR | O_CREAT | O_CLOEXEC, 0600); /* SQLite would use the umask */
    int r = fd < 0 ? err_errno(e, "records '%s'", file) : 0;

    q->s.ops = &ops;
    fd_close(&fd); /* before SQLite opens it: closing drops the process's locks (fcntl(2)) */
    if (r >= 0 && sqlite3_open_v2(file, &q->db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX,
                                  NULL) != SQLITE_OK)
        r = fail(q, "open", e);
    if (r >= 0)
        r = open_schema(q, e);
    if (r >= 0)
        r = prepare(q, e);
    if (r < 0) {
        sqlite_close(&q->s);
        return err_wrap(e, "'%s'", file);
    }
    *ret = &q->s;
    return 0;
}
