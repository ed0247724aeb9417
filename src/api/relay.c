/*
 * api/relay.c: a WebSocket's messages are the bytes of a unix socket, both ways: the console of an instance.
 * Neither side is read before the other takes: from the socket only when the client takes more; from the client not while RELAY_IN_MAX
 * bytes wait for the socket.
 */
#include "api/server_internal.h"

#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum { MESSAGE = 16 * 1024 };

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

static int dial(const char *path, struct err *e)
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

int relay_begin(struct client *c, struct err *e)
{
    AUTO(fd) int fd = -1;
    int r;

    if (c->answer.relay) {
        fd = dial(c->answer.relay, e);
    } else {
        fd = c->answer.relay_fd;
        c->answer.relay_fd = 0;
    }
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
