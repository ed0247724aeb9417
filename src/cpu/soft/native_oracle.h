/*
 * cpu/soft/native_oracle.h: runs one instruction on the host's CPU, from a given state, and tells what became of it.
 * For tests of the software engine only.
 *
 * A child process does it: its signal handler puts the state into the frame that sigreturn loads, with TF set, and finds the
 * result in the next signal's frame.  Code and data are at fixed low addresses, the same as in the engine's guest, so that
 * even addresses in results are equal.  The child has seccomp's strict mode: what else it does ends it.
 */
#pragma once

#include "base/base.h"

#define ORACLE_CODE 0x400000ull /* one page, then nothing */
#define ORACLE_DATA 0x500000ull /* ORACLE_DATA_SIZE bytes, before and after it nothing */

enum {
    ORACLE_DATA_SIZE = 8192,
    ORACLE_CODE_SIZE = 4096,
    ORACLE_XSAVE = 832, /* legacy area, header, AVX */
    ORACLE_BATCH = 64,
};

struct oracle_regs {
    u64 reg[16]; /* in the order of enum vcpu_reg */
    u64 rip;
    u32 rflags;
    alignas(64) u8 xsave[ORACLE_XSAVE];
};

struct oracle_test {
    u8 code[16]; /* at state.rip, INT3 behind it */
    u8 len;
    u8 bits;    /* 64, 32 or 16 */
    bool whole; /* without TF: until INT3 (repeated strings) */
    struct oracle_regs in, out;
    u8 data[ORACLE_DATA_SIZE]; /* before, then after */
    u32 vector, error;         /* of what ended it; 1 or 3: nothing */
    u64 cr2;
};

struct oracle;

/* QEMU's TCG names itself in the hypervisor leaf, CPUID 0x40000000: what it executes is no silicon. */
bool oracle_is_emulated(void);
/* Owned; NULL: the host does not let us, or is another maker's (the reason in `e`). */
struct oracle *oracle_new(struct err *e);
void oracle_free(struct oracle *o);
/*
 * Does the host run code of that size (64, 32, 16) as a CPU does?  Some virtual machines load no segments of a local descriptor table, and
 * leave 32-bit code without its data segments.
 */
bool oracle_can(struct oracle *o, u32 bits);
/* Where to put tests: ORACLE_BATCH of them, shared with the child. */
struct oracle_test *oracle_tests(struct oracle *o);
/* Runs the first `n`.  -EIO: the child is gone (it is started again at the next call). */
int oracle_run(struct oracle *o, u32 n, struct err *e);
