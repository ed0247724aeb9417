/*
 * cpu/soft/jit/system.c: what a kernel runs most of the instructions that are its own: IF, AC and DF, SWAPGS, PUSHF.
 * Rights are looked at here, as CPL 1 and 2 have no mode of their own; without them, the handler raises.
 */
#include "cpu/soft/jit/translate.h"
#include "cpu/soft/msr.h"
#include "cpu/soft/soft_mem.h"

static void need_cpl0(struct jit_tr *t)
{
    jit_flags_lose(t);
    asm_rm(&t->a, false, 0x80, EXT_CMP, CTX, CTX_AT(cpl));
    asm_byte(&t->a, 0);
    jit_slow_if(t, CC_NZ);
}

static void clear(struct jit_tr *t, u32 flag)
{
    asm_mi(&t->a, false, EXT_AND, CTX, CTX_AT(eflags), (s32)~flag);
}

static bool cli(struct jit_tr *t)
{
    need_cpl0(t);
    clear(t, RF_IF);
    return true;
}

static bool cld(struct jit_tr *t)
{
    jit_flags_lose(t);
    clear(t, RF_DF);
    return true;
}

/*
 * Interrupts wait one instruction: nobody looks for them before the next block, and the next instruction is in this one.
 * Where one waits already the handler does all.
 */
static bool sti(struct jit_tr *t)
{
    struct jit_asm *a = &t->a;

    if (t->i + 1u >= t->b->n)
        return false;
    need_cpl0(t);
    asm_rm(a, false, OP_MOV, T0, CTX, CTX_AT(irq_wait));
    asm_rm(a, false, OP_OR, T0, CTX, CTX_AT(request));
    jit_slow_if(t, CC_NZ);
    asm_mi(a, false, EXT_OR, CTX, CTX_AT(eflags), RF_IF);
    return true;
}

static bool swapgs(struct jit_tr *t)
{
    struct jit_asm *a = &t->a;
    s32 at = offsetof(struct soft_msrs, kernel_gs_base);

    need_cpl0(t);
    asm_rm(a, true, OP_MOV, T2, CTX, CTX_AT(msrs));
    asm_rm(a, true, OP_MOV, T0, T2, at);
    asm_rm(a, true, OP_MOV, T1, CTX, CTX_AT(seg[SEG_GS].base));
    asm_rm(a, true, OP_MOV_TO, T1, T2, at);
    asm_rm(a, true, OP_MOV_TO, T0, CTX, CTX_AT(seg[SEG_GS].base));
    return true;
}

/*
 * EFLAGS.AC, by which a kernel says that SMAP does not apply: another TLB of the set, which is the handler's where it was never used, where
 * each access is looked at, or without SMAP.  What user pages it had in soft_cpu.recent are forgotten with the right to them.
 */
static void alternate(struct jit_tr *t, enum soft_mmu mode)
{
    struct jit_asm *a = &t->a;

    need_cpl0(t);
    asm_rm(a, true, OP_MOV, T0, CTX, CTX_AT(tlb));
    asm_rm(a, true, OP_CMP, T0, CTX, CTX_AT(tlb_fetch));
    jit_slow_if(t, CC_NZ);
    asm_rm(a, false, OP_MOV, T0, CTX, CTX_AT(cr4));
    asm_ri(a, false, EXT_AND, T0, CR4_SMAP);
    jit_slow_if(t, CC_Z);
    asm_rm(a, true, OP_MOV, T2, CTX, CTX_AT(set));
    asm_rm(a, false, 0x80, EXT_CMP, T2, (s32)(offsetof(struct tlb_set, made) + mode));
    asm_byte(a, 0);
    jit_slow_if(t, CC_Z);
    asm_rm(a, true, OP_LEA, T2, T2, (s32)offsetof(struct tlb_set, e[mode]));
    asm_rm(a, true, OP_MOV_TO, T2, CTX, CTX_AT(tlb));
    asm_rm(a, true, OP_MOV_TO, T2, CTX, CTX_AT(tlb_fetch));
    asm_rm(a, true, OP_MOV_TO, T2, CTX, CTX_AT(recent_of[0]));
}

static bool stac(struct jit_tr *t)
{
    alternate(t, MMU_KERNEL_AC);
    asm_mi(&t->a, false, EXT_OR, CTX, CTX_AT(eflags), RF_AC);
    return true;
}

static bool clac(struct jit_tr *t)
{
    alternate(t, MMU_KERNEL);
    clear(t, RF_AC);
    asm_mi(&t->a, true, EXT_OR, CTX, CTX_AT(recent[RECENT_KERNEL].tag_r), -1);
    asm_mi(&t->a, true, EXT_OR, CTX, CTX_AT(recent[RECENT_KERNEL].tag_w), -1);
    return true;
}

/* RF and VM are clear where code is translated. */
static bool pushf(struct jit_tr *t)
{
    struct jit_asm *a = &t->a;

    if (t->in.operand_width != t->word * 8)
        return false;
    jit_flags_lose(t);
    struct asm_mem m = jit_stack_at(t, -(s32)t->word, ACC_WRITE);

    asm_rm(a, false, OP_MOV, T1, CTX, CTX_AT(fl));
    asm_rr(a, false, OP_MOV, T2, T1);
    asm_shift(a, false, EXT_SHR, T1, 8);
    asm_ri(a, false, EXT_AND, T1, RF_ARITH & 0xff);
    asm_ri(a, false, EXT_AND, T2, FL_OF);
    asm_shift(a, false, EXT_SHL, T2, 11);
    asm_rr(a, false, OP_OR, T1, T2);
    asm_rm(a, false, OP_OR, T1, CTX, CTX_AT(eflags));
    jit_access(t, t->code64, OP_MOV_TO, T1, m, t->stack);
    jit_move_sp(t, -(s32)t->word);
    return true;
}

bool jit_system(struct jit_tr *t)
{
    static const struct {
        ZydisMnemonic mnemonic;
        bool (*write)(struct jit_tr *t);
    } rows[] = {
        { ZYDIS_MNEMONIC_CLI, cli },      { ZYDIS_MNEMONIC_STI, sti },
        { ZYDIS_MNEMONIC_CLD, cld },      { ZYDIS_MNEMONIC_SWAPGS, swapgs },
        { ZYDIS_MNEMONIC_PUSHFD, pushf }, { ZYDIS_MNEMONIC_PUSHFQ, pushf },
        { ZYDIS_MNEMONIC_STAC, stac },    { ZYDIS_MNEMONIC_CLAC, clac },
    };

    for_each_row(r, rows)
        if (r->mnemonic == t->in.mnemonic)
            return r->write(t);
    return false;
}
