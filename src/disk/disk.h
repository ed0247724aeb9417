/*
 * disk/disk.h: a virtual disk: bytes at offsets, whatever format they are kept in.  The contract that formats implement.
 *
 * A disk is opened once (before a jail: it opens files, but starts no thread).  Requests go through queues: each belongs to one
 * loop, and all of its requests are submitted and done on that loop's thread.  Several queues of one disk run in parallel; what
 * the order of requests under way at once is, nobody says.
 *   (1) Every request that was submitted is done exactly once, and never from inside disk_submit.
 *   (2) A write is on stable storage when a DISK_FLUSH submitted after its completion, or its own `durable`, is done.
 *   (3) Submitting allocates nothing.
 *   (4) Offset and length are multiples of DISK_SECTOR inside the disk: the caller checked its guest; a violation is our bug.
 */
#pragma once

#include "base/base.h"

#include "disk/engine.h"

enum {
    DISK_SECTOR = 512,
    DISK_DEPTH_MAX = 1024,
};

enum disk_op { DISK_READ, DISK_WRITE, DISK_FLUSH, DISK_DISCARD, DISK_ZERO };

enum disk_cache {
    DISK_WRITEBACK, /* the host's page cache */
    DISK_DIRECT,    /* past it (O_DIRECT) */
    DISK_UNSAFE,    /* the page cache, and flushes do nothing: a power cut loses everything */
};
extern const char
    *const disk_cache_words[]; /* for a field of conf/; in the enum's order, ends with NULL */

enum disk_engine { DISK_ENGINE_AUTO, DISK_ENGINE_URING, DISK_ENGINE_THREADS };

struct disk_queue;

/*
 * One request.  Its memory and that of its iov belong to the disk from submit to done.  offset, len, iov and n_iov move on as
 * bytes are done: a request that failed may be submitted again as it is, and goes on where it stopped.
 */
struct disk_req {
    enum disk_op op;
    bool durable;   /* WRITE, DISCARD, ZERO: done when on stable storage */
    bool may_unmap; /* ZERO: a hole in the file is as good */
    u64 offset, len;
    struct iovec *iov; /* READ, WRITE: `len` bytes in all, at most IOV_MAX pieces; may be changed */
    u32 n_iov;
    int result; /* 0 or a negative errno; -ENOSPC and -EDQUOT: worth another try when there is room */
    /* May submit other requests; does not call disk_kick or disk_drain. */
    void (*done)(struct disk_req *r);

    /* the format's own */
    struct disk_queue *queue;
    struct disk_req *next;
    struct io io;
    u8 step;
    bool bounced;
};

struct disk;

struct disk_queue_cfg {
    struct loop *loop;
    u32 depth; /* requests under way at once, as a hint for sizes */
    /* After a group of done calls that came from the loop, not out of disk_kick or disk_drain.  May call disk_kick. */
    void (*batch)(void *arg);
    void *arg;
    /* Starts the thread of a helper's loop, now or later; NULL: loop_start.  Negative errno. */
    int (*thread_start)(void *arg, struct loop *l);
    void *thread_arg;
};

struct disk_ops {
    const char *format;
    void (*close)(struct disk *d);
    /* Both with the loop's thread idle or reachable by loop_call.  open may make helper threads. */
    int (*queue_open)(struct disk *d, const struct disk_queue_cfg *cfg, struct disk_queue **ret,
                      struct err *e);
    void (*queue_close)(struct disk_queue *q);
    void (*submit)(struct disk_queue *q, struct disk_req *r);
    void (*kick)(struct disk_queue *q);
    /* Waits until at least one request is done. */
    void (*wait)(struct disk_queue *q);
};

/* First member of each format's struct.  Immutable after disk_open. */
struct disk {
    const struct disk_ops *ops;
    u64 size; /* bytes, a multiple of DISK_SECTOR, not 0 */
    bool readonly;
    u32 block; /* bytes that the medium likes best to be given whole and aligned; a power of two */
    u32 discard;   /* bytes that a discard should be aligned to; 0: there is no discard */
    char name[64]; /* for messages: the end of the file's name */
};

/* First member of each format's queue. */
struct disk_queue {
    struct disk *disk;
    u32 busy; /* requests submitted and not done */
};

struct disk_cfg {
    const char *file;
    int fd; /* used instead of `file` when ≥ 0, and owned from then on, also on failure; not locked */
    bool readonly;
    enum disk_cache cache;
    enum disk_engine engine;
};

/* Opens and locks an image.  Owned in *ret.  The message names the file and what is wrong with it. */
int disk_open(const struct disk_cfg *cfg, struct disk **ret, struct err *e);
/* Its queues are closed.  NULL is harmless. */
void disk_close(struct disk *d);
AUTO_DEFINE(disk, struct disk *, disk_close)

int disk_queue_open(struct disk *d, const struct disk_queue_cfg *cfg, struct disk_queue **ret,
                    struct err *e);
/* Nothing is under way.  NULL is harmless. */
void disk_queue_close(struct disk_queue *q);

/* On the loop's thread.  Nothing happens before disk_kick, which may call `done` of some. */
void disk_submit(struct disk_queue *q, struct disk_req *r);
void disk_kick(struct disk_queue *q);
/* Waits until everything submitted is done. */
void disk_drain(struct disk_queue *q);

/* For formats: `n` bytes of the request are done. */
void disk_req_advance(struct disk_req *r, u64 n);
/* For formats: the request is done. */
void disk_req_finish(struct disk_req *r, int result);
