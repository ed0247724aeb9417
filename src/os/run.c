/*
 * os/run.c: one program, its pipes or terminal, and the client that asked for it.
 *   (1) Input is taken from the client only when the program took what came before; output from the program only when the client took
 *       what came before: neither side can make us keep more than HELD_MAX.
 *   (2) The end is told when the program has ended, with what it wrote until then.  What it left running in the background may have its
 *       pipes still; nobody reads them any more.
 */
#include "os/run.h"

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

enum { HELD_MAX = 256 * 1024, CHUNK = 16 * 1024, DRAIN_MAX = 1024 * 1024 };

struct stream { /* of its output */
    int fd;     /* -1: ended */
    u8 kind;
    struct loop_fd watch;
    struct os_run *run;
};

struct os_run {
    const struct os_runner *by;
    void *arg;
    int client;
    struct loop_fd watch;
    struct strbuf got, out; /* of the client: frames that are not complete; what it has not taken */
    struct strbuf in;       /* for the program */
    int input;              /* where that goes: a pipe, or the terminal; -1: closed */
    struct loop_fd input_watch;
    bool input_ended, input_watched; /* the client said all */
    struct stream stream[2];
    pid_t pid; /* 0: none yet, or it ended */
    bool began, ended, terminal;
};

static void watch_client(struct os_run *p);
static bool take_frames(struct os_run *p);

/* ---- the end ---- */

static void close_stream(struct stream *s)
{
    loop_fd_close(&s->watch);
    fd_close(&s->fd);
}

static void close_input(struct os_run *p)
{
    loop_fd_close(&p->input_watch);
    p->input_watched = false;
    fd_close(&p->input);
    p->in.len = 0;
}

void os_run_free(struct os_run *p)
{
    const struct os_runner *by = p->by;
    void *arg = p->arg;
    const pid_t pid = p->pid;

    close_input(p);
    close_stream(&p->stream[0]);
    close_stream(&p->stream[1]);
    loop_fd_close(&p->watch);
    fd_close(&p->client);
    strbuf_fini(&p->got);
    strbuf_fini(&p->out);
    strbuf_fini(&p->in);
    free(p);
    by->gone(arg, pid);
}

/* False: the client is gone, and `p` with it. */
static bool send_client(struct os_run *p)
{
    while (p->out.len) {
        ssize_t n = send(p->client, p->out.text, p->out.len, MSG_NOSIGNAL | MSG_DONTWAIT);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno == EAGAIN)
            break;
        if (n < 0) {
            os_run_free(p);
            return false;
        }
        memmove(p->out.text, p->out.text + n, p->out.len - (size_t)n);
        p->out.len -= (size_t)n;
    }
    /* Who closes with something unread takes back what was said: the client closes, when it has the last word. */
    if (p->ended && p->out.len == 0)
        (void)shutdown(p->client, SHUT_WR);
    watch_client(p);
    return true;
}

static bool failed(struct os_run *p, const struct err *e)
{
    os_frame_add(&p->out, OS_FRAME_FAILED, e->text, strlen(e->text));
    p->ended = true;
    return send_client(p);
}

/* What is in a pipe or terminal now; what is still open when it is empty is the background's. */
static void drain(struct os_run *p, struct stream *s)
{
    char buf[CHUNK];
    ssize_t n = 1;

    for (u32 i = 0; i < DRAIN_MAX / CHUNK && s->fd >= 0 && n > 0; i++) {
        n = read(s->fd, buf, sizeof(buf));
        if (n > 0)
            os_frame_add(&p->out, s->kind, buf, (size_t)n);
    }
    close_stream(s);
}

void os_run_ended(struct os_run *p, int status)
{
    const int code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    const u8 text[4] = { 0, 0, (u8)(code >> 8), (u8)code };

    p->pid = 0;
    close_input(p);
    for_each_row(s, p->stream)
        drain(p, s);
    os_frame_add(&p->out, OS_FRAME_END, text, sizeof(text));
    p->ended = true;
    (void)send_client(p);
}

/* ---- its output ---- */

static void on_output(struct loop_fd *f, int events [[maybe_unused]])
{
    struct stream *s = f->arg;
    struct os_run *p = s->run;
    char buf[CHUNK];
    ssize_t n = read(s->fd, buf, sizeof(buf));

    if (n < 0 && (errno == EINTR || errno == EAGAIN))
        return;
    if (n > 0) {
        os_frame_add(&p->out, s->kind, buf, (size_t)n);
        (void)send_client(p);
        return;
    }
    close_stream(s); /* EIO of a terminal: nobody has it any more */
}

/* Takes `fd`; -1: there is none. */
static int open_stream(struct os_run *p, u32 i, int fd, struct err *e)
{
    struct stream *s = &p->stream[i];
    int r;

    *s = (struct stream){ .fd = fd, .kind = i ? OS_FRAME_ERR : OS_FRAME_OUT, .run = p };
    if (fd < 0)
        return 0;
    r = loop_fd_open(p->by->loop, &s->watch, fd, UV_READABLE, on_output, s);
    return r < 0 ? err_code(e, r, "watch its output") : 0;
}

/* ---- its input ---- */

