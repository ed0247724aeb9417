/*
 * os/child.h: a process of ours that does one thing for a container, forked from socle-os.
 */
#pragma once

#include "base/base.h"

/*
 * In the child: signals are as usual, files are closed but `keep`, and standard error is not ours, whose lock says that the instance lives
 * (host/process.c).
 */
int os_child_settle(const int *keep, u32 n, struct err *e);
