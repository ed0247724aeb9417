/*
 * disk/raw_io.c: requests of a raw disk as system calls, one after the other until the request is done.
 *
 *     submit → start ── io ──> on_done ── more to do ──> start
 *                 └─ nothing to do ─> ready list ── kick ──> finish
 *
 *   (1) `step` of a request says what on_done has to expect; it is set where the io is made.
 *   (2) A bounced request owns the queue's one bounce buffer from start to finish; others wait in their order.
 */
#include "disk/format.h"
#include "disk/raw.h"
#include "disk/req_list.h"

#include <fcntl.h>
#include <linux/falloc.h>
#include <stdlib.h>
#include <sys/mman.h>

enum { BOUNCE_SIZE = 128 * KiB, ZERO_PIECE = 4096, ZERO_PIECES = 64 };

/* PUNCH to WRITE are the ways to zeroes, best first: what the file system refuses, the next one may do. */
enum step {
    STEP_PUNCH, /* only where may_unmap */
    STEP_RANGE,
    STEP_WRITE,
    STEP_MAIN,
    STEP_SYNC,
};

struct raw_queue {
    struct disk_queue q;
    struct engine *main;
    struct engine *side; /* for what io_uring cannot do; NULL when there is no such thing */
    void (*batch)(void *arg);
    void *arg;
    struct req_list ready; /* done without any more io, with `result` */
    u8 *bounce;            /* BOUNCE_SIZE bytes; for direct I/O and the guarded sector */
    struct iovec bounce_iov;
    struct disk_req *bouncing; /* who owns it */
    struct req_list bounce_wait;
};

static alignas(4096) u8 zeroes[ZERO_PIECE]; /* never written; struct iovec wants it without const */
static const struct iovec zero_pieces[] = { [0 ... ZERO_PIECES - 1] = { zeroes, ZERO_PIECE } };
static const struct iovec zero_sectors[] = { [0 ... ZERO_PIECE / DISK_SECTOR -
                                              1] = { zeroes, DISK_SECTOR } };

static struct raw *raw_of(const struct raw_queue *q)
{
    return container_of(q->q.disk, struct raw, disk);
}

static struct raw_queue *queue_of(struct disk_queue *q)
{
    return container_of(q, struct raw_queue, q);
}

static void on_done(struct io *io);
static void start(struct raw_queue *q, struct disk_req *r);

static void finish(struct raw_queue *q, struct disk_req *r, int result)
{
    if (q->bouncing == r) {
        struct disk_req *next = req_list_take(&q->bounce_wait);

        q->bouncing = NULL;
        if (next)
            start(q, next);
    }
    disk_req_finish(r, result);
}

static void send_io(struct raw_queue *q, struct disk_req *r, enum io_op op, int flags)
{
    r->io.op = op;
    r->io.flags = flags;
    r->io.offset = r->offset;
    r->io.len = r->len;
    r->io.may_join = (op == IO_READ || op == IO_WRITE) && r->io.iov == r->iov;
    r->io.done = on_done;
    engine_submit(op == IO_DISCARD && q->side ? q->side : q->main, &r->io);
}

/* O_DIRECT wants addresses and lengths of whole sectors; a guest's buffers may lie anywhere. */
static bool needs_bounce(const struct disk_req *r)
{
    for (u32 i = 0; i < r->n_iov; i++)
        if (!is_aligned((uintptr_t)r->iov[i].iov_base | r->iov[i].iov_len, DISK_SECTOR))
            return true;
    return false;
}

/* Copies between the request's buffers and the bounce buffer, from the request's next byte on. */
static void copy_bounce(struct raw_queue *q, struct disk_req *r, u64 len, bool in)
{
    u64 at = 0;

    for (u32 i = 0; i < r->n_iov && at < len; i++) {
        u64 part = min(len - at, (u64)r->iov[i].iov_len);

        if (in)
            memcpy(r->iov[i].iov_base, q->bounce + at, part);
        else
            memcpy(q->bounce + at, r->iov[i].iov_base, part);
        at += part;
    }
}

