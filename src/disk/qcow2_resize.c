/*
 * disk/qcow2_resize.c: another size for a qcow2 disk.
 *   (1) The header's size changes last: until it is written the disk is the old one.
 *   (2) A larger L1 table lies elsewhere, and the header changes over to it.
 */
#include "disk/qcow2_internal.h"

#include <stdlib.h>

/* The table in memory as it is in the file.  Cached tables are of the old one. */
static void adopt_l1(struct qcow2 *q, const u64 *l1, u32 n_l1)
{
    u64 sectors = (q->h.l1_size * 8ull + DISK_SECTOR - 1) / DISK_SECTOR;

    pthread_mutex_lock(&q->lock);
    q2_tables_drop(q);
    free(q->l2.by_l1);
    q->l2.by_l1 = xnew_n(struct q2_table *, q->h.l1_size);
    free(q->l1_dirty);
    q->l1_dirty = xnew_n(u8, sectors);
    free(q->l1);
    q->l1 = xnew_n(u64, sectors * DISK_SECTOR / 8);
    memcpy(q->l1, l1, n_l1 * 8ull);
    pthread_mutex_unlock(&q->lock);
}

int q2_l1_replace(struct qcow2 *q, const u64 *entries, u32 n_l1, u32 n, u64 size)
{
    AUTO(free) u64 *l1 = xdup_mem(entries, n_l1 * 8ull); /* they may be those of q->l1 */
    u64 clusters = (n * 8ull + q->cluster - 1) >> q->bits, first = 0;
    u64 old_at = q->h.l1_at, old_n = (q->h.l1_size * 8ull + q->cluster - 1) >> q->bits;
    AUTO(free) be64 *raw = aligned_alloc(4096, align_up(clusters << q->bits, 4096));
    struct q2_header was;
    bool fresh;
    s64 got;
    int r;

    must(raw);
    memset(raw, 0, clusters << q->bits);
    for (u32 i = 0; i < n_l1; i++)
        raw[i] = be64_of(l1[i]);
    pthread_mutex_lock(&q->lock);
    got = q2_alloc(q, clusters, true, &first, &fresh);
    pthread_mutex_unlock(&q->lock);
    r = got < 0 ? (int)got : q2_sync_all(q);
    if (r == 0)
        r = q->file->ops->now(q->file, DISK_WRITE, raw, clusters << q->bits, first << q->bits);
    if (r == 0)
        r = q->file->ops->now(q->file, DISK_FLUSH, NULL, 0, 0);
    was = q->h;
    if (r == 0) {
        q->h.l1_at = first << q->bits;
        q->h.l1_size = n;
        q->h.size = size;
        r = q2_header_change(q, &was);
    }
    if (r < 0) {
        pthread_mutex_lock(&q->lock);
        if (got > 0 && !q->broken)
            q2_free_now(q, first, (u64)got);
        pthread_mutex_unlock(&q->lock);
        return r;
    }
    adopt_l1(q, l1, n_l1);
    pthread_mutex_lock(&q->lock);
    q2_free_later(q, old_at >> q->bits, old_n);
    pthread_mutex_unlock(&q->lock);
    return 0;
}

static int grow_l1(struct qcow2 *q, u64 size, struct err *e)
{
    u64 need = ((size - 1) >> (q->bits + q->l2_bits)) + 1;
    int r;

    if (need * 8 > Q2_L1_BYTES_MAX) {
        return err_set(e, -EFBIG,
                       "disk '%s': %llu bytes are too many for clusters of %llu bytes; %llu are "
                       "allowed",
                       q->disk.name, size, q->cluster,
                       (Q2_L1_BYTES_MAX / 8) << (q->bits + q->l2_bits));
    }
    if (need <= q->h.l1_size)
        return 0;
    r = q2_l1_replace(q, q->l1, q->h.l1_size, (u32)need, q->h.size);
    return r < 0 ? err_code(e, r, "disk '%s': a larger L1 table", q->disk.name) : 0;
}

