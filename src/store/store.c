/*
 * store/store.c: the one door to every store: keys, values and transactions are checked here.
 */
#include "store/store.h"

#include "store/store_ops.h"

#include <ctype.h>
#include <stdlib.h>

void store_rec_fini(struct store_rec *r)
{
    free(r->key);
    free(r->value);
    *r = (struct store_rec){};
}

void store_list_fini(struct store_list *l)
{
    for (u32 i = 0; i < l->n; i++)
        store_rec_fini(&l->rec[i]);
    free(l->rec);
    *l = (struct store_list){};
}

void store_list_add(struct store_list *l, const char *key, const char *value, size_t len, u64 rev)
{
    struct store_rec r = { .key = xdup(key), .len = len, .rev = rev };

    if (value) {
        r.value = xnew_n(char, len + 1);
        memcpy(r.value, value, len);
    }
    if (l->n == 0 || is_pow2(l->n)) { /* full: there is room for the next power of two */
        struct store_rec *more = xnew_n(struct store_rec, l->n ? 2 * (size_t)l->n : 1);

        if (l->n)
            memcpy(more, l->rec, l->n * sizeof(*more));
        free(l->rec);
        l->rec = more;
    }
    l->rec[l->n++] = r;
}

void store_txn_if(struct store_txn *t, const char *key, u64 rev)
{
    must(t->n_cmp < STORE_OPS_MAX);
    t->cmp[t->n_cmp++] = (struct store_cmp){ key, rev };
}

void store_txn_put(struct store_txn *t, const char *key, const char *value)
{
    must(value && t->n_op < STORE_OPS_MAX);
    t->op[t->n_op++] = (struct store_op){ key, value };
}

void store_txn_delete(struct store_txn *t, const char *key)
{
    must(t->n_op < STORE_OPS_MAX);
    t->op[t->n_op++] = (struct store_op){ key, NULL };
}

static bool printable(const char *s)
{
    while (isgraph((unsigned char)*s))
        s++;
    return !*s;
}

static int check_key(const char *key, struct err *e)
{
    size_t len = strlen(key);

    if (len == 0 || len > STORE_KEY_MAX || !printable(key))
        return err_set(e, -EINVAL, "key '%.60s': 1 to %d printable ASCII characters are allowed",
                       key, STORE_KEY_MAX);
    return 0;
}

static int check_op(const struct store_txn *t, u32 i, struct err *e)
{
    const struct store_op *op = &t->op[i];
    int r = check_key(op->key, e);

    if (r < 0)
        return r;
    if (op->value && strlen(op->value) > STORE_VALUE_MAX)
        return err_set(e, -E2BIG, "record '%.60s' has %zu bytes; at most %d are allowed", op->key,
                       strlen(op->value), STORE_VALUE_MAX);
    for (u32 k = 0; k < i; k++)
        if (strcmp(t->op[k].key, op->key) == 0)
            return err_set(e, -EINVAL, "record '%.60s' is changed twice", op->key);
    return 0;
}

int store_get(struct store *s, const char *key, struct store_rec *ret, struct err *e)
{
    int r = check_key(key, e);

    return r < 0 ? r : s->ops->get(s, key, ret, e);
}

int store_range(struct store *s, const char *prefix, const char *after, u32 limit,
                struct store_list *ret, struct err *e)
{
    if (strlen(prefix) > STORE_KEY_MAX || !printable(prefix))
        return err_set(e, -EINVAL, "prefix '%.60s' is of no key", prefix);
    if (after && (strlen(after) > STORE_KEY_MAX || !printable(after)))
        return err_set(e, -EINVAL, "'%.60s' is no key", after);
    return s->ops->range(s, prefix, after, limit, ret, e);
}

int store_txn(struct store *s, const struct store_txn *t, u64 *ret_rev, struct err *e)
{
    int r = 0;

    for (u32 i = 0; i < t->n_cmp && r >= 0; i++)
        r = check_key(t->cmp[i].key, e);
    for (u32 i = 0; i < t->n_op && r >= 0; i++)
        r = check_op(t, i, e);
    if (r >= 0)
        r = s->ops->txn(s, t, e);
    if (r < 0)
        return r;
    if (ret_rev)
        *ret_rev = s->ops->revision(s);
    if (t->n_op && s->on_change)
        s->on_change(s->on_change_arg);
    return 0;
}

u64 store_revision(struct store *s)
{
    return s->ops->revision(s);
}

int store_changes(struct store *s, u64 from, u32 limit, struct store_list *ret, struct err *e)
{
    if (from > INT64_MAX)
        return err_set(e, -EINVAL, "revision %llu is of the future", from);
    return s->ops->changes(s, from, limit, ret, e);
}

int store_backup(struct store *s, const char *file, struct err *e)
{
    return s->ops->backup(s, file, e);
}

void store_on_change(struct store *s, void (*fn)(void *arg), void *arg)
{
    s->on_change = fn;
    s->on_change_arg = arg;
}

void store_close(struct store *s)
{
    if (s)
        s->ops->close(s);
}
