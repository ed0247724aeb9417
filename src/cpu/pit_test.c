/*
 * cpu/pit_test.c: the six modes, latches, BCD, the speaker's port, the saved form.
 */
#include "cpu/pit.h"

#include "testlib/test.h"

enum { OUT = 0x80, NULL_COUNT = 0x40 };

static u32 rises;

static void on_rose(void *arg [[maybe_unused]])
{
    rises++;
}

static void fresh(struct pit *p)
{
    rises = 0;
    pit_init(p, on_rose, NULL);
}

/* The first ns at which n ticks are over. */
static u64 after(u64 n)
{
    return (n * NSEC_PER_SEC + PIT_HZ - 1) / PIT_HZ;
}

/* Both bytes, binary or BCD. */
static void program(struct pit *p, u32 ch, u32 mode, u32 count, u64 now)
{
    pit_write(p, 0x43, (u8)(ch << 6 | 0x30 | mode << 1), now);
    pit_write(p, (u16)(0x40 + ch), (u8)count, now);
    pit_write(p, (u16)(0x40 + ch), (u8)(count >> 8), now);
}

static u32 counter(struct pit *p, u32 ch, u64 now)
{
    u32 low;

    pit_write(p, 0x43, (u8)(ch << 6), now);
    low = pit_read(p, (u16)(0x40 + ch), now);
    return low | (u32)pit_read(p, (u16)(0x40 + ch), now) << 8;
}

static u8 status(struct pit *p, u32 ch, u64 now)
{
    pit_write(p, 0x43, (u8)(0xe0 | 2u << ch), now);
    return pit_read(p, (u16)(0x40 + ch), now);
}

static bool output(struct pit *p, u32 ch, u64 tick)
{
    return status(p, ch, after(tick)) & OUT;
}

static void gate(struct pit *p, bool on, u64 now)
{
    pit_write(p, 0x61, on, now);
}

TEST(pit_mode_0_interrupts_at_the_end)
{
    struct pit p;

    fresh(&p);
    program(&p, 0, 0, 1000, 0);
    CHECK_EQ(pit_deadline_ns(&p), after(1000));
    CHECK(!output(&p, 0, 0));
    CHECK_EQ(counter(&p, 0, after(300)), 700);
    CHECK(!output(&p, 0, 999));
    CHECK_EQ(rises, 0);
    pit_tick(&p, after(1000));
    CHECK_EQ(rises, 1);
    CHECK_EQ(pit_deadline_ns(&p), UINT64_MAX);
    CHECK(output(&p, 0, 1000));
    CHECK_EQ(counter(&p, 0, after(1001)), 0xffff); /* goes on from there */
    pit_write(&p, 0x40, 5, after(1100));           /* the first byte of a new count stops it */
    CHECK(!(status(&p, 0, after(1100)) & OUT));
    CHECK_EQ(pit_deadline_ns(&p), UINT64_MAX);
    pit_write(&p, 0x40, 0, after(1200));
    pit_tick(&p, after(1206));
    CHECK_EQ(rises, 2);
}

TEST(pit_mode_2_rate)
{
    struct pit p;

    fresh(&p);
    program(&p, 0, 2, 100, 0);
    CHECK(output(&p, 0, 0) && output(&p, 0, 98) && !output(&p, 0, 99));
    CHECK_EQ(counter(&p, 0, after(99)), 1);
    pit_tick(&p, after(100));
    CHECK_EQ(rises, 1);
    CHECK_EQ(pit_deadline_ns(&p), after(200));
    CHECK_EQ(counter(&p, 0, after(100)), 100);
    pit_tick(&p, after(555)); /* late: once, and in phase */
    CHECK_EQ(rises, 2);
    CHECK_EQ(pit_deadline_ns(&p), after(600));
}

TEST(pit_mode_3_square)
{
    struct pit p;

    fresh(&p);
    program(&p, 0, 7, 5, 0); /* "X11" is 3 */
    CHECK_EQ(status(&p, 0, 0) & 0x3f, 0x36);
    for (u32 t = 0; t < 10; t++)
        CHECK_EQ(output(&p, 0, t), t % 5 < 3);
    program(&p, 0, 3, 0, after(100)); /* 0 is 65536 */
    CHECK_EQ(counter(&p, 0, after(100) + after(100)), 65536 - 200);
    CHECK_EQ(pit_deadline_ns(&p), after(100) + after(65536));
}

