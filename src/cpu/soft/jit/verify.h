/*
 * cpu/soft/jit/verify.h: looks at translated code without knowing how it was made.  For tests only.
 */
#pragma once

#include "cpu/soft/soft.h"

/*
 * "": every access to memory in the vCPU's translations is one to struct soft_cpu, to an entry of the TLB or of the table of
 * jumps, or to the guest's memory right after the comparison with a TLB entry that allows it, of no more bytes.  Else what is
 * wrong, with the offset in the area in *ret_at.
 */
const char *jit_verify(const struct soft_cpu *c, u32 *ret_at);
