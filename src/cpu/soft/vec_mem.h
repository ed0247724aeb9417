/*
 * cpu/soft/vec_mem.h: vector instructions that reach memory element by element: gathers and masked moves.
 */
#pragma once

#include "cpu/soft/insn.h"

/* For the rows of insn_fpu.c. */
void soft_emit_gather(struct emit *m);
void soft_emit_vmaskmov(struct emit *m);
void soft_emit_maskmov(struct emit *m);
