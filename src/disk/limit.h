/*
 * disk/limit.h: a disk that takes its time: so many bytes and requests a second, for all of its queues together.
 */
#pragma once

#include "disk/disk.h"

enum { DISK_BURST_MS_DEFAULT = 100, DISK_BURST_MS_MIN = 1, DISK_BURST_MS_MAX = 3600 * 1000 };

struct disk_limit {
    u64 bandwidth; /* bytes of reads and writes a second; 0: no limit */
    u64 iops;      /* requests of all kinds a second; 0: no limit */
    u32 burst_ms;  /* what was not used of so much time may be used at once */
};

/*
 * Puts the limits over a disk, which the new one owns; without any, `d` itself.  Requests that are too early wait in their order.  Who
 * drains a queue does not wait for them: they go at once then, and are paid for later.
 */
struct disk *disk_limit_new(struct disk *d, const struct disk_limit *limit);

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
