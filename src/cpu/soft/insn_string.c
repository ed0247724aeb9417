/*
 * cpu/soft/insn_string.c: MOVS, STOS, LODS, CMPS, SCAS, alone and repeated.  (INS and OUTS: insn_sys.c)
 * A repeated one goes page by page, by the host's own string instructions where both operands are plain RAM, and looks up after each
 * piece: registers tell how far it came, so an interrupt or a fault in the middle resumes it.
 *   op->dst: log2 of the element, op->aux: enum rep, op->asize: width of RCX, RSI, RDI, op->seg: segment of the source.
 */
#include "cpu/soft/alu.h"
#include "cpu/soft/code.h"
#include "cpu/soft/emit_int.h"

#define HANDLER(name) static void name(struct soft_cpu *c, const struct uop *op)

enum rep { REP_NONE, REP_E, REP_NE }; /* REP_E: also plain REP */

static u64 cut(const struct uop *op, u64 v)
{
    return op->asize == SIZE_64 ? v : op->asize == SIZE_32 ? (u32)v : (u16)v;
}

static void put_cut(struct soft_cpu *c, const struct uop *op, u32 reg, u64 v)
{
    if (op->asize == SIZE_16)
        reg_put16(c, reg * 8, (u16)v);
    else
        c->reg[reg] = cut(op, v);
}

static u64 source(struct soft_cpu *c, const struct uop *op, u32 size)
{
    u64 ea = cut(op, c->reg[GPR_RSI]);

    return op->seg >= SEG_FLAT ? ea : soft_seg_linear(c, op, op->seg, ea, size, ACC_READ);
}

static u64 target(struct soft_cpu *c, const struct uop *op, u32 size, u32 access)
{
    u64 ea = cut(op, c->reg[GPR_RDI]);

    return likely(c->key & KEY_FLAT) ? ea : soft_seg_linear(c, op, SEG_ES, ea, size, access);
}

static u64 load(struct soft_cpu *c, const struct uop *op, u64 lin)
{
    switch (op->dst) {
    case 0:
        return soft_load8(c, op, lin);
    case 1:
        return soft_load16(c, op, lin);
    case 2:
        return soft_load32(c, op, lin);
    default:
        return soft_load64(c, op, lin);
    }
}

static void store(struct soft_cpu *c, const struct uop *op, u64 lin, u64 v)
{
    switch (op->dst) {
    case 0:
        soft_store8(c, op, lin, (u8)v);
        break;
    case 1:
        soft_store16(c, op, lin, (u16)v);
        break;
    case 2:
        soft_store32(c, op, lin, (u32)v);
        break;
    default:
        soft_store64(c, op, lin, v);
        break;
    }
}

/* Elements that can be done at once: forward, without wrapping an address register, inside the page of `lin`. */
static u64 piece(const struct soft_cpu *c, const struct uop *op, u64 n, u64 lin, u64 ea)
{
    u64 room = (GUEST_PAGE - lin % GUEST_PAGE) >> op->dst;

    if ((c->eflags & RF_DF) || !(c->key & KEY_FLAT) || op->seg < SEG_FLAT)
        return 1;
    if (op->asize != SIZE_64 &&
        ea + GUEST_PAGE > (op->asize == SIZE_32 ? 0xffffffffull : 0xffffull))
        return 1;
    return max(min(n, room), 1ull);
}

/* After `n` elements: the registers move on.  use: bit 0 RSI, bit 1 RDI. */
static void advance(struct soft_cpu *c, const struct uop *op, u64 n, u32 use)
{
    u64 step = n << op->dst;

    if (c->eflags & RF_DF)
        step = 0 - step;
    if (use & 1)
        put_cut(c, op, GPR_RSI, c->reg[GPR_RSI] + step);
    if (use & 2)
        put_cut(c, op, GPR_RDI, c->reg[GPR_RDI] + step);
    if (op->aux == REP_NONE)
        return;
    put_cut(c, op, GPR_RCX, c->reg[GPR_RCX] - n);
    c->budget -= (s64)(c->vm->icount ? n : n / 8);
}

static u64 left(const struct soft_cpu *c, const struct uop *op)
{
    return op->aux == REP_NONE ? 1 : cut(op, c->reg[GPR_RCX]);
}

/* Has the instruction written over itself, or could it have?  Then it is fetched again. */
static bool may_be_void(const struct block *b)
{
    return b->key & KEY_DROPPED || b->gpa2 != BLOCK_ONE_PAGE;
}

/* A repeated instruction that is not done: is it time to look up?  Then RIP stays on it.  A debug trap comes after each element. */
static bool interrupted(struct soft_cpu *c, const struct uop *op)
{
    if (likely(!(atomic_load_explicit(&c->request, memory_order_relaxed) || c->budget < 0) &&
               !((c->eflags & RF_TF) | c->db_pending) && !may_be_void(c->block)))
        return false;
    soft_op_cut(c, op);
    return true;
}

