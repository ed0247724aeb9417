/*
 * disk/disk.c: what all formats share: checks of requests, their progress, maps.
 */
#include "disk/disk.h"

#include <limits.h>

/* Where the offsets of a store end; off_t has 63 bits. */
#define STORE_END (1ull << 62)

const char *const disk_cache_words[] = { "writeback", "direct", "unsafe", NULL };

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
    bool changes = r->op != DISK_READ && r->op != DISK_FLUSH;
    u64 sum = 0;

    must(!(changes && d->readonly));
    if (r->op == DISK_FLUSH)
        return;
    must(is_aligned(r->offset | r->len, DISK_SECTOR) &&
         range_ok(r->offset, r->len, d->store ? STORE_END : d->size));
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

void disk_wait(struct disk_queue *q)
{
    disk_kick(q);
    if (q->busy)
        q->disk->ops->wait(q);
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

void disk_req_clear(struct disk_req *r, u64 n)
{
    must(n <= r->len);
    while (n) {
        u64 part = min(n, (u64)r->iov->iov_len);

        memset(r->iov->iov_base, 0, part);
        disk_req_advance(r, part);
        n -= part;
    }
}

int disk_map(struct disk *d, u64 offset, u64 len, struct disk_extent *ret, struct err *e)
{
    struct disk_extent x = {};
    int r;

    must(len > 0 && range_ok(offset, len, d->size));
    r = d->ops->map(d, offset, len, &x, e);
    if (r < 0)
        return r;
    must(x.len > 0 && x.len <= len);
    *ret = x;
    return 0;
}

int disk_map_deep(struct disk *d, u64 offset, u64 len, struct disk_extent *ret, struct err *e)
{
    for (;;) {
        int r = disk_map(d, offset, len, ret, e);

        if (r < 0 || ret->kind != DISK_MAP_ABSENT)
            return r;
        len = ret->len;
        d = d->backing;
        if (!d || offset >= d->size) {
            *ret = (struct disk_extent){ .kind = DISK_MAP_ZERO, .len = len };
            return 0;
        }
        len = min(len, d->size - offset);
    }
}

int disk_resize(struct disk *d, u64 size, struct err *e)
{
    if (d->readonly)
        return err_set(e, -EROFS, "disk '%s' was opened for reading only", d->name);
    if (!d->ops->resize)
        return err_set(e, -ENOTSUP, "disk '%s': images of format %s cannot be resized", d->name,
                       d->ops->format);
    if (!d->store && (size == 0 || size % DISK_SECTOR || size > STORE_END))
        return err_set(e, -EINVAL, "disk '%s': the size is %llu; multiples of %u are allowed",
                       d->name, size, DISK_SECTOR);
    return d->ops->resize(d, size, e);
}

void disk_req_finish(struct disk_req *r, int result)
{
    must(r->queue->busy > 0);
    r->queue->busy--;
    r->result = result;
    r->done(r);
}
