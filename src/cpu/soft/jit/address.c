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

/* --- the user window --- */

/* Host register `h` is below the end of `part`, or the instruction is left to its handler. */
static void compare_end(struct jit_tr *t, u32 h, enum window_part part)
{
    struct jit_cold *k = &t->cold[t->i];
    bool low = part == WINDOW_LOW;

    jit_flags_lose(t);
    asm_rm(&t->a, true, OP_CMP, h, CTX, low ? CTX_AT(window_low_end) : CTX_AT(window_end));
    must(k->n_outside < COLD_FROM_MAX);
    k->outside[k->n_outside++] = asm_jcc(&t->a, CC_AE);
    k->outside_low |= low;
}

/* The same for a whole address in T0, which is that of the host afterwards. */
static void settle_t0(struct jit_tr *t, enum window_part part)
{
    compare_end(t, T0, part);
    if (part == WINDOW_LOW)
        asm_rm(&t->a, true, OP_ADD, T0, CTX, CTX_AT(window_low_delta));
}

struct asm_mem jit_trusted(struct jit_tr *t, u32 g, u32 reg, s32 disp, enum window_part part)
{
    /* Who is below the end of the low part is below the other, too. */
    if (!t->trust[g].known || (t->trust[g].known == WINDOW_HIGH && part == WINDOW_LOW)) {
        compare_end(t, reg, part);
        t->trust[g] = (struct jit_trust){ .known = part };
        t->cold[t->i].trusts = true;
    }
    if (part == WINDOW_HIGH)
        return (struct asm_mem){ (u8)reg, NO_REG, 0, disp };
    if (reg != T0) {
        asm_rm(&t->a, true, OP_MOV, T0, CTX, CTX_AT(window_low_delta));
        return (struct asm_mem){ (u8)reg, T0, 0, disp };
    }
    asm_rm(&t->a, true, OP_MOV, T1, CTX, CTX_AT(window_low_delta));
    asm_rmx(&t->a, true, OP_LEA, T0, (struct asm_mem){ T0, T1, 0, 0 });
    return (struct asm_mem){ T0, NO_REG, 0, disp };
}

static enum window_part part_of(u64 address)
{
    return address < WINDOW_LOW_SIZE ? WINDOW_LOW : WINDOW_HIGH;
}

/* By what its registers held when the block was about to run, which is a guess: the first access that is elsewhere says so. */
static enum window_part guess(const struct jit_tr *t)
{
    const struct soft_cpu *c = t->c;
    const struct uop *op = t->op;
    u64 at = op->base == REG_ZERO && op->disp ? (u64)op->disp : 0;

    if (op->base < REG_ZERO && t->trust[op->base / 8].known)
        return t->trust[op->base / 8].known;
    if (op->base == REG_RIP || op->base == REG_RIP_FAR)
        return part_of(c->rip);
    if (op->seg < SEG_FLAT)
        return part_of(c->seg[op->seg].base);
    if (op->base < REG_ZERO)
        at = c->reg[op->base / 8];
    else if (op->index < REG_ZERO && !at)
        at = c->reg[op->index / 8];
    return part_of(at < GUEST_PAGE ? c->rip : at); /* no pointer */
}

void jit_choose_parts(struct jit_tr *t)
{
    enum window_part known;

    t->operand = t->stack = WINDOW_NONE;
    if (!(t->b->key & KEY_WINDOW))
        return;
    known = soft_window_part(t->c->window, t->b->gpa + t->op->off);
    if (known == WINDOW_AVOIDED)
        return;
    t->stack = part_of(t->c->reg[GPR_RSP]);
    t->operand = known ? known : guess(t);
}

