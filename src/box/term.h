/*
 * box/term.h: terminals of containers: made in the container's devpts, handed to whoever keeps the master.
 */
#pragma once

#include "box/root.h"

/*
 * A new terminal of the devpts mounted at `pts` (the mount's own descriptor); *ret_master is the caller's.  Its slave, opened
 * through the master and never by a name.
 */
int term_open(int pts, const struct oci_process *p, int *ret_master, struct err *e);
/* Makes it the controlling terminal and descriptors 0 to 2. */
int term_take(int slave, struct err *e);
/* Shows the slave at /dev/console of `dev`. */
int term_console(int dev, int slave, struct err *e);
/* Connects to --console-socket. */
int term_connect(const char *path, struct err *e);
