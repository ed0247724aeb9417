/*
 * cpu/lapic_test.c: priorities, modes, the three timers, messages and their destinations, the saved form.
 */
#include "cpu/lapic.h"

#include "testlib/test.h"

#include <pthread.h>
#include <sched.h>

enum {
    BASE = 0xfee00000,
    EN = 1 << 11,
    EXTD = 1 << 10,
    BSP = 1 << 8,

    TPR = 0x80,
    PPR = 0xa0,
    EOI = 0xb0,
    LDR = 0xd0,
    DFR = 0xe0,
    SVR = 0xf0,
    ISR = 0x100,
    IRR = 0x200,
    ESR = 0x280,
    ICR = 0x300,
    ICR_HIGH = 0x310,
    LVTT = 0x320,
    LVT0 = 0x350,
    LVT1 = 0x360,
    LVT_ERROR = 0x370,
    TMICT = 0x380,
    TMCCT = 0x390,
    TDCR = 0x3e0,

    MASKED = 1 << 16,
    PERIODIC = 1 << 17,
    DEADLINE = 2 << 17,
};

static u32 sent, eois, wakes;
static u8 last_eoi;
static struct lapic_msg last;

static void on_send(void *arg [[maybe_unused]], const struct lapic_msg *m)
{
    sent++;
    last = *m;
}

static void on_eoi(void *arg [[maybe_unused]], u8 vector)
{
    eois++;
    last_eoi = vector;
}

static void on_wake(void *arg [[maybe_unused]])
{
    wakes++;
}

static const struct lapic_host host = { on_send, on_eoi, on_wake };

/* Guest TSC: 2 GHz, from 0. */
static struct lapic_time at(u64 ns)
{
    return (struct lapic_time){ ns, 2 * ns };
}

static void wr(struct lapic *l, u32 off, u32 val)
{
    lapic_write(l, off, 4, val, at(0));
}

static u32 rd(struct lapic *l, u32 off)
{
    return (u32)lapic_read(l, off, 4, at(0));
}

/* Enabled by software, spurious vector 0xff. */
static void fresh(struct lapic *l, u32 id)
{
    lapic_init(l, id, 40, &host, NULL);
    lapic_set_tsc_khz(l, 2000000);
    wr(l, SVR, 0x1ff);
    sent = eois = wakes = 0;
}

static void to_x2(struct lapic *l)
{
    CHECK_EQ(lapic_set_base(l, lapic_base(l) | EXTD), 0);
}

static int wrmsr(struct lapic *l, u32 msr, u64 val)
{
    return lapic_msr_write(l, msr, val, at(0));
}

static u64 rdmsr(struct lapic *l, u32 msr)
{
    u64 v = 0;

    CHECK_EQ(lapic_msr_read(l, msr, at(0), &v), 0);
    return v;
}

TEST(lapic_power_on)
{
    struct lapic l;

    lapic_init(&l, 0, 40, &host, NULL);
    CHECK_EQ(lapic_base(&l), BASE | EN | BSP);
    CHECK_EQ(rd(&l, SVR), 0xff);
    CHECK_EQ(rd(&l, DFR), ~0u);
    CHECK_EQ(rd(&l, 0x30), 0x50014);
    CHECK_EQ(rd(&l, LVTT), MASKED);
    CHECK(lapic_takes_pic(&l));
    CHECK_EQ(lapic_deadline_ns(&l), LAPIC_NEVER);
    lapic_init(&l, 3, 40, &host, NULL);
    CHECK_EQ(lapic_base(&l), BASE | EN);
    CHECK_EQ(rd(&l, 0x20), 3u << 24);
    CHECK(!lapic_takes_pic(&l));
}

TEST(lapic_priorities)
{
    struct lapic l;

    fresh(&l, 0);
    CHECK_EQ(lapic_pending(&l), -1);
    lapic_accept(&l, 0x31, false);
    lapic_accept(&l, 0x52, true);
    CHECK_EQ(wakes, 2);
    CHECK_EQ(rd(&l, IRR + 0x10), 1u << 17);
    CHECK_EQ(lapic_pending(&l), 0x52);
    lapic_ack(&l, 0x52);
    CHECK_EQ(rd(&l, PPR), 0x50);
    CHECK_EQ(rd(&l, ISR + 0x20), 1u << 18);
    CHECK_EQ(lapic_pending(&l), -1);
    lapic_accept(&l, 0x5f, false); /* the same class waits */
    CHECK_EQ(lapic_pending(&l), -1);
    lapic_accept(&l, 0x60, false);
    CHECK_EQ(lapic_pending(&l), 0x60);
    lapic_ack(&l, 0x60);
    wr(&l, EOI, 0);
    CHECK_EQ(eois, 0); /* an edge's is not told */
    wr(&l, EOI, 0);
    CHECK_EQ(eois, 1);
    CHECK_EQ(last_eoi, 0x52);
    CHECK_EQ(lapic_pending(&l), 0x5f);
}

