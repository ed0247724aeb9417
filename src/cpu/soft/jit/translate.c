/*
 * cpu/soft/jit/translate.c: one decoded block to host code.
 */
#include "cpu/soft/jit/translate.h"

#include "cpu/soft/code.h"
#include "cpu/soft/soft_mem.h"
#include "cpu/soft/stub.h"
#include "cpu/soft/window.h"

void jit_second_if(struct jit_tr *t, u32 from, s32 tag, u32 reg)
{
    struct jit_cold *k = &t->cold[t->i];

    must(k->n_second < SECOND_MAX);
    k->second[k->n_second++] = (struct jit_second){ from, t->a.at, tag, reg, 0, 0 };
}

void jit_recent_if(struct jit_tr *t, u32 from, s32 recent, u32 size, u32 access)
{
    struct jit_cold *k = &t->cold[t->i];

    must(k->n_second < SECOND_MAX);
    k->second[k->n_second++] =
        (struct jit_second){ from, t->a.at, jit_tag_of(access), T2, size, recent };
}

void jit_slow_if(struct jit_tr *t, u32 cc)
{
    struct jit_cold *k = &t->cold[t->i];

    must(k->n_from < COLD_FROM_MAX);
    k->from[k->n_from++] = asm_jcc(&t->a, cc);
}

void jit_may_trap(struct jit_tr *t)
{
    struct jit_cold *k = &t->cold[t->i];

    must(k->n_traps < COLD_TRAPS_MAX);
    k->trap[k->n_traps].at = t->a.at;
    k->trap[k->n_traps++].spill = !(t->flags & FLAGS_IN_CPU);
}

/* The handler of instruction `i`, with 0 or JIT_CALL_*; comes back when the next one follows. */
static void call_handler(struct jit_tr *t, u32 i, u32 miss)
{
    struct jit_asm *a = &t->a;

    asm_mov_imm(a, T0, i | miss);
    asm_mov_imm(a, T1, (uintptr_t)t->fn[i]);
    asm_mov_imm(a, T2, (uintptr_t)t->b);
    asm_aim(a, asm_call(a), t->c->jit->thunk.call);
}

/* why: enum jit_exit, and the number of an edge. */
static void leave(struct jit_tr *t, s64 off, u32 why)
{
    struct jit_asm *a = &t->a;

    asm_mov_imm(a, T0, (u64)off);
    asm_mov_imm(a, T1, why);
    asm_mov_imm(a, T2, (uintptr_t)t->b);
    asm_jmp_to(a, t->c->jit->thunk.leave);
}

/* At the entry: are there requests, is time up?  Returns what poll_cold wants. */
struct poll {
    u32 time, request, back;
    struct jit_crossing crossing;
};

static struct poll poll(struct jit_tr *t)
{
    struct jit_asm *a = &t->a;
    struct poll p = {};

    asm_mi(a, true, EXT_SUB, CTX, CTX_AT(budget), t->b->n);
    p.time = asm_jcc(a, CC_S);
    p.back = a->at;
    asm_mi(a, false, EXT_CMP, CTX, CTX_AT(request), 0);
    p.request = asm_jcc(a, CC_NZ);
    if (t->b->gpa2 != BLOCK_ONE_PAGE)
        p.crossing = jit_crossing(t);
    return p;
}

/* A block may begin while the budget is not below 0, and use up more. */
static void poll_cold(struct jit_tr *t, struct poll *p)
{
    struct jit_asm *a = &t->a;

    if (p->crossing.wrong)
        jit_crossing_cold(t, &p->crossing);
    asm_aim(a, p->time, a->at);
    asm_mi(a, true, EXT_CMP, CTX, CTX_AT(budget), -(s32)t->b->n);
    asm_aim(a, asm_jcc(a, CC_GE), p->back);
    asm_mov_imm(a, T2, (uintptr_t)t->b);
    asm_aim(a, asm_call(a), t->c->jit->thunk.quantum);
    asm_aim(a, asm_jcc(a, CC_NZ), p->back);
    asm_aim(a, p->request, a->at);
    if (p->crossing.wrong) {
        asm_aim(a, p->crossing.wrong, a->at);
        asm_aim(a, p->crossing.none, a->at);
    }
    leave(t, (s64)(t->b->gpa % GUEST_PAGE), JIT_EXIT_POLL);
}

/* Vector registers that are not there yet; without the right to them the handler is next. */
static void cold_load(struct jit_tr *t, const struct jit_cold *k)
{
    struct jit_asm *a = &t->a;

    asm_aim(a, k->vec_from, a->at);
    asm_mov_imm(a, T1, k->vec_need);
    asm_aim(a, asm_call(a), t->c->jit->thunk.load);
    asm_aim(a, asm_jcc(a, CC_AE), k->vec_back);
}

