/*
 * layer/unpack.h: one layer: a tar becomes a directory that overlayfs can have as a lower one.
 *   (1) A name is resolved from the layer's root only, through no symbolic link; ".." is refused, an absolute name is taken from
 *       that root.  A layer that writes through a link of its own is refused, too.
 *   (2) ".wh.NAME" becomes the character device 0:0, which overlayfs takes for "not there"; ".wh..wh..opq" the attribute
 *       "opaque" of its directory.  Both hide what layers below have, never what is in this layer.
 *   (3) A hard link leads to a file that is in this layer already.
 *   (4) Of extended attributes those are kept that mean something in a root file system: security.capability and user.*, but for
 *       user.overlay.* and user.socle.*, which are ours.  Others are left out and counted: security.* of the maker's host,
 *       trusted.* which a container must not bring, ACLs.
 *   (5) Devices are refused, or left out, or made: the caller says.  Sockets are left out and counted.
 */
#pragma once

#include "layer/stream.h"

enum {
    UNPACK_DEPTH_MAX = 128,       /* names in a path */
    UNPACK_XATTRS_MAX = 64,       /* of one file */
    UNPACK_XATTR_MAX = 64 * 1024, /* bytes of one */
    UNPACK_DIR_NAMES_MAX =
        64 * 1024 * 1024, /* bytes of the paths of all directories, which are kept until the end */
};

enum unpack_devices { UNPACK_DEVICES_REFUSE, UNPACK_DEVICES_LEAVE_OUT, UNPACK_DEVICES_MAKE };

struct unpack_cfg {
    enum unpack_devices devices;
    bool
        user_xattr; /* user.overlay.opaque, for a mount with "userxattr"; else trusted.overlay.opaque, which only root may set */
    bool single_id; /* all files belong to who unpacks them: no other id can be had */
    u64 entries_max, bytes_max;
};

struct unpack_stats {
    u64 entries, bytes; /* of regular files */
    u64 left_out; /* devices, sockets, and files of another union file system (".wh..wh.…") */
    u64 xattrs_left_out;
};

/* Into `dir`, which is empty, all that `s` has up to the end of its tar.  What a failure leaves there is the caller's to remove. */
int unpack_layer(struct stream *s, int dir, const struct unpack_cfg *cfg, struct unpack_stats *ret,
                 struct err *e);
