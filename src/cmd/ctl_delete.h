/*
 * cmd/ctl_delete.h: a snapshot of a machine that runs is deleted.
 */
#pragma once

#include "host/talk.h"
#include "host/tree.h"

/* `disks` is what the machine says of its disks, of which disk i of the tree is number index[i].  An exit status, or a negative errno. */
int ctl_delete(struct talk *t, const json_t *disks, const u32 *index, struct tree_file *f,
               const char *name, struct err *e);