TEST(lapic_task_priority)
{
    struct lapic l;

    fresh(&l, 0);
    lapic_set_cr8(&l, 4);
    CHECK_EQ(rd(&l, TPR), 0x40);
    lapic_accept(&l, 0x4f, false);
    CHECK_EQ(lapic_pending(&l), -1);
    wakes = 0;
    wr(&l, TPR, 0x3f);
    CHECK_EQ(wakes, 1);
    CHECK_EQ(lapic_cr8(&l), 3);
    CHECK_EQ(rd(&l, PPR), 0x3f);
    CHECK_EQ(lapic_pending(&l), 0x4f);
}

TEST(lapic_disabled_by_software)
{
    struct lapic l;

    fresh(&l, 0);
    wr(&l, LVT1, LAPIC_NMI << 8);
    lapic_accept(&l, 0x40, false);
    wr(&l, SVR, 0xff);
    CHECK_EQ(rd(&l, LVT1), MASKED | LAPIC_NMI << 8);
    wr(&l, LVT1, LAPIC_NMI << 8);
    CHECK_EQ(rd(&l, LVT1), MASKED | LAPIC_NMI << 8);
    lapic_accept(&l, 0x50, false);
    CHECK_EQ(lapic_pending(&l), 0x40); /* that came before */
}

enum { SENDERS = 2, ROUNDS = 5000 };

struct sender {
    struct lapic *l;
    u8 vector;
    _Atomic u32 sent, taken;
};

static void wake_nobody(void *)
{
}

static void *send_in_turn(void *arg)
{
    struct sender *s = arg;

    while (s->sent < ROUNDS) {
        s->sent++;
        lapic_accept(s->l, s->vector, s->sent & 1);
        while (s->taken != s->sent)
            sched_yield();
    }
    return NULL;
}

/* Neighbours in one word of IRR, set by other threads while it is taken from: none is lost, none is taken twice. */
TEST(lapic_accept_from_any_thread)
{
    static const struct lapic_host quiet = { on_send, on_eoi, wake_nobody };
    struct lapic l;
    struct sender s[SENDERS];
    pthread_t threads[SENDERS];
    u32 total = 0;

    fresh(&l, 0);
    l.host = &quiet;
    for (u32 i = 0; i < SENDERS; i++) {
        s[i] = (struct sender){ .l = &l, .vector = (u8)(0x40 + i) };
        CHECK_EQ(pthread_create(&threads[i], NULL, send_in_turn, &s[i]), 0);
    }
    while (total < SENDERS * ROUNDS) {
        int v = lapic_pending(&l);

        if (v < 0) {
            sched_yield();
            continue;
        }
        lapic_ack(&l, (u8)v);
        lapic_eoi(&l);
        s[v - 0x40].taken++;
        total++;
    }
    for (u32 i = 0; i < SENDERS; i++)
        pthread_join(threads[i], NULL);
    CHECK_EQ(eois, SENDERS * ROUNDS / 2); /* every other one was a level */
    CHECK_EQ(lapic_pending(&l), -1);
}

TEST(lapic_base_transitions)
{
    static const struct {
        const char *why;
        u64 from, to;
        bool ok;
    } rows[] = {
        { "xAPIC to x2APIC", EN, EN | EXTD, true },
        { "x2APIC to xAPIC", EN | EXTD, EN, false },
        { "x2APIC off", EN | EXTD, 0, true },
        { "off to x2APIC", 0, EN | EXTD, false },
        { "off to xAPIC", 0, EN, true },
        { "EXTD without EN", EN, EXTD, false },
        { "reserved bit 9", EN, EN | 1 << 9, false },
        { "an address beyond 40 bits", EN, EN | 1ull << 40, false },
        { "moved", EN, EN | 1ull << 33, true },
    };

    for_each_row(c, rows) {
        struct lapic l;

        ROW(c);
        fresh(&l, 0);
        CHECK_EQ(lapic_set_base(&l, BASE | c->from), 0);
        CHECK_EQ(lapic_set_base(&l, BASE | c->to), c->ok ? 0 : -EINVAL);
        CHECK_EQ(lapic_base(&l), BASE | (c->ok ? c->to : c->from));
    }
}

