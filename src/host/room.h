/*
 * host/room.h: has the host memory for one more machine?  The rule is guard.h's; here is what it is asked about.
 */
#pragma once

#include "host/guard.h"
#include "host/host.h"

/* Memory of the host, and of machines that run, in the order of pids. */
struct room {
    struct guard_host host;
    struct taken {
        u32 pid;
        bool many; /* a container: its processes are below that one */
        u64 bytes;
    } * vm;
    u32 n;
};

/*
 * What the host has, and what machines took of it: before the lock is taken, since /proc may be slow.  The host is read last: what
 * a machine takes meanwhile is counted twice, rather than not at all.  Finish with room_fini, also after a failure.
 */
int room_read(struct room *r, struct host *h, struct err *e);
/* May `i` be started with so much? */
int room_check_locked(const struct room *r, const struct instance *i, u64 memory, struct err *e);
void room_fini(struct room *r);
