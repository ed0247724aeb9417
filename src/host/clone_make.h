/*
 * host/clone_make.h: TASK_CLONE: an instance that is as another is, or was at a snapshot.
 */
#pragma once

#include "host/host.h"

int clone_do(struct task *t, struct err *e);
/* Its process, if it has one, and the snapshot that was taken for it are gone; its folder is the caller's. */
void clone_undo(struct task *t);
