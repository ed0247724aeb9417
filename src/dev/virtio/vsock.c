/*
 * dev/virtio/vsock.c: the virtio socket device: configuration and queues.  (virtio 1.2, section 5.10)
 */
#include "dev/virtio/vsock.h"

#include "dev/virtio/vsock_internal.h"
#include "net/dial.h"

#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum { CFG_CID = 0, CFG_LEN = 8, EVENT_TRANSPORT_RESET = 0, LISTEN_BACKLOG = 64 };
/* So that "_4294967295" fits behind it. */
#define VSOCK_PATH_MAX (MEMBER_SIZE(struct sockaddr_un, sun_path) - 1 - 11)

STATE_TABLE(vsock_state, VSOCK_STATE);

static struct vsock *vsock_of(struct device *d)
{
    return container_of(vdev_of(d), struct vsock, v);
}

void vsock_fail(struct vsock *s, const char *why)
{
    s->broken = true;
    vsock_watch_all(s);
    vdev_fail(&s->v, why);
}

/* ---- packets to the guest ---- */

bool vsock_buffer(struct vsock *s)
{
    struct vq *q = &s->v.q[VSOCK_RX];
    int r;

    if (s->broken || s->starved)
        return false;
    do {
        r = vq_pop(q, &s->chain);
    } while (r == 0 && vq_kicks(q, true));
    s->starved = r == 0;
    if (r > 0 && s->chain.in_len > sizeof(struct vsock_hdr))
        return true;
    if (r != 0)
        vsock_fail(s, r < 0 ? "malformed receive queue" : "a receive buffer has no room for data");
    return false;
}

static void send_hdr(struct vsock *s, const struct vsock_hdr *h)
{
    u32 len = le32_get(h->len);

    chain_put(&s->chain, h, sizeof(*h));
    chain_wrote(&s->chain, len);
    vq_push(&s->v.q[VSOCK_RX], &s->chain);
    vsock_count(s, STAT_rx_packets, 1);
    vsock_count(s, STAT_rx_bytes, len);
}

void vsock_send(struct vsock *s, struct vsock_conn *c, enum vsock_op op, u32 flags, u32 len)
{
    struct vsock_hdr h = {
        .src_cid = le64_of(VSOCK_CID_HOST),
        .dst_cid = le64_of(s->cid),
        .src_port = le32_of(c->host_port),
        .dst_port = le32_of(c->guest_port),
        .len = le32_of(len),
        .type = le16_of(VSOCK_STREAM),
        .op = le16_of((u16)op),
        .flags = le32_of(flags),
        .buf_alloc = le32_of(VSOCK_BUF),
        .fwd_cnt = le32_of(c->fwd),
    };

    c->told_fwd = c->fwd;
    c->owe &= (u8)~OWE_CREDIT_UPDATE;
    send_hdr(s, &h);
}

static bool send_reset(struct vsock *s)
{
    struct vsock_conn gone = { .host_port = s->resets[s->first_reset].host_port,
                               .guest_port = s->resets[s->first_reset].guest_port };

    if (!vsock_buffer(s))
        return false;
    vsock_send(s, &gone, VSOCK_OP_RST, 0, 0);
    s->first_reset = (s->first_reset + 1) % VSOCK_RESETS_MAX;
    s->n_resets--;
    return true;
}

void vsock_pump(struct vsock *s)
{
    while (s->n_resets > 0 && send_reset(s))
        ;
    while (s->n_resets == 0 && s->owing) {
        struct vsock_conn *c = &s->conns[s->owing - 1];

        if (c->owe && !vsock_pay(s, c))
            break;
        if (c->owe)
            continue;
        s->owing = c->next_owing;
        if (!s->owing)
            s->owing_end = &s->owing;
        c->owing = false;
    }
    if (s->tx_held && s->n_resets < VSOCK_RESETS_MANY) {
        s->tx_held = false;
        fd_event_signal(s->v.kick[VSOCK_TX]);
    }
    if (!s->broken)
        vdev_notify(&s->v, VSOCK_RX);
}