/* Does t->in add a constant to the whole of host register jit_host[g]? */
static bool moves_by(const struct jit_tr *t, u32 g, s64 *ret_by)
{
    const ZydisDecodedOperand *o = t->opnd;
    bool stack = g == GPR_RSP;

    switch (t->in.mnemonic) {
    case ZYDIS_MNEMONIC_PUSH:
    case ZYDIS_MNEMONIC_PUSHFQ:
        *ret_by = -(s64)t->word;
        return stack;
    case ZYDIS_MNEMONIC_POP:
        *ret_by = t->word;
        return stack && jit_guest_of(o[0].reg.value) != GPR_RSP;
    case ZYDIS_MNEMONIC_INC:
    case ZYDIS_MNEMONIC_DEC:
        *ret_by = t->in.mnemonic == ZYDIS_MNEMONIC_INC ? 1 : -1;
        return t->in.operand_width == 64;
    case ZYDIS_MNEMONIC_ADD:
    case ZYDIS_MNEMONIC_SUB:
        *ret_by = t->in.mnemonic == ZYDIS_MNEMONIC_ADD ? o[1].imm.value.s : -o[1].imm.value.s;
        return t->in.operand_width == 64 && o[1].type == ZYDIS_OPERAND_TYPE_IMMEDIATE;
    case ZYDIS_MNEMONIC_LEA:
        *ret_by = t->op->disp;
        return t->in.operand_width == 64 && t->op->asize == SIZE_64 && t->op->base == g * 8 &&
               t->op->index == REG_ZERO;
    default:
        return false;
    }
}

void jit_trust_settle(struct jit_tr *t)
{
    for (u32 i = 0; i < t->in.operand_count; i++) {
        const ZydisDecodedOperand *o = &t->opnd[i];
        ZydisRegisterClass class = ZYDIS_REGCLASS_INVALID;
        struct jit_trust *k;
        s64 by = 0;
        u32 g;

        if (o->type == ZYDIS_OPERAND_TYPE_REGISTER && o->actions & ZYDIS_OPERAND_ACTION_MASK_WRITE)
            class = ZydisRegisterGetClass(o->reg.value);
        if (class < ZYDIS_REGCLASS_GPR8 || class > ZYDIS_REGCLASS_GPR64)
            continue;
        g = jit_guest_of(o->reg.value);
        k = &t->trust[g];
        if (!k->known || jit_host[g] == NO_REG || !moves_by(t, g, &by))
            k->known = WINDOW_NONE;
        else if (k->moved + by > -TRUST_MOVED_MAX && k->moved + by < TRUST_MOVED_MAX)
            k->moved += (s32)by;
        else
            k->known = WINDOW_NONE;
    }
}

void jit_touch(struct jit_tr *t, enum window_part part)
{
    if (part == WINDOW_NONE)
        return;
    jit_may_trap(t);
    if (part == WINDOW_HIGH)
        asm_byte(&t->a, PREFIX_GS);
}

void jit_access(struct jit_tr *t, bool wide, u32 op, u32 reg, struct asm_mem m,
                enum window_part part)
{
    jit_touch(t, part);
    asm_rmx(&t->a, wide, op, reg, m);
}

/* A register and a displacement stay what they are; all else is one address in T0. */
static bool window_operand(struct jit_tr *t, struct asm_mem *ret)
{
    const struct uop *op = t->op;
    bool plain = op->asize == SIZE_64 && op->seg >= SEG_FLAT && op->index == REG_ZERO;

    if (plain && op->base < REG_ZERO) {
        *ret = jit_trusted(t, op->base / 8u, jit_reg_for(t, op->base, T0), op->disp, t->operand);
        return true;
    }
    jit_flags_lose(t);
    if (!jit_linear(t))
        return false;
    settle_t0(t, t->operand);
    *ret = (struct asm_mem){ T0, NO_REG, 0, 0 };
    return true;
}

/* --- both --- */

void jit_check(struct jit_tr *t, u32 size, u32 access, u32 recent, enum window_part part)
{
    if (part) {
        settle_t0(t, part);
        return;
    }
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

bool jit_operand(struct jit_tr *t, u32 size, u32 access, struct asm_mem *ret)
{
    if (t->operand)
        return window_operand(t, ret);
    jit_flags_lose(t);
    if (!jit_linear(t))
        return false;
    jit_check(t, size, access, recent_of(t), WINDOW_NONE);
    *ret = (struct asm_mem){ T0, NO_REG, 0, 0 };
    return true;
}
