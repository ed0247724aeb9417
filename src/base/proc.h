/*
 * base/proc.h: what processes have of the host's memory.
 */
#pragma once

#include "base/base.h"

/* Resident bytes of a process; 0 when it is gone. */
u64 proc_resident(u32 pid);
/*
 * Of all processes that descend of one, as far as it is no file's and not shared: that would be counted for each of them.
 * At most PROC_BELOW_MAX are looked at.
 */
enum { PROC_BELOW_MAX = 32768 };
u64 proc_below(u32 pid);
