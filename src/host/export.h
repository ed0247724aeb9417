/*
 * host/export.h: disks of instances as files that clients have: `export-N` in the instance's folder, N the number of the task that made it.
 *   (1) A record says that it is complete, and what it is.  A file without one is of a task that goes on, or removes it.
 *   (2) EXPORT_IDLE_SECONDS after it was made, or last asked for, it is removed; with its instance, too.
 *   (3) Of a machine that runs it is what a snapshot of its disks holds, which is taken for it, and deleted again.
 */
#pragma once

#include "conf/conf.h"

struct host;
struct instance;
struct task;

enum {
    EXPORTS_MAX = 8, /* of an instance */
    EXPORT_IDLE_SECONDS = 24 * 3600,
    EXPORT_LOOK_SECONDS = 600, /* how exactly that is kept */
};

enum export_format { EXPORT_QCOW2, EXPORT_RAW, EXPORT_VMDK };
extern const char *const export_words[];

/* What is wanted. */
struct export_ask {
    int format; /* enum export_format */
    bool compress;
    u32 disk; /* which of those that the machine writes to, from 0 on */
};
extern const struct field export_ask_fields[];

/* Record export/ID-N. */
struct export_rec {
    struct export_ask ask;
    char *snapshot; /* what the disk was then; NULL: what it was when it was asked */
    char *sha256;
    u64 size;
    u64 created; /* seconds since 1970 */
};

extern const struct field export_fields[];

struct export
{
    char id[24]; /* of the instance */
    u64 number;  /* of the task that made it */
    u64 touched; /* when it was made or last asked for, seconds since 1970 */
    struct export_rec rec;
    struct export *next;
};

/* Reads the records.  With host_open. */
int export_open(struct host *h, struct err *e);
void export_close(struct host *h);
/* One is being made: from now on it is looked whether some are old.  On the loop's thread, with the lock. */
void export_look_locked(struct host *h);

/* What is asked of the instance can be done, as far as that is known.  -EDQUOT: it has too many. */
int export_check_locked(const struct instance *i, const struct export_ask *ask, struct err *e);
/* A new reference: the list of an instance's. */
int export_list(struct host *h, const char *name, json_t **ret, struct err *e);
/* To be read: owned fd; *ret is a copy of its record.  Finish with conf_fini. */
int export_read(struct host *h, const char *name, const char *number, struct export_rec *ret,
                struct err *e);
int export_delete(struct host *h, const char *name, const char *number, struct err *e);
/* With its instance: the records go, and the files with the folder. */
int export_delete_all(struct instance *i, struct err *e);

/* TASK_EXPORT */
int export_do(struct task *t, struct err *e);
