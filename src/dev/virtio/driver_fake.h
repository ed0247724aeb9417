/*
 * dev/virtio/driver_fake.h: the guest's side of virtio, for tests and fuzz targets of devices.
 *
 *     struct driver_fake g;
 *     driver_fake_init(&g, f, dev);                    f: fake machine; dev: a virtio device on it.  Places the BARs.
 *     CHECK(driver_fake_negotiate(&g, features));      VERSION_1 is added
 *     driver_fake_queue(&g, 0, 64);                    rings in RAM, queue enabled, MSI-X vector 1 + queue
 *     driver_fake_ready(&g);                           DRIVER_OK
 *     id = driver_fake_add(&g.q[0], bufs, n);          a chain; driver_fake_add_indirect: through a table
 *     driver_fake_kick(&g, 0);
 *     while (driver_fake_used(&g.q[0], &id, &len)) …
 *
 * driver_fake_queue_init makes rings without a device, for tests of vq.c.  What the fake cannot do is a `must`.
 */
#pragma once

#include "base/base.h"

#include "dev/dev.h"
#include "dev/virtio/vdev.h"

enum { DRIVER_FAKE_MSI = 0x40 };

struct driver_fake_buf {
    u64 gpa;
    u32 len;
    bool in; /* the device writes it */
};

/* One virtqueue as its driver keeps it. */
struct driver_fake_queue {
    struct mem *mem;
    u16 index, size;
    bool packed, event_idx;
    u64 desc_gpa, driver_gpa, device_gpa;
    u16 next_avail, next_used;  /* split: running index; packed: position */
    bool avail_wrap, used_wrap; /* packed */
    u16 n_free;                 /* descriptors */
    u16 free_ids[VQ_SIZE_MAX];  /* stack of n_ids */
    u16 n_ids;
    u16 next[VQ_SIZE_MAX];   /* split: our own copy of the chains' links */
    u16 n_desc[VQ_SIZE_MAX]; /* by id: descriptors of the chain under way; 0: none */
    u64 *heap;               /* next free GPA, for indirect tables */
};

struct driver_fake {
    struct fake_machine *f;
    struct vdev *v;
    u64 bar;      /* of the registers, on the MMIO bus */
    u64 heap;     /* next free GPA */
    u64 features; /* negotiated */
    struct driver_fake_queue q[VDEV_QUEUES_MAX];
};

void driver_fake_init(struct driver_fake *g, struct fake_machine *f, struct device *d);

/* Registers of the common configuration (BAR offset 0), of the device's (device_off), by their width. */
u64 driver_fake_read(struct driver_fake *g, u64 off, u32 len);
void driver_fake_write(struct driver_fake *g, u64 off, u32 len, u64 val);
u64 driver_fake_config(struct driver_fake *g, u32 off, u32 len);
void driver_fake_config_write(struct driver_fake *g, u32 off, u32 len, u64 val);
u8 driver_fake_status(struct driver_fake *g);

/* Resets the device, accepts `features` of those offered.  False when the device refuses FEATURES_OK. */
bool driver_fake_negotiate(struct driver_fake *g, u64 features);
u64 driver_fake_offered(struct driver_fake *g);
void driver_fake_queue(struct driver_fake *g, u16 index, u16 size);
void driver_fake_ready(struct driver_fake *g);
void driver_fake_reset(struct driver_fake *g);
/* Writes the queue's notify register. */
void driver_fake_kick(struct driver_fake *g, u16 queue);

/* Enables MSI-X, all vectors open: vector v sends data DRIVER_FAKE_MSI + v.  Without it the device uses INTx. */
void driver_fake_msix(struct driver_fake *g);
/* Runs what waits on the machine's control loop. */
void driver_fake_loop(struct driver_fake *g);

/* RAM that nobody else uses; zeroed at the start of the machine only.  The heap begins at 1 MiB and only grows. */
u64 driver_fake_alloc(struct driver_fake *g, u64 len, u64 align);
/* The same with contents. */
u64 driver_fake_put(struct driver_fake *g, const void *bytes, u64 len);

/* Rings in `mem` from *heap on, which grows. */
void driver_fake_queue_init(struct driver_fake_queue *q, struct mem *mem, u64 *heap, u16 size,
                            bool packed);
/* Adds a chain and makes it available.  Its id, or -ENOSPC when the ring is full. */
int driver_fake_add(struct driver_fake_queue *q, const struct driver_fake_buf *bufs, u32 n);
int driver_fake_add_indirect(struct driver_fake_queue *q, const struct driver_fake_buf *bufs,
                             u32 n);
/* One chain that the device gave back; it must be one that was added.  False when there is none. */
bool driver_fake_used(struct driver_fake_queue *q, u16 *ret_id, u32 *ret_len);
/* Would a driver kick now?  (EVENT_IDX or flags; for what was added since `added` chains or, packed, descriptors ago) */
bool driver_fake_must_kick(const struct driver_fake_queue *q, u16 added);
/* Asks for an interrupt at the next used entry, or for none. */
void driver_fake_irqs(struct driver_fake_queue *q, bool want);
