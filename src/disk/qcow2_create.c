/*
 * disk/qcow2_create.c: a new qcow2 image.
 *     header | refcount table | refcount blocks | L1 table | with preallocation: L2 tables and data clusters
 */
#include "disk/qcow2_internal.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

const char *const qcow2_compression_words[] = { "zlib", "zstd", NULL };
const char *const qcow2_prealloc_words[] = { "off", "metadata", "falloc", NULL };

/* In clusters. */
struct layout {
    u64 rt, blocks, l1; /* how many */
    u64 rt_at, blocks_at, l1_at, end;
};

int qcow2_create_check(struct qcow2_create_cfg *c, struct err *e)
{
    c->version = c->version ? c->version : Q2_VERSION_3;
    c->cluster = c->cluster ? c->cluster : 64 * KiB;
    c->refcount_bits = c->refcount_bits ? c->refcount_bits : 16;
    if (c->size == 0 || c->size % DISK_SECTOR)
        return err_set(e, -EINVAL, "the size is %llu bytes; multiples of %u are allowed", c->size,
                       DISK_SECTOR);
    if (c->version != Q2_VERSION_2 && c->version != Q2_VERSION_3)
        return err_set(e, -EINVAL, "version %u; 2 and 3 are allowed", c->version);
    if (!is_pow2(c->cluster) || c->cluster < 1u << Q2_CLUSTER_BITS_MIN ||
        c->cluster > 1u << Q2_CLUSTER_BITS_MAX)
        return err_set(e, -EINVAL, "clusters of %u bytes; powers of two from %u to %u are allowed",
                       c->cluster, 1u << Q2_CLUSTER_BITS_MIN, 1u << Q2_CLUSTER_BITS_MAX);
    if (!is_pow2(c->refcount_bits) || c->refcount_bits > 64)
        return err_set(e, -EINVAL, "refcounts of %u bits; powers of two from 1 to 64 are allowed",
                       c->refcount_bits);
    if (c->extended_l2 && c->cluster < 1u << Q2_EXT_BITS_MIN)
        return err_set(e, -EINVAL, "extended L2 entries want clusters of at least %u bytes, not %u",
                       1u << Q2_EXT_BITS_MIN, c->cluster);
    if (c->version == Q2_VERSION_2 &&
        (c->refcount_bits != 16 || c->lazy_refcounts || c->extended_l2 || c->data_file ||
         c->compression != QCOW2_ZLIB))
        return err_set(e, -EINVAL,
                       "version 2 has neither other refcounts than of 16 bits, nor lazy "
                       "refcounts, extended L2, data files, or zstd");
    if (c->data_raw && (!c->data_file || c->backing))
        return err_set(e, -EINVAL, "a raw data file wants a data file, and no backing file");
    if (c->backing && c->prealloc != QCOW2_PREALLOC_OFF)
        return err_set(e, -EINVAL, "preallocation would hide the backing file");
    if ((c->backing && strlen(c->backing) > DISK_NAME_MAX) ||
        (c->data_file && strlen(c->data_file) > DISK_NAME_MAX))
        return err_set(e, -ENAMETOOLONG, "names in images have at most %u bytes", DISK_NAME_MAX);
    return 0;
}

static int plan(const struct qcow2_create_cfg *c, struct q2_header *h, struct layout *l,
                struct err *e)
{
    u64 cluster = c->cluster, per = cluster * 8 / c->refcount_bits;
    u32 table_bits = h->cluster_bits + q2_entries_bits(h->cluster_bits, c->extended_l2);
    u64 l1_size = ((c->size - 1) >> table_bits) + 1;

    if (l1_size * 8 > Q2_L1_BYTES_MAX)
        return err_set(e, -EFBIG,
                       "%llu bytes are too many for clusters of %u bytes; %llu are allowed",
                       c->size, c->cluster, (Q2_L1_BYTES_MAX / 8) << table_bits);
    *l = (struct layout){ .rt = 1, .rt_at = 1, .blocks = 1 };
    l->l1 = (l1_size * 8 + cluster - 1) / cluster;
    do {
        l->end = 1 + l->rt + l->blocks + l->l1;
        l->blocks = (l->end + per - 1) / per;
        l->rt = (l->blocks * 8 + cluster - 1) / cluster;
    } while (1 + l->rt + l->blocks + l->l1 != l->end);
    l->blocks_at = 1 + l->rt;
    l->l1_at = l->blocks_at + l->blocks;
    h->l1_size = (u32)l1_size;
    h->l1_at = l->l1_at * cluster;
    h->rt_at = l->rt_at * cluster;
    h->rt_clusters = (u32)l->rt;
    return 0;
}

static void fill_header(const struct qcow2_create_cfg *c, struct q2_header *h)
{
    *h = (struct q2_header){
        .version = c->version,
        .cluster_bits = (u32)__builtin_ctz(c->cluster),
        .refcount_order = (u32)__builtin_ctz(c->refcount_bits),
        .header_len = c->version == Q2_VERSION_2 ? Q2_HEADER_2 : (u32)sizeof(struct q2_disk_header),
        .compression = (u8)c->compression,
        .size = c->size,
        .compatible = c->lazy_refcounts ? Q2_C_LAZY : 0,
        .autoclear = c->data_raw ? Q2_A_RAW_DATA : 0,
        .backing = c->backing ? xdup(c->backing) : NULL,
        .backing_format = c->backing && c->backing_format ? xdup(c->backing_format) : NULL,
        .data_file = c->data_file ? xdup(c->data_file) : NULL,
    };
    h->incompatible = (c->data_file ? Q2_I_DATA_FILE : 0) | (c->extended_l2 ? Q2_I_EXT_L2 : 0) |
                      (c->compression != QCOW2_ZLIB ? Q2_I_COMPRESSION : 0);
}

