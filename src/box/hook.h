/*
 * box/hook.h: the programs that a specification wants run at points of a container's life.
 */
#pragma once

#include "box/oci.h"

/* Runs them in their order, `state` on their stdin.  Stops at the first that fails, whose status, signal or time-out `e` names. */
int hooks_run(const struct oci *spec, unsigned kind, const char *state, struct err *e);
/* The same, but a failure is a warning and the next one runs. */
void hooks_run_all(const struct oci *spec, unsigned kind, const char *state);
