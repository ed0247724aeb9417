/*
 * base/log.h: lines for the operator, on stderr.  Nothing on a guest's path logs above debug, unless rate-limited.
 */
#pragma once

#include "base/base.h"

enum log_level {
    LOG_LEVEL_ERROR,
    LOG_LEVEL_WARN,
    LOG_LEVEL_NOTICE,
    LOG_LEVEL_INFO,
    LOG_LEVEL_DEBUG
};

/* Lines above `level` are dropped; the start value is NOTICE: what an operator must know. */
void log_set_level(enum log_level level);
/* Every line begins with "<name>: "; `name` is borrowed for the process's life. */
void log_set_name(const char *name);
void log_line(enum log_level level, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
bool log_is_on(enum log_level level);

#define log_error(...)  log_line(LOG_LEVEL_ERROR, __VA_ARGS__)
#define log_warn(...)   log_line(LOG_LEVEL_WARN, __VA_ARGS__)
#define log_notice(...) log_line(LOG_LEVEL_NOTICE, __VA_ARGS__)
#define log_info(...)   log_line(LOG_LEVEL_INFO, __VA_ARGS__)
#define log_debug(...)  log_line(LOG_LEVEL_DEBUG, __VA_ARGS__)

/* At most one line a second from this place. */
#define log_warn_limited(...)                      \
    do {                                           \
        static atomic_ullong log_next_;            \
        if (log_may(&log_next_))                   \
            log_line(LOG_LEVEL_WARN, __VA_ARGS__); \
    } while (0)
bool log_may(atomic_ullong *next_ns);
