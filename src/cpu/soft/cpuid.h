/*
 * cpu/soft/cpuid.h: which features a guest may use, and what CPUID says.
 */
#pragma once

#include "cpu/soft/insn.h"

enum { SOFT_TSC_KHZ = 1000000, SOFT_BUS_KHZ = 1000000 };

struct soft_cpuid {
    const char *model;
    char vendor[12], brand[48];
    u32 signature;   /* leaf 1 EAX: family, model, stepping */
    u64 features[4]; /* enum cpu_feature as bits: what decodes */
    u32 phys_bits, lin_bits;
    u64 xcr0;  /* components that may be enabled */
    bool pass; /* caches and sizes as the host's */
};

struct cpuid_regs {
    u32 eax, ebx, ecx, edx;
};

/* -ENOTSUP: this host lacks what the model needs. */
int soft_cpuid_init(struct soft_cpuid *ret, enum cpu_model model, struct err *e);
/* CPUID on vCPU `c` as it is now: some bits follow CR4, XCR0 and IA32_APIC_BASE. */
struct cpuid_regs soft_cpuid_query(const struct soft_cpu *c, u32 leaf, u32 subleaf);
/* Bytes of the standard XSAVE image with these components. */
u32 soft_xsave_size(u64 components);

static inline bool soft_has(const struct soft_vm *vm, enum cpu_feature f)
{
    return vm->features[f / 64] >> (f % 64) & 1;
}

/* Where the two makers' CPUs differ, do as the one whose name the guest sees. */
static inline bool soft_is_intel(const struct soft_vm *vm)
{
    return memcmp(vm->cpuid->vendor, "GenuineIntel", sizeof(vm->cpuid->vendor)) == 0;
}
