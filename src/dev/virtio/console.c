/*
 * dev/virtio/console.c: one port of characters between the guest and a host backend.  (virtio 1.2, 5.3)
 * Served on the vCPU that kicks, or on the control loop; always with dev.lock held.
 *   (1) Output goes from guest memory to the backend.  What it does not take now stays in the ring, with `tx_done` counting what
 *       of the first chain went out already, so that nothing is lost over a pause or a saved state.
 *   (2) Input waits in `input` for buffers of the guest.  Nothing is taken from the backend before the driver is there.
 *   (3) One kick writes at most TX_BUDGET bytes; the rest follows from the control loop.
 */
#include "dev/virtio/console.h"

#include "base/base.h"

#include "conf/conf.h"
#include "dev/console.h"
#include "dev/virtio/vdev.h"

enum {
    Q_RX,
    Q_TX,
    N_QUEUES,
    CONSOLE_QUEUE = 64,
    INPUT_MAX = 1024,
    TX_BUDGET = 64 * 1024,
    CFG_COLS = 0,
    CFG_ROWS = 2,
    CFG_EMERG_WR = 8,
    CFG_LEN = 12,
};
#define CONSOLE_F_SIZE        VIRTIO_F(0)
#define CONSOLE_F_EMERG_WRITE VIRTIO_F(2)

static const struct field console_fields[] = {
    FIELD_STR(console_cfg, log, "file that gets what the guest writes, too"),
    FIELD_STR(console_cfg, backend, "where its characters go", .sdflt = "none", .first = true,
              .ok = chardev_backend_ok,
              .want = "stdio, pty, none, unix:PATH, file:PATH, fd:N or fd:IN:OUT"),
    FIELD_INT(console_cfg, cols, "columns of the terminal; 0: the guest is not told"),
    FIELD_INT(console_cfg, rows, "lines of the terminal"),
    {},
};

#define CONSOLE_STATE(F, S)                                                 \
    F(S, VAL, u32, tx_done, "bytes of the next output chain that went out") \
    F(S, VAL, u16, n_input, "bytes of input that the guest has not taken")  \
    F(S, ARR, u8, input, INPUT_MAX, "the bytes, oldest first")
STATE_STRUCT(console_state, CONSOLE_STATE);

static int check_console(void *obj, struct err *e)
{
    const struct console_state *s = obj;

    if (s->n_input > INPUT_MAX)
        return err_set(e, -EBADMSG, "%u bytes of input; at most %u", s->n_input, INPUT_MAX);
    return 0;
}
STATE_TABLE(console_state, CONSOLE_STATE, .after_load = check_console);

struct console {
    struct vdev v;
    struct console_state st;
    struct chardev *host;
    u64 in, out; /* bytes, for statistics */
};

static struct console *console_of(struct vdev *v)
{
    return container_of(v, struct console, v);
}

/* ---- output ---- */

/* Writes what the backend and *budget allow of the chain; true when it is all out. */
static bool write_chain(struct console *s, const struct chain *c, u32 *budget)
{
    struct iovec iov[VQ_SEGS_MAX];
    u32 want;
    int n;

    if (s->st.tx_done >= c->out_len) /* also when the guest shortened it since */
        return true;
    want = min(c->out_len - s->st.tx_done, *budget);
    n = chain_out_iov(c, s->st.tx_done, want, iov, VQ_SEGS_MAX);
    for (int i = 0; i < n; i++) {
        u32 took = chardev_write(s->host, iov[i].iov_base, (u32)iov[i].iov_len);

        s->st.tx_done += took;
        s->out += took;
        *budget -= took;
        if (took < iov[i].iov_len) /* on_room will go on */
            break;
    }
    return s->st.tx_done == c->out_len;
}

static void tx(struct console *s)
{
    struct vq *q = &s->v.q[Q_TX];
    u32 budget = TX_BUDGET;
    struct chain c;
    int r = 1;

    for (u32 n = 0; n < VDEV_SERVE_MAX && (r = vq_pop(q, &c)) == 1; n++) {
        if (!write_chain(s, &c, &budget)) {
            vq_unpop(q, &c);
            break;
        }
        s->st.tx_done = 0;
        vq_push(q, &c);
    }
    if (r < 0)
        vdev_fail(&s->v, "malformed output ring");
    if (vq_kicks(q, true) && chardev_room(s->host, 1) > 0)
        vdev_kick_later(&s->v);
    vdev_notify(&s->v, Q_TX);
}

/* ---- input ---- */

static void rx(struct console *s)
{
    struct vq *q = &s->v.q[Q_RX];
    struct chain c;
    int r = 0;

    while (s->st.n_input > 0 && (r = vq_pop(q, &c)) == 1) {
        u32 n = min(c.in_len, (u32)s->st.n_input);

        must(chain_put(&c, s->st.input, n) == 0);
        s->st.n_input = (u16)(s->st.n_input - n);
        memmove(s->st.input, s->st.input + n, s->st.n_input);
        vq_push(q, &c);
    }
    if (r < 0)
        vdev_fail(&s->v, "malformed input ring");
    if (vq_kicks(q, true) && s->st.n_input > 0)
        vdev_kick_later(&s->v);
    vdev_notify(&s->v, Q_RX);
}

