/*
 * cpu/soft/insn_flow.c: near jumps, calls and returns; stack frames; decimal arithmetic.  Far transfers: insn_far.c.
 */
#include "cpu/soft/alu.h"
#include "cpu/soft/cond.h"
#include "cpu/soft/cpuid.h"
#include "cpu/soft/emit_int.h"

#define HANDLER(name) static void name(struct soft_cpu *c, const struct uop *op)

/*
 * A direct branch has its target in op->imm, from the block's first byte, and in op->aux whether it stays in the page
 * and so does what follows.  AUX_LINK: the successors are remembered in the block.  op->src: width of RIP after it (enum soft_size).
 */
#define AUX_TARGET 1
#define AUX_NEXT   2
#define AUX_LINK   4

static inline u64 rip_cut(const struct uop *op, u64 rip)
{
    return likely(op->src == SIZE_64) ? rip : op->src == SIZE_32 ? (u32)rip : (u16)rip;
}

/* A target outside what RIP can be: #GP at the branch. */
static inline void check_target(struct soft_cpu *c, const struct uop *op, u64 rip)
{
    if (likely(op->src == SIZE_64)) {
        if (unlikely((u64)((s64)(rip << 16) >> 16) != rip))
            soft_raise_error(c, op, VEC_GP, 0);
    } else if (unlikely(rip > c->seg[SEG_CS].limit)) {
        soft_raise_error(c, op, VEC_GP, 0);
    }
}

static inline void link_to(struct soft_cpu *c, const struct uop *op, u32 i, bool near)
{
    c->link = op->aux & AUX_LINK ? &c->block->succ[i] : NULL;
    c->link_near = near;
}

static inline void go_target(struct soft_cpu *c, const struct uop *op)
{
    u64 rip = rip_cut(op, c->base_rip + op->imm);

    if (!(op->aux & AUX_TARGET))
        check_target(c, op, rip);
    c->rip = rip;
    link_to(c, op, 1, op->aux & AUX_TARGET);
}

static inline void go_next(struct soft_cpu *c, const struct uop *op)
{
    c->rip = soft_next_rip(c, op);
    link_to(c, op, 0, op->aux & AUX_NEXT);
}

HANDLER(jmp_direct)
{
    go_target(c, op);
}

