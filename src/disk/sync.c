/*
 * disk/sync.c: requests that are done when the call returns, for jobs.
 */
#include "disk/disk.h"

#include <stdlib.h>

enum { SYNC_DEPTH = 64 };

struct disk_sync {
    struct loop loop; /* never runs: completions are taken by waiting */
    struct disk_queue *q;
};

struct one {
    struct disk_req r;
    struct iovec iov;
    bool done;
};

static void no_batch(void *)
{
}

int disk_sync_open(struct disk *d, struct disk_sync **ret, struct err *e)
{
    struct disk_sync *s = xnew(struct disk_sync);
    int r = loop_init(&s->loop, "disk");

    if (r < 0) {
        free(s);
        return err_code(e, r, "a loop for disk '%s'", d->name);
    }
    r = disk_queue_open(
        d, &(struct disk_queue_cfg){ .loop = &s->loop, .depth = SYNC_DEPTH, .batch = no_batch },
        &s->q, e);
    if (r < 0) {
        disk_sync_close(s);
        return r;
    }
    *ret = s;
    return 0;
}

void disk_sync_close(struct disk_sync *s)
{
    if (!s)
        return;
    disk_queue_close(s->q);
    loop_fini(&s->loop);
    free(s);
}

struct disk_queue *disk_sync_queue(struct disk_sync *s)
{
    return s->q;
}

static void on_done(struct disk_req *r)
{
    container_of(r, struct one, r)->done = true;
}

static int run(struct disk_sync *s, struct one *o)
{
    o->r.done = on_done;
    disk_submit(s->q, &o->r);
    while (!o->done)
        disk_wait(s->q);
    return o->r.result;
}

static int transfer(struct disk_sync *s, enum disk_op op, void *buf, u64 len, u64 offset)
{
    struct one o = { .r = { .op = op, .offset = offset, .len = len }, .iov = { buf, len } };

    o.r.iov = &o.iov;
    o.r.n_iov = 1;
    return run(s, &o);
}

int disk_pread(struct disk_sync *s, void *buf, u64 len, u64 offset)
{
    return transfer(s, DISK_READ, buf, len, offset);
}

int disk_pwrite(struct disk_sync *s, const void *buf, u64 len, u64 offset)
{
    /* struct iovec has no const; a write does not change what it points to */
    return transfer(s, DISK_WRITE, (void *)(uintptr_t)buf, len, offset);
}

int disk_zero(struct disk_sync *s, u64 len, u64 offset, bool may_unmap)
{
    struct one o = { .r = {
                         .op = DISK_ZERO, .offset = offset, .len = len, .may_unmap = may_unmap } };

    return run(s, &o);
}

int disk_discard(struct disk_sync *s, u64 len, u64 offset)
{
    struct one o = { .r = { .op = DISK_DISCARD, .offset = offset, .len = len } };

    return run(s, &o);
}

int disk_flush(struct disk_sync *s)
{
    struct one o = { .r = { .op = DISK_FLUSH } };

    return run(s, &o);
}
