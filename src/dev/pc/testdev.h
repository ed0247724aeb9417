/*
 * dev/pc/testdev.h: the test device of kvm-unit-tests; only in machines that ask for it.
 */
#pragma once

#include "base/base.h"

extern const struct device_def testdev_def; /* no cfg */
