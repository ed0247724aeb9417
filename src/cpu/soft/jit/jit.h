/*
 * cpu/soft/jit/jit.h: translates decoded blocks that run often into host code.  (doc/notes/011-translator.md)
 *   (1) Translated code has the state of a vCPU in host registers (host.h); wherever C runs, all of it is in struct soft_cpu.
 *   (2) What is not translated, and what a translation cannot finish (a TLB miss, a fault), is done by the interpreter's handler
 *       of that instruction, from its beginning: before the last check of an instruction nothing of the guest has changed.
 *   (3) A translation belongs to its block and dies with it; its memory is reused when everything is dropped (code.h).
 *   (4) A direct jump leads from translation to translation only while its target's block is one that could be found; between
 *       pages it compares the mapping each time.
 *   (5) Only the vCPU's own thread writes and runs its translations.
 */
#pragma once

#include "cpu/soft/soft.h"

enum { JIT_WARM = 16 /* runs of a block until it is translated */ };

/* Why translated code came back. */
enum jit_exit {
    JIT_EXIT_HANDLER, /* an instruction that ends a block was left to its handler */
    JIT_EXIT_POLL,    /* a request, or time is up */
    JIT_EXIT_COLD,    /* an indirect jump to what has no translation */
    JIT_EXIT_EDGE,    /* a successor, by whose number more than this, is not linked yet */
    JIT_EXITS
};

struct jit_cache;

int soft_jit_open(struct soft_cpu *c, struct err *e);
void soft_jit_close(struct soft_cpu *c);
/* True: no room for another block.  Forget all blocks, then soft_jit_reset. */
bool soft_jit_full(const struct soft_cpu *c);
void soft_jit_reset(struct soft_cpu *c);
/* Row `row` of the statistics; NULL: there are no more. */
const char *soft_jit_stat(const struct vcpu *v, u32 row, u64 *ret);

/* Adds a line of perf's map for each translation, by the guest-physical address of its block; the vCPU stands still. */
void soft_jit_map(const struct vcpu *v, struct strbuf *out);

/* In a signal handler: a trap at host address `rip` is the guest's, and its instruction is begun anew at *ret_go_on. */
bool soft_jit_trap(const struct jit_cache *j, u64 rip, u64 *ret_go_on);

/* Where an indirect jump to `b` goes on in translated code. */
const u8 *soft_jit_code(const struct soft_cpu *c, const struct block *b);
/* Counts a run of `b` and translates it when it is warm.  True: b->code may be run. */
bool soft_jit_warm(struct soft_cpu *c, struct block *b);
/* Makes all ready to run `b`, which has code, at c->rip; returns where. */
const u8 *soft_jit_enter(struct soft_cpu *c, struct block *b);
/* Runs `b`, which has code, at c->rip, and what follows; as a handler that ends a block, it leaves c->rip and c->link. */
void soft_jit_run(struct soft_cpu *c, struct block *b);
/* Successor `i` of `from` is `to`: from now on without coming back. */
void soft_jit_link(struct soft_cpu *c, struct block *from, u32 i, struct block *to);
/* The block is dropped: nothing leads to its code any more.  It may be the one that runs. */
void soft_jit_drop(struct soft_cpu *c, struct block *b);
