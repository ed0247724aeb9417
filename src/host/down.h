/*
 * host/down.h: the host is shut down: its machines are, too, as `socle stop` does it, but without tasks, and in the reverse order of
 * `autostart_order`.  (doc/notes/040-shutdown.md; the order: 043)
 */
#pragma once

#include "host/host.h"

/*
 * Of a host that was opened, in place of loop_run: what runs is asked to shut down, has `seconds` for that, and is turned off then.  No task is begun
 * and nothing is started; both go on with the next host_open.  How many had to be turned off; negative: it could not begin.
 */
int host_down(struct host *h, u32 seconds, struct err *e);
