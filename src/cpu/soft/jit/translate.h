/*
 * cpu/soft/jit/translate.h: what the parts of the translator share while they write one block.
 *
 * Flags: `flags` says where the guest's arithmetic flags are at this point of the code, FLAGS_IN_*; more than one may be true.
 * Between blocks and wherever C runs they are in soft_cpu.fl.  Whatever changes the host's flags for its own sake calls
 * jit_flags_spill first and drops FLAGS_IN_HOST.
 *
 * The user window (window.h).  A register that was compared with soft_cpu.window_end is trusted from there on, while it only moves by constants:
 * `trust`.  All guest addresses that come from it are in the window or trap.  So code that comes from where the comparison was not
 * made, or failed, must not come back behind it: such a way leads out of the translation after its instruction.
 * The low part of the window has an end of its own, and T0 = soft_cpu.window_low_delta for the instruction that reaches it.
 */
#pragma once

#include "cpu/soft/insn.h"
#include "cpu/soft/jit/cache.h"
#include "cpu/soft/window.h"

enum { FLAGS_IN_CPU = 1, FLAGS_IN_HOST = 2 };

#define ARITH_FLAGS RF_ARITH

enum { SECOND_MAX = 3, COLD_FROM_MAX = 8, COLD_TRAPS_MAX = 3 };

#define TRUST_MOVED_MAX (1 << 30) /* see WINDOW_GUARD */

/* What is known of a guest register. */
struct jit_trust {
    enum window_part known; /* it was below the end of this one ... */
    s32 moved;              /* ... and so much has been added since */
};

/* A jump away when the TLB's entry T1 was not the right one: the other place is looked at. */
struct jit_second {
    u32 from, back;
    s32 tag;  /* offset in the entry of what was compared ... */
    u32 reg;  /* ... with this */
    u32 size; /* 0, or: so many bytes at T0 are not in the page of soft_cpu.recent at `recent` */
    s32 recent;
};

/* Code that is seldom run, written behind the block: the handler of instruction `i`, and back. */
struct jit_cold {
    u32 from[COLD_FROM_MAX]; /* displacements of jumps that lead here */
    u32 n_from;
    struct jit_second second[SECOND_MAX];
    u32 n_second;
    u32 back; /* where it goes on */
    u32 i;
    u32 at;                 /* where the handler is called */
    bool flags_to_host;     /* they are wanted there */
    bool vec;               /* so are vector registers */
    u32 vec_from, vec_back; /* a jump for vector registers to be loaded, and where it goes on */
    enum jit_vec vec_need;
    u32 doubt_from, doubt_back; /* a jump_entry is to be looked at, and where it goes on */
    u32 outside
        [COLD_FROM_MAX]; /* displacements of jumps for addresses that are outside of the window */
    u32 n_outside;
    bool outside_low; /* ... of its low part */
    bool trusts;      /* it compared a register, which what follows believes */
    struct {
        u32 at;     /* the instruction may trap: its place */
        bool spill; /* the guest's flags are in the host's alone */
    } trap[COLD_TRAPS_MAX];
    u32 n_traps;
    u32 deep_from,
        deep_back;    /* a jump when too many calls have not returned, and where it goes on */
    u32 unpaired;     /* displacement of a jump when a return is not that of the last call */
    u32 side;         /* displacement of a jump out of the middle of the block; 0: none */
    bool side_spills; /* ... as above */
};

struct jit_tr {
    struct soft_cpu *c;
    struct block *b;
    struct jit_block *jb;
    struct jit_asm a;
    const u8 *code; /* the block's bytes: our copy */
    u32 flags;
    bool code64;                   /* else 32-bit code, flat */
    enum jit_vec vec;              /* vector registers are in the host's, at least these */
    u32 word;                      /* bytes of a register as the stack has it: 8 or 4 */
    uop_fn fn[BLOCK_UOPS_MAX + 1]; /* the interpreter's handlers */
    struct jit_cold cold[BLOCK_UOPS_MAX + 1]; /* of each instruction */
    u32 insn_at[BLOCK_UOPS_MAX];              /* where each begins */
    u32 fall_at; /* where the conditional jump at the end goes on when it is not taken */
    struct jit_trust trust[GPR_COUNT];
    /* the instruction under way */
    u32 i;
    const struct uop *op;
    enum window_part operand, stack; /* how its memory operand is reached, and what RSP points to */
    ZydisDecodedInstruction in;
    ZydisDecodedOperand opnd[ZYDIS_MAX_OPERAND_COUNT];
    const u8 *bytes;
};

/* flags.c.  The first two use T1. */
void jit_flags_spill(struct jit_tr *t);
/* To the host's flags. */
void jit_flags_load(struct jit_tr *t);
/* The carry alone, for what overwrites the others. */
void jit_carry_load(struct jit_tr *t);
/* The host's flags are about to be overwritten. */
void jit_flags_lose(struct jit_tr *t);

