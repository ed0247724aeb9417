/*
 * fw/image.h: the bytes of a kernel or initrd, in a file or in memory, and the checked way from there into guest RAM.
 * A file is read, never mapped: what shrinks under us is an error, not a SIGBUS.
 */
#pragma once

#include "mem/mem.h"

struct image {
    const u8 *mem; /* borrowed; NULL: it is in a file */
    int fd;        /* owned by whoever opened it */
    u64 base;      /* where byte 0 lies in the file */
    u64 size;
};

/* Opens a regular file; *ret.fd is the caller's.  The message says what is wrong, not the name. */
int image_open(const char *path, struct image *ret, struct err *e);

/* Copies [at, at + len); -ENOEXEC when the image ends before, and `e` says that `what` is truncated. */
int image_read(const struct image *im, u64 at, void *buf, u64 len, const char *what, struct err *e);

/* A part of an image, and where it goes. */
struct image_part {
    u64 at, filesz;   /* in the image */
    u64 gpa, memsz;   /* in the guest; memsz ≥ filesz, the rest is zeroes */
    const char *what; /* for messages */
};

/* Where parts are put. */
struct image_to {
    struct mem *m;
    bool is_zero; /* all RAM is: zeroes are not written, for that would only touch pages */
};

/*
 * Puts a part into guest RAM.
 * -ENOMEM: not RAM there; -EBADMSG: below LAYOUT_HIGH_LOAD, where the boot data lives; -ENOEXEC: the image is too short.
 */
int image_load(const struct image *im, const struct image_part *p, const struct image_to *to,
               struct err *e);

/* A quick sum over bytes, going on from `sum`: finds damage, not malice. */
u64 image_sum(u64 sum, const void *p, u64 len);
