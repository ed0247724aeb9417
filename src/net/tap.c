/*
 * net/tap.c: frames through a tap interface of the host, or through a socket that someone gave us.
 * (Linux, Documentation/networking/tuntap.rst)
 *   (1) The header goes to the kernel as the guest wrote it: the kernel reads it once and checks it.
 *   (2) What the guest has no buffers for stays in the interface's own queue, which is bounded (txqueuelen).
 */
#include "net/tap.h"

#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

struct tap_queue {
    struct tap *tap;
    int fd;
    bool attached; /* the interface sends frames to it */
    bool gone;     /* the other end is: never watched again, or the loop would spin */
    struct loop_fd watch;
};

struct tap {
    struct net_backend b;
    bool is_socket;
    bool ends; /* reads of 0 bytes say that the other end closed */
    struct net_sink sink;
    struct tap_queue q[NET_PAIRS_MAX]; /* b.pairs of them */
};

static struct tap *tap_of(struct net_backend *b)
{
    return container_of(b, struct tap, b);
}

static void on_readable(struct loop_fd *w, int)
{
    struct tap_queue *q = container_of(w, struct tap_queue, watch);

    q->tap->sink.readable(q->tap->sink.arg, (u16)(q - q->tap->q));
}

static void tap_stop(struct net_backend *b)
{
    for (u16 i = 0; i < b->pairs; i++)
        loop_fd_close(&tap_of(b)->q[i].watch);
}

static int tap_start(struct net_backend *b, struct loop *l, const struct net_sink *s)
{
    struct tap *t = tap_of(b);

    t->sink = *s;
    for (u16 i = 0; i < b->pairs; i++) {
        int r = loop_fd_open(l, &t->q[i].watch, t->q[i].fd, 0, on_readable, NULL);

        if (r < 0) {
            tap_stop(b);
            return r;
        }
    }
    return 0;
}

static void tap_watch(struct net_backend *b, u16 pair, bool on)
{
    struct tap_queue *q = &tap_of(b)->q[pair];

    loop_fd_events(&q->watch, on && !q->gone ? UV_READABLE : 0);
}

static ssize_t tap_recv(struct net_backend *b, u16 pair, const struct iovec *iov, u32 n)
{
    struct tap_queue *q = &tap_of(b)->q[pair];
    ssize_t r = readv(q->fd, iov, (int)n);

    if (r > 0)
        return r;
    if (r < 0 && (errno == EAGAIN || errno == EINTR))
        return -EAGAIN;
    if (r == 0 && !q->tap->ends) /* an empty datagram */
        return 0;
    log_warn("network: the other end of queue %u is gone%s%s", pair, r < 0 ? ": " : "",
             r < 0 ? strerror(errno) : "");
    q->gone = true;
    if (q->watch.poll)
        loop_fd_events(&q->watch, 0);
    return -EAGAIN;
}

/* A socket whose other end has gone must not end the process by SIGPIPE. */
static ssize_t tap_send(struct net_backend *b, u16 pair, const struct iovec *iov, u32 n)
{
    struct tap *t = tap_of(b);
    ssize_t r;

    if (t->is_socket) {
        struct msghdr m = { .msg_iov = (struct iovec *)(uintptr_t)iov, .msg_iovlen = n };

        r = sendmsg(t->q[pair].fd, &m, MSG_NOSIGNAL);
    } else {
        r = writev(t->q[pair].fd, iov, (int)n);
    }
    return r < 0 ? -errno : r;
}

static int tap_offloads(struct net_backend *b, u32 set)
{
    static const struct {
        u32 ours, tun;
    } rows[] = {
        { NET_CSUM, TUN_F_CSUM },   { NET_TSO4, TUN_F_TSO4 }, { NET_TSO6, TUN_F_TSO6 },
        { NET_ECN, TUN_F_TSO_ECN }, { NET_UFO, TUN_F_UFO },
    };
    struct tap *t = tap_of(b);
    unsigned long flags = 0;

    if (t->is_socket)
        return set ? -ENOTSUP : 0;
    for_each_row(r, rows)
        if (set & r->ours)
            flags |= r->tun;
    return ioctl(t->q[0].fd, TUNSETOFFLOAD, flags) < 0 ? -errno : 0; /* for the whole interface */
}

/* A queue that nobody reads is detached, or the kernel would spread flows on to it. */
static int tap_use_pairs(struct net_backend *b, u16 n)
{
    struct tap *t = tap_of(b);

    for (u16 i = 0; b->pairs > 1 && i < b->pairs; i++) {
        struct tap_queue *q = &t->q[i];
        struct ifreq ifr = { .ifr_flags = i < n ? IFF_ATTACH_QUEUE : IFF_DETACH_QUEUE };

        if (q->attached == (i < n))
            continue;
        if (ioctl(q->fd, TUNSETQUEUE, &ifr) < 0)
            return -errno;
        q->attached = i < n;
    }
    return 0;
}

static void tap_free(struct net_backend *b)
{
    struct tap *t = tap_of(b);

    for (u16 i = 0; i < b->pairs; i++)
        fd_close(&t->q[i].fd);
    free(t);
}

static const struct net_backend_ops tap_ops = {
    .start = tap_start,
    .stop = tap_stop,
    .watch = tap_watch,
    .recv = tap_recv,
    .send = tap_send,
    .offloads = tap_offloads,
    .use_pairs = tap_use_pairs,
    .free = tap_free,
};

