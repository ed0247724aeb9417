/*
 * cpu/kvm/kvm.h: the KVM engine's own structs and calls between its files.
 */
#pragma once

#include "cpu/engine.h"

#include <linux/kvm.h>
#include <pthread.h>

struct msi {
    bool used, aimed;
    u32 gsi;
    int fd; /* irqfd: a write raises the message */
    u64 addr;
    u32 data;
};

enum { KVM_HW_POINTS = 4, KVM_PATCHES_MAX = CPU_POINTS_MAX };

/* An INT3 of ours in guest memory. */
struct kvm_patch {
    u64 gpa;
    u64 users; /* bit n: vCPU n; 0: the row is free */
    u8 was;    /* the guest's byte */
};
static_assert(CPU_MAX <= 64, "kvm_patch.users has a bit for each vCPU");

struct kvm_vm {
    int dev_fd, fd; /* /dev/kvm, the VM */
    u32 run_size;   /* bytes of a vCPU's shared page(s) */
    struct kvm_cpuid2 *cpuid;
    u32 n_msrs; /* MSRs that this host saves */
    u32 msrs[VCPU_MSRS_MAX];
    bool has_xsave2, any_len_doorbell, has_payload;
    u32 tsc_khz;
    u64 clock_ns;         /* of the paravirtual clock, while stopped */
    pthread_mutex_t lock; /* guards the routing table: msis, routing */
    struct msi msis[CPU_MSI_MAX];
    struct kvm_irq_routing *routing; /* room for all; rebuilt on each change */
    bool blocks_irq;                 /* while a debugger steps */
    struct kvm_patch patches[KVM_PATCHES_MAX];
};

struct kvm_vcpu {
    int fd;
    struct kvm_run *run;
    pthread_t thread;
    atomic_bool has_thread, kicked;
    bool steps;                             /* a debugger asked for one step */
    struct kvm_guest_debug debug;           /* as it was set last */
    struct cpu_point points[KVM_HW_POINTS]; /* in the debug registers; len 0: none */
};

static inline struct kvm_vm *kvm_vm_of(const struct cpu_vm *vm)
{
    return vm->engine_data;
}
static inline struct kvm_vcpu *kvm_vcpu_of(const struct vcpu *v)
{
    return v->engine_data;
}

enum { KVM_CPUID_MAX = 256 };

/* ioctl, restarted after signals; a negative errno on failure. */
int kvm_ioctl(int fd, unsigned long request, void *arg);

/* kvm.c: an fd of /dev/kvm, or a negative errno. */
int kvm_dev_open(struct err *e);

/* kvm_measure.c */
int kvm_rate(const struct cpu_pick *p, struct cpu_rating *ret, struct err *e);

/* kvm_cpuid.c: what the guest sees, from what this KVM supports; `index` is the vCPU's APIC id. */
int kvm_cpuid_load(struct kvm_vm *k, enum cpu_model model, struct err *e);
int kvm_cpuid_set(struct cpu_vm *vm, struct kvm_vcpu *kv, u32 index, struct err *e);
/* kvm_model.c: leaves in `c` what the model has; -ENOTSUP: it promises what is not there. */
int kvm_cpuid_model(struct kvm_cpuid2 *c, enum cpu_model model, struct err *e);

/* kvm_regs.c */
int kvm_regs_get(struct vcpu *v, struct vcpu_state *s, struct err *e);
int kvm_regs_set(struct vcpu *v, const struct vcpu_state *s, struct err *e);
int kvm_core_get(struct vcpu *v, struct vcpu_state *s, struct err *e);
int kvm_core_set(struct vcpu *v, const struct vcpu_state *s, struct err *e);

/* kvm_debug.c */
int kvm_debug_set(struct vcpu *v, const struct cpu_debug *d, struct err *e);
/* Whose is the debug exit: true and v->debug is set, or false: the guest's own, and it goes on with it. */
bool kvm_debug_hit(struct vcpu *v, const struct kvm_debug_exit_arch *x);
/* The same where KVM gave up emulating: on hosts that emulate ring 0, it does at an INT3 of ours. */
bool kvm_debug_stuck(struct vcpu *v);

/* kvm_irq.c */
int kvm_irq_open(struct cpu_vm *vm, struct err *e);
void kvm_irq_close(struct cpu_vm *vm);
void kvm_irq_line(struct cpu_vm *vm, u32 gsi, bool level);
struct msi *kvm_msi_new(struct cpu_vm *vm);
void kvm_msi_free(struct cpu_vm *vm, struct msi *m);
void kvm_msi_aim(struct cpu_vm *vm, struct msi *m, u64 addr, u32 data);
void kvm_msi_fire(struct cpu_vm *vm, struct msi *m);
void kvm_msi_send(struct cpu_vm *vm, u64 addr, u32 data);
void kvm_ioapic_changed(struct cpu_vm *vm, u32 pin);
int kvm_irq_get(struct cpu_vm *vm, struct cpu_vm_state *ret, struct err *e);
int kvm_irq_set(struct cpu_vm *vm, const struct cpu_vm_state *s, struct err *e);

/* kvm_run.c */
void kvm_thread_init(struct vcpu *v);
enum vcpu_next kvm_run_vcpu(struct vcpu *v);
void kvm_kick(struct vcpu *v);
void kvm_settle(struct vcpu *v);
const char *kvm_exit_name(u32 row);

/* kvm_dirty.c */
int kvm_slots_set(struct cpu_vm *vm, bool log_dirty, struct err *e);
int kvm_dirty_start(struct cpu_vm *vm, struct err *e);
int kvm_dirty_take(struct cpu_vm *vm, u64 *bitmap, struct err *e);
void kvm_dirty_stop(struct cpu_vm *vm);
