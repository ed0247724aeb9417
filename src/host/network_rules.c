/*
 * host/network_rules.c: the commands for the packet filter (libnftables-json(5), written with ' in place of ").
 *   (1) Two tables are ours: "inet" has what networks need, "netdev" two chains for each tap, at its two ends.  Both are made anew
 *       in one transaction, so no packet sees half of them.
 *   (2) What a user wrote stands here only after its row allowed it: names, addresses and numbers without quotes.
 */
#include "host/host.h"
#include "host/nic.h"

#include <stdlib.h>

enum {
    BURST_MIN = 128 * 1024,         /* a segment that is cut later has up to 64 KiB */
    BURST_MAX = 1024 * 1024 * 1024, /* the kernel counts it in 32 bits */
    BURST_PART = 8,                 /* of a second */
};

#define MATCH(op, left, right) "{'match': {'op': '" op "', 'left': " left ", 'right': " right "}}, "
#define META(key)              "{'meta': {'key': '" key "'}}"
#define PAYLOAD(of, field)     "{'payload': {'protocol': '" of "', 'field': '" field "'}}"
#define CT(key)                "{'ct': {'key': '" key "'}}"
#define PREFIX                 "{'prefix': {'addr': '%s', 'len': %u}}"
#define FROM(ifname)           MATCH("==", META("iifname"), ifname)
#define TO(ifname)             MATCH("==", META("oifname"), ifname)
#define PROTOCOL(name)         MATCH("==", META("protocol"), "'" name "'")
#define FORWARDED              MATCH("in", CT("status"), "'dnat'")
#define ACCEPT                 "{'accept': null}"
#define DROP                   "{'counter': null}, {'drop': null}"
#define MASQUERADE             "{'masquerade': null}"
#define ANSWERS                MATCH("==", CT("state"), "{'set': ['established', 'related']}")
#define PORT(protocol, end)    MATCH("==", PAYLOAD(protocol, end), "%u")

static void begin(struct strbuf *b)
{
    strbuf_add(b, "{'nftables': [");
}

static void table(struct strbuf *b, const char *verb, const char *family, const char *name)
{
    strbuf_add(b, "{'%s': {'table': {'family': '%s', 'name': '%s'}}}, ", verb, family, name);
}

static char *end(struct strbuf *b)
{
    strbuf_add(b, "{'metainfo': {'json_schema_version': 1}}]}");
    for (char *p = b->text; *p; p++)
        if (*p == '\'')
            *p = '"';
    return TAKE(b->text);
}

/* What all rules of one table share. */
struct rules {
    struct strbuf *to;
    const char *family, *table;
};

