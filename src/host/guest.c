/*
 * host/guest.c: see guest.h.
 */
#include "host/guest.h"

#include "host/agent.h"
#include "host/process.h"

#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

enum { LAST_WORD_MS = 10000 };

/* host/agent_memory.h, (2) */
static_assert(GUEST_RUNS_MAX * 3ull * (AGENT_READ_LINE_MAX + 65536) + 3ull * AGENT_LINE_MAX <=
                  AGENT_MEMORY_MAX,
              "all may read a piece, and one all there is");

json_t *guest_ask(struct guest_run *g, const char *command, json_t *arguments, struct err *e)
{
    return guest_turn_ask(&g->turn, command, arguments, 0, e);
}

/* ---- the client ---- */

bool guest_is_alone(const struct guest_run *g, int ms)
{
    struct pollfd p = { g->fd, POLLRDHUP, 0 };

    return poll(&p, 1, ms) > 0;
}

enum host_state guest_state(const struct guest_run *g)
{
    const struct instance *i;
    enum host_state state = HOST_OFF;

    host_lock(g->turn.host);
    i = host_by_id_locked(g->turn.host, g->turn.id);
    if (i && host_is_alive(i))
        state = i->run.state;
    host_unlock(g->turn.host);
    return state;
}

int guest_say(const struct guest_run *g, u8 kind, const void *data, size_t len)
{
    AUTO(strbuf) struct strbuf out = {};
    size_t at = 0;

    os_frame_add(&out, kind, data, len);
    while (at < out.len) {
        ssize_t n = send(g->fd, out.text + at, out.len - at, MSG_NOSIGNAL);

        if (n < 0 && errno != EINTR)
            return -ECANCELED;
        at += n > 0 ? (size_t)n : 0;
    }
    return 0;
}

/* What keeps the agent from answering, for who may not know of it. */
static void explain(const struct guest_run *g, struct err *e)
{
    const char *found = e->code == -ENOTCONN    ? "no program has its port open"
                        : e->code == -ETIMEDOUT ? "its port is open, but nothing comes"
                                                : NULL;

    if (!found)
        err_wrap(e, "machine '%.63s'", g->name);
    else
        err_set(e, e->code,
                "no guest agent answers in '%.63s': %s; install the package 'qemu-guest-agent' in "
                "the guest, or see there why it does not run (it starts late in the boot)",
                g->name, found);
}

/* Who closes with something unread takes back what was said: so the client closes first. */
static void hear_out(const struct guest_run *g)
{
    struct pollfd p = { g->fd, POLLIN, 0 };
    char buf[4096];

    (void)shutdown(g->fd, SHUT_WR);
    while (poll(&p, 1, LAST_WORD_MS) > 0 && recv(g->fd, buf, sizeof(buf), MSG_DONTWAIT) > 0)
        continue;
}

/* ---- the thread ---- */

static void run_free_locked(struct guest_run *g)
{
    fd_close(&g->fd);
    guest_turn_close_locked(&g->turn);
    free(g->name);
    free(g);
}

static void leave(struct guest_run *g)
{
    struct host *h = g->turn.host;

    host_lock(h);
    for (struct guest_run **at = &h->guests; *at; at = &(*at)->next)
        if (*at == g) {
            *at = g->next;
            break;
        }
    run_free_locked(g);
    pthread_cond_broadcast(&h->changed);
    host_unlock(h);
}

static void *main_of_guest(void *arg)
{
    struct guest_run *g = arg;
    struct err e = {};

    if (g->fn(g, &e) < 0) {
        explain(g, &e);
        (void)guest_say(g, OS_FRAME_FAILED, e.text, strlen(e.text));
    }
    hear_out(g);
    leave(g);
    return NULL;
}

/* NULL with `e`: nothing can be done in its guest now. */
static const struct instance *find_locked(struct host *h, const char *id, struct err *e)
{
    const struct instance *i = host_by_id_locked(h, id);
    u32 n = 0;

    for (const struct guest_run *o = h->guests; o; o = o->next)
        n++;
    if (!i)
        err_set(e, -ENOENT, "there is no instance '%.23s'", id);
    else if (!host_is_alive(i) || i->run.state == HOST_PAUSED)
        err_set(e, -EBUSY, "'%s' is %s", i->cfg.spec.name, host_state_words[i->run.state]);
    else if (n >= GUEST_RUNS_MAX || h->closing)
        err_set(e, -EBUSY, "%u clients are at work in guests; %u are allowed", n, GUEST_RUNS_MAX);
    else
        return i;
    return NULL;
}

static int begin_locked(struct guest_run *g, const struct instance *i, int *ret_fd, struct err *e)
{
    struct host *h = i->host;
    pthread_attr_t detached;
    pthread_t thread;
    int pair[2], r;

    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
        return err_errno(e, "make a socket");
    g->fd = pair[0];
    (void)fcntl(pair[1], F_SETFL, O_NONBLOCK);
    guest_turn_open_locked(&g->turn, i, g->fd);
    g->name = xdup(i->cfg.spec.name);
    pthread_attr_init(&detached);
    pthread_attr_setdetachstate(&detached, PTHREAD_CREATE_DETACHED);
    r = -pthread_create(&thread, &detached, main_of_guest, g);
    pthread_attr_destroy(&detached);
    if (r < 0) {
        close(pair[1]);
        return err_code(e, r, "start a thread");
    }
    g->next = h->guests;
    h->guests = g;
    *ret_fd = pair[1];
    return 0;
}

int guest_begin(struct host *h, const char *id, int (*fn)(struct guest_run *g, struct err *e),
                int *ret_fd, struct err *e)
{
    struct guest_run *g = xnew(struct guest_run);
    const struct instance *i;
    int r;

    *g = (struct guest_run){ .fd = -1, .fn = fn };
    host_lock(h);
    i = find_locked(h, id, e);
    r = i ? begin_locked(g, i, ret_fd, e) : e->code;
    if (r < 0)
        run_free_locked(g);
    host_unlock(h);
    return r;
}

void guest_close(struct host *h)
{
    host_lock(h);
    for (const struct guest_run *g = h->guests; g; g = g->next)
        (void)shutdown(g->fd, SHUT_RDWR);
    while (h->guests)
        pthread_cond_wait(&h->changed, &h->lock);
    host_unlock(h);
}
