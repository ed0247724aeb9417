/*
 * cpu/soft/insn_iret.c: IRET in all modes.  (Intel SDM volume 2, IRET; AMD APM volume 3, IRET)
 */
#include "cpu/soft/insn.h"
#include "cpu/soft/seg.h"

/* What IRET pops; sp and ss only when it leaves the ring, or in 64-bit code. */
struct iret_frame {
    u64 rip, cs, flags, sp, ss;
};

/* Flags that IRET writes at the current privilege, with slots of `size` bytes. */
static u32 iret_mask(const struct soft_cpu *c, u8 size)
{
    u32 mask = RF_ARITH | RF_TF | RF_DF | RF_NT;

    if (size > 2)
        mask |= RF_RF | RF_AC | RF_ID;
    if (c->cpl <= soft_iopl(c))
        mask |= RF_IF;
    if (c->cpl == 0)
        mask |= RF_IOPL;
    if (c->cpl == 0 && size > 2 && (c->cr0 & CR0_PE))
        mask |= RF_VIF | RF_VIP;
    return mask;
}

/* The end of an NMI handler, as far as the CPU knows. */
static void iret_done(struct soft_cpu *c)
{
    if (likely(!c->nmi_masked))
        return;
    c->nmi_masked = false;
    if (c->nmi_waits)
        soft_request(c, REQ_NMI);
}

/* Real and virtual-8086 mode. */
static void iret_8086(struct soft_cpu *c, const struct uop *op, struct stack *s)
{
    u64 rip = stack_pop(s);
    u16 selector = (u16)stack_pop(s);
    u32 val = (u32)stack_pop(s), mask = iret_mask(c, op->dst);

    if ((c->eflags & RF_VM) && soft_iopl(c) < 3) {
        val = flags_vme_pop(c, op, val, op->dst);
        mask |= RF_VIF;
    }
    if (rip > c->seg[SEG_CS].limit)
        soft_raise_error(c, op, VEC_GP, 0);
    stack_commit(c, s);
    seg_set_flags(c, mask, val);
    soft_seg_real(c, SEG_CS, selector);
    iret_done(c);
    soft_leave(c, rip);
    soft_mode_changed(c);
}

/* Ring 0 returns to a virtual-8086 program. */
static void iret_to_vm86(struct soft_cpu *c, const struct uop *op, struct stack *s,
                         const struct iret_frame *f)
{
    static const u8 segs[] = { SEG_SS, SEG_ES, SEG_DS, SEG_FS, SEG_GS };
    struct seg_state cs = seg_vm86((u16)f->cs);
    u64 sp = stack_pop(s);
    u16 selectors[ARRAY_LEN(segs)];

    for (u32 i = 0; i < ARRAY_LEN(segs); i++)
        selectors[i] = (u16)stack_pop(s);
    if (f->rip > cs.limit)
        soft_raise_error(c, op, VEC_GP, 0);
    for (u32 i = 0; i < ARRAY_LEN(segs); i++)
        c->seg[segs[i]] = seg_vm86(selectors[i]);
    c->reg[GPR_RSP] = (u32)sp;
    seg_set_flags(c, iret_mask(c, 4) | RF_VM, (u32)f->flags);
    iret_done(c);
    seg_jump(c, &cs, f->rip, 3);
}

/* NT: the task that was interrupted is in the TSS's back link. */
static void iret_task(struct soft_cpu *c, const struct uop *op)
{
    u16 link;

    if (soft_long_mode(c))
        soft_raise_error(c, op, VEC_GP, 0);
    link = (u16)soft_sys_load(c, op, (u32)c->seg[SEG_TR].base, 2);
    iret_done(c);
    soft_task_switch(c, op, link, TASK_IRET, NULL, soft_next_rip(c, op));
}

