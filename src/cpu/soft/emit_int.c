/*
 * cpu/soft/emit_int.c: picks the handlers of integer instructions.
 */
#include "cpu/soft/emit_int.h"

#define IS_REG(o) ((o)->type == ZYDIS_OPERAND_TYPE_REGISTER)
#define IS_MEM(o) ((o)->type == ZYDIS_OPERAND_TYPE_MEMORY)
#define IS_IMM(o) ((o)->type == ZYDIS_OPERAND_TYPE_IMMEDIATE)

u32 emit_size(const ZydisDecodedOperand *o)
{
    return o->size >= 64 ? 3 : o->size == 32 ? 2 : o->size == 16 ? 1 : 0;
}

static bool is_locked(const struct emit *m)
{
    return m->in->attributes & ZYDIS_ATTRIB_HAS_LOCK;
}

enum int_form emit_form(struct emit *m)
{
    const ZydisDecodedOperand *a = &m->opnd[0], *b = &m->opnd[1];

    if (IS_MEM(a)) {
        emit_mem(m, a);
        if (IS_IMM(b)) {
            m->op->imm = b->imm.value.u;
            return is_locked(m) ? FORM_LOCK_MI : FORM_MI;
        }
        m->op->src = emit_reg(b->reg.value);
        return is_locked(m) ? FORM_LOCK_MR : FORM_MR;
    }
    m->op->dst = emit_reg(a->reg.value);
    if (IS_IMM(b)) {
        m->op->imm = b->imm.value.u;
        return FORM_RI;
    }
    if (IS_MEM(b)) {
        emit_mem(m, b);
        return FORM_RM;
    }
    m->op->src = emit_reg(b->reg.value);
    return FORM_RR;
}

void emit_alu(struct emit *m)
{
    const uop_fn(*fns)[4] = m->row->data;

    m->op->fn = fns[emit_form(m)][emit_size(&m->opnd[0])];
}

static ZydisRegisterClass class_of(const ZydisDecodedOperand *o)
{
    return IS_REG(o) ? ZydisRegisterGetClass(o->reg.value) : ZYDIS_REGCLASS_INVALID;
}

void emit_mov(struct emit *m)
{
    ZydisRegisterClass a = class_of(&m->opnd[0]), b = class_of(&m->opnd[1]);

    if (a == ZYDIS_REGCLASS_SEGMENT || b == ZYDIS_REGCLASS_SEGMENT)
        emit_mov_sreg(m);
    else if (a == ZYDIS_REGCLASS_CONTROL || b == ZYDIS_REGCLASS_CONTROL)
        emit_mov_cr(m);
    else if (a == ZYDIS_REGCLASS_DEBUG || b == ZYDIS_REGCLASS_DEBUG)
        emit_mov_dr(m);
    else if (a == ZYDIS_REGCLASS_TEST || b == ZYDIS_REGCLASS_TEST)
        m->op->fn = soft_op_ud;
    else
        emit_alu(m);
}

void emit_extend(struct emit *m)
{
    const uop_fn(*fns)[3][4] = m->row->data;
    bool mem = emit_form(m) == FORM_RM;

    m->op->fn = fns[mem][emit_size(&m->opnd[1])][emit_size(&m->opnd[0])];
}

void emit_lea(struct emit *m)
{
    const uop_fn *fns = m->row->data;

    emit_form(m);
    m->op->fn = fns[emit_size(&m->opnd[0])];
}

void emit_alu1(struct emit *m)
{
    const uop_fn(*fns)[4] = m->row->data;
    const ZydisDecodedOperand *a = &m->opnd[0];

    if (IS_MEM(a))
        emit_mem(m, a);
    else
        m->op->dst = emit_reg(a->reg.value);
    m->op->fn = fns[IS_REG(a) ? 0 : is_locked(m) ? 2 : 1][emit_size(a)];
}

void emit_shift(struct emit *m)
{
    const uop_fn(*fns)[4] = m->row->data;
    const ZydisDecodedOperand *a = &m->opnd[0], *b = &m->opnd[1];

    if (IS_MEM(a))
        emit_mem(m, a);
    else
        m->op->dst = emit_reg(a->reg.value);
    if (IS_IMM(b))
        m->op->imm = b->imm.value.u;
    m->op->fn = fns[(IS_MEM(a) ? 2 : 0) + (IS_IMM(b) ? 0 : 1)][emit_size(a)];
}

void emit_push(struct emit *m)
{
    const uop_fn(*fns)[4] = m->row->data;
    const ZydisDecodedOperand *a = &m->opnd[0];

    if (class_of(a) == ZYDIS_REGCLASS_SEGMENT) {
        emit_push_sreg(m);
        return;
    }
    if (IS_MEM(a))
        emit_mem(m, a);
    else if (IS_IMM(a))
        m->op->imm = a->imm.is_signed ? (u64)a->imm.value.s : a->imm.value.u;
    else
        m->op->src = emit_reg(a->reg.value);
    if (!IS_MEM(a))
        m->op->seg = SEG_FLAT_SS;
    m->op->fn = fns[IS_REG(a) ? 0 : IS_MEM(a) ? 1 : 2][m->osize];
}

void emit_pop(struct emit *m)
{
    const uop_fn(*fns)[4] = m->row->data;
    const ZydisDecodedOperand *a = &m->opnd[0];

    if (class_of(a) == ZYDIS_REGCLASS_SEGMENT) {
        emit_pop_sreg(m);
        return;
    }
    if (IS_MEM(a))
        emit_mem(m, a);
    else
        m->op->dst = emit_reg(a->reg.value);
    if (!IS_MEM(a))
        m->op->seg = SEG_FLAT_SS;
    m->op->fn = fns[IS_REG(a) ? 0 : 1][m->osize];
}
