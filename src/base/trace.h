/*
 * base/trace.h: trace points.  A folder lists its points in <folder>/trace.def, one row each:
 *     TRACE(name, "format with %llu or 0x%llx", nargs)          0 to 4 arguments, all u64
 * and a file that traces does
 *     #define TRACE_DEF "dev/trace.def"
 *     #include "base/trace_points.h"
 * which makes a typed function trace_<name>(…).  Off, a point costs one predictable branch; on, it writes a record into the
 * ring of its thread.  Rings are dumped by `must`, and read by the control socket.
 */
#pragma once

#include "base/base.h"

#include <stdio.h>

struct trace_point {
    const char *name;
    const char *fmt;
    atomic_bool on;
    struct trace_point *next; /* in the list of all; set once, by trace_register */
};

/* Puts `n` points from `first` on to the list that trace_enable and trace_list walk. */
void trace_register(struct trace_point *first, size_t n);
/* Turns the points whose name matches the shell `pattern` on or off; how many there were. */
int trace_enable(const char *pattern, bool on);
/* Calls fn for each registered point. */
void trace_list(void (*fn)(void *arg, const struct trace_point *p), void *arg);
/* Writes what the rings of all threads hold, but at most the `most` newest records, oldest first, with the thread's name.  By one
 * thread at a time; also when the process fails. */
void trace_dump(FILE *to, u64 most);

/* Behind the inline functions. */
void trace_record(const struct trace_point *p, u64 a, u64 b, u64 c, u64 d);
