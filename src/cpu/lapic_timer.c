/*
 * cpu/lapic_timer.c: the local APIC's timer: one-shot, periodic, TSC deadline.  (SDM, "APIC Timer")
 *   (1) Its input clock is 1 GHz, as KVM's is: a count is a number of ns, times the divisor.
 *   (2) expiry_ns is the whole truth while it runs; the current count is computed when somebody looks.
 *   (3) It runs whether the LVT entry is masked or not; a mask only keeps the interrupt back, which is then lost.
 *   (4) A periodic timer that fell behind fires once and keeps its phase.
 */
#include "cpu/lapic_regs.h"

static u32 timer_mode(const struct lapic *l)
{
    return lapic_get(l, LAPIC_LVT + LAPIC_LVT_TIMER) & LAPIC_TIMER_MODE;
}

/* Bits 0, 1 and 3: 000 is 2, 001 is 4 … 110 is 128, 111 is 1. */
static u32 divisor(u32 tdcr)
{
    u32 code = (tdcr & 3) | (tdcr >> 1 & 4);

    return 1u << ((code + 1) & 7);
}

static u64 ns_of(const struct lapic *l, u32 count)
{
    return (u64)count * divisor(lapic_get(l, LAPIC_TDCR));
}

static void arm_after(struct lapic *l, u64 ns, struct lapic_time now)
{
    l->expiry_ns = ns ? now.ns + ns : LAPIC_NEVER;
}

/* When the TSC will be there, rounded up. */
static u64 ns_at_tsc(const struct lapic *l, u64 tsc, struct lapic_time now)
{
    unsigned __int128 ns = tsc > now.tsc ? tsc - now.tsc : 0;

    ns = (ns * 1000000 + l->tsc_khz - 1) / l->tsc_khz + now.ns;
    return ns < LAPIC_NEVER ? (u64)ns : LAPIC_NEVER - 1;
}

static void fire_deadline(struct lapic *l, struct lapic_time now)
{
    if (now.tsc < l->tsc_deadline) {
        l->expiry_ns = ns_at_tsc(l, l->tsc_deadline, now);
        return;
    }
    l->tsc_deadline = 0;
    l->expiry_ns = LAPIC_NEVER;
    lapic_fire(l, LAPIC_LVT_TIMER);
}

static void fire_count(struct lapic *l, struct lapic_time now)
{
    u64 period = ns_of(l, lapic_get(l, LAPIC_TMICT));

    if (now.ns < l->expiry_ns)
        return;
    if (timer_mode(l) == LAPIC_TIMER_PERIODIC)
        l->expiry_ns += ((now.ns - l->expiry_ns) / period + 1) * period;
    else
        l->expiry_ns = LAPIC_NEVER;
    lapic_fire(l, LAPIC_LVT_TIMER);
}

u64 lapic_deadline_ns(const struct lapic *l)
{
    return l->expiry_ns;
}

void lapic_tick(struct lapic *l, struct lapic_time now)
{
    if (l->expiry_ns == LAPIC_NEVER)
        return;
    if (timer_mode(l) == LAPIC_TIMER_DEADLINE)
        fire_deadline(l, now);
    else
        fire_count(l, now);
}

u64 lapic_tsc_deadline(const struct lapic *l)
{
    return l->tsc_deadline;
}

void lapic_set_tsc_deadline(struct lapic *l, u64 tsc, struct lapic_time now)
{
    if (timer_mode(l) != LAPIC_TIMER_DEADLINE)
        return; /* "the write is ignored" */
    l->tsc_deadline = tsc;
    l->expiry_ns = tsc ? now.ns : LAPIC_NEVER;
    lapic_tick(l, now);
}

void lapic_timer_clear(struct lapic *l)
{
    l->tsc_deadline = 0;
    l->expiry_ns = LAPIC_NEVER;
    lapic_put(l, LAPIC_TMICT, 0);
}

/* One-shot and periodic may be exchanged under way; from and to TSC deadline the timer is disarmed.  A one-shot that is over
 * begins anew when it becomes periodic: the saved form could not tell that it stands. */
void lapic_timer_set_lvt(struct lapic *l, u32 val, struct lapic_time now)
{
    bool was, is = (val & LAPIC_TIMER_MODE) == LAPIC_TIMER_DEADLINE;

    lapic_tick(l, now);
    was = timer_mode(l) == LAPIC_TIMER_DEADLINE;
    lapic_put(l, LAPIC_LVT + LAPIC_LVT_TIMER, val);
    if (was != is)
        lapic_timer_clear(l);
    else if (timer_mode(l) == LAPIC_TIMER_PERIODIC && l->expiry_ns == LAPIC_NEVER)
        arm_after(l, ns_of(l, lapic_get(l, LAPIC_TMICT)), now);
}

/* The count that is left stays and now runs at the new pace. */
void lapic_timer_set_divide(struct lapic *l, u32 val, struct lapic_time now)
{
    u32 count = lapic_timer_count(l, now);

    lapic_put(l, LAPIC_TDCR, val);
    if (timer_mode(l) != LAPIC_TIMER_DEADLINE)
        arm_after(l, ns_of(l, count), now);
}

void lapic_timer_set_count(struct lapic *l, u32 val, struct lapic_time now)
{
    lapic_tick(l, now);
    if (timer_mode(l) == LAPIC_TIMER_DEADLINE)
        return;
    lapic_put(l, LAPIC_TMICT, val);
    arm_after(l, ns_of(l, val), now);
}

/* Rounded up: 0 means that it does not run. */
u32 lapic_timer_count(struct lapic *l, struct lapic_time now)
{
    u32 div = divisor(lapic_get(l, LAPIC_TDCR));

    lapic_tick(l, now);
    if (l->expiry_ns == LAPIC_NEVER || timer_mode(l) == LAPIC_TIMER_DEADLINE)
        return 0;
    return (u32)((l->expiry_ns - now.ns + div - 1) / div);
}

void lapic_timer_resume(struct lapic *l, u32 count, struct lapic_time now)
{
    u32 initial = lapic_get(l, LAPIC_TMICT);

    l->tsc_deadline = 0;
    l->expiry_ns = LAPIC_NEVER;
    if (timer_mode(l) == LAPIC_TIMER_DEADLINE)
        return;
    if (timer_mode(l) == LAPIC_TIMER_PERIODIC && !count)
        count = initial;
    arm_after(l, ns_of(l, min(count, initial)), now);
}
