/*
 * dev/virtio/net.c: the virtio network card: configuration, backend, when its queues are served.  (virtio 1.2, section 5.1)
 * Queue 2i receives and 2i + 1 transmits for pair i, the control queue follows the last pair that was negotiated.  One I/O
 * thread serves them all.
 */
#include "dev/virtio/net_internal.h"
#include "net/tap.h"
#include "net/user.h"

#include <stdlib.h>
#include <sys/mman.h>
#include <sys/random.h>

enum { NET_QUEUE_SIZE = VQ_SIZE_MAX, MTU_MIN = 68 /* RFC 791 */ };

static int net_after_load(void *obj, struct err *e)
{
    const struct net_state *s = obj;

    if (s->pairs < 1 || s->pairs > NET_PAIRS_MAX)
        return err_set(e, -EBADMSG, "%u queue pairs are used; 1 to %d can be", s->pairs,
                       NET_PAIRS_MAX);
    if (s->offloads & ~NET_F_GUEST_ALL || s->mac[0] & 1)
        return err_set(e, -EBADMSG, "offloads 0x%llx, or a multicast address", s->offloads);
    return 0;
}
STATE_TABLE(net_state, NET_STATE, .after_load = net_after_load);

static struct net *net_of(struct device *d)
{
    return container_of(vdev_of(d), struct net, v);
}

/* ---- no cable ---- */

static int none_start(struct net_backend *, struct loop *, const struct net_sink *)
{
    return 0;
}

static void none_nothing(struct net_backend *)
{
}

static void none_watch(struct net_backend *, u16, bool)
{
}

static ssize_t none_recv(struct net_backend *, u16, const struct iovec *, u32)
{
    return -EAGAIN;
}

static ssize_t none_send(struct net_backend *, u16, const struct iovec *, u32)
{
    return -ENETDOWN;
}

static int none_offloads(struct net_backend *, u32)
{
    return 0;
}

static int none_use_pairs(struct net_backend *, u16)
{
    return 0;
}

static void none_free(struct net_backend *b)
{
    free(b);
}

static const struct net_backend_ops none_ops = {
    .start = none_start,
    .stop = none_nothing,
    .watch = none_watch,
    .recv = none_recv,
    .send = none_send,
    .offloads = none_offloads,
    .use_pairs = none_use_pairs,
    .free = none_free,
};

/* ---- offloads ---- */

/* clang-format off */
static const struct {
    u64 host, guest; /* features: what the guest may leave to us, what it takes */
    u32 backend;
} offload_rows[] = {
    { NET_F_CSUM,      NET_F_GUEST_CSUM, NET_CSUM },
    { NET_F_HOST_TSO4, NET_F_GUEST_TSO4, NET_TSO4 },
    { NET_F_HOST_TSO6, NET_F_GUEST_TSO6, NET_TSO6 },
    { NET_F_HOST_ECN,  NET_F_GUEST_ECN,  NET_ECN },
    { NET_F_HOST_UFO,  NET_F_GUEST_UFO,  NET_UFO },
};
/* clang-format on */

static u64 offered(const struct net *n, u16 mtu)
{
    u64 f = NET_F_MAC | NET_F_MRG_RXBUF | NET_F_STATUS | NET_F_CTRL_VQ | NET_F_CTRL_RX |
            NET_F_CTRL_RX_EXTRA | NET_F_CTRL_MAC_ADDR;

    for_each_row(r, offload_rows)
        if (n->b->offloads & r->backend)
            f |= r->host | r->guest;
    if (n->b->offloads)
        f |= NET_F_CTRL_GUEST_OFFLOADS;
    if (n->n_pairs > 1)
        f |= NET_F_MQ;
    return mtu ? f | NET_F_MTU : f;
}

int net_apply(struct net *n)
{
    u32 set = 0;
    int r;

    for_each_row(row, offload_rows)
        if (n->st.offloads & row->guest)
            set |= row->backend;
    if (!(set & NET_CSUM)) /* 5.1.3.1: the others need it */
        set = 0;
    if (!(set & (NET_TSO4 | NET_TSO6)))
        set &= ~(u32)NET_ECN;
    r = net_offloads(n->b, set);
    return r < 0 ? r : net_use_pairs(n->b, n->st.pairs);
}

