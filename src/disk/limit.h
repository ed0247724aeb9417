/*
 * disk/limit.h: a disk that takes its time: so many bytes and requests a second, for all of its queues together.  Limits belong to
 * who uses a disk, not to the disk: they outlive a change to an overlay.
 */
#pragma once

#include "disk/disk.h"

enum { DISK_BURST_MS_DEFAULT = 100, DISK_BURST_MS_MIN = 1, DISK_BURST_MS_MAX = 3600 * 1000 };

struct disk_limit {
    u64 bandwidth; /* bytes of reads and writes a second; 0: no limit */
    u64 iops;      /* requests of all kinds a second; 0: no limit */
    u32 burst_ms;  /* what was not used of so much time may be used at once */
};

struct disk_limits;

/* Owned; NULL: none is set.  Their queues are closed before they are freed. */
struct disk_limits *disk_limits_new(const struct disk_limit *limit);
void disk_limits_free(struct disk_limits *l); /* NULL is harmless */
AUTO_DEFINE(disk_limits, struct disk_limits *, disk_limits_free)
/*
 * As disk_queue_open, under the limits; NULL: under none.  Requests that are too early wait in their order.  Who drains a queue does
 * not wait for them: they go at once then, and are paid for later.
 */
int disk_limits_queue_open(struct disk_limits *l, struct disk *d, const struct disk_queue_cfg *cfg,
                           struct disk_queue **ret, struct err *e);

/*
 * A bucket that fills at `rate` units a second up to what it gets in `burst_ns`, as the time when it will be full again ("virtual
 * scheduling" of ITU-T I.371).  A request takes its cost whole as soon as there is anything in the bucket, so that none is too
 * large for it; the next then waits for longer.  Zeroed: no limit.
 */
struct bucket {
    u64 rate, burst_ns;
    u64 full_ns;
};
/* How long until the next may take something; 0: it may now. */
u64 bucket_wait_ns(const struct bucket *b, u64 now_ns);
void bucket_take(struct bucket *b, u64 now_ns, u64 cost);
