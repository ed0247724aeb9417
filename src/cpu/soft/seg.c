/*
 * cpu/soft/seg.c: segments: limits and rights of an access, descriptors, and what a segment register may be loaded with.
 * (Intel SDM volume 3, chapters 3.4, 3.5, 5.2 to 5.8; AMD APM volume 2, chapter 4)
 */
#include "cpu/soft/seg.h"

#include "cpu/soft/code.h"
#include "cpu/soft/io.h"

_Noreturn void seg_fail(struct soft_cpu *c, struct seg_for w, u8 vector, u32 selector)
{
    soft_raise_error(c, w.op, vector, (selector & 0xfffc) | w.ext);
}

/* Offsets [off, off + size) are inside the limit. */
static inline bool limit_ok(const struct seg_state *s, u64 off, u32 size)
{
    u64 last = off + size - 1;

    if (unlikely((s->attr & (SEG_S | SEG_CODE | SEG_DOWN)) == (SEG_S | SEG_DOWN)))
        return off > s->limit && last <= (s->attr & SEG_DB ? 0xffffffffull : 0xffffull);
    /* A 4 GiB segment wraps. */
    return last <= s->limit || s->limit == ~0u;
}

static inline bool rights_ok(const struct soft_cpu *c, const struct seg_state *s, u32 access)
{
    if (unlikely(s->unusable))
        return false;
    if (!(c->cr0 & CR0_PE) || (access & ACC_EXEC))
        return true;
    if (access & ACC_WRITE)
        return (s->attr & (SEG_CODE | SEG_WRITE)) == SEG_WRITE;
    return (s->attr & (SEG_CODE | SEG_WRITE)) != SEG_CODE;
}

u64 soft_seg_linear(struct soft_cpu *c, const struct uop *op, u32 seg, u64 off, u32 size,
                    u32 access)
{
    const struct seg_state *s = &c->seg[seg];

    if (soft_code64(c))
        return seg == SEG_FS || seg == SEG_GS ? s->base + off : off;
    if (unlikely(!rights_ok(c, s, access) || !limit_ok(s, off, size)))
        soft_raise_error(c, op, seg == SEG_SS ? VEC_SS : VEC_GP, 0);
    return (u32)(s->base + off);
}

struct seg_state seg_null(u16 selector)
{
    return (struct seg_state){ .selector = selector, .unusable = true };
}

struct seg_state seg_vm86(u16 selector)
{
    /* Data, writable, accessed, DPL 3. */
    return (struct seg_state){
        .selector = selector, .base = selector * 16u, .limit = 0xffff, .attr = 0xf3
    };
}

void soft_seg_real(struct soft_cpu *c, enum vcpu_seg seg, u16 selector)
{
    struct seg_state *s = &c->seg[seg];

    if (c->eflags & RF_VM) {
        *s = seg_vm86(selector);
        return;
    }
    /* A null one of protected mode has no limit that could stay. */
    if (s->unusable)
        *s = (struct seg_state){ .limit = 0xffff, .attr = 0x93 };
    /* Limit and rights stay: software counts on "unreal" mode. */
    s->selector = selector;
    s->base = selector * 16u;
}

static struct seg_state desc_decode(u16 selector, u64 raw)
{
    struct seg_state s = {
        .selector = selector,
        .base = ((raw >> 16) & 0xffffff) | ((raw >> 32) & 0xff000000),
        .limit = (u32)((raw & 0xffff) | ((raw >> 32) & 0xf0000)),
        .attr = (u16)((raw >> 40) & 0xf0ff),
    };

    if (s.attr & SEG_G)
        s.limit = s.limit << 12 | 0xfff;
    return s;
}

bool seg_fetch(struct soft_cpu *c, struct seg_for w, u16 selector, struct seg_desc *ret)
{
    bool local = selector & 4;
    const struct seg_state *ldt = &c->seg[SEG_LDTR];
    u64 base = local ? ldt->base : c->gdt_base;
    u32 limit = local ? ldt->limit : c->gdt_limit;

    if (unlikely((local && ldt->unusable) || (selector | 7u) > limit))
        return false;
    ret->at = base + (selector & ~7u);
    if (!soft_long_mode(c))
        ret->at = (u32)ret->at;
    ret->raw = sys_load64(c, w.op, ret->at);
    ret->s = desc_decode(selector, ret->raw);
    return true;
}

void seg_fetch_code(struct soft_cpu *c, struct seg_for w, u16 selector, struct seg_desc *ret)
{
    if (seg_is_null(selector))
        seg_fail(c, w, w.vector, 0);
    if (!seg_fetch(c, w, selector, ret) || !seg_is_code(&ret->s))
        seg_fail(c, w, w.vector, selector);
}

u64 seg_fetch_upper(struct soft_cpu *c, struct seg_for w, const struct seg_desc *d)
{
    u16 selector = d->s.selector;
    u32 limit = selector & 4 ? c->seg[SEG_LDTR].limit : c->gdt_limit;
    u64 upper;

    if ((selector | 7u) + 8 > limit)
        seg_fail(c, w, w.vector, selector);
    upper = sys_load64(c, w.op, d->at + 8);
    if ((upper >> 40) & 0x1f)
        seg_fail(c, w, w.vector, selector);
    return upper;
}