static void send_event(struct vsock *s)
{
    struct vq *q = &s->v.q[VSOCK_EVENT];
    le32 id = le32_of(EVENT_TRANSPORT_RESET);
    int r = 0;

    if (!s->reset_owed || s->broken || !q->started)
        return;
    do {
        r = vq_pop(q, &s->chain);
    } while (r == 0 && vq_kicks(q, true));
    if (r == 0)
        return;
    if (r < 0 || chain_put(&s->chain, &id, sizeof(id)) < 0) {
        vsock_fail(s, "malformed event queue");
        return;
    }
    vq_push(q, &s->chain);
    s->reset_owed = false;
    vdev_notify(&s->v, VSOCK_EVENT);
}

/* ---- packets of the guest ---- */

static void take_packet(struct vsock *s)
{
    struct chain *c = &s->chain;
    struct vsock_hdr h; /* our copy */
    struct vq_done done = { c->head, c->n_desc, 0 };

    if (chain_get(c, &h, sizeof(h)) == 0 && le32_get(h.len) <= c->out_len - sizeof(h) &&
        le64_get(h.src_cid) == s->cid && le64_get(h.dst_cid) == VSOCK_CID_HOST) {
        vsock_count(s, STAT_tx_packets, 1);
        vsock_packet(s, &h);
    }
    vq_push_all(&s->v.q[VSOCK_TX], &done, 1);
}

static void serve_tx(struct vsock *s)
{
    struct vq *q = &s->v.q[VSOCK_TX];
    u32 i = 0;

    vq_kicks(q, false);
    while (i < VSOCK_BUDGET && !s->broken) {
        int r;

        s->tx_held = s->n_resets >= VSOCK_RESETS_MANY;
        if (s->tx_held)
            break; /* vsock_pump comes back to it */
        r = vq_pop(q, &s->chain);
        if (r < 0)
            vsock_fail(s, "malformed transmit queue");
        if (r == 0 && !vq_kicks(q, true))
            break;
        if (r > 0) {
            take_packet(s);
            i++;
        }
    }
    if (i == VSOCK_BUDGET)
        fd_event_signal(s->v.kick[VSOCK_TX]);
    if (!s->broken)
        vdev_notify(&s->v, VSOCK_TX);
}

static void on_kick(struct loop_fd *f, int)
{
    struct vsock *s = f->arg;
    u32 queue = (u32)(f - s->kicks);

    fd_event_take(s->v.kick[queue]);
    if (s->broken)
        return;
    if (queue == VSOCK_RX && s->starved) {
        s->starved = false;
        vq_kicks(&s->v.q[VSOCK_RX], false);
        vsock_watch_all(s);
    }
    if (queue == VSOCK_TX && !s->tx_held)
        serve_tx(s);
    if (queue == VSOCK_EVENT)
        send_event(s);
    vsock_pump(s);
}

/* ---- start and stop of the queues: from a vCPU, dev.lock held ---- */

static void close_queues(void *arg)
{
    struct vsock *s = arg;

    s->active = false;
    vsock_watch_all(s);
    for_each_row(k, s->kicks)
        loop_fd_close(k);
}

struct open_args {
    struct vsock *s;
    int r;
};

static void open_queues(void *arg)
{
    struct open_args *a = arg;
    struct vsock *s = a->s;

    s->broken = s->starved = s->tx_held = false;
    s->cid = le_load(s->v.st.config + CFG_CID, 8);
    if (s->st.live != s->n_live) { /* another state was loaded: its connections are not ours */
        vsock_drop_all(s);
        s->reset_owed = true;
        s->st.live = 0;
    }
    for (u32 i = 0; i < VSOCK_QUEUES && a->r == 0; i++)
        if (s->v.q[i].started)
            a->r = loop_fd_open(&s->loop, &s->kicks[i], s->v.kick[i], UV_READABLE, on_kick, s);
    s->active = a->r == 0;
    if (s->active) {
        vq_kicks(&s->v.q[VSOCK_RX], false);
        vsock_watch_all(s);
    } else {
        close_queues(s);
    }
}

