/*
 * disk/qcow2_test.c: headers that are refused and how, names and chains, images made by qemu-img, several queues at once.
 */
#include "disk/qcow2_internal.h"
#include "disk/qcow2_rig.h"
#include "testlib/test.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <zstd.h>

/* ---- headers ---- */

#define AT(field) offsetof(struct q2_disk_header, field)

/* clang-format off */
static const struct {
    const char *why;
    u32 at, len; /* the bytes that are changed; len 0: none */
    u64 value;
    int r;
    const char *text;
} headers[] = {
    { "as it is",               0, 0, 0, 0, "" },
    { "version 1",              AT(version), 4, 1, -ENOTSUP, "version 1 of qcow2; 2 and 3" },
    { "version 4",              AT(version), 4, 4, -ENOTSUP, "version 4 of qcow2; 2 and 3" },
    { "small clusters",         AT(cluster_bits), 4, 8, -EBADMSG, "clusters of 2^8 bytes; 2^9 to 2^21" },
    { "large clusters",         AT(cluster_bits), 4, 22, -EBADMSG, "clusters of 2^22 bytes" },
    { "absurd clusters",        AT(cluster_bits), 4, 0xffffffff, -EBADMSG, "clusters of 2^" },
    { "AES",                    AT(crypt), 4, 1, -ENOTSUP, "encrypted (AES)" },
    { "LUKS",                   AT(crypt), 4, 2, -ENOTSUP, "encrypted (LUKS)" },
    { "other encryption",       AT(crypt), 4, 3, -EBADMSG, "encryption method 3" },
    { "no size",                AT(size), 8, 0, -EINVAL, "the disk has 0 bytes" },
    { "odd size",               AT(size), 8, 1000, -EINVAL, "the disk has 1000 bytes; multiples of 512" },
    { "more than L1 has",       AT(size), 8, 1 * GiB, -EBADMSG, "the L1 table has 1 entries" },
    { "near 2^63",              AT(size), 8, (1ull << 63) - 512, -EFBIG, "needs" },
    { "near 2^64",              AT(size), 8, ~511ull, -EFBIG, "needs" },
    { "huge L1",                AT(l1_size), 4, 0xffffffff, -EFBIG, "the L1 table has 4294967295 entries" },
    { "no L1",                  AT(l1_size), 4, 0, -EBADMSG, "the L1 table has 0 entries" },
    { "L1 not aligned",         AT(l1_at), 8, 0x30200, -EBADMSG, "the L1 table is at 197120" },
    { "L1 over the header",     AT(l1_at), 8, 0, -EBADMSG, "the L1 table is at 0" },
    { "L1 after the end",       AT(l1_at), 8, 1ull << 40, -EBADMSG, "inside the file's" },
    { "L1 beyond offsets",      AT(l1_at), 8, 0xffffffffffff0000, -EBADMSG, "the L1 table is at" },
    { "counts after the end",   AT(rt_at), 8, 1ull << 40, -EBADMSG, "the refcount table is at" },
    { "no counts",              AT(rt_clusters), 4, 0, -EBADMSG, "the refcount table has 0 clusters" },
    { "huge counts",            AT(rt_clusters), 4, 0x10000, -EBADMSG, "1 to 128" },
    { "snapshots after the end", AT(n_snapshots), 4, 1, -EBADMSG, "the snapshot table is at 0" },
    { "many snapshots",         AT(n_snapshots), 4, 65537, -EFBIG, "65537 snapshots" },
    { "unknown feature",        AT(incompatible), 8, 1ull << 17, -ENOTSUP, "feature 'unknown' (bit 17" },
    { "data without its name",  AT(incompatible), 8, Q2_I_DATA_FILE, -EINVAL, "a file that it does not name" },
    { "zlib as a feature",      AT(incompatible), 8, Q2_I_COMPRESSION, -EBADMSG, "compression type 0" },
    { "zstd not as a feature",  AT(compression), 1, 1, -EBADMSG, "compression type 1" },
    { "other compression",      AT(compression), 1, 2, -ENOTSUP, "compression type 2" },
    { "corrupt",                AT(incompatible), 8, Q2_I_CORRUPT, -EROFS, "marked corrupt" },
    { "raw data in the file",   AT(autoclear), 8, Q2_A_RAW_DATA, -EBADMSG, "without an external data file" },
    { "wide counts",            AT(refcount_order), 4, 7, -EBADMSG, "refcounts of 2^7 bits" },
    { "short header",           AT(header_len), 4, 96, -EBADMSG, "the header has 96 bytes" },
    { "odd header",             AT(header_len), 4, 108, -EBADMSG, "the header has 108 bytes" },
    { "long header",            AT(header_len), 4, 0x10008, -EBADMSG, "the header has 65544 bytes" },
    { "name outside",           AT(backing_at), 8, 0xfffff, -EBADMSG, "the backing file's name is 0 bytes" },
    { "long extension",         116, 4, 0xfffffff0, -EBADMSG, "more than fit" },
};
/* clang-format on */

