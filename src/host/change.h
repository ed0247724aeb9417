/*
 * host/change.h: what the files share that change records on demand; all with the host's lock.
 */
#pragma once

#include "host/host.h"

/* NULL with `e`. */
struct instance *change_find(struct host *h, const char *name, struct err *e);
int change_check_name(const char *name, struct err *e);
/* May there be such an instance, and a task more? */
int change_check_new(struct host *h, struct instance_cfg *cfg, struct err *e);
/* Records a new task with the rest of the change, which uses so many numbers. */
int change_accept(struct host *h, struct host_change *c, struct task_rec *rec, u64 numbers,
                  struct err *e);
/* A new instance, and the task that makes its files.  On success all three are moved; the task's number is h->next - 1. */
int change_create(struct host *h, struct instance_cfg *cfg, struct task_rec *rec,
                  struct base_rec *base, struct err *e);
