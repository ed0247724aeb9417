/*
 * cpu/irqchip.h: the machine's interrupt controllers and its interval timer, wired together, for an engine without kernel help.
 * What KVM's in-kernel irqchip is, less the local APICs, which are the vCPUs' (cpu/lapic.h).
 * Any thread may call any function; time is the guest's, in ns, given by the caller.
 */
#pragma once

#include "base/base.h"

#include "cpu/ioapic.h"
#include "cpu/pic.h"
#include "cpu/pit.h"

struct irqchip_host {
    /* A message for the local APICs. */
    void (*send)(void *arg, u64 addr, u32 data);
    /* INTR of the 8259s, which goes to the boot processor. */
    void (*intr)(void *arg, bool level);
};

struct irqchip {
    bool legacy; /* there are 8259s and an 8254 */
    struct ioapic ioapic;
    struct pic pic;
    struct pit pit;
    const struct irqchip_host *host;
    void *arg;
};

void irqchip_init(struct irqchip *c, bool legacy, const struct irqchip_host *host, void *arg);
void irqchip_reset(struct irqchip *c);
/* The level of interrupt line `gsi`, below CPU_GSI_PINS. */
void irqchip_line(struct irqchip *c, u32 gsi, bool level);
/* A local APIC finished a level-triggered interrupt. */
void irqchip_eoi(struct irqchip *c, u8 vector);
/* The boot processor acknowledges INTR: its vector. */
u8 irqchip_ack(struct irqchip *c);

/* Accesses of a vCPU.  False: this address is not ours, and nothing was done. */
bool irqchip_pio_read(struct irqchip *c, u16 port, u32 len, u64 now_ns, u64 *ret);
bool irqchip_pio_write(struct irqchip *c, u16 port, u32 len, u64 val, u64 now_ns);
bool irqchip_mmio_read(struct irqchip *c, u64 gpa, u32 len, u64 *ret);
bool irqchip_mmio_write(struct irqchip *c, u64 gpa, u32 len, u64 val);

/* When irqchip_tick has something to do; UINT64_MAX.  Moves with port writes and ticks. */
u64 irqchip_deadline_ns(struct irqchip *c);
void irqchip_tick(struct irqchip *c, u64 now_ns);

/* All but the clocks of cpu_vm_state; all vCPUs are stopped. */
void irqchip_save(struct irqchip *c, struct cpu_vm_state *ret, u64 now_ns);
void irqchip_load(struct irqchip *c, const struct cpu_vm_state *s, u64 now_ns);
