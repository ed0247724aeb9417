/*
 * box/process.h: from a process in the container's namespaces and root to the program that the user wants.
 * Three steps: what needs the host's privilege the runtime does from outside; what can fail by a user's mistake is found before
 * the container counts as created; then rights go, and exec.
 */
#pragma once

#include "box/caps.h"
#include "box/root.h"
#include "box/seccomp.h"

struct launch {
    const struct oci_process *p;
    const struct oci_linux *os;
    struct field_strs env; /* more of it: NAME=VALUE, borrowed */
    unsigned preserve;     /* descriptors after 2 that stay open */
    bool make_cwd;
    bool new_keyring;
    bool in_user_ns;  /* not the first one: some things may be forbidden there */
    int agent;        /* a connection to who answers for the filter, -1: nobody does */
    char *agent_text; /* what it is told; owned */

    /* made by launch_prepare */
    struct caps caps;
    struct box_filter *filter;
    char *program; /* owned */
    char **argv, **envp;
};

/* What we inherited after descriptor 2 + `preserve` is for nobody that we execute: hooks, helpers, the program. */
int launch_close_inherited(unsigned preserve, struct err *e);
/* By the runtime, before the process goes on: it still lets others read it then. */
int launch_oom(pid_t pid, const struct oci_process *p, bool lenient, struct err *e);
/* By the runtime, when all is prepared: limits would hinder the preparation. */
int launch_limits(pid_t pid, const struct oci_process *p, struct err *e);

/* In the process, in its user namespace: may it be who it is to be?  Otherwise that would be found when the container counts as created. */
int launch_check_user(const struct launch *l, struct err *e);
/* In the process, in its root: working directory, program, filter.  `proc`: a procfs, for labels; asked for only with such. */
int launch_prepare(struct launch *l, struct root *root, struct err *e);
/* Gives up all rights and runs the program; returns only when that fails. */
int launch_exec(struct launch *l, struct err *e);
