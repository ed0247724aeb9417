/*
 * fw/bzimage.h: the setup header of a Linux bzImage: what it says about the packed kernel inside.
 */
#pragma once

#include "fw/image.h"

enum {
    BZIMAGE_HDR_AT = 0x1f1,  /* of the setup header, in the file and in boot_params */
    BZIMAGE_HDR_END = 0x290, /* boot_params goes on with other fields there */
};

struct bzimage {
    u8 head[BZIMAGE_HDR_END]; /* our copy of the file's first bytes */
    unsigned hdr_len;         /* of the setup header at head + BZIMAGE_HDR_AT */
    u16 version;              /* protocol, 0x20f = 2.15 */
    bool entry_64;            /* the protected-mode kernel can be entered at + 0x200 in long mode */
    u64 kernel_at, kernel_len;   /* protected-mode kernel in the file */
    u64 payload_at, payload_len; /* packed kernel in the file; 0: the protocol is too old to say */
    u64 cmdline_max;             /* without the NUL */
    u64 initrd_max;              /* highest address of an initrd's last byte */
    u64 needs_end; /* the protected-mode kernel unpacks itself into memory up to here */
};

/* Do these first bytes begin a bzImage? */
bool bzimage_is(const void *head, size_t len);

/* Reads and checks the setup header. */
int bzimage_parse(const struct image *im, struct bzimage *ret, struct err *e);
