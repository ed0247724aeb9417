/*
 * dev/virtio/vdev_pci.c: how a virtio device shows itself on PCI.  (virtio 1.2, 4.1)
 * One 64-bit memory BAR holds the common registers, interrupt status, device configuration and a notify register a queue;
 * a second one the MSI-X table: vector 0 is for nobody in particular, the driver distributes them.
 *   (1) Registers answer accesses of their own width, and each half of a 64-bit one; others read 0 and write nothing (4.1.3.1).
 *   (2) A queue's notify register is known to the engine as a doorbell while the BAR is mapped; a write that still arrives
 *       here (of another width, or where there are no doorbells) does the same.
 */
#include "dev/virtio/vdev_internal.h"

enum {
    BAR_MSIX = 1,
    BAR_REGS = 4,
    BAR_SIZE = 0x4000,
    COMMON_AT = 0x0000,
    COMMON_LEN =
        0x38, /* up to queue_device: neither notification data nor queue reset are offered */
    ISR_AT = 0x1000,
    DEVICE_AT = 0x2000,
    NOTIFY_AT = 0x3000,
    NOTIFY_STEP = 4,
    CAP_VENDOR = 0x09,
    CAP_LEN = 16,
    /* inside VIRTIO_PCI_CAP_PCI_CFG */
    CFG_BAR = 4,
    CFG_OFFSET = 8,
    CFG_LENGTH = 12,
    CFG_DATA = 16,
};

/* ---- common registers (4.1.4.3) ---- */

static u32 half(u64 features, u32 sel)
{
    return sel < 2 ? (u32)(features >> 32 * sel) : 0;
}

/* The queue that the registers speak of; NULL when there is no such. */
static struct vq_state *selected(struct vdev *v)
{
    return v->st.queue_sel < v->n_queues ? &v->st.queues[v->st.queue_sel] : NULL;
}

/* The same, to change what may be changed only before it runs. */
static struct vq_state *settable(struct vdev *v)
{
    struct vq_state *s = selected(v);

    return s && !s->on && !(v->st.status & VIRTIO_DRIVER_OK) ? s : NULL;
}

static u64 get_device_feature_sel(struct vdev *v)
{
    return v->st.device_feature_sel;
}
static void set_device_feature_sel(struct vdev *v, u64 val)
{
    v->st.device_feature_sel = (u32)val;
}
static u64 get_device_feature(struct vdev *v)
{
    return half(v->features, v->st.device_feature_sel);
}
static u64 get_driver_feature_sel(struct vdev *v)
{
    return v->st.driver_feature_sel;
}
static void set_driver_feature_sel(struct vdev *v, u64 val)
{
    v->st.driver_feature_sel = (u32)val;
}
static u64 get_driver_feature(struct vdev *v)
{
    return half(v->st.driver_features, v->st.driver_feature_sel);
}
static void set_driver_feature(struct vdev *v, u64 val)
{
    u32 shift = 32 * v->st.driver_feature_sel;

    if (v->st.driver_feature_sel >= 2 || v->st.status & VIRTIO_FEATURES_OK)
        return;
    v->st.driver_features &= ~(0xffffffffull << shift);
    v->st.driver_features |= val << shift;
}

