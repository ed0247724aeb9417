/*
 * host/snap.h: what tasks do to the snapshots of an instance (host/tree.h), whether it runs or not; without the host's lock.
 */
#pragma once

#include "host/host.h"
#include "host/tree_live.h"

/* An instance's tree, open and locked, and its machine if it runs. */
struct snap {
    struct task *task;
    struct instance *inst;
    struct tree_file f;
    bool alive;
    struct talk talk; /* alive */
    char *control;
    struct tree_live live;       /* alive */
    struct tree_heads heads;     /* off */
    char *files[TREE_DISKS_MAX]; /* off; that the heads borrow */
};

/* -ENOENT: there are no snapshots, and not `create`.  Finish with snap_close, also after a failure. */
int snap_open(struct snap *s, struct task *t, struct instance *i, bool create, struct err *e);
void snap_close(struct snap *s);
static inline const struct tree_heads *snap_heads(const struct snap *s)
{
    return s->alive ? &s->live.heads : &s->heads;
}
/*
 * The snapshot that t->rec.snapshot names (NULL: a name of its own, `prefix` and a number), noted in t->rec.node before it is begun.  What an
 * interrupted try left is finished or undone first; what fails leaves nothing.
 */
int snap_take(struct snap *s, const char *prefix, bool memory, struct err *e);
/* The complete one that t->rec.snapshot names.  NULL with `e`. */
const struct tree_node *snap_find(const struct snap *s, struct err *e);
/* Whatever is there of it. */
int snap_drop(struct snap *s, struct job *j, const char *name, struct err *e);
/* Is t->rec.snapshot one that is taken for the task alone?  Then the task has its number, and did not have its name when it was asked. */
static inline bool snap_is_own(const struct task *t)
{
    return !t->rec.snapshot || t->rec.node;
}
/* The task failed, or is cancelled: what was taken of `i` for it alone goes. */
void snap_undo(struct task *t, struct instance *i);

/* TASK_SNAPSHOT, TASK_RESTORE, TASK_UNSNAPSHOT */
int snap_do_take(struct task *t, struct err *e);
int snap_do_restore(struct task *t, struct err *e);
int snap_do_delete(struct task *t, struct err *e);
