/*
 * dev/pc/debug.h: ports for test payloads, boot measurements and debug output; no real machine has them all.
 */
#pragma once

#include "base/base.h"

extern const struct device_def debug_def; /* no cfg */
