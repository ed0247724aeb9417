/*
 * box/numa.h: on which CPUs, and on which nodes' memory, a container's processes run.
 */
#pragma once

#include "box/oci.h"

/* Runs `pid` (0: this process) on the CPUs of a list; with NULL on all that its cgroup allows.  `what`: the field, for `e`. */
int numa_run_on(pid_t pid, const char *list, const char *what, struct err *e);
/* Of this process, and of what it executes. */
int numa_set_policy(const struct oci_memory_policy *p, struct err *e);
