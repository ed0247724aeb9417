/*
 * cpu/soft/insn_tables.c: GDTR, IDTR, LDTR and TR: LGDT, SGDT and the like.  (Intel SDM volume 2; volume 3, chapter 2.4)
 */
#include "cpu/soft/alu.h"
#include "cpu/soft/insn.h"
#include "cpu/soft/seg.h"

/* uop.aux: which table; OPERAND_MEM: the operand of LLDT and the like is in memory. */
enum { TABLE_GDT, TABLE_IDT };
enum { IN_LDTR = SEG_LDTR, IN_TR = SEG_TR, OPERAND_MEM = 0x100 };

static void need_ring0(struct soft_cpu *c, const struct uop *op)
{
    if (c->cpl != 0)
        soft_raise_error(c, op, VEC_GP, 0);
}

/* User-mode instruction prevention: programs shall not learn where tables are. */
static void need_umip_leave(struct soft_cpu *c, const struct uop *op)
{
    if (c->cpl != 0 && (c->cr4 & CR4_UMIP))
        soft_raise_error(c, op, VEC_GP, 0);
}

/* op->dst: bytes of the base, 3 for 16-bit operand size. */
static void op_lgdt(struct soft_cpu *c, const struct uop *op)
{
    bool wide = op->dst == 8;
    u64 at, base;
    u16 limit;

    need_ring0(c, op);
    at = soft_lin(c, op, wide ? 10 : 6, ACC_READ);
    limit = soft_load16(c, op, at);
    base = wide ? soft_load64(c, op, at + 2) : soft_load32(c, op, at + 2);
    if (op->dst == 3)
        base &= 0xffffff;
    if (!soft_canonical(base))
        soft_raise_error(c, op, VEC_GP, 0);
    if (op->aux == TABLE_GDT) {
        c->gdt_base = base;
        c->gdt_limit = limit;
    } else {
        c->idt_base = base;
        c->idt_limit = limit;
    }
    UOP_NEXT;
}

static void op_sgdt(struct soft_cpu *c, const struct uop *op)
{
    u64 base = op->aux == TABLE_GDT ? c->gdt_base : c->idt_base;
    u8 image[10];

    need_umip_leave(c, op);
    le_store(image, 2, op->aux == TABLE_GDT ? c->gdt_limit : c->idt_limit);
    le_store(image + 2, 8, base);
    soft_store_bytes(c, op, soft_lin(c, op, op->dst == 8 ? 10 : 6, ACC_WRITE), image,
                     op->dst == 8 ? 10 : 6);
    UOP_NEXT;
}

static void emit_table(struct emit *m)
{
    bool code64 = (m->key & KEY_SIZE) == SIZE_64, idt;

    idt = m->row->mnemonic == ZYDIS_MNEMONIC_LIDT || m->row->mnemonic == ZYDIS_MNEMONIC_SIDT;
    emit_mem(m, &m->opnd[0]);
    m->op->aux = idt ? TABLE_IDT : TABLE_GDT;
    m->op->dst = code64 ? 8 : m->osize == 1 ? 3 : 4;
    m->op->fn = m->row->fn;
}

static u16 operand16(struct soft_cpu *c, const struct uop *op)
{
    if (op->aux & OPERAND_MEM)
        return soft_load16(c, op, soft_lin(c, op, 2, ACC_READ));
    return REG_GET(16, op->src);
}

static void check_table_op(struct soft_cpu *c, const struct uop *op)
{
    if (!soft_protected(c))
        soft_raise(c, op, VEC_UD);
    need_ring0(c, op);
}

/* The descriptor that LLDT or LTR is to load; `types`: which it may have. */
static void fetch_system(struct soft_cpu *c, const struct uop *op, u16 selector, u32 types,
                         struct seg_desc *ret)
{
    struct seg_for w = SEG_FOR(op);

    if ((selector & 4) || !seg_fetch(c, w, selector, ret) || (ret->s.attr & SEG_S) ||
        !(types >> seg_type(&ret->s) & 1))
        seg_fail(c, w, VEC_GP, selector);
    if (!(ret->s.attr & SEG_P))
        seg_fail(c, w, VEC_NP, selector);
    if (soft_long_mode(c)) {
        ret->s.base |= seg_fetch_upper(c, w, ret) << 32;
        if (!soft_canonical(ret->s.base))
            seg_fail(c, w, VEC_GP, selector);
    }
}

