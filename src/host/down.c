/*
 * host/down.c: the host is shut down, and its machines before it.
 * A thread asks them, and waits for all; the loop sees them end.
 * They are asked in turns: those without an `autostart_order` first, then the others, the highest first, as what was started last builds on what was
 * there before.  Of the time that is left each turn has its part, and what it does not need is the next ones'; who is late then has until the
 * end like all others, and holds up nobody.
 */
#include "host/down.h"

#include "base/clock.h"
#include "host/process.h"

#include <pthread.h>
#include <stdlib.h>

enum { TURN_FIRST = UINT16_MAX, TURN_ALL = 0 }; /* above each autostart_order; no turn */

struct down {
    struct host *h;
    u32 seconds;
    u32 cut; /* so many had to be turned off */
};

static bool is_watched(struct instance *i)
{
    enum host_state state;

    return process_is_watched(i, &state);
}

static u32 turn_of(const struct instance *i)
{
    return i->cfg.autostart_order ? i->cfg.autostart_order : TURN_FIRST;
}

static u32 count_locked(const struct host *h, u32 turn)
{
    u32 n = 0;

    for (u32 i = 0; i < h->n; i++)
        n += h->list[i]->pidfd >= 0 && (turn == TURN_ALL || turn_of(h->list[i]) == turn);
    return n;
}

static struct timespec at_ns(u64 ns)
{
    return (struct timespec){ .tv_sec = (time_t)(ns / NSEC_PER_SEC),
                              .tv_nsec = (long)(ns % NSEC_PER_SEC) };
}

/* So many of the turn's are left. */
static u32 wait_until(struct host *h, u32 turn, u64 until_ns)
{
    const struct timespec until = at_ns(until_ns);
    u32 n;
    int r = 0;

    host_lock(h);
    while ((n = count_locked(h, turn)) > 0 && r == 0)
        r = pthread_cond_timedwait(&h->changed, &h->lock, &until);
    host_unlock(h);
    return n;
}

static u64 in_seconds(u32 seconds)
{
    return clock_real_ns() + seconds * NSEC_PER_SEC;
}

/* Of one that is being stopped already the button was pressed. */
static void ask(struct instance *i, u32 seconds)
{
    enum host_state state;
    struct err e = {};

    if (i->silent)
        log_warn("machine '%s' does not answer: it is not shut down", i->cfg.spec.name);
    if (!process_is_watched(i, &state))
        return;
    if (process_note_stopping(i, &e) < 0)
        log_warn("%s", e.text);
    if (state != HOST_STOPPING && state != HOST_DELETING && process_press(i, seconds, &e) < 0)
        log_warn("machine '%s' does not hear that it is to shut down: %s", i->cfg.spec.name,
                 e.text);
}

static void turn_off(struct instance *i)
{
    struct err e = {};

    if (!is_watched(i))
        return;
    log_notice("machine '%s' does not shut down: it is turned off", i->cfg.spec.name);
    if (process_turn_off(i, &e) < 0)
        log_warn("machine '%s': %s", i->cfg.spec.name, e.text);
}

static int later_turn(const void *a, const void *b)
{
    const u32 x = *(const u32 *)a, y = *(const u32 *)b;

    return x < y ? 1 : -(x > y);
}

/* The turns that there are, each once, in their order; owned. */
static u32 *list_turns(struct host *h, u32 *ret_n)
{
    u32 *turns, n = 0, kept = 0;

    host_lock(h);
    turns = xnew_n(u32, h->n + 1);
    for (u32 i = 0; i < h->n; i++)
        if (h->list[i]->pidfd >= 0)
            turns[n++] = turn_of(h->list[i]);
    host_unlock(h);
    qsort(turns, n, sizeof(*turns), later_turn);
    for (u32 i = 0; i < n; i++)
        if (kept == 0 || turns[kept - 1] != turns[i])
            turns[kept++] = turns[i];
    *ret_n = kept;
    return turns;
}

/* All are asked before the end of the time. */
static void ask_all(struct host *h, u64 until_ns)
{
    u32 n;
    AUTO(free) u32 *turns = list_turns(h, &n);

    for (u32 t = 0; t < n; t++) {
        const u64 now = clock_real_ns(), left = until_ns > now ? until_ns - now : 0;

        for (u32 i = 0; i < h->n; i++)
            if (turn_of(h->list[i]) == turns[t])
                ask(h->list[i], (u32)(left / NSEC_PER_SEC) + 1);
        if (t + 1 < n)
            (void)wait_until(h, turns[t], now + left / (n - t));
    }
}

static void *main_of_down(void *arg)
{
    struct down *d = arg;
    struct host *h = d->h;
    const u64 until = in_seconds(d->seconds);

    ask_all(h, until);
    d->cut = wait_until(h, TURN_ALL, until);
    for (u32 i = 0; i < h->n && d->cut; i++)
        turn_off(h->list[i]);
    if (wait_until(h, TURN_ALL, in_seconds(PROCESS_OFF_SECONDS)) > 0) {
        for (u32 i = 0; i < h->n; i++)
            process_kill(h->list[i]);
        (void)wait_until(h, TURN_ALL, in_seconds(PROCESS_OFF_SECONDS));
    }
    loop_stop(h->loop);
    return NULL;
}

int host_down(struct host *h, u32 seconds, struct err *e)
{
    struct down d = { .h = h, .seconds = seconds };
    pthread_t thread;
    int r;

    uv_timer_stop(&h->begin);
    r = -pthread_create(&thread, NULL, main_of_down, &d);
    if (r < 0)
        return err_code(e, r, "start a thread");
    loop_run(h->loop);
    pthread_join(thread, NULL);
    return (int)d.cut;
}
