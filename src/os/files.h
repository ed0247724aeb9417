/*
 * os/files.h: files that clients put into the container and take out of it, at the socket FOLDER/files: one conversation each, of the
 * frames of os/copy.h.  The client begins with frame 0, what it wants (struct os_files_ask).
 *     push   it sends entries; frame 3 says that all are there
 *     pull   it gets entries; COPY_DONE has the number of those that were left out, as they are no files, in four bytes
 * Frame 4 says why it failed; it and frame 3 are the last.
 */
#pragma once

#include "os/copy.h"

#include <sys/types.h>

enum { OS_FILES_MAX = 8, OS_FILES_PATHS = 64 };

struct os_files_ask {
    bool push;
    struct field_strs paths; /* in the container; of push: one */
    bool recursive;          /* pull: folders, too */
    bool into;               /* push: the path is a folder, or will be */
    bool create;             /* push: folders on the way are made */
    s64 uid, gid, mode;      /* push: of what is made; -1: user 0's, and as it comes */
};
extern const struct field os_files_fields[];

struct os_files_client;

struct os_files {
    struct loop *loop;
    const struct os_spec *spec;
    int user;        /* the container's user namespace; -1: ours */
    const pid_t *of; /* its first process; 0: none */
    int listener;
    struct loop_fd door;
    char *path;
    struct os_files_client *client[OS_FILES_MAX]; /* NULL: none */
};

/* `user`, `of`: as in struct os_files; both stay. */
int os_files_open(struct os_files *f, struct loop *l, const struct os_spec *s, struct err *e);
/* A child ended; false: it is none of these. */
bool os_files_ended(struct os_files *f, pid_t pid, int status);
void os_files_close(struct os_files *f);
