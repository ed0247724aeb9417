/*
 * cpu/walk.h: where does a linear address of the guest lie in guest-physical memory?  For debuggers and profiles: without side
 * effects (no accessed or dirty bits), without rights (a debugger may look everywhere), for both engines.
 */
#pragma once

#include "cpu/vcpu_state.h"

struct mem;

struct walk {
    u64 gpa;
    u64 left; /* bytes from there to the end of the page, never 0 */
};

/* As the vCPU in state `s` would translate `gva` now.  0; -EFAULT when it is not mapped or a table is not in RAM. */
int walk_gva(const struct vcpu_state *s, const struct mem *m, u64 gva, struct walk *ret);

/* Copies between the guest's linear addresses and `buf`.  Bytes done, fewer than `len` when the next is not mapped or not RAM. */
u64 walk_read(const struct vcpu_state *s, const struct mem *m, u64 gva, void *buf, u64 len);
u64 walk_write(const struct vcpu_state *s, struct mem *m, u64 gva, const void *buf, u64 len);
