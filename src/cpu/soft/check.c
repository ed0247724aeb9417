/*
 * cpu/soft/check.c: see check.h.
 */
#include "cpu/soft/check.h"

#include "cpu/soft/code.h"
#include "cpu/soft/fpu.h"
#include "cpu/soft/jit/cache.h"
#include "cpu/soft/soft_mem.h"

#include <stdlib.h>

enum {
    WRITES_MAX = 128,
    WRITE_BYTES = 64,
    GAVE_UP = 2,
    RUNS_FIRST = 64, /* of a translation, which are all compared */
    STRIKES = 3,     /* with several vCPUs: so often in a row does a block differ that is wrong */
};

/* What a guest can observe of a block that may be compared. */
struct seen {
    u64 reg[GPR_COUNT];
    u64 rip, cr2;
    s64 ran; /* instructions */
    u32 flags, mxcsr;
    u8 ymm[16][32];
    u32 raised, vector, error;
};

/* A store: its bytes, and those that it overwrote when it was seen first. */
struct write {
    u64 gpa;
    u32 n;
    u8 was[WRITE_BYTES], is[WRITE_BYTES];
};

struct check {
    struct soft_cpu before;
    u32 mxcsr;
    struct write log[WRITES_MAX];
    const struct block *suspect; /* the last one that differed ... */
    u32 strikes;                 /* ... at each of so many looks */
    u64 at_insns; /* soft_cpu.insns, which stands still for a quantum, at the last comparison of what is not new */
    u32 n, n_old; /* the first n_old are of the run before, with what they overwrote */
};

void soft_check_open(struct soft_cpu *c)
{
    c->check = aligned_alloc(alignof(struct check), sizeof(struct check));
    must(c->check);
    memset(c->check, 0, sizeof(*c->check));
}

void soft_check_close(struct soft_cpu *c)
{
    free(c->check);
    c->check = NULL;
}

void soft_check_give_up(struct soft_cpu *c)
{
    longjmp(*c->fault, GAVE_UP);
}

bool soft_check_is_new(const struct block *b)
{
    return b->jit && b->jit->pure && b->runs < RUNS_FIRST;
}

/* The log. */

static void overlay(u64 gpa, u8 *buf, u32 n, u64 from_gpa, const u8 *from, u32 from_n)
{
    u64 first = max(gpa, from_gpa), end = min(gpa + n, from_gpa + from_n);

    if (first < end)
        memcpy(buf + (first - gpa), from + (first - from_gpa), end - first);
}

void soft_check_load(struct soft_cpu *c, u64 gpa, void *buf, u32 n)
{
    const struct check *k = c->check;

    for (u32 i = k->n_old; i-- > 0;) /* backwards: the oldest bytes win */
        overlay(gpa, buf, n, k->log[i].gpa, k->log[i].was, k->log[i].n);
    for (u32 i = k->n_old; i < k->n; i++)
        overlay(gpa, buf, n, k->log[i].gpa, k->log[i].is, k->log[i].n);
}

void soft_check_store(struct soft_cpu *c, u64 gpa, const void *buf, u32 n)
{
    struct check *k = c->check;
    struct write *w = &k->log[k->n];
    u64 page;
    const u8 *at = soft_ram(c->vm, gpa, n, &page);

    if (k->n == WRITES_MAX || n > WRITE_BYTES || atomic_load(&c->vm->page_code[page]))
        soft_check_give_up(c);
    w->gpa = gpa;
    w->n = n;
    memcpy(w->was, at, n);
    memcpy(w->is, buf, n);
    k->n++;
}

/* Registers. */

static void look(struct soft_cpu *c, bool raised, s64 budget, struct seen *ret)
{
    memset(ret, 0, sizeof(*ret)); /* compared as bytes */
    ret->rip = c->rip;
    ret->ran = budget - c->budget;
    ret->cr2 = c->cr2;
    ret->flags = soft_flags(c);
    ret->mxcsr = soft_mxcsr(c);
    ret->raised = raised;
    memcpy(ret->reg, c->reg, sizeof(ret->reg));
    memcpy(ret->ymm, c->fpu.ymm, sizeof(ret->ymm));
    if (raised) {
        ret->vector = c->event.vector;
        ret->error = c->event.has_error ? c->event.error : 0;
    }
}

