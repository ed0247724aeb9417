/*
 * share/share.h: a shared folder: requests of the FUSE protocol, as a guest's kernel makes them, upon one directory of the host.
 * (include/uapi/linux/fuse.h; virtio 1.2, 5.11)
 *   (1) The guest is hostile.  A request is looked at only in our own copy, and each length in it is checked before it is used.
 *   (2) Nothing is opened by a path: a step is one name of one component below an O_PATH descriptor, never ".." and never through a
 *       symbolic link, so there is no way out of the directory whatever host and guest rename meanwhile.
 *   (3) Only regular files and directories are ever opened; a device, socket or FIFO is but an O_PATH descriptor.
 *   (4) What a guest can make us hold is limited: nodes, descriptors and handles (doc/limits.md).
 * The directory, and what was asked, belongs to one thread, whose current directory is /proc/self/fd (share_cfg.fds).
 */
#pragma once

#include "base/base.h"

#include <linux/fuse.h>
#include <linux/limits.h>

struct share;

enum {
    SHARE_DATA_MAX = XATTR_SIZE_MAX, /* bytes of one request or reply behind its structures */
    SHARE_REQUEST_MAX = 4096 + SHARE_DATA_MAX,
    SHARE_REPLY_MAX = 4096 + SHARE_DATA_MAX,
    SHARE_HANDLES_MAX = 65536,
    SHARE_NODES_MAX = 1 << 21,
    SHARE_FILES_MIN = 256, /* with less there is no start */
    SHARE_IO_MAX = 1 << 20,
    SHARE_IO_PAGES = SHARE_IO_MAX / 4096,
};

struct share_cfg {
    int root; /* the directory, O_PATH; borrowed */
    int fds;  /* /proc/self/fd of this process, O_PATH; borrowed */
    bool readonly;
    bool ids;        /* what is made belongs to whom the guest says; needs the capabilities */
    u32 files_max;   /* descriptors for nodes and handles together */
    u32 handles_max; /* of them for handles at most */
};

/* Owned in *ret. */
int share_open(const struct share_cfg *cfg, struct share **ret, struct err *e);
void share_free(struct share *s);
AUTO_DEFINE(share, struct share *, share_free)

/*
 * One request of `len` bytes, 8-byte aligned, for whose reply the guest has `room` bytes.  The reply's length, at most `room` and
 * SHARE_REPLY_MAX, written to `reply`; 0: there is none.  *ret_fd: the file that a successful open opened, borrowed until the next
 * call, -1 otherwise.
 */
u32 share_serve(struct share *s, const void *request, u32 len, u32 room, void *reply, int *ret_fd);
/* The guest is gone: no node is known and no handle open. */
void share_reset(struct share *s);

/* Requests that get no reply. */
static inline bool share_is_quiet(u32 opcode)
{
    return opcode == FUSE_FORGET || opcode == FUSE_BATCH_FORGET || opcode == FUSE_INTERRUPT;
}

/* Does the reply carry the file that was opened?  Then *ret_at is where its struct fuse_open_out begins. */
static inline bool share_opens(u32 opcode, u32 *ret_at)
{
    *ret_at =
        sizeof(struct fuse_out_header) + (opcode == FUSE_OPEN ? 0 : sizeof(struct fuse_entry_out));
    return opcode == FUSE_OPEN || opcode == FUSE_CREATE || opcode == FUSE_TMPFILE;
}

/* The flags of pwritev2 for the flags of a file that a guest's program writes to. */
int share_write_flags(u32 flags);
