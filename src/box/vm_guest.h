/*
 * box/vm_guest.h: in the machine that a container is: makes what the container's processes see, and runs them as the host asks
 * (box/vm_link.h).
 */
#pragma once

#include "conf/conf.h"

/* What VM_PROCESS says. */
struct vm_process {
    char *config; /* the text of config.json */
    char *
        process; /* JSON of its process, by the table of box/oci.h; NULL: that of config.json, which is the first one */
};

extern const struct field vm_process_fields[];

/* As process 1 of the guest.  Returns only when it cannot go on: a negative errno with `e`. */
int vm_guest_run(struct err *e);
