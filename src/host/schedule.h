/*
 * host/schedule.h: machines that are started by nobody's command: those that crashed, and those that start with the host.
 * run/ID says when (start_at) and how often in a row (restarts), so it holds over an end of socled.  A start that somebody asks for, and
 * whatever else ends or replaces the machine, drops it.
 */
#pragma once

#include "host/host.h"

enum {
    SCHEDULE_DELAY_MAX =
        300, /* seconds before a start; the first is after one, each after twice as long as the one before */
    SCHEDULE_CALM = 600, /* seconds that a machine ran; then its restarts are counted anew */
};

/* How a machine ended, and what was before. */
struct schedule_end {
    bool failed;
    u64 ran; /* seconds */
    u32 restarts;
};
/* Seconds until it is started again, and *ret_restarts with that; 0: it is not. */
u32 schedule_after(const struct instance_cfg *c, const struct schedule_end *end, u32 *ret_restarts);

/* It ended by itself: what run says from now on, to be recorded by the caller. */
void schedule_ended_locked(struct instance *i, bool failed, u64 ran);
/* The same after a start that was ours, and failed, or was cancelled. */
void schedule_not_started_locked(struct instance *i, bool failed);
/* Has the host started since a socled ran here last?  Then it is recorded when each machine with autostart will be started. */
void schedule_look_at_boot_locked(struct host *h);
/* Something that it depends on has changed.  Any thread. */
void schedule_look(struct host *h);
void schedule_open(struct host *h);
