/*
 * dev/virtio/vdev_test.c: what all virtio devices share, tried on a device of two queues that does nothing by itself.
 */
#include "dev/virtio/vdev.h"

#include "dev/virtio/driver_fake.h"
#include "mem/mem.h"
#include "testlib/test.h"

#include <stdlib.h>

enum { CFG_LEN = 12, ECAM = 0xe0000000 };
#define FEATURE_OWN VIRTIO_F(3)

struct idle {
    struct vdev v;
    u32 activated, deactivated, resets, config_writes;
    bool refuse;
};

static struct idle *idle_of(struct vdev *v)
{
    return container_of(v, struct idle, v);
}

static int idle_activate(struct vdev *v, struct err *e)
{
    if (idle_of(v)->refuse)
        return err_set(e, -EIO, "refused");
    idle_of(v)->activated++;
    return 0;
}

static void idle_deactivate(struct vdev *v)
{
    idle_of(v)->deactivated++;
}

static void idle_reset_own(struct vdev *v)
{
    CHECK(!v->active);
    idle_of(v)->resets++;
}

static void idle_config_wrote(struct vdev *v, u32, u32)
{
    idle_of(v)->config_writes++;
}

static const struct vdev_def idle_vdef = {
    .type = VIRTIO_RNG,
    .class_code = 0x00ff00,
    .queue_size = 64,
    .activate = idle_activate,
    .deactivate = idle_deactivate,
    .reset = idle_reset_own,
    .config_wrote = idle_config_wrote,
};

static int idle_start(struct device *d, const void *, struct err *e)
{
    struct vdev *v = vdev_of(d);

    v->config_len = CFG_LEN;
    memcpy(v->st.config, "0123456789ab", CFG_LEN);
    memset(v->config_writable + 4, 0xff, 2);
    return vdev_start(v, &idle_vdef, FEATURE_OWN, 2, e);
}

static void idle_stop(struct device *d)
{
    vdev_stop(vdev_of(d));
}

static void idle_reset(struct device *d)
{
    vdev_reset(vdev_of(d));
}

static void idle_pause(struct device *d)
{
    vdev_pause(vdev_of(d));
}

static void idle_resume(struct device *d)
{
    vdev_resume(vdev_of(d));
}

static const struct device_def idle_def = {
    .name = "idle",
    .doc = "a test's",
    .size = sizeof(struct idle),
    .parts = { VDEV_PARTS(idle, v) },
    .start = idle_start,
    .stop = idle_stop,
    .reset = idle_reset,
    .pause = idle_pause,
    .resume = idle_resume,
};

/* A machine with the device and its driver; it also counts doorbells. */
struct bench {
    struct fake_machine *f;
    struct device *d;
    struct idle *i;
    struct vdev *v;
    struct machine_ops ops;
    struct driver_fake g;
};

static struct {
    u32 on, off;
    u64 last;
} bells;

static int count_bells(void *, u64 addr, u32 len, int fd, bool on)
{
    CHECK(fd >= 0);
    CHECK_EQ(len, 2);
    bells.on += on;
    bells.off += !on;
    bells.last = addr;
    return 0;
}

static struct bench *bench_new(void)
{
    struct bench *b = xnew(struct bench);
    struct err e;

    memset(&bells, 0, sizeof(bells));
    b->f = fake_machine_new();
    b->ops = *b->f->m.ops;
    b->ops.doorbell = count_bells;
    b->f->m.ops = &b->ops;
    CHECK_OK(device_new(&idle_def, &b->f->m, "idle0", NULL, &b->d, &e), &e);
    b->v = vdev_of(b->d);
    b->i = idle_of(b->v);
    driver_fake_init(&b->g, b->f, b->d);
    return b;
}

static void bench_free(struct bench *b)
{
    device_free(b->d);
    CHECK_EQ(bells.on, bells.off);
    fake_machine_free(b->f);
    free(b);
}

/* Up to DRIVER_OK with both queues. */
static void run(struct bench *b, u64 features)
{
    CHECK(driver_fake_negotiate(&b->g, features));
    driver_fake_queue(&b->g, 0, 16);
    driver_fake_queue(&b->g, 1, 8);
    driver_fake_ready(&b->g);
    CHECK(b->v->active);
}

/* Lets the device give one chain of queue `n` back. */
static void echo(struct bench *b, u16 n)
{
    struct chain *c = xnew(struct chain);

    CHECK_EQ(vq_pop(&b->v->q[n], c), 1);
    vq_push(&b->v->q[n], c);
    vdev_notify(b->v, n);
    free(c);
}

