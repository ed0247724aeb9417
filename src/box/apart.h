/*
 * box/apart.h: --isolate vm: the container is a machine.  Its namespaces, control group, mounts of the host's files, hooks and state are as
 * always; its first process on the host is socle-box-vm, which keeps the host's root for what it starts, and has the container's as a folder
 * that it shares with the guest.
 */
#pragma once

#include "box/making.h"

enum { APART_NONE, APART_VM };

/* Looks whether the specification can be that of a machine, and leaves out what its own kernel mounts. */
int apart_prepare(struct making *m, const struct box_global *g, struct err *e);
/* In the first process, in place of the program; returns only when it fails. */
int apart_exec(struct making *m, struct err *e);
/* In a process of the host's that is to stand for another one in the machine of container `d`, whose process on the host is `first`; returns only when it fails. */
int apart_exec_other(const struct box_dir *d, const struct box_global *g, pid_t first,
                     const struct oci_process *p, struct err *e);