static void rule(const struct rules *r, const char *chain, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

static void rule(const struct rules *r, const char *chain, const char *fmt, ...)
{
    char expr[2048];
    va_list ap;
    int n;

    va_start(ap, fmt);
    n = vsnprintf(expr, sizeof(expr), fmt, ap);
    va_end(ap);
    must(n > 0 && (size_t)n < sizeof(expr));
    strbuf_add(r->to,
               "{'add': {'rule': {'family': '%s', 'table': '%s', 'chain': '%s', 'expr': [%s]}}}, ",
               r->family, r->table, chain, expr);
}

void network_table(const struct host *h, char ret[32])
{
    if (strcmp(h->dir, HOST_DIR_ROOT) == 0)
        (void)str_copy(ret, 32, "socle");
    else
        (void)str_fmt(ret, 32, "socle_%04x", h->mark);
}

/* ---- networks ---- */

static void chains(const struct rules *r)
{
    static const struct {
        const char *name, *type, *hook;
        int priority;
    } rows[] = {
        { "input", "filter", "input", 0 },
        { "forward", "filter", "forward", 0 },
        { "prerouting", "nat", "prerouting", -100 },
        { "output", "nat", "output", -100 },
        { "postrouting", "nat", "postrouting", 100 },
    };

    for_each_row(row, rows)
        strbuf_add(r->to,
                   "{'add': {'chain': {'family': '%s', 'table': '%s', 'name': '%s', 'type': '%s', "
                   "'hook': '%s', 'prio': %d, 'policy': 'accept'}}}, ",
                   r->family, r->table, row->name, row->type, row->hook, row->priority);
}

/* Out under the host's address; in only answers, and what a forward leads in. */
static void nat(const struct rules *r, const char *name)
{
    rule(r, "forward", TO("'%s'") ANSWERS ACCEPT, name);
    rule(r, "forward", TO("'%s'") FORWARDED ACCEPT, name);
    rule(r, "forward", MATCH("!=", META("iifname"), "'%s'") TO("'%s'") DROP, name, name);
}

static void nat_range(const struct rules *r, const struct cidr *range)
{
    const struct cidr net = cidr_network(range);
    const char *ip = range->family == AF_INET ? "ip" : "ip6";
    char text[CIDR_TEXT];

    cidr_address(&net, text);
    rule(r, "postrouting",
         MATCH("==", PAYLOAD("%s", "saddr"), PREFIX) MATCH("!=", PAYLOAD("%s", "daddr"), PREFIX)
             MASQUERADE,
         ip, text, net.bits, ip, text, net.bits);
    /* from the network to a port of the host that leads back into it: the answer must come by the host, too */
    rule(r, "postrouting",
         FORWARDED MATCH("==", PAYLOAD("%s", "saddr"), PREFIX)
             MATCH("==", PAYLOAD("%s", "daddr"), PREFIX) MASQUERADE,
         ip, text, net.bits, ip, text, net.bits);
}

/* Of the host, its name service only; nowhere else. */
static void isolated(const struct rules *r, const char *name)
{
    static const struct {
        const char *protocol;
        u32 port;
    } services[] = { { "udp", 53 }, { "tcp", 53 }, { "udp", 67 }, { "udp", 547 } };

    for_each_row(s, services)
        rule(r, "input", FROM("'%s'") PORT("%s", "dport") ACCEPT, name, s->protocol, s->port);
    rule(r, "input",
         FROM("'%s'") MATCH("==", META("l4proto"), "{'set': ['icmp', 'ipv6-icmp']}") ACCEPT, name);
    rule(r, "input", FROM("'%s'") ANSWERS ACCEPT, name);
    rule(r, "input", FROM("'%s'") DROP, name);
    rule(r, "forward", FROM("'%s'") MATCH("!=", META("oifname"), "'%s'") DROP, name, name);
    rule(r, "forward", TO("'%s'") MATCH("!=", META("iifname"), "'%s'") DROP, name, name);
}

static void network(const struct rules *r, const struct network_cfg *c)
{
    const struct cidr v4 = network_v4(c), v6 = network_v6(c);

    if (c->kind == NETWORK_ISOLATED)
        isolated(r, c->name);
    if (c->kind != NETWORK_NAT)
        return;
    nat(r, c->name);
    nat_range(r, &v4);
    if (v6.family)
        nat_range(r, &v6);
}

/* A port of the host, at all its addresses but 127.x or at one, leads to the card's. */
static void forward(const struct rules *r, const char *chain, const struct spec_rule *f,
                    const char *address)
{
    const char *protocol = f->udp ? "udp" : "tcp";

    if (f->any)
        rule(r, chain,
             MATCH("==", "{'fib': {'result': 'type', 'flags': ['daddr']}}", "'local'")
                 MATCH("!=", PAYLOAD("ip", "daddr"), "{'prefix': {'addr': '127.0.0.0', 'len': 8}}")
                     PORT("%s", "dport") "{'dnat': {'family': 'ip', 'addr': '%s', 'port': %u}}",
             protocol, f->host_port, address, f->guest_port);
    else
        rule(r, chain,
             MATCH("==", PAYLOAD("ip", "daddr"), "'%s'")
                 PORT("%s", "dport") "{'dnat': {'family': 'ip', 'addr': '%s', 'port': %u}}",
             f->address, protocol, f->host_port, address, f->guest_port);
}

static void card_forwards(const struct rules *r, const struct vm_net *card)
{
    const struct vm_forward *all = card->forward.items;

    for (u32 i = 0; i < card->forward.n; i++) {
        struct spec_rule f;

        must(spec_forward(all[i].rule, &f) == 0);
        forward(r, "prerouting", &f, card->address);
        forward(r, "output", &f, card->address);
    }
}

/* Forwards lead to machines that run, so that a port of the host is the host's while it does not.  Is there a tap? */
static bool cards(struct host *h, const struct rules *r)
{
    bool any = false;

    for (u32 i = 0; i < h->n; i++)
        for (u32 k = 0; host_is_alive(h->list[i]) && k < h->list[i]->cfg.spec.nets.n; k++) {
            const struct vm_net *card = spec_net(&h->list[i]->cfg.spec, k);
            const struct network *n = card->network ? network_find_locked(h, card->network) : NULL;

            any |= n && n->cfg.kind != NETWORK_USER;
            if (n && n->cfg.kind == NETWORK_NAT && card->address)
                card_forwards(r, card);
        }
    return any;
}

char *network_rules_locked(struct host *h)
{
    struct strbuf b = {};
    char name[32];
    const struct rules r = { &b, "inet", name };
    bool any = false;

    network_table(h, name);
    begin(&b);
    table(&b, "add", "inet", name); /* or it could not be deleted */
    table(&b, "delete", "inet", name);
    for (u32 i = 0; i < h->nets.n; i++)
        any |= network_is_managed(&h->nets.list[i]->cfg);
    if (any) {
        table(&b, "add", "inet", name);
        chains(&r);
        for (u32 i = 0; i < h->nets.n; i++)
            network(&r, &h->nets.list[i]->cfg);
    }
    table(&b, "add", "netdev", name);
    if (!cards(h, &r))
        table(&b, "delete", "netdev", name);
    return end(&b);
}

/* ---- cards ---- */

/* A chain with its rules is deleted; that of a link that is gone may be gone, so it is made before. */
static void drop_chain(const struct rules *r, const char *way, const char *tap)
{
    static const char *const verbs[] = { "add", "flush", "delete" };

    for_each_row(v, verbs)
        strbuf_add(r->to,
                   "{'%s': {'chain': {'family': 'netdev', 'table': '%s', 'name': '%s_%s'}}}, ", *v,
                   r->table, way, tap);
}

static void add_chain(const struct rules *r, const char *way, const char *tap)
{
    strbuf_add(r->to,
               "{'add': {'chain': {'family': 'netdev', 'table': '%s', 'name': '%s_%s', 'type': "
               "'filter', 'hook': '%s', 'dev': '%s', 'prio': 0, 'policy': 'accept'}}}, ",
               r->table, way, tap, strcmp(way, "from") == 0 ? "ingress" : "egress", tap);
}

static void limit(const struct rules *r, const char *chain, u64 rate)
{
    const u64 burst = min(max(rate / BURST_PART, (u64)BURST_MIN), (u64)BURST_MAX);

    if (rate)
        rule(r, chain,
             "{'limit': {'rate': %llu, 'rate_unit': 'bytes', 'per': 'second', 'burst': %llu, "
             "'burst_unit': 'bytes', 'inv': true}}, " DROP,
             rate, burst);
}

/* A card speaks under its own addresses only, and is nobody's server of addresses. */
static void own_address(const struct rules *r, const char *chain, const struct vm_net *card)
{
    rule(r, chain, MATCH("!=", PAYLOAD("ether", "saddr"), "'%s'") DROP, card->mac);
    rule(r, chain, MATCH("!=", PAYLOAD("arp", "saddr ether"), "'%s'") DROP, card->mac);
    rule(r, chain, PROTOCOL("ip") MATCH("==", PAYLOAD("udp", "sport"), "67") DROP);
    rule(r, chain, PROTOCOL("ip6") MATCH("==", PAYLOAD("udp", "sport"), "547") DROP);
    rule(r, chain, MATCH("==", PAYLOAD("icmpv6", "type"), "'nd-router-advert'") DROP);
    if (!card->address)
        return;
    rule(r, chain, MATCH("!=", PAYLOAD("arp", "saddr ip"), "{'set': ['0.0.0.0', '%s']}") DROP,
         card->address);
    rule(r, chain, MATCH("!=", PAYLOAD("ip", "saddr"), "{'set': ['0.0.0.0', '%s']}") DROP,
         card->address);
}

/* Addresses of IPv6 a guest may choose itself, of its network's range. */
static void own_range(const struct rules *r, const char *chain, const struct network_cfg *net)
{
    const struct cidr v6 = network_v6(net), range = cidr_network(&v6);
    char more[CIDR_TEXT + 64] = "", text[CIDR_TEXT];

    if (v6.family) {
        cidr_address(&range, text);
        (void)str_fmt(more, sizeof(more), ", " PREFIX, text, range.bits);
    }
    rule(r, chain,
         MATCH("!=", PAYLOAD("ip6", "saddr"),
               "{'set': ['::', {'prefix': {'addr': 'fe80::', 'len': 64}}%s]}") DROP,
         more);
    rule(r, chain, MATCH("!=", META("protocol"), "{'set': ['ip', 'ip6', 'arp']}") DROP);
}

char *network_card_rules(const char *table_name, const char *tap, const struct vm_net *card,
                         const struct network_cfg *net)
{
    struct strbuf b = {};
    const struct rules r = { &b, "netdev", table_name };
    char from[32], to[32];

    (void)str_fmt(from, sizeof(from), "from_%s", tap);
    (void)str_fmt(to, sizeof(to), "to_%s", tap);
    begin(&b);
    table(&b, "add", "netdev", table_name);
    drop_chain(&r, "from", tap);
    drop_chain(&r, "to", tap);
    if (!card)
        return end(&b);
    add_chain(&r, "from", tap);
    if (!card->spoof) {
        own_address(&r, from, card);
        if (network_is_managed(net))
            own_range(&r, from, net);
    }
    limit(&r, from, card->bandwidth_out);
    if (card->bandwidth_in) {
        add_chain(&r, "to", tap);
        limit(&r, to, card->bandwidth_in);
    }
    return end(&b);
}
