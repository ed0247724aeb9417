/*
 * disk/qcow2_zip.c: compressed clusters.  ("Compressed Clusters Descriptor")
 * A compressed cluster is written once, at the byte where the last one ended, and never changed: a write to its range puts the
 * cluster elsewhere.
 */
#include "disk/qcow2_internal.h"

#include <stdlib.h>
#include <zlib.h>
#include <zstd.h>

enum {
    WINDOW_BITS =
        12, /* raw deflate with a window of 4 KiB, as every reader of the format expects */
    ZSTD_WINDOW_LOG =
        23, /* the largest window that is read, 8 MiB: what all levels but `ultra` make */
};

void q2_zip_range(const struct qcow2 *q, u64 descriptor, u64 *at, u64 *len)
{
    u32 x = 62 - (q->bits - 8);
    u64 sectors = (descriptor & (Q2_COMPRESSED - 1)) >> x;

    *at = descriptor & ((1ull << x) - 1) & (Q2_HOST_END - 1);
    *len = (sectors + 1) * DISK_SECTOR - (*at & (DISK_SECTOR - 1));
}

static int unzip_deflate(const u8 *src, u64 len, void *dst, u64 dst_len)
{
    z_stream z = { .next_in = (u8 *)(uintptr_t)src, /* zlib's has no const */
                   .avail_in = (uInt)len,
                   .next_out = dst,
                   .avail_out = (uInt)dst_len };
    int r;

    if (inflateInit2(&z, -WINDOW_BITS) != Z_OK)
        return -ENOMEM;
    r = inflate(&z, Z_FINISH);
    inflateEnd(&z);
    /* Z_BUF_ERROR: the cluster is full, whatever follows in its last sector */
    return (r == Z_STREAM_END || r == Z_BUF_ERROR) && z.avail_out == 0 ? 0 : -EBADMSG;
}

/*
 * The stream may be followed by anything, so it is read until the cluster is full.  A frame says how far back it refers, and zstd makes room
 * for as much: what is far more than a cluster is somebody's who wants our memory.
 */
static int unzip_zstd(const u8 *src, u64 len, void *dst, u64 dst_len)
{
    ZSTD_DCtx *z = ZSTD_createDCtx();
    ZSTD_inBuffer in = { src, len, 0 };
    ZSTD_outBuffer out = { dst, dst_len, 0 };
    int r = z && !ZSTD_isError(ZSTD_DCtx_setParameter(z, ZSTD_d_windowLogMax, ZSTD_WINDOW_LOG))
                ? 0
                : -ENOMEM;

    while (r == 0 && out.pos < out.size) {
        size_t in_before = in.pos, out_before = out.pos;

        if (ZSTD_isError(ZSTD_decompressStream(z, &out, &in)) ||
            (in.pos == in_before && out.pos == out_before))
            r = -EBADMSG;
    }
    ZSTD_freeDCtx(z);
    return r;
}

int q2_unzip(const struct qcow2 *q, const u8 *src, u64 len, u8 *dst)
{
    int r = q->h.compression == QCOW2_ZSTD ? unzip_zstd(src, len, dst, q->cluster)
                                           : unzip_deflate(src, len, dst, q->cluster);

    if (r == -EBADMSG)
        log_warn_limited("disk '%s': a compressed cluster is damaged", q->disk.name);
    return r;
}

/* ---- writing ---- */

static s64 zip_deflate(const u8 *src, u64 len, void *dst, u64 room)
{
    z_stream z = { .next_in = (u8 *)(uintptr_t)src,
                   .avail_in = (uInt)len,
                   .next_out = dst,
                   .avail_out = (uInt)room };
    int r =
        deflateInit2(&z, Z_DEFAULT_COMPRESSION, Z_DEFLATED, -WINDOW_BITS, 9, Z_DEFAULT_STRATEGY);

    if (r != Z_OK)
        return -ENOMEM;
    r = deflate(&z, Z_FINISH);
    deflateEnd(&z);
    return r == Z_STREAM_END ? (s64)z.total_out : 0;
}

static s64 zip_zstd(const u8 *src, u64 len, void *dst, u64 room)
{
    size_t n = ZSTD_compress(dst, room, src, len, ZSTD_CLEVEL_DEFAULT);

    return ZSTD_isError(n) ? 0 : (s64)n;
}

s64 qcow2_compress(const struct disk *d, const void *src, u64 len, void *dst)
{
    const struct qcow2 *q = q2_of(d);

    must(len == q->cluster);
    return q->h.compression == QCOW2_ZSTD ? zip_zstd(src, len, dst, q->cluster - 1)
                                          : zip_deflate(src, len, dst, q->cluster - 1);
}

