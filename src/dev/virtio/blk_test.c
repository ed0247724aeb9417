/*
 * dev/virtio/blk_test.c: a driver talks to the virtio disk: each request, each way to get it wrong, a full disk, threads.
 */
#include "dev/virtio/blk.h"

#include "base/loop.h"
#include "dev/virtio/blk_fake.h"
#include "dev/virtio/driver_fake.h"
#include "mem/mem.h"
#include "testlib/test.h"

#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

enum { T_IN, T_OUT, T_FLUSH = 4, T_ID = 8, T_DISCARD = 11, T_ZEROES = 13 };
enum { OK, IOERR, UNSUPP, NOTHING = 0xee };

#define F_RO      (1ull << 5)
#define F_FLUSH   (1ull << 9)
#define F_WCE     (1ull << 11)
#define F_MQ      (1ull << 12)
#define F_DISCARD (1ull << 13)

struct rig {
    struct fake_machine *f;
    struct blk_fake disk;
    struct device *d;
    struct driver_fake g;
};

static void rig_cfg(struct rig *t, struct blk_cfg *cfg)
{
    struct err e;

    t->f = fake_machine_new();
    CHECK_OK(device_new(&virtio_blk_def, &t->f->m, "disk0", cfg, &t->d, &e), &e);
    driver_fake_init(&t->g, t->f, t->d);
}

/* MSI-X on, no vector masked. */
static void rig_msix(struct rig *t)
{
    struct pci_fn *f = pci_fn_of(t->d);
    u64 ecam = 0xe0000000 + f->slot * 0x8000ull;

    CHECK(bus_write(t->f->m.mmio, ecam + f->msix_cap + 2, 2, 0x8000));
    for (u32 v = 0; v < f->n_msix; v++)
        CHECK(bus_write(t->f->m.mmio, f->bars[f->msix_bar].base + 16 * v + 12, 4, 0));
}

static void rig_drive(struct rig *t, u64 features)
{
    rig_msix(t);
    CHECK(driver_fake_negotiate(&t->g, features));
    driver_fake_queue(&t->g, 0, 64);
    driver_fake_ready(&t->g);
}

static void rig_init(struct rig *t, bool readonly)
{
    static char serial[] = "disk-serial";
    struct blk_cfg cfg = { .disk = &t->disk.disk, .queues = 1, .serial = serial };

    blk_fake_init(&t->disk, readonly);
    rig_cfg(t, &cfg);
}

static void rig_fini(struct rig *t)
{
    device_free(t->d);
    fake_machine_free(t->f);
}

static void turn(struct rig *t)
{
    uv_run(&t->f->m.loop->uv, UV_RUN_NOWAIT);
}

struct request {
    u64 gpa_hdr, gpa_data, gpa_status;
    u32 hdr_len, out_len, in_len; /* data beside header and status */
    int id;
};

static void put_hdr(struct rig *t, struct request *q, u32 type, u64 sector)
{
    u8 h[16] = {};

    le_store(h, 4, type);
    le_store(h + 8, 8, sector);
    q->gpa_hdr = driver_fake_put(&t->g, h, sizeof(h));
    if (!q->hdr_len)
        q->hdr_len = sizeof(h);
}

static void add(struct rig *t, struct request *q, u32 type, u64 sector, const void *out)
{
    static const u8 nothing = NOTHING;
    struct driver_fake_buf bufs[3];
    u32 n = 0;

    put_hdr(t, q, type, sector);
    bufs[n++] = (struct driver_fake_buf){ q->gpa_hdr, q->hdr_len, false };
    if (q->out_len) {
        q->gpa_data = driver_fake_put(&t->g, out, q->out_len);
        bufs[n++] = (struct driver_fake_buf){ q->gpa_data, q->out_len, false };
    }
    if (q->in_len) {
        q->gpa_data = driver_fake_alloc(&t->g, q->in_len, 1);
        bufs[n++] = (struct driver_fake_buf){ q->gpa_data, q->in_len, true };
    }
    q->gpa_status = driver_fake_put(&t->g, &nothing, 1);
    bufs[n++] = (struct driver_fake_buf){ q->gpa_status, 1, true };
    q->id = driver_fake_add(&t->g.q[0], bufs, n);
    CHECK(q->id >= 0);
}

