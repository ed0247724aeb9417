/*
 * dev/all.c: every kind of device there is, in one list that the generic test, the fuzzer and the machine's builder walk.
 * A device appears here by hand, twice, in alphabetical order of its folder and name.
 */
#include "dev/all.h"

/* clang-format off */
const struct device_def *const all_devices[] = {
    &debug_def,
    &fw_cfg_def,
    &hpet_def,
    &i8042_def,
    &pm_def,
    &rtc_def,
    &serial_def,
    &testdev_def,
    &pci_bus_def,
    &pci_testdev_def,
    &virtio_balloon_def,
    &virtio_blk_def,
    &virtio_console_def,
    &virtio_fs_def,
    &virtio_net_def,
    &virtio_port_def,
    &virtio_rng_def,
    &virtio_vsock_def,
    NULL,
};
/* clang-format on */
