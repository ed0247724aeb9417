/*
 * bench/soft_guest/loads.h: the loads of bench/soft.sh: each does `n` rounds and returns a number that depends on all of them,
 * the same on every CPU.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct load {
    const char *name;
    uint64_t (*run)(uint32_t n);
    uint32_t
        n; /* rounds that take a native CPU about a tenth of a second, fewer where TCG would take minutes */
};

/* compute.c: ring 3 alone; system.c: what a kernel does.  Each ends with an empty row. */
extern const struct load compute_loads[], system_loads[];
