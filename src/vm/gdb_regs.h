/*
 * vm/gdb_regs.h: which registers gdb sees, by which numbers, and where they lie in the engine-neutral state.
 * Always the 64-bit description, also while the guest is in another mode.
 */
#pragma once

#include "cpu/vcpu_state.h"

enum { GDB_REG_SIZE_MAX = 16 };

u32 gdb_regs_count(void);
/* Bytes of register `n` on the wire. */
u32 gdb_regs_size(u32 n);
/* gdb_regs_size bytes, little-endian. */
void gdb_regs_get(const struct vcpu_state *s, u32 n, u8 *ret);
void gdb_regs_set(struct vcpu_state *s, u32 n, const u8 *value);
/* The target description. (GDB manual, appendix G) */
void gdb_regs_xml(struct strbuf *out);
