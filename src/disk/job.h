/*
 * disk/job.h: long work on images: progress, cancellation, and what can be asked for.
 * A job is a function of (job, what is wanted, error).  It runs on the caller's thread, or on one of its own (job_start), and keeps
 * its promises when its host dies at any instant:
 *   (1) A new image has no name before it is complete and on stable storage (job_file.h).
 *   (2) An image that is changed in place is valid, and means the same to who reads it, after each write.
 * When cancelled it returns -ECANCELED, and leaves no new file behind.
 */
#pragma once

#include "disk/qcow2.h"

#include <pthread.h>

struct job {
    atomic_ullong done, total; /* bytes; total is 0 until it is known */
    bool planned;              /* total is what several together have to do */
    atomic_bool cancel;        /* set by anyone */

    /* of job_start and job_wait */
    int (*fn)(struct job *j, void *arg, struct err *e);
    void *arg;
    pthread_t thread;
    bool joined;
    int result;
    struct err err;
};

/* Runs fn(job, arg, error) on a thread of its own; `j` was zeroed.  0 or a negative errno. */
int job_start(struct job *j, int (*fn)(struct job *j, void *arg, struct err *e), void *arg);
/* Waits for its end, at most so long.  True: it ended, and `result` and `err` say how. */
bool job_wait(struct job *j, u64 ns);
/* Waits for its end.  What fn returned, and its message. */
int job_join(struct job *j, struct err *e);

/* For jobs: 0, or -ECANCELED with a message. */
int job_check(const struct job *j, struct err *e);
static inline void job_total(struct job *j, u64 bytes)
{
    if (!j->planned)
        atomic_store_explicit(&j->total, bytes, memory_order_relaxed);
}
static inline void job_add(struct job *j, u64 bytes)
{
    atomic_fetch_add_explicit(&j->done, bytes, memory_order_relaxed);
}

/* An image that exists: strings are borrowed. */
struct job_image {
    const char *file;
    const char *format;   /* NULL: looked at */
    const char *snapshot; /* qcow2: what the disk was then; NULL: what it is.  Only to be read */
    enum disk_cache cache;
    enum disk_engine engine;
    bool alone; /* one that names other files is refused */
};
int job_open_image(const struct job_image *ref, bool readonly, struct disk **ret, struct err *e);

enum job_prealloc { JOB_PREALLOC_OFF, JOB_PREALLOC_METADATA, JOB_PREALLOC_FALLOC };
extern const char *const job_prealloc_words[];

/* A new image. */
struct job_new {
    const char *file;
    bool qcow2; /* else raw, or: */
    bool
        vmdk; /* streamOptimized, which is compressed: only as the target of job_convert, of a file */
    bool
        replace; /* a file of that name is no error; it stays as it is until the new one is complete */
    enum job_prealloc prealloc;
    enum disk_cache cache; /* while it is filled */
    struct qcow2_create_cfg
        cfg; /* of qcow2; its prealloc is set from the above, and raw takes only the size */
};

/* An empty image. */
int job_create(struct job *j, const struct job_new *to, struct err *e);

struct job_convert {
    struct job_image from;
    struct job_new to; /* cfg.size: 0 for the source's own, which is also the least */
    bool compress;     /* qcow2 */
    u32 threads;       /* that compress; 0: as many as there are CPUs, at most JOB_THREADS_MAX */
};
enum { JOB_THREADS_MAX = 16 };
/*
 * A copy of what `from` reads as.  Holes and zeroes take no room in it; with to.cfg.backing, nor does what that has equally.
 */
int job_convert(struct job *j, const struct job_convert *c, struct err *e);

/* As qcow2_check, which has the result; rep->step and arg are the job's. */
int job_examine(struct job *j, const struct job_image *image, u32 repair, struct qcow2_report *rep,
                struct err *e);

struct job_resize {
    struct job_image image;
    u64 size; /* the new one; or what is added when `grow` */
    bool grow;
    bool shrink; /* a smaller size is allowed: what lies after it is lost */
};
/* -ERANGE: it would be smaller, and that is not allowed. */
int job_resize(struct job *j, const struct job_resize *r, struct err *e);

/* Overlay's own data into its backing file, which grows when it is the smaller.  The overlay keeps its data. */
int job_commit(struct job *j, const struct job_image *overlay, struct err *e);

struct job_rebase {
    struct job_image overlay;
    const char *backing, *backing_format; /* the new ones; NULL: none */
    bool unsafe; /* only the name: whoever asks knows that both backing files read the same */
    bool beside_readers; /* others may be reading the overlay */
};
/* Another backing file; what the overlay reads as stays the same. */
int job_rebase(struct job *j, const struct job_rebase *r, struct err *e);

struct job_compare {
    struct job_image a, b;
    bool strict;    /* other sizes are a difference, else what one has more must be zeroes */
    u64 differs_at; /* found: the first offset, when the result is 1 */
    bool sizes;     /* found: it is the size that differs */
};
/* 0: they read the same; 1: they differ. */
int job_compare(struct job *j, struct job_compare *c, struct err *e);

struct job_measure {
    const struct job_image *from; /* NULL: cfg.size is the size of an empty disk */
    struct job_new to;            /* file is not used */
    u64 required, full;           /* found: bytes that a copy needs; once all is written */
};
int job_measure(struct job *j, struct job_measure *m, struct err *e);

struct job_bench {
    struct job_image image;
    bool write, random;
    u32 depth, block; /* block: bytes a request */
    u64 count;        /* requests */
    u64 offset, step; /* sequential: of the first request; from one to the next, 0: block */
    u32 flush_every;  /* writes between flushes; 0: none */
    u8 pattern;       /* what is written */
    u64 ns, latency_ns_max, latency_ns_sum; /* found */
};
int job_bench(struct job *j, struct job_bench *cfg, struct err *e);
