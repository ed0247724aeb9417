/*
 * cpu/soft/jit/flow.c: near jumps, calls and returns, and what moves the stack pointer with an access.
 */
#include "cpu/soft/jit/translate.h"
#include "cpu/soft/soft_mem.h"

/* Offset of the block in its page, and of a place that counts from the block. */
static s64 page_off(const struct jit_tr *t, s64 from_block)
{
    return (s64)(t->b->gpa % GUEST_PAGE) + from_block;
}

s32 jit_next_off(const struct jit_tr *t)
{
    return (s32)page_off(t, t->op->off + t->op->len);
}

static bool in_page(s64 off)
{
    return off >= 0 && off < (s64)GUEST_PAGE;
}

/* --- edges --- */

/* An edge inside the page: a jump that is aimed at the successor's code once there is one. */
static void near_edge(struct jit_tr *t, u32 i, u32 at, s64 off)
{
    struct jit_edge *g = &t->jb->edge[i];

    *g = (struct jit_edge){ .at = at, .stub = (u32)off }; /* the stub comes with the cold code */
}

/* T0 = RIP of the page at `off`; T1 = its entry of the TLB, unless the jump that is returned is taken. */
static u32 look_up_page(struct jit_tr *t, s64 off)
{
    struct jit_asm *a = &t->a;

    asm_rm(a, true, OP_MOV, T0, CTX, CTX_AT(page_rip));
    asm_ri(a, t->code64, EXT_ADD, T0, (s32)(off & (s64)GUEST_PAGE_MASK));
    asm_mov(a, T1, T0);
    asm_shift(a, true, EXT_SHR, T1, 7);
    asm_ri(a, false, EXT_AND, T1, (SOFT_TLB_SIZE - 1) * (s32)sizeof(struct tlb_entry));
    asm_rm(a, true, OP_ADD, T1, CTX, CTX_AT(tlb_fetch));
    asm_rm(a, true, OP_CMP, T0, T1, offsetof(struct tlb_entry, tag_x));
    return asm_jcc(a, CC_NZ);
}

/* Z: the page at T0, of entry T1, is at the host address of the literal, whose place is returned. */
static u32 compare_page(struct jit_tr *t, u64 host)
{
    struct jit_asm *a = &t->a;
    u32 literal;

    asm_rm(a, true, OP_MOV, T1, T1, offsetof(struct tlb_entry, addend));
    asm_rr(a, true, OP_ADD, T1, T0);
    asm_mov_imm(a, T2, ~0ull);
    literal = a->at - 8;
    memcpy(a->area + literal, &host, 8);
    asm_rr(a, true, OP_CMP, T1, T2);
    return literal;
}

struct jit_crossing jit_crossing(struct jit_tr *t)
{
    struct jit_crossing k = { .second = look_up_page(t, GUEST_PAGE), .back = t->a.at };

    compare_page(t, (uintptr_t)soft_ram(t->c->vm, t->b->gpa2, 1, NULL));
    k.wrong = asm_jcc(&t->a, CC_NZ);
    return k;
}

void jit_crossing_cold(struct jit_tr *t, struct jit_crossing *k)
{
    struct jit_asm *a = &t->a;

    asm_aim(a, k->second, a->at);
    asm_ri(a, true, EXT_XOR, T1, SOFT_TLB_OTHER * (s32)sizeof(struct tlb_entry));
    asm_rm(a, true, OP_CMP, T0, T1, offsetof(struct tlb_entry, tag_x));
    asm_aim(a, asm_jcc(a, CC_Z), k->back);
    k->none = asm_jmp(a);
}

/*
 * An edge to another page: T0 = that page's RIP; its mapping has to be the one that the successor was found by.  Otherwise the
 * instruction is begun anew by its handler.
 */
static void far_check(struct jit_tr *t, u32 i, s64 off)
{
    jit_second_if(t, look_up_page(t, off), offsetof(struct tlb_entry, tag_x), T0);
    t->jb->edge[i].host = compare_page(t, 0);
    jit_slow_if(t, CC_NZ);
}

