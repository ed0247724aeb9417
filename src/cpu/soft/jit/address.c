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

u32 jit_look_up(struct jit_tr *t, u32 size, u32 access)
{
    struct jit_asm *a = &t->a;
    s32 tag = jit_tag_of(access);

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

/* Accesses that are not aligned may leave the page; they are looked up each time. */
static bool check_recent(struct jit_tr *t, u32 size, u32 access, u32 recent)
{
    struct jit_asm *a = &t->a;
    s32 at;

    if (!(t->b->key & KEY_USER)) /* a kernel's registers point to too much */
        recent = recent == RECENT_STACK ? RECENT_KERNEL : RECENT_NONE;
    if (recent == RECENT_NONE || size > 8 || size & (size - 1))
        return false;
    at = CTX_AT(recent) + (s32)(recent * (u32)sizeof(struct tlb_entry));
    asm_mov(a, T2, T0);
    asm_ri(a, true, EXT_AND, T2, -(s32)GUEST_PAGE | (s32)(size - 1));
    asm_rm(a, true, OP_CMP, T2, CTX, at + jit_tag_of(access));
    must(t->flags == FLAGS_IN_CPU);
    jit_recent_if(t, asm_jcc(a, CC_NZ), at, size, access);
    asm_rm(a, true, OP_ADD, T0, CTX, at + (s32)offsetof(struct tlb_entry, addend));
    return true;
}

void jit_check(struct jit_tr *t, u32 size, u32 access, u32 recent)
{
    if (check_recent(t, size, access, recent))
        return;
    jit_second_if(t, jit_look_up(t, size, access), jit_tag_of(access), T2);
    asm_rm(&t->a, true, OP_ADD, T0, T1, offsetof(struct tlb_entry, addend));
}

/*
 * What else is near the operand of t->op: what the same register has pointed to in code near by.  Other functions have other things in
 * it, and each instruction by itself would have to find its page by itself.
 */
static u32 recent_of(const struct jit_tr *t)
{
    const struct uop *op = t->op;
    bool based = op->seg < SEG_FLAT;
    u32 region = (u32)(t->b->gpa / 256), base = based ? GPR_COUNT : op->base / 8u;

    if (op->index != REG_ZERO)
        return RECENT_NONE;
    if (base == GPR_RSP)
        return RECENT_STACK;
    return RECENT_STACK + 1 +
           ((region * 32 + base) * 0x9e3779b9u >> 16) % (RECENT_COUNT - RECENT_STACK - 1);
}

bool jit_memory(struct jit_tr *t, u32 size, u32 access)
{
    if (!jit_linear(t))
        return false;
    jit_check(t, size, access, recent_of(t));
    return true;
}
