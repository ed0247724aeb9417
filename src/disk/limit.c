/*
 * disk/limit.c: queues of a disk that take their time.
 *
 *     submit ─> held ── kick, or the timer, and the buckets allow it ──> a request of the queue below ──> on_done ──> finish
 *                 └─ wait: at once ──────────────────────────────────────┘
 *
 *   (1) The buckets are shared by the queues, under `lock`; all else of a queue belongs to its loop.
 *   (2) A held request is submitted below when both buckets have something, and then takes its bytes and itself out of them.
 *   (3) Reads and writes cost their bytes.  Zeroes and discards, which mostly move none, and flushes cost a request only.
 */
#include "disk/limit.h"

#include "base/clock.h"
#include "disk/req_list.h"

#include <stdlib.h>
#include <sys/timerfd.h>

enum { BYTES, REQUESTS, N_BUCKETS };

struct disk_limits {
    pthread_mutex_t lock;
    struct bucket buckets[N_BUCKETS];
};

/* A request below, for one of ours. */
struct pass {
    struct disk_req r;
    struct disk_req *parent;
    struct limit_queue *q;
    struct pass *next; /* free */
};

struct limit_queue {
    struct disk_queue q;
    struct disk disk; /* what q.disk is: the disk below, as this queue has it */
    struct disk_queue *below;
    struct disk_limits *limits;
    struct loop *loop;
    void (*batch)(void *arg);
    void *arg;
    struct req_list held;
    struct pass *passes, *free;
    int timer; /* timerfd: the first of `held` may go */
    struct loop_fd on_timer;
};

static struct limit_queue *queue_of(struct disk_queue *q)
{
    return container_of(q, struct limit_queue, q);
}

/* ---- buckets ---- */

u64 bucket_wait_ns(const struct bucket *b, u64 now_ns)
{
    u64 from = now_ns + b->burst_ns; /* full by then: there is something in it now */

    return b->rate && b->full_ns > from ? b->full_ns - from : 0;
}

void bucket_take(struct bucket *b, u64 now_ns, u64 cost)
{
    unsigned __int128 ns = b->rate ? (unsigned __int128)cost * NSEC_PER_SEC / b->rate : 0;

    b->full_ns = max(b->full_ns, now_ns) + (u64)min(ns, (unsigned __int128)INT64_MAX / 2);
}

/* How long until the request may go.  0: it does, and has paid.  `now`: it goes in any case. */
static u64 pay(struct disk_limits *l, const struct disk_req *r, bool now)
{
    const u64 cost[N_BUCKETS] = {
        [BYTES] = r->op == DISK_READ || r->op == DISK_WRITE ? r->len : 0,
        [REQUESTS] = 1,
    };
    u64 ns = clock_mono_ns(), wait = 0;

    pthread_mutex_lock(&l->lock);
    for (u32 i = 0; i < N_BUCKETS; i++)
        if (cost[i])
            wait = max(wait, bucket_wait_ns(&l->buckets[i], ns));
    if (now)
        wait = 0;
    for (u32 i = 0; i < N_BUCKETS && wait == 0; i++)
        bucket_take(&l->buckets[i], ns, cost[i]);
    pthread_mutex_unlock(&l->lock);
    return wait;
}

/* ---- requests ---- */

/* How far it came is the parent's, which may be submitted again. */
static void on_done(struct disk_req *r)
{
    struct pass *p = container_of(r, struct pass, r);
    struct limit_queue *q = p->q;
    struct disk_req *parent = p->parent;
    int result = r->result;

    parent->offset = r->offset;
    parent->len = r->len;
    parent->iov = r->iov;
    parent->n_iov = r->n_iov;
    p->next = q->free;
    q->free = p;
    disk_req_finish(parent, result);
}

static void pass_on(struct limit_queue *q, struct disk_req *parent)
{
    struct pass *p = q->free;

    q->free = p->next;
    p->parent = parent;
    p->r = (struct disk_req){ .op = parent->op,
                              .durable = parent->durable,
                              .may_unmap = parent->may_unmap,
                              .offset = parent->offset,
                              .len = parent->len,
                              .iov = parent->iov,
                              .n_iov = parent->n_iov,
                              .done = on_done };
    disk_submit(q->below, &p->r);
}

