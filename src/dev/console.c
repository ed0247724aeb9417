/*
 * dev/console.c: a character stream between a device and the host: the watching of the host's fds.  Output: console_out.c.
 *   (1) `lock` is inside every device's lock, and is never held while the ops are called.
 *   (2) fds are watched on the control loop only; other threads that want a change send `wake`, which never waits.
 *   (3) Clients come and go on the loop, under `lock`; host is the same all the time.
 */
#include "dev/console.h"

#include "base/base.h"

#include "base/clock.h"
#include "base/loop.h"
#include "dev/console_host.h"
#include "dev/console_out.h"

#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <unistd.h>

enum { INPUT_CHUNK = 4096, INPUT_TURNS = 16, FLUSH_MS = 2000, STUCK_MS = 5000 };

/* A client of the socket; its fd is that of the taker of the same number. */
struct client {
    struct chardev *c;
    struct loop_fd watch;
};

struct chardev {
    struct loop *loop;
    const struct chardev_ops *ops;
    void *arg;
    /* On the heap: libuv frees handles later than we close them. */
    uv_async_t *wake;
    uv_timer_t *stuck;

    /* Of the loop's thread. */
    struct loop_fd in_watch, out_watch, listen_watch;
    struct client client[CHARDEV_CLIENTS];
    struct console_host host;
    bool in_always, out_always; /* regular files: never to be waited for */
    bool in_ended;

    atomic_bool in_held;  /* nothing is read until chardev_accept */
    atomic_bool unwanted; /* the clients there are are to be hung up */

    pthread_mutex_t lock; /* guards all below */
    struct console_out out;
    bool out_waiting; /* the loop was told that there is output that somebody wants */
    bool device_waits;
    int log; /* its file position is its end; -1: none */
    u32 log_len;
};

static bool wanted_locked(const struct chardev *c)
{
    for_each_row(t, c->out.taker)
        if (console_taker_wants(t))
            return true;
    return false;
}

static bool lost_client_locked(const struct chardev *c)
{
    for_each_row(t, c->out.taker)
        if (c->out.comes && t->lost)
            return true;
    return false;
}

/* True: the caller is to send `wake`. */
static bool must_wake_locked(struct chardev *c)
{
    bool wanted = wanted_locked(c), wake = lost_client_locked(c) || (wanted && !c->out_waiting);

    c->out_waiting |= wanted;
    return wake;
}

/* What the device was told that we took.  The loop shortens the file: a vCPU's thread may only write. */
static bool log_put(struct chardev *c, const u8 *data, u32 len)
{
    if (c->log < 0 || len == 0)
        return false;
    if (fd_write_all(c->log, data, len) < 0) {
        log_warn_limited("console: its log lacks output: %s", strerror(errno));
        return false;
    }
    c->log_len += len;
    return c->log_len > CHARDEV_LOG_MAX;
}

u32 chardev_write(struct chardev *c, const void *data, u32 len)
{
    bool wake, full;
    u32 done;

    pthread_mutex_lock(&c->lock);
    done = console_out_write(&c->out, data, len);
    c->device_waits |= done < len;
    wake = must_wake_locked(c);
    full = log_put(c, data, done);
    pthread_mutex_unlock(&c->lock);
    if (wake || full)
        uv_async_send(c->wake);
    return done;
}

u32 chardev_room(struct chardev *c, u32 want)
{
    u32 room = CHARDEV_RING;

    pthread_mutex_lock(&c->lock);
    if (console_out_is_awaited(&c->out)) {
        room -= c->out.n;
        c->device_waits |= room < want;
    }
    pthread_mutex_unlock(&c->lock);
    return room;
}

void chardev_accept(struct chardev *c)
{
    if (atomic_load(&c->in_held) && atomic_exchange(&c->in_held, false))
        uv_async_send(c->wake);
}

void chardev_hang_up(struct chardev *c)
{
    atomic_store(&c->unwanted, true);
    uv_async_send(c->wake);
}

const char *chardev_pty(const struct chardev *c)
{
    return c->host.pty[0] ? c->host.pty : NULL;
}

/* ---- the loop's side ---- */

/* How much input the device takes; when none, chardev_accept will wake us. */
static u32 input_room(struct chardev *c)
{
    u32 room;

    if (c->in_ended || !c->ops->room || !c->ops->on_input)
        return 0;
    room = c->ops->room(c->arg);
    if (room > 0)
        return room;
    atomic_store(&c->in_held, true);
    room = c->ops->room(c->arg); /* it may have grown before the flag was up */
    if (room > 0)
        atomic_store(&c->in_held, false);
    return room;
}

static void set_events(struct loop_fd *f, int events)
{
    if (f->poll)
        loop_fd_events(f, events);
}