static u8 status_of(struct rig *t, const struct request *q)
{
    u8 s;

    CHECK_EQ(mem_read(t->f->m.mem, q->gpa_status, &s, 1), 0);
    return s;
}

/* Adds, kicks, runs; the request must come back, with `in` filled. */
static u8 do_one(struct rig *t, struct request *q, u32 type, u64 sector, const void *out, void *in)
{
    u16 id;
    u32 len;

    add(t, q, type, sector, out);
    driver_fake_kick(&t->g, 0);
    turn(t);
    CHECK(driver_fake_used(&t->g.q[0], &id, &len));
    CHECK_EQ(id, q->id);
    CHECK(!driver_fake_used(&t->g.q[0], &id, &len));
    if (in)
        CHECK_EQ(mem_read(t->f->m.mem, q->gpa_data, in, q->in_len), 0);
    return status_of(t, q);
}

TEST(blk_config)
{
    struct rig t;
    u64 f;

    rig_init(&t, false);
    f = driver_fake_offered(&t.g);
    CHECK_EQ(f & 0xffffff, 1u << 2 | 1u << 6 | 1u << 9 | 1u << 10 | 1u << 11 | 1u << 13 | 1u << 14);
    CHECK_EQ(driver_fake_config(&t.g, 0, 4), BLK_FAKE_SIZE / 512);
    CHECK_EQ(driver_fake_config(&t.g, 12, 4), 254);
    CHECK_EQ(driver_fake_config(&t.g, 20, 4), 512);
    CHECK_EQ(driver_fake_config(&t.g, 24, 1), 3);
    CHECK_EQ(driver_fake_config(&t.g, 32, 1), 1);
    CHECK_EQ(driver_fake_config(&t.g, 34, 2), 1);
    CHECK_EQ(driver_fake_config(&t.g, 40, 4), 1);
    CHECK_EQ(driver_fake_config(&t.g, 44, 4), 8);
    rig_fini(&t);
    rig_init(&t, true);
    f = driver_fake_offered(&t.g);
    CHECK(f & F_RO);
    CHECK(!(f & F_DISCARD));
    rig_fini(&t);
}

struct row {
    const char *why;
    u32 type;
    u64 sector;
    u32 out, in, hdr;
    u8 range[32]; /* sectors and flags of the first */
    u8 status;
    u32 errors;
};
#define RANGE(sector, n, flags)                                       \
    {                                                                 \
        (sector), 0, 0, 0, 0, 0, 0, 0, (n), 0, 0, 0, (flags), 0, 0, 0 \
    }