static void on_input(struct loop_fd *f, int events [[maybe_unused]])
{
    struct os_run *p = f->arg;
    ssize_t n = write(p->input, p->in.text, p->in.len);

    if (n < 0 && errno != EAGAIN && errno != EINTR) {
        close_input(p); /* it takes no more */
        watch_client(p);
        return;
    }
    if (n > 0) {
        memmove(p->in.text, p->in.text + n, p->in.len - (size_t)n);
        p->in.len -= (size_t)n;
    }
    if (p->in.len == 0) {
        loop_fd_close(&p->input_watch);
        p->input_watched = false;
    }
    if (p->in.len <= HELD_MAX && take_frames(p))
        watch_client(p);
}

static void push_input(struct os_run *p)
{
    if (p->input < 0) {
        p->in.len = 0;
        return;
    }
    if (p->in.len == 0 && p->input_ended && !p->terminal)
        close_input(p);
    if (p->in.len == 0 || p->input_watched || p->input < 0)
        return;
    p->input_watched =
        loop_fd_open(p->by->loop, &p->input_watch, p->input, UV_WRITABLE, on_input, p) >= 0;
}

/* ---- the client ---- */

static int begin(struct os_run *p, const u8 *text, size_t len, struct err *e)
{
    struct os_started s = { .in = -1, .out = -1, .err = -1 };
    int r = p->by->start(p->arg, text, len, &s, e);

    p->pid = s.pid;
    p->terminal = s.terminal;
    p->input = s.in;
    p->began = r >= 0;
    if (r >= 0)
        r = open_stream(p, 0, TAKE_FD(s.out), e);
    if (r >= 0)
        r = open_stream(p, 1, TAKE_FD(s.err), e);
    fd_close(&s.out);
    fd_close(&s.err);
    return r;
}

static void resize(const struct os_run *p, const u8 *data)
{
    const struct winsize size = { .ws_row = (u16)(data[0] << 8 | data[1]),
                                  .ws_col = (u16)(data[2] << 8 | data[3]) };

    if (p->terminal && p->input >= 0)
        (void)ioctl(p->input, TIOCSWINSZ, &size);
}

/* 0, or what is wrong with it. */
static int take_frame(struct os_run *p, u8 kind, const u8 *data, size_t len, struct err *e)
{
    if (!p->began)
        return kind == OS_FRAME_RUN
                   ? begin(p, data, len, e)
                   : err_set(e, -EPROTO, "the first frame is of kind %u; what to run is expected",
                             kind);
    if (kind == OS_FRAME_IN && !p->input_ended) {
        strbuf_add_mem(&p->in, data, len);
        p->input_ended = len == 0;
    } else if (kind == OS_FRAME_SIZE && len == 4) {
        resize(p, data);
    } else if (kind == OS_FRAME_SIGNAL && len == 1 && data[0] > 0 && data[0] <= 64) {
        if (p->pid > 0)
            kill(p->pid, data[0]);
    } else {
        return err_set(e, -EPROTO, "a frame of kind %u and %zu bytes is not expected", kind, len);
    }
    return 0;
}

/* False: `p` is gone. */
static bool take_frames(struct os_run *p)
{
    struct err e = {};
    const u8 *data;
    size_t len, at = 0;
    ssize_t n = 0;
    int r = 0;
    u8 kind;

    while (r >= 0 && !p->ended && p->in.len <= HELD_MAX && p->got.len > at &&
           (n = os_frame_parse((const u8 *)p->got.text + at, p->got.len - at, &kind, &data, &len)) >
               0) {
        r = take_frame(p, kind, data, len, &e);
        at += (size_t)n;
    }
    memmove(p->got.text, p->got.text + at, p->got.len - at);
    p->got.len -= at;
    if (n < 0)
        r = err_set(&e, -EBADMSG, "a frame has more than %d bytes", OS_FRAME_MAX);
    if (r < 0)
        return failed(p, &e);
    push_input(p);
    return true;
}

static void on_client(struct loop_fd *f, int events)
{
    struct os_run *p = f->arg;
    char buf[CHUNK];
    ssize_t n;

    if ((events & UV_WRITABLE) && !send_client(p))
        return;
    if (!(events & UV_READABLE))
        return;
    n = recv(p->client, buf, sizeof(buf), MSG_DONTWAIT);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n <= 0) {
        os_run_free(p);
        return;
    }
    if (p->ended)
        return; /* what it says after the last word is nobody's */
    strbuf_add_mem(&p->got, buf, (size_t)n);
    if (take_frames(p))
        watch_client(p);
}

static void watch_client(struct os_run *p)
{
    const bool full = p->out.len > HELD_MAX;

    for_each_row(s, p->stream)
        if (s->fd >= 0)
            loop_fd_events(&s->watch, full ? 0 : UV_READABLE);
    loop_fd_events(&p->watch,
                   (p->in.len > HELD_MAX ? 0 : UV_READABLE) | (p->out.len ? UV_WRITABLE : 0));
}

struct os_run *os_run_new(const struct os_runner *by, void *arg, int client)
{
    struct os_run *p = xnew(struct os_run);

    *p = (struct os_run){ .by = by, .arg = arg, .client = client, .input = -1 };
    p->stream[0].fd = p->stream[1].fd = -1;
    if (loop_fd_open(by->loop, &p->watch, client, UV_READABLE, on_client, p) >= 0)
        return p;
    fd_close(&p->client);
    free(p);
    return NULL;
}

pid_t os_run_pid(const struct os_run *p)
{
    return p->pid;
}
