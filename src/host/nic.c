/*
 * host/nic.c: the cards of instances: no two have the same address or port of the host; a card that runs is a tap on its network.
 */
#include "host/nic.h"

#include "net/link.h"
#include "net/nft.h"
#include "net/pair.h"
#include "net/user.h"

#include <stdlib.h>

/* ---- all cards ---- */

/* Calls fn for the cards of all instances but `self`, until it is not 0. */
static int each_card(const struct host *h, const struct instance *self,
                     int (*fn)(const struct instance *i, const struct vm_net *card, void *arg),
                     void *arg)
{
    int r = 0;

    for (u32 i = 0; i < h->n && r == 0; i++)
        for (u32 k = 0; h->list[i] != self && k < h->list[i]->cfg.spec.nets.n && r == 0; k++)
            r = fn(h->list[i], spec_net(&h->list[i]->cfg.spec, k), arg);
    return r;
}

bool nics_on_network(const struct instance_cfg *c)
{
    for (u32 k = 0; k < c->spec.nets.n; k++)
        if (spec_net(&c->spec, k)->network)
            return true;
    return false;
}

const struct instance *nics_user_locked(const struct host *h, const char *network)
{
    for (u32 i = 0; i < h->n; i++)
        for (u32 k = 0; k < h->list[i]->cfg.spec.nets.n; k++) {
            const char *is = spec_net(&h->list[i]->cfg.spec, k)->network;

            if (is && strcmp(is, network) == 0)
                return h->list[i];
        }
    return NULL;
}

/* ---- MACs ---- */

/* Locally administered, from the instance's UUID and the card's place: the same whenever it is asked. */
static char *derive_mac(const char *uuid, u32 card, u32 attempt)
{
    u64 hash = 0xcbf29ce484222325ull; /* FNV-1a */

    for (const char *p = uuid; *p; p++)
        hash = (hash ^ (u8)*p) * 0x100000001b3ull;
    hash = (hash ^ card) * 0x100000001b3ull;
    hash = (hash ^ attempt) * 0x100000001b3ull;
    return str_new("52:54:%02x:%02x:%02x:%02x", (u8)(hash >> 56), (u8)(hash >> 48),
                   (u8)(hash >> 40), (u8)(hash >> 32));
}

static int has_mac(const struct instance *i [[maybe_unused]], const struct vm_net *card, void *mac)
{
    return card->mac && strcasecmp(card->mac, mac) == 0;
}

static bool mac_is_taken(const struct host *h, const struct instance *self, struct vm_spec *s,
                         u32 card, char *mac)
{
    for (u32 k = 0; k < s->nets.n; k++)
        if (k != card && has_mac(NULL, spec_net(s, k), mac))
            return true;
    return each_card(h, self, has_mac, mac);
}

static int settle_mac(const struct host *h, const struct instance *self, struct instance_cfg *c,
                      u32 card, struct err *e)
{
    struct vm_net *n = spec_net(&c->spec, card);

    if (n->mac && mac_is_taken(h, self, &c->spec, card, n->mac))
        return err_set(e, -EEXIST, "'mac' is %s, which another card has", n->mac);
    for (u32 attempt = 0; !n->mac; attempt++) {
        AUTO(free) char *mac = derive_mac(c->spec.uuid, card, attempt);

        if (!mac_is_taken(h, self, &c->spec, card, mac))
            n->mac = TAKE(mac);
    }
    return 0;
}

/* ---- addresses ---- */

/* Which addresses of a range are taken: a bit each, counted from its first. */
struct taken {
    const char *network;
    u32 first, n;
    u8 *bits;
};

static void take(struct taken *t, const char *address)
{
    struct cidr c;

    if (cidr_parse(address, &c) == 0 && cidr_v4(&c) - t->first < t->n)
        t->bits[(cidr_v4(&c) - t->first) / 8] |= (u8)(1 << (cidr_v4(&c) - t->first) % 8);
}

static int take_card(const struct instance *i [[maybe_unused]], const struct vm_net *card,
                     void *arg)
{
    const struct taken *t = arg;

    if (card->network && card->address && strcmp(card->network, t->network) == 0)
        take(arg, card->address);
    return 0;
}

