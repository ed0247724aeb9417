/*
 * disk/workers.c: the engine of threads: each takes one io and makes the plain system call.
 */
#include "disk/engine.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <unistd.h>

struct worker {
    struct loop loop; /* unless it is somebody's helper */
    struct loop *on;  /* NULL: half-built */
    struct loop_fd watch;
    int wake; /* eventfd */
    struct workers *pool;
    bool idle; /* guarded by pool->lock: not woken since it last found nothing to do */
};

struct workers {
    pthread_mutex_t
        lock; /* guards `todo`, `idle` of the workers, and the `finished` lists of the engines */
    pthread_cond_t done; /* some engine's `finished` is not empty */
    struct io_list todo;
    u32 n_workers;
    struct worker workers[POOL_THREADS_MAX];
};

struct pool_engine {
    struct engine e;
    struct workers *pool;
    int file;
    int event;               /* eventfd: `finished` became not empty */
    struct io_list finished; /* guarded by pool->lock */
};

static struct pool_engine *engine_of(struct engine *e)
{
    return container_of(e, struct pool_engine, e);
}

/* The system call itself; -1 and errno, as they do. */
static s64 call(int fd, const struct io *io)
{
    u64 range[2] = { io->offset, io->len };

    switch (io->op) {
    case IO_READ:
        return preadv2(fd, io->iov, (int)io->n_iov, (off_t)io->offset, io->flags);
    case IO_WRITE:
        return pwritev2(fd, io->iov, (int)io->n_iov, (off_t)io->offset, io->flags);
    case IO_SYNC:
        return fdatasync(fd);
    case IO_ALLOC:
        return fallocate(fd, io->flags, (off_t)io->offset, (off_t)io->len);
    case IO_DISCARD:
        return ioctl(fd, BLKDISCARD, range);
    }
    errno = EINVAL;
    return -1;
}

static void perform(struct workers *p, struct io *io)
{
    struct pool_engine *to = engine_of(io->by);
    bool first;

    io->result = call(to->file, io);
    if (io->result < 0)
        io->result = -errno;
    pthread_mutex_lock(&p->lock);
    first = !to->finished.first;
    io_add(&to->finished, io);
    if (first)
        fd_event_signal(to->event); /* under the lock: without it, the engine may be closed */
    pthread_cond_broadcast(&p->done);
    pthread_mutex_unlock(&p->lock);
}

static void on_wake(struct loop_fd *f, int)
{
    struct worker *w = f->arg;
    struct io *io;

    fd_event_take(w->wake);
    do {
        pthread_mutex_lock(&w->pool->lock);
        io = io_take(&w->pool->todo);
        w->idle = !io;
        pthread_mutex_unlock(&w->pool->lock);
        if (io)
            perform(w->pool, io);
    } while (io);
}

struct watch {
    struct worker *w;
    int r;
};

static void watch(void *arg)
{
    struct watch *a = arg;

    a->r = loop_fd_open(a->w->on, &a->w->watch, a->w->wake, UV_READABLE, on_wake, a->w);
}

static void unwatch(void *arg)
{
    loop_fd_close(&((struct worker *)arg)->watch);
}

/* On `helper`, or on a loop of its own, which is not started. */
static int worker_init(struct worker *w, struct workers *p, struct loop *helper)
{
    struct watch a = { .w = w };
    int r = helper ? 0 : loop_init(&w->loop, "disk");

    if (r < 0)
        return r;
    w->on = helper ? helper : &w->loop;
    w->pool = p;
    w->idle = true;
    a.r = w->wake = fd_eventfd();
    if (a.r >= 0)
        loop_call(w->on, watch, &a);
    return a.r;
}

static void worker_fini(struct worker *w)
{
    if (!w->on)
        return;
    loop_call(w->on, unwatch, w);
    if (w->on == &w->loop)
        loop_fini(&w->loop);
    fd_close(&w->wake);
}

