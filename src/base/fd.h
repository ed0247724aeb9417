/*
 * base/fd.h: file descriptors: closing, whole reads and writes, eventfds.
 */
#pragma once

#include "base/base.h"

#include <sys/types.h>

/* AUTO(fd) int fd = -1; closes at scope end when ≥ 0. */
void auto_fd(int *fd);

/* Closes *fd when ≥ 0 and sets it to -1. */
void fd_close(int *fd);

/* Writes or reads all `len` bytes, resuming after signals and short transfers.  0, or a negative errno; -ENODATA at an early end. */
int fd_write_all(int fd, const void *buf, size_t len);
int fd_pwrite_all(int fd, const void *buf, size_t len, u64 at);
int fd_pread_all(int fd, void *buf, size_t len, u64 at);
/* All of a small file: *ret_len bytes, 1 to `max`, owned.  -EFBIG: it has more, or none; *ret_len says how many. */
int fd_read_whole(int fd, size_t max, char **ret, size_t *ret_len);

/* At most about `max` bytes of a file of /proc or /sys, whose size nobody tells; owned, NULL: it is not there, or empty. */
char *fd_read_virtual(const char *path, size_t max);
/* Non-blocking, close-on-exec eventfd.  Owned fd or a negative errno. */
int fd_eventfd(void);
/* Adds 1 to / takes what is in an eventfd. */
void fd_event_signal(int fd);
u64 fd_event_take(int fd);
