/*
 * cpu/soft/stub.h: instructions that the host's own CPU executes on the guest's state, each by a small generated function.
 * stub.c decides which instructions those are and keeps the functions, stub_emit.c writes them, stub_run.c calls
 * them, stub_trap.c catches their traps.
 *
 *   (1) A stub holds one guest instruction.  Its memory operand, if any, is [register] with an address that the handler
 *       took from the software TLB; it reads and writes nothing else but struct soft_cpu.
 *   (2) Nothing of soft_cpu is stored before the guest's instruction has completed.
 *   (3) MXCSR and the x87 state are the thread's own registers (fpu.h).  The host's RSP is never changed for the guest.
 *   (4) Code is written through one mapping and run through another; no page is ever both.
 */
#pragma once

#include "cpu/soft/area.h"
#include "cpu/soft/insn.h"
#include "cpu/soft/soft_mem.h"

enum {
    STUB_KEY_MAX = 24,   /* longest normalised instruction, and one byte */
    STUB_CODE_MAX = 512, /* longest stub */
    STUB_MAX = 8192,     /* stubs of a vCPU */
    STUB_AREA = 2 << 20, /* bytes of code of a vCPU */
    STUB_RESERVE = BLOCK_UOPS_MAX,
};

/* What an instruction needs before it may run: columns of the handlers. */
enum stub_kind {
    STUB_INT,     /* nothing */
    STUB_VEX,     /* protected mode */
    STUB_X87,     /* CR0.EM, CR0.TS clear */
    STUB_MMX,     /* as X87, but #UD for EM */
    STUB_SSE,     /* CR4.OSFXSR too */
    STUB_SSE_MMX, /* both */
    STUB_AVX,     /* XCR0 */
    STUB_KINDS,
};

/* What an instruction reads and writes beside memory: one bit a register, by number. */
struct stub_use {
    u32 gpr, gpr_out, vec, vec_in, vec_out;
    bool flags_in, flags_out, vex, sp;
};

struct stub {
    u32 (*run)(struct soft_cpu *c, void *mem); /* 0, or the exception's vector */
    struct stub *next;                         /* of the same hash */
    u32 at, fault_at,
        pad_at; /* offsets in the area: start, the guest's instruction, where a fault goes on */
    u8 key[STUB_KEY_MAX];
    u8 key_len;
    u8 kind;         /* enum stub_kind */
    u8 size, access; /* of the memory operand: bytes, ACC_*; size 0: none */
    u8 align;        /* address bits that are to be 0, else #GP */
    bool align_mm;   /* … unless MXCSR.MM */
};

/* Registers of a stub's own, chosen so that the guest's instruction uses none of them. */
struct stub_regs {
    u8 ctx; /* struct soft_cpu */
    u8 mem; /* address of the memory operand */
    u8 sp;  /* stands for the guest's RSP */
};

/* A normalised instruction: the same operation for 64-bit mode, its memory operand [regs.mem]. */
struct stub_insn {
    u8 bytes[STUB_KEY_MAX];
    u8 n;
};

struct stub_cache {
    struct code_area area;
    u32 used;
    u32 n;
    struct stub *stubs;
    struct stub *hash[1 << 12];
    ZydisDecoder decoder; /* 64-bit: judges what was re-encoded */
};

/* stub.c.  Once a vCPU, before its process is locked: maps the code area. */
int soft_stubs_open(struct soft_cpu *c, struct err *e);
void soft_stubs_close(struct soft_cpu *c);
/* True: no room for another block's stubs.  Forget all blocks, then soft_stubs_reset. */
bool soft_stubs_full(const struct soft_cpu *c);
void soft_stubs_reset(struct soft_cpu *c);

/* stub_emit.c.  False: cannot be expressed. */
bool stub_encode(const struct stub_cache *sc, const struct emit *m, const struct stub_regs *regs,
                 struct stub_insn *ret);
/* Writes the stub's code to `out` (STUB_CODE_MAX bytes that will run at `base` + s->at) and sets its offsets; returns its length. */
u32 stub_emit(struct stub *s, const struct stub_use *use, const struct stub_regs *regs,
              const struct stub_insn *in, u8 *out);

/* stub_run.c */
uop_fn stub_handler(enum stub_kind kind, bool mem);
/* The kind that `fn` is a handler of.  False: it is none of them. */
bool stub_kind_of(uop_fn fn, enum stub_kind *ret);
/* Raises #UD or #NM unless instructions of this kind may run now. */
void soft_need(struct soft_cpu *c, const struct uop *op, enum stub_kind kind);
