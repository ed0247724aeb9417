/*
 * cpu/soft/jit/map.c: the names of translations, as perf(1) wants them in /tmp/perf-PID.map: "START SIZE NAME", hex.
 */
#include "cpu/soft/jit/cache.h"
#include "cpu/soft/stub.h"

static void add(struct strbuf *out, const struct jit_cache *j, u32 from, u32 to, const char *name)
{
    if (to > from)
        strbuf_add(out, "%llx %x %s\n", (u64)(uintptr_t)(j->area.run_at + from), to - from, name);
}

/* In the order in which jit_thunks writes them. */
static void add_thunks(struct strbuf *out, const struct jit_cache *j)
{
    const struct {
        const char *name;
        u32 at;
    } rows[] = {
        { "socle: vector registers", j->thunk.store },
        { "socle: enter", j->thunk.enter },
        { "socle: call a handler", j->thunk.call },
        { "socle: a quantum ends", j->thunk.quantum },
        { "socle: leave", j->thunk.leave },
        { "socle: a jump's target, looked at again", j->thunk.doubt },
        { "socle: a page to read, looked up again", j->thunk.recent_r },
        { "socle: a page to write, looked up again", j->thunk.recent_w },
        { "socle: a target without translation", j->thunk.cold },
    };

    for (u32 i = 0; i < ARRAY_LEN(rows); i++)
        add(out, j, rows[i].at, i + 1 < ARRAY_LEN(rows) ? rows[i + 1].at : j->first, rows[i].name);
}

void soft_jit_map(const struct vcpu *v, struct strbuf *out)
{
    const struct soft_cpu *c = v->engine_data;
    const struct jit_cache *j = c->jit;

    strbuf_add(out, "%llx %zx socle: one-instruction stubs\n",
               (u64)(uintptr_t)c->stubs->area.run_at, c->stubs->area.size);
    add_thunks(out, j);
    for (u32 i = 0; i < j->n_blocks; i++) {
        const struct jit_block *k = &j->blocks[i];
        char name[80];

        str_fmt(name, sizeof(name), "guest %s 0x%llx", k->b->key & KEY_USER ? "user" : "kernel",
                k->b->gpa);
        add(out, j, k->at, k->end, name);
        add(out, j, k->cold_at, k->cold_end, name);
    }
}
