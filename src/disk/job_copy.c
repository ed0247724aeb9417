/*
 * disk/job_copy.c: the bytes of one disk into another, with several chunks under way.
 *
 *     free ── map: data ──> READ ──> (compress: PACK, by a worker, ──> PACKED) ──> WRITE, a run of granules at a time ──> free
 *        └─── map: zeroes ─────────────────────────────────────────────> WRITE ─────────────────────────────────────> free
 *
 *   (1) Memory is COPY_SLOTS chunks (COPY_CHUNK, or a granule where that is more), twice that when compressing.
 *   (2) The cursor stands at multiples of the granule, so that no cluster is written in parts.
 *   (3) One thread submits and takes what is done; workers touch a slot only while it is in PACK.
 *   (4) The first failure is kept; what is under way is waited for.
 */
#include "disk/job_copy.h"

#include "disk/zero.h"

#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

enum slot_state { SLOT_FREE, SLOT_READ, SLOT_PACK, SLOT_PACKED, SLOT_WRITE };

struct slot {
    struct disk_req r;
    struct iovec iov;
    struct copier *c;
    enum slot_state state;
    u64 at, len;       /* the chunk, on the disks */
    u64 done;          /* of it, written or left out */
    u64 part;          /* of it, being written */
    bool zeroes;       /* it is zeroes, and was not read */
    u8 *buf;           /* a chunk, and as much for what was packed */
    s64 *packed;       /* a granule each: bytes, 0: not shorter; only when compressing */
    struct slot *next; /* in the workers' list */
};

struct copier {
    const struct copy *cfg;
    struct job *job;
    struct disk_sync *from, *to;
    struct slot slots[COPY_SLOTS];
    u64 chunk; /* bytes */
    u8 *memory;
    size_t memory_len;
    u64 at;                    /* the cursor */
    struct disk_extent extent; /* what lies at the cursor; len 0: not known */
    u32 reading, writing;
    int result;
    struct err *e;

    /* the workers */
    pthread_mutex_t lock; /* guards todo, stop, and the state of slots that are in PACK */
    pthread_cond_t work, packed;
    struct slot *todo;
    bool stop;
    pthread_t threads[JOB_THREADS_MAX];
    u32 n_threads, packing;
};

u32 copy_granule(const struct disk *to)
{
    struct qcow2_info info;

    if (!disk_is_qcow2(to))
        return 4096;
    qcow2_info(to, &info);
    return max(info.cluster, 4096u);
}

static int fail(struct copier *c, int code, const char *what, const struct disk *d, u64 at)
{
    if (c->result == 0)
        c->result = err_code(c->e, code, "%s '%s' at %llu", what, d->name, at);
    return c->result;
}

static void finish_part(struct slot *s, u64 len)
{
    s->done += len;
    job_add(s->c->job, len);
}

static void write_next(struct slot *s);

static void on_written(struct disk_req *r)
{
    struct slot *s = container_of(r, struct slot, r);

    s->c->writing--;
    if (r->result < 0) {
        fail(s->c, r->result, "write", s->c->cfg->to, r->offset);
        s->state = SLOT_FREE;
        return;
    }
    finish_part(s, s->part);
    write_next(s);
}

static void submit(struct slot *s, enum disk_op op, u64 len)
{
    struct copier *c = s->c;

    s->part = len;
    s->iov = (struct iovec){ s->buf + s->done, len };
    s->r = (struct disk_req){ .op = op,
                              .may_unmap = true,
                              .offset = s->at + s->done,
                              .len = len,
                              .iov = op == DISK_WRITE ? &s->iov : NULL,
                              .n_iov = op == DISK_WRITE,
                              .done = on_written };
    c->writing++;
    disk_submit(disk_sync_queue(c->to), &s->r);
}

/* The bytes of granule `at` of the chunk; the last of the disk may be shorter. */
static u64 granule_len(const struct slot *s, u64 at)
{
    return min((u64)s->c->cfg->granule, s->len - at);
}

/* An overlay's own zeroes are told by its map; its data is written as it is. */
static bool granule_is_zero(const struct slot *s, u64 at)
{
    if (s->zeroes || s->c->cfg->own)
        return s->zeroes;
    return is_zero(s->buf + at, granule_len(s, at));
}

/* Submits the next run of what is to be written; the slot is free when there is none. */
static void write_next(struct slot *s)
{
    struct copier *c = s->c;

    while (c->result == 0 && s->done < s->len) {
        u64 end = s->zeroes ? s->len : s->done + granule_len(s, s->done);
        bool zero = granule_is_zero(s, s->done);

        while (end < s->len && granule_is_zero(s, end) == zero)
            end += granule_len(s, end);
        if (!zero || !c->cfg->to_zero) {
            submit(s, zero ? DISK_ZERO : DISK_WRITE, end - s->done);
            return;
        }
        finish_part(s, end - s->done);
    }
    s->state = SLOT_FREE;
}