/* clang-format off */
static const struct row rows[] = {
    { "write",                      T_OUT,     1, 4096, 0,   .status = OK },
    { "read",                       T_IN,      1, 0, 4096,   .status = OK },
    { "nothing read",               T_IN,      1, 0, 0,      .status = OK },
    { "flush",                      T_FLUSH,   0, 0, 0,      .status = OK },
    { "serial",                     T_ID,      0, 0, 20,     .status = OK },
    { "serial, short",              T_ID,      0, 0, 4,      .status = OK },
    { "serial, long",               T_ID,      0, 0, 40,     .status = OK },
    { "last sector",                T_IN,    511, 0, 512,    .status = OK },
    { "past the end",               T_IN,    511, 0, 1024,   .status = IOERR },
    { "far past the end",           T_OUT,   512, 512, 0,    .status = IOERR },
    { "sector that wraps",          T_IN, ~0ull / 512, 0, 1024, .status = IOERR },
    { "largest sector",             T_IN,  ~0ull, 0, 512,    .status = IOERR },
    { "not a sector",               T_IN,      0, 0, 511,    .status = IOERR },
    { "not a sector, write",        T_OUT,     0, 513, 0,    .status = IOERR },
    { "short header",               T_IN,      0, 0, 512, 8, .status = IOERR },
    { "unknown type",               99,        0, 0, 512,    .status = UNSUPP },
    { "type inside the table",      3,         0, 0, 0,      .status = UNSUPP },
    { "secure erase",               14,        0, 16, 0,     .status = UNSUPP },
    { "discard",                    T_DISCARD, 0, 16, 0, .range = RANGE(2, 2, 0), .status = OK },
    { "discard, unmap flag",        T_DISCARD, 0, 16, 0, .range = RANGE(2, 2, 1), .status = UNSUPP },
    { "discard past the end",       T_DISCARD, 0, 16, 0, .range = RANGE(255, 255, 0), .status = OK },
    { "discard, two ranges",        T_DISCARD, 0, 32, 0, .range = RANGE(2, 2, 0), .status = IOERR },
    { "discard, half a range",      T_DISCARD, 0, 8, 0,  .range = RANGE(2, 2, 0), .status = IOERR },
    { "discard, no range",          T_DISCARD, 0, 0, 0,      .status = IOERR },
    { "zeroes",                     T_ZEROES,  0, 16, 0, .range = RANGE(3, 1, 0), .status = OK },
    { "zeroes, unmapped",           T_ZEROES,  0, 16, 0, .range = RANGE(3, 1, 1), .status = OK },
    { "zeroes, unknown flag",       T_ZEROES,  0, 16, 0, .range = RANGE(3, 1, 2), .status = UNSUPP },
};
/* clang-format on */

static const u64 layouts[] = { 0, VIRTIO_F_RING_PACKED, VIRTIO_F_EVENT_IDX | VIRTIO_F_INDIRECT_DESC,
                               VIRTIO_F_RING_PACKED | VIRTIO_F_EVENT_IDX };

/* Each row leaves the disk usable for the next. */
static void run_rows(struct rig *t)
{
    u8 data[4096], back[4096];

    for_each_row(c, rows) {
        struct request q = { .out_len = c->out, .in_len = c->in, .hdr_len = c->hdr };

        ROW(c);
        for (u32 i = 0; i < sizeof(data); i++)
            data[i] = (u8)(i * 7 + c->type);
        if (c->type == T_DISCARD || c->type == T_ZEROES)
            memcpy(data, c->range, sizeof(c->range));
        memset(back, 0, sizeof(back));
        CHECK_EQ(do_one(t, &q, c->type, c->sector, data, c->in ? back : NULL), c->status);
        if (c->status != OK)
            continue;
        if (c->type == T_OUT)
            CHECK_MEM(t->disk.data + c->sector * 512, data, c->out);
        if (c->type == T_IN)
            CHECK_MEM(back, t->disk.data + c->sector * 512, c->in);
        if (c->type == T_ID)
            CHECK_MEM(back, "disk-serial\0\0\0\0\0\0\0\0\0\0\0\0", min(c->in, 24u));
    }
}

TEST(blk_requests)
{
    for_each_row(layout, layouts) {
        struct rig t;

        rig_init(&t, false);
        for (u32 i = 0; i < sizeof(t.disk.data); i++)
            t.disk.data[i] = (u8)(i * 13 + i / 512);
        rig_drive(&t, F_FLUSH | *layout);
        run_rows(&t);
        for (u32 i = 2 * 512; i < 4 * 512; i++) /* discard and zeroes */
            CHECK_EQ(t.disk.data[i], 0);
        CHECK_EQ(t.disk.zeroes, 2);
        CHECK_EQ(t.disk.unmaps, 1);
        CHECK(t.f->msis > 0);
        CHECK_EQ(driver_fake_status(&t.g), 15);
        rig_fini(&t);
    }
}

