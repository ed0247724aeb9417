/*
 * base/trace.c: the rings behind the trace points.
 *   (1) A ring is written by its thread only; a reader may see a record half-written, which a dump tolerates.
 *   (2) Rings are never freed: the last words of a thread that ended are often what one looks for.
 */
#include "base/trace.h"

#include "base/clock.h"

#include <fnmatch.h>
#include <pthread.h>
#include <stdlib.h>

enum { TRACE_RING = 4096 };

struct record {
    const struct trace_point *point;
    u64 at_ns, arg[4];
};

struct ring {
    struct record rows[TRACE_RING];
    atomic_ullong written;
    char thread[16];
    struct ring *next;
    u64 at, end; /* of a dump under way */
};

static struct trace_point *points;
static _Atomic(struct ring *) rings;
static _Thread_local struct ring *my_ring;

void trace_register(struct trace_point *first, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        first[i].next = points;
        points = &first[i];
    }
}

int trace_enable(const char *pattern, bool on)
{
    int n = 0;

    for (struct trace_point *p = points; p; p = p->next) {
        if (fnmatch(pattern, p->name, 0) != 0)
            continue;
        atomic_store(&p->on, on);
        n++;
    }
    return n;
}

void trace_list(void (*fn)(void *arg, const struct trace_point *p), void *arg)
{
    for (const struct trace_point *p = points; p; p = p->next)
        fn(arg, p);
}

static struct ring *ring_get(void)
{
    if (!my_ring) {
        my_ring = xnew(struct ring);
        pthread_getname_np(pthread_self(), my_ring->thread, sizeof(my_ring->thread));
        my_ring->next = atomic_load(&rings);
        while (!atomic_compare_exchange_weak(&rings, &my_ring->next, my_ring))
            ;
    }
    return my_ring;
}

void trace_record(const struct trace_point *p, u64 a, u64 b, u64 c, u64 d)
{
    struct ring *r = ring_get();
    u64 at = atomic_load_explicit(&r->written, memory_order_relaxed);

    r->rows[at % TRACE_RING] = (struct record){ p, clock_mono_ns(), { a, b, c, d } };
    atomic_store_explicit(&r->written, at + 1, memory_order_release);
}

static void record_dump(FILE *to, const struct ring *r, const struct record *row)
{
    fprintf(to, "trace %llu.%06llu %s %s ", row->at_ns / NSEC_PER_SEC,
            row->at_ns % NSEC_PER_SEC / NSEC_PER_USEC, r->thread, row->point->name);
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral" /* each row's format takes u64s only */
    fprintf(to, row->point->fmt, row->arg[0], row->arg[1], row->arg[2], row->arg[3]);
#pragma GCC diagnostic pop
    fputc('\n', to);
}

/* The ring whose next record is the oldest; NULL: all are dumped. */
static struct ring *oldest_ring(void)
{
    struct ring *best = NULL;

    for (struct ring *r = atomic_load(&rings); r; r = r->next)
        if (r->at < r->end &&
            (!best || r->rows[r->at % TRACE_RING].at_ns < best->rows[best->at % TRACE_RING].at_ns))
            best = r;
    return best;
}

void trace_dump(FILE *to, u64 most)
{
    u64 left = 0;

    for (struct ring *r = atomic_load(&rings); r; r = r->next) {
        r->end = atomic_load(&r->written);
        r->at = r->end > TRACE_RING ? r->end - TRACE_RING : 0;
        left += r->end - r->at;
    }
    for (struct ring *r; (r = oldest_ring()); left--, r->at++)
        if (left <= most)
            record_dump(to, r, &r->rows[r->at % TRACE_RING]);
}