TEST(lapic_switched_off)
{
    struct lapic l;

    fresh(&l, 0);
    lapic_accept(&l, 0x40, false);
    lapic_set_cr8(&l, 2);
    CHECK(lapic_covers(&l, BASE + 0xfff) && !lapic_covers(&l, BASE + 0x1000));
    CHECK_EQ(lapic_set_base(&l, BASE | BSP), 0);
    CHECK(!lapic_covers(&l, BASE));
    CHECK(lapic_takes_pic(&l));
    CHECK_EQ(lapic_pending(&l), -1);
    lapic_accept(&l, 0x41, false);
    CHECK_EQ(lapic_cr8(&l), 2);
    CHECK_EQ(lapic_set_base(&l, BASE | EN | BSP), 0);
    CHECK_EQ(lapic_pending(&l), -1);
    CHECK_EQ(rd(&l, SVR), 0xff);
}

TEST(lapic_switched_off_from_x2apic)
{
    u8 saved[VCPU_LAPIC_SIZE];
    struct lapic l;

    fresh(&l, 5);
    to_x2(&l);
    CHECK_EQ(lapic_set_base(&l, BASE), 0);
    lapic_save(&l, saved, at(0));
    CHECK_EQ(le_load(saved + 0x20, 4), 5u << 24); /* the id as xAPIC has it, again */
    CHECK_EQ(le_load(saved + LDR, 4), 0);
}

TEST(lapic_x2apic_registers)
{
    struct lapic l;
    u64 v;

    fresh(&l, 37);
    CHECK_EQ(lapic_msr_read(&l, 0x802, at(0), &v), -EINVAL); /* still xAPIC */
    to_x2(&l);
    CHECK(!lapic_covers(&l, BASE));
    CHECK_EQ(rdmsr(&l, 0x802), 37);
    CHECK_EQ(rdmsr(&l, 0x80d), 2 << 16 | 1 << 5);
    CHECK_EQ(wrmsr(&l, 0x802, 37), -EINVAL);
    CHECK_EQ(lapic_msr_read(&l, 0x80e, at(0), &v), -EINVAL); /* no DFR */
    CHECK_EQ(lapic_msr_read(&l, 0x831, at(0), &v), -EINVAL);
    CHECK_EQ(lapic_msr_read(&l, 0x8ff, at(0), &v), -EINVAL);
    CHECK_EQ(lapic_msr_read(&l, 0x83f, at(0), &v), -EINVAL); /* write-only */
    CHECK_EQ(wrmsr(&l, 0x80b, 1), -EINVAL);
    CHECK_EQ(wrmsr(&l, 0x80b, 0), 0);
    CHECK_EQ(wrmsr(&l, 0x808, 0x100), -EINVAL);
    CHECK_EQ(wrmsr(&l, 0x808, 1ull << 32), -EINVAL);
    CHECK_EQ(wrmsr(&l, 0x80f, 1 << 12), -EINVAL); /* no EOI broadcast suppression */
    CHECK_EQ(wrmsr(&l, 0x83f, 0x77), 0);
    CHECK_EQ(lapic_pending(&l), 0x77);
    CHECK_EQ(wrmsr(&l, 0x830, 5ull << 32 | 1 << 14 | 0x44), 0);
    CHECK_EQ(rdmsr(&l, 0x830), 5ull << 32 | 1 << 14 | 0x44);
    CHECK_EQ(sent, 1);
    CHECK_EQ(last.dest, 5);
    CHECK_EQ(wrmsr(&l, 0x830, 1 << 20), -EINVAL);
}

