/*
 * os/stats.h: what a container uses.
 */
#pragma once

#include <jansson.h>

struct os;

/* A new reference: {"cpu_ns", "memory", "devices": {"net0": {…}, "disk": {…}}}, as far as the host counts it. */
json_t *os_stats(const struct os *o);
