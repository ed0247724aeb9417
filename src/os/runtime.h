/*
 * os/runtime.h: socle-box, asked to do something for one container (doc/box.md).  Each call waits for it: milliseconds.
 */
#pragma once

#include "os/spec.h"

#include <jansson.h>
#include <sys/types.h>

#define OS_BOX_ID "box" /* there is one in FOLDER/box */

/* Makes the container of FOLDER/bundle.  ret_master: the terminal's, owned. */
int os_box_create(const struct os_spec *s, pid_t *ret_pid, int *ret_master, struct err *e);
int os_box_start(const struct os_spec *s, struct err *e);
int os_box_pause(const struct os_spec *s, bool on, struct err *e);
/* With all that runs in it; 0 also when there is none. */
int os_box_delete(const struct os_spec *s, struct err *e);

/* One more program. */
struct os_box_exec {
    json_t *process; /* of the specification; borrowed */
    int stdio[3];    /* borrowed; -1: /dev/null.  Not used with a terminal */
    bool terminal;
};
/* It is our child then.  ret_master: -1 without a terminal. */
int os_box_exec(const struct os_spec *s, const struct os_box_exec *x, pid_t *ret_pid,
                int *ret_master, struct err *e);
