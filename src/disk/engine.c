/*
 * disk/engine.c: what the engines share.
 */
#include "disk/engine.h"

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

struct attach {
    struct engine *e;
    int fd;
    void (*on_ready)(struct loop_fd *f, int events);
    int r;
};

static void attach(void *arg)
{
    struct attach *a = arg;

    a->r = loop_fd_open(a->e->loop, &a->e->ready, a->fd, UV_READABLE, a->on_ready, a->e);
}

int engine_init(struct engine *e, const struct engine_ops *ops, const struct engine_cfg *cfg,
                int fd, void (*on_ready)(struct loop_fd *f, int events))
{
    struct attach a = { e, fd, on_ready, 0 };

    e->ops = ops;
    e->loop = cfg->loop;
    e->batch = cfg->batch;
    e->arg = cfg->arg;
    loop_call(cfg->loop, attach, &a);
    return a.r;
}

void engine_submit(struct engine *e, struct io *io)
{
    io->by = e;
    e->busy++;
    io_add(&e->todo, io);
}

void engine_done(struct engine *e, struct io *io, s64 result)
{
    must(e->busy > 0);
    e->busy--;
    io->by = NULL;
    io->result = result;
    io->done(io);
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

static void detach(void *arg)
{
    loop_fd_close(arg);
}

void engine_close(struct engine *e)
{
    if (!e)
        return;
    must(e->busy == 0);
    loop_call(e->loop, detach, &e->ready);
    e->ops->close(e);
}
