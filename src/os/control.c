/*
 * os/control.c: what is asked of a container that runs: what it is doing, what it uses, to pause, to end.
 * Clients are of this host and of our owner, and are bounded all the same: lines, clients and answers that nobody takes.
 */
#include "os/control.h"

#include "base/clock.h"
#include "conf/conf.h"
#include "os/door.h"
#include "os/os.h"
#include "os/stats.h"

#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

enum { UNSENT_MAX = 1024 * 1024 };

struct request {
    char *cmd, *action;
};

static const struct field request_fields[] = {
    FIELD_STR(request, cmd, "which command", .required = true),
    FIELD_STR(request, action, "power: button or off", .sdflt = "button"),
    {},
};

static const char *const states[] = {
    [OS_CREATED] = "created",
    [OS_RUNNING] = "running",
    [OS_PAUSED] = "paused",
    [OS_ENDED] = "ended",
};

static json_t *status(const struct os *o)
{
    const u64 up = o->started_ns ? clock_mono_ns() - o->started_ns : 0;

    return json_pack("{s:s, s:s, s:I, s:I, s:b}", "name", o->spec->name, "state", states[o->state],
                     "pid", (json_int_t)o->pid, "uptime_ms", (json_int_t)(up / NSEC_PER_MSEC),
                     "init", o->spec->init);
}

/* Whoever copies its files wants them of one instant. */
static int hold(struct os_control_client *k, struct err *e)
{
    int r = k->os->n_holds ? 0 : os_hold(k->os, true, e);

    if (r < 0 || k->holds)
        return r;
    k->holds = true;
    k->os->n_holds++;
    return 0;
}

static void release(struct os_control_client *k)
{
    struct err e = {};

    if (!k->holds)
        return;
    k->holds = false;
    if (--k->os->n_holds == 0 && os_hold(k->os, false, &e) < 0)
        log_warn("%s", e.text);
}

/* The result, a new reference; NULL with `e`. */
static json_t *answer(struct os_control_client *k, const struct request *rq, struct err *e)
{
    struct os *o = k->os;
    int r;

    if (strcmp(rq->cmd, "status") == 0)
        return status(o);
    if (strcmp(rq->cmd, "stats") == 0)
        return os_stats(o);
    if (strcmp(rq->cmd, "pause") == 0 || strcmp(rq->cmd, "resume") == 0)
        r = os_pause(o, rq->cmd[0] == 'p', e);
    else if (strcmp(rq->cmd, "hold") == 0)
        r = hold(k, e);
    else if (strcmp(rq->cmd, "reset") == 0)
        r = os_reset(o, e);
    else if (strcmp(rq->cmd, "power") == 0 && strcmp(rq->action, "button") == 0)
        r = os_shut_down(o, e);
    else if (strcmp(rq->cmd, "power") == 0 && strcmp(rq->action, "off") == 0)
        r = os_cut(o, e);
    else
        r = err_set(
            e, -EINVAL,
            "'%.40s' is no command of a container: status, stats, pause, resume, hold, reset "
            "and power (button, off) are",
            rq->cmd);
    return r < 0 ? NULL : json_null();
}

static void client_close(struct os_control_client *k)
{
    release(k);
    loop_fd_close(&k->watch);
    fd_close(&k->fd);
    strbuf_fini(&k->in);
    strbuf_fini(&k->out);
    k->in = k->out = (struct strbuf){};
}

static void client_send(struct os_control_client *k)
{
    while (k->out.len) {
        ssize_t n = send(k->fd, k->out.text, k->out.len, MSG_NOSIGNAL | MSG_DONTWAIT);

        if (n < 0 && errno == EINTR)
            continue;
        if ((n < 0 && errno != EAGAIN) || k->out.len > UNSENT_MAX) {
            client_close(k);
            return;
        }
        if (n < 0)
            break;
        memmove(k->out.text, k->out.text + n, k->out.len - (size_t)n);
        k->out.len -= (size_t)n;
    }
    loop_fd_events(&k->watch, UV_READABLE | (k->out.len ? UV_WRITABLE : 0));
}

/* `id` is given back as it is, and no field of ours. */
static json_t *do_line(struct os_control_client *k, const char *line, size_t len)
{
    struct request rq = {};
    struct err e = {};
    json_t *j = NULL, *id = NULL, *result = NULL, *reply;
    int r = conf_load(line, len, &j, &e);

    if (r >= 0 && json_is_object(j)) {
        id = json_incref(json_object_get(j, "id"));
        json_object_del(j, "id");
    }
    if (r >= 0)
        r = conf_parse(request_fields, &rq, j, &e);
    if (r >= 0)
        result = answer(k, &rq, &e);
    reply = json_pack("{s:o, s:b}", "id", id ? id : json_null(), "ok", result != NULL);
    if (result)
        json_object_set_new(reply, "result", result);
    else
        json_object_set_new(reply, "error", json_string(e.text));
    conf_fini(request_fields, &rq);
    json_decref(j);
    return reply;
}

static void take_lines(struct os_control_client *k)
{
    const char *eol;

    while (k->fd >= 0 && k->in.len && (eol = memchr(k->in.text, '\n', k->in.len))) {
        const size_t len = (size_t)(eol - k->in.text);
        json_t *reply = do_line(k, k->in.text, len);
        char *text = json_dumps(reply, JSON_COMPACT);

        json_decref(reply);
        memmove(k->in.text, eol + 1, k->in.len - len - 1);
        k->in.len -= len + 1;
        strbuf_add(&k->out, "%s\n", text ? text : "{\"ok\": false}");
        free(text);
        client_send(k);
    }
}

static void on_client(struct loop_fd *f, int events)
{
    struct os_control_client *k = f->arg;
    char buf[4096];
    ssize_t n;

    if (events & UV_WRITABLE)
        client_send(k);
    if (k->fd < 0 || !(events & UV_READABLE))
        return;
    n = recv(k->fd, buf, sizeof(buf), MSG_DONTWAIT);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n <= 0 || k->in.len > OS_CONTROL_LINE) {
        client_close(k);
        return;
    }
    strbuf_add_mem(&k->in, buf, (size_t)n);
    take_lines(k);
}

static void on_door(struct loop_fd *f, int events [[maybe_unused]])
{
    struct os *o = f->arg;
    AUTO(fd) int fd = accept4(o->control.listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

    for_each_row(k, o->control.client) {
        if (fd < 0 || k->fd >= 0)
            continue;
        k->fd = TAKE_FD(fd);
        k->os = o;
        if (loop_fd_open(&o->loop, &k->watch, k->fd, UV_READABLE, on_client, k) < 0)
            client_close(k);
        return;
    }
}

int os_control_open(struct os *o, struct err *e)
{
    struct os_control *c = &o->control;
    int r;

    *c = (struct os_control){ .path = str_new("%s/control", o->spec->folder) };
    for_each_row(k, c->client)
        k->fd = -1;
    c->listener = os_listen(c->path, e);
    if (c->listener < 0)
        return c->listener;
    r = loop_fd_open(&o->loop, &c->door, c->listener, UV_READABLE, on_door, o);
    return r < 0 ? err_code(e, r, "watch '%s'", c->path) : 0;
}

void os_control_close(struct os *o)
{
    struct os_control *c = &o->control;

    if (!c->path)
        return;
    for_each_row(k, c->client)
        client_close(k);
    loop_fd_close(&c->door);
    if (c->listener >= 0)
        unlink(c->path);
    fd_close(&c->listener);
    free(TAKE(c->path));
}
