/*
 * disk/vmdk.h: the parts of vmdk: vmdk.c (extents are read), vmdk_text.c (the descriptor), vmdk_write.c (a stream is written).
 */
#pragma once

#include "base/endian.h"
#include "disk/foreign.h"

struct job;

enum {
    VMDK_MAGIC = 0x564d444b,
    VMDK_TABLE_MAX = 512, /* entries of a grain table: what all writers use */
    VMDK_NEWLINES = 1 << 0,
    VMDK_ZERO_GRAINS = 1 << 2,
    VMDK_COMPRESSED = 1 << 16,
    VMDK_MARKERS = 1 << 17,
    VMDK_GRAIN_ZERO = 1, /* with VMDK_ZERO_GRAINS: written, and zeroes */
    VMDK_DEFLATE = 1,
};
#define VMDK_AT_END UINT64_MAX

/* Of a sparse extent; in sectors, but for flags and table_entries. */
struct vmdk_header {
    le32 magic, version, flags;
    le64 capacity, grain, text_at, text_len;
    le32 table_entries;
    le64 spare_directory_at, directory_at, overhead;
    u8 unclean;
    char newlines[4];
    le16 compression;
    u8 pad[433];
} __attribute__((packed));
static_assert(sizeof(struct vmdk_header) == 512, "as the specification says");

enum {
    VMDK_TEXT_MAX = 1024 * 1024, /* bytes of a descriptor */
    VMDK_EXTENTS_MAX = 4096,
    VMDK_NAME_MAX = 255,
};

enum vmdk_extent_kind { VMDK_FLAT, VMDK_SPARSE, VMDK_ZERO };

struct vmdk_extent {
    enum vmdk_extent_kind kind;
    u64 len;                      /* bytes */
    u64 at;                       /* FLAT: in its file, bytes */
    char name[VMDK_NAME_MAX + 1]; /* beside the descriptor, no path; "" for ZERO */
};

struct vmdk_text {
    char type[32];               /* "createType" */
    struct vmdk_extent *extents; /* owned */
    u32 n, room;
};

/* `text` is changed: it is cut into words.  It need not end with a zero.  Finish with vmdk_text_fini, also on failure. */
int vmdk_text_parse(char *text, size_t len, struct vmdk_text *ret, struct err *e);
void vmdk_text_fini(struct vmdk_text *t);

#define VMDK_WRITE_MAX (4 * TiB) /* of a disk: what is read again, too */
/* A disk of `size` bytes that begins with what `from` has, as streamOptimized into an empty file; `name` is for messages.  As a job. */
int vmdk_write(struct job *j, struct disk *from, u64 size, int fd, const char *name, struct err *e);
