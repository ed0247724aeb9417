/*
 * cpu/soft/jit/loop.c: a block that jumps back to its own beginning, written a second time: without checks, counting and looking
 * for requests, for as many rounds as all of its accesses stay in the pages that were looked up before.
 *   (1) Addresses are registers that a round changes by constants, or not at all.  Accesses by the same registers at near
 *       displacements are one run: one lookup, and the page's end says for how many rounds it holds.
 *   (2) The rounds are taken off the budget at once; what is left of them is given back.  So many end within a quantum.
 *   (3) No C code runs meanwhile, so the TLB stays as it was.  The guest's flags are in the host's all the time.
 *   (4) The rounds are counted in front of the last instruction that overwrites all flags; behind it nothing can trap.  The last
 *       round goes on there in the block's plain code.  A trap gives back the rounds that are left and is, from there on, the plain
 *       code's trap of the same instruction.
 *   (5) Only who used all rounds up tries again at once; others wait, so that short loops do not pay for it each time.
 *   (6) With the user window no page ends: what is compared once is where each run begins, and how far the rounds can get from there is less
 *       than the guard behind the part of the window that it is in.  A page that is not there traps.
 */
#include "cpu/soft/jit/translate.h"
#include "cpu/soft/soft_mem.h"
#include "cpu/soft/window.h"

enum {
    SPAN_MAX = 1024,  /* bytes of a run */
    STRIDE_MAX = 512, /* what a round may add to an address ... */
    STRIDE_MAX_WINDOW =
        1 << 16, /* ... in the window: 10,000 rounds, a quantum, are less than TRUST_MOVED_MAX */
    STEP_MAX = 1 << 20,
    ROUNDS_MIN = 4,
    WAIT_FAILED = 1, /* no lookup, or the page's end is near */
    WAIT_LEFT = 31,  /* until a loop that was left early may try */
    NO_INSN = BLOCK_UOPS_MAX,
};

/* Accesses at base + (index << scale) + [low, high), as of the beginning of a round. */
struct run {
    u8 base, index, scale; /* as struct uop has them */
    u32 access;
    enum window_part part;
    s64 low, high;
    s64 stride;
};

struct loop {
    struct jit_tr *t;
    struct run run[LOOP_RUNS];
    u32 n_runs;
    u8 run_of[BLOCK_UOPS_MAX];
    s64 step[GPR_COUNT];  /* so far added to each register */
    bool lost[GPR_COUNT]; /* changed otherwise */
    enum jit_vec vec;
    bool window;
    u32 last; /* the last instruction that overwrites all flags */
    u32 n_traps;
    struct {
        u32 at, i;
    } trap[BLOCK_UOPS_MAX];
};

/* --- what the loop does --- */

/* Does t->in add a constant to a register? */
static bool is_step(const struct jit_tr *t, u32 *ret_reg, s64 *ret_by)
{
    const struct uop *op = t->op;
    const ZydisDecodedOperand *o = t->opnd;

    if (t->in.operand_width != 64 || o[0].type != ZYDIS_OPERAND_TYPE_REGISTER)
        return false;
    *ret_reg = jit_guest_of(o[0].reg.value);
    switch (t->in.mnemonic) {
    case ZYDIS_MNEMONIC_INC:
    case ZYDIS_MNEMONIC_DEC:
        *ret_by = t->in.mnemonic == ZYDIS_MNEMONIC_INC ? 1 : -1;
        return true;
    case ZYDIS_MNEMONIC_ADD:
    case ZYDIS_MNEMONIC_SUB:
        *ret_by = t->in.mnemonic == ZYDIS_MNEMONIC_ADD ? o[1].imm.value.s : -o[1].imm.value.s;
        return o[1].type == ZYDIS_OPERAND_TYPE_IMMEDIATE;
    case ZYDIS_MNEMONIC_LEA:
        *ret_by = op->disp;
        return op->base == *ret_reg * 8 && op->index == REG_ZERO;
    default:
        return false;
    }
}

static void note_registers(struct loop *l)
{
    const struct jit_tr *t = l->t;
    u32 reg = GPR_COUNT;
    s64 by = 0;

    if (is_step(t, &reg, &by) && by > -STEP_MAX && by < STEP_MAX)
        l->step[reg] += by;
    else
        reg = GPR_COUNT;
    for (u32 i = 0; i < t->in.operand_count; i++) {
        const ZydisDecodedOperand *o = &t->opnd[i];
        ZydisRegisterClass class = ZYDIS_REGCLASS_INVALID;

        if (o->type == ZYDIS_OPERAND_TYPE_REGISTER && o->actions & ZYDIS_OPERAND_ACTION_MASK_WRITE)
            class = ZydisRegisterGetClass(o->reg.value);
        if (class >= ZYDIS_REGCLASS_GPR8 && class <= ZYDIS_REGCLASS_GPR64 &&
            jit_guest_of(o->reg.value) != reg)
            l->lost[jit_guest_of(o->reg.value)] = true;
    }
}

