/*
 * fw/layout.h: the addresses that firmware tables, boot data and the machine's builder agree on.
 */
#pragma once

#include "base/base.h"

/* clang-format off */
/* Guest-physical. */
#define LAYOUT_GDT          0x1000ull      /* 5 descriptors; the stack of a fresh guest is the page at 0x8000 */
#define LAYOUT_INFO         0x2000ull      /* PVH start info or Multiboot information, one page */
#define LAYOUT_INFO_MAP     0x3000ull      /* their memory map, one page */
#define LAYOUT_ZERO_PAGE    0x7000ull      /* Linux boot_params, one page */
#define LAYOUT_STACK_TOP    0x9000ull
#define LAYOUT_PAGE_TABLES  0x9000ull      /* PML4, PDPT and 4 page directories */
#define LAYOUT_CMDLINE      0x20000ull     /* at most LAYOUT_CMDLINE_MAX with its NUL */
#define LAYOUT_CMDLINE_MAX  0x10000ull
#define LAYOUT_EBDA         0x9fc00ull     /* from here to 1 MiB nothing is RAM to the guest */
#define LAYOUT_ACPI         0xe0000ull     /* RSDP first: guests without boot data look for it here */
#define LAYOUT_ACPI_END     0xef000ull
#define LAYOUT_VMGENID      0xef000ull     /* one page; the 16 bytes are its first */
#define LAYOUT_SMBIOS       0xf0000ull     /* entry point first */
#define LAYOUT_SMBIOS_END   0xff000ull
#define LAYOUT_RESET_VECTOR 0xffff0ull     /* f000:fff0: resets the machine */
#define LAYOUT_HIGH_LOAD    0x100000ull    /* no image is loaded below */
#define LAYOUT_PCI_MEM32    0xc0000000ull
#define LAYOUT_PCI_MEM32_SIZE 0x20000000ull
#define LAYOUT_ECAM         0xe0000000ull  /* 256 buses */
#define LAYOUT_ECAM_SIZE    0x10000000ull
/* What the tables say of them: Linux asks each device of each bus that MCFG names by way of the ports, 16 000 exits for 255 empty
 * buses, half of all exits of a boot. */
#define LAYOUT_ECAM_LAST_BUS 0
#define LAYOUT_IOAPIC       0xfec00000ull
#define LAYOUT_HPET         0xfed00000ull
#define LAYOUT_LAPIC        0xfee00000ull

/* I/O ports. */
#define LAYOUT_PCI_IO       0x1000u
#define LAYOUT_PCI_IO_SIZE  0xf000u
#define LAYOUT_GED_PORT     0x600u         /* u32: LAYOUT_GED_* bits, cleared by the read */
#define LAYOUT_SLEEP_CTL    0x604u         /* u8, ACPI 6.4, 4.8.3.7 */
#define LAYOUT_SLEEP_STS    0x605u
#define LAYOUT_RESET_PORT   0xcf9u
#define LAYOUT_RESET_VALUE  0x06u
#define LAYOUT_COM1         0x3f8u
#define LAYOUT_RTC          0x70u

/* What the GED's event register says. */
#define LAYOUT_GED_POWER    (1u << 0)      /* the power button was pressed */
#define LAYOUT_GED_VMGENID  (1u << 1)      /* the generation id was changed */
/* SLP_TYP of \_S5, and what a guest writes to LAYOUT_SLEEP_CTL to power off: SLP_TYP << 2 | SLP_EN. */
#define LAYOUT_S5_TYPE      5u
#define LAYOUT_S5_WRITE     (LAYOUT_S5_TYPE << 2 | 0x20u)

/* Global system interrupts. */
#define LAYOUT_GSI_COM1     4u
#define LAYOUT_GSI_RTC      8u
#define LAYOUT_GSI_GED      9u
#define LAYOUT_GSI_INTX     16u            /* 4 of them: INTx of device d, pin p (0 = A) is (d + p) % 4 */
/* clang-format on */
