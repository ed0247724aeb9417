/*
 * cpu/lapic_regs.c: the local APIC's registers: one row each, reached as memory or as MSRs, saved and loaded.
 * (Intel SDM vol. 3, "APIC"; "the SDM")
 *   (1) While it is disabled by software, every LVT entry is masked and stays so.
 *   (2) The saved form is KVM's, so that either engine loads what the other saved.
 */
#include "cpu/lapic_regs.h"

enum {
    /* Who may: xAPIC read and write, x2APIC read and write. */
    R1 = 1,
    W1 = 2,
    R2 = 4,
    W2 = 8,

    ICR_BUSY = 1 << 12, /* delivery status: always idle here */
    ICR_ASSERT = 1 << 14,
    ICR_LEVEL = 1 << 15,
    ICR_RESERVED_DELIVERY = 3,

    SIX_ENTRIES = 0x50014, /* version 0x14, six LVT entries, no EOI broadcast suppression: KVM's */
};

#define DFR_MODEL 0xf0000000u

/* `wrote` gets what the mask let through and stores it, if that is to be. */
struct reg {
    u8 who;
    u32 rw, reset;
    void (*wrote)(struct lapic *l, u32 r, u32 val, struct lapic_time now);
    u32 (*peek)(struct lapic *l, struct lapic_time now);
};

/* ---- what writes do ---- */

static void wrote_tpr(struct lapic *l, u32, u32 val, struct lapic_time)
{
    lapic_set_tpr(l, val);
}

static void wrote_eoi(struct lapic *l, u32, u32, struct lapic_time)
{
    lapic_eoi(l);
}

static void wrote_dfr(struct lapic *l, u32 r, u32 val, struct lapic_time)
{
    lapic_put(l, r, val | ~DFR_MODEL);
}

static void mask_all(struct lapic *l)
{
    for (u32 i = 0; i < LAPIC_LVT_COUNT; i++)
        lapic_put(l, LAPIC_LVT + i, lapic_get(l, LAPIC_LVT + i) | LAPIC_LVT_MASKED);
}

static void wrote_svr(struct lapic *l, u32 r, u32 val, struct lapic_time now)
{
    lapic_tick(l, now); /* it may be due, and is not yet masked */
    lapic_put(l, r, val);
    if (!(val & LAPIC_SVR_ENABLED))
        mask_all(l);
}

/* A write shows what happened since the last one. */
static void wrote_esr(struct lapic *l, u32 r, u32, struct lapic_time)
{
    lapic_put(l, r, atomic_exchange(&l->errors, 0));
}

static void send_ipi(struct lapic *l, u32 icr, u32 dest)
{
    u32 delivery = icr >> 8 & 7;
    struct lapic_msg m = {
        .dest = dest,
        .to = icr >> 18,
        .delivery = delivery,
        .vector = (u8)icr,
        .logical = icr >> 11 & 1,
    };

    if (delivery == ICR_RESERVED_DELIVERY || delivery == LAPIC_EXTINT)
        return;
    if (delivery == LAPIC_INIT && icr & ICR_LEVEL && !(icr & ICR_ASSERT))
        return; /* "INIT level de-assert": only arbitration ids, which are no more */
    if (delivery <= LAPIC_LOWEST && m.vector < LAPIC_VECTOR_MIN)
        lapic_error(l, LAPIC_ERR_SEND_VECTOR);
    else if (delivery == LAPIC_FIXED && m.to == LAPIC_TO_SELF)
        lapic_accept(l, m.vector, false);
    else
        l->host->send(l->arg, &m);
}

static void wrote_icr(struct lapic *l, u32 r, u32 val, struct lapic_time)
{
    u32 dest = lapic_get(l, LAPIC_ICR_HIGH);

    lapic_put(l, r, val);
    if (lapic_mode(l) == LAPIC_XAPIC)
        dest = dest >> 24 == 0xff ? LAPIC_ALL : dest >> 24;
    send_ipi(l, val, dest);
}

static void wrote_lvt(struct lapic *l, u32 r, u32 val, struct lapic_time now)
{
    if (!lapic_enabled(l))
        val |= LAPIC_LVT_MASKED;
    if (r == LAPIC_LVT + LAPIC_LVT_TIMER)
        lapic_timer_set_lvt(l, val, now);
    else
        lapic_put(l, r, val);
}

static void wrote_tmict(struct lapic *l, u32, u32 val, struct lapic_time now)
{
    lapic_timer_set_count(l, val, now);
}

static void wrote_tdcr(struct lapic *l, u32, u32 val, struct lapic_time now)
{
    lapic_timer_set_divide(l, val, now);
}

