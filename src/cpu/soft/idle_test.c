/*
 * cpu/soft/idle_test.c: who is woken soon polls before it sleeps; who is not, or has no CPU to spare, does not.
 */
#include "cpu/soft/rig.h"
#include "testlib/test.h"

enum { TRIES = 1000, LONG_NS = 1'000'000 };

/* True: one of many waits that end at once made it poll.  (A busy host may make one of them long.) */
static bool comes_to_poll(struct soft_cpu *c)
{
    soft_request(c, REQ_KICK);
    for (u32 i = 0; i < TRIES && !c->poll_ns; i++)
        soft_idle_wait(c, LAPIC_NEVER);
    atomic_store(&c->request, 0);
    return c->poll_ns;
}

TEST(idle_polls_after_short_waits_only)
{
    struct rig *r = rig_new(1);

    CHECK(comes_to_poll(r->c));
    soft_idle_wait(r->c, LONG_NS);
    CHECK_EQ(r->c->poll_ns, 0);
    r->c->vm->crowded = true;
    CHECK(!comes_to_poll(r->c));
    rig_free(r);
}
