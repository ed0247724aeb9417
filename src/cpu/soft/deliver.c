/*
 * cpu/soft/deliver.c: enters the handler of an exception, an interrupt or INT n.
 * (Intel SDM volume 3, chapters 6.11 to 6.14, 20.1.4, 20.3; AMD APM volume 2, chapters 8.6 to 8.9)
 *   (1) Nothing but memory below the stack pointer has changed when a fault stops a delivery; run.c then makes a double fault of
 *       the two, or drops the first.
 */
#include "cpu/soft/seg.h"

enum {
    GATE_SYSTEM = 0x10, /* bit 4 of the type: set, it is no gate */
    IDT_ERROR = 2,      /* in an error code: the index is one of the IDT */
};

/* One delivery. */
struct delivery {
    const struct soft_event *ev;
    struct seg_for w;
    struct seg_gate gate;
    struct seg_desc code; /* of the handler */
    u8 cpl;               /* of the handler */
    u8 size;              /* bytes of a stack slot */
};

u32 soft_event_flags(const struct soft_cpu *c, const struct soft_event *ev)
{
    /* Exceptions that are faults: the instruction will be run again, and its breakpoint shall not hit twice. */
    const u32 faults = 1u << VEC_DE | 1u << VEC_BR | 1u << VEC_UD | 1u << VEC_NM | 1u << VEC_TS |
                       1u << VEC_NP | 1u << VEC_SS | 1u << VEC_GP | 1u << VEC_PF | 1u << VEC_MF |
                       1u << VEC_AC | 1u << VEC_XM;
    bool fault = !ev->soft && !ev->external && ev->vector < 32 && (faults >> ev->vector & 1);

    return soft_flags(c) | (fault ? RF_RF : 0);
}

/* Real mode: the table has far pointers; there are no error codes. */
static void deliver_real(struct soft_cpu *c, const struct soft_event *ev, struct seg_for w)
{
    struct stack s = stack_current(c, w, 2);
    u32 target;

    if (ev->vector * 4u + 3 > c->idt_limit)
        soft_raise_error(c, NULL, VEC_GP, ev->vector * 8u + IDT_ERROR + w.ext);
    target = (u32)soft_sys_load(c, NULL, (u32)(c->idt_base + ev->vector * 4u), 4);
    stack_push(&s, soft_flags(c));
    stack_push(&s, c->seg[SEG_CS].selector);
    stack_push(&s, c->rip);
    stack_commit(c, &s);
    c->eflags &= ~(RF_IF | RF_TF | RF_AC | RF_RF);
    soft_seg_real(c, SEG_CS, (u16)(target >> 16));
    soft_leave(c, (u16)target);
    soft_mode_changed(c);
}

/* Reads the gate, `size` bytes at its place in the IDT; `types`: which may stand there. */
static void read_gate(struct soft_cpu *c, struct delivery *d, u32 size, u32 types)
{
    u32 at = d->ev->vector * size, error = d->ev->vector * 8u + IDT_ERROR + d->w.ext;
    u64 lin = c->idt_base + at, raw;

    if (unlikely(at + size - 1 > c->idt_limit))
        soft_raise_error(c, NULL, VEC_GP, error);
    raw = sys_load64(c, NULL, size == 16 ? lin : (u32)lin);
    d->gate = seg_gate(raw);
    if (unlikely((raw >> 40) & GATE_SYSTEM || !(types >> d->gate.type & 1) ||
                 (d->ev->soft && d->gate.dpl < c->cpl)))
        soft_raise_error(c, NULL, VEC_GP, error);
    if (unlikely(!d->gate.present))
        soft_raise_error(c, NULL, VEC_NP, error);
    if (size == 16)
        d->gate.offset |= sys_load64(c, NULL, lin + 8) << 32;
}

/* The handler's code segment, and its ring. */
static void read_code(struct soft_cpu *c, struct delivery *d)
{
    bool conforming;
    u32 dpl;

    seg_fetch_code(c, d->w, d->gate.selector, &d->code);
    conforming = seg_is_conforming(&d->code.s);
    dpl = seg_dpl(&d->code.s);
    if (unlikely(dpl > c->cpl || ((c->eflags & RF_VM) && (conforming || dpl != 0)) ||
                 (soft_long_mode(c) && (d->code.s.attr & (SEG_L | SEG_DB)) != SEG_L)))
        seg_fail(c, d->w, VEC_GP, d->gate.selector);
    d->cpl = conforming ? c->cpl : (u8)dpl;
    seg_check_code(c, d->w, &d->code, d->cpl);
    seg_check_rip(c, d->w, &d->code.s, d->gate.offset);
}

/* The flags inside the handler, and the jump. */
static void enter(struct soft_cpu *c, const struct delivery *d)
{
    bool trap = d->gate.type & 1;

    c->eflags &= ~(RF_TF | RF_NT | RF_RF | RF_VM | (trap ? 0 : RF_IF));
    seg_jump(c, &d->code.s, d->gate.offset, d->cpl);
}