static u64 ecam_read(struct bench *b, u32 off, u32 len)
{
    u64 v;

    CHECK(bus_read(b->f->m.mmio, ECAM + b->v->fn.slot * 0x8000ull + off, len, &v));
    return v;
}

static void ecam_write(struct bench *b, u32 off, u32 len, u64 val)
{
    CHECK(bus_write(b->f->m.mmio, ECAM + b->v->fn.slot * 0x8000ull + off, len, val));
}

/* ---- negotiation ---- */

TEST(vdev_features)
{
    static const struct {
        const char *why;
        u64 accept;
        bool ok;
    } rows[] = {
        { "only VERSION_1", VIRTIO_F_VERSION_1, true },
        { "all that is offered",
          FEATURE_OWN | VIRTIO_F_INDIRECT_DESC | VIRTIO_F_EVENT_IDX | VIRTIO_F_VERSION_1 |
              VIRTIO_F_RING_PACKED,
          true },
        { "a legacy driver", FEATURE_OWN, false },
        { "one that is not offered", VIRTIO_F(4) | VIRTIO_F_VERSION_1, false },
        { "a high one that is not offered", VIRTIO_F(63) | VIRTIO_F_VERSION_1, false },
    };
    struct bench *b = bench_new();

    for_each_row(c, rows) {
        ROW(c);
        driver_fake_reset(&b->g);
        for (u32 i = 0; i < 2; i++) {
            driver_fake_write(&b->g, 0x08, 4, i);
            driver_fake_write(&b->g, 0x0c, 4, (u32)(c->accept >> 32 * i));
        }
        driver_fake_write(&b->g, 0x08, 4, 7); /* there are no such features: nothing changes */
        driver_fake_write(&b->g, 0x0c, 4, 0xffffffff);
        driver_fake_write(&b->g, 0x14, 1, 3);
        driver_fake_write(&b->g, 0x14, 1, 11);
        CHECK_EQ(driver_fake_status(&b->g), c->ok ? 11 : 3);
        driver_fake_write(&b->g, 0x08, 4, 0);
        driver_fake_write(&b->g, 0x0c, 4, 1); /* too late once it was accepted */
        CHECK_EQ(b->v->st.driver_features & 1, !c->ok);
        driver_fake_write(&b->g, 0x14, 1, 15);
        CHECK_EQ(b->v->active, c->ok);
    }
    bench_free(b);
}

TEST(vdev_offered)
{
    struct bench *b = bench_new();

    CHECK_EQ(driver_fake_offered(&b->g),
             FEATURE_OWN | VIRTIO_F(28) | VIRTIO_F(29) | VIRTIO_F(32) | VIRTIO_F(34));
    driver_fake_write(&b->g, 0x00, 4, 2);
    CHECK_EQ(driver_fake_read(&b->g, 0x04, 4), 0);
    CHECK_EQ(driver_fake_read(&b->g, 0x12, 2), 2);
    bench_free(b);
}

TEST(vdev_queue_registers)
{
    static const struct {
        const char *why;
        u32 off, len;
        u64 write, want; /* what it reads as then */
    } rows[] = {
        /* clang-format off */
        { "offered size", 0x18, 2, 64, 64 },
        { "smaller", 0x18, 2, 16, 16 },
        { "too large", 0x18, 2, 128, 16 },
        { "zero", 0x18, 2, 0, 16 },
        { "last vector", 0x1a, 2, 2, 2 },
        { "no such vector", 0x1a, 2, 3, 0xffff },
        { "notify offset is fixed", 0x1e, 2, 9, 1 },
        { "descriptors, 64 bits", 0x20, 8, 0x123456789abcdef0, 0x123456789abcdef0 },
        { "descriptors, low half", 0x20, 4, 0x11111110, 0x11111110 },
        { "descriptors, high half", 0x24, 4, 0x22222222, 0x22222222 },
        { "driver area", 0x28, 8, 0x4444, 0x4444 },
        { "device area", 0x30, 4, 0x5554, 0x5554 },
        { "across two", 0x22, 4, 0x77777777, 0 },
        { "bytes of a register", 0x20, 1, 0x77, 0 },
        { "enable with 2", 0x1c, 2, 2, 0 },
        { "enable", 0x1c, 2, 1, 1 },
        { "disable", 0x1c, 2, 0, 1 },
        { "size while enabled", 0x18, 2, 32, 16 },
        { "descriptors while enabled", 0x20, 4, 0, 0x11111110 },
        { "vector while enabled", 0x1a, 2, 1, 1 },
        { "past the registers", 0x38, 2, 1, 0 },
        /* clang-format on */
    };
    struct bench *b = bench_new();

    driver_fake_write(&b->g, 0x16, 2, 1);
    CHECK_EQ(driver_fake_read(&b->g, 0x20, 8), 0);
    for_each_row(c, rows) {
        ROW(c);
        driver_fake_write(&b->g, c->off, c->len, c->write);
        CHECK_EQ(driver_fake_read(&b->g, c->off, c->len), c->want);
    }
    CHECK_EQ(driver_fake_read(&b->g, 0x20, 8), 0x2222222211111110);
    driver_fake_write(&b->g, 0x16, 2, 2); /* no such queue */
    for (u32 off = 0x18; off < 0x38; off += 2) {
        driver_fake_write(&b->g, off, 2, 1);
        CHECK_EQ(driver_fake_read(&b->g, off, 2), off == 0x1a ? 0xffff : 0);
    }
    driver_fake_reset(&b->g);
    driver_fake_write(&b->g, 0x16, 2, 1);
    CHECK_EQ(driver_fake_read(&b->g, 0x20, 8), 0);
    CHECK_EQ(driver_fake_read(&b->g, 0x18, 2), 64);
    CHECK_EQ(driver_fake_read(&b->g, 0x1c, 2), 0);
    bench_free(b);
}

