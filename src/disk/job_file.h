/*
 * disk/job_file.h: a new file that has no name before it is complete.  Private to disk/.
 */
#pragma once

#include "base/base.h"

struct job_file {
    int fd;     /* read and write; owned */
    char *path; /* what it will be called; owned */
    char *
        temporary; /* its name until then; NULL: it has none (O_TMPFILE), and vanishes with the last descriptor */
    int replaced; /* holds the lock of the file that it replaces; -1: there is none */
    bool device;  /* the name is a block device's: it is written in place */
};

/* Finish with job_file_fini, also on failure.  -EEXIST: there is such a file, and it may not be replaced. */
int job_file_open(struct job_file *f, const char *path, bool replace, struct err *e);
/* What was written is on stable storage, and then has its name. */
int job_file_commit(struct job_file *f, struct err *e);
/* Removes what was not committed. */
void job_file_fini(struct job_file *f);