/* Hides what a longer backing file has there. */
static int hide_backing(struct qcow2 *q, u64 from, u64 to, struct err *e)
{
    AUTO(disk_sync) struct disk_sync *s = NULL;
    int r;

    if (!q->disk.backing || q->disk.backing->size <= from)
        return 0;
    r = disk_sync_open(&q->disk, &s, e);
    if (r < 0)
        return r;
    r = disk_zero(s, min(to, q->disk.backing->size) - from, from, true);
    return r < 0 ? err_code(e, r, "disk '%s': zeroes over a longer backing file", q->disk.name) : 0;
}

static int grow(struct qcow2 *q, u64 size, struct err *e)
{
    u64 old = q->disk.size;
    int r = grow_l1(q, size, e);

    if (r < 0)
        return r;
    if (q->data_apart && q->data->zero_grown && q->data->size < size)
        r = disk_resize(q->data, size, e);
    if (r < 0)
        return r;
    q->disk.size = size; /* for hide_backing */
    r = hide_backing(q, old, size, e);
    if (r == 0) {
        r = q2_sync_all(q);
        if (r < 0)
            err_code(e, r, "disk '%s': write back", q->disk.name);
    }
    if (r < 0)
        q->disk.size = old;
    return r;
}

/* Is all of [from, to) zeroes? */
static int check_empty(struct qcow2 *q, struct disk_sync *s, u64 from, u64 to, struct err *e)
{
    AUTO(free) u64 *buf = aligned_alloc(4096, 64 * KiB);

    must(buf);
    for (u64 at = from; at < to;) {
        struct disk_extent x;
        u64 n;
        int r = disk_map_deep(&q->disk, at, to - at, &x, e);

        if (r < 0)
            return r;
        n = x.kind == DISK_MAP_ZERO ? x.len : min(x.len, 64 * KiB);
        if (x.kind != DISK_MAP_ZERO) {
            r = disk_pread(s, buf, n, at);
            if (r < 0)
                return err_code(e, r, "read disk '%s' at %llu", q->disk.name, at);
            for (u64 i = 0; i < n / 8; i++)
                if (buf[i])
                    return err_set(e, -ENOTEMPTY, "disk '%s' has data at %llu, after the new end",
                                   q->disk.name, at + align_down(i * 8, DISK_SECTOR));
        }
        at += n;
    }
    return 0;
}

static int shrink(struct qcow2 *q, u64 size, struct err *e)
{
    u64 old = q->disk.size, from = min(align_up(size, q->cluster), old);
    AUTO(disk_sync) struct disk_sync *s = NULL;
    int r = disk_sync_open(&q->disk, &s, e);

    if (r == 0)
        r = check_empty(q, s, size, old, e);
    if (r < 0)
        return r;
    if (from < old)
        r = disk_discard(s, old - from, from);
    if (r == 0)
        r = disk_flush(s);
    if (r < 0)
        return err_code(e, r, "disk '%s': discard what is after the new end", q->disk.name);
    q->disk.size = size;
    return 0;
}

int q2_resize(struct qcow2 *q, u64 size, struct err *e)
{
    u64 old = q->disk.size;
    struct q2_header was;
    int r = q2_claim(q, "resize", e);

    if (r < 0 || size == old)
        return r;
    if (q->h.n_snapshots && (size < old || q->h.version < Q2_VERSION_3))
        return err_set(e, -ENOTSUP, "disk '%s' has snapshots: it cannot be made %s", q->disk.name,
                       size < old ? "smaller" : "larger, being of version 2");
    r = size > old ? grow(q, size, e) : shrink(q, size, e);
    if (r < 0)
        return r;
    was = q->h;
    q->h.size = size;
    r = q2_header_change(q, &was);
    if (r < 0) {
        q->disk.size = old;
        return err_code(e, r, "write the header of disk '%s'", q->disk.name);
    }
    r = q2_sync_all(q);
    return r < 0 ? err_code(e, r, "write back disk '%s'", q->disk.name) : 0;
}
