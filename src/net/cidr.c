/*
 * net/cidr.c: addresses with a prefix: read, written, compared.
 */
#include "net/cidr.h"

#include <arpa/inet.h>

static u8 bits_max(int family)
{
    return family == AF_INET ? 32 : 128;
}

int cidr_parse(const char *text, struct cidr *ret)
{
    const char *slash = strchr(text, '/');
    char address[INET6_ADDRSTRLEN] = {};
    const size_t len = slash ? (size_t)(slash - text) : strlen(text);
    struct cidr c = { .family = strchr(text, ':') ? AF_INET6 : AF_INET };
    u64 bits = bits_max(c.family);

    if (len >= sizeof(address))
        return -EINVAL;
    memcpy(address, text, len);
    if (inet_pton(c.family, address, c.addr) != 1)
        return -EINVAL;
    if (slash && (str_u64(slash + 1, &bits) < 0 || bits > bits_max(c.family)))
        return -EINVAL;
    c.bits = (u8)bits;
    *ret = c;
    return 0;
}

void cidr_address(const struct cidr *c, char ret[CIDR_TEXT])
{
    must(inet_ntop(c->family, c->addr, ret, CIDR_TEXT));
}

void cidr_text(const struct cidr *c, char ret[CIDR_TEXT])
{
    char address[CIDR_TEXT];

    cidr_address(c, address);
    must(str_fmt(ret, CIDR_TEXT, "%s/%u", address, c->bits));
}

struct cidr cidr_network(const struct cidr *c)
{
    struct cidr n = *c;

    for (u32 i = 0; i < sizeof(n.addr); i++) {
        const u32 kept = c->bits > 8 * i ? min(c->bits - 8 * i, 8u) : 0;

        n.addr[i] &= (u8)(0xff00u >> kept);
    }
    return n;
}

bool cidr_overlaps(const struct cidr *a, const struct cidr *b)
{
    struct cidr x = *a, y = *b;

    x.bits = y.bits = a->bits < b->bits ? a->bits : b->bits;
    x = cidr_network(&x);
    y = cidr_network(&y);
    return a->family == b->family && memcmp(x.addr, y.addr, sizeof(x.addr)) == 0;
}

u32 cidr_v4(const struct cidr *c)
{
    be32 v;

    memcpy(&v, c->addr, sizeof(v));
    return be32_get(v);
}

struct cidr cidr_with_v4(const struct cidr *c, u32 address)
{
    const be32 v = be32_of(address);
    struct cidr r = *c;

    memcpy(r.addr, &v, sizeof(v));
    return r;
}

u32 cidr_v4_mask(const struct cidr *c)
{
    return c->bits ? ~0u << (32 - c->bits) : 0;
}
