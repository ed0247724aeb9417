/*
 * dev/console.c: a character stream between a device and the host: a ring of output and the watching of the host's fds.
 *   (1) `lock` is inside every device's lock, and is never held while the ops are called.
 *   (2) fds are watched on the control loop only; other threads that want a change send `wake`, which never waits.
 *   (3) host.out is changed under `lock`, host.in only on the loop.
 */
#include "dev/console.h"

#include "base/base.h"

#include "base/clock.h"
#include "base/loop.h"
#include "dev/console_host.h"

#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <unistd.h>

enum { INPUT_CHUNK = 4096, INPUT_TURNS = 16, FLUSH_MS = 2000 };

struct chardev {
    struct loop *loop;
    const struct chardev_ops *ops;
    void *arg;
    uv_async_t *wake; /* on the heap: libuv frees handles later than we close them */

    /* Of the loop's thread. */
    struct loop_fd in_watch, out_watch, listen_watch;
    bool in_always, out_always; /* regular files: never to be waited for */
    bool in_ended;

    atomic_bool in_held; /* nothing is read until chardev_accept */

    pthread_mutex_t lock; /* guards all below, and host.out */
    struct console_host host;
    bool out_lost;    /* the reader went away for good */
    bool client_lost; /* … a client of the socket: the loop is to take the next */
    bool out_waiting; /* the loop was told that the ring is not empty */
    bool device_waits;
    int log; /* its file position is its end; -1: none */
    u32 log_len;
    u32 first, n; /* of the bytes in the ring */
    u8 ring[CHARDEV_RING];
};

/* Somebody will read what is written, sooner or later: output waits for him. */
static bool reader_waited_for(const struct chardev *c)
{
    return c->host.waits && c->host.out >= 0;
}

static void output_failed(struct chardev *c)
{
    if (c->host.to_file) {
        log_warn_limited("console: output is lost: %s", strerror(errno));
        return;
    }
    if (c->host.listener >= 0) {
        c->client_lost = true;
        return;
    }
    if (!c->out_lost)
        log_warn("console: nobody takes its output any more: %s", strerror(errno));
    c->out_lost = true;
}

static bool output_dead(const struct chardev *c)
{
    return c->out_lost || c->client_lost;
}

/* How many of the bytes the host took; all of them when they have to be thrown away. */
static u32 host_write(struct chardev *c, const u8 *data, u32 len)
{
    u32 done = 0;

    while (done < len && c->host.out >= 0 && !output_dead(c)) {
        ssize_t n = write(c->host.out, data + done, len - done);

        if (n > 0) {
            done += (u32)n;
        } else if (n < 0 && errno == EAGAIN) {
            break;
        } else if (n == 0 || errno != EINTR) {
            output_failed(c);
            return c->host.listener >= 0 ? done : len;
        }
    }
    return c->out_lost ? len : done;
}

static void ring_drain(struct chardev *c)
{
    while (c->n > 0) {
        u32 run = min(c->n, CHARDEV_RING - c->first);
        u32 done = host_write(c, c->ring + c->first, run);

        c->first = (c->first + done) % CHARDEV_RING;
        c->n -= done;
        if (done < run)
            return;
    }
}

static void ring_put(struct chardev *c, const u8 *data, u32 len)
{
    u32 at = (c->first + c->n) % CHARDEV_RING, run = min(len, CHARDEV_RING - at);

    memcpy(c->ring + at, data, run);
    memcpy(c->ring, data + run, len - run);
    c->n += len;
}

/* Makes room for `len` bytes by forgetting the oldest. */
static void ring_forget(struct chardev *c, u32 len)
{
    u32 room = CHARDEV_RING - c->n, drop = len > room ? len - room : 0;

    c->first = (c->first + drop) % CHARDEV_RING;
    c->n -= drop;
}