static bool is_gpr(u8 at)
{
    return at < REG_ZERO;
}

/* The run that [low, high) by the registers of `like` belongs to. */
static bool join(struct loop *l, const struct run *like)
{
    struct run *r = l->run;

    for (; r < l->run + l->n_runs; r++)
        if (r->base == like->base && r->index == like->index && r->scale == like->scale &&
            r->part == like->part && max(r->high, like->high) - min(r->low, like->low) <= SPAN_MAX)
            break;
    l->run_of[l->t->i] = (u8)(r - l->run);
    if (r == l->run + LOOP_RUNS)
        return false;
    if (r == l->run + l->n_runs) {
        l->n_runs++;
        *r = *like;
    }
    r->low = min(r->low, like->low);
    r->high = max(r->high, like->high);
    r->access |= like->access;
    return true;
}

static bool note_memory(struct loop *l, const struct jit_copied *k)
{
    const struct uop *op = l->t->op;
    struct run r = { op->base, op->index, op->scale, k->access, l->t->operand, op->disp, 0, 0 };
    s32 off;

    if (op->asize != SIZE_64)
        return false;
    if (op->base == REG_RIP || op->base == REG_RIP_FAR) {
        if (!jit_rip_off(l->t, &off))
            return false;
        r.base = REG_RIP;
        r.low = off;
    }
    if (is_gpr(op->base))
        r.low += l->step[op->base / 8];
    if (is_gpr(op->index))
        r.low += l->step[op->index / 8] * (1 << op->scale);
    r.high = r.low + k->size;
    return join(l, &r);
}

static bool note_insn(struct loop *l)
{
    struct jit_tr *t = l->t;
    struct jit_copied k;

    if (!jit_look(t) || !jit_copied(t, &k))
        return false;
    jit_choose_parts(t);
    if (k.size && ((l->window && !t->operand) || !note_memory(l, &k)))
        return false;
    note_registers(l);
    l->vec = max(l->vec, k.vec);
    if (k.size || k.traps)
        l->last = NO_INSN;
    else if (k.new_flags)
        l->last = t->i;
    return true;
}

/* In the window's high part an address is what the guest has, in registers that are there. */
static bool is_there(u8 at)
{
    return at == REG_ZERO || (is_gpr(at) && jit_host[at / 8] != NO_REG);
}

/* May the registers of `r` be foreseen?  Then its stride. */
static bool settle(const struct loop *l, struct run *r)
{
    const s64 most = l->window ? STRIDE_MAX_WINDOW : STRIDE_MAX;

    if (r->part == WINDOW_HIGH && !(is_there(r->base) && is_there(r->index)))
        return false;
    if ((is_gpr(r->base) && l->lost[r->base / 8]) || (is_gpr(r->index) && l->lost[r->index / 8]))
        return false;
    r->stride = (is_gpr(r->base) ? l->step[r->base / 8] : 0) +
                (is_gpr(r->index) ? l->step[r->index / 8] * (1 << r->scale) : 0);
    return r->stride >= -most && r->stride <= most && r->low == (s32)r->low;
}

/* Is the block a loop of ours? */
static bool study(struct loop *l)
{
    struct jit_tr *t = l->t;

    l->last = NO_INSN;
    for (t->i = 0; t->i < t->b->n - 1u; t->i++)
        if (!note_insn(l))
            return false;
    for (struct run *r = l->run; r < l->run + l->n_runs; r++)
        if (!settle(l, r))
            return false;
    return l->last != NO_INSN;
}

/* --- before the rounds --- */

static s32 wait_at(const struct jit_tr *t)
{
    return CTX_AT(loop.wait) + 4 * (s32)(t->b->gpa / 16 % LOOP_WAITS);
}

static s32 addend_at(u32 run)
{
    return CTX_AT(loop.addend) + 8 * (s32)run;
}

static void to_begin(struct jit_tr *t, u32 cc)
{
    asm_aim(&t->a, asm_jcc(&t->a, cc), t->c->jit->used);
}

