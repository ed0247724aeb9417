/*
 * cpu/lapic.c: the local APIC's requests, priorities and modes.  (Intel SDM vol. 3, "APIC"; "the SDM")
 *   (1) IRR: requested; ISR: taken by the CPU, not yet EOI'd.  No vector below 16 is ever in either.
 *   (2) PPR is kept right by whoever changes TPR or ISR; a vector is deliverable when its class, bits 7:4, is above PPR's.
 *   (3) TMR tells of each requested vector whether its EOI goes to the I/O APICs; it is set before IRR.
 *   (4) Disabled by software, it accepts nothing; what is in IRR and ISR waits for the CPU.
 *   (5) Switched off by IA32_APIC_BASE, its registers are as after power-on, but for the task priority, which is CR8 too.
 */
#include "cpu/cpu.h"
#include "cpu/lapic_regs.h"

enum { VIRTUAL_WIRE = LAPIC_EXTINT << 8 }; /* LINT0: an interrupt of the 8259, unmasked */

#define BASE_BSP      (1ull << 8)
#define BASE_EN       (1ull << 11)
#define BASE_RESERVED 0x2ffull /* bits 0..7 and 9 */

/* Where each mode may go: a bit for each enum lapic_mode.  (SDM, "x2APIC State Transitions") */
static const u8 next_modes[] = {
    [LAPIC_OFF] = 1 << LAPIC_OFF | 1 << LAPIC_XAPIC,
    [LAPIC_INVALID] = 0,
    [LAPIC_XAPIC] = 1 << LAPIC_OFF | 1 << LAPIC_XAPIC | 1 << LAPIC_X2APIC,
    [LAPIC_X2APIC] = 1 << LAPIC_OFF | 1 << LAPIC_X2APIC,
};

/* ---- requests and priorities ---- */

u64 lapic_base(const struct lapic *l)
{
    return atomic_load_explicit(&l->base, memory_order_relaxed);
}

void lapic_error(struct lapic *l, u32 error)
{
    u32 before = atomic_fetch_or(&l->errors, error);

    if (error & ~before) /* one interrupt a kind, until the guest writes ESR */
        lapic_fire(l, LAPIC_LVT_ERROR);
}

static u32 word_of(u32 set, u8 vector)
{
    return set + vector / 32;
}

static u32 bit_of(u8 vector)
{
    return 1u << vector % 32;
}

/* The highest vector in one of the three sets, or -1. */
static int highest(const struct lapic *l, u32 set)
{
    for (int i = 7; i >= 0; i--) {
        u32 word = lapic_get(l, set + (u32)i);

        if (word)
            return i * 32 + 31 - __builtin_clz(word);
    }
    return -1;
}

void lapic_update_ppr(struct lapic *l)
{
    u32 tpr = lapic_get(l, LAPIC_TPR);
    int top = highest(l, LAPIC_ISR);
    u32 served = top < 0 ? 0 : (u32)top & 0xf0;

    lapic_put(l, LAPIC_PPR, (tpr & 0xf0) >= served ? tpr : served);
}

void lapic_wake_if_pending(struct lapic *l)
{
    if (lapic_pending(l) >= 0)
        l->host->wake(l->arg);
}

void lapic_accept(struct lapic *l, u8 vector, bool level)
{
    u32 word = word_of(0, vector), bit = bit_of(vector);

    if (vector < LAPIC_VECTOR_MIN) {
        lapic_error(l, LAPIC_ERR_RECEIVE_VECTOR);
        return;
    }
    if (!lapic_enabled(l))
        return;
    if (level)
        atomic_fetch_or(&l->reg[LAPIC_TMR + word], bit);
    else
        atomic_fetch_and(&l->reg[LAPIC_TMR + word], ~bit);
    atomic_fetch_or(&l->reg[LAPIC_IRR + word], bit);
    l->host->wake(l->arg);
}

void lapic_fire(struct lapic *l, enum lapic_lvt source)
{
    u32 entry = lapic_get(l, LAPIC_LVT + source), delivery = entry >> 8 & 7;
    struct lapic_msg m = { .to = LAPIC_TO_SELF, .delivery = delivery, .vector = (u8)entry };

    if (entry & LAPIC_LVT_MASKED)
        return;
    if (delivery == LAPIC_FIXED)
        lapic_accept(l, (u8)entry, false);
    else if (delivery != LAPIC_EXTINT) /* that one is a wire: lapic_takes_pic */
        l->host->send(l->arg, &m);
}

int lapic_pending(const struct lapic *l)
{
    int top = highest(l, LAPIC_IRR);

    if (top < 0 || lapic_mode(l) == LAPIC_OFF)
        return -1;
    return (u32)top >> 4 > lapic_get(l, LAPIC_PPR) >> 4 ? top : -1;
}