TEST(lapic_icr)
{
    static const struct {
        const char *why;
        u32 high, low;
        struct lapic_msg want;
    } rows[] = {
        { "fixed", 3u << 24, 1 << 14 | 0x40, { .dest = 3, .vector = 0x40 } },
        { "logical", 0x0fu << 24, 1 << 11 | 0x40, { .dest = 0xf, .vector = 0x40, .logical = 1 } },
        { "to all by destination", 0xffu << 24, 0x40, { .dest = LAPIC_ALL, .vector = 0x40 } },
        { "INIT", 1u << 24, 0xc500, { .dest = 1, .delivery = LAPIC_INIT } },
        { "SIPI", 1u << 24, 0x4699, { .dest = 1, .delivery = LAPIC_SIPI, .vector = 0x99 } },
        { "NMI to the others",
          0,
          3 << 18 | 0x4400,
          { .to = LAPIC_TO_OTHERS, .delivery = LAPIC_NMI } },
    };

    for_each_row(c, rows) {
        struct lapic l;

        ROW(c);
        fresh(&l, 0);
        wr(&l, ICR_HIGH, c->high);
        CHECK_EQ(sent, 0);
        wr(&l, ICR, c->low);
        CHECK_EQ(sent, 1);
        CHECK_MEM(&last, &c->want, sizeof(last));
        CHECK_EQ(rd(&l, ICR), c->low);
    }
}

TEST(lapic_icr_that_sends_nothing)
{
    struct lapic l;

    fresh(&l, 0);
    wr(&l, ICR, 0x8500); /* INIT level de-assert */
    wr(&l, ICR, 3 << 8 | 0x40);
    wr(&l, ICR, 7 << 8 | 0x40);
    CHECK_EQ(sent, 0);
    wr(&l, ICR, 1 << 18 | 0x66);
    CHECK_EQ(sent, 0);
    CHECK_EQ(lapic_pending(&l), 0x66);
}

TEST(lapic_errors)
{
    struct lapic l;

    fresh(&l, 0);
    wr(&l, LVT_ERROR, 0xfe);
    wr(&l, ICR, 0x4005);
    CHECK_EQ(rd(&l, ESR), 0); /* shown after a write */
    CHECK_EQ(lapic_pending(&l), 0xfe);
    lapic_ack(&l, 0xfe);
    lapic_eoi(&l);
    wr(&l, ICR, 0x4005);
    CHECK_EQ(lapic_pending(&l), -1); /* once until then */
    wr(&l, ESR, 0);
    CHECK_EQ(rd(&l, ESR), 0x20);
    lapic_accept(&l, 15, false);
    rd(&l, 0x3f0);
    wr(&l, ESR, 0);
    CHECK_EQ(rd(&l, ESR), 0xc0);
    wr(&l, ESR, 0);
    CHECK_EQ(rd(&l, ESR), 0);
}

TEST(lapic_access_widths)
{
    struct lapic l;

    fresh(&l, 7);
    CHECK_EQ(lapic_read(&l, 0x23, 1, at(0)), 7);
    CHECK_EQ(lapic_read(&l, 0x22, 2, at(0)), 0x700);
    CHECK_EQ(lapic_read(&l, 0x28, 4, at(0)), 0);
    CHECK_EQ(lapic_read(&l, 0xffff, 8, at(0)), 0);
    lapic_write(&l, TPR, 1, 0x55, at(0));
    lapic_write(&l, TPR + 4, 4, 0x55, at(0));
    CHECK_EQ(rd(&l, TPR), 0);
}

TEST(lapic_timer_one_shot)
{
    struct lapic l;

    fresh(&l, 0);
    lapic_write(&l, TDCR, 4, 0x3, at(0)); /* by 16 */
    lapic_write(&l, LVTT, 4, 0xec, at(0));
    lapic_write(&l, TMICT, 4, 1000, at(500));
    CHECK_EQ(lapic_deadline_ns(&l), 16500);
    CHECK_EQ(lapic_read(&l, TMCCT, 4, at(500)), 1000);
    CHECK_EQ(lapic_read(&l, TMCCT, 4, at(8500)), 500);
    lapic_write(&l, TDCR, 4, 0xb, at(8500)); /* by 1: the 500 that are left go faster */
    CHECK_EQ(lapic_deadline_ns(&l), 9000);
    lapic_tick(&l, at(8999));
    CHECK_EQ(lapic_pending(&l), -1);
    lapic_tick(&l, at(9000));
    CHECK_EQ(lapic_pending(&l), 0xec);
    CHECK_EQ(lapic_deadline_ns(&l), LAPIC_NEVER);
    CHECK_EQ(lapic_read(&l, TMCCT, 4, at(9000)), 0);
    lapic_write(&l, TMICT, 4, 1000, at(9000));
    lapic_write(&l, TMICT, 4, 0, at(9500));
    CHECK_EQ(lapic_deadline_ns(&l), LAPIC_NEVER);
}

