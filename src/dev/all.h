/*
 * dev/all.h: the definition of every kind of device; dev/all.c lists them.
 */
#pragma once

#include "dev/dev.h"

extern const struct device_def debug_def;
extern const struct device_def fw_cfg_def;
extern const struct device_def hpet_def;
extern const struct device_def i8042_def;
extern const struct device_def pm_def;
extern const struct device_def rtc_def;
extern const struct device_def serial_def;
extern const struct device_def testdev_def;
extern const struct device_def pci_bus_def;
extern const struct device_def pci_testdev_def;
extern const struct device_def virtio_balloon_def;
extern const struct device_def virtio_blk_def;
extern const struct device_def virtio_console_def;
extern const struct device_def virtio_fs_def;
extern const struct device_def virtio_net_def;
extern const struct device_def virtio_port_def;
extern const struct device_def virtio_rng_def;
extern const struct device_def virtio_vsock_def;