void net_watch_pairs(struct net *n)
{
    for (u16 i = 0; i < n->n_open; i++) {
        struct net_pair *p = &n->pairs[i];

        net_watch(n->b, i, i < n->st.pairs && p->rx_vq->started && !p->starved);
    }
}

/* ---- events on the I/O thread ---- */

static void on_readable(void *arg, u16 pair)
{
    struct net *n = arg;

    net_rx(&n->pairs[pair]);
}

static void on_rx_kick(struct loop_fd *f, int)
{
    struct net_pair *p = f->arg;

    fd_event_take(p->n->v.kick[2 * p->index]);
    if (!p->starved || p->n->broken)
        return;
    p->starved = false;
    vq_kicks(p->rx_vq, false);
    net_rx(p); /* a frame may be pending */
    net_watch_pairs(p->n);
}

static void on_tx_kick(struct loop_fd *f, int)
{
    struct net_pair *p = f->arg;

    fd_event_take(p->n->v.kick[2 * p->index + 1]);
    net_tx(p);
}

static void on_ctrl_kick(struct loop_fd *f, int)
{
    struct net *n = f->arg;

    fd_event_take(n->v.kick[n->ctrl_vq - n->v.q]);
    net_ctrl(n);
}

/* ---- start and stop of the queues: from a vCPU, dev.lock held ---- */

static void close_queues(void *arg)
{
    struct net *n = arg;

    for (u16 i = 0; i < n->n_open; i++) {
        struct net_pair *p = &n->pairs[i];

        net_watch(n->b, i, false);
        loop_fd_close(&p->rx_kick);
        loop_fd_close(&p->tx_kick);
        net_rx_let_go(p);
    }
    loop_fd_close(&n->ctrl_kick);
    n->n_open = 0;
}

static int open_pair(struct net_pair *p)
{
    struct vdev *v = &p->n->v;
    u32 rx = 2u * p->index, tx = rx + 1;
    int r = 0;

    if (p->rx_vq->started) {
        vq_kicks(p->rx_vq, false);
        r = loop_fd_open(&p->n->loop, &p->rx_kick, v->kick[rx], UV_READABLE, on_rx_kick, p);
    }
    if (r == 0 && p->tx_vq->started)
        r = loop_fd_open(&p->n->loop, &p->tx_kick, v->kick[tx], UV_READABLE, on_tx_kick, p);
    return r;
}

struct open_args {
    struct net *n;
    int r;
};

static void open_queues(void *arg)
{
    struct open_args *a = arg;
    struct net *n = a->n;
    u16 pairs = vdev_has(&n->v, NET_F_MQ) ? n->n_pairs : 1; /* 5.1.2 */
    u32 ctrl = 2u * pairs;

    n->broken = false;
    a->r = net_apply(n);
    while (a->r == 0 && n->n_open < pairs)
        a->r = open_pair(&n->pairs[n->n_open++]);
    n->ctrl_vq = &n->v.q[ctrl];
    if (a->r == 0 && n->ctrl_vq->started && vdev_has(&n->v, NET_F_CTRL_VQ))
        a->r = loop_fd_open(&n->loop, &n->ctrl_kick, n->v.kick[ctrl], UV_READABLE, on_ctrl_kick, n);
    if (a->r < 0)
        close_queues(n);
    else
        net_watch_pairs(n);
}

static u16 status_of(const struct net *n)
{
    return (u16)le_load(n->v.st.config + CFG_STATUS, 2);
}

static int net_activate(struct vdev *v, struct err *e)
{
    struct net *n = container_of(v, struct net, v);
    struct open_args a = { .n = n };

    if (n->st.pairs > n->n_pairs)
        return err_set(e, -EINVAL, "%u queue pairs are used; this card has %u", n->st.pairs,
                       n->n_pairs);
    atomic_store(&n->link, status_of(n) & NET_STATUS_LINK_UP);
    if (!n->resuming)
        n->st.offloads = NET_F_GUEST_ALL;
    n->st.offloads &= v->st.driver_features;
    loop_call(&n->loop, open_queues, &a);
    return a.r < 0 ? err_code(e, a.r, "serve the queues") : 0;
}

