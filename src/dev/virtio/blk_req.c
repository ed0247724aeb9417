/*
 * dev/virtio/blk_req.c: the requests of a virtio disk, from ring to disk and back.  (virtio 1.2, section 5.2.6)
 *
 *     ring ── take_all ──> begin ── disk ──> on_done ── complete ──> ring
 *                            └─ refused: complete └─ host's disk full: held until the machine resumes
 *
 *   (1) Each chain that was popped is pushed exactly once, whatever it held, or dropped by a reset of the device.
 *   (2) Nothing is allocated: requests lie in one block of memory a queue, of which only what was ever used at once is touched.
 */
#include "base/clock.h"
#include "dev/virtio/blk_internal.h"

#define TRACE_DEF "dev/trace.def"
#include "base/trace_points.h"

enum { BLK_ROUNDS_MAX = 8 }; /* looks at one ring before the loop's others have their turn */

/* Section 5.2.6 */
enum {
    BLK_T_IN = 0,
    BLK_T_OUT = 1,
    BLK_T_FLUSH = 4,
    BLK_T_GET_ID = 8,
    BLK_T_DISCARD = 11,
    BLK_T_WRITE_ZEROES = 13,
};
enum blk_status { BLK_OK = 0, BLK_IOERR = 1, BLK_UNSUPP = 2, BLK_PENDING = 255 /* our own */ };
enum { BLK_RANGE_UNMAP = 1 };

struct blk_hdr {
    le32 type, reserved;
    le64 sector;
};

struct blk_range {
    le64 sector;
    le32 n_sectors, flags;
};

static void count(struct blk_queue *q, enum blk_stat s, u64 n)
{
    atomic_fetch_add_explicit(&q->stats[s], n, memory_order_relaxed);
}

static struct blk_req *req_get(struct blk_queue *q)
{
    struct blk_req *r;

    if (q->n_free) {
        r = &q->reqs[q->free[--q->n_free]];
    } else if (q->n_fresh < BLK_QUEUE_SIZE) {
        r = &q->reqs[q->n_fresh++];
        r->q = q;
    } else {
        return NULL;
    }
    return r;
}

static void complete(struct blk_req *r, enum blk_status status)
{
    struct blk_queue *q = r->q;

    trace_blk_done(q->index, r->c.head, status);
    if (status != BLK_OK)
        count(q, STAT_errors, 1);
    chain_put_last(&r->c, (u8)status);
    vq_push(q->vq, &r->c);
    q->unsignal = true;
    blk_req_put(r);
}

void blk_notify(struct blk_queue *q)
{
    if (!q->unsignal)
        return;
    q->unsignal = false;
    vdev_notify(&q->b->v, q->index);
}

/* The host has no room: nothing of it is the guest's fault, so the machine waits until there is. */
static void hold(struct blk_req *r)
{
    struct blk_queue *q = r->q;
    struct blk *b = q->b;

    trace_blk_held(q->index, r->c.head);
    r->next = NULL;
    *q->held_end = r;
    q->held_end = &r->next;
    q->n_held++;
    if (atomic_exchange(&b->full, true))
        return;
    str_fmt(b->full_text, sizeof(b->full_text), "%s: %s", b->v.fn.dev.name,
            strerror(-r->io.result));
    machine_event(b->v.fn.dev.machine, MACHINE_IO_STOP, 0, b->full_text);
}

static void on_done(struct disk_req *io)
{
    struct blk_req *r = container_of(io, struct blk_req, io);

    if (io->result == -ENOSPC || io->result == -EDQUOT) {
        hold(r);
        return;
    }
    if (io->op == DISK_READ || io->op == DISK_WRITE)
        count(r->q, io->op == DISK_READ ? STAT_read_ns : STAT_write_ns,
              clock_mono_ns() - r->begun_ns);
    if (io->result < 0)
        log_warn_limited("%s: %s", r->q->b->v.fn.dev.name, strerror(-io->result));
    else if (io->op == DISK_READ)
        chain_wrote(&r->c, r->bytes);
    complete(r, io->result < 0 ? BLK_IOERR : BLK_OK);
}