/* Compressed clusters are written one after the other: each begins where the last ended. */
static void write_packed(struct slot *s)
{
    struct copier *c = s->c;
    u32 i = 0;

    for (; c->result == 0 && s->done < s->len; i++) {
        u64 len = granule_len(s, s->done);
        int r = 0;

        if (s->packed[i] < 0)
            r = (int)s->packed[i];
        else if (s->packed[i] > 0)
            r = qcow2_write_packed(c->cfg->to, s->buf + c->chunk + s->done, (u64)s->packed[i],
                                   s->at + s->done, NULL);
        else if (!is_zero(s->buf + s->done, len))
            r = disk_pwrite(c->to, s->buf + s->done, len, s->at + s->done);
        if (r < 0)
            fail(c, r, "write", c->cfg->to, s->at + s->done);
        else
            finish_part(s, len);
    }
    s->state = SLOT_FREE;
}

/* A worker's work: no other thread touches the slot. */
static void pack(struct slot *s)
{
    const struct copy *cfg = s->c->cfg;
    u32 i = 0;

    for (u64 at = 0; at < s->len; at += cfg->granule, i++) {
        u64 len = granule_len(s, at);

        s->packed[i] = 0;
        if (is_zero(s->buf + at, len))
            continue;
        if (len < cfg->granule) /* what the last cluster has more than the disk is zeroes */
            memset(s->buf + at + len, 0, cfg->granule - len);
        s->packed[i] =
            qcow2_compress(cfg->to, s->buf + at, cfg->granule, s->buf + s->c->chunk + at);
    }
}

static void *worker(void *arg)
{
    struct copier *c = arg;

    pthread_setname_np(pthread_self(), "pack");
    pthread_mutex_lock(&c->lock);
    for (;;) {
        struct slot *s = c->todo;

        if (!s && c->stop)
            break;
        if (!s) {
            pthread_cond_wait(&c->work, &c->lock);
            continue;
        }
        c->todo = s->next;
        pthread_mutex_unlock(&c->lock);
        pack(s);
        pthread_mutex_lock(&c->lock);
        s->state = SLOT_PACKED;
        pthread_cond_signal(&c->packed);
    }
    pthread_mutex_unlock(&c->lock);
    return NULL;
}

static void on_read(struct disk_req *r)
{
    struct slot *s = container_of(r, struct slot, r);
    struct copier *c = s->c;

    c->reading--;
    if (r->result < 0) {
        fail(c, r->result, "read", c->cfg->from, r->offset);
        s->state = SLOT_FREE;
        return;
    }
    if (!c->cfg->compress) {
        s->state = SLOT_WRITE;
        write_next(s);
        return;
    }
    pthread_mutex_lock(&c->lock);
    s->state = SLOT_PACK;
    s->next = c->todo;
    c->todo = s;
    pthread_cond_signal(&c->work);
    pthread_mutex_unlock(&c->lock);
    c->packing++;
}

/* What lies at the cursor, in whole granules: one of which any byte is data is data. */
static int look(struct copier *c)
{
    const struct copy *cfg = c->cfg;
    u64 left = cfg->len - c->at;
    struct disk_extent *x = &c->extent;
    bool zero;
    int r;

    if (x->len)
        return 0;
    r = cfg->own ? disk_map(cfg->from, c->at, left, x, c->e)
                 : disk_map_deep(cfg->from, c->at, left, x, c->e);
    if (r < 0)
        return r;
    zero = x->kind != DISK_MAP_DATA;
    if (zero && x->len < left)
        x->len = align_down(x->len, (u64)cfg->granule);
    if (zero && x->len)
        return 0;
    if (!zero)
        x->len = align_up(x->len, (u64)cfg->granule);
    else
        x->len = cfg->granule; /* the kind changes inside it */
    x->len = min(x->len, left);
    x->kind = DISK_MAP_DATA;
    return 0;
}

/* Begins a chunk at the cursor, or goes past what needs no chunk.  False: nothing can be begun. */
static bool begin(struct copier *c)
{
    struct slot *s = c->slots;
    u64 len;

    if (c->at == c->cfg->len || c->result < 0)
        return false;
    while (s < c->slots + COPY_SLOTS && s->state != SLOT_FREE)
        s++;
    if (s == c->slots + COPY_SLOTS)
        return false;
    c->result = look(c);
    if (c->result < 0)
        return false;
    len = c->extent.len;
    if (c->extent.kind == DISK_MAP_DATA)
        len = min(len, c->chunk - c->at % c->chunk);
    *s = (struct slot){ .c = c, .at = c->at, .len = len, .buf = s->buf, .packed = s->packed };
    c->at += len;
    c->extent.len -= len;
    if (c->extent.kind == DISK_MAP_ABSENT || (c->extent.kind == DISK_MAP_ZERO && c->cfg->to_zero)) {
        finish_part(s, len);
    } else if (c->extent.kind == DISK_MAP_ZERO) {
        s->state = SLOT_WRITE;
        s->zeroes = true;
        write_next(s);
    } else {
        s->state = SLOT_READ;
        s->iov = (struct iovec){ s->buf, len };
        s->r = (struct disk_req){ .op = DISK_READ,
                                  .offset = s->at,
                                  .len = len,
                                  .iov = &s->iov,
                                  .n_iov = 1,
                                  .done = on_read };
        c->reading++;
        disk_submit(disk_sync_queue(c->from), &s->r);
    }
    return true;
}

