/*
 * dev/pc/hpet.h: the high precision event timer; only in machines that ask for it.
 */
#pragma once

#include "base/base.h"

enum {
    HPET_SIZE = 0x400,
    HPET_TIMERS = 3,
};

/* Low half of its first register: Intel's, legacy routes, 64 bits, three timers, revision 1.  The ACPI table repeats it. */
#define HPET_BLOCK_ID 0x8086a201u

struct hpet_cfg {
    u64 base;
};

extern const struct device_def hpet_def; /* cfg: hpet_cfg */
