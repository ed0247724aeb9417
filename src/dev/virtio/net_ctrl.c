/*
 * dev/virtio/net_ctrl.c: what a driver asks of a virtio network card on its control queue.  (virtio 1.2, section 5.1.6.5)
 */
#include "dev/virtio/net_internal.h"

enum { CTRL_OK = 0, CTRL_ERR = 1 };
enum { CTRL_MACS_MAX = 4096 }; /* rows of each table that a driver may give us */

enum { CLASS_RX, CLASS_MAC, CLASS_MQ = 4, CLASS_GUEST_OFFLOADS };
enum { RX_COMMANDS = 6, MAC_TABLE_SET = 0, MAC_ADDR_SET = 1, MQ_PAIRS_SET = 0, OFFLOADS_SET = 0 };

struct ctrl_row {
    u8 class, first, last; /* command */
    u64 feature;
    /* True: granted. */
    bool (*fn)(struct net *n, u8 command, struct chain *c);
};

/* All is received anyway: a mode is only remembered. */
static bool set_rx_mode(struct net *n, u8 command, struct chain *c)
{
    u8 on;

    if (chain_get(c, &on, 1) < 0 || on > 1)
        return false;
    n->st.rx_mode = (u8)((n->st.rx_mode & ~(1u << command)) | (unsigned)on << command);
    return true;
}

/* Two tables of addresses to be received, as are all others. */
static bool set_mac_table(struct net *, u8, struct chain *c)
{
    for (u32 table = 0; table < 2; table++) {
        u8 mac[ETH_ALEN];
        le32 n;

        if (chain_get(c, &n, sizeof(n)) < 0 || le32_get(n) > CTRL_MACS_MAX)
            return false;
        for (u32 i = 0; i < le32_get(n); i++)
            if (chain_get(c, mac, sizeof(mac)) < 0)
                return false;
    }
    return true;
}

static bool set_mac(struct net *n, u8, struct chain *c)
{
    u8 mac[ETH_ALEN];

    if (chain_get(c, mac, sizeof(mac)) < 0 || mac[0] & 1)
        return false;
    vdev_config_set(&n->v, CFG_MAC, mac, sizeof(mac));
    return true;
}

static bool set_pairs(struct net *n, u8, struct chain *c)
{
    u16 was = n->st.pairs;
    le16 pairs;

    if (chain_get(c, &pairs, sizeof(pairs)) < 0)
        return false;
    if (le16_get(pairs) < 1 || le16_get(pairs) > n->n_pairs)
        return false;
    n->st.pairs = le16_get(pairs);
    if (net_apply(n) < 0) {
        n->st.pairs = was;
        net_apply(n);
        return false;
    }
    net_watch_pairs(n);
    return true;
}

static bool set_offloads(struct net *n, u8, struct chain *c)
{
    u64 was = n->st.offloads;
    le64 bits;

    if (chain_get(c, &bits, sizeof(bits)) < 0)
        return false;
    if (le64_get(bits) & ~(n->v.st.driver_features & NET_F_GUEST_ALL))
        return false;
    n->st.offloads = le64_get(bits);
    if (net_apply(n) == 0)
        return true;
    n->st.offloads = was;
    return false;
}

/* clang-format off */
static const struct ctrl_row ctrl_rows[] = {
    { CLASS_RX,             0,             1,               NET_F_CTRL_RX,             set_rx_mode },
    { CLASS_RX,             2,             RX_COMMANDS - 1, NET_F_CTRL_RX_EXTRA,       set_rx_mode },
    { CLASS_MAC,            MAC_TABLE_SET, MAC_TABLE_SET,   NET_F_CTRL_RX,             set_mac_table },
    { CLASS_MAC,            MAC_ADDR_SET,  MAC_ADDR_SET,    NET_F_CTRL_MAC_ADDR,       set_mac },
    { CLASS_MQ,             MQ_PAIRS_SET,  MQ_PAIRS_SET,    NET_F_MQ,                  set_pairs },
    { CLASS_GUEST_OFFLOADS, OFFLOADS_SET,  OFFLOADS_SET,    NET_F_CTRL_GUEST_OFFLOADS, set_offloads },
};
/* clang-format on */

static bool obey(struct net *n, struct chain *c)
{
    u8 head[2]; /* class, command */

    if (chain_get(c, head, sizeof(head)) < 0)
        return false;
    for_each_row(r, ctrl_rows)
        if (r->class == head[0] && head[1] >= r->first && head[1] <= r->last &&
            vdev_has(&n->v, r->feature))
            return r->fn(n, head[1], c);
    return false;
}

void net_ctrl(struct net *n)
{
    struct chain *c = &n->more;

    for (u32 i = 0; i < NET_BUDGET && !n->broken; i++) {
        int r = vq_pop(n->ctrl_vq, c);

        if (r == 0 && !vq_kicks(n->ctrl_vq, true))
            break;
        if (r == 0)
            continue;
        if (r < 0 || chain_put_last(c, obey(n, c) ? CTRL_OK : CTRL_ERR) < 0) {
            net_fail(n, "malformed control queue");
            return;
        }
        vq_push_len(n->ctrl_vq, c->head, c->n_desc, 1);
    }
    if (!vq_empty(n->ctrl_vq))
        fd_event_signal(n->v.kick[n->ctrl_vq - n->v.q]);
    if (!n->broken)
        vdev_notify(&n->v, (u16)(n->ctrl_vq - n->v.q));
}
