/*
 * disk/qcow2_repair_test.c: images that are damaged, or were left in the middle of something: what is found, what is repaired, and what a
 * guest is told.
 */
#include "disk/qcow2_internal.h"
#include "disk/qcow2_rig.h"
#include "testlib/test.h"

#include <fcntl.h>
#include <unistd.h>

#define AT(field) offsetof(struct q2_disk_header, field)

/* Of 1 MiB, which begins with `data`. */
static void make_image(const char *path, const u8 *data, u64 len)
{
    AUTO(disk) struct disk *d = NULL;
    AUTO(disk_sync) struct disk_sync *s = NULL;
    struct err e = {};

    rig_create(path, &(struct qcow2_create_cfg){ .size = MiB });
    CHECK_OK(rig_open(path, false, &d, &e), &e);
    CHECK_OK(disk_sync_open(d, &s, &e), &e);
    CHECK_EQ(disk_pwrite(s, data, len, 0), 0);
}

TEST(qcow2_repair)
{
    static const struct {
        const char *why;
        u64 at; /* what is damaged, in an image of the default layout; eight bytes */
        u64 value;
        u64 errors;
    } rows[] = {
        { "nothing", 0x20000 + 1000, 0, 0 },
        { "counts of clusters in use are lost", 0x20000, 0, 4 },
        { "a count is too high", 0x20000 + 12, 0x0002000100010001, 0 },
        { "the block is nowhere", 0x10000, 0, 1 },
        { "the block is over the header", 0x10000, 0x8000, 1 },
        { "the block is after the end", 0x10000, 1ull << 40, 1 },
        { "the block is over data", 0x10000, 0x60000, 1 },
        { "the block is over a table", 0x10000, 0x40000, 1 },
    };
    static u8 want[MiB], got[MiB];
    char path[200];

    memset(want, 0x33, 300 * KiB);
    rig_path(path, "repair.qcow2");
    for_each_row(c, rows) {
        struct qcow2_report rep = {};
        const struct disk_cfg cfg = { .file = path, .fd = -1 };
        struct err e = {};

        ROW(c);
        make_image(path, want, 300 * KiB);
        rig_patch(path, c->at, 8, c->value);
        CHECK_OK(qcow2_check(&cfg, 0, &rep, &e), &e);
        CHECK(rep.errors >= c->errors);
        CHECK_EQ(rep.errors + rep.leaks == 0, strcmp(c->why, "nothing") == 0);
        CHECK_OK(qcow2_check(&cfg, QCOW2_REPAIR_ERRORS | QCOW2_REPAIR_LEAKS, &rep, &e), &e);
        CHECK_EQ(rep.errors, rep.errors_fixed);
        rig_check(path);
        rig_judge(path, want, MiB);
        rig_read(path, got, MiB);
        CHECK_MEM(got, want, MiB);
    }
}

/* Two entries share a cluster that is counted once: to repair leaks alone must not call it the one's own. */
TEST(qcow2_leaks_alone)
{
    enum { L2 = 0x40000, SHARED = 0x50000 };
    static const u8 sector[DISK_SECTOR] = { 1 };
    struct qcow2_report rep = {};
    struct err e = {};
    char path[200];
    u8 entry;
    int fd;

    rig_path(path, "leaks.qcow2");
    make_image(path, sector, sizeof(sector));
    rig_patch(path, L2, 8, SHARED);
    rig_patch(path, L2 + 8, 8, SHARED);
    CHECK_OK(
        qcow2_check(&(struct disk_cfg){ .file = path, .fd = -1 }, QCOW2_REPAIR_LEAKS, &rep, &e),
        &e);
    CHECK_EQ(rep.errors, 1);
    CHECK_EQ(rep.errors_fixed, 0);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    CHECK_EQ(fd_pread_all(fd, &entry, 1, L2), 0);
    close(fd);
    CHECK_EQ(entry, 0);
}

