/*
 * net/link.c: links through libnl-route.  What is asked for is made so; what is so already is left alone.
 */
#include "net/link.h"

#include <fcntl.h>
#include <linux/if_tun.h>
#include <linux/rtnetlink.h>
#include <netlink/netlink.h>
#include <netlink/route/addr.h>
#include <netlink/route/link.h>
#include <netlink/route/link/bridge.h>
#include <netlink/route/route.h>
#include <sys/ioctl.h>
#include <unistd.h>

static const struct {
    int nl, code;
} codes[] = {
    { NLE_EXIST, -EEXIST }, { NLE_NODEV, -ENODEV },         { NLE_OBJ_NOTFOUND, -ENODEV },
    { NLE_PERM, -EPERM },   { NLE_OPNOTSUPP, -EOPNOTSUPP }, { NLE_BUSY, -EBUSY },
};

/* libnl has numbers of its own. */
static int errno_of(int r)
{
    for_each_row(row, codes)
        if (row->nl == -r)
            return row->code;
    return -EIO;
}

static int failed(struct err *e, int r, const char *what, const char *name)
{
    return err_set(e, errno_of(r), "%s '%s': %s", what, name, nl_geterror(r));
}

int links_open(struct links *l, struct err *e)
{
    int r;

    *l = (struct links){ .sock = nl_socket_alloc() };
    if (!l->sock)
        return err_set(e, -ENOMEM, "netlink: no memory");
    r = nl_connect(l->sock, NETLINK_ROUTE);
    if (r < 0)
        return err_set(e, errno_of(r), "netlink: %s", nl_geterror(r));
    return links_read(l, e);
}

void links_close(struct links *l)
{
    if (l->all)
        nl_cache_free(l->all);
    if (l->sock)
        nl_socket_free(l->sock);
    *l = (struct links){};
}

int links_read(struct links *l, struct err *e)
{
    int r;

    if (l->all)
        nl_cache_free(l->all);
    l->all = NULL;
    r = rtnl_link_alloc_cache(l->sock, AF_UNSPEC, &l->all);
    return r < 0 ? err_set(e, errno_of(r), "list the links: %s", nl_geterror(r)) : 0;
}

static struct link link_of(struct rtnl_link *o)
{
    struct link k = { .index = rtnl_link_get_ifindex(o), .master = rtnl_link_get_master(o) };
    const struct nl_addr *mac = rtnl_link_get_addr(o);
    const char *type = rtnl_link_get_type(o), *name = rtnl_link_get_name(o);

    (void)str_copy(k.name, sizeof(k.name), name ? name : "");
    if (mac && nl_addr_get_len(mac) == sizeof(k.mac))
        memcpy(k.mac, nl_addr_get_binary_addr(mac), sizeof(k.mac));
    k.bridge = type && strcmp(type, "bridge") == 0;
    k.up = rtnl_link_get_flags(o) & IFF_UP;
    return k;
}

bool links_find(const struct links *l, const char *name, struct link *ret)
{
    struct rtnl_link *o = rtnl_link_get_by_name(l->all, name);

    if (!o)
        return false;
    *ret = link_of(o);
    rtnl_link_put(o);
    return true;
}

void links_each(const struct links *l, void (*fn)(const struct link *k, void *arg), void *arg)
{
    for (struct nl_object *o = nl_cache_get_first(l->all); o; o = nl_cache_get_next(o)) {
        const struct link k = link_of((struct rtnl_link *)o);

        fn(&k, arg);
    }
}

/* The address is given with the request that makes it, so no moment knows the bridge without: it says whose it is. */
int links_add_bridge(struct links *l, const char *name, const u8 mac[6], struct err *e)
{
    struct rtnl_link *o = rtnl_link_bridge_alloc();
    struct nl_addr *a = nl_addr_build(AF_LLC, mac, 6);
    int r = -NLE_NOMEM;

    if (o && a) {
        rtnl_link_set_name(o, name);
        rtnl_link_set_addr(o, a);
        r = rtnl_link_add(l->sock, o, NLM_F_CREATE | NLM_F_EXCL);
    }
    if (a)
        nl_addr_put(a);
    if (o)
        rtnl_link_put(o);
    return r < 0 ? failed(e, r, "make bridge", name) : 0;
}

