/*
 * host/guest_turn.c: see guest_turn.h.
 */
#include "host/guest_turn.h"

#include "base/clock.h"
#include "host/agent.h"

#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/socket.h>

enum { TURN_MS = 200 };

void guest_turn_open_locked(struct guest_turn *t, const struct instance *i, int stop)
{
    struct host *h = i->host;
    AUTO(free) char *folder = host_folder(h, i);

    *t = (struct guest_turn){ .host = h, .stop = stop, .next = h->turns };
    str_copy(t->id, sizeof(t->id), i->id);
    t->path = str_new("%s/agent", folder);
    h->turns = t;
}

void guest_turn_close_locked(struct guest_turn *t)
{
    if (!t->path)
        return;
    for (struct guest_turn **at = &t->host->turns; *at; at = &(*at)->next)
        if (*at == t) {
            *at = t->next;
            break;
        }
    agent_memory_give(&t->answer, 0);
    free(TAKE(t->path));
}

static bool is_busy_locked(const struct guest_turn *t)
{
    for (const struct guest_turn *o = t->host->turns; o; o = o->next)
        if (o != t && o->talks && strcmp(o->id, t->id) == 0)
            return true;
    return false;
}

static bool is_stopped(const struct guest_turn *t)
{
    struct pollfd p = { t->stop, POLLRDHUP, 0 };

    return poll(&p, 1, 0) > 0;
}

/* Has it the turn?  Waits for a change, but not for long. */
static bool try_turn(struct guest_turn *t)
{
    struct timespec until;
    bool busy;

    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_nsec += (long)(TURN_MS * NSEC_PER_MSEC);
    until.tv_sec += until.tv_nsec / (long)NSEC_PER_SEC;
    until.tv_nsec %= (long)NSEC_PER_SEC;
    host_lock(t->host);
    if (is_busy_locked(t))
        (void)pthread_cond_timedwait(&t->host->changed, &t->host->lock, &until);
    busy = is_busy_locked(t);
    t->talks = !busy;
    host_unlock(t->host);
    return !busy;
}

static int take_turn(struct guest_turn *t, u64 until_ns, struct err *e)
{
    do {
        if (is_stopped(t))
            return err_set(e, -ECANCELED, "its client is gone");
        if (until_ns && clock_mono_ns() >= until_ns)
            return err_set(e, -EBUSY, "others talk with the guest agent");
    } while (!try_turn(t));
    return 0;
}

static void end_turn(struct guest_turn *t)
{
    host_lock(t->host);
    t->talks = false;
    pthread_cond_broadcast(&t->host->changed);
    host_unlock(t->host);
}

json_t *guest_turn_ask(struct guest_turn *t, const char *command, json_t *arguments, u64 until_ns,
                       struct err *e)
{
    struct agent a = { .fd = -1 };
    json_t *ret = NULL;

    agent_memory_give(&t->answer, 0);
    if (take_turn(t, until_ns, e) < 0) {
        json_decref(arguments);
        return NULL;
    }
    if (agent_open(&a, t->path, t->stop, until_ns, e) >= 0)
        ret = agent_ask(&a, command, arguments, &t->answer, e);
    else
        json_decref(arguments);
    agent_close(&a);
    end_turn(t);
    return ret;
}