/* Section 2.6.4: the framing is the driver's business: header, data and status may be cut anywhere. */
TEST(blk_any_framing)
{
    struct rig t;
    u8 h[16 + 1024], status = NOTHING;
    struct driver_fake_buf bufs[8];
    u64 gpa, at;
    u32 len, n = 0;
    u16 id;

    rig_init(&t, false);
    rig_drive(&t, VIRTIO_F_INDIRECT_DESC);
    memset(h, 0x5a, sizeof(h));
    memset(h, 0, 16);
    h[0] = T_OUT;
    gpa = driver_fake_put(&t.g, h, sizeof(h));
    at = driver_fake_put(&t.g, &status, 1);
    static const u32 cuts[] = { 3, 5, 100, 500, 431, 1 };
    for_each_row(cut, cuts) {
        bufs[n++] = (struct driver_fake_buf){ gpa, *cut, false };
        gpa += *cut;
    }
    bufs[n++] = (struct driver_fake_buf){ at, 1, true };
    CHECK(driver_fake_add_indirect(&t.g.q[0], bufs, n) >= 0);
    driver_fake_kick(&t.g, 0);
    turn(&t);
    CHECK(driver_fake_used(&t.g.q[0], &id, &len));
    CHECK_EQ(mem_read(t.f->m.mem, at, &status, 1), 0);
    CHECK_EQ(status, OK);
    CHECK_MEM(t.disk.data, h + 16, 1024);
    CHECK_EQ(t.disk.data[1024], 0);
    rig_fini(&t);
}

TEST(blk_readonly)
{
    struct rig t;
    u8 data[512] = { 1 };
    struct request w = { .out_len = 512 }, d = { .out_len = 16 }, r = { .in_len = 512 }, f = {};

    rig_init(&t, true);
    rig_drive(&t, F_RO | F_FLUSH);
    CHECK_EQ(do_one(&t, &w, T_OUT, 0, data, NULL), IOERR);
    data[8] = 1;
    CHECK_EQ(do_one(&t, &d, T_DISCARD, 0, data, NULL), IOERR);
    CHECK_EQ(do_one(&t, &f, T_FLUSH, 0, NULL, NULL), OK);
    CHECK_EQ(do_one(&t, &r, T_IN, 0, NULL, data), OK);
    CHECK_EQ(data[0], 0);
    rig_fini(&t);
}

static void check_failed(struct rig *t, const struct driver_fake_buf *bufs, u32 n)
{
    u16 id;
    u32 len;

    CHECK(driver_fake_add(&t->g.q[0], bufs, n) >= 0);
    driver_fake_kick(&t->g, 0);
    turn(t);
    CHECK(driver_fake_status(&t->g) & VIRTIO_NEEDS_RESET);
    /* it stays silent, and lives again after a reset */
    while (driver_fake_used(&t->g.q[0], &id, &len))
        ;
    driver_fake_kick(&t->g, 0);
    turn(t);
    CHECK(!driver_fake_used(&t->g.q[0], &id, &len));
    rig_drive(t, 0);
    CHECK_EQ(do_one(t, &(struct request){}, T_FLUSH, 0, NULL, NULL), OK);
}

TEST(blk_no_room_for_status)
{
    struct rig t;
    u8 h[16] = {};

    rig_init(&t, false);
    rig_drive(&t, 0);
    check_failed(&t, &(struct driver_fake_buf){ driver_fake_put(&t.g, h, 16), 16, false }, 1);
    rig_fini(&t);
}

TEST(blk_malformed_ring)
{
    struct rig t;

    rig_init(&t, false);
    rig_drive(&t, 0);
    check_failed(&t, &(struct driver_fake_buf){ 1ull << 50, 16, false }, 1);
    rig_fini(&t);
}

/* Section 5.2.6.2: when is a write stable without a flush? */
TEST(blk_write_cache)
{
    static const struct {
        const char *why;
        u64 features;
        int wce; /* what the driver writes; -1 nothing */
        bool durable;
    } cases[] = {
        { "the driver knows neither", 0, -1, true },
        { "the driver flushes", F_FLUSH, -1, false },
        { "it may choose, and did not", F_FLUSH | F_WCE, -1, false },
        { "it chose writethrough", F_FLUSH | F_WCE, 0, true },
        { "it chose writeback", F_FLUSH | F_WCE, 1, false },
    };

    for_each_row(c, cases) {
        struct request q = { .out_len = 512 };
        u8 data[512] = {};
        struct rig t;

        ROW(c);
        rig_init(&t, false);
        rig_drive(&t, c->features);
        if (c->wce >= 0)
            driver_fake_config_write(&t.g, 32, 1, (u64)c->wce);
        CHECK_EQ(do_one(&t, &q, T_OUT, 0, data, NULL), OK);
        CHECK_EQ(t.disk.durable, c->durable);
        driver_fake_reset(&t.g);
        CHECK_EQ(driver_fake_config(&t.g, 32, 1), 1);
        rig_fini(&t);
    }
}