#define JCC(name, expr)         \
    HANDLER(jcc_##name)         \
    {                           \
        if (cond_##name(c->fl)) \
            go_target(c, op);   \
        else                    \
            go_next(c, op);     \
    }
CONDITIONS(JCC)

/* In the middle of a block: op->dst is the successor's number. */
#define JCC_PASSING(name, expr)                              \
    HANDLER(passing_##name)                                  \
    {                                                        \
        if (!cond_##name(c->fl))                             \
            UOP_NEXT;                                        \
        c->budget += c->block->ops + c->block->n - (op + 1); \
        c->rip = rip_cut(op, c->base_rip + op->imm);         \
        link_to(c, op, op->dst, true);                       \
    }
CONDITIONS(JCC_PASSING)

static inline u64 count_of(const struct soft_cpu *c, const struct uop *op)
{
    u64 rcx = c->reg[GPR_RCX];

    return op->asize == SIZE_64 ? rcx : op->asize == SIZE_32 ? (u32)rcx : (u16)rcx;
}

HANDLER(jcxz)
{
    if (count_of(c, op) == 0)
        go_target(c, op);
    else
        go_next(c, op);
}

/* op->dst: 0 LOOP, 1 LOOPE, 2 LOOPNE. */
HANDLER(loop)
{
    u64 left = count_of(c, op) - 1;
    bool zero = c->fl & FL_ZF, go;

    left = op->asize == SIZE_64 ? left : op->asize == SIZE_32 ? (u32)left : (u16)left;
    go = left != 0 && (op->dst == 0 || zero == (op->dst == 1));
    if (go)
        go_target(c, op);
    else
        go_next(c, op);
    if (op->asize == SIZE_16)
        reg_put16(c, GPR_RCX * 8, (u16)left);
    else
        c->reg[GPR_RCX] = left;
}

/* Indirect: the target is in a register (aux 0) or in memory (aux 1). */
#define TARGET(bits) \
    (op->aux ? soft_load##bits(c, op, soft_lin(c, op, bits / 8, ACC_READ)) : REG_GET(bits, op->dst))
#define FLOW_FORMS(bits)                                                                     \
    HANDLER(jmp_indirect##bits)                                                              \
    {                                                                                        \
        u64 rip = TARGET(bits);                                                              \
        check_target(c, op, rip);                                                            \
        soft_leave(c, rip);                                                                  \
    }                                                                                        \
    static inline void push##bits(struct soft_cpu *c, const struct uop *op, u##bits v)       \
    {                                                                                        \
        soft_store##bits(c, op, soft_stack_lin(c, op, -(bits / 8), bits / 8, ACC_WRITE), v); \
        soft_stack_move(c, -(bits / 8));                                                     \
    }                                                                                        \
    HANDLER(call_direct##bits)                                                               \
    {                                                                                        \
        u64 rip = rip_cut(op, c->base_rip + op->imm);                                        \
        check_target(c, op, rip);                                                            \
        push##bits(c, op, (u##bits)soft_next_rip(c, op));                                    \
        c->rip = rip;                                                                        \
        link_to(c, op, 1, op->aux &AUX_TARGET);                                              \
    }                                                                                        \
    HANDLER(call_indirect##bits)                                                             \
    {                                                                                        \
        u64 rip = TARGET(bits);                                                              \
        check_target(c, op, rip);                                                            \
        push##bits(c, op, (u##bits)soft_next_rip(c, op));                                    \
        soft_leave(c, rip);                                                                  \
    }                                                                                        \
    HANDLER(ret##bits)                                                                       \
    {                                                                                        \
        u64 rip = soft_load##bits(c, op, soft_stack_lin(c, op, 0, bits / 8, ACC_READ));      \
        check_target(c, op, rip);                                                            \
        soft_stack_move(c, bits / 8 + (s64)op->imm);                                         \
        soft_leave(c, rip);                                                                  \
    }                                                                                        \
    HANDLER(leave##bits)                                                                     \
    {                                                                                        \
        u64 rsp = c->reg[GPR_RSP];                                                           \
        u32 kind = (c->key >> KEY_STACK_SHIFT) & 3;                                          \
        u64 frame = c->reg[GPR_RBP];                                                         \
        c->reg[GPR_RSP] = kind == SIZE_64   ? frame                                          \
                          : kind == SIZE_32 ? (u32)frame                                     \
                                            : (rsp & ~0xffffull) | (u16)frame;               \
        u64 lin = soft_stack_lin_keep(c, op, rsp, bits / 8);                                 \
        u##bits v = soft_load##bits(c, op, lin);                                             \
        c->reg[GPR_RSP] = kind == SIZE_64   ? frame                                          \
                          : kind == SIZE_32 ? (u32)frame                                     \
                                            : (rsp & ~0xffffull) | (u16)frame;               \
        soft_stack_move(c, bits / 8);                                                        \
        reg_put##bits(c, GPR_RBP * 8, v);                                                    \
        UOP_NEXT;                                                                            \
    }

/* The address at the RSP in force; RSP itself goes back to `rsp`, because what follows may fault. */
static u64 soft_stack_lin_keep(struct soft_cpu *c, const struct uop *op, u64 rsp, u32 size)
{
    u64 at = c->reg[GPR_RSP];
    u32 kind = (c->key >> KEY_STACK_SHIFT) & 3;

    c->reg[GPR_RSP] = rsp;
    if (kind == SIZE_64)
        return at;
    return soft_seg_linear(c, op, SEG_SS, kind == SIZE_32 ? (u32)at : (u16)at, size, ACC_READ);
}

FLOW_FORMS(16)
FLOW_FORMS(32)
FLOW_FORMS(64)
#define SIZES_16(name)                     \
    {                                      \
        NULL, name##16, name##32, name##64 \
    }
static const uop_fn jmp_fns[4] = SIZES_16(jmp_indirect),
                    call_fns[2][4] = { SIZES_16(call_direct), SIZES_16(call_indirect) };
static const uop_fn ret_fns[4] = SIZES_16(ret), leave_fns[4] = SIZES_16(leave);

/* A word of the frames of the enclosing procedures, for ENTER. */
static u64 outer_frame(struct soft_cpu *c, const struct uop *op, u64 off, u32 size)
{
    u32 kind = (c->key >> KEY_STACK_SHIFT) & 3;
    u64 at = kind == SIZE_64 ? off : kind == SIZE_32 ? (u32)off : (u16)off;
    u64 lin = kind == SIZE_64 ? at : soft_seg_linear(c, op, SEG_SS, at, size, ACC_READ);

    return size == 8   ? soft_load64(c, op, lin)
           : size == 4 ? soft_load32(c, op, lin)
                       : soft_load16(c, op, lin);
}

/* ENTER: op->imm bytes of locals, op->dst nesting levels (0 to 31).  What it stores below RSP before a fault is stored again. */
static void enter(struct soft_cpu *c, const struct uop *op, u32 size)
{
    u32 levels = op->dst, kind = (c->key >> KEY_STACK_SHIFT) & 3;
    u64 mask = kind == SIZE_64 ? ~0ull : kind == SIZE_32 ? 0xffffffff : 0xffff;
    u64 rbp = c->reg[GPR_RBP], frame = (c->reg[GPR_RSP] - size) & mask;
    s64 down = size;

    soft_store_bytes(c, op, soft_stack_lin(c, op, -down, size, ACC_WRITE), &rbp, size);
    for (u32 i = 1; i <= levels; i++) {
        u64 v = i < levels ? outer_frame(c, op, rbp - (u64)size * i, size) : frame;

        down += size;
        soft_store_bytes(c, op, soft_stack_lin(c, op, -down, size, ACC_WRITE), &v, size);
    }
    soft_probe_write(c, op, soft_stack_lin(c, op, -down - (s64)op->imm, size, ACC_WRITE), size);
    soft_stack_move(c, -down - (s64)op->imm);
    if (size == 2)
        reg_put16(c, GPR_RBP * 8, (u16)frame);
    else
        c->reg[GPR_RBP] = size == 4 ? (u32)frame : frame;
}

HANDLER(enter16)
{
    enter(c, op, 2);
    UOP_NEXT;
}

HANDLER(enter32)
{
    enter(c, op, 4);
    UOP_NEXT;
}

HANDLER(enter64)
{
    enter(c, op, 8);
    UOP_NEXT;
}
static const uop_fn enter_fns[4] = SIZES_16(enter);

/* PUSHA and POPA. */
#define ALL_FORMS(bits)                                                                         \
    HANDLER(pusha##bits)                                                                        \
    {                                                                                           \
        soft_probe_write(c, op, soft_stack_lin(c, op, -bits, bits / 8, ACC_WRITE), bits / 8);   \
        for (s64 r = GPR_RAX; r <= GPR_RDI; r++)                                                \
            soft_store##bits(c, op,                                                             \
                             soft_stack_lin(c, op, -(r + 1) * (bits / 8), bits / 8, ACC_WRITE), \
                             REG_GET(bits, r * 8));                                             \
        soft_stack_move(c, -bits);                                                              \
        UOP_NEXT;                                                                               \
    }                                                                                           \
    HANDLER(popa##bits)                                                                         \
    {                                                                                           \
        u##bits v[8];                                                                           \
        for (s64 r = GPR_RAX; r <= GPR_RDI; r++)                                                \
            v[r] = soft_load##bits(                                                             \
                c, op, soft_stack_lin(c, op, (7 - r) * (bits / 8), bits / 8, ACC_READ));        \
        for (u32 r = GPR_RAX; r <= GPR_RDI; r++)                                                \
            if (r != GPR_RSP)                                                                   \
                reg_put##bits(c, r * 8, v[r]);                                                  \
        soft_stack_move(c, bits);                                                               \
        UOP_NEXT;                                                                               \
    }
ALL_FORMS(16)
ALL_FORMS(32)
static const uop_fn pusha_fns[4] = { NULL, pusha16, pusha32 },
                    popa_fns[4] = { NULL, popa16, popa32 };

/* Decimal arithmetic, as the manual's own pseudo-code; SF, ZF and PF are those of AL. */
static void put_al(struct soft_cpu *c, u8 al, bool cf, bool af)
{
    u32 fl = 0;

    alu_test8(al, al, &fl);
    reg_put8(c, 0, al);
    c->fl = (fl & (FL_SF | FL_ZF | FL_PF)) | (cf ? FL_CF : 0) | (af ? FL_AF : 0);
}

/* aux: 0 DAA, 1 DAS. */
HANDLER(decimal_adjust)
{
    u8 al = REG_GET(8, 0), old = al;
    bool cf = c->fl & FL_CF, af = (al & 15) > 9 || (c->fl & FL_AF), carry = false;

    if (af) {
        carry = cf || (op->aux ? al < 6 : al > 0xf9);
        al = (u8)(op->aux ? al - 6 : al + 6);
    }
    if (old > 0x99 || cf) {
        al = (u8)(op->aux ? al - 0x60 : al + 0x60);
        carry = true;
    } else if (!op->aux) {
        carry = false;
    }
    put_al(c, al, carry, af);
    UOP_NEXT;
}

/* aux: 0 AAA, 1 AAS. */
HANDLER(ascii_adjust)
{
    u16 ax = REG_GET(16, 0);
    bool adjust = (ax & 15) > 9 || (c->fl & FL_AF);

    if (adjust)
        ax = (u16)(op->aux ? ax - 0x106 : ax + 0x106);
    put_al(c, ax & 15, adjust, adjust);
    reg_put16(c, 0, ax & 0xff0f);
    UOP_NEXT;
}

HANDLER(aam)
{
    u8 al = REG_GET(8, 0), base = (u8)op->imm;

    if (base == 0)
        soft_raise(c, op, VEC_DE);
    put_al(c, al % base, false, false);
    reg_put8(c, 1, al / base);
    UOP_NEXT;
}

HANDLER(aad)
{
    put_al(c, (u8)(REG_GET(8, 0) + REG_GET(8, 1) * (u8)op->imm), false, false);
    reg_put8(c, 1, 0);
    UOP_NEXT;
}

/* Emit functions. */

/* Size of RIP after a near branch.  In 64-bit code AMD's CPUs obey the 66 prefix, Intel's do not. */
static u8 rip_size(const struct emit *m)
{
    bool rex_w = (m->in->attributes & ZYDIS_ATTRIB_HAS_REX) && m->in->raw.rex.W, prefix = false;

    if ((m->key & KEY_SIZE) != SIZE_64)
        return m->in->operand_width == 32 ? SIZE_32 : SIZE_16;
    for (u32 i = 0; i < m->in->raw.prefix_count; i++)
        prefix |= m->in->raw.prefixes[i].value == 0x66;
    return prefix && !rex_w && !soft_is_intel(m->c->vm) ? SIZE_16 : SIZE_64;
}

/* In which page: `at` counts from the block's first byte. */
static bool same_page(const struct emit *m, s64 at)
{
    s64 page_off = (s64)(m->block_gpa & (GUEST_PAGE - 1)) + at;

    return page_off >= 0 && page_off < (s64)GUEST_PAGE &&
           m->op->off + m->in->length + (m->block_gpa & (GUEST_PAGE - 1)) <= GUEST_PAGE;
}

static void branch(struct emit *m)
{
    struct uop *op = m->op;
    s64 next = (s64)op->off + m->in->length, target = next + m->opnd[0].imm.value.s;
    bool plain = (m->key & KEY_FLAT) && !(m->key & KEY_SINGLE);

    op->imm = (u64)target;
    op->src = rip_size(m);
    if (plain && op->src != SIZE_16)
        op->aux |= AUX_LINK;
    if (plain && op->src != SIZE_16 && same_page(m, target))
        op->aux |= AUX_TARGET;
    if (plain && same_page(m, next))
        op->aux |= AUX_NEXT;
    op->asize = m->in->address_width == 64   ? SIZE_64
                : m->in->address_width == 32 ? SIZE_32
                                             : SIZE_16;
    op->seg = SEG_FLAT_SS;
    op->fn = m->row->fn;
}

static uop_fn passing_of(uop_fn fn)
{
#define ROW(name, expr) { jcc_##name, passing_##name },
    static const struct {
        uop_fn ends, passes;
    } rows[] = { CONDITIONS(ROW) };
#undef ROW

    for_each_row(r, rows)
        if (r->ends == fn)
            return r->passes;
    return NULL;
}

/* Jumps back are taken more often than not. */
static void emit_branch(struct emit *m)
{
    branch(m);
    if (m->op->aux == (AUX_TARGET | AUX_NEXT | AUX_LINK) && (s64)m->op->imm > m->op->off)
        m->passing = passing_of(m->op->fn);
}

static void emit_loop(struct emit *m)
{
    branch(m);
    m->op->dst = m->in->mnemonic == ZYDIS_MNEMONIC_LOOPE    ? 1
                 : m->in->mnemonic == ZYDIS_MNEMONIC_LOOPNE ? 2
                                                            : 0;
    if (m->op->dst == 0 || soft_is_intel(m->c->vm))
        return;
    for (u32 i = 0; i < m->in->raw.prefix_count;
         i++) { /* AMD's CPUs let a repeat prefix choose the condition */
        u8 p = m->in->raw.prefixes[i].value;
        m->op->dst = p == 0xf3 ? 1 : p == 0xf2 ? 2 : m->op->dst;
    }
}

static void emit_indirect(struct emit *m, const uop_fn *fns)
{
    const ZydisDecodedOperand *a = &m->opnd[0];

    m->op->src = rip_size(m);
    m->op->aux = a->type == ZYDIS_OPERAND_TYPE_MEMORY;
    if (m->op->aux)
        emit_mem(m, a);
    else
        m->op->dst = emit_reg(a->reg.value);
    m->op->fn = fns[m->op->src == SIZE_64 ? 3 : m->op->src == SIZE_32 ? 2 : 1];
}

static void emit_jmp(struct emit *m)
{
    if (m->in->meta.branch_type == ZYDIS_BRANCH_TYPE_FAR)
        emit_far_jmp(m);
    else if (m->opnd[0].type == ZYDIS_OPERAND_TYPE_IMMEDIATE)
        branch(m);
    else
        emit_indirect(m, jmp_fns);
}

static void emit_call(struct emit *m)
{
    if (m->in->meta.branch_type == ZYDIS_BRANCH_TYPE_FAR) {
        emit_far_call(m);
    } else if (m->opnd[0].type == ZYDIS_OPERAND_TYPE_IMMEDIATE) {
        branch(m);
        m->op->fn = call_fns[0][m->op->src == SIZE_64 ? 3 : m->op->src == SIZE_32 ? 2 : 1];
    } else {
        emit_indirect(m, call_fns[1]);
    }
}

static void emit_ret(struct emit *m)
{
    if (m->in->meta.branch_type == ZYDIS_BRANCH_TYPE_FAR) {
        emit_far_ret(m);
        return;
    }
    m->op->src = rip_size(m);
    m->op->seg = SEG_FLAT_SS;
    if (m->opnd[0].type == ZYDIS_OPERAND_TYPE_IMMEDIATE)
        m->op->imm = m->opnd[0].imm.value.u;
    m->op->fn = ret_fns[m->op->src == SIZE_64 ? 3 : m->op->src == SIZE_32 ? 2 : 1];
}

/* row->data: uop_fn [4] by operand size. */
static void emit_sized(struct emit *m)
{
    const uop_fn *fns = m->row->data;

    m->op->seg = SEG_FLAT_SS;
    m->op->fn = fns[m->osize];
}

static void emit_enter(struct emit *m)
{
    m->op->imm = m->opnd[0].imm.value.u & 0xffff;
    m->op->dst = m->opnd[1].imm.value.u & 31;
    emit_sized(m);
}

static void emit_decimal(struct emit *m)
{
    m->op->aux = m->in->mnemonic == ZYDIS_MNEMONIC_DAS || m->in->mnemonic == ZYDIS_MNEMONIC_AAS;
    if (m->opnd[0].type == ZYDIS_OPERAND_TYPE_IMMEDIATE)
        m->op->imm = m->opnd[0].imm.value.u;
    m->op->fn = m->row->fn;
}

#define UNDEF_ASCII (RF_OF | RF_SF | RF_ZF | RF_PF)
#define UNDEF_AAM   (RF_OF | RF_AF | RF_CF)
#define E           INSN_ENDS
/* clang-format off */
#define JCC_ROW(M, cc) { ZYDIS_MNEMONIC_J##M, F_ALWAYS, E, emit_branch, 0, jcc_##cc }
const struct insn_row insn_flow_rows[] = {
    JCC_ROW(O, o),   JCC_ROW(NO, no),   JCC_ROW(B, b),   JCC_ROW(NB, nb),  JCC_ROW(Z, z), JCC_ROW(NZ, nz),
    JCC_ROW(BE, be), JCC_ROW(NBE, nbe), JCC_ROW(S, s),   JCC_ROW(NS, ns),  JCC_ROW(P, p), JCC_ROW(NP, np),
    JCC_ROW(L, l),   JCC_ROW(NL, nl),   JCC_ROW(LE, le), JCC_ROW(NLE, nle),
    { ZYDIS_MNEMONIC_JCXZ,   F_ALWAYS, E, emit_branch,  0, jcxz },
    { ZYDIS_MNEMONIC_JECXZ,  F_ALWAYS, E, emit_branch,  0, jcxz },
    { ZYDIS_MNEMONIC_JRCXZ,  F_ALWAYS, E, emit_branch,  0, jcxz },
    { ZYDIS_MNEMONIC_LOOP,   F_ALWAYS, E, emit_loop,    0, loop },
    { ZYDIS_MNEMONIC_LOOPE,  F_ALWAYS, E, emit_loop,    0, loop },
    { ZYDIS_MNEMONIC_LOOPNE, F_ALWAYS, E, emit_loop,    0, loop },
    { ZYDIS_MNEMONIC_JMP,    F_ALWAYS, E, emit_jmp,     0, jmp_direct },
    { ZYDIS_MNEMONIC_CALL,   F_ALWAYS, E, emit_call },
    { ZYDIS_MNEMONIC_RET,    F_ALWAYS, E, emit_ret },
    { ZYDIS_MNEMONIC_LEAVE,  F_ALWAYS, 0, emit_sized,   0, NULL, leave_fns },
    { ZYDIS_MNEMONIC_ENTER,  F_ALWAYS, 0, emit_enter,   0, NULL, enter_fns },
    { ZYDIS_MNEMONIC_PUSHA,  F_ALWAYS, 0, emit_sized,   0, NULL, pusha_fns },
    { ZYDIS_MNEMONIC_PUSHAD, F_ALWAYS, 0, emit_sized,   0, NULL, pusha_fns },
    { ZYDIS_MNEMONIC_POPA,   F_ALWAYS, 0, emit_sized,   0, NULL, popa_fns },
    { ZYDIS_MNEMONIC_POPAD,  F_ALWAYS, 0, emit_sized,   0, NULL, popa_fns },
    { ZYDIS_MNEMONIC_DAA,    F_ALWAYS, 0, emit_decimal, RF_OF,       decimal_adjust },
    { ZYDIS_MNEMONIC_DAS,    F_ALWAYS, 0, emit_decimal, RF_OF,       decimal_adjust },
    { ZYDIS_MNEMONIC_AAA,    F_ALWAYS, 0, emit_decimal, UNDEF_ASCII, ascii_adjust },
    { ZYDIS_MNEMONIC_AAS,    F_ALWAYS, 0, emit_decimal, UNDEF_ASCII, ascii_adjust },
    { ZYDIS_MNEMONIC_AAM,    F_ALWAYS, 0, emit_decimal, UNDEF_AAM,   aam },
    { ZYDIS_MNEMONIC_AAD,    F_ALWAYS, 0, emit_decimal, UNDEF_AAM,   aad },
    {},
};
/* clang-format on */
