/*
 * vm/profile.c: samples of where the vCPUs are.
 *   (1) A vCPU writes its own samples, then their number; the control loop reads the number, then the samples.
 *   (2) The buffers are made by the first profile and kept: a vCPU may be about to write when a profile ends.
 */
#include "vm/profile.h"

#include "vm/machine.h"

#include <stdlib.h>

enum { HITS_MAX = 8192 }; /* addresses of one answer */

struct cpu_samples {
    atomic_bool wanted;
    atomic_uint n, n_idle;
    u64 *rips;
    struct vcpu_state *scratch;
};

struct profile {
    struct vm *vm;
    uv_timer_t *tick; /* on the heap: libuv frees handles later than we close them */
    u32 ticks_left, seconds;
    profile_done done;
    void *arg;
    u32 n_cpus;
    struct cpu_samples cpus[CPU_MAX];
};

struct hit {
    u64 rip;
    u32 count;
};

void profile_sample(struct profile *p, struct vcpu *v)
{
    struct cpu_samples *s = &p->cpus[v->index];
    u32 n = atomic_load_explicit(&s->n, memory_order_relaxed);

    if (!atomic_exchange(&s->wanted, false) || n == PROFILE_SAMPLES_MAX ||
        vcpu_regs_get(v, s->scratch, NULL) < 0)
        return;
    if (s->scratch->run_state != VCPU_RUNNABLE) {
        atomic_fetch_add(&s->n_idle, 1);
        return;
    }
    s->rips[n] = s->scratch->rip;
    atomic_store_explicit(&s->n, n + 1, memory_order_release);
}

static int by_rip(const void *a, const void *b)
{
    const struct hit *x = a, *y = b;

    return x->rip < y->rip ? -1 : x->rip > y->rip;
}

/* Most frequent first; then by address, so that the order is always the same. */
static int by_count(const void *a, const void *b)
{
    const struct hit *x = a, *y = b;

    return x->count != y->count ? (x->count < y->count ? 1 : -1) : by_rip(a, b);
}

/* The `n` samples of all vCPUs, counted: *ret_hits of them, owned. */
static struct hit *count_hits(struct profile *p, u32 n, u32 *ret_hits)
{
    struct hit *hits = xnew_n(struct hit, n + 1);
    u32 at = 0, kept = 0;

    for (u32 i = 0; i < p->n_cpus; i++)
        for (u32 j = 0; j < atomic_load(&p->cpus[i].n) && at < n; j++)
            hits[at++] = (struct hit){ p->cpus[i].rips[j], 1 };
    qsort(hits, at, sizeof(hits[0]), by_rip);
    for (u32 i = 0; i < at; i++) {
        if (kept && hits[kept - 1].rip == hits[i].rip)
            hits[kept - 1].count++;
        else
            hits[kept++] = hits[i];
    }
    qsort(hits, kept, sizeof(hits[0]), by_count);
    *ret_hits = kept;
    return hits;
}

static void print(struct profile *p, struct strbuf *out)
{
    u32 n = 0, idle = 0, n_hits, rest = 0;
    struct hit *hits;

    for (u32 i = 0; i < p->n_cpus; i++) {
        n += atomic_load_explicit(&p->cpus[i].n, memory_order_acquire);
        idle += atomic_load(&p->cpus[i].n_idle);
    }
    hits = count_hits(p, n, &n_hits);
    strbuf_add(out, "{\"seconds\": %u, \"samples\": %u, \"idle\": %u, \"hits\": [", p->seconds, n,
               idle);
    for (u32 i = 0; i < n_hits; i++) {
        if (i < HITS_MAX)
            strbuf_add(out, "%s[\"0x%llx\", %u]", i ? ", " : "", hits[i].rip, hits[i].count);
        else
            rest += hits[i].count;
    }
    strbuf_add(out, "], \"rest\": %u}", rest);
    free(hits);
}

static void finish(struct profile *p, const char *json)
{
    profile_done done = p->done;

    p->done = NULL;
    for (u32 i = 0; i < p->n_cpus; i++)
        atomic_store(&p->cpus[i].wanted, false);
    done(p->vm, json, p->arg);
}

static void on_tick(uv_timer_t *t)
{
    struct profile *p = t->data;
    AUTO(strbuf) struct strbuf json = {};

    if (p->ticks_left == 0) {
        uv_timer_stop(t);
        print(p, &json);
        finish(p, json.text);
        return;
    }
    p->ticks_left--;
    if (p->vm->state != RUN_RUNNING)
        return; /* paused for a moment: those samples are missing */
    for (u32 i = 0; i < p->n_cpus; i++) {
        atomic_store(&p->cpus[i].wanted, true);
        vcpu_kick(cpu_vcpu(p->vm->cpu, i));
    }
}

static void make_buffers(struct profile *p)
{
    for (u32 i = 0; i < p->n_cpus; i++) {
        struct cpu_samples *s = &p->cpus[i];

        atomic_store(&s->n, 0);
        atomic_store(&s->n_idle, 0);
        if (s->rips)
            continue;
        s->rips = xnew_n(u64, PROFILE_SAMPLES_MAX);
        s->scratch = xnew(struct vcpu_state);
    }
}

int profile_start(struct profile *p, u64 seconds, profile_done done, void *arg, struct err *e)
{
    if (seconds < 1 || seconds > PROFILE_SECONDS_MAX)
        return err_set(e, -EINVAL, "profile of %llu seconds: allowed are 1 to %d", seconds,
                       PROFILE_SECONDS_MAX);
    if (p->done)
        return err_set(e, -EBUSY, "another profile is under way");
    if (p->vm->state != RUN_RUNNING)
        return err_set(e, -EBUSY, "the machine is %s", run_state_name(p->vm->state));
    if (!p->tick) {
        p->tick = xnew(uv_timer_t);
        uv_timer_init(&p->vm->loop.uv, p->tick);
        p->tick->data = p;
    }
    p->n_cpus = cpu_count(p->vm->cpu);
    make_buffers(p);
    p->seconds = (u32)seconds;
    p->ticks_left = p->seconds * PROFILE_HZ;
    p->done = done;
    p->arg = arg;
    uv_timer_start(p->tick, on_tick, 0, 1000 / PROFILE_HZ);
    return 0;
}

void profile_open(struct vm *vm, struct profile **ret)
{
    *ret = xnew(struct profile);
    (*ret)->vm = vm;
}

static void on_tick_closed(uv_handle_t *h)
{
    free(h);
}

void profile_close(struct profile *p)
{
    if (!p)
        return;
    if (p->done)
        finish(p, NULL);
    if (p->tick)
        uv_close((uv_handle_t *)p->tick, on_tick_closed);
    for (u32 i = 0; i < p->n_cpus; i++) {
        free(p->cpus[i].rips);
        free(p->cpus[i].scratch);
    }
    free(p);
}
