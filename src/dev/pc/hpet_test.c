/*
 * dev/pc/hpet_test.c: the event timer, with a clock of the host that only the test moves.
 */
#include "dev/pc/hpet.c" /* NOLINT(bugprone-suspicious-include): its inside is tested */

#include "dev/pc/ports_test.h"

enum { BASE = 0xfed00000, T0 = 0x100, T1 = 0x120, T2 = 0x140, CMP = 8 };

static u64 host_ns;

static u64 fake_clock(void)
{
    return host_ns;
}

static struct bench open_hpet(void)
{
    struct bench b = bench_open(&hpet_def, NULL);
    struct hpet *h = hpet_of(b.d);

    host_ns = 1000000;
    h->clock_ns = fake_clock;
    h->since_ns = host_ns;
    return b;
}

static u64 rd(struct bench *b, u32 off)
{
    u64 v = 0;

    CHECK(bus_read(b->f->m.mmio, BASE + off, 8, &v));
    return v;
}

static void wr(struct bench *b, u32 off, u64 v)
{
    CHECK(bus_write(b->f->m.mmio, BASE + off, 8, v));
}

/* `ticks` go by, and the alarm rings if it is set. */
static void go_on(struct bench *b, u64 ticks)
{
    struct hpet *h = hpet_of(b->d);

    host_ns += ticks * TICK_NS;
    pthread_mutex_lock(&b->d->lock);
    settle(h);
    update(h);
    pthread_mutex_unlock(&b->d->lock);
}

TEST(hpet_counter)
{
    struct bench b = open_hpet();
    u64 half;

    CHECK_EQ(rd(&b, 0) & 0xffffffff, HPET_BLOCK_ID);
    CHECK_EQ(rd(&b, 0) >> 32, 10000000); /* fs */
    go_on(&b, 100);
    CHECK_EQ(rd(&b, 0xf0), 0);
    wr(&b, 0x10, 1);
    go_on(&b, 100);
    CHECK_EQ(rd(&b, 0xf0), 100);
    wr(&b, 0x10, 0);
    go_on(&b, 100);
    wr(&b, 0xf0, 0x1fffffffe);
    wr(&b, 0x10, 1);
    go_on(&b, 5);
    CHECK_EQ(rd(&b, 0xf0), 0x200000003);
    CHECK(bus_read(b.f->m.mmio, BASE + 0xf4, 4, &half));
    CHECK_EQ(half, 2);
    bench_close(&b);
}

TEST(hpet_one_shot)
{
    struct bench b = open_hpet();

    wr(&b, T2, T_INTERRUPT | 20 << 9);
    wr(&b, T2 + CMP, 1000);
    wr(&b, 0x10, 1);
    go_on(&b, 999);
    CHECK_EQ(b.f->irqs[20], 0);
    go_on(&b, 1);
    CHECK_EQ(b.f->irqs[20], 1);
    CHECK(!b.f->level[20]);
    go_on(&b, 100000);
    wr(&b, T2 + CMP, 5000); /* gone by */
    go_on(&b, 100000);
    CHECK_EQ(b.f->irqs[20], 1);
    wr(&b, T2, T_INTERRUPT | T_32BIT | 20 << 9);
    go_on(&b, 1ull << 32); /* its 32 bits come round */
    CHECK_EQ(b.f->irqs[20], 2);
    bench_close(&b);
}

TEST(hpet_periodic)
{
    struct bench b = open_hpet();

    wr(&b, 0x10, 1);
    wr(&b, T0, T_INTERRUPT | T_PERIODIC | T_SET | 21 << 9); /* as Linux does it */
    wr(&b, T0 + CMP, 700);
    wr(&b, T0 + CMP, 100);
    CHECK_EQ(rd(&b, T0 + CMP), 700);
    go_on(&b, 700);
    CHECK_EQ(b.f->irqs[21], 1);
    CHECK_EQ(rd(&b, T0 + CMP), 800);
    go_on(&b, 350); /* late: once, and in phase */
    CHECK_EQ(b.f->irqs[21], 2);
    CHECK_EQ(rd(&b, T0 + CMP), 1100);
    bench_close(&b);
}

TEST(hpet_level)
{
    struct bench b = open_hpet();

    wr(&b, T1, T_INTERRUPT | T_LEVEL | 22 << 9);
    wr(&b, T1 + CMP, 10);
    wr(&b, 0x10, 1);
    go_on(&b, 10);
    CHECK(b.f->level[22]);
    CHECK_EQ(rd(&b, 0x20), 2);
    wr(&b, T1, T_LEVEL | 22 << 9); /* not enabled: the status stays */
    CHECK(!b.f->level[22]);
    wr(&b, T1, T_INTERRUPT | T_LEVEL | 23 << 9);
    CHECK(b.f->level[23]);
    wr(&b, 0x20, 2);
    CHECK(!b.f->level[23]);
    bench_close(&b);
}

TEST(hpet_routes)
{
    struct bench b = open_hpet();

    wr(&b, T0, T_INTERRUPT | 21 << 9);
    wr(&b, T0, T_INTERRUPT | 5 << 9); /* not one that it has */
    CHECK_EQ(rd(&b, T0), T_FIXED | T_INTERRUPT | 21 << 9);
    wr(&b, T1, T_INTERRUPT);
    wr(&b, T0 + CMP, 10);
    wr(&b, T1 + CMP, 20);
    wr(&b, 0x10, 3); /* legacy replacement */
    go_on(&b, 10);
    CHECK_EQ(b.f->irqs[0], 1);
    go_on(&b, 10);
    CHECK_EQ(b.f->irqs[8], 1);
    CHECK_EQ(b.f->irqs[21], 0);
    bench_close(&b);
}

TEST(hpet_pause_stops_the_counter)
{
    struct bench b = open_hpet();

    wr(&b, 0x10, 1);
    go_on(&b, 10);
    device_pause(b.d);
    host_ns += 1000000;
    CHECK_EQ(hpet_of(b.d)->st.counter, 10);
    device_resume(b.d);
    CHECK_EQ(rd(&b, 0xf0), 10);
    go_on(&b, 5);
    CHECK_EQ(rd(&b, 0xf0), 15);
    device_reset(b.d);
    CHECK_EQ(rd(&b, 0xf0), 0);
    bench_close(&b);
}
