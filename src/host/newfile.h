/*
 * host/newfile.h: a file that appears under its name when it is complete: what a machine is handed in, which cannot open one itself.
 */
#pragma once

#include "base/base.h"

#include <jansson.h>

struct newfile {
    int fd;
    char *path; /* from the root: the name that it will get */
    char *temp; /* the name that it has meanwhile; NULL: none */
};

/* An empty file beside `path`, which must not be a folder.  Finish with newfile_fini, also after a failure. */
int newfile_open(struct newfile *f, const char *path, struct err *e);
/* A text of JSON becomes the file of that name, durably.  `j` is consumed. */
int newfile_json(const char *path, json_t *j, struct err *e);
/* It is complete: it gets its name, in place of a file that had it, and keeps it over a power cut. */
int newfile_keep(struct newfile *f, struct err *e);
/* Closes it; what was not kept is gone. */
void newfile_fini(struct newfile *f);