/* 4.1.5.1.2: a vector that does not exist reads back as none. */
static u16 vector_of(const struct vdev *v, u64 val)
{
    return val < v->fn.n_msix ? (u16)val : VDEV_NO_VECTOR;
}
static u64 get_config_vector(struct vdev *v)
{
    return v->st.config_vector;
}
static void set_config_vector(struct vdev *v, u64 val)
{
    pthread_mutex_lock(&v->fn.irq_lock);
    v->st.config_vector = vector_of(v, val);
    pthread_mutex_unlock(&v->fn.irq_lock);
}
static u64 get_num_queues(struct vdev *v)
{
    return v->n_queues;
}
static u64 get_status(struct vdev *v)
{
    u8 status;

    pthread_mutex_lock(&v->fn.irq_lock);
    status = v->st.status;
    pthread_mutex_unlock(&v->fn.irq_lock);
    return status;
}
static void set_status(struct vdev *v, u64 val)
{
    vdev_set_status(v, (u8)val);
}
static u64 get_generation(struct vdev *v)
{
    u8 generation;

    pthread_mutex_lock(&v->fn.irq_lock);
    generation = v->st.config_generation;
    pthread_mutex_unlock(&v->fn.irq_lock);
    return generation;
}
static u64 get_queue_sel(struct vdev *v)
{
    return v->st.queue_sel;
}
static void set_queue_sel(struct vdev *v, u64 val)
{
    v->st.queue_sel = (u16)val;
}
static u64 get_queue_size(struct vdev *v)
{
    return selected(v) ? selected(v)->size : 0;
}
static void set_queue_size(struct vdev *v, u64 val)
{
    struct vq_state *s = settable(v);

    if (s && val > 0 && val <= v->q[v->st.queue_sel].size_max)
        s->size = (u16)val;
}
static u64 get_queue_vector(struct vdev *v)
{
    return selected(v) ? selected(v)->vector : VDEV_NO_VECTOR;
}
static void set_queue_vector(struct vdev *v, u64 val)
{
    struct vq_state *s = selected(v);
    u16 vector = vector_of(v, val);

    if (!s)
        return;
    s->vector = vector;
    __atomic_store_n(&v->q[v->st.queue_sel].st.vector, vector,
                     __ATOMIC_RELAXED); /* may be active */
}
static u64 get_queue_enable(struct vdev *v)
{
    return selected(v) ? selected(v)->on : 0;
}
static void set_queue_enable(struct vdev *v, u64 val)
{
    struct vq_state *s = settable(v);

    if (s && val == 1)
        s->on = true;
}
static u64 get_notify_off(struct vdev *v)
{
    return selected(v) ? v->st.queue_sel : 0;
}
static u64 get_desc(struct vdev *v)
{
    return selected(v) ? selected(v)->desc_gpa : 0;
}
static u64 get_driver(struct vdev *v)
{
    return selected(v) ? selected(v)->driver_gpa : 0;
}
static u64 get_device(struct vdev *v)
{
    return selected(v) ? selected(v)->device_gpa : 0;
}
static void set_desc(struct vdev *v, u64 val)
{
    if (settable(v))
        settable(v)->desc_gpa = val;
}
static void set_driver(struct vdev *v, u64 val)
{
    if (settable(v))
        settable(v)->driver_gpa = val;
}
static void set_device(struct vdev *v, u64 val)
{
    if (settable(v))
        settable(v)->device_gpa = val;
}

static const struct common_reg {
    u32 at, len;
    u64 (*get)(struct vdev *v);
    void (*set)(struct vdev *v, u64 val); /* NULL: read-only */
} common_regs[] = {
    /* clang-format off */
    { 0x00, 4, get_device_feature_sel, set_device_feature_sel },
    { 0x04, 4, get_device_feature,     NULL },
    { 0x08, 4, get_driver_feature_sel, set_driver_feature_sel },
    { 0x0c, 4, get_driver_feature,     set_driver_feature },
    { 0x10, 2, get_config_vector,      set_config_vector },
    { 0x12, 2, get_num_queues,         NULL },
    { 0x14, 1, get_status,             set_status },
    { 0x15, 1, get_generation,         NULL },
    { 0x16, 2, get_queue_sel,          set_queue_sel },
    { 0x18, 2, get_queue_size,         set_queue_size },
    { 0x1a, 2, get_queue_vector,       set_queue_vector },
    { 0x1c, 2, get_queue_enable,       set_queue_enable },
    { 0x1e, 2, get_notify_off,         NULL },
    { 0x20, 8, get_desc,               set_desc },
    { 0x28, 8, get_driver,             set_driver },
    { 0x30, 8, get_device,             set_device },
    /* clang-format on */
};

/* The register that an access of this width may be for. */
static const struct common_reg *find_common(u64 off, u32 len)
{
    for_each_row(r, common_regs) {
        if (off < r->at || off - r->at >= r->len)
            continue;
        if (len == r->len ? off == r->at : r->len == 8 && len == 4 && is_aligned(off, 4))
            return r;
    }
    return NULL;
}

static u64 common_read(struct vdev *v, u64 off, u32 len)
{
    const struct common_reg *r = find_common(off, len);

    return r ? r->get(v) >> 8 * (off - r->at) : 0;
}

