/*
 * dev/virtio/vsock_conn.c: connections between a guest's sockets and unix sockets of the host.  (virtio 1.2, section 5.10.6)
 * vsock_internal.h has the states.
 *   (1) A connection's fd is watched for what can be done now and nothing else (wanted_events): the loop never spins.
 *   (2) The guest may send VSOCK_BUF bytes ahead of what the program has taken; one that sends more loses the connection.
 */
#include "dev/virtio/vsock_internal.h"
#include "net/dial.h"

#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

static u32 index_of(const struct vsock *s, const struct vsock_conn *c)
{
    return (u32)(c - s->conns);
}

static u8 *buf_of(const struct vsock *s, const struct vsock_conn *c)
{
    return s->bufs + (size_t)index_of(s, c) * VSOCK_BUF;
}

/* ---- finding ---- */

static u16 *bucket_of(struct vsock *s, u32 host_port, u32 guest_port)
{
    u32 h = (host_port * 0x9e3779b1u) ^ (guest_port * 0x85ebca6bu);

    return &s->buckets[(h ^ h >> 15) % VSOCK_BUCKETS];
}

static struct vsock_conn *find(struct vsock *s, u32 host_port, u32 guest_port)
{
    u16 i = *bucket_of(s, host_port, guest_port);

    while (i) {
        struct vsock_conn *c = &s->conns[i - 1];

        if (c->host_port == host_port && c->guest_port == guest_port)
            return c;
        i = c->next;
    }
    return NULL;
}

/* ---- watching ---- */

/* Room that the guest has for data.  Its counters are its own business: nonsense is no room. */
static u32 credit(const struct vsock_conn *c)
{
    u32 under_way = c->sent - c->peer_fwd;

    return under_way < c->peer_alloc ? c->peer_alloc - under_way : 0;
}

static bool may_read(const struct vsock *s, const struct vsock_conn *c)
{
    return c->state == CONN_OPEN && !c->host_eof && !(c->guest_shut & VSOCK_SHUT_RECV) &&
           !(c->owe & OWE_RESPONSE) && !s->starved && credit(c) > 0;
}

static int wanted_events(const struct vsock *s, const struct vsock_conn *c)
{
    if (!s->active || s->broken)
        return 0;
    if (c->state == CONN_GREETING)
        return UV_READABLE;
    if (c->state == CONN_ASKED)
        return UV_DISCONNECT;
    return (may_read(s, c) ? UV_READABLE : 0) | (c->buf_len > 0 ? UV_WRITABLE : 0);
}

static void watch(struct vsock *s, struct vsock_conn *c)
{
    if (c->watch.poll)
        loop_fd_events(&c->watch, wanted_events(s, c));
}

static void watch_listener(struct vsock *s)
{
    bool on = s->active && !s->broken && s->n_used < VSOCK_CONNS_MAX;

    if (s->listen_watch.poll)
        loop_fd_events(&s->listen_watch, on ? UV_READABLE : 0);
}

void vsock_watch_all(struct vsock *s)
{
    watch_listener(s);
    for (u32 i = 0; i < s->n_fresh; i++)
        watch(s, &s->conns[i]);
}

/* ---- beginning and end ---- */

static void on_ready(struct loop_fd *f, int events);

/* NULL: there are too many. */
static struct vsock_conn *conn_new(struct vsock *s, enum vsock_conn_state state)
{
    struct vsock_conn *c;
    u32 i;

    if (s->free) {
        i = s->free - 1u;
        s->free = s->conns[i].next;
    } else if (s->n_fresh < VSOCK_CONNS_MAX) {
        i = s->n_fresh++;
    } else {
        return NULL;
    }
    c = &s->conns[i];
    *c = (struct vsock_conn){ .state = state,
                              .life = c->life + 1,
                              .owing = c->owing,
                              .next_owing = c->next_owing,
                              .fd = -1 };
    s->n_used++;
    return c;
}

/* The guest takes part in it from now on. */
static void conn_name(struct vsock *s, struct vsock_conn *c, u32 host_port, u32 guest_port)
{
    u16 *bucket = bucket_of(s, host_port, guest_port);

    c->host_port = host_port;
    c->guest_port = guest_port;
    c->next = *bucket;
    *bucket = (u16)(index_of(s, c) + 1);
    s->n_live++;
}