TEST(qcow2_headers)
{
    char path[200];

    rig_path(path, "header.qcow2");
    for_each_row(c, headers) {
        AUTO(disk) struct disk *d = NULL;
        struct err e = {};

        ROW(c);
        rig_create(path, &(struct qcow2_create_cfg){ .size = 1 * MiB });
        rig_patch(path, c->at, c->len, c->value);
        CHECK_EQ(rig_open(path, false, &d, &e), c->r);
        CHECK_HAS(e.text, c->text);
        CHECK_HAS(e.text, c->r ? "header.qcow2" : "");
    }
}

TEST(qcow2_feature_is_named)
{
    AUTO(disk) struct disk *d = NULL;
    struct err e = {};
    char path[200];
    AUTO(fd) int fd = -1;

    rig_path(path, "feature.qcow2");
    rig_create(path, &(struct qcow2_create_cfg){ .size = 1 * MiB });
    rig_patch(path, AT(incompatible), 8, 1ull << 9);
    /* the table begins after the header and the extension's type and length: its first row becomes bit 9 */
    fd = open(path, O_RDWR | O_CLOEXEC);
    CHECK_EQ(fd_pwrite_all(fd, "\0\x09holograms", 12, 112 + 8), 0);
    CHECK_EQ(rig_open(path, true, &d, &e), -ENOTSUP);
    CHECK_HAS(e.text, "needs feature 'holograms' (bit 9");
}

/* An image that may only be read is read. */
TEST(qcow2_corrupt_is_read)
{
    AUTO(disk) struct disk *d = NULL;
    struct err e = {};
    char path[200];

    rig_path(path, "corrupt.qcow2");
    rig_create(path, &(struct qcow2_create_cfg){ .size = 1 * MiB });
    rig_patch(path, AT(incompatible), 8, Q2_I_CORRUPT);
    CHECK_OK(rig_open(path, true, &d, &e), &e);
}

TEST(qcow2_create_refuses)
{
    static const struct {
        const char *why;
        struct qcow2_create_cfg cfg;
        const char *text;
    } rows[] = {
        { "no size", { .size = 0 }, "the size is 0 bytes" },
        { "version", { .size = MiB, .version = 4 }, "version 4" },
        { "clusters", { .size = MiB, .cluster = 3000 }, "clusters of 3000 bytes" },
        { "counts", { .size = MiB, .refcount_bits = 3 }, "refcounts of 3 bits" },
        { "extended", { .size = MiB, .cluster = 4096, .extended_l2 = true }, "at least 16384" },
        { "version 2", { .size = MiB, .version = 2, .refcount_bits = 8 }, "version 2 has" },
        { "raw data", { .size = MiB, .data_raw = true }, "wants a data file" },
        { "too large", { .size = 1ull << 50, .cluster = 512 }, "too many for clusters of 512" },
        { "hidden", { .size = MiB, .backing = "b", .prealloc = QCOW2_PREALLOC_METADATA }, "hide" },
    };
    char path[200];

    rig_path(path, "refused.qcow2");
    for_each_row(c, rows) {
        AUTO(fd) int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
        struct err e = {};

        ROW(c);
        CHECK(qcow2_create(fd, path, &c->cfg, &e) < 0);
        CHECK_HAS(e.text, c->text);
    }
}

