/*
 * fw/elf.h: ELF executables as kernels: where their segments go, and where they want to be entered.
 */
#pragma once

#include "fw/image.h"

enum {
    ELF_SEGS_MAX = 32,
    ELF_PHDRS_MAX = 128,
    ELF_NOTES_MAX = 64 * 1024, /* bytes of one PT_NOTE segment that are looked at */
};

struct elf {
    bool is_64;
    u64 entry;      /* e_entry: for a vmlinux the physical address of startup_64 */
    u64 pvh_entry;  /* XEN_ELFNOTE_PHYS32_ENTRY; 0: no such note */
    u64 start, end; /* all segments lie in [start, end) of guest-physical memory */
    unsigned n_segs;
    struct image_part segs[ELF_SEGS_MAX]; /* the PT_LOADs by p_paddr, never empty */
};

/* Do these first bytes begin an ELF file? */
bool elf_is(const void *head, size_t len);
/* … and is it one of the 64-bit class? */
bool elf_is_64(const void *head, size_t len);

/* Reads the headers of a little-endian x86 executable. */
int elf_parse(const struct image *im, struct elf *ret, struct err *e);

/* Puts the segments into RAM. */
int elf_load(const struct elf *elf, const struct image *im, const struct image_to *to,
             struct err *e);