TEST(lapic_timer_periodic)
{
    struct lapic l;

    fresh(&l, 0);
    wr(&l, TDCR, 0xb);
    wr(&l, LVTT, PERIODIC | 0xec);
    lapic_write(&l, TMICT, 4, 1000, at(0));
    lapic_tick(&l, at(3100)); /* late: once, and in phase */
    CHECK_EQ(lapic_pending(&l), 0xec);
    lapic_ack(&l, 0xec);
    lapic_eoi(&l);
    CHECK_EQ(lapic_deadline_ns(&l), 4000);
    CHECK_EQ(lapic_read(&l, TMCCT, 4, at(3100)), 900);
    lapic_write(&l, LVTT, 4, PERIODIC | MASKED | 0xec, at(3200));
    lapic_tick(&l, at(4000));
    CHECK_EQ(lapic_pending(&l), -1);
    CHECK_EQ(lapic_deadline_ns(&l), 5000);
}

TEST(lapic_timer_one_shot_becomes_periodic)
{
    struct lapic l;

    fresh(&l, 0);
    wr(&l, TDCR, 0xb);
    wr(&l, LVTT, 0xec);
    lapic_write(&l, TMICT, 4, 1000, at(0));
    lapic_write(&l, LVTT, 4, PERIODIC | 0xec, at(400));
    CHECK_EQ(lapic_deadline_ns(&l), 1000);
    lapic_write(&l, LVTT, 4, 0xec, at(1100));
    lapic_tick(&l, at(2000));
    CHECK_EQ(lapic_deadline_ns(&l), LAPIC_NEVER);
    lapic_write(&l, LVTT, 4, PERIODIC | 0xec, at(2500)); /* it was over: anew */
    CHECK_EQ(lapic_deadline_ns(&l), 3500);
}

TEST(lapic_timer_tsc_deadline)
{
    struct lapic l;

    fresh(&l, 0);
    lapic_set_tsc_deadline(&l, 5000, at(0));
    CHECK_EQ(lapic_tsc_deadline(&l), 0); /* not in this mode */
    wr(&l, TMICT, 77);
    wr(&l, LVTT, DEADLINE | 0xec);
    CHECK_EQ(rd(&l, TMICT), 0);
    CHECK_EQ(lapic_deadline_ns(&l), LAPIC_NEVER);
    lapic_set_tsc_deadline(&l, 5001, at(100));
    CHECK_EQ(lapic_deadline_ns(&l), 2501);
    CHECK_EQ(lapic_read(&l, TMCCT, 4, at(100)), 0);
    lapic_tick(&l, (struct lapic_time){ 200, 0 }); /* the guest cleared its TSC */
    CHECK_EQ(lapic_deadline_ns(&l), 200 + 2501);
    lapic_tick(&l, (struct lapic_time){ 2701, 5002 });
    CHECK_EQ(lapic_pending(&l), 0xec);
    CHECK_EQ(lapic_tsc_deadline(&l), 0);
    lapic_ack(&l, 0xec);
    lapic_eoi(&l);
    lapic_set_tsc_deadline(&l, 10, at(3000)); /* past: at once */
    CHECK_EQ(lapic_pending(&l), 0xec);
    lapic_set_tsc_deadline(&l, UINT64_MAX, at(3000));
    CHECK(lapic_deadline_ns(&l) > 1ull << 60);
    lapic_write(&l, LVTT, 4, 0xec, at(3000));
    CHECK_EQ(lapic_tsc_deadline(&l), 0);
    CHECK_EQ(lapic_deadline_ns(&l), LAPIC_NEVER);
}

TEST(lapic_local_sources)
{
    struct lapic l;

    fresh(&l, 0);
    lapic_fire(&l, LAPIC_LVT_PERF);
    CHECK_EQ(lapic_pending(&l), -1);
    wr(&l, 0x340, 0x90);
    lapic_fire(&l, LAPIC_LVT_PERF);
    CHECK_EQ(lapic_pending(&l), 0x90);
    wr(&l, LVT1, LAPIC_NMI << 8);
    lapic_fire(&l, LAPIC_LVT_LINT1);
    CHECK_EQ(sent, 1);
    CHECK(last.to == LAPIC_TO_SELF && last.delivery == LAPIC_NMI);
    wr(&l, LVT0, LAPIC_EXTINT << 8);
    CHECK(lapic_takes_pic(&l));
    wr(&l, LVT0, LAPIC_EXTINT << 8 | MASKED);
    CHECK(!lapic_takes_pic(&l));
}