/* A jump's target that was found in another state; when it is no longer true the handler is next. */
static void cold_doubt(struct jit_tr *t, const struct jit_cold *k)
{
    struct jit_asm *a = &t->a;

    asm_aim(a, k->doubt_from, a->at);
    asm_aim(a, asm_call(a), t->c->jit->thunk.doubt);
    asm_aim(a, asm_jcc(a, CC_Z), k->doubt_back);
}

/* The whole TLB is asked; what it says is kept. */
static void cold_recent(struct jit_tr *t, const struct jit_second *s)
{
    const struct jit_thunks *thunk = &t->c->jit->thunk;
    struct jit_asm *a = &t->a;

    asm_rm(a, true, OP_LEA, T1, CTX, s->recent);
    asm_rm(a, true, OP_LEA, T2, T0, (s32)s->size - 1);
    asm_aim(a, asm_call(a), s->tag == jit_tag_of(ACC_WRITE) ? thunk->recent_w : thunk->recent_r);
}

static void cold_second(struct jit_tr *t, struct jit_cold *k)
{
    struct jit_asm *a = &t->a;

    for (const struct jit_second *s = k->second; s < k->second + k->n_second; s++) {
        asm_aim(a, s->from, a->at);
        if (s->size) {
            cold_recent(t, s);
        } else {
            asm_ri(a, true, EXT_XOR, T1, SOFT_TLB_OTHER * (s32)sizeof(struct tlb_entry));
            asm_rm(a, true, OP_CMP, s->reg, T1, s->tag);
        }
        asm_aim(a, asm_jcc(a, CC_Z), s->back);
        must(k->n_from < COLD_FROM_MAX);
        k->from[k->n_from++] = asm_jmp(a);
    }
}

/* Instruction `i` by its handler, then out of the translation. */
static void handler_and_out(struct jit_tr *t, u32 i, u32 miss)
{
    const struct uop *op = &t->b->ops[i];
    struct jit_asm *a = &t->a;

    call_handler(t, i, miss);
    if (!t->cold[i].back) {
        asm_bytes(a, 2, 0x0b0f); /* it never comes back */
        return;
    }
    asm_mi(a, true, EXT_ADD, CTX, CTX_AT(budget), (s32)(t->b->n - i - 1));
    leave(t, (s64)(t->b->gpa % GUEST_PAGE) + op->off + op->len, JIT_EXIT_HANDLER);
}

/* Instruction `i` by its handler, and back. */
static void handler_and_back(struct jit_tr *t, u32 i)
{
    const struct jit_cold *k = &t->cold[i];
    struct jit_asm *a = &t->a;

    call_handler(t, i, JIT_CALL_MISS);
    if (!k->back) { /* it never comes back */
        asm_bytes(a, 2, 0x0b0f);
        return;
    }
    if (k->vec)
        asm_aim(a, asm_call(a), t->c->jit->thunk.reload);
    if (k->flags_to_host) {
        t->flags = FLAGS_IN_CPU;
        jit_flags_load(t);
    }
    asm_jmp_to(a, k->back);
}

/* Where a trap leads, each to the code that follows. */
static void cold_traps(struct jit_tr *t, const struct jit_cold *k)
{
    struct jit_cache *j = t->c->jit;
    u32 to[COLD_TRAPS_MAX], n = 0;

    for (u32 i = 0; i < k->n_traps; i++) {
        j->traps[j->n_traps++] = (struct jit_trap){ k->trap[i].at, t->a.at };
        if (k->trap[i].spill) {
            t->flags = FLAGS_IN_HOST;
            jit_flags_spill(t);
        }
        if (i + 1 < k->n_traps)
            to[n++] = asm_jmp(&t->a);
    }
    while (n-- > 0)
        asm_aim(&t->a, to[n], t->a.at);
}

/* A jump out of the middle: what it skips was not run. */
static void cold_side(struct jit_tr *t, u32 i)
{
    const struct jit_cold *k = &t->cold[i];
    const struct uop *op = &t->b->ops[i];
    struct jit_asm *a = &t->a;

    asm_aim(a, k->side, a->at);
    if (k->side_spills) {
        t->flags = FLAGS_IN_HOST;
        jit_flags_spill(t);
    }
    asm_mi(a, true, EXT_ADD, CTX, CTX_AT(budget), (s32)(t->b->n - i - 1));
    t->jb->edge[op->dst] =
        (struct jit_edge){ .at = asm_jmp(a),
                           .stub = (u32)((s64)(t->b->gpa % GUEST_PAGE) + (s64)op->imm) };
}