static int vsock_activate(struct vdev *v, struct err *e)
{
    struct vsock *s = container_of(v, struct vsock, v);
    struct open_args a = { .s = s };

    loop_call(&s->loop, open_queues, &a);
    return a.r < 0 ? err_code(e, a.r, "serve the queues") : 0;
}

static void vsock_deactivate(struct vdev *v)
{
    struct vsock *s = container_of(v, struct vsock, v);

    loop_call(&s->loop, close_queues, s);
}

static void drop_all(void *arg)
{
    vsock_drop_all(arg);
}

static void vsock_vdev_reset(struct vdev *v)
{
    struct vsock *s = container_of(v, struct vsock, v);

    loop_call(&s->loop, drop_all, s);
    s->reset_owed = false;
    s->st.live = 0;
}

static int vsock_vdev_loaded(struct vdev *v, const u8 *, struct err *e)
{
    u64 cid = le_load(v->st.config + CFG_CID, 8);

    if (cid < VSOCK_CID_MIN || cid >= UINT32_MAX)
        return err_set(e, -EBADMSG, "context id %llu", cid);
    return 0;
}

static const struct vdev_def vsock_vdef = {
    .type = VIRTIO_VSOCK,
    .class_code = 0x028000, /* network, other */
    .queue_size = 128,
    .activate = vsock_activate,
    .deactivate = vsock_deactivate,
    .reset = vsock_vdev_reset,
    .loaded = vsock_vdev_loaded,
};

/* ---- the device ---- */

/* Replaces a socket that nobody listens at any more. */
static int bind_at(int fd, const struct sockaddr_un *sa)
{
    AUTO(fd) int probe = -1;

    if (bind(fd, (const struct sockaddr *)sa, sizeof(*sa)) == 0)
        return 0;
    if (errno != EADDRINUSE)
        return -errno;
    probe = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (probe < 0)
        return -errno;
    if (connect(probe, (const struct sockaddr *)sa, sizeof(*sa)) == 0 || errno != ECONNREFUSED)
        return -EADDRINUSE;
    if (unlink(sa->sun_path) < 0 || bind(fd, (const struct sockaddr *)sa, sizeof(*sa)) < 0)
        return -errno;
    return 0;
}

static int listen_at(const char *path, struct err *e)
{
    AUTO(fd) int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    struct sockaddr_un sa = { .sun_family = AF_UNIX };
    int r;

    if (fd < 0)
        return err_errno(e, "make a socket");
    if (strlen(path) > VSOCK_PATH_MAX || !str_copy(sa.sun_path, sizeof(sa.sun_path), path))
        return err_set(e, -EINVAL, "'path' has %zu bytes; at most %zu", strlen(path),
                       VSOCK_PATH_MAX);
    r = bind_at(fd, &sa);
    if (r == 0)
        r = listen(fd, LISTEN_BACKLOG) < 0 ? -errno : 0;
    return r < 0 ? err_code(e, r, "listen at '%s'", path) : TAKE_FD(fd);
}

static void *reserve(size_t bytes)
{
    void *at = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

    return at == MAP_FAILED ? NULL : at;
}

/* Also of a half-built one. */
static void release(struct vsock *s)
{
    if (s->conns) {
        loop_call(&s->loop, drop_all, s);
        munmap(s->conns, VSOCK_CONNS_MAX * sizeof(struct vsock_conn));
    }
    loop_fini(&s->loop);
    if (s->bufs)
        munmap(s->bufs, (size_t)VSOCK_CONNS_MAX * VSOCK_BUF);
    fd_close(&s->listener);
    fd_close(&s->dial);
}

static int open_host(struct vsock *s, const char *path, struct err *e)
{
    int r = s->listener = listen_at(path, e);

    if (r < 0)
        return r;
    r = s->dial = dial_open(path, e);
    if (r < 0)
        return r;
    r = loop_fd_open(&s->loop, &s->listen_watch, s->listener, 0, vsock_on_listener, s);
    if (r == 0)
        r = loop_fd_open(&s->loop, &s->dial_watch, s->dial, UV_READABLE, vsock_on_dial, s);
    return r < 0 ? err_code(e, r, "watch '%s'", path) : 0;
}

