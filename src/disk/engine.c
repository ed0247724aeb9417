/*
 * disk/engine.c: what the engines share: the way of an io, and neighbours that become one call of the kernel.
 *   (1) A run answers for its members in their order.  What it did not do, because the call was short or failed, they ask for again,
 *       each by itself: so each has its own answer, and an error is that of the bytes it belongs to.
 */
#include "disk/engine.h"

#include <stdlib.h>

enum {
    RUNS = 16,
    RUN_IOV = 128,
    RUN_BYTES = 256 * 1024, /* more in one call gains nothing, and keeps others waiting */
};

/* Ios that are done by one call. */
struct io_run {
    struct io io; /* what the kernel sees */
    struct io_list members;
    struct iovec iov[RUN_IOV];
    struct io_run *next; /* free */
};

void io_add(struct io_list *l, struct io *io)
{
    io->next = NULL;
    if (l->last)
        l->last->next = io;
    else
        l->first = io;
    l->last = io;
}

struct io *io_take(struct io_list *l)
{
    struct io *io = l->first;

    if (!io)
        return NULL;
    l->first = io->next;
    if (!l->first)
        l->last = NULL;
    return io;
}

int engine_init(struct engine *e, const struct engine_ops *ops, const struct engine_cfg *cfg,
                int fd, void (*on_ready)(struct loop_fd *f, int events))
{
    e->ops = ops;
    e->loop = cfg->loop;
    e->batch = cfg->batch;
    e->arg = cfg->arg;
    e->runs = xnew_n(struct io_run, RUNS);
    for (u32 i = 0; i < RUNS; i++) {
        e->runs[i].next = e->free_run;
        e->free_run = &e->runs[i];
    }
    return loop_fd_attach(cfg->loop, &e->ready, fd, UV_READABLE, on_ready, e);
}

void engine_fini(struct engine *e)
{
    free(e->runs);
    e->runs = e->free_run = NULL;
}

void engine_submit(struct engine *e, struct io *io)
{
    must(io->op == IO_READ || io->op == IO_WRITE || !io->may_join);
    io->by = e;
    e->busy++;
    io_add(&e->todo, io);
}

/* ---- runs ---- */

/* Never called: it marks the io of a run. */
static void on_run(struct io *)
{
    must(false);
}

/* Does `next` begin where `io` ends, and may one call do both? */
static bool joins(const struct io *io, const struct io *next)
{
    return next && io->may_join && next->may_join && io->op == next->op &&
           io->flags == next->flags && io->offset + io->len == next->offset &&
           io->len + next->len <= RUN_BYTES && io->n_iov + next->n_iov <= RUN_IOV;
}

static void join(struct io_run *run, struct io *io)
{
    memcpy(run->iov + run->io.n_iov, io->iov, io->n_iov * sizeof(*io->iov));
    run->io.n_iov += io->n_iov;
    run->io.len += io->len;
    io_add(&run->members, io);
}

struct io *engine_take(struct engine *e)
{
    struct io *io = io_take(&e->todo);
    struct io_run *run = e->free_run;

    if (!io || !run || !joins(io, e->todo.first))
        return io;
    e->free_run = run->next;
    run->io = (struct io){ .op = io->op,
                           .flags = io->flags,
                           .offset = io->offset,
                           .may_join = true,
                           .iov = run->iov,
                           .done = on_run,
                           .by = e };
    join(run, io);
    while (joins(&run->io, e->todo.first))
        join(run, io_take(&e->todo));
    return &run->io;
}

static void one_done(struct engine *e, struct io *io, s64 result)
{
    must(e->busy > 0);
    e->busy--;
    io->by = NULL;
    io->result = result;
    io->done(io);
}

static void run_done(struct engine *e, struct io_run *run, s64 result)
{
    struct io_list members = run->members;
    struct io *io;

    run->members = (struct io_list){};
    run->next = e->free_run;
    e->free_run = run;
    while ((io = io_take(&members))) {
        s64 part = min(result, (s64)io->len);

        if (result > 0) {
            result -= part;
            one_done(e, io, part);
        } else {
            io->may_join = false;
            io_add(&e->todo, io);
        }
    }
}

void engine_done(struct engine *e, struct io *io, s64 result)
{
    if (io->done == on_run)
        run_done(e, container_of(io, struct io_run, io), result);
    else
        one_done(e, io, result);
}

void engine_kick(struct engine *e)
{
    e->ops->kick(e);
}

void engine_wait(struct engine *e)
{
    if (e->busy)
        e->ops->wait(e);
}

void engine_close(struct engine *e)
{
    if (!e)
        return;
    must(e->busy == 0);
    loop_fd_detach(e->loop, &e->ready);
    e->ops->close(e);
}