/* Decodes instruction t->i again.  False: it is not what was decoded. */
bool jit_look(struct jit_tr *t);
/* A jump to the cold code of the instruction under way: it is begun anew by its handler. */
void jit_slow_if(struct jit_tr *t, u32 cc);
/* The same for the jump `from` just written, after a look at the other place of the TLB. */
void jit_second_if(struct jit_tr *t, u32 from, s32 tag, u32 reg);
/* The same for one just written that compared with soft_cpu.recent at `recent` of CTX. */
void jit_recent_if(struct jit_tr *t, u32 from, s32 recent, u32 size, u32 access);
/* What is at the entry of a block that crosses into another page: a look whether that is the one it was decoded from. */
struct jit_crossing {
    u32 second,
        back; /* a jump when the TLB's entry T1 was not the right one, and where it goes on */
    u32 wrong, none; /* jumps when it is another page, or not in the TLB */
};
struct jit_crossing jit_crossing(struct jit_tr *t);
void jit_crossing_cold(struct jit_tr *t, struct jit_crossing *k);
/* Offset of the next instruction, from the page of the block's first byte. */
s32 jit_next_off(const struct jit_tr *t);

/* The instruction that is written next may trap: it is begun anew by its handler. */
void jit_may_trap(struct jit_tr *t);

/* address.c.  T0 = where the operand of `size` bytes at linear T0 is, for jit_access; T1, T2 and flags are lost.  `recent`: the entry
 * of soft_cpu.recent that is looked at first, or RECENT_NONE. */
void jit_check(struct jit_tr *t, u32 size, u32 access, u32 recent, enum window_part part);
/* Guest memory is reached by the instruction that is written next, through `part`: what is in front of it. */
void jit_touch(struct jit_tr *t, enum window_part part);
/* An instruction of one opcode that reaches guest memory at `m`, of jit_operand, jit_stack_at or T0 of jit_check. */
void jit_access(struct jit_tr *t, bool wide, u32 op, u32 reg, struct asm_mem m,
                enum window_part part);
/* Where `reg` + disp is, whose guest register `g` is trusted from here on; flags are lost where it was not. */
struct asm_mem jit_trusted(struct jit_tr *t, u32 g, u32 reg, s32 disp, enum window_part part);
/* t->operand and t->stack of the instruction under way. */
void jit_choose_parts(struct jit_tr *t);
/* What the instruction just written leaves of that. */
void jit_trust_settle(struct jit_tr *t);
/* T1 = entry of the TLB for `size` bytes at linear T0; T2 and flags are lost.  Returns where the jump is that is taken when there is none. */
u32 jit_look_up(struct jit_tr *t, u32 size, u32 access);
/* Host register of the guest's at soft_cpu.reg + `at`, loaded into `temp` where it is in memory; NO_REG: `at` is REG_ZERO. */
u32 jit_reg_for(struct jit_tr *t, u32 at, u32 temp);
/* The operand of t->op, which is relative to RIP, counted from soft_cpu.page_rip.  False: that does not fit. */
bool jit_rip_off(const struct jit_tr *t, s32 *ret);
/* T0 = linear address of the memory operand of t->op.  False, with nothing written: it is not one for translated code. */
bool jit_linear(struct jit_tr *t);
/* The memory operand of t->op, of `size` bytes, is at *ret for jit_access, with T0 and no other scratch register; T1 and T2 are lost.
 * False, with nothing written: as above. */
bool jit_operand(struct jit_tr *t, u32 size, u32 access, struct asm_mem *ret);

/* copy.c.  Fills in where the vector registers come from: from here on they are in the host's. */
void jit_need_vec(struct jit_tr *t, enum jit_vec need);
/* An instruction as it is, with registers mapped and the memory operand rewritten.  False, with nothing written: not such a one. */
bool jit_copy(struct jit_tr *t);
/* What loop.c wants to know of an instruction that jit_copy would write. */
struct jit_copied {
    u32 size, access; /* of its memory operand; size 0: none */
    enum jit_vec vec;
    bool traps;
    bool new_flags; /* it overwrites all, and looks at none */
};
/* False: it would not, or the instruction needs more than registers and plain memory. */
bool jit_copied(struct jit_tr *t, struct jit_copied *ret);
/* Writes it with its memory operand at `at`; the guest's flags are in the host's and stay there.  T0 holds what `at` wants.
 * Returns where the instruction is that may trap; 0: none. */
u32 jit_copy_at(struct jit_tr *t, struct asm_mem at);
/* Number of the general register that `r` is a part of. */
u32 jit_guest_of(ZydisRegister r);

/* loop.c: a block that is a loop is written once more, for many rounds at a time. */
void jit_loop(struct jit_tr *t);

/* flow.c: jumps, calls, the stack.  False: as above.  *ret_end: the block ends with it. */
bool jit_flow(struct jit_tr *t, bool *ret_end);
/* Where the word at RSP + disp is, for jit_access; and RSP += by. */
struct asm_mem jit_stack_at(struct jit_tr *t, s32 disp, u32 access);
void jit_move_sp(struct jit_tr *t, s32 by);
/* What k->unpaired leads to; it ends the block. */
void jit_unpaired(struct jit_tr *t);
/* system.c: as jit_copy. */
bool jit_system(struct jit_tr *t);
/* What follows the last instruction of a block. */
void jit_fall(struct jit_tr *t);
