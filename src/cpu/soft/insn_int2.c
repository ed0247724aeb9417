/*
 * cpu/soft/insn_int2.c: the rest of the integer instructions: multiplication and division, bits, exchanges, conditions,
 * conversions, and the decimal ones of 16- and 32-bit code.
 */
#include "cpu/soft/alu.h"
#include "cpu/soft/cond.h"
#include "cpu/soft/emit_int.h"

#define HANDLER(name) static void name(struct soft_cpu *c, const struct uop *op)
#define SIZES_16(name)                     \
    {                                      \
        NULL, name##16, name##32, name##64 \
    }
#define SIZES_8(name)                         \
    {                                         \
        name##8, name##16, name##32, name##64 \
    }

/* IMUL with two operands, and with three. */
#define IMUL_FORMS(bits)                                                                       \
    HANDLER(imul_rr##bits)                                                                     \
    {                                                                                          \
        reg_put##bits(c, op->dst,                                                              \
                      alu_imul##bits(REG_GET(bits, op->dst), REG_GET(bits, op->src), &c->fl)); \
        UOP_NEXT;                                                                              \
    }                                                                                          \
    HANDLER(imul_rm##bits)                                                                     \
    {                                                                                          \
        u##bits b = soft_load##bits(c, op, soft_lin(c, op, bits / 8, ACC_READ));               \
        reg_put##bits(c, op->dst, alu_imul##bits(REG_GET(bits, op->dst), b, &c->fl));          \
        UOP_NEXT;                                                                              \
    }                                                                                          \
    HANDLER(imul_rri##bits)                                                                    \
    {                                                                                          \
        reg_put##bits(c, op->dst,                                                              \
                      alu_imul##bits((u##bits)op->imm, REG_GET(bits, op->src), &c->fl));       \
        UOP_NEXT;                                                                              \
    }                                                                                          \
    HANDLER(imul_rmi##bits)                                                                    \
    {                                                                                          \
        u##bits b = soft_load##bits(c, op, soft_lin(c, op, bits / 8, ACC_READ));               \
        reg_put##bits(c, op->dst, alu_imul##bits((u##bits)op->imm, b, &c->fl));                \
        UOP_NEXT;                                                                              \
    }
IMUL_FORMS(16)
IMUL_FORMS(32)
IMUL_FORMS(64)
static const uop_fn imul_fns[4][4] = { SIZES_16(imul_rr), SIZES_16(imul_rm), SIZES_16(imul_rri),
                                       SIZES_16(imul_rmi) };

/* The value of the one operand: aux 1: memory. */
#define ONE_OPERAND(bits) \
    (op->aux ? soft_load##bits(c, op, soft_lin(c, op, bits / 8, ACC_READ)) : REG_GET(bits, op->src))

HANDLER(mul_8)
{
    reg_put16(c, 0, alu_mul8(REG_GET(8, 0), ONE_OPERAND(8), &c->fl));
    UOP_NEXT;
}

HANDLER(imul1_8)
{
    reg_put16(c, 0, alu_imul18(REG_GET(8, 0), ONE_OPERAND(8), &c->fl));
    UOP_NEXT;
}

#define MUL_FORMS(name, bits)                                         \
    HANDLER(name##_##bits)                                            \
    {                                                                 \
        u##bits b = ONE_OPERAND(bits), lo = REG_GET(bits, 0), hi = 0; \
        alu_##name##bits(&lo, &hi, b, &c->fl);                        \
        reg_put##bits(c, GPR_RAX * 8, lo);                            \
        reg_put##bits(c, GPR_RDX * 8, hi);                            \
        UOP_NEXT;                                                     \
    }
MUL_FORMS(mul, 16)
MUL_FORMS(mul, 32)
MUL_FORMS(mul, 64)
MUL_FORMS(imul1, 16)
MUL_FORMS(imul1, 32)
MUL_FORMS(imul1, 64)
static const uop_fn mul_fns[4] = { mul_8, mul_16, mul_32, mul_64 };
static const uop_fn imul1_fns[4] = { imul1_8, imul1_16, imul1_32, imul1_64 };

/* DIV and IDIV: #DE for 0 and for a quotient that does not fit; what is left the host divides, for its flags. */
HANDLER(div_8)
{
    u8 b = ONE_OPERAND(8);
    u16 a = REG_GET(16, 0);

    if (b == 0 || a / b > 0xff)
        soft_raise(c, op, VEC_DE);
    reg_put16(c, 0, alu_div8(a, b, &c->fl));
    UOP_NEXT;
}

HANDLER(idiv_8)
{
    s8 b = (s8)ONE_OPERAND(8);
    s32 a = (s16)REG_GET(16, 0);

    if (b == 0 || a / b > 127 || a / b < -128)
        soft_raise(c, op, VEC_DE);
    reg_put16(c, 0, alu_idiv8((u16)a, (u8)b, &c->fl));
    UOP_NEXT;
}

#define DIV_FORMS(bits, wide, swide)                                              \
    HANDLER(div_##bits)                                                           \
    {                                                                             \
        u##bits b = ONE_OPERAND(bits);                                            \
        u##bits lo = REG_GET(bits, GPR_RAX * 8), hi = REG_GET(bits, GPR_RDX * 8); \
        if (b == 0 || hi >= b)                                                    \
            soft_raise(c, op, VEC_DE);                                            \
        alu_div##bits(&lo, &hi, b, &c->fl);                                       \
        reg_put##bits(c, GPR_RAX * 8, lo);                                        \
        reg_put##bits(c, GPR_RDX * 8, hi);                                        \
        UOP_NEXT;                                                                 \
    }                                                                             \
    HANDLER(idiv_##bits)                                                          \
    {                                                                             \
        s##bits b = (s##bits)ONE_OPERAND(bits);                                   \
        u##bits lo = REG_GET(bits, GPR_RAX * 8), hi = REG_GET(bits, GPR_RDX * 8); \
        wide u = (wide)hi << bits | lo;                                           \
        swide q;                                                                  \
        if (b == 0 || (b == -1 && u == (wide)1 << (2 * bits - 1)))                \
            soft_raise(c, op, VEC_DE);                                            \
        q = (swide)u / b;                                                         \
        if (q != (s##bits)q)                                                      \
            soft_raise(c, op, VEC_DE);                                            \
        alu_idiv##bits(&lo, &hi, (u##bits)b, &c->fl);                             \
        reg_put##bits(c, GPR_RAX * 8, lo);                                        \
        reg_put##bits(c, GPR_RDX * 8, hi);                                        \
        UOP_NEXT;                                                                 \
    }
DIV_FORMS(16, u32, s32)
DIV_FORMS(32, u64, s64)
DIV_FORMS(64, unsigned __int128, __int128)
static const uop_fn div_fns[4] = { div_8, div_16, div_32, div_64 };
static const uop_fn idiv_fns[4] = { idiv_8, idiv_16, idiv_32, idiv_64 };

/* BSF, BSR, TZCNT, LZCNT, POPCNT. */
#define SCAN_FORMS(name, bits)                                                                   \
    HANDLER(name##_rr##bits)                                                                     \
    {                                                                                            \
        reg_put##bits(c, op->dst,                                                                \
                      alu_##name##bits(REG_GET(bits, op->dst), REG_GET(bits, op->src), &c->fl)); \
        UOP_NEXT;                                                                                \
    }                                                                                            \
    HANDLER(name##_rm##bits)                                                                     \
    {                                                                                            \
        u##bits b = soft_load##bits(c, op, soft_lin(c, op, bits / 8, ACC_READ));                 \
        reg_put##bits(c, op->dst, alu_##name##bits(REG_GET(bits, op->dst), b, &c->fl));          \
        UOP_NEXT;                                                                                \
    }
#define SCAN_ALL(name)   \
    SCAN_FORMS(name, 16) \
    SCAN_FORMS(name, 32) \
    SCAN_FORMS(name, 64) \
    static const uop_fn name##_fns[2][4] = { SIZES_16(name##_rr), SIZES_16(name##_rm) };
/* A zero source leaves a 64-bit register alone; the 32-bit forms then leave its upper half too, as AMD's do. */
#define BSX_FORMS(name, bits)                                                    \
    HANDLER(name##_rr##bits)                                                     \
    {                                                                            \
        u##bits b = REG_GET(bits, op->src),                                      \
                r = alu_##name##bits(REG_GET(bits, op->dst), b, &c->fl);         \
        if (b)                                                                   \
            reg_put##bits(c, op->dst, r);                                        \
        UOP_NEXT;                                                                \
    }                                                                            \
    HANDLER(name##_rm##bits)                                                     \
    {                                                                            \
        u##bits b = soft_load##bits(c, op, soft_lin(c, op, bits / 8, ACC_READ)); \
        u##bits r = alu_##name##bits(REG_GET(bits, op->dst), b, &c->fl);         \
        if (b)                                                                   \
            reg_put##bits(c, op->dst, r);                                        \
        UOP_NEXT;                                                                \
    }
#define BSX_ALL(name)   \
    BSX_FORMS(name, 16) \
    BSX_FORMS(name, 32) \
    BSX_FORMS(name, 64) \
    static const uop_fn name##_fns[2][4] = { SIZES_16(name##_rr), SIZES_16(name##_rm) };
BSX_ALL(bsf)
BSX_ALL(bsr)
SCAN_ALL(tzcnt)
SCAN_ALL(lzcnt)
SCAN_ALL(popcnt)

/* BT, BTS, BTR, BTC.  A register as bit offset reaches beyond the memory operand; an immediate does not. */
static inline u64 bit_lin(struct soft_cpu *c, const struct uop *op, s64 bit, u32 bits, u32 access)
{
    u64 ea = soft_ea(c, op) + (u64)((bit >> __builtin_ctz(bits)) * (s64)(bits / 8));

    ea = op->asize == SIZE_64 ? ea : op->asize == SIZE_32 ? (u32)ea : (u16)ea;
    return op->seg >= SEG_FLAT ? ea : soft_seg_linear(c, op, op->seg, ea, bits / 8, access);
}

/* aux 1: the bit is op->imm; 0: it is in a register.  Only CF changes. */
#define BIT_OF(bits)   (op->aux ? (s64)(op->imm % bits) : (s64)(s##bits)REG_GET(bits, op->src))
#define FL_BIT(fl, on) (((fl) & ~FL_CF) | ((on) ? FL_CF : 0))
#define BT_FORMS(bits)                                                           \
    HANDLER(bt_r##bits)                                                          \
    {                                                                            \
        u32 bit = (u32)BIT_OF(bits) % bits;                                      \
        c->fl = FL_BIT(c->fl, REG_GET(bits, op->dst) >> bit & 1);                \
        UOP_NEXT;                                                                \
    }                                                                            \
    HANDLER(bt_m##bits)                                                          \
    {                                                                            \
        s64 bit = BIT_OF(bits);                                                  \
        u##bits v = soft_load##bits(c, op, bit_lin(c, op, bit, bits, ACC_READ)); \
        c->fl = FL_BIT(c->fl, v >> ((u32)bit % bits) & 1);                       \
        UOP_NEXT;                                                                \
    }
BT_FORMS(16)
BT_FORMS(32)
BT_FORMS(64)
static const uop_fn bt_fns[3][4] = { SIZES_16(bt_r), SIZES_16(bt_m) };

#define BIT_FORMS(name, bits)                                                                      \
    HANDLER(name##_r##bits)                                                                        \
    {                                                                                              \
        u##bits bit = (u##bits)((u32)BIT_OF(bits) % bits);                                         \
        reg_put##bits(c, op->dst, alu_##name##bits(REG_GET(bits, op->dst), bit, &c->fl));          \
        UOP_NEXT;                                                                                  \
    }                                                                                              \
    static inline void name##_mem##bits(struct soft_cpu *c, const struct uop *op, u64 lin,         \
                                        u##bits bit)                                               \
    {                                                                                              \
        ALU_MEM(bits, lin, alu_##name, bit);                                                       \
    }                                                                                              \
    HANDLER(name##_m##bits)                                                                        \
    {                                                                                              \
        s64 bit = BIT_OF(bits);                                                                    \
        name##_mem##bits(c, op, bit_lin(c, op, bit, bits, ACC_WRITE), (u##bits)((u32)bit % bits)); \
        UOP_NEXT;                                                                                  \
    }                                                                                              \
    HANDLER(name##_lock_m##bits)                                                                   \
    {                                                                                              \
        s64 bit = BIT_OF(bits);                                                                    \
        u64 lin = bit_lin(c, op, bit, bits, ACC_WRITE);                                            \
        void *p = soft_rw(c, op, lin, bits / 8);                                                   \
        if (likely(p)) {                                                                           \
            alu_##name##_lock##bits(p, (u##bits)((u32)bit % bits), &c->fl);                        \
        } else {                                                                                   \
            soft_exclusive_begin(c);                                                               \
            name##_mem##bits(c, op, lin, (u##bits)((u32)bit % bits));                              \
            soft_exclusive_end(c);                                                                 \
        }                                                                                          \
        UOP_NEXT;                                                                                  \
    }
#define BIT_ALL(name)                                                                \
    BIT_FORMS(name, 16)                                                              \
    BIT_FORMS(name, 32)                                                              \
    BIT_FORMS(name, 64)                                                              \
    static const uop_fn name##_fns[3][4] = { SIZES_16(name##_r), SIZES_16(name##_m), \
                                             SIZES_16(name##_lock_m) };
BIT_ALL(bts)
BIT_ALL(btr)
BIT_ALL(btc)

/* SHLD, SHRD: aux 1: count in op->imm, else CL. */
#define SHIFT_DOUBLE_FORMS(name, bits)                                                             \
    HANDLER(name##_r##bits)                                                                        \
    {                                                                                              \
        u8 n = op->aux ? (u8)op->imm : (u8)c->reg[GPR_RCX];                                        \
        reg_put##bits(                                                                             \
            c, op->dst,                                                                            \
            alu_##name##bits(REG_GET(bits, op->dst), REG_GET(bits, op->src), n, &c->fl));          \
        UOP_NEXT;                                                                                  \
    }                                                                                              \
    HANDLER(name##_m##bits)                                                                        \
    {                                                                                              \
        u8 n = op->aux ? (u8)op->imm : (u8)c->reg[GPR_RCX];                                        \
        u64 lin = soft_lin(c, op, bits / 8, ACC_WRITE);                                            \
        u32 fl = c->fl;                                                                            \
        soft_probe_write(c, op, lin, bits / 8);                                                    \
        u##bits r = alu_##name##bits(soft_load##bits(c, op, lin), REG_GET(bits, op->src), n, &fl); \
        soft_store##bits(c, op, lin, r);                                                           \
        c->fl = fl;                                                                                \
        UOP_NEXT;                                                                                  \
    }
#define SHIFT_DOUBLE_ALL(name)   \
    SHIFT_DOUBLE_FORMS(name, 16) \
    SHIFT_DOUBLE_FORMS(name, 32) \
    SHIFT_DOUBLE_FORMS(name, 64) \
    static const uop_fn name##_fns[2][4] = { SIZES_16(name##_r), SIZES_16(name##_m) };
SHIFT_DOUBLE_ALL(shld)
SHIFT_DOUBLE_ALL(shrd)

/* XCHG, XADD, CMPXCHG.  XCHG with memory is always locked. */
#define EXCHANGE_FORMS(bits)                                                               \
    HANDLER(xchg_r##bits)                                                                  \
    {                                                                                      \
        u##bits a = REG_GET(bits, op->dst), b = REG_GET(bits, op->src);                    \
        reg_put##bits(c, op->dst, b);                                                      \
        reg_put##bits(c, op->src, a);                                                      \
        UOP_NEXT;                                                                          \
    }                                                                                      \
    HANDLER(xchg_m##bits)                                                                  \
    {                                                                                      \
        u64 lin = soft_lin(c, op, bits / 8, ACC_WRITE);                                    \
        guest_u##bits *p = soft_rw(c, op, lin, bits / 8);                                  \
        u##bits v = REG_GET(bits, op->src), old;                                           \
        if (likely(p)) {                                                                   \
            __asm__ volatile("xchg" SFX_##bits " %[v], %[m]"                               \
                             : [v] "+r"(v), [m] "+m"(*p)                                   \
                             :                                                             \
                             : "memory");                                                  \
            old = v;                                                                       \
        } else {                                                                           \
            soft_exclusive_begin(c);                                                       \
            old = soft_load##bits(c, op, lin);                                             \
            soft_store##bits(c, op, lin, v);                                               \
            soft_exclusive_end(c);                                                         \
        }                                                                                  \
        reg_put##bits(c, op->src, old);                                                    \
        UOP_NEXT;                                                                          \
    }                                                                                      \
    HANDLER(xadd_r##bits)                                                                  \
    {                                                                                      \
        u##bits a = REG_GET(bits, op->dst), b = REG_GET(bits, op->src);                    \
        u##bits sum = alu_add##bits(a, b, &c->fl);                                         \
        reg_put##bits(c, op->src, a);                                                      \
        reg_put##bits(c, op->dst, sum);                                                    \
        UOP_NEXT;                                                                          \
    }                                                                                      \
    HANDLER(xadd_m##bits)                                                                  \
    {                                                                                      \
        u64 lin = soft_lin(c, op, bits / 8, ACC_WRITE);                                    \
        guest_u##bits *p = soft_rw(c, op, lin, bits / 8);                                  \
        u##bits v = REG_GET(bits, op->src), old;                                           \
        u32 fl = c->fl;                                                                    \
        if (likely(p)) {                                                                   \
            __asm__ volatile("lock; xadd" SFX_##bits " %[v], %[m]; " FLAGS_OUT             \
                             : [v] "+&r"(v), [m] "+m"(*p), "+&a"(fl)                       \
                             :                                                             \
                             : "cc", "memory");                                            \
            old = v;                                                                       \
        } else {                                                                           \
            soft_exclusive_begin(c);                                                       \
            old = soft_load##bits(c, op, lin);                                             \
            soft_store##bits(c, op, lin, alu_add##bits(old, v, &fl));                      \
            soft_exclusive_end(c);                                                         \
        }                                                                                  \
        c->fl = fl;                                                                        \
        reg_put##bits(c, op->src, old);                                                    \
        UOP_NEXT;                                                                          \
    }                                                                                      \
    HANDLER(cmpxchg_r##bits)                                                               \
    {                                                                                      \
        u##bits a = REG_GET(bits, op->dst), ax = REG_GET(bits, GPR_RAX * 8);               \
        alu_cmp##bits(ax, a, &c->fl);                                                      \
        if (a == ax)                                                                       \
            reg_put##bits(c, op->dst, REG_GET(bits, op->src));                             \
        else                                                                               \
            reg_put##bits(c, GPR_RAX * 8, a);                                              \
        UOP_NEXT;                                                                          \
    }                                                                                      \
    HANDLER(cmpxchg_m##bits) /* writes in either case: what was there, or the new value */ \
    {                                                                                      \
        u64 lin = soft_lin(c, op, bits / 8, ACC_WRITE);                                    \
        guest_u##bits *p = soft_rw(c, op, lin, bits / 8);                                  \
        u##bits ax = REG_GET(bits, GPR_RAX * 8), v = REG_GET(bits, op->src), old = ax;     \
        if (likely(p)) {                                                                   \
            __asm__ volatile("lock; cmpxchg" SFX_##bits " %[v], %[m]"                      \
                             : "+a"(old), [m] "+m"(*p)                                     \
                             : [v] "r"(v)                                                  \
                             : "cc", "memory");                                            \
        } else {                                                                           \
            soft_exclusive_begin(c);                                                       \
            old = soft_load##bits(c, op, lin);                                             \
            soft_store##bits(c, op, lin, old == ax ? v : old);                             \
            soft_exclusive_end(c);                                                         \
        }                                                                                  \
        alu_cmp##bits(ax, old, &c->fl);                                                    \
        if (old != ax)                                                                     \
            reg_put##bits(c, GPR_RAX * 8, old);                                            \
        UOP_NEXT;                                                                          \
    }
EXCHANGE_FORMS(8)
EXCHANGE_FORMS(16)
EXCHANGE_FORMS(32)
EXCHANGE_FORMS(64)
static const uop_fn xchg_fns[2][4] = { SIZES_8(xchg_r), SIZES_8(xchg_m) };
static const uop_fn xadd_fns[2][4] = { SIZES_8(xadd_r), SIZES_8(xadd_m) };
static const uop_fn cmpxchg_fns[2][4] = { SIZES_8(cmpxchg_r), SIZES_8(cmpxchg_m) };

HANDLER(cmpxchg8b)
{
    u64 lin = soft_lin(c, op, 8, ACC_WRITE);
    guest_u64 *p = soft_rw(c, op, lin, 8);
    u64 want = (u32)c->reg[GPR_RAX] | c->reg[GPR_RDX] << 32, old = want;
    u64 v = (u32)c->reg[GPR_RBX] | c->reg[GPR_RCX] << 32;

    if (likely(p)) {
        __asm__ volatile("lock; cmpxchgq %[v], %[m]"
                         : "+a"(old), [m] "+m"(*p)
                         : [v] "r"(v)
                         : "cc", "memory");
    } else {
        soft_exclusive_begin(c);
        old = soft_load64(c, op, lin);
        soft_store64(c, op, lin, old == want ? v : old);
        soft_exclusive_end(c);
    }
    c->fl = (c->fl & ~FL_ZF) | (old == want ? FL_ZF : 0);
    if (old != want) {
        c->reg[GPR_RAX] = (u32)old;
        c->reg[GPR_RDX] = old >> 32;
    }
    UOP_NEXT;
}

HANDLER(cmpxchg16b)
{
    u64 lin = soft_lin(c, op, 16, ACC_WRITE), lo = c->reg[GPR_RAX], hi = c->reg[GPR_RDX];
    u64 *p;
    u8 equal;

    if (lin % 16)
        soft_raise_error(c, op, VEC_GP, 0);
    p = soft_rw(c, op, lin, 16);
    if (likely(p)) {
        __asm__ volatile("lock; cmpxchg16b %[m]; setz %[z]"
                         : "+a"(lo),
                           "+d"(hi), [m] "+m"(*(unsigned __int128 *)(void *)p), [z] "=q"(equal)
                         : "b"(c->reg[GPR_RBX]), "c"(c->reg[GPR_RCX])
                         : "cc", "memory");
    } else {
        soft_exclusive_begin(c);
        lo = soft_load64(c, op, lin);
        hi = soft_load64(c, op, lin + 8);
        equal = lo == c->reg[GPR_RAX] && hi == c->reg[GPR_RDX];
        soft_store64(c, op, lin, equal ? c->reg[GPR_RBX] : lo);
        soft_store64(c, op, lin + 8, equal ? c->reg[GPR_RCX] : hi);
        soft_exclusive_end(c);
    }
    c->fl = (c->fl & ~FL_ZF) | (equal ? FL_ZF : 0);
    if (!equal) {
        c->reg[GPR_RAX] = lo;
        c->reg[GPR_RDX] = hi;
    }
    UOP_NEXT;
}

/* SETcc and CMOVcc. */
#define COND_HANDLERS(name, expr)                                                   \
    HANDLER(set##name##_r)                                                          \
    {                                                                               \
        reg_put8(c, op->dst, cond_##name(c->fl));                                   \
        UOP_NEXT;                                                                   \
    }                                                                               \
    HANDLER(set##name##_m)                                                          \
    {                                                                               \
        soft_store8(c, op, soft_lin(c, op, 1, ACC_WRITE), cond_##name(c->fl));      \
        UOP_NEXT;                                                                   \
    }                                                                               \
    HANDLER(cmov##name##_rr16)                                                      \
    {                                                                               \
        if (cond_##name(c->fl))                                                     \
            reg_put16(c, op->dst, REG_GET(16, op->src));                            \
        UOP_NEXT;                                                                   \
    }                                                                               \
    HANDLER(cmov##name##_rr32)                                                      \
    {                                                                               \
        reg_put32(c, op->dst, REG_GET(32, cond_##name(c->fl) ? op->src : op->dst)); \
        UOP_NEXT;                                                                   \
    }                                                                               \
    HANDLER(cmov##name##_rr64)                                                      \
    {                                                                               \
        reg_put64(c, op->dst, REG_GET(64, cond_##name(c->fl) ? op->src : op->dst)); \
        UOP_NEXT;                                                                   \
    }                                                                               \
    HANDLER(cmov##name##_rm16)                                                      \
    {                                                                               \
        u16 v = soft_load16(c, op, soft_lin(c, op, 2, ACC_READ));                   \
        if (cond_##name(c->fl))                                                     \
            reg_put16(c, op->dst, v);                                               \
        UOP_NEXT;                                                                   \
    }                                                                               \
    HANDLER(cmov##name##_rm32)                                                      \
    {                                                                               \
        u32 v = soft_load32(c, op, soft_lin(c, op, 4, ACC_READ));                   \
        reg_put32(c, op->dst, cond_##name(c->fl) ? v : REG_GET(32, op->dst));       \
        UOP_NEXT;                                                                   \
    }                                                                               \
    HANDLER(cmov##name##_rm64)                                                      \
    {                                                                               \
        u64 v = soft_load64(c, op, soft_lin(c, op, 8, ACC_READ));                   \
        reg_put64(c, op->dst, cond_##name(c->fl) ? v : REG_GET(64, op->dst));       \
        UOP_NEXT;                                                                   \
    }                                                                               \
    static const uop_fn set##name##_fns[2] = { set##name##_r, set##name##_m };      \
    static const uop_fn cmov##name##_fns[2][4] = {                                  \
        { NULL, cmov##name##_rr16, cmov##name##_rr32, cmov##name##_rr64 },          \
        { NULL, cmov##name##_rm16, cmov##name##_rm32, cmov##name##_rm64 },          \
    };
CONDITIONS(COND_HANDLERS)

/* BSWAP; of 16 bits it gives 0, as silicon does. */
HANDLER(bswap16)
{
    reg_put16(c, op->dst, 0);
    UOP_NEXT;
}

HANDLER(bswap32)
{
    reg_put32(c, op->dst, __builtin_bswap32(REG_GET(32, op->dst)));
    UOP_NEXT;
}

HANDLER(bswap64)
{
    reg_put64(c, op->dst, __builtin_bswap64(REG_GET(64, op->dst)));
    UOP_NEXT;
}
static const uop_fn bswap_fns[4] = SIZES_16(bswap);

/* Sign extension inside RAX, and into RDX. */
#define ONE_LINE(name, ...) \
    HANDLER(name)           \
    {                       \
        __VA_ARGS__;        \
        UOP_NEXT;           \
    }
ONE_LINE(cbw, reg_put16(c, 0, (u16)(s8)REG_GET(8, 0)))
ONE_LINE(cwde, reg_put32(c, 0, (u32)(s16)REG_GET(16, 0)))
ONE_LINE(cdqe, reg_put64(c, 0, (u64)(s64)(s32)REG_GET(32, 0)))
ONE_LINE(cwd, reg_put16(c, GPR_RDX * 8, (s16)REG_GET(16, 0) < 0 ? 0xffff : 0))
ONE_LINE(cdq, reg_put32(c, GPR_RDX * 8, (s32)REG_GET(32, 0) < 0 ? ~0u : 0))
ONE_LINE(cqo, reg_put64(c, GPR_RDX * 8, (s64)REG_GET(64, 0) < 0 ? ~0ull : 0))

/* Flags one by one. */
ONE_LINE(clc, c->fl &= ~FL_CF)
ONE_LINE(stc, c->fl |= FL_CF)
ONE_LINE(cmc, c->fl ^= FL_CF)
ONE_LINE(cld, c->eflags &= ~RF_DF)
ONE_LINE(std_, c->eflags |= RF_DF)
ONE_LINE(lahf, reg_put8(c, 1, (u8)((soft_flags(c) & 0xd5) | 2)))
ONE_LINE(sahf, c->fl = (u32)(REG_GET(8, 1) & 0xd5) << 8 | (c->fl & FL_OF))
ONE_LINE(mfence, __atomic_thread_fence(__ATOMIC_SEQ_CST))
ONE_LINE(salc, reg_put8(c, 0, c->fl &FL_CF ? 0xff : 0))

HANDLER(xlat)
{
    u64 ea = c->reg[GPR_RBX] + (u8)c->reg[GPR_RAX];

    ea = op->asize == SIZE_64 ? ea : op->asize == SIZE_32 ? (u32)ea : (u16)ea;
    reg_put8(
        c, 0,
        soft_load8(c, op,
                   op->seg >= SEG_FLAT ? ea : soft_seg_linear(c, op, op->seg, ea, 1, ACC_READ)));
    UOP_NEXT;
}

/* MOVBE: aux 1: to memory. */
#define MOVBE(bits, swap)                                                                     \
    HANDLER(movbe##bits)                                                                      \
    {                                                                                         \
        if (op->aux)                                                                          \
            soft_store##bits(c, op, soft_lin(c, op, bits / 8, ACC_WRITE),                     \
                             swap(REG_GET(bits, op->src)));                                   \
        else                                                                                  \
            reg_put##bits(c, op->dst,                                                         \
                          swap(soft_load##bits(c, op, soft_lin(c, op, bits / 8, ACC_READ)))); \
        UOP_NEXT;                                                                             \
    }
MOVBE(16, __builtin_bswap16)
MOVBE(32, __builtin_bswap32)
MOVBE(64, __builtin_bswap64)
static const uop_fn movbe_fns[4] = SIZES_16(movbe);

/* Emit functions of this file. */

static bool is_mem(const ZydisDecodedOperand *o)
{
    return o->type == ZYDIS_OPERAND_TYPE_MEMORY;
}

/* row->data: uop_fn [2: register, memory][4] by the form of operand 1. */
static void emit_by_source(struct emit *m)
{
    const uop_fn(*fns)[4] = m->row->data;
    bool mem = emit_form(m) == FORM_RM;

    m->op->fn = fns[mem][emit_size(&m->opnd[0])];
}

/* row->data: uop_fn [2][4] by the form of operand 0. */
static void emit_by_target(struct emit *m)
{
    const uop_fn(*fns)[4] = m->row->data;

    emit_form(m);
    m->op->fn = fns[is_mem(&m->opnd[0])][emit_size(&m->opnd[0])];
}

/* XCHG: the memory operand, if any, is operand 0 or 1. */
static void emit_xchg(struct emit *m)
{
    const uop_fn(*fns)[4] = m->row->data;
    enum int_form f = emit_form(m);

    if (f == FORM_RM)
        m->op->src = m->op->dst;
    m->op->fn = fns[f != FORM_RR][emit_size(&m->opnd[0])];
}

/* row->data: uop_fn [4]; one operand, read. */
static void emit_one_operand(struct emit *m)
{
    const uop_fn *fns = m->row->data;
    const ZydisDecodedOperand *a = &m->opnd[0];

    m->op->aux = is_mem(a);
    if (is_mem(a))
        emit_mem(m, a);
    else
        m->op->src = emit_reg(a->reg.value);
    m->op->fn = fns[emit_size(a)];
}

/* IMUL has one, two or three operands. */
static void emit_imul(struct emit *m)
{
    const ZydisDecodedOperand *b = &m->opnd[1];
    bool three = m->in->operand_count_visible == 3;

    if (m->in->operand_count_visible == 1) {
        static const struct insn_row one = { .data = imul1_fns };
        m->row = &one;
        emit_one_operand(m);
        return;
    }
    m->op->dst = emit_reg(m->opnd[0].reg.value);
    if (three)
        m->op->imm = m->opnd[2].imm.value.u;
    if (is_mem(b))
        emit_mem(m, b);
    else
        m->op->src = emit_reg(b->reg.value);
    m->op->fn = imul_fns[(three ? 2 : 0) + is_mem(b)][emit_size(&m->opnd[0])];
}

/* row->data: uop_fn [3: register, memory, locked][4]. */
static void emit_bit(struct emit *m)
{
    const uop_fn(*fns)[4] = m->row->data;
    bool mem = is_mem(&m->opnd[0]), lock = m->in->attributes & ZYDIS_ATTRIB_HAS_LOCK;

    emit_form(m);
    m->op->aux = m->opnd[1].type == ZYDIS_OPERAND_TYPE_IMMEDIATE;
    m->op->fn = fns[!mem ? 0 : lock ? 2 : 1][emit_size(&m->opnd[0])];
}

static void emit_shift_double(struct emit *m)
{
    const uop_fn(*fns)[4] = m->row->data;
    bool mem = is_mem(&m->opnd[0]);

    emit_form(m);
    m->op->aux = m->opnd[2].type == ZYDIS_OPERAND_TYPE_IMMEDIATE;
    if (m->op->aux)
        m->op->imm = m->opnd[2].imm.value.u;
    m->op->fn = fns[mem][emit_size(&m->opnd[0])];
}

/* row->data: uop_fn [2]. */
static void emit_setcc(struct emit *m)
{
    const uop_fn *fns = m->row->data;
    bool mem = is_mem(&m->opnd[0]);

    if (mem)
        emit_mem(m, &m->opnd[0]);
    else
        m->op->dst = emit_reg(m->opnd[0].reg.value);
    m->op->fn = fns[mem];
}

static void emit_bswap(struct emit *m)
{
    m->op->dst = emit_reg(m->opnd[0].reg.value);
    m->op->fn = bswap_fns[emit_size(&m->opnd[0])];
}

static void emit_movbe(struct emit *m)
{
    m->op->aux = is_mem(&m->opnd[0]);
    emit_form(m);
    m->op->fn = movbe_fns[emit_size(&m->opnd[0])];
}

static void emit_memory(struct emit *m)
{
    emit_mem(m, &m->opnd[0]);
    m->op->fn = m->row->fn;
}

static void emit_xlat(struct emit *m)
{
    for (u32 i = 0; i < m->in->operand_count; i++)
        if (is_mem(&m->opnd[i]))
            emit_mem(m, &m->opnd[i]);
    m->op->fn = m->row->fn;
}

static void emit_plain(struct emit *m)
{
    m->op->fn = m->row->fn;
}

#define C          INSN_COPY
#define UNDEF_MUL  (RF_SF | RF_ZF | RF_AF | RF_PF)
#define UNDEF_BITS (RF_OF | RF_SF | RF_AF | RF_PF)
#define UNDEF_BSX  (RF_CF | RF_OF | RF_SF | RF_AF | RF_PF)
#define UNDEF_ZCNT (RF_OF | RF_SF | RF_AF | RF_PF)
/* clang-format off */
#define COND_ROWS(M, cc)                                                                         \
    { ZYDIS_MNEMONIC_SET##M,  F_ALWAYS, C, emit_setcc,     0, NULL, set##cc##_fns },             \
    { ZYDIS_MNEMONIC_CMOV##M, F_CMOV,   C, emit_by_source, 0, NULL, cmov##cc##_fns }
const struct insn_row insn_int2_rows[] = {
    { ZYDIS_MNEMONIC_IMUL,       F_ALWAYS, C, emit_imul,         UNDEF_MUL },
    { ZYDIS_MNEMONIC_MUL,        F_ALWAYS, C, emit_one_operand,  UNDEF_MUL,  NULL, mul_fns },
    { ZYDIS_MNEMONIC_DIV,        F_ALWAYS, C, emit_one_operand,  RF_ARITH,   NULL, div_fns },
    { ZYDIS_MNEMONIC_IDIV,       F_ALWAYS, C, emit_one_operand,  RF_ARITH,   NULL, idiv_fns },
    { ZYDIS_MNEMONIC_BSF,        F_ALWAYS, C, emit_by_source,    UNDEF_BSX,  NULL, bsf_fns },
    { ZYDIS_MNEMONIC_BSR,        F_ALWAYS, C, emit_by_source,    UNDEF_BSX,  NULL, bsr_fns },
    { ZYDIS_MNEMONIC_TZCNT,      F_BMI1,   C, emit_by_source,    UNDEF_ZCNT, NULL, tzcnt_fns },
    { ZYDIS_MNEMONIC_LZCNT,      F_LZCNT,  C, emit_by_source,    UNDEF_ZCNT, NULL, lzcnt_fns },
    { ZYDIS_MNEMONIC_POPCNT,     F_POPCNT, C, emit_by_source,    0,          NULL, popcnt_fns },
    { ZYDIS_MNEMONIC_BT,         F_ALWAYS, C, emit_bit,          UNDEF_BITS, NULL, bt_fns },
    { ZYDIS_MNEMONIC_BTS,        F_ALWAYS, C, emit_bit,          UNDEF_BITS, NULL, bts_fns },
    { ZYDIS_MNEMONIC_BTR,        F_ALWAYS, C, emit_bit,          UNDEF_BITS, NULL, btr_fns },
    { ZYDIS_MNEMONIC_BTC,        F_ALWAYS, C, emit_bit,          UNDEF_BITS, NULL, btc_fns },
    { ZYDIS_MNEMONIC_SHLD,       F_ALWAYS, C, emit_shift_double, RF_AF | RF_OF, NULL, shld_fns },
    { ZYDIS_MNEMONIC_SHRD,       F_ALWAYS, C, emit_shift_double, RF_AF | RF_OF, NULL, shrd_fns },
    { ZYDIS_MNEMONIC_XCHG,       F_ALWAYS, C, emit_xchg,         0,          NULL, xchg_fns },
    { ZYDIS_MNEMONIC_XADD,       F_ALWAYS, C, emit_by_target,    0,          NULL, xadd_fns },
    { ZYDIS_MNEMONIC_CMPXCHG,    F_ALWAYS, C, emit_by_target,    0,          NULL, cmpxchg_fns },
    { ZYDIS_MNEMONIC_CMPXCHG8B,  F_CX8,    C, emit_memory,       0,          cmpxchg8b },
    { ZYDIS_MNEMONIC_CMPXCHG16B, F_CX16,   C, emit_memory,       0,          cmpxchg16b },
    COND_ROWS(O, o),   COND_ROWS(NO, no),   COND_ROWS(B, b),   COND_ROWS(NB, nb),
    COND_ROWS(Z, z),   COND_ROWS(NZ, nz),   COND_ROWS(BE, be), COND_ROWS(NBE, nbe),
    COND_ROWS(S, s),   COND_ROWS(NS, ns),   COND_ROWS(P, p),   COND_ROWS(NP, np),
    COND_ROWS(L, l),   COND_ROWS(NL, nl),   COND_ROWS(LE, le), COND_ROWS(NLE, nle),
    { ZYDIS_MNEMONIC_BSWAP,      F_ALWAYS, C, emit_bswap },
    { ZYDIS_MNEMONIC_MOVBE,      F_MOVBE,  C, emit_movbe },
    { ZYDIS_MNEMONIC_CBW,        F_ALWAYS, C, emit_plain, 0, cbw },
    { ZYDIS_MNEMONIC_CWDE,       F_ALWAYS, C, emit_plain, 0, cwde },
    { ZYDIS_MNEMONIC_CDQE,       F_ALWAYS, C, emit_plain, 0, cdqe },
    { ZYDIS_MNEMONIC_CWD,        F_ALWAYS, C, emit_plain, 0, cwd },
    { ZYDIS_MNEMONIC_CDQ,        F_ALWAYS, C, emit_plain, 0, cdq },
    { ZYDIS_MNEMONIC_CQO,        F_ALWAYS, C, emit_plain, 0, cqo },
    { ZYDIS_MNEMONIC_CLC,        F_ALWAYS, C, emit_plain, 0, clc },
    { ZYDIS_MNEMONIC_STC,        F_ALWAYS, C, emit_plain, 0, stc },
    { ZYDIS_MNEMONIC_CMC,        F_ALWAYS, C, emit_plain, 0, cmc },
    { ZYDIS_MNEMONIC_CLD,        F_ALWAYS, 0, emit_plain, 0, cld },
    { ZYDIS_MNEMONIC_STD,        F_ALWAYS, 0, emit_plain, 0, std_ },
    { ZYDIS_MNEMONIC_LAHF,       F_LAHF64, C, emit_plain, 0, lahf },
    { ZYDIS_MNEMONIC_SAHF,       F_LAHF64, C, emit_plain, 0, sahf },
    { ZYDIS_MNEMONIC_SALC,       F_ALWAYS, 0, emit_plain, 0, salc },
    { ZYDIS_MNEMONIC_XLAT,       F_ALWAYS, 0, emit_xlat,  0, xlat },
    { ZYDIS_MNEMONIC_NOP,        F_ALWAYS, C, emit_plain, 0, soft_op_nop },
    { ZYDIS_MNEMONIC_MFENCE,     F_SSE2,   0, emit_plain, 0, mfence },
    { ZYDIS_MNEMONIC_LFENCE,     F_SSE2,   0, emit_plain, 0, soft_op_nop },
    { ZYDIS_MNEMONIC_SFENCE,     F_SSE,    0, emit_plain, 0, soft_op_nop },
    {},
};
/* clang-format on */
