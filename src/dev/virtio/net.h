/*
 * dev/virtio/net.h: the configuration of a virtio network card.
 */
#pragma once

#include "base/base.h"

#include "conf/conf.h"
#include "dev/dev.h"

enum net_kind { NET_USER, NET_TAP, NET_NONE };

struct net_forward_cfg {
    char *rule; /* as net/user.h reads it */
};

struct net_cfg {
    int kind;     /* enum net_kind; NET_NONE: a card without a cable */
    char *ifname; /* NET_TAP: the host's interface, or … */
    u32 fd; /* … an open queue of one, or a unix socket, which the device owns from then on; 0: none */
    char *mac;                 /* NULL: 52:54:00 and three random bytes */
    u16 queues;                /* pairs, 1 to 32; NET_TAP with ifname */
    struct field_list forward; /* struct net_forward_cfg; NET_USER */
    bool isolated;             /* NET_USER: the guest cannot reach the host's own services */
    u16 mtu;                   /* what the guest is told; 0: nothing */
};

extern const struct field net_fields[];
extern const struct device_def virtio_net_def;

/* The cable of a virtio-net device in or out.  Any thread but its own. */
void net_link_set(struct device *d, bool up);
/* The card's own address, which its driver finds when it starts anew; one that runs keeps what it has.  Unicast.  Control loop. */
void net_mac_set(struct device *d, const u8 mac[6]);
