/*
 * cpu/soft/insn_vec.c: the vector moves that every program is full of, without a stub.  They change no flag and no MXCSR, so C does
 * for them what the host's instruction would; the legacy forms leave the upper half of a YMM register alone.
 */
#include "cpu/soft/insn.h"
#include "cpu/soft/soft_mem.h"
#include "cpu/soft/stub.h"

#define HANDLER(name) static void name(struct soft_cpu *c, const struct uop *op)

struct vec16 {
    u64 half[2];
};

static inline struct vec16 *reg_of(struct soft_cpu *c, u32 n)
{
    return (struct vec16 *)(void *)c->fpu.ymm[n];
}

/* aux 1: the address is a multiple of 16, else #GP. */
static inline u64 address(struct soft_cpu *c, const struct uop *op, u32 access)
{
    u64 lin = soft_lin(c, op, 16, access);

    if (unlikely(op->aux && lin % 16))
        soft_raise_error(c, op, VEC_GP, 0);
    return lin;
}

HANDLER(move_rr)
{
    soft_need(c, op, STUB_SSE);
    *reg_of(c, op->dst) = *reg_of(c, op->src);
    UOP_NEXT;
}

HANDLER(move_rm)
{
    struct vec16 v;
    const void *at;
    u64 lin;

    soft_need(c, op, STUB_SSE);
    lin = address(c, op, ACC_READ);
    at = soft_ro(c, op, lin, sizeof(v));
    if (likely(at))
        memcpy(&v, at, sizeof(v));
    else
        soft_load_bytes(c, op, lin, &v, sizeof(v));
    *reg_of(c, op->dst) = v;
    UOP_NEXT;
}

HANDLER(move_mr)
{
    void *at;
    u64 lin;

    soft_need(c, op, STUB_SSE);
    lin = address(c, op, ACC_WRITE);
    at = soft_rw(c, op, lin, 16);
    if (likely(at))
        memcpy(at, reg_of(c, op->src), 16);
    else
        soft_store_bytes(c, op, lin, reg_of(c, op->src), 16);
    UOP_NEXT;
}

static u8 vec_of(const ZydisDecodedOperand *o)
{
    return (u8)(o->reg.value - ZYDIS_REGISTER_XMM0);
}

/* row->data not NULL: memory has to be aligned. */
static void emit_vec_move(struct emit *m)
{
    const ZydisDecodedOperand *a = &m->opnd[0], *b = &m->opnd[1];

    m->op->aux = m->row->data != NULL;
    if (a->type == ZYDIS_OPERAND_TYPE_MEMORY) {
        emit_mem(m, a);
        m->op->src = vec_of(b);
        m->op->fn = move_mr;
        return;
    }
    m->op->dst = vec_of(a);
    if (b->type == ZYDIS_OPERAND_TYPE_MEMORY) {
        emit_mem(m, b);
        m->op->fn = move_rm;
    } else {
        m->op->src = vec_of(b);
        m->op->fn = move_rr;
    }
}

bool insn_is_vec_move(uop_fn fn)
{
    return fn == move_rr || fn == move_rm || fn == move_mr;
}

/* clang-format off */
#define ALIGNED ((const void *)1)
const struct insn_row insn_vec_rows[] = {
    { ZYDIS_MNEMONIC_MOVUPS, F_SSE,  INSN_COPY, emit_vec_move },
    { ZYDIS_MNEMONIC_MOVUPD, F_SSE2, INSN_COPY, emit_vec_move },
    { ZYDIS_MNEMONIC_MOVDQU, F_SSE2, INSN_COPY, emit_vec_move },
    { ZYDIS_MNEMONIC_MOVAPS, F_SSE,  INSN_COPY, emit_vec_move, .data = ALIGNED },
    { ZYDIS_MNEMONIC_MOVAPD, F_SSE2, INSN_COPY, emit_vec_move, .data = ALIGNED },
    { ZYDIS_MNEMONIC_MOVDQA, F_SSE2, INSN_COPY, emit_vec_move, .data = ALIGNED },
    {},
};
/* clang-format on */
