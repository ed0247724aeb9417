/*
 * dev/pc/pm.h: power management: ACPI's events, sleep control and the reset register.
 */
#pragma once

#include "base/base.h"

struct device;

struct pm_cfg {
    u16 event_port; /* u32: what happened, cleared by reading (the DSDT's GED reads it) */
    u16 sleep_port; /* sleep control, and sleep status behind it */
    u32 gsi;        /* of the GED: high while something happened that was not read */
};

extern const struct device_def pm_def; /* cfg: pm_cfg */

/* What the event register says; fw/layout.h tells the DSDT the same. */
enum { PM_EVENT_POWER = 1, PM_EVENT_VMGENID = 2 };

/* The user pressed the power button.  Any thread, without the device's lock. */
void pm_power_button(struct device *d);
/* The generation id in guest memory was changed.  Any thread, without the device's lock. */
void pm_vmgenid_changed(struct device *d);