static void op_lldt(struct soft_cpu *c, const struct uop *op)
{
    struct seg_desc d;
    u16 selector;

    check_table_op(c, op);
    selector = operand16(c, op);
    if (seg_is_null(selector)) {
        c->seg[SEG_LDTR] = seg_null(selector);
    } else {
        fetch_system(c, op, selector, 1u << SYS_LDT, &d);
        c->seg[SEG_LDTR] = d.s;
    }
    UOP_NEXT;
}

static void op_ltr(struct soft_cpu *c, const struct uop *op)
{
    struct seg_for w = SEG_FOR(op);
    struct seg_desc d;
    u16 selector;

    check_table_op(c, op);
    selector = operand16(c, op);
    if (seg_is_null(selector))
        seg_fail(c, w, VEC_GP, 0);
    fetch_system(c, op, selector,
                 soft_long_mode(c) ? 1u << SYS_TSS32 : 1u << SYS_TSS16 | 1u << SYS_TSS32, &d);
    if (seg_type_set(c, w, d.at, SYS_BUSY) & SYS_BUSY)
        seg_fail(c, w, VEC_GP, selector); /* another vCPU was faster */
    d.s.attr |= SYS_BUSY;
    c->seg[SEG_TR] = d.s;
    UOP_NEXT;
}

/* op->imm: bytes of a register operand. */
static void op_sldt(struct soft_cpu *c, const struct uop *op)
{
    u16 selector = c->seg[op->aux & 0xff].selector;

    if (!soft_protected(c))
        soft_raise(c, op, VEC_UD);
    need_umip_leave(c, op);
    if (op->aux & OPERAND_MEM)
        soft_store16(c, op, soft_lin(c, op, 2, ACC_WRITE), selector);
    else if (op->imm == 2)
        reg_put16(c, op->src, selector);
    else
        reg_put64(c, op->src, selector);
    UOP_NEXT;
}

static void emit_register(struct emit *m)
{
    const ZydisDecodedOperand *o = &m->opnd[0];
    bool ldtr = m->row->mnemonic == ZYDIS_MNEMONIC_SLDT || m->row->mnemonic == ZYDIS_MNEMONIC_LLDT;

    m->op->aux = ldtr ? IN_LDTR : IN_TR;
    m->op->imm = o->size / 8;
    if (o->type == ZYDIS_OPERAND_TYPE_MEMORY) {
        m->op->aux |= OPERAND_MEM;
        emit_mem(m, o);
    } else {
        m->op->src = emit_reg(o->reg.value);
    }
    m->op->fn = m->row->fn;
}

/* clang-format off */
const struct insn_row insn_tables_rows[] = {
    { ZYDIS_MNEMONIC_LGDT, F_ALWAYS, INSN_NO_FUZZ, emit_table,    .fn = op_lgdt },
    { ZYDIS_MNEMONIC_LIDT, F_ALWAYS, INSN_NO_FUZZ, emit_table,    .fn = op_lgdt },
    { ZYDIS_MNEMONIC_SGDT, F_ALWAYS, INSN_NO_FUZZ, emit_table,    .fn = op_sgdt },
    { ZYDIS_MNEMONIC_SIDT, F_ALWAYS, INSN_NO_FUZZ, emit_table,    .fn = op_sgdt },
    { ZYDIS_MNEMONIC_LLDT, F_ALWAYS, INSN_NO_FUZZ, emit_register, .fn = op_lldt },
    { ZYDIS_MNEMONIC_LTR,  F_ALWAYS, INSN_NO_FUZZ, emit_register, .fn = op_ltr },
    { ZYDIS_MNEMONIC_SLDT, F_ALWAYS, INSN_NO_FUZZ, emit_register, .fn = op_sldt },
    { ZYDIS_MNEMONIC_STR,  F_ALWAYS, INSN_NO_FUZZ, emit_register, .fn = op_sldt },
    {},
};
/* clang-format on */
