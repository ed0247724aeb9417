/*
 * store/store_mem.c: a store in memory, as simple as can be: tests compare the file's with it, so it shares no idea with it.
 */
#include "store/store_mem.h"

#include "store/store_ops.h"

#include <stdlib.h>

struct mem {
    struct store s;
    u64 rev;
    struct store_list all, log; /* `all` is sorted by key, `log` by revision and key */
};

static struct mem *mem_of(struct store *s)
{
    return container_of(s, struct mem, s);
}

static void add_copy(struct store_list *to, const struct store_rec *r)
{
    store_list_add(to, r->key, r->value, r->len, r->rev);
}

static struct store_rec *find(struct mem *m, const char *key)
{
    for (u32 i = 0; i < m->all.n; i++)
        if (strcmp(m->all.rec[i].key, key) == 0)
            return &m->all.rec[i];
    return NULL;
}

static int mem_get(struct store *s, const char *key, struct store_rec *ret, struct err *e)
{
    const struct store_rec *r = find(mem_of(s), key);
    struct store_list l = {};

    if (!r)
        return err_set(e, -ENOENT, "there is no record '%s'", key);
    add_copy(&l, r);
    *ret = l.rec[0];
    free(l.rec);
    return 0;
}

static int mem_range(struct store *s, const char *prefix, const char *after, u32 limit,
                     struct store_list *ret, struct err *e [[maybe_unused]])
{
    struct mem *m = mem_of(s);
    struct store_list l = {};

    for (u32 i = 0; i < m->all.n; i++) {
        const struct store_rec *r = &m->all.rec[i];

        if (!str_starts(r->key, prefix) || (after && strcmp(r->key, after) <= 0))
            continue;
        if (l.n == limit)
            l.more = true;
        else
            add_copy(&l, r);
    }
    *ret = l;
    return 0;
}

static int by_key(const void *a, const void *b)
{
    return strcmp(((const struct store_rec *)a)->key, ((const struct store_rec *)b)->key);
}

static int by_rev(const void *a, const void *b)
{
    const struct store_rec *x = a, *y = b;

    return x->rev != y->rev ? (x->rev < y->rev ? -1 : 1) : by_key(a, b);
}

static void do_op(struct mem *m, const struct store_op *op)
{
    struct store_rec *r = find(m, op->key);

    if (r) {
        store_rec_fini(r);
        *r = m->all.rec[--m->all.n];
        m->all.rec[m->all.n] = (struct store_rec){};
    }
    /* store_list_add expects room for the next power of two, which a list that shrank may have already */
    if (op->value) {
        struct store_list l = {};

        for (u32 i = 0; i < m->all.n; i++)
            add_copy(&l, &m->all.rec[i]);
        store_list_add(&l, op->key, op->value, strlen(op->value), m->rev);
        store_list_fini(&m->all);
        m->all = l;
    }
    qsort(m->all.rec, m->all.n, sizeof(*m->all.rec), by_key);
    store_list_add(&m->log, op->key, op->value, op->value ? strlen(op->value) : 0, m->rev);
}

static int mem_txn(struct store *s, const struct store_txn *t, struct err *e)
{
    struct mem *m = mem_of(s);

    for (u32 i = 0; i < t->n_cmp; i++) {
        const struct store_rec *r = find(m, t->cmp[i].key);

        if ((r ? r->rev : 0) != t->cmp[i].rev)
            return err_set(e, -ESTALE, "record '%s' has another revision", t->cmp[i].key);
    }
    m->rev += t->n_op ? 1 : 0;
    for (u32 i = 0; i < t->n_op; i++)
        do_op(m, &t->op[i]);
    qsort(m->log.rec, m->log.n, sizeof(*m->log.rec), by_rev);
    return 0;
}

static u64 mem_revision(struct store *s)
{
    return mem_of(s)->rev;
}

static int mem_changes(struct store *s, u64 from, u32 limit, struct store_list *ret,
                       struct err *e [[maybe_unused]])
{
    struct mem *m = mem_of(s);
    struct store_list l = {};

    for (u32 i = 0; i < m->log.n; i++) {
        const struct store_rec *r = &m->log.rec[i];

        if (r->rev <= from)
            continue;
        if (l.n >= limit && (l.n == 0 || l.rec[l.n - 1].rev != r->rev))
            l.more = true;
        else if (!l.more)
            add_copy(&l, r);
    }
    *ret = l;
    return 0;
}

static int mem_backup(struct store *s [[maybe_unused]], const char *file [[maybe_unused]],
                      struct err *e)
{
    return err_set(e, -EOPNOTSUPP, "memory has no backup");
}

static void mem_close(struct store *s)
{
    struct mem *m = mem_of(s);

    store_list_fini(&m->all);
    store_list_fini(&m->log);
    free(m);
}

static const struct store_ops ops = { mem_get,     mem_range,  mem_txn,  mem_revision,
                                      mem_changes, mem_backup, mem_close };

struct store *store_mem_new(void)
{
    struct mem *m = xnew(struct mem);

    m->s.ops = &ops;
    return &m->s;
}