TEST(lapic_messages_of_devices)
{
    static const struct {
        const char *why;
        u64 addr;
        u32 data;
        bool ok;
        struct lapic_msg want;
    } rows[] = {
        { "edge", 0xfee03000, 0x4031, true, { .dest = 3, .vector = 0x31 } },
        { "level", 0xfee03000, 0xc031, true, { .dest = 3, .vector = 0x31, .level = true } },
        { "level, not asserted", 0xfee03000, 0x8031, false, {} },
        { "all", 0xfeeff000, 0x31, true, { .dest = LAPIC_ALL, .vector = 0x31 } },
        { "lowest priority, logical",
          0xfee0f00c,
          0x131,
          true,
          { .dest = 15, .delivery = LAPIC_LOWEST, .vector = 0x31, .logical = true } },
        { "redirection hint",
          0xfee0f00c,
          0x31,
          true,
          { .dest = 15, .delivery = LAPIC_LOWEST, .vector = 0x31, .logical = true } },
        { "NMI", 0xfee00000, 0x400, true, { .delivery = LAPIC_NMI } },
        { "reserved delivery", 0xfee00000, 0x300, false, {} },
        { "SIPI", 0xfee00000, 0x600, false, {} },
        { "not the APICs' range", 0xfed00000, 0x31, false, {} },
        { "beyond 4 GiB", 0x1fee00000, 0x31, false, {} },
    };

    for_each_row(c, rows) {
        struct lapic_msg m = {};

        ROW(c);
        CHECK_EQ(lapic_msg_of_msi(&m, c->addr, c->data), c->ok);
        CHECK_MEM(&m, &c->want, sizeof(m));
    }
}

struct pack {
    struct lapic l[4], *all[4];
};

/* Four APICs: ids 0, 1, 2 and 17. */
static void pack_init(struct pack *p)
{
    static const u32 ids[] = { 0, 1, 2, 17 };

    for (u32 i = 0; i < 4; i++) {
        fresh(&p->l[i], ids[i]);
        p->all[i] = &p->l[i];
    }
}

static u64 route(struct pack *p, u32 from, struct lapic_msg m)
{
    return lapic_route(p->all, 4, p->all[from], &m);
}

TEST(lapic_route_physical)
{
    struct pack p;

    pack_init(&p);
    CHECK_EQ(route(&p, 0, (struct lapic_msg){ .dest = 17 }), 8);
    CHECK_EQ(route(&p, 0, (struct lapic_msg){ .dest = 9 }), 0);
    CHECK_EQ(route(&p, 0, (struct lapic_msg){ .dest = LAPIC_ALL }), 15);
    CHECK_EQ(route(&p, 1, (struct lapic_msg){ .to = LAPIC_TO_OTHERS }), 13);
    CHECK_EQ(route(&p, 1, (struct lapic_msg){ .to = LAPIC_TO_SELF }), 2);
    CHECK_EQ(route(&p, 1, (struct lapic_msg){ .to = LAPIC_TO_ALL }), 15);
    to_x2(&p.l[3]);
    CHECK_EQ(route(&p, 0, (struct lapic_msg){ .dest = 17 }), 8);
    CHECK_EQ(lapic_set_base(&p.l[1], BASE), 0);
    CHECK_EQ(route(&p, 0, (struct lapic_msg){ .dest = LAPIC_ALL }), 13);
}

TEST(lapic_route_logical)
{
    struct pack p;

    pack_init(&p);
    CHECK_EQ(route(&p, 0, (struct lapic_msg){ .dest = 0xff, .logical = true }), 0);
    for (u32 i = 0; i < 4; i++)
        wr(&p.l[i], LDR, 1u << (24 + i));
    CHECK_EQ(route(&p, 0, (struct lapic_msg){ .dest = 0xa, .logical = true }), 10);
    wr(&p.l[0], DFR, 0x0fffffff); /* cluster */
    wr(&p.l[0], LDR, 0x31u << 24);
    CHECK_EQ(route(&p, 0, (struct lapic_msg){ .dest = 0x33, .logical = true }), 3);
    CHECK_EQ(route(&p, 0, (struct lapic_msg){ .dest = 0x41, .logical = true }), 0);
    to_x2(&p.l[3]);
    CHECK_EQ(route(&p, 0, (struct lapic_msg){ .dest = 1 << 16 | 2, .logical = true }), 8);
    CHECK_EQ(route(&p, 0, (struct lapic_msg){ .dest = 2, .logical = true }), 2);
}

