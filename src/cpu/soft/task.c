/*
 * cpu/soft/task.c: hardware task switches between 16- and 32-bit TSSs.  (Intel SDM volume 3, chapter 7)
 *   (1) Both TSSs are read or found writable before anything changes: until then faults belong to the old task.
 *   (2) From the load of TR on they belong to the new one: its RIP, its registers, not yet its segments.
 */
#include "cpu/soft/seg.h"

#define DR6_BT     (1u << 15)
#define DR7_LOCAL  0x155u /* L0 to L3, LE */
#define TASK_FLAGS 0x3f7fd5u

/* Where a TSS has what. */
struct tss_layout {
    u8 word;                                   /* bytes of a register */
    u8 cr3, rip, flags, regs, segs, ldt, trap; /* 0: not there */
    u8 n_segs;
    u8 limit; /* at least */
};
static const struct tss_layout tss16 = { 2, 0, 14, 16, 18, 34, 42, 0, 4, 43 };
static const struct tss_layout tss32 = { 4, 28, 32, 36, 40, 72, 96, 100, 6, 103 };

/* The parts of a TSS that a task switch loads. */
struct task {
    u64 rip, regs[8];
    u32 flags, cr3;
    u16 segs[6], ldt;
    bool trap;
};

/* One switch. */
struct task_switch {
    const struct uop *op;
    enum soft_task_why why;
    const struct soft_event *ev;
    struct seg_for w;
    struct seg_desc d; /* of the new TSS */
};

static const struct tss_layout *layout_of(const struct seg_state *tss)
{
    return seg_type(tss) & 8 ? &tss32 : &tss16;
}

static u64 tss_read(struct soft_cpu *c, const struct task_switch *t, u32 off, u32 size)
{
    return soft_sys_load(c, t->op, (u32)(t->d.s.base + off), size);
}

/* The checks of the new TSS's selector and descriptor. */
static void task_check(struct soft_cpu *c, struct task_switch *t, u16 selector)
{
    u8 vector = t->why == TASK_IRET ? VEC_TS : VEC_GP;
    u32 want_busy = t->why == TASK_IRET ? SYS_BUSY : 0, type;

    if ((selector & 4) || seg_is_null(selector) || !seg_fetch(c, t->w, selector, &t->d))
        seg_fail(c, t->w, vector, selector);
    type = seg_type(&t->d.s);
    if ((t->d.s.attr & SEG_S) || (type & 7 & ~SYS_BUSY) != SYS_TSS16 ||
        (type & SYS_BUSY) != want_busy)
        seg_fail(c, t->w, vector, selector);
    if (!(t->d.s.attr & SEG_P))
        seg_fail(c, t->w, VEC_NP, selector);
    if (t->d.s.limit < layout_of(&t->d.s)->limit)
        seg_fail(c, t->w, VEC_TS, selector);
}

static void task_read(struct soft_cpu *c, const struct task_switch *t, struct task *ret)
{
    const struct tss_layout *l = layout_of(&t->d.s);

    *ret = (struct task){ .rip = tss_read(c, t, l->rip, l->word) };
    ret->flags = (u32)tss_read(c, t, l->flags, l->word);
    for (u32 i = 0; i < ARRAY_LEN(ret->regs); i++)
        ret->regs[i] = tss_read(c, t, l->regs + i * l->word, l->word);
    for (u32 i = 0; i < l->n_segs; i++)
        ret->segs[i] = (u16)tss_read(c, t, l->segs + i * l->word, 2);
    ret->ldt = (u16)tss_read(c, t, l->ldt, 2);
    if (l->cr3)
        ret->cr3 = (u32)tss_read(c, t, l->cr3, 4);
    if (l->trap)
        ret->trap = tss_read(c, t, l->trap, 2) & 1;
}

static void check_writable(struct soft_cpu *c, const struct task_switch *t, u64 lin, u32 size)
{
    soft_walk(c, t->op, (u32)lin, ACC_WRITE | ACC_SYSTEM);
    soft_walk(c, t->op, (u32)(lin + size - 1), ACC_WRITE | ACC_SYSTEM);
}

/* Where the descriptor of the current TSS is; false: the GDT has none there. */
static bool old_descriptor(const struct soft_cpu *c, u64 *ret_at)
{
    u32 at = c->seg[SEG_TR].selector & ~7u;

    *ret_at = (u32)(c->gdt_base + at);
    return at + 7 <= c->gdt_limit;
}

/* (1): from here on nothing faults until TR is loaded. */
static void check_all_writable(struct soft_cpu *c, const struct task_switch *t)
{
    const struct seg_state *tr = &c->seg[SEG_TR];
    u64 at;

    check_writable(c, t, tr->base, layout_of(tr)->limit + 1u);
    check_writable(c, t, t->d.s.base, 2);
    check_writable(c, t, t->d.at + 5, 1);
    if (old_descriptor(c, &at))
        check_writable(c, t, at + 5, 1);
}

static void task_save(struct soft_cpu *c, const struct task_switch *t, u64 rip)
{
    const struct seg_state *tr = &c->seg[SEG_TR];
    const struct tss_layout *l = layout_of(tr);
    u32 flags = t->ev ? soft_event_flags(c, t->ev) : soft_flags(c);

    if (t->why == TASK_IRET)
        flags &= ~RF_NT;
    soft_sys_store(c, t->op, (u32)(tr->base + l->rip), l->word, rip);
    soft_sys_store(c, t->op, (u32)(tr->base + l->flags), l->word, flags);
    for (u32 i = 0; i < 8; i++)
        soft_sys_store(c, t->op, (u32)(tr->base + l->regs + i * l->word), l->word, c->reg[i]);
    for (u32 i = 0; i < l->n_segs; i++)
        soft_sys_store(c, t->op, (u32)(tr->base + l->segs + i * l->word), 2, c->seg[i].selector);
}

