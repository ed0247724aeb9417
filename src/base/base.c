/*
 * base/base.c: the end of a process that found its own bug.
 */
#include "base/base.h"

#include "base/trace.h"

#include <stdio.h>
#include <stdlib.h>

_Noreturn void must_failed(const char *cond, const char *file, int line, const char *func)
{
    fprintf(stderr, "socle: bug: %s:%d: %s: must(%s)\n", file, line, func, cond);
    trace_dump(stderr, ~0ull);
    abort();
}
