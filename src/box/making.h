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
    bool run;         /* start it at once: no FIFO */
    bool systemd;     /* makes the cgroup, once there is a process for it */
    bool late_limits; /* restore: CRIU and its memory are in the cgroup meanwhile */
    bool in_user_ns;  /* the container's user namespace is not the first one */
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
    bool apart; /* it is a machine (box/apart.h); then: */
    char *vm_dir, *vm_program, *vm_socle, *vm_kernel, *vm_initrd, *config_text;
    u64 vm_memory;
    u32 vm_cpus, n_mounts; /* n_mounts: with those that are left out */
    u32 preserve;          /* descriptors after 2 that the program gets */
    struct field_strs env; /* LISTEN_*, NOTIFY_SOCKET for the program */
};

/* The process's whole life until exec.  Never returns. */
_Noreturn void init_main(struct making *m);

void making_init(struct making *m, const struct box_new *o, bool run);
void making_fini(struct making *m);
/* After a failure: ends the process, removes what was made. */
void making_undo(struct making *m);
/* Reads config.json, and makes the container's state of it. */
int making_claim(struct making *m, const struct box_global *g, const char *id, struct err *e);
/* Who has no right to a cgroup may go without, when none is asked for.  With systemd there is none yet. */
int making_cgroup(struct making *m, const struct box_global *g, struct err *e);
/* While the process waits for us, and has no namespaces of its own cgroup yet. */
int making_scope(struct making *m, struct err *e);
/* Rules for devices, when the device files are made, which the rules may forbid. */
int making_devices(struct making *m, struct err *e);
/* Who takes the terminal: the engine, or *ret_ours is ours. */
int making_console(struct making *m, int *ret_ours, struct err *e);
int making_runtime_hooks(struct making *m, struct err *e);
int making_pid_file(const struct making *m, struct err *e);
/* In the foreground: the program's exit status; then there is nothing left.  `console`: of making_console. */
int making_wait(struct making *m, int console, struct err *e);
/* May it be that we are not allowed what root is? */
bool making_unprivileged(void);
/* For hooks; owned. */
char *making_state_text(const struct making *m, enum box_status status);
