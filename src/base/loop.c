/*
 * base/loop.c: a libuv loop that a thread of ours runs, and work handed to it from other threads.
 */
#include "base/loop.h"

#include <stdlib.h>

struct loop_call {
    void (*fn)(void *arg);
    void *arg;
    bool done;
    struct loop_call *next;
};

static void on_wake(uv_async_t *a)
{
    struct loop *l = container_of(a, struct loop, wake);

    pthread_mutex_lock(&l->lock);
    while (l->calls) {
        struct loop_call *c = l->calls;

        l->calls = c->next;
        pthread_mutex_unlock(&l->lock);
        c->fn(c->arg);
        pthread_mutex_lock(&l->lock);
        c->done = true;
        pthread_cond_broadcast(&l->done);
    }
    if (l->stop)
        uv_stop(&l->uv);
    pthread_mutex_unlock(&l->lock);
}

int loop_init(struct loop *l, const char *name)
{
    pthread_mutexattr_t recursive;
    int r;

    *l = (struct loop){ .name = name };
    r = uv_loop_init(&l->uv);
    if (r < 0)
        return r;
    r = uv_async_init(&l->uv, &l->wake, on_wake);
    if (r < 0) {
        uv_loop_close(&l->uv);
        return r;
    }
    pthread_mutexattr_init(&recursive);
    pthread_mutexattr_settype(&recursive, PTHREAD_MUTEX_RECURSIVE);
    pthread_mutex_init(&l->held, &recursive);
    pthread_mutexattr_destroy(&recursive);
    pthread_mutex_init(&l->lock, NULL);
    pthread_cond_init(&l->done, NULL);
    atomic_init(&l->closed, true);
    return 0;
}

void loop_run(struct loop *l)
{
    bool stop;

    pthread_mutex_lock(&l->lock);
    l->runner = pthread_self();
    atomic_store(&l->closed, false);
    pthread_mutex_unlock(&l->lock);
    do {
        uv_run(&l->uv, UV_RUN_DEFAULT);
        pthread_mutex_lock(&l->lock);
        stop = l->stop;
        pthread_mutex_unlock(&l->lock);
    } while (!stop);
    loop_hold(l);
    pthread_mutex_lock(&l->lock);
    atomic_store(&l->closed, true);
    pthread_mutex_unlock(&l->lock);
    on_wake(&l->wake); /* whoever asked while we were leaving is still answered */
    loop_release(l);
}

void loop_hold(struct loop *l)
{
    pthread_mutex_lock(&l->held);
}

void loop_release(struct loop *l)
{
    pthread_mutex_unlock(&l->held);
}

static void *loop_main(void *arg)
{
    struct loop *l = arg;
    char name[16];

    str_fmt(name, sizeof(name), "%.15s", l->name);
    pthread_setname_np(pthread_self(), name);
    if (l->on_start)
        l->on_start(l->on_start_arg);
    loop_run(l);
    return NULL;
}

int loop_start(struct loop *l)
{
    pthread_t thread;
    int r;

    must(!l->started);
    l->stop = false;
    atomic_store(&l->closed, false);
    r = pthread_create(&thread, NULL, loop_main, l);
    if (r) {
        atomic_store(&l->closed, true);
        return -r;
    }
    l->handle = thread;
    l->started = true;
    return 0;
}

void loop_stop(struct loop *l)
{
    pthread_mutex_lock(&l->lock);
    l->stop = true;
    pthread_mutex_unlock(&l->lock);
    uv_async_send(&l->wake);
}

void loop_join(struct loop *l)
{
    if (!l->started)
        return;
    loop_stop(l);
    pthread_join(l->handle, NULL);
    l->started = false;
}

static void on_poll_closed(uv_handle_t *h)
{
    free(h);
}

static void close_handle(uv_handle_t *h, void *arg [[maybe_unused]])
{
    if (!uv_is_closing(h))
        uv_close(h, h->type == UV_POLL ? on_poll_closed : NULL);
}

void loop_fini(struct loop *l)
{
    if (!l->name)
        return;
    loop_join(l);
    uv_walk(&l->uv, close_handle, NULL);
    while (uv_loop_close(&l->uv) == UV_EBUSY) /* each round runs close callbacks */
        uv_run(&l->uv, UV_RUN_NOWAIT);
    pthread_mutex_destroy(&l->held);
    pthread_mutex_destroy(&l->lock);
    pthread_cond_destroy(&l->done);
    *l = (struct loop){};
}

void loop_call(struct loop *l, void (*fn)(void *arg), void *arg)
{
    struct loop_call c = { .fn = fn, .arg = arg };
    bool closed;

    pthread_mutex_lock(&l->lock);
    closed = atomic_load(&l->closed);
    if (closed || pthread_equal(l->runner, pthread_self())) {
        pthread_mutex_unlock(&l->lock);
        if (closed)
            loop_hold(l);
        fn(arg);
        if (closed)
            loop_release(l);
        return;
    }
    c.next = l->calls;
    l->calls = &c;
    uv_async_send(&l->wake);
    while (!c.done)
        pthread_cond_wait(&l->done, &l->lock);
    pthread_mutex_unlock(&l->lock);
}

static void on_poll(uv_poll_t *p, int status, int events)
{
    struct loop_fd *f = p->data;

    f->on_ready(f, status < 0 ? UV_READABLE | UV_WRITABLE
                              : events); /* the read or write then tells the error */
}

int loop_fd_open(struct loop *l, struct loop_fd *f, int fd, int events,
                 void (*on_ready)(struct loop_fd *, int), void *arg)
{
    uv_poll_t *poll = xnew(uv_poll_t);
    int r = uv_poll_init(&l->uv, poll, fd);

    if (r < 0) {
        free(poll);
        return r;
    }
    poll->data = f;
    *f = (struct loop_fd){ .poll = poll, .on_ready = on_ready, .arg = arg };
    loop_fd_events(f, events);
    return 0;
}

void loop_fd_events(struct loop_fd *f, int events)
{
    must(f->poll);
    if (events)
        uv_poll_start(f->poll, events, on_poll);
    else
        uv_poll_stop(f->poll);
}

void loop_fd_close(struct loop_fd *f)
{
    if (!f->poll)
        return;
    uv_poll_stop(f->poll);
    uv_close((uv_handle_t *)f->poll, on_poll_closed);
    f->poll = NULL;
}

struct attach {
    struct loop *loop;
    struct loop_fd *f;
    int fd, events, r;
    void (*on_ready)(struct loop_fd *f, int events);
    void *arg;
};

static void attach(void *arg)
{
    struct attach *a = arg;

    a->r = loop_fd_open(a->loop, a->f, a->fd, a->events, a->on_ready, a->arg);
}

int loop_fd_attach(struct loop *l, struct loop_fd *f, int fd, int events,
                   void (*on_ready)(struct loop_fd *, int), void *arg)
{
    struct attach a = { l, f, fd, events, 0, on_ready, arg };

    loop_call(l, attach, &a);
    return a.r;
}

static void detach(void *arg)
{
    loop_fd_close(arg);
}

void loop_fd_detach(struct loop *l, struct loop_fd *f)
{
    loop_call(l, detach, f);
}
