/*
 * net/link.h: the host's links, their addresses and routes, through netlink: bridges, taps, what is a port of what.
 */
#pragma once

#include "net/cidr.h"

#include <net/if.h>

struct nl_cache;
struct nl_sock;

/* A conversation with the kernel, and the links as they were when it was asked last. */
struct links {
    struct nl_sock *sock;
    struct nl_cache *all;
};

struct link {
    int index, master; /* master 0: it is nobody's port */
    char name[IFNAMSIZ];
    u8 mac[6];
    bool bridge, up;
};

int links_open(struct links *l, struct err *e);
/* Zeroed is harmless. */
void links_close(struct links *l);
/* Asks for the links again. */
int links_read(struct links *l, struct err *e);
/* False: there is none. */
bool links_find(const struct links *l, const char *name, struct link *ret);
void links_each(const struct links *l, void (*fn)(const struct link *k, void *arg), void *arg);

int links_add_bridge(struct links *l, const char *name, const u8 mac[6], struct err *e);
/* A tap that outlives who made it, for frames with a header as net/tap.c wants them; `many`: it may have several queues. */
int links_add_tap(const char *name, bool many, struct err *e);
/* Makes it a port of `master` (0: of nobody), and up. */
int links_join(struct links *l, const struct link *k, int master, struct err *e);
/* 0 also when it is gone. */
int links_delete(struct links *l, const struct link *k, struct err *e);

/* Gives the link exactly these addresses; the kernel's own fe80:: stays. */
int links_set_addresses(struct links *l, const struct link *k, const struct cidr *want, u32 n,
                        struct err *e);
/* Has it one, the kernel's own fe80:: aside? */
int links_has_address(struct links *l, const struct link *k, bool *ret, struct err *e);
/* -EEXIST, with what it is: a route of the host leads to some of `range`, by another link than `own`. */
int links_check_range(struct links *l, const struct cidr *range, const char *own, struct err *e);
/* Does a router's advertisement give the host its way out?  It would not any more if the host forwarded. */
int links_follows_router(struct links *l, bool *ret, struct err *e);
