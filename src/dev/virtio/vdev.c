/*
 * dev/virtio/vdev.c: a virtio device, whatever carries it: features, status, configuration, and when its queues run.
 * (virtio 1.2, chapters 2 and 3)
 *   (1) Queues run exactly while the status has FEATURES_OK and DRIVER_OK, not NEEDS_RESET before they started, and the machine
 *       is not paused.
 *   (2) While they run, v->q[i].st is true; else v->st.queues[i] is.  activate and deactivate copy.
 *   (3) What the driver writes to a queue's registers counts only before it enabled the queue, and before DRIVER_OK.
 */
#include "dev/virtio/vdev.h"

#include "dev/virtio/vdev_internal.h"

#define TRACE_DEF "dev/trace.def"
#include "base/trace_points.h"

enum {
    STATUS_DRIVERS = VIRTIO_ACKNOWLEDGE | VIRTIO_DRIVER | VIRTIO_DRIVER_OK | VIRTIO_FEATURES_OK |
                     VIRTIO_FAILED, /* bits that the driver may set */
    STATUS_ALL = STATUS_DRIVERS | VIRTIO_NEEDS_RESET,
};
#define RING_FEATURES \
    (VIRTIO_F_INDIRECT_DESC | VIRTIO_F_EVENT_IDX | VIRTIO_F_VERSION_1 | VIRTIO_F_RING_PACKED)

STATE_TABLE(vdev_state, VDEV_STATE);

/* ---- when queues run ---- */

static bool should_run(const struct vdev *v)
{
    const u8 ready = VIRTIO_FEATURES_OK | VIRTIO_DRIVER_OK;

    return !v->paused && (v->st.status & (ready | VIRTIO_NEEDS_RESET)) == ready;
}

static void stop_queues(struct vdev *v)
{
    for (u16 i = 0; i < v->n_queues; i++)
        vq_stop(&v->q[i]);
    v->active = false;
}

static int start_queues(struct vdev *v, struct err *e)
{
    for (u16 i = 0; i < v->n_queues; i++) {
        struct vq *q = &v->q[i];
        int r;

        q->st = v->st.queues[i];
        if (!q->st.on)
            continue;
        r = vq_start(q, vdev_has(v, VIRTIO_F_RING_PACKED), vdev_has(v, VIRTIO_F_EVENT_IDX),
                     vdev_has(v, VIRTIO_F_INDIRECT_DESC));
        if (r < 0)
            return err_code(e, r, "queue %u of %u entries at 0x%llx, 0x%llx, 0x%llx", i, q->st.size,
                            q->st.desc_gpa, q->st.driver_gpa, q->st.device_gpa);
    }
    return 0;
}

static void activate(struct vdev *v)
{
    struct err e = {};
    int r;

    if (v->active || !should_run(v))
        return;
    r = start_queues(v, &e);
    if (r == 0 && v->vdef->activate)
        r = v->vdef->activate(v, &e);
    if (r < 0) {
        stop_queues(v);
        vdev_fail(v, e.text);
        return;
    }
    v->active = true;
    trace_virtio_active(v->fn.slot, v->st.driver_features);
    for (u16 i = 0; i < v->n_queues; i++)
        if (v->q[i].started)
            vdev_kicked(v, i);
}

/* The I/O threads let go of the queues.  `keep`: where the rings are is kept for later, and no interrupt is owed. */
static void deactivate(struct vdev *v, bool keep)
{
    if (!v->active)
        return;
    if (v->vdef->deactivate)
        v->vdef->deactivate(v);
    for (u16 i = 0; keep && i < v->n_queues; i++) {
        if (v->q[i].started)
            vdev_notify(v, i);
        v->st.queues[i] = v->q[i].st;
    }
    stop_queues(v);
    trace_virtio_inactive(v->fn.slot);
}

void vdev_kicked(struct vdev *v, u32 queue)
{
    if (queue >= v->n_queues)
        return;
    if (!v->vdef->kicked)
        fd_event_signal(v->kick[queue]);
    else if (v->active && v->q[queue].started && !(v->st.status & VIRTIO_NEEDS_RESET))
        v->vdef->kicked(v, (u16)queue);
}

void vdev_pause(struct vdev *v)
{
    v->paused = true;
    deactivate(v, true);
}

void vdev_resume(struct vdev *v)
{
    v->paused = false;
    activate(v);
}

/* ---- status and reset ---- */

/* Power-on values of what all virtio devices have.  2.4: after a reset nothing that happened before is seen. */
static void reset_virtio(struct vdev *v)
{
    struct vdev_state *s = &v->st;

    deactivate(v, false);
    pthread_mutex_lock(&v->fn.irq_lock);
    s->status = s->isr = s->config_generation = 0;
    s->driver_features = 0;
    s->device_feature_sel = s->driver_feature_sel = s->queue_sel = 0;
    s->config_vector = VDEV_NO_VECTOR;
    for (u32 i = 0; i < v->config_len; i++)
        if (v->config_writable[i])
            s->config[i] = v->config_fresh[i];
    memset(s->queues, 0, sizeof(s->queues));
    pthread_mutex_unlock(&v->fn.irq_lock);
    for (u16 i = 0; i < v->n_queues; i++) {
        vq_reset(&v->q[i]);
        s->queues[i] = v->q[i].st;
        fd_event_take(v->kick[i]);
    }
    pci_intx_set(&v->fn, false);
    if (v->vdef->reset)
        v->vdef->reset(v);
}