/* The tables; what is not written of them is the zeroes of a new file, or is written as such on a device. */
static int write_tables(int fd, const struct q2_header *h, const struct layout *l, bool device)
{
    u64 cluster = 1ull << h->cluster_bits, per = cluster * 8 >> h->refcount_order;
    AUTO(free) u8 *buf = alloc_x(1, cluster);
    AUTO(free) be64 *rt = (be64 *)alloc_x(1, l->rt * cluster);
    int r = 0;

    for (u64 i = 0; i < l->blocks && r == 0; i++) {
        rt[i] = be64_of((l->blocks_at + i) * cluster);
        memset(buf, 0, cluster);
        for (u64 k = i * per; k < min((i + 1) * per, l->end); k++)
            q2_count_set(buf, h->refcount_order, k - i * per, 1);
        r = fd_pwrite_all(fd, buf, cluster, (l->blocks_at + i) * cluster);
    }
    if (r == 0)
        r = fd_pwrite_all(fd, rt, l->rt * cluster, l->rt_at * cluster);
    memset(buf, 0, cluster);
    for (u64 i = 0; i < l->l1 && r == 0; i++)
        if (device || i + 1 == l->l1)
            r = fd_pwrite_all(fd, buf, cluster, (l->l1_at + i) * cluster);
    return r;
}

static int write_image(int fd, const struct q2_header *h, const struct layout *l, struct err *e)
{
    u32 len = (u32)min(1ull << h->cluster_bits, Q2_HEAD_MAX);
    AUTO(free) u8 *head = alloc_x(1, len);
    struct stat st;
    int r = q2_header_build(h, head, len, e);

    if (r < 0)
        return r;
    if (fstat(fd, &st) < 0)
        return err_errno(e, "look at the file");
    if (!S_ISBLK(st.st_mode) && ftruncate(fd, 0) < 0)
        return err_errno(e, "empty the file");
    /* the header last: until then it is no image */
    r = write_tables(fd, h, l, S_ISBLK(st.st_mode));
    if (r == 0)
        r = fdatasync(fd) < 0 ? -errno : fd_pwrite_all(fd, head, len, 0);
    if (r == 0 && fsync(fd) < 0)
        r = -errno;
    return r < 0 ? err_code(e, r, "write the image") : 0;
}

/* Every cluster gets its place. */
static int preallocate(struct qcow2 *q)
{
    u64 table = q->cluster << q->l2_bits;
    int r = 0;

    for (u64 at = 0; at < q->disk.size && r == 0;) {
        u64 end = min(align_down(at, table) + table, align_up(q->disk.size, q->cluster)), first = 0;
        struct q2_table *t;
        const void *key;
        bool fresh;
        s64 n;

        pthread_mutex_lock(&q->lock);
        r = q2_table_get(q, NULL, q2_l1_index(q, at), true, &t, &key);
        n = r < 0 ? r : (s64)((end - at) >> q->bits);
        if (n > 0 && !q->data_apart)
            n = q2_alloc(q, (u64)n, false, &first, &fresh);
        for (s64 i = 0; i < n; i++, at += q->cluster)
            q2_entry_set(q, t, q2_l2_index(q, at),
                         (!q->data_apart ? (first + (u64)i) << q->bits : at) | Q2_COPIED,
                         UINT32_MAX);
        pthread_mutex_unlock(&q->lock);
        r = n < 0 && n != -ENOBUFS ? (int)n : 0;
        if (r == 0 && n < 0)
            r = q2_sync_all(q);
    }
    return r < 0 ? r : q2_sync_all(q);
}

static int open_and_preallocate(int fd, const char *path, const struct qcow2_create_cfg *c,
                                struct err *e)
{
    const struct disk_cfg cfg = { .file = path, .fd = fd, .format = "qcow2", .no_backing = true };
    AUTO(disk) struct disk *d = NULL;
    int r = disk_open(&cfg, &d, e);

    if (r < 0)
        return r;
    if (q2_of(d)->data_apart && q2_of(d)->data->zero_grown)
        r = disk_resize(q2_of(d)->data, c->size, e);
    if (r < 0 || c->prealloc == QCOW2_PREALLOC_OFF)
        return r;
    r = preallocate(q2_of(d));
    return r < 0 ? err_code(e, r, "preallocate") : 0;
}

int qcow2_create(int fd, const char *path, const struct qcow2_create_cfg *cfg, struct err *e)
{
    struct qcow2_create_cfg c = *cfg;
    struct q2_header h = {};
    struct layout l = {};
    struct stat st;
    int r, other;

    r = qcow2_create_check(&c, e);
    if (r == 0) {
        fill_header(&c, &h);
        r = plan(&c, &h, &l, e);
    }
    if (r == 0)
        r = write_image(fd, &h, &l, e);
    if (r == 0 && (c.prealloc != QCOW2_PREALLOC_OFF || c.data_file)) {
        other = fcntl(fd, F_DUPFD_CLOEXEC, 3);
        r = other < 0 ? err_errno(e, "a second descriptor")
                      : open_and_preallocate(other, path, &c, e);
    }
    if (r == 0 && c.prealloc == QCOW2_PREALLOC_FALLOC && !c.data_file &&
        (fstat(fd, &st) < 0 || fallocate(fd, 0, 0, st.st_size) < 0))
        r = err_errno(e, "allocate %llu bytes", (u64)st.st_size);
    q2_header_fini(&h);
    return r < 0 ? err_wrap(e, "create '%s'", path) : 0;
}
