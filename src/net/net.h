/*
 * net/net.h: where a network card's frames go: the contract between a card and its backend.
 * A frame is a 12-byte virtio_net_hdr (virtio 1.2, 5.1.6) and an Ethernet frame.  Frames are pulled: the backend says that there
 * are some, the card takes them straight into the guest's buffers.  What nobody takes waits with the backend, which keeps a
 * bounded number and drops the rest.
 *   Threads: a backend is opened on any thread, used on that of its loop from net_start to net_stop (or by anyone while the loop
 *   does not run), and freed after loop_fini.
 */
#pragma once

#include "base/base.h"

#include "base/loop.h"

#include <sys/uio.h>

enum {
    NET_HDR = 12,                         /* bytes of the header, in both directions */
    NET_PAIRS_MAX = 32,                   /* pairs of queues */
    NET_FRAME_MAX = NET_HDR + 14 + 65535, /* with segmentation offload: one IP packet */
};

/* What one side may leave to the other. */
enum net_offload {
    NET_CSUM = 1 << 0, /* checksums */
    NET_TSO4 = 1 << 1, /* cutting TCP over IPv4 into segments */
    NET_TSO6 = 1 << 2,
    NET_ECN = 1 << 3, /* … with congestion notification */
    NET_UFO = 1 << 4, /* UDP fragments */
};

struct net_backend;

/* Who uses a backend. */
struct net_sink {
    void (*readable)(
        void *arg,
        u16 pair); /* there may be frames; called again while there are, unless unwatched */
    void *arg;
};

struct net_backend_ops {
    int (*start)(struct net_backend *b, struct loop *l, const struct net_sink *s);
    void (*stop)(struct net_backend *b);
    void (*watch)(struct net_backend *b, u16 pair, bool on);
    ssize_t (*recv)(struct net_backend *b, u16 pair, const struct iovec *iov, u32 n);
    ssize_t (*send)(struct net_backend *b, u16 pair, const struct iovec *iov, u32 n);
    int (*offloads)(struct net_backend *b, u32 set);
    int (*use_pairs)(struct net_backend *b, u16 n);
    void (*free)(struct net_backend *b);
};

struct net_backend {
    const struct net_backend_ops *ops;
    u32 offloads;          /* enum net_offload that the host's side can do */
    u16 pairs;             /* that it has */
    atomic_ullong dropped; /* frames that it had no room for */
};

/* Begins to watch; no pair is watched yet.  `s` is copied.  0 or a negative errno. */
static inline int net_start(struct net_backend *b, struct loop *l, const struct net_sink *s)
{
    return b->ops->start(b, l, s);
}
static inline void net_stop(struct net_backend *b)
{
    b->ops->stop(b);
}
/* Whether `readable` is wanted for a pair. */
static inline void net_watch(struct net_backend *b, u16 pair, bool on)
{
    b->ops->watch(b, pair, on);
}
/* The next frame with its header, cut when it is longer: its bytes; -EAGAIN: there is none.  Bytes 10 and 11 are not written. */
static inline ssize_t net_recv(struct net_backend *b, u16 pair, const struct iovec *iov, u32 n)
{
    return b->ops->recv(b, pair, iov, n);
}
/* A frame with its header, both straight from a guest and to be distrusted.  ≥ 0, or a negative errno: it is lost. */
static inline ssize_t net_send(struct net_backend *b, u16 pair, const struct iovec *iov, u32 n)
{
    return b->ops->send(b, pair, iov, n);
}
/* What the guest takes in received frames: a subset of b->offloads. */
static inline int net_offloads(struct net_backend *b, u32 set)
{
    return b->ops->offloads(b, set);
}
/* Frames arrive on the first `n` pairs only. */
static inline int net_use_pairs(struct net_backend *b, u16 n)
{
    return b->ops->use_pairs(b, n);
}
/* NULL is harmless. */
static inline void net_free(struct net_backend *b)
{
    if (b)
        b->ops->free(b);
}
AUTO_DEFINE(net, struct net_backend *, net_free)
