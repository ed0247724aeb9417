/*
 * cmd/ws.c: a WebSocket as a socket: a thread moves bytes between the two.
 */
#include "cmd/ws.h"

#include <poll.h>
#include <pthread.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

enum { OP_BINARY = 2, OP_CLOSE = 8, OP_PING = 9, OP_PONG = 10, FIN = 0x80, MASKED = 0x80 };

ssize_t ws_parse(const u8 *p, size_t len, struct ws_frame *ret)
{
    size_t head = 2, extra;
    u64 size;

    if (len < 2)
        return 0;
    size = p[1] & 127;
    extra = size == 126 ? 2 : size == 127 ? 8 : 0;
    if ((p[0] & 0x70) || (p[1] & MASKED) || ((p[0] & 8) && extra))
        return -EBADMSG; /* no extension was agreed to; only clients mask; control frames are short */
    if (len < head + extra)
        return 0;
    for (size_t i = 0; i < extra; i++)
        size = (i ? size << 8 : 0) | p[head + i];
    head += extra;
    if (size > WS_DATA_MAX)
        return -EBADMSG;
    if (len - head < size)
        return 0;
    *ret = (struct ws_frame){ p[0] & 15, p + head, (size_t)size };
    return (ssize_t)(head + size);
}

/* At most 64 KiB. */
static int send_frame(struct rest *r, u8 opcode, const u8 *data, size_t len)
{
    u8 frame[8 + 65536] = { FIN | opcode };
    size_t at = 2;
    u8 mask[4];

    must(len <= 65535);
    if (getrandom(mask, sizeof(mask), 0) != sizeof(mask))
        return -EIO;
    frame[1] = (u8)(MASKED | (len < 126 ? len : 126));
    if (len >= 126) {
        frame[at++] = (u8)(len >> 8);
        frame[at++] = (u8)len;
    }
    memcpy(frame + at, mask, sizeof(mask));
    at += sizeof(mask);
    for (size_t i = 0; i < len; i++)
        frame[at + i] = data[i] ^ mask[i & 3];
    return r->link->send(r, (const char *)frame, at + len);
}

struct pump {
    struct rest *r;
    int fd;
    bool deaf; /* the server takes nothing more; what it said is still to be read */
};

/* False: it ends. */
static bool take_frame(struct pump *p, const struct ws_frame *f)
{
    if (f->opcode <= OP_BINARY)
        return fd_write_all(p->fd, f->data, f->len) >= 0;
    if (f->opcode == OP_PING)
        return send_frame(p->r, OP_PONG, f->data, f->len) >= 0;
    return f->opcode == OP_PONG;
}

static bool take_frames(struct pump *p)
{
    struct rest *r = p->r;
    struct ws_frame f;
    ssize_t n = 0;
    bool on = true;

    while (on && r->got.len > r->at &&
           (n = ws_parse((const u8 *)r->got.text + r->at, r->got.len - r->at, &f)) > 0) {
        r->at += (size_t)n;
        on = take_frame(p, &f);
    }
    memmove(r->got.text, r->got.text + r->at, r->got.len - r->at);
    r->got.len -= r->at;
    r->at = 0;
    return on && n >= 0;
}

static bool from_server(struct pump *p)
{
    char buf[16384];
    ssize_t n = p->r->link->recv(p->r, buf, sizeof(buf));

    if (n <= 0)
        return false;
    strbuf_add_mem(&p->r->got, buf, (size_t)n);
    return take_frames(p);
}

static bool from_terminal(struct pump *p)
{
    u8 buf[4096];
    ssize_t n = read(p->fd, buf, sizeof(buf));

    if (n > 0) {
        p->deaf = send_frame(p->r, OP_BINARY, buf, (size_t)n) < 0;
        return true;
    }
    (void)send_frame(p->r, OP_CLOSE, NULL, 0);
    return false;
}

static void *pump_main(void *arg)
{
    struct pump *p = arg;
    bool on = p->r->got.len == p->r->at || take_frames(p);

    while (on) {
        struct pollfd fds[2] = { { p->r->fd, POLLIN, 0 }, { p->deaf ? -1 : p->fd, POLLIN, 0 } };

        if (p->r->link->wait(p->r, 0) <= 0 && poll(fds, 2, -1) < 0 && errno != EINTR)
            break;
        if (fds[1].revents)
            on = from_terminal(p);
        else if (fds[0].revents || p->r->link->wait(p->r, 0) > 0)
            on = from_server(p);
    }
    shutdown(p->fd, SHUT_RDWR);
    return NULL;
}

int ws_run(struct rest *r, int (*fn)(int fd, void *arg, struct err *e), void *arg, struct err *e)
{
    int pair[2], n;
    struct pump p;
    pthread_t thread;

    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
        return err_errno(e, "make a socket");
    p = (struct pump){ .r = r, .fd = pair[1] };
    n = -pthread_create(&thread, NULL, pump_main, &p);
    if (n < 0) {
        close(pair[0]);
        close(pair[1]);
        return err_code(e, n, "start a thread");
    }
    n = fn(pair[0], arg, e);
    pthread_join(thread, NULL);
    close(pair[1]);
    return n;
}
