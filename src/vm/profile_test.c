/*
 * vm/profile_test.c: samples of vCPUs that go round.
 */
#include "vm/profile.c" /* NOLINT(bugprone-suspicious-include): its inside is tested */ /* its ticks are given by hand */

#include "testlib/test.h"
#include "vm/gdb_rig.h"

#include <sched.h>

struct got {
    char *json;
    bool done;
};

static void on_done(struct vm *, const char *json, void *arg)
{
    struct got *g = arg;

    g->done = true;
    g->json = json ? xdup(json) : NULL;
}

static u32 samples_of(const struct cpu_samples *s)
{
    return atomic_load(&s->n) + atomic_load(&s->n_idle);
}

TEST(profile_counts_addresses)
{
    struct rig *r = rig_new(2);
    struct got g = {};
    struct err e = {};
    json_t *j, *hit;
    u64 sum = 0;
    size_t i;

    r->cpus[1].s.run_state = VCPU_HALTED;
    CHECK_EQ(profile_start(r->vm.profile, 1, on_done, &g, &e), -EBUSY);
    CHECK_OK(run_start(&r->vm, &e), &e);
    CHECK_OK(profile_start(r->vm.profile, 1, on_done, &g, &e), &e);
    CHECK_EQ(profile_start(r->vm.profile, 1, on_done, &g, &e), -EBUSY);
    for (u32 ticks = 1; !g.done; ticks++) {
        on_tick(r->vm.profile->tick);
        for (u32 v = 0; v < 2 && !g.done; v++)
            while (samples_of(&r->vm.profile->cpus[v]) < ticks)
                sched_yield();
    }
    CHECK(g.json);
    j = json_loads(g.json, 0, NULL);
    CHECK(json_is_object(j));
    CHECK(json_integer_value(json_object_get(j, "samples")) == PROFILE_HZ);
    CHECK(json_integer_value(json_object_get(j, "idle")) == PROFILE_HZ);
    json_array_foreach(json_object_get(j, "hits"), i, hit)
    {
        u64 rip = 0;

        CHECK_EQ(str_u64(json_string_value(json_array_get(hit, 0)), &rip), 0);
        CHECK(rip >= CODE && rip < CODE_END);
        sum += (u64)json_integer_value(json_array_get(hit, 1));
    }
    CHECK_EQ(sum, json_integer_value(json_object_get(j, "samples")));
    json_decref(j);
    free(g.json);
    rig_free(r);
}

TEST(profile_ends_with_the_machine)
{
    struct rig *r = rig_new(1);
    struct got g = {};
    struct err e = {};

    CHECK_OK(run_start(&r->vm, &e), &e);
    CHECK_OK(profile_start(r->vm.profile, 60, on_done, &g, &e), &e);
    uv_run(&r->vm.loop.uv, UV_RUN_NOWAIT);
    rig_free(r);
    CHECK(g.done && !g.json);
}
