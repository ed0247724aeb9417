/*
 * dev/all.c: every kind of device there is, in one list that the generic test, the fuzzer and the machine's builder walk.
 * A device appears here by hand, twice, in alphabetical order of its folder and name.
 */
#include "dev/dev.h"

extern const struct device_def pci_bus_def;
extern const struct device_def pci_testdev_def;

const struct device_def *const all_devices[] = {
    &pci_bus_def,
    &pci_testdev_def,
    NULL,
};
