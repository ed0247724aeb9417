/*
 * os/os.h: the life of one instance of kind os, in a process of its own (socle-os): its container is made, watched, told what to do at
 * FOLDER/control, made again when it restarts itself, and removed.
 *
 *     os_run: root file system, namespaces ──> container ──> running <──> paused
 *                                                  ^            │ its first process ends
 *                                                  └─ restart ──┴──> ended
 */
#pragma once

#include "os/console.h"
#include "os/control.h"
#include "os/exec.h"
#include "os/files.h"
#include "os/ids.h"
#include "os/mend.h"
#include "os/user_net.h"
#include "os/view_fs.h"

enum os_state { OS_CREATED, OS_RUNNING, OS_PAUSED, OS_ENDED };

struct os {
    struct os_spec *spec;
    struct loop loop;
    struct os_ids ids;
    struct os_user_net user_net[OS_NETS_MAX]; /* of each card, as far as it is one */
    struct view_fs view;
    struct os_mend mend;
    struct os_console console;
    struct os_exec exec;
    struct os_files files;
    struct os_control control;
    enum os_state state;
    pid_t pid; /* the container's first process; 0: none */
    uv_signal_t child, term;
    bool stopping; /* it was asked to end */
    bool again;    /* it is to be started anew when it has ended */
    u32 n_holds;   /* clients that hold it */
    u64 started_ns;
    int status; /* for exit(3), when it has ended */
    struct err why;
};

/* Until the container ended; what `s` leaves open is filled in.  The exit status as of socle-vm (base/exit_status.h), or a negative errno with `e`: it was not started. */
int os_run(struct os_spec *s, struct err *e);

/* ---- what control.c asks for ---- */

/* Asks it to end, as its first process understands it. */
int os_shut_down(struct os *o, struct err *e);
/* It and all in it are ended at once. */
int os_cut(struct os *o, struct err *e);
/* As os_cut, and it is started anew. */
int os_reset(struct os *o, struct err *e);
int os_pause(struct os *o, bool on, struct err *e);
/* The same, but it does not count as paused. */
int os_hold(struct os *o, bool on, struct err *e);
