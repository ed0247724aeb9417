/*
 * dev/virtio/net_io.c: frames between a virtio network card and its backend.  (virtio 1.2, section 5.1.6)
 *   (1) Frames move straight between guest memory and the backend.  What does not fit the first receive buffer passes through
 *       `spill`: its length is not known before it is read.
 *   (2) The buffers of one frame are given back together.
 *   (3) Work is bounded by NET_BUDGET; what is left is found at the next turn of the loop.
 */
#include "dev/virtio/net_internal.h"

enum { HDR_FLAGS = 0, HDR_GSO_TYPE = 1, HDR_NUM_BUFFERS = 10 }; /* struct virtio_net_hdr */

void net_fail(struct net *n, const char *why)
{
    n->broken = true;
    for (u16 i = 0; i < n->n_open; i++)
        net_watch(n->b, i, false);
    vdev_fail(&n->v, why);
}

/* ---- to the guest ---- */

static void starve(struct net_pair *p)
{
    p->starved = true;
    net_watch(p->n->b, p->index, false);
}

/* One more chain of the receive queue.  False: there is none (a kick will come), or the guest is at fault. */
static bool pop_rx(struct net_pair *p, struct chain *c)
{
    int r;

    do {
        r = vq_pop(p->rx_vq, c);
    } while (r == 0 && vq_kicks(p->rx_vq, true));
    if (r < 0)
        net_fail(p->n, "malformed receive queue");
    return r > 0;
}

static bool hold_buffer(struct net_pair *p)
{
    if (p->held)
        return true;
    if (!pop_rx(p, &p->rx))
        return false;
    p->held = true;
    if (p->rx.in_len > NET_HDR)
        return true;
    net_fail(p->n, "a receive buffer has no room behind the header");
    return false;
}

/* Takes back the last `n` pops, which are in done[1] to done[n]. */
static void unpop(struct net_pair *p, u32 n)
{
    for (; n > 0 && !p->n->broken; n--) {
        p->n->more.n_desc = p->done[n].n_desc;
        vq_unpop(p->rx_vq, &p->n->more);
    }
}

/* Pops buffers for the bytes in `spill`; how many, or 0: there are not enough yet, and none is taken. */
static u32 gather(struct net_pair *p, u32 left)
{
    struct chain *c = &p->n->more;
    u32 n = 0, n_desc = 0, ring = p->rx_vq->st.size;
    const u8 *from = p->spill;

    while (left > 0) {
        u32 part;

        if (!pop_rx(p, c)) {
            unpop(p, n);
            return 0;
        }
        part = min(left, c->in_len);
        n_desc += c->n_desc;
        if (part == 0 || n + 1 >= ring || n_desc + p->rx.n_desc > ring) {
            net_fail(p->n, "receive buffers are empty, or more than the ring has");
            return 0;
        }
        chain_put(c, from, part);
        p->done[++n] = (struct vq_done){ c->head, c->n_desc, part };
        from += part;
        left -= part;
    }
    return n;
}

/* The frame is in `rx` behind the header and in `spill`: gives it to the guest.  False: it waits for buffers. */
static bool finish(struct net_pair *p)
{
    u32 first = min(p->frame_len, p->rx.in_len), rest = p->frame_len - first, n = 0;

    if (rest > 0) {
        n = gather(p, rest);
        if (n == 0)
            return false;
    }
    le_store(p->hdr + HDR_NUM_BUFFERS, 2, n + 1);
    chain_put(&p->rx, p->hdr, NET_HDR);
    chain_wrote(&p->rx, first - NET_HDR);
    p->done[0] = (struct vq_done){ p->rx.head, p->rx.n_desc, first };
    vq_push_all(p->rx_vq, p->done, n + 1);
    net_count(p, STAT_rx_frames, 1);
    net_count(p, STAT_rx_bytes, p->frame_len - NET_HDR);
    p->held = false;
    p->frame_len = 0;
    return true;
}