static void cold_handler(struct jit_tr *t, u32 i)
{
    struct jit_cold *k = &t->cold[i];
    struct jit_asm *a = &t->a;

    if (k->unpaired) {
        t->i = i;
        t->op = &t->b->ops[i];
        jit_unpaired(t);
    }
    cold_second(t, k); /* first: what follows goes on to the handler */
    if (k->vec_from)
        cold_load(t, k);
    if (k->doubt_from)
        cold_doubt(t, k);
    for (u32 n = 0; n < k->n_from; n++)
        asm_aim(a, k->from[n], a->at);
    u32 over = 0;

    if (k->trusts && (k->n_from || k->vec_from || k->doubt_from))
        handler_and_out(t, i, JIT_CALL_MISS);
    else if (k->n_traps)
        over = asm_jmp(a);
    cold_traps(t, k);
    if (over)
        asm_aim(a, over, a->at);
    k->at = a->at;
    if (k->n_traps || !k->trusts)
        handler_and_back(t, i);
    if (!k->n_outside)
        return;
    for (u32 n = 0; n < k->n_outside; n++)
        asm_aim(a, k->outside[n], a->at);
    handler_and_out(t, i, k->outside_low ? JIT_CALL_OUTSIDE_LOW : JIT_CALL_OUTSIDE);
}

/* The calls so far will not be paired. */
static void cold_deep(struct jit_tr *t, const struct jit_cold *k)
{
    asm_aim(&t->a, k->deep_from, t->a.at);
    asm_rm(&t->a, true, OP_MOV, RSP, CTX, CTX_AT(calls));
    asm_jmp_to(&t->a, k->deep_back);
}

static void cold_handlers(struct jit_tr *t)
{
    for (u32 i = 0; i <= t->b->n; i++) {
        const struct jit_cold *k = &t->cold[i];

        if (k->deep_from)
            cold_deep(t, k);
        if (k->n_from || k->n_second || k->vec_from || k->n_traps || k->n_outside || k->unpaired)
            cold_handler(t, i);
        if (k->side)
            cold_side(t, i);
    }
}

/* Where edges lead that are not linked; `stub` holds the successor's offset until now. */
static void cold_edges(struct jit_tr *t)
{
    for (u32 i = 0; i < BLOCK_SUCCS; i++) {
        struct jit_edge *g = &t->jb->edge[i];

        if (!g->at || g->host)
            continue;
        u32 off = g->stub;
        g->stub = t->a.at;
        asm_aim(&t->a, g->at, g->stub);
        leave(t, off, JIT_EXIT_EDGE + i);
    }
}

bool jit_look(struct jit_tr *t)
{
    const struct block *b = t->b;

    t->op = &b->ops[t->i];
    t->bytes = t->code + t->op->off;
    return ZYAN_SUCCESS(
               soft_decode_one(t->c, b->key, t->bytes, b->bytes - t->op->off, &t->in, t->opnd)) &&
           t->in.length == t->op->len;
}

/* May the instruction under way be run twice, once on a copy of memory? */
static bool is_pure(const struct jit_tr *t)
{
    static const u16 states[] = {
        ZYDIS_MNEMONIC_FXSAVE,    ZYDIS_MNEMONIC_FXSAVE64, ZYDIS_MNEMONIC_FXRSTOR,
        ZYDIS_MNEMONIC_FXRSTOR64, ZYDIS_MNEMONIC_RDRAND,   ZYDIS_MNEMONIC_RDSEED,
    };
    const struct insn_row *row = insn_row_of(t->in.mnemonic);
    bool near = t->in.meta.branch_type != ZYDIS_BRANCH_TYPE_NONE &&
                t->in.meta.branch_type != ZYDIS_BRANCH_TYPE_FAR;
    const u64 repeats = ZYDIS_ATTRIB_HAS_REP | ZYDIS_ATTRIB_HAS_REPE | ZYDIS_ATTRIB_HAS_REPNE;
    enum stub_kind kind;

    for_each_row(m, states)
        if (*m == t->in.mnemonic)
            return false;
    if (t->in.attributes & repeats) /* in as many pieces as may be */
        return false;
    for (u32 i = 0; i < t->in.operand_count; i++) {
        ZydisRegisterClass class = t->opnd[i].type == ZYDIS_OPERAND_TYPE_REGISTER
                                       ? ZydisRegisterGetClass(t->opnd[i].reg.value)
                                       : ZYDIS_REGCLASS_INVALID;
        if (class == ZYDIS_REGCLASS_SEGMENT || class == ZYDIS_REGCLASS_X87 ||
            class == ZYDIS_REGCLASS_MMX)
            return false;
    }
    if (stub_kind_of(t->fn[t->i], &kind))
        return kind != STUB_X87 && kind != STUB_MMX && kind != STUB_SSE_MMX;
    return near || !row || !(row->flags & (INSN_NO_FUZZ | INSN_ENDS));
}

