/*
 * cpu/soft/jit/address.c: guest memory in translated code: linear address, and the software TLB's answer.  The rules are those of
 * soft_mem.h; what the TLB does not answer goes to the instruction's handler.
 */
#include "cpu/soft/jit/translate.h"
#include "cpu/soft/soft_mem.h"

u32 jit_reg_for(struct jit_tr *t, u32 at, u32 temp)
{
    u32 h;

    if (at == REG_ZERO)
        return NO_REG;
    h = jit_host[at / 8];
    if (h != NO_REG)
        return h;
    asm_rm(&t->a, true, OP_MOV, temp, CTX, jit_reg_at(at / 8));
    return temp;
}

bool jit_rip_off(const struct jit_tr *t, s32 *ret)
{
    const struct uop *op = t->op;
    s64 off = (s64)(t->b->gpa % GUEST_PAGE) + op->disp + (op->base == REG_RIP_FAR ? (s64)GiB : 0);

    if (off != (s32)off || op->index != REG_ZERO || op->asize != SIZE_64)
        return false;
    *ret = (s32)off;
    return true;
}

static bool linear_rip(struct jit_tr *t)
{
    s32 off;

    if (!jit_rip_off(t, &off))
        return false;
    asm_rm(&t->a, true, OP_MOV, T0, CTX, CTX_AT(page_rip));
    asm_rm(&t->a, true, OP_LEA, T0, T0, off);
    return true;
}

bool jit_linear(struct jit_tr *t)
{
    const struct uop *op = t->op;

    bool based = op->seg == SEG_FS || op->seg == SEG_GS;

    if (op->asize == SIZE_16 || (op->seg < SEG_FLAT && !(based && t->code64)))
        return false;
    if (op->base == REG_RIP || op->base == REG_RIP_FAR) {
        if (!linear_rip(t))
            return false;
    } else {
        struct asm_mem m = { .scale = op->scale, .disp = op->disp };

        m.base = (u8)jit_reg_for(t, op->base, T1);
        m.index = (u8)jit_reg_for(t, op->index, T2);
        asm_rmx(&t->a, op->asize == SIZE_64, OP_LEA, T0, m);
    }
    if (op->seg < SEG_FLAT)
        asm_rm(&t->a, true, OP_ADD, T0, CTX,
               op->seg == SEG_FS ? CTX_AT(seg[SEG_FS].base) : CTX_AT(seg[SEG_GS].base));
    return true;
}

static s32 tag_of(u32 access)
{
    return access & ACC_WRITE ? (s32)offsetof(struct tlb_entry, tag_w)
                              : (s32)offsetof(struct tlb_entry, tag_r);
}

u32 jit_look_up(struct jit_tr *t, u32 size, u32 access)
{
    struct jit_asm *a = &t->a;
    s32 tag = tag_of(access);

    asm_mov(a, T1, T0);
    asm_shift(a, true, EXT_SHR, T1, 7); /* 12 for the page, back 5 for the size of an entry */
    asm_ri(a, false, EXT_AND, T1, (SOFT_TLB_SIZE - 1) * (s32)sizeof(struct tlb_entry));
    asm_rm(a, true, OP_ADD, T1, CTX, CTX_AT(tlb));
    asm_rm(a, true, OP_LEA, T2, T0, (s32)size - 1);
    asm_ri(a, true, EXT_AND, T2, -(s32)GUEST_PAGE);
    asm_rm(a, true, OP_CMP, T2, T1, tag);
    must(t->flags == FLAGS_IN_CPU);
    return asm_jcc(a, CC_NZ);
}

void jit_check(struct jit_tr *t, u32 size, u32 access)
{
    jit_second_if(t, jit_look_up(t, size, access), tag_of(access), T2);
    asm_rm(&t->a, true, OP_ADD, T0, T1, offsetof(struct tlb_entry, addend));
}

bool jit_memory(struct jit_tr *t, u32 size, u32 access)
{
    if (!jit_linear(t))
        return false;
    jit_check(t, size, access);
    return true;
}
