/*
 * cpu/soft/io.h: what a vCPU reaches outside RAM, messages between vCPUs, and the machine's time.
 */
#pragma once

#include "cpu/soft/soft.h"

/* len: 1, 2, 4 or 8; not crossing a register.  On the vCPU's own thread. */
u64 soft_mmio_read(struct soft_cpu *c, u64 gpa, u32 len);
void soft_mmio_write(struct soft_cpu *c, u64 gpa, u32 len, u64 val);
/* len: 1, 2 or 4. */
u64 soft_pio_read(struct soft_cpu *c, u16 port, u32 len);
void soft_pio_write(struct soft_cpu *c, u16 port, u32 len, u64 val);
/* Signals the doorbell at this address; false: there is none. */
bool soft_doorbell(struct soft_vm *vm, u64 gpa, u32 len);

/* Any thread: delivers a message to the local APICs it is for.  `from` sent it; NULL: a device. */
void soft_msg(struct soft_vm *vm, const struct soft_cpu *from, const struct lapic_msg *m);
void soft_msi(struct soft_vm *vm, u64 addr, u32 data);
/* Any thread. */
void soft_nmi(struct soft_cpu *c);

/* This moment on the guest's two clocks. */
struct lapic_time soft_time(struct soft_cpu *c);

/* Notes that a vCPU wrote to a page of the memfd, while vm->dirty_log is set. */
static inline void soft_dirty(struct soft_vm *vm, u64 page)
{
    atomic_fetch_or_explicit(&vm->dirty[page / 64], 1ull << (page % 64), memory_order_relaxed);
}

/* The same by its place in our memory. */
void soft_dirty_host(struct soft_vm *vm, const u8 *at);

/* Messages and doorbells of the engine's contract. */
struct msi *soft_msi_new(struct cpu_vm *vm);
void soft_msi_free(struct cpu_vm *vm, struct msi *m);
void soft_msi_aim(struct cpu_vm *vm, struct msi *m, u64 addr, u32 data);
void soft_msi_fire(struct cpu_vm *vm, struct msi *m);
void soft_msi_send(struct cpu_vm *vm, u64 addr, u32 data);
int soft_doorbell_set(struct cpu_vm *vm, u64 addr, u32 len, int fd, bool on);

/* What a vCPU's local APIC calls; its argument is the vCPU. */
extern const struct lapic_host soft_lapic_host;
/* What the machine's interrupt controllers call; its argument is the soft_vm. */
extern const struct irqchip_host soft_irqchip_host;

/* Rows of v->exits. */
enum soft_exit {
    SOFT_EXIT_IO,
    SOFT_EXIT_MMIO,
    SOFT_EXIT_DOORBELL,
    SOFT_EXIT_LAPIC,
    SOFT_EXIT_HLT,
    SOFT_EXIT_MSR,
    SOFT_EXIT_CPUID,
    SOFT_EXIT_HYPERCALL,
    SOFT_EXIT_PAUSE,
    SOFT_EXIT_KICK,
    SOFT_EXIT_SHUTDOWN,
};

/* state.c: a vCPU's registers in the engine-neutral format, and what RESET# and INIT make of them. */
int soft_state_get(struct vcpu *v, struct vcpu_state *s, struct err *e);
int soft_state_set(struct vcpu *v, const struct vcpu_state *s, struct err *e);
int soft_regs_set(struct vcpu *v, const struct vcpu_state *s, struct err *e);
void soft_cpu_init(struct soft_cpu *c, bool is_init);

static inline struct soft_vm *soft_vm_of(const struct cpu_vm *vm)
{
    return vm->engine_data;
}
static inline struct soft_cpu *soft_cpu_of(const struct vcpu *v)
{
    return v->engine_data;
}
