/*
 * cpu/soft/code_run.h: any bytes as code, in any mode, on two engines that cut them into different blocks.  For tests only.
 * code_gen.c makes the bytes, code_run.c the machines; code_fuzz.c and code_main.c call.
 */
#pragma once

#include "cpu/soft/soft.h"

enum {
    CODE_BYTES_MAX = 1024,
    CODE_LONG = 5 /* the first byte of a program in 64-bit code */,
    CODE_RING3 = 1 /* of the second */
};

/* xorshift64*; the state must not be 0. */
static inline u64 code_rand(u64 *s)
{
    *s ^= *s >> 12;
    *s ^= *s << 25;
    *s ^= *s >> 27;
    return *s * 0x2545f4914f6cdd1dull;
}

static inline u32 code_below(u64 *s, u32 n)
{
    return (u32)(code_rand(s) >> 33) % n;
}

/* Fills `buf` with bytes that are more often instructions than not; `bits`: 16, 32 or 64. */
u32 code_generate(u64 *seed, u32 bits, u8 *buf, u32 max);

/* What was run, of both engines; blocks: of the one with short ones, at least; mapped: pages of the user window, of the other. */
struct code_count {
    u64 programs, insns, blocks, mapped;
};

/*
 * Runs one program.  Input: {u8 mode, u8 flags, u8 place, le64 seed}, then the code; none: made from the seed.
 * Aborts where the two differ, or where an engine's state is one that cannot be.
 */
void code_run(const u8 *data, size_t size, struct code_count *count);
/* Finds the instruction after which the two differ. */
void code_search(const u8 *data, size_t size);
