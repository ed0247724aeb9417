/*
 * disk/qcow2.h: what can be done with qcow2 images beyond reading and writing them: create, check, snapshots.
 * Functions that take a disk want one that disk_open opened as qcow2, and nothing under way on it; they are done when they return
 * and leave the image valid at every write.
 */
#pragma once

#include "disk/disk.h"

enum qcow2_compression { QCOW2_ZLIB, QCOW2_ZSTD };
extern const char *const qcow2_compression_words[]; /* in the enum's order, ends with NULL */

enum qcow2_prealloc {
    QCOW2_PREALLOC_OFF,
    QCOW2_PREALLOC_METADATA, /* every cluster has its place */
    QCOW2_PREALLOC_FALLOC,   /* and room in the host's file system */
};
extern const char *const qcow2_prealloc_words[];

struct qcow2_create_cfg {
    u64 size;                           /* bytes, a multiple of DISK_SECTOR, not 0 */
    u32 version;                        /* 2 or 3; 0: 3 */
    u32 cluster;                        /* bytes, a power of two from 512 to 2 MiB; 0: 64 KiB */
    u32 refcount_bits;                  /* a power of two from 1 to 64; 0: 16.  Version 2: 16 */
    bool lazy_refcounts;                /* version 3 */
    bool extended_l2;                   /* version 3, clusters from 16 KiB on */
    enum qcow2_compression compression; /* ZSTD: version 3 */
    enum qcow2_prealloc prealloc;
    const char *backing;        /* as written into the image; NULL: none */
    const char *backing_format; /* its format's name; NULL: not said */
    const char
        *data_file; /* an existing file for the data, as written into the image; NULL: none */
    bool data_raw;  /* the data file is a raw image of the disk at any time */
};
/* Makes an image out of the file `fd`, whose contents are lost.  `path`: for relative names and messages.  Synced. */
int qcow2_create(int fd, const char *path, const struct qcow2_create_cfg *cfg, struct err *e);

/* Are they what qcow2_create takes?  Fills what is 0. */
int qcow2_create_check(struct qcow2_create_cfg *cfg, struct err *e);

bool disk_is_qcow2(const struct disk *d);

struct qcow2_info {
    u32 version, cluster, refcount_bits, n_snapshots;
    enum qcow2_compression compression;
    bool lazy_refcounts, extended_l2, dirty, corrupt, data_raw, bitmaps;
    const char *backing, *backing_format, *data_file; /* the disk's; NULL: none */
};
void qcow2_info(const struct disk *d, struct qcow2_info *ret);

/* Writes another backing file's name (NULL: none) into the header.  What the image reads as is the caller's business. */
int qcow2_set_backing(struct disk *d, const char *backing, const char *format, struct err *e);

/* One cluster's worth, or less at the disk's end, compressed where that is shorter.  `at`: cluster-aligned. */
int qcow2_write_compressed(struct disk *d, const void *buf, u64 len, u64 at, struct err *e);
/* Compresses one cluster of `len` bytes; from any thread.  Bytes in dst, 0: not shorter; negative errno. */
s64 qcow2_compress(const struct disk *d, const void *src, u64 len, void *dst);
/* Writes what qcow2_compress made of the cluster at `at`. */
int qcow2_write_packed(struct disk *d, const void *packed, u64 len, u64 at, struct err *e);

struct qcow2_snapshot {
    char *id, *name; /* owned */
    u64 size;        /* of the disk, bytes */
    u64 vm_state;    /* bytes */
    u64 time_ns;     /* since the Epoch */
    u64 vm_clock_ns; /* time that the guest had run */
};
/* *ret: `*n` snapshots, owned, freed by qcow2_snapshots_free. */
int qcow2_snapshots(struct disk *d, struct qcow2_snapshot **ret, u32 *n, struct err *e);
void qcow2_snapshots_free(struct qcow2_snapshot *s, u32 n);
/* The disk as it is, under a name (1 to 255 bytes, not taken). */
int qcow2_snapshot_create(struct disk *d, const char *name, struct err *e);
/* By id or name.  The disk becomes what it was, its size too; what it is now is lost. */
int qcow2_snapshot_apply(struct disk *d, const char *name, struct err *e);
int qcow2_snapshot_delete(struct disk *d, const char *name, struct err *e);

enum { QCOW2_REPAIR_LEAKS = 1, QCOW2_REPAIR_ERRORS = 2 };
struct qcow2_report {
    u64 errors, leaks; /* found: references that lie; clusters that nobody uses */
    u64 errors_fixed, leaks_fixed;
    u64 clusters, allocated, compressed, fragmented; /* of the disk */
    u64 end;                                         /* of the file's last cluster in use */
    void (*say)(void *arg, const char *text);        /* each finding, if not NULL */
    /* If not NULL: so many bytes of tables of `total` were looked at.  Negative: stop, with that; nothing is repaired yet. */
    int (*step)(void *arg, u64 done, u64 total);
    void *arg;
};
/*
 * Counts all references and compares.  rep->say, step and arg are the caller's; repair: QCOW2_REPAIR_…  Opens the image itself, also one
 * marked corrupt or dirty.  0 also when there are errors.
 */
int qcow2_check(const struct disk_cfg *cfg, u32 repair, struct qcow2_report *rep, struct err *e);
