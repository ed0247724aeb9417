/*
 * cpu/trace.c: the trace points of this folder, and which of them an engine has.
 */
#include "cpu/engine.h"

#define TRACE_DEF "cpu/trace.def"
#define TRACE_HOME
#include "base/trace_points.h"

void cpu_trace_register(void)
{
#define TRACE(name, fmt, nargs) trace_register(&trace_point_##name, 1);
#include "cpu/trace.def"
#undef TRACE
}

bool cpu_trace_sees(const struct engine *en, const char *point)
{
    for (const char *const *p = en->unseen; p && *p; p++)
        if (strcmp(*p, point) == 0)
            return false;
    return true;
}
