/*
 * dev/virtio/blk_fuzz.c: any requests, in any framing, to a virtio disk in memory.  The oracle is a model that reads the same
 * bytes: each chain comes back once, with the status the model says, and disk and buffers are as the model's.
 *
 * Input: one byte of options, then requests: {type, sector, data bytes, direction, cuts}.  With the option `wild` the driver
 * also scribbles over its rings; then only "no crash, no hang, and a reset brings it back" is asked.
 */
#include "dev/virtio/blk.h"

#include "base/loop.h"
#include "dev/virtio/blk_fake.h"
#include "dev/virtio/driver_fake.h"
#include "mem/mem.h"
#include "testlib/fuzz.h"

enum {
    REQUESTS_MAX = 48,
    BUFS_MAX = 12,
    DATA_MAX = 2048,
    RING = 128,
    OPT_PACKED = 1,
    OPT_EVENT_IDX = 2,
    OPT_INDIRECT = 4,
    OPT_WILD = 8,
    OPT_DEFER = 16,
    OPT_FULL = 32, /* the host's disk is full for some writes */
    OPT_READONLY = 64,
};

struct request {
    u32 type, out_len, in_len; /* out_len with header, in_len with status */
    u64 sector;
    u64 gpa; /* out part, then in part */
    u8 bytes[16 + DATA_MAX];
    int id; /* negative: not under way */
    bool no_header;
};

static struct {
    struct fake_machine *f;
    struct blk_fake disk[2]; /* writable, read-only */
    struct device *d[2];
    struct driver_fake g;
    struct request q[REQUESTS_MAX];
    u8 model[BLK_FAKE_SIZE];
    u8 opts;
    bool readonly;
} z;

static void open_once(void)
{
    if (z.f)
        return;
    z.f = fake_machine_new();
    for (u32 i = 0; i < 2; i++) {
        struct blk_cfg cfg = { .disk = &z.disk[i].disk, .queues = 1 };

        blk_fake_init(&z.disk[i], i);
        must(device_new(&virtio_blk_def, &z.f->m, i ? "disk1" : "disk0", &cfg, &z.d[i], NULL) == 0);
    }
}

static struct blk_fake *disk(void)
{
    return &z.disk[z.readonly];
}

/* An earlier input left its bytes where the rings are now. */
static void clear_ring(u64 gpa, u64 len)
{
    void *p = mem_at_rw(z.f->m.mem, gpa, len);

    must(p);
    memset(p, 0, len);
}

static void start(void)
{
    const struct driver_fake_queue *q = &z.g.q[0];
    u64 f = 1ull << 9;

    f |= z.opts & OPT_PACKED ? VIRTIO_F_RING_PACKED : 0;
    f |= z.opts & OPT_EVENT_IDX ? VIRTIO_F_EVENT_IDX : 0;
    f |= z.opts & OPT_INDIRECT ? VIRTIO_F_INDIRECT_DESC : 0;
    driver_fake_init(&z.g, z.f, z.d[z.readonly]);
    must(driver_fake_negotiate(&z.g, f));
    driver_fake_queue(&z.g, 0, RING);
    clear_ring(q->desc_gpa, 16 * RING);
    clear_ring(q->driver_gpa, z.opts & OPT_PACKED ? 4 : 6 + 2 * RING);
    clear_ring(q->device_gpa, z.opts & OPT_PACKED ? 4 : 6 + 8 * RING);
    driver_fake_ready(&z.g);
}

static void turn(void)
{
    uv_run(&z.f->m.loop->uv, UV_RUN_NOWAIT);
    blk_fake_run(disk());
    uv_run(&z.f->m.loop->uv, UV_RUN_NOWAIT);
}

/* Cuts [gpa, gpa + len) into up to `max` buffers. */
static u32 cut(struct fuzz_in *in, struct driver_fake_buf *bufs, u32 max, u64 gpa, u32 len,
               bool write)
{
    u32 n = 0;

    while (len && n < max) {
        u32 part = (u32)fuzz_take(in, 2);

        if (part == 0 || part > len || n == max - 1)
            part = len;
        bufs[n++] = (struct driver_fake_buf){ gpa, part, write };
        gpa += part;
        len -= part;
    }
    return n;
}