/* ---- PCI ---- */

TEST(vdev_capabilities)
{
    static const struct {
        const char *why;
        u64 type, len, at, size;
    } rows[] = {
        { "common", 1, 16, 0, 0x38 },  { "notify", 2, 20, 0x3000, 8 },
        { "isr", 3, 16, 0x1000, 1 },   { "device", 4, 16, 0x2000, CFG_LEN },
        { "PCI access", 5, 20, 0, 0 },
    };
    struct bench *b = bench_new();
    u32 cap = (u32)ecam_read(b, 0x34, 1);

    CHECK_EQ(ecam_read(b, 0, 4), 0x10441af4);
    CHECK_EQ(ecam_read(b, 8, 4), 0x00ff0001);
    CHECK_EQ(ecam_read(b, 0x2c, 4), 0x11001af4);
    for_each_row(c, rows) {
        ROW(c);
        CHECK_EQ(ecam_read(b, cap, 1), 9);
        CHECK_EQ(ecam_read(b, cap + 2, 1), c->len);
        CHECK_EQ(ecam_read(b, cap + 3, 1), c->type);
        CHECK_EQ(ecam_read(b, cap + 4, 1), 4);
        CHECK_EQ(ecam_read(b, cap + 8, 4), c->at);
        CHECK_EQ(ecam_read(b, cap + 12, 4), c->size);
        if (c->type == 2)
            CHECK_EQ(ecam_read(b, cap + 16, 4), 4);
        cap = (u32)ecam_read(b, cap + 1, 1);
    }
    CHECK_EQ(ecam_read(b, cap, 1), 0x11);
    CHECK_EQ(ecam_read(b, cap + 1, 1), 0);
    bench_free(b);
}

/* Points the window of VIRTIO_PCI_CAP_PCI_CFG. */
static void aim_window(struct bench *b, u8 bar, u32 off, u32 len)
{
    ecam_write(b, b->v->cfg_cap + 4, 1, bar);
    ecam_write(b, b->v->cfg_cap + 8, 4, off);
    ecam_write(b, b->v->cfg_cap + 12, 4, len);
}

TEST(vdev_access_through_configuration_space)
{
    struct bench *b = bench_new();
    u32 data = b->v->cfg_cap + 16u;

    aim_window(b, 4, 0x14, 1); /* device status */
    ecam_write(b, data, 1, 3);
    CHECK_EQ(driver_fake_status(&b->g), 3);
    ecam_write(b, data, 1, 0);
    CHECK_EQ(driver_fake_status(&b->g), 0);
    aim_window(b, 4, 0x2004, 2);
    ecam_write(b, data, 4, 0x59585958); /* two bytes of it count */
    CHECK_EQ(driver_fake_config(&b->g, 4, 4), 0x37365958);
    CHECK_EQ(ecam_read(b, data, 2), 0x5958);
    static const struct {
        const char *why;
        u8 bar;
        u32 off, len;
    } bad[] = {
        { "another BAR", 1, 0x14, 1 },      { "three bytes", 4, 0x14, 3 },
        { "unaligned", 4, 0x15, 2 },        { "behind the end", 4, 0x4000, 1 },
        { "far behind", 4, 0xfffffffc, 4 }, { "nothing", 4, 0x14, 0 },
    };
    for_each_row(c, bad) {
        ROW(c);
        aim_window(b, c->bar, c->off, c->len);
        ecam_write(b, data, 4, 0x0f0f0f0f);
        CHECK_EQ(ecam_read(b, data, 4), 0x0f0f0f0f);
        CHECK_EQ(driver_fake_status(&b->g), 0);
    }
    bench_free(b);
}