static bool is_taken(const struct taken *t, u32 k)
{
    return t->bits[k / 8] >> k % 8 & 1;
}

/* The host's own, the network's and everybody's are taken; then those of other cards. */
static void find_taken(const struct host *h, const struct instance *self, const struct vm_spec *s,
                       u32 card, struct taken *t)
{
    t->bits[0] |= 1;
    t->bits[(t->n - 1) / 8] |= 0x80;
    each_card(h, self, take_card, t);
    for (u32 k = 0; k < s->nets.n; k++)
        if (k != card)
            take_card(NULL, spec_net(s, k), t);
}

static int choose_address(struct vm_net *n, const struct cidr *v4, const struct taken *t,
                          struct err *e)
{
    char text[CIDR_TEXT];
    struct cidr c;
    u32 k = 0;

    while (k < t->n && is_taken(t, k))
        k++;
    if (k == t->n)
        return err_set(e, -ENOSPC, "network '%s' has no address left", n->network);
    c = cidr_with_v4(v4, t->first + k);
    cidr_address(&c, text);
    n->address = xdup(text);
    return 0;
}

static int check_address(const struct vm_net *n, const struct cidr *v4, const struct taken *t,
                         struct err *e)
{
    struct cidr c;
    char text[CIDR_TEXT];

    must(cidr_parse(n->address, &c) == 0);
    cidr_text(v4, text);
    if (cidr_v4(&c) - t->first >= t->n)
        return err_set(e, -EINVAL, "'address' is %s; network '%s' is %s", n->address, n->network,
                       text);
    if (is_taken(t, cidr_v4(&c) - t->first))
        return err_set(e, -EEXIST, "'address' is %s, which is taken on network '%s'", n->address,
                       n->network);
    return 0;
}

static int settle_address(const struct host *h, const struct instance *self, struct vm_spec *s,
                          u32 card, const struct network *net, struct err *e)
{
    struct vm_net *n = spec_net(s, card);
    const struct cidr v4 = network_v4(&net->cfg), range = cidr_network(&v4);
    struct taken t = { n->network, cidr_v4(&range), 1u << (32 - v4.bits), NULL };
    char host[CIDR_TEXT];
    int r;

    t.bits = xnew_n(u8, t.n / 8);
    cidr_address(&v4, host);
    take(&t, host);
    find_taken(h, self, s, card, &t);
    r = n->address ? check_address(n, &v4, &t, e) : choose_address(n, &v4, &t, e);
    free(t.bits);
    return r;
}

/* ---- forwards ---- */

static bool same_port(const struct vm_forward *x, const struct vm_forward *y)
{
    struct spec_rule a, b;

    must(spec_forward(x->rule, &a) == 0 && spec_forward(y->rule, &b) == 0);
    return a.udp == b.udp && a.host_port == b.host_port &&
           (a.any || b.any || strcmp(a.address, b.address) == 0);
}

static int has_port(const struct instance *i [[maybe_unused]], const struct vm_net *card, void *arg)
{
    const struct vm_forward *all = card->forward.items;
    const struct vm_forward *mine = arg;

    for (u32 k = 0; card->network && k < card->forward.n; k++)
        if (&all[k] != mine && same_port(&all[k], mine))
            return 1;
    return 0;
}

static int check_forwards(const struct host *h, const struct instance *self,
                          const struct vm_spec *s, u32 card, struct err *e)
{
    const struct vm_net *n = spec_net(s, card);
    struct vm_forward *all = n->forward.items;

    for (u32 k = 0; k < n->forward.n; k++) {
        struct spec_rule f;
        int taken = each_card(h, self, has_port, &all[k]);

        for (u32 i = 0; i < s->nets.n && !taken; i++)
            taken = has_port(NULL, spec_net(s, i), &all[k]);
        if (taken)
            return err_set(e, -EEXIST, "'forward' %s: another card has that port of the host",
                           all[k].rule);
        must(spec_forward(all[k].rule, &f) == 0);
        if (!f.any && str_starts(f.address, "127."))
            return err_set(e, -EINVAL,
                           "'forward' %s: the host's 127.x cannot lead to a network; without an "
                           "address all others of the host do",
                           all[k].rule);
    }
    return 0;
}

