/*
 * disk/qcow2_cache.c: L2 tables in memory, whole, as many as Q2_L2_BUDGET has room for.
 *
 *     FREE ── q2_table_get ──> LOADING ── read ──> READY ── clean, not pinned, room is wanted ──> FREE
 *
 *   (1) Dirty tables stay until a round has written them (qcow2_sync.c); when all are, requests wait for one.
 *   (2) A table is found by its L1 entry: tables of snapshots are never here.
 */
#include "disk/qcow2_internal.h"

#include <stdlib.h>
#include <sys/mman.h>

int q2_tables_init(struct qcow2 *q, struct err *e)
{
    struct q2_tables *l = &q->l2;
    u64 n = min(Q2_L2_BUDGET >> q->bits, (u64)Q2_SLOTS_MAX);

    l->n = (u32)max(n, (u64)Q2_SLOTS_MIN);
    l->slice_bits = max(q->bits - 6, 9u);
    l->slots = xnew_n(struct q2_table, l->n);
    l->by_l1 = xnew_n(struct q2_table *, q->h.l1_size);
    l->mem = mmap(NULL, (size_t)l->n << q->bits, PROT_READ | PROT_WRITE,
                  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (l->mem == MAP_FAILED) {
        l->mem = NULL;
        return err_set(e, -ENOMEM, "memory for L2 tables");
    }
    return 0;
}

void q2_tables_fini(struct qcow2 *q)
{
    struct q2_tables *l = &q->l2;

    if (l->mem)
        munmap(l->mem, (size_t)l->n << q->bits);
    free(l->slots);
    free(l->by_l1);
    *l = (struct q2_tables){};
}

void q2_tables_drop(struct qcow2 *q)
{
    for (u32 i = 0; i < q->l2.n; i++) {
        struct q2_table *t = &q->l2.slots[i];

        must(t->state != Q2_TABLE_LOADING && !t->dirty && !t->pins);
        if (t->state == Q2_TABLE_READY)
            q->l2.by_l1[t->l1] = NULL;
        t->state = Q2_TABLE_FREE;
    }
}

int q2_l1_host(const struct qcow2 *q, u64 entry, u64 *ret)
{
    u64 host = entry & Q2_OFFSET;

    *ret = host;
    if (!host ||
        (is_aligned(host, q->cluster) && host < q->file_len && !q2_is_meta(q, host, q->cluster)))
        return 0;
    log_warn_limited("disk '%s': an L2 table is at %llu, where none can be", q->disk.name, host);
    return -EBADMSG;
}

void q2_l1_set(struct qcow2 *q, u32 l1, u64 entry)
{
    q->l1[l1] = entry;
    q->l1_dirty[l1 * 8ull / DISK_SECTOR] = 1;
    q->l1_any_dirty = true;
}

void q2_table_touch(struct qcow2 *q, struct q2_table *t, u32 i)
{
    u64 at = (u64)i * q->entry_words * 8;

    q->l2.n_dirty += !t->dirty;
    t->dirty |= 1ull << (at >> q->l2.slice_bits);
}

static void touch_all(struct qcow2 *q, struct q2_table *t)
{
    for (u32 i = 0; i < 1u << q->l2_bits; i += (u32)(1u << q->l2.slice_bits) / (q->entry_words * 8))
        q2_table_touch(q, t, i);
}

/* A free slot, its memory not touched before now, by the clock's hand; NULL: all are in use by someone or dirty. */
static struct q2_table *take_slot(struct qcow2 *q)
{
    struct q2_tables *l = &q->l2;

    for (u32 tries = 0; tries < 2 * l->n; tries++) {
        struct q2_table *t = &l->slots[l->hand];

        l->hand = (l->hand + 1) % l->n;
        if (t->state == Q2_TABLE_LOADING || t->pins || t->dirty)
            continue;
        if (t->state == Q2_TABLE_READY && t->hot) {
            t->hot = false;
            continue;
        }
        if (t->state == Q2_TABLE_READY)
            l->by_l1[t->l1] = NULL;
        t->state = Q2_TABLE_FREE;
        t->e = (be64 *)(l->mem + ((size_t)(t - l->slots) << q->bits));
        return t;
    }
    return NULL;
}

static void use_slot(struct qcow2 *q, struct q2_table *t, u32 l1, enum q2_table_state state)
{
    t->state = state;
    t->l1 = l1;
    t->hot = true;
    q->l2.by_l1[l1] = t;
}

/* Room for one more, by a round if it must be; who makes room otherwise wakes &q->l2. */
static int need_slot(struct qcow2 *q, struct q2_queue *qq, struct q2_table **ret, const void **key)
{
    *ret = take_slot(q);
    if (*ret)
        return 0;
    if (!qq)
        return -ENOBUFS; /* who works without a queue has synced before */
    if (q->l2.n_dirty) {
        q2_round_begin(q);
        *key = q;
    } else {
        *key = &q->l2; /* each is being read, or in use: that ends */
    }
    return -EAGAIN;
}

/* Puts a table of a cluster of its own behind l1, which others share or which has none. */
static int own_table(struct qcow2 *q, struct q2_table *t, u32 l1)
{
    u64 cluster, old;
    bool fresh;
    int r = q2_l1_host(q, q->l1[l1], &old);
    s64 n;

    if (r < 0)
        return r;
    if (old && q->n_pending == Q2_PENDING_MAX)
        return -ENOBUFS;
    n = q2_alloc(q, 1, true, &cluster, &fresh);
    if (n < 0)
        return (int)n;
    q2_l1_set(q, l1, (cluster << q->bits) | Q2_COPIED);
    touch_all(q, t);
    if (old)
        q2_free_later(q, old >> q->bits, 1);
    return 0;
}

static int load(struct qcow2 *q, struct q2_queue *qq, u32 l1, struct q2_table **ret,
                const void **key)
{
    struct q2_table *t = NULL;
    u64 host;
    int r = q2_l1_host(q, q->l1[l1], &host);

    if (r == 0)
        r = need_slot(q, qq, &t, key);
    if (r < 0)
        return r;
    if (qq) {
        use_slot(q, t, l1, Q2_TABLE_LOADING);
        q2_load(qq, t, host);
        *key = t;
        return -EAGAIN;
    }
    r = q->file->ops->now(q->file, DISK_READ, t->e, q->cluster, host);
    if (r < 0)
        return r;
    use_slot(q, t, l1, Q2_TABLE_READY);
    *ret = t;
    return 1;
}

/* A new table, empty. */
static int make(struct qcow2 *q, struct q2_queue *qq, u32 l1, struct q2_table **ret,
                const void **key)
{
    struct q2_table *t;
    int r = need_slot(q, qq, &t, key);

    if (r < 0)
        return r;
    memset(t->e, 0, q->cluster);
    use_slot(q, t, l1, Q2_TABLE_READY);
    r = own_table(q, t, l1);
    if (r < 0) {
        q->l2.by_l1[l1] = NULL;
        t->state = Q2_TABLE_FREE;
        return r;
    }
    *ret = t;
    return 1;
}

static int get(struct qcow2 *q, struct q2_queue *qq, u32 l1, bool change, struct q2_table **ret,
               const void **key)
{
    struct q2_table *t = q->l2.by_l1[l1];
    int r;

    if (!t && (q->l1[l1] & Q2_OFFSET))
        r = load(q, qq, l1, ret, key);
    else if (!t)
        r = change ? make(q, qq, l1, ret, key) : 0;
    else if (t->state == Q2_TABLE_LOADING) {
        *key = t;
        r = -EAGAIN;
    } else {
        *ret = t;
        r = 1;
    }
    if (r == 1 && change && !(q->l1[l1] & Q2_COPIED))
        r = own_table(q, *ret, l1);
    if (r < 0)
        return r;
    if (*ret)
        (*ret)->hot = true;
    return *ret != NULL;
}

int q2_table_get(struct qcow2 *q, struct q2_queue *qq, u32 l1, bool change, struct q2_table **ret,
                 const void **key)
{
    int r;

    *ret = NULL;
    r = get(q, qq, l1, change, ret, key);
    if (r == -ENOBUFS && qq) { /* no room to note what is to be freed: a round makes some */
        q2_round_begin(q);
        *key = q;
        r = -EAGAIN;
    }
    return r;
}
