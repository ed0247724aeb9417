/*
 * net/user.c: user-mode network by libslirp, on a libuv loop.
 *   (1) libslirp is loaded only here (dlopen): it and glib cost about 1.3 MiB of resident memory, which a machine without a user
 *       network does not pay.  Measured with two programs that differ in the link alone.
 *   (2) Each round of the loop: prepare asks libslirp for its fds and its patience, check gives it what became ready.  Its fds
 *       live in an epoll set of our own, of which the loop sees one fd: libuv aborts on an fd that was closed behind its back.
 *   (3) Frames for the guest wait in `fifo`, of fixed size; when it is full they are dropped, and TCP sends them again.
 */
#include "net/user.h"

#include "base/clock.h"

#include <arpa/inet.h>
#include <dlfcn.h>
#include <slirp/libslirp.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <unistd.h>

enum {
    USER_FDS_MAX = 4096,  /* fds above are not served: their connections stand still */
    USER_FIFO = 128,      /* frames that wait for the guest */
    USER_SLOT = 2048,     /* bytes; libslirp sends at most its MTU of 1500 and an Ethernet header */
    USER_EVENTS_MAX = 64, /* of one round */
    USER_TX_MAX = 65536,  /* a frame of the guest */
};

/* The part of libslirp that we use, by name. */
struct slirp_calls {
    Slirp *(*new)(const SlirpConfig *cfg, const SlirpCb *cb, void *opaque);
    void (*cleanup)(Slirp *s);
    void (*fill)(Slirp *s, uint32_t *timeout, SlirpAddPollCb add, void *opaque);
    void (*poll)(Slirp *s, int error, SlirpGetREventsCb get, void *opaque);
    void (*input)(Slirp *s, const uint8_t *pkt, int len);
    int (*add_forward)(Slirp *s, int udp, struct in_addr host, int host_port, struct in_addr guest,
                       int guest_port);
};

struct fd_poll {
    u8 want, armed, ready; /* SLIRP_POLL_x; armed: what the epoll set watches */
};

struct user {
    struct net_backend b;
    struct slirp_calls c;
    Slirp *slirp;
    SlirpCb callbacks; /* libslirp borrows them */
    int epoll;
    struct fd_poll fds[USER_FDS_MAX];
    u32 fds_end; /* no fd from here on is wanted or armed */
    bool stale;  /* libslirp's wishes may have changed: ask again */
    bool due;    /* it has something to do */

    struct net_sink sink;
    struct loop_fd ready;
    uv_prepare_t prepare;
    uv_check_t check;
    uv_timer_t timer;
    bool running, watched;

    u8 tx[USER_TX_MAX];
    u16 fifo_len[USER_FIFO];
    u32 fifo_first, fifo_n;
    u8 fifo[USER_FIFO][USER_SLOT];
};

static const struct in_addr guest_ip = { 0x0f02000a }; /* 10.0.2.15, network order */

static struct user *user_of(struct net_backend *b)
{
    return container_of(b, struct user, b);
}

/* ---- frames ---- */

static ssize_t on_packet(const void *buf, size_t len, void *opaque)
{
    struct user *u = opaque;
    u32 slot = (u->fifo_first + u->fifo_n) % USER_FIFO;

    if (u->fifo_n == USER_FIFO || len > USER_SLOT) {
        atomic_fetch_add_explicit(&u->b.dropped, 1, memory_order_relaxed);
        return (ssize_t)len;
    }
    memcpy(u->fifo[slot], buf, len);
    u->fifo_len[slot] = (u16)len;
    u->fifo_n++;
    if (u->fifo_n == USER_FIFO / 2 && u->watched && u->running)
        u->sink.readable(u->sink.arg, 0); /* before it is full; the rest at the round's end */
    return (ssize_t)len;
}

/* Copies the first bytes of `iov` to `to`, or the reverse; how many. */
static size_t copy_iov(const struct iovec *iov, u32 n, size_t skip, u8 *flat, size_t len, bool from)
{
    size_t done = 0;

    for (u32 i = 0; i < n && done < len; i++) {
        size_t off = min(skip, iov[i].iov_len);
        size_t part = min(iov[i].iov_len - off, len - done);
        u8 *at = (u8 *)iov[i].iov_base + off;

        skip -= off;
        if (from)
            memcpy(flat + done, at, part);
        else
            memcpy(at, flat + done, part);
        done += part;
    }
    return done;
}

