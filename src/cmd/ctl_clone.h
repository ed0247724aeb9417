/*
 * cmd/ctl_clone.h: clones of a running machine.
 */
#pragma once

#include "base/base.h"

enum { CTL_CLONES_MAX = 100 };

/* Starts n clones from the state file, beside the socket of their original, and prints who they are; all run, or none. */
int ctl_clone_start(const char *socket, const char *state, unsigned n, struct err *e);
