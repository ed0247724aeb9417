/*
 * cpu/soft/insn.h: the one table of instructions: from it the decoder makes uops, CPUID decides what exists, and the
 * tests and the fuzzer take what to generate and which flags are undefined.  Rows stand with their handlers, in insn_*.c.
 */
#pragma once

#include "cpu/features.h"
#include "cpu/soft/soft.h"

#include <Zydis/Zydis.h>

struct insn_row;

/* What the decoder knows while it makes one uop. */
struct emit {
    const struct soft_cpu *c;
    const struct insn_row *row;
    const ZydisDecodedInstruction *in;
    const ZydisDecodedOperand *opnd; /* explicit ones first */
    struct uop *op;  /* zeroed but for off, len; base, index: REG_ZERO; seg: SEG_FLAT */
    const u8 *bytes; /* the instruction: in->length of them */
    u64 block_gpa;   /* of the block's first byte */
    u32 key;         /* KEY_* of the code */
    u32 osize;       /* operand size, log2 of bytes: 0..3 */
    bool ends;       /* set by the row: the block ends after this instruction */
    uop_fn
        passing; /* set by the row: the handler with which the block may go on behind it all the same, or NULL */
};

/* Fills m->op; sets op->fn last.  May set fn to soft_op_ud. */
typedef void (*emit_fn)(struct emit *m);

enum {
    INSN_ENDS = 1, /* the block ends after it: RIP or what is in force may change */
    INSN_LOCK =
        2, /* LOCK is allowed with a memory destination (else #UD by the decoder, which Zydis does) */
    INSN_NO_FUZZ = 4, /* cannot run natively in ring 3 with the same meaning */
    INSN_COPY = 8, /* the translator writes it as it is, with other registers and another address */
};

struct insn_row {
    ZydisMnemonic mnemonic;
    u8 feature; /* enum cpu_feature */
    u8 flags;   /* INSN_* */
    emit_fn emit;
    u32 undefined; /* RF_* that the manuals leave undefined after it */
    uop_fn fn; /* for emit functions that serve many rows: the handler, or the first of an array */
    const void *data; /* the emit function's own */
};

/* Each insn_*.c has one; the last row has no emit. */
extern const struct insn_row insn_int_rows[], insn_int2_rows[], insn_flow_rows[],
    insn_string_rows[], insn_sys_rows[], insn_cr_rows[] /* control and debug registers */,
    insn_io_rows[], insn_fpu_rows[], insn_vec_rows[];
extern const struct insn_row insn_seg_rows[], insn_tables_rows[] /* LGDT … STR */,
    insn_flags_rows[] /* PUSHF, CLI, INT n */, insn_iret_rows[],
    insn_call_rows[] /* SYSCALL, SYSENTER and back */;
/* Row of a mnemonic, or NULL: then the native stubs may know it by its ISA set. */
const struct insn_row *insn_row_of(ZydisMnemonic m);

/* decode.c: what the instruction at `bytes` is, of at most `n`, in code of mode `key`. */
ZyanStatus soft_decode_one(const struct soft_cpu *c, u32 key, const u8 *bytes, u32 n,
                           ZydisDecodedInstruction *in, ZydisDecodedOperand *opnd);

/* stub.c: an instruction that works on registers and at most one memory operand runs on the host's CPU.  False: not such a one. */
bool insn_native(struct emit *m);

/* Byte offset of a general register in soft_cpu.reg. */
u8 emit_reg(ZydisRegister r);
/* Fills base, index, scale, disp, seg, asize from a memory operand. */
void emit_mem(struct emit *m, const ZydisDecodedOperand *o);
bool emit_has(const struct emit *m, enum cpu_feature f);

/* Forms of mnemonics whose rows are in insn_flow.c and insn_int.c: far JMP, CALL and RET; MOV, PUSH and POP with a segment register. */
void emit_far_jmp(struct emit *m);
void emit_far_call(struct emit *m);
void emit_far_ret(struct emit *m);
void emit_mov_sreg(struct emit *m); /* either way */
void emit_push_sreg(struct emit *m);
void emit_pop_sreg(struct emit *m);

/* Is it a handler of insn_vec.c? */
bool insn_is_vec_move(uop_fn fn);

/* Handlers every table may use. */
void soft_op_ud(struct soft_cpu *c, const struct uop *op);
void soft_op_nop(struct soft_cpu *c, const struct uop *op);
/* Goes on with the next instruction of the block. */
#define UOP_NEXT return op[1].fn(c, op + 1)