static void net_deactivate(struct vdev *v)
{
    struct net *n = container_of(v, struct net, v);

    loop_call(&n->loop, close_queues, n);
}

static void net_vdev_reset(struct vdev *v)
{
    struct net *n = container_of(v, struct net, v);

    n->st.pairs = 1;
    n->st.offloads = 0;
    n->st.rx_mode = 0;
    pthread_mutex_lock(&v->fn.irq_lock);
    memcpy(v->st.config + CFG_MAC, n->st.mac, sizeof(n->st.mac));
    memcpy(v->config_fresh + CFG_MAC, n->st.mac, sizeof(n->st.mac));
    pthread_mutex_unlock(&v->fn.irq_lock);
}

/* Address and link come with the guest; the shape of the card does not. */
static int net_vdev_loaded(struct vdev *v, const u8 *was, struct err *e)
{
    u16 status = (u16)le_load(v->st.config + CFG_STATUS, 2);

    if (memcmp(v->st.config + CFG_MAX_PAIRS, was + CFG_MAX_PAIRS, CFG_LEN - CFG_MAX_PAIRS) != 0)
        return err_set(e, -EBADMSG, "a card with %u queue pairs and an MTU of %u",
                       (u16)le_load(v->st.config + CFG_MAX_PAIRS, 2),
                       (u16)le_load(v->st.config + CFG_MTU, 2));
    if (status & ~NET_STATUS_LINK_UP || v->st.config[CFG_MAC] & 1)
        return err_set(e, -EBADMSG, "link status 0x%x or a multicast address", status);
    return 0;
}

static const struct vdev_def net_vdef = {
    .type = VIRTIO_NET,
    .class_code = 0x020000, /* network, Ethernet */
    .queue_size = NET_QUEUE_SIZE,
    .activate = net_activate,
    .deactivate = net_deactivate,
    .reset = net_vdev_reset,
    .loaded = net_vdev_loaded,
};

/* ---- the device ---- */

static bool mac_parse(const char *s, u8 ret[ETH_ALEN])
{
    u8 mac[ETH_ALEN];

    if (strlen(s) != 3 * ETH_ALEN - 1)
        return false;
    for (u32 i = 0; i < ETH_ALEN; i++) {
        char hex[5] = { '0', 'x', s[3 * i], s[3 * i + 1] };
        u64 v;

        if ((i > 0 && s[3 * i - 1] != ':') || str_u64(hex, &v) < 0 || v > UINT8_MAX)
            return false;
        mac[i] = (u8)v;
    }
    if (mac[0] & 1)
        return false;
    memcpy(ret, mac, sizeof(mac));
    return true;
}

static int pick_mac(struct net *n, const char *text, struct err *e)
{
    static const u8 local[] = { 0x52, 0x54, 0x00 };

    if (text)
        return mac_parse(text, n->st.mac) ? 0 : err_set(e, -EINVAL, "'mac' is '%.40s'", text);
    memcpy(n->st.mac, local, sizeof(local));
    if (getrandom(n->st.mac + sizeof(local), ETH_ALEN - sizeof(local), 0) < 0)
        return err_errno(e, "choose an address");
    return 0;
}

static int open_user(struct net *n, const struct net_cfg *cfg, struct err *e)
{
    const struct net_forward_cfg *rules = cfg->forward.items;
    AUTO(free) struct user_forward *f = xnew_n(struct user_forward, cfg->forward.n + 1);
    const struct user_cfg uc = { f, cfg->forward.n, cfg->isolated };

    for (u32 i = 0; i < cfg->forward.n; i++) {
        int r = user_forward_parse(rules[i].rule, &f[i], e);

        if (r < 0)
            return r;
    }
    return user_open(&uc, &n->b, e);
}

