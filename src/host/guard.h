/*
 * host/guard.h: may a machine start, or would the host run out of memory?
 * What is counted is what can still be taken: of a running machine its memory less what it has of it already.
 */
#pragma once

#include "base/base.h"

struct guard_host {
    u64 total, available; /* bytes: MemTotal and MemAvailable of the host */
    u64 group_left;       /* what our cgroup may still take; ~0: it has no limit */
};

struct guard_vm {
    u64 memory;   /* configured */
    u64 resident; /* of it and of its process, or of a container's processes, taken already */
};

enum {
    GUARD_OVERHEAD = 64 << 20
}; /* of a socle-vm beside the guest's memory: its code, translations, disks' tables */

/* How many bytes a new machine's memory may have, at most. */
u64 guard_room(const struct guard_host *h, const struct guard_vm *vms, u32 n);
/* 0, or -ENOMEM with `e` saying what would fit. */
int guard_check(const struct guard_host *h, const struct guard_vm *vms, u32 n, const char *name,
                u64 memory, struct err *e);

/* What the host says now. */
int guard_read_host(struct guard_host *ret, struct err *e);
