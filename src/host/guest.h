/*
 * host/guest.h: what clients do in machines by the agent in the guest (host/agent.h): each has a thread of its own, and a socket on which it
 * speaks the frames of os/run.h, as with a container.
 *   (1) With one guest one client at a time talks, question by question (host/guest_turn.h): a program that takes long holds up nobody.
 *   (2) A client that goes ends the thread; what runs in the guest runs on: its agent cannot end it.
 */
#pragma once

#include "host/guest_turn.h"
#include "os/run.h"

#include <jansson.h>

enum { GUEST_RUNS_MAX = 16 };

/* Of a thread. */
struct guest_run {
    struct guest_turn turn;
    char *name; /* of the instance then */
    int fd;     /* our end */
    int (*fn)(struct guest_run *g, struct err *e);
    struct guest_run *next;
};

/* Runs a program in an instance's guest (host/guest_exec.c).  *ret_fd: the client's end, owned, non-blocking. */
int guest_exec(struct host *h, const char *id, int *ret_fd, struct err *e);
/* The same: copies files (host/guest_files.c). */
int guest_files(struct host *h, const char *id, int *ret_fd, struct err *e);
/* Ends all threads.  With host_close. */
void guest_close(struct host *h);

/* ---- for the threads ---- */

/* A thread for the instance, which runs `fn`; what that returns, if it is negative, is told the client. */
int guest_begin(struct host *h, const char *id, int (*fn)(struct guest_run *g, struct err *e),
                int *ret_fd, struct err *e);
/* What the agent returns, a new reference, which is gone before the next is asked; `arguments` is consumed. */
json_t *guest_ask(struct guest_run *g, const char *command, json_t *arguments, struct err *e);
/* Is the client gone, or goes in so many milliseconds? */
bool guest_is_alone(const struct guest_run *g, int ms);
/* The machine's state; HOST_OFF: it has no process any more. */
enum host_state guest_state(const struct guest_run *g);
/* A frame for the client. */
int guest_say(const struct guest_run *g, u8 kind, const void *data, size_t len);
