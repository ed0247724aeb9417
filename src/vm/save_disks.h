/*
 * vm/save_disks.h: the disks of a machine whose state is saved: what they were, and the overlays in which they go on (dev/virtio/blk.h).
 *     prepare ── take (the guest stands still) ──> seal (any thread) ──> done
 *         └─ drop, also after take while it still stands
 */
#pragma once

#include "vm/diskmark.h"
#include "vm/machine.h"

/* An overlay that a client hands in for a disk. */
struct save_overlay {
    u32 disk; /* which */
    const char *
        image; /* the name, in the folder that it is in, that the file has by which the disk was written until now */
    int fd, lock_fd; /* as in struct blk_overlay; owned by who is called, also on failure */
};

struct save_disk {
    struct device *dev;
    struct diskmark mark; /* of the image that is written */
    struct diskmark
        frozen; /* under way: of what is below the overlay; path: its name alone, NULL: no overlay */
};

struct save_disks {
    u32 n;
    struct save_disk disk[SPEC_DISKS_MAX];
    bool taken;
};

/* With the machine built, before the jail.  Finish with save_disks_close, also after a failure. */
int save_disks_open(struct save_disks *s, struct vm *vm, struct err *e);
void save_disks_close(struct save_disks *s);

/* All or none; one for each disk that can be written, or n is 0.  -EINVAL with `e`: one is no overlay for its disk. */
int save_disks_prepare(struct save_disks *s, struct save_overlay *list, u32 n, struct err *e);
/* Are there prepared ones? */
bool save_disks_any(const struct save_disks *s);
void save_disks_take(struct save_disks *s);
/* What was written to any disk is on stable storage. */
int save_disks_seal(struct save_disks *s, struct err *e);
/* After take, however seal went; or without take: nothing was. */
void save_disks_done(struct save_disks *s, bool sealed);
/* What a state file says of the disks; a new reference, NULL with `e`.  Nothing was written since the state was saved, or seal is done. */
json_t *save_disks_describe(const struct save_disks *s, struct err *e);
/* The images of prepared ones are no longer needed. */
void save_disks_forget(struct save_disks *s);
/* Disks are what a state knows them as.  -ESTALE with `e`. */
int save_disks_check(const struct save_disks *s, const struct state_meta *meta, struct err *e);