TEST(vdev_doorbells_follow_the_bar)
{
    struct bench *b = bench_new();

    CHECK_EQ(bells.on - bells.off, 2);
    CHECK_EQ(bells.last, b->g.bar + 0x3004);
    ecam_write(b, 0x04, 2, 0); /* decodes nothing */
    CHECK_EQ(bells.on, bells.off);
    ecam_write(b, 0x24, 4, 0x90);
    ecam_write(b, 0x04, 2, 2);
    CHECK_EQ(bells.on - bells.off, 2);
    CHECK_EQ(bells.last >> 32, 0x90);
    bench_free(b);
}

TEST(vdev_kicks_that_arrive_as_writes)
{
    struct bench *b = bench_new();

    run(b, 0);
    CHECK_EQ(fd_event_take(b->v->kick[0]), 1); /* at the start each is kicked once */
    CHECK_EQ(fd_event_take(b->v->kick[1]), 1);
    driver_fake_kick(&b->g, 1);
    driver_fake_write(&b->g, 0x3004, 4, 1);
    CHECK_EQ(fd_event_take(b->v->kick[0]), 0);
    CHECK_EQ(fd_event_take(b->v->kick[1]), 2);
    driver_fake_kick(&b->g, 2); /* no such queue */
    driver_fake_kick(&b->g, 0);
    driver_fake_reset(&b->g);
    CHECK_EQ(fd_event_take(b->v->kick[0]), 0); /* forgotten */
    bench_free(b);
}

/* ---- interrupts ---- */

TEST(vdev_msix_and_intx)
{
    struct bench *b = bench_new();
    u32 gsi = 16 + b->v->fn.slot % 4u;
    const struct driver_fake_buf buf = { 0x8000, 16, true };

    run(b, 0);
    for (u32 i = 0; i < 2; i++)
        CHECK(driver_fake_add(&b->g.q[1], &buf, 1) >= 0);
    echo(b, 1);
    CHECK(b->f->level[gsi]);
    CHECK_EQ(b->f->msis, 0);
    CHECK_EQ(driver_fake_read(&b->g, 0x1000, 1), 1);
    CHECK(!b->f->level[gsi]);
    CHECK_EQ(driver_fake_read(&b->g, 0x1000, 1), 0);
    vdev_config_set(b->v, 0, "x", 1);
    CHECK(b->f->level[gsi]);
    CHECK_EQ(driver_fake_read(&b->g, 0x1000, 1), 2);
    driver_fake_msix(&b->g);
    echo(b, 1);
    CHECK_EQ(b->f->msis, 1);
    CHECK_EQ(b->f->msi_data, DRIVER_FAKE_MSI + 2);
    CHECK(!b->f->level[gsi]);
    driver_fake_write(&b->g, 0x10, 2, 0);
    vdev_config_set(b->v, 0, "y", 1);
    CHECK_EQ(b->f->msis, 2);
    CHECK_EQ(b->f->msi_data, DRIVER_FAKE_MSI);
    driver_fake_write(&b->g, 0x16, 2, 1);
    driver_fake_write(&b->g, 0x1a, 2, 0); /* another vector, while it runs */
    CHECK(driver_fake_add(&b->g.q[1], &buf, 1) >= 0);
    echo(b, 1);
    CHECK_EQ(b->f->msi_data, DRIVER_FAKE_MSI);
    bench_free(b);
}

/* ---- configuration ---- */