/* Events for each taker, and that others need not wake us for them. */
static bool ask_wanted(struct chardev *c, int ret[CHARDEV_CLIENTS])
{
    bool any;

    pthread_mutex_lock(&c->lock);
    for (u32 i = 0; i < CHARDEV_CLIENTS; i++)
        ret[i] = console_taker_wants(&c->out.taker[i]) ? UV_WRITABLE : 0;
    any = c->out_waiting = wanted_locked(c);
    pthread_mutex_unlock(&c->lock);
    return any;
}

static void on_stuck(uv_timer_t *t);

/* While clients want output, they are looked at now and then. */
static void update_timer(struct chardev *c, bool needed)
{
    if (needed && !uv_is_active((uv_handle_t *)c->stuck))
        uv_timer_start(c->stuck, on_stuck, STUCK_MS, 0);
    else if (!needed)
        uv_timer_stop(c->stuck);
}

static bool anyone_speaks(const struct chardev *c)
{
    for_each_row(k, c->client)
        if (k->watch.poll)
            return true;
    return c->in_watch.poll;
}

/* Watches for what is wanted now, and no more: a level-triggered event that nobody serves would spin. */
static void update_watches(struct chardev *c)
{
    int in = anyone_speaks(c) && input_room(c) > 0 ? UV_READABLE : 0, out[CHARDEV_CLIENTS];
    bool wanted = ask_wanted(c, out);

    if (c->host.in == c->host.out) {
        set_events(&c->in_watch, in | out[0]);
    } else {
        set_events(&c->in_watch, in);
        set_events(&c->out_watch, out[0]);
    }
    for (u32 i = 0; i < CHARDEV_CLIENTS; i++)
        set_events(&c->client[i].watch, in | out[i]);
    set_events(&c->listen_watch, UV_READABLE);
    update_timer(c, wanted && c->out.comes);
}

/* Tells the device when there is room for what it could not write. */
static void tell_room(struct chardev *c)
{
    bool tell;

    pthread_mutex_lock(&c->lock);
    tell = c->device_waits && (c->out.n <= CHARDEV_RING / 2 || !console_out_is_awaited(&c->out));
    if (tell)
        c->device_waits = false;
    pthread_mutex_unlock(&c->lock);
    if (tell && c->ops->on_room)
        c->ops->on_room(c->arg);
}

static void drain(struct chardev *c)
{
    pthread_mutex_lock(&c->lock);
    console_out_drain(&c->out);
    pthread_mutex_unlock(&c->lock);
    tell_room(c);
}

static int client_fd(const struct client *k)
{
    return k->c->out.taker[k - k->c->client].fd; /* changed on this thread only */
}

static void hang_up(struct client *k)
{
    struct chardev *c = k->c;
    int fd = client_fd(k);

    loop_fd_close(&k->watch);
    pthread_mutex_lock(&c->lock);
    console_out_remove(&c->out, (u32)(k - c->client));
    pthread_mutex_unlock(&c->lock);
    fd_close(&fd);
    tell_room(c);
}

/* What `fd` has, as far as the device takes it: 1.  0: nothing for now.  Negative: it ended. */
static int read_input(struct chardev *c, int fd)
{
    u8 bytes[INPUT_CHUNK];
    u32 room = input_room(c);
    ssize_t n;

    if (room == 0 || fd < 0)
        return 0;
    n = read(fd, bytes, min(room, (u32)sizeof(bytes)));
    if (n > 0)
        c->ops->on_input(c->arg, bytes, (u32)n);
    else if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return 0;
    return n > 0 ? 1 : -1;
}

static bool read_host(struct chardev *c)
{
    int r = read_input(c, c->host.in);

    if (r < 0)
        c->in_ended = true;
    return r > 0;
}

static void on_ready(struct loop_fd *f, int events)
{
    struct chardev *c = f->arg;

    if (events & UV_WRITABLE)
        drain(c);
    if (events & UV_READABLE && f == &c->in_watch)
        read_host(c);
    update_watches(c);
}

/* Who went away while output was written to him. */
static void hang_up_lost(struct chardev *c)
{
    for_each_row(k, c->client) {
        bool lost;

        pthread_mutex_lock(&c->lock);
        lost = c->out.taker[k - c->client].lost;
        pthread_mutex_unlock(&c->lock);
        if (c->out.comes && lost)
            hang_up(k);
    }
}

static void on_client_ready(struct loop_fd *f, int events)
{
    struct client *k = f->arg;
    struct chardev *c = k->c;

    if (events & UV_WRITABLE)
        drain(c);
    if (events & UV_READABLE && read_input(c, client_fd(k)) < 0)
        hang_up(k);
    hang_up_lost(c);
    update_watches(c);
}

