/*
 * dev/pc/fw_cfg.h: firmware configuration: a selector and a data port that tell payloads about the machine.
 */
#pragma once

#include "base/base.h"

struct fw_cfg_cfg {
    u32 cpus;
    u64 memory; /* bytes of RAM */
};

extern const struct device_def fw_cfg_def; /* cfg: fw_cfg_cfg */
