/*
 * os/view.h: the files of /proc and /sys in which Linux shows the whole host, as they are for one container: what it may have and uses.
 */
#pragma once

#include "base/base.h"

enum view_file {
    VIEW_MEMINFO,
    VIEW_CPUINFO,
    VIEW_STAT,
    VIEW_UPTIME,
    VIEW_LOADAVG,
    VIEW_SWAPS,
    VIEW_ONLINE,
    VIEW_FILES,
};

/* Where each is in the container; what follows the last slash is its name elsewhere. */
extern const char *const view_paths[VIEW_FILES];

struct view {
    u64 memory; /* bytes that it may have */
    u64 used, cached,
        shared; /* of it; cached: files that can be dropped, part of `used`; shared: tmpfs */
    u32 cpus;   /* that it may use, at least 1 */
    u64 up_ns;  /* since its start */
    u64 user_us, system_us; /* of CPU that it used */
    u64 now_s;              /* Unix time */
    double load[3];         /* CPUs kept busy, over 1, 5 and 15 minutes */
    u32 tasks;
    const char *host_cpuinfo; /* the host's */
};

void view_print(enum view_file f, const struct view *v, struct strbuf *out);

/* `load` after `ns` more, in which so many CPUs were busy on average. */
void view_load(double load[3], double busy, u64 ns);