void vdev_reset(struct vdev *v)
{
    reset_virtio(v);
    pci_reset(&v->fn);
}

/* 2.2.2: FEATURES_OK stays clear when the driver took what was not offered, or takes us for a legacy device. */
static bool features_ok(const struct vdev *v)
{
    return !(v->st.driver_features & ~v->features) && vdev_has(v, VIRTIO_F_VERSION_1);
}

void vdev_set_status(struct vdev *v, u8 val)
{
    u8 add = val & STATUS_DRIVERS;

    trace_virtio_status(v->fn.slot, v->st.status, val);
    if (val == 0) {
        reset_virtio(v);
        return;
    }
    if (!features_ok(v))
        add &= (u8)~VIRTIO_FEATURES_OK;
    pthread_mutex_lock(&v->fn.irq_lock);
    v->st.status |= add; /* 2.1.1: the driver never takes a bit away */
    pthread_mutex_unlock(&v->fn.irq_lock);
    activate(v);
}

/* ---- interrupts ---- */

void vdev_notify(struct vdev *v, u16 queue)
{
    struct vq *q = &v->q[queue];

    if (vq_wants_irq(q))
        vdev_pci_irq(v, __atomic_load_n(&q->st.vector, __ATOMIC_RELAXED), VDEV_ISR_QUEUE);
}

static void config_irq(struct vdev *v)
{
    u16 vector;

    pthread_mutex_lock(&v->fn.irq_lock);
    vector = v->st.config_vector;
    pthread_mutex_unlock(&v->fn.irq_lock);
    vdev_pci_irq(v, vector, VDEV_ISR_CONFIG);
}

void vdev_fail(struct vdev *v, const char *why)
{
    u8 was;

    pthread_mutex_lock(&v->fn.irq_lock);
    was = v->st.status;
    v->st.status |= VIRTIO_NEEDS_RESET;
    pthread_mutex_unlock(&v->fn.irq_lock);
    if (was & VIRTIO_NEEDS_RESET)
        return;
    log_warn_limited("%s: the guest's driver is at fault, the device stops until it is reset: %s",
                     v->fn.dev.name, why);
    trace_virtio_failed(v->fn.slot, was);
    if (was & VIRTIO_DRIVER_OK)
        config_irq(v);
}

/* ---- devices that are served on the vCPU ---- */

void vdev_kick_later(struct vdev *v)
{
    fd_event_signal(v->kick[0]);
}

static void on_more(struct loop_fd *f, int)
{
    struct vdev *v = f->arg;

    fd_event_take(v->kick[0]);
    pthread_mutex_lock(&v->fn.dev.lock);
    for (u16 i = 0; i < v->n_queues; i++)
        vdev_kicked(v, i);
    pthread_mutex_unlock(&v->fn.dev.lock);
}

void vdev_serve(struct vdev *v, u16 queue, void (*serve)(struct vdev *v, struct chain *c))
{
    struct vq *q = &v->q[queue];
    struct chain c;
    int r = 1;

    for (u32 n = 0; n < VDEV_SERVE_MAX && r == 1; n++) {
        r = vq_pop(q, &c);
        if (r == 1) {
            serve(v, &c);
            vq_push(q, &c);
        }
    }
    if (r < 0)
        vdev_fail(v, "malformed ring");
    if (vq_kicks(q, true))
        vdev_kick_later(v);
    vdev_notify(v, queue);
}

/* On the control loop, which nobody waits for with dev.lock held. */
static void watch_more(void *arg)
{
    struct vdev *v = arg;

    if (loop_fd_open(v->fn.dev.machine->loop, &v->more, v->kick[0], UV_READABLE, on_more, v) < 0)
        v->more = (struct loop_fd){};
}

static void unwatch_more(void *arg)
{
    struct vdev *v = arg;

    loop_fd_close(&v->more);
}

/* ---- configuration ---- */

void vdev_config_set(struct vdev *v, u32 off, const void *bytes, u32 len)
{
    bool changed, tell;

    must(range_ok(off, len, v->config_len));
    pthread_mutex_lock(&v->fn.irq_lock);
    changed = memcmp(v->st.config + off, bytes, len) != 0;
    memcpy(v->st.config + off, bytes, len);
    memcpy(v->config_fresh + off, bytes, len);
    v->st.config_generation = (u8)(v->st.config_generation + changed);
    tell = changed && v->st.status & VIRTIO_DRIVER_OK;
    pthread_mutex_unlock(&v->fn.irq_lock);
    if (tell)
        config_irq(v);
}