static void conn_unname(struct vsock *s, struct vsock_conn *c)
{
    u16 *at = bucket_of(s, c->host_port, c->guest_port);

    while (*at != index_of(s, c) + 1)
        at = &s->conns[*at - 1].next;
    *at = c->next;
    s->n_live--;
}

static void conn_free(struct vsock *s, struct vsock_conn *c)
{
    if (c->state != CONN_GREETING)
        conn_unname(s, c);
    loop_fd_close(&c->watch);
    fd_close(&c->fd);
    if (c->buffered)
        madvise(buf_of(s, c), VSOCK_BUF, MADV_DONTNEED);
    c->state = CONN_FREE;
    c->owe = 0; /* it may still stand in the list of those that owe */
    c->next = s->free;
    s->free = (u16)(index_of(s, c) + 1);
    s->n_used--;
    watch_listener(s);
}

static void push_reset(struct vsock *s, u32 host_port, u32 guest_port)
{
    u32 at = (s->first_reset + s->n_resets) % VSOCK_RESETS_MAX;

    must(s->n_resets < VSOCK_RESETS_MAX);
    s->n_resets++;
    s->resets[at].host_port = host_port;
    s->resets[at].guest_port = guest_port;
}

/* Ends it; the guest is told, if it knows of it. */
static void conn_reset(struct vsock *s, struct vsock_conn *c)
{
    if (c->state != CONN_GREETING && !(c->owe & OWE_REQUEST))
        push_reset(s, c->host_port, c->guest_port);
    conn_free(s, c);
}

void vsock_drop_all(struct vsock *s)
{
    for (u32 i = 0; i < s->n_fresh; i++) {
        struct vsock_conn *c = &s->conns[i];

        c->owing = false;
        if (c->state != CONN_FREE)
            conn_free(s, c);
    }
    s->owing = 0;
    s->owing_end = &s->owing;
    s->first_reset = s->n_resets = 0;
}

static void owe(struct vsock *s, struct vsock_conn *c, u8 what)
{
    c->owe |= what;
    if (c->owing)
        return;
    c->owing = true;
    c->next_owing = 0;
    *s->owing_end = (u16)(index_of(s, c) + 1);
    s->owing_end = &c->next_owing;
}

bool vsock_pay(struct vsock *s, struct vsock_conn *c)
{
    static const enum vsock_op ops[] = { VSOCK_OP_REQUEST, VSOCK_OP_RESPONSE,
                                         VSOCK_OP_CREDIT_UPDATE, VSOCK_OP_CREDIT_REQUEST,
                                         VSOCK_OP_SHUTDOWN };
    u32 bit = (u32)__builtin_ctz(c->owe);

    must(bit < ARRAY_LEN(ops));
    if (!vsock_buffer(s))
        return false;
    vsock_send(s, c, ops[bit], ops[bit] == VSOCK_OP_SHUTDOWN ? VSOCK_SHUT_SEND : 0, 0);
    c->owe &= (u8) ~(1u << bit);
    watch(s, c);
    return true;
}

static int conn_attach(struct vsock *s, struct vsock_conn *c, int fd)
{
    c->fd = fd;
    return loop_fd_open(&s->loop, &c->watch, fd, 0, on_ready, s);
}

/* ---- the guest's data ---- */

/* Bytes that went, or a negative errno; 0: the program does not take any now. */
static ssize_t give(int fd, struct iovec *iov, int n)
{
    struct msghdr m = { .msg_iov = iov, .msg_iovlen = (size_t)n };
    ssize_t r = sendmsg(fd, &m, MSG_NOSIGNAL | MSG_DONTWAIT);

    return r < 0 ? (errno == EAGAIN || errno == EINTR ? 0 : -errno) : r;
}

/* The guest is done with one or both directions, and all of what it sent is with the program. */
static void flushed(struct vsock *s, struct vsock_conn *c)
{
    bool no_send = c->guest_shut & VSOCK_SHUT_SEND;
    bool no_recv = c->guest_shut & VSOCK_SHUT_RECV || c->host_eof;

    if (no_send && no_recv)
        conn_reset(s, c);
    else if (no_send)
        shutdown(c->fd, SHUT_WR);
}

