/*
 * cpu/soft/pv.c: the paravirtual clock, stolen time and hypercalls, in KVM's ABI.
 * (Linux Documentation/virt/kvm/x86/{msr,hypercalls}.rst, asm/pvclock-abi.h)
 *   (1) The clock page is a line through one point: the TSC counts guest ns, so it is written when the guest asks for it or sets
 *       its TSC, and never for the passing of time.
 *   (2) A page that is not RAM is accepted and not written: as under KVM the guest learns it from a clock that stands.
 */
#include "cpu/soft/pv.h"

#include "base/clock.h"
#include "cpu/soft/io.h"
#include "cpu/soft/msr.h"

struct pv_time {
    u32 version; /* odd while it is being written */
    u32 pad0;
    u64 tsc, ns;
    u32 mul;
    s8 shift;
    u8 flags;
    u8 pad[2];
} __attribute__((packed, aligned(4)));
static_assert(sizeof(struct pv_time) == 32, "the ABI's pvclock_vcpu_time_info");

struct pv_wall {
    u32 version, sec, nsec;
} __attribute__((packed, aligned(4)));

struct pv_steal {
    u64 ns;
    u32 version, flags;
    u8 preempted, pad8[3];
    u32 pad[11];
};
static_assert(sizeof(struct pv_steal) == 64, "the ABI's kvm_steal_time");

struct pv_pair {
    s64 sec, nsec;
    u64 tsc;
    u32 flags, pad[9];
} __attribute__((packed, aligned(4)));
static_assert(sizeof(struct pv_pair) == 64, "the ABI's kvm_clock_pairing");

enum {
    TIME_STABLE = 1 << 0, /* all vCPUs' clocks are one line */
    TIME_STOPPED = 1 << 1,
    ENABLED = 1,
    STEAL_RESERVED = 0x3e,
};

/* ns = ((tsc - point) << 1) * 2^31 / 2^32: one a tick. */
enum { TIME_SHIFT = 1 };
#define TIME_MUL (1u << 31)

/* Begins and ends a change of a page that the guest reads without a lock. */
static u32 open_page(u32 *version)
{
    u32 odd = __atomic_load_n(version, __ATOMIC_RELAXED) | 1;

    __atomic_store_n(version, odd, __ATOMIC_RELAXED);
    atomic_thread_fence(memory_order_release);
    return odd;
}

static void close_page(u32 *version, u32 odd)
{
    __atomic_store_n(version, odd + 1, __ATOMIC_RELEASE);
}

/* A guest's structure, by the address it gave: 4-byte aligned. */
static void *page_at(struct soft_cpu *c, u64 gpa, u64 size)
{
    return mem_at_rw(c->vm->mem, gpa & ~3ull, size);
}

void soft_pv_time_changed(struct soft_cpu *c, bool stopped)
{
    struct pv_time *p;
    u32 odd;

    if (!(c->msrs->pv_time & ENABLED))
        return;
    p = page_at(c, c->msrs->pv_time, sizeof(*p));
    if (!p)
        return;
    odd = open_page(&p->version);
    p->tsc = soft_tsc(c);
    p->ns = p->tsc - c->msrs->tsc_offset;
    p->mul = TIME_MUL;
    p->shift = TIME_SHIFT;
    p->flags = TIME_STABLE | (stopped ? TIME_STOPPED : 0);
    close_page(&p->version, odd);
}

bool soft_pv_set_time(struct soft_cpu *c, u64 val)
{
    c->msrs->pv_time = val;
    soft_pv_time_changed(c, false);
    return true;
}

/* The calendar; with icount, one that is the same in each run: 2000-01-01 at guest time 0. */
static u64 real_ns(const struct soft_cpu *c)
{
    return c->vm->icount ? 946684800 * NSEC_PER_SEC + soft_now_ns(c->vm) : clock_real_ns();
}

/* What the calendar showed at guest time 0. */
bool soft_pv_set_wall(struct soft_cpu *c, u64 val)
{
    struct pv_wall *p = val ? page_at(c, val, sizeof(*p)) : NULL;
    u64 start;
    u32 odd;

    c->msrs->pv_wall = val;
    if (!p)
        return true;
    start = real_ns(c) - soft_now_ns(c->vm);
    odd = open_page(&p->version);
    p->sec = (u32)(start / NSEC_PER_SEC);
    p->nsec = (u32)(start % NSEC_PER_SEC);
    close_page(&p->version, odd);
    return true;
}

/* Stolen time: what passed on the host less what this thread ran. */

void soft_pv_steal_skip(struct soft_cpu *c)
{
    if (!(c->msrs->pv_steal & ENABLED) || c->vm->icount)
        return;
    c->msrs->pv_seen_ns = clock_mono_ns();
    c->msrs->pv_seen_cpu_ns = clock_ns(CLOCK_THREAD_CPUTIME_ID);
}