/* Our copy is what is judged: the guest may rewrite its own while we look. */
static bool is_guarded(const struct raw *w, const struct disk_req *r)
{
    return w->guard && r->op == DISK_WRITE && r->offset == 0;
}

static void refuse_header(struct raw_queue *q, struct disk_req *r)
{
    log_warn_limited("disk '%s': the guest wrote the header of another image format, which is "
                     "refused: format=raw allows it",
                     raw_of(q)->disk.name);
    r->result = -EPERM;
    req_list_add(&q->ready, r);
}

static void start_transfer(struct raw_queue *q, struct disk_req *r)
{
    bool write = r->op == DISK_WRITE;

    r->io.iov = r->iov;
    r->io.n_iov = r->n_iov;
    if (r->bounced && q->bouncing && q->bouncing != r) {
        req_list_add(&q->bounce_wait, r);
        return;
    }
    if (r->bounced) {
        q->bouncing = r;
        q->bounce_iov = (struct iovec){ q->bounce, min(r->len, (u64)BOUNCE_SIZE) };
        if (write)
            copy_bounce(q, r, q->bounce_iov.iov_len, false);
        r->io.iov = &q->bounce_iov;
        r->io.n_iov = 1;
        if (is_guarded(raw_of(q), r) && disk_format_probe(q->bounce)) {
            refuse_header(q, r);
            return;
        }
    }
    send_io(q, r, write ? IO_WRITE : IO_READ,
            write && r->durable && !raw_of(q)->unsafe ? RWF_DSYNC : 0);
}

static void send_sync(struct raw_queue *q, struct disk_req *r)
{
    r->step = STEP_SYNC;
    send_io(q, r, IO_SYNC, 0);
}

static void send_zeroes(struct raw_queue *q, struct disk_req *r)
{
    u64 whole = r->len / ZERO_PIECE, sectors = r->len / DISK_SECTOR;

    r->io.iov = whole ? zero_pieces : zero_sectors;
    r->io.n_iov = (u32)(whole ? min(whole, (u64)ZERO_PIECES) : sectors);
    send_io(q, r, IO_WRITE, 0);
}

static void start_zero(struct raw_queue *q, struct disk_req *r)
{
    switch (r->step) {
    case STEP_PUNCH:
        send_io(q, r, IO_ALLOC, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE);
        break;
    case STEP_RANGE:
        send_io(q, r, IO_ALLOC, FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE);
        break;
    default:
        send_zeroes(q, r);
    }
}

static void start_discard(struct raw_queue *q, struct disk_req *r)
{
    r->step = STEP_MAIN;
    if (raw_of(q)->device)
        send_io(q, r, IO_DISCARD, 0);
    else
        send_io(q, r, IO_ALLOC, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE);
}

/* Is there nothing to ask of the host? */
static bool is_idle(const struct raw *w, const struct disk_req *r)
{
    if (r->op == DISK_FLUSH)
        return w->unsafe || w->disk.readonly;
    if (r->op == DISK_DISCARD && atomic_load_explicit(&w->no_discard, memory_order_relaxed))
        return true;
    if (r->op == DISK_FILL)
        return true; /* nothing is absent */
    return r->len == 0 && (!r->durable || w->unsafe);
}

static void start(struct raw_queue *q, struct disk_req *r)
{
    struct raw *w = raw_of(q);

    if (is_idle(w, r)) {
        r->result = 0;
        req_list_add(&q->ready, r);
        return;
    }
    if (r->op == DISK_FLUSH || r->len == 0) {
        send_sync(q, r);
        return;
    }
    if (r->op == DISK_DISCARD) {
        start_discard(q, r);
        return;
    }
    if (r->op == DISK_ZERO) {
        r->step = (u8)atomic_load_explicit(&w->zero[r->may_unmap], memory_order_relaxed);
        start_zero(q, r);
        return;
    }
    r->step = STEP_MAIN;
    r->bounced = (w->direct && needs_bounce(r)) || is_guarded(w, r);
    start_transfer(q, r);
}

