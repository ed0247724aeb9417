/*
 * fw/kernel_cache.h: unpacked kernels on disk, so that a packed kernel is unpacked once and not at every boot.
 * The cache only ever saves time: whatever is wrong with it, it behaves as if it were empty.
 */
#pragma once

#include "fw/elf.h"

#include <sys/stat.h>

/* Opens the unpacked form of the kernel file `st`; false: there is none that can be trusted.  *ret.fd is the caller's. */
bool kernel_cache_open(const char *dir, const struct stat *st, struct image *ret,
                       struct elf *ret_elf);

/* Keeps `im` (in memory) for the next time.  False: it could not. */
bool kernel_cache_save(const char *dir, const struct stat *st, const struct image *im);

/* Removes a file that turned out to be damaged. */
void kernel_cache_drop(const char *dir, const struct stat *st);