static ssize_t user_recv(struct net_backend *b, u16, const struct iovec *iov, u32 n)
{
    struct user *u = user_of(b);
    u8 none[NET_HDR - 2] = {}; /* no offloads */
    size_t len;

    if (u->fifo_n == 0)
        return -EAGAIN;
    copy_iov(iov, n, 0, none, sizeof(none), false);
    len = copy_iov(iov, n, NET_HDR, u->fifo[u->fifo_first], u->fifo_len[u->fifo_first], false);
    u->fifo_first =
        --u->fifo_n ? (u->fifo_first + 1) % USER_FIFO : 0; /* empty: reuse warm memory */
    return (ssize_t)(NET_HDR + len);
}

/* The header asks for nothing: no offload was offered to the guest, which computes its checksums itself. */
static ssize_t user_send(struct net_backend *b, u16, const struct iovec *iov, u32 n)
{
    struct user *u = user_of(b);
    size_t total = 0, len;

    for (u32 i = 0; i < n; i++)
        total += iov[i].iov_len;
    if (total < NET_HDR || total - NET_HDR > USER_TX_MAX)
        return -EMSGSIZE;
    len = copy_iov(iov, n, NET_HDR, u->tx, USER_TX_MAX, true);
    u->c.input(u->slirp, u->tx, (int)len);
    u->stale = true;
    return (ssize_t)total;
}

/* ---- libslirp's fds and time ---- */

static u32 epoll_bits(u8 want)
{
    return (want & SLIRP_POLL_IN ? EPOLLIN : 0u) | (want & SLIRP_POLL_OUT ? EPOLLOUT : 0u) |
           (want & SLIRP_POLL_PRI ? EPOLLPRI : 0u);
}

static u8 slirp_bits(u32 events)
{
    return (u8)((events & EPOLLIN ? SLIRP_POLL_IN : 0) | (events & EPOLLOUT ? SLIRP_POLL_OUT : 0) |
                (events & EPOLLPRI ? SLIRP_POLL_PRI : 0) |
                (events & EPOLLERR ? SLIRP_POLL_ERR : 0) |
                (events & EPOLLHUP ? SLIRP_POLL_HUP : 0));
}

/* Makes the epoll set watch what is wanted of `fd`. */
static void arm(struct user *u, int fd)
{
    struct fd_poll *s = &u->fds[fd];
    struct epoll_event ev = { .events = epoll_bits(s->want), .data.fd = fd };

    if (s->want == s->armed)
        return;
    if (!s->want)
        epoll_ctl(u->epoll, EPOLL_CTL_DEL, fd, NULL);
    else if (epoll_ctl(u->epoll, EPOLL_CTL_MOD, fd, &ev) < 0 && errno == ENOENT)
        epoll_ctl(u->epoll, EPOLL_CTL_ADD, fd, &ev);
    s->armed = s->want;
}

static int on_want(int fd, int events, void *opaque)
{
    struct user *u = opaque;

    if (fd < 0 || fd >= USER_FDS_MAX) {
        log_warn_limited("user network: more than %d open files; a connection stands still",
                         USER_FDS_MAX);
        return -1;
    }
    u->fds[fd].want = (u8)(events & (SLIRP_POLL_IN | SLIRP_POLL_OUT | SLIRP_POLL_PRI));
    u->fds_end = max(u->fds_end, (u32)fd + 1);
    return fd;
}

static int on_get(int fd, void *opaque)
{
    const struct user *u = opaque;

    return fd < 0 ? 0 : u->fds[fd].ready;
}

/* A new or an old fd of libslirp: what the set knew of its number is over. */
static void on_fd_changed(int fd, void *opaque)
{
    struct user *u = opaque;

    if (fd < 0 || fd >= USER_FDS_MAX)
        return;
    u->fds[fd].want = u->fds[fd].ready = 0;
    arm(u, fd);
    u->stale = true;
}

static void on_timer(uv_timer_t *t)
{
    container_of(t, struct user, timer)->due = true;
}

/* It only kept the loop from waiting. */
static void on_round(uv_timer_t *)
{
}

static void ask(struct user *u)
{
    u32 timeout = UINT32_MAX;

    for (u32 fd = 0; fd < u->fds_end; fd++)
        u->fds[fd].want = 0;
    u->c.fill(u->slirp, &timeout, on_want, u);
    for (u32 fd = 0; fd < u->fds_end; fd++)
        arm(u, (int)fd);
    while (u->fds_end > 0 && !u->fds[u->fds_end - 1].armed)
        u->fds_end--;
    if (timeout != UINT32_MAX)
        uv_timer_start(&u->timer, on_timer, timeout, 0);
    else
        uv_timer_stop(&u->timer);
    u->stale = false;
}

