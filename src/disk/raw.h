/*
 * disk/raw.h: the format without a format: the file's bytes, or the block device's, are the disk's.
 */
#pragma once

#include "disk/disk.h"

struct raw {
    struct disk disk;
    int fd, lock_fd; /* lock_fd: holds the lock; -1 when `fd` does */
    bool device;     /* a block device, not a file */
    bool direct, unsafe;
    enum disk_engine engine;
    struct pool *pool; /* made by the first queue that needs it; queues are opened by one thread */
    atomic_int zero
        [2]; /* by may_unmap: the first way to make zeroes that is worth a try; learnt by any queue */
    atomic_bool no_discard; /* learnt too */
};

int raw_open(const struct disk_cfg *cfg, struct disk **ret, struct err *e);

/* raw_io.c, the queue's part of struct disk_ops. */
void raw_zero_init(struct raw *w);
int raw_queue_open(struct disk *d, const struct disk_queue_cfg *cfg, struct disk_queue **ret,
                   struct err *e);
void raw_queue_close(struct disk_queue *q);
void raw_submit(struct disk_queue *q, struct disk_req *r);
void raw_kick(struct disk_queue *q);
void raw_wait(struct disk_queue *q);
