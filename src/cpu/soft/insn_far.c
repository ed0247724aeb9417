/*
 * cpu/soft/insn_far.c: JMP, CALL and RET to another code segment, through gates too.
 * (Intel SDM volume 3, chapter 5.8; AMD APM volume 2, chapter 4.7)
 * insn_flow.c has the rows of these mnemonics and hands their far forms over.
 */
#include "cpu/soft/cpuid.h"
#include "cpu/soft/insn.h"
#include "cpu/soft/seg.h"

/* One far JMP or CALL. */
struct far {
    u64 offset;
    u16 selector;
    u8 size; /* bytes of a stack slot; of the offset too */
    bool call;
};

static void far_real(struct soft_cpu *c, const struct uop *op, const struct far *f)
{
    struct stack s = stack_current(c, SEG_FOR(op), f->size);

    if (f->call) {
        stack_push(&s, c->seg[SEG_CS].selector);
        stack_push(&s, soft_next_rip(c, op));
    }
    if (f->offset > c->seg[SEG_CS].limit)
        soft_raise_error(c, op, VEC_GP, 0);
    if (f->call)
        stack_commit(c, &s);
    soft_seg_real(c, SEG_CS, f->selector);
    soft_leave(c, f->offset);
    soft_mode_changed(c);
}

/* To `cs`:`offset` in the current ring, checked but for the offset; a call returns to the next instruction. */
static void far_same(struct soft_cpu *c, const struct uop *op, const struct far *f,
                     const struct seg_state *cs, u64 offset)
{
    struct seg_for w = SEG_FOR(op);
    struct stack s = stack_current(c, w, f->size);

    if (f->call) {
        stack_push(&s, c->seg[SEG_CS].selector);
        stack_push(&s, soft_next_rip(c, op));
    }
    seg_check_rip(c, w, cs, offset);
    if (f->call)
        stack_commit(c, &s);
    seg_jump(c, cs, offset, c->cpl);
}

/* CALL through a gate to a more privileged ring: on its stack, parameters copied from the old one. */
static void far_inner(struct soft_cpu *c, const struct uop *op, const struct far *f,
                      const struct seg_state *cs, const struct seg_gate *g)
{
    u8 cpl = (u8)seg_dpl(cs);
    struct stack old = stack_current(c, SEG_FOR(op), f->size);
    struct seg_state ss;
    struct stack s = stack_inner(c, SEG_FOR(op), cpl, &ss);
    u64 old_sp = old.sp;

    s.size = f->size;
    stack_push(&s, c->seg[SEG_SS].selector);
    stack_push(&s, old_sp);
    for (u32 i = soft_long_mode(c) ? 0 : g->count; i > 0; i--) {
        old.sp = old_sp + (i - 1) * f->size;
        stack_push(&s, stack_pop(&old));
    }
    stack_push(&s, c->seg[SEG_CS].selector);
    stack_push(&s, soft_next_rip(c, op));
    seg_check_rip(c, SEG_FOR(op), cs, g->offset);

    c->seg[SEG_SS] = ss;
    stack_commit(c, &s);
    seg_jump(c, cs, g->offset, cpl);
}

static void far_call_gate(struct soft_cpu *c, const struct uop *op, struct far f,
                          const struct seg_desc *d)
{
    struct seg_for w = SEG_FOR(op);
    struct seg_gate g = seg_gate(d->raw);
    struct seg_desc t;
    u32 dpl;
    bool inner;

    f.size = g.type == SYS_CALL16 ? 2 : 4;
    if (soft_long_mode(c)) {
        g.offset |= seg_fetch_upper(c, w, d) << 32;
        f.size = 8;
    }
    seg_fetch_code(c, w, g.selector, &t);
    dpl = seg_dpl(&t.s);
    inner = f.call && !seg_is_conforming(&t.s) && dpl < c->cpl;
    if (dpl > c->cpl || (!f.call && !seg_is_conforming(&t.s) && dpl != c->cpl) ||
        (soft_long_mode(c) && !(t.s.attr & SEG_L)))
        seg_fail(c, w, VEC_GP, g.selector);
    seg_check_code(c, w, &t, inner ? (u8)dpl : c->cpl);
    if (inner)
        far_inner(c, op, &f, &t.s, &g);
    else
        far_same(c, op, &f, &t.s, g.offset);
}

