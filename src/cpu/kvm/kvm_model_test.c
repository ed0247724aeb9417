/*
 * cpu/kvm/kvm_model_test.c: named models out of a table of leafs as KVM gives one.
 */
#include "cpu/kvm/kvm.h"
#include "testlib/test.h"

#include <stdlib.h>

/* A host that can do everything, AVX-512 and nested virtualization too. */
static const struct kvm_cpuid_entry2 rows[] = {
    { .function = 0, .eax = 0x20 },
    { .function = 1, .eax = 0xa20f12, .ecx = ~0u, .edx = ~0u },
    { .function = 7, .index = 0, .eax = 2, .ebx = ~0u, .ecx = ~0u, .edx = ~0u },
    { .function = 7, .index = 1, .eax = ~0u },
    { .function = 0xa, .eax = 7 },
    { .function = 0xd, .index = 0, .eax = 0x2e7, .ebx = 576, .ecx = 2696 },
    { .function = 0xd, .index = 1, .eax = 0xf, .ebx = 2696, .ecx = 0x1800 },
    { .function = 0xd, .index = 2, .eax = 256, .ebx = 576 },
    { .function = 0xd, .index = 5, .eax = 64, .ebx = 1088 },
    { .function = 0xd, .index = 9, .eax = 8, .ebx = 2688 },
    { .function = 0x80000001, .ecx = ~0u, .edx = ~0u },
    { .function = 0x80000008, .ebx = 0x1000 },
    { .function = 0x8000000a, .eax = 1 },
};

static struct kvm_cpuid2 *make(void)
{
    struct kvm_cpuid2 *c = alloc_x(1, sizeof(*c) + sizeof(rows));

    c->nent = ARRAY_LEN(rows);
    memcpy(c->entries, rows, sizeof(rows));
    return c;
}

static const struct kvm_cpuid_entry2 *leaf(const struct kvm_cpuid2 *c, u32 function, u32 index)
{
    for (u32 i = 0; i < c->nent; i++)
        if (c->entries[i].function == function && c->entries[i].index == index)
            return &c->entries[i];
    must(false);
    return NULL;
}

TEST(kvm_models)
{
    static const struct {
        const char *why;
        enum cpu_model model;
        u32 leaf1_ecx_has, leaf1_ecx_lacks, leaf7_ebx_has, leaf7_ebx_lacks, xcr0, size;
    } wants[] = {
        { "host", CPU_MODEL_HOST, ~0u, 0, ~0u, 0, 0x2e7, 2696 },
        { "v3: AVX2; no AVX-512, AES, VMX", CPU_MODEL_V3, 1u << 28 | 1u << 26 | 1u << 17 | 1u << 31,
          1u << 25 | 1u << 5, 1u << 5 | 1u << 7, 1u << 16, 0x207, 2696 },
        { "v2: SSE4.2; no XSAVE", CPU_MODEL_V2, 1u << 20 | 1u << 13, 1u << 26 | 1u << 28 | 1u << 12,
          1u << 20, 1u << 5, 0, 0 },
        { "v1: no SSE3", CPU_MODEL_V1, 1u << 21, 1u << 0 | 1u << 13 | 1u << 23, 1u << 7, 1u << 3, 0,
          0 },
    };

    for_each_row(w, wants) {
        AUTO(free) struct kvm_cpuid2 *c = make();
        struct err e = {};

        ROW(w);
        CHECK_OK(kvm_cpuid_model(c, w->model, &e), &e);
        CHECK_EQ(leaf(c, 1, 0)->ecx & w->leaf1_ecx_has, w->leaf1_ecx_has);
        CHECK_EQ(leaf(c, 1, 0)->ecx & w->leaf1_ecx_lacks, 0);
        CHECK_EQ(leaf(c, 7, 0)->ebx & w->leaf7_ebx_has, w->leaf7_ebx_has);
        CHECK_EQ(leaf(c, 7, 0)->ebx & w->leaf7_ebx_lacks, 0);
        CHECK_EQ(leaf(c, 0xd, 0)->eax, w->xcr0);
        CHECK_EQ(leaf(c, 0xd, 0)->ecx, w->size);
        CHECK_EQ(leaf(c, 0x80000008, 0)->ebx, 0x1000); /* flaws and sizes stay the host's */
        if (w->model == CPU_MODEL_HOST)
            continue;
        CHECK_EQ(leaf(c, 7, 1)->eax, 0);
        CHECK_EQ(leaf(c, 0xa, 0)->eax, 0);
        CHECK_EQ(leaf(c, 0xd, 5)->eax, 0);
        CHECK_EQ(leaf(c, 0x80000001, 0)->ecx & 1u << 2, 0);
        CHECK_EQ(leaf(c, 0x8000000a, 0)->eax, 0);
    }
}

TEST(kvm_model_of_a_better_host)
{
    AUTO(free) struct kvm_cpuid2 *c = make();
    struct err e = {};

    c->entries[1].ecx &= ~(1u << 20);
    CHECK_OK(kvm_cpuid_model(c, CPU_MODEL_V1, &e), &e);
    CHECK_EQ(kvm_cpuid_model(c, CPU_MODEL_V2, &e), -ENOTSUP);
    CHECK_HAS(e.text, "'x86-64-v2' needs");
}
