/*
 * host/guest_nets.h: which addresses machines have, as the agents in their guests tell.
 *   (1) Nobody waits for a guest: who looks gets what is known, and has it asked for when it is old.  What came then is recorded, which is an event
 *       (doc/api.md), when it is something else than before; so who follows events looks again.
 *   (2) One thread asks one guest after the other, the one first that was not asked for longest; it ends when nobody is left to be asked.  While
 *       nobody looks there is no thread and no timer.
 *   (3) A guest that does not answer is asked again after a while that doubles: its agent begins late in the boot.
 */
#pragma once

#include "host/host.h"

enum {
    GUEST_NETS_SECONDS = 5,      /* that all of a conversation may take */
    GUEST_NETS_FRESH = 30,       /* seconds that an answer is not asked for again */
    GUEST_NETS_AGAIN_FIRST = 15, /* seconds until a guest that did not answer is asked again */
    GUEST_NETS_AGAIN_LAST = 300, /* ... at most */
    GUEST_NETS_FORGET = 2, /* what was known is dropped when it did not answer so often in a row */
};

/* Somebody looks at it. */
void guest_nets_look_locked(struct instance *i);
/* A list of texts, new: those of a machine's guest; of a container that runs, those that its cards were given. */
json_t *guest_nets_print_locked(const struct instance *i);
/* Ends the thread.  With host_close. */
void guest_nets_close(struct host *h);