static void push_frame(struct soft_cpu *c, const struct delivery *d, struct stack *s)
{
    static const u8 vm86_segs[] = { SEG_GS, SEG_FS, SEG_DS, SEG_ES };

    s->size = d->size;
    if (c->eflags & RF_VM)
        for_each_row(i, vm86_segs)
            stack_push(s, c->seg[*i].selector);
    if (d->cpl != c->cpl) {
        stack_push(s, c->seg[SEG_SS].selector);
        stack_push(s, c->reg[GPR_RSP]);
    }
    stack_push(s, soft_event_flags(c, d->ev));
    stack_push(s, c->seg[SEG_CS].selector);
    stack_push(s, c->rip);
    if (d->ev->has_error)
        stack_push(s, d->ev->error);
}

static void deliver_protected(struct soft_cpu *c, struct delivery *d)
{
    static const u8 data_segs[] = { SEG_ES, SEG_DS, SEG_FS, SEG_GS };
    struct seg_state ss = c->seg[SEG_SS];
    struct stack s;

    read_gate(c, d, 8,
              1u << SYS_TASK_GATE | 1u << SYS_INT16 | 1u << SYS_TRAP16 | 1u << SYS_INT32 |
                  1u << SYS_TRAP32);
    if (d->gate.type == SYS_TASK_GATE) {
        soft_task_switch(c, NULL, d->gate.selector, TASK_GATE, d->ev, c->rip);
        return;
    }
    d->size = d->gate.type & 8 ? 4 : 2;
    read_code(c, d);
    s = d->cpl == c->cpl ? stack_current(c, d->w, d->size) : stack_inner(c, d->w, d->cpl, &ss);
    push_frame(c, d, &s);

    c->seg[SEG_SS] = ss;
    stack_commit(c, &s);
    if (c->eflags & RF_VM)
        for_each_row(i, data_segs)
            c->seg[*i] = seg_null(0);
    enter(c, d);
}

/* Writes the frame of `n` slots at `lin`: in the rights of the ring it belongs to. */
static void store_frame(struct soft_cpu *c, const struct delivery *d, u64 lin, const u64 *frame,
                        u32 n)
{
    bool inner = d->cpl != c->cpl;
    struct tlb_entry *t = inner ? sys_tlb_at(c, lin) : soft_tlb_at(c, lin);
    guest_u64 *to = (guest_u64 *)(uintptr_t)(lin + (u64)t->addend);

    if (unlikely(!soft_canonical(lin) || !soft_canonical(lin + 8ull * n - 1)))
        soft_raise_error(c, NULL, VEC_SS, d->w.ext);
    if (likely(t->tag_w == (lin & GUEST_PAGE_MASK) &&
               t->tag_w == ((lin + 8ull * n - 1) & GUEST_PAGE_MASK))) {
        for (u32 i = 0; i < n; i++)
            to[i] = frame[i];
        return;
    }
    for (u32 i = n; i-- > 0;)
        if (inner)
            sys_store64(c, NULL, lin + 8ull * i, frame[i]);
        else
            soft_store64(c, NULL, lin + 8ull * i, frame[i]);
}

static void deliver_long(struct soft_cpu *c, struct delivery *d)
{
    u32 skip, own;
    u64 sp;

    read_gate(c, d, 16, 1u << SYS_INT32 | 1u << SYS_TRAP32);
    read_code(c, d);
    own = d->gate.count & 7; /* the gate has a stack of its own in the TSS */
    if (own)
        sp = seg_tss_rsp(c, d->w, 28 + 8 * own);
    else
        sp = d->cpl == c->cpl ? c->reg[GPR_RSP] : seg_tss_rsp(c, d->w, 4 + 8u * d->cpl);

    u64 frame[] = {
        d->ev->error,
        c->rip,
        c->seg[SEG_CS].selector,
        soft_event_flags(c, d->ev),
        c->reg[GPR_RSP],
        c->seg[SEG_SS].selector,
    };
    skip = d->ev->has_error ? 0 : 1;
    sp = align_down(sp, 16) - 8ull * (ARRAY_LEN(frame) - skip);
    store_frame(c, d, sp, frame + skip, ARRAY_LEN(frame) - skip);

    if (d->cpl != c->cpl)
        c->seg[SEG_SS] = seg_null_ss(d->cpl);
    c->reg[GPR_RSP] = sp;
    enter(c, d);
}

void soft_deliver(struct soft_cpu *c, const struct soft_event *ev)
{
    struct delivery d = { .ev = ev, .w = { .vector = VEC_GP, .ext = !ev->soft } };

    if (!(c->cr0 & CR0_PE))
        deliver_real(c, ev, d.w);
    else if (soft_long_mode(c))
        deliver_long(c, &d);
    else
        deliver_protected(c, &d);
}
