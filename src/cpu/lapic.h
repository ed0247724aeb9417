/*
 * cpu/lapic.h: the local APIC of one vCPU in user space: registers, priorities, timer.  (Intel SDM vol. 3, "APIC"; "the SDM")
 * It has no clock and no thread: whoever calls says what time it is.  The engine embeds one in each vCPU.
 *
 * Threads:
 *   (1) lapic_accept, lapic_fire and lapic_route may be called from any thread, everything else by the vCPU's own (or by
 *       whoever stopped it).
 *   (2) Registers are atomic words.  IRR and TMR change by atomic bit operations; the others are written by the own thread
 *       only, so that what lapic_route reads on another one is at worst as old as a message under way.
 *   (3) `wake` is called after each change by which lapic_pending may have become non-negative, on the thread of the change.
 */
#pragma once

#include "base/base.h"

#include "cpu/vcpu_state.h"

enum {
    LAPIC_REGS = 64,     /* one in each 16 bytes of the page's first KiB */
    LAPIC_SIZE = 0x1000, /* of the xAPIC's page */
    LAPIC_MSR = 0x800,   /* the x2APIC's registers: up to 0x83f */
};

#define LAPIC_ALL   UINT32_MAX /* destination: every local APIC */
#define LAPIC_NEVER UINT64_MAX

/* How a message is delivered: the three bits in ICR, LVT, redirection entry and MSI. */
enum lapic_delivery {
    LAPIC_FIXED,
    LAPIC_LOWEST,
    LAPIC_SMI,
    LAPIC_NMI = 4,
    LAPIC_INIT,
    LAPIC_SIPI,
    LAPIC_EXTINT,
};

/* Whom it is for: the ICR's destination shorthand. */
enum lapic_to { LAPIC_TO_DEST, LAPIC_TO_SELF, LAPIC_TO_ALL, LAPIC_TO_OTHERS };

struct lapic_msg {
    u32 dest; /* APIC id or logical set, LAPIC_ALL; with LAPIC_TO_DEST */
    enum lapic_to to;
    enum lapic_delivery delivery;
    u8 vector; /* also of a SIPI */
    bool logical, level;
};

/* Local sources: rows of the local vector table. */
enum lapic_lvt {
    LAPIC_LVT_TIMER,
    LAPIC_LVT_THERMAL,
    LAPIC_LVT_PERF,
    LAPIC_LVT_LINT0,
    LAPIC_LVT_LINT1,
    LAPIC_LVT_ERROR,
    LAPIC_LVT_COUNT,
};

/* The same moment on two clocks: the guest's time, which never goes back, and its TSC, which it may set. */
struct lapic_time {
    u64 ns, tsc;
};

struct lapic_host {
    /* The guest sends an IPI, or a local source asks for something other than a vector (NMI, to LAPIC_TO_SELF). */
    void (*send)(void *arg, const struct lapic_msg *m);
    /* A level-triggered interrupt is finished: I/O APICs want to know. */
    void (*eoi)(void *arg, u8 vector);
    void (*wake)(void *arg);
};

struct lapic {
    _Atomic u32 reg[LAPIC_REGS];
    _Atomic u64 base;   /* IA32_APIC_BASE */
    _Atomic u32 errors; /* seen since the guest last wrote ESR, which shows them then */
    u32 id;             /* given by the machine */
    u64 base_reserved;  /* bits that IA32_APIC_BASE has not */
    u64 tsc_khz;        /* guest TSC ticks a millisecond */
    u64 tsc_deadline;   /* IA32_TSC_DEADLINE; 0: none */
    u64 expiry_ns;      /* when the timer fires, in any of its modes; LAPIC_NEVER */
    const struct lapic_host *host;
    void *arg;
};

