/*
 * base/loop_test.c: who may touch a loop that does not run any more.
 */
#include "base/loop.h"

#include "testlib/test.h"

#include <poll.h>
#include <sched.h>

struct caller {
    struct loop loop;
    atomic_bool begun, called;
};

static void on_call(void *arg)
{
    atomic_store(&((struct caller *)arg)->called, true);
}

static void *call_main(void *arg)
{
    struct caller *c = arg;

    atomic_store(&c->begun, true);
    loop_call(&c->loop, on_call, c);
    return NULL;
}

/* A loop that one thread closes is not opened something on by another. */
TEST(loop_held)
{
    struct caller c = {};
    pthread_t thread;

    CHECK_EQ(loop_init(&c.loop, "test"), 0);
    loop_stop(&c.loop);
    loop_run(&c.loop);
    loop_hold(&c.loop);
    loop_call(&c.loop, on_call, &c); /* its own are not kept waiting */
    CHECK(atomic_exchange(&c.called, false));
    CHECK_EQ(pthread_create(&thread, NULL, call_main, &c), 0);
    while (!atomic_load(&c.begun))
        sched_yield();
    poll(NULL, 0, 50);
    CHECK(!atomic_load(&c.called));
    loop_release(&c.loop);
    pthread_join(thread, NULL);
    CHECK(atomic_load(&c.called));
    loop_fini(&c.loop);
}
