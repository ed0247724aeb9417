/*
 * box/root.h: the file system that a container sees.
 * Two halves.  The runtime opens all that is the host's, before there is a container, as detached copies.  The container's first
 * process, in its own mount namespace, attaches them and what it makes itself; it opens no path of the host.
 */
#pragma once

#include "box/mount.h"

enum { DEFAULT_NODES = 6, LATE_MAX = 64 };

struct host_files { /* -1: not needed */
    int root;
    int *binds; /* one a mount of the specification; owned */
    u32 n_binds;
    int null;                 /* a copy of the host's /dev/null, verified */
    int cgroup;               /* in a user namespace: a copy of cgroup v2's mount, or -1 */
    int nodes[DEFAULT_NODES]; /* where device files cannot be made: copies of the host's */
    int *devices;             /* the same, one a device of the specification; owned */
    u32 n_devices;
};

void host_files_init(struct host_files *h);
void host_files_fini(struct host_files *h);
/* With `copy_nodes` device files are copied.  `user`: the user namespace that is joined, -1: none is. */
int host_files_open(struct host_files *h, const struct oci *spec, int bundle, bool copy_nodes,
                    int user, struct err *e);

struct root {
    int fd; /* its top */
    int at; /* a folder of the host that it is attached at; -1: above the host's root, as root_enter wants it */
    int dev; /* the mount at /dev, /dev/pts, /proc when the specification mounts them; -1 */
    int pts;
    int proc;
    int cgroup;         /* of host_files, until it is used */
    const char *label;  /* SELinux context of new file systems; borrowed */
    int late[LATE_MAX]; /* mounts that become read-only at the end */
    unsigned n_late;
};

void root_init(struct root *r);
void root_fini(struct root *r);
/* Attaches the root file system and all mounts and devices; the host's root still is this process's own. */
int root_build(struct root *r, const struct oci *spec, struct host_files *h, struct err *e);
/* Makes it this process's root, and lets go of the host's.  no_pivot: for a root that cannot be left (initramfs). */
int root_enter(struct root *r, bool no_pivot, struct err *e);
/* Hides and protects what the specification says; to be the last change. */
int root_protect(struct root *r, const struct oci *spec, struct host_files *h, struct err *e);
/* The last of that: the top becomes read-only, and its propagation what is asked for. */
int root_settle(struct root *r, const struct oci *spec, struct err *e);
/* A descriptor of a procfs that no mount covers: for labels and settings. */
int root_proc(struct root *r, struct err *e);
