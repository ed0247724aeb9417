/*
 * fw/unpack.h: one-shot decompression of a kernel's payload, in each format that kernels are packed in by default.
 */
#pragma once

#include "base/base.h"

#define UNPACK_MEM_MAX \
    (256 * MiB) /* what an xz dictionary may take; xz in kernel builds uses up to 128 MiB */

/* The format that the first bytes show: "gzip", "xz", "lz4", "zstd"; NULL: none that we know. */
const char *unpack_format(const void *in, size_t in_len);

/*
 * Fills exactly `out_len` bytes.  Up to 4 bytes may follow the packed stream: kernel builds append the length.
 * -EBADMSG: damaged, truncated, or of another length; -ENOSYS: no known format; -ENOMEM.
 * Allocates at most UNPACK_MEM_MAX while it runs, whatever the input says.
 */
int unpack(const void *in, size_t in_len, void *out, size_t out_len, struct err *e);