int links_add_tap(const char *name, bool many, struct err *e)
{
    AUTO(fd) int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC);
    struct ifreq ifr = { .ifr_flags = (short)(IFF_TAP | IFF_NO_PI | IFF_VNET_HDR |
                                              (many ? IFF_MULTI_QUEUE : 0)) };

    if (fd < 0)
        return err_errno(e, "open '/dev/net/tun'");
    must(str_copy(ifr.ifr_name, sizeof(ifr.ifr_name), name));
    if (ioctl(fd, TUNSETIFF, &ifr) < 0 || ioctl(fd, TUNSETPERSIST, 1) < 0)
        return err_errno(e, "make tap '%s'", name);
    return 0;
}

int links_join(struct links *l, const struct link *k, int master, struct err *e)
{
    struct rtnl_link *was, *to;
    int r;

    if (k->up && k->master == master)
        return 0;
    was = rtnl_link_alloc();
    to = rtnl_link_alloc();
    must(was && to);
    rtnl_link_set_ifindex(was, k->index);
    if (k->master != master)
        rtnl_link_set_master(to, master);
    rtnl_link_set_flags(to, IFF_UP);
    r = rtnl_link_change(l->sock, was, to, 0);
    rtnl_link_put(was);
    rtnl_link_put(to);
    return r < 0 ? failed(e, r, "set up link", k->name) : 0;
}

int links_delete(struct links *l, const struct link *k, struct err *e)
{
    struct rtnl_link *o = rtnl_link_alloc();
    int r;

    must(o);
    rtnl_link_set_ifindex(o, k->index);
    r = rtnl_link_delete(l->sock, o);
    rtnl_link_put(o);
    return r < 0 && errno_of(r) != -ENODEV ? failed(e, r, "delete link", k->name) : 0;
}

/* ---- addresses ---- */

static struct cidr cidr_of(const struct nl_addr *a, int bits)
{
    struct cidr c = { .family = a ? nl_addr_get_family(a) : 0, .bits = (u8)bits };

    if (a)
        memcpy(c.addr, nl_addr_get_binary_addr(a), min(nl_addr_get_len(a), 16u));
    return c;
}

static bool is_kernels_own(const struct cidr *c)
{
    return c->family == AF_INET6 && c->addr[0] == 0xfe && (c->addr[1] & 0xc0) == 0x80;
}

static bool same(const struct cidr *a, const struct cidr *b)
{
    return a->family == b->family && a->bits == b->bits &&
           memcmp(a->addr, b->addr, sizeof(a->addr)) == 0;
}

static int change_address(struct links *l, const struct link *k, const struct cidr *c, bool add)
{
    struct rtnl_addr *o = rtnl_addr_alloc();
    struct nl_addr *a = nl_addr_build(c->family, c->addr, c->family == AF_INET ? 4 : 16);
    int r;

    must(o && a);
    nl_addr_set_prefixlen(a, c->bits);
    rtnl_addr_set_ifindex(o, k->index);
    r = rtnl_addr_set_local(o, a);
    if (r >= 0 && c->family == AF_INET6)
        rtnl_addr_set_flags(o, IFA_F_NODAD); /* nobody else is there yet */
    if (r >= 0)
        r = add ? rtnl_addr_add(l->sock, o, 0) : rtnl_addr_delete(l->sock, o, 0);
    nl_addr_put(a);
    rtnl_addr_put(o);
    return r;
}

/* Next address of the link from `o` on, which NULL begins. */
static struct rtnl_addr *next_address(struct nl_cache *all, struct rtnl_addr *o,
                                      const struct link *k, struct cidr *ret)
{
    struct nl_object *at = o ? nl_cache_get_next((struct nl_object *)o) : nl_cache_get_first(all);

    for (; at; at = nl_cache_get_next(at)) {
        struct rtnl_addr *a = (struct rtnl_addr *)at;

        *ret = cidr_of(rtnl_addr_get_local(a), rtnl_addr_get_prefixlen(a));
        if (rtnl_addr_get_ifindex(a) == k->index && ret->family && !is_kernels_own(ret))
            return a;
    }
    return NULL;
}

