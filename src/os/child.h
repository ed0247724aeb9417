/*
 * os/child.h: a process of ours that does one thing for a container, forked from socle-os.
 */
#pragma once

#include "base/base.h"

#include <sys/types.h>

/*
 * In the child: signals are as usual, files are closed but `keep`, and standard error is not ours, whose lock says that the instance lives
 * (host/process.c).
 */
int os_child_settle(const int *keep, u32 n, struct err *e);

/* Runs in the child, and does not come back: says a struct err, whose code is 0 or negative, when it serves or cannot. */
typedef void os_child_fn(void *arg, int said);
/* *ret: the process, which serves; 0 after a failure, and `e` is what it said. */
int os_child_start(pid_t *ret, os_child_fn *serve, void *arg, struct err *e);
