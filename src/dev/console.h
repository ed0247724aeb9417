/*
 * dev/console.h: a character stream between a device (serial port, virtio console) and the host.
 *
 *   backend            | input from                  | output to                     | when the other side is slow
 *   -------------------+-----------------------------+-------------------------------+-----------------------------
 *   stdio              | fd 0                        | fd 1                          | the device waits
 *   fd:N, fd:IN:OUT    | fds that we were given      | the same                      | the device waits
 *   unix:PATH          | up to CHARDEV_CLIENTS       | each of them                  | the device waits 5 s, then he is hung up
 *      … no client     | nothing                     | kept for the next client      | only the newest 64 KiB are kept
 *   pty                | a new pseudo-terminal       | the same                      | only the newest 64 KiB are kept
 *   file:PATH          | nothing                     | the end of the file           | never
 *   none               | nothing                     | nowhere                       | never
 *
 *   (1) chardev_write never blocks: bytes go to the host at once when it takes them, else to a ring of CHARDEV_RING bytes that
 *       the control loop empties.  "The device waits": chardev_write takes fewer bytes than offered, then `on_room` is called.
 *   (2) Nothing is read from the host that the device cannot take: `room` is asked first, so the host feels back-pressure.
 *   (3) The ops are called on the control loop's thread without locks.  The control loop is not an I/O thread, so they may take
 *       the device's lock; hence nobody may loop_call to the control loop with that lock held.
 *   (4) chardev_write, chardev_room, chardev_accept and chardev_hang_up: any thread, with or without the device's lock.
 *   (5) The process ignores SIGPIPE.
 *   (6) chardev_log: a file gets what the device writes as well, whoever reads it.  Of more than CHARDEV_LOG_MAX bytes only the newer
 *       half is kept.
 *   (7) What was written is on the host before chardev_close returns, unless the host takes nothing for 2 s.
 */
#pragma once

#include "base/base.h"

struct loop;
struct chardev;

enum { CHARDEV_RING = 64 * 1024, CHARDEV_LOG_MAX = 1024 * 1024, CHARDEV_CLIENTS = 8 };

/* All may be NULL. */
struct chardev_ops {
    /* How many bytes of input does the device take now?  0: none until chardev_accept. */
    u32 (*room)(void *arg);
    /* At most as many bytes as `room` said last. */
    void (*on_input)(void *arg, const u8 *data, u32 len);
    /* chardev_write took less than offered, or chardev_room found less than was wanted; now at least half of the ring is free. */
    void (*on_room)(void *arg);
    /* A client came to the socket: may it stay?  Else it is hung up at once. */
    bool (*welcome)(void *arg);
};

/* Is `backend` one of the forms above?  Opens nothing. */
bool chardev_backend_ok(const char *backend);

/*
 * Owned in *ret.  `l` is the machine's control loop; `ops` and `arg` are borrowed until chardev_close.  Not with the device's
 * lock held: meant for a device's start.  Input may arrive from now on.
 */
int chardev_open(struct loop *l, const char *backend, const struct chardev_ops *ops, void *arg,
                 struct chardev **ret, struct err *e);
/* Output goes to the end of `file`, too, which is made when it is missing; NULL: to none.  Right after chardev_open. */
int chardev_log(struct chardev *c, const char *file, struct err *e);
/* Flushes and closes.  NULL is harmless.  Not with the device's lock held; no other call may be under way. */
void chardev_close(struct chardev *c);
AUTO_DEFINE(chardev, struct chardev *, chardev_close)

/* Takes up to `len` bytes in order; returns how many.  Less than `len`: `on_room` will be called. */
u32 chardev_write(struct chardev *c, const void *data, u32 len);
/* How many bytes chardev_write would take now.  Less than `want`: `on_room` will be called. */
u32 chardev_room(struct chardev *c, u32 want);
/* The clients of a socket are hung up, soon. */
void chardev_hang_up(struct chardev *c);
/* `room` may have grown from 0.  Cheap when the host has not been held back. */
void chardev_accept(struct chardev *c);

/* The pseudo-terminal's path, NULL for other backends. */
const char *chardev_pty(const struct chardev *c);