TEST(pit_mode_4_strobe)
{
    struct pit p;

    fresh(&p);
    program(&p, 0, 4, 10, 0);
    CHECK(output(&p, 0, 9) && !output(&p, 0, 10) && output(&p, 0, 11));
    CHECK_EQ(rises, 1);
    CHECK_EQ(pit_deadline_ns(&p), UINT64_MAX);
}

TEST(pit_modes_1_and_5_wait_for_the_gate)
{
    struct pit p;
    u64 t = after(50);

    fresh(&p);
    program(&p, 2, 1, 10, 0);
    CHECK(output(&p, 2, 20));
    gate(&p, true, t);
    CHECK(!(status(&p, 2, t) & OUT));
    gate(&p, false, t); /* has no effect now */
    CHECK(!(status(&p, 2, t + after(9)) & OUT));
    CHECK(status(&p, 2, t + after(10)) & OUT);
    program(&p, 2, 5, 10, 2 * t);
    gate(&p, true, 2 * t);
    CHECK(status(&p, 2, 2 * t + after(9)) & OUT);
    CHECK(!(status(&p, 2, 2 * t + after(10)) & OUT));
    CHECK(status(&p, 2, 2 * t + after(11)) & OUT);
}

TEST(pit_gate_holds_a_count)
{
    struct pit p;

    fresh(&p);
    program(&p, 2, 0, 1000, 0); /* the gate is low at power-on */
    CHECK_EQ(counter(&p, 2, after(500)), 1000);
    gate(&p, true, after(500));
    CHECK_EQ(counter(&p, 2, after(500) + after(400)), 600);
    gate(&p, false, after(1000));
    CHECK_EQ(counter(&p, 2, after(5000)), 500);
    gate(&p, true, after(5000));
    CHECK_EQ(pit_read(&p, 0x61, after(5400)) & 0x21, 0x01);
    CHECK_EQ(pit_read(&p, 0x61, after(5500)) & 0x21, 0x21);
    program(&p, 2, 2, 100, after(6000));
    gate(&p, false, after(6050));
    CHECK_EQ(counter(&p, 2, after(7000)), 50);
    gate(&p, true, after(7000)); /* begins anew */
    CHECK_EQ(counter(&p, 2, after(7000)), 100);
}

TEST(pit_bytes_and_latches)
{
    struct pit p;

    fresh(&p);
    pit_write(&p, 0x40, 1, 0); /* no control word yet */
    CHECK_EQ(pit_read(&p, 0x40, 0), 0);
    pit_write(&p, 0x43, 0x14, 0); /* low byte only */
    CHECK_EQ(status(&p, 0, 0), OUT | NULL_COUNT | 0x14);
    pit_write(&p, 0x40, 0x80, 0);
    CHECK_EQ(pit_read(&p, 0x40, after(16)), 0x70);
    CHECK_EQ(pit_read(&p, 0x40, after(17)), 0x6f);
    pit_write(&p, 0x43, 0x24, 0); /* high byte only */
    pit_write(&p, 0x40, 0x80, 0);
    CHECK_EQ(pit_read(&p, 0x40, after(17)), 0x80);
    program(&p, 0, 2, 0x1234, after(1000));
    pit_write(&p, 0x43, 0xc2, after(1000)); /* read back both */
    pit_write(&p, 0x43, 0xc2, after(2000)); /* keeps the first */
    CHECK_EQ(pit_read(&p, 0x40, after(3000)), OUT | 0x34);
    CHECK_EQ(pit_read(&p, 0x40, after(3000)), 0x34);
    CHECK_EQ(pit_read(&p, 0x40, after(3000)), 0x12);
    CHECK_EQ(pit_read(&p, 0x43, after(3000)), 0);
}

