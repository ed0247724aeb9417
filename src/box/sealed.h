/*
 * box/sealed.h: this program runs from a copy of itself that nobody can write before it comes near a container.
 * A container that makes us execute /proc/self/exe, or opens it while we are in its namespaces, gets that copy (CVE-2019-5736).
 * It is the same file on a mount of its own, which is read-only and in no namespace, so that nobody can change that (box/sealed_start.c); or
 * where we may not mount, a memfd with all seals (box/sealed.c).
 */
#pragma once

#include "base/base.h"

/* Executes the copy with the same arguments, unless it is running already.  0: it is. */
int sealed_reexec(char **argv, struct err *e);
