/*
 * host/task_log.c: the lines of a task's record.
 */
#include "host/task_log.h"

#include "base/clock.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

static __attribute__((format(printf, 2, 0))) void add_locked(struct task *t, const char *fmt,
                                                             va_list ap)
{
    const struct field *f = conf_field_at(task_fields, offsetof(struct task_rec, log));
    struct field_list *log = &t->rec.log;
    char text[TASK_LOG_TEXT + 1];
    struct task_line *line;

    vsnprintf(text, sizeof(text), fmt, ap);
    if (log->n == TASK_LOG_MAX) {
        line = log->items;
        free(line->text);
        memmove(line, line + 1, (TASK_LOG_MAX - 1) * sizeof(*line));
        log->n--;
    }
    line = conf_list_add(f, &t->rec);
    line->time = clock_real_ns() / NSEC_PER_SEC;
    line->text = xdup(text);
}

void task_log_locked(struct task *t, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    add_locked(t, fmt, ap);
    va_end(ap);
}

void task_log(struct task *t, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    host_lock(t->host);
    add_locked(t, fmt, ap);
    host_unlock(t->host);
    va_end(ap);
}
