/*
 * cpu/lapic_regs.h: where the local APIC's registers lie, and what its files ask of each other.  Private to cpu/lapic*.c.
 */
#pragma once

#include "cpu/lapic.h"

/* Offset in the page / 16 = MSR - 0x800.  (SDM, "Local APIC Register Address Map") */
enum lapic_reg {
    LAPIC_ID = 0x02,
    LAPIC_VERSION = 0x03,
    LAPIC_TPR = 0x08,
    LAPIC_APR = 0x09,
    LAPIC_PPR = 0x0a,
    LAPIC_EOI = 0x0b,
    LAPIC_RRD = 0x0c,
    LAPIC_LDR = 0x0d,
    LAPIC_DFR = 0x0e,
    LAPIC_SVR = 0x0f,
    LAPIC_ISR = 0x10, /* eight words each, vector 0 at bit 0 of the first */
    LAPIC_TMR = 0x18,
    LAPIC_IRR = 0x20,
    LAPIC_ESR = 0x28,
    LAPIC_ICR = 0x30,
    LAPIC_ICR_HIGH = 0x31,
    LAPIC_LVT = 0x32, /* six of them */
    LAPIC_TMICT = 0x38,
    LAPIC_TMCCT = 0x39,
    LAPIC_TDCR = 0x3e,
    LAPIC_SELF_IPI = 0x3f,
};

enum {
    LAPIC_VECTOR_MIN = 16, /* those below are the CPU's exceptions: an error */
    LAPIC_ERR_SEND_VECTOR = 1 << 5,
    LAPIC_ERR_RECEIVE_VECTOR = 1 << 6,
    LAPIC_ERR_REGISTER = 1 << 7,
    LAPIC_SVR_ENABLED = 1 << 8,
    LAPIC_LVT_MASKED = 1 << 16,
    LAPIC_TIMER_PERIODIC = 1 << 17,
    LAPIC_TIMER_DEADLINE = 2 << 17,
    LAPIC_TIMER_MODE = 3 << 17,
};

/* IA32_APIC_BASE bits 11 (EN) and 10 (EXTD). */
enum lapic_mode { LAPIC_OFF, LAPIC_INVALID, LAPIC_XAPIC, LAPIC_X2APIC };

static inline enum lapic_mode lapic_mode_of(u64 base)
{
    return (enum lapic_mode)(base >> 10 & 3);
}

static inline enum lapic_mode lapic_mode(const struct lapic *l)
{
    return lapic_mode_of(atomic_load_explicit(&l->base, memory_order_relaxed));
}

static inline u32 lapic_get(const struct lapic *l, u32 r)
{
    return atomic_load_explicit(&l->reg[r], memory_order_relaxed);
}

static inline void lapic_put(struct lapic *l, u32 r, u32 val)
{
    atomic_store_explicit(&l->reg[r], val, memory_order_relaxed);
}

static inline bool lapic_enabled(const struct lapic *l)
{
    return lapic_mode(l) != LAPIC_OFF && lapic_get(l, LAPIC_SVR) & LAPIC_SVR_ENABLED;
}

/* Any thread: notes an error, which raises the error interrupt once until the guest writes ESR. */
void lapic_error(struct lapic *l, u32 error);
void lapic_set_tpr(struct lapic *l, u32 val);
void lapic_update_ppr(struct lapic *l);
void lapic_wake_if_pending(struct lapic *l);
/* The id registers as the mode has them. */
void lapic_set_ids(struct lapic *l);
u32 lapic_reset_value(u32 r);

/* Stops the timer, and forgets what it was set to. */
void lapic_timer_clear(struct lapic *l);
/* Each of these has brought the timer up to `now` under what held before. */
void lapic_timer_set_lvt(struct lapic *l, u32 val, struct lapic_time now);
void lapic_timer_set_divide(struct lapic *l, u32 val, struct lapic_time now);
void lapic_timer_set_count(struct lapic *l, u32 val, struct lapic_time now);
u32 lapic_timer_count(struct lapic *l, struct lapic_time now);
/* After a load: the registers are there, `count` is what was left. */
void lapic_timer_resume(struct lapic *l, u32 count, struct lapic_time now);
