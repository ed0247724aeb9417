/*
 * box/supervise.h: what a runtime in the foreground does while a container's process runs.
 */
#pragma once

#include "base/base.h"

#include <sys/types.h>

/*
 * Passes signals on to `pid`, a child, and what is typed to its terminal (`master`; -1: none), until it ends; and that it is ready
 * (`notify`; -1: nobody asks).  Its exit status, or 128 and its signal.
 */
int supervise(pid_t pid, int pidfd, int master, int notify, struct err *e);
/* From here on the signals that supervise passes on wait for it. */
void supervise_block(void);
int supervise_status(int wait_status);
