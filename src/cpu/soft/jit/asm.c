/*
 * cpu/soft/jit/asm.c: see asm.h.
 */
#include "cpu/soft/jit/asm.h"

void asm_byte(struct jit_asm *a, u32 b)
{
    must(a->at < a->end); /* room for the longest block was made before */
    a->area[a->at++] = (u8)b;
}

void asm_bytes(struct jit_asm *a, u32 n, u64 v)
{
    for (u32 i = 0; i < n; i++)
        asm_byte(a, (u8)(v >> (8 * i)));
}

static void rex_op(struct jit_asm *a, u32 rex, u32 op)
{
    if (rex)
        asm_byte(a, 0x40 | rex);
    if (op > 0xff)
        asm_byte(a, op >> 8);
    asm_byte(a, op);
}

void asm_rr(struct jit_asm *a, bool wide, u32 op, u32 reg, u32 rm)
{
    rex_op(a, (wide ? 8u : 0) | (reg > 7 ? 4u : 0) | (rm > 7 ? 1u : 0), op);
    asm_byte(a, 0xc0 | (reg & 7) << 3 | (rm & 7));
}

void asm_address(struct jit_asm *a, u32 reg, const struct asm_mem *m)
{
    u32 mod = m->disp == 0 && (m->base & 7) != RBP ? 0 : m->disp == (s8)m->disp ? 0x40 : 0x80;
    u32 r = (reg & 7) << 3;

    if (m->base == NO_REG) { /* a 32-bit displacement, and perhaps an index */
        asm_byte(a, r | 4);
        asm_byte(a, (m->index == NO_REG ? 0x25 : (u32)m->scale << 6 | (m->index & 7u) << 3 | 5));
        asm_bytes(a, 4, (u32)m->disp);
        return;
    }
    if (m->index != NO_REG) {
        asm_byte(a, mod | r | 4);
        asm_byte(a, (u32)m->scale << 6 | (m->index & 7u) << 3 | (m->base & 7u));
    } else {
        asm_byte(a, mod | r | (m->base & 7u));
        if ((m->base & 7) == RSP)
            asm_byte(a, 0x24);
    }
    if (mod == 0x40)
        asm_byte(a, (u8)m->disp);
    else if (mod == 0x80)
        asm_bytes(a, 4, (u32)m->disp);
}

void asm_rmx(struct jit_asm *a, bool wide, u32 op, u32 reg, struct asm_mem m)
{
    u32 rex = (wide ? 8u : 0) | (reg > 7 ? 4u : 0) | (m.index != NO_REG && m.index > 7 ? 2u : 0) |
              (m.base != NO_REG && m.base > 7 ? 1u : 0);

    rex_op(a, rex, op);
    asm_address(a, reg, &m);
}

void asm_rm(struct jit_asm *a, bool wide, u32 op, u32 reg, u32 base, s32 disp)
{
    asm_rmx(a, wide, op, reg, (struct asm_mem){ (u8)base, NO_REG, 0, disp });
}

static bool is_byte(s32 v)
{
    return v == (s8)v;
}

void asm_ri(struct jit_asm *a, bool wide, u32 ext, u32 reg, s32 imm)
{
    asm_rr(a, wide, is_byte(imm) ? 0x83 : 0x81, ext, reg);
    asm_bytes(a, is_byte(imm) ? 1 : 4, (u32)imm);
}

void asm_mi(struct jit_asm *a, bool wide, u32 ext, u32 base, s32 disp, s32 imm)
{
    asm_rm(a, wide, is_byte(imm) ? 0x83 : 0x81, ext, base, disp);
    asm_bytes(a, is_byte(imm) ? 1 : 4, (u32)imm);
}

void asm_mov_mi(struct jit_asm *a, bool wide, u32 base, s32 disp, s32 imm)
{
    asm_rm(a, wide, OP_MOV_IMM, 0, base, disp);
    asm_bytes(a, 4, (u32)imm);
}

void asm_mov_imm(struct jit_asm *a, u32 reg, u64 imm)
{
    bool wide = imm > 0xffffffff;

    rex_op(a, (wide ? 8u : 0) | (reg > 7 ? 1u : 0), 0xb8 | (reg & 7));
    asm_bytes(a, wide ? 8 : 4, imm);
}

void asm_mov(struct jit_asm *a, u32 to, u32 from)
{
    asm_rr(a, true, OP_MOV, to, from);
}

void asm_shift(struct jit_asm *a, bool wide, u32 ext, u32 reg, u32 n)
{
    asm_rr(a, wide, 0xc1, ext, reg);
    asm_byte(a, n);
}

static u32 rel32(struct jit_asm *a)
{
    asm_bytes(a, 4, 0);
    return a->at - 4;
}

u32 asm_jmp(struct jit_asm *a)
{
    asm_byte(a, 0xe9);
    return rel32(a);
}

u32 asm_jcc(struct jit_asm *a, u32 cc)
{
    asm_byte(a, 0x0f);
    asm_byte(a, 0x80 | cc);
    return rel32(a);
}

u32 asm_call(struct jit_asm *a)
{
    asm_byte(a, 0xe8);
    return rel32(a);
}

void asm_aim(const struct jit_asm *a, u32 at, u32 target)
{
    u32 rel = target - (at + 4);

    memcpy(a->area + at, &rel, 4);
}

void asm_jmp_to(struct jit_asm *a, u32 target)
{
    asm_aim(a, asm_jmp(a), target);
}
