/*
 * disk/lock.h: two programs do not write to one image.  Open-file-description locks (fcntl(2), F_OFD_SETLK): they belong to
 * the fd, last as long as it is open anywhere, and are seen by other programs that lock their images.
 */
#pragma once

#include "base/base.h"

/* Locks all of `fd`: for writing, or shared with other readers.  -EAGAIN names who has it, where the host lets us know.  A
 * file system without locks gives a warning and 0. */
int lock_image(int fd, bool write, const char *name, struct err *e);