/* ---- all of a card ---- */

static int check_kind(const struct vm_net *n, const struct network *net, struct err *e)
{
    const int kind = net->cfg.kind;

    if (kind == NETWORK_USER && (n->address || n->bandwidth_in || n->bandwidth_out || n->spoof))
        return err_set(e, -EINVAL,
                       "'%s' is a user network: its cards have no 'address', 'bandwidth' or "
                       "'spoof' of their own",
                       n->network);
    if (kind != NETWORK_USER && kind != NETWORK_NAT && n->forward.n)
        return err_set(e, -EINVAL, "'forward' is for nat and user networks; '%s' is neither",
                       n->network);
    if (kind == NETWORK_USER && n->queues > 1)
        return err_set(e, -EINVAL, "'queues' is %u; a user network has 1", n->queues);
    return 0;
}

static int settle_card(struct host *h, const struct instance *self, struct instance_cfg *c,
                       u32 card, struct err *e)
{
    struct vm_net *n = spec_net(&c->spec, card);
    const struct network *net;
    int r;

    if (n->kind == SPEC_NET_NONE && !n->network) { /* no card has no address */
        free(TAKE(n->mac));
        return 0;
    }
    r = settle_mac(h, self, c, card, e);
    if (r < 0 || !n->network)
        return r;
    net = network_find_locked(h, n->network);
    if (!net)
        return err_set(e, -ENOENT, "there is no network '%s'", n->network);
    r = check_kind(n, net, e);
    if (r >= 0 && network_is_managed(&net->cfg))
        r = settle_address(h, self, &c->spec, card, net, e);
    if (r >= 0 && net->cfg.kind == NETWORK_NAT)
        r = check_forwards(h, self, &c->spec, card, e);
    return r;
}

/* Each of a container's user networks would give it the same address. */
static int check_user_cards(struct host *h, const struct vm_spec *s, struct err *e)
{
    u32 n = 0;

    for (u32 k = 0; k < s->nets.n; k++) {
        const char *name = spec_net(s, k)->network;
        const struct network *net = name ? network_find_locked(h, name) : NULL;

        n += net ? net->cfg.kind == NETWORK_USER : !name && spec_net(s, k)->kind == SPEC_NET_USER;
    }
    if (n <= 1)
        return 0;
    err_set(e, -EINVAL, "'nets': %u of its cards are on user networks; a container has at most one",
            n);
    return err_field(e, "nets");
}

int nics_settle_locked(struct host *h, const struct instance *self, struct instance_cfg *c,
                       struct err *e)
{
    int r = 0;

    for (u32 k = 0; k < c->spec.nets.n && r >= 0; k++) {
        r = settle_card(h, self, c, k, e);
        if (r < 0) {
            err_wrap(e, "net %u", k);
            err_field(e, "nets");
        }
    }
    if (r >= 0 && c->kind == INSTANCE_OS)
        r = check_user_cards(h, &c->spec, e);
    return r;
}

/* ---- plugging ---- */

void nic_tap_name(const struct instance *i, u32 card, char ret[IFNAMSIZ])
{
    must(str_fmt(ret, IFNAMSIZ, "s%04x%llxn%u", i->host->mark, host_number(i) & 0xfffffff, card));
}

bool nic_is_tap(const struct host *h, const char *name)
{
    char mine[8];

    (void)str_fmt(mine, sizeof(mine), "s%04x", h->mark);
    return str_starts(name, mine) && strlen(name) > 6 && name[strlen(name) - 2] == 'n';
}

/* What is needed of a card and its network while the host's lock is not held. */
struct plug {
    const char *network;
    char tap[IFNAMSIZ], bridge[IFNAMSIZ], why[240];
    char *rules; /* owned; NULL: it is a user network */
    bool up, many;
    char *inner; /* owned; of kind os: the other end's name; NULL: it is a tap */
    u8 mac[6];   /* of that */
};

static void plug_fini(struct plug *p)
{
    free(p->rules);
    free(p->inner);
}

