/*
 * store/store.h: durable records under keys: get, range, transactions that compare revisions first, and what changed since a revision.
 * One interface, so that nothing above knows what is behind it: a file (store_sqlite.c), or, in the tests, memory (store_mem.c).
 *   (1) The store has one revision, which each transaction that changes something raises by one.  A record has that of its last change.
 *   (2) A transaction is done as a whole, and is on stable storage when store_txn returns; or it is not done at all.
 *   (3) Changes are kept for a while, so that who watches can go on where he was; who was away for too long reads anew.
 * A store belongs to one thread.
 */
#pragma once

#include "base/base.h"

enum {
    STORE_KEY_MAX = 200,        /* bytes of a key: printable ASCII */
    STORE_VALUE_MAX = 1 << 20,  /* bytes of a value */
    STORE_OPS_MAX = 64,         /* changes of one transaction, and comparisons */
    STORE_CHANGES_KEPT = 10000, /* at least, if there were as many */
};

struct store;
struct store_ops;

/* Text that is owned; `value` NULL: the record was deleted (only in changes). */
struct store_rec {
    char *key, *value;
    size_t len; /* of the value, which has a NUL after it */
    u64 rev;
};
void store_rec_fini(struct store_rec *r);

struct store_list {
    struct store_rec *rec;
    u32 n;
    bool more; /* the limit ended it */
};
void store_list_fini(struct store_list *l);
static inline void auto_store_list(struct store_list *l)
{
    store_list_fini(l);
}
static inline void auto_store_rec(struct store_rec *r)
{
    store_rec_fini(r);
}

/* "The record has this revision"; 0: there is no such record. */
struct store_cmp {
    const char *key;
    u64 rev;
};

struct store_op {
    const char *key, *value; /* value NULL: delete, which is no error when there is none */
};

struct store_txn {
    struct store_cmp cmp[STORE_OPS_MAX];
    struct store_op op[STORE_OPS_MAX];
    u32 n_cmp, n_op;
};
/* Strings are borrowed until store_txn. */
void store_txn_if(struct store_txn *t, const char *key, u64 rev);
void store_txn_put(struct store_txn *t, const char *key, const char *value);
void store_txn_delete(struct store_txn *t, const char *key);

/* Opens the file, which is made when it is missing, and brings an older schema to ours.  -EBADMSG: it is something else. */
int store_open(const char *file, struct store **ret, struct err *e);
void store_close(struct store *s);

/* -ENOENT: there is none.  Finish with store_rec_fini. */
int store_get(struct store *s, const char *key, struct store_rec *ret, struct err *e);
/* Those that begin with `prefix` and come after the key `after` (NULL: all), in the order of their bytes, at most `limit`. */
int store_range(struct store *s, const char *prefix, const char *after, u32 limit,
                struct store_list *ret, struct err *e);
/* -ESTALE: a record has another revision, and nothing was done.  *ret_rev, which may be NULL: the store's revision now. */
int store_txn(struct store *s, const struct store_txn *t, u64 *ret_rev, struct err *e);
u64 store_revision(struct store *s);
/* What was changed after revision `from`, oldest first, at most `limit` and the rest of the last one's transaction.
 * -ESTALE: too long ago. */
int store_changes(struct store *s, u64 from, u32 limit, struct store_list *ret, struct err *e);
/* A complete copy in a new file. */
int store_backup(struct store *s, const char *file, struct err *e);
/* fn(arg) after each change.  One. */
void store_on_change(struct store *s, void (*fn)(void *arg), void *arg);
