/*
 * fw/e820.h: the memory map that the guest is told: which guest-physical ranges are RAM, which are not.
 */
#pragma once

#include "mem/mem.h"

enum { E820_ROWS_MAX = 64 }; /* boot_params has room for 128; a machine of ours makes about 6 */

/* The codes of ACPI 6.4, table 15.4, which the PVH and Multiboot maps share. */
enum e820_type { E820_RAM = 1, E820_RESERVED = 2, E820_ACPI = 3, E820_NVS = 4 };

struct e820_row {
    u64 gpa, size;
    enum e820_type type;
};

struct e820 {
    unsigned n;
    struct e820_row rows[E820_ROWS_MAX]; /* ascending, never overlapping */
};

/* RAM of `m` without the area from the EBDA to 1 MiB, which is reserved, as is the ECAM range. */
void e820_init(struct e820 *map, const struct mem *m);

/* [gpa, gpa + size) becomes `type`, whatever it was.  -EINVAL: empty or wraps; -ENOSPC: E820_ROWS_MAX. */
int e820_set(struct e820 *map, u64 gpa, u64 size, enum e820_type type);

/* End of the highest RAM below 4 GiB and below `limit`; 0 when there is none.  *ret_start is where that range begins. */
u64 e820_low_end(const struct e820 *map, u64 limit, u64 *ret_start);
