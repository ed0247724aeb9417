/*
 * dev/virtio/blk.h: the configuration of a virtio disk.
 */
#pragma once

#include "base/base.h"

#include "conf/conf.h"
#include "dev/dev.h"

struct disk;

struct blk_cfg {
    char *file; /* image or block device; or … */
    u32 fd;     /* … an open one, which the device owns from then on; 0: none; or … */
    struct disk *
        disk; /* … an opened disk, borrowed: outlives the device.  Not in the fields; readonly and cache are its own */
    bool readonly;
    u16 queues;    /* 1 to 64 */
    u16 iothreads; /* queue i is served by thread i % iothreads; 0: by the machine's control loop */
    char *serial;  /* NULL: none */
    int cache;     /* enum disk_cache */
    char *format;  /* of the file, as disk_cfg.format */
    u64 bandwidth, iops; /* as in struct disk_limit; not of a disk that is borrowed */
    u32 burst;           /* ms */
};

/*
 * The disk goes on in an overlay (disk/overlay.h), in steps, all on the control loop but blk_overlay_seal:
 *     prepare (the guest runs) ── take (the device is paused) ──> seal (any thread) ──> done
 *         └─ drop, also after take as long as the device stays paused
 */
struct blk_overlay {
    int fd, lock_fd;  /* as in struct overlay_cfg; owned from then on, also on failure */
    const char *name; /* for messages */
};
int blk_overlay_prepare(struct device *d, const struct blk_overlay *o, struct err *e);
void blk_overlay_take(struct device *d);
void blk_overlay_drop(struct device *d);
int blk_overlay_seal(struct device *d, struct err *e);
/* `sealed`: seal went well.  Else flushes go on reaching below. */
void blk_overlay_done(struct device *d, bool sealed);
/*
 * An image below the disk, the one with this inode, is merged into what builds on it (disk/shorten.h), in steps, all on the control loop
 * but blk_merge_fill:
 *     open (the guest runs) ──> fill (on the thread of `loop`) ──> cut (the device is paused) ──> close (the guest runs)
 * close may come at any time.  -ENOENT: the disk does not build on it.
 */
int blk_merge_open(struct device *d, u64 inode, struct loop *loop, struct err *e);
int blk_merge_fill(struct device *d, struct err *e);
void blk_merge_cancel(struct device *d); /* has fill end soon, with -ECANCELED */
u64 blk_merge_done(struct device *d);    /* bytes of the disk that fill has looked at */
int blk_merge_cut(struct device *d, struct err *e);
void blk_merge_close(struct device *d); /* harmless when none is open */

/* The disk that it shows now; the device's. */
const struct disk *blk_disk(struct device *d);

extern const struct field blk_fields[];
extern const struct device_def virtio_blk_def;
