/*
 * dev/pc/rtc.h: the real-time clock and its NVRAM: an MC146818.
 */
#pragma once

#include "base/base.h"

struct rtc_cfg {
    u32 gsi;
    u64 below_4g, above_4g; /* bytes of RAM, for firmware and old loaders to find */
};

extern const struct device_def rtc_def; /* cfg: rtc_cfg */
