/*
 * cmd/attach.h: the user's terminal, or pipes, on the console of a machine that runs without them.
 */
#pragma once

#include "base/base.h"

/* Until the machine's console ends, stdin ends (when it is no terminal), or Ctrl-A x is typed.  0, or -1 with `e`. */
int attach_run(const char *socket, struct err *e);
/* The same with a socket that is connected, which is taken. */
int attach_run_fd(int fd);
/* The escape keys, a line each. */
void attach_help(const char *indent, struct strbuf *out);