/* Changes the type in a descriptor, in one step for all vCPUs: some OSes have one GDT for all.  Raises as a write does. */
static u8 change_type(struct soft_cpu *c, struct seg_for w, u64 desc_at, u8 set, u8 clear)
{
    u64 lin = soft_long_mode(c) ? desc_at + 5 : (u32)(desc_at + 5);
    u64 gpa = soft_walk(c, w.op, lin, ACC_WRITE | ACC_SYSTEM), page;
    u8 *at = soft_ram(c->vm, gpa, 1, &page);
    u8 old;

    if (!at)
        return 0;
    old = set ? __atomic_fetch_or(at, set, __ATOMIC_SEQ_CST)
              : __atomic_fetch_and(at, (u8)~clear, __ATOMIC_SEQ_CST);
    if (atomic_load_explicit(&c->vm->dirty_log, memory_order_relaxed))
        soft_dirty(c->vm, page);
    soft_code_written(c, w.op, page, gpa, 1);
    return old;
}

u8 seg_type_set(struct soft_cpu *c, struct seg_for w, u64 desc_at, u8 bits)
{
    return change_type(c, w, desc_at, bits, 0);
}

u8 seg_type_clear(struct soft_cpu *c, struct seg_for w, u64 desc_at, u8 bits)
{
    return change_type(c, w, desc_at, 0, bits);
}

/* The segment is about to be loaded. */
static inline void mark_accessed(struct soft_cpu *c, struct seg_for w, struct seg_desc *d)
{
    if (likely(d->s.attr & SEG_ACCESS))
        return;
    seg_type_set(c, w, d->at, SEG_ACCESS);
    d->s.attr |= SEG_ACCESS;
}

void seg_check_rip(struct soft_cpu *c, struct seg_for w, const struct seg_state *cs, u64 rip)
{
    bool ok = seg_code_size(c, cs) == SIZE_64 ? soft_canonical(rip) : rip <= cs->limit;

    if (unlikely(!ok))
        soft_raise_error(c, w.op, VEC_GP, w.ext);
}

void seg_check_code(struct soft_cpu *c, struct seg_for w, struct seg_desc *d, u8 cpl)
{
    if (unlikely(soft_long_mode(c) && (d->s.attr & (SEG_L | SEG_DB)) == (SEG_L | SEG_DB)))
        seg_fail(c, w, w.vector, d->s.selector);
    if (unlikely(!(d->s.attr & SEG_P)))
        seg_fail(c, w, VEC_NP, d->s.selector);
    mark_accessed(c, w, d);
    d->s.selector = (u16)((d->s.selector & ~3u) | cpl);
}

/* SS: what it must be, apart from being there. */
static bool stack_segment_ok(const struct seg_desc *d, u8 cpl)
{
    u32 a = d->s.attr;

    return (a & (SEG_S | SEG_CODE | SEG_WRITE)) == (SEG_S | SEG_WRITE) && seg_dpl(&d->s) == cpl &&
           (d->s.selector & 3) == cpl;
}

static bool data_segment_ok(const struct seg_desc *d, u8 cpl)
{
    u32 a = d->s.attr;

    if (!(a & SEG_S) || (a & (SEG_CODE | SEG_WRITE)) == SEG_CODE)
        return false;
    if ((a & (SEG_CODE | SEG_DOWN)) == (SEG_CODE | SEG_DOWN))
        return true;
    return seg_dpl(&d->s) >= max((u32)cpl, d->s.selector & 3u);
}

struct seg_state seg_data(struct soft_cpu *c, struct seg_for w, enum vcpu_seg seg, u16 selector,
                          u8 cpl, bool code64)
{
    bool stack = seg == SEG_SS;
    struct seg_desc d;

    if (seg_is_null(selector)) {
        if (stack && (!code64 || cpl == 3 || (selector & 3) != cpl))
            seg_fail(c, w, w.vector, 0);
        return stack ? seg_null_ss(cpl) : seg_null(selector);
    }
    if (!seg_fetch(c, w, selector, &d) ||
        !(stack ? stack_segment_ok(&d, cpl) : data_segment_ok(&d, cpl)))
        seg_fail(c, w, w.vector, selector);
    if (!(d.s.attr & SEG_P))
        seg_fail(c, w, stack ? VEC_SS : VEC_NP, selector);
    mark_accessed(c, w, &d);
    return d.s;
}

void soft_seg_load(struct soft_cpu *c, const struct uop *op, enum vcpu_seg seg, u16 selector)
{
    if (soft_protected(c))
        c->seg[seg] = seg_data(c, SEG_FOR(op), seg, selector, c->cpl, soft_code64(c));
    else
        soft_seg_real(c, seg, selector);
    soft_mode_changed(c);
}