/* The guest learns how much was taken before it believes that there is no room. */
static void taken(struct vsock *s, struct vsock_conn *c, u32 len)
{
    c->fwd += len;
    if (c->fwd - c->told_fwd >= VSOCK_BUF / 4)
        owe(s, c, OWE_CREDIT_UPDATE);
}

static void flush(struct vsock *s, struct vsock_conn *c)
{
    u8 *buf = buf_of(s, c);
    u32 first = min(c->buf_len, VSOCK_BUF - c->buf_at);
    struct iovec iov[] = { { buf + c->buf_at, first }, { buf, c->buf_len - first } };
    ssize_t r = give(c->fd, iov, 2);

    if (r < 0) {
        conn_reset(s, c);
        return;
    }
    c->buf_at = (c->buf_at + (u32)r) % VSOCK_BUF;
    c->buf_len -= (u32)r;
    taken(s, c, (u32)r);
    if (c->buf_len == 0)
        flushed(s, c);
}

/* Puts the next `len` bytes of the packet behind what waits. */
static void keep(struct vsock *s, struct vsock_conn *c, u32 len)
{
    u8 *buf = buf_of(s, c);

    while (len > 0) {
        u32 at = (c->buf_at + c->buf_len) % VSOCK_BUF;
        u32 part = min(len, VSOCK_BUF - at);

        chain_get(&s->chain, buf + at, part);
        c->buf_len += part;
        len -= part;
        c->buffered = true;
    }
}

static void on_data(struct vsock *s, struct vsock_conn *c, u32 len)
{
    struct iovec iov[VQ_SEGS_MAX];
    ssize_t r = 0;

    if (c->state != CONN_OPEN || c->guest_shut & VSOCK_SHUT_SEND || len > VSOCK_BUF - c->buf_len) {
        conn_reset(s, c);
        return;
    }
    vsock_count(s, STAT_tx_bytes, len);
    if (c->buf_len == 0 && len > 0) {
        int n = chain_out_iov(&s->chain, sizeof(struct vsock_hdr), len, iov, VQ_SEGS_MAX);

        must(n > 0); /* take_packet compared the lengths */
        r = give(c->fd, iov, n);
    }
    if (r < 0) {
        conn_reset(s, c);
        return;
    }
    s->chain.out_done += (u32)r;
    keep(s, c, len - (u32)r);
    taken(s, c, (u32)r);
}

static void on_shutdown(struct vsock *s, struct vsock_conn *c, u32 flags)
{
    if (c->state != CONN_OPEN) {
        conn_reset(s, c);
        return;
    }
    c->guest_shut |= flags & VSOCK_SHUT_BOTH;
    if (c->guest_shut == VSOCK_SHUT_BOTH)
        c->state = CONN_CLOSING;
    if (c->guest_shut & VSOCK_SHUT_RECV)
        shutdown(c->fd, SHUT_RD);
    if (c->buf_len == 0)
        flushed(s, c);
}

/* ---- the guest calls ---- */

static void on_request(struct vsock *s, u32 host_port, u32 guest_port, const struct vsock_hdr *h)
{
    struct vsock_conn *c = s->dial >= 0 ? conn_new(s, CONN_DIALLING) : NULL;
    u64 cookie;

    if (!c) {
        vsock_count(s, STAT_refused, 1);
        push_reset(s, host_port, guest_port);
        return;
    }
    conn_name(s, c, host_port, guest_port);
    c->peer_alloc = le32_get(h->buf_alloc);
    c->peer_fwd = le32_get(h->fwd_cnt);
    cookie = (u64)c->life << 32 | index_of(s, c);
    if (dial_ask(s->dial, cookie, host_port) < 0) {
        vsock_count(s, STAT_refused, 1);
        conn_reset(s, c);
    }
}

static void on_dialled(struct vsock *s, u64 cookie, int fd)
{
    struct vsock_conn *c = &s->conns[(u32)cookie % VSOCK_CONNS_MAX];

    if (c->state != CONN_DIALLING || c->life != cookie >> 32) {
        fd_close(&fd); /* the guest did not wait */
        return;
    }
    if (fd < 0 || conn_attach(s, c, fd) < 0) {
        vsock_count(s, STAT_refused, 1);
        conn_reset(s, c);
        return;
    }
    vsock_count(s, STAT_opened, 1);
    c->state = CONN_OPEN;
    owe(s, c, OWE_RESPONSE);
}

