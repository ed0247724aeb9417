/*
 * disk/overlay_test.c: a disk goes on in an overlay: what is read, what is flushed, what is refused, who may open what.
 */
#include "disk/overlay.h"

#include "disk/lock.h"
#include "disk/qcow2_internal.h"
#include "disk/qcow2_rig.h"
#include "testlib/test.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

enum { SIZE = 1024 * 1024, PIECE = 4096 };

struct one {
    struct disk_req r;
    struct iovec iov;
    bool done;
};

static void on_done(struct disk_req *r)
{
    container_of(r, struct one, r)->done = true;
}

static int ask(struct disk_queue *q, enum disk_op op, void *buf, u64 at)
{
    struct one o = { .iov = { buf, buf ? PIECE : 0 } };

    o.r = (struct disk_req){
        .op = op, .offset = at, .len = buf ? PIECE : 0, .iov = &o.iov, .n_iov = buf ? 1 : 0
    };
    o.r.done = on_done;
    disk_submit(q, &o.r);
    while (!o.done)
        disk_wait(q);
    return o.r.result;
}

static void put(struct disk_queue *q, u8 what, u64 at)
{
    u8 buf[PIECE];

    memset(buf, what, sizeof(buf));
    CHECK_EQ(ask(q, DISK_WRITE, buf, at), 0);
}

static u8 get(struct disk_queue *q, u64 at)
{
    u8 buf[PIECE];

    CHECK_EQ(ask(q, DISK_READ, buf, at), 0);
    for (u32 i = 1; i < PIECE; i++)
        CHECK_EQ(buf[i], buf[0]);
    return buf[0];
}

static void no_batch(void *)
{
}

/* A running disk, and the loop that its queues are on. */
struct rig {
    char below[200], over[200];
    struct loop loop, helper;
    struct disk *disk, *overlay;
    struct disk_queue *q, *next;
    enum disk_engine engine;
};

static struct disk_queue *open_queue(struct rig *r, struct disk *d, bool no_threads)
{
    const struct disk_queue_cfg cfg = { .loop = &r->loop,
                                        .depth = 16,
                                        .batch = no_batch,
                                        .helper = &r->helper,
                                        .no_threads = no_threads };
    struct disk_queue *q = NULL;
    struct err e = {};

    CHECK_OK(disk_queue_open(d, &cfg, &q, &e), &e);
    return q;
}

static void rig_begin(struct rig *r, bool qcow2)
{
    AUTO(fd) int fd = -1;
    struct err e = {};

    rig_path(r->below, "below");
    rig_path(r->over, "over");
    unlink(r->below);
    CHECK_EQ(loop_init(&r->loop, "rig"), 0);
    CHECK_EQ(loop_init(&r->helper, "helper"), 0);
    CHECK_EQ(loop_start(&r->helper), 0);
    if (qcow2)
        rig_create(r->below, &(struct qcow2_create_cfg){ .size = SIZE });
    else
        CHECK((fd = open(r->below, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600)) >= 0 &&
              ftruncate(fd, SIZE) == 0);
    CHECK_OK(disk_open(&(struct disk_cfg){ .file = r->below, .fd = -1, .engine = r->engine },
                       &r->disk, &e),
             &e);
    r->q = open_queue(r, r->disk, false);
}

/* As a client makes it: two open files, the second has the lock. */
static struct overlay_cfg make_overlay(struct rig *r, const struct qcow2_create_cfg *cfg)
{
    struct overlay_cfg o = { .name = "over", .engine = r->engine };
    struct err e = {};

    rig_create(r->over, cfg);
    o.fd = open(r->over, O_RDWR | O_CLOEXEC);
    o.lock_fd = open(r->over, O_RDWR | O_CLOEXEC);
    CHECK_OK(lock_image(o.lock_fd, true, "over", &e), &e);
    return o;
}

static const struct qcow2_create_cfg fitting = { .size = SIZE,
                                                 .backing = "below",
                                                 .backing_format = "raw" };

