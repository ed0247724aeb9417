/*
 * os/console.c: bytes between a terminal, a log and clients.
 *   (1) What is written while nobody is attached, its newest part, is shown to who comes first; who asks for a head (base/console_head.h)
 *       gets the newest part whoever has seen it.
 *   (2) The container is never held up: a client that does not take its output loses it (OUT_MAX); one with a head is hung up, and comes again.
 *   (3) A client is not read while IN_MAX bytes wait for the terminal.
 */
#include "os/console.h"

#include "base/console_head.h"
#include "os/door.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    OUT_MAX = 256 * 1024,
    IN_MAX = 64 * 1024,
    RECENT_MAX = 64 * 1024,
    PAST = 16 * 1024,          /* of the log, which socle-os of an earlier start wrote */
    LOG_MAX = 8 * 1024 * 1024, /* of the log; then only so much is kept: */
    LOG_KEEP = 4 * 1024 * 1024,
    CHUNK = 16 * 1024,
};

static void client_close(struct os_console_client *k)
{
    loop_fd_close(&k->watch);
    fd_close(&k->fd);
    strbuf_fini(&k->out);
    k->out = (struct strbuf){};
}

static void drop_front(struct strbuf *b, size_t n)
{
    memmove(b->text, b->text + n, b->len - n);
    b->len -= n;
}

/* To the client what it takes. */
static void client_send(struct os_console_client *k)
{
    while (k->out.len) {
        ssize_t n = send(k->fd, k->out.text, k->out.len, MSG_NOSIGNAL | MSG_DONTWAIT);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno != EAGAIN) {
            client_close(k);
            return;
        }
        if (n < 0)
            break;
        drop_front(&k->out, (size_t)n);
    }
    loop_fd_events(&k->watch, UV_READABLE | (k->out.len ? UV_WRITABLE : 0));
}

static void client_add(struct os_console_client *k, const char *text, size_t len)
{
    if (k->out.len + len > OUT_MAX) {
        if (k->headed)
            client_close(k);
        return;
    }
    strbuf_add_mem(&k->out, text, len);
    client_send(k);
}

/* The log keeps its newest part. */
static void shorten_log(struct os_console *c)
{
    AUTO(free) char *kept = NULL;
    struct stat st;
    int r;

    if (fstat(c->log, &st) < 0 || st.st_size <= LOG_MAX)
        return;
    kept = xnew_n(char, LOG_KEEP);
    r = fd_pread_all(c->log, kept, LOG_KEEP, (u64)st.st_size - LOG_KEEP);
    if (r >= 0 && (ftruncate(c->log, 0) < 0 || fd_write_all(c->log, kept, LOG_KEEP) < 0))
        log_warn_limited("console: its log lacks output");
}

/* Output of the container. */
static void take(struct os_console *c, const char *text, size_t len)
{
    bool seen = false;

    if (fd_write_all(c->log, text, len) < 0) /* a full disk does not stop the container */
        log_warn_limited("console: its log lacks output: %s", strerror(errno));
    shorten_log(c);
    for_each_row(k, c->client)
        if (k->fd >= 0) {
            client_add(k, text, len);
            seen = true;
        }
    c->written += len;
    strbuf_add_mem(&c->recent, text, len);
    if (c->recent.len > 2 * RECENT_MAX) /* not at each write */
        drop_front(&c->recent, c->recent.len - RECENT_MAX);
    c->unseen = seen ? 0 : min(c->unseen + len, (size_t)RECENT_MAX);
}

/* False: nothing is left, or its other side is closed. */
static bool read_some(struct os_console *c)
{
    char buf[CHUNK];
    ssize_t n = read(c->master, buf, sizeof(buf));

    if (n > 0)
        take(c, buf, (size_t)n);
    return n > 0 || (n < 0 && errno == EINTR);
}

static void on_master(struct loop_fd *f, int events)
{
    struct os_console *c = f->arg;

    if (events & UV_WRITABLE) {
        ssize_t n = c->in.len ? write(c->master, c->in.text, c->in.len) : 0;

        if (n > 0)
            drop_front(&c->in, (size_t)n);
        loop_fd_events(&c->watch, UV_READABLE | (c->in.len ? UV_WRITABLE : 0));
    }
    if ((events & UV_READABLE) && !read_some(c) && errno != EAGAIN)
        loop_fd_events(&c->watch, 0); /* nobody has it open: until the next start */
}

