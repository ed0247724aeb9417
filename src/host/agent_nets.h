/*
 * host/agent_nets.h: the addresses of a machine, out of what its guest's agent answers to guest-network-get-interfaces.  The guest may be hostile:
 * what is kept is of the machine's own cards, is an address, and is one that others could reach it by.
 */
#pragma once

#include "base/base.h"

#include <jansson.h>

enum {
    AGENT_CARD_ADDRESSES = 8, /* more of one card are dropped, IPv6 first */
    AGENT_ADDRESS_TEXT = 46,  /* as INET6_ADDRSTRLEN */
};

struct agent_card {
    u8 mac[6];
    u32 n, n_v4; /* the first n_v4 are IPv4 */
    char address[AGENT_CARD_ADDRESSES]
                [AGENT_ADDRESS_TEXT]; /* as inet_ntop writes them; none twice */
};

/* Adds to each card what is said of it; `mac` is the caller's.  -EBADMSG: it is no list. */
int agent_nets(const json_t *ret, struct agent_card *cards, u32 n_cards, struct err *e);
