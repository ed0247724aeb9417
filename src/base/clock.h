/*
 * base/clock.h: time of the host.
 */
#pragma once

#include "base/base.h"

#include <time.h>

static inline u64 clock_ns(clockid_t id)
{
    struct timespec t;

    clock_gettime(id, &t);
    return (u64)t.tv_sec * NSEC_PER_SEC + (u64)t.tv_nsec;
}

/* CLOCK_MONOTONIC in ns: durations and deadlines. */
static inline u64 clock_mono_ns(void)
{
    return clock_ns(CLOCK_MONOTONIC);
}

/* CLOCK_REALTIME in ns since 1970: what a calendar clock shows. */
static inline u64 clock_real_ns(void)
{
    return clock_ns(CLOCK_REALTIME);
}
