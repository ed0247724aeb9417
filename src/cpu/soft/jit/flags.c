/*
 * cpu/soft/jit/flags.c: the guest's arithmetic flags between the host's and soft_cpu.fl.
 */
#include "cpu/soft/jit/translate.h"

void jit_flags_spill(struct jit_tr *t)
{
    struct jit_asm *a = &t->a;

    if (t->flags & FLAGS_IN_CPU)
        return;
    asm_mov(a, T1, RAX);
    asm_bytes(a, 4, 0xc0900f9f); /* LAHF; SETO AL */
    asm_rm(a, false, OP_MOV_TO, RAX, CTX, CTX_AT(fl));
    asm_mov(a, RAX, T1);
    t->flags |= FLAGS_IN_CPU;
}

void jit_flags_load(struct jit_tr *t)
{
    struct jit_asm *a = &t->a;

    if (t->flags & FLAGS_IN_HOST)
        return;
    asm_mov(a, T1, RAX);
    asm_rm(a, false, OP_MOV, RAX, CTX, CTX_AT(fl));
    asm_bytes(a, 3, 0x9e7f04); /* ADD AL, 0x7f: OF; SAHF: the others */
    asm_mov(a, RAX, T1);
    t->flags |= FLAGS_IN_HOST;
}

void jit_carry_load(struct jit_tr *t)
{
    if (t->flags & FLAGS_IN_HOST)
        return;
    asm_rm(&t->a, false, 0x0fba, 4, CTX, CTX_AT(fl)); /* BT */
    asm_byte(&t->a, __builtin_ctz(FL_CF));
}

void jit_flags_lose(struct jit_tr *t)
{
    jit_flags_spill(t);
    t->flags = FLAGS_IN_CPU;
}
