/*
 * fw/entry.h: how the first vCPU starts, in no engine's terms, and the descriptors and page tables that it starts with.
 */
#pragma once

#include "fw/e820.h"

/*
 * KERNEL_LONG64: CR0 = PE|MP|ET|NE|WP|PG, CR4 = PAE, EFER = LME|LMA, CR3 as given (identity map of the first 4 GiB).
 * KERNEL_PROT32: CR0 = PE|ET, CR4 = EFER = CR3 = 0: flat segments, no paging.
 * Both: interrupts off (RFLAGS = 2), A20 on, IDT limit 0; registers that are not named are 0.
 */
enum kernel_mode { KERNEL_LONG64, KERNEL_PROT32 };

enum { ENTRY_CS = 0x10, ENTRY_DS = 0x18, ENTRY_TSS = 0x20 };

struct kernel_entry {
    enum kernel_mode mode;
    u64 rip, rsp, rax, rbx, rsi;
    u64 cr3;
    u64 gdt_gpa;
    u16 gdt_limit;
    u16 cs, ds,
        tr; /* selectors in that GDT: base 0; CS and DS with a limit of 4 GiB, DS is also SS, ES, FS, GS; a 32-bit TSS */
    const char *how; /* "Linux 64-bit boot protocol", for people */
};

/* What every boot protocol tells its kernel.  All borrowed. */
struct entry_args {
    struct mem *m;
    const struct e820 *map;
    u64 rsdp; /* 0: none */
    const char *name, *cmdline, *initrd_name;
    u64 initrd_gpa, initrd_size; /* size 0: none */
};

/* Write what the mode needs into low RAM, and fill *ret but for the registers that the boot protocol sets. */
int entry_long64(struct mem *m, u64 rip, struct kernel_entry *ret, struct err *e);
int entry_prot32(struct mem *m, u64 rip, struct kernel_entry *ret, struct err *e);

/*
 * Puts code at the reset vector that resets the machine, as firmware there would in the end.  Linux leaves by it, in real mode:
 * with hardware-reduced ACPI its first choice is EFI's reset, and without EFI its next is this, not ACPI's register.
 */
int entry_reset_vector(struct mem *m, struct err *e);

/* Copies boot data to low RAM; `what` for the message. */
int entry_write(struct mem *m, u64 gpa, const void *p, u64 len, const char *what, struct err *e);

/* Puts "<before><cmdline>" with its NUL at LAYOUT_CMDLINE; -E2BIG when longer than `len_max` without the NUL. */
int entry_cmdline(struct mem *m, const char *before, const char *cmdline, u64 len_max,
                  struct err *e);
