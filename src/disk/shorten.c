/*
 * disk/shorten.c: an image leaves the chain below a disk that is in use.
 */
#include "disk/shorten.h"

#include "disk/format.h"
#include "disk/qcow2.h"
#include "disk/raw.h"

#include <fcntl.h>
#include <stdlib.h>

enum { FILL_DEPTH = 8, FILL_BYTES = 1024 * 1024 };

/* ---- what the head reads out of `out` becomes its own ---- */

struct slot {
    struct disk_req r;
    int *result; /* of the first that failed */
};

struct fill {
    const struct shorten *c;
    struct disk_queue *q;
    struct slot slots[FILL_DEPTH], *free[FILL_DEPTH];
    u32 n_free;
    int result;
};

static void on_done(struct disk_req *r)
{
    struct slot *s = container_of(r, struct slot, r);
    struct fill *f = container_of(s->result, struct fill, result);

    if (r->result < 0 && f->result == 0)
        f->result = r->result;
    f->free[f->n_free++] = s;
}

/*
 * How many bytes at `at` have one answer: are they to be filled, and are they zeroes?  What nothing is below of reads as zeroes afterwards,
 * too.
 */
static int look(const struct shorten *c, u64 at, struct disk_extent *x, bool *wanted, struct err *e)
{
    const struct disk *out = c->out, *below = out->backing;
    u64 below_end = below ? below->size : 0;
    int r = disk_map(c->head, at, c->head->size - at, x, e);

    *wanted = r == 0 && x->kind == DISK_MAP_ABSENT;
    if (!*wanted)
        return r;
    if (at >= out->size)
        x->kind = DISK_MAP_ZERO;
    else
        r = disk_map(c->out, at, min(x->len, out->size - at), x, e);
    if (x->kind == DISK_MAP_ABSENT || (x->kind == DISK_MAP_ZERO && at >= below_end))
        *wanted = false;
    return r;
}

static void fill_range(struct fill *f, u64 at, u64 len, bool zero)
{
    for (u64 part; len && f->result == 0; at += part, len -= part) {
        struct slot *s;

        while (!f->n_free)
            disk_wait(f->q);
        part = min(len, (u64)FILL_BYTES);
        s = f->free[--f->n_free];
        s->result = &f->result;
        s->r = (struct disk_req){
            .op = DISK_FILL, .may_unmap = zero, .offset = at, .len = part, .done = on_done
        };
        disk_submit(f->q, &s->r);
        disk_kick(f->q);
    }
}

int shorten_fill(const struct shorten *c, struct shorten_fill *cf, struct err *e)
{
    AUTO(free) struct fill *f = xnew(struct fill);
    int r = 0;

    f->c = c;
    f->q = cf->q;
    for (u32 i = 0; i < FILL_DEPTH; i++)
        f->free[f->n_free++] = &f->slots[i];
    for (u64 at = 0; at < c->head->size && r == 0 && f->result == 0;) {
        struct disk_extent x;
        bool wanted = false;

        if (atomic_load_explicit(&cf->cancel, memory_order_relaxed))
            r = err_set(e, -ECANCELED, "cancelled");
        else
            r = look(c, at, &x, &wanted, e);
        if (r < 0)
            break;
        x.len = min(x.len, 64 * MiB); /* how late a cancel may be */
        if (wanted)
            fill_range(f, at, x.len, x.kind == DISK_MAP_ZERO);
        at += x.len;
        atomic_store_explicit(&cf->done, at, memory_order_relaxed);
    }
    disk_drain(f->q);
    if (r == 0 && f->result < 0)
        r = err_code(e, f->result, "fill disk '%s'", c->head->name);
    return r;
}

/* ---- the chain ---- */

static bool is_file(const struct disk *d, const struct overlay_file *want)
{
    struct overlay_file f;

    return overlay_file(d, &f) == 0 && f.dev == want->dev && f.ino == want->ino;
}

/* Its tables are of before it was filled. */
static int open_anew(struct shorten *c, struct err *e)
{
    const struct disk_cfg cfg = {
        .file = c->above->name,
        .fd = fcntl(raw_fd(overlay_raw(c->above)), F_DUPFD_CLOEXEC, 0),
        .readonly = true,
        .format = "qcow2",
        .no_backing = true,
        .share = true, /* it takes the lock over */
    };
    int r;

    if (cfg.fd < 0)
        return err_errno(e, "disk '%s'", c->above->name);
    r = disk_open(&cfg, &c->anew, e);
    if (r == 0 && c->anew->size != c->above->size)
        r = err_set(e, -ESTALE, "disk '%s' has %llu bytes now, and had %llu", c->above->name,
                    c->anew->size, c->above->size);
    return r;
}

/* What `out` builds on, by a name that is right in the head, too; NULL: nothing. */
static int name_below(const struct shorten *c, struct qcow2_info *ret, struct err *e)
{
    struct qcow2_info head;

    *ret = (struct qcow2_info){};
    if (!disk_is_qcow2(c->out))
        return 0;
    qcow2_info(c->out, ret);
    qcow2_info(c->head, &head);
    if (!ret->backing || ret->backing[0] == '/' || !head.backing || !strchr(head.backing, '/'))
        return 0;
    return err_set(e, -EOPNOTSUPP, "disk '%s' builds on '%s', which is in another folder",
                   c->head->name, head.backing);
}

int shorten_open(struct shorten *c, struct disk *head, const struct overlay_file *out,
                 struct err *e)
{
    struct qcow2_info info;

    *c = (struct shorten){ .head = head, .above = head };
    while (c->above->backing && !is_file(c->above->backing, out)) {
        c->parent = c->above;
        c->above = c->above->backing;
    }
    c->out = c->above->backing;
    if (!c->out)
        return err_set(e, -ENOENT, "disk '%s' does not build on that image", head->name);
    qcow2_info(c->above, &info); /* only qcow2 builds on anything */
    if (info.data_file)
        return err_set(e, -EOPNOTSUPP, "disk '%s' keeps its data in a file of its own",
                       c->above->name);
    return c->above == head ? name_below(c, &info, e) : open_anew(c, e);
}

void shorten_cut(struct shorten *c)
{
    struct disk *above = c->anew ? c->anew : c->head;

    above->backing = c->out->backing;
    c->out->backing = NULL;
    if (c->anew)
        c->parent->backing = c->anew;
    c->cut = true;
}

void shorten_mend(struct shorten *c)
{
    struct disk *above = c->anew ? c->anew : c->head;

    c->out->backing = above->backing;
    above->backing = c->anew ? NULL : c->out;
    if (c->anew)
        c->parent->backing = c->above;
    c->cut = false;
}

int shorten_keep(struct shorten *c, struct err *e)
{
    struct qcow2_info info;
    int r;

    must(c->cut);
    if (c->anew) {
        raw_locked_by(overlay_raw(c->anew), raw_lock_take(overlay_raw(c->above)));
        return 0;
    }
    r = name_below(c, &info, e);
    return r < 0 ? r : qcow2_set_backing(c->head, info.backing, info.backing_format, e);
}

void shorten_close(struct shorten *c)
{
    if (!c->cut)
        disk_close(c->anew);
    else
        disk_close(c->anew ? c->above : c->out); /* `above` has `out` with it */
    *c = (struct shorten){};
}
