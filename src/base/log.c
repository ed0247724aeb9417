/*
 * base/log.c: one line, one write, so that threads and processes do not mix their lines.
 */
#include "base/log.h"

#include "base/clock.h"

#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

static enum log_level level_max = LOG_LEVEL_NOTICE;
static const char *log_name = "socle";

void log_set_level(enum log_level level)
{
    level_max = level;
}

void log_set_name(const char *name)
{
    log_name = name;
}

bool log_is_on(enum log_level level)
{
    return level <= level_max;
}

void log_line(enum log_level level, const char *fmt, ...)
{
    static const char *const words[] = { "error: ", "warning: ", "", "", "debug: " };
    char line[512];
    va_list ap;
    int n, m;

    if (!log_is_on(level))
        return;
    n = snprintf(line, sizeof(line), "%s: %s", log_name, words[level]);
    va_start(ap, fmt);
    m = vsnprintf(line + n, sizeof(line) - (size_t)n - 1, fmt, ap);
    va_end(ap);
    n = min(n + max(m, 0), (int)sizeof(line) - 2);
    line[n++] = '\n';
    (void)!write(STDERR_FILENO, line, (size_t)n); /* nobody left to tell when stderr is gone */
}

bool log_may(atomic_ullong *next_ns)
{
    u64 now = clock_mono_ns(), next = atomic_load_explicit(next_ns, memory_order_relaxed);

    return now >= next && atomic_compare_exchange_strong(next_ns, &next, now + NSEC_PER_SEC);
}
