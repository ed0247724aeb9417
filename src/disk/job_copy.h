/*
 * disk/job_copy.h: the bytes of one disk into another.  Private to disk/.
 */
#pragma once

#include "disk/job.h"

enum {
    /* Bytes that are read at once.  All chunks under way together should stay in a processor's cache. */
    COPY_CHUNK = 256 * 1024,
    COPY_CHUNK_MAX = 2 * 1024 * 1024, /* at least a cluster */
    COPY_SLOTS = 8,                   /* chunks under way */
};

struct copy {
    struct disk *from, *to;
    u64 len;      /* bytes from 0; inside both */
    bool to_zero; /* what was not written in `to` reads as zeroes: zeroes need not be written */
    bool own;     /* only what `from` has itself; else all that it reads as */
    u32 granule; /* bytes, a power of two: zeroes are told apart, and writes begin, at its multiples */
    bool compress; /* `to` is qcow2, granule is its cluster */
    u32 threads;   /* that compress */
};

/* Adds to j->done as it goes on, `len` in all.  Nothing is flushed. */
int job_copy(struct job *j, const struct copy *c, struct err *e);

/*
 * What `new` has not as `old` has it becomes d's own, unless it is d's already: over `new`, d then reads as it did over `old`.  Or d is
 * empty and over `new`: it then reads as `old`.  Either may be NULL: zeroes.  Adds to j->done; flushed.
 */
int job_keep(struct job *j, struct disk *d, struct disk *old, struct disk *new, struct err *e);

/* What zeroes are worth telling apart in a disk: a page of a file, a cluster. */
u32 copy_granule(const struct disk *to);
