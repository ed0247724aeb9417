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

extern const struct field blk_fields[];
extern const struct device_def virtio_blk_def;
