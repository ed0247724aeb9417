/*
 * disk/raw_io_test.c: what a raw disk does with answers that real files seldom give: short, refused, full, interrupted.
 * A fake engine answers from a script.
 */
#include "disk/raw_io.c" /* NOLINT(bugprone-suspicious-include): its inside is tested */

#include "testlib/test.h"

enum { ANSWERS_MAX = 8 };
/* As an answer: all that was asked. */
#define FULL INT64_MAX

struct answer {
    enum io_op op;
    s64 result;
};

struct fake_engine {
    struct engine e;
    const struct answer *next;
    u64 offsets[ANSWERS_MAX], lens[ANSWERS_MAX];
    int flags[ANSWERS_MAX];
    u32 n;
};

static u64 io_bytes(const struct io *io)
{
    u64 sum = 0;

    if (io->op != IO_READ && io->op != IO_WRITE)
        return io->len;
    for (u32 i = 0; i < io->n_iov; i++)
        sum += io->iov[i].iov_len;
    return sum;
}

static void fake_kick(struct engine *e)
{
    struct fake_engine *f = container_of(e, struct fake_engine, e);
    struct io *io;

    while ((io = io_take(&e->todo))) {
        bool bytes = io->op == IO_READ || io->op == IO_WRITE;
        s64 r = f->next->result;

        must(f->n < ANSWERS_MAX);
        CHECK_EQ(io->op, f->next->op);
        f->offsets[f->n] = io->offset;
        f->lens[f->n] = io_bytes(io);
        f->flags[f->n] = io->flags;
        f->n++;
        f->next++;
        if (r == FULL)
            r = bytes ? (s64)io_bytes(io) : 0;
        engine_done(e, io, r);
    }
}

static const struct engine_ops fake_ops = { .kick = fake_kick };

struct rig {
    struct raw raw;
    struct raw_queue q;
    struct fake_engine main;
    u32 done;
    struct disk_req req;
    struct iovec iov[2];
};
static u8 rig_data[1 * MiB + DISK_SECTOR];

static void rig_done(struct disk_req *r)
{
    container_of(r, struct rig, req)->done++;
}

static void rig_init(struct rig *g, const struct answer *answers)
{
    static const struct disk_ops ops = { .submit = raw_submit, .kick = raw_kick, .wait = raw_wait };

    *g = (struct rig){};
    g->raw.disk = (struct disk){ .ops = &ops, .size = 16 * MiB };
    raw_zero_init(&g->raw);
    g->q.q.disk = &g->raw.disk;
    g->q.main = &g->main.e;
    g->main.e.ops = &fake_ops;
    g->main.next = answers;
    g->req.done = rig_done;
    g->req.iov = g->iov;
}

static int rig_run(struct rig *g, enum disk_op op, u64 offset, u64 len)
{
    bool data = op == DISK_READ || op == DISK_WRITE;

    g->iov[0] = (struct iovec){ rig_data, len / 2 };
    g->iov[1] = (struct iovec){ rig_data + len / 2, len - len / 2 };
    g->req.op = op;
    g->req.offset = offset;
    g->req.len = len;
    g->req.n_iov = data ? 2 : 0;
    disk_submit(&g->q.q, &g->req);
    CHECK_EQ(g->done, 0);
    disk_kick(&g->q.q);
    CHECK_EQ(g->done, 1);
    CHECK_EQ(g->q.q.busy, 0);
    return g->req.result;
}

/* clang-format off */
static const struct {
    const char *why;
    enum disk_op op;
    u64 len;
    bool durable, may_unmap, device, unsafe;
    struct answer answers[ANSWERS_MAX];
    u32 n;
    int r;
} scripts[] = {
    { "short reads are resumed", DISK_READ, 8192, .n = 3, .r = 0,
      .answers = { { IO_READ, 1000 }, { IO_READ, 4000 }, { IO_READ, FULL } } },
    { "short writes are resumed", DISK_WRITE, 8192, .n = 2, .r = 0,
      .answers = { { IO_WRITE, 4096 }, { IO_WRITE, FULL } } },
    { "nothing written is an error", DISK_WRITE, 8192, .n = 1, .r = -EIO,
      .answers = { { IO_WRITE, 0 } } },
    { "interrupted and busy are tried again", DISK_WRITE, 8192, .n = 3, .r = 0,
      .answers = { { IO_WRITE, -EINTR }, { IO_WRITE, -EAGAIN }, { IO_WRITE, FULL } } },
    { "full is told", DISK_WRITE, 8192, .n = 2, .r = -ENOSPC,
      .answers = { { IO_WRITE, 4096 }, { IO_WRITE, -ENOSPC } } },
    { "quota is told", DISK_WRITE, 8192, .n = 1, .r = -EDQUOT,
      .answers = { { IO_WRITE, -EDQUOT } } },
    { "a flush that fails", DISK_FLUSH, 0, .n = 1, .r = -EIO,
      .answers = { { IO_SYNC, -EIO } } },
    { "discard not known is no error", DISK_DISCARD, 8192, .n = 1, .r = 0,
      .answers = { { IO_ALLOC, -EOPNOTSUPP } } },
    { "discard of what others have open too", DISK_DISCARD, 8192, .device = true, .n = 1,
      .r = 0, .answers = { { IO_DISCARD, -EBUSY } } },
    { "discard that fails", DISK_DISCARD, 8192, .n = 1, .r = -EIO,
      .answers = { { IO_ALLOC, -EIO } } },
    { "discard of a device", DISK_DISCARD, 8192, .device = true, .n = 1, .r = 0,
      .answers = { { IO_DISCARD, 0 } } },
    { "discard and sync", DISK_DISCARD, 8192, .durable = true, .n = 2, .r = 0,
      .answers = { { IO_ALLOC, 0 }, { IO_SYNC, 0 } } },
    { "zeroes by hole, else range, else writing", DISK_ZERO, 8192, .may_unmap = true, .n = 3,
      .r = 0,
      .answers = { { IO_ALLOC, -EOPNOTSUPP }, { IO_ALLOC, -EINVAL }, { IO_WRITE, FULL } } },
    { "zeroes that stay allocated", DISK_ZERO, 8192, .n = 2, .r = 0,
      .answers = { { IO_ALLOC, -EOPNOTSUPP }, { IO_WRITE, FULL } } },
    { "zeroes in pieces, odd end, sync", DISK_ZERO, 256 * KiB + 512, .durable = true, .n = 4,
      .r = 0,
      .answers = { { IO_ALLOC, -ENOTTY }, { IO_WRITE, FULL }, { IO_WRITE, FULL }, { IO_SYNC, 0 } } },
    { "zeroes on a full disk", DISK_ZERO, 8192, .n = 1, .r = -ENOSPC,
      .answers = { { IO_ALLOC, -ENOSPC } } },
    { "unsafe: no sync after a durable one", DISK_ZERO, 8192, .durable = true, .unsafe = true,
      .n = 1, .r = 0, .answers = { { IO_ALLOC, 0 } } },
    { "nothing to do", DISK_WRITE, 0, .n = 0, .r = 0 },
    { "nothing to do, but durable", DISK_WRITE, 0, .durable = true, .n = 1, .r = 0,
      .answers = { { IO_SYNC, 0 } } },
};
/* clang-format on */

