/*
 * cpu/soft/insn_seg.c: segment registers: loads, stores, far pointers; and what may be asked about a selector.
 * (Intel SDM volume 2; volume 3, chapter 5.10)
 */
#include "cpu/soft/alu.h"
#include "cpu/soft/cpuid.h"
#include "cpu/soft/insn.h"
#include "cpu/soft/seg.h"

/* uop.aux of these handlers: a segment register, or where the operand is. */
enum { OPERAND_REG, OPERAND_MEM };

static void reg_put(struct soft_cpu *c, u32 at, u32 bytes, u64 val)
{
    if (bytes == 2)
        reg_put16(c, at, (u16)val);
    else if (bytes == 4)
        reg_put32(c, at, (u32)val);
    else
        reg_put64(c, at, val);
}

/* ---- MOV, PUSH, POP ---- */

/* After a load: interrupts wait while a program sets SS and then its stack pointer. */
static void seg_loaded(struct soft_cpu *c, const struct uop *op, u32 seg)
{
    if (seg == SEG_SS) {
        c->shadow |= 1;
        soft_mode_changed(c);
    }
    soft_leave(c, soft_next_rip(c, op));
}

static void op_mov_from16(struct soft_cpu *c, const struct uop *op)
{
    reg_put16(c, op->dst, c->seg[op->aux].selector);
    UOP_NEXT;
}

static void op_mov_from(struct soft_cpu *c, const struct uop *op)
{
    reg_put64(c, op->dst, c->seg[op->aux].selector);
    UOP_NEXT;
}

static void op_mov_from_mem(struct soft_cpu *c, const struct uop *op)
{
    soft_store16(c, op, soft_lin(c, op, 2, ACC_WRITE), c->seg[op->aux].selector);
    UOP_NEXT;
}

static void op_mov_to(struct soft_cpu *c, const struct uop *op)
{
    soft_seg_load(c, op, op->aux, REG_GET(16, op->src));
    seg_loaded(c, op, op->aux);
}

static void op_mov_to_mem(struct soft_cpu *c, const struct uop *op)
{
    soft_seg_load(c, op, op->aux, soft_load16(c, op, soft_lin(c, op, 2, ACC_READ)));
    seg_loaded(c, op, op->aux);
}

/* op->dst: bytes of the slot. */
static void op_push(struct soft_cpu *c, const struct uop *op)
{
    struct stack s = stack_current(c, SEG_FOR(op), op->dst);

    stack_push(&s, c->seg[op->aux].selector);
    stack_commit(c, &s);
    UOP_NEXT;
}

static void op_pop(struct soft_cpu *c, const struct uop *op)
{
    struct stack s = stack_current(c, SEG_FOR(op), op->dst);
    u16 selector = (u16)stack_pop(&s);

    soft_seg_load(c, op, op->aux, selector);
    stack_commit(c, &s); /* in the width of the old SS */
    seg_loaded(c, op, op->aux);
}

static bool is_sreg(const ZydisDecodedOperand *o)
{
    return o->type == ZYDIS_OPERAND_TYPE_REGISTER && o->reg.value >= ZYDIS_REGISTER_ES &&
           o->reg.value <= ZYDIS_REGISTER_GS;
}

/* enum vcpu_seg has the order of the encoding, as Zydis. */
static u16 sreg(const ZydisDecodedOperand *o)
{
    return (u16)(o->reg.value - ZYDIS_REGISTER_ES);
}

static void emit_mov_from(struct emit *m)
{
    const ZydisDecodedOperand *o = &m->opnd[0];

    m->op->aux = sreg(&m->opnd[1]);
    if (o->type == ZYDIS_OPERAND_TYPE_MEMORY) {
        emit_mem(m, o);
        m->op->fn = op_mov_from_mem;
    } else {
        m->op->dst = emit_reg(o->reg.value);
        m->op->fn = o->size == 16 ? op_mov_from16 : op_mov_from;
    }
}

void emit_mov_sreg(struct emit *m)
{
    const ZydisDecodedOperand *o = &m->opnd[1];

    if (!is_sreg(&m->opnd[0])) {
        emit_mov_from(m);
        return;
    }
    m->ends = true;
    m->op->aux = sreg(&m->opnd[0]);
    if (m->op->aux == SEG_CS) {
        m->op->fn = soft_op_ud;
    } else if (o->type == ZYDIS_OPERAND_TYPE_MEMORY) {
        emit_mem(m, o);
        m->op->fn = op_mov_to_mem;
    } else {
        m->op->src = emit_reg(o->reg.value);
        m->op->fn = op_mov_to;
    }
}

void emit_push_sreg(struct emit *m)
{
    m->op->aux = sreg(&m->opnd[0]);
    m->op->dst = (u8)(1u << m->osize);
    m->op->fn = op_push;
}

void emit_pop_sreg(struct emit *m)
{
    m->ends = true;
    m->op->aux = sreg(&m->opnd[0]);
    m->op->dst = (u8)(1u << m->osize);
    m->op->fn = op_pop;
}

