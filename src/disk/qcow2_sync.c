/*
 * disk/qcow2_sync.c: metadata back into the file, in the order that keeps the image valid at every write.
 *
 * A *round*: what is dirty when it begins is on disk when it ends.
 *   1. dirty L2 tables are copied, and if all of them had room, L1 and refcount table too; more may change meanwhile
 *   2. refcount blocks are written; sync.  All data and copies that the tables of step 1 speak of are on disk now, too
 *   3. the refcount table is written; sync
 *   4. the copied L2 tables are written; sync
 *   5. the L1 table is written; sync
 *   6. nothing on disk points to what was freed before step 1: holes are punched there, then it is counted down
 * Steps without work are left out.  With lazy refcounts the header is marked DIRTY instead of steps 2 and 3, which are left to
 * q2_sync_all; the data is synced all the same.  Rounds are made by the disk's own thread, or by functions that work without a queue.
 */
#include "disk/qcow2_req.h"

#include <stdlib.h>
#include <sys/mman.h>

enum { PARTS_MAX = 1024 };

/* A piece of a table, as it was when the round began; its bytes are in the round's buffer. */
struct part {
    u64 at, len;        /* in the file */
    u32 buf;            /* offset in the buffer */
    struct q2_table *t; /* L2; NULL: of a whole table, at `sector` */
    u64 slices;
    u64 sector;
};

struct q2_round_parts {
    struct part parts[PARTS_MAX];
    u32 n, n_rt, n_l2; /* the refcount table's first, then up to n_l2 those of L2, then of L1 */
    u32 used;          /* bytes of the buffer */
    bool lazy;         /* refcounts are left alone */
    bool all;          /* nothing else that was dirty is missing */
};

static bool refs_dirty(const struct qcow2 *q)
{
    return q->refs.n_dirty || q->refs.table_any_dirty;
}

bool q2_is_dirty(const struct qcow2 *q)
{
    return q->l2.n_dirty || q->l1_any_dirty || (refs_dirty(q) && !q->lazy);
}

static int now(struct qcow2 *q, enum disk_op op, void *buf, u64 len, u64 at)
{
    return q->file->ops->now(q->file, op, buf, len, at);
}

static int sync_file(struct qcow2 *q)
{
    int r = q->data_apart && q->data ? q->data->ops->now(q->data, DISK_FLUSH, NULL, 0, 0) : 0;

    return r < 0 ? r : now(q, DISK_FLUSH, NULL, 0, 0);
}

static struct part *add_part(struct q2_round_parts *g, u64 at, u64 len)
{
    struct part *p;

    if (g->n == PARTS_MAX || g->used + len > Q2_ROUND_BUF) {
        g->all = false;
        return NULL;
    }
    p = &g->parts[g->n++];
    *p = (struct part){ .at = at, .len = len, .buf = g->used };
    g->used += (u32)len;
    return p;
}

/* The dirty slices of a table, from the first to the last, as one piece. */
static void take_l2(struct qcow2 *q, struct q2_round_parts *g, struct q2_table *t)
{
    u32 first = (u32)__builtin_ctzll(t->dirty), last = 63 - (u32)__builtin_clzll(t->dirty);
    u64 from = (u64)first << q->l2.slice_bits, to = (u64)(last + 1) << q->l2.slice_bits;
    struct part *p = add_part(g, (q->l1[t->l1] & Q2_OFFSET) + from, to - from);

    if (!p)
        return;
    memcpy(q->round_buf + p->buf, (u8 *)t->e + from, to - from);
    p->t = t;
    p->slices = t->dirty;
    t->dirty = 0;
    t->pins++;
    q->l2.n_dirty--;
}

/* The dirty sectors of the L1 or the refcount table. */
static void take_sectors(struct qcow2 *q, struct q2_round_parts *g, const u64 *table, u8 *dirty,
                         u64 n, u64 at)
{
    u64 per = DISK_SECTOR / 8;

    for (u64 s = 0; s < (n + per - 1) / per; s++) {
        struct part *p;
        be64 *to;

        if (!dirty[s])
            continue;
        p = add_part(g, at + s * DISK_SECTOR, DISK_SECTOR);
        if (!p)
            return;
        p->sector = s;
        to = (be64 *)(q->round_buf + p->buf);
        for (u64 i = 0; i < per; i++)
            to[i] = be64_of(s * per + i < n ? table[s * per + i] : 0);
        dirty[s] = 0;
    }
}

/* What the tables of L2 speak of is counted in blocks that the refcount table knows: so that comes first, and alone if need be. */
static void take(struct qcow2 *q, struct q2_round_parts *g)
{
    g->n = g->used = 0;
    g->all = true;
    if (q->refs.table_any_dirty && !g->lazy) {
        take_sectors(q, g, q->refs.table, q->refs.table_dirty, q->refs.n, q->h.rt_at);
        q->refs.table_any_dirty = !g->all;
    }
    g->n_rt = g->n;
    for (u32 i = 0; i < q->l2.n && q->l2.n_dirty && g->all; i++)
        if (q->l2.slots[i].dirty)
            take_l2(q, g, &q->l2.slots[i]);
    g->n_l2 = g->n;
    if (g->all && q->l1_any_dirty) {
        take_sectors(q, g, q->l1, q->l1_dirty, q->h.l1_size, q->h.l1_at);
        q->l1_any_dirty = !g->all;
    }
}

