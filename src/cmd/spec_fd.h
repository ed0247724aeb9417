/*
 * cmd/spec_fd.h: what socle-vm and socle-os are started with: a JSON text on a descriptor (host/spawn.h).
 */
#pragma once

#include "base/base.h"

/* "PROGRAM --spec-fd N": the text, owned.  -EINVAL, without `e`: the command line is another. */
int spec_fd_read(int argc, char **argv, char **ret, size_t *ret_len, struct err *e);