static void on_client(struct loop_fd *f, int events)
{
    struct os_console_client *k = f->arg;
    struct os_console *c = k->console;
    char buf[CHUNK];
    ssize_t n;

    if (events & UV_WRITABLE)
        client_send(k);
    if (k->fd < 0 || !(events & UV_READABLE) || c->in.len > IN_MAX)
        return;
    n = recv(k->fd, buf, sizeof(buf), MSG_DONTWAIT);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n <= 0) {
        client_close(k);
        return;
    }
    if (c->master < 0)
        return; /* between two starts nobody hears it */
    strbuf_add_mem(&c->in, buf, (size_t)n);
    loop_fd_events(&c->watch, UV_READABLE | UV_WRITABLE);
}

/* What was written before he came. */
static void welcome(struct os_console *c, struct os_console_client *k)
{
    const size_t n = k->headed ? min(c->recent.len, (size_t)RECENT_MAX) : c->unseen;
    const struct console_head head = { c->stream, c->written, (u32)n };
    u8 bytes[CONSOLE_HEAD_SIZE];

    console_head_put(bytes, &head);
    if (k->headed)
        strbuf_add_mem(&k->out, bytes, sizeof(bytes));
    if (n)
        strbuf_add_mem(&k->out, c->recent.text + c->recent.len - n, n);
    c->unseen = 0;
    client_send(k);
}

static void on_door(struct loop_fd *f, int events [[maybe_unused]])
{
    struct os_console *c = f->arg;
    AUTO(fd) int fd = accept4(c->listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

    for_each_row(k, c->client) {
        if (fd < 0 || k->fd >= 0)
            continue;
        k->fd = TAKE_FD(fd);
        k->console = c;
        k->headed = console_head_is_asked(k->fd);
        if (loop_fd_open(c->loop, &k->watch, k->fd, UV_READABLE, on_client, k) < 0)
            client_close(k);
        else
            welcome(c, k);
        return;
    }
}

static void show_past(struct os_console *c)
{
    char past[PAST];
    struct stat st;
    size_t n;

    if (fstat(c->log, &st) < 0)
        return;
    n = min((u64)st.st_size, (u64)sizeof(past));
    if (fd_pread_all(c->log, past, n, (u64)st.st_size - n) < 0)
        return;
    strbuf_add_mem(&c->recent, past, n);
    c->written = n;
}

int os_console_plug(struct os_console *c, int master, struct err *e)
{
    int r;

    os_console_unplug(c);
    c->master = master;
    r = loop_fd_open(c->loop, &c->watch, master, UV_READABLE, on_master, c);
    return r < 0 ? err_code(e, r, "watch the terminal") : 0;
}

void os_console_unplug(struct os_console *c)
{
    if (c->master < 0)
        return;
    while (read_some(c))
        ;
    loop_fd_close(&c->watch);
    fd_close(&c->master);
    c->in.len = 0;
}

int os_console_open(struct os_console *c, struct loop *l, const char *folder, struct err *e)
{
    AUTO(free) char *log = str_new("%s/console.log", folder);
    int r;

    *c = (struct os_console){ .loop = l, .master = -1, .listener = -1, .log = -1 };
    c->stream = console_head_new_stream();
    for_each_row(k, c->client)
        k->fd = -1;
    c->path = str_new("%s/console", folder);
    c->log = open(log, O_RDWR | O_APPEND | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (c->log < 0)
        return err_errno(e, "open '%s'", log);
    show_past(c);
    c->listener = os_listen(c->path, e);
    if (c->listener < 0)
        return c->listener;
    r = loop_fd_open(l, &c->door, c->listener, UV_READABLE, on_door, c);
    return r < 0 ? err_code(e, r, "watch '%s'", c->path) : 0;
}

void os_console_close(struct os_console *c)
{
    os_console_unplug(c);
    for_each_row(k, c->client)
        client_close(k);
    loop_fd_close(&c->door);
    if (c->listener >= 0)
        unlink(c->path);
    fd_close(&c->listener);
    fd_close(&c->log);
    strbuf_fini(&c->in);
    strbuf_fini(&c->recent);
    free(TAKE(c->path));
}
