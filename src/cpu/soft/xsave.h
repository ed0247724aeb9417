/*
 * cpu/soft/xsave.h: XSAVE, XSAVEOPT, XSAVEC and XRSTOR, and what they share with FXSAVE.
 */
#pragma once

#include "cpu/soft/soft.h"

/* Handlers; uop.aux is 64 with REX.W. */
void soft_op_xsave(struct soft_cpu *c, const struct uop *op);
void soft_op_xsaveopt(struct soft_cpu *c, const struct uop *op);
void soft_op_xsavec(struct soft_cpu *c, const struct uop *op);
void soft_op_xrstor(struct soft_cpu *c, const struct uop *op);

/* insn_fpu.c: bytes 0 to 23 and 32 to 159 of an image that a guest sees.  `wide`: 64-bit pointers, no selectors. */
void soft_image_x87(struct soft_cpu *c, u8 *image, bool wide);
void soft_image_x87_take(struct soft_cpu *c, const u8 *image, bool wide);
/* Vector registers that the code in force can name. */
u32 soft_vec_count(const struct soft_cpu *c);
