/*
 * dev/virtio/port.c: a named port: characters between a program in the guest, which knows it by its name, and a host backend.
 * (virtio 1.2, 5.3, with VIRTIO_CONSOLE_F_MULTIPORT)
 * The port is number 1 of a console device whose number 0 is never added: number 0 is a terminal by drivers' tradition.
 *
 *     guest (control queue)              we
 *     DEVICE_READY                       PORT_ADD
 *     PORT_READY                         PORT_NAME, PORT_OPEN
 *     PORT_OPEN 1, 0                     a program has it open, or not any more: then clients of the host are hung up, and turned away
 *
 *   (1) What we owe is a set of messages, not a list: who asks again and again is not owed more than one of each.
 *   (2) The host's end is always open for the guest, whoever is connected: a program that finds it closed would look again and again.
 *   (3) Messages of the guest that are too short, of an unknown kind or of another port are without effect.
 */
#include "dev/virtio/port.h"

#include "base/base.h"

#include "conf/conf.h"
#include "dev/virtio/chars.h"

enum {
    Q_RX0, /* of port 0 */
    Q_TX0,
    Q_CONTROL_IN, /* to the guest */
    Q_CONTROL_OUT,
    Q_RX,
    Q_TX,
    N_QUEUES,
    QUEUE_SIZE = 64,
    PORT = 1,
    CFG_MAX_PORTS = 4,
    CFG_LEN = 12,
    PORT_NAME_MAX = 64,
};
#define CONSOLE_F_MULTIPORT VIRTIO_F(1)

/* 5.3.6.2 */
struct control {
    le32 id;
    le16 event, value;
};
enum control_event { DEVICE_READY = 0, PORT_ADD = 1, PORT_READY = 3, PORT_OPEN = 6, PORT_NAME = 7 };

/* What we may owe, in the order in which it is said. */
enum { OWE_ADD = 1, OWE_NAME = 2, OWE_OPEN = 4, OWE_ALL = 7 };
static const struct control_row {
    u8 bit;
    u16 event, value;
} control_rows[] = {
    { OWE_ADD, PORT_ADD, 1 },
    { OWE_NAME, PORT_NAME, 1 },
    { OWE_OPEN, PORT_OPEN, 1 },
};

static bool name_ok(const char *s)
{
    return *s && strlen(s) <= PORT_NAME_MAX;
}

static const struct field port_fields[] = {
    FIELD_STR(port_cfg, backend, "where its characters go", .sdflt = "none", .first = true,
              .ok = chardev_backend_ok, .want = "none, unix:PATH, fd:N or fd:IN:OUT"),
    FIELD_STR(port_cfg, name, "what programs in the guest know it by", .sdflt = PORT_GUEST_AGENT,
              .ok = name_ok, .want = "1 to 64 bytes"),
    {},
};

#define PORT_STATE(F, S)                                                                         \
    F(S, VAL, u8, owed, "messages that wait for a buffer: 1 PORT_ADD, 2 PORT_NAME, 4 PORT_OPEN") \
    F(S, VAL, bool, open, "a program in the guest has it open")
STATE_STRUCT(port_state, PORT_STATE);

static int check_port(void *obj, struct err *e)
{
    const struct port_state *s = obj;

    if (s->owed & ~OWE_ALL)
        return err_set(e, -EBADMSG, "messages 0x%x; there are 0x%x", s->owed, OWE_ALL);
    return 0;
}
STATE_TABLE(port_state, PORT_STATE, .after_load = check_port);

struct port {
    struct vdev v;
    struct chars chars;
    struct port_state st;
    char name[PORT_NAME_MAX + 1];
};

static struct port *port_of(struct vdev *v)
{
    return container_of(v, struct port, v);
}

/* ---- control ---- */

static void say(struct port *p, const struct control_row *row, struct chain *c)
{
    struct {
        struct control head;
        char name[PORT_NAME_MAX];
    } text = { .head = { le32_of(PORT), le16_of(row->event), le16_of(row->value) } };
    u32 len = sizeof(text.head);

    if (row->event == PORT_NAME) {
        memcpy(text.name, p->name, strlen(p->name)); /* 5.3.6.2: without a NUL */
        len += (u32)strlen(p->name);
    }
    must(chain_put(c, &text, min(len, c->in_len)) == 0);
}

static void say_owed(struct port *p)
{
    struct vq *q = &p->v.q[Q_CONTROL_IN];
    struct chain c;
    int r = 0;

    for_each_row(row, control_rows) {
        if (!(p->st.owed & row->bit))
            continue;
        r = vq_pop(q, &c);
        if (r <= 0)
            break;
        say(p, row, &c);
        vq_push(q, &c);
        p->st.owed &= (u8)~row->bit;
    }
    if (r < 0)
        vdev_fail(&p->v, "malformed control ring");
    if (vq_kicks(q, true) && p->st.owed)
        vdev_kick_later(&p->v);
    vdev_notify(&p->v, Q_CONTROL_IN);
}

