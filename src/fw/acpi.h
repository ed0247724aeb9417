/*
 * fw/acpi.h: the ACPI tables of a machine, hardware-reduced: RSDP, XSDT, FADT, MADT, MCFG, HPET, SRAT, SLIT, DSDT.
 * Interrupts: ISA devices and the GED are edge, active high; PCI INTx level, active low, as PCI has it.
 */
#pragma once

#include "mem/mem.h"

enum { ACPI_CPUS_MAX = 1024, ACPI_NODES_MAX = 64, ACPI_MEM_RANGES_MAX = 128, ACPI_SERIALS_MAX = 4 };

struct acpi_window {
    u64 base, size; /* size 0: there is none */
};

struct acpi_serial {
    u16 port;
    u32 gsi;
};

/* One range of RAM and the node it belongs to. */
struct acpi_mem_range {
    u64 gpa, size;
    u32 node;
};

struct acpi_cfg {
    /* CPUs in the order the guest shall number them.  cpu_nodes may be NULL: all in node 0. */
    unsigned n_cpus;
    const u32 *apic_ids, *cpu_nodes;
    /* NUMA: with n_nodes ≤ 1 there is neither SRAT nor SLIT.  distances: n_nodes² of them, or NULL: 10 and 20. */
    unsigned n_nodes, n_mem_ranges;
    const struct acpi_mem_range *mem_ranges;
    const u8 *distances;

    bool legacy; /* there are PICs and a PIT */
    u8 ioapic_id;
    bool i8042; /* a keyboard controller at 0x60 */
    unsigned n_serials;
    struct acpi_serial serials[ACPI_SERIALS_MAX];
    u16 rtc_port; /* 0: no RTC */
    u32 rtc_gsi;
    u64 hpet;    /* its address; 0: no HPET */
    u32 hpet_id; /* low half of its first register */

    u16 ged_port, sleep_ctl_port, sleep_sts_port, reset_port;
    u32 ged_gsi;
    u8 reset_value;
    u64 vmgenid_gpa; /* 0: none */

    struct acpi_window pci_io, pci_mem32, pci_mem64;
    u64 ecam; /* of buses 0 to LAYOUT_ECAM_LAST_BUS */
    u32 intx_gsi;
};

/* What fw/layout.h says, with one CPU missing: the caller sets CPUs, NUMA, pci_mem64, legacy, i8042. */
void acpi_cfg_init(struct acpi_cfg *cfg);

/*
 * Writes the tables into [LAYOUT_ACPI, LAYOUT_ACPI_END), which is reserved in the memory map anyway; *ret_rsdp is where a
 * guest finds the first.  -EINVAL: `cfg` contradicts a limit above.
 */
int acpi_build(struct mem *m, const struct acpi_cfg *cfg, u64 *ret_rsdp, struct err *e);