void seg_drop_inner(struct soft_cpu *c, u8 cpl)
{
    static const u8 segs[] = { SEG_ES, SEG_DS, SEG_FS, SEG_GS };

    for_each_row(i, segs) {
        struct seg_state *s = &c->seg[*i];
        bool conforming = seg_is_code(s) && seg_is_conforming(s);

        if (!s->unusable && !conforming && seg_dpl(s) < cpl)
            *s = seg_null(0);
    }
}

void seg_jump(struct soft_cpu *c, const struct seg_state *cs, u64 rip, u8 cpl)
{
    c->seg[SEG_CS] = *cs;
    c->cpl = cpl;
    soft_leave(c, rip);
    soft_mode_changed(c);
}

/* ---- stacks ---- */

struct stack stack_at(struct soft_cpu *c, struct seg_for w, const struct seg_state *ss, u64 sp,
                      bool code64)
{
    u64 mask = code64 ? ~0ull : ss->attr & SEG_DB ? 0xffffffffull : 0xffffull;

    return (struct stack){ .c = c, .w = w, .ss = ss, .sp = sp, .mask = mask };
}

struct stack stack_current(struct soft_cpu *c, struct seg_for w, u8 size)
{
    struct stack s = stack_at(c, w, &c->seg[SEG_SS], c->reg[GPR_RSP], soft_code64(c));

    s.size = size;
    return s;
}

static u64 stack_linear(const struct stack *s, u32 access)
{
    u64 off = s->sp & s->mask;
    bool ok = s->mask == ~0ull ? soft_canonical(off) && soft_canonical(off + s->size - 1)
                               : rights_ok(s->c, s->ss, access) && limit_ok(s->ss, off, s->size);

    if (unlikely(!ok))
        seg_fail(s->c, s->w, VEC_SS, s->error);
    return s->mask == ~0ull ? off : (u32)(s->ss->base + off);
}

void stack_push(struct stack *s, u64 val)
{
    u64 lin;

    s->sp -= s->size;
    lin = stack_linear(s, ACC_WRITE);
    if (s->inner)
        soft_sys_store(s->c, s->w.op, lin, s->size, val);
    else if (s->size == 8)
        soft_store64(s->c, s->w.op, lin, val);
    else if (s->size == 4)
        soft_store32(s->c, s->w.op, lin, (u32)val);
    else
        soft_store16(s->c, s->w.op, lin, (u16)val);
}

u64 stack_pop(struct stack *s)
{
    u64 lin = stack_linear(s, ACC_READ);

    s->sp += s->size;
    if (s->inner)
        return soft_sys_load(s->c, s->w.op, lin, s->size);
    if (s->size == 8)
        return soft_load64(s->c, s->w.op, lin);
    return s->size == 4 ? soft_load32(s->c, s->w.op, lin) : soft_load16(s->c, s->w.op, lin);
}

void stack_commit(struct soft_cpu *c, const struct stack *s)
{
    u64 keep = s->mask == 0xffff ? c->reg[GPR_RSP] & ~s->mask : 0;

    c->reg[GPR_RSP] = keep | (s->sp & s->mask);
}

/* ---- the stacks in a TSS ---- */

/* Linear address of [off, off + size) of the current TSS. */
static u64 tss_linear(struct soft_cpu *c, struct seg_for w, u32 off, u32 size)
{
    const struct seg_state *tr = &c->seg[SEG_TR];

    if (tr->unusable || off + size - 1 > tr->limit)
        seg_fail(c, w, VEC_TS, tr->selector);
    return soft_long_mode(c) ? tr->base + off : (u32)(tr->base + off);
}

u64 seg_tss_rsp(struct soft_cpu *c, struct seg_for w, u32 off)
{
    u64 rsp = sys_load64(c, w.op, tss_linear(c, w, off, 8));

    if (!soft_canonical(rsp))
        soft_raise_error(c, w.op, VEC_SS, w.ext);
    return rsp;
}

struct stack stack_inner(struct soft_cpu *c, struct seg_for w, u8 cpl, struct seg_state *ret_ss)
{
    struct seg_for in_tss = { .op = w.op, .vector = VEC_TS, .ext = w.ext };
    bool wide = seg_type(&c->seg[SEG_TR]) & 8; /* a 32-bit TSS */
    u32 size = wide ? 4 : 2;
    struct stack s;
    u64 at, sp;

    if (soft_long_mode(c)) {
        *ret_ss = seg_null_ss(cpl);
        s = stack_at(c, w, ret_ss, seg_tss_rsp(c, w, 4 + 8u * cpl), true);
    } else {
        at = tss_linear(c, w, size + cpl * 2u * size, 2 * size);
        sp = soft_sys_load(c, w.op, at, size);
        *ret_ss =
            seg_data(c, in_tss, SEG_SS, (u16)soft_sys_load(c, w.op, at + size, 2), cpl, false);
        s = stack_at(c, w, ret_ss, sp, false);
        s.error = ret_ss->selector;
    }
    s.inner = true;
    return s;
}
