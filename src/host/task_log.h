/*
 * host/task_log.h: what a task did, step by step: lines of its record.  Whoever may see a task reads them: no path, address or secret is in them,
 * only names, numbers and words of ours.
 */
#pragma once

#include "host/host.h"

/* One more line; the oldest of TASK_LOG_MAX leaves, and what is longer than TASK_LOG_TEXT bytes is cut.  It is durable with the record's next change: at its
 * end at the latest. */
void task_log_locked(struct task *t, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* The same; takes the host's lock. */
void task_log(struct task *t, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