static enum blk_status submit(struct blk_req *r, enum disk_op op, u64 sector, u64 n_sectors)
{
    struct blk *b = r->q->b;

    if (!range_ok(sector, n_sectors, b->capacity))
        return BLK_IOERR;
    if (b->disk->readonly && op != DISK_READ && op != DISK_FLUSH)
        return BLK_IOERR; /* section 5.2.6.2: writes to a read-only device fail */
    r->io.op = op;
    r->io.durable = atomic_load_explicit(&b->durable, memory_order_relaxed);
    r->io.offset = sector * DISK_SECTOR;
    r->io.len = n_sectors * DISK_SECTOR;
    r->io.iov = r->iov;
    r->io.done = on_done;
    r->begun_ns = clock_mono_ns();
    disk_submit(r->q->disk, &r->io);
    return BLK_PENDING;
}

static enum blk_status blk_in(struct blk_req *r, u64 sector)
{
    u32 len = r->c.in_len - 1; /* the last byte is for the status */
    int n = chain_in_iov(&r->c, 0, len, r->iov, VQ_SEGS_MAX);

    if (n < 0 || len % DISK_SECTOR)
        return BLK_IOERR;
    r->io.n_iov = (u32)n;
    r->bytes = len;
    count(r->q, STAT_reads, 1);
    count(r->q, STAT_read_bytes, len);
    return submit(r, DISK_READ, sector, len / DISK_SECTOR);
}

static enum blk_status blk_out(struct blk_req *r, u64 sector)
{
    u32 len = r->c.out_len - (u32)sizeof(struct blk_hdr);
    int n = chain_out_iov(&r->c, sizeof(struct blk_hdr), len, r->iov, VQ_SEGS_MAX);

    if (n < 0 || len % DISK_SECTOR)
        return BLK_IOERR;
    r->io.n_iov = (u32)n;
    r->bytes = len;
    count(r->q, STAT_writes, 1);
    count(r->q, STAT_written_bytes, len);
    return submit(r, DISK_WRITE, sector, len / DISK_SECTOR);
}

static enum blk_status blk_flush(struct blk_req *r, u64)
{
    count(r->q, STAT_flushes, 1);
    r->io.n_iov = 0;
    return submit(r, DISK_FLUSH, 0, 0);
}

static enum blk_status blk_get_id(struct blk_req *r, u64)
{
    u32 len = min(r->c.in_len - 1, (u32)BLK_ID_LEN);

    return chain_put(&r->c, r->q->b->id, len) < 0 ? BLK_IOERR : BLK_OK;
}

/* The one range of a discard or write-zeroes request; `flags`: those that it may have. */
static enum blk_status get_range(struct blk_req *r, u32 flags, struct blk_range *ret)
{
    if (r->c.out_len - r->c.out_done != sizeof(*ret) || chain_get(&r->c, ret, sizeof(*ret)) < 0)
        return BLK_IOERR;
    if (le32_get(ret->flags) & ~flags)
        return BLK_UNSUPP; /* section 5.2.6.2 */
    return le32_get(ret->n_sectors) > BLK_RANGE_MAX ? BLK_IOERR : BLK_OK;
}

static enum blk_status blk_discard(struct blk_req *r, u64)
{
    struct blk_range g;
    enum blk_status s = get_range(r, 0, &g);

    if (s != BLK_OK)
        return s;
    count(r->q, STAT_discards, 1);
    r->io.n_iov = 0;
    return submit(r, DISK_DISCARD, le64_get(g.sector), le32_get(g.n_sectors));
}

static enum blk_status blk_write_zeroes(struct blk_req *r, u64)
{
    struct blk_range g;
    enum blk_status s = get_range(r, BLK_RANGE_UNMAP, &g);

