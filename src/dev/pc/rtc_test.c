/*
 * dev/pc/rtc_test.c: the real-time clock, with a clock of the host that only the test moves.
 */
#include "dev/pc/rtc.c"

#include "dev/pc/ports_test.h"

static u64 host_ns;

static u64 fake_clock(void)
{
    return host_ns;
}

static struct rtc *open_rtc(struct bench *b, u64 start_s)
{
    struct rtc *r;

    *b = bench_open(&rtc_def, "below_4g=3G,above_4g=5G");
    r = rtc_of(b->d);
    host_ns = start_s * NSEC_PER_SEC;
    r->clock_ns = fake_clock;
    r->seen = now(r);
    return r;
}

static u8 get(struct bench *b, u8 reg)
{
    out(b, 0x70, 1, reg);
    return (u8)in(b, 0x71, 1);
}

static void set(struct bench *b, u8 reg, u8 v)
{
    out(b, 0x70, 1, reg);
    out(b, 0x71, 1, v);
}

/* As if the timer had fired. */
static void fire(struct rtc *r)
{
    pthread_mutex_lock(&r->dev.lock);
    settle(r);
    update_irq(r);
    pthread_mutex_unlock(&r->dev.lock);
}

TEST(rtc_shows_the_time)
{
    static const struct {
        const char *why;
        u64 unix_s;
        u8 b; /* register B */
        u8 year, century, month, day, weekday, hour, min, sec;
    } rows[] = {
        { "BCD", 1700000000, 0x02, 0x23, 0x20, 0x11, 0x14, 3, 0x22, 0x13, 0x20 },
        { "binary", 1700000000, 0x06, 23, 20, 11, 14, 3, 22, 13, 20 },
        { "12 hours, afternoon", 1700000000, 0x00, 0x23, 0x20, 0x11, 0x14, 3, 0x90, 0x13, 0x20 },
        { "12 hours, midnight", 951782400, 0x04, 0, 20, 2, 29, 3, 12, 0, 0 },
        { "12 hours, noon", 951782400 + 43200, 0x04, 0, 20, 2, 29, 3, 0x8c, 0, 0 },
        { "last second of a century", 946684799, 0x02, 0x99, 0x19, 0x12, 0x31, 6, 0x23, 0x59,
          0x59 },
    };

    for_each_row(c, rows) {
        struct bench b;

        ROW(c);
        open_rtc(&b, c->unix_s);
        set(&b, 11, c->b);
        CHECK_EQ(get(&b, 0), c->sec);
        CHECK_EQ(get(&b, 2), c->min);
        CHECK_EQ(get(&b, 4), c->hour);
        CHECK_EQ(get(&b, 6), c->weekday);
        CHECK_EQ(get(&b, 7), c->day);
        CHECK_EQ(get(&b, 8), c->month);
        CHECK_EQ(get(&b, 9), c->year);
        CHECK_EQ(get(&b, 0x32), c->century);
        CHECK_EQ(get(&b, 13), 0x80);
        bench_close(&b);
    }
}

/* As Linux's mc146818_set_time does it. */
TEST(rtc_is_set)
{
    static const u8 at[][2] = { { 9, 0x30 }, { 8, 0x12 },    { 7, 0x31 }, { 4, 0x23 },
                                { 2, 0x59 }, { 0x32, 0x20 }, { 0, 0x58 } };
    struct bench b;
    struct rtc *r = open_rtc(&b, 1700000000);

    host_ns += 123456789;
    set(&b, 11, 0x82);
    set(&b, 10, 0x76);
    for_each_row(c, at)
        set(&b, (*c)[0], (*c)[1]);
    host_ns += 10 * NSEC_PER_SEC;
    CHECK_EQ(get(&b, 0), 0x58); /* it stands */
    set(&b, 11, 0x02);
    CHECK_EQ(get(&b, 0), 0x58);
    set(&b, 10, 0x26);
    CHECK_EQ(r->st.cmos[0], 0); /* no time of the host in the state */
    host_ns += NSEC_PER_SEC / 2 - 1;
    CHECK_EQ(get(&b, 0), 0x58);
    CHECK_EQ(get(&b, 10), 0xa6); /* an update is near */
    host_ns += 1;
    CHECK_EQ(get(&b, 0), 0x59);
    CHECK_EQ(get(&b, 10), 0x26);
    host_ns += NSEC_PER_SEC;
    CHECK_EQ(get(&b, 0), 0x00);
    CHECK_EQ(get(&b, 9), 0x31);
    CHECK_EQ(get(&b, 8), 0x01);
    set(&b, 9, 0x40); /* without SET */
    CHECK_EQ(get(&b, 9), 0x40);
    CHECK_EQ(get(&b, 0), 0x00);
    device_reset(b.d);
    CHECK_EQ(get(&b, 9), 0x40); /* it has a battery */
    bench_close(&b);
}

