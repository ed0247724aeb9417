/*
 * cmd/progress.h: runs a job while the user watches: progress on a terminal, cancelled by Ctrl-C.
 */
#pragma once

#include "disk/job.h"

/*
 * Runs fn(job, arg, error) on a thread.  `what` stands before the progress, which is drawn on stderr when that is a terminal; NULL:
 * none.  SIGINT, SIGTERM and SIGHUP cancel it, and are *ret_signal then (else 0).  What fn returned.
 */
int progress_run(const char *what, int (*fn)(struct job *j, void *arg, struct err *e), void *arg,
                 int *ret_signal, struct err *e);

/* One line, without control characters: "convert  [#####     ]  45 %  512 MiB/s  0:12 left". */
void progress_line(const char *what, u64 done, u64 total, u64 ns, struct strbuf *out);
