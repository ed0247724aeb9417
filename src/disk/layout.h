/*
 * disk/layout.h: where the bytes of a foreign image lie.  A parser (vdi.c, vhd.c, vhdx.c, vmdk.c) makes it when the image is
 * opened; it never changes then, so that reading needs no lock and no further look at the image's metadata.
 *   (1) Every file offset in it was checked against its file's size: what layout_map answers can be read.
 *   (2) Segments are in order, touch, and cover the disk from 0 to `size`.
 * Private to disk/.
 */
#pragma once

#include "disk/disk.h"

enum {
    LAYOUT_FILES_MAX = 256,              /* files of one image */
    LAYOUT_UNIT_MAX = 256 * 1024 * 1024, /* bytes of a block: what vhdx allows */
    LAYOUT_PACKED_MAX = 2 * 1024 * 1024, /* bytes of a block that is stored compressed */
};
/* Bytes of one image's tables in memory: 4 TiB of vmdk with grains of 64 KiB. */
#define LAYOUT_TABLES_MAX (256 * MiB)

enum layout_kind { LAYOUT_ZERO, LAYOUT_DATA, LAYOUT_PACKED };

/* Opens the file that an image calls `name`: a store, owned in *ret. */
typedef int (*layout_open_fn)(void *arg, const char *name, struct disk **ret, struct err *e);

/* A part of the disk that is stored in one way. */
struct layout_segment {
    u64 start, len; /* on the disk */
    enum layout_kind kind;
    u32 file;
    u64 at; /* in the file: of the segment, or what each entry of the table counts from */
    /* With a table: unit i lies at `at` + entries[i] × scale, modulo 2^64; entry 0: zeroes. */
    u32 *entries; /* owned; NULL: the segment is one run */
    u64 n;
    u32 unit, scale; /* bytes; unit is a power of two */
};

struct layout {
    u64 size;                             /* bytes, a multiple of 512 */
    u32 block;                            /* the unit of its tables, 0 without one */
    bool packed;                          /* has a compressed segment */
    char variant[32];                     /* "dynamic", "streamOptimized"; for `socle image info` */
    struct disk *files[LAYOUT_FILES_MAX]; /* stores, owned; the image itself is the first */
    u32 n_files;
    struct layout_segment *segments; /* owned */
    u32 n_segments, room;
    u64 table_bytes;
};

/* A run of bytes of the disk that are stored in one way and lie together. */
struct layout_run {
    enum layout_kind kind;
    u64 len; /* bytes; not 0 */
    u32 file;
    u64 at; /* DATA: in the file.  PACKED: of the block's header */
    /* PACKED: the block on the disk, its bytes, and how many of them lie before the run. */
    u64 unit_start;
    u32 unit, skip;
};

/* What holds the first bytes of [at, at + want), which is inside the disk and not empty. */
void layout_map(const struct layout *l, u64 at, u64 want, struct layout_run *ret);

/* Takes a store, also on failure.  The file's number, or a negative errno. */
int layout_add_file(struct layout *l, struct disk *store, struct err *e);
/*
 * Appends a segment of `len` bytes.  layout_add_run: LAYOUT_DATA at `at` of `file`, or LAYOUT_ZERO.  layout_add_table: `n` units,
 * all of them zeroes; the caller fills seg->entries and then calls layout_check.  The pointer is good until the next is added.
 */
int layout_add_run(struct layout *l, enum layout_kind kind, u64 len, u32 file, u64 at,
                   struct err *e);
int layout_add_table(struct layout *l, const struct layout_segment *like,
                     struct layout_segment **ret, struct err *e);
/* Does each unit that is not zeroes lie in its file? */
int layout_check(const struct layout *l, const struct layout_segment *seg, struct err *e);

/* Reads metadata; -EBADMSG when the file ends before.  `what` is for the message. */
int layout_read(struct disk *store, void *buf, size_t len, u64 at, const char *what, struct err *e);

/* Closes files and frees; what is zeroed is harmless. */
void layout_fini(struct layout *l);
