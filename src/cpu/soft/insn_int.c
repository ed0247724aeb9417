/*
 * cpu/soft/insn_int.c: integer arithmetic, logic, shifts and moves: what most instructions of most programs are.
 * Each handler exists for each operand size and form; the macros below write them, the tables name them.
 */
#include "cpu/soft/alu.h"
#include "cpu/soft/emit_int.h"

#define HANDLER(name) static void name(struct soft_cpu *c, const struct uop *op)

/* reg/mem by reg/imm/mem. */
#define ALU_FORMS(name, bits)                                                                     \
    HANDLER(name##_rr##bits)                                                                      \
    {                                                                                             \
        reg_put##bits(c, op->dst,                                                                 \
                      alu_##name##bits(REG_GET(bits, op->dst), REG_GET(bits, op->src), &c->fl));  \
        UOP_NEXT;                                                                                 \
    }                                                                                             \
    HANDLER(name##_ri##bits)                                                                      \
    {                                                                                             \
        reg_put##bits(c, op->dst,                                                                 \
                      alu_##name##bits(REG_GET(bits, op->dst), (u##bits)op->imm, &c->fl));        \
        UOP_NEXT;                                                                                 \
    }                                                                                             \
    HANDLER(name##_rm##bits)                                                                      \
    {                                                                                             \
        u##bits b = soft_load##bits(c, op, soft_lin(c, op, bits / 8, ACC_READ));                  \
        reg_put##bits(c, op->dst, alu_##name##bits(REG_GET(bits, op->dst), b, &c->fl));           \
        UOP_NEXT;                                                                                 \
    }                                                                                             \
    static inline void name##_mem##bits(struct soft_cpu *c, const struct uop *op, u##bits b)      \
    {                                                                                             \
        u64 lin = soft_lin(c, op, bits / 8, ACC_WRITE);                                           \
        ALU_MEM(bits, lin, alu_##name, b);                                                        \
    }                                                                                             \
    HANDLER(name##_mr##bits)                                                                      \
    {                                                                                             \
        name##_mem##bits(c, op, REG_GET(bits, op->src));                                          \
        UOP_NEXT;                                                                                 \
    }                                                                                             \
    HANDLER(name##_mi##bits)                                                                      \
    {                                                                                             \
        name##_mem##bits(c, op, (u##bits)op->imm);                                                \
        UOP_NEXT;                                                                                 \
    }                                                                                             \
    static inline void name##_lock_mem##bits(struct soft_cpu *c, const struct uop *op, u##bits b) \
    {                                                                                             \
        u64 lin = soft_lin(c, op, bits / 8, ACC_WRITE);                                           \
        void *p = soft_rw(c, op, lin, bits / 8);                                                  \
        if (likely(p)) {                                                                          \
            alu_##name##_lock##bits(p, b, &c->fl);                                                \
            return;                                                                               \
        }                                                                                         \
        soft_exclusive_begin(c);                                                                  \
        name##_mem##bits(c, op, b);                                                               \
        soft_exclusive_end(c);                                                                    \
    }                                                                                             \
    HANDLER(name##_lock_mr##bits)                                                                 \
    {                                                                                             \
        name##_lock_mem##bits(c, op, REG_GET(bits, op->src));                                     \
        UOP_NEXT;                                                                                 \
    }                                                                                             \
    HANDLER(name##_lock_mi##bits)                                                                 \
    {                                                                                             \
        name##_lock_mem##bits(c, op, (u##bits)op->imm);                                           \
        UOP_NEXT;                                                                                 \
    }

#define SIZES(name, form)                                                         \
    {                                                                             \
        name##_##form##8, name##_##form##16, name##_##form##32, name##_##form##64 \
    }
#define ALU_TABLE(name)                                                               \
    static const uop_fn name##_fns[FORMS][4] = {                                      \
        [FORM_RR] = SIZES(name, rr),           [FORM_RI] = SIZES(name, ri),           \
        [FORM_RM] = SIZES(name, rm),           [FORM_MR] = SIZES(name, mr),           \
        [FORM_MI] = SIZES(name, mi),           [FORM_LOCK_MR] = SIZES(name, lock_mr), \
        [FORM_LOCK_MI] = SIZES(name, lock_mi),                                        \
    };
#define ALU_ALL(name)   \
    ALU_FORMS(name, 8)  \
    ALU_FORMS(name, 16) \
    ALU_FORMS(name, 32) \
    ALU_FORMS(name, 64) \
    ALU_TABLE(name)

ALU_ALL(add)
ALU_ALL(or)
ALU_ALL(adc)
ALU_ALL(sbb)
ALU_ALL(and)
ALU_ALL(sub)
ALU_ALL(xor)

/* CMP and TEST: flags only. */
#define COMPARE_FORMS(name, bits)                                                 \
    HANDLER(name##_rr##bits)                                                      \
    {                                                                             \
        alu_##name##bits(REG_GET(bits, op->dst), REG_GET(bits, op->src), &c->fl); \
        UOP_NEXT;                                                                 \
    }                                                                             \
    HANDLER(name##_ri##bits)                                                      \
    {                                                                             \
        alu_##name##bits(REG_GET(bits, op->dst), (u##bits)op->imm, &c->fl);       \
        UOP_NEXT;                                                                 \
    }                                                                             \
    HANDLER(name##_rm##bits)                                                      \
    {                                                                             \
        u##bits b = soft_load##bits(c, op, soft_lin(c, op, bits / 8, ACC_READ));  \
        alu_##name##bits(REG_GET(bits, op->dst), b, &c->fl);                      \
        UOP_NEXT;                                                                 \
    }                                                                             \
    HANDLER(name##_mr##bits)                                                      \
    {                                                                             \
        u##bits a = soft_load##bits(c, op, soft_lin(c, op, bits / 8, ACC_READ));  \
        alu_##name##bits(a, REG_GET(bits, op->src), &c->fl);                      \
        UOP_NEXT;                                                                 \
    }                                                                             \
    HANDLER(name##_mi##bits)                                                      \
    {                                                                             \
        u##bits a = soft_load##bits(c, op, soft_lin(c, op, bits / 8, ACC_READ));  \
        alu_##name##bits(a, (u##bits)op->imm, &c->fl);                            \
        UOP_NEXT;                                                                 \
    }
#define COMPARE_ALL(name)                                                                      \
    COMPARE_FORMS(name, 8)                                                                     \
    COMPARE_FORMS(name, 16)                                                                    \
    COMPARE_FORMS(name, 32)                                                                    \
    COMPARE_FORMS(name, 64)                                                                    \
    static const uop_fn name##_fns[FORMS][4] = {                                               \
        [FORM_RR] = SIZES(name, rr), [FORM_RI] = SIZES(name, ri), [FORM_RM] = SIZES(name, rm), \
        [FORM_MR] = SIZES(name, mr), [FORM_MI] = SIZES(name, mi),                              \
    };

COMPARE_ALL(cmp)
COMPARE_ALL(test)

/* MOV between registers, memory and immediates. */
#define MOV_FORMS(bits)                                                                         \
    HANDLER(mov_rr##bits)                                                                       \
    {                                                                                           \
        reg_put##bits(c, op->dst, REG_GET(bits, op->src));                                      \
        UOP_NEXT;                                                                               \
    }                                                                                           \
    HANDLER(mov_ri##bits)                                                                       \
    {                                                                                           \
        reg_put##bits(c, op->dst, (u##bits)op->imm);                                            \
        UOP_NEXT;                                                                               \
    }                                                                                           \
    HANDLER(mov_rm##bits)                                                                       \
    {                                                                                           \
        reg_put##bits(c, op->dst, soft_load##bits(c, op, soft_lin(c, op, bits / 8, ACC_READ))); \
        UOP_NEXT;                                                                               \
    }                                                                                           \
    HANDLER(mov_mr##bits)                                                                       \
    {                                                                                           \
        soft_store##bits(c, op, soft_lin(c, op, bits / 8, ACC_WRITE), REG_GET(bits, op->src));  \
        UOP_NEXT;                                                                               \
    }                                                                                           \
    HANDLER(mov_mi##bits)                                                                       \
    {                                                                                           \
        soft_store##bits(c, op, soft_lin(c, op, bits / 8, ACC_WRITE), (u##bits)op->imm);        \
        UOP_NEXT;                                                                               \
    }
MOV_FORMS(8)
MOV_FORMS(16)
MOV_FORMS(32)
MOV_FORMS(64)
static const uop_fn mov_fns[FORMS][4] = {
    [FORM_RR] = SIZES(mov, rr), [FORM_RI] = SIZES(mov, ri), [FORM_RM] = SIZES(mov, rm),
    [FORM_MR] = SIZES(mov, mr), [FORM_MI] = SIZES(mov, mi),
};

/* MOVZX, MOVSX, MOVSXD: from `from` bits to `to`. */
#define EXTEND(name, type, from, to)                                                         \
    HANDLER(name##_rr##from##_##to)                                                          \
    {                                                                                        \
        reg_put##to(c, op->dst, (u##to)(type##from)REG_GET(from, op->src));                  \
        UOP_NEXT;                                                                            \
    }                                                                                        \
    HANDLER(name##_rm##from##_##to)                                                          \
    {                                                                                        \
        reg_put##to(                                                                         \
            c, op->dst,                                                                      \
            (u##to)(type##from)soft_load##from(c, op, soft_lin(c, op, from / 8, ACC_READ))); \
        UOP_NEXT;                                                                            \
    }
#define EXTEND_ALL(name, type) \
    EXTEND(name, type, 8, 16)  \
    EXTEND(name, type, 8, 32)  \
    EXTEND(name, type, 8, 64)  \
    EXTEND(name, type, 16, 16) \
    EXTEND(name, type, 16, 32) \
    EXTEND(name, type, 16, 64) \
    EXTEND(name, type, 32, 16) \
    EXTEND(name, type, 32, 32) \
    EXTEND(name, type, 32, 64)
EXTEND_ALL(movzx, u)
EXTEND_ALL(movsx, s)
#define EXTEND_ROW(name, form)                                                          \
    {                                                                                   \
        { NULL, name##_##form##8_16, name##_##form##8_32, name##_##form##8_64 },        \
            { NULL, name##_##form##16_16, name##_##form##16_32, name##_##form##16_64 }, \
            { NULL, name##_##form##32_16, name##_##form##32_32, name##_##form##32_64 }, \
    }
static const uop_fn movzx_fns[2][3][4] = { EXTEND_ROW(movzx, rr), EXTEND_ROW(movzx, rm) };
static const uop_fn movsx_fns[2][3][4] = { EXTEND_ROW(movsx, rr), EXTEND_ROW(movsx, rm) };

/* LEA. */
#define LEA(bits)                                           \
    HANDLER(lea_##bits)                                     \
    {                                                       \
        reg_put##bits(c, op->dst, (u##bits)soft_ea(c, op)); \
        UOP_NEXT;                                           \
    }
LEA(16)
LEA(32)
LEA(64)
static const uop_fn lea_fns[4] = { NULL, lea_16, lea_32, lea_64 };

/* INC, DEC, NEG, NOT. */
#define ALU1_FORMS(name, bits)                                                                \
    HANDLER(name##_r##bits)                                                                   \
    {                                                                                         \
        reg_put##bits(c, op->dst, alu_##name##bits(REG_GET(bits, op->dst), &c->fl));          \
        UOP_NEXT;                                                                             \
    }                                                                                         \
    static inline void name##_mem##bits(struct soft_cpu *c, const struct uop *op)             \
    {                                                                                         \
        u64 lin = soft_lin(c, op, bits / 8, ACC_WRITE);                                       \
        volatile guest_u##bits *p = soft_rw(c, op, lin, bits / 8);                            \
        u32 fl = c->fl;                                                                       \
        if (likely(p))                                                                        \
            *p = alu_##name##bits(*p, &fl);                                                   \
        else                                                                                  \
            soft_store##bits(c, op, lin, alu_##name##bits(soft_load##bits(c, op, lin), &fl)); \
        c->fl = fl;                                                                           \
    }                                                                                         \
    HANDLER(name##_m##bits)                                                                   \
    {                                                                                         \
        name##_mem##bits(c, op);                                                              \
        UOP_NEXT;                                                                             \
    }                                                                                         \
    HANDLER(name##_lock_m##bits)                                                              \
    {                                                                                         \
        void *p = soft_rw(c, op, soft_lin(c, op, bits / 8, ACC_WRITE), bits / 8);             \
        if (likely(p)) {                                                                      \
            alu_##name##_lock##bits(p, &c->fl);                                               \
        } else {                                                                              \
            soft_exclusive_begin(c);                                                          \
            name##_mem##bits(c, op);                                                          \
            soft_exclusive_end(c);                                                            \
        }                                                                                     \
        UOP_NEXT;                                                                             \
    }
#define ALU1_ALL(name)   \
    ALU1_FORMS(name, 8)  \
    ALU1_FORMS(name, 16) \
    ALU1_FORMS(name, 32) \
    ALU1_FORMS(name, 64) \
    static const uop_fn name##_fns[3][4] = { SIZES(name, r), SIZES(name, m), SIZES(name, lock_m) };
ALU1_ALL(inc)
ALU1_ALL(dec)
ALU1_ALL(neg)
ALU1_ALL(not )

/* Shifts and rotates; the count is op->imm, or CL. */
#define SHIFT_FORMS(name, bits)                                                                   \
    HANDLER(name##_ri##bits)                                                                      \
    {                                                                                             \
        reg_put##bits(c, op->dst, alu_##name##bits(REG_GET(bits, op->dst), (u8)op->imm, &c->fl)); \
        UOP_NEXT;                                                                                 \
    }                                                                                             \
    HANDLER(name##_rc##bits)                                                                      \
    {                                                                                             \
        reg_put##bits(c, op->dst,                                                                 \
                      alu_##name##bits(REG_GET(bits, op->dst), (u8)c->reg[GPR_RCX], &c->fl));     \
        UOP_NEXT;                                                                                 \
    }                                                                                             \
    static inline void name##_mem##bits(struct soft_cpu *c, const struct uop *op, u8 n)           \
    {                                                                                             \
        u64 lin = soft_lin(c, op, bits / 8, ACC_WRITE);                                           \
        ALU_MEM(bits, lin, alu_##name, n);                                                        \
    }                                                                                             \
    HANDLER(name##_mi##bits)                                                                      \
    {                                                                                             \
        name##_mem##bits(c, op, (u8)op->imm);                                                     \
        UOP_NEXT;                                                                                 \
    }                                                                                             \
    HANDLER(name##_mc##bits)                                                                      \
    {                                                                                             \
        name##_mem##bits(c, op, (u8)c->reg[GPR_RCX]);                                             \
        UOP_NEXT;                                                                                 \
    }
#define SHIFT_ALL(name)                                                                         \
    SHIFT_FORMS(name, 8)                                                                        \
    SHIFT_FORMS(name, 16)                                                                       \
    SHIFT_FORMS(name, 32)                                                                       \
    SHIFT_FORMS(name, 64)                                                                       \
    static const uop_fn name##_fns[4][4] = { SIZES(name, ri), SIZES(name, rc), SIZES(name, mi), \
                                             SIZES(name, mc) };
SHIFT_ALL(shl)
SHIFT_ALL(shr)
SHIFT_ALL(sar)
SHIFT_ALL(rol)
SHIFT_ALL(ror)
SHIFT_ALL(rcl)
SHIFT_ALL(rcr)

/* PUSH and POP. */
#define PUSH_FORMS(bits)                                                                           \
    static inline void push##bits(struct soft_cpu *c, const struct uop *op, u##bits v)             \
    {                                                                                              \
        soft_store##bits(c, op, soft_stack_lin(c, op, -(bits / 8), bits / 8, ACC_WRITE), v);       \
        soft_stack_move(c, -(bits / 8));                                                           \
    }                                                                                              \
    HANDLER(push_r##bits)                                                                          \
    {                                                                                              \
        push##bits(c, op, REG_GET(bits, op->src));                                                 \
        UOP_NEXT;                                                                                  \
    }                                                                                              \
    HANDLER(push_i##bits)                                                                          \
    {                                                                                              \
        push##bits(c, op, (u##bits)op->imm);                                                       \
        UOP_NEXT;                                                                                  \
    }                                                                                              \
    HANDLER(push_m##bits)                                                                          \
    {                                                                                              \
        push##bits(c, op, soft_load##bits(c, op, soft_lin(c, op, bits / 8, ACC_READ)));            \
        UOP_NEXT;                                                                                  \
    }                                                                                              \
    HANDLER(pop_r##bits)                                                                           \
    {                                                                                              \
        u##bits v = soft_load##bits(c, op, soft_stack_lin(c, op, 0, bits / 8, ACC_READ));          \
        soft_stack_move(c, bits / 8);                                                              \
        reg_put##bits(c, op->dst, v);                                                              \
        UOP_NEXT;                                                                                  \
    }                                                                                              \
    HANDLER(pop_m##bits) /* an address by RSP counts with the RSP after the pop */                 \
    {                                                                                              \
        u##bits v = soft_load##bits(c, op, soft_stack_lin(c, op, 0, bits / 8, ACC_READ));          \
        u64 rsp = c->reg[GPR_RSP], lin;                                                            \
        soft_stack_move(c, bits / 8);                                                              \
        u64 after = c->reg[GPR_RSP], ea = soft_ea(c, op);                                          \
        c->reg[GPR_RSP] = rsp; /* nothing has happened until the store did */                      \
        lin = op->seg >= SEG_FLAT ? ea : soft_seg_linear(c, op, op->seg, ea, bits / 8, ACC_WRITE); \
        soft_store##bits(c, op, lin, v);                                                           \
        c->reg[GPR_RSP] = after;                                                                   \
        UOP_NEXT;                                                                                  \
    }
PUSH_FORMS(16)
PUSH_FORMS(32)
PUSH_FORMS(64)
#define SIZES_16(name, form)                                          \
    {                                                                 \
        NULL, name##_##form##16, name##_##form##32, name##_##form##64 \
    }
static const uop_fn push_fns[3][4] = { SIZES_16(push, r), SIZES_16(push, m), SIZES_16(push, i) };
static const uop_fn pop_fns[2][4] = { SIZES_16(pop, r), SIZES_16(pop, m) };

/* clang-format off */
#define C           INSN_COPY
#define UNDEF_LOGIC RF_AF
#define UNDEF_SHIFT (RF_AF | RF_OF)
const struct insn_row insn_int_rows[] = {
    { ZYDIS_MNEMONIC_ADD,    F_ALWAYS, C, emit_alu,    0,           NULL, add_fns },
    { ZYDIS_MNEMONIC_OR,     F_ALWAYS, C, emit_alu,    UNDEF_LOGIC, NULL, or_fns },
    { ZYDIS_MNEMONIC_ADC,    F_ALWAYS, C, emit_alu,    0,           NULL, adc_fns },
    { ZYDIS_MNEMONIC_SBB,    F_ALWAYS, C, emit_alu,    0,           NULL, sbb_fns },
    { ZYDIS_MNEMONIC_AND,    F_ALWAYS, C, emit_alu,    UNDEF_LOGIC, NULL, and_fns },
    { ZYDIS_MNEMONIC_SUB,    F_ALWAYS, C, emit_alu,    0,           NULL, sub_fns },
    { ZYDIS_MNEMONIC_XOR,    F_ALWAYS, C, emit_alu,    UNDEF_LOGIC, NULL, xor_fns },
    { ZYDIS_MNEMONIC_CMP,    F_ALWAYS, C, emit_alu,    0,           NULL, cmp_fns },
    { ZYDIS_MNEMONIC_TEST,   F_ALWAYS, C, emit_alu,    UNDEF_LOGIC, NULL, test_fns },
    { ZYDIS_MNEMONIC_MOV,    F_ALWAYS, C, emit_mov,    0,           NULL, mov_fns },
    { ZYDIS_MNEMONIC_MOVNTI, F_SSE2,   C, emit_alu,    0,           NULL, mov_fns },
    { ZYDIS_MNEMONIC_MOVZX,  F_ALWAYS, C, emit_extend, 0,           NULL, movzx_fns },
    { ZYDIS_MNEMONIC_MOVSX,  F_ALWAYS, C, emit_extend, 0,           NULL, movsx_fns },
    { ZYDIS_MNEMONIC_MOVSXD, F_LM,     C, emit_extend, 0,           NULL, movsx_fns },
    { ZYDIS_MNEMONIC_LEA,    F_ALWAYS, 0, emit_lea,    0,           NULL, lea_fns },
    { ZYDIS_MNEMONIC_INC,    F_ALWAYS, C, emit_alu1,   0,           NULL, inc_fns },
    { ZYDIS_MNEMONIC_DEC,    F_ALWAYS, C, emit_alu1,   0,           NULL, dec_fns },
    { ZYDIS_MNEMONIC_NEG,    F_ALWAYS, C, emit_alu1,   0,           NULL, neg_fns },
    { ZYDIS_MNEMONIC_NOT,    F_ALWAYS, C, emit_alu1,   0,           NULL, not_fns },
    { ZYDIS_MNEMONIC_SHL,    F_ALWAYS, C, emit_shift,  UNDEF_SHIFT, NULL, shl_fns },
    { ZYDIS_MNEMONIC_SHR,    F_ALWAYS, C, emit_shift,  UNDEF_SHIFT, NULL, shr_fns },
    { ZYDIS_MNEMONIC_SAR,    F_ALWAYS, C, emit_shift,  UNDEF_SHIFT, NULL, sar_fns },
    { ZYDIS_MNEMONIC_ROL,    F_ALWAYS, C, emit_shift,  RF_OF,       NULL, rol_fns },
    { ZYDIS_MNEMONIC_ROR,    F_ALWAYS, C, emit_shift,  RF_OF,       NULL, ror_fns },
    { ZYDIS_MNEMONIC_RCL,    F_ALWAYS, C, emit_shift,  RF_OF,       NULL, rcl_fns },
    { ZYDIS_MNEMONIC_RCR,    F_ALWAYS, C, emit_shift,  RF_OF,       NULL, rcr_fns },
    { ZYDIS_MNEMONIC_PUSH,   F_ALWAYS, 0, emit_push,   0,           NULL, push_fns },
    { ZYDIS_MNEMONIC_POP,    F_ALWAYS, 0, emit_pop,    0,           NULL, pop_fns },
    {},
};
/* clang-format on */
