/*
 * host/guest_turn.h: questions to the agent in a guest, from several threads: a machine shows all clients of its agent's socket the same bytes,
 * so one of them talks at a time, question by question.
 */
#pragma once

#include "host/agent_memory.h"
#include "host/host.h"

#include <jansson.h>

/* Who asks, of a thread. */
struct guest_turn {
    struct host *host;
    char id[24], *path; /* of the instance; the agent's socket */
    int stop; /* a socket: when its other end is closed, nothing is waited for any more; borrowed */
    bool talks;                 /* guarded by the host's lock */
    struct agent_memory answer; /* that the last answer has */
    struct guest_turn *next;
};

void guest_turn_open_locked(struct guest_turn *t, const struct instance *i, int stop);
/* Also of one that was not opened. */
void guest_turn_close_locked(struct guest_turn *t);
/* What the agent returns, a new reference, which is gone before the next is asked; `arguments` is consumed.  Nothing takes longer than until
 * `until_ns` (clock_mono_ns; 0: than host/agent.h says).  NULL with `e`: as agent_open and agent_ask; -EBUSY: others talked until then. */
json_t *guest_turn_ask(struct guest_turn *t, const char *command, json_t *arguments, u64 until_ns,
                       struct err *e);