/* All bytes are done. */
static void settle(struct raw_queue *q, struct disk_req *r)
{
    if (r->durable && !raw_of(q)->unsafe && r->op != DISK_WRITE)
        send_sync(q, r);
    else
        finish(q, r, 0);
}

/* A read of a store met the end of the file after `n` bytes. */
static bool ends_here(const struct raw *w, const struct disk_req *r, s64 n)
{
    return w->disk.store && r->op == DISK_READ &&
           (n == 0 || (n > 0 && w->direct && n % DISK_SECTOR));
}

static void on_transfer(struct raw_queue *q, struct disk_req *r, s64 n)
{
    if (ends_here(raw_of(q), r, n)) {
        if (r->bounced)
            copy_bounce(q, r, (u64)n, true);
        disk_req_advance(r, (u64)n);
        disk_req_clear(r, r->len);
        settle(q, r);
        return;
    }
    if (n > 0 && raw_of(q)->direct)
        n = align_down(n, DISK_SECTOR); /* the next try must be aligned again */
    if (n == 0)
        n = -EIO; /* the file shrank */
    if (n < 0) {
        finish(q, r, (int)n);
        return;
    }
    if (r->bounced && r->op == DISK_READ)
        copy_bounce(q, r, (u64)n, true);
    disk_req_advance(r, (u64)n);
    if (r->len)
        start_transfer(q, r);
    else
        settle(q, r);
}

/* Does the file system or the device lack this, and will so next time? */
static bool is_lack(s64 r)
{
    return r == -EOPNOTSUPP || r == -ENOTTY;
}

/* Or not want it for this range (-EINVAL), or not while others have the device open (-EBUSY)? */
static bool is_refusal(s64 r)
{
    return is_lack(r) || r == -EINVAL || r == -EBUSY;
}

static void on_discard(struct raw_queue *q, struct disk_req *r, s64 result)
{
    if (is_lack(result))
        atomic_store_explicit(&raw_of(q)->no_discard, true, memory_order_relaxed);
    if (is_refusal(result)) {
        finish(q, r, 0); /* a hint: not to follow it is no error */
    } else if (result < 0) {
        finish(q, r, (int)result);
    } else {
        disk_req_advance(r, r->len);
        settle(q, r);
    }
}

static void on_zero(struct raw_queue *q, struct disk_req *r, s64 result)
{
    bool by_write = r->step == STEP_WRITE;

    if (!by_write && is_refusal(result)) {
        r->step++;
        if (is_lack(result))
            atomic_store_explicit(&raw_of(q)->zero[r->may_unmap], r->step, memory_order_relaxed);
        start_zero(q, r);
        return;
    }
    if (by_write && result == 0)
        result = -EIO;
    if (result < 0) {
        finish(q, r, (int)result);
        return;
    }
    disk_req_advance(r, by_write ? align_down((u64)result, DISK_SECTOR) : r->len);
    if (r->len)
        start_zero(q, r);
    else
        settle(q, r);
}

static void on_done(struct io *io)
{
    struct disk_req *r = container_of(io, struct disk_req, io);
    struct raw_queue *q = queue_of(r->queue);

    if (io->result == -EINTR || io->result == -EAGAIN)
        engine_submit(io->op == IO_DISCARD && q->side ? q->side : q->main, io);
    else if (r->step == STEP_SYNC)
        finish(q, r, (int)io->result);
    else if (r->op == DISK_DISCARD)
        on_discard(q, r, io->result);
    else if (r->op == DISK_ZERO)
        on_zero(q, r, io->result);
    else
        on_transfer(q, r, io->result);
}

