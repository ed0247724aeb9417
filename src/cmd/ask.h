/*
 * cmd/ask.h: questions to the user on the terminal.
 */
#pragma once

#include "base/base.h"

/* Is there somebody to ask? */
bool ask_is_tty(void);
/* A line of standard input; the question is shown when that is a terminal.  `echo` false: what is typed is not shown.
 * -EINVAL: it is too long, or there is none. */
int ask_line(const char *question, char *ret, size_t size, bool echo, struct err *e);
