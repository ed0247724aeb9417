/*
 * cpu/soft/window.h: the user window: pages of one guest address space, mapped a second time into our process, at the guest's own
 * addresses less a constant.  Translated code of ring 3 reaches them by the guest's own instructions, with a GS prefix.
 * (doc/notes/050-user-window.md)
 *   (1) Its high part is [2^46, 2^47) of the guest, at [0, 2^46) of our process, which has nothing else there.  From soft_cpu.window_end
 *       (guest's) on, an address would reach what is ours: translated code compares before it uses a register.  Below 2^46, and in a
 *       kernel's half, it leads to addresses that no process may use.  Its low part is [0, 4 GiB) of the guest, where programs are that are
 *       not position-independent: anywhere in our process, with guards.  Code adds soft_cpu.window_low_delta, and compares with
 *       window_low_end.  Which part an instruction is for is guessed when it is translated, and learned when that was wrong.
 *   (2) What is mapped is what the TLB held for ring 3 when it was mapped, with the same rights, and is forgotten whenever mmu.c forgets it:
 *       the window is a larger TLB.  A page that is not there traps; the instruction's handler does it by the TLB; then the page is mapped.
 *   (3) One vCPU of the process has the window, for one address space: the one that runs most.  KEY_WINDOW is in force only there.  Another
 *       vCPU that wants it asks; who did not use it since it was asked the last time gives it up.
 */
#pragma once

#include "cpu/soft/soft.h"

enum {
    WINDOW_PAGES =
        16 << 10, /* mapped at a time; each may be two mappings of the 65,530 that Linux allows */
    WINDOW_ROWS = 16 << 10,
    WINDOW_AFTER = 1500, /* quanta in ring 3 until an address space gets the window */
    WINDOW_SITES = 256 << 10,
};

#define WINDOW_START    (1ull << 46) /* of the high part, in the guest: at 0 of ours */
#define WINDOW_LOW_SIZE (4 * GiB)

/* WINDOW_AVOIDED is of instructions that go by the TLB. */
enum window_part { WINDOW_NONE, WINDOW_HIGH, WINDOW_LOW, WINDOW_AVOIDED };

#define WINDOW_NO_MISS (~0ull) /* soft_cpu.window_miss */

struct window_page {
    u64 lin;     /* or BLOCK_ONE_PAGE: no page */
    u64 page;    /* of the memfd */
    bool writes; /* it may be written to */
    u32 next;    /* 1 more than the next of its row, or of those that are free; 0: none */
};

struct window {
    bool on;
    u64 cr3, pcid;     /* whose pages these are */
    u64 candidate;     /* CR3 of most of the quanta in ring 3 of late */
    u32 score;         /* of them, less those of others */
    u32 after;         /* that it takes, if more than soft_vm.window_after */
    s32 credit;        /* what it saved, less what it cost, in quanta; below 0 it is given up */
    atomic_bool asked; /* by any vCPU's thread: does it still need it? */
    u32 quanta;        /* in it, since it was asked */
    u32 row[WINDOW_ROWS];
    struct window_page pages[WINDOW_PAGES];
    u32 used, free;
    u64 large, giant; /* as tlb_set has them, for what is mapped */
    bool trapped_low; /* the last trap was in the low part */
    u8 sites
        [WINDOW_SITES]; /* of instructions, by a hash: enum window_part, if it is known; above it, how often it was wrong */
};

void soft_window_open(struct soft_cpu *c);
/* The vCPU has stopped for good. */
void soft_window_close(struct soft_cpu *c);
/* A vCPU's thread is about to run blocks. */
void soft_window_enter(struct soft_cpu *c);
/* Is it in force for what c->key, c->tlb and CR3 say? */
bool soft_window_in_force(const struct soft_cpu *c);
/* A look at what runs, at the end of a quantum. */
void soft_window_sample(struct soft_cpu *c);
/* Another vCPU may have asked for the window. */
void soft_window_answer(struct soft_cpu *c);

/* Translated code's access of instruction `i` of `b` trapped, at guest address `lin`; its handler has done it by the TLB. */
void soft_window_missed(struct soft_cpu *c, struct block *b, u32 i, u64 lin);
/* ... was not tried, as it is outside; `part`: where it may be, WINDOW_NONE: nowhere. */
void soft_window_outside(struct soft_cpu *c, struct block *b, u32 i, enum window_part part);
static inline u32 soft_window_site(u64 gpa)
{
    return (u32)(gpa * 0x9e3779b97f4a7c15ull >> 40) % WINDOW_SITES;
}
/* What is known of the instruction at `gpa`; WINDOW_NONE: nothing. */
static inline enum window_part soft_window_part(const struct window *w, u64 gpa)
{
    return (enum window_part)(w->sites[soft_window_site(gpa)] & 3);
}

/* mmu.c forgets: all of the window's address space, if that has this PCID (~0: whichever); at least the 1 << bits around `lin`. */
void soft_window_forget(struct soft_cpu *c, u64 pcid);
void soft_window_forget_page(struct soft_cpu *c, u64 lin, u32 bits);
/* Pages are to be written to no more, unseen: all (`log`: those that may have been go to the dirty log), or one of the memfd. */
void soft_window_drop_writes(struct soft_cpu *c, bool log);
void soft_window_drop_write(struct soft_cpu *c, u64 page);

/* Signal handler: a trap of translated code of `c`; `at`: address of ours that it was for, 0: not said. */
void soft_window_trap(struct soft_cpu *c, u64 at);
