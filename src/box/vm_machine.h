/*
 * box/vm_machine.h: the machine that a container is: starts it, and stands for its first process.
 */
#pragma once

#include "conf/conf.h"

struct vm_machine {
    char *dir;     /* of the container's state: sockets and messages of the machine are there */
    char *root;    /* the root file system, as the host sees it */
    char *program; /* socle-vm */
    char *kernel, *initrd;
    char *process; /* the JSON of VM_PROCESS */
    u64 memory;    /* bytes */
    u32 cpus;
};

extern const struct field vm_machine_fields[];

/* Until its first process ended; that one's status.  `text`: JSON of struct vm_machine. */
int vm_machine_run(const char *text, struct err *e);
