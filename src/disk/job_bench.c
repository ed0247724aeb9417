/*
 * disk/job_bench.c: how quick is an image?  So many requests, a fixed number of them under way.
 */
#include "base/clock.h"
#include "disk/job_copy.h"

#include <stdlib.h>

struct slot {
    struct disk_req r;
    struct iovec iov;
    struct bench *b;
    u64 begun_ns;
};

struct bench {
    struct job *job;
    struct job_bench *cfg;
    struct disk *d;
    struct disk_queue *q;
    struct slot *slots;
    u8 *buf; /* of all requests, as qemu-img has it: what the copies cost depends on how much memory they touch */
    u64 begun, ended, next_at, blocks; /* blocks: that the disk has */
    u64 rand;
    u32 unflushed;
    int result;
    struct err *e;
};

/* xorshift64*: the order is the same each time, so that two runs ask for the same. */
static u64 next_random(u64 *state)
{
    u64 x = *state;

    x ^= x >> 12;
    x ^= x << 25;
    x ^= x >> 27;
    *state = x;
    return x * 0x2545f4914f6cdd1dull;
}

static u64 next_offset(struct bench *b)
{
    const struct job_bench *cfg = b->cfg;
    u64 at = b->next_at; /* goes round where the last whole request begins, as qemu-img's does */

    if (cfg->random)
        return next_random(&b->rand) % b->blocks * cfg->block;
    b->next_at = (at + (cfg->step ? cfg->step : cfg->block)) % max(b->d->size - cfg->block, 1ull);
    return at;
}

static void begin(struct slot *s);

static void on_done(struct disk_req *r)
{
    struct slot *s = container_of(r, struct slot, r);
    struct bench *b = s->b;
    u64 ns = clock_mono_ns() - s->begun_ns;

    if (r->result < 0 && b->result == 0)
        b->result = r->result;
    if (r->op == DISK_FLUSH) {
        b->unflushed = 0;
    } else {
        b->ended++;
        b->unflushed++;
        b->cfg->latency_ns_sum += ns;
        b->cfg->latency_ns_max = max(b->cfg->latency_ns_max, ns);
        job_add(b->job, b->cfg->block);
    }
    begin(s);
}

static void begin(struct slot *s)
{
    struct bench *b = s->b;
    const struct job_bench *cfg = b->cfg;

    /* here, since a kick goes on for as long as requests are done at once and begin others */
    if (b->result == 0)
        b->result = job_check(b->job, b->e);
    if (b->result < 0 || b->begun == cfg->count)
        return;
    s->begun_ns = clock_mono_ns();
    if (cfg->write && cfg->flush_every && b->unflushed >= cfg->flush_every) {
        b->unflushed = 0;
        s->r = (struct disk_req){ .op = DISK_FLUSH, .done = on_done };
    } else {
        s->iov = (struct iovec){ b->buf, cfg->block };
        s->r = (struct disk_req){ .op = cfg->write ? DISK_WRITE : DISK_READ,
                                  .offset = next_offset(b),
                                  .len = cfg->block,
                                  .iov = &s->iov,
                                  .n_iov = 1,
                                  .done = on_done };
        b->begun++;
    }
    disk_submit(b->q, &s->r);
}

static int check_bench(const struct job_bench *cfg, const struct disk *d, struct err *e)
{
    if (cfg->block == 0 || cfg->block % DISK_SECTOR || cfg->block > COPY_CHUNK_MAX)
        return err_set(e, -EINVAL, "requests of %u bytes; multiples of %u up to %u are allowed",
                       cfg->block, DISK_SECTOR, COPY_CHUNK_MAX);
    if (cfg->depth == 0 || cfg->depth > 256)
        return err_set(e, -EINVAL, "a depth of %u; 1 to 256 are allowed", cfg->depth);
    if (cfg->offset % DISK_SECTOR || cfg->step % DISK_SECTOR)
        return err_set(e, -EINVAL, "offset %llu, step %llu; multiples of %u are allowed",
                       cfg->offset, cfg->step, DISK_SECTOR);
    if (!range_ok(cfg->offset, cfg->block, d->size))
        return err_set(e, -EINVAL, "'%s' has %llu bytes; a request of %u at %llu does not fit",
                       d->name, d->size, cfg->block, cfg->offset);
    return 0;
}

static int run(struct bench *b, struct err *e)
{
    struct job_bench *cfg = b->cfg;
    u64 start = clock_mono_ns();

    for (u32 i = 0; i < cfg->depth; i++)
        begin(&b->slots[i]);
    disk_drain(b->q);
    cfg->ns = clock_mono_ns() - start;
    if (b->result < 0 && b->result != -ECANCELED)
        return err_code(e, b->result, "%s '%s'", cfg->write ? "write" : "read", b->d->name);
    return b->result;
}

int job_bench(struct job *j, struct job_bench *cfg, struct err *e)
{
    AUTO(disk) struct disk *d = NULL;
    AUTO(disk_sync) struct disk_sync *s = NULL;
    AUTO(free) struct slot *slots = NULL;
    AUTO(free) u8 *buf = NULL;
    struct bench b = { .job = j, .cfg = cfg, .next_at = cfg->offset, .rand = 88172645463325252ull };
    int r = job_open_image(&cfg->image, !cfg->write, &d, e);

    if (r == 0)
        r = check_bench(cfg, d, e);
    if (r == 0)
        r = disk_sync_open(d, &s, e);
    if (r < 0)
        return r;
    b.buf = buf = aligned_alloc(4096, align_up(cfg->block, 4096u));
    must(buf);
    memset(buf, cfg->pattern, cfg->block);
    slots = xnew_n(struct slot, cfg->depth);
    for (u32 i = 0; i < cfg->depth; i++)
        slots[i].b = &b;
    b.d = d;
    b.e = e;
    b.q = disk_sync_queue(s);
    b.slots = slots;
    b.blocks = d->size / cfg->block;
    job_total(j, cfg->count * cfg->block);
    cfg->latency_ns_max = cfg->latency_ns_sum = 0;
    return run(&b, e);
}