/* ---- names and chains ---- */

TEST(qcow2_chains)
{
    static const struct {
        const char *why, *backing, *format;
        int r;
        const char *text;
    } rows[] = {
        { "itself", "chain.qcow2", NULL, -ELOOP, "is a backing file of itself" },
        { "itself by another way", "./../%s/chain.qcow2", NULL, -ELOOP, "of itself" },
        { "missing", "nobody", NULL, -ENOENT, "backing files: open disk" },
        { "a protocol", "nbd://host/x", NULL, -ENOTSUP, "not the path of a file" },
        { "json", "json:{}", NULL, -ENOTSUP, "not the path of a file" },
        { "unknown format", "base.raw", "qed", -EINVAL, "there is no image format 'qed'" },
        { "raw", "base.raw", "raw", 0, "" },
        { "not said", "base.raw", NULL, 0, "" },
        { "with file:", "file:base.raw", NULL, 0, "" },
    };
    const char *dir = strrchr(test_dir(), '/') + 1;
    char path[200], base[200];
    int fd;

    rig_path(base, "base.raw");
    fd = open(base, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    CHECK_EQ(ftruncate(fd, 1 * MiB), 0);
    close(fd);
    rig_path(path, "chain.qcow2");
    for_each_row(c, rows) {
        AUTO(disk) struct disk *d = NULL;
        char backing[200];
        const char *percent = strstr(c->backing, "%s");
        struct err e = {};

        ROW(c);
        if (percent)
            str_fmt(backing, sizeof(backing), "%.*s%s%s", (int)(percent - c->backing), c->backing,
                    dir, percent + 2);
        else
            str_copy(backing, sizeof(backing), c->backing);
        rig_create(path, &(struct qcow2_create_cfg){
                             .size = 1 * MiB, .backing = backing, .backing_format = c->format });
        CHECK_EQ(rig_open(path, true, &d, &e), c->r);
        CHECK_HAS(e.text, c->text);
    }
}

TEST(qcow2_long_chain)
{
    AUTO(disk) struct disk *d = NULL;
    char path[200], name[32] = "";
    struct err e = {};
    int r = -1;

    for (u32 i = 0; i <= DISK_CHAIN_MAX; i++) {
        struct qcow2_create_cfg cfg = { .size = 64 * KiB, .cluster = 512 };
        char below[32];

        str_copy(below, sizeof(below), name);
        cfg.backing = i ? below : NULL;
        str_fmt(name, sizeof(name), "long%u.qcow2", i);
        rig_path(path, name);
        rig_create(path, &cfg);
        if (i == DISK_CHAIN_MAX - 1)
            r = rig_open(path, true, &d, &e);
    }
    CHECK_OK(r, &e);
    disk_close(TAKE(d));
    CHECK_EQ(rig_open(path, true, &d, &e), -ELOOP);
    CHECK_HAS(e.text, "a chain of more than 64 images");
}

/* A raw disk does not become a qcow2 image by what its guest writes, unless the host said raw. */
TEST(qcow2_header_from_a_guest)
{
    static const struct {
        const char *why, *format;
        u64 at;
        int r;
    } rows[] = {
        { "looked at", NULL, 0, -EPERM },
        { "looked at, elsewhere", "auto", 512, 0 },
        { "said", "raw", 0, 0 },
    };
    static alignas(4096) u8 buf[4096] = "QFI\xfb\0\0\0\x03";
    char path[200];

    rig_path(path, "guest.raw");
    for_each_row(c, rows) {
        AUTO(disk) struct disk *d = NULL;
        AUTO(disk_sync) struct disk_sync *s = NULL;
        AUTO(fd) int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
        struct err e = {};

        ROW(c);
        CHECK_EQ(ftruncate(fd, 1 * MiB), 0);
        fd_close(&fd);
        CHECK_OK(
            disk_open(&(struct disk_cfg){ .file = path, .fd = -1, .format = c->format }, &d, &e),
            &e);
        CHECK_OK(disk_sync_open(d, &s, &e), &e);
        CHECK_EQ(disk_pwrite(s, buf, sizeof(buf), c->at), c->r);
        CHECK_EQ(disk_pwrite(s, buf + 8, 512, 0), 0);
        CHECK_EQ(disk_flush(s), 0);
    }
}

/* ---- images of others ---- */

static void check_map(const char *path, const u8 *want, u64 size)
{
    AUTO(disk) struct disk *d = NULL;
    struct disk_extent x;
    struct err e = {};

    CHECK_OK(rig_open(path, true, &d, &e), &e);
    for (u64 at = 0; at < size; at += x.len) {
        CHECK_OK(disk_map_deep(d, at, size - at, &x, &e), &e);
        for (u64 i = 0; x.kind == DISK_MAP_ZERO && i < x.len; i++)
            CHECK_EQ(want[at + i], 0);
    }
}

TEST(qcow2_made_by_qemu)
{
    static const struct {
        const char *why, *options;
        bool compressed;
    } rows[] = {
        { "default", "compat=1.1", false },
        { "version 2", "compat=0.10", false },
        { "small clusters", "cluster_size=512", false },
        { "large clusters", "cluster_size=2M", false },
        { "narrow counts", "refcount_bits=1", false },
        { "extended", "extended_l2=on,cluster_size=32k", false },
        { "zlib", "compression_type=zlib", true },
        { "zlib, small clusters", "cluster_size=512", true },
        { "zstd", "compression_type=zstd", true },
        { "zstd, extended", "compression_type=zstd,extended_l2=on", true },
        { "preallocated", "preallocation=metadata", false },
    };
    enum { SIZE = 3 * MiB + 512 };
    static u8 want[SIZE], got[SIZE];
    char raw[200], path[200];
    u64 seed = 5;
    int fd;

    if (!rig_has_qemu())
        test_skip("there is no qemu-img");
    for (u64 at = 0; at + 40 * KiB < SIZE; at += 100 * KiB) /* data, holes, what compresses */
        rig_fill(want + at, at % 3 ? 40 * KiB : 8 * KiB, &seed);
    memset(want + 1 * MiB, 0x55, 512 * KiB);
    rig_path(raw, "q.raw");
    rig_path(path, "q.qcow2");
    fd = open(raw, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    CHECK_EQ(fd_write_all(fd, want, SIZE), 0);
    close(fd);
    for_each_row(c, rows) {
        ROW(c);
        unlink(path);
        CHECK_EQ(RIG_RUN("qemu-img", "convert", "-f", "raw", "-O", "qcow2", "-o", c->options, raw,
                         path, c->compressed ? "-c" : NULL),
                 0);
        rig_read(path, got, SIZE);
        CHECK_MEM(got, want, SIZE);
        check_map(path, want, SIZE);
        rig_check(path);
    }
}

TEST(qcow2_snapshots_of_qemu)
{
    AUTO(disk) struct disk *d = NULL;
    struct qcow2_snapshot *list = NULL;
    struct err e = {};
    static u8 got[MiB];
    char path[200];
    u32 n;

    if (!rig_has_qemu())
        test_skip("there is no qemu-img");
    rig_path(path, "s.qcow2");
    CHECK_EQ(RIG_RUN("qemu-img", "create", "-q", "-f", "qcow2", path, "1M"), 0);
    CHECK_EQ(RIG_RUN("qemu-io", "-c", "write -P 1 0 1M", path), 0);
    CHECK_EQ(RIG_RUN("qemu-img", "snapshot", "-c", "first", path), 0);
    CHECK_EQ(RIG_RUN("qemu-io", "-c", "write -P 2 64k 128k", path), 0);
    CHECK_OK(rig_open(path, false, &d, &e), &e);
    CHECK_OK(qcow2_snapshots(d, &list, &n, &e), &e);
    CHECK_EQ(n, 1);
    CHECK_STR(list[0].name, "first");
    CHECK_EQ(list[0].size, 1 * MiB);
    qcow2_snapshots_free(list, n);
    CHECK_OK(qcow2_snapshot_create(d, "second", &e), &e);
    CHECK_EQ(qcow2_snapshot_create(d, "second", &e), -EEXIST);
    CHECK_OK(qcow2_snapshot_apply(d, "first", &e), &e);
    CHECK_EQ(qcow2_snapshot_apply(d, "third", &e), -ENOENT);
    disk_close(TAKE(d));
    rig_read(path, got, MiB);
    for (u64 i = 0; i < MiB; i += 512)
        CHECK_EQ(got[i], 1);
    CHECK_EQ(RIG_RUN("qemu-img", "check", "-q", path), 0);
    CHECK_EQ(RIG_RUN("qemu-img", "snapshot", "-a", "second", path), 0);
    rig_read(path, got, MiB);
    CHECK_EQ(got[64 * KiB], 2);
    CHECK_EQ(got[192 * KiB], 1);
}

/* A compressed cluster of a few bytes may not make us reserve as many as its frame likes. */
TEST(qcow2_zstd_window)
{
    static const struct {
        const char *why;
        int log, r;
    } rows[] = { { "8 MiB", 23, 0 }, { "16 MiB", 24, -EIO }, { "128 MiB", 27, -EIO } };
    static u8 cluster[64 * KiB], packed[64 * KiB], got[64 * KiB];
    u64 seed = 9;
    char path[200];

    rig_fill(cluster, 20 * KiB, &seed);
    rig_path(path, "window.qcow2");
    rig_create(path, &(struct qcow2_create_cfg){ .size = MiB, .compression = QCOW2_ZSTD });
    for_each_row(c, rows) {
        AUTO(disk) struct disk *d = NULL;
        AUTO(disk_sync) struct disk_sync *s = NULL;
        ZSTD_CCtx *z = ZSTD_createCCtx();
        ZSTD_outBuffer out = { packed, sizeof(packed), 0 };
        ZSTD_inBuffer in = { cluster, sizeof(cluster), 0 };
        struct err e = {};

        ROW(c);
        ZSTD_CCtx_setParameter(z, ZSTD_c_windowLog, c->log);
        ZSTD_compressStream2(z, &out, &in,
                             ZSTD_e_flush); /* its size is not known yet, so the window stays */
        while (ZSTD_compressStream2(z, &out, &in, ZSTD_e_end))
            ;
        ZSTD_freeCCtx(z);
        CHECK_OK(rig_open(path, false, &d, &e), &e);
        CHECK_OK(qcow2_write_packed(d, packed, out.pos, 128 * KiB, &e), &e);
        CHECK_OK(disk_sync_open(d, &s, &e), &e);
        CHECK_EQ(disk_pread(s, got, sizeof(got), 128 * KiB), c->r);
        if (c->r == 0)
            CHECK_MEM(got, cluster, sizeof(got));
    }
}

/* ---- several queues ---- */

enum { LANES = 4, REQS = 16, EACH = 600, BLOCK = 8192 };

struct lane;
struct lane_req {
    struct disk_req r;
    struct iovec iov;
    struct lane *lane;
    u8 buf[BLOCK];
};

/* Writes blocks of its own; the clusters it shares with the others. */
struct lane {
    struct loop *loop;
    struct disk_queue *q;
    struct lane_req reqs[REQS];
    u64 seed;
    u32 left, index, failed;
};

static void no_batch(void *)
{
}

static void lane_done(struct disk_req *r);

static void lane_submit(struct lane_req *x)
{
    struct lane *l = x->lane;
    u64 block = test_rand(&l->seed) % (RIG_SIZE_MAX / BLOCK / LANES) * LANES + l->index;

    memset(x->buf, (int)(block % 255 + 1), BLOCK);
    x->iov = (struct iovec){ x->buf, BLOCK };
    x->r = (struct disk_req){ .op = DISK_WRITE, .offset = block * BLOCK, .len = BLOCK };
    x->r.n_iov = 1;
    x->r.may_unmap = l->left % 2;
    if (l->left % 40 == 0)
        x->r = (struct disk_req){ .op = DISK_FLUSH };
    if (l->left % 7 == 0)
        x->r.op = l->left % 3 ? DISK_ZERO : DISK_DISCARD;
    if (x->r.op != DISK_WRITE)
        x->r.n_iov = 0;
    x->r.iov = &x->iov;
    x->r.done = lane_done;
    l->left--;
    disk_submit(l->q, &x->r);
}

static void lane_done(struct disk_req *r)
{
    struct lane_req *x = container_of(r, struct lane_req, r);

    x->lane->failed += r->result != 0;
    if (x->lane->left)
        lane_submit(x);
}

/* On the lane's loop. */
static void lane_run(void *arg)
{
    struct lane *l = arg;

    for (u32 i = 0; i < REQS && l->left; i++)
        lane_submit(&l->reqs[i]);
    disk_drain(l->q);
}

static void *lane_thread(void *arg)
{
    struct lane *l = arg;

    loop_call(l->loop, lane_run, l);
    return NULL;
}

/* Two loops with two queues each. */
static void run_lanes(struct disk *d)
{
    static struct lane lanes[LANES];
    struct loop loops[2];
    pthread_t threads[2];
    struct err e = {};

    for (u32 i = 0; i < 2; i++) {
        CHECK_EQ(loop_init(&loops[i], "lane"), 0);
        CHECK_EQ(loop_start(&loops[i]), 0);
    }
    for (u32 i = 0; i < LANES; i++) {
        struct disk_queue_cfg cfg = { .loop = &loops[i % 2], .depth = 8, .batch = no_batch };

        lanes[i] = (struct lane){ .loop = cfg.loop, .left = EACH, .index = i, .seed = i + 1 };
        for (u32 k = 0; k < REQS; k++)
            lanes[i].reqs[k].lane = &lanes[i];
        CHECK_OK(disk_queue_open(d, &cfg, &lanes[i].q, &e), &e);
    }
    for (u32 i = 0; i < LANES; i += 2) { /* queues 0 and 1, then 2 and 3, at the same time */
        for (u32 k = 0; k < 2; k++)
            CHECK_EQ(pthread_create(&threads[k], NULL, lane_thread, &lanes[i + k]), 0);
        for (u32 k = 0; k < 2; k++)
            pthread_join(threads[k], NULL);
    }
    for (u32 i = 0; i < LANES; i++) {
        CHECK_EQ(lanes[i].failed, 0);
        disk_queue_close(lanes[i].q);
    }
    for (u32 i = 0; i < 2; i++)
        loop_fini(&loops[i]);
}

/* Each sector is as the backing file has it, or zeroes, or what its block's lane writes: never another's. */
static void check_lanes(const u8 *got, const u8 *base)
{
    u8 zeroes[DISK_SECTOR] = {}, mine[DISK_SECTOR];

    for (u64 at = 0; at < RIG_SIZE_MAX; at += DISK_SECTOR) {
        memset(mine, (int)(at / BLOCK % 255 + 1), sizeof(mine));
        CHECK(memcmp(got + at, mine, sizeof(mine)) == 0 ||
              memcmp(got + at, zeroes, sizeof(mine)) == 0 ||
              memcmp(got + at, base + at, sizeof(mine)) == 0);
    }
}

/* Over a backing file, so that clusters are copied while others want them. */
TEST(qcow2_many_queues)
{
    static const struct {
        const char *why;
        struct qcow2_create_cfg cfg;
    } rows[] = {
        { "shared clusters", { .cluster = 64 * KiB } },
        { "small clusters", { .cluster = 4096 } },
        { "extended", { .cluster = 64 * KiB, .extended_l2 = true } },
        { "tiny clusters", { .cluster = 512 } },
    };
    static u8 got[RIG_SIZE_MAX], want[RIG_SIZE_MAX];
    char path[200], base[200];
    u64 seed = 3;
    int fd;

    rig_path(base, "many.raw");
    fd = open(base, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    rig_fill(want, sizeof(want), &seed);
    CHECK_EQ(fd_write_all(fd, want, sizeof(want)), 0);
    close(fd);
    rig_path(path, "many.qcow2");
    for_each_row(c, rows) {
        struct qcow2_create_cfg cfg = c->cfg;
        AUTO(disk) struct disk *d = NULL;
        struct err e = {};

        ROW(c);
        cfg.size = RIG_SIZE_MAX;
        cfg.backing = "many.raw";
        cfg.backing_format = "raw";
        rig_create(path, &cfg);
        CHECK_OK(rig_open(path, false, &d, &e), &e);
        run_lanes(d);
        disk_close(TAKE(d));
        rig_read(path, got, sizeof(got));
        check_lanes(got, want);
        rig_check(path);
        rig_judge(path, got, sizeof(got));
    }
}

/* Far more requests than there is room for tables that they need. */
TEST(qcow2_few_tables)
{
    enum { N = 60, APART = 64 * KiB };
    static struct lane_req reqs[N];
    char path[200];

    rig_path(path, "few.qcow2");
    rig_create(path, &(struct qcow2_create_cfg){ .size = RIG_SIZE_MAX, .cluster = 512 });
    for (u32 pass = 0; pass < 3; pass++) { /* written, written once more, read only */
        struct lane l = { .left = 0 };
        AUTO(disk) struct disk *d = NULL;
        AUTO(disk_sync) struct disk_sync *s = NULL;
        struct err e = {};

        CHECK_OK(rig_open(path, pass == 2, &d, &e), &e);
        q2_of(d)->l2.n = 3;
        CHECK_OK(disk_sync_open(d, &s, &e), &e);
        for (u32 i = 0; i < N; i++) {
            struct lane_req *x = &reqs[i];

            memset(x->buf, pass < 2 ? (int)(i + pass) : 0xff, BLOCK);
            x->lane = &l;
            x->iov = (struct iovec){ x->buf, BLOCK };
            x->r = (struct disk_req){ .op = pass < 2 ? DISK_WRITE : DISK_READ, .len = BLOCK };
            x->r.offset = (u64)i * APART;
            x->r.iov = &x->iov;
            x->r.n_iov = 1;
            x->r.done = lane_done;
            disk_submit(disk_sync_queue(s), &x->r);
        }
        disk_drain(disk_sync_queue(s));
        CHECK_EQ(l.failed, 0);
        for (u32 i = 0; i < N; i++)
            CHECK_EQ(reqs[i].buf[BLOCK - 1], pass < 2 ? i + pass : i + 1);
    }
    rig_check(path);
}

/* An L1 table of more clusters than a refcount block counts. */
TEST(qcow2_long_tables)
{
    AUTO(disk) struct disk *d = NULL;
    struct err e = {};
    char path[200];

    rig_path(path, "long.qcow2");
    rig_create(path,
               &(struct qcow2_create_cfg){ .size = GiB, .cluster = 512, .refcount_bits = 64 });
    CHECK_OK(rig_open(path, false, &d, &e), &e);
    CHECK_OK(qcow2_snapshot_create(d, "s", &e), &e);
    CHECK_OK(disk_resize(d, 2 * GiB, &e), &e);
    CHECK_OK(qcow2_snapshot_delete(d, "s", &e), &e);
    disk_close(TAKE(d));
    rig_check(path);
    if (rig_has_qemu())
        CHECK_EQ(RIG_RUN("qemu-img", "check", "-q", path), 0);
}
