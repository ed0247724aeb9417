/*
 * cpu/soft/stub_trap.h: how a trap of the host's CPU inside a stub becomes the stub's result.
 */
#pragma once

#include "base/base.h"

/* Installs the signal handlers; process-wide, any number of times. */
int soft_stubs_catch(struct err *e);
/* stub.c.  Whose instruction of a guest is `rip` of the host, of any vCPU's?  Then *ret_pad is where to go on.  `at`: the address of a page
 * fault, which only a translation may have; else 0. */
enum soft_trap {
    SOFT_TRAP_NONE,
    SOFT_TRAP_STUB, /* with the vector in EAX */
    SOFT_TRAP_JIT,  /* with all registers as they are */
};
enum soft_trap soft_trap_pad(u64 rip, u64 at, u64 *ret_pad);