static u32 count_threads(void)
{
    DIR *d = opendir("/proc/self/task");
    u32 n = 0;

    while (d && readdir(d))
        n++;
    closedir(d);
    return n;
}

static void go_over(struct rig *r, bool qcow2)
{
    struct qcow2_create_cfg cfg = fitting;
    struct overlay_cfg o;
    struct err e = {};
    u32 threads;

    cfg.backing_format = qcow2 ? "qcow2" : "raw";
    o = make_overlay(r, &cfg);
    CHECK_OK(overlay_open(r->disk, &o, &r->overlay, &e), &e);
    threads = count_threads();
    r->next = open_queue(r, r->overlay, true);
    CHECK(count_threads() <= threads); /* a worker of an io_uring may go meanwhile */
}

static void rig_close(struct rig *r)
{
    disk_queue_close(r->next);
    disk_queue_close(r->q);
    if (r->overlay)
        disk_close(r->overlay);
    else
        disk_close(r->disk);
    loop_fini(&r->helper);
    loop_fini(&r->loop);
}

static int open_again(const char *path, bool readonly)
{
    AUTO(disk) struct disk *d = NULL;
    struct err e = {};

    return disk_open(&(struct disk_cfg){ .file = path, .fd = -1, .readonly = readonly }, &d, &e);
}

static const u8 want[] = { 4, 2, 3 };

static void goes_on(bool qcow2, enum disk_engine engine)
{
    struct rig r = { .engine = engine };
    AUTO(disk) struct disk *d = NULL;
    AUTO(disk_sync) struct disk_sync *s = NULL;
    struct err e = {};
    u8 buf[PIECE];

    rig_begin(&r, qcow2);
    put(r.q, 1, 0);
    put(r.q, 1, PIECE);
    go_over(&r, qcow2);
    put(r.q, 2, PIECE); /* it is written to until the change */
    CHECK(overlay_is_empty(r.overlay));
    put(r.next, 3, 2 * PIECE);
    CHECK(!overlay_is_empty(r.overlay));
    CHECK_EQ(get(r.next, 0), 1);
    CHECK_EQ(get(r.next, PIECE), 2);
    CHECK_EQ(get(r.next, 2 * PIECE), 3);
    CHECK_EQ(get(r.q, 2 * PIECE), 0); /* what is below stays as it is */
    disk_queue_close(TAKE(r.q));
    CHECK(open_again(r.below, true) < 0);
    CHECK_OK(overlay_seal(r.overlay, &e), &e);
    overlay_settle(r.overlay);
    CHECK_EQ(open_again(r.below, true), 0);
    CHECK(open_again(r.below, false) < 0);
    CHECK(open_again(r.over, true) < 0);
    put(r.next, 4, 0);
    CHECK_EQ(ask(r.next, DISK_FLUSH, NULL, 0), 0);
    rig_close(&r);
    CHECK_OK(disk_open(&(struct disk_cfg){ .file = r.over, .fd = -1, .readonly = true }, &d, &e),
             &e);
    CHECK_OK(disk_sync_open(d, &s, &e), &e);
    for (u8 i = 0; i < 3; i++) {
        CHECK_EQ(disk_pread(s, buf, PIECE, i * PIECE), 0);
        CHECK_EQ(buf[0], want[i]);
    }
    rig_check(r.over);
}

TEST(overlay_goes_on_over_raw)
{
    goes_on(false, DISK_ENGINE_AUTO);
}

TEST(overlay_goes_on_over_qcow2)
{
    goes_on(true, DISK_ENGINE_AUTO);
}

/* Where there is no io_uring, and no thread can be started any more. */
TEST(overlay_goes_on_with_threads)
{
    goes_on(false, DISK_ENGINE_THREADS);
    goes_on(true, DISK_ENGINE_THREADS);
}