/* Of kind os: "p" in the place of the tap's "n". */
static void set_inner(struct plug *p, const struct vm_net *card)
{
    p->inner = xdup(p->tap);
    *strrchr(p->inner, 'n') = 'p';
    must(card->mac && spec_mac(card->mac, p->mac) == 0); /* nics_settle_locked chose it */
}

/* False: the card is on no network. */
static bool plug_init(struct plug *p, const struct instance *i, u32 k)
{
    const struct vm_net *card = spec_net(&i->cfg.spec, k);
    const struct network *net = card->network ? network_find_locked(i->host, card->network) : NULL;
    char table[32];

    if (!net)
        return false;
    *p = (struct plug){ .network = net->cfg.name, .up = net->up, .many = card->queues > 1 };
    (void)str_copy(p->why, sizeof(p->why), net->why);
    (void)str_copy(p->bridge, sizeof(p->bridge), net->bridge);
    nic_tap_name(i, k, p->tap);
    network_table(i->host, table);
    if (net->cfg.kind != NETWORK_USER)
        p->rules = network_card_rules(table, p->tap, card, &net->cfg);
    if (i->cfg.kind == INSTANCE_OS)
        set_inner(p, card);
    return true;
}

/* A pair ends with the namespace that its inner end is in; one that is there still is of a container that ended just now. */
static int make_pair(struct links *l, const struct plug *p, struct err *e)
{
    struct link was;
    int r = links_find(l, p->tap, &was) ? links_delete(l, &was, e) : 0;

    return r < 0 ? r : pair_add(l, p->tap, p->inner, p->mac, e);
}

static int make_link(struct links *l, const struct plug *p, struct err *e)
{
    struct link tap;
    int r = 0;

    if (p->inner)
        r = make_pair(l, p, e);
    else if (!links_find(l, p->tap, &tap))
        r = links_add_tap(p->tap, p->many, e);
    return r < 0 ? r : links_read(l, e);
}

static int make_card(struct links *l, const struct plug *p, struct err *e)
{
    struct link tap, bridge;
    int r = make_link(l, p, e);

    if (r < 0)
        return r;
    if (!links_find(l, p->tap, &tap) || !links_find(l, p->bridge, &bridge))
        return err_set(e, -ENODEV, "link '%s' or bridge '%s' is gone", p->tap, p->bridge);
    r = nft_run(p->rules, e); /* before it is on the network */
    return r < 0 ? r : links_join(l, &tap, bridge.index, e);
}

static int plug(const struct plug *p, struct err *e)
{
    struct links l = {};
    int r;

    if (!p->up)
        return err_set(e, -ENETDOWN, "network '%s' is not up: %s", p->network, p->why);
    if (!p->rules)
        return 0;
    r = links_open(&l, e);
    if (r >= 0)
        r = make_card(&l, p, e);
    links_close(&l);
    return r;
}

/* The next card of a description that is on a network is the tap, or a user network.  A saved machine's are already. */
static void put_in(struct vm_spec *spec, const struct plug *p)
{
    const struct field *f = conf_field_at(spec_fields, offsetof(struct vm_spec, nets))->sub;
    struct vm_net *n = NULL, was;

    for (u32 k = 0; k < spec->nets.n && !n; k++)
        if (spec_net(spec, k)->network)
            n = spec_net(spec, k);
    if (!n)
        return;
    was = *n;
    conf_defaults(f, n);
    n->mac = TAKE(was.mac);
    if (p->rules) {
        n->kind = SPEC_NET_TAP;
        n->tap = xdup(p->tap);
        n->queues = was.queues;
    } else {
        n->forward = was.forward;
        was.forward = (struct field_list){};
    }
    conf_fini(f, &was);
}

static int plug_card(struct instance *i, u32 k, struct vm_spec *spec, struct err *e)
{
    struct plug p;
    bool on;
    int r;

    host_lock(i->host);
    on = k < i->cfg.spec.nets.n && plug_init(&p, i, k);
    host_unlock(i->host);
    if (!on)
        return 0;
    r = plug(&p, e);
    if (r >= 0)
        put_in(spec, &p);
    plug_fini(&p);
    return r;
}

