/*
 * cpu/soft/jit/asm.h: writes x86-64 instructions of the host, one call an instruction.
 * (Intel SDM volume 2, chapter 2)
 */
#pragma once

#include "cpu/soft/soft.h"

enum { RAX, RCX, RDX, RBX, RSP, RBP, RSI, RDI, R8, R9, R10, R11, R12, R13, R14, R15, NO_REG = 255 };

/* Opcodes; two bytes begin with 0x0f.  OP_x: register, register or memory; as asm_rr and asm_rm want them. */
enum {
    OP_ADD = 0x03,
    OP_ADD_TO = 0x01, /* memory first */
    OP_AND = 0x23,
    OP_SUB = 0x2b,
    OP_SUB_TO = 0x29,
    OP_XOR = 0x33,
    OP_CMP = 0x3b,
    OP_CMP_TO = 0x39, /* memory first */
    OP_MOV = 0x8b,
    OP_MOV_TO = 0x89, /* into memory, or into the second register */
    OP_LEA = 0x8d,
    OP_SBB = 0x1b,
    OP_BT_TO = 0x0fa3, /* of a string of bits in memory */
    OP_OR = 0x0b,
    OP_MOVSXD = 0x63,
    OP_IMUL_IMM = 0x69, /* a 32-bit immediate follows */
    OP_MOV_IMM = 0xc7,  /* here, too */
    OP_MOVZX16 = 0x0fb7,
    PREFIX_GS = 0x65,
    EXT_ADD = 0, /* the ModRM digit of opcode 0x81 */
    EXT_OR = 1,
    EXT_AND = 4,
    EXT_SUB = 5,
    EXT_XOR = 6,
    EXT_CMP = 7,
    EXT_CALL = 2, /* of 0xff */
    EXT_JMP = 4,
    EXT_SHL = 4, /* of 0xc1 */
    EXT_SHR = 5,
    EXT_SAR = 7,
    CC_B = 2,
    CC_AE = 3,
    CC_Z = 4,
    CC_NZ = 5,
    CC_S = 8,
    CC_NS = 9,
    CC_L = 12,
    CC_GE = 13,
};

/* Where code goes: `at` is an offset in the area, the same for both of its mappings. */
struct jit_asm {
    u8 *area; /* the mapping that is written */
    u32 at, end;
};

/* An address. */
struct asm_mem {
    u8 base, index; /* or NO_REG */
    u8 scale;       /* index is shifted by it */
    s32 disp;
};

void asm_byte(struct jit_asm *a, u32 b);
void asm_bytes(struct jit_asm *a, u32 n, u64 v);

/* wide: 64 bits, else 32. */
void asm_rr(struct jit_asm *a, bool wide, u32 op, u32 reg, u32 rm);
void asm_rm(struct jit_asm *a, bool wide, u32 op, u32 reg, u32 base, s32 disp);
void asm_rmx(struct jit_asm *a, bool wide, u32 op, u32 reg, struct asm_mem m);
/* ModRM, SIB and displacement of an instruction whose other register is `reg`. */
void asm_address(struct jit_asm *a, u32 reg, const struct asm_mem *m);
/* Opcode 0x81: arithmetic of a register, or of memory, and an immediate. */
void asm_ri(struct jit_asm *a, bool wide, u32 ext, u32 reg, s32 imm);
void asm_mi(struct jit_asm *a, bool wide, u32 ext, u32 base, s32 disp, s32 imm);
/* Opcode 0xc7: MOV of a sign-extended immediate. */
void asm_mov_mi(struct jit_asm *a, bool wide, u32 base, s32 disp, s32 imm);
void asm_mov_imm(struct jit_asm *a, u32 reg, u64 imm);
void asm_mov(struct jit_asm *a, u32 to, u32 from);
void asm_shift(struct jit_asm *a, bool wide, u32 ext, u32 reg, u32 n);

/* A jump or call whose target is not known yet; returns where its displacement is. */
u32 asm_jmp(struct jit_asm *a);
u32 asm_jcc(struct jit_asm *a, u32 cc);
u32 asm_call(struct jit_asm *a);
/* Aims the displacement at `at` (also of an operand that is relative to RIP and ends its instruction). */
void asm_aim(const struct jit_asm *a, u32 at, u32 target);
void asm_jmp_to(struct jit_asm *a, u32 target);
