/*
 * fw/kernel.h: direct boot of a kernel file: bzImage, ELF vmlinux (64-bit Linux or PVH) or Multiboot 1.
 * kernel_open wants the file system; kernel_load only RAM and what is open already, so that a jailed process can reset.
 */
#pragma once

#include "fw/entry.h"
#include "fw/image.h"

#define KERNEL_UNPACK_MAX (512 * MiB) /* a packed kernel may not get larger */

struct kernel_cfg {
    const char *kernel, *initrd; /* paths; initrd may be NULL */
    const char *cmdline;         /* NULL: empty */
    const char *cache_dir;       /* where unpacked kernels are kept; NULL: nowhere */
};

struct kernel;

/*
 * Opens the files, finds out what the kernel is, unpacks it or finds it in the cache.  Owned in *ret.
 * -ENOEXEC, -EBADMSG: not a kernel, truncated, damaged; or the errno of a file that cannot be read.
 */
int kernel_open(const struct kernel_cfg *cfg, struct kernel **ret, struct err *e);
void kernel_free(struct kernel *k);
AUTO_DEFINE(kernel, struct kernel *, kernel_free)

/* As kernel_open, from memory that stays valid, without names on disk; initrd.size 0: none.  At most `unpack_max` bytes. */
int kernel_open_image(const struct image *kernel, const struct image *initrd, const char *cmdline,
                      u64 unpack_max, struct kernel **ret, struct err *e);

/* What was recognised: "bzImage (lz4)", "ELF", …  Valid while `k` is. */
const char *kernel_kind(const struct kernel *k);

/* The machine that is booted. */
struct kernel_target {
    struct mem *m;
    const struct e820 *map;
    u64 rsdp;         /* 0: no ACPI */
    bool ram_is_zero; /* nothing ran yet: spares touching what must be zero */
};

/*
 * Puts kernel, initrd, command line and boot data into RAM, and says how the first vCPU starts.  May be called again for each
 * reset.  -ENOMEM: the guest has too little RAM.  On failure RAM holds rubbish.
 */
int kernel_load(struct kernel *k, const struct kernel_target *t, struct kernel_entry *ret,
                struct err *e);
