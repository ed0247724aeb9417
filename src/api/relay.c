/*
 * api/relay.c: a WebSocket's messages are the bytes of a unix socket, both ways: the console of an instance, a shell of the host.
 * Neither side is read before the other takes: from the socket only when the client takes more; from the client not while RELAY_IN_MAX
 * bytes wait for the socket.
 */
#include "api/server_internal.h"
#include "host/shell.h"

#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum { MESSAGE = 16 * 1024, LOOK_MS = 1000 };

/* From here to the socket.  False: it ended. */
static bool flush(struct client *c)
{
    struct relay *r = &c->relay;
    ssize_t n = r->in.len ? send(r->fd, r->in.text, r->in.len, MSG_NOSIGNAL | MSG_DONTWAIT) : 0;

    if (n < 0 && errno != EAGAIN && errno != EINTR)
        return false;
    if (n > 0) {
        memmove(r->in.text, r->in.text + n, r->in.len - (size_t)n);
        r->in.len -= (size_t)n;
    }
    if (r->held && r->in.len == 0) {
        r->held = false;
        lws_rx_flow_control(c->wsi, 1);
    }
    return true;
}

static void watch(struct client *c, bool read)
{
    loop_fd_events(&c->relay.watch, (read ? UV_READABLE : 0) | (c->relay.in.len ? UV_WRITABLE : 0));
}

static void on_ready(struct loop_fd *f, int events)
{
    struct client *c = f->arg;
    bool alive = true;

    if (events & UV_WRITABLE)
        alive = flush(c);
    if (!alive)
        events |= UV_READABLE; /* the next read says that it ended */
    watch(c, !(events & UV_READABLE));
    if (events & UV_READABLE)
        lws_callback_on_writable(c->wsi);
}

static int connect_to(const char *path, struct err *e)
{
    struct sockaddr_un at = { .sun_family = AF_UNIX };
    AUTO(fd) int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    if (fd < 0)
        return err_errno(e, "make a socket");
    if (!str_copy(at.sun_path, sizeof(at.sun_path), path) ||
        connect(fd, (const struct sockaddr *)&at, sizeof(at)) < 0)
        return err_errno(e, "its console");
    return TAKE_FD(fd);
}

/* ---- a shell of the host: who had it, and that it ends with what gave the right to it ---- */

static void note_shell(const struct client *c, const char *note)
{
    struct access *a = &c->server->access;
    struct audit_entry entry = { .what = "GET", .status = 101 };

    str_copy(entry.who, sizeof(entry.who), c->who.name);
    str_copy(entry.from, sizeof(entry.from), c->peer->from);
    str_copy(entry.path, sizeof(entry.path), c->path);
    str_copy(entry.note, sizeof(entry.note), note);
    audit_add(&a->audit, &entry, a->now());
}

/* A right can end by the clock alone, while nothing is said. */
static void on_look(uv_timer_t *t)
{
    struct server *s = t->data;
    bool more = false;

    for (struct client *c = s->clients; c; c = c->next) {
        if (c->mode != CLIENT_RELAY || !c->relay.shell)
            continue;
        more = true;
        if (!access_again(&s->access, &c->who, &c->rights) || !(c->rights & API_SHELL))
            lws_set_timeout(c->wsi, PENDING_TIMEOUT_HTTP_CONTENT, LWS_TO_KILL_ASYNC);
    }
    if (!more)
        uv_timer_stop(t);
}

static int begin_shell(struct client *c, struct err *e)
{
    const int fd = shells_open(c->server->host->shells, e);

    if (fd < 0)
        return fd;
    c->relay.shell = true;
    c->relay.since = c->server->access.now();
    note_shell(c, "begins");
    uv_timer_start(&c->server->relay_look, on_look, LOOK_MS, LOOK_MS);
    return fd;
}

static void end_shell(struct client *c)
{
    char note[64];

    str_fmt(note, sizeof(note), "ended after %llu s", c->server->access.now() - c->relay.since);
    note_shell(c, note);
    c->relay.shell = false;
}

/* ---- begin and end ---- */

/* Our end of what the answer leads to; owned. */
static int socket_of(struct client *c, struct err *e)
{
    int fd = c->answer.relay_fd;

    if (c->answer.shell)
        return begin_shell(c, e);
    if (c->answer.relay)
        return connect_to(c->answer.relay, e);
    c->answer.relay_fd = 0;
    return fd;
}

int relay_begin(struct client *c, struct err *e)
{
    AUTO(fd) int fd = socket_of(c, e);
    int r;

    if (fd < 0)
        return fd;
    str_copy(c->relay.subject, sizeof(c->relay.subject), c->answer.subject);
    r = loop_fd_open(c->server->loop, &c->relay.watch, fd, UV_READABLE, on_ready, c);
    if (r < 0)
        return err_code(e, r, "watch its console");
    c->relay.fd = TAKE_FD(fd);
    return 0;
}

void relay_end(struct client *c)
{
    if (c->relay.shell)
        end_shell(c);
    loop_fd_close(&c->relay.watch);
    if (c->relay.fd >= 0)
        fd_close(&c->relay.fd);
    strbuf_fini(&c->relay.in);
}

int relay_on_message(struct client *c, const void *data, size_t len)
{
    struct relay *r = &c->relay;

    if (c->mode != CLIENT_RELAY)
        return 0; /* who follows events has nothing to say */
    if (!client_still_may(c) || r->in.len > RELAY_IN_MAX)
        return -1;
    strbuf_add_mem(&r->in, data, len);
    if (!flush(c))
        return -1;
    if (r->in.len > RELAY_IN_MAX / 2 && !r->held) {
        r->held = true;
        lws_rx_flow_control(c->wsi, 0);
    }
    loop_fd_events(&r->watch, UV_READABLE | (r->in.len ? UV_WRITABLE : 0));
    return 0;
}

int relay_write(struct client *c)
{
    char buf[MESSAGE];
    ssize_t n = recv(c->relay.fd, buf, sizeof(buf), MSG_DONTWAIT);

    if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR) || !client_still_may(c)) {
        lws_close_reason(c->wsi, LWS_CLOSE_STATUS_NORMAL, NULL, 0);
        return -1;
    }
    watch(c, true);
    return n > 0 ? client_write(c, buf, (size_t)n, LWS_WRITE_BINARY) : 0;
}