static void on_prepare(uv_prepare_t *p)
{
    struct user *u = container_of(p, struct user, prepare);

    if (u->stale)
        ask(u);
    if (u->due || (u->fifo_n > 0 && u->watched)) {
        uv_timer_start(&u->timer, on_round, 0, 0); /* do not wait in this round */
        u->stale = true;                           /* the next one sets libslirp's own time again */
    }
}

static void on_ready(struct loop_fd *f, int)
{
    struct user *u = container_of(f, struct user, ready);
    struct epoll_event ev[USER_EVENTS_MAX];
    int n = epoll_wait(u->epoll, ev, USER_EVENTS_MAX, 0);

    for (int i = 0; i < n; i++)
        u->fds[ev[i].data.fd].ready = slirp_bits(ev[i].events);
    u->due |= n > 0;
}

static void on_check(uv_check_t *c)
{
    struct user *u = container_of(c, struct user, check);

    if (u->due) {
        u->due = false;
        u->c.poll(u->slirp, 0, on_get, u);
        for (u32 fd = 0; fd < u->fds_end; fd++)
            u->fds[fd].ready = 0;
        u->stale = true;
    }
    if (u->fifo_n > 0 && u->watched)
        u->sink.readable(u->sink.arg, 0);
}

static void on_guest_error(const char *msg, void *)
{
    log_debug("user network: %s", msg);
}

static int64_t on_clock(void *)
{
    return (int64_t)clock_mono_ns();
}

static void on_notify(void *opaque)
{
    ((struct user *)opaque)->stale = true;
}

/* libslirp wants timers for IPv6 only, which is off. */
static void *on_timer_new(SlirpTimerId, void *, void *)
{
    return NULL;
}

static void on_timer_free(void *, void *)
{
}

static void on_timer_mod(void *, int64_t, void *)
{
}

/* ---- the backend ---- */

static void user_stop(struct net_backend *b)
{
    struct user *u = user_of(b);

    if (!u->running)
        return;
    loop_fd_close(&u->ready);
    uv_close((uv_handle_t *)&u->prepare, NULL);
    uv_close((uv_handle_t *)&u->check, NULL);
    uv_close((uv_handle_t *)&u->timer, NULL);
    u->running = false;
}

static int user_start(struct net_backend *b, struct loop *l, const struct net_sink *s)
{
    struct user *u = user_of(b);
    int r = loop_fd_open(l, &u->ready, u->epoll, UV_READABLE, on_ready, NULL);

    if (r < 0)
        return r;
    u->sink = *s;
    uv_prepare_init(&l->uv, &u->prepare);
    uv_prepare_start(&u->prepare, on_prepare);
    uv_check_init(&l->uv, &u->check);
    uv_check_start(&u->check, on_check);
    uv_timer_init(&l->uv, &u->timer);
    u->running = true;
    u->stale = true;
    return 0;
}

static void user_watch(struct net_backend *b, u16, bool on)
{
    user_of(b)->watched = on;
}

static int user_offloads(struct net_backend *, u32 set)
{
    return set ? -ENOTSUP : 0;
}

static int user_use_pairs(struct net_backend *, u16 n)
{
    return n == 1 ? 0 : -ENOTSUP;
}

static void user_free(struct net_backend *b)
{
    struct user *u = user_of(b);

    if (u->slirp)
        u->c.cleanup(u->slirp);
    fd_close(&u->epoll);
    /* The library stays loaded: glib cannot be unloaded. */
    free(u);
}

static const struct net_backend_ops user_ops = {
    .start = user_start,
    .stop = user_stop,
    .watch = user_watch,
    .recv = user_recv,
    .send = user_send,
    .offloads = user_offloads,
    .use_pairs = user_use_pairs,
    .free = user_free,
};

/* ---- opening ---- */

