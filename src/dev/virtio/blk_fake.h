/*
 * dev/virtio/blk_fake.h: a disk in memory, for the test and the fuzz target of the virtio disk.
 * Requests are performed in the order of their submission: at disk_kick, or when `defer` is set by blk_fake_run.
 */
#pragma once

#include "base/base.h"

#include "disk/disk.h"

#include <stdlib.h>

enum { BLK_FAKE_SIZE = 256 * 1024 };

struct blk_fake {
    struct disk disk;
    u8 data[BLK_FAKE_SIZE];
    bool defer;
    int fail; /* a write's result, `fails` times */
    u32 fails;
    u32 done, durable, flushes, unmaps, zeroes;
    struct blk_fake_queue *queues;
};

struct blk_fake_queue {
    struct disk_queue q;
    struct blk_fake *f;
    struct disk_req *first, **end;
    void (*batch)(void *arg);
    void *arg;
    struct blk_fake_queue *next;
};

static inline void blk_fake_copy(struct disk_req *r, u8 *disk)
{
    for (u32 i = 0; i < r->n_iov; i++) {
        if (r->op == DISK_WRITE)
            memcpy(disk, r->iov[i].iov_base, r->iov[i].iov_len);
        else
            memcpy(r->iov[i].iov_base, disk, r->iov[i].iov_len);
        disk += r->iov[i].iov_len;
    }
}

static inline int blk_fake_do(struct blk_fake *f, struct disk_req *r)
{
    f->done++;
    f->durable += r->durable;
    f->flushes += r->op == DISK_FLUSH;
    f->zeroes += r->op == DISK_ZERO;
    f->unmaps += r->op == DISK_ZERO && r->may_unmap;
    if (r->op == DISK_WRITE && f->fails) {
        f->fails--;
        return f->fail;
    }
    if (r->op == DISK_READ || r->op == DISK_WRITE)
        blk_fake_copy(r, f->data + r->offset);
    else if (r->op != DISK_FLUSH)
        memset(f->data + r->offset, 0, r->len);
    return 0;
}

static inline bool blk_fake_perform(struct blk_fake_queue *q)
{
    bool any = q->first;

    while (q->first) {
        struct disk_req *r = q->first;

        q->first = r->next;
        if (!q->first)
            q->end = &q->first;
        disk_req_finish(r, blk_fake_do(q->f, r));
    }
    return any;
}

/* As if the loop had told of completions. */
static inline void blk_fake_run(struct blk_fake *f)
{
    for (struct blk_fake_queue *q = f->queues; q; q = q->next)
        if (blk_fake_perform(q))
            q->batch(q->arg);
}

static inline int blk_fake_queue_open(struct disk *d, const struct disk_queue_cfg *cfg,
                                      struct disk_queue **ret, struct err *)
{
    struct blk_fake_queue *q = xnew(struct blk_fake_queue);

    q->f = container_of(d, struct blk_fake, disk);
    q->q.disk = d;
    q->end = &q->first;
    q->batch = cfg->batch;
    q->arg = cfg->arg;
    q->next = q->f->queues;
    q->f->queues = q;
    *ret = &q->q;
    return 0;
}

static inline void blk_fake_queue_close(struct disk_queue *dq)
{
    struct blk_fake_queue *q = container_of(dq, struct blk_fake_queue, q);
    struct blk_fake_queue **p = &q->f->queues;

    while (*p != q)
        p = &(*p)->next;
    *p = q->next;
    free(q);
}

static inline void blk_fake_submit(struct disk_queue *dq, struct disk_req *r)
{
    struct blk_fake_queue *q = container_of(dq, struct blk_fake_queue, q);

    r->next = NULL;
    *q->end = r;
    q->end = &r->next;
}

static inline void blk_fake_kick(struct disk_queue *dq)
{
    struct blk_fake_queue *q = container_of(dq, struct blk_fake_queue, q);

    if (!q->f->defer)
        blk_fake_perform(q);
}

static inline void blk_fake_wait(struct disk_queue *dq)
{
    blk_fake_perform(container_of(dq, struct blk_fake_queue, q));
}

static const struct disk_ops blk_fake_ops = {
    .format = "fake",
    .queue_open = blk_fake_queue_open,
    .queue_close = blk_fake_queue_close,
    .submit = blk_fake_submit,
    .kick = blk_fake_kick,
    .wait = blk_fake_wait,
};

static inline void blk_fake_init(struct blk_fake *f, bool readonly)
{
    *f = (struct blk_fake){ .disk = { .ops = &blk_fake_ops,
                                      .size = BLK_FAKE_SIZE,
                                      .readonly = readonly,
                                      .block = 4096,
                                      .discard = readonly ? 0 : 4096,
                                      .name = "fake" } };
}
