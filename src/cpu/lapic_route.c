/*
 * cpu/lapic_route.c: which local APICs does a message mean?  (SDM, "Determining IPI Destination", "Message Signalled Interrupts")
 */
#include "cpu/lapic_regs.h"

#define MSI_ADDR       0xfee00000ull
#define MSI_ADDR_MASK  0xfffffffffff00000ull
#define MSI_LOGICAL    (1u << 2)
#define MSI_REDIRECT   (1u << 3)
#define DATA_ASSERT    (1u << 14)
#define DATA_LEVEL     (1u << 15)
#define DELIVERY_MODES 0xb7u /* 3 is reserved, 6 (SIPI) only a CPU can send */

bool lapic_msg_of_msi(struct lapic_msg *ret, u64 addr, u32 data)
{
    u32 delivery = data >> 8 & 7, dest = addr >> 12 & 0xff;
    bool level = data & DATA_LEVEL, logical = addr & MSI_LOGICAL;

    if ((addr & MSI_ADDR_MASK) != MSI_ADDR || !(DELIVERY_MODES >> delivery & 1))
        return false;
    if (level && !(data & DATA_ASSERT))
        return false;
    if (delivery == LAPIC_FIXED && logical && addr & MSI_REDIRECT)
        delivery = LAPIC_LOWEST;
    *ret = (struct lapic_msg){
        .dest = dest == 0xff ? LAPIC_ALL : dest,
        .delivery = delivery,
        .vector = (u8)data,
        .logical = logical,
        .level = level,
    };
    return true;
}

static bool in_cluster(u32 set, u32 dest, u32 bits)
{
    return set >> bits == dest >> bits && set & dest & ((1u << bits) - 1);
}

static bool logical_match(const struct lapic *l, u32 dest)
{
    u32 ldr = lapic_get(l, LAPIC_LDR);

    if (lapic_mode(l) == LAPIC_X2APIC)
        return in_cluster(ldr, dest, 16);
    if (dest > 0xff)
        return false;
    if (lapic_get(l, LAPIC_DFR) >> 28 == 0xf) /* flat */
        return ldr >> 24 & dest;
    return in_cluster(ldr >> 24, dest, 4);
}

static u32 physical_id(const struct lapic *l)
{
    return lapic_mode(l) == LAPIC_X2APIC ? l->id : lapic_get(l, LAPIC_ID) >> 24;
}

static bool meant(const struct lapic *l, const struct lapic *from, const struct lapic_msg *m)
{
    if (lapic_mode(l) == LAPIC_OFF)
        return false;
    switch (m->to) {
    case LAPIC_TO_SELF:
        return l == from;
    case LAPIC_TO_ALL:
        return true;
    case LAPIC_TO_OTHERS:
        return l != from;
    case LAPIC_TO_DEST:
        break;
    }
    if (m->dest == LAPIC_ALL)
        return true;
    return m->logical ? logical_match(l, m->dest) : physical_id(l) == m->dest;
}

/* The vector chooses among the candidates, as KVM does it: interrupts spread, and each stays on its CPU. */
static u64 choose_one(u64 set, u8 vector)
{
    u32 n = (u32)__builtin_popcountll(set);

    for (u32 skip = n ? vector % n : 0; skip; skip--)
        set &= set - 1;
    return set & -set;
}

u64 lapic_route(struct lapic *const *all, u32 n, const struct lapic *from,
                const struct lapic_msg *m)
{
    bool lowest = m->delivery == LAPIC_LOWEST;
    u64 set = 0;

    must(n <= 64);
    for (u32 i = 0; i < n; i++)
        if (meant(all[i], from, m) && (!lowest || lapic_enabled(all[i])))
            set |= 1ull << i;
    return lowest ? choose_one(set, m->vector) : set;
}
