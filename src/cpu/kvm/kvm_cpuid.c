/*
 * cpu/kvm/kvm_cpuid.c: the CPUID that guests see: what KVM supports on this host, with our topology and clock put in.
 * (Intel SDM volume 2, CPUID; AMD APM volume 3, appendix E; Linux Documentation/virt/kvm/x86/cpuid.rst)
 */
#include "cpu/kvm/kvm.h"

#include <stdlib.h>

enum {
    LEAF_FEATURES = 0x1,
    LEAF_CACHE = 0x4,
    LEAF_EXTENDED = 0x7,
    LEAF_TOPOLOGY = 0xb,
    LEAF_XSTATE = 0xd,
    LEAF_TOPOLOGY_V2 = 0x1f,
    LEAF_TIMING = 0x40000010u,
    LEAF_AMD_SIZES = 0x80000008u,
    LEAF_AMD_CACHE = 0x8000001du,
    LEAF_AMD_TOPOLOGY = 0x8000001eu,
    LEAF_AMX_TILE = 0x1d,
    LEAF_AMX_TMUL = 0x1e,
};

#define ECX1_X2APIC       (1u << 21)
#define ECX1_TSC_DEADLINE (1u << 24)
#define ECX1_HYPERVISOR   (1u << 31)
#define EDX1_HTT          (1u << 28)
#define XCR0_AMX          (3u << 17)
#define EDX7_AMX          (1u << 22 | 1u << 24 | 1u << 25)

int kvm_cpuid_load(struct kvm_vm *k, enum cpu_model model, struct err *e)
{
    struct kvm_cpuid2 *c = alloc_x(1, sizeof(*c) + (KVM_CPUID_MAX + 1) * sizeof(c->entries[0]));
    int r;

    k->cpuid = c;
    c->nent = KVM_CPUID_MAX;
    r = kvm_ioctl(k->dev_fd, KVM_GET_SUPPORTED_CPUID, c);
    return r < 0 ? err_code(e, r, "ask KVM for the CPUID it supports")
                 : kvm_cpuid_model(c, model, e);
}

/* Bits that an APIC id takes for `n` vCPUs. */
static u32 id_bits(u32 n)
{
    return n > 1 ? 32 - (u32)__builtin_clz(n - 1) : 0;
}

/* One package of single-thread cores: level 0 is the thread, level 1 the core. */
static void topology_leaf(struct kvm_cpuid_entry2 *en, u32 n, u32 index)
{
    static const u32 types[] = { 1, 2 };

    en->eax = en->ebx = 0;
    en->ecx = en->index & 0xff;
    en->edx = index;
    if (en->index >= ARRAY_LEN(types))
        return;
    en->eax = en->index == 0 ? 0 : id_bits(n);
    en->ebx = en->index == 0 ? 1 : n;
    en->ecx |= types[en->index] << 8;
}

static void features_leaf(struct kvm_cpuid_entry2 *en, u32 n, u32 index)
{
    en->ebx = (en->ebx & 0xffff) | n << 16 | index << 24;
    en->ecx |= ECX1_X2APIC | ECX1_TSC_DEADLINE | ECX1_HYPERVISOR;
    en->edx = n > 1 ? en->edx | EDX1_HTT : en->edx & ~EDX1_HTT;
}

static void adjust(struct kvm_cpuid_entry2 *en, u32 n, u32 index)
{
    switch (en->function) {
    case LEAF_FEATURES:
        features_leaf(en, n, index);
        break;
    case LEAF_CACHE: /* caches shared by one thread; cores a package */
        en->eax = (en->eax & 0x3fff) | (n - 1) << 26;
        break;
    case LEAF_EXTENDED: /* AMX state does not fit the standard XSAVE image of our state format */
        if (en->index == 0)
            en->edx &= ~EDX7_AMX;
        break;
    case LEAF_XSTATE:
        if (en->index == 0)
            en->eax &= ~XCR0_AMX;
        else if (en->index == 17 || en->index == 18)
            en->eax = en->ebx = en->ecx = en->edx = 0;
        break;
    case LEAF_AMX_TILE:
    case LEAF_AMX_TMUL:
        en->eax = en->ebx = en->ecx = en->edx = 0;
        break;
    case LEAF_TOPOLOGY:
    case LEAF_TOPOLOGY_V2:
        topology_leaf(en, n, index);
        break;
    case LEAF_AMD_SIZES:
        en->ecx = (en->ecx & ~0xf0ffu) | (n - 1) | id_bits(n) << 12;
        break;
    case LEAF_AMD_CACHE:
        en->eax &= ~(0xfffu << 14);
        break;
    case LEAF_AMD_TOPOLOGY:
        en->eax = index;
        en->ebx = index & 0xff;
        en->ecx = 0;
        break;
    default:
        break;
    }
}

/* The TSC's and the APIC bus's frequency in kHz, so that a guest need not calibrate. */
static void add_timing(struct kvm_cpuid2 *c, u32 tsc_khz)
{
    c->entries[c->nent++] =
        (struct kvm_cpuid_entry2){ .function = LEAF_TIMING, .eax = tsc_khz, .ebx = 1000000 };
    for (u32 i = 0; i < c->nent; i++)
        if (c->entries[i].function == 0x40000000)
            c->entries[i].eax = LEAF_TIMING;
}

int kvm_cpuid_set(struct cpu_vm *vm, struct kvm_vcpu *kv, u32 index, struct err *e)
{
    struct kvm_vm *k = kvm_vm_of(vm);
    size_t size = sizeof(*k->cpuid) + (KVM_CPUID_MAX + 1) * sizeof(k->cpuid->entries[0]);
    AUTO(free) struct kvm_cpuid2 *c = xdup_mem(k->cpuid, size);
    int r;

    for (u32 i = 0; i < c->nent; i++)
        adjust(&c->entries[i], vm->cfg.n_cpus, index);
    if (k->tsc_khz)
        add_timing(c, k->tsc_khz);
    r = kvm_ioctl(kv->fd, KVM_SET_CPUID2, c);
    return r < 0 ? err_code(e, r, "set CPUID") : 0;
}
