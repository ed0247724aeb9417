/*
 * base/base.h: what every other file may take for granted: integer types, small macros, checked arithmetic, `must`.
 */
#pragma once

#include <assert.h>
#include <errno.h>
#include <stdalign.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

typedef uint8_t u8;
typedef uint16_t u16;
typedef uint32_t u32;
typedef unsigned long long u64; /* as KVM's __u64, so that %llu always fits */
typedef int8_t s8;
typedef int16_t s16;
typedef int32_t s32;
typedef long long s64;

#define KiB 1024ull
#define MiB (1024ull * KiB)
#define GiB (1024ull * MiB)
#define TiB (1024ull * GiB)

#define NSEC_PER_SEC  1000000000ull
#define NSEC_PER_MSEC 1000000ull
#define NSEC_PER_USEC 1000ull

#define ARRAY_LEN(a)                  (sizeof(a) / sizeof((a)[0]))
#define MEMBER_SIZE(type, member)     sizeof(((type *)0)->member)
#define container_of(p, type, member) ((type *)((uintptr_t)(p)-offsetof(type, member)))
#define for_each_row(p, rows) \
    for (__typeof__(&(rows)[0]) p = (rows); p < (rows) + ARRAY_LEN(rows); p++)

#define min(a, b)                          \
    ({                                     \
        __typeof__(a) min_a_ = (a);        \
        __typeof__(b) min_b_ = (b);        \
        min_a_ < min_b_ ? min_a_ : min_b_; \
    })
#define max(a, b)                          \
    ({                                     \
        __typeof__(a) max_a_ = (a);        \
        __typeof__(b) max_b_ = (b);        \
        max_a_ > max_b_ ? max_a_ : max_b_; \
    })

/* `n` must be a power of two. */
#define align_down(x, n) ((x) & ~((__typeof__(x))(n)-1))
#define align_up(x, n)   align_down((x) + ((n)-1), (n))
#define is_aligned(x, n) (((x) & ((n)-1)) == 0)
#define is_pow2(x)       ((x) != 0 && ((x) & ((x)-1)) == 0)

/* True, and *ret is the result, when the operation did not overflow the type of *ret. */
#define add_ok(ret, a, b) (!__builtin_add_overflow((a), (b), (ret)))
#define sub_ok(ret, a, b) (!__builtin_sub_overflow((a), (b), (ret)))
#define mul_ok(ret, a, b) (!__builtin_mul_overflow((a), (b), (ret)))

#define likely(x)   __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)

/* Our own bug when false: prints, dumps the trace ring, aborts this process.  Always compiled in. */
#define must(cond) (likely(cond) ? (void)0 : must_failed(#cond, __FILE__, __LINE__, __func__))
_Noreturn void must_failed(const char *cond, const char *file, int line, const char *func);

/* Is [at, at + len) inside [0, size)?  Never overflows. */
static inline bool range_ok(u64 at, u64 len, u64 size)
{
    return at <= size && len <= size - at;
}

#include "base/alloc.h"
#include "base/endian.h"
#include "base/err.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/str.h"
