/*
 * cmd/snapshot.h: a machine's snapshots on the command line: of a machine with a name (verb_snap.c), by its first disk of one that is off, and
 * `socle ctl SOCKET …` of one that runs.
 */
#pragma once

#include "cmd/verb.h"
#include "host/tree.h"

struct talk;

/* cmd/snapshot.c */
void snapshot_print(const struct tree *t);
/* A job with its progress, which a signal cancels; 0, an exit status after a signal, or a negative errno. */
int snapshot_run(int (*fn)(struct job *j, void *arg, struct err *e), void *arg, bool quiet,
                 struct err *e);
/* The first argument is a disk. */
int snapshot_file_list(struct verb *v, struct err *e);
int snapshot_file_restore(struct verb *v, struct err *e);
int snapshot_file_delete(struct verb *v, struct err *e);

/* cmd/ctl_tree.c: what words (a command and its arguments) ask of the snapshots of a machine that runs. */
typedef int ctl_tree_fn(struct talk *t, const char *const *words, unsigned n, struct err *e);
/* NULL: the words are about something else.  It returns an exit status, or a negative errno. */
ctl_tree_fn *ctl_tree_find(const char *const *words, unsigned n);