static void set_open(struct port *p, bool open)
{
    if (p->st.open && !open)
        chardev_hang_up(p->chars.host);
    if (!p->st.open && open)
        p->chars.st.n_input = 0; /* it was for the one before */
    p->st.open = open;
}

static void on_control(struct vdev *v, struct chain *c)
{
    struct port *p = port_of(v);
    struct control m;
    bool ours, yes;

    if (chain_get(c, &m, sizeof(m)) < 0)
        return;
    ours = le32_get(m.id) == PORT;
    yes = le16_get(m.value) == 1;
    switch (le16_get(m.event)) {
    case DEVICE_READY:
        p->st.owed |= yes ? OWE_ADD : 0;
        break;
    case PORT_READY:
        p->st.owed |= ours && yes ? OWE_NAME | OWE_OPEN : 0;
        break;
    case PORT_OPEN:
        if (ours)
            set_open(p, yes);
        break;
    default:
        break;
    }
}

/* Of port 0, or of a driver that does not know ports: it goes nowhere. */
static void discard(struct vdev *, struct chain *)
{
}

static void port_kicked(struct vdev *v, u16 queue)
{
    struct port *p = port_of(v);

    if (queue == Q_TX0)
        vdev_serve(v, queue, discard);
    if (!vdev_has(v, CONSOLE_F_MULTIPORT))
        return;
    if (queue == Q_CONTROL_OUT)
        vdev_serve(v, queue, on_control);
    if ((queue == Q_CONTROL_OUT || queue == Q_CONTROL_IN) && v->q[Q_CONTROL_IN].started)
        say_owed(p);
    if (queue == Q_TX)
        chars_tx(&p->chars);
    if (queue == Q_RX)
        chars_rx(&p->chars);
}

/* ---- life ---- */

/* Also while the machine stands still: a snapshot ends no conversation. */
static bool port_welcome(void *arg)
{
    struct vdev *v = arg;
    bool open;

    pthread_mutex_lock(&v->fn.dev.lock);
    open = port_of(v)->st.open;
    pthread_mutex_unlock(&v->fn.dev.lock);
    return open;
}

static int port_activate(struct vdev *v, struct err *)
{
    chardev_accept(port_of(v)->chars.host);
    return 0;
}

static void port_reset_own(struct vdev *v)
{
    struct port *p = port_of(v);

    set_open(p, false);
    p->st = (struct port_state){};
    p->chars.st = (struct console_state){};
}

static int port_loaded(struct vdev *v, const u8 *was, struct err *e)
{
    if (memcmp(v->st.config, was, CFG_LEN) != 0)
        return err_set(e, -EBADMSG, "another number of ports");
    return 0;
}

static const struct vdev_def port_vdef = {
    .type = VIRTIO_CONSOLE,
    .class_code = 0x078000, /* communication, other */
    .queue_size = QUEUE_SIZE,
    .kicked = port_kicked,
    .activate = port_activate,
    .reset = port_reset_own,
    .loaded = port_loaded,
};

static void port_stop(struct device *d)
{
    struct port *p = port_of(vdev_of(d));

    chars_close(&p->chars);
    vdev_stop(&p->v);
}

static int port_start(struct device *d, const void *cfg, struct err *e)
{
    const struct port_cfg *c = cfg;
    struct port *p = port_of(vdev_of(d));
    int r;

    must(str_copy(p->name, sizeof(p->name), c->name));
    p->v.config_len = CFG_LEN;
    le_store(p->v.st.config + CFG_MAX_PORTS, 4, PORT + 1);
    r = vdev_start(&p->v, &port_vdef, CONSOLE_F_MULTIPORT, N_QUEUES, e);
    if (r < 0)
        return r;
    p->chars.v = &p->v;
    p->chars.rx = Q_RX;
    p->chars.tx = Q_TX;
    p->chars.welcome = port_welcome;
    r = chars_open(&p->chars, c->backend, e);
    if (r < 0)
        vdev_stop(&p->v);
    return r;
}

static void port_reset(struct device *d)
{
    vdev_reset(vdev_of(d));
}

static void port_pause(struct device *d)
{
    vdev_pause(vdev_of(d));
}

static void port_resume(struct device *d)
{
    vdev_resume(vdev_of(d));
}

static void port_stats(struct device *d, void (*put)(void *arg, const char *name, u64 value),
                       void *arg)
{
    const struct port *p = port_of(vdev_of(d));

    put(arg, "in", p->chars.in);
    put(arg, "out", p->chars.out);
}

extern const struct device_def virtio_port_def;
const struct device_def virtio_port_def = {
    .name = "virtio-port",
    .doc = "a named port for a program in the guest",
    .size = sizeof(struct port),
    .fields = port_fields,
    .cfg_size = sizeof(struct port_cfg),
    .parts = { VDEV_PARTS(port, v), STATE_PART(port, chars.st, console_state),
               STATE_PART(port, st, port_state) },
    .start = port_start,
    .stop = port_stop,
    .reset = port_reset,
    .pause = port_pause,
    .resume = port_resume,
    .stats = port_stats,
};
