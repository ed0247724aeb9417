/*
 * net/within.h: something done in another network namespace.
 */
#pragma once

#include "base/base.h"

/* Joining a namespace is for a thread's life: fn(arg, e) runs on one of its own, which has ended when this returns.  What fn returned. */
int within(int ns, int (*fn)(void *arg, struct err *e), void *arg, struct err *e);