/* True: the block's end is written, too. */
static bool insn(struct jit_tr *t)
{
    bool end = false;
    u32 at = t->a.at, flags = t->flags;
    enum jit_vec vec = t->vec;

    t->insn_at[t->i] = at;
    if (jit_look(t)) {
        jit_choose_parts(t);
        t->jb->pure &= is_pure(t);
        bool done =
            t->fn[t->i] != soft_op_ud && (jit_flow(t, &end) || jit_system(t) || jit_copy(t));

        if (done) {
            t->cold[t->i].back = end ? 0 : t->a.at;
            t->cold[t->i].vec = t->vec;
            t->cold[t->i].flags_to_host = t->flags & FLAGS_IN_HOST;
            jit_trust_settle(t);
            return end;
        }
    }
    t->a.at = at; /* what was begun */
    t->flags = flags;
    t->vec = vec;
    t->cold[t->i] = (struct jit_cold){};
    memset(t->trust, 0, sizeof(t->trust));
    jit_flags_spill(t);
    call_handler(t, t->i, 0);
    t->flags = FLAGS_IN_CPU;
    t->vec = JIT_VEC_NONE;
    return false;
}

static void cold_parts(struct jit_tr *t, struct poll *p)
{
    struct jit_cache *j = t->c->jit;
    u32 at = t->a.at;

    t->a.at = t->jb->cold_at = j->cold_used;
    poll_cold(t, p);
    cold_handlers(t);
    cold_edges(t);
    code_area_filled(&j->area, j->cold_used, t->a.at);
    j->cold_used = t->jb->cold_end = t->a.at;
    j->stats.bytes += t->jb->cold_end - t->jb->cold_at;
    t->a.at = at;
}

static void body(struct jit_tr *t)
{
    struct poll p = poll(t);
    bool end = false;

    t->flags = FLAGS_IN_CPU;
    for (t->i = 0; t->i < t->b->n; t->i++)
        end = insn(t);
    if (!end)
        jit_fall(t);
    cold_parts(t, &p);
    jit_loop(t);
}

/* 64-bit or flat 32-bit code in RAM. */
static bool may_be(const struct soft_cpu *c, const struct block *b)
{
    u32 size = b->key & KEY_SIZE, stack = b->key >> KEY_STACK_SHIFT & 3;

    return size != SIZE_16 && stack == size && b->key & KEY_FLAT &&
           !(b->key & (KEY_SINGLE | KEY_PLAIN)) && b->key == c->key && b->host && b->ops[b->n].imm;
}

struct jit_block *jit_translate(struct soft_cpu *c, struct block *b)
{
    u8 bytes[BLOCK_UOPS_MAX * INSN_LEN_MAX];
    struct jit_cache *j = c->jit;
    bool code64 = (b->key & KEY_SIZE) == SIZE_64;
    struct jit_tr t = { .c = c, .b = b, .code = bytes, .code64 = code64, .word = code64 ? 8 : 4 };

    if (!may_be(c, b) || b->bytes > sizeof(bytes) || !soft_code_bytes(c->vm, b, bytes))
        return NULL;
    if (soft_code_sum(bytes, b->bytes) != b->sum) /* another vCPU has just written to it */
        return NULL;
    t.jb = &j->blocks[j->n_blocks++];
    *t.jb = (struct jit_block){ .b = b, .pure = true };
    t.a = (struct jit_asm){ j->area.write_at, j->used, JIT_AREA };
    for (u32 i = 0; i <= b->n; i++)
        t.fn[i] = b->ops[i].fn;
    body(&t);
    for (u32 i = 0; i <= b->n; i++)
        b->ops[i].fn = jit_next;
    b->code = j->used;
    t.jb->at = j->used;
    t.jb->end = t.a.at;
    j->stats.blocks++;
    j->stats.bytes += t.a.at - j->used;
    code_area_filled(&j->area, j->used, t.a.at);
    j->used = align_up(t.a.at, 16u);
    return t.jb;
}
