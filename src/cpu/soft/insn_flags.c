/*
 * cpu/soft/insn_flags.c: PUSHF, POPF, CLI, STI, and the instructions that call interrupt handlers.
 * (Intel SDM volume 2, tables 4-15 to 4-17; volume 3, chapter 20.3 for virtual-8086 mode)
 */
#include "cpu/soft/code.h"
#include "cpu/soft/insn.h"
#include "cpu/soft/seg.h"

/* Virtual-8086 mode whose IOPL keeps the flags from the program. */
static bool vm86_guarded(const struct soft_cpu *c)
{
    return (c->eflags & RF_VM) && soft_iopl(c) < 3;
}

/* Flags as a guarded virtual-8086 program sees them with VME: IF is VIF. */
static u32 vme_flags(const struct soft_cpu *c)
{
    u32 f = soft_flags(c) & ~RF_IF;

    return f | RF_IOPL | (f & RF_VIF ? RF_IF : 0);
}

static void op_pushf(struct soft_cpu *c, const struct uop *op)
{
    struct stack s = stack_current(c, SEG_FOR(op), op->dst);
    u32 f = soft_flags(c);

    if (vm86_guarded(c)) {
        if (!(c->cr4 & CR4_VME) || op->dst != 2)
            soft_raise_error(c, op, VEC_GP, 0);
        f = vme_flags(c);
    }
    stack_push(&s, f & ~(RF_VM | RF_RF));
    stack_commit(c, &s);
    UOP_NEXT;
}

u32 flags_vme_pop(struct soft_cpu *c, const struct uop *op, u32 val, u8 size)
{
    if (!(c->cr4 & CR4_VME) || size != 2 || (val & RF_TF) ||
        ((val & RF_IF) && (c->eflags & RF_VIP)))
        soft_raise_error(c, op, VEC_GP, 0);
    return (val & ~(RF_IF | RF_VIF)) | (val & RF_IF ? RF_VIF : 0);
}

static u32 popf_mask(const struct soft_cpu *c, u8 size)
{
    u32 mask = RF_ARITH | RF_TF | RF_DF | RF_NT | RF_RF;

    if (size > 2)
        mask |= RF_AC | RF_ID | (c->eflags & RF_VM ? 0 : RF_VIF | RF_VIP);
    if (c->cpl <= soft_iopl(c))
        mask |= RF_IF;
    if (c->cpl == 0)
        mask |= RF_IOPL;
    return mask;
}

static void op_popf(struct soft_cpu *c, const struct uop *op)
{
    struct stack s = stack_current(c, SEG_FOR(op), op->dst);
    u32 val = (u32)stack_pop(&s) & ~(RF_RF | RF_VIF | RF_VIP), mask = popf_mask(c, op->dst),
        old = c->eflags;

    if (vm86_guarded(c)) {
        val = flags_vme_pop(c, op, val, op->dst);
        mask |= RF_VIF;
    }
    stack_commit(c, &s);
    seg_set_flags(c, mask, val);
    if ((c->eflags ^ old) & (RF_AC | RF_TF | RF_RF))
        soft_mode_changed(c);
    soft_leave(c, soft_next_rip(c, op));
}

/* Which flag CLI and STI work on here: IF or VIF; 0: none, they raise #GP. */
static u32 interrupt_flag(const struct soft_cpu *c)
{
    u32 virtual = c->eflags & RF_VM ? CR4_VME : CR4_PVI;

    if (c->cpl <= soft_iopl(c))
        return RF_IF;
    return c->cpl == 3 && (c->cr4 & virtual) ? RF_VIF : 0;
}

static void op_cli(struct soft_cpu *c, const struct uop *op)
{
    u32 flag = interrupt_flag(c);

    if (unlikely(!flag))
        soft_raise_error(c, op, VEC_GP, 0);
    c->eflags &= ~flag;
    UOP_NEXT;
}

static void op_sti(struct soft_cpu *c, const struct uop *op)
{
    u32 flag = interrupt_flag(c);

    if (!flag || (flag == RF_VIF && (c->eflags & RF_VIP)))
        soft_raise_error(c, op, VEC_GP, 0);
    if (flag == RF_IF && !(c->eflags & RF_IF)) {
        c->shadow |= 2;
        soft_mode_changed(c);
    }
    c->eflags |= flag;
    soft_op_cut(c, op + 1); /* what waits for IF is seen to */
}

