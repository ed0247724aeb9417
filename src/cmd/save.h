/*
 * cmd/save.h: the file that `ctl suspend` and `ctl snapshot` hand to a machine, which cannot open one itself.
 */
#pragma once

#include "base/base.h"

struct save_file {
    int fd;
    char *path; /* from the root: the name that it will get */
    char *temp; /* the name that it has meanwhile; NULL: none */
};

/* An empty file beside `path`, which must not be a folder.  Finish with save_file_fini, also after a failure. */
int save_file_open(struct save_file *f, const char *path, struct err *e);
/* It is complete: it gets its name, in place of a file that had it, and keeps it over a power cut. */
int save_file_keep(struct save_file *f, struct err *e);
/* Closes it; what was not kept is gone. */
void save_file_fini(struct save_file *f);