void vsock_on_dial(struct loop_fd *f, int)
{
    struct vsock *s = f->arg;
    u64 cookie;
    int fd, r = 1;

    for (u32 i = 0; i < VSOCK_BUDGET && (r = dial_answer(s->dial, &cookie, &fd)) > 0; i++)
        on_dialled(s, cookie, fd);
    if (r < 0) {
        log_warn("%s: the process that connects to the host's sockets is gone: %s",
                 s->v.fn.dev.name, strerror(-r));
        loop_fd_close(f);
        fd_close(&s->dial);
        for (u32 i = 0; i < s->n_fresh; i++)
            if (s->conns[i].state == CONN_DIALLING)
                conn_reset(s, &s->conns[i]);
    }
    if (s->active)
        vsock_pump(s);
}

/* ---- a program of the host calls ---- */

static void accept_one(struct vsock *s, int fd)
{
    struct vsock_conn *c = conn_new(s, CONN_GREETING);

    if (!c || conn_attach(s, c, fd) < 0) {
        close(fd);
        if (c) {
            c->fd = -1;
            conn_free(s, c);
        }
        return;
    }
    watch(s, c);
}

void vsock_on_listener(struct loop_fd *f, int)
{
    struct vsock *s = f->arg;

    while (s->n_used < VSOCK_CONNS_MAX) {
        int fd = accept4(s->listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

        if (fd < 0 && (errno == EAGAIN || errno == EINTR || errno == ECONNABORTED))
            return;
        if (fd < 0) { /* no files are left: look again when a connection ends */
            log_warn_limited("%s: accept: %s", s->v.fn.dev.name, strerror(errno));
            loop_fd_events(f, 0);
            return;
        }
        accept_one(s, fd);
    }
    watch_listener(s);
}

/* "CONNECT <port>": the port; false when it is anything else. */
static bool parse_line(const char *line, u32 *ret)
{
    u64 v;

    if (!str_starts(line, "CONNECT ") || str_u64(line + 8, &v) < 0 || v > UINT32_MAX)
        return false;
    *ret = (u32)v;
    return true;
}

static void ask_guest(struct vsock *s, struct vsock_conn *c, u32 guest_port)
{
    while (find(s, s->next_port, guest_port))
        s->next_port = s->next_port == UINT32_MAX - 1 ? 1u << 30 : s->next_port + 1;
    conn_name(s, c, s->next_port, guest_port);
    s->next_port = s->next_port == UINT32_MAX - 1 ? 1u << 30 : s->next_port + 1;
    c->state = CONN_ASKED;
    owe(s, c, OWE_REQUEST);
    watch(s, c);
}

/* Takes the line and not a byte more: what follows is for the guest. */
static void read_line(struct vsock *s, struct vsock_conn *c)
{
    char *to = c->line + c->line_len, *end;
    size_t room = sizeof(c->line) - 1 - c->line_len;
    struct iovec iov = { to, room };
    struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1 };
    ssize_t r = recvmsg(c->fd, &m, MSG_PEEK | MSG_DONTWAIT);
    u32 port;

    if (r < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (r <= 0) {
        conn_free(s, c);
        return;
    }
    end = memchr(to, '\n', (size_t)r);
    iov.iov_len = end ? (size_t)(end - to) + 1 : (size_t)r;
    r = recvmsg(c->fd, &m, MSG_DONTWAIT);
    c->line_len = (u8)(c->line_len + max(r, (ssize_t)0));
    if (!end && c->line_len < sizeof(c->line) - 1)
        return;
    if (end)
        *end = 0;
    if (end && parse_line(c->line, &port))
        ask_guest(s, c, port);
    else
        conn_free(s, c);
}

static void on_response(struct vsock *s, struct vsock_conn *c)
{
    char text[VSOCK_LINE_MAX];
    struct iovec iov = { text, 0 };

    str_fmt(text, sizeof(text), "OK %u\n", c->host_port);
    iov.iov_len = strlen(text);
    if (c->state != CONN_ASKED || c->owe & OWE_REQUEST ||
        give(c->fd, &iov, 1) != (ssize_t)iov.iov_len) {
        conn_reset(s, c);
        return;
    }
    vsock_count(s, STAT_opened, 1);
    c->state = CONN_OPEN;
}

/* ---- the program's data ---- */

/* Moves one packet's worth to the guest.  False: there is no more now. */
static bool read_one(struct vsock *s, struct vsock_conn *c)
{
    struct iovec iov[VQ_SEGS_MAX];
    struct msghdr m = { .msg_iov = iov };
    u32 room;
    ssize_t r;
    int n;

    if (!may_read(s, c) || !vsock_buffer(s))
        return false;
    room = min(s->chain.in_len - (u32)sizeof(struct vsock_hdr), credit(c));
    n = chain_in_iov(&s->chain, sizeof(struct vsock_hdr), room, iov, VQ_SEGS_MAX);
    must(n > 0);
    m.msg_iovlen = (size_t)n;
    r = recvmsg(c->fd, &m, MSG_DONTWAIT);
    if (r > 0) {
        c->sent += (u32)r;
        vsock_send(s, c, VSOCK_OP_RW, 0, (u32)r);
        if (credit(c) == 0)
            owe(s, c, OWE_CREDIT_REQUEST);
        return true;
    }
    vq_unpop(&s->v.q[VSOCK_RX], &s->chain);
    if (r < 0 && (errno == EAGAIN || errno == EINTR))
        return false;
    if (r < 0) {
        conn_reset(s, c);
        return false;
    }
    c->host_eof = true;
    owe(s, c, OWE_SHUTDOWN);
    if (c->guest_shut & VSOCK_SHUT_SEND && c->buf_len == 0)
        flushed(s, c);
    return false;
}

static void on_ready(struct loop_fd *f, int events)
{
    struct vsock *s = f->arg;
    struct vsock_conn *c = container_of(f, struct vsock_conn, watch);
    const u32 life = c->life;

    if (c->state == CONN_GREETING)
        read_line(s, c);
    else if (c->state == CONN_ASKED)
        conn_reset(s, c); /* the program did not wait */
    if (c->state >= CONN_OPEN && events & UV_WRITABLE && c->buf_len > 0)
        flush(s, c);
    for (u32 i = 0; i < VSOCK_BUDGET / 4 && c->state == CONN_OPEN && read_one(s, c); i++)
        ;
    if (c->state != CONN_FREE && c->life == life)
        watch(s, c);
    vsock_pump(s);
    if (s->starved)
        vsock_watch_all(s); /* the others must not ask for buffers, either */
}

/* ---- packets ---- */

static void on_known(struct vsock *s, struct vsock_conn *c, const struct vsock_hdr *h)
{
    c->peer_alloc = le32_get(h->buf_alloc);
    c->peer_fwd = le32_get(h->fwd_cnt);
    switch (le16_get(h->op)) {
    case VSOCK_OP_RESPONSE:
        on_response(s, c);
        break;
    case VSOCK_OP_RST:
        conn_free(s, c);
        break;
    case VSOCK_OP_SHUTDOWN:
        on_shutdown(s, c, le32_get(h->flags));
        break;
    case VSOCK_OP_RW:
        on_data(s, c, le32_get(h->len));
        break;
    case VSOCK_OP_CREDIT_UPDATE:
        break;
    case VSOCK_OP_CREDIT_REQUEST:
        owe(s, c, OWE_CREDIT_UPDATE);
        break;
    default: /* also a second REQUEST */
        conn_reset(s, c);
        break;
    }
    if (c->state != CONN_FREE)
        watch(s, c);
}

void vsock_packet(struct vsock *s, const struct vsock_hdr *h)
{
    u32 host_port = le32_get(h->dst_port), guest_port = le32_get(h->src_port);
    struct vsock_conn *c = find(s, host_port, guest_port);
    bool stream = le16_get(h->type) == VSOCK_STREAM;

    if (c && stream)
        on_known(s, c, h);
    else if (stream && le16_get(h->op) == VSOCK_OP_REQUEST)
        on_request(s, host_port, guest_port, h);
    else if (le16_get(h->op) != VSOCK_OP_RST)
        push_reset(s, host_port, guest_port); /* 5.10.6.4.2: unknown types, too */
}