/* What a container is told of a card: it has no DHCP client of its own, unless it is a whole system. */
static int put_in_os(struct instance *i, u32 k, const struct plug *p, struct os_spec *spec,
                     struct err *e)
{
    const struct field *f = conf_field_at(os_fields, offsetof(struct os_spec, nets));
    const struct vm_net *card = spec_net(&i->cfg.spec, k);
    const struct network *net = network_find_locked(i->host, p->network);
    struct os_net *to = conf_list_add(f, spec);
    char gateway[CIDR_TEXT];
    struct cidr v4;

    if (!to || !net)
        return err_set(e, -EINVAL, "network '%s' is gone", p->network);
    to->link = xdup(p->inner);
    to->mac = xdup(card->mac);
    if (!network_is_managed(&net->cfg) || !card->address)
        return 0;
    v4 = network_v4(&net->cfg);
    cidr_address(&v4, gateway);
    to->address = str_new("%s/%u", card->address, v4.bits);
    if (net->cfg.kind == NETWORK_NAT)
        to->gateway = xdup(gateway);
    if (!spec->dns) {
        spec->dns = xdup(gateway);
        spec->domain = net->cfg.domain ? xdup(net->cfg.domain) : NULL;
    }
    return 0;
}

/* A user network of its own, or one of socled: host/nic.h says the same of machines. */
static int put_in_user(const struct vm_net *card, struct os_spec *spec, struct err *e)
{
    const struct field *nets = conf_field_at(os_fields, offsetof(struct os_spec, nets));
    const struct field *forward = conf_field_at(nets->sub, offsetof(struct os_net, forward));
    const struct vm_forward *rules = card->forward.items;
    struct os_net *to = conf_list_add(nets, spec);

    if (!to)
        return err_set(e, -E2BIG, "'nets' has more than %u elements", nets->list_max);
    to->mac = xdup(card->mac);
    to->address = xdup(USER_NET_ADDRESS);
    to->gateway = xdup(USER_NET_ROUTER);
    for (u32 i = 0; i < card->forward.n; i++)
        if (!conf_strs_add(forward, to, rules[i].rule))
            return err_set(e, -E2BIG, "'forward' has more than %u elements", forward->list_max);
    if (!spec->dns)
        spec->dns = xdup(USER_NET_NAMES);
    return 0;
}

/* What the card is, in `spec`; and in `p`, when it is on a network. */
static int plan_card_os(struct instance *i, u32 k, struct plug *p, struct os_spec *spec,
                        struct err *e)
{
    if (k >= i->cfg.spec.nets.n || spec_net(&i->cfg.spec, k)->kind == SPEC_NET_NONE)
        return 0;
    return plug_init(p, i, k) && p->rules ? put_in_os(i, k, p, spec, e)
                                          : put_in_user(spec_net(&i->cfg.spec, k), spec, e);
}

static int plug_card_os(struct instance *i, u32 k, struct os_spec *spec, struct err *e)
{
    struct plug p = {};
    int r;

    host_lock(i->host);
    r = plan_card_os(i, k, &p, spec, e);
    host_unlock(i->host);
    if (r >= 0 && p.network)
        r = plug(&p, e);
    plug_fini(&p);
    return r;
}

/* What plugs one of an instance's cards, for each of them. */
static int plug_all(struct instance *i, struct vm_spec *spec, struct os_spec *os, struct err *e)
{
    struct host *h = i->host;
    bool on;
    int r = 0;

    host_lock(h);
    on = nics_on_network(&i->cfg);
    host_unlock(h);
    if (!on && !os)
        return 0;
    pthread_mutex_lock(&h->nets.lock);
    if (on)
        (void)network_apply_locked(h, NULL, NULL); /* each network says how it is */
    for (u32 k = 0; k < SPEC_NETS_MAX && r >= 0; k++)
        r = os ? plug_card_os(i, k, os, e) : plug_card(i, k, spec, e);
    pthread_mutex_unlock(&h->nets.lock);
    return r < 0 ? err_wrap(e, "its network cards") : 0;
}

int nics_plug(struct instance *i, struct vm_spec *spec, struct err *e)
{
    return plug_all(i, spec, NULL, e);
}

int nics_plug_os(struct instance *i, struct os_spec *spec, struct err *e)
{
    return plug_all(i, NULL, spec, e);
}
