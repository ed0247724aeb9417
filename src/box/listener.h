/*
 * box/listener.h: seccomp notification (SCMP_ACT_NOTIFY): the descriptor of a filter that asks goes to an agent on the host.
 * The runtime connects to the agent when the program is about to begin, and gives the connection to the process; the process
 * loads the filter, and sends the descriptor with its state over that connection.
 *
 *     create            makes a socket DIR/seccomp, which the first process has
 *     start, run        connects to listenerPath, sends that connection to DIR/seccomp, lets the process go on
 *     exec              connects; its process inherits the connection
 */
#pragma once

#include "box/seccomp.h"
#include "box/state.h"

/* For create and run: *ret is for the first process; stays as it is when no agent is asked. */
int listener_prepare(const struct box_dir *d, const struct oci_seccomp *spec, int *ret,
                     struct err *e);
/* Gives the process a connection to the agent. */
int listener_offer(const struct box_dir *d, const struct oci_seccomp *spec, struct err *e);
/* A connection to the agent, to be inherited. */
int listener_connect(const struct oci_seccomp *spec, struct err *e);
/* In the first process: the connection that came. */
int listener_take(int socket, struct err *e);
/* Loads a filter that asks, and sends its descriptor and `text` to the agent. */
int listener_load(const struct box_filter *filter, int agent, const char *text, struct err *e);