static void common_write(struct vdev *v, u64 off, u32 len, u64 val)
{
    const struct common_reg *r = find_common(off, len);
    u64 shift;

    if (!r || !r->set)
        return;
    if (r->len != len) {
        shift = 8 * (off - r->at);
        val = (r->get(v) & ~(0xffffffffull << shift)) | val << shift;
    }
    r->set(v, val);
}

/* ---- interrupts (4.1.4.5, 4.1.5.1) ---- */

void vdev_pci_irq(struct vdev *v, u16 vector, u8 isr)
{
    if (pci_msix_on(&v->fn)) {
        pci_msix_fire(&v->fn, vector);
        return;
    }
    pthread_mutex_lock(&v->fn.irq_lock);
    v->st.isr |= isr;
    pthread_mutex_unlock(&v->fn.irq_lock);
    pci_intx_set(&v->fn, true);
}

static u8 take_isr(struct vdev *v, bool clear)
{
    u8 isr;

    pthread_mutex_lock(&v->fn.irq_lock);
    isr = v->st.isr;
    if (clear)
        v->st.isr = 0;
    pthread_mutex_unlock(&v->fn.irq_lock);
    return isr;
}

static u64 isr_read(struct vdev *v)
{
    u8 isr = take_isr(v, true);

    pci_intx_set(&v->fn, false);
    if (take_isr(v, false)) /* an I/O thread came between, and its line was just lowered */
        pci_intx_set(&v->fn, true);
    return isr;
}

/* ---- the BAR ---- */

static u64 regs_read(struct device *d, u64 off, u32 len)
{
    struct vdev *v = vdev_of(d);

    if (off < ISR_AT)
        return common_read(v, off - COMMON_AT, len);
    if (off < DEVICE_AT)
        return off == ISR_AT ? isr_read(v) : 0;
    if (off < NOTIFY_AT)
        return vdev_config_read(v, (u32)(off - DEVICE_AT), len);
    return 0;
}

static void regs_write(struct device *d, u64 off, u32 len, u64 val)
{
    struct vdev *v = vdev_of(d);

    if (off < ISR_AT)
        common_write(v, off - COMMON_AT, len, val);
    else if (off >= NOTIFY_AT)
        vdev_kicked(v, (u32)(off - NOTIFY_AT) / NOTIFY_STEP);
    else if (off >= DEVICE_AT)
        vdev_config_write(v, (u32)(off - DEVICE_AT), len, val);
}

static const struct bus_ops regs_ops = { .read = regs_read, .write = regs_write };

static void ring_doorbells(struct vdev *v, u64 base, bool on)
{
    struct machine *m = v->fn.dev.machine;

    if (v->vdef->kicked || base == 0)
        return;
    for (u32 i = 0; i < v->n_queues; i++)
        m->ops->doorbell(m->arg, base + NOTIFY_AT + i * NOTIFY_STEP, 2, v->kick[i], on);
}

static void on_moved(struct device *d, u64 old_base, u64 new_base)
{
    ring_doorbells(vdev_of(d), old_base, false);
    ring_doorbells(vdev_of(d), new_base, true);
}

/* ---- access through configuration space (4.1.4.9), for firmware that cannot reach a 64-bit BAR ---- */

/* Where the window points: an offset in the BAR, and 1, 2 or 4 in *ret_len.  -EINVAL for anything else. */
static int window(const struct vdev *v, u32 *ret_len)
{
    const u8 *cap = v->fn.pci.cfg + v->cfg_cap;
    u64 off = le_load(cap + CFG_OFFSET, 4), len = le_load(cap + CFG_LENGTH, 4);

    if (cap[CFG_BAR] != BAR_REGS || (len != 1 && len != 2 && len != 4))
        return -EINVAL;
    if (!is_aligned(off, len) || !range_ok(off, len, BAR_SIZE))
        return -EINVAL;
    *ret_len = (u32)len;
    return (int)off;
}

static bool touches_data(const struct vdev *v, u32 off, u32 len)
{
    u32 data = v->cfg_cap + CFG_DATA;

    return off < data + 4 && off + len > data;
}

