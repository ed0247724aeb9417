/*
 * dev/virtio/console.c: one port of characters between the guest and a host backend.  (virtio 1.2, 5.3)
 * Its characters: chars.h.
 */
#include "dev/virtio/console.h"

#include "base/base.h"

#include "conf/conf.h"
#include "dev/virtio/chars.h"

enum {
    Q_RX,
    Q_TX,
    N_QUEUES,
    CONSOLE_QUEUE = 64,
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

struct console {
    struct vdev v;
    struct chars chars;
};

static struct console *console_of(struct vdev *v)
{
    return container_of(v, struct console, v);
}

static void console_kicked(struct vdev *v, u16 queue)
{
    struct console *s = console_of(v);

    if (queue == Q_TX)
        chars_tx(&s->chars);
    else
        chars_rx(&s->chars);
}

/* ---- configuration and life ---- */

/* 5.3.4: a way to say something before any queue is there. */
static void console_config_wrote(struct vdev *v, u32 off, u32)
{
    struct console *s = console_of(v);

    if (off == CFG_EMERG_WR)
        s->chars.out += chardev_write(s->chars.host, v->st.config + CFG_EMERG_WR, 1);
}

static int console_activate(struct vdev *v, struct err *)
{
    chardev_accept(console_of(v)->chars.host);
    return 0;
}

static void console_reset_own(struct vdev *v)
{
    console_of(v)->chars.st = (struct console_state){};
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
    return chardev_pty(container_of(d, const struct console, v.fn.dev)->chars.host);
}

static void console_stop(struct device *d)
{
    struct console *s = console_of(vdev_of(d));

    chars_close(&s->chars);
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
    s->chars.v = &s->v;
    s->chars.rx = Q_RX;
    s->chars.tx = Q_TX;
    r = chars_open(&s->chars, c->backend, e);
    if (r >= 0)
        r = chardev_log(s->chars.host, c->log, e);
    if (r < 0)
        console_stop(d);
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

    put(arg, "in", s->chars.in);
    put(arg, "out", s->chars.out);
}

extern const struct device_def virtio_console_def;
const struct device_def virtio_console_def = {
    .name = "virtio-console",
    .doc = "a console in virtio",
    .size = sizeof(struct console),
    .fields = console_fields,
    .cfg_size = sizeof(struct console_cfg),
    .parts = { VDEV_PARTS(console, v), STATE_PART(console, chars.st, console_state) },
    .start = console_start,
    .stop = console_stop,
    .reset = console_reset,
    .pause = console_pause,
    .resume = console_resume,
    .stats = console_stats,
};
