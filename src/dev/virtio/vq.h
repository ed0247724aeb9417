/*
 * dev/virtio/vq.h: virtqueues, split and packed, seen by a device.  (virtio 1.2, sections 2.6 to 2.8)
 * Rings and buffers belong to a hostile guest, which may rewrite them at any time:
 *   (1) each descriptor is read once, into our own copy, and checked there;
 *   (2) a buffer is believed only as host addresses from mem_at, all checked before vq_pop returns;
 *   (3) a chain has at most the queue's size of descriptors, so that loops end;
 *   (4) a malformed ring gives -EBADMSG once; the device then fails (vdev_fail) and does not look again until reset.
 * A queue is used by one thread at a time: the I/O thread that serves it.
 */
#pragma once

#include "base/base.h"

#include "state/state.h"

#include <sys/uio.h>

struct mem;

enum { VQ_SIZE_MAX = 256, VQ_SEGS_MAX = VQ_SIZE_MAX };

/* What the guest programmed and how far both sides are. */
#define VQ_STATE(F, S)                                                               \
    F(S, VAL, bool, on, "the driver enabled the queue")                              \
    F(S, VAL, u16, size, "entries the driver chose")                                 \
    F(S, VAL, u16, vector, "MSI-X vector, 0xffff none")                              \
    F(S, VAL, u64, desc_gpa, "descriptor table, or packed ring")                     \
    F(S, VAL, u64, driver_gpa, "available ring, or driver event suppression")        \
    F(S, VAL, u64, device_gpa, "used ring, or device event suppression")             \
    F(S, VAL, u16, next_avail, "next entry to take; packed: position")               \
    F(S, VAL, u16, next_used, "next entry to give back; packed: position")           \
    F(S, VAL, bool, avail_wrap, "packed: our available wrap counter")                \
    F(S, VAL, bool, used_wrap, "packed: our used wrap counter")                      \
    F(S, VAL, u16, signalled, "used index (packed: position) at the last interrupt") \
    F(S, VAL, bool, signalled_ok, "`signalled` means something")
STATE_STRUCT(vq_state, VQ_STATE);

struct vq {
    struct vq_state st;
    struct mem *mem;
    bool packed, event_idx, indirect; /* negotiated */
    u16 size_max;                     /* what the device offers */
    u32 fresh;                        /* entries pushed since vq_wants_irq was asked */
    /* Rings as host addresses; valid between vq_start and vq_stop. */
    void *desc, *driver, *device;
    bool started, broken;
    u64 popped, pushed; /* counters for statistics */
};

/* One request of the guest: first what the device reads (out), then what it writes (in). */
struct chain {
    u16 head;   /* descriptor id that goes back in the used ring */
    u16 n_desc; /* packed: ring entries that it took */
    u16 n_out, n_in;
    u32 out_len, in_len;   /* bytes */
    u32 out_done, in_done; /* bytes that chain_get has taken, chain_put has written */
    struct mem *mem;
    u64 gpas[VQ_SEGS_MAX];         /* of each segment, for the dirty log */
    struct iovec iov[VQ_SEGS_MAX]; /* n_out readable, then n_in writable; never empty ones */
};

void vq_init(struct vq *q, struct mem *mem, u16 size_max);
/* Power-on values. */
void vq_reset(struct vq *q);
/* Maps the rings that st names.  -EINVAL: size or alignment; -EFAULT: not in RAM. */
int vq_start(struct vq *q, bool packed, bool event_idx, bool indirect);
void vq_stop(struct vq *q);

/* 1 and the next chain, 0 when there is none (or the ring was found malformed before), -EBADMSG. */
int vq_pop(struct vq *q, struct chain *c);
/* Undoes the last vq_pop (and so on, backwards), whose chain was not given back; it will be popped again.  Of `c` only n_desc
 * is looked at. */
void vq_unpop(struct vq *q, const struct chain *c);
/* Gives the chain back; the used length is c->in_done, unless `len` says otherwise.  In any order.  No interrupt yet. */
void vq_push(struct vq *q, const struct chain *c);
void vq_push_len(struct vq *q, u16 head, u16 n_desc, u32 len);
/* Gives several chains back at once: the guest sees all of them or none (one frame in several receive buffers). */
struct vq_done {
    u16 head, n_desc;
    u32 len;
};
void vq_push_all(struct vq *q, const struct vq_done *d, u32 n);
/* Does the guest want an interrupt for what was pushed since the last time this was asked? */
bool vq_wants_irq(struct vq *q);
/* Asks the guest to kick (true) or not to (false).  After enabling, look at the ring once more: true when there is something. */
bool vq_kicks(struct vq *q, bool want);
bool vq_empty(const struct vq *q);

/* Takes the next `len` bytes of the out part.  -EMSGSIZE, nothing taken, when there are fewer. */
int chain_get(struct chain *c, void *buf, u32 len);
/* Writes the next bytes of the in part. */
int chain_put(struct chain *c, const void *buf, u32 len);
/* Writes one byte at the very end of the in part (a status), and counts the whole in part as written.  -EMSGSIZE when it is empty. */
int chain_put_last(struct chain *c, u8 byte);
/* The out (or in) part from byte `skip` on, at most `len` bytes, as at most `max` iovecs; how many, or -EMSGSIZE when it has fewer bytes. */
int chain_out_iov(const struct chain *c, u32 skip, u32 len, struct iovec *iov, u32 max);
int chain_in_iov(const struct chain *c, u32 skip, u32 len, struct iovec *iov, u32 max);
/* `len` bytes of the in part were written through its iovecs: tells the dirty log and counts them. */
void chain_wrote(struct chain *c, u32 len);
