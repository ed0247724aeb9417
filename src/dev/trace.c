/*
 * dev/trace.c: the trace points of this folder.
 */
#include "dev/dev.h"

#define TRACE_DEF "dev/trace.def"
#define TRACE_HOME
#include "base/trace_points.h"

void dev_trace_register(void)
{
#define TRACE(name, fmt, nargs) trace_register(&trace_point_##name, 1);
#include "dev/trace.def"
#undef TRACE
}