/* Writes what the workers have ready; waits for one of theirs when there is nothing else to wait for.  Did anything move? */
static bool take_packed(struct copier *c, bool may_wait)
{
    bool moved = false;

    while (c->packing) {
        struct slot *ready = NULL;

        pthread_mutex_lock(&c->lock);
        for_each_row(s, c->slots)
            if (s->state == SLOT_PACKED)
                ready = s;
        if (!ready && may_wait && !moved)
            pthread_cond_wait(&c->packed, &c->lock);
        pthread_mutex_unlock(&c->lock);
        if (!ready && (moved || !may_wait))
            return moved;
        if (!ready)
            continue;
        c->packing--;
        write_packed(ready);
        moved = true;
    }
    return moved;
}

static void run(struct copier *c)
{
    while (c->at < c->cfg->len || c->reading || c->writing || c->packing) {
        if (c->result == 0)
            c->result = job_check(c->job, c->e);
        while (begin(c))
            ;
        if (c->result < 0 && !c->reading && !c->writing && !c->packing)
            break;
        disk_kick(disk_sync_queue(c->from));
        disk_kick(disk_sync_queue(c->to));
        if (take_packed(c, !c->reading && !c->writing))
            continue;
        if (c->reading)
            disk_wait(disk_sync_queue(c->from));
        else if (c->writing)
            disk_wait(disk_sync_queue(c->to));
    }
}

static int start_workers(struct copier *c)
{
    long cpus = sysconf(_SC_NPROCESSORS_ONLN);
    u32 n = c->cfg->threads ? c->cfg->threads : (u32)max(cpus, 1l);

    for (n = min(n, (u32)JOB_THREADS_MAX); c->n_threads < n; c->n_threads++) {
        int r = -pthread_create(&c->threads[c->n_threads], NULL, worker, c);

        if (r < 0)
            return err_code(c->e, r, "start a thread");
    }
    return 0;
}

static void stop_workers(struct copier *c)
{
    pthread_mutex_lock(&c->lock);
    c->stop = true;
    pthread_cond_broadcast(&c->work);
    pthread_mutex_unlock(&c->lock);
    for (u32 i = 0; i < c->n_threads; i++)
        pthread_join(c->threads[i], NULL);
}

static int open_memory(struct copier *c)
{
    size_t each;
    void *p;

    c->chunk = max((u64)COPY_CHUNK, (u64)c->cfg->granule);
    each = (c->cfg->compress ? 2 : 1) * c->chunk;
    c->memory_len = COPY_SLOTS * each;
    p = mmap(NULL, c->memory_len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED)
        return err_errno(c->e, "memory for a copy");
    c->memory = p;
    for (u32 i = 0; i < COPY_SLOTS; i++) {
        c->slots[i].buf = c->memory + i * each;
        if (c->cfg->compress)
            c->slots[i].packed = xnew_n(s64, c->chunk / c->cfg->granule);
    }
    return 0;
}

int job_copy(struct job *j, const struct copy *cfg, struct err *e)
{
    struct copier *c = xnew(struct copier);
    int r;

    must(is_pow2(cfg->granule) && cfg->granule <= COPY_CHUNK_MAX);
    c->cfg = cfg;
    c->job = j;
    c->e = e;
    pthread_mutex_init(&c->lock, NULL);
    pthread_cond_init(&c->work, NULL);
    pthread_cond_init(&c->packed, NULL);
    r = open_memory(c);
    if (r == 0)
        r = disk_sync_open(cfg->from, &c->from, e);
    if (r == 0)
        r = disk_sync_open(cfg->to, &c->to, e);
    if (r == 0 && cfg->compress)
        r = start_workers(c);
    if (r == 0) {
        run(c);
        r = c->result;
    }
    stop_workers(c);
    disk_sync_close(c->from);
    disk_sync_close(c->to);
    for_each_row(s, c->slots)
        free(s->packed);
    if (c->memory)
        munmap(c->memory, c->memory_len);
    pthread_mutex_destroy(&c->lock);
    pthread_cond_destroy(&c->work);
    pthread_cond_destroy(&c->packed);
    free(c);
    return r;
}
