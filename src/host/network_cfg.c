/*
 * host/network_cfg.c: what a network may be: its fields, and the checks that one row alone cannot make.
 */
#include "host/network.h"

#include <ctype.h>

enum {
    V4_BITS_MIN = 16, /* 65,533 machines */
    V4_BITS_MAX = 29, /* 5 */
    DOMAIN_MAX = 63,
};

const char *const network_kinds[] = { "nat", "isolated", "bridged", "user", NULL };

/* The bridge has the network's name, so it is one that Linux takes; /proc/sys has folders "all" and "default" beside interfaces. */
static bool name_ok(const char *s)
{
    static const char *const taken[] = { "all", "default", "lo" };

    for_each_row(t, taken)
        if (strcmp(s, *t) == 0)
            return false;
    return isalpha((unsigned char)s[0]) && strlen(s) < IFNAMSIZ &&
           s[strspn(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_")] == 0;
}

static bool interface_ok(const char *s)
{
    for (const char *p = s; *p; p++)
        if (!isgraph((unsigned char)*p) || *p == '/' || *p == ':' || strchr("'\"\\", *p))
            return false;
    return *s && strlen(s) < IFNAMSIZ && strcmp(s, ".") != 0 && strcmp(s, "..") != 0;
}

/* Not this host's, nobody's and not everybody's. */
static bool usable_v4(u32 a)
{
    return a >> 24 != 0 && a >> 24 != 127 && a < 0xe0000000;
}

static bool ipv4_ok(const char *s)
{
    struct cidr c;
    u32 a, mask;

    if (cidr_parse(s, &c) < 0 || c.family != AF_INET || c.bits < V4_BITS_MIN ||
        c.bits > V4_BITS_MAX)
        return false;
    a = cidr_v4(&c);
    mask = cidr_v4_mask(&c);
    return usable_v4(a) && (a & ~mask) != 0 && (a | mask) != ~0u;
}

static bool ipv6_ok(const char *s)
{
    struct cidr c, net;

    if (strcmp(s, "none") == 0)
        return true;
    if (cidr_parse(s, &c) < 0 || c.family != AF_INET6 || c.bits != 64)
        return false;
    net = cidr_network(&c);
    return memcmp(net.addr, c.addr, 16) != 0 && net.addr[0] >= 0x20 && net.addr[0] < 0xfe;
}

static bool domain_ok(const char *s)
{
    const char *last = ".";

    for (const char *p = s; *p; last = p++)
        if ((!isalnum((unsigned char)*p) && *p != '-' && *p != '.') ||
            (*last == '.' && !isalnum((unsigned char)*p)))
            return false;
    return *s && isalnum((unsigned char)*last) && strlen(s) <= DOMAIN_MAX;
}

/* clang-format off */
const struct field network_fields[] = {
    FIELD_STR(network_cfg, name, "its name, and that of its bridge", .required = true, .ok = name_ok,
              .want = "a letter, then up to 14 letters, digits, '-' or '_' (not all, default or lo)"),
    FIELD_ENUM(network_cfg, kind, network_kinds, "nat: out through the host; isolated: among themselves; bridged: on a link of the host; "
               "user: each alone, without privilege"),
    FIELD_STR(network_cfg, ipv4, "the host's address on it, and how many bits are the network's (nat, isolated); without, one is chosen",
              .metavar = "ADDRESS/BITS", .ok = ipv4_ok, .want = "an IPv4 address of a host with /16 to /29, as 10.77.0.1/24,"),
    FIELD_STR(network_cfg, ipv6, "the same of IPv6; none: it has none; without, one is chosen", .metavar = "ADDRESS/64|none", .ok = ipv6_ok,
              .want = "an IPv6 address of a host with /64, as fd12:3456:789a::1/64, or none"),
    FIELD_STR(network_cfg, domain, "of its machines' names (nat, isolated)", .sdflt = "internal", .ok = domain_ok,
              .want = "1 to 63 letters, digits, '-' and '.', as a name of DNS,"),
    FIELD_STR(network_cfg, interface, "the host's bridge that it is, or a link without addresses, of which a bridge is made (bridged)",
              .metavar = "NAME", .ok = interface_ok, .want = "an interface name of 1 to 15 characters"),
    {},
};
/* clang-format on */

bool network_is_managed(const struct network_cfg *c)
{
    return c->kind == NETWORK_NAT || c->kind == NETWORK_ISOLATED;
}

struct cidr network_v4(const struct network_cfg *c)
{
    struct cidr r = {};

    if (c->ipv4)
        must(cidr_parse(c->ipv4, &r) == 0);
    return r;
}

struct cidr network_v6(const struct network_cfg *c)
{
    struct cidr r = {};

    if (c->ipv6 && strcmp(c->ipv6, "none") != 0)
        must(cidr_parse(c->ipv6, &r) == 0);
    return r;
}

static int check_kind(const struct network_cfg *c, struct err *e)
{
    if (!network_is_managed(c) && (c->ipv4 || c->ipv6)) {
        err_set(e, -EINVAL, "'%s' is for nat and isolated networks; this one is %s",
                c->ipv4 ? "ipv4" : "ipv6", network_kinds[c->kind]);
        return err_field(e, c->ipv4 ? "ipv4" : "ipv6");
    }
    if (c->kind == NETWORK_BRIDGED && !c->interface)
        err_set(e, -EINVAL, "'interface' is missing: which link of the host (interface=NAME)");
    else if (c->kind != NETWORK_BRIDGED && c->interface)
        err_set(e, -EINVAL, "'interface' is for bridged networks; this one is %s",
                network_kinds[c->kind]);
    else
        return 0;
    return err_field(e, "interface");
}

int network_parse(struct network_cfg *c, const json_t *json, struct err *e)
{
    int r = conf_parse(network_fields, c, json, e);

    if (r < 0)
        return r;
    r = check_kind(c, e);
    if (r < 0)
        conf_fini(network_fields, c);
    return r;
}
