/*
 * disk/qcow2_history_test.c: random histories of qcow2 images against a model in memory; qemu-img judges the outcome.
 */
#include "disk/job.h"
#include "disk/qcow2_rig.h"
#include "testlib/test.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { SNAPS_MAX = 3, OPS = 60 };

struct history {
    const char *why;
    struct qcow2_create_cfg cfg;
    u64 backing; /* bytes of a backing file; 0: none */
    enum disk_cache cache;
    bool packed, no_snaps;
};

/* clang-format off */
static const struct history histories[] = {
    { "default", { .size = 3 * MiB } },
    { "smallest clusters", { .size = 1 * MiB + 512, .cluster = 512 } },
    { "smallest clusters, wide counts", { .size = 1 * MiB, .cluster = 512, .refcount_bits = 64 } },
    { "narrow counts", { .size = 2 * MiB, .cluster = 4096, .refcount_bits = 2 } },
    { "counts of one bit", { .size = 2 * MiB, .cluster = 4096, .refcount_bits = 1 }, .no_snaps = true },
    { "largest clusters", { .size = 3 * MiB + 1024, .cluster = 2 * MiB } },
    { "clusters of 1 KiB", { .size = 2 * MiB, .cluster = 1024 } },
    { "clusters of 2 KiB", { .size = 2 * MiB, .cluster = 2048, .refcount_bits = 8 } },
    { "clusters of 8 KiB, of 32 bits", { .size = 2 * MiB, .cluster = 8192, .refcount_bits = 32 } },
    { "clusters of 128 KiB", { .size = 3 * MiB, .cluster = 128 * KiB } },
    { "clusters of 256 KiB, extended", { .size = 3 * MiB, .cluster = 256 * KiB, .extended_l2 = true } },
    { "clusters of 512 KiB", { .size = 3 * MiB, .cluster = 512 * KiB }, .packed = true },
    { "clusters of 1 MiB over a backing file", { .size = 3 * MiB, .cluster = MiB }, .backing = 2 * MiB },
    { "version 2", { .size = 3 * MiB, .version = 2, .cluster = 16 * KiB } },
    { "version 2 over a backing file", { .size = 3 * MiB, .version = 2, .cluster = 16 * KiB }, .backing = 1 * MiB + 512 },
    { "over a backing file", { .size = 3 * MiB }, .backing = 3 * MiB },
    { "over a short backing file", { .size = 3 * MiB, .cluster = 8192 }, .backing = 1 * MiB + 1536 },
    { "over a long backing file", { .size = 2 * MiB, .cluster = 8192 }, .backing = 4 * MiB },
    { "extended", { .size = 3 * MiB, .cluster = 16 * KiB, .extended_l2 = true } },
    { "extended over a backing file", { .size = 3 * MiB + 512, .cluster = 64 * KiB, .extended_l2 = true }, .backing = 2 * MiB },
    { "direct", { .size = 3 * MiB, .cluster = 4096 }, .cache = DISK_DIRECT, .backing = 2 * MiB },
    { "preallocated", { .size = 3 * MiB, .cluster = 32 * KiB, .prealloc = QCOW2_PREALLOC_METADATA } },
    { "compressed, zlib", { .size = 3 * MiB, .cluster = 16 * KiB }, .packed = true },
    { "compressed, zstd, over a backing file", { .size = 3 * MiB, .compression = QCOW2_ZSTD }, .packed = true, .backing = 3 * MiB },
    { "compressed, extended", { .size = 3 * MiB, .extended_l2 = true, .compression = QCOW2_ZSTD }, .packed = true },
    { "data file", { .size = 3 * MiB, .data_file = "data" }, .no_snaps = true },
    { "raw data file", { .size = 3 * MiB, .data_file = "data", .data_raw = true }, .no_snaps = true },
    { "lazy refcounts", { .size = 3 * MiB, .lazy_refcounts = true } },
};
/* clang-format on */

struct snap {
    char name[8];
    u64 size;
    u8 bytes[RIG_SIZE_MAX];
};

struct rig {
    const struct history *h;
    struct disk *d;
    struct disk_sync *s;
    char path[200];
    u64 seed, size;
    u8 model[RIG_SIZE_MAX], buf[RIG_SIZE_MAX];
    struct snap snaps[SNAPS_MAX];
    u32 n_snaps, names;
};
static struct rig rig;

static void shut(struct rig *g)
{
    disk_sync_close(TAKE(g->s));
    disk_close(TAKE(g->d));
}