static void far_edge(struct jit_tr *t, u32 i, u32 at)
{
    t->jb->edge[i].at = at;
    t->jb->edge[i].stub = 0;
    asm_aim(&t->a, at, t->a.at); /* never taken before it is linked */
}

static bool fits(s64 off)
{
    return off == (s32)off && off > INT32_MIN / 2 && off < INT32_MAX / 2;
}

static void edge(struct jit_tr *t, u32 i, s64 off)
{
    if (in_page(off)) {
        near_edge(t, i, asm_jmp(&t->a), off);
        return;
    }
    jit_flags_lose(t);
    far_check(t, i, off);
    asm_rm(&t->a, true, OP_MOV_TO, T0, CTX, CTX_AT(page_rip));
    far_edge(t, i, asm_jmp(&t->a));
}

void jit_fall(struct jit_tr *t)
{
    t->i = t->b->n;
    t->op = &t->b->ops[t->b->n];
    jit_flags_spill(t);
    edge(t, 0, page_off(t, t->op->off));
}

/* In the middle of the block, which goes on where it is not taken. */
static void jcc_passing(struct jit_tr *t)
{
    struct jit_cold *k = &t->cold[t->i];

    jit_flags_load(t);
    k->side = asm_jcc(&t->a, t->in.opcode & 15);
    k->side_spills = !(t->flags & FLAGS_IN_CPU);
}

static bool jcc(struct jit_tr *t, bool *ret_end)
{
    s64 target = page_off(t, (s64)t->op->imm), next = page_off(t, t->op->off + t->op->len);
    u32 cc = t->in.opcode & 15, taken;

    if (t->op->src != (t->code64 ? SIZE_64 : SIZE_32) || !fits(target))
        return false;
    *ret_end = t->op->dst == 0;
    if (t->op->dst) {
        jcc_passing(t);
        return true;
    }
    jit_flags_load(t);
    jit_flags_spill(t);
    taken = asm_jcc(&t->a, cc);
    if (in_page(target)) {
        near_edge(t, 1, taken, target);
        t->fall_at = t->a.at;
        edge(t, 0, next);
        return true;
    }
    edge(t, 0, next);
    asm_aim(&t->a, taken, t->a.at);
    edge(t, 1, target);
    return true;
}

static bool jmp(struct jit_tr *t)
{
    s64 target = page_off(t, (s64)t->op->imm);

    if (t->op->src != (t->code64 ? SIZE_64 : SIZE_32) || !fits(target))
        return false;
    jit_flags_spill(t);
    edge(t, 1, target);
    return true;
}

/* --- the stack --- */

static const struct asm_mem at_t0 = { T0, NO_REG, 0, 0 };

struct asm_mem jit_stack_at(struct jit_tr *t, s32 disp, u32 access)
{
    if (t->stack)
        return jit_trusted(t, GPR_RSP, GUEST_SP, disp, t->stack);
    jit_flags_lose(t);
    asm_rm(&t->a, t->code64, OP_LEA, T0, GUEST_SP, disp);
    jit_check(t, t->word, access, RECENT_STACK, WINDOW_NONE);
    return at_t0;
}

void jit_move_sp(struct jit_tr *t, s32 by)
{
    asm_rm(&t->a, t->code64, OP_LEA, GUEST_SP, GUEST_SP, by);
}

/* The address of the next instruction to `m`, with T2. */
static void push_next(struct jit_tr *t, struct asm_mem m)
{
    asm_rm(&t->a, true, OP_MOV, T2, CTX, CTX_AT(page_rip));
    asm_rm(&t->a, true, OP_LEA, T2, T2, jit_next_off(t));
    jit_access(t, t->code64, OP_MOV_TO, T2, m, t->stack);
    jit_move_sp(t, -(s32)t->word);
}

/*
 * Calls and returns in pairs.  A call of the guest's is one of the host's, which leaves on the thread's stack where it goes on: a landing,
 * with the jump to the block that follows.  Beside that is the guest's RIP there.  A return that finds its RIP on top is one of the host's.
 *   (1) All calls there were made since translated code was entered: nothing was mapped otherwise meanwhile, no mode was changed, no code
 *       area was emptied.  What does such things ends a block by its handler, and all ways out, and to other blocks through C, forget them.
 *   (2) A landing may be that of a block that was dropped: it leads out then.
 *   (3) At the end of the page no landing could trust the mapping of the next one; such a call is a jump.
 */
