/*
 * disk/foreign_io.c: requests of a disk in a foreign format as requests of its files.
 *
 *     submit → next ── data ──> request of a store ──> on_data ──> next …
 *                 ├─ zeroes ──> cleared at once ─────────────────> next …
 *                 └─ packed ──> the block read ──> on_packed: inflated, copied ──> next …
 *
 *   (1) A request does one run (layout_map) after the other; several requests go on side by side, each in a slot.
 *   (2) A queue has one block inflated at a time, and keeps the last: neighbours are mostly asked for in order.
 *   (3) What is cleared or copied without waiting may be the end of a request; it is finished by the next kick.
 */
#include "base/endian.h"
#include "disk/foreign.h"
#include "disk/req_list.h"

#include <limits.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <zlib.h>

enum {
    GRAIN_HEADER = 12,       /* le64 sector of the disk, le32 bytes of what follows */
    GRAIN_SLACK = 64 * 1024, /* how much larger than the block may what does not compress be? */
};

/* One run of a request, under way. */
struct slot {
    struct disk_req r; /* of a store */
    struct disk_req *parent;
    struct foreign_queue *q;
    u64 len;                   /* of the run */
    struct slot *next;         /* in the list of free ones */
    struct iovec iov[IOV_MAX]; /* the run's part of the parent's pieces */
};

struct foreign_queue {
    struct disk_queue q;
    struct disk_queue *files[LAYOUT_FILES_MAX];
    void (*batch)(void *arg);
    void *arg;
    struct slot *slots, *free;
    struct req_list waiting; /* for a slot, or for the inflater */
    struct req_list ready;   /* done, to be finished */

    /* the inflater; only with a packed layout */
    z_stream z;
    bool z_open, inflating;
    u8 *packed, *block; /* mapped: bytes as stored; the last block */
    size_t map_len;
    struct iovec packed_iov;
    u64 packed_len;
    u64 block_start; /* on the disk; UINT64_MAX: nothing is in `block` */
};

static struct foreign *foreign_of(struct disk *d)
{
    return container_of(d, struct foreign, disk);
}

static struct foreign_queue *queue_of(struct disk_queue *q)
{
    return container_of(q, struct foreign_queue, q);
}

static void settle(struct foreign_queue *q, struct disk_req *r, int result)
{
    r->result = result;
    req_list_add(&q->ready, r);
}

/* The parent's next `len` bytes as pieces of the slot. */
static void copy_pieces(struct slot *s, u64 len)
{
    const struct iovec *from = s->parent->iov;
    u64 left = len;

    s->r.n_iov = 0;
    while (left) {
        u64 part = min(left, (u64)from->iov_len);

        s->iov[s->r.n_iov++] = (struct iovec){ from->iov_base, part };
        left -= part;
        from++;
    }
    s->r.iov = s->iov;
    s->r.len = s->len = len;
}

static void next_run(struct foreign_queue *q, struct disk_req *r);

static void slot_put(struct slot *s)
{
    s->next = s->q->free;
    s->q->free = s;
}

/* Something came free: who waits tries again, and waits on where it was not for him. */
static void wake(struct foreign_queue *q)
{
    struct req_list l = q->waiting;
    struct disk_req *r;

    q->waiting = (struct req_list){};
    while ((r = req_list_take(&l)))
        next_run(q, r);
}

static void on_data(struct disk_req *sub)
{
    struct slot *s = container_of(sub, struct slot, r);
    struct foreign_queue *q = s->q;
    struct disk_req *r = s->parent;

    disk_req_advance(r, s->len - sub->len);
    slot_put(s);
    if (sub->result < 0)
        settle(q, r, sub->result);
    else
        next_run(q, r);
    wake(q);
}

static void send_read(struct slot *s, u32 file, u64 at, void (*done)(struct disk_req *r))
{
    s->r.op = DISK_READ;
    s->r.offset = at;
    s->r.done = done;
    disk_submit(s->q->files[file], &s->r);
}

/* Copies `len` bytes into the request's pieces, which move on. */
static void give(struct disk_req *r, const u8 *from, u64 len)
{
    while (len) {
        u64 part = min(len, (u64)r->iov->iov_len);

        memcpy(r->iov->iov_base, from, part);
        disk_req_advance(r, part);
        from += part;
        len -= part;
    }
}

/* `packed` is a grain of `unit` bytes for the disk's sector at `start`: its bytes into `block`. */
static int inflate_block(struct foreign_queue *q, u64 start, u32 unit)
{
    u64 len = le_load(q->packed + 8, 4);

    if (le_load(q->packed, 8) != start / 512 || len > q->packed_len - GRAIN_HEADER)
        return -EBADMSG;
    q->block_start = UINT64_MAX;
    q->z.next_in = q->packed + GRAIN_HEADER;
    q->z.avail_in = (uInt)len;
    q->z.next_out = q->block;
    q->z.avail_out = unit;
    if (inflateReset(&q->z) != Z_OK || inflate(&q->z, Z_FINISH) != Z_STREAM_END || q->z.avail_out)
        return -EBADMSG;
    q->block_start = start;
    return 0;
}

static void on_packed(struct disk_req *sub)
{
    struct slot *s = container_of(sub, struct slot, r);
    struct foreign_queue *q = s->q;
    struct disk_req *r = s->parent;
    struct layout_run run;
    int result = sub->result;

    layout_map(&foreign_of(q->q.disk)->layout, r->offset, r->len, &run);
    if (result == 0)
        result = inflate_block(q, run.unit_start, run.unit);
    q->inflating = false;
    slot_put(s);
    if (result < 0)
        settle(q, r, result);
    else
        next_run(q, r);
    wake(q);
}

