/*
 * box/mount.h: mounts as descriptors (the mount API of Linux 5.2): made detached, given their attributes, attached last.
 */
#pragma once

#include "box/oci.h"

/* What a mount's options mean. */
struct mount_plan {
    bool bind, recursive; /* rbind */
    bool copy_up;         /* what is below is to be in it, too */
    bool remount; /* flags alone are changed, which for a copy of a mount is no other thing */
    bool src_nofollow, dest_nofollow; /* a link is what is meant */
    bool copy_link;                   /* a source that is a link is made anew, not mounted */
    bool idmap, rec_idmap;            /* owners are shifted; in the whole tree */
    u64 set, clear;                   /* MOUNT_ATTR_* */
    u64 rec_set, rec_clear;
    u64 propagation; /* MS_PRIVATE, …; 0: private */
    bool rec_propagation;
    const char *label;      /* SELinux context of a new file system; borrowed */
    struct field_strs data; /* borrowed texts: for the file system; freed by mount_plan_fini */
};

/* -EINVAL or -ENOTSUP with `e` naming option and destination. */
int mount_plan_make(struct mount_plan *p, const struct oci_mount *m, struct err *e);
void mount_plan_fini(struct mount_plan *p);
/* Names of all options, for `features`; NULL after the last. */
const char *mount_option_name(unsigned i);

/* A detached copy of what `path` names (dir AT_FDCWD), or of `dir` itself when path is "".  Flags: AT_RECURSIVE, AT_SYMLINK_NOFOLLOW. */
int mount_clone(int dir, const char *path, int flags);
/* Attributes and propagation. */
int mount_change(int fd, const struct mount_plan *p);
/* Shifts the owners as the user namespace says whose descriptor is `user`. */
int mount_idmap(int fd, int user, bool recursive);
/* The file system that `path` is on, "" where that is unknown. */
void mount_type_of(int dir, const char *path, char type[32]);
/* A new file system, detached; `late` attributes are left for mount_change. */
int mount_new(const char *type, const char *source, const struct mount_plan *p, u64 late,
              struct err *e);
/* Makes it visible at `target`, an O_PATH descriptor. */
int mount_attach(int fd, int target);
/* propagation "rslave" → MS_SLAVE and *ret_rec; 0: none. */
u64 mount_propagation(const char *word, bool *ret_rec);