TEST(pit_bcd)
{
    struct pit p;

    fresh(&p);
    pit_write(&p, 0x43, 0x35, 0);
    pit_write(&p, 0x40, 0x34, 0);
    pit_write(&p, 0x40, 0x12, 0);
    CHECK_EQ(counter(&p, 0, 0), 0x1234);
    CHECK_EQ(counter(&p, 0, after(5)), 0x1229);
    CHECK_EQ(pit_deadline_ns(&p), after(1234));
    pit_write(&p, 0x40, 0, after(10));
    pit_write(&p, 0x40, 0, after(10));
    CHECK_EQ(pit_deadline_ns(&p), after(10) + after(10000));
}

TEST(pit_short_periods_do_not_burn_the_host)
{
    struct pit p;

    fresh(&p);
    program(&p, 0, 2, 1, 0);
    CHECK(pit_deadline_ns(&p) >= 49000);
    pit_tick(&p, 50000);
    CHECK_EQ(rises, 1);
    CHECK(pit_deadline_ns(&p) >= 99000);
}

TEST(pit_time_out_of_order)
{
    struct pit p;

    fresh(&p);
    program(&p, 0, 2, 100, 0);
    pit_tick(&p, after(100));
    pit_tick(&p, after(99));
    pit_tick(&p, after(101));
    CHECK_EQ(rises, 1);
}

TEST(pit_port_61)
{
    struct pit p;

    fresh(&p);
    pit_write(&p, 0x61, 0xff, 0);
    CHECK_EQ(pit_read(&p, 0x61, 0) & 0x0f, 3);
    CHECK((pit_read(&p, 0x61, 0) ^ pit_read(&p, 0x61, 15100)) & 0x10);
}

TEST(pit_state_round_trip)
{
    u8 saved[PIT_STATE_SIZE], again[PIT_STATE_SIZE];
    struct pit p, copy;

    fresh(&p);
    program(&p, 0, 2, 10000, 0);
    program(&p, 1, 5, 100, 0);
    program(&p, 2, 0, 1000, 0);
    gate(&p, true, after(100));
    gate(&p, false, after(100) + after(200)); /* held, 200 ticks done */
    pit_write(&p, 0x43, 0xc2, after(700));
    pit_save(&p, saved, after(2500));
    CHECK_EQ(le_load(saved, 4), 10000);
    CHECK_EQ(le_load(saved + 16, 8), after(2500));
    fresh(&copy);
    pit_load(&copy, saved, NSEC_PER_SEC);
    CHECK_EQ(pit_deadline_ns(&copy), NSEC_PER_SEC + after(10000) - after(2500));
    pit_save(&copy, again, NSEC_PER_SEC);
    CHECK_MEM(again, saved, sizeof(saved));
    CHECK_EQ(pit_read(&copy, 0x40, NSEC_PER_SEC), OUT | 0x34);
    gate(&copy, true, 2 * NSEC_PER_SEC);
    CHECK_EQ(counter(&copy, 2, 2 * NSEC_PER_SEC), 800);
    CHECK(status(&copy, 1, 2 * NSEC_PER_SEC) & OUT);
}

/* What lies in a file need not be what we wrote. */
TEST(pit_load_brings_into_range)
{
    u8 saved[PIT_STATE_SIZE], again[PIT_STATE_SIZE];
    struct pit p;

    fresh(&p);
    memset(saved, 0xff, sizeof(saved));
    pit_load(&p, saved, NSEC_PER_SEC);
    pit_tick(&p, 2 * NSEC_PER_SEC);
    CHECK_EQ(pit_deadline_ns(&p), UINT64_MAX);
    program(&p, 0, 2, 1000, 2 * NSEC_PER_SEC);
    pit_save(&p, saved, 2 * NSEC_PER_SEC);
    le_store(saved + 16, 8, ~0ull >> 1); /* it runs since ages */
    pit_load(&p, saved, 2 * NSEC_PER_SEC);
    pit_save(&p, saved, 3 * NSEC_PER_SEC);
    pit_load(&p, saved, 3 * NSEC_PER_SEC);
    pit_save(&p, again, 3 * NSEC_PER_SEC);
    CHECK_MEM(again, saved, sizeof(saved));
    CHECK(pit_deadline_ns(&p) <= 3 * NSEC_PER_SEC + after(1000));
}
