/*
 * net/pair.c: veth pairs through libnl-route, and taps that are made where they are used.
 */
#include "net/pair.h"

#include "net/tap.h"
#include "net/within.h"

#include <net/if_arp.h>
#include <netlink/netlink.h>
#include <netlink/route/link.h>
#include <netlink/route/link/veth.h>
#include <netlink/route/route.h>
#include <sys/ioctl.h>

static int failed(struct err *e, int r, const char *what, const char *name)
{
    return err_set(e,
                   r == -NLE_EXIST  ? -EEXIST
                   : r == -NLE_PERM ? -EPERM
                                    : -EIO,
                   "%s '%s': %s", what, name, nl_geterror(r));
}

int pair_add(struct links *l, const char *outer, const char *inner, const u8 mac[6], struct err *e)
{
    struct rtnl_link *o = rtnl_link_veth_alloc();
    struct rtnl_link *peer = o ? rtnl_link_veth_get_peer(o) : NULL;
    struct nl_addr *a = nl_addr_build(AF_LLC, mac, 6);
    int r = -NLE_NOMEM;

    if (peer && a) {
        rtnl_link_set_name(o, outer);
        rtnl_link_set_name(peer, inner);
        rtnl_link_set_addr(peer, a);
        r = rtnl_link_add(l->sock, o, NLM_F_CREATE | NLM_F_EXCL);
    }
    if (a)
        nl_addr_put(a);
    if (peer)
        rtnl_link_put(peer);
    if (o)
        rtnl_link_put(o);
    return r < 0 ? failed(e, r, "make the pair of links", outer) : 0;
}

static int move(struct links *l, const struct pair_place *p, struct err *e)
{
    struct rtnl_link *was = rtnl_link_alloc(), *to = rtnl_link_alloc();
    struct link k;
    int r;

    must(was && to);
    if (!links_find(l, p->link, &k)) {
        rtnl_link_put(was);
        rtnl_link_put(to);
        return err_set(e, -ENODEV, "link '%s' is gone", p->link);
    }
    rtnl_link_set_ifindex(was, k.index);
    rtnl_link_set_ns_fd(to, p->ns);
    rtnl_link_set_name(to, p->name);
    r = rtnl_link_change(l->sock, was, to, 0);
    rtnl_link_put(was);
    rtnl_link_put(to);
    return r < 0 ? failed(e, r, "move link", p->link) : 0;
}

static int add_way_out(struct links *l, const struct link *k, const struct cidr *gateway,
                       struct err *e)
{
    const int len = gateway->family == AF_INET ? 4 : 16;
    struct nl_addr *via = nl_addr_build(gateway->family, gateway->addr, (size_t)len), *all = NULL;
    struct rtnl_route *route = rtnl_route_alloc();
    struct rtnl_nexthop *hop = rtnl_route_nh_alloc();
    int r = nl_addr_parse("default", gateway->family, &all);

    must(via && route && hop);
    if (r >= 0) {
        rtnl_route_set_family(route, (u8)gateway->family);
        rtnl_route_set_dst(route, all);
        rtnl_route_nh_set_ifindex(hop, k->index);
        rtnl_route_nh_set_gateway(hop, via);
        rtnl_route_add_nexthop(route, hop);
        r = rtnl_route_add(l->sock, route, NLM_F_CREATE | NLM_F_REPLACE);
    }
    nl_addr_put(via);
    if (all)
        nl_addr_put(all);
    rtnl_route_put(route);
    return r < 0 ? failed(e, r, "set the way out of", k->name) : 0;
}

/* In the namespace: what `p` says of its link, or NULL: the loopback interface. */
static int bring_up(void *arg, struct err *e)
{
    const struct pair_place *p = arg;
    const char *name = p ? p->name : "lo";
    struct links l = {};
    struct link k;
    int r = links_open(&l, e);

    if (r >= 0 && !links_find(&l, name, &k))
        r = err_set(e, -ENODEV, "there is no link '%s' in the container", name);
    if (r >= 0)
        r = links_join(&l, &k, 0, e);
    if (r >= 0 && p && p->address.family)
        r = links_set_addresses(&l, &k, &p->address, 1, e);
    if (r >= 0 && p && p->gateway.family)
        r = add_way_out(&l, &k, &p->gateway, e);
    links_close(&l);
    return r;
}

int pair_loopback(int ns, struct err *e)
{
    return within(ns, bring_up, NULL, e);
}

int pair_move(struct pair_place *p, struct err *e)
{
    struct links l = {};
    int r = links_open(&l, e);

    if (r >= 0)
        r = move(&l, p, e);
    links_close(&l);
    return r < 0 ? r : within(p->ns, bring_up, p, e);
}

/* ---- a tap instead ---- */

struct tap_place {
    struct pair_place *place;
    const u8 *mac;
    int fd; /* owned */
};

static int set_mac(int fd, const u8 mac[6], struct err *e)
{
    struct ifreq ifr = { .ifr_hwaddr.sa_family = ARPHRD_ETHER };

    memcpy(ifr.ifr_hwaddr.sa_data, mac, 6);
    return ioctl(fd, SIOCSIFHWADDR, &ifr) < 0 ? err_errno(e, "set the address of a tap") : 0;
}

static int make_tap(void *arg, struct err *e)
{
    struct tap_place *t = arg;
    int r = t->fd = tap_make(t->place->name, e);

    if (r >= 0)
        r = set_mac(t->fd, t->mac, e);
    return r < 0 ? r : bring_up(t->place, e);
}

int pair_tap(struct pair_place *p, const u8 mac[6], int *ret_fd, struct err *e)
{
    struct tap_place t = { p, mac, -1 };
    int r = within(p->ns, make_tap, &t, e);

    if (r < 0)
        fd_close(&t.fd);
    else
        *ret_fd = t.fd;
    return r;
}
