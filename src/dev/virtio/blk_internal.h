/*
 * dev/virtio/blk_internal.h: what the two halves of the virtio disk share: blk.c, the device, and blk_req.c, its requests.
 */
#pragma once

#include "dev/virtio/blk.h"
#include "dev/virtio/vdev.h"
#include "disk/disk.h"

enum {
    BLK_QUEUES_MAX = 64,
    BLK_THREADS_MAX = 16,
    BLK_QUEUE_SIZE = VQ_SIZE_MAX,
    BLK_ID_LEN = 20,
    /* Sectors of one discard or write-zeroes request: what Linux asks for at most. */
    BLK_RANGE_MAX = 1 << 22,
};

#define BLK_STATE(F, S) \
    F(S, VAL, u32, held, "requests that wait for room on a full disk of the host")
STATE_STRUCT(blk_state, BLK_STATE);

#define BLK_STATS(X) \
    X(reads)         \
    X(writes)        \
    X(flushes)       \
    X(discards)      \
    X(write_zeroes)  \
    X(read_bytes)    \
    X(written_bytes) \
    X(read_ns)       \
    X(write_ns)      \
    X(errors)
#define X(name) STAT_##name,
enum blk_stat { BLK_STATS(X) STATS };
#undef X

struct blk_req {
    struct disk_req io;
    struct blk_queue *q;
    struct blk_req *next; /* in the held list */
    u32 bytes;            /* of data, in all */
    u64 begun_ns;
    struct chain c;
    struct iovec iov[VQ_SEGS_MAX]; /* the data's part of the chain; the disk moves through it */
};

struct blk_queue {
    struct blk *b;
    u16 index;
    struct vq *vq;
    struct loop *loop;
    struct disk_queue *disk,
        *next; /* next: of b->next, until it takes over; then what it took over from */
    struct loop_fd kick;
    bool active;
    bool starved;  /* more in the ring than free requests: look again when one is done */
    bool unsignal; /* pushed, and not yet told the driver */
    struct blk_req *reqs;
    u16 n_fresh; /* requests from here on were never used */
    u16 n_free;
    u16 free[BLK_QUEUE_SIZE]; /* used before: last in, first out */
    struct blk_req *held, **held_end;
    u32 n_held;
    atomic_ullong stats[STATS];
};

struct blk {
    struct vdev v;
    struct blk_state st; /* guarded by dev.lock */
    struct disk *disk;
    struct disk_limits *limits; /* NULL: none */
    struct disk *next; /* an overlay of `disk` that will take over; NULL: none.  Control loop */
    struct blk_merge *merge; /* an image below is leaving the chain; NULL: none.  Control loop */
    bool taken;              /* host: it did, and what is below is not sealed yet */
    bool disk_is_ours;       /* fixed */
    enum disk_cache cache;
    struct loop helper; /* of a disk that may get overlays, which can start no threads in a jail */
    bool has_helper;    /* fixed */
    u64 capacity;       /* fixed: sectors */
    char id[BLK_ID_LEN];
    bool pausing;        /* host: inside blk_pause */
    atomic_bool durable; /* rebuilt by set_durable */
    atomic_bool failed;  /* the guest broke a ring: nothing is served until reset */
    atomic_bool full;    /* the machine was asked to stop */
    char full_text[DEVICE_NAME_MAX + 64];
    u16 n_threads, n_queues; /* fixed */
    struct loop threads[BLK_THREADS_MAX];
    struct blk_queue queues[BLK_QUEUES_MAX];
};

static inline void blk_req_put(struct blk_req *r)
{
    struct blk_queue *q = r->q;

    q->free[q->n_free++] = (u16)(r - q->reqs);
}

/* Opens the queue of `d` that virtqueue q will use. */
int blk_queue_open(struct blk_queue *q, struct disk *d, bool no_threads, struct disk_queue **ret,
                   struct err *e);
struct blk *blk_of(struct device *d);

/* All on the queue's thread.  Takes requests until the ring is empty. */
void blk_serve(struct blk_queue *q);
/* Interrupts the driver, if anything was pushed since the last time. */
void blk_notify(struct blk_queue *q);
/* Tries again what the host had no room for. */
void blk_retry_held(struct blk_queue *q);
void blk_drop_held(struct blk_queue *q);
/* Callbacks of the kick's watch and of the disk. */
void blk_on_kick(struct loop_fd *f, int events);
void blk_on_batch(void *arg);
