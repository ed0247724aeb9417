/*
 * layer/confine.h: what a process gives up before it looks into an image: the network, all files but the pool and the source,
 * all capabilities but those that files of many owners need, and all system calls but those of jail_rows.c's role "unpack".
 */
#pragma once

#include "base/base.h"

struct confine_cfg {
    int pool;     /* a directory, to write */
    int source;   /* a file, or a directory to read; -1: none */
    int layout;   /* the folder that the source is in, kept for its lock; -1: none */
    bool devices; /* keeps CAP_MKNOD */
    bool trusted; /* keeps CAP_SYS_ADMIN, without which trusted.overlay.opaque cannot be set */
};

/* Only by root, of whatever user namespace, before a second thread exists.  Cannot be undone. */
int confine_enter(const struct confine_cfg *cfg, struct err *e);
