/*
 * host/agent_memory.h: the memory that the answers of all guests' agents may take together, lines as they are read and trees as they are parsed:
 * guests choose how long what they say is.
 *   (1) What a conversation has of it is asked for before a byte of it is used, for a short answer AGENT_SHORT not at all: these are few
 *       (host/guest.h), and work when long ones have everything.
 *   (2) One conversation asks at most twice, first for what a piece of a file needs, then for all that a line may be: so many as there may be
 *       can have the first, and one of them the second.  Nobody waits for who waits for him.
 */
#pragma once

#include "base/base.h"

enum {
    AGENT_SHORT = 256 * 1024, /* bytes of a line */
    AGENT_MEMORY_MAX = 256 * 1024 * 1024,
    AGENT_VALUES_MAX = 4096, /* of an answer; those of QEMU's agent about 200 cards have fewer */
    AGENT_DEPTH_MAX = 16,
    AGENT_VALUE_BYTES = 320, /* that jansson needs for one at most, beside its characters */
};

/* Of one conversation.  Zeroed: it has nothing. */
struct agent_memory {
    size_t bytes;
};

/* At least so many bytes from now on.  Waits for them until `until_ns` (clock_mono_ns), or the other end of `stop` is closed (-ECANCELED; -1: it
 * never is).  -ENOBUFS: others have them; it has what it had. */
int agent_memory_take(struct agent_memory *m, size_t bytes, int stop, u64 until_ns, struct err *e);
/* At most so many bytes from now on. */
void agent_memory_give(struct agent_memory *m, size_t bytes);
/* That all conversations have. */
size_t agent_memory_used(void);

/* What reading a line of `len` bytes, and parsing it, needs: the line, its tree, and of that once more what is being read. */
static inline size_t agent_memory_of(size_t len)
{
    return 3 * len;
}