/* A place of `len` bytes, less than a cluster: after the last one, or at the start of a new cluster.  Counts the clusters. */
static int place(struct qcow2 *q, u64 len, u64 *ret)
{
    u64 at = q->zip_at, left = align_up(at, q->cluster) - at, first;
    bool fresh;
    s64 n;
    int r;

    if (at && len <= left && q2_ref_add(q, at >> q->bits, 1, 1) == 0) {
        *ret = at;
        return 0;
    }
    n = q2_alloc(q, 1, true, &first, &fresh);
    if (n < 0)
        return (int)n;
    *ret = first << q->bits;
    if (at && left && len > left && first == (at >> q->bits) + 1) {
        r = q2_ref_add(q, at >> q->bits, 1, 1);
        if (r == 0)
            *ret = at;
    }
    return 0;
}

/* The bytes, by whole sectors: what is before them in the first is the end of the last cluster. */
static int write_bytes(struct qcow2 *q, const u8 *src, u64 len, u64 at)
{
    u64 from = align_down(at, DISK_SECTOR), in = at - from, size = align_up(in + len, DISK_SECTOR);
    AUTO(free) u8 *buf = aligned_alloc(4096, align_up(size, 4096));
    int r;

    if (!buf)
        return -ENOMEM;
    memset(buf, 0, size);
    memcpy(buf, q->zip_tail, in);
    memcpy(buf + in, src, len);
    r = q->file->ops->now(q->file, DISK_WRITE, buf, size, from);
    memcpy(q->zip_tail, buf + size - DISK_SECTOR, DISK_SECTOR);
    return r;
}

/* Sets the entry of the cluster at guest offset `at`, once there is room for its table. */
static int set_entry(struct qcow2 *q, u64 at, u64 entry, u64 subs)
{
    struct q2_table *t;
    const void *key;
    u64 first, old;
    s64 n;
    int r;

    do {
        pthread_mutex_lock(&q->lock);
        r = q2_table_get(q, NULL, q2_l1_index(q, at), true, &t, &key);
        if (r > 0) {
            old = q2_entry(q, t, q2_l2_index(q, at));
            n = q2_entry_clusters(q, old, &first);
            if (n > 0)
                q2_free_later(q, first, (u64)n);
            q->zip_gen++; /* the same descriptor may mean other bytes now */
            q2_entry_set(q, t, q2_l2_index(q, at), entry, subs);
        }
        pthread_mutex_unlock(&q->lock);
        if (r == -ENOBUFS)
            r = q2_round(q);
    } while (r == 0);
    return min(r, 0);
}

int qcow2_write_packed(struct disk *d, const void *packed, u64 len, u64 at, struct err *e)
{
    struct qcow2 *q = q2_of(d);
    u32 x = 62 - (q->bits - 8);
    u64 host = 0, sectors;
    int r;

    must(len > 0 && len < q->cluster && is_aligned(at, q->cluster) && at < d->size);
    if (q->data_apart)
        return err_set(e, -ENOTSUP, "disk '%s' keeps its data in a file of its own: no compression",
                       d->name);
    pthread_mutex_lock(&q->lock);
    r = place(q, len, &host);
    if (r == 0)
        q->zip_at = is_aligned(host + len, q->cluster) ? 0 : host + len;
    pthread_mutex_unlock(&q->lock);
    if (r == 0 && host + len > 1ull << x)
        r = -EFBIG;
    if (r == 0)
        r = write_bytes(q, packed, len, host);
    sectors = ((host & (DISK_SECTOR - 1)) + len - 1) / DISK_SECTOR;
    if (r == 0)
        r = set_entry(q, at, Q2_COMPRESSED | sectors << x | host, 0);
    return r < 0 ? err_code(e, r, "disk '%s': a compressed cluster at %llu", d->name, at) : 0;
}

static int write_plain(struct qcow2 *q, u8 *src, u64 at)
{
    u64 first = 0;
    bool fresh;
    s64 n;
    int r;

    pthread_mutex_lock(&q->lock);
    n = q2_alloc(q, 1, true, &first, &fresh);
    pthread_mutex_unlock(&q->lock);
    if (n < 0)
        return (int)n;
    r = q->file->ops->now(q->file, DISK_WRITE, src, q->cluster, first << q->bits);
    return r < 0 ? r : set_entry(q, at, (first << q->bits) | Q2_COPIED, UINT32_MAX);
}

int qcow2_write_compressed(struct disk *d, const void *buf, u64 len, u64 at, struct err *e)
{
    struct qcow2 *q = q2_of(d);
    AUTO(free) u8 *src = aligned_alloc(4096, align_up(q->cluster, 4096));
    AUTO(free) u8 *dst = aligned_alloc(4096, align_up(q->cluster, 4096));
    s64 n;
    int r;

    must(len > 0 && len <= q->cluster && range_ok(at, len, d->size));
    must(src && dst);
    if (q->data_apart)
        return err_set(e, -ENOTSUP, "disk '%s' keeps its data in a file of its own: no compression",
                       d->name);
    memcpy(src, buf, len);
    memset(src + len, 0, q->cluster - len);
    n = qcow2_compress(d, src, q->cluster, dst);
    if (n > 0)
        return qcow2_write_packed(d, dst, (u64)n, at, e);
    r = n < 0 ? (int)n : write_plain(q, src, at);
    return r < 0 ? err_code(e, r, "disk '%s': a cluster at %llu", d->name, at) : 0;
}