static bool has_landing(const struct jit_tr *t)
{
    return in_page(jit_next_off(t));
}

/* In front of a call.  T2 is what it pushes. */
static void begin_call(struct jit_tr *t)
{
    struct jit_cold *k = &t->cold[t->i];

    asm_rm(&t->a, true, OP_CMP, RSP, CTX, CTX_AT(calls_end));
    k->deep_from = asm_jcc(&t->a, CC_B);
    k->deep_back = t->a.at;
    asm_bytes(&t->a, 2, 0x5341); /* PUSH T2 */
}

/* Behind it: T0 is RIP, and that of this place. */
static void land(struct jit_tr *t)
{
    struct jit_asm *a = &t->a;

    asm_ri(a, true, EXT_AND, T0, -(s32)GUEST_PAGE);
    asm_rm(a, true, OP_MOV_TO, T0, CTX, CTX_AT(page_rip));
    near_edge(t, 0, asm_jmp(a), jit_next_off(t));
}

static bool call(struct jit_tr *t)
{
    s64 target = page_off(t, (s64)t->op->imm);

    if (t->op->src != (t->code64 ? SIZE_64 : SIZE_32) || !fits(target))
        return false;
    jit_flags_lose(t);
    if (in_page(target)) {
        push_next(t, jit_stack_at(t, -(s32)t->word, ACC_WRITE));
        if (!has_landing(t)) {
            edge(t, 1, target);
            return true;
        }
        begin_call(t);
        near_edge(t, 1, asm_call(&t->a), target);
        land(t);
        return true;
    }
    far_check(t, 1, target);
    asm_rm(&t->a, true, OP_MOV_TO, T0, CTX, CTX_AT(jit_temp[0]));
    push_next(t, jit_stack_at(t, -(s32)t->word, ACC_WRITE));
    asm_rm(&t->a, true, OP_MOV, T0, CTX, CTX_AT(jit_temp[0]));
    asm_rm(&t->a, true, OP_MOV_TO, T0, CTX, CTX_AT(page_rip));
    if (!has_landing(t)) {
        far_edge(t, 1, asm_jmp(&t->a));
        return true;
    }
    begin_call(t);
    far_edge(t, 1, asm_call(&t->a));
    land(t);
    return true;
}

/* --- indirect jumps --- */

/* T1 = entry of the block at RIP = T0, if that was found before; T2 is lost. */
static void lookup(struct jit_tr *t)
{
    struct jit_asm *a = &t->a;
    struct jit_cold *k = &t->cold[t->i];

    asm_mov(a, T1, T0);
    asm_shift(a, true, EXT_SHR, T1, SOFT_JUMP_BITS);
    asm_rr(a, true, OP_XOR, T1, T0);
    asm_ri(a, false, EXT_AND, T1, (1 << SOFT_JUMP_BITS) - 1);
    asm_shift(a, false, EXT_SHL, T1, 5);
    asm_rm(a, true, OP_ADD, T1, CTX, CTX_AT(jumps));
    asm_rm(a, true, OP_CMP, T0, T1, offsetof(struct jump_entry, lin));
    jit_slow_if(t, CC_NZ);
    asm_rm(a, true, OP_MOV, T2, CTX, CTX_AT(stamp));
    asm_rm(a, true, OP_CMP, T2, T1, offsetof(struct jump_entry, stamp));
    k->doubt_from = asm_jcc(a, CC_NZ);
    k->doubt_back = a->at;
}

/* To the block of entry T1, at RIP = T0: EXT_JMP or EXT_CALL. */
static void go_indirect(struct jit_tr *t, u32 ext)
{
    asm_ri(&t->a, true, EXT_AND, T0, -(s32)GUEST_PAGE);
    asm_rm(&t->a, true, OP_MOV_TO, T0, CTX, CTX_AT(page_rip));
    if (ext == EXT_CALL)
        begin_call(t);
    asm_rm(&t->a, false, 0xff, ext, T1, offsetof(struct jump_entry, code));
}

