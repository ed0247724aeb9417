/*
 * net/cidr.h: an address of a host and how many of its bits are the network's: "10.77.0.1/24", "fd12::1/64".
 */
#pragma once

#include "base/base.h"

#include <netinet/in.h>

enum { CIDR_TEXT = INET6_ADDRSTRLEN + 4 };

struct cidr {
    int family;  /* AF_INET, AF_INET6; 0: none */
    u8 addr[16]; /* in network order; of IPv4 the first 4 */
    u8 bits;
};

/* 0, or -EINVAL.  Without "/bits" it is one address. */
int cidr_parse(const char *text, struct cidr *ret);
/* The address alone, and with "/bits". */
void cidr_address(const struct cidr *c, char ret[CIDR_TEXT]);
void cidr_text(const struct cidr *c, char ret[CIDR_TEXT]);
/* The same with the bits of the host zero: the network. */
struct cidr cidr_network(const struct cidr *c);
/* Has one of them an address of the other? */
bool cidr_overlaps(const struct cidr *a, const struct cidr *b);
/* Of IPv4, in host order. */
u32 cidr_v4(const struct cidr *c);
/* The same network and bits, another address of it (IPv4, host order). */
struct cidr cidr_with_v4(const struct cidr *c, u32 address);
/* Bits that are the network's, of IPv4: 24 → 0xffffff00. */
u32 cidr_v4_mask(const struct cidr *c);
