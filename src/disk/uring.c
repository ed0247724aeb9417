/*
 * disk/uring.c: the io_uring engine.
 * The ring's own fd is what the loop watches: it reads as ready while completions wait, so that neither an eventfd nor a read of
 * it is needed.  What the page cache can serve is complete when io_uring_enter returns, and is taken at once; but of several large
 * reads that begin together all but the last are copied by threads of the kernel, side by side.
 */
#include "disk/engine.h"

#include <liburing.h>
#include <stdlib.h>

enum {
    URING_ENTRIES_MIN = 8,
    URING_ENTRIES_MAX = 256,
    /* Bytes of a read from which on to copy them takes longer than to have one of the kernel's threads do it. */
    URING_APART_MIN = 256 * 1024,
};

struct uring {
    struct engine e;
    struct io_uring ring;
    int fd; /* of the file, or 0, its number among the registered ones */
    bool registered, cached;
    u32 in_kernel; /* taken from e.todo, no completion seen yet */
};

static struct uring *uring_of(struct engine *e)
{
    return container_of(e, struct uring, e);
}

static void prepare(const struct uring *u, struct io_uring_sqe *sqe, const struct io *io)
{
    switch (io->op) {
    case IO_READ:
        io_uring_prep_readv2(sqe, u->fd, io->iov, io->n_iov, io->offset, io->flags);
        break;
    case IO_WRITE:
        io_uring_prep_writev2(sqe, u->fd, io->iov, io->n_iov, io->offset, io->flags);
        break;
    case IO_SYNC:
        io_uring_prep_fsync(sqe, u->fd, IORING_FSYNC_DATASYNC);
        break;
    case IO_ALLOC:
        io_uring_prep_fallocate(sqe, u->fd, io->flags, (off_t)io->offset, (off_t)io->len);
        break;
    case IO_DISCARD:
        must(io->op != IO_DISCARD); /* the pool does it */
    }
    if (u->registered)
        sqe->flags |= IOSQE_FIXED_FILE;
}

/* Moves todo into the submission queue, as far as there is room, and enters the kernel. */
static void push(struct uring *u, bool wait)
{
    struct io_uring_sqe *sqe;
    int r;

    while (u->e.todo.first && (sqe = io_uring_get_sqe(&u->ring))) {
        struct io *io = engine_take(&u->e);

        prepare(u, sqe, io);
        if (u->cached && io->op == IO_READ && io->len >= URING_APART_MIN && u->e.todo.first)
            sqe->flags |= IOSQE_ASYNC;
        io_uring_sqe_set_data(sqe, io);
        u->in_kernel++;
    }
    if (!wait && !io_uring_sq_ready(&u->ring))
        return;
    /* -EAGAIN, -EBUSY, -EINTR: entries stay queued, and the next push submits them */
    r = io_uring_submit_and_wait(&u->ring, wait ? 1 : 0);
    must(r >= 0 || r == -EAGAIN || r == -EBUSY || r == -EINTR);
}

/* Takes what is complete.  How many. */
static u32 reap(struct uring *u)
{
    struct io_uring_cqe *cqe;
    u32 n = 0;

    while (io_uring_peek_cqe(&u->ring, &cqe) == 0) {
        struct io *io = io_uring_cqe_get_data(cqe);
        int result = cqe->res;

        io_uring_cqe_seen(&u->ring, cqe);
        u->in_kernel--;
        n++;
        engine_done(&u->e, io, result);
    }
    return n;
}

/* Until nothing moves without waiting: completions may have submitted more. */
static u32 run(struct uring *u)
{
    u32 n, all = 0;

    do {
        push(u, false);
        n = reap(u);
        all += n;
        /* with entries that the kernel did not take and nothing in it that would wake us, only trying again helps */
    } while ((n && u->e.todo.first) ||
             (io_uring_sq_ready(&u->ring) && io_uring_sq_ready(&u->ring) == u->in_kernel));
    return all;
}

static void uring_kick(struct engine *e)
{
    run(uring_of(e));
}

static void uring_wait(struct engine *e)
{
    struct uring *u = uring_of(e);

    while (!run(u))
        push(u, true);
}

static void on_ready(struct loop_fd *f, int)
{
    struct engine *e = f->arg;

    if (run(uring_of(e)))
        e->batch(e->arg);
}

static void uring_close(struct engine *e)
{
    struct uring *u = uring_of(e);

    io_uring_queue_exit(&u->ring);
    engine_fini(e);
    free(u);
}

static const struct engine_ops uring_ops = { uring_kick, uring_wait, uring_close };

int uring_open(const struct engine_cfg *cfg, struct engine **ret)
{
    u32 entries = min(max(cfg->depth, (u32)URING_ENTRIES_MIN), (u32)URING_ENTRIES_MAX);
    struct uring *u = xnew(struct uring);
    int r;

    /* COOP_TASKRUN: no inter-processor interrupt for a completion; we enter the kernel soon enough (Linux 5.19) */
    r = io_uring_queue_init(entries, &u->ring, IORING_SETUP_COOP_TASKRUN);
    if (r == -EINVAL)
        r = io_uring_queue_init(entries, &u->ring, 0);
    if (r < 0) {
        free(u);
        return r;
    }
    u->registered = cfg->may_register && io_uring_register_files(&u->ring, &cfg->fd, 1) == 0;
    u->fd = u->registered ? 0 : cfg->fd;
    u->cached = cfg->cached;
    r = engine_init(&u->e, &uring_ops, cfg, u->ring.ring_fd, on_ready);
    if (r < 0) {
        uring_close(&u->e);
        return r;
    }
    *ret = &u->e;
    return 0;
}