static void console_kicked(struct vdev *v, u16 queue)
{
    struct console *s = console_of(v);

    if (queue == Q_TX) {
        tx(s);
        return;
    }
    rx(s);
    chardev_accept(s->host);
}

/* ---- the backend's callbacks: control loop, no lock ---- */

static u32 on_ask_room(void *arg)
{
    struct console *s = arg;
    u32 room;

    pthread_mutex_lock(&s->v.fn.dev.lock);
    room = s->v.active ? INPUT_MAX - s->st.n_input : 0;
    pthread_mutex_unlock(&s->v.fn.dev.lock);
    return room;
}

static void on_input(void *arg, const u8 *data, u32 len)
{
    struct console *s = arg;

    pthread_mutex_lock(&s->v.fn.dev.lock);
    len = min(len, (u32)INPUT_MAX - s->st.n_input); /* a reset between may not make room less */
    memcpy(s->st.input + s->st.n_input, data, len);
    s->st.n_input = (u16)(s->st.n_input + len);
    s->in += len;
    if (s->v.active)
        vdev_kick_later(&s->v);
    pthread_mutex_unlock(&s->v.fn.dev.lock);
}

static void on_room(void *arg)
{
    struct console *s = arg;

    pthread_mutex_lock(&s->v.fn.dev.lock);
    if (s->v.active)
        vdev_kick_later(&s->v);
    pthread_mutex_unlock(&s->v.fn.dev.lock);
}

static const struct chardev_ops host_ops = { .room = on_ask_room,
                                             .on_input = on_input,
                                             .on_room = on_room };

/* ---- configuration and life ---- */

/* 5.3.4: a way to say something before any queue is there. */
static void console_config_wrote(struct vdev *v, u32 off, u32)
{
    struct console *s = console_of(v);

    if (off == CFG_EMERG_WR)
        s->out += chardev_write(s->host, v->st.config + CFG_EMERG_WR, 1);
}

static int console_activate(struct vdev *v, struct err *)
{
    chardev_accept(console_of(v)->host);
    return 0;
}

static void console_reset_own(struct vdev *v)
{
    console_of(v)->st = (struct console_state){};
}

static const struct vdev_def console_vdef = {
    .type = VIRTIO_CONSOLE,
    .class_code = 0x078000, /* communication, other */
    .queue_size = CONSOLE_QUEUE,
    .kicked = console_kicked,
    .activate = console_activate,
    .config_wrote = console_config_wrote,
    .reset = console_reset_own,
};

void console_resize(struct device *d, u16 cols, u16 rows)
{
    struct vdev *v = vdev_of(d);
    u8 size[4];

    if (!(v->features & CONSOLE_F_SIZE))
        return;
    le_store(size + CFG_COLS, 2, cols);
    le_store(size + CFG_ROWS, 2, rows);
    vdev_config_set(v, CFG_COLS, size, sizeof(size));
}

const char *console_pty(const struct device *d)
{
    return chardev_pty(container_of(d, const struct console, v.fn.dev)->host);
}

static void console_stop(struct device *d)
{
    struct console *s = console_of(vdev_of(d));

    chardev_close(TAKE(s->host)); /* its callbacks end before the device does */
    vdev_stop(&s->v);
}

static int console_start(struct device *d, const void *cfg, struct err *e)
{
    const struct console_cfg *c = cfg;
    struct console *s = console_of(vdev_of(d));
    u64 features = CONSOLE_F_EMERG_WRITE | (c->cols ? CONSOLE_F_SIZE : 0);
    int r;

    s->v.config_len = CFG_LEN;
    le_store(s->v.st.config + CFG_COLS, 2, c->cols);
    le_store(s->v.st.config + CFG_ROWS, 2, c->rows);
    memset(s->v.config_writable + CFG_EMERG_WR, 0xff, 4);
    r = vdev_start(&s->v, &console_vdef, features, N_QUEUES, e);
    if (r < 0)
        return r;
    r = chardev_open(d->machine->loop, c->backend, &host_ops, s, &s->host, e);
    if (r >= 0)
        r = chardev_log(s->host, c->log, e);
    if (r >= 0)
        return r;
    chardev_close(TAKE(s->host));
    vdev_stop(&s->v);
    return r;
}

static void console_reset(struct device *d)
{
    vdev_reset(vdev_of(d));
}

static void console_pause(struct device *d)
{
    vdev_pause(vdev_of(d));
}

static void console_resume(struct device *d)
{
    vdev_resume(vdev_of(d));
}

static void console_stats(struct device *d, void (*put)(void *arg, const char *name, u64 value),
                          void *arg)
{
    const struct console *s = console_of(vdev_of(d));

    put(arg, "in", s->in);
    put(arg, "out", s->out);
}

extern const struct device_def virtio_console_def;
const struct device_def virtio_console_def = {
    .name = "virtio-console",
    .doc = "a console in virtio",
    .size = sizeof(struct console),
    .fields = console_fields,
    .cfg_size = sizeof(struct console_cfg),
    .parts = { VDEV_PARTS(console, v), STATE_PART(console, st, console_state) },
    .start = console_start,
    .stop = console_stop,
    .reset = console_reset,
    .pause = console_pause,
    .resume = console_resume,
    .stats = console_stats,
};