/* ---- LDS and its kin ---- */

/* op->imm: bytes of the offset. */
static void op_far_pointer(struct soft_cpu *c, const struct uop *op)
{
    u32 bytes = (u32)op->imm;
    u64 at = soft_lin(c, op, bytes + 2, ACC_READ), off;

    if (bytes == 8)
        off = soft_load64(c, op, at);
    else
        off = bytes == 4 ? soft_load32(c, op, at) : soft_load16(c, op, at);
    soft_seg_load(c, op, op->aux, soft_load16(c, op, at + bytes));
    reg_put(c, op->dst, bytes, off);
    soft_leave(c, soft_next_rip(c, op));
}

static void emit_far_pointer(struct emit *m)
{
    static const struct {
        ZydisMnemonic mnemonic;
        u16 seg;
    } of[] = {
        { ZYDIS_MNEMONIC_LES, SEG_ES }, { ZYDIS_MNEMONIC_LDS, SEG_DS },
        { ZYDIS_MNEMONIC_LSS, SEG_SS }, { ZYDIS_MNEMONIC_LFS, SEG_FS },
        { ZYDIS_MNEMONIC_LGS, SEG_GS },
    };

    for_each_row(i, of)
        if (i->mnemonic == m->row->mnemonic)
            m->op->aux = i->seg;
    emit_mem(m, &m->opnd[1]);
    m->op->dst = emit_reg(m->opnd[0].reg.value);
    m->op->imm = m->opnd[0].size / 8;
    if (m->op->imm == 8 && !soft_is_intel(m->c->vm))
        m->op->imm = 4; /* AMD has no m16:64 */
    m->op->fn = op_far_pointer;
}

/* ---- LAR, LSL, VERR, VERW, ARPL ---- */

/* Descriptor types that the question may be about beside code and data, outside and in long mode. */
enum {
    LAR_TYPES = 1 << SYS_TSS16 | 1 << SYS_LDT | 1 << SYS_TSS16_BUSY | 1 << SYS_CALL16 |
                1 << SYS_TASK_GATE | 1 << SYS_TSS32 | 1 << SYS_TSS32_BUSY | 1 << SYS_CALL32,
    LAR_TYPES_LONG = 1 << SYS_LDT | 1 << SYS_TSS32 | 1 << SYS_TSS32_BUSY | 1 << SYS_CALL32,
    LSL_TYPES =
        1 << SYS_TSS16 | 1 << SYS_LDT | 1 << SYS_TSS16_BUSY | 1 << SYS_TSS32 | 1 << SYS_TSS32_BUSY,
    LSL_TYPES_LONG = 1 << SYS_LDT | 1 << SYS_TSS32 | 1 << SYS_TSS32_BUSY,
};

static u16 operand16(struct soft_cpu *c, const struct uop *op)
{
    if (op->aux == OPERAND_MEM)
        return soft_load16(c, op, soft_lin(c, op, 2, ACC_READ));
    return REG_GET(16, op->src);
}

static void need_protected(struct soft_cpu *c, const struct uop *op)
{
    if (unlikely(!soft_protected(c)))
        soft_raise(c, op, VEC_UD);
}

/* Is there such a descriptor, and may the program know? */
static bool visible(struct soft_cpu *c, const struct uop *op, u16 selector, u32 types,
                    struct seg_desc *ret)
{
    if (seg_is_null(selector) || !seg_fetch(c, SEG_FOR(op), selector, ret))
        return false;
    if (!(ret->s.attr & SEG_S) && !(types >> seg_type(&ret->s) & 1))
        return false;
    if (seg_is_code(&ret->s) && seg_is_conforming(&ret->s))
        return true;
    return seg_dpl(&ret->s) >= max((u32)c->cpl, selector & 3u);
}

static void set_zf(struct soft_cpu *c, bool on)
{
    c->fl = (c->fl & ~FL_ZF) | (on ? FL_ZF : 0);
}

/* op->imm: bytes of the destination. */
static void op_lar(struct soft_cpu *c, const struct uop *op)
{
    u32 types = soft_long_mode(c) ? LAR_TYPES_LONG : LAR_TYPES;
    struct seg_desc d;
    bool ok;

    need_protected(c, op);
    ok = visible(c, op, operand16(c, op), types, &d);
    if (ok)
        reg_put(c, op->dst, (u32)op->imm, (d.raw >> 32) & 0x00ffff00);
    set_zf(c, ok);
    UOP_NEXT;
}

static void op_lsl(struct soft_cpu *c, const struct uop *op)
{
    u32 types = soft_long_mode(c) ? LSL_TYPES_LONG : LSL_TYPES;
    struct seg_desc d;
    bool ok;

    need_protected(c, op);
    ok = visible(c, op, operand16(c, op), types, &d);
    if (ok)
        reg_put(c, op->dst, (u32)op->imm, d.s.limit);
    set_zf(c, ok);
    UOP_NEXT;
}

