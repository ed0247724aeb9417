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
    bool guard; /* the first sector must not become another format's: see disk_cfg.format */
    enum disk_engine engine;
    struct workers
        *pool; /* made by the first queue that needs it; queues are opened by one thread */
    atomic_int zero
        [2]; /* by may_unmap: the first way to make zeroes that is worth a try; learnt by any queue */
    atomic_bool no_discard; /* learnt too */
};

/* As disk_open; cfg->format is not looked at. */
int raw_open(const struct disk_cfg *cfg, struct disk **ret, struct err *e);
/* Makes a store a plain disk, whose size must be one.  `guard`: see disk_cfg.format. */
int raw_settle(struct disk *d, bool guard, struct err *e);
/* Which file or device it is, whatever path led to it.  Negative errno. */
int raw_identity(struct disk *d, dev_t *dev, ino_t *ino);
/* It is locked by `fd`, an open file of its own that holds the lock; owned from then on. */
void raw_locked_by(struct disk *d, int fd);
/* The open file that holds its lock, whose owner is the caller from now on. */
int raw_lock_take(struct disk *d);
/* It is only read from now on: its lock lets other readers in. */
void raw_set_readonly(struct disk *d);
/* Its file, for what only files can do; borrowed.  -1: not a raw disk. */
int raw_fd(const struct disk *d);

/* raw_io.c, the queue's part of struct disk_ops. */
void raw_zero_init(struct raw *w);
int raw_queue_open(struct disk *d, const struct disk_queue_cfg *cfg, struct disk_queue **ret,
                   struct err *e);
void raw_queue_close(struct disk_queue *q);
void raw_submit(struct disk_queue *q, struct disk_req *r);
void raw_kick(struct disk_queue *q);
void raw_wait(struct disk_queue *q);

/* raw_now.c, the rest of it. */
int raw_now(struct disk *d, enum disk_op op, void *buf, u64 len, u64 offset);
int raw_map(struct disk *d, u64 offset, u64 len, struct disk_extent *ret, struct err *e);
int raw_resize(struct disk *d, u64 size, struct err *e);
