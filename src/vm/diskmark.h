/*
 * vm/diskmark.h: by what a disk is recognised when its machine goes on: the bytes that a saved state believes in must still be there.
 * Today's disks are files and block devices; a format of several files will mark the one that is written.
 */
#pragma once

#include "vm/statefile.h"

struct diskmark {
    int fd;     /* of our own, for reading; never locked */
    char *path; /* without links, from the root */
};

/* Before the jail.  Owned in *ret. */
int diskmark_open(const char *file, struct diskmark *ret, struct err *e);
void diskmark_close(struct diskmark *d);
/* What it is now: nothing is under way, and nothing was written since that is not in the file. */
int diskmark_get(const struct diskmark *d, struct state_disk *ret, struct err *e);
/* Waits until all that was written is on stable storage. */
int diskmark_sync(const struct diskmark *d, struct err *e);
/* -ESTALE with `e`: it is not what `want` says.  A block device is recognised by its size only. */
int diskmark_check(const struct diskmark *d, const struct state_disk *want, struct err *e);
/* The same of what was found before. */
int diskmark_compare(const char *path, const struct state_disk *now, const struct state_disk *want,
                     struct err *e);
/* Is it this file, by fstat(2)'s device and inode? */
bool diskmark_is(const struct diskmark *d, u64 dev, u64 ino);
