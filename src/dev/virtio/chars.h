/*
 * dev/virtio/chars.h: the characters of one port of a virtio console (virtio 1.2, 5.3), on their way between two virtqueues and the host:
 * what console.c and port.c share.
 * Served on the vCPU that kicks, or on the control loop; always with dev.lock held.
 *   (1) Output goes from guest memory to the backend.  What it does not take now stays in the ring, with `tx_done` counting what
 *       of the first chain went out already, so that nothing is lost over a pause or a saved state.
 *   (2) Input waits in `input` for buffers of the guest.  Nothing is taken from the backend before the driver is there.
 *   (3) One kick writes at most CHARS_TX_BUDGET bytes; the rest follows from the control loop.
 */
#pragma once

#include "base/base.h"

#include "dev/console.h"
#include "dev/virtio/vdev.h"

enum { CHARS_INPUT_MAX = 1024, CHARS_TX_BUDGET = 64 * 1024 };

#define CONSOLE_STATE(F, S)                                                 \
    F(S, VAL, u32, tx_done, "bytes of the next output chain that went out") \
    F(S, VAL, u16, n_input, "bytes of input that the guest has not taken")  \
    F(S, ARR, u8, input, CHARS_INPUT_MAX, "the bytes, oldest first")
STATE_STRUCT(console_state, CONSOLE_STATE);

struct chars {
    struct vdev *v;
    u16 rx, tx; /* its queues */
    struct console_state st;
    struct chardev *host;
    bool (*welcome)(void *arg); /* as in struct chardev_ops, with the vdev; NULL: everybody */
    u64 in, out;                /* bytes, for statistics */
};

/* In the device's start, after vdev_start; v, rx, tx and welcome are set. */
int chars_open(struct chars *s, const char *backend, struct err *e);
/* In its stop, before vdev_stop, so that its callbacks end before the device does.  NULL `host` is harmless. */
void chars_close(struct chars *s);
/* The driver notified the queue `tx`, or `rx`. */
void chars_tx(struct chars *s);
void chars_rx(struct chars *s);