/* `id` < 255.  `phys_bits`: the guest's physical address width.  The state is that after lapic_reset; the TSC runs at 1 GHz. */
void lapic_init(struct lapic *l, u32 id, u32 phys_bits, const struct lapic_host *host, void *arg);
void lapic_set_tsc_khz(struct lapic *l, u64 khz);
/* Power-on: xAPIC mode, all masked, disabled by software; but LINT0 of id 0 passes the 8259's interrupts, as KVM has it. */
void lapic_reset(struct lapic *l);
/* The INIT signal: as reset, but the APIC's id, mode and address stay. */
void lapic_on_init(struct lapic *l);

/* Is this address inside the register page?  Only in xAPIC mode there is one. */
bool lapic_covers(const struct lapic *l, u64 gpa);
/* Accesses to it, `off` from its start; not in other modes. */
u64 lapic_read(struct lapic *l, u64 off, u32 len, struct lapic_time now);
void lapic_write(struct lapic *l, u64 off, u32 len, u64 val, struct lapic_time now);

/* RDMSR and WRMSR of 0x800..0x8ff.  -EINVAL: the CPU raises #GP. */
int lapic_msr_read(struct lapic *l, u32 msr, struct lapic_time now, u64 *ret);
int lapic_msr_write(struct lapic *l, u32 msr, u64 val, struct lapic_time now);

u64 lapic_base(const struct lapic *l);
/* WRMSR of IA32_APIC_BASE.  -EINVAL: a reserved bit, or no way from this mode to that; #GP. */
int lapic_set_base(struct lapic *l, u64 val);

/* MOV CR8, 0..15; works in any mode. */
u8 lapic_cr8(const struct lapic *l);
void lapic_set_cr8(struct lapic *l, u8 val);

/* Any thread: `vector` is requested.  A disabled APIC drops it. */
void lapic_accept(struct lapic *l, u8 vector, bool level);
/* Any thread: something happened at a local source; its LVT entry says what to do. */
void lapic_fire(struct lapic *l, enum lapic_lvt source);
/* The vector that the CPU would take now, if its interrupt flag is set, or -1. */
int lapic_pending(const struct lapic *l);
/* The CPU takes the vector that lapic_pending just told. */
void lapic_ack(struct lapic *l, u8 vector);
void lapic_eoi(struct lapic *l);
/* Do interrupts of the 8259 reach this CPU through LINT0?  (virtual wire, or no APIC) */
bool lapic_takes_pic(const struct lapic *l);

/* ---- timer: cpu/lapic_timer.c ---- */

/* When lapic_tick has something to do; LAPIC_NEVER.  Moves with register writes, ticks, and whatever sets the TSC. */
u64 lapic_deadline_ns(const struct lapic *l);
/* Fires the timer if it is due.  Called at the deadline, and after the guest's TSC was set. */
void lapic_tick(struct lapic *l, struct lapic_time now);
u64 lapic_tsc_deadline(const struct lapic *l);
/* WRMSR of IA32_TSC_DEADLINE. */
void lapic_set_tsc_deadline(struct lapic *l, u64 tsc, struct lapic_time now);

/* ---- messages: cpu/lapic_route.c ---- */

/* What a write of `data` to `addr` asks for.  False: nothing. */
bool lapic_msg_of_msi(struct lapic_msg *ret, u64 addr, u32 data);
/* Bit i: all[i], i < n ≤ 64, is meant by `m`.  Lowest priority chooses one.  `from` sent it; NULL: a device. */
u64 lapic_route(struct lapic *const *all, u32 n, const struct lapic *from,
                const struct lapic_msg *m);

/* ---- state ---- */

/* The registers at their xAPIC offsets, exactly as KVM_GET_LAPIC (without KVM_CAP_X2APIC_API) has them.  IA32_APIC_BASE and
 * IA32_TSC_DEADLINE are saved by the caller.  Errors that the guest has not yet asked for have no place in it. */
void lapic_save(struct lapic *l, u8 *ret_regs, struct lapic_time now);
/* Sets IA32_APIC_BASE and the registers; the deadline comes after.  -EINVAL: no such base, nothing changed. */
int lapic_load(struct lapic *l, const u8 *in, u64 base, struct lapic_time now);