static int load(struct slirp_calls *c, struct err *e)
{
    const struct {
        const char *name;
        void *at;
    } rows[] = {
        { "slirp_new", &c->new },           { "slirp_cleanup", &c->cleanup },
        { "slirp_pollfds_fill", &c->fill }, { "slirp_pollfds_poll", &c->poll },
        { "slirp_input", &c->input },       { "slirp_add_hostfwd", &c->add_forward },
    };
    void *library = dlopen("libslirp.so.0", RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);

    if (!library)
        return err_set(e, -ENOENT, "user network: %s (Debian: package libslirp0)", dlerror());
    for_each_row(r, rows) {
        void *symbol = dlsym(library, r->name);

        if (!symbol)
            return err_set(e, -ENOSYS, "user network: libslirp.so.0 has no '%s'", r->name);
        memcpy(r->at, &symbol, sizeof(symbol));
    }
    return 0;
}

static int add_forwards(struct user *u, const struct user_cfg *cfg, struct err *e)
{
    for (u32 i = 0; i < cfg->n_forwards; i++) {
        const struct user_forward *f = &cfg->forwards[i];

        if (u->c.add_forward(u->slirp, f->udp, f->host, f->host_port, guest_ip, f->guest_port) < 0)
            return err_errno(e, "listen on %s port %u of %s", f->udp ? "udp" : "tcp", f->host_port,
                             inet_ntoa(f->host));
    }
    return 0;
}

static void set_callbacks(SlirpCb *cb)
{
    *cb = (SlirpCb){
        .send_packet = on_packet,
        .guest_error = on_guest_error,
        .clock_get_ns = on_clock,
        .timer_free = on_timer_free,
        .timer_mod = on_timer_mod,
        .timer_new_opaque = on_timer_new,
        .register_poll_fd = on_fd_changed,
        .unregister_poll_fd = on_fd_changed,
        .notify = on_notify,
    };
}

int user_open(const struct user_cfg *cfg, struct net_backend **ret, struct err *e)
{
    /* Addresses in network order, as everyone knows them from this kind of network. */
    const SlirpConfig sc = {
        .version = 4,
        .in_enabled = true,
        .vnetwork = { 0x0002000a },    /* 10.0.2.0 */
        .vnetmask = { 0x00ffffff },    /* 255.255.255.0 */
        .vhost = { 0x0202000a },       /* 10.0.2.2 */
        .vdhcp_start = guest_ip,       /* 10.0.2.15 */
        .vnameserver = { 0x0302000a }, /* 10.0.2.3 */
        .disable_host_loopback = cfg->isolated,
    };
    struct user *u = xnew(struct user);
    AUTO(net) struct net_backend *b = &u->b;
    int r;

    u->b.ops = &user_ops;
    u->b.pairs = 1;
    u->epoll = epoll_create1(EPOLL_CLOEXEC);
    if (u->epoll < 0)
        return err_errno(e, "user network: epoll");
    r = load(&u->c, e);
    if (r < 0)
        return r;
    set_callbacks(&u->callbacks);
    u->slirp = u->c.new(&sc, &u->callbacks, u);
    if (!u->slirp)
        return err_set(e, -EIO, "user network: libslirp refuses its configuration");
    r = add_forwards(u, cfg, e);
    if (r == 0)
        *ret = TAKE(b);
    return r;
}

/* ---- forward rules ---- */

/* Cuts the last ":word" off `text`, our own copy; NULL when there is none. */
static char *cut_last(char *text)
{
    char *colon = strrchr(text, ':');

    if (!colon)
        return NULL;
    *colon = 0;
    return colon + 1;
}

static bool parse_port(const char *s, u16 *ret)
{
    u64 v;

    if (!s || str_u64(s, &v) < 0 || v == 0 || v > UINT16_MAX)
        return false;
    *ret = (u16)v;
    return true;
}

int user_forward_parse(const char *rule, struct user_forward *ret, struct err *e)
{
    struct user_forward f = { .host = { htonl(INADDR_LOOPBACK) }, .udp = str_starts(rule, "udp:") };
    char text[64], *guest, *host;
    bool ok = (f.udp || str_starts(rule, "tcp:")) && str_copy(text, sizeof(text), rule + 4);

    if (ok) {
        guest = cut_last(text);
        host = cut_last(text);
        ok = parse_port(guest, &f.guest_port) && parse_port(host ? host : text, &f.host_port) &&
             (!host || inet_pton(AF_INET, text, &f.host) == 1);
    }
    if (!ok)
        return err_set(e, -EINVAL,
                       "forward '%.80s' is not tcp|udp:[IPv4 ADDRESS:]HOST_PORT:GUEST_PORT", rule);
    *ret = f;
    return 0;
}
