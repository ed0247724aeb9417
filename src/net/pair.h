/*
 * net/pair.h: a network card of a container: a pair of links (veth), of which one end is a port of the host's network, and the other is
 * moved into the container's network namespace; or a tap in there, whose frames go to who holds its descriptor.
 */
#pragma once

#include "net/link.h"

/* Both ends are the host's, and down.  `mac`: of `inner`. */
int pair_add(struct links *l, const char *outer, const char *inner, const u8 mac[6], struct err *e);

struct pair_place {
    int ns;           /* network namespace */
    const char *link; /* the host's name of the end that is moved there; of a tap: NULL */
    const char *name; /* there */
    struct cidr address, gateway; /* family 0: none */
};
/* Moves it, and brings it up with its address and the way out by `gateway`. */
int pair_move(struct pair_place *p, struct err *e);
/* Makes a tap there, as pair_move brings it up.  It ends with *ret_fd, owned and for tap_given. */
int pair_tap(struct pair_place *p, const u8 mac[6], int *ret_fd, struct err *e);
/* The loopback interface of a new namespace. */
int pair_loopback(int ns, struct err *e);
