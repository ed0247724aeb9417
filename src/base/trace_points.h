/*
 * base/trace_points.h: turns the rows of TRACE_DEF into typed functions.  Included once by each file that traces.
 * No #pragma once: each inclusion is for one TRACE_DEF.
 */
#include "base/trace.h"

/* The points themselves live in <folder>/trace.c: `#define TRACE_HOME` before the inclusion makes them and their register function. */
#ifdef TRACE_HOME
#define TRACE(name, fmt, nargs) struct trace_point trace_point_##name = { #name, fmt, false, NULL };
#else
#define TRACE(name, fmt, nargs) extern struct trace_point trace_point_##name;
#endif
#include TRACE_DEF
#undef TRACE

#define TRACE_PARAMS_0 void
#define TRACE_PARAMS_1 u64 a
#define TRACE_PARAMS_2 u64 a, u64 b
#define TRACE_PARAMS_3 u64 a, u64 b, u64 c
#define TRACE_PARAMS_4 u64 a, u64 b, u64 c, u64 d
#define TRACE_ARGS_0   0, 0, 0, 0
#define TRACE_ARGS_1   a, 0, 0, 0
#define TRACE_ARGS_2   a, b, 0, 0
#define TRACE_ARGS_3   a, b, c, 0
#define TRACE_ARGS_4   a, b, c, d
#define TRACE(name, fmt, nargs)                                                           \
    [[maybe_unused]] static inline void trace_##name(TRACE_PARAMS_##nargs)                \
    {                                                                                     \
        if (unlikely(atomic_load_explicit(&trace_point_##name.on, memory_order_relaxed))) \
            trace_record(&trace_point_##name, TRACE_ARGS_##nargs);                        \
    }
#include TRACE_DEF
#undef TRACE
