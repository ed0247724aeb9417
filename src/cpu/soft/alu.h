/*
 * cpu/soft/alu.h: arithmetic by the host's own instructions: the result, and the flags as silicon leaves them, undefined
 * ones too.  Flags travel in the form of LAHF;SETO (soft.h: FL_*).
 */
#pragma once

#include "cpu/soft/soft_mem.h"

/* Suffixes and types of the operand sizes. */
#define SFX_8  "b"
#define SFX_16 "w"
#define SFX_32 "l"
#define SFX_64 "q"

/* A write of a 32-bit register clears its upper half; 8 and 16 bits leave the rest alone. */
#define REG_GET(bits, at) (*(u##bits *)(void *)((u8 *)c->reg + (at)))
static inline void reg_put8(struct soft_cpu *c, u32 at, u8 v)
{
    *((u8 *)c->reg + at) = v;
}
static inline void reg_put16(struct soft_cpu *c, u32 at, u16 v)
{
    *(u16 *)(void *)((u8 *)c->reg + at) = v;
}
static inline void reg_put32(struct soft_cpu *c, u32 at, u32 v)
{
    *soft_reg(c, at) = v;
}
static inline void reg_put64(struct soft_cpu *c, u32 at, u64 v)
{
    *soft_reg(c, at) = v;
}

/*
 * Memory at `lin` = fn##bits(what is there, arg, &flags), in a handler that has `c` and `op`.  The flags change only when the store was
 * possible: a fault leaves them as they were.
 */
#define ALU_MEM(bits, lin, fn, arg)                                                         \
    do {                                                                                    \
        volatile guest_u##bits *at_ = soft_rw(c, op, lin, bits / 8);                        \
        u32 fl_ = c->fl;                                                                    \
        if (likely(at_))                                                                    \
            *at_ = fn##bits(*at_, arg, &fl_);                                               \
        else                                                                                \
            soft_store##bits(c, op, lin, fn##bits(soft_load##bits(c, op, lin), arg, &fl_)); \
        c->fl = fl_;                                                                        \
    } while (0)

/* Saves the host's flags in `fl` (RAX), and brings saved ones back. */
#define FLAGS_OUT "lahf; seto %%al"
#define FLAGS_IN  "addb $0x7f, %%al; sahf; "
#define CARRY_IN  "btl $8, %%eax; "

/* name##8..64(a, b, &fl): a op b. */
#define ALU2_SIZE(name, insn, in, bits)                                \
    static inline u##bits name##bits(u##bits a, u##bits b, u32 *flags) \
    {                                                                  \
        u32 fl = *flags;                                               \
        __asm__(in insn SFX_##bits " %[b], %[a]; " FLAGS_OUT           \
                : [a] "+&r"(a), "+&a"(fl)                              \
                : [b] "r"(b)                                           \
                : "cc");                                               \
        *flags = fl;                                                   \
        return a;                                                      \
    }
#define ALU2(name, insn, in)      \
    ALU2_SIZE(name, insn, in, 8)  \
    ALU2_SIZE(name, insn, in, 16) \
    ALU2_SIZE(name, insn, in, 32) \
    ALU2_SIZE(name, insn, in, 64)

ALU2(alu_add, "add", "")
ALU2(alu_or, "or", "")
ALU2(alu_adc, "adc", CARRY_IN)
ALU2(alu_sbb, "sbb", CARRY_IN)
ALU2(alu_and, "and", "")
ALU2(alu_sub, "sub", "")
ALU2(alu_xor, "xor", "")
ALU2(alu_cmp, "cmp", "")
ALU2(alu_test, "test", "")