/* Lets go who may; `all`: who is held.  How long until the next may, 0: nobody waits for time. */
static u64 release(struct limit_queue *q, bool all)
{
    struct disk_req *r;

    while (q->free && (r = q->held.first)) {
        u64 wait = pay(q->limits, r, all);

        if (wait)
            return wait;
        req_list_take(&q->held);
        pass_on(q, r);
    }
    return 0;
}

static void set_timer(struct limit_queue *q, u64 ns)
{
    const struct itimerspec t = { .it_value = { .tv_sec = (time_t)(ns / NSEC_PER_SEC),
                                                .tv_nsec = (long)(ns % NSEC_PER_SEC) } };

    timerfd_settime(q->timer, 0, &t, NULL);
}

static void limit_submit(struct disk_queue *dq, struct disk_req *r)
{
    req_list_add(&queue_of(dq)->held, r);
}

static void limit_kick(struct disk_queue *dq)
{
    struct limit_queue *q = queue_of(dq);
    u64 wait;

    do { /* what is done at once gives its pass to the next, and may submit more */
        wait = release(q, false);
        disk_kick(q->below);
    } while (!wait && q->held.first && q->free);
    if (wait)
        set_timer(q, wait);
}

static void limit_wait(struct disk_queue *dq)
{
    struct limit_queue *q = queue_of(dq);

    release(q, true);
    disk_wait(q->below);
}

static void on_batch(void *arg)
{
    struct limit_queue *q = arg;

    limit_kick(&q->q);
    q->batch(q->arg);
}

static void on_timer(struct loop_fd *f, int)
{
    struct limit_queue *q = f->arg;

    fd_event_take(q->timer);
    on_batch(q);
}

/* ---- queues ---- */

static void limit_queue_close(struct disk_queue *dq)
{
    struct limit_queue *q = queue_of(dq);

    disk_queue_close(q->below);
    loop_fd_detach(q->loop, &q->on_timer);
    fd_close(&q->timer);
    free(q->passes);
    free(q);
}

static const struct disk_ops limit_ops = {
    .format = "limit",
    .queue_close = limit_queue_close,
    .submit = limit_submit,
    .kick = limit_kick,
    .wait = limit_wait,
};

static struct limit_queue *queue_new(struct disk_limits *l, const struct disk *d,
                                     const struct disk_queue_cfg *cfg)
{
    struct limit_queue *q = xnew(struct limit_queue);

    q->disk = *d;
    q->disk.ops = &limit_ops;
    q->q.disk = &q->disk;
    q->limits = l;
    q->loop = cfg->loop;
    q->batch = cfg->batch;
    q->arg = cfg->arg;
    q->passes = xnew_n(struct pass, cfg->depth);
    for (u32 i = 0; i < cfg->depth; i++) {
        q->passes[i].q = q;
        q->passes[i].next = q->free;
        q->free = &q->passes[i];
    }
    q->timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    return q;
}

int disk_limits_queue_open(struct disk_limits *l, struct disk *d, const struct disk_queue_cfg *cfg,
                           struct disk_queue **ret, struct err *e)
{
    struct disk_queue_cfg below = *cfg;
    struct limit_queue *q;
    int r;

    if (!l)
        return disk_queue_open(d, cfg, ret, e);
    q = queue_new(l, d, cfg);
    r = q->timer < 0 ? -errno
                     : loop_fd_attach(cfg->loop, &q->on_timer, q->timer, UV_READABLE, on_timer, q);
    below.batch = on_batch;
    below.arg = q;
    r = r < 0 ? err_code(e, r, "a timer for disk '%s'", d->name)
              : disk_queue_open(d, &below, &q->below, e);
    if (r < 0) {
        limit_queue_close(&q->q);
        return r;
    }
    *ret = &q->q;
    return 0;
}

/* ---- limits ---- */

struct disk_limits *disk_limits_new(const struct disk_limit *limit)
{
    const u64 rates[N_BUCKETS] = { [BYTES] = limit->bandwidth, [REQUESTS] = limit->iops };
    struct disk_limits *l;

    if (!limit->bandwidth && !limit->iops)
        return NULL;
    l = xnew(struct disk_limits);
    pthread_mutex_init(&l->lock, NULL);
    for (u32 i = 0; i < N_BUCKETS; i++)
        l->buckets[i] =
            (struct bucket){ .rate = rates[i], .burst_ns = limit->burst_ms * NSEC_PER_MSEC };
    return l;
}

void disk_limits_free(struct disk_limits *l)
{
    if (l)
        pthread_mutex_destroy(&l->lock);
    free(l);
}