static void wrote_self(struct lapic *l, u32, u32 val, struct lapic_time)
{
    send_ipi(l, (u32)LAPIC_TO_SELF << 18 | val, 0);
}

/* ---- the table ---- */

/* clang-format off */
static const struct reg regs[LAPIC_REGS] = {
    [LAPIC_ID]             = { R1 | W1 | R2,      0xff000000 },
    [LAPIC_VERSION]        = { R1 | R2,           .reset = SIX_ENTRIES },
    [LAPIC_TPR]            = { R1 | W1 | R2 | W2, 0xff,       .wrote = wrote_tpr },
    [LAPIC_APR]            = { R1 }, /* not there since the Pentium 4, but not reserved either */
    [LAPIC_PPR]            = { R1 | R2 },
    [LAPIC_EOI]            = { W1 | W2,           .wrote = wrote_eoi },
    [LAPIC_RRD]            = { R1 },
    [LAPIC_LDR]            = { R1 | W1 | R2,      0xff000000 },
    [LAPIC_DFR]            = { R1 | W1,           DFR_MODEL,  .reset = ~0u, .wrote = wrote_dfr },
    [LAPIC_SVR]            = { R1 | W1 | R2 | W2, 0x3ff,      .reset = 0xff, .wrote = wrote_svr },
    [LAPIC_ISR ... LAPIC_ESR - 1] = { R1 | R2 },
    [LAPIC_ESR]            = { R1 | W1 | R2 | W2, .wrote = wrote_esr },
    [LAPIC_ICR]            = { R1 | W1 | R2 | W2, 0xccfff,    .wrote = wrote_icr },
    [LAPIC_ICR_HIGH]       = { R1 | W1,           0xff000000 },
    [LAPIC_LVT + LAPIC_LVT_TIMER]   = { R1 | W1 | R2 | W2, 0x700ff, LAPIC_LVT_MASKED, wrote_lvt },
    [LAPIC_LVT + LAPIC_LVT_THERMAL] = { R1 | W1 | R2 | W2, 0x107ff, LAPIC_LVT_MASKED, wrote_lvt },
    [LAPIC_LVT + LAPIC_LVT_PERF]    = { R1 | W1 | R2 | W2, 0x107ff, LAPIC_LVT_MASKED, wrote_lvt },
    [LAPIC_LVT + LAPIC_LVT_LINT0]   = { R1 | W1 | R2 | W2, 0x1a7ff, LAPIC_LVT_MASKED, wrote_lvt },
    [LAPIC_LVT + LAPIC_LVT_LINT1]   = { R1 | W1 | R2 | W2, 0x1a7ff, LAPIC_LVT_MASKED, wrote_lvt },
    [LAPIC_LVT + LAPIC_LVT_ERROR]   = { R1 | W1 | R2 | W2, 0x100ff, LAPIC_LVT_MASKED, wrote_lvt },
    [LAPIC_TMICT]          = { R1 | W1 | R2 | W2, ~0u,        .wrote = wrote_tmict },
    [LAPIC_TMCCT]          = { R1 | R2,           .peek = lapic_timer_count },
    [LAPIC_TDCR]           = { R1 | W1 | R2 | W2, 0xb,        .wrote = wrote_tdcr },
    [LAPIC_SELF_IPI]       = { W2,                0xff,       .wrote = wrote_self },
};
/* clang-format on */

u32 lapic_reset_value(u32 r)
{
    return regs[r].reset;
}

static u32 reg_read(struct lapic *l, u32 r, struct lapic_time now)
{
    return regs[r].peek ? regs[r].peek(l, now) : lapic_get(l, r);
}

static void reg_write(struct lapic *l, u32 r, u32 val, struct lapic_time now)
{
    val &= regs[r].rw;
    if (regs[r].wrote)
        regs[r].wrote(l, r, val, now);
    else
        lapic_put(l, r, val);
}

/* ---- the two ways to the registers ---- */

bool lapic_covers(const struct lapic *l, u64 gpa)
{
    u64 page = lapic_base(l) & ~(u64)(LAPIC_SIZE - 1);

    return lapic_mode(l) == LAPIC_XAPIC && gpa - page < LAPIC_SIZE;
}

/* The register at `off` that `who` may use, or 0, which is none: the guest's mistake is noted. */
static u32 reg_at(struct lapic *l, u64 off, u8 who)
{
    u64 r = off / 16;

    must(lapic_mode(l) == LAPIC_XAPIC);
    if (r < LAPIC_REGS && regs[r].who & who)
        return (u32)r;
    if (r >= LAPIC_REGS || !(regs[r].who & (R1 | W1)))
        lapic_error(l, LAPIC_ERR_REGISTER);
    return 0;
}

