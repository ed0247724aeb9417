/*
 * fw/multiboot.h: kernels of the Multiboot 1 kind: how they are loaded, and what they are told.
 */
#pragma once

#include "fw/elf.h"
#include "fw/entry.h"

enum { MULTIBOOT_SEARCH = 8192 }; /* the header lies in the first bytes, this many */

#define MULTIBOOT_EAX 0x2badb002u /* what the loader leaves in EAX; EBX is LAYOUT_INFO */

struct multiboot {
    bool by_header; /* the header says what goes where; else the file is an ELF */
    u64 header_at;  /* in the file */
    u64 entry;
    struct image_part load; /* valid when by_header */
};

/* Is there a header in these first bytes? */
bool multiboot_is(const void *head, size_t len);

/* Reads and checks the header. */
int multiboot_parse(const struct image *im, struct multiboot *ret, struct err *e);

/* Writes the information structure at LAYOUT_INFO, its map, module list and command line. */
int multiboot_write(const struct entry_args *a, struct err *e);
