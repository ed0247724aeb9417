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
/* Is there such a group in a container with these namespaces?  Without one of its own it has ours. */
bool os_ids_has_group(const struct os_ids *ids, u32 gid);
/* The same of a text as that of /proc/PID/gid_map (user_namespaces(7)), which is taken apart. */
bool os_ids_in_map(char *text, u32 id);
void os_ids_close(struct os_ids *ids);