/* The header says how long a grain is; until then as much is read as it can have. */
static void send_packed(struct slot *s, const struct layout_run *run)
{
    struct foreign_queue *q = s->q;
    const struct disk *store = foreign_of(q->q.disk)->layout.files[run->file];

    q->packed_len = min((u64)run->unit + GRAIN_SLACK, store->size - run->at);
    q->inflating = true;
    q->packed_iov = (struct iovec){ q->packed, align_up(q->packed_len, (u64)DISK_SECTOR) };
    s->r.iov = &q->packed_iov;
    s->r.n_iov = 1;
    s->r.len = q->packed_iov.iov_len;
    send_read(s, run->file, run->at, on_packed);
}

/* From where the request stands: what needs no waiting at once, and then one run of a file.  Never calls back. */
static void next_run(struct foreign_queue *q, struct disk_req *r)
{
    while (r->len) {
        struct layout_run run;
        struct slot *s;

        layout_map(&foreign_of(q->q.disk)->layout, r->offset, r->len, &run);
        if (run.kind == LAYOUT_ZERO) {
            disk_req_clear(r, run.len);
            continue;
        }
        if (run.kind == LAYOUT_PACKED && run.unit_start == q->block_start) {
            give(r, q->block + run.skip, run.len);
            continue;
        }
        s = run.kind == LAYOUT_PACKED && q->inflating ? NULL : q->free;
        if (!s) {
            req_list_add(&q->waiting, r);
            return;
        }
        q->free = s->next;
        s->q = q;
        s->parent = r;
        if (run.kind == LAYOUT_PACKED) {
            send_packed(s, &run);
            return;
        }
        copy_pieces(s, run.len);
        send_read(s, run.file, run.at, on_data);
        return;
    }
    settle(q, r, 0);
}

void foreign_submit(struct disk_queue *dq, struct disk_req *r)
{
    struct foreign_queue *q = queue_of(dq);

    if (r->op == DISK_FLUSH)
        settle(q, r, 0); /* nothing was written */
    else
        next_run(q, r);
}

void foreign_kick(struct disk_queue *dq)
{
    struct foreign_queue *q = queue_of(dq);
    struct disk_req *r;

    do {
        for (u32 i = 0; i < foreign_of(dq->disk)->layout.n_files; i++)
            if (q->files[i]->busy)
                disk_kick(q->files[i]);
        while ((r = req_list_take(&q->ready)))
            disk_req_finish(r, r->result);
    } while (q->ready.first);
}

void foreign_wait(struct disk_queue *dq)
{
    struct foreign_queue *q = queue_of(dq);
    u32 before = dq->busy;

    foreign_kick(dq);
    while (dq->busy && dq->busy >= before) {
        for (u32 i = 0; i < foreign_of(dq->disk)->layout.n_files; i++)
            if (q->files[i]->busy) {
                disk_wait(q->files[i]);
                break;
            }
        foreign_kick(dq);
    }
}

static void on_batch(void *arg)
{
    struct foreign_queue *q = arg;

    foreign_kick(&q->q);
    q->batch(q->arg);
}

void foreign_queue_close(struct disk_queue *dq)
{
    struct foreign_queue *q = queue_of(dq);

    for (u32 i = 0; i < LAYOUT_FILES_MAX; i++)
        disk_queue_close(q->files[i]);
    if (q->z_open)
        inflateEnd(&q->z);
    if (q->packed)
        munmap(q->packed, q->map_len);
    free(q->slots);
    free(q);
}

/* Page-aligned, so that a store without the page cache can read into it. */
static int open_inflater(struct foreign_queue *q, const struct layout *l, struct err *e)
{
    size_t packed = align_up((size_t)l->block + GRAIN_SLACK, (size_t)4096);
    void *p;

    q->block_start = UINT64_MAX;
    if (!l->packed)
        return 0;
    q->map_len = packed + l->block;
    p = mmap(NULL, q->map_len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED)
        return err_errno(e, "disk '%s': buffer", q->q.disk->name);
    q->packed = p;
    q->block = q->packed + packed;
    q->z_open = inflateInit(&q->z) == Z_OK;
    return q->z_open ? 0 : err_set(e, -ENOMEM, "disk '%s': no memory to inflate", q->q.disk->name);
}

int foreign_queue_open(struct disk *d, const struct disk_queue_cfg *cfg, struct disk_queue **ret,
                       struct err *e)
{
    const struct layout *l = &foreign_of(d)->layout;
    struct foreign_queue *q = xnew(struct foreign_queue);
    struct disk_queue_cfg sub = *cfg;
    int r;

    q->q.disk = d;
    q->batch = cfg->batch;
    q->arg = cfg->arg;
    sub.batch = on_batch;
    sub.arg = q;
    q->slots = xnew_n(struct slot, cfg->depth);
    for (u32 i = 0; i < cfg->depth; i++)
        q->slots[i].q = q, slot_put(&q->slots[i]);
    r = open_inflater(q, l, e);
    for (u32 i = 0; i < l->n_files && r == 0; i++)
        r = disk_queue_open(l->files[i], &sub, &q->files[i], e);
    if (r < 0) {
        foreign_queue_close(&q->q);
        return r;
    }
    *ret = &q->q;
    return 0;
}