TEST(vdev_configuration)
{
    struct bench *b = bench_new();

    CHECK_EQ(driver_fake_config(&b->g, 0, 4), 0x33323130);
    CHECK_EQ(driver_fake_config(&b->g, 8, 8), 0); /* over its end */
    CHECK_EQ(driver_fake_config(&b->g, CFG_LEN, 1), 0);
    driver_fake_config_write(&b->g, 2, 4, 0x61616161);
    CHECK_EQ(driver_fake_config(&b->g, 0, 8), 0x3736616133323130);
    CHECK_EQ(b->i->config_writes, 1);
    driver_fake_config_write(&b->g, 0, 4, 0x61616161);
    driver_fake_config_write(&b->g, 8, 8, 0);
    CHECK_EQ(b->i->config_writes, 1);
    CHECK_EQ(driver_fake_read(&b->g, 0x15, 1), 0);
    vdev_config_set(b->v, 6, "zz", 2);
    vdev_config_set(b->v, 6, "zz", 2); /* the same: no change */
    CHECK_EQ(driver_fake_read(&b->g, 0x15, 1), 1);
    CHECK_EQ(driver_fake_config(&b->g, 4, 4), 0x7a7a6161);
    driver_fake_reset(&b->g); /* the driver's bytes go back, the device's stay */
    CHECK_EQ(driver_fake_config(&b->g, 4, 4), 0x7a7a3534);
    vdev_config_set(b->v, 4, "q", 1); /* the device may have the last word on the driver's */
    driver_fake_config_write(&b->g, 4, 1, 'r');
    driver_fake_reset(&b->g);
    CHECK_EQ(driver_fake_config(&b->g, 4, 1), 'q');
    bench_free(b);
}

/* ---- failing, resetting ---- */

TEST(vdev_bad_rings_need_reset)
{
    struct bench *b = bench_new();

    driver_fake_msix(&b->g);
    CHECK(driver_fake_negotiate(&b->g, 0));
    driver_fake_write(&b->g, 0x10, 2, 0);
    driver_fake_queue(&b->g, 0, 16);
    driver_fake_write(&b->g, 0x16, 2, 1);
    driver_fake_write(&b->g, 0x20, 8, 1ull << 50);
    driver_fake_write(&b->g, 0x1c, 2, 1);
    driver_fake_ready(&b->g);
    CHECK(!b->v->active);
    CHECK_EQ(b->i->activated, 0);
    CHECK_EQ(driver_fake_status(&b->g), 15 | VIRTIO_NEEDS_RESET);
    CHECK_EQ(b->f->msis, 1);
    driver_fake_ready(&b->g); /* does not help */
    CHECK(!b->v->active);
    run(b, 0);
    CHECK_EQ(b->i->activated, 1);
    bench_free(b);
}

TEST(vdev_failure_is_told_once)
{
    struct bench *b = bench_new();

    b->i->refuse = true;
    CHECK(driver_fake_negotiate(&b->g, 0));
    driver_fake_queue(&b->g, 0, 16);
    driver_fake_ready(&b->g);
    CHECK(!b->v->active);
    CHECK(driver_fake_status(&b->g) & VIRTIO_NEEDS_RESET);
    b->i->refuse = false;
    driver_fake_msix(&b->g);
    run(b, 0);
    driver_fake_write(&b->g, 0x10, 2, 0);
    vdev_fail(b->v, "a test");
    vdev_fail(b->v, "a test");
    CHECK_EQ(b->f->msis, 1);
    CHECK(b->v->active); /* its threads still have the queues */
    device_pause(b->d);
    device_resume(b->d);
    CHECK(!b->v->active);
    run(b, 0);
    bench_free(b);
}

TEST(vdev_reset_stops)
{
    struct bench *b = bench_new();
    u32 resets;

    run(b, 0);
    resets = b->i->resets;
    driver_fake_reset(&b->g);
    CHECK_EQ(b->i->deactivated, 1);
    CHECK_EQ(b->i->resets, resets + 1);
    CHECK_EQ(b->v->st.driver_features, 0);
    run(b, 0);
    device_reset(b->d);
    CHECK_EQ(b->i->deactivated, 2);
    CHECK(!b->v->fn.bars[4].mapped);
    bench_free(b);
}

/* ---- pausing and saving ---- */

static void save(struct device *d, struct strbuf *out)
{
    state_stream_begin(out);
    device_save(d, out);
    state_stream_end(out);
}

static int load(struct device *d, const struct strbuf *in, struct err *e)
{
    struct state_reader r;
    struct state_section s;
    int n = state_reader_init(&r, in->text, in->len, e);

    while (n >= 0 && (n = state_reader_next(&r, &s, e)) == 1)
        n = device_load(d, &s, e);
    return n;
}

