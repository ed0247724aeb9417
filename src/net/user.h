/*
 * net/user.h: user-mode network: a router, DHCP server, name server and NAT in this process, which needs no privilege.
 * The guest sees 10.0.2.0/24: itself at 10.0.2.15, router and host at 10.0.2.2, names from 10.0.2.3.  IPv4 only.
 */
#pragma once

#include "net/net.h"

#include <netinet/in.h>

/* As text, for who has no DHCP client. */
#define USER_NET_ADDRESS "10.0.2.15/24"
#define USER_NET_ROUTER  "10.0.2.2"
#define USER_NET_NAMES   "10.0.2.3"

/* A port of the host that leads to one of the guest. */
struct user_forward {
    bool udp;
    struct in_addr host; /* address of the host that is listened on */
    u16 host_port, guest_port;
};

/* "tcp:HOSTPORT:GUESTPORT" or "udp:ADDRESS:HOSTPORT:GUESTPORT"; without an address it is 127.0.0.1. */
int user_forward_parse(const char *rule, struct user_forward *ret, struct err *e);

struct user_cfg {
    const struct user_forward *forwards;
    u32 n_forwards;
    bool isolated; /* the guest cannot reach the host's own services (127.0.0.1) through 10.0.2.2 */
};

/* Loads libslirp, listens on the forwarded ports.  Owned in *ret. */
int user_open(const struct user_cfg *cfg, struct net_backend **ret, struct err *e);
