/*
 * fw/kernel_fuzz.h: the oracle that the fuzz targets of all kernel formats share; their corpora differ.
 */
#pragma once

#include "fw/kernel.h"
#include "fw/layout.h"
#include "testlib/fuzz.h"

#define KERNEL_FUZZ_RAM (32 * MiB)

/* What the entry points to was written: not one byte of it is outside of RAM. */
static inline void kernel_fuzz_check(const struct mem *m, const struct kernel_entry *k)
{
    must(k->how && k->gdt_gpa && mem_at(m, k->gdt_gpa, k->gdt_limit + 1u));
    must(k->mode == KERNEL_LONG64 || k->mode == KERNEL_PROT32);
    must(k->mode != KERNEL_LONG64 || mem_at(m, k->cr3, 6 * MEM_PAGE));
    must(!k->rsi || k->rsi == LAYOUT_ZERO_PAGE);
    must(!k->rbx || k->rbx == LAYOUT_INFO);
    must(!!k->rsi != !!k->rbx);
}

/* The boot data of one run must not be changed by segments: a canary in low RAM that no boot protocol writes. */
static inline void kernel_fuzz(const u8 *data, size_t size)
{
    static struct mem *m;
    static struct e820 map;
    const u64 canary = 0x5ca1ab1e0ddba11, canary_gpa = 0x60000;
    const struct image file = { .mem = data, .fd = -1, .size = size };
    const struct image initrd = { .mem = (const u8 *)"07", .fd = -1, .size = 2 };
    AUTO(kernel) struct kernel *k = NULL;
    struct kernel_entry entry = {};
    struct err e = {};
    u64 got;

    if (!m) {
        must(mem_new(&(struct mem_cfg){ .size = KERNEL_FUZZ_RAM }, &m, NULL) == 0);
        e820_init(&map, m);
        must(mem_write(m, canary_gpa, &canary, sizeof(canary)) == 0);
    }
    if (kernel_open_image(&file, &initrd, "console=ttyS0", 8 * MiB, &k, &e) < 0) {
        must(!k && e.code < 0 && e.text[0]);
        return; /* refusing is fine */
    }
    must(kernel_kind(k)[0]);
    if (kernel_load(k, &(struct kernel_target){ m, &map, LAYOUT_ACPI, true }, &entry, &e) == 0)
        kernel_fuzz_check(m, &entry);
    else
        must(e.code < 0 && e.text[0] && !entry.how);
    must(mem_read(m, canary_gpa, &got, sizeof(got)) == 0 && got == canary);
}