/* Busy bits and the back link; TR. */
static void task_link(struct soft_cpu *c, struct task_switch *t)
{
    bool nested = t->why == TASK_CALL || t->why == TASK_GATE;
    u64 old_at;

    if (!nested && old_descriptor(c, &old_at))
        seg_type_clear(c, t->w, old_at, SYS_BUSY);
    if (nested)
        soft_sys_store(c, t->op, (u32)t->d.s.base, 2, c->seg[SEG_TR].selector);
    if (t->why != TASK_IRET)
        seg_type_set(c, t->w, t->d.at, SYS_BUSY);
    t->d.s.attr |= SYS_BUSY;
    c->seg[SEG_TR] = t->d.s;
}

/* The new task's registers; its segments are only named so far. */
static void task_load(struct soft_cpu *c, const struct task_switch *t, const struct task *n)
{
    u32 flags = n->flags & TASK_FLAGS;

    if (layout_of(&t->d.s)->cr3 && (c->cr0 & CR0_PG)) {
        c->cr3 = n->cr3;
        soft_tlb_switch(c, c->cr3, false);
    }
    if (t->why == TASK_CALL || t->why == TASK_GATE)
        flags |= RF_NT;
    for (u32 i = 0; i < 8; i++)
        c->reg[i] = n->regs[i];
    for (u32 i = 0; i < 6; i++)
        c->seg[i] = seg_null(n->segs[i]);
    c->seg[SEG_LDTR] = seg_null(n->ldt);
    c->cr0 |= CR0_TS;
    c->dr7 &= ~(u64)DR7_LOCAL;
    c->cpl = flags & RF_VM ? 3 : n->segs[SEG_CS] & 3;
    seg_set_flags(c, ~0u, flags);
    soft_leave(c, n->rip);
    c->delivery_rip = n->rip; /* (2) */
    soft_mode_changed(c);
}

static void load_ldt(struct soft_cpu *c, struct seg_for w, u16 selector)
{
    struct seg_desc d;

    if (seg_is_null(selector))
        return;
    if ((selector & 4) || !seg_fetch(c, w, selector, &d) || (d.s.attr & SEG_S) ||
        seg_type(&d.s) != SYS_LDT || !(d.s.attr & SEG_P))
        seg_fail(c, w, VEC_TS, selector);
    c->seg[SEG_LDTR] = d.s;
}

static void load_code(struct soft_cpu *c, struct seg_for w, u16 selector)
{
    struct seg_desc d;
    u8 rpl = selector & 3;

    seg_fetch_code(c, w, selector, &d);
    if (seg_is_conforming(&d.s) ? seg_dpl(&d.s) > rpl : seg_dpl(&d.s) != rpl)
        seg_fail(c, w, VEC_TS, selector);
    seg_check_code(c, w, &d, rpl);
    c->seg[SEG_CS] = d.s;
}

/* (2): op is NULL, so that a fault finds the new task's RIP. */
static void load_segments(struct soft_cpu *c, const struct task *n, struct seg_for w)
{
    static const u8 data_segs[] = { SEG_ES, SEG_DS, SEG_FS, SEG_GS };

    load_ldt(c, w, n->ldt);
    if (c->eflags & RF_VM) {
        for (u32 i = 0; i < 6; i++)
            c->seg[i] = seg_vm86(n->segs[i]);
        return;
    }
    load_code(c, w, n->segs[SEG_CS]);
    c->seg[SEG_SS] = seg_data(c, w, SEG_SS, n->segs[SEG_SS], c->cpl, false);
    for_each_row(i, data_segs)
        c->seg[*i] = seg_data(c, w, *i, n->segs[*i], c->cpl, false);
}

static void push_error(struct soft_cpu *c, struct seg_for w, const struct soft_event *ev, u8 size)
{
    struct stack s = stack_current(c, w, size);

    stack_push(&s, ev->error);
    stack_commit(c, &s);
}

void soft_task_switch(struct soft_cpu *c, const struct uop *op, u16 selector,
                      enum soft_task_why why, const struct soft_event *ev, u64 rip)
{
    u8 ext = ev && !ev->soft;
    struct task_switch t = {
        .op = op, .why = why, .ev = ev, .w = { .op = op, .vector = VEC_GP, .ext = ext }
    };
    struct seg_for in_new = { .vector = VEC_TS, .ext = ext };
    struct task n;

    task_check(c, &t, selector);
    task_read(c, &t, &n);
    check_all_writable(c, &t);
    task_save(c, &t, rip);
    task_link(c, &t);
    task_load(c, &t, &n);
    load_segments(c, &n, in_new);
    soft_mode_changed(c);
    if (ev && ev->has_error)
        push_error(c, in_new, ev, layout_of(&c->seg[SEG_TR])->word);
    if (n.rip > c->seg[SEG_CS].limit)
        soft_raise_error(c, NULL, VEC_GP, ext);
    if (n.trap) {
        c->dr6 |= DR6_BT;
        soft_raise(c, NULL, VEC_DB);
    }
}