static void keep(struct soft_cpu *c)
{
    memcpy(&c->check->before, c, sizeof(*c));
    c->check->mxcsr = soft_mxcsr(c);
}

/* All that a block that may be compared can change, but for what belongs to others, too. */
static void put_back(struct soft_cpu *c)
{
    const struct soft_cpu *b = &c->check->before;

    memcpy(c->reg, b->reg, sizeof(c->reg));
    memcpy(c->fpu.ymm, b->fpu.ymm, sizeof(c->fpu.ymm));
    soft_mxcsr_set(c, c->check->mxcsr);
    c->fl = b->fl;
    c->eflags = b->eflags;
    c->rip = b->rip;
    c->cr2 = b->cr2;
    c->budget = b->budget;
    c->event = b->event;
    c->base_rip = b->base_rip;
    c->shadow = b->shadow;
    /* What they were may be gone: without room for the other block all is dropped. */
    c->block = NULL;
    c->link = NULL;
}

/* The two runs. */

enum run { RUN_DONE, RUN_RAISED = 1, RUN_GAVE_UP = GAVE_UP };

/* Interprets the block at c->rip as far as `b` goes, on a copy; c is then as it was. */
static enum run on_copy(struct soft_cpu *c, const struct block *b, struct seen *ret)
{
    jmp_buf *outer = c->fault, here;
    volatile int r;

    keep(c);
    c->fault = &here;
    c->key |= KEY_PLAIN;
    r = _setjmp(here);
    if (r == 0) {
        struct block *p = soft_block(c);

        if (p->n != b->n || p->sum != b->sum)
            soft_check_give_up(c);
        c->check_dry = true;
        c->tlb = soft_tlb_never(c);
        soft_run_block(c, p);
    }
    c->check_dry = false;
    c->fault = outer;
    soft_exclusive_end(c);
    look(c, r == RUN_RAISED, c->check->before.budget, ret);
    put_back(c);
    soft_mode_changed(c);
    return (enum run)r;
}

/* The translation, no further than its block. */
static void for_true(struct soft_cpu *c, struct block *b, struct seen *ret)
{
    jmp_buf *outer = c->fault, here;
    s64 budget = c->budget;
    volatile int r;

    c->fault = &here;
    c->budget = 0; /* a block may begin with it, the next one may not */
    r = _setjmp(here);
    if (r == 0)
        soft_jit_run(c, b);
    c->fault = outer;
    look(c, r == RUN_RAISED, 0, ret);
    c->budget += budget;
}

/* Did it come as far as the interpreter, or should it have?  A request may keep it from beginning; a handler may leave earlier, where code
 * was written to or the user window was left. */
static bool is_whole(const struct soft_cpu *c, const struct seen *want, const struct seen *real)
{
    return real->raised || real->ran == want->ran || (real->ran && c->jit_exit != JIT_EXIT_HANDLER);
}

/* Does memory hold what the interpreter stored? */
static bool stored(struct soft_cpu *c)
{
    const struct check *k = c->check;

    for (u32 i = k->n_old; i < k->n; i++) {
        const struct write *w = &k->log[i];
        u8 want[WRITE_BYTES];

        memcpy(want, w->is, w->n);
        for (u32 later = i + 1; later < k->n; later++)
            overlay(w->gpa, want, w->n, k->log[later].gpa, k->log[later].is, k->log[later].n);
        if (memcmp(soft_ram(c->vm, w->gpa, w->n, NULL), want, w->n) != 0)
            return false;
    }
    return true;
}

static bool alike(struct soft_cpu *c, const struct seen *a, const struct seen *b)
{
    /* NOLINTNEXTLINE(bugprone-suspicious-memory-comparison): both were zeroes, so padding is too */
    return memcmp(a, b, sizeof(*a)) == 0 && stored(c);
}

