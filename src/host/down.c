/*
 * host/down.c: the host is shut down, and its machines before it.
 * A thread asks them one after the other, and waits for all; the loop sees them end.
 */
#include "host/down.h"

#include "host/process.h"

#include <pthread.h>

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

static u32 count_locked(const struct host *h)
{
    u32 n = 0;

    for (u32 i = 0; i < h->n; i++)
        n += h->list[i]->pidfd >= 0;
    return n;
}

/* So many are left. */
static u32 wait_until(struct host *h, const struct timespec *until)
{
    u32 n;
    int r = 0;

    host_lock(h);
    while ((n = count_locked(h)) > 0 && r == 0)
        r = pthread_cond_timedwait(&h->changed, &h->lock, until);
    host_unlock(h);
    return n;
}

static struct timespec in_seconds(u32 seconds)
{
    struct timespec t;

    clock_gettime(CLOCK_REALTIME, &t);
    t.tv_sec += seconds;
    return t;
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

static void *main_of_down(void *arg)
{
    struct down *d = arg;
    struct host *h = d->h;
    const struct timespec until = in_seconds(d->seconds);
    struct timespec soon;

    for (u32 i = 0; i < h->n; i++)
        ask(h->list[i], d->seconds);
    d->cut = wait_until(h, &until);
    for (u32 i = 0; i < h->n && d->cut; i++)
        turn_off(h->list[i]);
    soon = in_seconds(PROCESS_OFF_SECONDS);
    if (wait_until(h, &soon) > 0) {
        for (u32 i = 0; i < h->n; i++)
            process_kill(h->list[i]);
        soon = in_seconds(PROCESS_OFF_SECONDS);
        (void)wait_until(h, &soon);
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