void raw_submit(struct disk_queue *dq, struct disk_req *r)
{
    start(queue_of(dq), r);
}

void raw_kick(struct disk_queue *dq)
{
    struct raw_queue *q = queue_of(dq);

    do {
        struct disk_req *r;

        while ((r = req_list_take(&q->ready)))
            finish(q, r, r->result);
        engine_kick(q->main);
        if (q->side)
            engine_kick(q->side);
    } while (q->ready.first);
}

void raw_wait(struct disk_queue *dq)
{
    struct raw_queue *q = queue_of(dq);

    raw_kick(dq);
    if (q->main->busy)
        engine_wait(q->main);
    else if (q->side)
        engine_wait(q->side);
    raw_kick(dq);
}

static void on_batch(void *arg)
{
    struct raw_queue *q = arg;

    raw_kick(&q->q); /* what completions of one engine gave to the other */
    q->batch(q->arg);
}

/* The disk's threads, made when a queue first needs them. */
static int open_pool(struct raw_queue *q, const struct engine_cfg *ec,
                     const struct disk_queue_cfg *cfg, struct engine **ret, struct err *e)
{
    struct raw *w = raw_of(q);
    u32 n = ret == &q->main ? POOL_THREADS_MAX : 1;
    int r = 0;

    if (!w->pool && cfg->no_threads)
        r = workers_on(cfg->helper, &w->pool, e);
    else if (!w->pool)
        r = workers_new(n, cfg->thread_start, cfg->thread_arg, &w->pool, e);
    return r < 0 ? r : workers_open(w->pool, ec, ret, e);
}

static int open_engines(struct raw_queue *q, const struct disk_queue_cfg *cfg, struct err *e)
{
    struct raw *w = raw_of(q);
    const struct engine_cfg ec = {
        .loop = cfg->loop,
        .fd = w->fd,
        .depth = cfg->depth,
        .may_register = !w->device, /* or the next to open it exclusively would be refused */
        .cached = !w->direct,
        .batch = on_batch,
        .arg = q,
    };
    int r = -ENOSYS;

    if (w->engine != DISK_ENGINE_THREADS)
        r = uring_open(&ec, &q->main);
    if (r < 0 && w->engine == DISK_ENGINE_URING)
        return err_code(e, r, "disk '%s': io_uring", w->disk.name);
    if (r < 0) {
        log_debug("disk '%s': threads, for io_uring says: %s", w->disk.name, strerror(-r));
        return open_pool(q, &ec, cfg, &q->main, e);
    }
    return w->device && !w->disk.readonly ? open_pool(q, &ec, cfg, &q->side, e) : 0;
}

void raw_zero_init(struct raw *w)
{
    atomic_init(&w->zero[false], STEP_RANGE);
    atomic_init(&w->zero[true], STEP_PUNCH);
}

int raw_queue_open(struct disk *d, const struct disk_queue_cfg *cfg, struct disk_queue **ret,
                   struct err *e)
{
    struct raw_queue *q = xnew(struct raw_queue);
    int r;

    q->q.disk = d;
    q->batch = cfg->batch;
    q->arg = cfg->arg;
    r = open_engines(q, cfg, e);
    if (r == 0 && (raw_of(q)->direct || raw_of(q)->guard)) {
        void *p =
            mmap(NULL, BOUNCE_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

        if (p == MAP_FAILED)
            r = err_errno(e, "disk '%s': buffer", d->name);
        else
            q->bounce = p;
    }
    if (r < 0) {
        raw_queue_close(&q->q);
        return r;
    }
    *ret = &q->q;
    return 0;
}

void raw_queue_close(struct disk_queue *dq)
{
    struct raw_queue *q = queue_of(dq);

    engine_close(q->side);
    engine_close(q->main);
    if (q->bounce)
        munmap(q->bounce, BOUNCE_SIZE);
    free(q);
}