/* The same on memory, atomically. */
#define ALU2_LOCK_SIZE(name, insn, in, bits)                                   \
    static inline void name##_lock##bits(void *p, u##bits b, u32 *flags)       \
    {                                                                          \
        u32 fl = *flags;                                                       \
        __asm__ volatile(in "lock; " insn SFX_##bits " %[b], %[m]; " FLAGS_OUT \
                         : [m] "+m"(*(guest_##u##bits *)p), "+&a"(fl)          \
                         : [b] "r"(b)                                          \
                         : "cc", "memory");                                    \
        *flags = fl;                                                           \
    }
#define ALU2_LOCK(name, insn, in)      \
    ALU2_LOCK_SIZE(name, insn, in, 8)  \
    ALU2_LOCK_SIZE(name, insn, in, 16) \
    ALU2_LOCK_SIZE(name, insn, in, 32) \
    ALU2_LOCK_SIZE(name, insn, in, 64)

ALU2_LOCK(alu_add, "add", "")
ALU2_LOCK(alu_or, "or", "")
ALU2_LOCK(alu_adc, "adc", CARRY_IN)
ALU2_LOCK(alu_sbb, "sbb", CARRY_IN)
ALU2_LOCK(alu_and, "and", "")
ALU2_LOCK(alu_sub, "sub", "")
ALU2_LOCK(alu_xor, "xor", "")

/* One operand; flags that the instruction leaves alone come from *flags. */
#define ALU1_SIZE(name, insn, bits)                                                               \
    static inline u##bits name##bits(u##bits a, u32 *flags)                                       \
    {                                                                                             \
        u32 fl = *flags;                                                                          \
        __asm__(FLAGS_IN insn SFX_##bits " %[a]; " FLAGS_OUT : [a] "+&r"(a), "+&a"(fl) : : "cc"); \
        *flags = fl;                                                                              \
        return a;                                                                                 \
    }                                                                                             \
    static inline void name##_lock##bits(void *p, u32 *flags)                                     \
    {                                                                                             \
        u32 fl = *flags;                                                                          \
        __asm__ volatile(FLAGS_IN "lock; " insn SFX_##bits " %[m]; " FLAGS_OUT                    \
                         : [m] "+m"(*(guest_##u##bits *)p), "+&a"(fl)                             \
                         :                                                                        \
                         : "cc", "memory");                                                       \
        *flags = fl;                                                                              \
    }
#define ALU1(name, insn)      \
    ALU1_SIZE(name, insn, 8)  \
    ALU1_SIZE(name, insn, 16) \
    ALU1_SIZE(name, insn, 32) \
    ALU1_SIZE(name, insn, 64)

ALU1(alu_inc, "inc")
ALU1(alu_dec, "dec")
ALU1(alu_neg, "neg")
ALU1(alu_not, "not")

/* Shifts and rotates by a count. */
#define SHIFT_SIZE(name, insn, bits)                               \
    static inline u##bits name##bits(u##bits a, u8 n, u32 *flags)  \
    {                                                              \
        u32 fl = *flags;                                           \
        __asm__(FLAGS_IN insn SFX_##bits " %%cl, %[a]; " FLAGS_OUT \
                : [a] "+&r"(a), "+&a"(fl)                          \
                : "c"(n)                                           \
                : "cc");                                           \
        *flags = fl;                                               \
        return a;                                                  \
    }
#define SHIFT(name, insn)      \
    SHIFT_SIZE(name, insn, 8)  \
    SHIFT_SIZE(name, insn, 16) \
    SHIFT_SIZE(name, insn, 32) \
    SHIFT_SIZE(name, insn, 64)

SHIFT(alu_shl, "shl")
SHIFT(alu_shr, "shr")
SHIFT(alu_sar, "sar")
SHIFT(alu_rol, "rol")
SHIFT(alu_ror, "ror")
SHIFT(alu_rcl, "rcl")
SHIFT(alu_rcr, "rcr")

#define SHIFT_DOUBLE_SIZE(name, insn, bits)                                  \
    static inline u##bits name##bits(u##bits a, u##bits b, u8 n, u32 *flags) \
    {                                                                        \
        u32 fl = *flags;                                                     \
        __asm__(FLAGS_IN insn SFX_##bits " %%cl, %[b], %[a]; " FLAGS_OUT     \
                : [a] "+&r"(a), "+&a"(fl)                                    \
                : "c"(n), [b] "r"(b)                                         \
                : "cc");                                                     \
        *flags = fl;                                                         \
        return a;                                                            \
    }
#define SHIFT_DOUBLE(name, insn)      \
    SHIFT_DOUBLE_SIZE(name, insn, 16) \
    SHIFT_DOUBLE_SIZE(name, insn, 32) \
    SHIFT_DOUBLE_SIZE(name, insn, 64)

SHIFT_DOUBLE(alu_shld, "shld")
SHIFT_DOUBLE(alu_shrd, "shrd")

/* dst = op(src), 16 to 64 bits; dst stays when the instruction leaves it. */
#define SCAN_SIZE(name, insn, bits)                                        \
    static inline u##bits name##bits(u##bits dst, u##bits src, u32 *flags) \
    {                                                                      \
        u32 fl = *flags;                                                   \
        __asm__(FLAGS_IN insn SFX_##bits " %[s], %[d]; " FLAGS_OUT         \
                : [d] "+&r"(dst), "+&a"(fl)                                \
                : [s] "r"(src)                                             \
                : "cc");                                                   \
        *flags = fl;                                                       \
        return dst;                                                        \
    }
#define SCAN(name, insn)      \
    SCAN_SIZE(name, insn, 16) \
    SCAN_SIZE(name, insn, 32) \
    SCAN_SIZE(name, insn, 64)

SCAN(alu_imul, "imul")
SCAN(alu_bsf, "bsf")
SCAN(alu_bsr, "bsr")
SCAN(alu_tzcnt, "tzcnt")
SCAN(alu_lzcnt, "lzcnt")
SCAN(alu_popcnt, "popcnt")

/* Bit test on a value; b is below the width. */
#define BIT_SIZE(name, insn, bits)                                                   \
    static inline u##bits name##bits(u##bits a, u##bits b, u32 *flags)               \
    {                                                                                \
        u32 fl = *flags;                                                             \
        __asm__(FLAGS_IN insn SFX_##bits " %[b], %[a]; " FLAGS_OUT                   \
                : [a] "+&r"(a), "+&a"(fl)                                            \
                : [b] "r"(b)                                                         \
                : "cc");                                                             \
        *flags = fl;                                                                 \
        return a;                                                                    \
    }                                                                                \
    static inline void name##_lock##bits(void *p, u##bits b, u32 *flags)             \
    {                                                                                \
        u32 fl = *flags;                                                             \
        __asm__ volatile(FLAGS_IN "lock; " insn SFX_##bits " %[b], %[m]; " FLAGS_OUT \
                         : [m] "+m"(*(guest_##u##bits *)p), "+&a"(fl)                \
                         : [b] "r"(b)                                                \
                         : "cc", "memory");                                          \
        *flags = fl;                                                                 \
    }
#define BIT(name, insn)      \
    BIT_SIZE(name, insn, 16) \
    BIT_SIZE(name, insn, 32) \
    BIT_SIZE(name, insn, 64)

BIT(alu_bts, "bts")
BIT(alu_btr, "btr")
BIT(alu_btc, "btc")

/* Multiplication and division of double width, hi:lo; the caller of a division knows that the quotient fits. */
#define WIDE_SIZE(name, insn, bits)                                                \
    static inline void name##bits(u##bits *lo, u##bits *hi, u##bits b, u32 *flags) \
    {                                                                              \
        u64 fl = *flags, low = *lo, high = *hi;                                    \
        __asm__(FLAGS_IN "mov %%rcx, %%rax; " insn SFX_##bits                      \
                " %[b]; mov %%rax, %%rcx; " FLAGS_OUT                              \
                : "+&a"(fl), "+&c"(low), "+&d"(high)                               \
                : [b] "r"(b)                                                       \
                : "cc");                                                           \
        *flags = (u16)fl;                                                          \
        *lo = (u##bits)low;                                                        \
        *hi = (u##bits)high;                                                       \
    }
/* The 8-bit form works on AX. */
#define WIDE(name, insn)                                                                  \
    static inline u16 name##8(u16 ax, u8 b, u32 * flags)                                  \
    {                                                                                     \
        u64 fl = *flags, a = ax;                                                          \
        __asm__(FLAGS_IN "mov %%rcx, %%rax; " insn "b %[b]; mov %%rax, %%rcx; " FLAGS_OUT \
                : "+&a"(fl), "+&c"(a)                                                     \
                : [b] "q"(b)                                                              \
                : "cc");                                                                  \
        *flags = (u16)fl;                                                                 \
        return (u16)a;                                                                    \
    }                                                                                     \
    WIDE_SIZE(name, insn, 16)                                                             \
    WIDE_SIZE(name, insn, 32)                                                             \
    WIDE_SIZE(name, insn, 64)

WIDE(alu_mul, "mul")
WIDE(alu_imul1, "imul")
WIDE(alu_div, "div")
WIDE(alu_idiv, "idiv")