static void op_verr(struct soft_cpu *c, const struct uop *op)
{
    struct seg_desc d;

    need_protected(c, op);
    set_zf(c, visible(c, op, operand16(c, op), 0, &d) &&
                  (d.s.attr & (SEG_CODE | SEG_WRITE)) != SEG_CODE);
    UOP_NEXT;
}

static void op_verw(struct soft_cpu *c, const struct uop *op)
{
    struct seg_desc d;

    need_protected(c, op);
    set_zf(c, visible(c, op, operand16(c, op), 0, &d) &&
                  (d.s.attr & (SEG_CODE | SEG_WRITE)) == SEG_WRITE);
    UOP_NEXT;
}

static void op_arpl(struct soft_cpu *c, const struct uop *op)
{
    u16 want = REG_GET(16, op->dst) & 3, val;
    u64 at = 0;

    need_protected(c, op);
    if (op->aux == OPERAND_MEM) {
        at = soft_lin(c, op, 2, ACC_WRITE);
        val = soft_load16(c, op, at);
    } else {
        val = REG_GET(16, op->src);
    }
    if ((val & 3) >= want) {
        set_zf(c, false);
        UOP_NEXT;
    }
    val = (u16)((val & ~3u) | want);
    if (op->aux == OPERAND_MEM)
        soft_store16(c, op, at, val);
    else
        reg_put16(c, op->src, val);
    set_zf(c, true);
    UOP_NEXT;
}

static void emit_source(struct emit *m, const ZydisDecodedOperand *o)
{
    if (o->type == ZYDIS_OPERAND_TYPE_MEMORY) {
        m->op->aux = OPERAND_MEM;
        emit_mem(m, o);
    } else {
        m->op->src = emit_reg(o->reg.value);
    }
    m->op->fn = m->row->fn;
}

static void emit_lar(struct emit *m)
{
    m->op->dst = emit_reg(m->opnd[0].reg.value);
    m->op->imm = m->opnd[0].size / 8;
    emit_source(m, &m->opnd[1]);
}

static void emit_ver(struct emit *m)
{
    emit_source(m, &m->opnd[0]);
}

static void emit_arpl(struct emit *m)
{
    m->op->dst = emit_reg(m->opnd[1].reg.value);
    emit_source(m, &m->opnd[0]);
}

/* ---- BOUND ---- */

/* op->imm: bytes of one bound. */
static void op_bound(struct soft_cpu *c, const struct uop *op)
{
    u32 bytes = (u32)op->imm;
    u64 at = soft_lin(c, op, 2 * bytes, ACC_READ);
    s32 val, low, high;

    if (bytes == 2) {
        val = (s16)REG_GET(16, op->dst);
        low = (s16)soft_load16(c, op, at);
        high = (s16)soft_load16(c, op, at + 2);
    } else {
        val = (s32)REG_GET(32, op->dst);
        low = (s32)soft_load32(c, op, at);
        high = (s32)soft_load32(c, op, at + 4);
    }
    if (val < low || val > high)
        soft_raise(c, op, VEC_BR);
    UOP_NEXT;
}

static void emit_bound(struct emit *m)
{
    emit_mem(m, &m->opnd[1]);
    m->op->dst = emit_reg(m->opnd[0].reg.value);
    m->op->imm = m->opnd[0].size / 8;
    m->op->fn = op_bound;
}

/* clang-format off */
const struct insn_row insn_seg_rows[] = {
    { ZYDIS_MNEMONIC_LDS,   F_ALWAYS, INSN_ENDS, emit_far_pointer },
    { ZYDIS_MNEMONIC_LES,   F_ALWAYS, INSN_ENDS, emit_far_pointer },
    { ZYDIS_MNEMONIC_LFS,   F_ALWAYS, INSN_ENDS, emit_far_pointer },
    { ZYDIS_MNEMONIC_LGS,   F_ALWAYS, INSN_ENDS, emit_far_pointer },
    { ZYDIS_MNEMONIC_LSS,   F_ALWAYS, INSN_ENDS, emit_far_pointer },
    { ZYDIS_MNEMONIC_LAR,   F_ALWAYS, INSN_NO_FUZZ, emit_lar,  .fn = op_lar }, /* the host's descriptors are not ours */
    { ZYDIS_MNEMONIC_LSL,   F_ALWAYS, INSN_NO_FUZZ, emit_lar,  .fn = op_lsl },
    { ZYDIS_MNEMONIC_VERR,  F_ALWAYS, INSN_NO_FUZZ, emit_ver,  .fn = op_verr },
    { ZYDIS_MNEMONIC_VERW,  F_ALWAYS, INSN_NO_FUZZ, emit_ver,  .fn = op_verw },
    { ZYDIS_MNEMONIC_ARPL,  F_ALWAYS, 0,            emit_arpl, .fn = op_arpl },
    { ZYDIS_MNEMONIC_BOUND, F_ALWAYS, 0,            emit_bound },
    {},
};
/* clang-format on */
