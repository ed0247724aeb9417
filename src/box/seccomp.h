/*
 * box/seccomp.h: the system calls of a container's process: a filter that libseccomp makes, and one system call loads.
 */
#pragma once

#include "box/oci.h"

struct box_filter {
    struct sock_filter *code; /* owned */
    u16 n;
    u32 flags; /* SECCOMP_FILTER_FLAG_* */
};

/* Does it have rules with SCMP_ACT_NOTIFY? */
bool box_filter_asks(const struct oci_seccomp *spec);
/* NULL in *ret when the specification has none.  Names of system calls that this library does not know are left out. */
int box_filter_new(const struct oci_seccomp *spec, struct box_filter **ret, struct err *e);
/* Takes effect at once.  The descriptor of a filter that asks; else 0. */
int box_filter_load(const struct box_filter *filter, struct err *e);
void box_filter_free(struct box_filter *filter);
/* The flags that we know, for `features`; NULL after the last.  *ret: this kernel has it. */
const char *box_filter_flag(unsigned i, bool *ret);