TEST(blk_error)
{
    struct rig t;
    struct request q = { .out_len = 512 };
    u8 data[512] = {};

    rig_init(&t, false);
    rig_drive(&t, F_FLUSH);
    t.disk.fail = -EIO;
    t.disk.fails = 1;
    CHECK_EQ(do_one(&t, &q, T_OUT, 0, data, NULL), IOERR);
    CHECK_EQ(t.f->events[MACHINE_IO_STOP], 0);
    rig_fini(&t);
}

static void put_stat(void *arg, const char *name, u64 value)
{
    const bool time = strstr(name, "_ns") != NULL;

    CHECK(!time || (value > 0 && value < 100 * NSEC_PER_SEC));
    strbuf_add(arg, time ? "%s " : "%s=%llu ", name, value);
}

TEST(blk_stats)
{
    AUTO(strbuf) struct strbuf s = {};
    struct request w = { .out_len = 1024 }, r = { .in_len = 512 }, bad = { .in_len = 511 };
    u8 data[1024] = {};
    struct rig t;

    rig_init(&t, false);
    rig_drive(&t, F_FLUSH);
    do_one(&t, &w, T_OUT, 0, data, NULL);
    do_one(&t, &r, T_IN, 0, NULL, data);
    do_one(&t, &bad, T_IN, 0, NULL, NULL);
    t.d->def->stats(t.d, put_stat, &s);
    CHECK_STR(s.text, "reads=1 writes=1 flushes=0 discards=0 write_zeroes=0 read_bytes=512 "
                      "written_bytes=1024 read_ns write_ns errors=1 ");
    rig_fini(&t);
}

/* A full disk stops the machine; the request ends when there is room, and the guest never knows. */
TEST(blk_full_disk)
{
    struct rig t;
    struct request a = { .out_len = 1024 }, b = { .out_len = 512 }, c = { .in_len = 512 };
    u8 data[1024];
    u16 id;
    u32 len;

    memset(data, 0xa5, sizeof(data));
    rig_init(&t, false);
    rig_drive(&t, F_FLUSH);
    t.disk.fail = -ENOSPC;
    t.disk.fails = 3;
    add(&t, &a, T_OUT, 4, data);
    add(&t, &b, T_OUT, 8, data);
    add(&t, &c, T_IN, 0, NULL);
    driver_fake_kick(&t.g, 0);
    turn(&t);
    CHECK_EQ(t.f->events[MACHINE_IO_STOP], 1); /* once for all of them */
    CHECK(driver_fake_used(&t.g.q[0], &id, &len));
    CHECK_EQ(id, c.id);
    CHECK(!driver_fake_used(&t.g.q[0], &id, &len));
    device_pause(t.d);
    device_resume(t.d);
    CHECK_EQ(t.f->events[MACHINE_IO_STOP], 2); /* still full for the first */
    CHECK(driver_fake_used(&t.g.q[0], &id, &len));
    CHECK_EQ(id, b.id);
    device_pause(t.d);
    CHECK(!driver_fake_used(&t.g.q[0], &id, &len));
    device_resume(t.d);
    CHECK(driver_fake_used(&t.g.q[0], &id, &len));
    CHECK_EQ(id, a.id);
    CHECK_EQ(status_of(&t, &a), OK);
    CHECK_MEM(t.disk.data + 4 * 512, data, 1024);
    CHECK_EQ(t.f->events[MACHINE_IO_STOP], 2);
    rig_fini(&t);
}