static int open_backend(struct net *n, const struct net_cfg *cfg, struct err *e)
{
    bool named = cfg->kind == NET_TAP && cfg->ifname;

    if (n->n_pairs > 1 && !named)
        return err_set(e, -EINVAL, "'queues' is %u; only taps with a name have more than 1",
                       n->n_pairs);
    if (cfg->kind == NET_USER)
        return open_user(n, cfg, e);
    if (named)
        return tap_open(cfg->ifname, n->n_pairs, &n->b, e);
    if (cfg->kind == NET_TAP && cfg->fd)
        return tap_given((int)cfg->fd, &n->b, e);
    if (cfg->kind == NET_TAP)
        return err_set(e, -EINVAL, "'ifname' or 'fd' is missing");
    n->b = xnew(struct net_backend);
    n->b->ops = &none_ops;
    n->b->pairs = 1;
    return 0;
}

static int open_pairs(struct net *n, struct err *e)
{
    void *at = mmap(NULL, n->n_pairs * sizeof(struct net_pair), PROT_READ | PROT_WRITE,
                    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    if (at == MAP_FAILED)
        return err_errno(e, "memory for %u queue pairs", n->n_pairs);
    n->pairs = at;
    for (u16 i = 0; i < n->n_pairs; i++) {
        n->pairs[i].n = n;
        n->pairs[i].index = i;
        n->pairs[i].rx_vq = &n->v.q[2 * i];
        n->pairs[i].tx_vq = &n->v.q[2 * i + 1];
    }
    return 0;
}

static void fill_config(struct net *n, const struct net_cfg *cfg)
{
    u8 *c = n->v.st.config;

    memcpy(c + CFG_MAC, n->st.mac, sizeof(n->st.mac));
    le_store(c + CFG_STATUS, 2, cfg->kind == NET_NONE ? 0 : NET_STATUS_LINK_UP);
    le_store(c + CFG_MAX_PAIRS, 2, n->n_pairs);
    le_store(c + CFG_MTU, 2, cfg->mtu);
    n->v.config_len = CFG_LEN;
}

static void stop_backend(void *arg)
{
    net_stop(((struct net *)arg)->b);
}

/* Also of a half-built one. */
static void release(struct net *n)
{
    if (n->b && n->loop.name)
        loop_call(&n->loop, stop_backend, n);
    loop_fini(&n->loop);
    net_free(n->b);
    if (n->pairs)
        munmap(n->pairs, n->n_pairs * sizeof(struct net_pair));
}

static int build(struct net *n, const struct net_cfg *cfg, struct err *e)
{
    const struct net_sink sink = { .readable = on_readable, .arg = n };
    struct device *d = &n->v.fn.dev;
    int r = pick_mac(n, cfg->mac, e);

    n->n_pairs = cfg->queues ? cfg->queues : 1;
    n->st.pairs = 1;
    if (r == 0)
        r = open_pairs(n, e);
    if (r == 0)
        r = open_backend(n, cfg, e);
    if (r < 0)
        return r;
    r = loop_init(&n->loop, d->name);
    if (r < 0)
        return err_code(e, r, "make a loop");
    r = net_start(n->b, &n->loop, &sink);
    if (r < 0)
        return err_code(e, r, "watch the host's side");
    if (cfg->mtu && cfg->mtu < MTU_MIN)
        return err_set(e, -EINVAL, "'mtu' is %u; %d and more, or 0", cfg->mtu, MTU_MIN);
    fill_config(n, cfg);
    r = vdev_start(&n->v, &net_vdef, offered(n, cfg->mtu), (u16)(2 * n->n_pairs + 1), e);
    if (r < 0)
        return r;
    r = machine_io_start(d->machine, &n->loop, cfg->kind == NET_USER ? IO_SOCKETS : IO_FILES);
    if (r < 0) {
        vdev_stop(&n->v);
        return err_code(e, r, "start an I/O thread");
    }
    return 0;
}

static int net_dev_start(struct device *d, const void *cfg, struct err *e)
{
    struct net *n = net_of(d);
    int r = build(n, cfg, e);

    if (r < 0)
        release(n);
    return r;
}

static void net_dev_stop(struct device *d)
{
    vdev_stop(vdev_of(d));
    release(net_of(d));
}

static void net_dev_reset(struct device *d)
{
    vdev_reset(vdev_of(d));
}

static void net_dev_pause(struct device *d)
{
    vdev_pause(vdev_of(d));
}

static void net_dev_resume(struct device *d)
{
    struct net *n = net_of(d);

    n->resuming = true; /* what the driver changed since DRIVER_OK holds */
    vdev_resume(&n->v);
    n->resuming = false;
}

void net_link_set(struct device *d, bool up)
{
    struct net *n = net_of(d);
    u8 status[2] = { up ? NET_STATUS_LINK_UP : 0 };

    atomic_store(&n->link, up);
    vdev_config_set(&n->v, CFG_STATUS, status, sizeof(status));
}

void net_mac_set(struct device *d, const u8 mac[6])
{
    pthread_mutex_lock(&d->lock);
    memcpy(net_of(d)->st.mac, mac, ETH_ALEN);
    pthread_mutex_unlock(&d->lock);
}

static void net_stats(struct device *d, void (*put)(void *arg, const char *name, u64 value),
                      void *arg)
{
#define X(name) #name,
    static const char *const names[] = { NET_STATS(X) };
#undef X
    struct net *n = net_of(d);

    for (u32 s = 0; s < STATS; s++) {
        u64 sum = s == STAT_rx_drops ? atomic_load(&n->b->dropped) : 0;

        for (u16 i = 0; i < n->n_pairs; i++)
            sum += atomic_load_explicit(&n->pairs[i].stats[s], memory_order_relaxed);
        put(arg, names[s], sum);
    }
}

static bool mac_ok(const char *s)
{
    u8 mac[ETH_ALEN];

    return mac_parse(s, mac);
}

static bool rule_ok(const char *s)
{
    struct user_forward f;

    return user_forward_parse(s, &f, NULL) == 0;
}

static bool ifname_ok(const char *s)
{
    return *s && strlen(s) < 16; /* IFNAMSIZ */
}

static const char *const net_kinds[] = { "user", "tap", "none", NULL };

/* clang-format off */
static const struct field forward_fields[] = {
    FIELD_STR(net_forward_cfg, rule, "tcp|udp:[ADDRESS:]HOST_PORT:GUEST_PORT", .required = true, .first = true,
              .ok = rule_ok, .want = "tcp or udp:[IPv4 address:]host port:guest port"),
    {},
};

const struct field net_fields[] = {
    FIELD_ENUM(net_cfg, kind, net_kinds, "our own stack, a host interface, or no cable", .first = true),
    FIELD_STR(net_cfg, ifname, "tap: the host's interface", .metavar = "NAME", .ok = ifname_ok,
              .want = "an interface name of 1 to 15 characters"),
    FIELD_INT(net_cfg, fd, "tap: an open queue or a unix socket instead of `ifname`; 0: none", .max = 65535),
    FIELD_STR(net_cfg, mac, "the guest's address", .metavar = "MAC", .ok = mac_ok,
              .want = "six pairs of hex digits of a unicast address, as 52:54:00:12:34:56"),
    FIELD_INT(net_cfg, queues, "tap: queue pairs", .dflt = 1, .min = 1, .max = NET_PAIRS_MAX),
    FIELD_LIST(net_cfg, forward, forward_fields, net_forward_cfg, 64, "user: host ports that lead to the guest"),
    FIELD_BOOL(net_cfg, isolated, "user: the guest cannot reach the host's own services at 10.0.2.2"),
    FIELD_INT(net_cfg, mtu, "largest packet that the guest is told to send; 0: nothing is said", .max = UINT16_MAX),
    {},
};
/* clang-format on */

const struct device_def virtio_net_def = {
    .name = "virtio-net",
    .doc = "virtio network card",
    .size = sizeof(struct net),
    .fields = net_fields,
    .cfg_size = sizeof(struct net_cfg),
    .parts = { VDEV_PARTS(net, v), STATE_PART(net, st, net_state) },
    .start = net_dev_start,
    .stop = net_dev_stop,
    .reset = net_dev_reset,
    .pause = net_dev_pause,
    .resume = net_dev_resume,
    .stats = net_stats,
};
