/*
 * box/notify.h: sd_notify(3) of a container's program.  Our own supervisor's socket is not for it: it gets one of ours, in a
 * directory of its state that is bound to /run/notify, and its READY=1 is passed on with the process that is to be watched.
 */
#pragma once

#include "box/state.h"

#define NOTIFY_PLACE "/run/notify" /* in the container */
#define NOTIFY_NAME  "notify.sock"

/* Does somebody wait for us to be ready? */
bool notify_wanted(void);
/* For `create`: makes the directory, adds its mount to the specification. */
int notify_prepare(const struct box_dir *d, struct oci *spec, struct err *e);
/* Makes the socket; *ret stays as it is when nobody waits, or the container was made without it. */
int notify_listen(const struct box_dir *d, int *ret, struct err *e);
/* Reads one message; when it says ready, tells our supervisor so, and that `pid` is the main process.  True: done. */
bool notify_pass(int socket, pid_t pid);
/* Until that, or the process behind `pidfd` ended. */
void notify_wait(int socket, int pidfd, pid_t pid);