static void make(struct fuzz_in *in, struct request *q)
{
    static const u8 types[] = { 0, 1, 4, 8, 11, 13, 2, 14 };
    u32 how = (u32)fuzz_take(in, 1);
    u32 len = (u32)fuzz_take(in, 2) % (DATA_MAX + 1);

    q->type = types[how & 7];
    q->sector = fuzz_take(in, how & 0x40 ? 8 : 2);
    if (how & 8)
        len = align_down(len, 512u);
    q->no_header = (how & 0x30) == 0x30;
    q->out_len = q->no_header ? len % 16 : 16;
    q->in_len = 1;
    if (q->no_header || how & 0x10) /* the other direction than the type wants, at times */
        q->in_len += len;
    else if (q->type == 0 || q->type == 8)
        q->in_len += len;
    else
        q->out_len += q->type == 11 || q->type == 13 ? (how & 0x80 ? 16 : len % 64) : len;
    le_store(q->bytes, 4, q->type);
    le_store(q->bytes + 8, 8, q->sector);
    for (u32 i = 16; i < q->out_len; i++)
        q->bytes[i] = i < 32 ? (u8)fuzz_take(in, 1) : (u8)(q->sector + i);
    if (q->type == 11 || q->type == 13) /* keep most ranges inside the disk */
        memset(q->bytes + 16 + (how & 0x80 ? 2 : 8), 0, how & 0x80 ? 6 : 0);
}

static bool send_one(struct fuzz_in *in, struct request *q)
{
    struct driver_fake_buf bufs[2 * BUFS_MAX];
    u8 fill[1 + DATA_MAX];
    u32 n;

    memset(fill, 0xee, sizeof(fill));
    q->gpa = driver_fake_put(&z.g, q->bytes, q->out_len);
    n = cut(in, bufs, BUFS_MAX, q->gpa, q->out_len, false);
    q->gpa = driver_fake_put(&z.g, fill, q->in_len);
    n += cut(in, bufs + n, BUFS_MAX, q->gpa, q->in_len, true);
    q->id = z.opts & OPT_INDIRECT ? driver_fake_add_indirect(&z.g.q[0], bufs, n)
                                  : driver_fake_add(&z.g.q[0], bufs, n);
    return q->id >= 0;
}

/* ---- the model ---- */

static bool in_disk(u64 sector, u64 n)
{
    const u64 all = BLK_FAKE_SIZE / 512;

    return sector <= all && n <= all - sector;
}

static u8 model_range(const struct request *q, u32 flags_ok)
{
    u64 sector = le_load(q->bytes + 16, 8);
    u32 n = (u32)le_load(q->bytes + 24, 4), flags = (u32)le_load(q->bytes + 28, 4);

    if (q->out_len != 32)
        return 1;
    if (flags & ~flags_ok)
        return 2;
    if (n > 1u << 22 || !in_disk(sector, n) || z.readonly)
        return 1;
    memset(z.model + sector * 512, 0, n * 512ull);
    return 0;
}

static u8 model_transfer(const struct request *q, u8 *want)
{
    u32 len = q->type ? q->out_len - 16 : q->in_len - 1;

    if (len % 512 || !in_disk(q->sector, len / 512) || (q->type && z.readonly))
        return 1;
    if (q->type)
        memcpy(z.model + q->sector * 512, q->bytes + 16, len);
    else
        memcpy(want, z.model + q->sector * 512, len);
    return 0;
}

/* The status; `want`: what the in part holds next, before its status. */
static u8 model(const struct request *q, u8 *want)
{
    if (q->no_header)
        return 1;
    switch (q->type) {
    case 0:
    case 1:
        return model_transfer(q, want);
    case 4:
        return 0;
    case 8:
        memset(want, 0, min(q->in_len - 1, 20u));
        return 0;
    case 11:
        return model_range(q, 0);
    case 13:
        return model_range(q, 1);
    default:
        return 2;
    }
}

