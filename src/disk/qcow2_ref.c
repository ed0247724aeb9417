/*
 * disk/qcow2_ref.c: which clusters of the file are in use, and by how many?  ("Host cluster management")
 * The refcount table is all in memory; blocks are read when they are first wanted, with `lock` held: one read for each
 * 2 GiB of file with default sizes.
 *   (1) A block may be written at any time: what it counts is never less than what points to the clusters on disk.
 *   (2) A new block describes itself: it lies among the clusters that it counts.
 *   (3) The table is written after the blocks that it points to: in the round's order, or all at once when it grows.
 */
#include "disk/qcow2_internal.h"

#include <stdlib.h>
#include <sys/mman.h>

/* The file grows in such steps, so that not every write makes it longer. */
#define GROW_STEP (16 * MiB)

u64 q2_count_get(const u8 *block, u32 order, u64 i)
{
    switch (order) {
    case 3:
        return block[i];
    case 4:
        return be16_get(((const be16 *)block)[i]);
    case 5:
        return be32_get(((const be32 *)block)[i]);
    case 6:
        return be64_get(((const be64 *)block)[i]);
    default: /* several in a byte, the first in its lowest bits */
        return (block[(i << order) >> 3] >> ((i << order) & 7)) & ((1u << (1u << order)) - 1);
    }
}

void q2_count_set(u8 *block, u32 order, u64 i, u64 v)
{
    u32 mask, shift;

    switch (order) {
    case 3:
        block[i] = (u8)v;
        break;
    case 4:
        ((be16 *)block)[i] = be16_of((u16)v);
        break;
    case 5:
        ((be32 *)block)[i] = be32_of((u32)v);
        break;
    case 6:
        ((be64 *)block)[i] = be64_of(v);
        break;
    default:
        mask = (1u << (1u << order)) - 1;
        shift = (u32)(i << order) & 7;
        block[(i << order) >> 3] =
            (u8)((block[(i << order) >> 3] & ~(mask << shift)) | ((u32)v & mask) << shift);
    }
}

static u64 count_max(const struct qcow2 *q)
{
    return q->refs.order == 6 ? ~0ull : (1ull << (1u << q->refs.order)) - 1;
}

bool q2_is_meta(const struct qcow2 *q, u64 at, u64 len)
{
    const u64 ranges[][2] = {
        { 0, q->cluster },
        { q->h.l1_at, q->h.l1_size * 8ull },
        { q->h.rt_at, (u64)q->h.rt_clusters << q->bits },
    };

    for_each_row(g, ranges)
        if (at < (*g)[0] + (*g)[1] && (*g)[0] < at + len)
            return true;
    return false;
}