/* Narrow reads see part of the 32 bits, as KVM gives them; the rest of the 16 bytes is empty. */
u64 lapic_read(struct lapic *l, u64 off, u32 len, struct lapic_time now)
{
    u32 r = reg_at(l, off, R1);
    u64 shift = 8 * (off & 15), v = r ? reg_read(l, r, now) : 0;

    v = shift < 32 ? v >> shift : 0;
    return len < 4 ? v & ((1ull << 8 * len) - 1) : v;
}

/* "Must be 32 bits wide and aligned to 16 bytes"; others have no effect. */
void lapic_write(struct lapic *l, u64 off, u32 len, u64 val, struct lapic_time now)
{
    u32 r = len == 4 && !(off & 15) ? reg_at(l, off, W1) : 0;

    if (r)
        reg_write(l, r, (u32)val, now);
}

static bool is_msr(const struct lapic *l, u32 msr, u8 who)
{
    u32 r = msr - LAPIC_MSR;

    return lapic_mode(l) == LAPIC_X2APIC && r < LAPIC_REGS && regs[r].who & who;
}

int lapic_msr_read(struct lapic *l, u32 msr, struct lapic_time now, u64 *ret)
{
    u32 r = msr - LAPIC_MSR;

    if (!is_msr(l, msr, R2))
        return -EINVAL;
    *ret = reg_read(l, r, now);
    if (r == LAPIC_ICR)
        *ret |= (u64)lapic_get(l, LAPIC_ICR_HIGH) << 32;
    return 0;
}

int lapic_msr_write(struct lapic *l, u32 msr, u64 val, struct lapic_time now)
{
    u32 r = msr - LAPIC_MSR;

    if (!is_msr(l, msr, W2))
        return -EINVAL;
    if (r == LAPIC_ICR) {
        val &= ~(u64)ICR_BUSY; /* who read it writes it back */
        if ((u32)val & ~regs[r].rw)
            return -EINVAL;
        lapic_put(l, LAPIC_ICR_HIGH, (u32)(val >> 32));
    } else if (val & ~(u64)regs[r].rw) {
        return -EINVAL;
    }
    reg_write(l, r, (u32)val, now);
    return 0;
}

/* ---- state ---- */

void lapic_save(struct lapic *l, u8 *ret_regs, struct lapic_time now)
{
    lapic_tick(l, now); /* what is due is in IRR, not lost between two machines */
    memset(ret_regs, 0, VCPU_LAPIC_SIZE);
    for (u32 r = 0; r < LAPIC_REGS; r++)
        le_store(ret_regs + (size_t)r * 16, 4, reg_read(l, r, now));
    if (lapic_mode(l) == LAPIC_X2APIC)
        le_store(ret_regs + LAPIC_ID * 16, 4,
                 l->id << 24); /* KVM's format says where xAPIC has it */
}

/* What may stand in a register, when it comes from a file: what the guest could have written there, or we. */
static u32 legal_bits(u32 r)
{
    bool first = r == LAPIC_ISR || r == LAPIC_TMR || r == LAPIC_IRR;

    if (r >= LAPIC_ISR && r < LAPIC_ESR)
        return first ? ~((1u << LAPIC_VECTOR_MIN) - 1) : ~0u;
    if (r == LAPIC_ESR)
        return 0xff;
    return regs[r].who & (R1 | R2) ? regs[r].rw : 0;
}

static void load_registers(struct lapic *l, const u8 *in)
{
    bool x2 = lapic_mode(l) == LAPIC_X2APIC;

    for (u32 r = 0; r < LAPIC_REGS; r++) {
        u32 keep = legal_bits(r), val = (u32)le_load(in + (size_t)r * 16, 4);

        if (x2 && r == LAPIC_ICR_HIGH)
            keep = ~0u;
        if (x2 && (r == LAPIC_ID || r == LAPIC_LDR))
            continue;
        atomic_store(&l->reg[r], (val & keep) | (regs[r].reset & ~keep));
    }
}

int lapic_load(struct lapic *l, const u8 *in, u64 base, struct lapic_time now)
{
    if (base & l->base_reserved || lapic_mode_of(base) == LAPIC_INVALID)
        return -EINVAL;
    atomic_store(&l->base, base);
    atomic_store(&l->errors, 0);
    lapic_set_ids(l);
    load_registers(l, in);
    lapic_timer_resume(l, (u32)le_load(in + LAPIC_TMCCT * 16, 4), now);
    lapic_update_ppr(l);
    lapic_wake_if_pending(l);
    return 0;
}
