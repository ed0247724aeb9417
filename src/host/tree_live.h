/*
 * host/tree_live.h: snapshots of a machine that runs.  It cannot open files: it says which disks it has, overlays are made here and handed
 * to it, and what it builds on is merged with it.
 */
#pragma once

#include "host/talk.h"
#include "host/tree.h"

/* The disks that a machine writes to. */
struct tree_live {
    struct talk *talk; /* borrowed */
    json_t *disks;     /* the machine's answer, of which the rest borrows */
    struct tree_heads heads;
    u32 index[TREE_DISKS_MAX]; /* of each in the answer */
};

/* Asks the machine.  -EINVAL: it writes to no disk.  Finish with tree_live_close, also after a failure. */
int tree_live_open(struct tree_live *l, struct talk *t, struct err *e);
void tree_live_close(struct tree_live *l);

struct tree_live_snapshot {
    const char *name;
    bool state; /* the machine's memory and devices, too */
};
/*
 * A new node, as a job; the machine's report of it, owned.  NULL with `e`: it is undone, unless the machine writes to the overlays already: then
 * the node is there, and can only be deleted.  After it was cancelled, `talk` is closed.
 */
json_t *tree_live_take(struct job *j, struct tree_live *l, struct tree_file *f,
                       const struct tree_live_snapshot *s, struct err *e);
/* As tree_delete. */
int tree_live_delete(struct job *j, struct tree_live *l, struct tree_file *f, const char *name,
                     struct err *e);