/* To ring `rpl` with the stack that was popped. */
static void iret_stack(struct soft_cpu *c, const struct uop *op, const struct iret_frame *f,
                       const struct seg_desc *d)
{
    struct seg_for w = SEG_FOR(op);
    u8 cpl = d->s.selector & 3;
    bool code64 = seg_code_size(c, &d->s) == SIZE_64;
    struct seg_state ss = seg_data(c, w, SEG_SS, (u16)f->ss, cpl, code64);
    struct stack outer = stack_at(c, w, &ss, f->sp, code64);

    seg_check_rip(c, w, &d->s, f->rip);
    c->seg[SEG_SS] = ss;
    stack_commit(c, &outer);
    seg_set_flags(c, iret_mask(c, op->dst), (u32)f->flags);
    if (cpl > c->cpl)
        seg_drop_inner(c, cpl);
    iret_done(c);
    seg_jump(c, &d->s, f->rip, cpl);
}

static void iret_code(struct soft_cpu *c, struct seg_for w, u16 selector, struct seg_desc *ret)
{
    u8 rpl = selector & 3;

    seg_fetch_code(c, w, selector, ret);
    if (rpl < c->cpl ||
        (seg_is_conforming(&ret->s) ? seg_dpl(&ret->s) > rpl : seg_dpl(&ret->s) != rpl))
        seg_fail(c, w, VEC_GP, selector);
    seg_check_code(c, w, ret, rpl);
}

static void iret_protected(struct soft_cpu *c, const struct uop *op, struct stack *s)
{
    struct iret_frame f = { .rip = stack_pop(s), 0 };
    struct seg_for w = SEG_FOR(op);
    struct seg_desc d;

    f.cs = (u16)stack_pop(s);
    f.flags = stack_pop(s);
    if ((f.flags & RF_VM) && c->cpl == 0 && op->dst == 4 && !soft_long_mode(c)) {
        iret_to_vm86(c, op, s, &f);
        return;
    }
    iret_code(c, w, (u16)f.cs, &d);
    if ((f.cs & 3) > c->cpl || soft_code64(c)) {
        f.sp = stack_pop(s);
        f.ss = stack_pop(s);
        iret_stack(c, op, &f, &d);
        return;
    }
    seg_check_rip(c, w, &d.s, f.rip);
    stack_commit(c, s);
    seg_set_flags(c, iret_mask(c, op->dst), (u32)f.flags);
    iret_done(c);
    seg_jump(c, &d.s, f.rip, c->cpl);
}

/* op->dst: bytes of a slot. */
static void op_iret(struct soft_cpu *c, const struct uop *op)
{
    struct stack s = stack_current(c, SEG_FOR(op), op->dst);

    if (!soft_protected(c))
        iret_8086(c, op, &s);
    else if (c->eflags & RF_NT)
        iret_task(c, op);
    else
        iret_protected(c, op, &s);
}

/* IRETQ, which every system call, fault and interrupt of a 64-bit kernel ends with: the frame in one piece. */
static void op_iretq(struct soft_cpu *c, const struct uop *op)
{
    u64 sp = c->reg[GPR_RSP];
    struct iret_frame f;
    const guest_u64 *at;
    struct seg_desc d;

    at = likely(soft_canonical(sp) && !(c->eflags & RF_NT)) ? soft_ro(c, op, sp, sizeof(f)) : NULL;
    if (unlikely(!at)) {
        op_iret(c, op);
        return;
    }
    f = (struct iret_frame){ at[0], (u16)at[1], at[2], at[3], (u16)at[4] };
    iret_code(c, SEG_FOR(op), (u16)f.cs, &d);
    iret_stack(c, op, &f, &d);
}

static void emit_iret(struct emit *m)
{
    m->op->dst = (u8)(1u << m->osize);
    m->op->fn = (m->key & KEY_SIZE) == SIZE_64 && m->osize == 3 ? op_iretq : op_iret;
}

/* clang-format off */
const struct insn_row insn_iret_rows[] = {
    { ZYDIS_MNEMONIC_IRET,  F_ALWAYS, INSN_ENDS | INSN_NO_FUZZ, emit_iret },
    { ZYDIS_MNEMONIC_IRETD, F_ALWAYS, INSN_ENDS | INSN_NO_FUZZ, emit_iret },
    { ZYDIS_MNEMONIC_IRETQ, F_ALWAYS, INSN_ENDS | INSN_NO_FUZZ, emit_iret },
    {},
};
/* clang-format on */
