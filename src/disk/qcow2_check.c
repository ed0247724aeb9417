/*
 * disk/qcow2_check.c: counts all references of a qcow2 image and compares them with its refcounts; repairs them.
 *
 * An *error* can lose data: something is referred to more often than it is counted, or points where nothing can be.  A *leak*
 * costs room: clusters that nobody refers to, or a COPIED flag that is missing.
 *   (1) What is found by walking is believed, what is counted is not: repair makes the counts what the walk found.
 *   (2) Counts are repaired where they are when table and blocks are sound, else they are written anew at the file's end, and the
 *       header changes over.
 */
#include "disk/qcow2_internal.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#define CLUSTERS_MAX (1ull << 28) /* 1 GiB of counts */

struct check {
    struct qcow2 *q;
    struct qcow2_report *rep;
    u32 *refs; /* one a cluster of the file */
    u64 n;
    bool bad_blocks;  /* table or blocks of the refcounts are not sound */
    u64 block_errors; /* found of them; part of rep->errors */
    u64 done, todo;   /* bytes of L2 tables that were looked at, and that there may be */
    u64 last_host;    /* of the cluster before, for fragmentation */
};

static void say(struct check *c, u64 *count, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

static void say(struct check *c, u64 *count, const char *fmt, ...)
{
    char text[160];
    va_list ap;

    ++*count;
    if (!c->rep->say)
        return;
    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    c->rep->say(c->rep->arg, text);
}

/* One more L1 entry is done.  Negative: the caller wants no more. */
static int step(struct check *c)
{
    c->done += c->q->cluster;
    return c->rep->step ? c->rep->step(c->rep->arg, c->done, c->todo) : 0;
}

/* One more reference to each cluster of [at, at + len). */
static void count(struct check *c, u64 at, u64 len, const char *what)
{
    struct qcow2 *q = c->q;

    if (len == 0)
        return;
    for (u64 i = at >> q->bits; i <= (at + len - 1) >> q->bits; i++) {
        if (i >= c->n) {
            say(c, &c->rep->errors, "%s at %llu is after the end of the file", what, at);
            return;
        }
        c->refs[i] += c->refs[i] != UINT32_MAX;
        c->rep->end = max(c->rep->end, (i + 1) << q->bits);
    }
}

static void note_cluster(struct check *c, u64 entry)
{
    struct qcow2 *q = c->q;
    u64 host = entry & Q2_OFFSET;

    if (entry & Q2_COMPRESSED) {
        c->rep->compressed++;
        c->rep->allocated++;
        return;
    }
    if (!host)
        return;
    c->rep->allocated++;
    if (c->last_host && host != c->last_host + q->cluster)
        c->rep->fragmented++;
    c->last_host = host;
}

static void walk_entry(struct check *c, u64 entry, u64 subs, bool active)
{
    struct qcow2 *q = c->q;
    u64 host = entry & Q2_OFFSET, at, len;

    if (entry & Q2_COMPRESSED) {
        q2_zip_range(q, entry, &at, &len);
        if (entry & Q2_COPIED)
            say(c, &c->rep->errors, "compressed cluster at %llu is marked as ours alone", at);
        if (q2_is_meta(q, at, len))
            say(c, &c->rep->errors, "compressed cluster at %llu is where the header or a table is",
                at);
        else
            count(c, at, len, "compressed cluster");
    } else if (q->ext && (((subs >> 32) & subs & UINT32_MAX) ||
                          (!host && (subs & UINT32_MAX) && !q->data_apart))) {
        say(c, &c->rep->errors, "L2 entry 0x%llx has subclusters 0x%llx", entry, subs);
    } else if (!is_aligned(host, q->cluster)) {
        say(c, &c->rep->errors, "data cluster at %llu is not at a cluster's start", host);
    } else if (host && !q->data_apart && q2_is_meta(q, host, q->cluster)) {
        say(c, &c->rep->errors, "data cluster at %llu is where the header or a table is", host);
    } else if (host && !q->data_apart) {
        count(c, host, q->cluster, "data cluster");
    }
    if (active)
        note_cluster(c, entry);
}

static int walk_l2(struct check *c, u64 host, bool active, be64 *buf)
{
    struct qcow2 *q = c->q;
    int r = q->file->ops->now(q->file, DISK_READ, buf, q->cluster, host);

    if (r < 0)
        return r;
    for (u32 i = 0; i < 1u << q->l2_bits; i++) {
        const be64 *p = buf + (size_t)i * q->entry_words;

        walk_entry(c, be64_get(p[0]), q->ext ? be64_get(p[1]) : 0, active);
    }
    return 0;
}

/* An L1 table at `at`, and all that it leads to. */
static int walk_l1(struct check *c, u64 at, u32 n, bool active)
{
    struct qcow2 *q = c->q;
    u64 bytes = align_up(n * 8ull, DISK_SECTOR);
    AUTO(free) be64 *l1 = aligned_alloc(4096, align_up(bytes + 1, 4096));
    AUTO(free) be64 *buf = aligned_alloc(4096, align_up(q->cluster, 4096));
    int r;

    if (!l1 || !buf)
        return -ENOMEM;
    count(c, at, n * 8ull, "L1 table");
    r = q->file->ops->now(q->file, DISK_READ, l1, bytes, at);
    for (u32 i = 0; i < n && r == 0; i++) {
        u64 host = be64_get(l1[i]) & Q2_OFFSET;

        r = step(c);
        if (!host || r < 0)
            continue;
        if (!is_aligned(host, q->cluster) || host >> q->bits >= c->n) {
            say(c, &c->rep->errors, "L1 entry %u: an L2 table cannot be at %llu", i, host);
            continue;
        }
        count(c, host, q->cluster, "L2 table");
        /* no table is twice in one L1 table: who claims so would have us walk for ever */
        if (c->refs[host >> q->bits] > q->h.n_snapshots + 1)
            say(c, &c->rep->errors, "L1 entry %u: the L2 table at %llu is in use more than once", i,
                host);
        else
            r = walk_l2(c, host, active, buf);
    }
    return r;
}

static int walk_snapshots(struct check *c, struct err *e)
{
    struct qcow2 *q = c->q;
    struct q2_snaps all;
    int r = q2_snaps_load(q, &all, e);

    if (r < 0)
        return r;
    count(c, q->h.snapshots_at, all.bytes, "snapshot table");
    for (u32 i = 0; i < all.n; i++)
        c->todo += all.list[i].l1_size * q->cluster;
    for (u32 i = 0; i < all.n && r == 0; i++)
        r = walk_l1(c, all.list[i].l1_at, all.list[i].l1_size, false);
    q2_snaps_free(&all);
    return r < 0 ? err_code(e, r, "walk the snapshots") : 0;
}

/* "Bitmap directory": tables of clusters. */
static int walk_bitmaps(struct check *c, struct err *e)
{
    struct qcow2 *q = c->q;
    u64 at = q->h.bitmaps_at, len = q->h.bitmaps_len, in = 0;
    AUTO(free) u8 *dir = NULL;
    int r;

    if (!q->h.has_bitmaps || !(q->h.autoclear & Q2_A_BITMAPS))
        return 0;
    if (len == 0 || len > 64 * MiB || !is_aligned(at, q->cluster) ||
        !range_ok(at, len, q->file_len)) {
        say(c, &c->rep->errors, "the bitmap directory is %llu bytes at %llu", len, at);
        return 0;
    }
    count(c, at, len, "bitmap directory");
    dir = aligned_alloc(4096, align_up(len, 4096));
    if (!dir)
        return err_set(e, -ENOMEM, "memory for a bitmap directory");
    r = q->file->ops->now(q->file, DISK_READ, dir, align_up(len, DISK_SECTOR), at);
    for (u32 i = 0; i < q->h.n_bitmaps && r == 0 && in + 24 <= len; i++) {
        struct {
            be64 at;
            be32 n, flags;
            u8 type, granularity;
            be16 name_len;
            be32 extra_len;
        } __attribute__((packed)) d;
        AUTO(free) be64 *table = NULL;
        u64 bytes;

        memcpy(&d, dir + in, sizeof(d));
        bytes = be32_get(d.n) * 8ull;
        in += align_up(24ull + be16_get(d.name_len) + be32_get(d.extra_len), 8);
        if (bytes > Q2_L1_BYTES_MAX || !is_aligned(be64_get(d.at), q->cluster)) {
            say(c, &c->rep->errors, "bitmap %u has a table of %llu bytes at %llu", i, bytes,
                be64_get(d.at));
            continue;
        }
        count(c, be64_get(d.at), bytes, "bitmap table");
        table = aligned_alloc(4096, align_up(bytes + 1, 4096));
        if (!table)
            return err_set(e, -ENOMEM, "memory for a bitmap table");
        r = q->file->ops->now(q->file, DISK_READ, table, align_up(bytes, DISK_SECTOR),
                              be64_get(d.at));
        for (u64 k = 0; k < bytes / 8 && r == 0; k++)
            if (be64_get(table[k]) & Q2_OFFSET)
                count(c, be64_get(table[k]) & Q2_OFFSET, q->cluster, "bitmap data");
    }
    return r < 0 ? err_code(e, r, "read the bitmaps") : 0;
}

/* The refcounts' own clusters. */
static void walk_refcounts(struct check *c)
{
    struct qcow2 *q = c->q;

    count(c, q->h.rt_at, (u64)q->h.rt_clusters << q->bits, "refcount table");
    for (u32 i = 0; i < q->refs.n; i++) {
        u64 at = q->refs.table[i];

        if (!at)
            continue;
        if (!is_aligned(at, q->cluster) || at >> q->bits >= c->n || c->refs[at >> q->bits]) {
            say(c, &c->rep->errors, "refcount block %u cannot be at %llu", i, at);
            c->block_errors++;
            c->bad_blocks = true;
            q->refs.table[i] =
                0; /* it was not counted: who rebuilds must not take it from another */
            continue;
        }
        count(c, at, q->cluster, "refcount block");
    }
}

static int walk(struct check *c, struct err *e)
{
    struct qcow2 *q = c->q;
    int r;

    c->rep->clusters = (q->disk.size + q->cluster - 1) >> q->bits;
    count(c, 0, q->cluster, "header");
    r = walk_l1(c, q->h.l1_at, q->h.l1_size, true);
    if (r < 0)
        return err_code(e, r, "walk the tables");
    r = walk_snapshots(c, e);
    if (r == 0)
        r = walk_bitmaps(c, e);
    if (r == 0)
        walk_refcounts(c);
    return r;
}

/* ---- comparing ---- */

static int compare_counts(struct check *c, u64 *low, u64 *high)
{
    struct qcow2 *q = c->q;

    for (u64 i = 0; i < c->n; i++) {
        u64 v = 0;
        int r = c->bad_blocks ? -EBADMSG : q2_ref_get(q, i, &v);

        if (r < 0 && r != -EBADMSG)
            return r;
        if (r == -EBADMSG)
            c->bad_blocks = true;
        if (r == -EBADMSG && c->refs[i])
            ++*low;
        else if (r == 0 && v < c->refs[i])
            say(c, low, "cluster %llu is counted %llu times and used %u times", i, v, c->refs[i]);
        else if (r == 0 && v > c->refs[i])
            say(c, high, "cluster %llu is counted %llu times and used %u times (leak)", i, v,
                c->refs[i]);
    }
    return 0;
}

/* COPIED of one active entry whose first cluster is `first`. */
static void compare_flag(struct check *c, u64 entry, u64 host, u64 *unsafe, u64 *missing)
{
    u64 first = host >> c->q->bits;
    bool copied = entry & Q2_COPIED;

    if (first >= c->n)
        return;
    if (copied && c->refs[first] > 1)
        say(c, unsafe, "cluster at %llu is marked as ours alone and used %u times", host,
            c->refs[first]);
    else if (!copied && c->refs[first] == 1)
        say(c, missing, "cluster at %llu is ours alone and not marked so", host);
}

static int compare_flags(struct check *c, u64 *unsafe, u64 *missing)
{
    struct qcow2 *q = c->q;
    AUTO(free) be64 *buf = aligned_alloc(4096, align_up(q->cluster, 4096));
    int r = buf ? 0 : -ENOMEM;

    for (u32 i = 0; i < q->h.l1_size && r == 0; i++) {
        u64 table = q->l1[i] & Q2_OFFSET;

        r = step(c);
        if (r < 0 || !table || !is_aligned(table, q->cluster) || table >> q->bits >= c->n)
            continue;
        compare_flag(c, q->l1[i], table, unsafe, missing);
        r = q->file->ops->now(q->file, DISK_READ, buf, q->cluster, table);
        for (u32 k = 0; k < 1u << q->l2_bits && r == 0; k++) {
            u64 entry = be64_get(buf[(size_t)k * q->entry_words]);

            if (!(entry & Q2_COMPRESSED) && (entry & Q2_OFFSET) && !q->data_apart)
                compare_flag(c, entry, entry & Q2_OFFSET, unsafe, missing);
        }
    }
    return r;
}

/* ---- repair ---- */

/* Counts that are too high become in place what the walk found. */
static int lower_counts(struct check *c)
{
    struct qcow2 *q = c->q;
    int r = 0;

    for (u64 i = 0; i < c->n && r == 0; i++) {
        u64 v;

        r = q2_ref_get(q, i, &v);
        if (r == 0 && v > c->refs[i])
            r = q2_ref_lower(q, i, c->refs[i]);
    }
    return r;
}

/* Table and blocks of counts for all of the file and themselves, after its end. */
struct anew {
    u64 first, blocks, rt; /* clusters: where; of blocks; of the table */
};

static int write_counts(struct check *c, const struct anew *a)
{
    struct qcow2 *q = c->q;
    u64 per = 1ull << q->refs.block_bits, end = a->first + a->blocks + a->rt, max;
    u64 rt_bytes = a->rt << q->bits;
    AUTO(free) u8 *buf = aligned_alloc(4096, align_up(q->cluster, 4096));
    AUTO(free) be64 *rt = aligned_alloc(4096, align_up(rt_bytes, 4096));
    int r = 0;

    if (!buf || !rt)
        return -ENOMEM;
    max = q->refs.order == 6 ? ~0ull : (1ull << (1u << q->refs.order)) - 1;
    memset(rt, 0, rt_bytes);
    for (u64 i = 0; i < a->blocks && r == 0; i++) {
        memset(buf, 0, q->cluster);
        for (u64 k = i * per; k < min((i + 1) * per, end); k++) {
            u64 v = k >= a->first ? 1 : k < c->n ? c->refs[k] : 0;

            if (v > max)
                return -ERANGE;
            q2_count_set(buf, q->refs.order, k - i * per, v);
        }
        rt[i] = be64_of((a->first + i) << q->bits);
        r = q->file->ops->now(q->file, DISK_WRITE, buf, q->cluster, (a->first + i) << q->bits);
    }
    if (r == 0)
        r = q->file->ops->now(q->file, DISK_WRITE, rt, rt_bytes, (a->first + a->blocks) << q->bits);
    return r < 0 ? r : q->file->ops->now(q->file, DISK_FLUSH, NULL, 0, 0);
}

static int rebuild(struct check *c)
{
    struct qcow2 *q = c->q;
    u64 per = 1ull << q->refs.block_bits, entries = q->cluster / 8, end;
    struct anew a = { .first = max(c->rep->end >> q->bits, q->alloc_end >> q->bits), .rt = 1 };
    struct q2_header was;
    int r;

    /* the old table and its blocks are in use no more */
    for (u64 i = 0; i < q->h.rt_clusters; i++)
        c->refs[(q->h.rt_at >> q->bits) + i]--;
    for (u32 i = 0; i < q->refs.n; i++)
        if (q->refs.table[i]) /* walk_refcounts left those that it counted */
            c->refs[q->refs.table[i] >> q->bits]--;
    do {
        end = a.first + a.blocks + a.rt;
        a.blocks = (end + per - 1) / per;
        a.rt = (a.blocks + entries - 1) / entries;
    } while (a.first + a.blocks + a.rt != end);
    if (a.rt << q->bits > Q2_RT_BYTES_MAX)
        return -EFBIG;
    r = q2_grow_file(q, end << q->bits);
    if (r == 0)
        r = write_counts(c, &a);
    if (r < 0)
        return r;
    was = q->h;
    q->h.rt_at = (a.first + a.blocks) << q->bits;
    q->h.rt_clusters = (u32)a.rt;
    r = q2_header_change(q, &was);
    if (r < 0)
        return r;
    q->alloc_end = max(q->alloc_end, end << q->bits);
    q->fresh_from = max(q->fresh_from, q->alloc_end);
    q2_refs_fini(q);
    r = q2_refs_init(q, NULL);
    q->broken = r < 0;
    return r;
}

/* What each kind of finding came to. */
struct found {
    u64 walk, low, high, unsafe, missing;
};

static int do_repair(struct check *c, u32 repair, const struct found *f, struct err *e)
{
    struct qcow2 *q = c->q;
    bool anew = (repair & QCOW2_REPAIR_ERRORS) && (f->low || f->unsafe || c->bad_blocks);
    bool sound = !f->low && !f->unsafe && !c->bad_blocks; /* the counts as they are */
    bool lower = (repair & QCOW2_REPAIR_LEAKS) && f->high && sound;
    int r = 0;

    if (!anew && !sound)
        return 0; /* flags that follow counts too low would call a shared cluster the one's own */
    pthread_mutex_lock(&q->lock);
    if (anew)
        r = rebuild(c);
    else if (lower)
        r = lower_counts(c);
    pthread_mutex_unlock(&q->lock);
    if (r == 0)
        r = q2_flags_fix(q);
    if (r < 0)
        return err_code(e, r, "repair disk '%s'", q->disk.name);
    c->rep->leaks_fixed = f->missing + (anew || lower ? f->high : 0);
    c->rep->errors_fixed = anew ? f->low + f->unsafe + c->block_errors : 0;
    return 0;
}

/* The marks of an image that was not closed, or found to be damaged. */
static int clear_marks(struct qcow2 *q, const struct qcow2_report *rep)
{
    return rep->errors == rep->errors_fixed ? q2_header_mark(q, Q2_I_DIRTY | Q2_I_CORRUPT, false)
                                            : 0;
}

static int look(struct check *c, struct found *f, struct err *e)
{
    struct qcow2 *q = c->q;
    int r;

    c->todo = 2 * q->h.l1_size * q->cluster; /* the walk, and the flags */
    r = walk(c, e);
    if (r < 0)
        return r;
    f->walk = c->rep->errors;
    pthread_mutex_lock(&q->lock);
    r = compare_counts(c, &f->low, &f->high);
    if (r == 0)
        r = compare_flags(c, &f->unsafe, &f->missing);
    pthread_mutex_unlock(&q->lock);
    if (r < 0)
        return err_code(e, r, "read the refcounts");
    c->rep->errors += f->low + f->unsafe;
    c->rep->leaks += f->high + f->missing;
    return 0;
}

int q2_check(struct qcow2 *q, u32 repair, struct qcow2_report *rep, struct err *e)
{
    struct check c = { .q = q, .rep = rep, .n = align_up(q->file_len, q->cluster) >> q->bits };
    struct found f = {};
    int r;

    if (c.n > CLUSTERS_MAX)
        return err_set(e, -EFBIG, "disk '%s': a file of %llu clusters; %llu can be checked",
                       q->disk.name, c.n, CLUSTERS_MAX);
    c.refs = try_new(u32, c.n + q->h.rt_clusters, CLUSTERS_MAX * sizeof(u32) + Q2_RT_BYTES_MAX);
    if (!c.refs)
        return err_set(e, -ENOMEM, "memory for %llu counts", c.n);
    r = look(&c, &f, e);
    if (r == 0 && repair && (rep->errors || rep->leaks))
        r = do_repair(&c, repair, &f, e);
    if (r == 0 && (repair & QCOW2_REPAIR_ERRORS)) {
        r = clear_marks(q, rep);
        if (r < 0)
            err_code(e, r, "write the header of disk '%s'", q->disk.name);
    }
    free(c.refs);
    return r;
}

int qcow2_check(const struct disk_cfg *cfg, u32 repair, struct qcow2_report *rep, struct err *e)
{
    struct disk_cfg own = *cfg;
    AUTO(disk) struct disk *d = NULL;
    int r;

    *rep = (struct qcow2_report){ .say = rep->say, .step = rep->step, .arg = rep->arg };
    own.format = "qcow2";
    own.repair = true;
    own.no_backing = own.no_data = true;
    own.readonly = !repair;
    r = disk_open(&own, &d, e);
    return r < 0 ? r : q2_check(q2_of(d), repair, rep, e);
}