static void check(const struct request *q)
{
    u8 want[1 + DATA_MAX], got[1 + DATA_MAX];

    memset(want, 0xee, sizeof(want));
    want[q->in_len - 1] = model(q, want);
    must(mem_read(z.f->m.mem, q->gpa, got, q->in_len) == 0);
    must(memcmp(want, got, q->in_len) == 0);
}

/* Takes back what is done. */
static u32 collect(struct request *q, u32 n)
{
    u32 done = 0, len;
    u16 id;

    while (driver_fake_used(&z.g.q[0], &id, &len)) {
        bool found = false;

        for (u32 i = 0; i < n && !found; i++) {
            found = q[i].id == id;
            if (found)
                q[i].id = -1;
        }
        must(found);
        done++;
    }
    return done;
}

/* ---- runs ---- */

static void run_tame(struct fuzz_in *in)
{
    u32 n, back;

    while (in->left) {
        for (n = 0; n < REQUESTS_MAX && in->left; n++) {
            z.q[n] = (struct request){};
            make(in, &z.q[n]);
            if (!send_one(in, &z.q[n]))
                break;
        }
        driver_fake_kick(&z.g, 0);
        turn();
        back = collect(z.q, n);
        while (back < n) { /* held: the host has room after a while */
            must(z.opts & OPT_FULL);
            device_pause(z.d[z.readonly]);
            device_resume(z.d[z.readonly]);
            turn();
            back += collect(z.q, n);
        }
        if (z.opts & OPT_FULL)
            return; /* what was held ran after what came later: no model knows the order */
        for (u32 i = 0; i < n; i++)
            check(&z.q[i]);
    }
    must(memcmp(z.model, disk()->data, sizeof(z.model)) == 0);
}

/* Requests, and bytes written somewhere in the first pages: headers, data, tables, rings. */
static void run_wild(struct fuzz_in *in)
{
    u64 low = 1 * MiB;

    for (u32 n = 0; n < REQUESTS_MAX && in->left; n++) {
        struct request *q = &z.q[n];
        u64 val;

        *q = (struct request){};
        make(in, q);
        send_one(in, q);
        for (u32 i = (u32)fuzz_take(in, 1) % 8; i; i--) {
            u64 span = z.g.heap > low ? z.g.heap - low : 1, at = low + fuzz_take(in, 3) % span;

            val = fuzz_take(in, 2);
            mem_write(z.f->m.mem, at, &val, 2);
        }
        driver_fake_kick(&z.g, 0);
        turn();
    }
}

FUZZ(blk)
{
    struct fuzz_in in = { data, size };

    open_once();
    z.opts = (u8)fuzz_take(&in, 1);
    z.readonly = z.opts & OPT_READONLY;
    memset(disk()->data, 0, BLK_FAKE_SIZE);
    memset(z.model, 0, sizeof(z.model));
    disk()->defer = z.opts & OPT_DEFER;
    disk()->fail = -ENOSPC;
    disk()->fails = z.opts & OPT_FULL ? (u32)fuzz_take(&in, 1) : 0;
    start();
    if (z.opts & OPT_WILD)
        run_wild(&in);
    else
        run_tame(&in);
    device_reset(z.d[z.readonly]);
    disk()->fails = 0;
    z.opts &= (u8) ~(OPT_DEFER | OPT_WILD | OPT_FULL);
    disk()->defer = false;
    memcpy(z.model, disk()->data, sizeof(z.model));
    start();
    z.q[0] = (struct request){ .type = 0, .out_len = 16, .in_len = 513 };
    must(send_one(&(struct fuzz_in){ data, 0 }, &z.q[0]));
    driver_fake_kick(&z.g, 0);
    turn();
    must(collect(z.q, 1) == 1);
    check(&z.q[0]);
    device_reset(z.d[z.readonly]);
}
