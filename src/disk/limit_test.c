/*
 * disk/limit_test.c: buckets on a time of ours; and a queue under limits, which is drained, waits, and counts what it owes.
 */
#include "disk/limit.h"

#include "base/clock.h"
#include "testlib/test.h"

#include <fcntl.h>
#include <unistd.h>

#define MS NSEC_PER_MSEC

/* clang-format off */
static const struct {
    const char *why;
    u64 rate, burst_ns; /* units a second */
    struct { u64 at_ns, cost, wait_ns; } step[6]; /* the wait before it takes; cost 0: the end */
} rows[] = {
    { "no limit", 0, 0, { { 0, 1ull << 62, 0 }, { 0, 1ull << 62, 0 }, { 0, 1, 0 } } },
    /* full at first: the whole burst at once, and what is over it */
    { "a burst, then the rate", 1000, 10 * MS, { { 0, 5, 0 }, { 0, 5, 0 }, { 0, 5, 0 }, { 0, 1, 5 * MS }, { 5 * MS, 1, 1 * MS } } },
    { "what was not used is saved", 1000, 10 * MS, { { 0, 20, 0 }, { 0, 1, 10 * MS }, { 60 * MS, 10, 0 }, { 60 * MS, 3, 0 },
      { 60 * MS, 1, 3 * MS } } },
    { "but not more than the burst", 1000, 10 * MS, { { 3600000 * MS, 10, 0 }, { 3600000 * MS, 1, 0 }, { 3600000 * MS, 1, 1 * MS } } },
    { "one larger than the bucket", 1000, 10 * MS, { { 0, 5000, 0 }, { 0, 1, 4990 * MS }, { 4990 * MS, 1, 1 * MS } } },
    { "slower than one a second", 1, 10 * MS, { { 0, 1, 0 }, { 0, 1, 990 * MS }, { 990 * MS, 1, 1000 * MS } } },
    { "costs near 2^63", 1, 10 * MS, { { 0, 1ull << 62, 0 }, { 0, 1, INT64_MAX / 2 - 10 * MS } } },
};
/* clang-format on */

TEST(limit_buckets)
{
    for_each_row(c, rows) {
        struct bucket b = { .rate = c->rate, .burst_ns = c->burst_ns };

        ROW(c);
        for_each_row(s, c->step) {
            if (!s->cost)
                break;
            CHECK_EQ(bucket_wait_ns(&b, s->at_ns), s->wait_ns);
            bucket_take(&b, s->at_ns, s->cost);
        }
    }
}

/* Over an hour of a time of ours, in steps of all sizes, the rate is the rate. */
TEST(limit_rate)
{
    const u64 rate = 12345, end = 3600 * NSEC_PER_SEC;
    struct bucket b = { .rate = rate, .burst_ns = 100 * MS };
    u64 now = 0, took = 0, seed = 3;

    while (now < end) {
        u64 wait = bucket_wait_ns(&b, now), cost = 1 + test_rand(&seed) % 5000;

        now += wait;
        if (now >= end)
            break;
        bucket_take(&b, now, cost);
        took += cost;
    }
    CHECK(took >= rate * 3600 && took <= rate * 3600 + rate / 10 + 5000);
}

/* ---- a disk ---- */

enum { REQS = 8 };

struct counted {
    struct disk_req r;
    struct iovec iov;
};
static u32 n_done;
static u8 buf[REQS][4096];

static void on_done(struct disk_req *r)
{
    CHECK_EQ(r->result, 0);
    CHECK_EQ(r->len, 0);
    n_done++;
}

static void no_batch(void *)
{
}

static struct disk *open_disk(void)
{
    char path[200];
    struct disk *d = NULL;
    struct err e = {};
    int fd;

    str_fmt(path, sizeof(path), "%s/limit.raw", test_dir());
    fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    CHECK_EQ(ftruncate(fd, 1 * MiB), 0);
    close(fd);
    CHECK_OK(disk_open(&(struct disk_cfg){ .file = path, .fd = -1, .format = "raw" }, &d, &e), &e);
    return d;
}

static void submit_all(struct disk_queue *q, struct counted *reqs, enum disk_op op)
{
    n_done = 0;
    for (u32 i = 0; i < REQS; i++) {
        reqs[i].iov = (struct iovec){ buf[i], sizeof(buf[i]) };
        reqs[i].r = (struct disk_req){ .op = op,
                                       .offset = i * sizeof(buf[i]),
                                       .len = sizeof(buf[i]),
                                       .iov = &reqs[i].iov,
                                       .n_iov = 1,
                                       .done = on_done };
        disk_submit(q, &reqs[i].r);
    }
    disk_kick(q);
}

/* An hour for each request: the first goes, the others are held until somebody drains; then no more go for long. */
TEST(limit_holds_and_drains)
{
    static struct counted reqs[REQS];
    AUTO(disk) struct disk *d = open_disk();
    AUTO(disk_limits)
    struct disk_limits *l =
        disk_limits_new(&(struct disk_limit){ .bandwidth = 1, .burst_ms = DISK_BURST_MS_MIN });
    struct disk_queue *q;
    struct loop loop;
    struct err e = {};

    CHECK_EQ(loop_init(&loop, "test"), 0);
    CHECK_OK(
        disk_limits_queue_open(
            l, d, &(struct disk_queue_cfg){ .loop = &loop, .depth = 4, .batch = no_batch }, &q, &e),
        &e);
    CHECK_EQ(q->disk->size, 1 * MiB);
    submit_all(q, reqs, DISK_WRITE);
    uv_run(&loop.uv, UV_RUN_NOWAIT);
    CHECK(n_done <= 1);
    CHECK_EQ(q->busy, REQS - n_done);
    disk_drain(q);
    CHECK_EQ(n_done, REQS);
    submit_all(q, reqs, DISK_READ); /* not even the first: there are debts */
    CHECK_EQ(n_done, 0);
    disk_drain(q);
    CHECK_EQ(n_done, REQS);
    CHECK_EQ(q->busy, 0);
    disk_queue_close(q);
    loop_fini(&loop);
}

/* The timer lets them go, each after the time of one. */
TEST(limit_timer)
{
    static struct counted reqs[REQS];
    AUTO(disk) struct disk *d = open_disk();
    AUTO(disk_limits)
    struct disk_limits *l = disk_limits_new(&(struct disk_limit){ .iops = 200, .burst_ms = 1 });
    struct disk_queue *q;
    u64 begun, end;
    struct loop loop;
    struct err e = {};

    CHECK_EQ(loop_init(&loop, "test"), 0);
    CHECK_OK(disk_limits_queue_open(
                 l, d, &(struct disk_queue_cfg){ .loop = &loop, .depth = 64, .batch = no_batch },
                 &q, &e),
             &e);
    begun = clock_mono_ns();
    submit_all(q, reqs, DISK_READ);
    end = begun + 20 * NSEC_PER_SEC;
    while (n_done < REQS && clock_mono_ns() < end)
        uv_run(&loop.uv, UV_RUN_ONCE);
    CHECK_EQ(n_done, REQS);
    CHECK(clock_mono_ns() - begun >= (REQS - 1) * 5 * MS - 1 * MS);
    disk_queue_close(q);
    loop_fini(&loop);
}

TEST(limit_none)
{
    CHECK(!disk_limits_new(&(struct disk_limit){ .burst_ms = 100 }));
}
