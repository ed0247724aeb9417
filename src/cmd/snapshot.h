/*
 * cmd/snapshot.h: a machine's snapshots on the command line: `socle snapshot` for one that is off, `socle ctl SOCKET …` for one that runs.
 */
#pragma once

#include "cmd/opt.h"
#include "host/tree.h"

struct talk;

/* cmd/snapshot.c */
void snapshot_print(const struct tree_file *f);
int snapshot_print_json(const struct tree_file *f, struct err *e);
/* With its progress; 0, an exit status after a signal, or a negative errno. */
int snapshot_delete(struct tree_file *f, const char *name, const struct tree_machine *machine,
                    bool quiet, struct err *e);

/* cmd/ctl_tree.c: what words (a command and its arguments) ask of the snapshots of a machine that runs. */
typedef int ctl_tree_fn(struct talk *t, const char *const *words, unsigned n, struct err *e);
/* NULL: the words are about something else.  It returns an exit status, or a negative errno. */
ctl_tree_fn *ctl_tree_find(const char *const *words, unsigned n);