static void reopen(struct rig *g)
{
    const struct disk_cfg cfg = { .file = g->path, .fd = -1, .cache = g->h->cache };
    struct err e = {};

    shut(g);
    CHECK_OK(disk_open(&cfg, &g->d, &e), &e);
    CHECK_OK(disk_sync_open(g->d, &g->s, &e), &e);
    CHECK_EQ(g->d->size, g->size);
}

static void compare(struct rig *g)
{
    memset(g->buf, 0xa5, g->size);
    CHECK_EQ(disk_pread(g->s, g->buf, g->size, 0), 0);
    for (u64 at = 0; at < g->size; at += DISK_SECTOR) {
        bool same = memcmp(g->buf + at, g->model + at, DISK_SECTOR) == 0;

        if (!same)
            fprintf(stderr, "  differs at %llu\n", at);
        CHECK(same);
    }
}

static void do_write(struct rig *g, u64 at, u64 len)
{
    rig_fill(g->model + at, len, &g->seed);
    if (test_rand(&g->seed) % 4 == 0)
        memset(g->model + at, (int)(g->seed >> 20), len); /* what compresses */
    CHECK_EQ(disk_pwrite(g->s, g->model + at, len, at), 0);
}

/* Sectors may stay what they were, or become zeroes. */
static void do_discard(struct rig *g, u64 at, u64 len)
{
    static const u8 zeroes[DISK_SECTOR];

    CHECK_EQ(disk_discard(g->s, len, at), 0);
    CHECK_EQ(disk_pread(g->s, g->buf, len, at), 0);
    for (u64 i = 0; i < len; i += DISK_SECTOR) {
        CHECK(memcmp(g->buf + i, g->model + at + i, DISK_SECTOR) == 0 ||
              memcmp(g->buf + i, zeroes, DISK_SECTOR) == 0);
        memcpy(g->model + at + i, g->buf + i, DISK_SECTOR);
    }
}

static void do_packed(struct rig *g, u64 at)
{
    struct qcow2_info info;
    struct err e = {};
    u64 len;

    qcow2_info(g->d, &info);
    at = align_down(at, info.cluster);
    len = min((u64)info.cluster, g->size - at);
    rig_fill(g->model + at, len / 3, &g->seed);
    memset(g->model + at + len / 3, 7, len - len / 3);
    CHECK_OK(qcow2_write_compressed(g->d, g->model + at, len, at, &e), &e);
}

static void do_resize(struct rig *g)
{
    u64 size = align_up(test_rand(&g->seed) % (RIG_SIZE_MAX - 512) + 1, 512);
    struct err e = {};
    bool shrinks = size < g->size;
    int r;

    r = disk_resize(g->d, size, &e);
    if (r == -ENOTSUP || r == -ENOTEMPTY) {
        CHECK(g->n_snaps || shrinks);
        return;
    }
    CHECK_OK(r, &e);
    if (!shrinks)
        memset(g->model + g->size, 0, size - g->size);
    g->size = size;
    CHECK_EQ(g->d->size, size);
}

static void do_snapshot(struct rig *g)
{
    struct snap *s = &g->snaps[test_rand(&g->seed) % SNAPS_MAX];
    struct err e = {};
    int r;

    if (g->n_snaps < SNAPS_MAX && test_rand(&g->seed) % 2) {
        s = &g->snaps[g->n_snaps];
        str_fmt(s->name, sizeof(s->name), "s%u", ++g->names);
        r = qcow2_snapshot_create(g->d, s->name, &e);
        if (r == -ERANGE && g->h->cfg.refcount_bits == 2)
            return;
        CHECK_OK(r, &e);
        g->n_snaps++;
        s->size = g->size;
        memcpy(s->bytes, g->model, g->size);
        return;
    }
    if (s >= g->snaps + g->n_snaps)
        return;
    if (test_rand(&g->seed) % 2) {
        r = qcow2_snapshot_apply(g->d, s->name, &e);
        if (r == -ERANGE && g->h->cfg.refcount_bits == 2)
            return;
        CHECK_OK(r, &e);
        g->size = s->size;
        memcpy(g->model, s->bytes, g->size);
        CHECK_EQ(g->d->size, g->size);
        return;
    }
    CHECK_OK(qcow2_snapshot_delete(g->d, s->name, &e), &e);
    *s = g->snaps[--g->n_snaps];
}

