/*
 * os/door.h: sockets that others come to.
 */
#pragma once

#include "base/base.h"

/* A listening unix socket, mode 0600, in the place of what an earlier process left.  Owned, non-blocking. */
int os_listen(const char *path, struct err *e);
