/*
 * disk/qcow2_kill_test.c: a process that writes to a qcow2 image is killed at any time; the image is valid, and has what was flushed.
 */
#include "disk/qcow2_rig.h"
#include "testlib/test.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

enum { SIZE = 2 * MiB, SECTORS = SIZE / DISK_SECTOR, FLUSH_EACH = 6 };

/* What the process says of itself before and after each step; shared with who kills it. */
struct progress {
    atomic_ullong begun, flushed; /* writes */
};

/* Write number i: where, and how much; stamped i. */
static void write_of(u64 i, u64 *at, u64 *len)
{
    u64 state = i * 0x9e3779b97f4a7c15ull + 1;

    *at = align_down(test_rand(&state) % SIZE, DISK_SECTOR);
    *len = min(align_up(test_rand(&state) % (24 * KiB) + 1, DISK_SECTOR), SIZE - *at);
}

static void stamp(u8 *p, u64 len, u64 i)
{
    for (u64 k = 0; k < len; k += 8)
        memcpy(p + k, &i, 8);
}

/* In the process that is killed: goes on where the last one ended. */
static void write_for_ever(const char *path, struct progress *g)
{
    /* flushes that the page cache is enough for: nobody pulls the plug here */
    const struct disk_cfg cfg = { .file = path, .fd = -1, .cache = DISK_UNSAFE };
    static u8 buf[24 * KiB + DISK_SECTOR];
    struct disk *d;
    struct disk_sync *s;

    if (disk_open(&cfg, &d, NULL) < 0 || disk_sync_open(d, &s, NULL) < 0)
        _exit(1);
    for (u64 i = atomic_load(&g->begun) + 1;; i++) {
        u64 at, len;

        write_of(i, &at, &len);
        stamp(buf, len, i);
        atomic_store(&g->begun, i);
        if (disk_pwrite(s, buf, len, at) < 0)
            _exit(1);
        if (i % FLUSH_EACH)
            continue;
        if (disk_flush(s) < 0)
            _exit(1);
        atomic_store(&g->flushed, i);
    }
}

static void kill_one(const char *path, struct progress *g, u64 *seed)
{
    int status;
    pid_t pid = fork();

    CHECK(pid >= 0);
    if (pid == 0)
        write_for_ever(path, g);
    usleep((useconds_t)(test_rand(seed) % 12000)); /* tidy: allow banned: any time is as good */
    kill(pid, SIGKILL);
    CHECK_EQ(waitpid(pid, &status, 0), pid);
    CHECK(WIFSIGNALED(status));
}

/*
 * Each sector has the last write that was flushed there, or a later one; `least` is what it had before write `first`, and becomes
 * what it has now: what the process had not flushed may be lost.
 */
static void verify(const char *path, const struct progress *g, u64 first, u64 *least)
{
    static u8 buf[SIZE];
    AUTO(disk) struct disk *d = NULL;
    AUTO(disk_sync) struct disk_sync *s = NULL;
    u64 begun = atomic_load(&g->begun), flushed = atomic_load(&g->flushed), at, len;
    struct err e = {};

    for (u64 i = first; i <= flushed; i++) {
        write_of(i, &at, &len);
        for (u64 k = at / DISK_SECTOR; k < (at + len) / DISK_SECTOR; k++)
            least[k] = i;
    }
    CHECK_OK(disk_open(&(struct disk_cfg){ .file = path, .fd = -1, .readonly = true }, &d, &e), &e);
    CHECK_OK(disk_sync_open(d, &s, &e), &e);
    CHECK_EQ(disk_pread(s, buf, SIZE, 0), 0);
    for (u64 k = 0; k < SECTORS; k++) {
        u8 whole[DISK_SECTOR];
        u64 is;

        memcpy(&is, buf + k * DISK_SECTOR, 8);
        stamp(whole, sizeof(whole), is);
        CHECK_MEM(buf + k * DISK_SECTOR, whole, sizeof(whole));
        CHECK(is >= least[k] && is <= begun);
        CHECK(is == least[k] || is >= first);
        least[k] = is;
        if (is) {
            write_of(is, &at, &len);
            CHECK(k * DISK_SECTOR >= at && k * DISK_SECTOR < at + len);
        }
    }
}

TEST(qcow2_kills)
{
    static u64 least[SECTORS];
    const char *text = getenv("RIG_KILLS");
    struct progress *g =
        mmap(NULL, sizeof(*g), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    u64 kills = 20, seed = 11;
    char path[200];

    CHECK(g != MAP_FAILED);
    if (text)
        str_u64(text, &kills);
    rig_path(path, "kill.qcow2");
    rig_create(path, &(struct qcow2_create_cfg){ .size = SIZE, .cluster = 8192 });
    for (u64 i = 0; i < kills; i++) {
        u64 first = atomic_load(&g->begun) + 1;
        struct qcow2_report rep = { .say = NULL };
        struct err e = {};

        kill_one(path, g, &seed);
        CHECK_OK(
            qcow2_check(&(struct disk_cfg){ .file = path, .fd = -1 }, QCOW2_REPAIR_LEAKS, &rep, &e),
            &e);
        CHECK_EQ(rep.errors, 0);
        verify(path, g, first, least);
    }
    fprintf(stderr, "  %llu kills, %llu writes, %llu of them flushed\n", kills,
            (u64)atomic_load(&g->begun), (u64)atomic_load(&g->flushed));
    munmap(g, sizeof(*g));
}