/* An image that was not closed by who keeps refcounts lazily. */
TEST(qcow2_dirty_is_repaired)
{
    AUTO(disk) struct disk *d = NULL;
    struct qcow2_info info;
    struct err e = {};
    char path[200];

    rig_path(path, "dirty.qcow2");
    rig_create(path, &(struct qcow2_create_cfg){ .size = MiB,
                                                 .lazy_refcounts = true,
                                                 .prealloc = QCOW2_PREALLOC_METADATA });
    rig_patch(path, AT(incompatible), 8, Q2_I_DIRTY);
    rig_patch(path, 0x20000 + 8, 8, 0);
    CHECK_OK(rig_open(path, false, &d, &e), &e);
    qcow2_info(d, &info);
    CHECK(!info.dirty);
    disk_close(TAKE(d));
    rig_check(path);
}

/* Counts wait for the end, and the header says so; who is killed before it leaves what the next one repairs. */
TEST(qcow2_lazy)
{
    static u8 buf[300 * KiB];
    AUTO(disk) struct disk *d = NULL;
    AUTO(disk_sync) struct disk_sync *s = NULL;
    struct qcow2_report rep = {};
    struct err e = {};
    char path[200], copy[200];
    u8 feature;
    int fd;

    memset(buf, 0x5a, sizeof(buf));
    rig_path(path, "lazy.qcow2");
    rig_path(copy, "killed.qcow2");
    rig_create(path, &(struct qcow2_create_cfg){ .size = MiB, .lazy_refcounts = true });
    CHECK_OK(rig_open(path, false, &d, &e), &e);
    CHECK_OK(disk_sync_open(d, &s, &e), &e);
    CHECK_EQ(disk_pwrite(s, buf, sizeof(buf), 0), 0);
    CHECK_EQ(disk_flush(s), 0);
    CHECK_EQ(RIG_RUN("cp", path, copy), 0); /* as it is when its writer is killed now */
    disk_sync_close(TAKE(s));
    disk_close(TAKE(d));
    rig_check(path);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    CHECK_EQ(fd_pread_all(fd, &feature, 1, AT(incompatible) + 7), 0);
    close(fd);
    CHECK_EQ(feature & Q2_I_DIRTY, 0);

    fd = open(copy, O_RDONLY | O_CLOEXEC);
    CHECK_EQ(fd_pread_all(fd, &feature, 1, AT(incompatible) + 7), 0);
    close(fd);
    CHECK_EQ(feature & Q2_I_DIRTY, Q2_I_DIRTY);
    CHECK_OK(qcow2_check(&(struct disk_cfg){ .file = copy, .fd = -1 }, 0, &rep, &e), &e);
    CHECK(rep.errors > 0); /* else nothing was lazy */
    CHECK_OK(rig_open(copy, false, &d, &e), &e);
    CHECK_OK(disk_sync_open(d, &s, &e), &e);
    memset(buf, 0, sizeof(buf));
    CHECK_EQ(disk_pread(s, buf, sizeof(buf), 0), 0);
    for (u32 i = 0; i < sizeof(buf); i++)
        CHECK_EQ(buf[i], 0x5a);
    disk_sync_close(TAKE(s));
    disk_close(TAKE(d));
    rig_check(copy);
    if (rig_has_qemu())
        CHECK_EQ(RIG_RUN("qemu-img", "check", "-q", copy), 0);
}

/* Metadata that cannot be is met while a guest runs: nothing more is written, and the image says so. */
TEST(qcow2_damaged_while_used)
{
    static const struct {
        const char *why;
        u64 at, value; /* of an image of the default layout with a cluster of data */
        bool by_read;  /* a read of the second cluster meets it, else a write */
    } rows[] = {
        { "an entry leads between clusters", 0x40000 + 8, 0x8000000000050200, true },
        { "an entry leads into the L1 table", 0x40000 + 8, 0x8000000000030000, false },
        { "a compressed cluster is in the header", 0x40000 + 8, 0x4000000000000200, true },
        { "the L1 table is counted as free", 0x20000, 0x0001000100010000, false },
        { "there is no such block", 0x10000, 0x20200, false },
    };
    static const u8 sector[DISK_SECTOR] = { 1 };
    char path[200];

    rig_path(path, "damaged.qcow2");
    for_each_row(c, rows) {
        AUTO(disk) struct disk *d = NULL;
        AUTO(disk_sync) struct disk_sync *s = NULL;
        u8 got[DISK_SECTOR];
        struct err e = {};

        ROW(c);
        make_image(path, sector, sizeof(sector));
        rig_patch(path, c->at, 8, c->value);
        log_set_level(LOG_LEVEL_ERROR);
        CHECK_OK(rig_open(path, false, &d, &e), &e);
        CHECK_OK(disk_sync_open(d, &s, &e), &e);
        CHECK_EQ(c->by_read ? disk_pread(s, got, sizeof(got), 64 * KiB)
                            : disk_pwrite(s, sector, sizeof(sector), 64 * KiB),
                 -EIO);
        CHECK_EQ(disk_pwrite(s, sector, sizeof(sector), 0), -EIO);
        CHECK_EQ(disk_pread(s, got, sizeof(got), 0), 0);
        CHECK_MEM(got, sector, sizeof(got));
        disk_sync_close(TAKE(s));
        disk_close(TAKE(d));
        log_set_level(LOG_LEVEL_NOTICE);
        CHECK_EQ(rig_open(path, false, &d, &e), -EROFS);
        CHECK_HAS(e.text, "marked corrupt");
    }
}

