/*
 * os/exec.h: programs that clients run in the container, at the socket FOLDER/exec, in the frames of os/run.h.
 * The first says what to run: struct os_program.  A client that goes takes its program with it (SIGHUP, as with a terminal).
 */
#pragma once

#include "os/run.h"
#include "os/spec.h"

enum { OS_PROGRAMS_MAX = 64 };

struct os_exec;

/* One that is running; `run` NULL: the place is free. */
struct os_exec_place {
    struct os_exec *x;
    struct os_run *run;
};

struct os_exec {
    struct os_runner by;
    const struct os_spec *spec;
    int listener;
    struct loop_fd door;
    char *path;
    struct os_exec_place place[OS_PROGRAMS_MAX];
    bool ready; /* there is a container to run it in */
};

int os_exec_open(struct os_exec *x, struct loop *l, const struct os_spec *s, struct err *e);
/* A child ended; false: it is none of these. */
bool os_exec_ended(struct os_exec *x, pid_t pid, int status);
void os_exec_close(struct os_exec *x);