u64 vdev_config_read(struct vdev *v, u32 off, u32 len)
{
    u64 val;

    if (!range_ok(off, len, v->config_len))
        return 0;
    if (v->vdef->config_read)
        v->vdef->config_read(v, off, len);
    pthread_mutex_lock(&v->fn.irq_lock);
    val = le_load(v->st.config + off, len);
    pthread_mutex_unlock(&v->fn.irq_lock);
    return val;
}

void vdev_config_write(struct vdev *v, u32 off, u32 len, u64 val)
{
    bool any = false;

    if (!range_ok(off, len, v->config_len))
        return;
    pthread_mutex_lock(&v->fn.irq_lock);
    for (u32 i = off; i < off + len; i++, val >>= 8) {
        u8 mask = v->config_writable[i];

        v->st.config[i] = (u8)((v->st.config[i] & ~mask) | (val & mask));
        any |= mask != 0;
    }
    pthread_mutex_unlock(&v->fn.irq_lock);
    if (any && v->vdef->config_wrote)
        v->vdef->config_wrote(v, off, len);
}

/* ---- saved state ---- */

static bool vector_ok(const struct vdev *v, u16 vector)
{
    return vector < v->fn.n_msix || vector == VDEV_NO_VECTOR;
}

static int check_queue(const struct vdev *v, u32 i, struct err *e)
{
    static const struct vq_state none;
    const struct vq_state *s = &v->st.queues[i];

    if (i >= v->n_queues && state_compare(&vq_state_def, s, &none, NULL) > 0)
        return err_set(e, -EBADMSG, "queue %u; this device has %u", i, v->n_queues);
    if (i < v->n_queues && (s->size > v->q[i].size_max || !vector_ok(v, s->vector)))
        return err_set(e, -EBADMSG, "queue %u: %u entries, vector %u; at most %u, %u", i, s->size,
                       s->vector, v->q[i].size_max, v->fn.n_msix - 1);
    return 0;
}

static int check_state(const struct vdev *v, struct err *e)
{
    const struct vdev_state *s = &v->st;

    if (s->status & ~STATUS_ALL)
        return err_set(e, -EBADMSG, "device status 0x%x", s->status);
    if (s->status & VIRTIO_FEATURES_OK && !features_ok(v))
        return err_set(e, -EBADMSG, "features 0x%llx; this device offers 0x%llx",
                       s->driver_features, v->features);
    if (s->isr > (VDEV_ISR_QUEUE | VDEV_ISR_CONFIG) || !vector_ok(v, s->config_vector))
        return err_set(e, -EBADMSG, "interrupt status 0x%x, vector %u", s->isr, s->config_vector);
    for (u32 i = 0; i < VDEV_QUEUES_MAX; i++)
        if (check_queue(v, i, e) < 0)
            return -EBADMSG;
    for (u32 i = v->config_len; i < VDEV_CONFIG_MAX; i++)
        if (s->config[i])
            return err_set(e, -EBADMSG, "configuration byte %u; this device has %u", i,
                           v->config_len);
    return v->vdef->loaded ? v->vdef->loaded((struct vdev *)(uintptr_t)v, v->config_fresh, e) : 0;
}

static int on_loaded(struct device *d, const struct state_def *part, struct err *e)
{
    struct vdev *v = vdev_of(d);
    int r;

    if (part != &vdev_state_def)
        return v->fn_loaded(d, part, e);
    pthread_mutex_lock(&d->lock);
    deactivate(v, false);
    r = check_state(v, e);
    pthread_mutex_unlock(&d->lock);
    return r;
}

/* ---- life ---- */

int vdev_start(struct vdev *v, const struct vdev_def *def, u64 features, u16 n_queues,
               struct err *e)
{
    int r = 0;

    must(n_queues > 0 && n_queues <= VDEV_QUEUES_MAX && v->config_len <= VDEV_CONFIG_MAX);
    v->vdef = def;
    v->features = features | RING_FEATURES;
    memcpy(v->config_fresh, v->st.config, sizeof(v->config_fresh));
    while (v->n_queues < n_queues && r >= 0) {
        r = v->kick[v->n_queues] = fd_eventfd();
        vq_init(&v->q[v->n_queues++], v->fn.dev.machine->mem, def->queue_size);
    }
    r = r < 0 ? err_code(e, r, "make an eventfd") : vdev_pci_start(v, e);
    if (r < 0) {
        vdev_stop(v);
        return r;
    }
    v->fn_loaded = v->fn.dev.loaded;
    v->fn.dev.loaded = on_loaded;
    if (!def->kicked)
        return 0;
    loop_call(v->fn.dev.machine->loop, watch_more, v);
    if (!v->more.poll) {
        vdev_stop(v);
        return err_set(e, -ENOMEM, "watch the device's eventfd");
    }
    return 0;
}

void vdev_stop(struct vdev *v)
{
    pthread_mutex_lock(&v->fn.dev.lock);
    deactivate(v, false);
    pthread_mutex_unlock(&v->fn.dev.lock);
    if (v->more.poll)
        loop_call(v->fn.dev.machine->loop, unwatch_more, v);
    vdev_pci_stop(v);
    while (v->n_queues > 0)
        fd_close(&v->kick[--v->n_queues]);
}