    if (s != BLK_OK)
        return s;
    count(r->q, STAT_write_zeroes, 1);
    r->io.n_iov = 0;
    r->io.may_unmap = le32_get(g.flags) & BLK_RANGE_UNMAP;
    return submit(r, DISK_ZERO, le64_get(g.sector), le32_get(g.n_sectors));
}

typedef enum blk_status (*blk_op)(struct blk_req *r, u64 sector);
/* clang-format off */
static const blk_op blk_ops[] = {
    [BLK_T_IN]           = blk_in,
    [BLK_T_OUT]          = blk_out,
    [BLK_T_FLUSH]        = blk_flush,
    [BLK_T_GET_ID]       = blk_get_id,
    [BLK_T_DISCARD]      = blk_discard,
    [BLK_T_WRITE_ZEROES] = blk_write_zeroes,
};
/* clang-format on */

static void fail(struct blk_queue *q, const char *why)
{
    atomic_store(&q->b->failed, true);
    vdev_fail(&q->b->v, why);
}

static void begin(struct blk_req *r)
{
    struct blk_hdr h; /* our copy: the guest may rewrite its own while we look */
    enum blk_status status = BLK_IOERR;

    if (r->c.in_len == 0) {
        vq_push(r->q->vq, &r->c);
        fail(r->q, "a request has no room for its status");
        blk_req_put(r);
        return;
    }
    if (chain_get(&r->c, &h, sizeof(h)) == 0) {
        u32 type = le32_get(h.type);
        blk_op op = type < ARRAY_LEN(blk_ops) ? blk_ops[type] : NULL;

        trace_blk_begin(r->q->index, r->c.head, type, le64_get(h.sector));
        status = op ? op(r, le64_get(h.sector)) : BLK_UNSUPP;
    }
    if (status != BLK_PENDING)
        complete(r, status);
}

/* 0: the ring is empty; 1: there are no free requests; negative: the device failed. */
static int take_all(struct blk_queue *q)
{
    for (;;) {
        struct blk_req *r = req_get(q);
        int n;

        if (!r)
            return 1;
        n = vq_pop(q->vq, &r->c);
        if (n > 0) {
            begin(r);
        } else {
            blk_req_put(r);
            if (n < 0)
                fail(q, "malformed ring");
        }
        if (atomic_load_explicit(&q->b->failed, memory_order_relaxed))
            return -EBADMSG;
        if (n == 0)
            return 0;
    }
}

/* Requests are taken until the ring is empty; kicks are not wanted meanwhile. */
void blk_serve(struct blk_queue *q)
{
    q->starved = false;
    for (u32 i = 0; i < BLK_ROUNDS_MAX; i++) {
        int r;

        if (atomic_load_explicit(&q->b->failed, memory_order_relaxed))
            return;
        vq_kicks(q->vq, false);
        r = take_all(q);
        disk_kick(q->disk);
        blk_notify(q);
        if (r == 0 && !vq_kicks(q->vq, true))
            return;
        if (r > 0 && !q->n_free) {
            q->starved = true;
            return;
        }
    }
    fd_event_signal(q->b->v.kick[q->index]);
}

void blk_on_kick(struct loop_fd *f, int)
{
    struct blk_queue *q = f->arg;

    fd_event_take(q->b->v.kick[q->index]);
    blk_serve(q);
}

void blk_on_batch(void *arg)
{
    struct blk_queue *q = arg;

    blk_notify(q);
    if (q->active && q->starved)
        blk_serve(q);
}

void blk_drop_held(struct blk_queue *q)
{
    while (q->held) {
        struct blk_req *r = q->held;

        q->held = r->next;
        blk_req_put(r);
    }
    q->held_end = &q->held;
    q->n_held = 0;
}

void blk_retry_held(struct blk_queue *q)
{
    struct blk_req *r = q->held;

    q->held = NULL;
    q->held_end = &q->held;
    q->n_held = 0;
    while (r) {
        struct blk_req *next = r->next;

        disk_submit(q->disk, &r->io);
        r = next;
    }
}