/* May the guest see this frame? */
static bool wanted(const struct net_pair *p, size_t len)
{
    const struct net *n = p->n;

    if (len <= NET_HDR || !atomic_load_explicit(&n->link, memory_order_relaxed))
        return false;
    if (p->hdr[HDR_GSO_TYPE] && !(n->st.offloads & ~NET_F_GUEST_CSUM))
        return false; /* from before the driver changed its mind */
    return len <= p->rx.in_len || vdev_has(&n->v, NET_F_MRG_RXBUF);
}

/* Reads one frame.  False: there is none. */
static bool receive(struct net_pair *p)
{
    struct iovec iov[VQ_SEGS_MAX + 2];
    ssize_t len;
    int n;

    iov[0] = (struct iovec){ p->hdr, NET_HDR };
    n = chain_in_iov(&p->rx, NET_HDR, p->rx.in_len - NET_HDR, iov + 1, VQ_SEGS_MAX);
    must(n > 0);
    n++;
    iov[n++] = (struct iovec){ p->spill, sizeof(p->spill) };
    len = net_recv(p->n->b, p->index, iov, (u32)n);
    if (len < 0)
        return false;
    if (!(p->n->st.offloads & NET_F_GUEST_CSUM))
        p->hdr[HDR_FLAGS] = 0;
    if (wanted(p, (size_t)len))
        p->frame_len = (u32)len;
    else
        net_count(p, STAT_rx_drops, 1);
    return true;
}

void net_rx(struct net_pair *p)
{
    bool more = !p->n->broken;

    for (u32 i = 0; more && i < NET_BUDGET; i++) {
        if (p->frame_len == 0) {
            if (!hold_buffer(p)) {
                starve(p);
                break;
            }
            more = receive(p);
        }
        if (p->frame_len && !finish(p)) {
            starve(p);
            break;
        }
    }
    if (!p->n->broken)
        vdev_notify(&p->n->v, (u16)(2 * p->index));
}

void net_rx_let_go(struct net_pair *p)
{
    if (p->frame_len)
        net_count(p, STAT_rx_drops, 1);
    if (p->held && !p->n->broken)
        vq_unpop(p->rx_vq, &p->rx);
    p->held = p->starved = false;
    p->frame_len = 0;
}

/* ---- from the guest ---- */

static void transmit(struct net_pair *p)
{
    const struct chain *c = &p->tx;
    ssize_t r = -ENETDOWN;

    if (c->out_len <= NET_FRAME_MAX && atomic_load_explicit(&p->n->link, memory_order_relaxed))
        r = net_send(p->n->b, p->index, c->iov, c->n_out);
    if (r < 0) {
        net_count(p, STAT_tx_drops, 1);
        return;
    }
    net_count(p, STAT_tx_frames, 1);
    net_count(p, STAT_tx_bytes, c->out_len - NET_HDR);
}

void net_tx(struct net_pair *p)
{
    struct net *n = p->n;
    u32 i = 0;

    if (n->broken)
        return;
    vq_kicks(p->tx_vq, false);
    while (i < NET_BUDGET) {
        int r = vq_pop(p->tx_vq, &p->tx);

        if (r == 0 && !vq_kicks(p->tx_vq, true))
            break;
        if (r < 0 || (r > 0 && p->tx.out_len <= NET_HDR)) {
            net_fail(n,
                     r < 0 ? "malformed transmit queue" : "a frame has no bytes behind the header");
            return;
        }
        if (r == 0) {
            vq_kicks(p->tx_vq, false);
            continue;
        }
        transmit(p);
        vq_push_len(p->tx_vq, p->tx.head, p->tx.n_desc, 0);
        i++;
    }
    if (i == NET_BUDGET)
        fd_event_signal(n->v.kick[2 * p->index + 1]);
    vdev_notify(&n->v, (u16)(2 * p->index + 1));
}
