/*
 * cpu/engine.h: what an engine implements for cpu/cpu.c.  Private to this folder.
 * Each function has the contract of its namesake in cpu/cpu.h.
 */
#pragma once

#include "base/base.h"

#include "cpu/cpu.h"
#include "cpu/ioapic.h"
#include "mem/mem.h"

/* What a guest may expect of an engine on this host. */
struct cpu_rating {
    u64 ips;          /* instructions a second in ring 0 */
    u64 exit_ns;      /* for one port access, there and back */
    u64 took_ns;      /* to find out; 0: known from before */
    const char *note; /* what else there is to say; NULL: nothing */
};

struct engine {
    const char *name;
    /* -errno: it cannot be used, `e` says why.  No rate: `auto` does not consider it. */
    int (*rate)(const struct cpu_pick *p, struct cpu_rating *ret, struct err *e);
    bool maps_ram;             /* it maps pages of RAM a second time, where RAM is a memfd */
    const char *const *unseen; /* trace points that it never records, ends with NULL; may be NULL */
    int (*open)(struct cpu_vm *vm, struct err *e);
    void (*close)(struct cpu_vm *vm);
    int (*vcpu_open)(struct vcpu *v, struct err *e);
    void (*vcpu_close)(struct vcpu *v);
    void (*thread_init)(struct vcpu *v);
    enum vcpu_next (*run)(struct vcpu *v);
    void (*kick)(struct vcpu *v);
    void (*settle)(struct vcpu *v);
    int (*get)(struct vcpu *v, struct vcpu_state *ret, struct err *e);
    int (*set)(struct vcpu *v, const struct vcpu_state *s, struct err *e);
    /* NULL: as get and set. */
    int (*regs_get)(struct vcpu *v, struct vcpu_state *ret, struct err *e);
    int (*regs_set)(struct vcpu *v, const struct vcpu_state *s, struct err *e);
    /* NULL: it cannot stop for a debugger. */
    int (*debug_set)(struct vcpu *v, const struct cpu_debug *d, struct err *e);
    const char *(*exit_name)(u32 row);
    /* NULL: it translates nothing. */
    const char *(*jit_stat)(const struct vcpu *v, u32 row, u64 *ret);
    void (*jit_map)(const struct vcpu *v, struct strbuf *out);
    void (*irq)(struct cpu_vm *vm, u32 gsi, bool level);
    struct msi *(*msi_new)(struct cpu_vm *vm);
    void (*msi_free)(struct cpu_vm *vm, struct msi *m);
    void (*msi_aim)(struct cpu_vm *vm, struct msi *m, u64 addr, u32 data);
    void (*msi_fire)(struct cpu_vm *vm, struct msi *m);
    /* With CPU_IRQCHIP_SPLIT, from cpu/ioapic.c: an interrupt's message; an entry of the table changed. */
    void (*msi_send)(struct cpu_vm *vm, u64 addr, u32 data);
    void (*ioapic_changed)(struct cpu_vm *vm, u32 pin);
    int (*nmi)(struct vcpu *v);
    int (*doorbell)(struct cpu_vm *vm, u64 addr, u32 len, int fd, bool on);
    int (*vm_get)(struct cpu_vm *vm, struct cpu_vm_state *ret, struct err *e);
    int (*vm_set)(struct cpu_vm *vm, const struct cpu_vm_state *s, struct err *e);
    void (*clock_stop)(struct cpu_vm *vm);
    void (*clock_start)(struct cpu_vm *vm);
    int (*dirty_start)(struct cpu_vm *vm, struct err *e);
    int (*dirty_take)(struct cpu_vm *vm, u64 *bitmap, struct err *e);
    void (*dirty_stop)(struct cpu_vm *vm);
};

struct cpu_vm {
    const struct engine *en;
    struct cpu_cfg cfg;
    struct mem *mem;
    struct cpu_host host;
    struct ioapic ioapic; /* with CPU_IRQCHIP_SPLIT */
    struct vcpu vcpus[CPU_MAX];
    struct vcpu_state *power_on[CPU_MAX]; /* as the engine made them */
    struct cpu_vm_state *vm_power_on;
    void *engine_data;
};

/* An access of a vCPU outside RAM: the I/O APIC here when it is split, everything else at the machine. */
void cpu_mmio_read(struct cpu_vm *vm, u64 gpa, u32 len, u64 *ret);
void cpu_mmio_write(struct cpu_vm *vm, u64 gpa, u32 len, u64 val);

extern const struct engine kvm_engine, soft_engine;

/* cpu/pick.c: the engine that `p` asks for, of `n` rows. */
const struct engine *engine_pick(const struct engine *const *rows, u32 n, const struct cpu_pick *p,
                                 struct strbuf *why, struct err *e);
/* KVM below this many instructions a second emulates ring 0. */
#define CPU_EMULATED_IPS (50 * 1000 * 1000ull)
