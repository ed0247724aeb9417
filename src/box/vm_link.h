/*
 * box/vm_link.h: what the host says to a container that is a machine (box/apart.h), and the guest to it: frames over a stream, of virtio
 * sockets.  A frame is one byte that says what it is, the length of the rest in four bytes (little-endian), the rest.  One connection is
 * one process in the guest.
 *
 *     host ── VM_PROCESS ──> guest     once, first: JSON, what is run (box/vm_guest.h)
 *          ── VM_INPUT ────>           standard input, or what is typed; empty: its end
 *          ── VM_SIGNAL ───>           one byte
 *          ── VM_SIZE ─────>           of the terminal: rows, columns, two bytes each
 *          <─ VM_OUTPUT ────           standard output, or the terminal's
 *          <─ VM_ERROR ─────           standard error
 *          <─ VM_ENDED ─────           its status, or 128 and a signal's number: one byte; the last frame
 *          <─ VM_FAILED ────           it was not started: why; the last frame
 */
#pragma once

#include "base/base.h"

enum vm_frame {
    VM_PROCESS = 1,
    VM_INPUT,
    VM_SIGNAL,
    VM_SIZE,
    VM_OUTPUT,
    VM_ERROR,
    VM_ENDED,
    VM_FAILED,
};

enum {
    VM_PORT = 1,                      /* of the guest, where it takes connections */
    VM_PART_MAX = 16 * 1024,          /* bytes of a frame that has data */
    VM_PROCESS_MAX = 8 * 1024 * 1024, /* of VM_PROCESS */
    VM_HELD_MAX = 4 * VM_PART_MAX,    /* of what waits to be sent: then no more is read */
    VM_STATUS_FAILED = 127,
};

struct vm_link {
    int fd;  /* non-blocking; borrowed */
    u32 max; /* bytes of a frame of the other side */
    struct strbuf in, out;
    bool ended; /* the other side sends no more */
};

void vm_link_init(struct vm_link *l, int fd, u32 max);
void vm_link_fini(struct vm_link *l);
void vm_link_add(struct vm_link *l, enum vm_frame kind, const void *data, size_t len);
/* May more be read for it? */
bool vm_link_has_room(const struct vm_link *l);
/* Sends and takes what can be now.  0; or a negative errno: the connection is broken. */
int vm_link_pump(struct vm_link *l);
/*
 * The next whole frame: its kind, *ret_data of the link until vm_link_drop.  0: there is none yet; -EBADMSG: it is none that may be.
 */
int vm_link_next(const struct vm_link *l, const char **ret_data, u32 *ret_len);
void vm_link_drop(struct vm_link *l);