int q2_refs_init(struct qcow2 *q, struct err *e)
{
    struct q2_refs *f = &q->refs;
    u64 bytes = (u64)q->h.rt_clusters << q->bits, slots;
    AUTO(free) be64 *raw = aligned_alloc(4096, align_up(bytes, 4096));
    int r;

    f->order = q->h.refcount_order;
    f->block_bits = q->bits + 3 - f->order;
    f->n = (u32)(bytes / 8);
    slots = min(Q2_BLOCK_BUDGET >> q->bits, (u64)Q2_SLOTS_MAX);
    f->n_slots = (u32)max(slots, (u64)Q2_SLOTS_MIN);
    f->table = xnew_n(u64, f->n);
    f->table_dirty = xnew_n(u8, bytes / DISK_SECTOR);
    f->by_index = xnew_n(struct q2_block *, f->n);
    f->slots = xnew_n(struct q2_block, f->n_slots);
    f->mem = mmap(NULL, (size_t)f->n_slots << q->bits, PROT_READ | PROT_WRITE,
                  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (f->mem == MAP_FAILED || !raw) {
        f->mem = NULL;
        return err_set(e, -ENOMEM, "memory for refcounts");
    }
    for (u32 i = 0; i < f->n_slots; i++)
        f->slots[i].data = f->mem + ((size_t)i << q->bits);
    r = q->file->ops->now(q->file, DISK_READ, raw, bytes, q->h.rt_at);
    if (r < 0)
        return err_code(e, r, "read the refcount table");
    for (u32 i = 0; i < f->n; i++)
        f->table[i] = be64_get(raw[i]) & ~0x1ffull;
    return 0;
}

void q2_refs_fini(struct qcow2 *q)
{
    struct q2_refs *f = &q->refs;

    free(f->table);
    free(f->table_dirty);
    free(f->by_index);
    free(f->slots);
    if (f->mem)
        munmap(f->mem, (size_t)f->n_slots << q->bits);
    *f = (struct q2_refs){};
}

int q2_grow_file(struct qcow2 *q, u64 end)
{
    u64 len;
    int r;

    if (end <= q->file_len)
        return 0;
    if (!q->file->zero_grown)
        return -ENOSPC; /* a device */
    len = end + min(GROW_STEP, align_up(end / 4, q->cluster));
    r = q->file->ops->resize(q->file, len, NULL);
    if (r == 0)
        q->file_len = len;
    return r;
}

int q2_block_store(struct qcow2 *q, const struct q2_block *b, const u8 *data, u32 from, u32 to)
{
    /* now's buffer has no const, for reads */
    return q->file->ops->now(q->file, DISK_WRITE, (u8 *)(uintptr_t)data + from, to - from,
                             q->refs.table[b->index] + from);
}

void q2_block_touch(struct qcow2 *q, struct q2_block *b, u32 from, u32 to)
{
    from = align_down(from, (u32)DISK_SECTOR);
    to = align_up(to, (u32)DISK_SECTOR);
    b->from = b->dirty ? min(b->from, from) : from;
    b->to = b->dirty ? max(b->to, to) : to;
    q->refs.n_dirty += !b->dirty;
    b->dirty = true;
}

static void touch_count(struct qcow2 *q, struct q2_block *b, u64 i)
{
    u32 at = (u32)(i << q->refs.order >> 3);

    q2_block_touch(q, b, at, at + 1);
}

void q2_block_clean(struct qcow2 *q, struct q2_block *b)
{
    q->refs.n_dirty -= b->dirty;
    b->dirty = false;
}

/* A slot to use, by the clock's hand; what was in it is written, which is safe at any time. */
static int take_slot(struct qcow2 *q, struct q2_block **ret)
{
    struct q2_refs *f = &q->refs;

    for (u32 tries = 0; tries < 2 * f->n_slots; tries++) {
        struct q2_block *b = &f->slots[f->hand];

        f->hand = (f->hand + 1) % f->n_slots;
        if (b->writing)
            continue;
        if (b->used && b->hot) {
            b->hot = false;
            continue;
        }
        if (b->used && b->dirty) {
            int r = q2_block_store(q, b, b->data, b->from, b->to);

            if (r < 0)
                return r;
        }
        q2_block_clean(q, b);
        if (b->used)
            f->by_index[b->index] = NULL;
        b->used = false;
        *ret = b;
        return 0;
    }
    return -EBUSY;
}

static void use_slot(struct qcow2 *q, struct q2_block *b, u32 index)
{
    b->used = b->hot = true;
    b->index = index;
    q->refs.by_index[index] = b;
}

/* The block of a refcount table entry; NULL in *ret: there is none, and all counts are 0. */
static int get_block(struct qcow2 *q, u64 index, struct q2_block **ret)
{
    struct q2_refs *f = &q->refs;
    struct q2_block *b;
    u64 at;
    int r;

    *ret = NULL;
    if (index >= f->n || !f->table[index])
        return 0;
    *ret = f->by_index[index];
    if (*ret) {
        (*ret)->hot = true;
        return 0;
    }
    at = f->table[index];
    if (!is_aligned(at, q->cluster) || q2_is_meta(q, at, q->cluster) || at >= q->file_len) {
        log_warn_limited("disk '%s': refcount block %llu is at %llu, where none can be",
                         q->disk.name, index, at);
        return -EBADMSG;
    }
    r = take_slot(q, &b);
    if (r == 0)
        r = q->file->ops->now(q->file, DISK_READ, b->data, q->cluster, at);
    if (r < 0)
        return r;
    use_slot(q, b, (u32)index);
    *ret = b;
    return 0;
}

int q2_ref_get(struct qcow2 *q, u64 cluster, u64 *ret)
{
    struct q2_refs *f = &q->refs;
    struct q2_block *b;
    int r = get_block(q, cluster >> f->block_bits, &b);

    if (r == 0)
        *ret = b ? q2_count_get(b->data, f->order, cluster & ((1ull << f->block_bits) - 1)) : 0;
    return r;
}

static void table_set(struct qcow2 *q, u32 index, u64 at)
{
    q->refs.table[index] = at;
    q->refs.table_dirty[index * 8ull / DISK_SECTOR] = 1;
    q->refs.table_any_dirty = true;
}

/* Clusters that come into use: what they hold is not known to be zeroes any more. */
static void used(struct qcow2 *q, u64 first, u64 n)
{
    q->alloc_end = max(q->alloc_end, (first + n) << q->bits);
    q->fresh_from = max(q->fresh_from, q->alloc_end);
}

/*
 * Blocks that a table about to be written points to; whole, those whose copy a round has under way: it may be the first, and not
 * be there yet.
 */
static int store_blocks(struct qcow2 *q)
{
    for (u32 i = 0; i < q->refs.n_slots; i++) {
        struct q2_block *b = &q->refs.slots[i];
        int r;

        if (!b->used || !(b->dirty || b->writing))
            continue;
        if (b->writing)
            q2_block_touch(q, b, 0, (u32)q->cluster);
        r = q2_block_store(q, b, b->data, b->from, b->to);
        if (r < 0)
            return r;
        if (!b->writing) /* else an older copy may still overtake this one */
            q2_block_clean(q, b);
    }
    return q->file->ops->now(q->file, DISK_FLUSH, NULL, 0, 0);
}

/* A larger table, planned. */
struct larger {
    u64 first;     /* of its clusters: blocks, then the table */
    u64 blocks, n; /* new blocks; entries of the table in all */
    u64 clusters;  /* of the table */
    u64 extra; /* clusters after it that the blocks count too, for who needs that many in a row */
};

static int plan_table(const struct qcow2 *q, u64 least, u64 extra, struct larger *l)
{
    const struct q2_refs *f = &q->refs;
    u64 per = 1ull << f->block_bits, entries = q->cluster / 8;

    *l = (struct larger){ .first = (u64)f->n << f->block_bits, .n = f->n * 3ull / 2 };
    l->extra = extra;
    do {
        l->n = max(l->n, least + 1);
        l->n = align_up(max(l->n, f->n + l->blocks), entries);
        l->clusters = l->n / entries;
        l->blocks = (l->blocks + l->clusters + extra + per - 1) / per;
        l->blocks = max(l->blocks, 1ull);
    } while (f->n + l->blocks > l->n || l->blocks * per < l->blocks + l->clusters + extra);
    if (l->n * 8 > Q2_RT_BYTES_MAX ||
        (l->first + l->blocks + l->clusters + extra) << q->bits >= Q2_HOST_END)
        return -EFBIG;
    return 0;
}

/* The new blocks count themselves and the table, which follows them. */
static int write_new_blocks(struct qcow2 *q, const struct larger *l)
{
    u64 per = 1ull << q->refs.block_bits, all = l->blocks + l->clusters + l->extra;
    AUTO(free) u8 *data = aligned_alloc(4096, align_up(q->cluster, 4096));

    must(data);
    for (u64 i = 0; i < l->blocks; i++) {
        int r;

        memset(data, 0, q->cluster);
        for (u64 c = i * per; c < min((i + 1) * per, all); c++)
            q2_count_set(data, q->refs.order, c - i * per, 1);
        r = q->file->ops->now(q->file, DISK_WRITE, data, q->cluster, (l->first + i) << q->bits);
        if (r < 0)
            return r;
    }
    return 0;
}

static int write_new_table(struct qcow2 *q, const struct larger *l)
{
    AUTO(free) be64 *raw = aligned_alloc(4096, align_up(l->n * 8, 4096));
    int r;

    must(raw);
    memset(raw, 0, l->n * 8);
    for (u64 i = 0; i < q->refs.n; i++)
        raw[i] = be64_of(q->refs.table[i]);
    for (u64 i = 0; i < l->blocks; i++)
        raw[q->refs.n + i] = be64_of((l->first + i) << q->bits);
    r = q->file->ops->now(q->file, DISK_WRITE, raw, l->n * 8, (l->first + l->blocks) << q->bits);
    return r < 0 ? r : q->file->ops->now(q->file, DISK_FLUSH, NULL, 0, 0);
}

/* The table in memory as it is in the file. */
static void adopt_table(struct qcow2 *q, const struct larger *l)
{
    struct q2_refs *f = &q->refs;
    u64 *table = xnew_n(u64, l->n);
    struct q2_block **by_index = xnew_n(struct q2_block *, l->n);

    memcpy(table, f->table, f->n * sizeof(table[0]));
    memcpy(by_index, f->by_index, f->n * sizeof(by_index[0]));
    for (u64 i = 0; i < l->blocks; i++)
        table[f->n + i] = (l->first + i) << q->bits;
    free(f->table);
    free(f->by_index);
    free(f->table_dirty);
    f->table = table;
    f->by_index = by_index;
    f->table_dirty = xnew_n(u8, l->n * 8 / DISK_SECTOR);
    f->table_any_dirty = false;
    f->n = (u32)l->n;
}

/*
 * A larger table, at the first cluster that the old one cannot count.  Blocks that either points to are in the file first, and
 * then the header changes over.
 */
static int grow_table(struct qcow2 *q, u64 least, u64 extra, u64 *ret_extra)
{
    const struct q2_header was = q->h;
    struct larger l;
    int r = plan_table(q, least, extra, &l);

    if (r == 0)
        r = q2_grow_file(q, (l.first + l.blocks + l.clusters + extra) << q->bits);
    if (r < 0)
        return r;
    used(q, l.first, l.blocks + l.clusters + extra);
    *ret_extra = l.first + l.blocks + l.clusters;
    r = write_new_blocks(q, &l);
    if (r == 0)
        r = store_blocks(q);
    if (r == 0)
        r = write_new_table(q, &l);
    if (r < 0)
        return r;
    q->h.rt_at = (l.first + l.blocks) << q->bits;
    q->h.rt_clusters = (u32)l.clusters;
    r = q2_header_change(q, &was);
    if (r < 0)
        return r;
    adopt_table(q, &l);
    q2_free_later(q, was.rt_at >> q->bits, was.rt_clusters); /* else they leak */
    return 0;
}

/* A block for counts that have none, in the first of its own clusters: none of them is in use. */
static int make_block(struct qcow2 *q, u64 index, struct q2_block **ret)
{
    u64 first = index << q->refs.block_bits;
    struct q2_block *b = NULL;
    u64 none;
    int r;

    if (index >= q->refs.n) {
        r = grow_table(q, index, 0, &none);
        return r < 0 ? r : get_block(q, index, ret);
    }
    if (q2_is_meta(q, first << q->bits, q->cluster))
        return -EBADMSG;
    r = q2_grow_file(q, (first + 1) << q->bits);
    if (r == 0)
        r = take_slot(q, &b);
    if (r < 0)
        return r;
    must(b);
    used(q, first, 1);
    memset(b->data, 0, q->cluster);
    q2_count_set(b->data, q->refs.order, 0, 1);
    use_slot(q, b, (u32)index);
    table_set(q, (u32)index, first << q->bits);
    q2_block_touch(q, b, 0, (u32)q->cluster);
    *ret = b;
    return 0;
}

/* The block to count up in. */
static int need_block(struct qcow2 *q, u64 index, struct q2_block **ret)
{
    int r = get_block(q, index, ret);

    while (r == 0 && !*ret)
        r = make_block(q, index, ret);
    return r;
}

/* Nothing more goes after the compressed clusters in [first, first + n). */
static void leave_zip(struct qcow2 *q, u64 first, u64 n)
{
    u64 c = q->zip_at >> q->bits;

    if (c >= first && c < first + n)
        q->zip_at = 0;
}

static void came_free(struct qcow2 *q, u64 c)
{
    q->refs.hint = min(q->refs.hint, c);
    leave_zip(q, c, 1);
}

int q2_ref_add(struct qcow2 *q, u64 first, u64 n, int delta)
{
    struct q2_refs *f = &q->refs;
    u64 mask = (1ull << f->block_bits) - 1, bad = delta > 0 ? count_max(q) : 0;

    /* all that can fail, then all that changes */
    for (u32 pass = 0; pass < 2; pass++) {
        for (u64 c = first; c < first + n; c++) {
            struct q2_block *b;
            u64 v;
            int r = delta > 0 ? need_block(q, c >> f->block_bits, &b)
                              : get_block(q, c >> f->block_bits, &b);

            if (r < 0)
                return r;
            if (!b)
                return -ERANGE;
            v = q2_count_get(b->data, f->order, c & mask);
            if (pass == 0 && v == bad)
                return -ERANGE;
            if (pass == 0)
                continue;
            v += (u64)(s64)delta;
            q2_count_set(b->data, f->order, c & mask, v);
            touch_count(q, b, c & mask);
            if (v == 0)
                came_free(q, c);
        }
    }
    return 0;
}

int q2_ref_lower(struct qcow2 *q, u64 cluster, u64 v)
{
    struct q2_refs *f = &q->refs;
    u64 in = cluster & ((1ull << f->block_bits) - 1);
    struct q2_block *b;
    int r = get_block(q, cluster >> f->block_bits, &b);

    if (r < 0 || !b)
        return r;
    q2_count_set(b->data, f->order, in, v);
    touch_count(q, b, in);
    if (v == 0)
        came_free(q, cluster);
    return 0;
}

/* A search for free clusters. */
struct search {
    u64 want;
    bool exact;
    u64 first, run; /* found so far */
    u64 free;       /* the first free cluster seen; valid when seen_free */
    bool seen_free;
};

/* Looks at the counts of one block from *c on.  True: that will do. */
static bool search_block(const struct qcow2 *q, const struct q2_block *b, u64 *c, struct search *s)
{
    u64 mask = (1ull << q->refs.block_bits) - 1, end = (*c | mask) + 1;

    for (; *c < end; ++*c) {
        if (q2_count_get(b->data, q->refs.order, *c & mask)) {
            if (s->run && !s->exact)
                return true;
            s->run = 0;
            continue;
        }
        if (!s->seen_free) {
            s->seen_free = true;
            s->free = *c;
        }
        if (!s->run)
            s->first = *c;
        if (++s->run == s->want)
            return true;
    }
    return false;
}

s64 q2_alloc(struct qcow2 *q, u64 want, bool exact, u64 *ret, bool *ret_fresh)
{
    struct search s = { .want = want, .exact = exact };
    u64 c = q->refs.hint;
    int r = q->broken ? -EIO : 0;

    if (r == 0 && exact && want >= 1ull << q->refs.block_bits) {
        /* new blocks would always be in the way, each in the first of the clusters that it counts */
        *ret_fresh = false;
        r = grow_table(q, q->refs.n, want, ret);
        return r < 0 ? r : (s64)want;
    }
    while (r == 0) {
        u64 index = c >> q->refs.block_bits;
        struct q2_block *b;

        if ((c + want) << q->bits >= Q2_HOST_END)
            return -EFBIG;
        r = get_block(q, index, &b);
        if (r == 0 && !b) {
            if (s.run && !exact)
                break;
            r = make_block(q, index, &b);
            continue; /* it may have taken what was found, or lie elsewhere */
        }
        if (r == 0 && search_block(q, b, &c, &s))
            break;
    }
    if (r == 0 && q2_is_meta(q, s.first << q->bits, s.run << q->bits)) {
        log_warn_limited("disk '%s': clusters of a table are counted as free", q->disk.name);
        r = -EBADMSG;
    }
    if (r == 0)
        r = q2_grow_file(q, (s.first + s.run) << q->bits);
    if (r == 0)
        r = q2_ref_add(q, s.first, s.run, 1);
    if (r < 0)
        return r;
    q->refs.hint = s.free == s.first ? s.first + s.run : s.free;
    *ret_fresh = s.first << q->bits >= q->fresh_from;
    used(q, s.first, s.run);
    *ret = s.first;
    return (s64)s.run;
}

void q2_free_now(struct qcow2 *q, u64 first, u64 n)
{
    q2_ref_add(q, first, n, -1); /* what cannot be counted down leaks */
}

bool q2_free_later(struct qcow2 *q, u64 first, u64 n)
{
    struct q2_pending *last = q->n_pending > q->n_sealed ? &q->pending[q->n_pending - 1] : NULL;

    if (q2_is_meta(q, first << q->bits, n << q->bits)) {
        q2_damage(q); /* an entry led there: they leak, at worst */
        return true;
    }
    leave_zip(q, first, n);
    if (last && last->first + last->n == first) {
        last->n += n;
        return true;
    }
    if (q->n_pending == Q2_PENDING_MAX)
        return false;
    q->pending[q->n_pending++] = (struct q2_pending){ first, n };
    return true;
}
