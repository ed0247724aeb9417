/*
 * box/vm_proxy.h: the process on the host that stands for one in a machine: it has its input and output, takes its signals, and ends as it
 * ends.
 */
#pragma once

#include "base/base.h"

/* Who waits until the guest answers: has it ended meanwhile?  It gets SIGCHLD, too. */
struct vm_waiting {
    bool (*is_gone)(void *arg);
    void (*on_child)(void);
    void *arg;
};

/*
 * A connection to the guest at `path`, socle-vm's socket of virtio sockets, as soon as it answers; owned.  A negative errno with `e`: -ESRCH
 * when it is gone, -ETIMEDOUT; -EINTR and *ret_signal: we were to end.  `signals`: of vm_proxy_signals.
 */
int vm_proxy_reach(const char *path, int signals, const struct vm_waiting *w, int *ret_signal,
                   struct err *e);
/* Signals wait from here on for vm_proxy_run, or for who reads the descriptor, which is owned. */
int vm_proxy_signals(struct err *e);
/* What it has of capabilities is `keep` (1 << CAP_*) from here on, and an exec would give no more. */
int vm_proxy_drop_rights(u64 keep, struct err *e);
/*
 * Stands for `process`, JSON, until it ends: its status.  Of signals SIGCHLD goes to `on_child`; what is not for others is passed on.  A
 * negative errno with `e`: the connection broke, or it was not started.
 */
int vm_proxy_run(int link, int signals, const char *process, void (*on_child)(void), struct err *e);
