/*
 * dev/virtio/blk_overlay.c: a virtio disk goes on in an overlay while its guest runs.
 *   (1) All that can fail or takes time is done before the guest stands still, and after it goes on.  While it stands still, the
 *       queues of the overlay take the places of the disk's, with nothing under way in either.
 *   (2) The queues that were in use stay open until the disk below is sealed: a request of the overlay may not wait for them, and
 *       closing them takes time.
 */
#include "dev/virtio/blk_internal.h"
#include "disk/overlay.h"

static void close_next(struct blk *b)
{
    for (u16 i = 0; i < b->n_queues; i++) {
        disk_queue_close(b->queues[i].next);
        b->queues[i].next = NULL;
    }
}

int blk_overlay_prepare(struct device *d, const struct blk_overlay *o, struct err *e)
{
    struct blk *b = blk_of(d);
    const struct overlay_cfg cfg = {
        .fd = o->fd, .lock_fd = o->lock_fd, .cache = b->cache, .name = o->name
    };
    int r;

    must(!b->next && !b->taken);
    if (!b->has_helper) {
        struct overlay_cfg lost = cfg;

        fd_close(&lost.fd);
        fd_close(&lost.lock_fd);
        return err_set(e, -EROFS, "%s is read-only", d->name);
    }
    r = overlay_open(b->disk, &cfg, &b->next, e);
    for (u16 i = 0; i < b->n_queues && r == 0; i++)
        r = blk_queue_open(&b->queues[i], b->next, true, &b->queues[i].next, e);
    if (r < 0)
        blk_overlay_drop(d);
    return r < 0 ? err_wrap(e, "%s", d->name) : 0;
}

/* Its own inverse. */
static void swap(struct blk *b)
{
    for (u16 i = 0; i < b->n_queues; i++) {
        struct blk_queue *q = &b->queues[i];
        struct disk_queue *was = q->disk;

        q->disk = q->next;
        q->next = was;
    }
    b->taken = !b->taken;
}

void blk_overlay_take(struct device *d)
{
    struct blk *b = blk_of(d);

    must(b->next && !b->taken);
    swap(b);
}

void blk_overlay_drop(struct device *d)
{
    struct blk *b = blk_of(d);

    if (b->taken)
        swap(b);
    close_next(b);
    overlay_drop(b->next);
    b->next = NULL;
}

int blk_overlay_seal(struct device *d, struct err *e)
{
    struct blk *b = blk_of(d);

    must(b->taken);
    return overlay_seal(b->next, e);
}

void blk_overlay_done(struct device *d, bool sealed)
{
    struct blk *b = blk_of(d);

    must(b->taken);
    close_next(b);
    b->disk = TAKE(b->next);
    b->taken = false;
    if (sealed)
        overlay_settle(b->disk);
}

const struct disk *blk_disk(struct device *d)
{
    const struct blk *b = blk_of(d);

    return b->taken ? b->next : b->disk;
}
