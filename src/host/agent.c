/*
 * host/agent.c: see agent.h.
 */
#include "host/agent.h"

#include "base/clock.h"
#include "host/talk.h"

#include <poll.h>
#include <stdlib.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

enum { CHUNK = 64 * 1024, SYNC_LINE_MAX = 4096, DELIMITER = 0xff };

/* What has answers that are not short. */
static const struct {
    const char *command;
    size_t line_max;
} long_answers[] = {
    { "guest-exec-status", AGENT_LINE_MAX },
    { "guest-file-read", AGENT_READ_LINE_MAX },
};

static size_t line_max(const char *command)
{
    for_each_row(l, long_answers)
        if (strcmp(l->command, command) == 0)
            return l->line_max;
    return AGENT_SHORT;
}

static u64 in_seconds(const struct agent *a, u32 seconds)
{
    const u64 until = clock_mono_ns() + seconds * NSEC_PER_SEC;

    return a->until_ns ? min(until, a->until_ns) : until;
}

/* Until a->fd is ready for `events`. */
static int wait_for(const struct agent *a, short events, u64 until, struct err *e)
{
    struct pollfd p[2] = { { a->fd, events, 0 }, { a->stop, POLLRDHUP, 0 } };
    u64 now = clock_mono_ns();

    while (now < until) {
        int n = poll(p, 2, (int)((until - now) / NSEC_PER_MSEC) + 1);

        if (n > 0 && p[1].revents)
            return err_set(e, -ECANCELED, "its client is gone");
        if (n > 0)
            return 0;
        now = clock_mono_ns();
    }
    return err_set(e, -ETIMEDOUT, "the guest agent does not answer");
}

/* A line that is expected. */
struct reading {
    const char *command; /* to which it is the answer */
    size_t limit;
    u64 until;
    struct agent_memory *m; /* NULL: the limit is a short one */
};

static int read_more(struct agent *a, u64 until, struct err *e)
{
    char buf[CHUNK];
    int r = wait_for(a, POLLIN, until, e);
    ssize_t n = r < 0 ? 0 : recv(a->fd, buf, sizeof(buf), MSG_DONTWAIT);

    if (r < 0 || (n < 0 && (errno == EAGAIN || errno == EINTR)))
        return r;
    if (n < 0 && errno != ECONNRESET)
        return err_errno(e, "read the guest agent's answer");
    if (n <= 0)
        return err_set(e, -ENOTCONN, "no program in the guest has its port open");
    if (a->at) { /* a line is taken as a whole: what is left is little */
        memmove(a->got.text, a->got.text + a->at, a->got.len - a->at);
        a->got.len -= a->at;
        a->at = 0;
    }
    strbuf_add_mem(&a->got, buf, (size_t)n);
    return 0;
}

/* Before more than `have` bytes of a line are read.  Who waits for memory does not read, so the guest waits as well: that is not its time. */
static int make_room(const struct agent *a, struct reading *rd, size_t have, struct err *e)
{
    static const size_t steps[] = { AGENT_READ_LINE_MAX, AGENT_LINE_MAX };
    const u64 now = clock_mono_ns();
    size_t need = AGENT_SHORT;
    int r;

    for_each_row(s, steps)
        if (have + CHUNK > need && need < rd->limit)
            need = min(*s, rd->limit);
    if (need <= AGENT_SHORT || !rd->m)
        return 0;
    r = agent_memory_take(rd->m, agent_memory_of(need + CHUNK), a->stop,
                          now + AGENT_ANSWER_SECONDS * NSEC_PER_SEC, e);
    rd->until += clock_mono_ns() - now;
    return r;
}

/* The next line, valid until more is read.  -EMSGSIZE: it is longer than its limit, and what was read of it is thrown away. */
static int read_line(struct agent *a, struct reading *rd, const char **ret, size_t *ret_len,
                     struct err *e)
{
    size_t seen = 0;

    for (;;) {
        const size_t have = a->got.len - a->at;
        const char *text = a->got.text + a->at,
                   *eol = have > seen ? memchr(text + seen, '\n', have - seen) : NULL;
        int r;

        if (eol && (size_t)(eol - text) <= rd->limit) {
            *ret = text;
            *ret_len = (size_t)(eol - text);
            a->at += *ret_len + 1;
            return 0;
        }
        if (have > rd->limit) {
            a->at = a->got.len;
            return err_set(e, -EMSGSIZE,
                           "the guest agent's answer to %s has %zu bytes or more; %zu are allowed",
                           rd->command, have, rd->limit);
        }
        seen = have;
        r = make_room(a, rd, have, e);
        if (r >= 0)
            r = read_more(a, rd->until, e);
        if (r < 0)
            return r;
    }
}

