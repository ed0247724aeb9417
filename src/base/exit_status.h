/*
 * base/exit_status.h: how `socle run` and `socle-vm` end, so that a script can tell why.  One table: the programs and the manual use it.
 * Our own codes are even: a guest that ends its machine through the debug exit port gives 2 × value + 1, which is always odd.
 */
#pragma once

/* clang-format off */
#define EXIT_STATUS_LIST(X)                                                                                        \
    X(OFF,       0, "the guest powered itself off, also when a signal or Ctrl-A x had asked it to")                \
    X(USAGE,     2, "the command line is wrong")                                                                   \
    X(RESTORE, 116, "of socle-vm only: `socle run` starts the machine anew from another state")                     \
    X(SUSPENDED, 118, "the machine was suspended: its state is in a file, from which --restore goes on")           \
    X(VMM,     120, "the machine had to be stopped while it ran: the host failed it, or its process has a fault") \
    X(START,   122, "the machine could not be started: a file, the host, or a size does not allow it")             \
    X(TIMEOUT, 124, "--timeout passed and the machine was stopped")                                                \
    X(CRASH,   126, "the guest crashed: a triple fault, or it reported a panic")                                   \
    X(SIGNAL,  128, "plus n: signal n made socle run stop the machine by force, or ended socle-vm")
/* clang-format on */

enum exit_status {
#define X(name, value, doc) EXIT_STATUS_##name = value,
    EXIT_STATUS_LIST(X)
#undef X
};
