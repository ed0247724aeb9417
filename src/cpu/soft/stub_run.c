/*
 * cpu/soft/stub_run.c: the handlers of instructions that run on the host's CPU.
 *
 * A trap of the host inside a stub (#GP for a misaligned operand, #XM, #MF, #UD) is the guest's: stub_trap.c lets the stub
 * return the vector, with nothing of the guest changed but MXCSR's status flags, and the handler here raises it.
 */
#include "cpu/soft/fpu.h"
#include "cpu/soft/stub.h"

enum { MXCSR_MM = 1 << 17 };

static const struct stub *stub_of(const struct uop *op)
{
    return (const struct stub *)(uintptr_t)op->imm;
}

/* --- may it run? --- */

static inline void need_x87(struct soft_cpu *c, const struct uop *op)
{
    if (unlikely(c->cr0 & (CR0_EM | CR0_TS)))
        soft_raise(c, op, VEC_NM);
}

static inline void need_mmx(struct soft_cpu *c, const struct uop *op)
{
    if (unlikely(c->cr0 & (CR0_EM | CR0_TS)))
        soft_raise(c, op, c->cr0 & CR0_EM ? VEC_UD : VEC_NM);
}

static inline void need_sse(struct soft_cpu *c, const struct uop *op)
{
    if (unlikely(!(c->cr4 & CR4_OSFXSR)))
        soft_raise(c, op, VEC_UD);
    need_mmx(c, op);
}

static inline void need_avx(struct soft_cpu *c, const struct uop *op)
{
    if (unlikely(!(c->cr4 & CR4_OSXSAVE) || (c->xcr0 & XCR0_AVX_ALL) != XCR0_AVX_ALL ||
                 !soft_protected(c)))
        soft_raise(c, op, VEC_UD);
    if (unlikely(c->cr0 & CR0_TS))
        soft_raise(c, op, VEC_NM);
}

static inline void need(struct soft_cpu *c, const struct uop *op, enum stub_kind kind)
{
    if (kind == STUB_VEX && unlikely(!soft_protected(c)))
        soft_raise(c, op, VEC_UD);
    if (kind == STUB_X87)
        need_x87(c, op);
    if (kind == STUB_MMX)
        need_mmx(c, op);
    if (kind == STUB_SSE || kind == STUB_SSE_MMX)
        need_sse(c, op);
    if (kind == STUB_AVX)
        need_avx(c, op);
    if (kind == STUB_X87 || kind == STUB_MMX || kind == STUB_SSE_MMX)
        soft_fpu_live(c);
}

void soft_need(struct soft_cpu *c, const struct uop *op, enum stub_kind kind)
{
    need(c, op, kind);
}

/* --- memory --- */

static _Noreturn void trap(struct soft_cpu *c, const struct uop *op, u32 vector)
{
    if (vector == VEC_GP)
        soft_raise_error(c, op, VEC_GP, 0);
    if (vector == VEC_XM && !(c->cr4 & CR4_OSXMMEXCPT))
        vector = VEC_UD;
    soft_raise(c, op, (u8)vector);
}

/* The operand crosses a page or is not plain RAM: a copy of it, with the same alignment. */
static __attribute__((noinline)) void run_on_copy(struct soft_cpu *c, const struct uop *op, u64 lin)
{
    const struct stub *s = stub_of(op);
    alignas(64) u8 copy[128];
    u8 *p = copy + (s->align_mm ? 0 : lin % 64); /* misaligned here: MXCSR.MM allows it */
    bool write = s->access & ACC_WRITE;

    if (write)
        soft_probe_write(c, op, lin, s->size);
    /* x87 with an unmasked exception stores nothing: then what was there is stored again. */
    if ((s->access & ACC_READ) || s->kind == STUB_X87)
        soft_load_bytes(c, op, lin, p, s->size);
    u32 vector = s->run(c, p);
    if (vector)
        trap(c, op, vector);
    if (write)
        soft_store_bytes(c, op, lin, p, s->size);
}

/* An x87 exception that waits comes before one of memory.  Only where the TLB does not answer: the stub finds it too. */
static inline void wait_before_miss(struct soft_cpu *c, const struct uop *op, u64 lin)
{
    const struct tlb_entry *t = soft_tlb_at(c, lin);
    u64 last = (lin + stub_of(op)->size - 1) & GUEST_PAGE_MASK;

    if (unlikely(t->tag_r != last || t->tag_w != last))
        soft_fpu_wait(c, op);
}

static inline void run_mem(struct soft_cpu *c, const struct uop *op, bool x87)
{
    const struct stub *s = stub_of(op);
    void *p = NULL;

    if (x87 && unlikely(op->seg < SEG_COUNT))
        soft_fpu_wait(c, op);
    u64 lin = soft_lin(c, op, s->size, s->access);
    if (x87)
        wait_before_miss(c, op, lin);
    if (unlikely(lin & s->align)) {
        if (x87)
            soft_fpu_wait(c, op);
        if (!s->align_mm || !(soft_mxcsr(c) & MXCSR_MM))
            soft_raise_error(c, op, VEC_GP, 0);
    } else if (s->access & ACC_WRITE) {
        p = soft_rw(c, op, lin, s->size);
    } else {
        p = (void *)(uintptr_t)soft_ro(c, op, lin, s->size);
    }
    if (unlikely(!p)) {
        run_on_copy(c, op, lin);
        return;
    }
    u32 vector = s->run(c, p);
    if (unlikely(vector))
        trap(c, op, vector);
}

/* --- handlers: one of each kind, with and without memory --- */

static inline void run_stub(struct soft_cpu *c, const struct uop *op, enum stub_kind kind, bool mem)
{
    need(c, op, kind);
    if (mem) {
        run_mem(c, op, kind == STUB_X87 || kind == STUB_MMX || kind == STUB_SSE_MMX);
    } else {
        u32 vector = stub_of(op)->run(c, NULL);
        if (unlikely(vector))
            trap(c, op, vector);
    }
    if (kind == STUB_X87)
        soft_fpu_note(c, op, mem);
}

#define HANDLERS(kind)                                                    \
    static void op_##kind(struct soft_cpu *c, const struct uop *op)       \
    {                                                                     \
        run_stub(c, op, kind, false);                                     \
        UOP_NEXT;                                                         \
    }                                                                     \
    static void op_##kind##_mem(struct soft_cpu *c, const struct uop *op) \
    {                                                                     \
        run_stub(c, op, kind, true);                                      \
        UOP_NEXT;                                                         \
    }
HANDLERS(STUB_INT)
HANDLERS(STUB_VEX)
HANDLERS(STUB_X87)
HANDLERS(STUB_MMX)
HANDLERS(STUB_SSE)
HANDLERS(STUB_SSE_MMX)
HANDLERS(STUB_AVX)

#define ROW(kind) [kind] = { op_##kind, op_##kind##_mem }
static const uop_fn handlers[STUB_KINDS][2] = {
    ROW(STUB_INT), ROW(STUB_VEX),     ROW(STUB_X87), ROW(STUB_MMX),
    ROW(STUB_SSE), ROW(STUB_SSE_MMX), ROW(STUB_AVX),
};
#undef ROW

uop_fn stub_handler(enum stub_kind kind, bool mem)
{
    return handlers[kind][mem];
}

bool stub_kind_of(uop_fn fn, enum stub_kind *ret)
{
    for (u32 k = 0; k < STUB_KINDS; k++) {
        if (handlers[k][false] != fn && handlers[k][true] != fn)
            continue;
        *ret = (enum stub_kind)k;
        return true;
    }
    return false;
}