TEST(lapic_route_lowest_priority)
{
    struct lapic_msg m = { .dest = LAPIC_ALL, .delivery = LAPIC_LOWEST };
    struct pack p;
    u64 seen = 0;

    pack_init(&p);
    wr(&p.l[2], SVR, 0xff); /* takes no part */
    for (m.vector = 0x40; m.vector < 0x50; m.vector++) {
        u64 one = route(&p, 0, m);

        CHECK(is_pow2(one));
        seen |= one;
    }
    CHECK_EQ(seen, 11);
    m.dest = 44;
    CHECK_EQ(route(&p, 0, m), 0);
}

TEST(lapic_init_keeps_id_and_mode)
{
    struct lapic l;

    fresh(&l, 5);
    to_x2(&l);
    lapic_accept(&l, 0x99, false);
    wrmsr(&l, 0x808, 0x20);
    lapic_on_init(&l);
    CHECK_EQ(lapic_base(&l), BASE | EN | EXTD);
    CHECK_EQ(rdmsr(&l, 0x802), 5);
    CHECK_EQ(rdmsr(&l, 0x80d), 1 << 5);
    CHECK_EQ(rdmsr(&l, 0x80f), 0xff);
    CHECK_EQ(rdmsr(&l, 0x808), 0);
    CHECK_EQ(lapic_pending(&l), -1);
    lapic_reset(&l);
    CHECK_EQ(lapic_base(&l), BASE | EN);
}

TEST(lapic_state_round_trip)
{
    u8 saved[VCPU_LAPIC_SIZE], again[VCPU_LAPIC_SIZE];
    struct lapic l, copy;

    fresh(&l, 3);
    to_x2(&l);
    wrmsr(&l, 0x83e, 0xb);
    wrmsr(&l, 0x832, PERIODIC | 0xec);
    wrmsr(&l, 0x838, 1000);
    wrmsr(&l, 0x830, 5ull << 32 | 1 << 14 | 0x44);
    lapic_accept(&l, 0x99, true);
    lapic_accept(&l, 0x55, false);
    lapic_ack(&l, 0x99);
    lapic_save(&l, saved, at(2300));
    CHECK_EQ(le_load(saved + 0x20, 4), 3u << 24); /* KVM's id format without KVM_CAP_X2APIC_API */
    CHECK_EQ(le_load(saved + TMCCT, 4), 700);
    CHECK_EQ(le_load(saved + ICR_HIGH, 4), 5);
    CHECK_EQ(le_load(saved + PPR, 4), 0x90);

    lapic_init(&copy, 3, 40, &host, NULL);
    CHECK_EQ(lapic_load(&copy, saved, lapic_base(&l), at(50)), 0);
    CHECK_EQ(lapic_deadline_ns(&copy), 750);
    CHECK_EQ(rdmsr(&copy, 0x802), 3);
    lapic_eoi(&copy);
    CHECK_EQ(last_eoi, 0x99);
    CHECK_EQ(lapic_pending(&copy), 0xec); /* two periods were due at the save */
    CHECK_EQ(lapic_load(&copy, saved, lapic_base(&l), at(50)), 0);
    lapic_save(&copy, again, at(50));
    CHECK_MEM(again, saved, sizeof(saved));
    CHECK_EQ(lapic_load(&copy, saved, BASE | EXTD, at(50)), -EINVAL);
}

/* What lies in a file need not be what we wrote. */
TEST(lapic_load_keeps_invariants)
{
    u8 bytes[VCPU_LAPIC_SIZE];
    struct lapic l;

    memset(bytes, 0xff, sizeof(bytes));
    fresh(&l, 3);
    CHECK_EQ(lapic_load(&l, bytes, BASE | EN, at(0)), 0);
    CHECK_EQ(rd(&l, IRR), 0xffff0000);
    CHECK_EQ(rd(&l, ISR), 0xffff0000);
    CHECK_EQ(rd(&l, PPR), 0xff);
    CHECK_EQ(rd(&l, 0x30), 0x50014);
    for (u32 i = 0; i < 240; i++)
        lapic_eoi(&l);
    CHECK_EQ(rd(&l, ISR), 0);
}
