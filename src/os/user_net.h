/*
 * os/user_net.h: a card of a container whose frames a process of ours takes and sends on as an ordinary user's connections (net/user.h):
 * no right on the host is needed.
 */
#pragma once

#include "net/pair.h"
#include "os/spec.h"

#include <sys/types.h>

struct os_user_net {
    int tap;   /* the card is there as long as it is open; -1: there is none */
    pid_t pid; /* who takes its frames; 0: nobody */
};

/* The card.  Finish with os_user_net_close. */
int os_user_net_open(struct os_user_net *u, const struct os_net *n, struct pair_place *p,
                     struct err *e);
/* Its process, when there is a card and nobody takes its frames. */
int os_user_net_start(struct os_user_net *u, const struct os_net *n, struct err *e);
/* A child ended; false: it is not this one. */
bool os_user_net_ended(struct os_user_net *u, pid_t pid, int status);
void os_user_net_close(struct os_user_net *u);