/* loop.left = min(loop.left, rounds until the run in T0 leaves its page). */
static void limit(struct jit_tr *t, const struct run *r)
{
    struct jit_asm *a = &t->a;
    u64 by = (u64)(r->stride < 0 ? -r->stride : r->stride);
    u32 skip;

    asm_ri(a, false, EXT_AND, T0, (s32)GUEST_PAGE - 1);
    if (r->stride > 0) {
        asm_mov_imm(a, T2, GUEST_PAGE - (u64)(r->high - r->low));
        asm_rr(a, true, OP_SUB, T2, T0);
        asm_mov(a, T0, T2);
    }
    if (by > 1)
        asm_shift(a, true, EXT_SHR, T0, 64u - (u32)__builtin_clzll(by - 1)); /* or fewer */
    asm_ri(a, true, EXT_ADD, T0, 1);
    asm_rm(a, true, OP_CMP, T0, CTX, CTX_AT(loop.left));
    skip = asm_jcc(a, CC_GE);
    asm_rm(a, true, OP_MOV_TO, T0, CTX, CTX_AT(loop.left));
    asm_aim(a, skip, a->at);
}

/* T0 = where the run begins; T1 and T2 are lost. */
static void begin_of(struct jit_tr *t, const struct run *r)
{
    struct jit_asm *a = &t->a;

    if (r->base == REG_RIP) {
        asm_rm(a, true, OP_MOV, T0, CTX, CTX_AT(page_rip));
        asm_rm(a, true, OP_LEA, T0, T0, (s32)r->low);
    } else {
        struct asm_mem m = { .scale = r->scale, .disp = (s32)r->low };

        m.base = (u8)jit_reg_for(t, r->base, T1);
        m.index = (u8)jit_reg_for(t, r->index, T2);
        asm_rmx(a, true, OP_LEA, T0, m);
    }
}

/* T2 is the addend of run `i`. */
static void keep_addend(struct loop *l, u32 i)
{
    struct jit_asm *a = &l->t->a;

    if (l->run[i].base == REG_RIP)
        asm_rm(a, true, OP_ADD, T2, CTX, CTX_AT(page_rip));
    asm_rm(a, true, OP_MOV_TO, T2, CTX, addend_at(i));
}

/* All addresses of the run are in its part of the window, or trap. */
static void compare_run(struct loop *l, u32 i)
{
    struct jit_tr *t = l->t;
    bool low = l->run[i].part == WINDOW_LOW;

    begin_of(t, &l->run[i]);
    asm_rm(&t->a, true, OP_CMP, T0, CTX, low ? CTX_AT(window_low_end) : CTX_AT(window_end));
    to_begin(t, CC_AE);
    if (!low)
        return;
    asm_rm(&t->a, true, OP_MOV, T2, CTX, CTX_AT(window_low_delta));
    keep_addend(l, i);
}

static void look_up_run(struct loop *l, u32 i)
{
    struct jit_tr *t = l->t;
    const struct run *r = &l->run[i];

    begin_of(t, r);
    asm_aim(&t->a, jit_look_up(t, (u32)(r->high - r->low), r->access), t->c->jit->used);
    asm_rm(&t->a, true, OP_MOV, T2, T1, offsetof(struct tlb_entry, addend));
    keep_addend(l, i);
    if (r->stride)
        limit(t, r);
}

/* Comes here from the end of a round of the plain code; goes there while no more than a few rounds can be foreseen. */
static void prepare(struct loop *l)
{
    struct jit_tr *t = l->t;
    struct jit_asm *a = &t->a;
    u32 n = t->b->n;

    t->flags = FLAGS_IN_CPU;
    asm_mi(a, false, EXT_SUB, CTX, wait_at(t), 1);
    to_begin(t, CC_NS);
    asm_mov_mi(a, false, CTX, wait_at(t), WAIT_FAILED);
    if (l->vec) {
        asm_rm(a, false, 0x80, EXT_CMP, CTX, CTX_AT(vec_live));
        asm_byte(a, l->vec);
        to_begin(t, CC_B);
    }
    asm_rm(a, true, OP_MOV, T0, CTX, CTX_AT(budget));
    asm_shift(a, true, EXT_SAR, T0, 32u - (u32)__builtin_clz(n - 1)); /* for n, or a bit more */
    asm_rm(a, true, OP_MOV_TO, T0, CTX, CTX_AT(loop.left));
    for (u32 i = 0; i < l->n_runs; i++)
        if (l->window)
            compare_run(l, i);
        else
            look_up_run(l, i);
    asm_mi(a, true, EXT_CMP, CTX, CTX_AT(loop.left), ROUNDS_MIN);
    to_begin(t, CC_L);
    asm_rm(a, true, OP_IMUL_IMM, T0, CTX, CTX_AT(loop.left));
    asm_bytes(a, 4, n);
    asm_rm(a, true, OP_SUB_TO, T0, CTX, CTX_AT(budget));
    asm_mi(a, true, EXT_SUB, CTX, CTX_AT(loop.left), 1);
    asm_mov_mi(a, false, CTX, wait_at(t), WAIT_LEFT);
    jit_flags_load(t);
    t->flags = FLAGS_IN_HOST;
}

