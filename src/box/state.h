/*
 * box/state.h: what is known of a container between commands: a directory ROOT/ID, mode 0700, with
 *     config.json   the specification it was made of
 *     state.json    struct box_state, once its process is there
 *     start         a FIFO that its first process reads from: `start` writes into it and removes it
 *     seccomp       a socket of its first process, which takes the connection to an agent there (box/listener.h)
 *     vm, vm.log, console.log   of a container that is a machine: its socket, what was said of it, its console (box/apart.h)
 *     notify/       the directory of the socket that its program tells of its readiness (box/notify.h)
 *     root/         where its root is for CRIU while it is restored (box/restore.c), for a machine always
 * Making the directory claims the id.  Whoever changes a container holds a lock on the directory.
 */
#pragma once

#include "box/cgroup.h"

enum { BOX_ID_MAX = 255, BOX_LIST_MAX = 20000, STATE_TEXT_MAX = 256 * 1024 };

enum box_status { BOX_CREATING, BOX_CREATED, BOX_RUNNING, BOX_PAUSED, BOX_STOPPED };
extern const char *const box_status_words[];

struct box_state { /* tidy: allow unsaved state: no guest sees it; its table makes and reads it */
    char *id, *bundle, *cgroup, *created, *owner;
    char *scope;   /* NULL: systemd has nothing to do with its cgroup */
    char *isolate; /* "vm": it is a machine; NULL */
    s32 pid;
    u64 pid_started; /* in the ticks of /proc/PID/stat: a pid may be another's by now */
};
extern const struct field box_state_fields[];

struct box_dir {
    int root, fd; /* ROOT, ROOT/ID */
    char id[BOX_ID_MAX + 1];
};

void box_dir_init(struct box_dir *d);
void box_dir_fini(struct box_dir *d);
/* Where state is kept unless --root says: owned. */
char *box_default_root(void);
/* Claims the id. */
int box_dir_make(struct box_dir *d, const char *root, const char *id, struct err *e);
/* Opens, and locks who will change it; -ENOENT "container does not exist". */
int box_dir_open(struct box_dir *d, const char *root, const char *id, bool lock, struct err *e);
/* The same, and its state. */
int box_open(struct box_dir *d, struct box_state *s, const char *root, const char *id, bool lock,
             struct err *e);
/* The specification it was made of. */
int box_spec_load(const struct box_dir *d, struct oci *ret, struct err *e);
/* Lets other commands at it while ours goes on. */
void box_dir_unlock(const struct box_dir *d);
/* Removes it with its files. */
void box_dir_remove(struct box_dir *d);
/* Whole file; -ENOENT when there is none. */
int box_dir_read(const struct box_dir *d, const char *name, size_t max, char **ret,
                 size_t *ret_len);
/* In place of the old one, whole. */
int box_dir_write(const struct box_dir *d, const char *name, const char *text, size_t len);

/* From the text of state.json.  What is read is a file that others than us may have written. */
int box_state_parse(struct box_state *ret, const char *text, size_t len, struct err *e);
int box_state_save(const struct box_dir *d, const struct box_state *s, struct err *e);
/* -ENOENT: it is still being made. */
int box_state_load(const struct box_dir *d, struct box_state *ret, struct err *e);
void box_state_fini(struct box_state *s);
/* When the process began, 0 when it is gone or a zombie. */
u64 box_pid_started(pid_t pid);
/* The same from the text of /proc/PID/stat, which is changed. */
u64 box_stat_started(char *text);
enum box_status box_status_of(const struct box_dir *d, const struct box_state *s);

/* What the agent of a seccomp filter gets with its descriptor: ContainerProcessState of the specification; owned text. */
char *box_process_text(const struct box_state *s, enum box_status status,
                       const struct field_strs *annotations, pid_t pid, const char *metadata);
/* The OCI state of a container, as `state` prints it and hooks read it; owned text. */
char *box_state_text(const struct box_state *s, enum box_status status,
                     const struct field_strs *annotations);
