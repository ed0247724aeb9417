/*
 * cpu/soft/idle.c: how a halted vCPU waits for what wakes it.
 *   (1) Whoever was woken soon the last time looks for requests a while before it sleeps, as KVM's halt polling does: two vCPUs that
 *       wait for each other in turn would else pay the host for a sleep and a wake-up each time, the latter under a lock of the
 *       guest's scheduler, for which the woken one spins.
 *   (2) Where it waited longer than POLL_MAX_NS, or the host has too few CPUs, it sleeps at once.
 */
#include "base/clock.h"
#include "cpu/soft/soft.h"

enum {
    POLL_MIN_NS = 10'000,
    POLL_MAX_NS = 200'000,
};

/* The host's time `ns` from `now_ns` on; NEVER stays. */
static u64 host_deadline(u64 now_ns, u64 ns)
{
    return ns == LAPIC_NEVER ? LAPIC_NEVER : now_ns + ns;
}

static void poll(struct soft_cpu *c, u64 began_ns, u64 deadline_ns)
{
    u64 end_ns = min(began_ns + c->poll_ns, deadline_ns);

    while (!atomic_load_explicit(&c->request, memory_order_relaxed) && clock_mono_ns() < end_ns)
        __builtin_ia32_pause();
}

static void sleep_on_host(struct soft_cpu *c, u64 host_at)
{
    struct timespec t = { (time_t)(host_at / NSEC_PER_SEC), (long)(host_at % NSEC_PER_SEC) };

    pthread_mutex_lock(&c->sleep_lock);
    atomic_store(&c->sleeping, true);
    while (!atomic_load(&c->request)) {
        int r = host_at == LAPIC_NEVER ? pthread_cond_wait(&c->awake, &c->sleep_lock)
                                       : pthread_cond_timedwait(&c->awake, &c->sleep_lock, &t);
        if (r == ETIMEDOUT)
            break;
    }
    atomic_store(&c->sleeping, false);
    pthread_mutex_unlock(&c->sleep_lock);
}

void soft_idle_wait(struct soft_cpu *c, u64 ns)
{
    u64 began_ns = clock_mono_ns(), host_at = host_deadline(began_ns, ns), waited_ns;

    if (c->poll_ns)
        poll(c, began_ns, host_at);
    sleep_on_host(c, host_at);
    waited_ns = clock_mono_ns() - began_ns;
    if (waited_ns > POLL_MAX_NS || c->vm->crowded)
        c->poll_ns = 0;
    else if (waited_ns > c->poll_ns)
        c->poll_ns = min(max(2 * c->poll_ns, (u64)POLL_MIN_NS), (u64)POLL_MAX_NS);
}
