/*
 * cpu/soft/jit/cache.h: the code area of one vCPU's translations: thunks at its beginning, then translations as they were
 * made; their cold parts in the second half.
 */
#pragma once

#include "cpu/soft/area.h"
#include "cpu/soft/code.h"
#include "cpu/soft/jit/host.h"
#include "cpu/soft/jit/jit.h"

enum {
    JIT_AREA = SOFT_CODE_MAX, /* bytes of code; touched as it fills */
    JIT_COLD =
        JIT_AREA / 2, /* from here on what is seldom run, so that the rest lies close together */
    JIT_BLOCKS_MAX = 160 << 10, /* translations */
    JIT_BLOCK_BYTES = 24 << 10, /* more than any translation has */
    JIT_TRAPS_MAX = 512 << 10,
    CALLS_BYTES = 32 << 10, /* of the thread's stack: of calls that have not returned */
    JIT_CALL_NEXT = 1,
    JIT_CALL_MISS = 1 << 16,    /* with an instruction's index: its translation could not go on */
    JIT_CALL_OUTSIDE = 1 << 17, /* ... as an address is outside of the user window */
    JIT_CALL_OUTSIDE_LOW = 1 << 18, /* ... of its low part */
};

/* A jump from one translation to the next. */
struct jit_edge {
    u32 at;   /* of its displacement; 0: this block has no such edge */
    u32 stub; /* where it leads while it is not linked */
    u32 host; /* of the literal that the target's page is compared with; 0: the target is in the same page */
    struct jit_block *to;
    struct jit_edge *next, **at_prev; /* of those that lead to the same */
};

struct jit_block {
    struct block *b;
    u32 at, end;                       /* of its code */
    u32 cold_at, cold_end;             /* of what is seldom run of it */
    struct jit_edge edge[BLOCK_SUCCS]; /* as succ */
    struct jit_edge *in;               /* edges that lead here */
    u32 loop;  /* where its jump to itself leads: loop.c; 0: to its beginning */
    bool pure; /* changes nothing but registers, flags and memory */
};

/* Vector registers that code needs, and that the guest may use. */
enum jit_vec { JIT_VEC_NONE, JIT_VEC_SSE, JIT_VEC_AVX };

/* A trap of the host at `at` is the guest's: its instruction is begun anew by its handler, at `slow`. */
struct jit_trap {
    u32 at, slow;
};

/* Offsets of the thunks. */
struct jit_thunks {
    u32 load; /* T1: enum jit_vec.  The guest's vector registers to the host's; carry: it may not use them */
    u32 reload; /* the same, where that was asked before */
    u32 store;
    u32 enter; /* (struct soft_cpu *, code): called from C */
    u32 call; /* T0: index of the instruction, T1: its handler, T2: its block; comes back when the next one follows */
    u32 quantum; /* T2: the block that is to begin; NZ: a new one has begun, too */
    u32 leave;   /* T0: RIP - page_rip, T1: enum jit_exit, T2: the block */
    u32 doubt;   /* T1: the jump_entry of RIP = T0, true once more if Z; T2 is lost */
    /* T1: an entry of soft_cpu.recent, T2: linear address of the last byte.  Z: the TLB has the page of T0, and so has the entry now;
     * T2 is lost. */
    u32 recent_r, recent_w;
    u32 cold; /* T1: a jump_entry whose block has no translation */
};

/* Counted since the vCPU was made. */
struct jit_stats {
    u64 blocks, bytes, links, flushes;
    u64 loops; /* blocks that have `loop` */
    u64 calls,
        misses; /* of handlers: of instructions without a translation, and where it could not go on */
    u64 quanta; /* that ended without an exit */
    u64 exits[JIT_EXITS];
    /* The user window was taken, given up, and forgot all; pages mapped; accesses that were outside. */
    u64 window_taken, window_given_up, window_forgotten, window_mapped, window_outside;
    u64 checked, raced; /* check.c: instructions; differences that were gone at the second look */
};

struct jit_cache {
    struct code_area area;
    u32 used, cold_used; /* up to where */
    u32 n_blocks;
    struct jit_block *blocks;
    u32 n_traps;
    struct jit_trap *traps; /* ascending */
    bool vec;               /* the host has AVX */
    struct jit_thunks thunk;
    u32 first; /* behind the thunks */
    struct jit_stats stats;
};

/* May translated code use the x87 by itself?  The first instruction that does not find its state there brings it. */
static inline void jit_x87_settle(struct soft_cpu *c)
{
    c->x87_ok = c->fpu.x87_live && !(c->cr0 & (CR0_EM | CR0_TS));
}

/* thunk.c */
void jit_thunks(struct jit_asm *a, struct jit_thunks *ret, bool vec);
/* Runs the handler of instruction `i`, as thunk `call` has it.  JIT_CALL_NEXT: the next instruction follows; else the block ends
 * with it, c->rip is set, and translated code goes on at the address returned, or nowhere: 0. */
u64 jit_call(struct soft_cpu *c, struct block *b, u32 i, uop_fn fn);

/* Time is up where block `b` is to begin, as thunk `quantum` has it. */
bool jit_quantum(struct soft_cpu *c, struct block *b);

/* translate.c.  NULL: this block is not to be translated. */
struct jit_block *jit_translate(struct soft_cpu *c, struct block *b);
/* In place of each handler of a translated block: tells jit_call that the instruction before is done. */
void jit_next(struct soft_cpu *c, const struct uop *op);
