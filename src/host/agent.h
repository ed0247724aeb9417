/*
 * host/agent.h: a conversation with the agent in a guest (qemu-guest-agent), at the socket `agent` in the instance's folder, whose other end
 * is the port of dev/virtio/port.c.
 *   (1) It begins with guest-sync-delimited: what an earlier client left half read or half said is thrown away, up to the byte 0xff, which JSON
 *       has not.
 *   (2) Each answer has a time limit and a line a length; what is thrown away is not kept.  A line is longer than AGENT_SHORT only when it is asked
 *       for something that is, and has then its part of the memory of all (host/agent_memory.h).
 *   (3) The machine shows all clients of its socket the same bytes: who talks at a time is the caller's to see (host/guest_turn.h).
 */
#pragma once

#include "host/agent_memory.h"
#include "host/agent_text.h"

enum {
    AGENT_SYNC_SECONDS = 5,            /* that the agent may take to show that it is there */
    AGENT_ANSWER_SECONDS = 30,         /* ... to answer */
    AGENT_LINE_MAX = 44 * 1024 * 1024, /* two times 16 MiB in base64, and what is around them */
    AGENT_READ_MAX = 1024 * 1024,      /* bytes of a file that are asked for at a time */
    AGENT_READ_LINE_MAX = AGENT_READ_MAX / 3 * 4 + 4096,
};

struct agent {
    int fd;
    int stop; /* a socket: when its other end is closed, nothing is waited for any more; -1: none */
    u64 until_ns; /* of all that is said (clock_mono_ns); 0: each answer has its own limit */
    struct strbuf got;
    size_t at; /* what is before it was taken */
};

/* Finish with agent_close, also after a failure.  -ENOTCONN: there is nobody who would answer; -ECANCELED: see `stop`.
 * `until_ns`: as in struct agent. */
int agent_open(struct agent *a, const char *path, int stop, u64 until_ns, struct err *e);
void agent_close(struct agent *a);
/* What the agent returns, a new reference; `arguments` is consumed.  NULL with `e`.  `m`: what the answer has of the memory of all, which has nothing
 * before, and is given back by the caller when the answer is not needed any more. */
json_t *agent_ask(struct agent *a, const char *command, json_t *arguments, struct agent_memory *m,
                  struct err *e);

/* The begin of a conversation on a->fd: `id` is not one of an earlier client's. */
int agent_sync(struct agent *a, u32 id, struct err *e);
