/*
 * dev/virtio/balloon.h: what the machine asks of its memory balloon.  Any thread, without the device's lock.
 */
#pragma once

#include "base/base.h"

struct device;

/* What the guest's driver says of its memory, by the numbers of virtio 1.2, 5.5.6.3; the last six are newer. */
#define BALLOON_STATS(X)                                      \
    X(swap_in, "bytes swapped in")                            \
    X(swap_out, "bytes swapped out")                          \
    X(major_faults, "page faults that read from a disk")      \
    X(minor_faults, "page faults that did not")               \
    X(free, "bytes that nobody uses")                         \
    X(total, "bytes that the guest has")                      \
    X(available, "bytes that programs can get")               \
    X(caches, "bytes of the page cache")                      \
    X(hugetlb_allocations, "huge pages that were given")      \
    X(hugetlb_failures, "… and that could not be")            \
    X(oom_kills, "processes killed for want of memory")       \
    X(alloc_stalls, "allocations that had to wait")           \
    X(async_scans, "pages looked at in the background")       \
    X(direct_scans, "pages looked at while a process waited") \
    X(async_reclaims, "pages taken in the background")        \
    X(direct_reclaims, "pages taken while a process waited")

struct balloon_stats {
    u64 target;    /* bytes that the guest shall keep */
    u64 ballooned; /* bytes that the driver says it has given up */
    u64 discarded; /* bytes given back to the host so far, by the balloon and by reports of free pages */
    u32 have;      /* bits: which of the following the guest has told, in their order */
    u64 updated_ns; /* clock_mono_ns of that; 0 never */
#define BALLOON_STAT_MEMBER(name, doc) u64 name;
    BALLOON_STATS(BALLOON_STAT_MEMBER)
#undef BALLOON_STAT_MEMBER
};

/* The guest shall keep `bytes` of its memory, rounded up to pages; all of it when that is more than it has. */
void balloon_set_target(struct device *d, u64 bytes);
/* What is known; asks the guest for newer figures, which a later call finds. */
void balloon_stats(struct device *d, struct balloon_stats *ret);
/* Asks the guest every `seconds` from now on; 0: only when balloon_stats is called. */
void balloon_poll(struct device *d, u32 seconds);
