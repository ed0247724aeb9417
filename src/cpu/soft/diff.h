/*
 * cpu/soft/diff.h: the software engine against the host's CPU, one instruction at a time.  For tests only.
 * diff_gen.c makes the instructions and states, native_oracle.c asks the CPU, diff.c the engine, and compares.
 */
#pragma once

#include "cpu/soft/native_oracle.h"
#include "cpu/soft/soft.h"

#include <Zydis/Zydis.h>

/* What is known of a test's instruction. */
struct diff_insn {
    ZydisDecodedInstruction in;
    ZydisDecodedOperand o[ZYDIS_MAX_OPERAND_COUNT];
};

struct diff;

struct diff *diff_new(struct err *e);
void diff_free(struct diff *d);
struct soft_cpu *diff_cpu(struct diff *d);

/* What the engine made of a test. */
struct diff_result {
    struct oracle_regs st;
    u32 vector, error; /* 1: none */
    u64 cr2;
    const u8 *data; /* ORACLE_DATA_SIZE */
};
void diff_engine(struct diff *d, const struct oracle_test *t, struct diff_result *ret);
/* 0, or how many things differ, described in `text`.  */
u32 diff_compare(const struct diff_insn *di, const struct oracle_test *t,
                 const struct diff_result *r, char *text, size_t size);

/* diff_gen.c: a random instruction that may run natively, in code of `bits`, and a state in which it can reach its operands. */
void diff_generate(u64 *seed, u32 bits, struct oracle_test *t, struct diff_insn *ret);
/* As that for given bytes; false: not one that may run natively. */
bool diff_prepare(u64 *seed, u32 bits, const u8 *bytes, u32 n, struct oracle_test *t,
                  struct diff_insn *ret);
/* Mnemonic and operands' kinds, for the count of forms. */
void diff_form(const struct diff_insn *di, char *text, size_t size);