/* One where a trap comes after it.  icount: elements are counted one by one, however they are cut into pieces. */
static u64 affordable(const struct soft_cpu *c, u64 n)
{
    if (unlikely(c->eflags & RF_TF))
        return 1;
    return likely(!c->vm->icount) ? n : min(n, (u64)max(c->budget, (s64)0) + 1);
}

/* What one piece of each instruction does: returns the elements done; `n` were asked for. */
typedef u64 (*piece_fn)(struct soft_cpu *c, const struct uop *op, u64 n);

static u64 movs_piece(struct soft_cpu *c, const struct uop *op, u64 n)
{
    u32 size = 1u << op->dst;
    u64 src = source(c, op, size), dst = target(c, op, size, ACC_WRITE);

    n = piece(c, op, n, src, cut(op, c->reg[GPR_RSI]));
    n = piece(c, op, n, dst, cut(op, c->reg[GPR_RDI]));
    const void *from = n > 1 ? soft_ro(c, op, src, (u32)(n << op->dst)) : NULL;
    void *to = from ? soft_rw(c, op, dst, (u32)(n << op->dst)) : NULL;
    if (!to) {
        store(c, op, dst, load(c, op, src));
        return 1;
    }
    u64 count = n;
    if (op->dst == 0)
        __asm__ volatile("rep movsb" : "+c"(count), "+S"(from), "+D"(to) : : "memory");
    else if (op->dst == 1)
        __asm__ volatile("rep movsw" : "+c"(count), "+S"(from), "+D"(to) : : "memory");
    else if (op->dst == 2)
        __asm__ volatile("rep movsl" : "+c"(count), "+S"(from), "+D"(to) : : "memory");
    else
        __asm__ volatile("rep movsq" : "+c"(count), "+S"(from), "+D"(to) : : "memory");
    return n;
}

static u64 stos_piece(struct soft_cpu *c, const struct uop *op, u64 n)
{
    u64 dst = target(c, op, 1u << op->dst, ACC_WRITE), v = c->reg[GPR_RAX];

    n = piece(c, op, n, dst, cut(op, c->reg[GPR_RDI]));
    void *to = n > 1 ? soft_rw(c, op, dst, (u32)(n << op->dst)) : NULL;
    if (!to) {
        store(c, op, dst, v);
        return 1;
    }
    u64 count = n;
    if (op->dst == 0)
        __asm__ volatile("rep stosb" : "+c"(count), "+D"(to) : "a"(v) : "memory");
    else if (op->dst == 1)
        __asm__ volatile("rep stosw" : "+c"(count), "+D"(to) : "a"(v) : "memory");
    else if (op->dst == 2)
        __asm__ volatile("rep stosl" : "+c"(count), "+D"(to) : "a"(v) : "memory");
    else
        __asm__ volatile("rep stosq" : "+c"(count), "+D"(to) : "a"(v) : "memory");
    return n;
}

static u64 lods_piece(struct soft_cpu *c, const struct uop *op, u64 n [[maybe_unused]])
{
    u64 v = load(c, op, source(c, op, 1u << op->dst));

    if (op->dst == 0)
        reg_put8(c, 0, (u8)v);
    else if (op->dst == 1)
        reg_put16(c, 0, (u16)v);
    else
        c->reg[GPR_RAX] = v;
    return 1;
}

static void compare(struct soft_cpu *c, const struct uop *op, u64 a, u64 b)
{
    switch (op->dst) {
    case 0:
        alu_cmp8((u8)a, (u8)b, &c->fl);
        break;
    case 1:
        alu_cmp16((u16)a, (u16)b, &c->fl);
        break;
    case 2:
        alu_cmp32((u32)a, (u32)b, &c->fl);
        break;
    default:
        alu_cmp64(a, b, &c->fl);
        break;
    }
}

/* Elements of a byte comparison that can be skipped because they surely do not end it. */
static u64 equal_bytes(const void *a, const void *b, u64 n)
{
    const u8 *x = a, *y = b;
    u64 i = 0;

    while (i + 8 < n && *(const guest_u64 *)(x + i) == *(const guest_u64 *)(y + i))
        i += 8;
    return i;
}

static u64 cmps_piece(struct soft_cpu *c, const struct uop *op, u64 n)
{
    u32 size = 1u << op->dst;
    u64 src = source(c, op, size), dst = target(c, op, size, ACC_READ), skip = 0;

    n = piece(c, op, n, src, cut(op, c->reg[GPR_RSI]));
    n = piece(c, op, n, dst, cut(op, c->reg[GPR_RDI]));
    if (n > 8 && op->dst == 0 && op->aux == REP_E) {
        const void *b = soft_ro(c, op, dst, (u32)n), *a = soft_ro(c, op, src, (u32)n);

        skip = a && b ? equal_bytes(a, b, n) : 0;
    }
    u64 b = load(c, op, dst + skip),
        a = load(c, op, src + skip); /* in this order: which one faults first shows */

    compare(c, op, a, b);
    return skip + 1;
}

