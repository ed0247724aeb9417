/*
 * host/spawn.h: how `socle run` and socled start `socle-vm` (and socled `socle-os`), and what they promise each other.
 *   (1) argv is `socle-vm --spec-fd N`; descriptor N is a file with the JSON of a struct vm_spec (vm/spec.h), of socle-os of a struct
 *       os_spec (os/spec.h).
 *   (2) Descriptors that the spec names are inherited: console "fd:IN:OUT" (one socket of a pair may be both) and control_fd,
 *       a connected stream that speaks the control socket's JSON lines.  No others but 0 (/dev/null), 1 and 2.
 *   (3) socle-vm is the leader of its own process group, so that a terminal's Ctrl-C reaches only socle; it gets SIGTERM when
 *       socle is killed.  `alone` it is the leader of a session instead, and outlives who started it.  All signals are at their
 *       defaults and unblocked.
 *   (4) The first SIGTERM presses the power button, and SPAWN_TERM_SECONDS later the machine goes off whatever the guest does.
 *       The second SIGTERM turns it off at once, with the disks flushed.  What was turned off so ends with EXIT_STATUS_SIGNAL +
 *       SIGTERM.  socle kills what still runs SPAWN_KILL_SECONDS after the first.
 *   (5) Its exit status is from base/exit_status.h; it has said why on stderr, one "socle-vm: …" line, when it is not the guest's own.
 */
#pragma once

#include "base/base.h"

#include <sys/types.h>

enum {
    SPAWN_TERM_SECONDS = 60,
    SPAWN_KILL_SECONDS = 70,
};

struct vm_spec;

struct spawn_how {
    bool take_messages; /* its stderr comes to `messages` instead of going to our own */
    bool alone;         /* it outlives us: no control_fd; stdout and stderr go to `log` */
    int log;            /* alone: borrowed; the child keeps this very open file until it ends */
    int cgroup;         /* alone: borrowed, cgroup.procs of the group that it is in; -1: ours */
};

/* A started socle-vm.  Descriptors are owned; -1 when there is none. */
struct spawn {
    pid_t pid;
    int killed_by; /* after spawn_wait: the signal that ended it, 0: it ended by itself */
    int pidfd;     /* readable when it ended */
    int console;   /* non-blocking, when the console is "stdio" */
    int control;   /* non-blocking */
    int messages;  /* what it writes to stderr, non-blocking, when asked for */
};

/*
 * Starts `spec`; console "stdio" and control_fd become inherited descriptors in what the child reads.  0, or a negative errno and
 * nothing runs.
 */
int spawn_start(const struct vm_spec *spec, const struct spawn_how *how, struct spawn *ret,
                struct err *e);
struct os_spec;
/* The same of an instance of kind os: socle-os, which always is `alone`, and has its sockets in its folder. */
int spawn_os(const struct os_spec *spec, const struct spawn_how *how, struct spawn *ret,
             struct err *e);
/* Path of one of our programs: what the environment's variable says, beside the one that runs, or where it is installed.  Owned. */
char *spawn_find(const char *name, const char *variable);
/* The same of one that users start, too. */
char *spawn_find_user(const char *name, const char *variable);
/* Waits for the end; its status as `socle run` reports it: its own, or EXIT_STATUS_SIGNAL + n. */
int spawn_wait(struct spawn *s);
/* Closes the descriptors.  Zeroed or half-built is harmless when the unused ones are -1. */
void spawn_fini(struct spawn *s);
