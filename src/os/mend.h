/*
 * os/mend.h: the processes beside a container (os/user_net.h, os/view_fs.h) that ended while it runs are started again: at once, and when they
 * keep ending ever later, up to ten seconds.
 */
#pragma once

#include "base/base.h"

#include <uv.h>

struct os;

struct os_mend {
    uv_timer_t timer;
    u64 last_ns; /* the last try */
    u64 wait_ms; /* for the next, if the last did not last */
};

/* Before any of them is started. */
int os_mend_open(struct os *o, struct err *e);
/* All that are to be there and are not.  0; or a negative errno with `e`, and those that could be are. */
int os_mend_now(struct os *o, struct err *e);
/* One ended. */
void os_mend_later(struct os *o);
