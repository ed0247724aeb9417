/*
 * cpu/soft/debug.h: stops for a debugger.
 */
#pragma once

#include "cpu/soft/soft.h"

int soft_debug_set(struct vcpu *v, const struct cpu_debug *d, struct err *e);
/* Between two instructions, while c->debugging: true, and v->debug is set, when the vCPU is to stop here. */
bool soft_debug_stop(struct soft_cpu *c);
/* An access, while c->debugging. */
void soft_debug_access(struct soft_cpu *c, u64 lin, u32 size, bool write);
