/*
 * layer/pack.h: a directory becomes the tar of a layer, the same bytes each time: names in order, times as they are.
 */
#pragma once

#include "base/base.h"

enum { PACK_DEPTH_MAX = 128, PACK_ENTRIES_MAX = 2000000 };

/*
 * The tar of all that is in `dir`, in a file without a name in the directory `spool`; its fd and size.  Links are not followed,
 * other file systems that are mounted there are left out, and so are sockets.
 */
int pack_dir(int dir, int spool, u64 *ret_size, struct err *e);