void lapic_ack(struct lapic *l, u8 vector)
{
    u32 isr = word_of(LAPIC_ISR, vector);

    atomic_fetch_and(&l->reg[word_of(LAPIC_IRR, vector)], ~bit_of(vector));
    lapic_put(l, isr, lapic_get(l, isr) | bit_of(vector));
    lapic_update_ppr(l);
}

void lapic_eoi(struct lapic *l)
{
    int top = highest(l, LAPIC_ISR);
    u8 vector = (u8)top;
    u32 isr = word_of(LAPIC_ISR, vector);

    if (top < 0)
        return;
    lapic_put(l, isr, lapic_get(l, isr) & ~bit_of(vector));
    lapic_update_ppr(l);
    if (lapic_get(l, word_of(LAPIC_TMR, vector)) & bit_of(vector))
        l->host->eoi(l->arg, vector);
    lapic_wake_if_pending(l);
}

bool lapic_takes_pic(const struct lapic *l)
{
    u32 lint0 = lapic_get(l, LAPIC_LVT + LAPIC_LVT_LINT0);

    if (lapic_mode(l) == LAPIC_OFF)
        return lapic_base(l) & BASE_BSP;
    return !(lint0 & LAPIC_LVT_MASKED) && (lint0 >> 8 & 7) == LAPIC_EXTINT;
}

u8 lapic_cr8(const struct lapic *l)
{
    return (u8)(lapic_get(l, LAPIC_TPR) >> 4);
}

void lapic_set_tpr(struct lapic *l, u32 val)
{
    lapic_put(l, LAPIC_TPR, val);
    lapic_update_ppr(l);
    lapic_wake_if_pending(l);
}

void lapic_set_cr8(struct lapic *l, u8 val)
{
    lapic_set_tpr(l, (u32)(val & 0xf) << 4);
}

/* ---- modes ---- */

/* The x2APIC's logical id: cluster in the upper half, one bit in the lower.  (SDM, "Deriving Logical x2APIC ID") */
static u32 logical_x2(u32 id)
{
    return id >> 4 << 16 | 1u << (id & 15);
}

void lapic_set_ids(struct lapic *l)
{
    bool x2 = lapic_mode(l) == LAPIC_X2APIC;

    lapic_put(l, LAPIC_ID, x2 ? l->id : l->id << 24);
    lapic_put(l, LAPIC_LDR, x2 ? logical_x2(l->id) : 0);
}

/* All but id, mode and address. */
static void clear_registers(struct lapic *l)
{
    for (u32 r = 0; r < LAPIC_REGS; r++)
        if (r != LAPIC_ID)
            atomic_store(&l->reg[r], lapic_reset_value(r));
    atomic_store(&l->errors, 0);
    lapic_timer_clear(l);
    if (lapic_mode(l) == LAPIC_X2APIC)
        lapic_put(l, LAPIC_LDR, logical_x2(l->id));
}

int lapic_set_base(struct lapic *l, u64 val)
{
    enum lapic_mode from = lapic_mode(l), to = lapic_mode_of(val);
    u32 tpr = lapic_get(l, LAPIC_TPR);

    if (val & l->base_reserved || !(next_modes[from] >> to & 1))
        return -EINVAL;
    atomic_store(&l->base, val);
    if (from == to)
        return 0;
    if (to == LAPIC_OFF) {
        clear_registers(l);
        lapic_set_tpr(l, tpr);
    }
    lapic_set_ids(l);
    return 0;
}

static void set_virtual_wire(struct lapic *l)
{
    if (l->id == 0)
        lapic_put(l, LAPIC_LVT + LAPIC_LVT_LINT0, VIRTUAL_WIRE);
}

void lapic_reset(struct lapic *l)
{
    atomic_store(&l->base, CPU_LAPIC_BASE | BASE_EN | (l->id == 0 ? BASE_BSP : 0));
    clear_registers(l);
    lapic_set_ids(l);
    set_virtual_wire(l);
}

void lapic_on_init(struct lapic *l)
{
    clear_registers(l);
    set_virtual_wire(l);
}

void lapic_init(struct lapic *l, u32 id, u32 phys_bits, const struct lapic_host *host, void *arg)
{
    must(id < 0xff && phys_bits >= 32 && phys_bits <= 52);
    *l = (struct lapic){ .id = id, .host = host, .arg = arg, .tsc_khz = 1000000 };
    l->base_reserved = ~((1ull << phys_bits) - 1) | BASE_RESERVED;
    lapic_reset(l);
}

void lapic_set_tsc_khz(struct lapic *l, u64 khz)
{
    must(khz > 0);
    l->tsc_khz = khz;
}
