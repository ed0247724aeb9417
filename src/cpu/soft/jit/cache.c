/*
 * cpu/soft/jit/cache.c: the translations of one vCPU: room for them, the jumps between them, running them.
 */
#include "cpu/soft/jit/cache.h"

#include "cpu/soft/check.h"
#include "cpu/soft/fpu.h"
#include "cpu/soft/soft_mem.h"

#include <stdlib.h>

static struct jit_asm writer(struct jit_cache *j)
{
    return (struct jit_asm){ .area = j->area.write_at, .at = j->used, .end = JIT_AREA };
}

int soft_jit_open(struct soft_cpu *c, struct err *e)
{
    struct jit_cache *j = xnew(struct jit_cache);
    int r;

    c->jit = j;
    r = code_area_open(&j->area, JIT_AREA, e);
    if (r < 0)
        return r;
    j->blocks = xnew_n(struct jit_block, JIT_BLOCKS_MAX);
    j->traps = xnew_n(struct jit_trap, JIT_TRAPS_MAX);
    j->vec = __builtin_cpu_supports("avx");
    memcpy(j->area.write_at, "\x0f\x0b", 2); /* UD2: offset 0 is no one's */
    j->used = 16;
    struct jit_asm a = writer(j);
    jit_thunks(&a, &j->thunk, j->vec);
    j->first = j->used = align_up(a.at, 64u);
    soft_jit_reset(c);
    j->stats.flushes = 0;
    return 0;
}

void soft_jit_close(struct soft_cpu *c)
{
    if (!c->jit)
        return;
    code_area_close(&c->jit->area);
    free(c->jit->blocks);
    free(c->jit->traps);
    free(c->jit);
    c->jit = NULL;
}

bool soft_jit_full(const struct soft_cpu *c)
{
    const struct jit_cache *j = c->jit;

    const u32 half = min(c->vm->code_budget, (u32)JIT_AREA) / 2;

    return j->used + JIT_BLOCK_BYTES > half || j->cold_used - JIT_COLD + JIT_BLOCK_BYTES > half ||
           j->n_blocks == JIT_BLOCKS_MAX || j->n_traps + 4 * BLOCK_UOPS_MAX > JIT_TRAPS_MAX;
}

void soft_jit_reset(struct soft_cpu *c)
{
    struct jit_cache *j = c->jit;

    j->used = j->first;
    j->cold_used = JIT_COLD;
    j->n_blocks = 0;
    j->n_traps = 0;
    j->stats.flushes++;
}

const char *soft_jit_stat(const struct vcpu *v, u32 row, u64 *ret)
{
    static const struct {
        const char *name;
        size_t at;
    } rows[] = {
        { "blocks", offsetof(struct jit_stats, blocks) },
        { "bytes", offsetof(struct jit_stats, bytes) },
        { "links", offsetof(struct jit_stats, links) },
        { "loops", offsetof(struct jit_stats, loops) },
        { "flushes", offsetof(struct jit_stats, flushes) },
        { "handler_calls", offsetof(struct jit_stats, calls) },
        { "misses", offsetof(struct jit_stats, misses) },
        { "quanta", offsetof(struct jit_stats, quanta) },
        { "exits_handler", offsetof(struct jit_stats, exits[JIT_EXIT_HANDLER]) },
        { "exits_poll", offsetof(struct jit_stats, exits[JIT_EXIT_POLL]) },
        { "exits_cold", offsetof(struct jit_stats, exits[JIT_EXIT_COLD]) },
        { "exits_edge", offsetof(struct jit_stats, exits[JIT_EXIT_EDGE]) },
        { "window_taken", offsetof(struct jit_stats, window_taken) },
        { "window_given_up", offsetof(struct jit_stats, window_given_up) },
        { "window_forgotten", offsetof(struct jit_stats, window_forgotten) },
        { "window_mapped", offsetof(struct jit_stats, window_mapped) },
        { "window_outside", offsetof(struct jit_stats, window_outside) },
        { "checked", offsetof(struct jit_stats, checked) },
        { "raced", offsetof(struct jit_stats, raced) },
    };
    const struct soft_cpu *c = v->engine_data;

    if (row >= ARRAY_LEN(rows) || !c->vm->jit_warm)
        return NULL;
    *ret = *(const u64 *)(const void *)((const u8 *)&c->jit->stats + rows[row].at);
    return rows[row].name;
}

const u8 *soft_jit_code(const struct soft_cpu *c, const struct block *b)
{
    bool ready = b->code && !soft_check_wants(c, b);

    return c->jit->area.run_at + (ready ? b->code : c->jit->thunk.cold);
}