/* What was written before the change is flushed by who asks for it after. */
TEST(overlay_flushes_what_is_below_until_it_is_sealed)
{
    struct rig r = {};
    struct err e = {};

    rig_begin(&r, true);
    go_over(&r, true);
    put(r.q, 1, 0);
    CHECK(q2_is_dirty(q2_of(r.disk)));
    CHECK_EQ(ask(r.next, DISK_FLUSH, NULL, 0), 0);
    CHECK(!q2_is_dirty(q2_of(r.disk)));
    put(r.q, 1, 512 * KiB);
    CHECK(q2_is_dirty(q2_of(r.disk)));
    CHECK_OK(overlay_seal(r.overlay, &e), &e);
    CHECK(!q2_is_dirty(q2_of(r.disk)));
    overlay_settle(r.overlay);
    CHECK(!atomic_load(&q2_of(r.overlay)->flush_below));
    rig_close(&r);
    rig_check(r.below);
}

/* Refcounts that were put off are written, and the mark that said so is gone: the image may be checked and written by others. */
TEST(overlay_settles_lazy_refcounts)
{
    struct rig r = {};
    struct err e = {};
    struct qcow2 *q;

    rig_begin(&r, true);
    q = q2_of(r.disk);
    q->lazy = true;
    put(r.q, 1, 0);
    CHECK_EQ(ask(r.q, DISK_FLUSH, NULL, 0), 0);
    CHECK(q->h.incompatible & Q2_I_DIRTY);
    go_over(&r, true);
    CHECK_OK(overlay_seal(r.overlay, &e), &e);
    CHECK(!(q->h.incompatible & Q2_I_DIRTY));
    overlay_settle(r.overlay);
    rig_check(r.below);
    rig_close(&r);
}

TEST(overlay_dropped_leaves_the_disk)
{
    struct rig r = {};

    rig_begin(&r, true);
    put(r.q, 1, 0);
    go_over(&r, true);
    disk_queue_close(TAKE(r.next));
    overlay_drop(TAKE(r.overlay));
    put(r.q, 2, PIECE);
    CHECK_EQ(get(r.q, 0), 1);
    CHECK_EQ(get(r.q, PIECE), 2);
    CHECK_EQ(open_again(r.over, true) < 0, true); /* its backing file is being written */
    rig_close(&r);
    CHECK_EQ(open_again(r.over, true), 0);
}

TEST(overlay_refuses_what_is_none)
{
    static const struct {
        const char *why;
        struct qcow2_create_cfg cfg;
        const char *text;
    } rows[] = {
        { "smaller",
          { .size = SIZE / 2, .backing = "below", .backing_format = "raw" },
          "an overlay of 524288 bytes" },
        { "without a backing file", { .size = SIZE }, "is not an empty one" },
        { "not empty",
          { .size = SIZE, .prealloc = QCOW2_PREALLOC_METADATA },
          "is not an empty one" },
    };
    struct rig r = {};

    rig_begin(&r, false);
    for_each_row(c, rows) {
        struct overlay_cfg o = make_overlay(&r, &c->cfg);
        struct err e = {};

        ROW(c);
        CHECK(overlay_open(r.disk, &o, &r.overlay, &e) < 0);
        CHECK_HAS(e.text, c->text);
        CHECK_EQ(fcntl(o.fd, F_GETFD), -1); /* both are closed */
        CHECK_EQ(fcntl(o.lock_fd, F_GETFD), -1);
    }
    put(r.q, 1, 0);
    rig_close(&r);
}

TEST(overlay_refuses_other_files)
{
    struct rig r = {};
    struct overlay_cfg o = { .name = "other",
                             .fd = open("/dev/null", O_RDWR | O_CLOEXEC),
                             .lock_fd = -1 };
    struct err e = {};

    rig_begin(&r, true);
    CHECK(overlay_open(r.disk, &o, &r.overlay, &e) < 0);
    o.fd = open(r.below, O_RDWR | O_CLOEXEC);
    CHECK(overlay_open(r.disk, &o, &r.overlay, &e) < 0);
    CHECK_HAS(e.text, "its own overlay");
    o.fd = open(r.below, O_RDONLY | O_CLOEXEC);
    CHECK(overlay_open(r.disk, &o, &r.overlay, &e) < 0);
    CHECK_HAS(e.text, "read-only");
    rig_close(&r);
}
