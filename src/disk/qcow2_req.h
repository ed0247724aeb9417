/*
 * disk/qcow2_req.h: requests of a qcow2 disk under way, and their queue.  For qcow2_io.c and qcow2_write.c.
 *
 *     todo ── a request is free ──> step ── io below ──> after ──> step … ──> finish
 *                                    └─ something must come first ─> parked ── q2_wake ──> runnable ──> step
 *
 * A step looks at the request's next bytes, under `lock`, and does one piece of it.  It says so by its result: Q2_AGAIN, there is
 * more to do; Q2_LATER, io is under way or the request is parked; 0 or a negative errno, it is done.
 */
#pragma once

#include "disk/qcow2_internal.h"

#include <limits.h>

enum { Q2_AGAIN = 1, Q2_LATER = 2 };
enum { Q2_COW_MAX = 16, Q2_ZIP_MAX = 4 };

struct q2_req {
    struct q2_queue *qq;
    struct disk_req *r;  /* whose request it is */
    struct q2_req *next; /* in one list: free, waits, runnable */
    const void *key;     /* what it is parked for */
    int woken;           /* negative: what it waited for failed */

    struct disk_req sub; /* to the file, the data file or the backing */
    int (*after)(struct q2_req *w);
    u64 piece; /* bytes that it was submitted with */
    u64 round; /* a flush waits for this one; 0: none */
    bool flushed_below;

    /* on q->flights while io of clusters is under way */
    bool flying;
    u64 fly_first, fly_last; /* clusters */
    struct q2_req *fly_next, **fly_at;

    /* on q->allocs */
    bool allocating;
    u64 guest, guest_len;   /* whole units */
    u64 base;               /* where the first of their clusters will be */
    u64 new_first, new_n;   /* clusters of the file made for it; 0: none */
    bool all_units;         /* extended: the clusters become data as a whole */
    struct q2_table *table; /* pinned */
    struct q2_req *alloc_next, **alloc_at;

    /* a unit put together: what was there, with the request's bytes over it */
    bool filling;
    struct disk_req fill; /* how far the old bytes are read */
    struct iovec fill_iov;
    u8 *cow;
    u64 cow_len; /* of the request's bytes */

    u8 *zip;
    u64 zip_descriptor, zip_gen;

    struct iovec vec[IOV_MAX]; /* of `sub` */
};

struct q2_queue {
    struct disk_queue q;
    struct loop *loop;
    struct disk_queue *file, *data,
        *backing; /* data: `file` unless there is a data file; backing: may be NULL */
    void (*batch)(void *arg);
    void *arg;
    struct loop_fd wake;
    int event;                    /* eventfd: `runnable` is not empty, or `batch` is due */
    struct q2_wait_list runnable; /* under lock */
    atomic_bool has_runnable;
    struct disk_req *todo, *todo_last;
    struct q2_req *reqs, *free;
    u32 n_reqs, n_used; /* from n_used on they were never touched, and take no memory */
    bool moved;         /* something was submitted below since the last kick */
    u64 n_done;
    u8 *mem;
    size_t mem_len;
    u8 *cow[Q2_COW_MAX], *zip[Q2_ZIP_MAX]; /* free buffers */
    u32 n_cow, n_zip;
    u8 *unzipped; /* the last compressed cluster that was read */
    u64 unzipped_is, unzipped_gen;
    struct q2_queue *next;
};

static inline struct qcow2 *q2_of_req(const struct q2_req *w)
{
    return q2_of(w->qq->q.disk);
}

/* What a guest is told of a failure: that of the image's metadata marks the image, and is one of io.  Under lock. */
static inline int q2_refused(struct qcow2 *q, int r)
{
    if (r != -EBADMSG)
        return r;
    q2_damage(q);
    return -EIO;
}

/* Parks it for `key`; under lock.  Q2_LATER. */
int q2_park(struct q2_req *w, const void *key);
/* Submits `len` bytes of what c moves; w->after, set before, is called when they are done.  Q2_LATER. */
int q2_send(struct q2_req *w, struct disk_queue *to, enum disk_op op, u64 at, u64 len,
            const struct disk_req *c);
/* The same with a buffer of ours. */
int q2_send_buf(struct q2_req *w, struct disk_queue *to, enum disk_op op, u64 at, void *buf,
                u64 len);
/* Notes that clusters are read or written, until `after`; under lock. */
void q2_fly(struct q2_req *w, u64 at, u64 len);
/* Moves c by what `sub` did; its result. */
int q2_moved(struct q2_req *w, struct disk_req *c);
int q2_read_step(struct q2_req *w, struct disk_req *c);
int q2_flush_step(struct q2_req *w);
/* Does what is absent from `offset` to its end read as zeroes? */
bool q2_absent_is_zero(const struct qcow2 *q, u64 offset);

/* qcow2_write.c */
int q2_write_step(struct q2_req *w);
int q2_zero_step(struct q2_req *w);
int q2_discard_step(struct q2_req *w);
int q2_fill_step(struct q2_req *w);
/* The old bytes are there. */
int q2_filled(struct q2_req *w);
/* Gives back what a failed request holds. */
void q2_write_abort(struct q2_req *w);