/* What was held belongs to the driver that asked; a reset forgets it. */
TEST(blk_full_disk_then_reset)
{
    struct rig t;
    struct request a = { .out_len = 512 };
    u8 data[512] = { 7 };
    u64 heap;

    for (int paused = 0; paused < 2; paused++) {
        rig_init(&t, false);
        rig_drive(&t, F_FLUSH);
        t.disk.fail = -ENOSPC;
        t.disk.fails = 1;
        add(&t, &a, T_OUT, 4, data);
        driver_fake_kick(&t.g, 0);
        turn(&t);
        if (paused)
            device_pause(t.d);
        device_reset(t.d);
        if (paused)
            device_resume(t.d);
        heap = t.g.heap; /* what lies below was used, and is not zero */
        driver_fake_init(&t.g, t.f, t.d);
        t.g.heap = heap;
        rig_drive(&t, F_FLUSH);
        CHECK_EQ(do_one(&t, &(struct request){}, T_FLUSH, 0, NULL, NULL), OK);
        CHECK_EQ(t.disk.data[4 * 512], 0);
        rig_fini(&t);
    }
}

/* A stream that was saved while requests were held would lose them: it is refused. */
TEST(blk_held_is_not_saved_silently)
{
    AUTO(strbuf) struct strbuf out = {};
    struct state_reader r;
    struct state_section s;
    struct rig t;
    struct request a = { .out_len = 512 };
    u8 data[512] = {};
    struct err e = {};
    int rc = 0;

    rig_init(&t, false);
    rig_drive(&t, F_FLUSH);
    t.disk.fail = -ENOSPC;
    t.disk.fails = 1;
    add(&t, &a, T_OUT, 4, data);
    driver_fake_kick(&t.g, 0);
    turn(&t);
    device_pause(t.d);
    state_stream_begin(&out);
    device_save(t.d, &out);
    state_stream_end(&out);
    CHECK_OK(state_reader_init(&r, out.text, out.len, &e), &e);
    while (rc == 0 && state_reader_next(&r, &s, &e) > 0)
        rc = device_load(t.d, &s, &e);
    CHECK_EQ(rc, -EBADMSG);
    CHECK_HAS(e.text, "1 requests waited for room");
    device_resume(t.d);
    rig_fini(&t);
}

/* Requests under way end before a pause returns, and before a reset does. */
TEST(blk_drains)
{
    struct rig t;
    struct request a = { .out_len = 512 };
    u8 data[512] = { 9 };
    u16 id;
    u32 len;

    rig_init(&t, false);
    rig_drive(&t, F_FLUSH);
    t.disk.defer = true;
    add(&t, &a, T_OUT, 0, data);
    driver_fake_kick(&t.g, 0);
    turn(&t);
    CHECK(!driver_fake_used(&t.g.q[0], &id, &len));
    device_pause(t.d);
    CHECK(driver_fake_used(&t.g.q[0], &id, &len));
    CHECK_EQ(status_of(&t, &a), OK);
    device_resume(t.d);
    add(&t, &a, T_OUT, 1, data);
    driver_fake_kick(&t.g, 0);
    turn(&t);
    device_reset(t.d);
    CHECK_EQ(t.disk.data[512], 9);
    rig_fini(&t);
}

/* Completions that come later interrupt once for the whole batch. */
TEST(blk_one_interrupt_a_batch)
{
    struct rig t;
    struct request q[10] = {};
    u32 before, n = 0, len;
    u16 id;

    rig_init(&t, false);
    rig_drive(&t, F_FLUSH);
    t.disk.defer = true;
    for_each_row(r, q) {
        r->in_len = 512;
        add(&t, r, T_IN, 0, NULL);
    }
    driver_fake_kick(&t.g, 0);
    turn(&t);
    before = t.f->msis;
    blk_fake_run(&t.disk);
    CHECK_EQ(t.f->msis, before + 1);
    while (driver_fake_used(&t.g.q[0], &id, &len))
        n++;
    CHECK_EQ(n, 10);
    rig_fini(&t);
}

