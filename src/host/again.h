/*
 * host/again.h: a machine that goes on from a saved state: what the guest has seen is as the state says, what the host provides as we say now.
 */
#pragma once

#include "vm/spec.h"

/*
 * In each, `s` is what the state says, `now` what is said now, out of which strings move.  -EINVAL: they do not fit.
 */
/* Their files, when there are any in `now`. */
int again_take_disks(struct vm_spec *s, struct vm_spec *now, struct err *e);
/* A clone's card gets an address that nobody else has, unless it is in `now`. */
int again_take_nets(struct vm_spec *s, struct vm_spec *now, struct err *e);
/* What is of the process and not of the machine. */
void again_take_process(struct vm_spec *s, struct vm_spec *now);
/* All of these, name, UUID, vsock's path and engine; then spec_check. */
int again_merge(struct vm_spec *s, struct vm_spec *now, struct err *e);

/* The string moves; what was there is freed. */
void again_move(char **to, char **from);
