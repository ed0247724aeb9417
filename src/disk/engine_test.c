/*
 * disk/engine_test.c: neighbours that become one call, and what becomes of them when the call is short or fails.
 */
#include "disk/engine.h"

#include "testlib/test.h"

#include <unistd.h>

enum { IOS = 6, LEN = 4096, CALLS_MAX = 16 };

struct call {
    u64 offset, len;
    u32 n_iov;
};

/* An engine over `end` bytes of which one sector may be bad. */
struct fake {
    struct engine e;
    s64 most; /* bytes a call does at most */
    u64 bad;  /* a call that touches this byte fails with -EIO */
    struct call calls[CALLS_MAX];
    u32 n;
};

static void fake_kick(struct engine *e)
{
    struct fake *f = container_of(e, struct fake, e);
    struct io *io;

    while ((io = engine_take(e))) {
        u64 sum = 0;

        CHECK(f->n < CALLS_MAX);
        for (u32 i = 0; i < io->n_iov; i++)
            sum += io->iov[i].iov_len;
        CHECK_EQ(sum, io->len);
        f->calls[f->n++] = (struct call){ io->offset, io->len, io->n_iov };
        engine_done(e, io,
                    f->bad >= io->offset && f->bad < io->offset + io->len
                        ? -EIO
                        : min((s64)io->len, f->most));
    }
}

static const struct engine_ops fake_ops = { .kick = fake_kick };

static void on_ready(struct loop_fd *, int)
{
}

static u32 n_done;
static s64 results[IOS];

struct one {
    struct io io;
    struct iovec iov;
    u32 index;
};

static void on_done(struct io *io)
{
    results[container_of(io, struct one, io)->index] = io->result;
    n_done++;
}

#define ALL   INT64_MAX
#define NEVER UINT64_MAX

/* clang-format off */
static const struct {
    const char *why;
    u64 at[IOS];             /* in units of LEN */
    enum io_op op[IOS];
    bool alone;              /* none of them may_join */
    s64 most;
    u64 bad;
    u32 calls;
    struct call first;
    s64 result[IOS];
} rows[] = {
    { "in a row", { 0, 1, 2, 3, 4, 5 }, { IO_READ, IO_READ, IO_READ, IO_READ, IO_READ, IO_READ }, false, ALL, NEVER, 1,
      { 0, 6 * LEN, 6 }, { LEN, LEN, LEN, LEN, LEN, LEN } },
    { "backwards", { 5, 4, 3, 2, 1, 0 }, {}, false, ALL, NEVER, 6, { 5 * LEN, LEN, 1 }, { LEN, LEN, LEN, LEN, LEN, LEN } },
    { "two rows", { 7, 8, 9, 1, 2, 3 }, {}, false, ALL, NEVER, 2, { 7 * LEN, 3 * LEN, 3 }, { LEN, LEN, LEN, LEN, LEN, LEN } },
    { "of two kinds", { 0, 1, 2, 3, 4, 5 }, { IO_READ, IO_READ, IO_WRITE, IO_WRITE, IO_READ, IO_READ }, false, ALL, NEVER, 3,
      { 0, 2 * LEN, 2 }, { LEN, LEN, LEN, LEN, LEN, LEN } },
    { "by themselves", { 0, 1, 2, 3, 4, 5 }, {}, true, ALL, NEVER, 6, { 0, LEN, 1 }, { LEN, LEN, LEN, LEN, LEN, LEN } },
    /* the third was done in part, those after it not at all: they ask again */
    { "short", { 0, 1, 2, 3, 4, 5 }, {}, false, 2 * LEN + 512, NEVER, 4, { 0, 6 * LEN, 6 }, { LEN, LEN, 512, LEN, LEN, LEN } },
    { "nothing", { 0, 1, 2, 3, 4, 5 }, {}, false, 0, NEVER, 7, { 0, 6 * LEN, 6 }, { 0, 0, 0, 0, 0, 0 } },
    { "one is bad", { 0, 1, 2, 3, 4, 5 }, {}, false, ALL, 3 * LEN, 7, { 0, 6 * LEN, 6 }, { LEN, LEN, LEN, -EIO, LEN, LEN } },
};
/* clang-format on */

TEST(engine_runs)
{
    static u8 buf[LEN];
    struct loop loop;

    CHECK_EQ(loop_init(&loop, "test"), 0);
    for_each_row(c, rows) {
        struct fake f = { .most = c->most, .bad = c->bad };
        AUTO(fd) int event = fd_eventfd();
        struct one ios[IOS] = {};

        ROW(c);
        n_done = 0;
        CHECK_EQ(
            engine_init(&f.e, &fake_ops, &(struct engine_cfg){ .loop = &loop }, event, on_ready),
            0);
        for (u32 i = 0; i < IOS; i++) {
            ios[i].iov = (struct iovec){ buf, LEN };
            ios[i].index = i;
            ios[i].io = (struct io){ .op = c->op[i],
                                     .offset = c->at[i] * LEN,
                                     .len = LEN,
                                     .may_join = !c->alone,
                                     .iov = &ios[i].iov,
                                     .n_iov = 1,
                                     .done = on_done };
            engine_submit(&f.e, &ios[i].io);
        }
        engine_kick(&f.e);
        CHECK_EQ(n_done, IOS);
        CHECK_EQ(f.e.busy, 0);
        CHECK_EQ(f.n, c->calls);
        CHECK_EQ(f.calls[0].offset, c->first.offset);
        CHECK_EQ(f.calls[0].len, c->first.len);
        CHECK_EQ(f.calls[0].n_iov, c->first.n_iov);
        for (u32 i = 0; i < IOS; i++)
            CHECK_EQ(results[i], c->result[i]);
        loop_fd_close(&f.e.ready);
        engine_fini(&f.e);
    }
    loop_fini(&loop);
}

/* A run has an end: in bytes, and in pieces. */
TEST(engine_runs_end)
{
    enum { N = 200 };
    static struct one ios[N];
    static u8 buf[LEN];
    struct fake f = { .most = ALL, .bad = NEVER };
    AUTO(fd) int event = fd_eventfd();
    struct loop loop;

    CHECK_EQ(loop_init(&loop, "test"), 0);
    CHECK_EQ(engine_init(&f.e, &fake_ops, &(struct engine_cfg){ .loop = &loop }, event, on_ready),
             0);
    for (u32 i = 0; i < N; i++) {
        ios[i].iov = (struct iovec){ buf, LEN };
        ios[i].io = (struct io){ .op = IO_WRITE,
                                 .offset = (u64)i * LEN,
                                 .len = LEN,
                                 .may_join = true,
                                 .iov = &ios[i].iov,
                                 .n_iov = 1,
                                 .done = on_done };
        engine_submit(&f.e, &ios[i].io);
    }
    n_done = 0;
    engine_kick(&f.e);
    CHECK_EQ(n_done, N);
    CHECK_EQ(f.n, 4);
    CHECK_EQ(f.calls[0].len, 64 * LEN);
    CHECK_EQ(f.calls[3].len, 8 * LEN);
    loop_fd_close(&f.e.ready);
    engine_fini(&f.e);
    loop_fini(&loop);
}
