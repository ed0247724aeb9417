/*
 * dev/virtio/vdev.h: what all virtio devices share: feature negotiation, status, configuration, queues, and the PCI transport.
 * (virtio 1.2, chapters 2 to 4.1; modern only, non-transitional ids 0x1040 + type)
 *
 * Life of a device:   reset ── driver writes DRIVER_OK ──> active ── status 0 ──> reset
 *     vdev_activate (vCPU, dev.lock held): vq_start of each enabled queue, then def->activate
 *     def->deactivate (vCPU, dev.lock held): must return only when no I/O thread touches the queues any more
 *     vdev_fail (any thread): DEVICE_NEEDS_RESET and a configuration interrupt; queues stay silent until reset
 * Between activate and deactivate the queues belong to the device's I/O threads, which watch the kick fds; or, where
 * def->kicked is set, to whoever holds dev.lock: such a device has no thread and no doorbell, and is served on the vCPU.
 * After activate each enabled queue is kicked once, so that nothing which waits from before a pause is forgotten.
 */
#pragma once

#include "base/base.h"

#include "base/loop.h"
#include "dev/pci/pci.h"
#include "dev/virtio/vq.h"

enum {
    VDEV_QUEUES_MAX = 65,
    VDEV_CONFIG_MAX = 256,
    VDEV_SERVE_MAX = 16, /* chains that one vdev_serve takes */
};

enum virtio_type {
    VIRTIO_NET = 1,
    VIRTIO_BLK = 2,
    VIRTIO_CONSOLE = 3,
    VIRTIO_RNG = 4,
    VIRTIO_BALLOON = 5,
    VIRTIO_VSOCK = 19,
    VIRTIO_FS = 26,
};

enum virtio_status {
    VIRTIO_ACKNOWLEDGE = 1,
    VIRTIO_DRIVER = 2,
    VIRTIO_DRIVER_OK = 4,
    VIRTIO_FEATURES_OK = 8,
    VIRTIO_NEEDS_RESET = 64,
    VIRTIO_FAILED = 128,
};

#define VIRTIO_F(n)            (1ull << (n))
#define VIRTIO_F_INDIRECT_DESC VIRTIO_F(28)
#define VIRTIO_F_EVENT_IDX     VIRTIO_F(29)
#define VIRTIO_F_VERSION_1     VIRTIO_F(32)
#define VIRTIO_F_RING_PACKED   VIRTIO_F(34)

#define VDEV_STATE(F, S)                                                       \
    F(S, VAL, u8, status, "device status as the driver reads it")              \
    F(S, VAL, u64, driver_features, "features the driver accepted")            \
    F(S, VAL, u32, device_feature_sel, "which 32 device features are shown")   \
    F(S, VAL, u32, driver_feature_sel, "which 32 driver features are written") \
    F(S, VAL, u16, queue_sel, "queue the registers speak of")                  \
    F(S, VAL, u16, config_vector, "MSI-X vector for configuration changes")    \
    F(S, VAL, u8, config_generation, "changes with the configuration")         \
    F(S, VAL, u8, isr, "interrupt status: bit 0 queue, bit 1 configuration")   \
    F(S, SUB, vq_state, queues, VDEV_QUEUES_MAX, "the queues")                 \
    F(S, ARR, u8, config, VDEV_CONFIG_MAX, "device configuration, little-endian")
STATE_STRUCT(vdev_state, VDEV_STATE);

struct vdev;

