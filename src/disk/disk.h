/*
 * disk/disk.h: a virtual disk: bytes at offsets, whatever format they are kept in.  The contract that formats implement.
 *
 * Layers: a format (qcow2, …) keeps its disk in a file, which is a disk too: raw.c opened as a `store`, which has no fixed end.
 * So one place knows O_DIRECT, short transfers, full hosts and locks.  A format owns its file and its backing disk, opens a
 * queue of each for every queue of its own, and its requests become requests of theirs on the same loop.
 *
 * A disk is opened once (before a jail: it opens files, but starts no thread).  Requests go through queues: each belongs to one
 * loop, and all of its requests are submitted and done on that loop's thread.  Several queues of one disk run in parallel; what
 * the order of requests under way at once is, nobody says.
 *   (1) Every request that was submitted is done exactly once, and never from inside disk_submit.
 *   (2) A write is on stable storage when a DISK_FLUSH submitted after its completion, or its own `durable`, is done.
 *   (3) Submitting allocates nothing.
 *   (4) Offset and length are multiples of DISK_SECTOR inside the disk: the caller checked its guest; a violation is our bug.
 *   (5) When several queues share a loop, draining one may call `done` of another's requests; its `batch` follows from the loop.
 */
#pragma once

#include "base/base.h"

#include "disk/engine.h"

#include <sys/types.h>

enum {
    DISK_SECTOR = 512,
    DISK_DEPTH_MAX = 1024,
    DISK_CHAIN_MAX = 64,  /* images from a disk down to the last of its backing files */
    DISK_NAME_MAX = 1023, /* bytes of a file's name inside an image (qcow2: "backing_file_size") */
};

enum disk_op {
    DISK_READ,
    DISK_WRITE,
    DISK_FLUSH,
    DISK_DISCARD,
    DISK_ZERO,
    DISK_FILL, /* what is absent becomes the disk's own; it reads as before (disk/shorten.h) */
};

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

/* What lies at an offset of a disk itself, whatever its backing has there? */
enum disk_map_kind {
    DISK_MAP_DATA,
    DISK_MAP_ZERO,
    DISK_MAP_ABSENT, /* what the backing says; zeroes after its end, or without one */
};

struct disk_extent {
    enum disk_map_kind kind;
    u64 len;                  /* bytes from the offset asked for; more of the kind may follow */
    bool compressed;          /* DATA */
    bool allocated;           /* takes room in the file, also when it reads as zeroes */
    const struct disk *where; /* whose bytes they are as they stand, from `at` on; NULL: nobody's */
    u64 at;
};

struct disk_queue_cfg {
    struct loop *loop;
    u32 depth; /* requests under way at once, as a hint for sizes */
    /* After a group of done calls that came from the loop, not out of disk_kick or disk_drain.  May call disk_kick. */
    void (*batch)(void *arg);
    void *arg;
    /* Starts the thread of a helper's loop, now or later; NULL: loop_start.  Negative errno. */
    int (*thread_start)(void *arg, struct loop *l);
    void *thread_arg;
    /* A loop with a thread, on which the disk may do what takes long; outlives the disk.  NULL: it starts one of its own. */
    struct loop *helper;
    bool no_threads; /* none may be started any more: `helper` must do for all */
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
    /* From any thread; may read metadata.  0 < ret->len ≤ len. */
    int (*map)(struct disk *d, u64 offset, u64 len, struct disk_extent *ret, struct err *e);
    /* With nothing under way, and no guest that knows the old size.  NULL: never. */
    int (*resize)(struct disk *d, u64 size, struct err *e);
    /* One request, done on the calling thread before this returns, without a queue; only of a store.  Negative errno. */
    int (*now)(struct disk *d, enum disk_op op, void *buf, u64 len, u64 offset);
};

/* First member of each format's struct.  Immutable after disk_open, but for what disk_resize changes. */
struct disk {
    const struct disk_ops *ops;
    u64 size; /* bytes, a multiple of DISK_SECTOR, not 0; of a store: of the file when it was opened, any */
    bool readonly;
    /*
     * The file under a format.  Its end is no bound: reads after it give zeroes, writes after it make it longer.
     */
    bool store;
    bool zero_grown;      /* a store: what lies after its end will read as zeroes when it grows */
    struct disk *backing; /* where what is ABSENT comes from, read-only, owned; NULL: none */
    u32 block; /* bytes that the medium likes best to be given whole and aligned; a power of two */
    u32 discard;   /* bytes that a discard should be aligned to; 0: there is no discard */
    char name[64]; /* for messages: the end of the file's name */
};

