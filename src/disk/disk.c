/*
 * disk/disk.c: what all formats share: opening by format, checks of requests, their progress.
 */
#include "disk/disk.h"

#include "disk/raw.h"

#include <limits.h>

const char *const disk_cache_words[] = { "writeback", "direct", "unsafe", NULL };

int disk_open(const struct disk_cfg *cfg, struct disk **ret, struct err *e)
{
    return raw_open(cfg, ret, e);
}

void disk_close(struct disk *d)
{
    if (d)
        d->ops->close(d);
}

int disk_queue_open(struct disk *d, const struct disk_queue_cfg *cfg, struct disk_queue **ret,
                    struct err *e)
{
    must(cfg->depth > 0 && cfg->depth <= DISK_DEPTH_MAX);
    return d->ops->queue_open(d, cfg, ret, e);
}

void disk_queue_close(struct disk_queue *q)
{
    if (!q)
        return;
    must(q->busy == 0);
    q->disk->ops->queue_close(q);
}

static void check(const struct disk *d, const struct disk_req *r)
{
    bool changes = r->op == DISK_WRITE || r->op == DISK_DISCARD || r->op == DISK_ZERO;
    u64 sum = 0;

    must(!(changes && d->readonly));
    if (r->op == DISK_FLUSH)
        return;
    must(is_aligned(r->offset | r->len, DISK_SECTOR) && range_ok(r->offset, r->len, d->size));
    if (r->op != DISK_READ && r->op != DISK_WRITE)
        return;
    must(r->n_iov <= IOV_MAX);
    for (u32 i = 0; i < r->n_iov; i++)
        sum += r->iov[i].iov_len;
    must(sum == r->len);
}

void disk_submit(struct disk_queue *q, struct disk_req *r)
{
    check(q->disk, r);
    r->queue = q;
    q->busy++;
    q->disk->ops->submit(q, r);
}

void disk_kick(struct disk_queue *q)
{
    q->disk->ops->kick(q);
}

void disk_drain(struct disk_queue *q)
{
    disk_kick(q);
    while (q->busy)
        q->disk->ops->wait(q);
}

void disk_req_advance(struct disk_req *r, u64 n)
{
    must(n <= r->len);
    r->offset += n;
    r->len -= n;
    while (n && r->n_iov) {
        u64 part = min(n, (u64)r->iov->iov_len);

        r->iov->iov_base = (u8 *)r->iov->iov_base + part;
        r->iov->iov_len -= part;
        n -= part;
        if (r->iov->iov_len == 0) {
            r->iov++;
            r->n_iov--;
        }
    }
}

void disk_req_finish(struct disk_req *r, int result)
{
    must(r->queue->busy > 0);
    r->queue->busy--;
    r->result = result;
    r->done(r);
}
