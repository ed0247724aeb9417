/*
 * host/agent_nets.c: see agent_nets.h.
 */
#include "host/agent_nets.h"

#include "vm/spec.h"

#include <arpa/inet.h>

/* "This" network, loopback, link-local (RFC 3927), multicast and what is reserved. */
static bool is_reachable_v4(const struct in_addr *a)
{
    const u32 ip = ntohl(a->s_addr);

    return ip >> 24 != 0 && ip >> 24 != 127 && ip >> 16 != 0xa9fe && ip >> 28 < 14;
}

/* "::" and loopback, link-local (RFC 4291), multicast, IPv4 in other clothes. */
static bool is_reachable_v6(const struct in6_addr *a)
{
    return !IN6_IS_ADDR_UNSPECIFIED(a) && !IN6_IS_ADDR_LOOPBACK(a) && !IN6_IS_ADDR_LINKLOCAL(a) &&
           !IN6_IS_ADDR_MULTICAST(a) && !IN6_IS_ADDR_V4MAPPED(a) && !IN6_IS_ADDR_V4COMPAT(a);
}

static void keep(struct agent_card *c, const char *text, bool v4)
{
    u32 at;

    for (u32 i = 0; i < c->n; i++)
        if (strcmp(c->address[i], text) == 0)
            return;
    at = v4 ? c->n_v4 : c->n;
    if (at == AGENT_CARD_ADDRESSES)
        return;
    c->n = min(c->n + 1, (u32)AGENT_CARD_ADDRESSES); /* the last may fall out */
    memmove(c->address[at + 1], c->address[at], (c->n - 1 - at) * sizeof(c->address[0]));
    str_copy(c->address[at], sizeof(c->address[at]), text);
    c->n_v4 += v4;
}

static void take_address(struct agent_card *c, const json_t *j)
{
    const char *text = json_string_value(json_object_get(j, "ip-address")),
               *type = json_string_value(json_object_get(j, "ip-address-type"));
    const bool v4 = type && strcmp(type, "ipv4") == 0;
    char canonical[AGENT_ADDRESS_TEXT];
    union {
        struct in_addr v4;
        struct in6_addr v6;
    } ip;
    const int family = v4 ? AF_INET : AF_INET6;

    if (!text || !type || (!v4 && strcmp(type, "ipv6") != 0) || inet_pton(family, text, &ip) != 1)
        return;
    if (v4 ? is_reachable_v4(&ip.v4) : is_reachable_v6(&ip.v6))
        keep(c, inet_ntop(family, &ip, canonical, sizeof(canonical)), v4);
}

static struct agent_card *card_of(const json_t *interface, struct agent_card *cards, u32 n)
{
    const char *text = json_string_value(json_object_get(interface, "hardware-address"));
    u8 mac[6];

    if (!text || spec_mac(text, mac) < 0)
        return NULL;
    for (u32 i = 0; i < n; i++)
        if (memcmp(cards[i].mac, mac, sizeof(mac)) == 0)
            return &cards[i];
    return NULL;
}

int agent_nets(const json_t *ret, struct agent_card *cards, u32 n_cards, struct err *e)
{
    const json_t *interface, *address;
    size_t i, k;

    if (!json_is_array(ret))
        return err_set(e, -EBADMSG, "the guest agent does not list its network cards");
    json_array_foreach(ret, i, interface)
    {
        struct agent_card *c = card_of(interface, cards, n_cards);

        if (c)
            json_array_foreach(json_object_get(interface, "ip-addresses"), k, address)
                take_address(c, address);
    }
    return 0;
}
