/*
 * dev/virtio/vdev_internal.h: what vdev.c (the device, whatever carries it) and vdev_pci.c (the transport) ask of one another.
 */
#pragma once

#include "base/base.h"

#include "dev/virtio/vdev.h"

enum {
    VDEV_NO_VECTOR = 0xffff,
    VDEV_ISR_QUEUE = 1,
    VDEV_ISR_CONFIG = 2,
};

/* dev.lock held. */
void vdev_set_status(struct vdev *v, u8 val);
void vdev_kicked(struct vdev *v, u32 queue);
u64 vdev_config_read(struct vdev *v, u32 off, u32 len);
void vdev_config_write(struct vdev *v, u32 off, u32 len, u64 val);

int vdev_pci_start(struct vdev *v, struct err *e);
void vdev_pci_stop(struct vdev *v);
/* Any thread: message `vector`, or INTx with `isr` where the guest has no MSI-X. */
void vdev_pci_irq(struct vdev *v, u16 vector, u8 isr);