/* As many as the ring holds: all requests that there are.  What comes next is found when one is done, without a kick. */
TEST(blk_ring_is_full)
{
    struct driver_fake_buf bufs[2] = { { .len = 16 }, { .len = 1, .in = true } };
    u8 flush[16] = { T_FLUSH };
    u32 n = 0, len;
    struct rig t;
    u16 id;

    rig_init(&t, false);
    rig_msix(&t);
    CHECK(driver_fake_negotiate(&t.g, F_FLUSH | VIRTIO_F_INDIRECT_DESC));
    driver_fake_queue(&t.g, 0, VQ_SIZE_MAX);
    driver_fake_ready(&t.g);
    t.disk.defer = true;
    bufs[0].gpa = driver_fake_put(&t.g, flush, sizeof(flush));
    bufs[1].gpa = driver_fake_alloc(&t.g, 1, 1);
    for (u32 i = 0; i < VQ_SIZE_MAX; i++)
        CHECK(driver_fake_add_indirect(&t.g.q[0], bufs, 2) >= 0);
    driver_fake_kick(&t.g, 0);
    turn(&t);
    CHECK_EQ(t.disk.done, 0);
    CHECK(!driver_fake_must_kick(&t.g.q[0], 1));
    blk_fake_run(&t.disk);
    while (driver_fake_used(&t.g.q[0], &id, &len))
        n++;
    CHECK_EQ(n, VQ_SIZE_MAX);
    CHECK(driver_fake_must_kick(&t.g.q[0], 1));
    rig_fini(&t);
}

static void file_cfg(struct blk_cfg *cfg, char path[200])
{
    int fd;

    str_fmt(path, 200, "%s/blk.img", test_dir());
    fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    CHECK_EQ(ftruncate(fd, 1 << 20), 0);
    close(fd);
    *cfg = (struct blk_cfg){ .file = path, .queues = 4, .iothreads = 2 };
}

/* Real threads and a real file.  Pausing waits for what a thread took; resuming makes it look at the ring. */
TEST(blk_threads)
{
    enum { N = 16 };
    struct request q[N] = {};
    struct blk_cfg cfg;
    u8 data[4096], back[4096];
    char path[200];
    struct rig t;
    u32 n = 0, len;
    u16 id;
    int fd;

    file_cfg(&cfg, path);
    rig_cfg(&t, &cfg);
    CHECK(driver_fake_offered(&t.g) & F_MQ);
    CHECK_EQ(driver_fake_config(&t.g, 34, 2), 4);
    CHECK(driver_fake_negotiate(&t.g, F_FLUSH | F_MQ));
    for (u16 i = 0; i < 4; i++)
        driver_fake_queue(&t.g, i, 64);
    driver_fake_ready(&t.g);
    for (u32 i = 0; i < N; i++) {
        memset(data, (int)i + 1, sizeof(data));
        q[i].out_len = sizeof(data);
        add(&t, &q[i], T_OUT, i * 8, data);
    }
    driver_fake_kick(&t.g, 0);
    device_pause(t.d);
    device_resume(t.d);
    device_pause(t.d);
    while (driver_fake_used(&t.g.q[0], &id, &len))
        n++;
    CHECK_EQ(n, N);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    for (u32 i = 0; i < N; i++) {
        memset(data, (int)i + 1, sizeof(data));
        CHECK_EQ(status_of(&t, &q[i]), OK);
        CHECK_EQ(fd_pread_all(fd, back, sizeof(back), (u64)i * 4096), 0);
        CHECK_MEM(back, data, sizeof(data));
    }
    close(fd);
    device_resume(t.d);
    rig_fini(&t);
}

TEST(blk_refuses)
{
    struct fake_machine *f = fake_machine_new();
    static char missing[] = "/nonexistent/a.img";
    struct blk_cfg cfg = { .queues = 1 };
    struct device *d;
    struct err e = {};

    CHECK_EQ(device_new(&virtio_blk_def, &f->m, "disk0", &cfg, &d, &e), -EINVAL);
    CHECK_HAS(e.text, "'file' or 'fd' is missing");
    cfg.file = missing;
    CHECK_EQ(device_new(&virtio_blk_def, &f->m, "disk0", &cfg, &d, &e), -ENOENT);
    CHECK_HAS(e.text, "disk0");
    CHECK_HAS(e.text, missing);
    fake_machine_free(f);
}