bool soft_jit_warm(struct soft_cpu *c, struct block *b)
{
    if (b->code)
        return true;
    if (!c->vm->jit_warm || ++b->runs < c->vm->jit_warm)
        return false;
    b->runs = 0;
    if (soft_jit_full(c)) {
        soft_request(c, REQ_CODE); /* soft_code_attend drops everything */
        return false;
    }
    b->jit = jit_translate(c, b);
    return b->jit;
}

/* Edges. */

static void aim(struct jit_cache *j, const struct jit_edge *g, u32 target, u64 host)
{
    const struct jit_asm a = writer(j);

    if (g->host)
        memcpy(j->area.write_at + g->host, &host, 8);
    asm_aim(&a, g->at, target);
}

static void unlink_edge(struct jit_cache *j, struct jit_edge *g)
{
    *g->at_prev = g->next;
    if (g->next)
        g->next->at_prev = g->at_prev;
    g->to = NULL;
    aim(j, g, g->stub, 0); /* no page is at 0 */
}

void soft_jit_link(struct soft_cpu *c, struct block *from, u32 i, struct block *to)
{
    struct jit_edge *g;

    if (!from->jit || !to->jit)
        return;
    g = &from->jit->edge[i];
    if (!g->at || g->to == to->jit)
        return;
    if (g->to)
        unlink_edge(c->jit, g);
    g->to = to->jit;
    g->next = to->jit->in;
    g->at_prev = &to->jit->in;
    if (g->next)
        g->next->at_prev = &g->next;
    to->jit->in = g;
    aim(c->jit, g, from == to && to->jit->loop ? to->jit->loop : to->code,
        to->host & GUEST_PAGE_MASK);
    c->jit->stats.links++;
}

void soft_jit_drop(struct soft_cpu *c, struct block *b)
{
    if (!b->jit)
        return;
    while (b->jit->in)
        unlink_edge(c->jit, b->jit->in);
    for (u32 i = 0; i < ARRAY_LEN(b->jit->edge); i++)
        if (b->jit->edge[i].to)
            unlink_edge(c->jit, &b->jit->edge[i]);
}

/* Traps. */

static bool trap_in(const struct jit_cache *j, u32 at, u64 *ret_go_on)
{
    u32 low = 0, high = j->n_traps;

    while (low < high) {
        u32 mid = (low + high) / 2;
        if (j->traps[mid].at < at)
            low = mid + 1;
        else
            high = mid;
    }
    if (low == j->n_traps || j->traps[low].at != at)
        return false;
    *ret_go_on = (uintptr_t)j->area.run_at + j->traps[low].slow;
    return true;
}

bool soft_jit_trap(const struct jit_cache *j, u64 rip, u64 *ret_go_on)
{
    return j && rip - (uintptr_t)j->area.run_at < j->used &&
           trap_in(j, (u32)(rip - (uintptr_t)j->area.run_at), ret_go_on);
}

/* Running. */

/* What of the vector registers the guest may use, without a trap. */
static u8 vec_ok(const struct soft_cpu *c)
{
    if (!c->jit->vec || !(c->cr4 & CR4_OSFXSR) || c->cr0 & (CR0_EM | CR0_TS))
        return JIT_VEC_NONE;
    if (!(c->cr4 & CR4_OSXSAVE) || (c->xcr0 & XCR0_AVX_ALL) != XCR0_AVX_ALL)
        return JIT_VEC_SSE;
    return JIT_VEC_AVX;
}

const u8 *soft_jit_enter(struct soft_cpu *c, struct block *b)
{
    c->link = NULL;
    c->vec_ok = vec_ok(c);
    jit_x87_settle(c);
    c->block = b;
    c->page_rip = c->rip - b->gpa % GUEST_PAGE;
    return c->jit->area.run_at + b->code;
}

void soft_jit_run(struct soft_cpu *c, struct block *b)
{
    struct jit_cache *j = c->jit;
    void (*enter)(struct soft_cpu *, const u8 *) =
        (void (*)(struct soft_cpu *, const u8 *))(uintptr_t)(j->area.run_at + j->thunk.enter);

    c->jit_exit = JIT_EXIT_HANDLER;
    enter(c, soft_jit_enter(c, b));
    if (c->jit_exit >= JIT_EXIT_EDGE) {
        c->link = &c->block->succ[c->jit_exit - JIT_EXIT_EDGE];
        c->link_near = true;
        c->jit_exit = JIT_EXIT_EDGE;
    }
    j->stats.exits[c->jit_exit]++;
    if (c->jit_exit == JIT_EXIT_POLL)
        c->budget += c->block->n;
}