/* --- the rounds --- */

static struct asm_mem window_operand(struct jit_tr *t)
{
    const struct uop *op = t->op;

    return (struct asm_mem){ (u8)jit_reg_for(t, op->base, T0), (u8)jit_reg_for(t, op->index, T0),
                             op->scale, op->disp };
}

/* The operand of the instruction under way, with T0, and T1 for registers that are in memory; no flags are changed. */
static struct asm_mem operand(struct loop *l)
{
    struct jit_tr *t = l->t;
    const struct uop *op = t->op;
    struct asm_mem m = { T0, NO_REG, 0, op->disp };
    const struct {
        u8 at, scale;
    } parts[] = { { op->base, 0 }, { op->index, op->scale } };

    asm_rm(&t->a, true, OP_MOV, T0, CTX, addend_at(l->run_of[t->i]));
    if (l->run[l->run_of[t->i]].base == REG_RIP) {
        must(jit_rip_off(t, &m.disp));
        return m;
    }
    for_each_row(p, parts) {
        u32 h = jit_reg_for(t, p->at, T1);

        if (h == NO_REG)
            continue;
        if (h != T1 && m.index == NO_REG) {
            m.index = (u8)h;
            m.scale = p->scale;
        } else {
            asm_rmx(&t->a, true, OP_LEA, T0, (struct asm_mem){ T0, (u8)h, p->scale, 0 });
        }
    }
    return m;
}

static void round_insn(struct loop *l)
{
    struct jit_tr *t = l->t;
    struct asm_mem at = { T0, NO_REG, 0, 0 };
    struct jit_copied k;
    u32 trap;

    must(jit_look(t) && jit_copied(t, &k));
    t->operand = k.size ? l->run[l->run_of[t->i]].part : WINDOW_NONE;
    if (k.size)
        at = t->operand == WINDOW_HIGH ? window_operand(t) : operand(l);
    trap = jit_copy_at(t, at);
    if (!trap)
        return;
    l->trap[l->n_traps].at = trap;
    l->trap[l->n_traps++].i = t->i;
}

/* Flags to soft_cpu, and `more` rounds beside those left back to the budget. */
static void give_back(struct jit_tr *t, s32 more)
{
    struct jit_asm *a = &t->a;

    t->flags = FLAGS_IN_HOST;
    jit_flags_spill(t);
    asm_rm(a, true, OP_IMUL_IMM, T0, CTX, CTX_AT(loop.left));
    asm_bytes(a, 4, t->b->n);
    if (more)
        asm_ri(a, true, EXT_ADD, T0, more * t->b->n);
    asm_rm(a, true, OP_ADD_TO, T0, CTX, CTX_AT(budget));
}

static void write_rounds(struct loop *l)
{
    struct jit_tr *t = l->t;
    struct jit_asm *a = &t->a;
    struct jit_cache *j = t->c->jit;
    u32 begin = a->at, used_up = 0;

    for (t->i = 0; t->i < t->b->n - 1u; t->i++) {
        if (t->i == l->last) {
            asm_mi(a, true, EXT_SUB, CTX, CTX_AT(loop.left), 1);
            used_up = asm_jcc(a, CC_S);
        }
        round_insn(l);
    }
    must(jit_look(t));
    asm_aim(a, asm_jcc(a, t->in.opcode & 15), begin);
    give_back(t, 1);
    asm_jmp_to(a, t->fall_at);
    asm_aim(a, used_up, a->at);
    asm_mov_mi(a, false, CTX, wait_at(t), 0);
    asm_jmp_to(a, t->insn_at[l->last]);
    for (u32 i = 0; i < l->n_traps; i++) {
        j->traps[j->n_traps++] = (struct jit_trap){ l->trap[i].at, a->at };
        give_back(t, 0);
        asm_jmp_to(a, t->cold[l->trap[i].i].at);
    }
}

void jit_loop(struct jit_tr *t)
{
    struct loop l = { .t = t, .window = t->b->key & KEY_WINDOW };

    t->i = t->b->n - 1u;
    if (!t->code64 || t->b->n < 2 || !t->fall_at || t->b->ops[t->i].imm || !study(&l))
        return;
    t->jb->loop = t->a.at;
    t->c->jit->stats.loops++;
    prepare(&l);
    write_rounds(&l);
}
