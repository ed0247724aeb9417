/*
 * disk/vhdx.h: parts of the vhdx parser: vhdx.c (headers, regions, metadata, blocks) and vhdx_log.c (the log).
 */
#pragma once

#include "disk/foreign.h"

struct vhdx_guid {
    u8 byte[16];
};

/* A change that the log asks for: `data`, or zeroes. */
struct vhdx_patch {
    u64 at, len;
    u8 *data; /* 4096 bytes, owned; NULL: zeroes */
};

/* The image as it is once its log was replayed: the file, and over it the log's changes in their order. */
struct vhdx {
    const struct layout *layout;
    struct vhdx_patch *patches; /* owned */
    u32 n_patches;
};

/* As layout_read of file 0, with the log's changes in it. */
int vhdx_read(const struct vhdx *x, void *buf, size_t len, u64 at, const char *what, struct err *e);
/* Reads the log of the header's fields, and fills x->patches.  Nothing is written. */
int vhdx_log_replay(struct vhdx *x, const struct vhdx_guid *id, u64 log_at, u32 log_len,
                    struct err *e);
void vhdx_fini(struct vhdx *x);

/* CRC-32C, of bytes after those that gave `crc`; 0 at first. */
u32 vhdx_crc(u32 crc, const void *p, size_t len);
