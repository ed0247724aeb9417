/*
 * cpu/soft/stub_trap.h: how a trap of the host's CPU inside a stub becomes the stub's result.
 */
#pragma once

#include "base/base.h"

/* Installs the signal handlers; process-wide, any number of times. */
int soft_stubs_catch(struct err *e);
/* stub.c.  Is `rip` of the host a guest's instruction in a stub of any vCPU?  Then *ret_pad is where to go on, with the vector in EAX. */
bool soft_stub_pad(u64 rip, u64 *ret_pad);