/* True: the caller is to send `wake`. */
static bool must_wake(struct chardev *c)
{
    bool wake = c->client_lost || (c->n > 0 && c->host.out >= 0 && !c->out_waiting);

    if (c->n > 0 && c->host.out >= 0)
        c->out_waiting = true;
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

static u32 write_locked(struct chardev *c, const void *data, u32 len, bool *ret_wake)
{
    const u8 *p = data;
    u32 done = 0, keep;

    *ret_wake = false;
    if (c->out_lost || (c->host.out < 0 && c->host.listener < 0))
        return len;
    if (c->n == 0)
        done = host_write(c, p, len);
    if (!reader_waited_for(c)) {
        keep = min(len - done, (u32)CHARDEV_RING);
        ring_forget(c, keep);
        ring_put(c, p + (len - keep), keep);
        done = len;
    } else {
        keep = min(len - done, CHARDEV_RING - c->n);
        ring_put(c, p + done, keep);
        done += keep;
        c->device_waits |= done < len;
    }
    *ret_wake = must_wake(c);
    return done;
}

u32 chardev_write(struct chardev *c, const void *data, u32 len)
{
    bool wake, full;
    u32 done;

    pthread_mutex_lock(&c->lock);
    done = write_locked(c, data, len, &wake);
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
    if (reader_waited_for(c) && !c->out_lost) {
        room -= c->n;
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

/* Watches for what is wanted now, and no more: a level-triggered event that nobody serves would spin. */
static void update_watches(struct chardev *c)
{
    int in = c->in_watch.poll && input_room(c) > 0 ? UV_READABLE : 0, out;

    pthread_mutex_lock(&c->lock);
    out = c->n > 0 && c->host.out >= 0 && !output_dead(c) ? UV_WRITABLE : 0;
    c->out_waiting = out;
    pthread_mutex_unlock(&c->lock);
    if (c->host.in == c->host.out) {
        set_events(&c->in_watch, in | out);
    } else {
        set_events(&c->in_watch, in);
        set_events(&c->out_watch, out);
    }
    set_events(&c->listen_watch, c->host.in < 0 ? UV_READABLE : 0);
}

/* Tells the device when there is room for what it could not write. */
static void tell_room(struct chardev *c)
{
    bool tell;

    pthread_mutex_lock(&c->lock);
    tell = c->device_waits && (c->n <= CHARDEV_RING / 2 || !reader_waited_for(c) || output_dead(c));
    if (tell)
        c->device_waits = false;
    pthread_mutex_unlock(&c->lock);
    if (tell && c->ops->on_room)
        c->ops->on_room(c->arg);
}

static void drain(struct chardev *c)
{
    pthread_mutex_lock(&c->lock);
    ring_drain(c);
    if (c->out_lost)
        c->n = 0;
    pthread_mutex_unlock(&c->lock);
    tell_room(c);
}

static void hang_up(struct chardev *c)
{
    if (c->host.listener < 0) {
        c->in_ended = true;
        return;
    }
    loop_fd_close(&c->in_watch);
    pthread_mutex_lock(&c->lock);
    c->host.out = -1;
    c->client_lost = false;
    pthread_mutex_unlock(&c->lock);
    fd_close(&c->host.in);
    tell_room(c);
}

/* False: there is no more for now. */
static bool read_input(struct chardev *c)
{
    u8 bytes[INPUT_CHUNK];
    u32 room = input_room(c);
    ssize_t n;

    if (room == 0 || c->host.in < 0)
        return false;
    n = read(c->host.in, bytes, min(room, (u32)sizeof(bytes)));
    if (n > 0)
        c->ops->on_input(c->arg, bytes, (u32)n);
    else if (n == 0 || (errno != EAGAIN && errno != EINTR))
        hang_up(c);
    return n > 0;
}

static void on_ready(struct loop_fd *f, int events)
{
    struct chardev *c = f->arg;

    if (events & UV_WRITABLE)
        drain(c);
    if (events & UV_READABLE && f == &c->in_watch)
        read_input(c);
    update_watches(c);
}

static void on_client(struct loop_fd *f, int)
{
    struct chardev *c = f->arg;
    int fd = console_host_accept(&c->host);

    if (fd < 0)
        return; /* it went away again */
    if (loop_fd_open(c->loop, &c->in_watch, fd, 0, on_ready, c) < 0) {
        fd_close(&fd);
        return;
    }
    pthread_mutex_lock(&c->lock);
    c->host.in = c->host.out = fd;
    pthread_mutex_unlock(&c->lock);
    drain(c);
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
    bool lost;

    pthread_mutex_lock(&c->lock);
    lost = c->client_lost;
    log_shorten_locked(c);
    pthread_mutex_unlock(&c->lock);
    if (lost)
        hang_up(c);
    for (u32 i = 0; c->in_always && read_input(c); i++) {
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

static void free_async(uv_handle_t *h)
{
    free(h);
}

static void close_on_loop(void *arg)
{
    struct chardev *c = arg;

    loop_fd_close(&c->in_watch);
    loop_fd_close(&c->out_watch);
    loop_fd_close(&c->listen_watch);
    if (c->wake)
        uv_close((uv_handle_t *)c->wake, free_async);
    c->wake = NULL;
}

static void open_on_loop(void *arg)
{
    struct open_call *o = arg;
    struct chardev *c = o->c;

    c->wake = xnew(uv_async_t);
    o->r = uv_async_init(&c->loop->uv, c->wake, on_wake);
    if (o->r < 0) {
        free(TAKE(c->wake));
        return;
    }
    c->wake->data = c;
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

/* Until the ring is empty, or the reader takes nothing for so long that he will not. */
static void flush(struct chardev *c)
{
    u64 until = clock_mono_ns() + FLUSH_MS * NSEC_PER_MSEC;

    ring_drain(c);
    while (c->n > 0 && reader_waited_for(c) && !output_dead(c)) {
        struct pollfd p = { .fd = c->host.out, .events = POLLOUT };
        u64 now = clock_mono_ns();
        u32 before = c->n;

        if (now >= until)
            break;
        poll(&p, 1, (int)((until - now) / NSEC_PER_MSEC) + 1);
        ring_drain(c);
        if (c->n < before)
            until = clock_mono_ns() + FLUSH_MS * NSEC_PER_MSEC;
    }
    if (c->n > 0 && reader_waited_for(c))
        log_warn("console: the last %u bytes of output were not taken", c->n);
}

void chardev_close(struct chardev *c)
{
    if (!c)
        return;
    loop_call(c->loop, close_on_loop, c);
    pthread_mutex_lock(&c->lock);
    flush(c);
    pthread_mutex_unlock(&c->lock);
    console_host_close(&c->host);
    fd_close(&c->log);
    pthread_mutex_destroy(&c->lock);
    free(c);
}