/* Does each call begin where the one before ended? */
static void check_offsets(const struct fake_engine *f, const struct answer *answers, bool flush)
{
    u64 at = 4096;

    for (u32 i = 0; i < f->n; i++) {
        enum io_op op = answers[i].op;
        s64 r = answers[i].result;

        CHECK_EQ(f->offsets[i], flush ? 4096 : at);
        if (op == IO_READ || op == IO_WRITE)
            at += r == FULL ? f->lens[i] : (u64)max(r, (s64)0);
        else if (r >= 0 && op != IO_SYNC)
            at += f->lens[i];
    }
}

TEST(raw_io_scripts)
{
    for_each_row(c, scripts) {
        struct rig g;

        ROW(c);
        rig_init(&g, c->answers);
        g.raw.device = c->device;
        g.raw.unsafe = c->unsafe;
        g.req.durable = c->durable;
        g.req.may_unmap = c->may_unmap;
        CHECK_EQ(rig_run(&g, c->op, 4096, c->len), c->r);
        CHECK_EQ(g.main.n, c->n);
        check_offsets(&g.main, c->answers, c->op == DISK_FLUSH);
    }
}

TEST(raw_io_durable_write)
{
    static const struct answer answers[] = { { IO_WRITE, FULL } };
    struct rig g;

    rig_init(&g, answers);
    g.req.durable = true;
    CHECK_EQ(rig_run(&g, DISK_WRITE, 0, 4096), 0);
    CHECK_EQ(g.main.flags[0], RWF_DSYNC);
}

/* A request that met a full disk goes on where it stopped. */
TEST(raw_io_again_after_full)
{
    static const struct answer answers[] = { { IO_WRITE, 3 * 512 },
                                             { IO_WRITE, -ENOSPC },
                                             { IO_WRITE, FULL } };
    struct rig g;

    rig_init(&g, answers);
    CHECK_EQ(rig_run(&g, DISK_WRITE, 0, 8192), -ENOSPC);
    disk_submit(&g.q.q, &g.req);
    disk_kick(&g.q.q);
    CHECK_EQ(g.done, 2);
    CHECK_EQ(g.req.result, 0);
    CHECK_EQ(g.main.offsets[2], 3 * 512);
    CHECK_EQ(g.main.lens[2], 8192 - 3 * 512);
}

/* What was refused once is not asked again. */
TEST(raw_io_learns)
{
    static const struct answer answers[] = { { IO_ALLOC, -EOPNOTSUPP },
                                             { IO_ALLOC, -EOPNOTSUPP },
                                             { IO_WRITE, FULL },
                                             { IO_WRITE, FULL },
                                             { IO_ALLOC, -EOPNOTSUPP } };
    struct rig g;

    rig_init(&g, answers);
    g.req.may_unmap = true;
    CHECK_EQ(rig_run(&g, DISK_ZERO, 0, 8192), 0);
    g.done = 0;
    CHECK_EQ(rig_run(&g, DISK_ZERO, 0, 8192), 0);
    g.done = 0;
    CHECK_EQ(rig_run(&g, DISK_DISCARD, 0, 8192), 0);
    g.done = 0;
    CHECK_EQ(rig_run(&g, DISK_DISCARD, 0, 8192), 0);
    CHECK_EQ(g.main.n, 5);
}

/* Direct I/O rounds a short answer down to a sector, or the next try would be refused. */
TEST(raw_io_direct_short)
{
    static const struct answer answers[] = { { IO_READ, 1000 }, { IO_READ, FULL } };
    static alignas(4096) u8 buf[BOUNCE_SIZE];
    struct rig g;

    rig_init(&g, answers);
    g.raw.direct = true;
    g.q.bounce = buf;
    CHECK_EQ(rig_run(&g, DISK_READ, 0, 8192), 0);
    CHECK_EQ(g.main.offsets[1], 512);
}