/* The interpreter once more, from the same registers and the bytes that were overwritten.  c is left as it was found. */
static bool alike_again(struct soft_cpu *c, const struct block *b, const struct seen *real)
{
    struct check *k = c->check;
    struct soft_cpu *now = aligned_alloc(alignof(struct soft_cpu), sizeof(*now));
    u32 mxcsr = soft_mxcsr(c);
    struct seen seen;
    bool ok;

    must(now);
    memcpy(now, c, sizeof(*now));
    put_back(c);
    k->n_old = k->n;
    ok = on_copy(c, b, &seen) == RUN_GAVE_UP || alike(c, &seen, real);
    memcpy(&k->before, now, sizeof(*now));
    k->mxcsr = mxcsr;
    put_back(c);
    free(now);
    return ok;
}

/* A counter that two vCPUs change, one of them between our runs, differs for good, but not always. */
static bool is_wrong(struct soft_cpu *c, const struct block *b)
{
    struct check *k = c->check;

    k->strikes = k->suspect == b ? k->strikes + 1 : 1;
    k->suspect = b;
    return k->strikes == STRIKES || c->vm->n_cpus == 1;
}

static const char *what_differs(const struct seen *a, const struct seen *b)
{
    if (a->raised != b->raised || a->vector != b->vector || a->error != b->error)
        return "the exception";
    if (memcmp(a->reg, b->reg, sizeof(a->reg)) != 0)
        return "registers";
    if (a->rip != b->rip || a->ran != b->ran)
        return "RIP";
    if (a->flags != b->flags)
        return "flags";
    if (a->mxcsr != b->mxcsr || memcmp(a->ymm, b->ymm, sizeof(a->ymm)) != 0)
        return "vector registers";
    return a->cr2 != b->cr2 ? "CR2" : "memory";
}

static void report(struct soft_cpu *c, u64 rip, const struct block *b, const struct seen *want,
                   const struct seen *real)
{
    for (u32 i = 0; i < GPR_COUNT; i++)
        log_error("engine-check: register %u: interpreted 0x%llx, translated 0x%llx", i,
                  want->reg[i], real->reg[i]);
    log_error("engine-check: rip 0x%llx and 0x%llx, flags 0x%x and 0x%x, exception %d and %d",
              want->rip, real->rip, want->flags, real->flags, want->raised ? (int)want->vector : -1,
              real->raised ? (int)real->vector : -1);
    str_fmt(
        c->v->failure, sizeof(c->v->failure),
        "engine-check: %s differ after the block of %u instructions at 0x%llx (physical 0x%llx)",
        what_differs(want, real), b->n, rip, b->gpa);
}

bool soft_check_run(struct soft_cpu *c, struct block *b)
{
    struct jit_stats *s = &c->jit->stats;
    u64 rip = c->rip, flushes = s->flushes;
    struct seen want, real;
    enum run r;

    c->check->n = c->check->n_old = 0;
    if (!soft_check_is_new(b) && c->check->at_insns == c->insns) {
        soft_jit_run(c, b);
        return true;
    }
    c->check->at_insns = c->insns;
    b->runs++;
    r = b->jit->pure ? on_copy(c, b, &want) : RUN_GAVE_UP;
    if (s->flushes != flushes) /* there was no room for the other block: `b` is gone */
        return true;
    for_true(c, b, &real);
    if (r != RUN_GAVE_UP && is_whole(c, &want, &real)) {
        s->checked += b->n;
        if (alike(c, &want, &real)) {
            c->check->suspect = c->check->suspect == b ? NULL : c->check->suspect;
        } else if (alike_again(c, b, &real) || !is_wrong(c, b)) {
            s->raced++;
        } else {
            report(c, rip, b, &want, &real);
            return false;
        }
    }
    if (real.raised)
        longjmp(*c->fault, 1);
    return true;
}
