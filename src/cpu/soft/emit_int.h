/*
 * cpu/soft/emit_int.h: how the rows of the integer tables pick a handler by operand forms and size.
 */
#pragma once

#include "cpu/soft/insn.h"

/* Forms of a two-operand instruction: r register, m memory, i immediate. */
enum int_form { FORM_RR, FORM_RI, FORM_RM, FORM_MR, FORM_MI, FORM_LOCK_MR, FORM_LOCK_MI, FORMS };

/* log2 of the bytes of an operand: 0 to 3. */
u32 emit_size(const ZydisDecodedOperand *o);
/* Operands 0 and 1 into dst, src, imm and the address. */
enum int_form emit_form(struct emit *m);

/* row->data: uop_fn [FORMS][4]. */
void emit_alu(struct emit *m);
/* As emit_alu; segment, control and debug registers are handed to insn_sys.c and insn_far.c. */
void emit_mov(struct emit *m);
/* row->data: uop_fn [2: from register, from memory][3: from 8, 16, 32][4]. */
void emit_extend(struct emit *m);
/* row->data: uop_fn [4]. */
void emit_lea(struct emit *m);
/* row->data: uop_fn [3: register, memory, locked memory][4]. */
void emit_alu1(struct emit *m);
/* row->data: uop_fn [4: register by imm, by CL, memory by imm, by CL][4]. */
void emit_shift(struct emit *m);
/* row->data: uop_fn [3: register, memory, immediate][4]; segment registers are handed to insn_far.c. */
void emit_push(struct emit *m);
void emit_pop(struct emit *m);

/* insn_sys.c: MOV of control and debug registers. */
void emit_mov_cr(struct emit *m);
void emit_mov_dr(struct emit *m);
