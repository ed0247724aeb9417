/*
 * os/ids.h: the namespaces of a container that outlive its processes: whose users are whose, and its network.  They are made before the
 * container and kept open, so that a restart from inside finds its cards and addresses as they were.
 */
#pragma once

#include "base/base.h"

struct os_ids {
    int user; /* -1: it has none of its own */
    int net;
};

/* `first`: the host's number of its user 0, of OS_IDS; 0: no user namespace.  Finish with os_ids_close. */
int os_ids_open(struct os_ids *ids, u32 first, struct err *e);
void os_ids_close(struct os_ids *ids);
