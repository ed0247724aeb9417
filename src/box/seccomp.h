/*
 * box/seccomp.h: the system calls of a container's process, by libseccomp.
 */
#pragma once

#include "box/oci.h"

/* NULL in *ret when the specification has none.  Names of system calls that this library does not know are left out. */
int box_filter_new(const struct oci_seccomp *spec, void **ret, struct err *e);
/* Takes effect at once. */
int box_filter_load(void *filter, struct err *e);
void box_filter_free(void *filter);
