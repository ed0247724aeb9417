/*
 * vm/vm.h: one virtual machine: built from its specification, confined, run to its end.
 */
#pragma once

#include "base/base.h"

#include "vm/spec.h"

/* How a machine ended. */
enum vm_end {
    VM_END_POWEROFF,  /* the guest switched itself off */
    VM_END_CUT,       /* the operator wished it off, and it was cut off */
    VM_END_EXIT,      /* the guest wrote a status to the debug-exit port */
    VM_END_CRASH,     /* triple fault, or the guest reported a panic */
    VM_END_ENGINE,    /* the engine could not go on */
    VM_END_RESET,     /* a reset failed */
    VM_END_SUSPENDED, /* its state is in a file */
    VM_END_RESTORE,   /* who started it starts it anew, from another state */
};

struct vm_result {
    enum vm_end end;
    u32 status;    /* VM_END_EXIT: what the guest wrote, as a process's exit status */
    char why[200]; /* for the operator; empty for POWEROFF, CUT, EXIT and SUSPENDED */
};

struct vm;

/* Opens all that the machine needs from the host, and loads the guest.  `spec` is borrowed until vm_free.  Owned in *ret. */
int vm_new(const struct vm_spec *spec, struct vm **ret, struct err *e);
void vm_free(struct vm *vm);
AUTO_DEFINE(vm, struct vm *, vm_free)

/* Gives up every privilege that the machine does not need; no file can be opened after.  Before vm_run. */
int vm_confine(struct vm *vm, struct err *e);

/* Runs the machine on the calling thread (its control loop) and threads of its own, until it ends. */
int vm_run(struct vm *vm, struct vm_result *ret, struct err *e);