/* First member of each format's queue. */
struct disk_queue {
    struct disk *disk;
    u32 busy; /* requests submitted and not done */
};

/* An image that is being opened, and those that lead to it: for cycles, and for the length of a chain. */
struct disk_above {
    const struct disk_above *above;
    dev_t dev;
    ino_t ino;
};

struct disk_cfg {
    const char *file;
    int fd; /* used instead of `file` when ≥ 0, and owned from then on, also on failure; not locked */
    bool readonly;
    enum disk_cache cache;
    enum disk_engine engine;
    /*
     * Name of the format.  NULL or "auto": what the first sector looks like, raw when like nothing known; then raw's first sector
     * is guarded: a write that would make it look like another format fails with -EPERM, so that no guest can choose
     * what its host takes its disk for next time.
     */
    const char *format;
    const char *
        snapshot; /* of a qcow2 image, by id or name: what the disk was then; readonly.  NULL: what it is */
    bool no_backing; /* leave the backing files alone: what is ABSENT reads as zeroes */
    bool alone;   /* refuse an image that names others: who made it may not choose what is read */
    bool no_data; /* and a data file: for looking at an image's metadata only */
    bool share;   /* a reader that may look at what another is writing; not locked */
    bool
        beside_readers; /* written so that it reads as before: others may have it open to read it */
    bool repair;        /* open even what is marked as damaged, as it is */

    /* for formats */
    bool store;
    const struct disk_above *above;
};

/* Is it the name of a format, or "auto"? */
bool disk_format_known(const char *name);

/* Opens and locks an image and its backing files.  Owned in *ret.  The message names the file and what is wrong with it. */
int disk_open(const struct disk_cfg *cfg, struct disk **ret, struct err *e);
/* Its queues are closed.  NULL is harmless. */
void disk_close(struct disk *d);
AUTO_DEFINE(disk, struct disk *, disk_close)

/*
 * What lies at `offset`, at most `len` bytes of it (not 0, inside the disk).  It may change as soon as somebody writes.
 * -EBADMSG and others: the metadata cannot be read.
 */
int disk_map(struct disk *d, u64 offset, u64 len, struct disk_extent *ret, struct err *e);
/* The same through the backing files: never ABSENT; `ret->where` is in the image that has the bytes. */
int disk_map_deep(struct disk *d, u64 offset, u64 len, struct disk_extent *ret, struct err *e);

/* New bytes read as zeroes.  Nothing is under way.  -ENOTSUP, or what is in the way. */
int disk_resize(struct disk *d, u64 size, struct err *e);

/*
 * Requests that are done when the call returns, for jobs: a private queue on a loop that nobody runs.  One thread at a time uses
 * it.  All return 0 or a negative errno, and `len` 0 is no error.
 */
struct disk_sync;
int disk_sync_open(struct disk *d, struct disk_sync **ret, struct err *e);
void disk_sync_close(struct disk_sync *s); /* NULL is harmless */
AUTO_DEFINE(disk_sync, struct disk_sync *, disk_sync_close)
/* Its queue and loop, for a job that keeps several requests under way: disk_submit, disk_kick, and disk_wait for one of them. */
struct disk_queue *disk_sync_queue(struct disk_sync *s);
int disk_pread(struct disk_sync *s, void *buf, u64 len, u64 offset);
int disk_pwrite(struct disk_sync *s, const void *buf, u64 len, u64 offset);
int disk_zero(struct disk_sync *s, u64 len, u64 offset, bool may_unmap);
int disk_discard(struct disk_sync *s, u64 len, u64 offset);
int disk_flush(struct disk_sync *s);

int disk_queue_open(struct disk *d, const struct disk_queue_cfg *cfg, struct disk_queue **ret,
                    struct err *e);
/* Nothing is under way.  NULL is harmless. */
void disk_queue_close(struct disk_queue *q);

/* On the loop's thread.  Nothing happens before disk_kick, which may call `done` of some. */
void disk_submit(struct disk_queue *q, struct disk_req *r);
void disk_kick(struct disk_queue *q);
/* Waits until at least one of what was submitted is done, if anything is under way. */
void disk_wait(struct disk_queue *q);
/* Waits until everything submitted is done. */
void disk_drain(struct disk_queue *q);

/* For formats: `n` bytes of the request are done. */
void disk_req_advance(struct disk_req *r, u64 n);
/* For formats: the next `n` bytes of a read are zeroes, and done. */
void disk_req_clear(struct disk_req *r, u64 n);
/* For formats: the request is done. */
void disk_req_finish(struct disk_req *r, int result);