struct vdev_def {
    enum virtio_type type;
    u32 class_code; /* of the PCI function: 0xccsspp */
    u64 features;   /* the device's own; ring features and VERSION_1 are added */
    u16 queue_size; /* of each queue, ≤ VQ_SIZE_MAX */
    /* Rings are started.  Begin to serve: watch kick fds, … -errno fails the device (NEEDS_RESET).  May be NULL. */
    int (*activate)(struct vdev *v, struct err *e);
    void (*deactivate)(struct vdev *v); /* may be NULL */
    /* The driver notified an enabled queue; dev.lock held.  NULL: the kick fds are signalled instead. */
    void (*kicked)(struct vdev *v, u16 queue);
    /* The driver or the machine reset the device: its own state back to power-on; inactive, dev.lock held.  May be NULL. */
    void (*reset)(struct vdev *v);
    /* After the driver wrote configuration bytes that `config_writable` allows; dev.lock held.  May be NULL. */
    void (*config_wrote)(struct vdev *v, u32 off, u32 len);
    /* Before the driver reads configuration; dev.lock held.  May be NULL. */
    void (*config_read)(struct vdev *v, u32 off, u32 len);
    /* A stream replaced v->st: refuse a configuration that this instance cannot have, or follow it.  `was`: this
     * instance's own, writable bytes as after reset.  dev.lock held, inactive.  May be NULL. */
    int (*loaded)(struct vdev *v, const u8 *was, struct err *e);
};

/* First member of each virtio device.  device_def.parts holds VDEV_PARTS(type, member) and the device's own. */
struct vdev {
    struct pci_fn fn;
    /* Guarded by fn.dev.lock.  Changed under fn.irq_lock as well: status, isr, config, config_generation, vectors.
     * st.queues is what the driver set and, while inactive, how far the rings are; while active q[i].st knows that. */
    struct vdev_state st;
    const struct vdev_def *vdef;
    u64 features; /* offered: vdef->features less what this instance lacks */
    struct vq q[VDEV_QUEUES_MAX];
    int kick[VDEV_QUEUES_MAX]; /* eventfds: the driver notified the queue; -1 when not started */
    u16 n_queues;
    u8 cfg_cap; /* offset of the capability that reaches the BAR through configuration space */
    bool active;
    bool paused; /* stays inactive until vdev_resume */
    /* st.config is set by start and changed by vdev_config_set; config_len bytes of it exist.  Writable ones are the driver's
     * and go back to config_fresh on reset. */
    u8 config_writable[VDEV_CONFIG_MAX];
    u8 config_fresh[VDEV_CONFIG_MAX];
    u32 config_len;
    struct loop_fd more; /* kick[0] on the control loop, where def->kicked is set */
    int (*fn_loaded)(struct device *d, const struct state_def *part, struct err *e); /* of PCI */
};
#define VDEV_PARTS(type, member) \
    STATE_PART(type, member.fn.pci, pci_state), STATE_PART(type, member.st, vdev_state)

static inline struct vdev *vdev_of(struct device *d)
{
    return container_of(d, struct vdev, fn.dev);
}

/* In the device's start, after v->st.config, config_writable, config_len: PCI function, BARs, queues, eventfds.  `features`:
 * the device's own that this instance offers.  On failure undoes itself. */
int vdev_start(struct vdev *v, const struct vdev_def *def, u64 features, u16 n_queues,
               struct err *e);
void vdev_stop(struct vdev *v);  /* in its stop: deactivates first */
void vdev_reset(struct vdev *v); /* in its reset: deactivates first */
/* For device_def.pause and .resume of most devices: deactivate and activate, rings kept. */
void vdev_pause(struct vdev *v);
void vdev_resume(struct vdev *v);

/* Was feature bit(s) `f` negotiated? */
static inline bool vdev_has(const struct vdev *v, u64 f)
{
    return (v->st.driver_features & f) == f;
}

/* Any thread that may use the queue: interrupts, if the guest wants it for what was pushed. */
void vdev_notify(struct vdev *v, u16 queue);
/* In def->kicked: takes chains, lets serve() use each, gives them back, interrupts.  At most VDEV_SERVE_MAX: what is left is served
 * from the control loop, so that other vCPUs cannot hold this one here, and its lock, for ever. */
void vdev_serve(struct vdev *v, u16 queue, void (*serve)(struct vdev *v, struct chain *c));
/* Any thread: calls def->kicked for each enabled queue, soon, on the control loop. */
void vdev_kick_later(struct vdev *v);
/* Any thread: the guest's fault stops its device, not us. */
void vdev_fail(struct vdev *v, const char *why);
/* Any thread: changes configuration bytes and interrupts the driver. */
void vdev_config_set(struct vdev *v, u32 off, const void *bytes, u32 len);
