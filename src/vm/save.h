/*
 * vm/save.h: puts a machine's state into a file: suspend, and snapshots of a machine that runs on.
 *     idle ─save_start─> copying ─few pages are left─> stopping ─all parked─> finishing ─on stable storage─> idle
 * A suspended machine stands still in `idle` until save_end or save_back: so its client can give the file its name before.
 * Everything is called on the control loop.  RAM is copied and files are written on a thread of its own.
 */
#pragma once

#include "vm/machine.h"

enum save_kind {
    SAVE_MERGE,   /* nothing: an image below a disk is merged into what builds on it */
    SAVE_SUSPEND, /* complete, and the machine stands still afterwards */
    SAVE_DISKS,   /* only the disks, in one instant */
    SAVE_FULL,    /* complete */
    SAVE_BASE,    /* complete, and from now on it is noted what changes */
    SAVE_DIFF,    /* what changed since the last base or diff, which the file builds on */
};

struct state_meta;

struct save_report {
    enum save_kind kind;
    u64 pages;    /* in the file */
    u64 pause_ns; /* the guest stood still; 0 for SUSPEND */
    u32 rounds;   /* over RAM while it ran */
};

/* `e` is NULL when all went well.  Called once, before save_close returns at the latest. */
typedef void save_done(struct vm *vm, const struct save_report *report, const struct err *e,
                       void *arg);

/* With the machine built, before the jail.  Owned in *ret, which may be half-built on failure. */
int save_open(struct vm *vm, struct save **ret, struct err *e);
void save_close(struct save *s);

struct save_overlay;
struct save_cfg {
    enum save_kind kind;
    struct save_overlay *
        overlays; /* disks that go on in an overlay from the state's instant on; their fds are taken over */
    u32 n_overlays;
    const char *file; /* the name that it will have, from the root: differential ones remember it */
    struct device *disk; /* MERGE: whose chain the image is in … */
    u64 inode;           /* … which is this file */
    save_done *done;
    void *arg;
};
/* `fd`: an empty file, open for reading and writing; -1 for DISKS and MERGE; taken over, also on failure.  -EBUSY: one is under way; -ENOENT: no base. */
int save_start(struct save *s, int fd, const struct save_cfg *cfg, struct err *e);
/* The job under way ends soon, with -ECANCELED.  Harmless without one. */
void save_cancel(struct save *s);
/* After a suspend was done: the machine ends; or its guest goes on.  False: it is not suspended. */
bool save_end(struct save *s);
bool save_back(struct save *s);
/* What is being done, for people: "" or "snapshot: 40 of 1024 MiB"; and in bytes, 0 of 0: nothing. */
void save_progress(const struct save *s, char *text, size_t size, u64 *done, u64 *total);

/* The guest runs: pages that it is known to need are fetched in the background.  NULL is harmless. */
void save_fetch(struct save *s);
/* Writes which pages were touched since the machine went on from its state; takes `fd`.  How many, or a negative errno. */
int save_record_pages(const struct save *s, int fd, struct err *e);
/* The machine's disks, for who asks. */
struct save_disks;
const struct save_disks *save_get_disks(const struct save *s);
/* Disks are what a state knows them as.  -ESTALE with `e`. */
int save_check_disks(struct save *s, const struct state_meta *meta, struct err *e);