/* Into the backing file, which then reads as the overlay does.  Snapshots would see it change below them. */
static void do_commit(struct rig *g)
{
    const struct job_image overlay = { .file = g->path, .format = "qcow2" };
    AUTO(fd) int fd = -1;
    char path[200];
    struct job j = {};
    struct err e = {};

    if (!g->h->backing || g->n_snaps)
        return;
    shut(g);
    CHECK_OK(job_commit(&j, &overlay, &e), &e);
    rig_path(path, "base.raw");
    fd = open(path, O_RDONLY | O_CLOEXEC);
    CHECK_EQ(fd_pread_all(fd, g->buf, g->size, 0), 0);
    CHECK_MEM(g->buf, g->model, g->size);
    reopen(g);
}

static void one_op(struct rig *g)
{
    u64 at = align_down(test_rand(&g->seed) % g->size, DISK_SECTOR);
    u64 most = test_rand(&g->seed) % 4 ? 40 * KiB : 1 * MiB;
    u64 len = min(align_up(test_rand(&g->seed) % most + 1, DISK_SECTOR), g->size - at);

    if (test_rand(&g->seed) % 4 == 0) { /* the grid of clusters, often */
        at = align_down(at, 64 * KiB);
        len = min(align_up(len, 64 * KiB), g->size - at);
    }
    switch (test_rand(&g->seed) % 16) {
    case 0:
        CHECK_EQ(disk_flush(g->s), 0);
        break;
    case 1:
        reopen(g);
        break;
    case 2:
    case 3:
        do_discard(g, at, len);
        break;
    case 4:
    case 5:
        CHECK_EQ(disk_zero(g->s, len, at, test_rand(&g->seed) % 2), 0);
        memset(g->model + at, 0, len);
        break;
    case 6:
        do_resize(g);
        break;
    case 7:
    case 8:
        if (!g->h->no_snaps)
            do_snapshot(g);
        break;
    case 9:
        if (g->h->packed)
            do_packed(g, at);
        break;
    case 10:
        do_commit(g);
        break;
    case 11:
        CHECK_EQ(disk_pread(g->s, g->buf, len, at), 0);
        CHECK_MEM(g->buf, g->model + at, len);
        break;
    default:
        do_write(g, at, len);
    }
}

static void make_backing(struct rig *g)
{
    char path[200];
    int fd;

    rig_path(path, "base.raw");
    fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    CHECK(fd >= 0);
    rig_fill(g->buf, g->h->backing, &g->seed);
    CHECK_EQ(fd_write_all(fd, g->buf, g->h->backing), 0);
    close(fd);
    memcpy(g->model, g->buf, min(g->h->backing, g->h->cfg.size));
}

static void start(struct rig *g, const struct history *h, u64 seed)
{
    struct qcow2_create_cfg cfg = h->cfg;
    char data[200];

    memset(g, 0, sizeof(*g));
    g->h = h;
    g->seed = seed;
    g->size = cfg.size;
    rig_path(g->path, "h.qcow2");
    if (h->backing) {
        make_backing(g);
        cfg.backing = "base.raw";
        cfg.backing_format = "raw";
    }
    if (cfg.data_file) {
        rig_path(data, cfg.data_file);
        close(open(data, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
        cfg.data_file =
            data; /* qemu-img takes a relative name from where it runs, not from the image */
    }
    rig_create(g->path, &cfg);
    reopen(g);
}

static void stop(struct rig *g)
{
    compare(g);
    shut(g);
    rig_check(g->path);
    rig_judge(g->path, g->model, g->size);
    if (g->h->cfg.data_raw) {
        char data[200];
        AUTO(fd) int fd = -1;

        rig_path(data, g->h->cfg.data_file);
        fd = open(data, O_RDONLY | O_CLOEXEC);
        CHECK_EQ(fd_pread_all(fd, g->buf, g->size, 0), 0);
        CHECK_MEM(g->buf, g->model, g->size);
    }
}

/* RIG_SEED, RIG_ROUNDS: more of them than one wants each time. */
static u64 setting(const char *name, u64 dflt)
{
    const char *text = getenv(name);
    u64 v;

    return text && str_u64(text, &v) == 0 ? v : dflt;
}

TEST(qcow2_histories)
{
    u64 rounds = setting("RIG_ROUNDS", 1), seed = setting("RIG_SEED", 1);

    for (u64 i = 0; i < rounds; i++, seed++) {
        for_each_row(h, histories) {
            ROW(h);
            start(&rig, h, seed * 1000 + (u64)(h - histories) + 1);
            for (u32 op = 0; op < OPS; op++)
                one_op(&rig);
            stop(&rig);
        }
    }
    fprintf(stderr, "  %llu histories, judged by %s\n", rounds * ARRAY_LEN(histories),
            rig_has_qemu() ? "qemu-img" : "ourselves only: there is no qemu-img");
}
