/*
 * cpu/pick_test.c: the choice among engines that say how quick they are.
 */
#include "cpu/engine.h"
#include "testlib/test.h"

static int rate_quick(const struct cpu_pick *, struct cpu_rating *ret, struct err *)
{
    *ret = (struct cpu_rating){ 2000 * 1000 * 1000ull, 1500, 2 * NSEC_PER_MSEC };
    return 0;
}
static int rate_exits(const struct cpu_pick *, struct cpu_rating *ret, struct err *)
{
    *ret = (struct cpu_rating){ 2000 * 1000 * 1000ull, 300 * NSEC_PER_USEC, 0 };
    return 0;
}
static int rate_steady(const struct cpu_pick *, struct cpu_rating *ret, struct err *)
{
    *ret = (struct cpu_rating){ 150 * 1000 * 1000ull, 0, 0 };
    return 0;
}
static int rate_emulated(const struct cpu_pick *, struct cpu_rating *ret, struct err *)
{
    *ret =
        (struct cpu_rating){ 1 * 1000 * 1000ull, 40 * NSEC_PER_USEC, 0, "this host emulates it" };
    return 0;
}
static int rate_none(const struct cpu_pick *, struct cpu_rating *, struct err *e)
{
    return err_set(e, -ENOENT, "no device");
}

static const struct engine quick = { .name = "quick", .rate = rate_quick };
static const struct engine exits = { .name = "exits", .rate = rate_exits };
static const struct engine steady = { .name = "steady", .rate = rate_steady };
static const struct engine emulated = { .name = "emulated", .rate = rate_emulated };
static const struct engine none = { .name = "none", .rate = rate_none };

TEST(pick_engine)
{
    static const struct {
        const char *why;
        const struct engine *rows[2];
        const char *name;
        const struct engine *best; /* NULL: none */
        const char *says;
    } rows[] = {
        { "the quicker", { &steady, &quick }, "auto", &quick, "2000.0 million" },
        { "emulation is slow", { &emulated, &steady }, "auto", &steady, "this host emulates it" },
        { "dear exits count, too", { &exits, &steady }, "auto", &steady, "300.0 us" },
        { "what is there",
          { &none, &steady },
          "auto",
          &steady,
          "'none' cannot be used: no device" },
        { "emulation is better than nothing",
          { &emulated, &none },
          "auto",
          &emulated,
          "1.0 million" },
        { "nothing", { &none, &none }, "auto", NULL, "no device" },
        { "asked for", { &quick, &none }, "none", &none, "asked for" },
        { "unknown",
          { &quick, &steady },
          "turbo",
          NULL,
          "this build has 'quick', 'steady', 'auto'" },
    };

    for_each_row(c, rows) {
        AUTO(strbuf) struct strbuf why = {};
        struct err e = {};

        ROW(c);
        CHECK(engine_pick(c->rows, 2, &(struct cpu_pick){ .name = c->name }, &why, &e) == c->best);
        CHECK_HAS(c->best ? why.text : e.text, c->says);
    }
}