/* A driver goes on with another device that was loaded with the first one's state: rings, interrupts, all in the middle. */
static void check_moves(u64 features)
{
    struct bench *b = bench_new(), *to = bench_new();
    const struct driver_fake_buf buf = { 0x8000, 16, true };
    AUTO(strbuf) struct strbuf saved = {}, again = {};
    struct err e = {};
    u64 ram = 4 * MiB;
    u16 id;
    u32 len;

    driver_fake_msix(&b->g);
    run(b, features);
    for (u32 i = 0; i < 21; i++) { /* more than a lap */
        CHECK(driver_fake_add(&b->g.q[0], &buf, 1) >= 0);
        echo(b, 0);
        CHECK(driver_fake_used(&b->g.q[0], &id, &len));
    }
    driver_fake_irqs(&b->g.q[0], true);
    CHECK(driver_fake_add(&b->g.q[0], &buf, 1) >= 0);
    CHECK(driver_fake_add(&b->g.q[0], &buf, 1) >= 0);
    echo(b, 0);
    device_pause(b->d);
    CHECK_EQ(b->i->deactivated, 1);
    save(b->d, &saved);
    CHECK_EQ(mem_write(to->f->m.mem, 0, mem_at(b->f->m.mem, 0, ram), ram), 0);
    device_pause(to->d);
    CHECK_OK(load(to->d, &saved, &e), &e);
    CHECK_EQ(to->i->activated, 0);
    save(to->d, &again);
    CHECK_EQ(again.len, saved.len);
    CHECK_MEM(again.text, saved.text, saved.len);
    device_resume(to->d);
    CHECK_EQ(to->i->activated, 1);
    CHECK_EQ(fd_event_take(to->v->kick[0]), 1); /* to look for what waits */
    to->g = b->g;
    to->g.f = to->f;
    to->g.v = to->v;
    to->g.q[0].mem = to->f->m.mem;
    CHECK(driver_fake_used(&to->g.q[0], &id, &len));
    driver_fake_irqs(&to->g.q[0], true);
    echo(to, 0);
    CHECK_EQ(to->f->msis, 1);
    CHECK_EQ(to->f->msi_data, DRIVER_FAKE_MSI + 1);
    CHECK(driver_fake_used(&to->g.q[0], &id, &len));
    CHECK_EQ(b->f->msis > 0, true);
    bells.on = bells.off = 0; /* of two machines */
    device_free(to->d);
    fake_machine_free(to->f);
    free(to);
    bells.on = bells.off = 0;
    device_free(b->d);
    fake_machine_free(b->f);
    free(b);
}

TEST(vdev_moves_to_another_machine)
{
    check_moves(0);
    check_moves(VIRTIO_F_EVENT_IDX);
    check_moves(VIRTIO_F_RING_PACKED);
    check_moves(VIRTIO_F_RING_PACKED | VIRTIO_F_EVENT_IDX);
}

TEST(vdev_load_refuses)
{
    static const struct {
        const char *why;
        u32 at; /* of a u16 in vdev_state */
        u16 value;
        const char *says;
    } rows[] = {
        /* clang-format off */
        { "unknown status bit", offsetof(struct vdev_state, status), 0x10, "status" },
        { "features not offered", offsetof(struct vdev_state, driver_features), 1, "features" },
        { "interrupt status", offsetof(struct vdev_state, isr), 4, "interrupt" },
        { "vector", offsetof(struct vdev_state, config_vector), 3, "vector" },
        { "a queue's vector", offsetof(struct vdev_state, queues[1].vector), 3, "vector" },
        { "a queue's size", offsetof(struct vdev_state, queues[1].size), 65, "65 entries" },
        { "an impossible size", offsetof(struct vdev_state, queues[1].size), 257, "at most 256" },
        { "a third queue", offsetof(struct vdev_state, queues[2].next_avail), 1, "queue 2" },
        { "longer configuration", offsetof(struct vdev_state, config[CFG_LEN]), 1, "configuration byte" },
        /* clang-format on */
    };
    struct bench *b = bench_new();
    struct vdev_state good;

    run(b, 0);
    device_pause(b->d);
    good = b->v->st;
    for_each_row(c, rows) {
        AUTO(strbuf) struct strbuf saved = {}, after = {}, before = {};
        struct err e = {};

        ROW(c);
        save(b->d, &before);
        le_store((u8 *)&b->v->st + c->at, 2, c->value);
        save(b->d, &saved);
        b->v->st = good;
        CHECK_EQ(load(b->d, &saved, &e), -EBADMSG);
        CHECK_HAS(e.text, c->says);
        save(b->d, &after);
        CHECK_MEM(after.text, before.text, before.len);
    }
    device_resume(b->d);
    CHECK(b->v->active);
    bench_free(b);
}