/* Each block that was dirty, once: it holds at least what it held then. */
static int write_blocks(struct qcow2 *q)
{
    u8 *copy = q->round_buf + Q2_ROUND_BUF;
    int r = 0;

    for (u32 i = 0; i < q->refs.n_slots && r == 0; i++) {
        struct q2_block *b = &q->refs.slots[i];
        u32 from, to;

        pthread_mutex_lock(&q->lock);
        from = b->from;
        to = b->to;
        if (!b->used || !b->dirty) {
            pthread_mutex_unlock(&q->lock);
            continue;
        }
        memcpy(copy, b->data, q->cluster);
        q2_block_clean(q, b);
        b->writing++;
        pthread_mutex_unlock(&q->lock);
        r = q2_block_store(q, b, copy, from, to);
        pthread_mutex_lock(&q->lock);
        b->writing--;
        if (r < 0)
            q2_block_touch(q, b, from, to);
        pthread_mutex_unlock(&q->lock);
    }
    return r;
}

/* Parts [from, to), and a sync when there are any. */
static int write_parts(struct qcow2 *q, const struct q2_round_parts *g, u32 from, u32 to)
{
    int r = 0;

    for (u32 i = from; i < to && r == 0; i++)
        r = now(q, DISK_WRITE, q->round_buf + g->parts[i].buf, g->parts[i].len, g->parts[i].at);
    return r < 0 || from == to ? r : now(q, DISK_FLUSH, NULL, 0, 0);
}

static int write_all(struct qcow2 *q, const struct q2_round_parts *g)
{
    int r = g->lazy ? 0 : write_blocks(q);

    if (r == 0)
        r = sync_file(q);
    if (r == 0)
        r = write_parts(q, g, 0, g->n_rt);
    if (r == 0)
        r = write_parts(q, g, g->n_rt, g->n_l2);
    return r < 0 ? r : write_parts(q, g, g->n_l2, g->n);
}

/* Lets go of what was taken; what could not be written is dirty again. */
static void give_back(struct qcow2 *q, const struct q2_round_parts *g, bool failed)
{
    for (u32 i = 0; i < g->n; i++) {
        const struct part *p = &g->parts[i];

        if (p->t)
            p->t->pins--;
        if (!failed)
            continue;
        if (p->t) {
            q->l2.n_dirty += !p->t->dirty;
            p->t->dirty |= p->slices;
        } else if (i < g->n_rt) {
            q->refs.table_dirty[p->sector] = 1;
            q->refs.table_any_dirty = true;
        } else {
            q->l1_dirty[p->sector] = 1;
            q->l1_any_dirty = true;
        }
    }
}

static bool in_flight(const struct qcow2 *q, const struct q2_pending *p)
{
    for (const struct q2_req *w = q->flights; w; w = w->fly_next)
        if (w->fly_first < p->first + p->n && p->first <= w->fly_last)
            return true;
    return false;
}

/* A hole where nobody else needs the clusters; then they are counted down.  Under lock, but for the hole. */
static void free_one(struct qcow2 *q, const struct q2_pending *p)
{
    for (u64 c = p->first, n; c < p->first + p->n; c += n) {
        u64 count = 0;

        n = 0;
        while (c + n < p->first + p->n && q2_ref_get(q, c + n, &count) == 0 && count == 1)
            n++;
        if (n) {
            pthread_mutex_unlock(&q->lock);
            now(q, DISK_DISCARD, NULL, n << q->bits, c << q->bits); /* a hint */
            pthread_mutex_lock(&q->lock);
        } else {
            n = 1;
        }
        q2_free_now(q, c, n);
    }
}

/* Those that were freed before the round began.  What is being read or written waits for the next round. */
static void free_pending(struct qcow2 *q)
{
    struct q2_pending *done = q->freeing;
    u32 n = 0, keep = 0;

    for (u32 i = 0; i < q->n_pending; i++) {
        if (i < q->n_sealed && !in_flight(q, &q->pending[i]))
            done[n++] = q->pending[i];
        else
            q->pending[keep++] = q->pending[i];
    }
    q->n_pending = keep;
    q->n_sealed = 0;
    for (u32 i = 0; i < n; i++)
        free_one(q, &done[i]);
}

/* One pass; *more: it had not room for all. */
static int pass(struct qcow2 *q, struct q2_round_parts *g, bool *more)
{
    int r;

    pthread_mutex_lock(&q->lock);
    /* tables may speak of clusters that are not counted as long as the header says so */
    r = g->lazy && q2_is_dirty(q) ? q2_header_mark(q, Q2_I_DIRTY, true) : 0;
    if (r < 0) {
        pthread_mutex_unlock(&q->lock);
        return r;
    }
    take(q, g);
    q->n_sealed = g->all ? q->n_pending : 0;
    pthread_mutex_unlock(&q->lock);
    *more = !g->all;
    r = write_all(q, g);
    pthread_mutex_lock(&q->lock);
    give_back(q, g, r < 0);
    q2_wake(q, &q->l2, 0);
    if (r < 0)
        q->n_sealed = 0;
    else if (g->all)
        free_pending(q);
    pthread_mutex_unlock(&q->lock);
    return r;
}

