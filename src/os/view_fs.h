/*
 * os/view_fs.h: the files of os/view.h as a file system at FOLDER/l/view, which the container has bound over its own (doc/notes/035).
 */
#pragma once

#include "os/spec.h"
#include "os/view.h"

#include <sys/types.h>

struct view_shared;

struct view_fs {
    pid_t pid;                  /* who answers; 0: nobody does */
    int fuse;                   /* the connection; -1: there is none */
    struct view_shared *shared; /* with who answers; NULL: there is none */
};

/* 0; or a negative errno with `e`: the host does not allow it, and the container sees the host's. */
int view_fs_open(struct view_fs *v, const struct os_spec *s, struct err *e);
/* Somebody answers again, when there is a connection and nobody does.  Until then who reads the files waits. */
int view_fs_start(struct view_fs *v, const struct os_spec *s, struct err *e);
/* The container starts now. */
void view_fs_restart(struct view_fs *v);
/* A child ended; false: it is not this one. */
bool view_fs_ended(struct view_fs *v, pid_t pid, int status);
void view_fs_close(struct view_fs *v);