static struct workers *workers_empty(void)
{
    struct workers *p = xnew(struct workers);

    pthread_mutex_init(&p->lock, NULL);
    pthread_cond_init(&p->done, NULL);
    return p;
}

int workers_new(u32 n_threads, int (*start)(void *arg, struct loop *l), void *arg,
                struct workers **ret, struct err *e)
{
    struct workers *p = workers_empty();

    must(n_threads > 0 && n_threads <= POOL_THREADS_MAX);
    while (p->n_workers < n_threads) {
        struct worker *w = &p->workers[p->n_workers++];
        int r = worker_init(w, p, NULL);

        if (r >= 0)
            r = start ? start(arg, &w->loop) : loop_start(&w->loop);
        if (r < 0) {
            workers_free(p);
            return err_code(e, r, "start a disk's threads");
        }
    }
    *ret = p;
    return 0;
}

int workers_on(struct loop *helper, struct workers **ret, struct err *e)
{
    struct workers *p = workers_empty();
    int r = worker_init(&p->workers[p->n_workers++], p, helper);

    if (r < 0) {
        workers_free(p);
        return err_code(e, r, "watch a disk's helper");
    }
    *ret = p;
    return 0;
}

void workers_free(struct workers *p)
{
    if (!p)
        return;
    for (u32 i = 0; i < p->n_workers; i++)
        worker_fini(&p->workers[i]);
    pthread_mutex_destroy(&p->lock);
    pthread_cond_destroy(&p->done);
    free(p);
}

static void workers_kick(struct engine *e)
{
    struct workers *p = engine_of(e)->pool;
    struct io *io;
    u32 n = 0;

    if (!e->todo.first)
        return;
    pthread_mutex_lock(&p->lock);
    for (; (io = engine_take(e)); n++)
        io_add(&p->todo, io);
    for (struct worker *w = p->workers; w < p->workers + p->n_workers && n; w++) {
        if (!w->idle)
            continue;
        w->idle = false;
        fd_event_signal(w->wake);
        n--;
    }
    pthread_mutex_unlock(&p->lock);
}

/* Takes the finished ones; `wait`: at least one.  How many. */
static u32 collect(struct pool_engine *pe, bool wait)
{
    struct io_list l;
    struct io *io;
    u32 n = 0;

    pthread_mutex_lock(&pe->pool->lock);
    while (wait && !pe->finished.first)
        pthread_cond_wait(&pe->pool->done, &pe->pool->lock);
    l = pe->finished;
    pe->finished = (struct io_list){};
    fd_event_take(pe->event);
    pthread_mutex_unlock(&pe->pool->lock);
    while ((io = io_take(&l))) {
        engine_done(&pe->e, io, io->result);
        n++;
    }
    workers_kick(&pe->e); /* completions may have submitted more */
    return n;
}

static void workers_wait(struct engine *e)
{
    workers_kick(e);
    collect(engine_of(e), true);
}

static void on_ready(struct loop_fd *f, int)
{
    struct engine *e = f->arg;

    if (collect(engine_of(e), false))
        e->batch(e->arg);
}

static void workers_close(struct engine *e)
{
    struct pool_engine *pe = engine_of(e);

    fd_close(&pe->event);
    engine_fini(e);
    free(pe);
}

static const struct engine_ops pool_ops = { workers_kick, workers_wait, workers_close };

int workers_open(struct workers *p, const struct engine_cfg *cfg, struct engine **ret,
                 struct err *e)
{
    struct pool_engine *pe = xnew(struct pool_engine);
    int r;

    pe->pool = p;
    pe->file = cfg->fd;
    r = pe->event = fd_eventfd();
    if (r >= 0)
        r = engine_init(&pe->e, &pool_ops, cfg, pe->event, on_ready);
    if (r < 0) {
        workers_close(&pe->e);
        return err_code(e, r, "watch a disk's threads");
    }
    *ret = &pe->e;
    return 0;
}