/* The selector is that of a gate or a TSS. */
static void far_system(struct soft_cpu *c, const struct uop *op, const struct far *f,
                       const struct seg_desc *d)
{
    enum soft_task_why why = f->call ? TASK_CALL : TASK_JUMP;
    struct seg_for w = SEG_FOR(op);
    u32 type = seg_type(&d->s);
    u32 usable = soft_long_mode(c) ? 1u << SYS_CALL32
                                   : 1u << SYS_CALL16 | 1u << SYS_CALL32 | 1u << SYS_TASK_GATE |
                                         1u << SYS_TSS16 | 1u << SYS_TSS32;

    if (!(usable >> type & 1) || seg_dpl(&d->s) < max((u32)c->cpl, f->selector & 3u))
        seg_fail(c, w, VEC_GP, f->selector);
    if (!(d->s.attr & SEG_P))
        seg_fail(c, w, VEC_NP, f->selector);
    if (type == SYS_CALL16 || type == SYS_CALL32)
        far_call_gate(c, op, *f, d);
    else if (type == SYS_TASK_GATE)
        soft_task_switch(c, op, seg_gate(d->raw).selector, why, NULL, soft_next_rip(c, op));
    else
        soft_task_switch(c, op, f->selector, why, NULL, soft_next_rip(c, op));
}

static void far_go(struct soft_cpu *c, const struct uop *op, const struct far *f)
{
    struct seg_for w = SEG_FOR(op);
    struct seg_desc d;
    u32 dpl;

    if (!soft_protected(c)) {
        far_real(c, op, f);
        return;
    }
    if (seg_is_null(f->selector))
        seg_fail(c, w, VEC_GP, 0);
    if (!seg_fetch(c, w, f->selector, &d))
        seg_fail(c, w, VEC_GP, f->selector);
    if (!(d.s.attr & SEG_S)) {
        far_system(c, op, f, &d);
        return;
    }
    dpl = seg_dpl(&d.s);
    if (!seg_is_code(&d.s) || dpl > c->cpl ||
        (!seg_is_conforming(&d.s) && (dpl != c->cpl || (f->selector & 3) > c->cpl)))
        seg_fail(c, w, VEC_GP, f->selector);
    seg_check_code(c, w, &d, c->cpl);
    far_same(c, op, f, &d.s, f->offset);
}

/* op->dst: bytes of the offset; op->aux: selector; op->imm: offset. */
static struct far far_direct(const struct uop *op, bool call)
{
    return (struct far){ .offset = op->imm, .selector = op->aux, .size = op->dst, .call = call };
}

static struct far far_indirect(struct soft_cpu *c, const struct uop *op, bool call)
{
    u64 at = soft_lin(c, op, op->dst + 2, ACC_READ);
    struct far f = { .size = op->dst, .call = call };

    if (f.size == 8)
        f.offset = soft_load64(c, op, at);
    else
        f.offset = f.size == 4 ? soft_load32(c, op, at) : soft_load16(c, op, at);
    f.selector = soft_load16(c, op, at + f.size);
    return f;
}

static void op_jmp_direct(struct soft_cpu *c, const struct uop *op)
{
    struct far f = far_direct(op, false);

    far_go(c, op, &f);
}

static void op_call_direct(struct soft_cpu *c, const struct uop *op)
{
    struct far f = far_direct(op, true);

    far_go(c, op, &f);
}

