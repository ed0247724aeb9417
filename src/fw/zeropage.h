/*
 * fw/zeropage.h: the boot_params page, by which Linux is told about its machine.
 */
#pragma once

#include "fw/bzimage.h"
#include "fw/entry.h"

#define ZEROPAGE_CMDLINE_MAX \
    2047 /* COMMAND_LINE_SIZE of x86 without the NUL, for a kernel that does not say */
#define ZEROPAGE_INITRD_MAX 0x7fffffff /* what every 64-bit kernel's setup header says */

/* Writes the page and the command line.  `bz`: whose setup header to pass on; NULL: a bare vmlinux. */
int zeropage_write(const struct entry_args *a, const struct bzimage *bz, struct err *e);
