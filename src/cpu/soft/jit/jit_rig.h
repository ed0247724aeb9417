/*
 * cpu/soft/jit/jit_rig.h: for the translator's tests: a machine of RAM that runs a program to its end, and what two of them differ in.
 */
#pragma once

#include "cpu/soft/rig.h"

enum { JIT_RAM = 4 << 20, JIT_END_BYTES = 4 };

struct program {
    const char *why;
    const u8 *code;
    u32 n;
};
#define ROW_OF(text, bytes)                        \
    {                                              \
        text, (const u8 *)bytes, sizeof(bytes) - 1 \
    }

/* Ends a program: OUT RIG_PORT, AL; JMP $. */
extern const u8 jit_the_end[JIT_END_BYTES];

/* Translates blocks that ran `warm` times; 0: none. */
struct rig *jit_machine(u32 warm, u32 n_cpus);
/* 64-bit code at `at`, registers and RIG_DATA full of known noise; exceptions end the program, too. */
void jit_begin(struct rig *r, u64 at, const u8 *code, u32 n);
/* Page tables at `tables`: 0x40000000 leads to `page`, the first GiB is what it is. */
void jit_map(struct rig *r, u64 tables, u64 page);
/* What is different after a program, or "". */
const char *jit_differs(const struct rig *a, const struct rig *b);