static void op_jmp_indirect(struct soft_cpu *c, const struct uop *op)
{
    struct far f = far_indirect(c, op, false);

    far_go(c, op, &f);
}

static void op_call_indirect(struct soft_cpu *c, const struct uop *op)
{
    struct far f = far_indirect(c, op, true);

    far_go(c, op, &f);
}

static void ret_real(struct soft_cpu *c, const struct uop *op, struct stack *s, u64 rip,
                     u16 selector)
{
    if (rip > c->seg[SEG_CS].limit)
        soft_raise_error(c, op, VEC_GP, 0);
    s->sp += op->imm;
    stack_commit(c, s);
    soft_seg_real(c, SEG_CS, selector);
    soft_leave(c, rip);
    soft_mode_changed(c);
}

/* To a less privileged ring: its stack is what is popped next. */
static void ret_outer(struct soft_cpu *c, const struct uop *op, struct stack *s,
                      const struct seg_state *cs, u64 rip)
{
    struct seg_for w = SEG_FOR(op);
    u8 cpl = cs->selector & 3;
    bool code64 = seg_code_size(c, cs) == SIZE_64;
    u64 sp = stack_pop(s);
    struct seg_state ss = seg_data(c, w, SEG_SS, (u16)stack_pop(s), cpl, code64);
    struct stack outer = stack_at(c, w, &ss, sp + op->imm, code64);

    seg_check_rip(c, w, cs, rip);
    c->seg[SEG_SS] = ss;
    stack_commit(c, &outer);
    seg_drop_inner(c, cpl);
    seg_jump(c, cs, rip, cpl);
}

/* op->dst: bytes of a slot; op->imm: bytes of parameters. */
static void op_ret(struct soft_cpu *c, const struct uop *op)
{
    struct seg_for w = SEG_FOR(op);
    struct stack s = stack_current(c, w, op->dst);
    u64 rip = stack_pop(&s);
    u16 selector = (u16)stack_pop(&s);
    u8 rpl = selector & 3;
    struct seg_desc d;

    if (!soft_protected(c)) {
        ret_real(c, op, &s, rip, selector);
        return;
    }
    seg_fetch_code(c, w, selector, &d);
    if (rpl < c->cpl || (seg_is_conforming(&d.s) ? seg_dpl(&d.s) > rpl : seg_dpl(&d.s) != rpl))
        seg_fail(c, w, VEC_GP, selector);
    seg_check_code(c, w, &d, rpl);
    s.sp += op->imm;
    if (rpl > c->cpl) {
        ret_outer(c, op, &s, &d.s, rip);
        return;
    }
    seg_check_rip(c, w, &d.s, rip);
    stack_commit(c, &s);
    seg_jump(c, &d.s, rip, c->cpl);
}

static void emit_far(struct emit *m, uop_fn direct, uop_fn indirect)
{
    const ZydisDecodedOperand *o = &m->opnd[0];
    u32 size = m->osize;

    if (size == 3 && !soft_is_intel(m->c->vm))
        size = 2; /* AMD has no m16:64 */
    m->op->dst = (u8)(1u << size);
    m->ends = true;
    if (o->type == ZYDIS_OPERAND_TYPE_POINTER) {
        m->op->imm = o->ptr.offset;
        m->op->aux = o->ptr.segment;
        m->op->fn = direct;
    } else {
        emit_mem(m, o);
        m->op->fn = indirect;
    }
}

void emit_far_jmp(struct emit *m)
{
    emit_far(m, op_jmp_direct, op_jmp_indirect);
}

void emit_far_call(struct emit *m)
{
    emit_far(m, op_call_direct, op_call_indirect);
}

void emit_far_ret(struct emit *m)
{
    bool has_imm = m->in->operand_count_visible > 0;

    m->op->dst = (u8)(1u << m->osize);
    m->op->imm = has_imm ? m->opnd[0].imm.value.u & 0xffff : 0;
    m->ends = true;
    m->op->fn = op_ret;
}
