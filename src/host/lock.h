/*
 * host/lock.h: a folder has one socled: who has the lock of its file `lock`, in which its pid is.
 */
#pragma once

#include "base/base.h"

/* Owned: the folder is ours until it is closed.  -EBUSY: another has it. */
int lock_take(const char *dir, struct err *e);
/* Who has it is asked to end (SIGTERM), and waited for; its machines run on.  0: nobody has it any more. */
int lock_succeed(const char *dir, struct err *e);
