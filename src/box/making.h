/*
 * box/making.h: a container that is being made: what box/create.c, the runtime, and box/init.c, its first process, share.  The
 * process is a copy of the runtime, so it has all of this, and uses what the comments give it.
 */
#pragma once

#include "box/box.h"
#include "box/cgroup.h"
#include "box/netdev.h"
#include "box/ns.h"
#include "box/process.h"
#include "box/state.h"
#include "box/sync.h"

struct making {
    const struct box_new *opts;
    bool run;        /* start it at once: no FIFO */
    bool systemd;    /* makes the cgroup, once there is a process for it */
    bool in_user_ns; /* the container's user namespace is not the first one */
    bool
        late_files; /* a user who may not copy mounts: the process opens the host's files when it may */
    struct oci spec;
    struct box_dir dir;
    struct box_state state; /* the process fills in its pid */
    struct cgroup cgroup;
    struct ns_plan ns;
    struct host_files host;
    int bundle;
    int sync[2];  /* the runtime's end, the process's end */
    int fifo;     /* the process's, for create */
    int console;  /* the process's: a socket that takes the terminal's master */
    int listener; /* the process's: a socket that takes the connection to the filter's agent */
    int notify;   /* the runtime's, for run: what the program tells of itself */
    struct netdevs devices; /* those that were moved */
    pid_t pid;              /* of what we have to end when we fail */
    int pidfd;
    u32 preserve;          /* descriptors after 2 that the program gets */
    struct field_strs env; /* LISTEN_*, NOTIFY_SOCKET for the program */
};

/* The process's whole life until exec.  Never returns. */
_Noreturn void init_main(struct making *m);