/* A table that is in an L1 table twice: found, and no snapshot is made of it. */
TEST(qcow2_table_twice)
{
    static const u8 sector[DISK_SECTOR] = { 1 };
    AUTO(disk) struct disk *d = NULL;
    AUTO(disk_sync) struct disk_sync *s = NULL;
    struct qcow2_report rep = {};
    struct err e = {};
    char path[200];
    u64 entry;

    rig_path(path, "twice.qcow2");
    rig_create(path, &(struct qcow2_create_cfg){ .size = MiB, .cluster = 512 });
    CHECK_OK(rig_open(path, false, &d, &e), &e);
    CHECK_OK(disk_sync_open(d, &s, &e), &e);
    CHECK_EQ(disk_pwrite(s, sector, sizeof(sector), 0), 0);
    CHECK_EQ(disk_flush(s), 0);
    entry = q2_of(d)->l1[0];
    CHECK(entry);
    rig_patch(path, q2_of(d)->h.l1_at + 8, 8, entry);
    disk_sync_close(TAKE(s));
    disk_close(TAKE(d));
    CHECK_OK(qcow2_check(&(struct disk_cfg){ .file = path, .fd = -1 }, 0, &rep, &e), &e);
    CHECK(rep.errors > 0);
    CHECK_OK(rig_open(path, false, &d, &e), &e);
    CHECK_EQ(qcow2_snapshot_create(d, "s", &e), -EBADMSG);
}

/* A discard gives up what entries lead to: not a table, whatever they say. */
TEST(qcow2_discards_no_table)
{
    enum { L1 = 0x30000, L2 = 0x40000 };
    static const u8 sector[DISK_SECTOR] = { 1 };
    AUTO(disk) struct disk *d = NULL;
    AUTO(disk_sync) struct disk_sync *s = NULL;
    struct qcow2_report rep = {};
    struct err e = {};
    char path[200];
    u8 entry[8];
    int fd;

    rig_path(path, "discard.qcow2");
    make_image(path, sector, sizeof(sector));
    rig_patch(path, L2 + 8, 8, L1);
    CHECK_OK(qcow2_check(&(struct disk_cfg){ .file = path, .fd = -1 },
                         QCOW2_REPAIR_ERRORS | QCOW2_REPAIR_LEAKS, &rep, &e),
             &e);
    CHECK_EQ(rep.errors, 1);
    CHECK_EQ(rep.errors_fixed, 0);
    log_set_level(LOG_LEVEL_ERROR);
    CHECK_OK(rig_open(path, false, &d, &e), &e);
    CHECK_OK(disk_sync_open(d, &s, &e), &e);
    CHECK_EQ(disk_discard(s, 128 * KiB, 0), 0);
    for (u32 i = 0; i < 3; i++)
        CHECK_EQ(disk_flush(s), 0);
    CHECK_EQ(disk_pwrite(s, sector, sizeof(sector), 0), -EIO);
    disk_sync_close(TAKE(s));
    disk_close(TAKE(d));
    log_set_level(LOG_LEVEL_NOTICE);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    CHECK_EQ(fd_pread_all(fd, entry, sizeof(entry), L1), 0);
    close(fd);
    CHECK_EQ(entry[0], Q2_COPIED >> 56);
}
