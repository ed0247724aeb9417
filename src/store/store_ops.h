/*
 * store/store_ops.h: what is behind a store: the contract of its implementations.  What they are asked was checked (store.c).
 */
#pragma once

#include "store/store.h"

struct store {
    const struct store_ops *ops;
    void (*on_change)(void *arg);
    void *on_change_arg;
};

struct store_ops {
    int (*get)(struct store *s, const char *key, struct store_rec *ret, struct err *e);
    int (*range)(struct store *s, const char *prefix, const char *after, u32 limit,
                 struct store_list *ret, struct err *e);
    int (*txn)(struct store *s, const struct store_txn *t, struct err *e);
    u64 (*revision)(struct store *s);
    int (*changes)(struct store *s, u64 from, u32 limit, struct store_list *ret, struct err *e);
    int (*backup)(struct store *s, const char *file, struct err *e);
    void (*close)(struct store *s);
};

/* Appends a copy; value NULL: deleted. */
void store_list_add(struct store_list *l, const char *key, const char *value, size_t len, u64 rev);
