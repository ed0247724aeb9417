/*
 * disk/overlay.h: an open disk goes on in an overlay: what it is from now on stays as it is, and is read by others.
 *
 *     disk ── overlay_open ──> overlay over disk ── its queues take over from the disk's ──> overlay_seal ──> overlay_settle
 *                                    └─ overlay_drop: it was not to be
 *
 *   (1) An empty overlay reads as what is below it: so it may have the disk's name, on stable storage, before anybody writes to it.
 *   (2) Until overlay_settle a flush of the overlay is one of the disk below, too: what was written before the change is flushed
 *       by who asks for it after.
 */
#pragma once

#include "disk/disk.h"

struct overlay_cfg {
    int fd; /* an empty qcow2 image as large as the disk; owned from then on, also on failure */
    int lock_fd; /* an open file of its own that holds the image's lock; owned too */
    enum disk_cache cache;
    enum disk_engine engine;
    const char *name; /* for messages */
};

/*
 * Opens no file and starts no thread.  `below` is the overlay's in *ret, but its own queues stay as they are.  -EINVAL with `e`:
 * the file is something else than was said.
 */
int overlay_open(struct disk *below, const struct overlay_cfg *cfg, struct disk **ret,
                 struct err *e);
/* Closes the overlay and leaves the disk below as it was.  The overlay's queues are closed. */
void overlay_drop(struct disk *overlay);
/* All that was written below is on stable storage when it returns.  Nobody writes there any more; reads may go on.  Any thread. */
int overlay_seal(struct disk *overlay, struct err *e);
/* After overlay_seal went well: flushes are the overlay's own, and others may read what is below. */
void overlay_settle(struct disk *overlay);

/* The raw disk that its bytes are in: its file, or itself. */
struct disk *overlay_raw(struct disk *d);
/* Which file it is in, by whatever name: the device and inode of fstat(2).  Negative errno. */
struct overlay_file {
    u64 dev, ino;
    bool regular; /* else a block device */
};
int overlay_file(const struct disk *d, struct overlay_file *ret);
/* Is it a qcow2 image that was not written to: reads as its backing file? */
bool overlay_is_empty(const struct disk *d);
