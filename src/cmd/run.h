/*
 * cmd/run.h: what the command line of `socle run` says.
 */
#pragma once

#include "vm/spec.h"

struct run {
    struct vm_spec spec;
    u32 timeout; /* seconds; 0: none */
};

/* The machine that the words describe.  0; 1: help was asked for; -EINVAL with `e`.  Finish with run_fini, also after a failure. */
int run_parse(struct run *ret, int argc, char **argv, struct err *e);
void run_fini(struct run *run);