static void on_cap_read(struct pci_fn *f, u32 off, u32 len)
{
    struct vdev *v = container_of(f, struct vdev, fn);
    u32 width;
    int at;
    u64 val;

    if (!touches_data(v, off, len) || (at = window(v, &width)) < 0)
        return;
    val = regs_read(&f->dev, (u64)at, width);
    pthread_mutex_lock(&f->irq_lock);
    le_store(f->pci.cfg + v->cfg_cap + CFG_DATA, width, val);
    pthread_mutex_unlock(&f->irq_lock);
}

static void on_cap_wrote(struct pci_fn *f, u32 off, u32 len)
{
    struct vdev *v = container_of(f, struct vdev, fn);
    u32 width;
    int at;

    if (touches_data(v, off, len) && (at = window(v, &width)) >= 0)
        regs_write(&f->dev, (u64)at, width, le_load(f->pci.cfg + v->cfg_cap + CFG_DATA, width));
}

/* ---- life ---- */

static int add_cap(struct vdev *v, u8 type, u32 at, u32 len, struct err *e)
{
    static const u8 window_mask[CAP_LEN + 4] = {
        [CFG_BAR] = 0xff,        [CFG_OFFSET] = 0xff,     [CFG_OFFSET + 1] = 0xff,
        [CFG_OFFSET + 2] = 0xff, [CFG_OFFSET + 3] = 0xff, [CFG_LENGTH] = 0xff,
        [CFG_LENGTH + 1] = 0xff, [CFG_LENGTH + 2] = 0xff, [CFG_LENGTH + 3] = 0xff,
        [CFG_DATA] = 0xff,       [CFG_DATA + 1] = 0xff,   [CFG_DATA + 2] = 0xff,
        [CFG_DATA + 3] = 0xff,
    };
    const bool is_notify = type == 2, is_window = type == 5;
    u8 cap[CAP_LEN + 4] = { CAP_VENDOR, 0, CAP_LEN, type, BAR_REGS };

    le_store(cap + 8, 4, at);
    le_store(cap + 12, 4, len);
    if (is_notify)
        le_store(cap + CAP_LEN, 4, NOTIFY_STEP);
    if (is_notify || is_window)
        cap[2] += 4;
    return pci_cap_add(&v->fn, cap, cap[2], is_window ? window_mask : NULL, e);
}

static int add_caps(struct vdev *v, struct err *e)
{
    const struct {
        u8 type; /* VIRTIO_PCI_CAP_*_CFG: common, notify, ISR, device, PCI */
        u32 at, len;
    } rows[] = {
        { 1, COMMON_AT, COMMON_LEN },
        { 2, NOTIFY_AT, v->n_queues * (u32)NOTIFY_STEP },
        { 3, ISR_AT, 1 },
        { 4, DEVICE_AT, v->config_len },
        { 5, 0, 0 },
    };
    int r = 0;

    for_each_row(c, rows) {
        if (c->type == 4 && c->len == 0) /* a device without configuration */
            continue;
        r = add_cap(v, c->type, c->at, c->len, e);
        if (r < 0)
            return r;
    }
    v->cfg_cap = (u8)r;
    return 0;
}

int vdev_pci_start(struct vdev *v, struct err *e)
{
    const struct pci_ident id = {
        .vendor = 0x1af4,
        .device = (u16)(0x1040 + v->vdef->type),
        .subvendor = 0x1af4,
        .subdevice = 0x1100, /* as QEMU's, by which some installers know a virtual machine */
        .class_code = v->vdef->class_code,
        .revision = 1,
    };
    int r = pci_attach(&v->fn, &id, e);

    if (r == 0)
        r = pci_bar_add(&v->fn, BAR_REGS, PCI_BAR_MEM64, BAR_SIZE, &regs_ops, e);
    if (r == 0)
        r = add_caps(v, e);
    if (r == 0)
        r = pci_msix_add(&v->fn, BAR_MSIX, v->n_queues + 1u, e);
    if (r < 0)
        return r;
    v->fn.bars[BAR_REGS].moved = on_moved;
    v->fn.cap_read = on_cap_read;
    v->fn.cap_wrote = on_cap_wrote;
    return 0;
}

void vdev_pci_stop(struct vdev *v)
{
    pci_detach(&v->fn);
}