/* A guest is not held up by a window that nobody looks at. */
static void on_stuck(uv_timer_t *t)
{
    struct chardev *c = t->data;

    for_each_row(k, c->client) {
        bool stuck;

        pthread_mutex_lock(&c->lock);
        stuck = c->device_waits &&
                console_out_is_stuck(&c->out, (u32)(k - c->client), STUCK_MS * NSEC_PER_MSEC);
        pthread_mutex_unlock(&c->lock);
        if (!stuck)
            continue;
        log_warn("console: a client took nothing for %u s while the guest waited; it is hung up",
                 STUCK_MS / 1000);
        hang_up(k);
    }
    update_watches(c);
}

static int add_client(struct chardev *c, int fd)
{
    int i;

    pthread_mutex_lock(&c->lock);
    i = console_out_add(&c->out, fd);
    pthread_mutex_unlock(&c->lock);
    return i;
}

/* Those who went away while the device takes no input: their end is behind what they typed. */
static void hang_up_gone(struct chardev *c)
{
    for_each_row(k, c->client) {
        struct pollfd p = { .fd = client_fd(k) };

        if (poll(&p, 1, 0) > 0 && p.revents & POLLHUP)
            hang_up(k);
    }
}

static void hang_up_all(struct chardev *c)
{
    for_each_row(k, c->client)
        if (k->watch.poll)
            hang_up(k);
}

static void on_client(struct loop_fd *f, int)
{
    struct chardev *c = f->arg;
    int fd = console_host_accept(&c->host), i;

    if (fd < 0)
        return; /* it went away again */
    if (c->ops->welcome && !c->ops->welcome(c->arg)) {
        fd_close(&fd);
        return;
    }
    i = add_client(c, fd);
    if (i < 0) {
        hang_up_gone(c);
        i = add_client(c, fd);
    }
    if (i < 0) {
        log_warn_limited("console: %u clients are there, one more is turned away", CHARDEV_CLIENTS);
        fd_close(&fd);
        return;
    }
    if (loop_fd_open(c->loop, &c->client[i].watch, fd, 0, on_client_ready, &c->client[i]) < 0) {
        hang_up(&c->client[i]);
        return;
    }
    drain(c);
    hang_up_lost(c);
    update_watches(c);
}

/* Keeps the newer half. */
static void log_shorten_locked(struct chardev *c)
{
    enum { KEEP = CHARDEV_LOG_MAX / 2 };
    AUTO(free) u8 *kept = NULL;
    int r;

    if (c->log < 0 || c->log_len <= CHARDEV_LOG_MAX)
        return;
    kept = xnew_n(u8, KEEP);
    r = fd_pread_all(c->log, kept, KEEP, c->log_len - KEEP);
    if (r >= 0)
        r = fd_pwrite_all(c->log, kept, KEEP, 0);
    if (r < 0 || ftruncate(c->log, KEEP) < 0 || lseek(c->log, 0, SEEK_END) < 0) {
        log_warn("console: its log cannot be shortened, and ends here");
        fd_close(&c->log);
    }
    c->log_len = KEEP;
}

/* What other threads want: see who set which flag. */
static void on_wake(uv_async_t *a)
{
    struct chardev *c = a->data;

    pthread_mutex_lock(&c->lock);
    log_shorten_locked(c);
    pthread_mutex_unlock(&c->lock);
    if (atomic_exchange(&c->unwanted, false))
        hang_up_all(c);
    hang_up_lost(c);
    for (u32 i = 0; c->in_always && read_host(c); i++) {
        if (i < INPUT_TURNS)
            continue;
        uv_async_send(a); /* others have their turn between */
        break;
    }
    update_watches(c);
}

/* ---- open and close ---- */

struct open_call {
    struct chardev *c;
    int r;
};

/* Watches fd.  *ret_always: it is a file, which is always ready. */
static int watch(struct chardev *c, struct loop_fd *f, int fd, bool *ret_always)
{
    int r = fd < 0 ? 0 : loop_fd_open(c->loop, f, fd, 0, on_ready, c);

    *ret_always = r == -EPERM; /* epoll_ctl(2): "does not support epoll" */
    return *ret_always ? 0 : r;
}

static void free_handle(uv_handle_t *h)
{
    free(h);
}

static void close_on_loop(void *arg)
{
    struct chardev *c = arg;

    loop_fd_close(&c->in_watch);
    loop_fd_close(&c->out_watch);
    loop_fd_close(&c->listen_watch);
    for_each_row(k, c->client)
        loop_fd_close(&k->watch);
    if (c->wake)
        uv_close((uv_handle_t *)c->wake, free_handle);
    if (c->stuck)
        uv_close((uv_handle_t *)c->stuck, free_handle);
    c->wake = NULL;
    c->stuck = NULL;
}

