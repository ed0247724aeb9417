/*
 * fw/entry.c: descriptors, page tables and the command line in low RAM, for the first vCPU.
 */
#include "fw/entry.h"

#include "fw/layout.h"

#include <assert.h>

enum { PTE_PRESENT = 1, PTE_WRITE = 2, PTE_LARGE = 0x80, N_DIRS = 4 };

int entry_write(struct mem *m, u64 gpa, const void *p, u64 len, const char *what, struct err *e)
{
    if (mem_write(m, gpa, p, len) < 0)
        return err_set(e, -ENOMEM, "no RAM at 0x%llx for the %s", gpa, what);
    return 0;
}

static int write_gdt(struct mem *m, u64 code, struct kernel_entry *ret, struct err *e)
{
    const le64 gdt[] = {
        {},
        {},
        le64_of(code),
        le64_of(0x00cf93000000ffff), /* data, 4 GiB, writable, accessed */
        le64_of(0x00008b0000000067), /* TSS at 0, busy: VMX and SVM refuse an entry without one */
    };

    ret->gdt_gpa = LAYOUT_GDT;
    ret->gdt_limit = sizeof(gdt) - 1;
    ret->cs = ENTRY_CS;
    ret->ds = ENTRY_DS;
    ret->tr = ENTRY_TSS;
    return entry_write(m, LAYOUT_GDT, gdt, sizeof(gdt), "descriptor table", e);
}

/* Identity map of the first 4 GiB in pages of 2 MiB. */
static int write_page_tables(struct mem *m, struct err *e)
{
    le64 table[512] = {};
    u64 at = LAYOUT_PAGE_TABLES;
    int r;

    table[0] = le64_of((at + MEM_PAGE) | PTE_PRESENT | PTE_WRITE);
    r = entry_write(m, at, table, sizeof(table), "page tables", e);
    for (u64 i = 0; i < N_DIRS; i++)
        table[i] = le64_of((at + (2 + i) * MEM_PAGE) | PTE_PRESENT | PTE_WRITE);
    if (r == 0)
        r = entry_write(m, at + MEM_PAGE, table, sizeof(table), "page tables", e);
    for (u64 i = 0; i < N_DIRS && r == 0; i++) {
        for (u64 k = 0; k < ARRAY_LEN(table); k++)
            table[k] =
                le64_of((i * ARRAY_LEN(table) + k) * 2 * MiB | PTE_PRESENT | PTE_WRITE | PTE_LARGE);
        r = entry_write(m, at + (2 + i) * MEM_PAGE, table, sizeof(table), "page tables", e);
    }
    return r;
}

int entry_long64(struct mem *m, u64 rip, struct kernel_entry *ret, struct err *e)
{
    int r;

    *ret = (struct kernel_entry){
        .mode = KERNEL_LONG64, .rip = rip, .rsp = LAYOUT_STACK_TOP, .cr3 = LAYOUT_PAGE_TABLES
    };
    r = write_page_tables(m, e);
    return r < 0 ? r : write_gdt(m, 0x00af9b000000ffff, ret, e); /* 64-bit code, accessed */
}

int entry_prot32(struct mem *m, u64 rip, struct kernel_entry *ret, struct err *e)
{
    *ret = (struct kernel_entry){ .mode = KERNEL_PROT32, .rip = rip, .rsp = LAYOUT_STACK_TOP };
    return write_gdt(m, 0x00cf9b000000ffff, ret, e); /* 32-bit code, 4 GiB, accessed */
}

int entry_reset_vector(struct mem *m, struct err *e)
{
    /* clang-format off */
    static const u8 code[] = {
        0xba, LAYOUT_RESET_PORT & 0xff, LAYOUT_RESET_PORT >> 8, /* mov dx, port */
        0x31, 0xc0, 0xee,                                       /* xor ax, ax; out dx, al */
        0xb0, LAYOUT_RESET_VALUE, 0xee,                         /* mov al, value; out dx, al: its bits rise */
        0xf4, 0xeb, 0xfd,                                       /* hlt; jmp to it */
    };
    /* clang-format on */
    static_assert(sizeof(code) <= MiB - LAYOUT_RESET_VECTOR, "the last bytes below 1 MiB");

    return entry_write(m, LAYOUT_RESET_VECTOR, code, sizeof(code), "reset vector", e);
}

int entry_cmdline(struct mem *m, const char *before, const char *cmdline, u64 len_max,
                  struct err *e)
{
    u64 first = strlen(before), len = strlen(cmdline);
    int r;

    len_max = min(len_max, LAYOUT_CMDLINE_MAX - 1);
    if (first > len_max || len > len_max - first)
        return err_set(e, -E2BIG, "command line of %llu bytes: it takes at most %llu", first + len,
                       len_max);
    r = entry_write(m, LAYOUT_CMDLINE, before, first, "command line", e);
    return r < 0 ? r : entry_write(m, LAYOUT_CMDLINE + first, cmdline, len + 1, "command line", e);
}