static int round_of(struct qcow2 *q, bool lazy)
{
    struct q2_round_parts *g = q->round_parts;
    bool more = true;
    int r = 0;

    pthread_mutex_lock(&q->round);
    g->lazy = lazy;
    while (r == 0 && more)
        r = q->broken ? -EIO : pass(q, g, &more);
    pthread_mutex_unlock(&q->round);
    return r;
}

int q2_round(struct qcow2 *q)
{
    return round_of(q, q->lazy);
}

int q2_sync_all(struct qcow2 *q)
{
    int r = 0;

    /* what a round frees is counted down after it, which makes blocks dirty */
    while (r == 0 && (q2_is_dirty(q) || refs_dirty(q) || q->n_pending))
        r = round_of(q, false);
    return r < 0 ? r : sync_file(q);
}

/* What the file grew by in advance is given back. */
static void trim_file(struct qcow2 *q)
{
    if (q->file_len > q->alloc_end && q->file->zero_grown)
        q->file->ops->resize(q->file, q->alloc_end, NULL);
}

int q2_settle(struct qcow2 *q)
{
    int r = q2_sync_all(q);

    pthread_mutex_lock(&q->lock);
    if (r == 0 && q->lazy && !q->broken)
        r = q2_header_mark(q, Q2_I_DIRTY, false);
    if (r == 0)
        trim_file(q);
    pthread_mutex_unlock(&q->lock);
    return r;
}

/* ---- the thread ---- */

u64 q2_round_begin(struct qcow2 *q)
{
    must(q->flusher_on);
    if (!q->round_wanted) {
        q->round_wanted = true;
        fd_event_signal(q->flush_event);
    }
    return q->rounds_begun + 1;
}

static void on_flush_wake(struct loop_fd *f, int)
{
    struct qcow2 *q = f->arg;

    fd_event_take(q->flush_event);
    pthread_mutex_lock(&q->lock);
    while (q->round_wanted) {
        int r;

        q->round_wanted = false;
        q->round_busy = true;
        q->rounds_begun++;
        pthread_mutex_unlock(&q->lock);
        r = q2_round(q);
        pthread_mutex_lock(&q->lock);
        q->round_busy = false;
        q->rounds_ended = q->rounds_begun;
        q2_wake(q, q, r);
    }
    pthread_mutex_unlock(&q->lock);
}

struct watch {
    struct qcow2 *q;
    int r;
};

static void watch(void *arg)
{
    struct watch *w = arg;

    w->r = loop_fd_open(w->q->flusher_on, &w->q->flush_watch, w->q->flush_event, UV_READABLE,
                        on_flush_wake, w->q);
}

static void unwatch(void *arg)
{
    loop_fd_close(&((struct qcow2 *)arg)->flush_watch);
}

static int start_thread(struct qcow2 *q, const struct disk_queue_cfg *cfg)
{
    int r = loop_init(&q->flusher, "qcow2");

    if (r < 0)
        return r;
    q->flusher_on = &q->flusher;
    return cfg->thread_start ? cfg->thread_start(cfg->thread_arg, &q->flusher)
                             : loop_start(&q->flusher);
}

int q2_flusher_start(struct qcow2 *q, const struct disk_queue_cfg *cfg, struct err *e)
{
    struct watch w = { .q = q };

    if (q->flusher_on)
        return 0;
    w.r = q->flush_event = fd_eventfd();
    q->flusher_on = cfg->helper;
    if (w.r >= 0 && !q->flusher_on)
        w.r = start_thread(q, cfg);
    if (w.r >= 0)
        loop_call(q->flusher_on, watch, &w);
    return w.r < 0 ? err_code(e, w.r, "start the thread of disk '%s'", q->disk.name) : 0;
}

void q2_flusher_stop(struct qcow2 *q)
{
    if (!q->flusher_on)
        return;
    loop_call(q->flusher_on, unwatch, q);
    if (q->flusher_on == &q->flusher)
        loop_fini(&q->flusher);
    fd_close(&q->flush_event);
    q->flusher_on = NULL;
}

int q2_round_init(struct qcow2 *q, struct err *e)
{
    u8 *p = mmap(NULL, Q2_ROUND_BUF + q->cluster, PROT_READ | PROT_WRITE,
                 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

    if (p == MAP_FAILED)
        return err_errno(e, "a buffer for tables");
    q->round_buf = p;
    q->round_parts = xnew(struct q2_round_parts);
    return 0;
}

void q2_round_fini(struct qcow2 *q)
{
    if (q->round_buf)
        munmap(q->round_buf, Q2_ROUND_BUF + q->cluster);
    free(q->round_parts);
}