/* The handles by which other threads and time reach the loop. */
static int make_handles(struct chardev *c)
{
    int r;

    c->wake = xnew(uv_async_t);
    r = uv_async_init(&c->loop->uv, c->wake, on_wake);
    if (r < 0) {
        free(TAKE(c->wake));
        return r;
    }
    c->stuck = xnew(uv_timer_t);
    uv_timer_init(&c->loop->uv, c->stuck);
    c->wake->data = c->stuck->data = c;
    return 0;
}

static void open_on_loop(void *arg)
{
    struct open_call *o = arg;
    struct chardev *c = o->c;

    o->r = make_handles(c);
    if (o->r < 0)
        return;
    o->r = watch(c, &c->in_watch, c->host.in, &c->in_always);
    if (o->r >= 0 && c->host.out != c->host.in)
        o->r = watch(c, &c->out_watch, c->host.out, &c->out_always);
    if (o->r >= 0 && c->host.listener >= 0)
        o->r = loop_fd_open(c->loop, &c->listen_watch, c->host.listener, 0, on_client, c);
    if (o->r < 0)
        close_on_loop(c);
    else
        uv_async_send(c->wake); /* begin when the loop runs: the device is not ready yet */
}

int chardev_open(struct loop *l, const char *backend, const struct chardev_ops *ops, void *arg,
                 struct chardev **ret, struct err *e)
{
    struct chardev *c = xnew(struct chardev);
    struct open_call o = { .c = c };
    int r = console_host_open(backend, &c->host, e);

    if (r < 0) {
        free(c);
        return r;
    }
    c->loop = l;
    c->ops = ops;
    c->arg = arg;
    c->log = -1;
    console_out_init(&c->out);
    c->out.waits = c->host.waits;
    c->out.to_file = c->host.to_file;
    c->out.comes = c->host.listener >= 0;
    if (c->host.out >= 0)
        console_out_add(&c->out, c->host.out);
    for_each_row(k, c->client)
        k->c = c;
    pthread_mutex_init(&c->lock, NULL);
    loop_call(l, open_on_loop, &o);
    if (o.r < 0) {
        console_host_close(&c->host);
        pthread_mutex_destroy(&c->lock);
        free(c);
        return err_code(e, o.r, "console '%s': watch its file descriptors", backend);
    }
    *ret = c;
    return 0;
}

int chardev_log(struct chardev *c, const char *file, struct err *e)
{
    AUTO(fd) int fd = -1;
    off_t end;

    if (!file)
        return 0;
    fd = open(file, O_RDWR | O_CREAT | O_NONBLOCK | O_NOCTTY | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0)
        return err_errno(e, "console: open its log '%s'", file);
    end = lseek(fd, 0, SEEK_END);
    if (end < 0 || end > UINT32_MAX / 2)
        return err_set(e, -EINVAL, "console: its log '%s' is no file of a possible size", file);
    pthread_mutex_lock(&c->lock);
    c->log = TAKE_FD(fd);
    c->log_len = (u32)end;
    log_shorten_locked(c);
    pthread_mutex_unlock(&c->lock);
    return 0;
}

/* Until one of those who want output takes some, or `ms` are over. */
static void wait_for_takers(struct chardev *c, u64 ms)
{
    struct pollfd p[CHARDEV_CLIENTS];
    nfds_t n = 0;

    for_each_row(t, c->out.taker)
        if (console_taker_wants(t))
            p[n++] = (struct pollfd){ .fd = t->fd, .events = POLLOUT };
    poll(p, n, (int)ms);
}

/* Until the ring is empty, or the readers take nothing for so long that they will not. */
static void flush(struct chardev *c)
{
    u64 until = clock_mono_ns() + FLUSH_MS * NSEC_PER_MSEC;

    console_out_drain(&c->out);
    while (c->out.n > 0 && console_out_is_awaited(&c->out)) {
        u64 now = clock_mono_ns();
        u32 before = c->out.n;

        if (now >= until)
            break;
        wait_for_takers(c, (until - now) / NSEC_PER_MSEC + 1);
        console_out_drain(&c->out);
        if (c->out.n < before)
            until = clock_mono_ns() + FLUSH_MS * NSEC_PER_MSEC;
    }
    if (c->out.n > 0 && console_out_is_awaited(&c->out))
        log_warn("console: the last %u bytes of output were not taken", c->out.n);
}

void chardev_close(struct chardev *c)
{
    if (!c)
        return;
    loop_call(c->loop, close_on_loop, c);
    pthread_mutex_lock(&c->lock);
    flush(c);
    pthread_mutex_unlock(&c->lock);
    if (c->out.comes)
        for_each_row(t, c->out.taker)
            fd_close(&t->fd);
    console_host_close(&c->host);
    fd_close(&c->log);
    pthread_mutex_destroy(&c->lock);
    free(c);
}