static u64 scas_piece(struct soft_cpu *c, const struct uop *op, u64 n)
{
    u64 dst = target(c, op, 1u << op->dst, ACC_READ), skip = 0;

    n = piece(c, op, n, dst, cut(op, c->reg[GPR_RDI]));
    if (n > 8 && op->dst == 0 && op->aux == REP_NE) {
        const u8 *at = soft_ro(c, op, dst, (u32)n);
        const u8 *hit = at ? memchr(at, (u8)c->reg[GPR_RAX], n - 1) : NULL;

        skip = hit ? (u64)(hit - at) : at ? n - 1 : 0;
    }
    compare(c, op, c->reg[GPR_RAX], load(c, op, dst + skip));
    return skip + 1;
}

/* use as in advance; `ends`: the comparison's result may end a repetition. */
static inline bool run(struct soft_cpu *c, const struct uop *op, piece_fn fn, u32 use, bool ends)
{
    u64 n = left(c, op);

    while (n) {
        u64 done = fn(c, op, affordable(c, n));

        advance(c, op, done, use);
        if (op->aux == REP_NONE)
            return true;
        if (ends && !(c->fl & FL_ZF) == (op->aux == REP_E))
            return true;
        n = left(c, op);
        if (n && interrupted(c, op))
            return false;
    }
    return true;
}

#define STRING(name, use, ends)                  \
    HANDLER(name)                                \
    {                                            \
        if (run(c, op, name##_piece, use, ends)) \
            UOP_NEXT;                            \
    }
STRING(movs, 3, false)
STRING(stos, 2, false)
STRING(lods, 1, false)
STRING(cmps, 3, true)
STRING(scas, 2, true)

static void emit_string(struct emit *m)
{
    struct uop *op = m->op;

    for (u32 i = 0; i < m->in->operand_count; i++) {
        const ZydisDecodedOperand *o = &m->opnd[i];

        if (o->type == ZYDIS_OPERAND_TYPE_MEMORY &&
            (o->mem.base == ZYDIS_REGISTER_RSI || o->mem.base == ZYDIS_REGISTER_ESI ||
             o->mem.base == ZYDIS_REGISTER_SI))
            emit_mem(m, o);
    }
    op->dst = (u8)(uintptr_t)m->row->data;
    op->base = op->index = REG_ZERO;
    op->asize = m->in->address_width == 64   ? SIZE_64
                : m->in->address_width == 32 ? SIZE_32
                                             : SIZE_16;
    if (m->in->attributes & ZYDIS_ATTRIB_HAS_REPNE)
        op->aux = REP_NE;
    else if (m->in->attributes & (ZYDIS_ATTRIB_HAS_REP | ZYDIS_ATTRIB_HAS_REPE))
        op->aux = REP_E;
    op->fn = m->row->fn;
}

/* MOVSD and CMPSD are SSE2 instructions too. */
static void emit_movsd(struct emit *m)
{
    if (m->in->meta.category == ZYDIS_CATEGORY_STRINGOP)
        emit_string(m);
    else if (!insn_native(m))
        m->op->fn = soft_op_ud;
}

/* clang-format off */
#define ROWS(NAME, fn)                                                              \
    { ZYDIS_MNEMONIC_##NAME##B, F_ALWAYS, 0, emit_string, 0, fn, (const void *)0 }, \
    { ZYDIS_MNEMONIC_##NAME##W, F_ALWAYS, 0, emit_string, 0, fn, (const void *)1 }, \
    { ZYDIS_MNEMONIC_##NAME##D, F_ALWAYS, 0, emit_string, 0, fn, (const void *)2 }, \
    { ZYDIS_MNEMONIC_##NAME##Q, F_LM,     0, emit_string, 0, fn, (const void *)3 }
const struct insn_row insn_string_rows[] = {
    ROWS(STOS, stos),
    ROWS(LODS, lods),
    ROWS(SCAS, scas),
    { ZYDIS_MNEMONIC_MOVSB, F_ALWAYS, 0, emit_string, 0, movs, (const void *)0 },
    { ZYDIS_MNEMONIC_MOVSW, F_ALWAYS, 0, emit_string, 0, movs, (const void *)1 },
    { ZYDIS_MNEMONIC_MOVSD, F_ALWAYS, 0, emit_movsd,  0, movs, (const void *)2 },
    { ZYDIS_MNEMONIC_MOVSQ, F_LM,     0, emit_string, 0, movs, (const void *)3 },
    { ZYDIS_MNEMONIC_CMPSB, F_ALWAYS, 0, emit_string, 0, cmps, (const void *)0 },
    { ZYDIS_MNEMONIC_CMPSW, F_ALWAYS, 0, emit_string, 0, cmps, (const void *)1 },
    { ZYDIS_MNEMONIC_CMPSD, F_ALWAYS, 0, emit_movsd,  0, cmps, (const void *)2 },
    { ZYDIS_MNEMONIC_CMPSQ, F_LM,     0, emit_string, 0, cmps, (const void *)3 },
    {},
};
/* clang-format on */
