/*
 * net/tap.h: frames through a tap interface of the host, or through a socket that someone gave us.
 */
#pragma once

#include "net/net.h"

/* Attaches to (or makes, where we may) the interface, with `pairs` queues.  Owned in *ret. */
int tap_open(const char *name, u16 pairs, struct net_backend **ret, struct err *e);
/*
 * The same with an open fd, which is ours from success on: a tap queue with IFF_VNET_HDR, or a unix socket that keeps packet
 * borders (SOCK_DGRAM, SOCK_SEQPACKET), through which frames go with their headers and without offloads.
 */
int tap_given(int fd, struct net_backend **ret, struct err *e);
/* An owned fd for tap_given, or a negative errno: a queue of the interface, which is made where it is not there and ends with the fd. */
int tap_make(const char *name, struct err *e);
