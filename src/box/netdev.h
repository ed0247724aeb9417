/*
 * box/netdev.h: network devices that move from the host to a container, by rtnetlink(7).
 */
#pragma once

#include "box/oci.h"

#include <net/if.h>
#include <sys/types.h>

struct netdevs {
    int net;                    /* the container's network namespace, -1: none moves */
    char (*names)[IF_NAMESIZE]; /* how those that moved are called there; owned */
    u32 n;
};

/*
 * Moves all that the specification names into the network namespace `join`, or with -1 that of process `pid`, and sets them up, with
 * their permanent addresses.  After a failure, too, netdevs_return takes back what was moved.
 */
int netdevs_move(struct netdevs *d, const struct oci *spec, pid_t pid, int join, struct err *e);
/* When the container could not be made: a device whose namespace ends is gone, or has another name. */
void netdevs_return(struct netdevs *d, const struct oci *spec);
void netdevs_fini(struct netdevs *d);
