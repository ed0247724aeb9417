/*
 * dev/virtio/rng_test.c: entropy arrives, is not the same twice, and no driver makes the device work for ever.
 */
#include "dev/virtio/driver_fake.h"
#include "mem/mem.h"
#include "testlib/test.h"

extern const struct device_def virtio_rng_def;

static void check_rng(u64 features)
{
    struct fake_machine *f = fake_machine_new();
    struct device *d;
    struct driver_fake g;
    struct driver_fake_buf buf = { 0x8000, 64, true };
    u8 bytes[2][64];
    struct err e;
    u16 id;
    u32 len;

    CHECK_OK(device_new(&virtio_rng_def, &f->m, "rng0", NULL, &d, &e), &e);
    driver_fake_init(&g, f, d);
    driver_fake_msix(&g);
    CHECK(driver_fake_negotiate(&g, features));
    driver_fake_queue(&g, 0, 32);
    driver_fake_ready(&g);
    for (u32 i = 0; i < 2; i++) {
        driver_fake_irqs(&g.q[0], true);
        CHECK(driver_fake_add(&g.q[0], &buf, 1) >= 0);
        driver_fake_kick(&g, 0);
        CHECK(driver_fake_used(&g.q[0], &id, &len));
        CHECK_EQ(len, 64);
        CHECK_EQ(f->msis, i + 1);
        CHECK_EQ(mem_read(f->m.mem, 0x8000, bytes[i], 64), 0);
    }
    CHECK(memcmp(bytes[0], bytes[1], 64) != 0);
    buf = (struct driver_fake_buf){ 4 * MiB, 32 * MiB, true }; /* gets a part of it */
    for (u32 i = 0; i < 32; i++)
        CHECK(driver_fake_add(&g.q[0], &buf, 1) >= 0);
    driver_fake_kick(&g, 0);
    for (u32 i = 0; i < VDEV_SERVE_MAX; i++) {
        CHECK(driver_fake_used(&g.q[0], &id, &len));
        CHECK_EQ(len, 4096);
    }
    CHECK(!driver_fake_used(&g.q[0], &id, &len)); /* the rest follows from the control loop */
    driver_fake_loop(&g);
    for (u32 i = 0; i < 32 - VDEV_SERVE_MAX; i++)
        CHECK(driver_fake_used(&g.q[0], &id, &len));
    buf = (struct driver_fake_buf){ 1ull << 40, 64, true };
    CHECK(driver_fake_add(&g.q[0], &buf, 1) >= 0);
    driver_fake_kick(&g, 0);
    CHECK(driver_fake_status(&g) & VIRTIO_NEEDS_RESET);
    driver_fake_kick(&g, 0);
    CHECK(!driver_fake_used(&g.q[0], &id, &len));
    device_free(d);
    fake_machine_free(f);
}

TEST(rng_gives_entropy)
{
    check_rng(0);
    check_rng(VIRTIO_F_RING_PACKED | VIRTIO_F_EVENT_IDX);
}
