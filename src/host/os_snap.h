/*
 * host/os_snap.h: snapshots and clones of instances of kind os: copies of what a container wrote above its image.
 *     FOLDER/rw/upper         what it writes
 *     FOLDER/snapshots/N      a copy of that, of one instant; never changed
 *     FOLDER/snapshots.json   which there are, and which of another
 * A linked clone has the original's N among its layers.  Tasks do these; without the host's lock.
 */
#pragma once

#include "host/host.h"

int os_snap_do_take(struct task *t, struct err *e);
int os_snap_do_restore(struct task *t, struct err *e);
int os_snap_do_delete(struct task *t, struct err *e);
int os_clone_do(struct task *t, struct err *e);
/* The snapshot that was taken for a clone which is not made. */
void os_clone_undo(struct task *t);

/* A new reference: as host_snapshots lists them. */
int os_snap_list(const char *folder, json_t **ret, struct err *e);
/* What a clone builds on is added to its layers, the lowest first: of all that it is a clone of. */
int os_snap_paths_locked(const struct instance *i, const struct field *f, void *to, struct err *e);
