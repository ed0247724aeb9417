/*
 * cpu/kvm/kvm_model.c: a named model out of what KVM supports: what cpu/features.c has for it, and no more.
 *   (1) What the model promises to programs must be there; what is of the system (SMEP, PCID) is left out where the host lacks it.
 *   (2) Vendor, family and the answers to speculation flaws stay the host's: a guest's kernel chooses its own by them.
 *   (3) What a model does not name is not there: no nested virtualization, no performance counters.
 */
#include "cpu/kvm/kvm.h"

#include <string.h>

/* Beside features: what the system is, which adjust() and KVM itself go on from, and flaws. */
static const u32 kept[CPU_WORDS] = {
    [CPU_W_1C] = 1u << 31, /* hypervisor */
    [CPU_W_1D] =
        1u << 7 | 1u << 9 | 1u << 14 | 1u << 17 | 1u << 28, /* MCE, APIC, MCA, PSE-36, HTT */
    [CPU_W_7B] = 1u << 6 | 1u << 13,                        /* how x87's pointers are kept */
    [CPU_W_7D] =
        1u << 10 | 0xbc000000u,      /* MD_CLEAR; IBRS, STIBP, L1D_FLUSH, ARCH_CAPABILITIES, SSBD */
    [CPU_W_EC] = 1u << 1 | 1u << 22, /* many cores, and how they are told */
    [CPU_W_ED] = 0x0183f3ffu | 1u << 22, /* what AMD repeats of leaf 1, and MMX of SSE */
};

/* Leafs of features that no model has, or that are nothing without them. */
static const u32 unnamed[] = {
    0x5,        0xa,        0xf,        0x10,       0x12,       0x14,       0x18,
    0x19,       0x1a,       0x1b,       0x1c,       0x1d,       0x1e,       0x20,
    0x23,       0x24,       0x80000019, 0x8000000a, 0x8000001b, 0x8000001c, 0x8000001f,
    0x80000020, 0x80000022, 0x80000023, 0x80000025, 0x80000026,
};

static u32 *register_of(struct kvm_cpuid_entry2 *en, u8 reg)
{
    u32 *const all[] = { &en->eax, &en->ebx, &en->ecx, &en->edx };

    return all[reg];
}

static struct kvm_cpuid_entry2 *find(struct kvm_cpuid2 *c, u32 leaf, u32 subleaf)
{
    for (u32 i = 0; i < c->nent; i++)
        if (c->entries[i].function == leaf && c->entries[i].index == subleaf)
            return &c->entries[i];
    return NULL;
}

static u32 word_of(struct kvm_cpuid2 *c, enum cpu_word w)
{
    struct kvm_cpuid_entry2 *en = find(c, cpu_words[w].leaf, cpu_words[w].subleaf);

    return en ? *register_of(en, cpu_words[w].reg) : 0;
}

static void clear(struct kvm_cpuid_entry2 *en)
{
    en->eax = en->ebx = en->ecx = en->edx = 0;
}

/* Components that the model's XCR0 can have; 0: it has no XSAVE. */
static u64 components(struct kvm_cpuid2 *c)
{
    const u64 pkru = word_of(c, CPU_W_7C) & 1u << 3 ? XCR0_PKRU : 0;

    if (!(word_of(c, CPU_W_1C) & 1u << 26))
        return 0;
    return XCR0_X87 | XCR0_SSE | (word_of(c, CPU_W_1C) & 1u << 28 ? XCR0_AVX : 0) | pkru;
}

/* Leaf 0xd: sizes and places of what is left; EBX of the first two follows XCR0, which KVM sees to. */
static void shrink_xstate(struct kvm_cpuid2 *c)
{
    const u64 left = components(c);
    u32 size = XSAVE_LEGACY;

    for (u32 i = 2; i < 64; i++) {
        struct kvm_cpuid_entry2 *en = find(c, 0xd, i);

        if (!en)
            continue;
        if (left >> i & 1)
            size = max(size, en->ebx + en->eax);
        else
            clear(en);
    }
    for (u32 i = 0; i < 2; i++) {
        struct kvm_cpuid_entry2 *en = find(c, 0xd, i);

        if (!en)
            continue;
        if (!left)
            clear(en);
        en->ecx = left && i == 0 ? size : 0;
        en->edx = 0; /* no component above 31, no supervisor's */
        if (i == 0)
            en->eax &= (u32)left;
    }
}

int kvm_cpuid_model(struct kvm_cpuid2 *c, enum cpu_model model, struct err *e)
{
    u32 have[CPU_WORDS];
    int r;

    if (model == CPU_MODEL_HOST)
        return 0;
    for (u32 w = 0; w < CPU_WORDS; w++)
        have[w] = word_of(c, w);
    r = cpu_model_check(model, have, e);
    if (r < 0)
        return r;
    for (u32 w = 0; w < CPU_WORDS; w++) {
        struct kvm_cpuid_entry2 *en = find(c, cpu_words[w].leaf, cpu_words[w].subleaf);

        if (en)
            *register_of(en, cpu_words[w].reg) &= cpu_model_word(model, w) | kept[w];
    }
    for (u32 i = 0; i < c->nent; i++) {
        struct kvm_cpuid_entry2 *en = &c->entries[i];

        if (en->function == 7 && en->index == 0)
            en->eax = 0; /* its last subleaf */
        else if (en->function == 7)
            clear(en);
        for_each_row(leaf, unnamed)
            if (en->function == *leaf)
                clear(en);
    }
    shrink_xstate(c);
    return 0;
}
