/*
 * os/rootfs.h: the root file system of a container: its layers, with a directory of its own above them, in a mount namespace that only
 * this process and what it starts are in.  When that ends, no mount is left.
 */
#pragma once

#include "os/spec.h"

/*
 * `user`: the container's user namespace; files are its users' there and nobody's of the host in the store (idmapped mounts); -1: as
 * they are.  The root is FOLDER/root then, FOLDER/rw what was written.
 */
int os_rootfs_mount(const struct os_spec *s, int user, struct err *e);