TEST(rtc_update_interrupt)
{
    struct bench b;
    struct rtc *r = open_rtc(&b, 1000);

    CHECK_EQ(until_next(r), ~0ull);
    set(&b, 10, 0x20); /* no periods */
    set(&b, 11, 0x12);
    CHECK(r->armed);
    CHECK_EQ(until_next(r), NSEC_PER_SEC);
    host_ns += NSEC_PER_SEC / 4;
    fire(r); /* too early */
    CHECK_EQ(b.f->level[8], 0);
    CHECK_EQ(until_next(r), NSEC_PER_SEC * 3 / 4);
    host_ns += NSEC_PER_SEC;
    fire(r);
    CHECK_EQ(b.f->level[8], 1);
    CHECK(!r->armed); /* not again before C is read */
    CHECK_EQ(get(&b, 12), 0x90);
    CHECK_EQ(b.f->level[8], 0);
    CHECK(r->armed);
    CHECK_EQ(get(&b, 12), 0);
    set(&b, 11, 0x02);
    CHECK(!r->armed);
    host_ns += NSEC_PER_SEC;
    CHECK_EQ(get(&b, 12), 0x10); /* flagged without interrupt */
    set(&b, 11, 0x32);
    host_ns += NSEC_PER_SEC;
    fire(r);
    CHECK(!r->armed); /* nor for the alarm: the line is up already */
    bench_close(&b);
}

TEST(rtc_periodic_interrupt)
{
    static const struct {
        const char *why;
        u8 rate;
        u64 first_ns;
    } rows[] = {
        { "off", 0, ~0ull },      { "256 Hz", 1, 3906250 }, { "128 Hz", 2, 7812500 },
        { "8192 Hz", 3, 122070 }, { "1024 Hz", 6, 976562 }, { "2 Hz", 15, 500000000 },
    };

    for_each_row(c, rows) {
        struct bench b;
        struct rtc *r = open_rtc(&b, 1000);

        ROW(c);
        set(&b, 10, 0x20 | c->rate);
        set(&b, 11, 0x42);
        CHECK_EQ(until_next(r), c->first_ns);
        if (c->rate) {
            host_ns += c->first_ns - 1000;
            fire(r);
            CHECK_EQ(b.f->level[8], 0);
            host_ns += 2000;
            fire(r);
            CHECK_EQ(b.f->level[8], 1);
            CHECK_EQ(get(&b, 12), 0xc0);
        }
        bench_close(&b);
    }
}

TEST(rtc_alarm)
{
    static const struct {
        const char *why;
        u8 b, hour, min, sec;
        u32 from, until; /* seconds of the day; seconds to the alarm, 0: never */
    } rows[] = {
        { "later today", 0x02, 0x12, 0x30, 0x15, 0, 12 * 3600 + 30 * 60 + 15 },
        { "tomorrow", 0x02, 0x00, 0x00, 0x01, 2, 86399 },
        { "the same second tomorrow", 0x02, 0x00, 0x00, 0x02, 2, 86400 },
        { "each second", 0x02, 0xff, 0xff, 0xff, 77, 1 },
        { "each minute", 0x02, 0xc0, 0xc0, 0x05, 65, 60 },
        { "each hour", 0x02, 0xff, 0x10, 0x00, 3600, 600 },
        { "binary", 0x06, 13, 0, 0, 0, 13 * 3600 },
        { "12 hours, afternoon", 0x00, 0x81, 0, 0, 0, 13 * 3600 },
        { "12 hours, midnight", 0x00, 0x12, 0, 0, 10, 86390 },
        { "no such minute", 0x02, 0x12, 0x60, 0, 0, 0 },
    };

    for_each_row(c, rows) {
        struct bench b;
        struct rtc *r = open_rtc(&b, c->from);

        ROW(c);
        set(&b, 10, 0x20); /* no periods */
        set(&b, 5, c->hour);
        set(&b, 3, c->min);
        set(&b, 1, c->sec);
        set(&b, 11, c->b | 0x20);
        CHECK_EQ(until_next(r), c->until ? c->until * NSEC_PER_SEC : ~0ull);
        if (c->until) {
            host_ns += (c->until - 1) * NSEC_PER_SEC;
            fire(r);
            CHECK_EQ(b.f->level[8], 0);
            host_ns += NSEC_PER_SEC;
            fire(r);
            CHECK_EQ(b.f->level[8], 1);
            CHECK_EQ(get(&b, 12), 0xb0);
        }
        bench_close(&b);
    }
}

