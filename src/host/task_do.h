/*
 * host/task_do.h: the rows of tasks: what each kind does, and what may be done with it.
 */
#pragma once

#include "host/host.h"

struct task_row {
    int (*fn)(struct task *t, struct err *e);
    bool once, can_cancel;
    bool makes;  /* its instance, which is there only when it is done */
    bool undoes; /* cancelled, it leaves nothing of what was begun: so it is given up, too */
};
extern const struct task_row task_rows[]; /* by enum task_what */
/* What a task that failed has made of its instance is removed; without the lock. */
void task_unmake(struct task *t);