static int build(struct vsock *s, const struct vsock_cfg *cfg, struct err *e)
{
    struct device *d = &s->v.fn.dev;
    int r;

    s->listener = s->dial = -1;
    s->owing_end = &s->owing;
    s->next_port = 1u << 30; /* above what programs name */
    if (cfg->cid < VSOCK_CID_MIN || cfg->cid == UINT32_MAX)
        return err_set(e, -EINVAL, "'cid' is %u; %d to %u are guests", cfg->cid, VSOCK_CID_MIN,
                       UINT32_MAX - 1);
    r = loop_init(&s->loop, d->name);
    if (r < 0)
        return err_code(e, r, "make a loop");
    s->conns = reserve(VSOCK_CONNS_MAX * sizeof(struct vsock_conn));
    s->bufs = reserve((size_t)VSOCK_CONNS_MAX * VSOCK_BUF);
    if (!s->conns || !s->bufs)
        return err_set(e, -ENOMEM, "memory for %d connections", VSOCK_CONNS_MAX);
    r = cfg->path ? open_host(s, cfg->path, e) : 0;
    if (r < 0)
        return r;
    le_store(s->v.st.config + CFG_CID, 8, cfg->cid);
    s->v.config_len = CFG_LEN;
    r = vdev_start(&s->v, &vsock_vdef, 0, VSOCK_QUEUES, e);
    if (r < 0)
        return r;
    r = machine_io_start(d->machine, &s->loop, IO_FILES);
    if (r < 0) {
        vdev_stop(&s->v);
        return err_code(e, r, "start an I/O thread");
    }
    return 0;
}

static int vsock_dev_start(struct device *d, const void *cfg, struct err *e)
{
    struct vsock *s = vsock_of(d);
    int r = build(s, cfg, e);

    if (r < 0)
        release(s);
    return r;
}

static void vsock_dev_stop(struct device *d)
{
    vdev_stop(vdev_of(d));
    release(vsock_of(d));
}

static void vsock_dev_reset(struct device *d)
{
    vdev_reset(vdev_of(d));
}

static void vsock_dev_pause(struct device *d)
{
    struct vsock *s = vsock_of(d);

    vdev_pause(&s->v);
    s->st.live = s->n_live + s->reset_owed; /* so that whoever loads this owes it, too */
}

static void vsock_dev_resume(struct device *d)
{
    vdev_resume(vdev_of(d));
}

static void vsock_stats(struct device *d, void (*put)(void *arg, const char *name, u64 value),
                        void *arg)
{
#define X(name) #name,
    static const char *const names[] = { VSOCK_STATS(X) };
#undef X
    struct vsock *s = vsock_of(d);

    for (u32 i = 0; i < STATS; i++)
        put(arg, names[i], atomic_load_explicit(&s->stats[i], memory_order_relaxed));
}

static bool path_ok(const char *s)
{
    return *s && strlen(s) <= VSOCK_PATH_MAX;
}

/* clang-format off */
const struct field vsock_fields[] = {
    FIELD_INT(vsock_cfg, cid,  "the guest's context id", .required = true, .first = true, .min = VSOCK_CID_MIN,
              .max = UINT32_MAX - 1),
    FIELD_STR(vsock_cfg, path, "programs connect here; PATH_<port> are ports of the host", .metavar = "PATH",
              .ok = path_ok, .want = "a path of 1 to 96 bytes"),
    {},
};
/* clang-format on */

const struct device_def virtio_vsock_def = {
    .name = "virtio-vsock",
    .doc = "virtio sockets between guest and host",
    .size = sizeof(struct vsock),
    .fields = vsock_fields,
    .cfg_size = sizeof(struct vsock_cfg),
    .parts = { VDEV_PARTS(vsock, v), STATE_PART(vsock, st, vsock_state) },
    .start = vsock_dev_start,
    .stop = vsock_dev_stop,
    .reset = vsock_dev_reset,
    .pause = vsock_dev_pause,
    .resume = vsock_dev_resume,
    .stats = vsock_stats,
};