static bool ret(struct jit_tr *t)
{
    if (t->op->src != (t->code64 ? SIZE_64 : SIZE_32))
        return false;
    jit_flags_lose(t);
    jit_access(t, t->code64, OP_MOV, T0, jit_stack_at(t, 0, ACC_READ), t->stack);
    asm_rm(&t->a, true, OP_CMP, T0, RSP, 8);
    t->cold[t->i].unpaired = asm_jcc(&t->a, CC_NZ);
    jit_move_sp(t, (s32)(t->word + t->op->imm));
    asm_bytes(&t->a, 3, 0x08c2); /* RET 8: the guest's RIP goes, too */
    return true;
}

void jit_unpaired(struct jit_tr *t)
{
    asm_aim(&t->a, t->cold[t->i].unpaired, t->a.at);
    asm_rm(&t->a, true, OP_MOV, RSP, CTX, CTX_AT(calls));
    lookup(t);
    jit_move_sp(t, (s32)(t->word + t->op->imm));
    go_indirect(t, EXT_JMP);
}

/* T0 = where an indirect jump or call leads. */
static bool indirect_target(struct jit_tr *t)
{
    struct asm_mem m;

    jit_flags_lose(t);
    if (t->op->aux) {
        if (!jit_operand(t, t->word, ACC_READ, &m))
            return false;
        jit_access(t, t->code64, OP_MOV, T0, m, t->operand);
    } else if (jit_host[t->op->dst / 8] == NO_REG) {
        asm_rm(&t->a, true, OP_MOV, T0, CTX, jit_reg_at(t->op->dst / 8));
    } else {
        asm_rr(&t->a, t->code64, OP_MOV, T0, jit_host[t->op->dst / 8]);
    }
    return true;
}

static bool jmp_indirect(struct jit_tr *t)
{
    if (t->op->src != (t->code64 ? SIZE_64 : SIZE_32) || !indirect_target(t))
        return false;
    lookup(t);
    go_indirect(t, EXT_JMP);
    return true;
}

static bool call_indirect(struct jit_tr *t)
{
    struct jit_asm *a = &t->a;
    struct asm_mem m;

    if (t->op->src != (t->code64 ? SIZE_64 : SIZE_32) || !indirect_target(t))
        return false;
    asm_rm(a, true, OP_MOV_TO, T0, CTX, CTX_AT(jit_temp[0]));
    m = jit_stack_at(t, -(s32)t->word, ACC_WRITE);
    asm_rm(a, true, OP_MOV_TO, T0, CTX, CTX_AT(jit_temp[1]));
    asm_rm(a, true, OP_MOV, T0, CTX, CTX_AT(jit_temp[0]));
    lookup(t);
    asm_rm(a, true, OP_MOV, T0, CTX, CTX_AT(jit_temp[1]));
    push_next(t, m);
    asm_rm(a, true, OP_MOV, T0, T1, offsetof(struct jump_entry, lin));
    if (!has_landing(t)) {
        go_indirect(t, EXT_JMP);
        return true;
    }
    go_indirect(t, EXT_CALL);
    land(t);
    return true;
}

/* --- pushing and popping --- */

/* Puts T2, or an immediate, or a register, where RSP is to be. */
static bool push_memory(struct jit_tr *t)
{
    struct jit_asm *a = &t->a;
    struct asm_mem m;

    if (!jit_operand(t, t->word, ACC_READ, &m))
        return false;
    jit_access(t, t->code64, OP_MOV, T0, m, t->operand);
    asm_rm(a, true, OP_MOV_TO, T0, CTX, CTX_AT(jit_temp[0]));
    m = jit_stack_at(t, -(s32)t->word, ACC_WRITE);
    asm_rm(a, true, OP_MOV, T2, CTX, CTX_AT(jit_temp[0]));
    jit_access(t, t->code64, OP_MOV_TO, T2, m, t->stack);
    return true;
}