static struct net_backend *tap_new(void)
{
    struct tap *t = xnew(struct tap);

    t->b.ops = &tap_ops;
    for_each_row(q, t->q) {
        q->tap = t;
        q->fd = -1;
    }
    return &t->b;
}

/* The queue behind `fd` is made as frames want it; `fd` stays the caller's. */
static int set_header(int fd, struct err *e)
{
    int size = NET_HDR;

    if (ioctl(fd, TUNSETVNETHDRSZ, &size) < 0)
        return err_errno(e, "set the header size of a tap queue");
    return 0;
}

/* `name` becomes that of the interface, where it was a pattern ("tap%d").  An owned fd. */
static int attach(char name[IFNAMSIZ], int flags, struct err *e)
{
    AUTO(fd) int fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
    struct ifreq ifr = { .ifr_flags = (short)(IFF_TAP | IFF_NO_PI | IFF_VNET_HDR | flags) };
    int r;

    if (fd < 0)
        return err_errno(e, "open '/dev/net/tun'");
    memcpy(ifr.ifr_name, name, IFNAMSIZ);
    if (ioctl(fd, TUNSETIFF, &ifr) < 0) {
        if (errno == EINVAL)
            return err_errno(e, "it is no tap interface %s",
                             flags ? "with several queues" : "with one queue");
        return err_errno(e, "attach");
    }
    r = set_header(fd, e);
    if (r < 0)
        return r;
    memcpy(name, ifr.ifr_name, IFNAMSIZ);
    return TAKE_FD(fd);
}

static int open_queue(struct tap_queue *q, char name[IFNAMSIZ], int flags, struct err *e)
{
    q->fd = attach(name, flags, e);
    q->attached = q->fd >= 0;
    return min(q->fd, 0);
}

int tap_make(const char *name, struct err *e)
{
    char own[IFNAMSIZ];

    must(str_copy(own, sizeof(own), name));
    return attach(own, 0, e);
}

int tap_open(const char *name, u16 pairs, struct net_backend **ret, struct err *e)
{
    AUTO(net) struct net_backend *b = tap_new();
    char own[IFNAMSIZ];
    int r = 0;

    must(pairs > 0 && pairs <= NET_PAIRS_MAX);
    if (!str_copy(own, sizeof(own), name))
        return err_set(e, -EINVAL, "tap '%s': a name has at most %d characters", name,
                       IFNAMSIZ - 1);
    while (r == 0 && b->pairs < pairs)
        r = open_queue(&tap_of(b)->q[b->pairs++], own, pairs > 1 ? IFF_MULTI_QUEUE : 0, e);
    if (r == 0)
        r = tap_use_pairs(b, 1);
    if (r == 0)
        r = tap_offloads(b, 0); /* what its last user wanted may still be set */
    if (r < 0)
        return e && e->text[0] ? err_wrap(e, "tap '%s'", name) : err_code(e, r, "tap '%s'", name);
    b->offloads = NET_CSUM | NET_TSO4 | NET_TSO6 | NET_ECN | NET_UFO;
    *ret = TAKE(b);
    return 0;
}

static int check_tap(int fd, const struct ifreq *ifr, struct err *e)
{
    const unsigned want = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR;

    if (((unsigned short)ifr->ifr_flags & want) != want)
        return err_set(e, -EINVAL, "fd %d is no tap queue with IFF_TAP, IFF_NO_PI and IFF_VNET_HDR",
                       fd);
    return set_header(fd, e);
}

static int check_socket(int fd, bool *ret_ends, struct err *e)
{
    int type = 0, family = 0;
    socklen_t len = sizeof(type), len2 = sizeof(family);

    if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &len) < 0 ||
        getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &family, &len2) < 0)
        return err_errno(e, "fd %d is neither a tap queue nor a socket", fd);
    if (family != AF_UNIX || (type != SOCK_DGRAM && type != SOCK_SEQPACKET))
        return err_set(e, -EINVAL, "fd %d is not a unix socket that keeps packet borders", fd);
    *ret_ends = type == SOCK_SEQPACKET;
    return 0;
}

int tap_given(int fd, struct net_backend **ret, struct err *e)
{
    AUTO(net) struct net_backend *b = tap_new();
    struct ifreq ifr = {};
    int flags, r;

    tap_of(b)->is_socket = ioctl(fd, TUNGETIFF, &ifr) < 0;
    r = tap_of(b)->is_socket ? check_socket(fd, &tap_of(b)->ends, e) : check_tap(fd, &ifr, e);
    if (r < 0)
        return r;
    flags = fcntl(fd, F_GETFL);
    if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0)
        return err_errno(e, "make fd %d non-blocking", fd);
    if (!tap_of(b)->is_socket) {
        b->offloads = NET_CSUM | NET_TSO4 | NET_TSO6 | NET_ECN | NET_UFO;
        tap_of(b)->q[0].fd = fd;
        r = tap_offloads(b, 0);
        tap_of(b)->q[0].fd = -1;
        if (r < 0)
            return err_code(e, r, "fd %d: turn offloads off", fd);
    }
    b->pairs = 1;
    tap_of(b)->q[0].fd = fd;
    tap_of(b)->q[0].attached = true;
    *ret = TAKE(b);
    return 0;
}
