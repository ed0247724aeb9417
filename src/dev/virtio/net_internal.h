/*
 * dev/virtio/net_internal.h: what the parts of the virtio network card share: net.c, the device; net_io.c, its frames;
 * net_ctrl.c, what the driver asks for on the control queue.
 */
#pragma once

#include "base/loop.h"
#include "dev/virtio/net.h"
#include "dev/virtio/vdev.h"
#include "net/net.h"

#include <net/ethernet.h>

/* Section 5.1.3 */
#define NET_F_CSUM                VIRTIO_F(0)
#define NET_F_GUEST_CSUM          VIRTIO_F(1)
#define NET_F_CTRL_GUEST_OFFLOADS VIRTIO_F(2)
#define NET_F_MTU                 VIRTIO_F(3)
#define NET_F_MAC                 VIRTIO_F(5)
#define NET_F_GUEST_TSO4          VIRTIO_F(7)
#define NET_F_GUEST_TSO6          VIRTIO_F(8)
#define NET_F_GUEST_ECN           VIRTIO_F(9)
#define NET_F_GUEST_UFO           VIRTIO_F(10)
#define NET_F_HOST_TSO4           VIRTIO_F(11)
#define NET_F_HOST_TSO6           VIRTIO_F(12)
#define NET_F_HOST_ECN            VIRTIO_F(13)
#define NET_F_HOST_UFO            VIRTIO_F(14)
#define NET_F_MRG_RXBUF           VIRTIO_F(15)
#define NET_F_STATUS              VIRTIO_F(16)
#define NET_F_CTRL_VQ             VIRTIO_F(17)
#define NET_F_CTRL_RX             VIRTIO_F(18)
#define NET_F_CTRL_RX_EXTRA       VIRTIO_F(20)
#define NET_F_MQ                  VIRTIO_F(22)
#define NET_F_CTRL_MAC_ADDR       VIRTIO_F(23)

#define NET_F_GUEST_ALL \
    (NET_F_GUEST_CSUM | NET_F_GUEST_TSO4 | NET_F_GUEST_TSO6 | NET_F_GUEST_ECN | NET_F_GUEST_UFO)

/* Section 5.1.4, struct virtio_net_config */
enum { CFG_MAC = 0, CFG_STATUS = 6, CFG_MAX_PAIRS = 8, CFG_MTU = 10, CFG_LEN = 12 };
enum { NET_STATUS_LINK_UP = 1 };

/* What a thread does at most before it looks at its other queues. */
enum { NET_BUDGET = 64 };

#define NET_STATE(F, S)                                                   \
    F(S, ARR, u8, mac, ETH_ALEN, "address after a reset")                 \
    F(S, VAL, u16, pairs, "queue pairs that the driver uses")             \
    F(S, VAL, u64, offloads, "GUEST_x features that are on")              \
    F(S, VAL, u8, rx_mode,                                                \
      "what the driver wants to receive: a bit for each RX command, all " \
      "of which are granted")
STATE_STRUCT(net_state, NET_STATE);

#define NET_STATS(X) X(rx_frames) X(rx_bytes) X(rx_drops) X(tx_frames) X(tx_bytes) X(tx_drops)
#define X(name)      STAT_##name,
enum net_stat { NET_STATS(X) STATS };
#undef X

struct net;

/*
 * One receive and one transmit queue.  Owned by the I/O thread while the device is active.
 *   rx:  idle ─take─> held: `rx` is popped and empty ─a frame fits─> pushed, idle
 *                     held ─a frame is longer─> pending: `rx` is full, the rest is in `spill` ─buffers come─> pushed, idle
 */
struct net_pair {
    struct net *n;
    u16 index;
    struct vq *rx_vq, *tx_vq;
    struct loop_fd rx_kick, tx_kick;
    bool held;
    bool starved;  /* no receive buffers: the backend is not watched until a kick */
    u32 frame_len; /* of the pending frame, header included; 0: none */
    u8 hdr[NET_HDR];
    atomic_ullong stats[STATS]; /* written by the I/O thread only */
    struct chain rx, tx;
    struct vq_done done[VQ_SIZE_MAX];
    u8 spill[NET_FRAME_MAX]; /* last, and touched by long frames only */
};

struct net {
    struct vdev v;
    struct net_state st; /* of the I/O thread while active, else guarded by dev.lock */
    struct net_backend *b;
    struct loop loop; /* the one I/O thread */
    u16 n_pairs;      /* fixed */
    u16 n_open;       /* I/O thread, host: pairs between activate and deactivate */
    bool broken;   /* I/O thread, rebuilt by activate: the guest is at fault, nothing is served */
    bool resuming; /* host: inside the device's resume */
    atomic_bool link; /* derived from the configuration's status */
    struct vq *ctrl_vq;
    struct loop_fd ctrl_kick;
    struct chain more; /* scratch of the I/O thread: further receive buffers, control commands */
    struct net_pair *pairs; /* n_pairs of them */
};

static inline void net_count(struct net_pair *p, enum net_stat s, u64 by)
{
    u64 v = atomic_load_explicit(&p->stats[s], memory_order_relaxed);

    atomic_store_explicit(&p->stats[s], v + by, memory_order_relaxed);
}

/* All on the I/O thread. */

/* The guest's driver is at fault: nothing is served until reset. */
void net_fail(struct net *n, const char *why);
/* What the backend is told of the features in `st`; and of the pairs.  0 or a negative errno. */
int net_apply(struct net *n);
/* Watches the backend for the pairs in use, and no others. */
void net_watch_pairs(struct net *n);
/* Frames of the backend to the guest, and the reverse. */
void net_rx(struct net_pair *p);
void net_tx(struct net_pair *p);
/* Gives back what was taken of the receive queue and not used. */
void net_rx_let_go(struct net_pair *p);
/* Serves the control queue. */
void net_ctrl(struct net *n);