static bool is_word_register(const struct jit_tr *t, const ZydisDecodedOperand *o)
{
    return o->type == ZYDIS_OPERAND_TYPE_REGISTER &&
           ZydisRegisterGetClass(o->reg.value) ==
               (t->code64 ? ZYDIS_REGCLASS_GPR64 : ZYDIS_REGCLASS_GPR32);
}

static bool push(struct jit_tr *t)
{
    struct jit_asm *a = &t->a;
    const ZydisDecodedOperand *o = &t->opnd[0];
    u32 h = jit_host[t->op->src / 8 % GPR_COUNT];
    struct asm_mem m;

    if (t->in.operand_width != t->word * 8)
        return false;
    if (o->type == ZYDIS_OPERAND_TYPE_MEMORY) {
        if (!push_memory(t))
            return false;
    } else if (o->type == ZYDIS_OPERAND_TYPE_IMMEDIATE) {
        m = jit_stack_at(t, -(s32)t->word, ACC_WRITE);
        jit_access(t, t->code64, OP_MOV_IMM, 0, m, t->stack);
        asm_bytes(a, 4, (u32)t->op->imm);
    } else if (is_word_register(t, o)) {
        m = jit_stack_at(t, -(s32)t->word, ACC_WRITE);
        if (h == NO_REG)
            asm_rm(a, true, OP_MOV, T2, CTX, jit_reg_at(t->op->src / 8));
        jit_access(t, t->code64, OP_MOV_TO, h == NO_REG ? T2 : h, m, t->stack);
    } else {
        return false;
    }
    jit_move_sp(t, -(s32)t->word);
    return true;
}

static bool pop(struct jit_tr *t)
{
    struct jit_asm *a = &t->a;
    u32 h = jit_host[t->op->dst / 8 % GPR_COUNT];

    if (t->in.operand_width != t->word * 8 || !is_word_register(t, &t->opnd[0]))
        return false;
    jit_access(t, t->code64, OP_MOV, T0, jit_stack_at(t, 0, ACC_READ), t->stack);
    jit_move_sp(t, (s32)t->word);
    if (h == NO_REG)
        asm_rm(a, true, OP_MOV_TO, T0, CTX, jit_reg_at(t->op->dst / 8));
    else
        asm_mov(a, h, T0);
    return true;
}

static bool leave(struct jit_tr *t)
{
    if (t->in.operand_width != t->word * 8)
        return false;
    jit_flags_lose(t);
    asm_rr(&t->a, t->code64, OP_MOV, T0, RBP);
    jit_check(t, t->word, ACC_READ, RECENT_STACK, t->stack);
    jit_access(t, t->code64, OP_MOV, T0, at_t0, t->stack);
    asm_rm(&t->a, t->code64, OP_LEA, GUEST_SP, RBP, (s32)t->word);
    asm_rr(&t->a, t->code64, OP_MOV, RBP, T0);
    return true;
}

bool jit_flow(struct jit_tr *t, bool *ret_end)
{
    bool near = t->in.meta.branch_type != ZYDIS_BRANCH_TYPE_FAR,
         direct = t->opnd[0].type == ZYDIS_OPERAND_TYPE_IMMEDIATE;

    *ret_end = true;
    if (t->in.mnemonic == ZYDIS_MNEMONIC_JMP)
        return near && (direct ? jmp(t) : jmp_indirect(t));
    if (t->in.mnemonic == ZYDIS_MNEMONIC_CALL)
        return near && (direct ? call(t) : call_indirect(t));
    if (t->in.mnemonic == ZYDIS_MNEMONIC_RET)
        return near && ret(t);
    if (t->in.meta.category == ZYDIS_CATEGORY_COND_BR &&
        t->in.meta.branch_type != ZYDIS_BRANCH_TYPE_NONE &&
        (t->in.opcode_map == ZYDIS_OPCODE_MAP_0F || (t->in.opcode & 0xf0) == 0x70))
        return jcc(t, ret_end);
    *ret_end = false;
    if (t->in.mnemonic == ZYDIS_MNEMONIC_PUSH)
        return push(t);
    if (t->in.mnemonic == ZYDIS_MNEMONIC_POP)
        return pop(t);
    return t->in.mnemonic == ZYDIS_MNEMONIC_LEAVE && leave(t);
}
