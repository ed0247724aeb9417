/*
 * cpu/soft/check.h: --engine-check: each block is interpreted on a copy before its translation runs, and both have to come to the same.
 *   (1) The interpreter's stores stay in a log, which its loads look into: guest memory is written by the translation alone.
 *   (2) What reads time, reaches a device or changes more than registers and memory is run without being compared.
 *   (3) Memory may change under both, by other vCPUs and devices: a difference counts only if it is there when the interpreter
 *       does it again, with the bytes that it had overwritten.
 */
#pragma once

#include "cpu/soft/soft.h"

struct check;

/* Its translation has not been compared often enough: no translated code leads to it, so that each run comes from soft_run.
 * Later it runs as ever, and one run in a quantum is compared. */
bool soft_check_is_new(const struct block *b);
static inline bool soft_check_wants(const struct soft_cpu *c, const struct block *b)
{
    return unlikely(c->check) && soft_check_is_new(b);
}

void soft_check_open(struct soft_cpu *c);
void soft_check_close(struct soft_cpu *c);

/* Runs `b`, which has code, at c->rip.  False: the two differ, v->failure says how; else as soft_jit_run, but never further than
 * the block.  Raises what the block raises. */
bool soft_check_run(struct soft_cpu *c, struct block *b);

/* From mem.c, while the interpreter's run is the one on a copy: [gpa, gpa + n) is RAM of one page. */
void soft_check_load(struct soft_cpu *c, u64 gpa, void *buf, u32 n);
void soft_check_store(struct soft_cpu *c, u64 gpa, const void *buf, u32 n);
/* The instruction under way cannot be done on a copy. */
_Noreturn void soft_check_give_up(struct soft_cpu *c);
