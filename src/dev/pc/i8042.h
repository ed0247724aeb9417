/*
 * dev/pc/i8042.h: the keyboard controller without a keyboard, and the system control ports beside it.
 */
#pragma once

#include "base/base.h"

struct i8042_cfg {
    u32 gsi;
};

extern const struct device_def i8042_def; /* cfg: i8042_cfg */