void soft_pv_steal_update(struct soft_cpu *c)
{
    u64 seen = c->msrs->pv_seen_ns, seen_cpu = c->msrs->pv_seen_cpu_ns, passed, ran;
    struct pv_steal *p;
    u32 odd;

    if (!(c->msrs->pv_steal & ENABLED) || c->vm->icount)
        return;
    soft_pv_steal_skip(c);
    passed = c->msrs->pv_seen_ns - seen;
    ran = c->msrs->pv_seen_cpu_ns - seen_cpu;
    p = page_at(c, c->msrs->pv_steal & ~63ull, sizeof(*p));
    if (!p || passed <= ran)
        return;
    odd = open_page(&p->version);
    p->ns += passed - ran;
    close_page(&p->version, odd);
}

bool soft_pv_set_steal(struct soft_cpu *c, u64 val)
{
    if (val & STEAL_RESERVED)
        return false;
    c->msrs->pv_steal = val;
    soft_pv_steal_skip(c);
    return true;
}

/* Hypercalls: a number, up to four arguments, a result. */

enum {
    ERR_PERM = -1,
    ERR_FAULT = -14,
    ERR_INVAL = -22,
    ERR_NOSYS = -1000,
    ERR_NOTSUPP = -95,
};
enum { CALL_POLL_IRQ = 1, CALL_KICK = 5, CALL_CLOCK_PAIRING = 9, CALL_SEND_IPI = 10 };

typedef s64 (*call_fn)(struct soft_cpu *c, const u64 *arg);

/* A VM exit by itself, nothing else. */
static s64 call_poll_irq(struct soft_cpu *c [[maybe_unused]], const u64 *arg [[maybe_unused]])
{
    return 0;
}

/* Ends the HLT of the vCPU whose APIC id is arg[1], or its next one. */
static s64 call_kick(struct soft_cpu *c, const u64 *arg)
{
    if (arg[1] < c->vm->n_cpus) {
        struct soft_cpu *to = c->vm->cpus[arg[1]];

        atomic_store(&to->pv_kicked, true);
        soft_request(to, REQ_IRQ);
    }
    return 0;
}

static s64 call_clock_pairing(struct soft_cpu *c, const u64 *arg)
{
    u64 now = real_ns(c);
    struct pv_pair pair = { .sec = (s64)(now / NSEC_PER_SEC),
                            .nsec = (s64)(now % NSEC_PER_SEC),
                            .tsc = soft_tsc(c) };

    if (arg[1] != 0) /* the wall clock is the only one */
        return ERR_NOTSUPP;
    return mem_write(c->vm->mem, arg[0], &pair, sizeof(pair)) < 0 ? ERR_FAULT : 0;
}

/* arg: bitmap low, high; APIC id of bit 0; ICR.  Returns how many were there. */
static s64 call_send_ipi(struct soft_cpu *c, const u64 *arg)
{
    struct lapic_msg m = { .delivery = (enum lapic_delivery)(arg[3] >> 8 & 7),
                           .vector = (u8)arg[3] };
    u32 width = soft_code64(c) ? 64 : 32;
    s64 sent = 0;

    if ((m.delivery != LAPIC_FIXED && m.delivery != LAPIC_NMI) || arg[3] >> 11)
        return ERR_INVAL;
    for (u32 i = 0; i < 2 * width; i++) {
        u64 id = arg[2] + i;

        if (!(arg[i / width] >> (i % width) & 1) || id < i || id >= c->vm->n_cpus)
            continue;
        m.dest = (u32)id;
        soft_msg(c->vm, c, &m);
        sent++;
    }
    return sent;
}

static const call_fn calls[] = {
    [CALL_POLL_IRQ] = call_poll_irq,
    [CALL_KICK] = call_kick,
    [CALL_CLOCK_PAIRING] = call_clock_pairing,
    [CALL_SEND_IPI] = call_send_ipi,
};

void soft_pv_hypercall(struct soft_cpu *c)
{
    u64 arg[4] = { c->reg[GPR_RBX], c->reg[GPR_RCX], c->reg[GPR_RDX], c->reg[GPR_RSI] };
    u64 nr = c->reg[GPR_RAX], result = (u64)(s64)ERR_NOSYS;

    if (!soft_code64(c)) {
        nr = (u32)nr;
        for_each_row(a, arg)
            *a = (u32)*a;
    }
    if (c->cpl)
        result = (u64)(s64)ERR_PERM;
    else if (nr < ARRAY_LEN(calls) && calls[nr])
        result = (u64)calls[nr](c, arg);
    c->reg[GPR_RAX] = soft_code64(c) ? result : (u32)result;
}
