/*
 * box/child.h: another program as a child: a hook of config.json, or one of ours.
 */
#pragma once

#include "base/base.h"

/* With `fd` in place of descriptor `as`, and no signal blocked. */
int child_start(const char *path, char **argv, char **envp, int fd, int as, pid_t *ret);