int links_has_address(struct links *l, const struct link *k, bool *ret, struct err *e)
{
    struct nl_cache *all;
    struct cidr c;
    int r = rtnl_addr_alloc_cache(l->sock, &all);

    if (r < 0)
        return failed(e, r, "list the addresses of", k->name);
    *ret = next_address(all, NULL, k, &c) != NULL;
    nl_cache_free(all);
    return 0;
}

int links_set_addresses(struct links *l, const struct link *k, const struct cidr *want, u32 n,
                        struct err *e)
{
    struct nl_cache *all;
    struct rtnl_addr *o = NULL;
    struct cidr c;
    u32 there = 0; /* a bit each */
    int r = rtnl_addr_alloc_cache(l->sock, &all);

    must(n <= 32);
    if (r < 0)
        return failed(e, r, "list the addresses of", k->name);
    while ((o = next_address(all, o, k, &c)) && r >= 0) {
        const u32 was = there;

        for (u32 i = 0; i < n; i++)
            there |= (u32)same(&c, &want[i]) << i;
        if (there == was)
            r = change_address(l, k, &c, false);
    }
    nl_cache_free(all);
    for (u32 i = 0; i < n && r >= 0; i++)
        if (!(there >> i & 1))
            r = change_address(l, k, &want[i], true);
    return r < 0 ? failed(e, r, "set the addresses of", k->name) : 0;
}

/* ---- routes ---- */

static int list_routes(struct links *l, struct nl_cache **ret, struct err *e)
{
    int r = rtnl_route_alloc_cache(l->sock, AF_UNSPEC, 0, ret);

    return r < 0 ? err_set(e, errno_of(r), "list the routes: %s", nl_geterror(r)) : 0;
}

static void name_of(const struct links *l, struct rtnl_route *route, char ret[IFNAMSIZ])
{
    struct rtnl_nexthop *hop = rtnl_route_nexthop_n(route, 0);

    ret[0] = 0;
    if (hop)
        rtnl_link_i2name(l->all, rtnl_route_nh_get_ifindex(hop), ret, IFNAMSIZ);
}

int links_check_range(struct links *l, const struct cidr *range, const char *own, struct err *e)
{
    struct nl_cache *all;
    int r = list_routes(l, &all, e);

    if (r < 0)
        return r;
    for (struct nl_object *o = nl_cache_get_first(all); o && r >= 0; o = nl_cache_get_next(o)) {
        struct rtnl_route *route = (struct rtnl_route *)o;
        const struct nl_addr *dst = rtnl_route_get_dst(route);
        const struct cidr c = cidr_of(dst, dst ? (int)nl_addr_get_prefixlen(dst) : 0);
        char name[IFNAMSIZ], text[CIDR_TEXT], ours[CIDR_TEXT];

        if (rtnl_route_get_type(route) != RTN_UNICAST || !c.family || c.bits == 0 ||
            !cidr_overlaps(&c, range))
            continue;
        name_of(l, route, name);
        cidr_text(&c, text);
        cidr_text(range, ours);
        if (strcmp(name, own) != 0)
            r = err_set(e, -EEXIST, "%s clashes with the host's route to %s by '%s'", ours, text,
                        name);
    }
    nl_cache_free(all);
    return r;
}

int links_follows_router(struct links *l, bool *ret, struct err *e)
{
    struct nl_cache *all;
    int r = list_routes(l, &all, e);

    if (r < 0)
        return r;
    *ret = false;
    for (struct nl_object *o = nl_cache_get_first(all); o; o = nl_cache_get_next(o))
        *ret |= rtnl_route_get_family((struct rtnl_route *)o) == AF_INET6 &&
                rtnl_route_get_protocol((struct rtnl_route *)o) == RTPROT_RA;
    nl_cache_free(all);
    return 0;
}