static int send_all(const struct agent *a, const char *text, size_t len, u64 until, struct err *e)
{
    while (len) {
        ssize_t n = send(a->fd, text, len, MSG_NOSIGNAL | MSG_DONTWAIT);
        int r = 0;

        if (n >= 0) {
            text += n;
            len -= (size_t)n;
        } else if (errno == EAGAIN) {
            r = wait_for(a, POLLOUT, until, e);
        } else if (errno == EPIPE || errno == ECONNRESET) {
            r = err_set(e, -ENOTCONN, "no program in the guest has its port open");
        } else if (errno != EINTR) {
            r = err_errno(e, "ask the guest agent");
        }
        if (r < 0)
            return r;
    }
    return 0;
}

/* Past what was said to others: up to a delimiter. */
static int skip(struct agent *a, u64 until, struct err *e)
{
    for (;;) {
        const size_t have = a->got.len - a->at;
        const char *mark = have ? memchr(a->got.text + a->at, DELIMITER, have) : NULL;
        int r;

        a->at = mark ? (size_t)(mark + 1 - a->got.text) : a->got.len;
        if (mark)
            return 0;
        r = read_more(a, until, e);
        if (r < 0)
            return r;
    }
}

int agent_sync(struct agent *a, u32 id, struct err *e)
{
    const u64 until = in_seconds(a, AGENT_SYNC_SECONDS);
    AUTO(free)
    char *request = agent_request("guest-sync-delimited", json_pack("{s:I}", "id", (json_int_t)id)),
         *text = str_new("%c%s", DELIMITER, request);
    int r = send_all(a, text, strlen(text), until, e);

    while (r >= 0) {
        struct reading rd = { "guest-sync-delimited", SYNC_LINE_MAX, until, NULL };
        const char *line = NULL;
        json_t *ret = NULL;
        size_t len = 0;
        bool ours;

        r = skip(a, until, e);
        if (r >= 0)
            r = read_line(a, &rd, &line, &len, e);
        if (r == -EMSGSIZE)
            r = 0; /* it was not for us */
        else if (r >= 0)
            ret = agent_answer(line, len, NULL);
        ours = json_is_integer(ret) && json_integer_value(ret) == id;
        json_decref(ret);
        if (ours)
            return 0;
    }
    return r;
}

json_t *agent_ask(struct agent *a, const char *command, json_t *arguments, struct agent_memory *m,
                  struct err *e)
{
    const u64 until = in_seconds(a, AGENT_ANSWER_SECONDS);
    struct reading rd = { command, line_max(command), until, m };
    json_t *ret = NULL;
    AUTO(free) char *request = agent_request(command, arguments);
    const char *line = NULL;
    size_t len = 0;
    int r = request ? send_all(a, request, strlen(request), until, e)
                    : err_set(e, -EINVAL, "what the guest agent is asked is not UTF-8");

    if (r >= 0)
        r = read_line(a, &rd, &line, &len, e);
    if (r >= 0)
        ret = agent_answer(line, len, e);
    agent_memory_give(m, ret && len > AGENT_SHORT ? len : 0); /* the line itself goes with `a` */
    return ret;
}

int agent_open(struct agent *a, const char *path, int stop, u64 until_ns, struct err *e)
{
    u32 id;

    *a = (struct agent){ .fd = talk_dial(path, AGENT_SYNC_SECONDS, e),
                         .stop = stop,
                         .until_ns = until_ns };
    if (a->fd == -ENOENT || a->fd == -ECONNREFUSED)
        return err_set(e, -ENXIO,
                       "the machine has no port for a guest agent: it was started, or saved, by a "
                       "socled that had none; it gets one when it is turned off and started");
    if (a->fd < 0)
        return a->fd;
    must(getrandom(&id, sizeof(id), 0) == sizeof(id));
    return agent_sync(a, id, e);
}

void agent_close(struct agent *a)
{
    fd_close(&a->fd);
    strbuf_fini(&a->got);
}
