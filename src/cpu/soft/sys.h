/*
 * cpu/soft/sys.h: control and debug registers, for all who load them.
 */
#pragma once

#include "cpu/soft/soft.h"

/* MOV to CR0, CR3, CR4, XCR0 with all checks and consequences.  False: #GP(0), nothing changed. */
bool soft_set_cr0(struct soft_cpu *c, u64 val);
bool soft_set_cr3(struct soft_cpu *c, u64 val);
bool soft_set_cr4(struct soft_cpu *c, u64 val);
bool soft_set_xcr0(struct soft_cpu *c, u64 val);
/* Does this guest have all these bits of CR4? */
bool soft_cr4_ok(const struct soft_cpu *c, u64 val);

/* #GP(0) unless CPL is 0. */
static inline void soft_need_cpl0(struct soft_cpu *c, const struct uop *op)
{
    if (unlikely(c->cpl))
        soft_raise_error(c, op, VEC_GP, 0);
}