TEST(rtc_alarm_in_the_past)
{
    struct bench b;
    struct rtc *r = open_rtc(&b, 0);

    set(&b, 10, 0x20);
    set(&b, 11, 0x22);
    host_ns += 10 * NSEC_PER_SEC;
    set(&b, 1, 0x05);
    CHECK_EQ(until_next(r), (86400 - 5) * NSEC_PER_SEC);
    fire(r);
    CHECK_EQ(b.f->level[8], 0);
    bench_close(&b);
}

/* The host's clock is set while the guest waits. */
TEST(rtc_host_clock_steps_back)
{
    struct bench b;
    struct rtc *r = open_rtc(&b, 5000);

    set(&b, 11, 0x12);
    host_ns -= 3000 * NSEC_PER_SEC;
    fire(r);
    CHECK_EQ(b.f->level[8], 0);
    CHECK_EQ(r->st.flags, 0);
    CHECK_EQ(until_next(r), NSEC_PER_SEC);
    host_ns += NSEC_PER_SEC;
    fire(r);
    CHECK_EQ(b.f->level[8], 1);
    bench_close(&b);
}

TEST(rtc_nvram)
{
    static const struct {
        const char *why;
        u8 reg, v;
    } rows[] = {
        { "640 KiB base", 0x15, 0x80 },   { "640 KiB base", 0x16, 0x02 },
        { "63 MiB at most", 0x17, 0xff }, { "63 MiB at most", 0x31, 0xff },
        { "3 GiB - 16 MiB", 0x34, 0x00 }, { "3 GiB - 16 MiB", 0x35, 0xbf },
        { "5 GiB above", 0x5b, 0x00 },    { "5 GiB above", 0x5c, 0x40 },
        { "5 GiB above", 0x5d, 0x01 },
    };
    struct bench b;
    u16 sum = 0;

    open_rtc(&b, 0);
    for_each_row(c, rows) {
        ROW(c);
        CHECK_EQ(get(&b, c->reg), c->v);
    }
    for (u8 i = 0x10; i <= 0x2d; i++)
        sum = (u16)(sum + get(&b, i));
    CHECK_EQ(get(&b, 0x2e) << 8 | get(&b, 0x2f), sum);
    set(&b, 0x7f, 0x77);
    CHECK_EQ(get(&b, 0x7f), 0x77);
    CHECK_EQ(get(&b, 0xff), 0x77); /* bit 7 is the NMI's */
    CHECK_EQ(in(&b, 0x70, 1), 0xff);
    set(&b, 12, 0xff);
    set(&b, 13, 0);
    CHECK_EQ(get(&b, 12), 0);
    CHECK_EQ(get(&b, 13), 0x80);
    bench_close(&b);
}

/* The timer itself, once: real, but never waited for longer than it takes. */
TEST(rtc_timer_reaches_the_loop)
{
    struct bench b = bench_open(&rtc_def, NULL);

    set(&b, 10, 0x23); /* 8192 Hz */
    set(&b, 11, 0x42);
    uv_run(&b.f->m.loop->uv, UV_RUN_ONCE);
    for (u32 i = 0; i < 100 && !b.f->level[8]; i++)
        uv_run(&b.f->m.loop->uv, UV_RUN_ONCE);
    CHECK_EQ(b.f->level[8], 1);
    bench_close(&b);
}
