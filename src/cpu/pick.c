/*
 * cpu/pick.c: which engine runs a machine.
 */
#include "cpu/engine.h"

/* What a guest does between two exits, when it is neither idle nor all I/O; weighs an exit's cost against plain speed. */
enum { INSTRUCTIONS_PER_EXIT = 20000 };

/* A new engine is one row; where two are as quick as each other, `auto` takes the first. */
static const struct engine *const engines[] = { &kvm_engine, &soft_engine };

/* ns for INSTRUCTIONS_PER_EXIT instructions and an exit. */
static u64 cost_of(const struct cpu_rating *r)
{
    return INSTRUCTIONS_PER_EXIT * NSEC_PER_SEC / max(r->ips, 1ull) + r->exit_ns;
}

static void describe(const struct engine *en, const struct cpu_rating *r, struct strbuf *out)
{
    strbuf_add(out, "'%s' runs %llu.%llu million instructions a second in ring 0", en->name,
               r->ips / 1000000, r->ips % 1000000 / 100000);
    if (r->exit_ns)
        strbuf_add(out, ", an exit takes %llu.%llu us", r->exit_ns / 1000, r->exit_ns % 1000 / 100);
    if (r->took_ns)
        strbuf_add(out, " (measured in %llu.%llu ms)", r->took_ns / NSEC_PER_MSEC,
                   r->took_ns % NSEC_PER_MSEC / (NSEC_PER_MSEC / 10));
    if (r->note)
        strbuf_add(out, ": %s", r->note);
}

/* The quickest; what was found about each is in `why`. */
static const struct engine *quickest(const struct engine *const *rows, u32 n,
                                     const struct cpu_pick *p, struct strbuf *why)
{
    const struct engine *best = NULL;
    u64 best_cost = 0;

    for (u32 i = 0; i < n; i++) {
        struct cpu_rating r = {};
        struct err e = {};

        if (!rows[i]->rate)
            continue;
        strbuf_add(why, "%s", why->len ? "; " : "");
        if (rows[i]->rate(p, &r, &e) < 0) {
            strbuf_add(why, "'%s' cannot be used: %s", rows[i]->name, e.text);
            continue;
        }
        describe(rows[i], &r, why);
        if (best && cost_of(&r) >= best_cost)
            continue;
        best = rows[i];
        best_cost = cost_of(&r);
    }
    return best;
}

const struct engine *engine_pick(const struct engine *const *rows, u32 n, const struct cpu_pick *p,
                                 struct strbuf *why, struct err *e)
{
    AUTO(strbuf) struct strbuf names = {};
    const struct engine *best;

    for (u32 i = 0; i < n; i++) {
        if (strcmp(rows[i]->name, p->name) == 0) {
            strbuf_add(why, "asked for");
            return rows[i];
        }
        strbuf_add(&names, "'%s', ", rows[i]->name);
    }
    if (strcmp(p->name, "auto") != 0) {
        err_set(e, -EINVAL, "engine '%s': this build has %s'auto'", p->name, names.text);
        return NULL;
    }
    best = quickest(rows, n, p, why);
    if (!best)
        err_set(e, -ENOTSUP, "engine 'auto': %s", why->text);
    return best;
}

const struct engine *cpu_engine_pick(const struct cpu_pick *p, char *ret_why, size_t why_size,
                                     struct err *e)
{
    AUTO(strbuf) struct strbuf why = {};
    const struct engine *en = engine_pick(engines, ARRAY_LEN(engines), p, &why, e);

    if (en)
        str_fmt(ret_why, why_size, "%s", why.text); /* cut when it is long */
    return en;
}
