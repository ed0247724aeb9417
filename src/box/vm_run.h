/*
 * box/vm_run.h: in the guest: one process that the host asks for, from begin to end.
 */
#pragma once

#include "base/base.h"

#include <stdatomic.h>

#define VM_ROOT \
    "/root" /* where the container's root is until its first process takes it as its own */
#define VM_MODULES "/modules" /* of the kernel, in the initial RAM disk */

/* Between those who answer. */
struct vm_shared {
    atomic_bool claimed; /* somebody starts the first process */
    atomic_int first;    /* the container's first process, which runs; 0: there is none yet */
};

/* Takes VM_PROCESS from `link`, runs it, and tells of it until it has ended. */
void vm_run(int link, struct vm_shared *shared);