/* The bit of the current TSS's interrupt redirection bitmap; beyond its limit all are 1. */
static bool redirected(struct soft_cpu *c, const struct uop *op, u8 vector)
{
    const struct seg_state *tr = &c->seg[SEG_TR];
    u32 at;

    if (tr->limit < 103)
        return false;
    at = (u32)soft_sys_load(c, op, (u32)(tr->base + 102), 2) - 32 +
         vector / 8; /* it ends where the I/O bitmap begins */
    if (at > tr->limit)
        return false;
    return !(soft_sys_load(c, op, (u32)(tr->base + at), 1) >> (vector % 8) & 1);
}

/* INT n in virtual-8086 mode that the 8086 program's own handler takes. */
static void int_8086(struct soft_cpu *c, const struct uop *op, u8 vector)
{
    struct stack s = stack_current(c, SEG_FOR(op), 2);
    u32 target = soft_load32(c, op, vector * 4u);
    bool guarded = vm86_guarded(c);

    stack_push(&s, guarded ? vme_flags(c) : soft_flags(c));
    stack_push(&s, c->seg[SEG_CS].selector);
    stack_push(&s, soft_next_rip(c, op));
    stack_commit(c, &s);
    c->eflags &= ~(RF_TF | RF_RF | (guarded ? RF_VIF : RF_IF));
    soft_seg_real(c, SEG_CS, (u16)(target >> 16));
    soft_leave(c, (u16)target);
    soft_mode_changed(c);
}

/* op->imm: the vector. */
static void op_int(struct soft_cpu *c, const struct uop *op)
{
    u8 vector = (u8)op->imm;

    if (c->eflags & RF_VM) {
        if ((c->cr4 & CR4_VME) && redirected(c, op, vector)) {
            int_8086(c, op, vector);
            return;
        }
        if (vm86_guarded(c))
            soft_raise_error(c, op, VEC_GP, 0);
    }
    soft_raise_int(c, op, vector);
}

static void op_int3(struct soft_cpu *c, const struct uop *op)
{
    soft_raise_int(c, op, VEC_BP);
}

static void op_into(struct soft_cpu *c, const struct uop *op)
{
    if (c->fl & FL_OF)
        soft_raise_int(c, op, VEC_OF);
    soft_leave(c, soft_next_rip(c, op));
}

/* ICEBP: a trap, but the gate's DPL does not matter as with INT n. */
static void op_int1(struct soft_cpu *c, const struct uop *op)
{
    c->rip = soft_next_rip(c, op);
    soft_raise(c, NULL, VEC_DB);
}

static void emit_plain(struct emit *m)
{
    m->op->fn = m->row->fn;
}

static void emit_int(struct emit *m)
{
    m->op->imm = m->opnd[0].imm.value.u & 0xff;
    m->op->fn = op_int;
}

/* op->dst: bytes of the slot. */
static void emit_stack(struct emit *m)
{
    m->op->dst = (u8)(1u << m->osize);
    m->op->fn = m->row->fn;
}

/* clang-format off */
const struct insn_row insn_flags_rows[] = {
    { ZYDIS_MNEMONIC_PUSHF,  F_ALWAYS, 0,                        emit_stack, .fn = op_pushf },
    { ZYDIS_MNEMONIC_PUSHFD, F_ALWAYS, 0,                        emit_stack, .fn = op_pushf },
    { ZYDIS_MNEMONIC_PUSHFQ, F_ALWAYS, 0,                        emit_stack, .fn = op_pushf },
    { ZYDIS_MNEMONIC_POPF,   F_ALWAYS, INSN_ENDS,                emit_stack, .fn = op_popf },
    { ZYDIS_MNEMONIC_POPFD,  F_ALWAYS, INSN_ENDS,                emit_stack, .fn = op_popf },
    { ZYDIS_MNEMONIC_POPFQ,  F_ALWAYS, INSN_ENDS,                emit_stack, .fn = op_popf },
    { ZYDIS_MNEMONIC_CLI,    F_ALWAYS, INSN_NO_FUZZ,             emit_plain, .fn = op_cli },
    { ZYDIS_MNEMONIC_STI,    F_ALWAYS, INSN_NO_FUZZ,             emit_plain, .fn = op_sti },
    { ZYDIS_MNEMONIC_INT,    F_ALWAYS, INSN_ENDS | INSN_NO_FUZZ, emit_int },
    { ZYDIS_MNEMONIC_INT3,   F_ALWAYS, INSN_ENDS,                emit_plain, .fn = op_int3 },
    { ZYDIS_MNEMONIC_INTO,   F_ALWAYS, INSN_ENDS,                emit_plain, .fn = op_into },
    { ZYDIS_MNEMONIC_INT1,   F_ALWAYS, INSN_ENDS | INSN_NO_FUZZ, emit_plain, .fn = op_int1 },
    {},
};
/* clang-format on */
