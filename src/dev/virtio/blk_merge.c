/*
 * dev/virtio/blk_merge.c: an image below a virtio disk is merged into what builds on it, while its guest runs.
 *   (1) As with overlays, what can fail or takes time is done while the guest runs; while it stands still, queues on the shorter chain take
 *       the places of the disk's.  They can only be opened then: a queue leads to the chain that was there when it was opened.
 */
#include "dev/virtio/blk_internal.h"
#include "disk/shorten.h"

#include <stdlib.h>

struct blk_merge {
    struct shorten chain;
    struct shorten_fill fill;
};

enum { FILL_QUEUE_DEPTH = 16 };

static void no_batch(void *)
{
}

/* The filling thread's own queue. */
static int open_fill(struct blk *b, struct loop *loop, struct err *e)
{
    const struct disk_queue_cfg cfg = { .loop = loop,
                                        .depth = FILL_QUEUE_DEPTH,
                                        .batch = no_batch,
                                        .helper = &b->helper,
                                        .no_threads = true };

    return disk_queue_open(b->disk, &cfg, &b->merge->fill.q, e);
}

int blk_merge_open(struct device *d, u64 inode, struct loop *loop, struct err *e)
{
    struct blk *b = blk_of(d);
    struct overlay_file out;
    int r;

    must(!b->next && !b->merge);
    if (!b->has_helper || overlay_file(b->disk, &out) < 0)
        return err_set(e, -EROFS, "%s is read-only", d->name);
    out.ino = inode; /* all images of a tree are in one folder */
    b->merge = xnew(struct blk_merge);
    r = shorten_open(&b->merge->chain, b->disk, &out, e);
    if (r == 0 && shorten_fills(&b->merge->chain))
        r = open_fill(b, loop, e);
    if (r < 0)
        blk_merge_close(d);
    return r < 0 ? err_wrap(e, "%s", d->name) : 0;
}

int blk_merge_fill(struct device *d, struct err *e)
{
    struct blk_merge *m = blk_of(d)->merge;

    return m->fill.q ? shorten_fill(&m->chain, &m->fill, e) : 0;
}

void blk_merge_cancel(struct device *d)
{
    struct blk *b = blk_of(d);

    if (b->merge)
        atomic_store(&b->merge->fill.cancel, true);
}

u64 blk_merge_done(struct device *d)
{
    struct blk *b = blk_of(d);

    return b->merge ? atomic_load_explicit(&b->merge->fill.done, memory_order_relaxed) : 0;
}

static void swap_queues(struct blk *b)
{
    for (u16 i = 0; i < b->n_queues; i++) {
        struct blk_queue *q = &b->queues[i];
        struct disk_queue *was = q->disk;

        q->disk = q->next;
        q->next = was;
    }
}

static void close_next(struct blk *b)
{
    for (u16 i = 0; i < b->n_queues; i++) {
        disk_queue_close(b->queues[i].next);
        b->queues[i].next = NULL;
    }
}

int blk_merge_cut(struct device *d, struct err *e)
{
    struct blk *b = blk_of(d);
    struct shorten *c = &b->merge->chain;
    int r = 0;

    shorten_cut(c);
    for (u16 i = 0; i < b->n_queues && r == 0; i++)
        r = blk_queue_open(&b->queues[i], b->disk, true, &b->queues[i].next, e);
    if (r == 0)
        r = shorten_keep(c, e);
    if (r == 0) {
        swap_queues(b);
        return 0;
    }
    close_next(b);
    shorten_mend(c);
    return err_wrap(e, "%s", d->name);
}

void blk_merge_close(struct device *d)
{
    struct blk *b = blk_of(d);
    struct blk_merge *m = b->merge;

    if (!m)
        return;
    disk_queue_close(m->fill.q);
    close_next(b);
    shorten_close(&m->chain);
    free(m);
    b->merge = NULL;
}
