/*
 * host/tree.h: the snapshots of a machine: a tree of which each node is what its disks were, and may be the machine's whole state.
 *
 *     disk.img.s1 <── disk.img.s2 <── disk.img.s4 <── disk.img     the machine writes here, whatever was snapshotted
 *                          └───────── disk.img.s3
 *
 * At a snapshot the file that the machine writes to gets a name of its own, beside it, and an empty qcow2 overlay takes its name.  The
 * catalogue, disk.img.snapshots beside the first disk, says which node is whose child; it is JSON, locked while it is in use and
 * replaced as a whole (doc/snapshots.md).
 *   (1) Whatever stops whom in the midst of what: opening the disk by its name gives all that the machine flushed.
 *   (2) A node is made and deleted in steps that can be done again; its phase says that they were begun.
 *   (3) An image of the tree is never written to, but when one of its neighbours is deleted: then it reads as before, and its time
 *       of change, by which a saved state knows it, is put back.
 */
#pragma once

#include "conf/conf.h"
#include "disk/job.h"

enum {
    TREE_NODES_MAX = 1000,
    TREE_DISKS_MAX = 24,
    TREE_BYTES_MAX = 4 * 1024 * 1024, /* of a catalogue */
};

enum tree_phase { TREE_COMPLETE, TREE_TAKING, TREE_DELETING };

struct tree_image {
    char *file;   /* without its folder, which is the disk's */
    u64 mtime_ns; /* of its last change; 0: not known */
};

struct tree_node {
    u32 id;                   /* 1 and more, never used twice */
    u32 parent;               /* a smaller id; 0: none */
    char *name;               /* unique */
    u64 time;                 /* when it was taken, seconds since 1970 */
    char *state;              /* file beside the catalogue; NULL: disks only */
    int phase;                /* enum tree_phase */
    struct field_list images; /* struct tree_image, for each disk of the tree */
};

struct tree_disk {
    char *file; /* beside the catalogue, or from the root */
};

struct tree {
    u32 version;                    /* 1 */
    u32 next;                       /* id of the next node */
    u32 current;                    /* the node that the disks build on; 0: none */
    u32 restoring;                  /* the disks are being brought to this node; 0: they are not */
    struct field_list disks, nodes; /* struct tree_disk, struct tree_node */
};
extern const struct field tree_fields[];

/* A catalogue that is open, and locked. */
struct tree_file {
    struct tree t;
    char *path; /* from the root */
    int lock;
};

static inline struct tree_node *tree_node(const struct tree *t, u32 i)
{
    return (struct tree_node *)t->nodes.items + i;
}
static inline struct tree_image *tree_image(const struct tree_node *n, u32 i)
{
    return (struct tree_image *)n->images.items + i;
}
/* NULL: there is none. */
struct tree_node *tree_by_id(const struct tree *t, u32 id);
struct tree_node *tree_by_name(const struct tree *t, const char *name);
/* What a catalogue must be beyond its fields.  -EBADMSG with `e`. */
int tree_check(const struct tree *t, struct err *e);

/* The catalogue of the machine whose first disk is `disk`; empty when there is none yet and `create`.  -ENOENT, -EAGAIN: in use. */
int tree_open(struct tree_file *f, const char *disk, bool create, struct err *e);
/* Replaces it on stable storage. */
int tree_store(struct tree_file *f, struct err *e);
void tree_close(struct tree_file *f);
/* As it is, to look at.  -ENOENT: there is none.  Finish with conf_fini. */
int tree_read(const char *disk, struct tree *ret, struct err *e);
/* 0, or -EBUSY with `e`: the disks of this machine are not all of one instant, because a restore was interrupted. */
int tree_usable(const char *disk, struct err *e);

/* Paths, owned. */
char *tree_disk_path(const struct tree_file *f, u32 disk);
char *tree_image_path(const struct tree_file *f, const struct tree_node *n, u32 disk);
char *tree_state_path(const struct tree_file *f, const struct tree_node *n);

/* host/tree_take.c */

/* A disk as its machine has it. */
struct tree_head {
    const char *file, *format;
    u64 size;
};
struct tree_heads {
    u32 n;
    struct tree_head head[TREE_DISKS_MAX]; /* the first is the catalogue's */
};
/* An overlay that is open for the machine. */
struct tree_overlay {
    int fd, lock_fd; /* two open files; the second holds the lock */
};
/*
 * A new node: the disks' files get their names in the tree, and overlays, which are open in ret, get theirs.  The machine, if it runs,
 * is told to change over; then tree_taken, or tree_take_undo while no overlay is in use.  `ret`: heads->n of them.
 */
int tree_take(struct tree_file *f, const char *name, bool state, const struct tree_heads *heads,
              struct tree_overlay *ret, struct err *e);
int tree_taken(struct tree_file *f, struct err *e);
int tree_take_undo(struct tree_file *f, struct err *e);
void tree_overlays_close(struct tree_overlay *o, u32 n);
/* The disks become what they were at this node; what was written since the last snapshot is lost.  The machine is off. */
int tree_restore(struct tree_file *f, const char *name, struct err *e);

/* host/tree_delete.c */

/* A machine that runs on the disks of the tree. */
struct tree_machine {
    /* `image`, an image of this disk, leaves what the machine reads; with what it reads of it in what builds on it.  As a job. */
    int (*merge)(void *arg, struct job *j, u32 disk, const char *image, struct err *e);
    void *arg;
};
/*
 * As a job; its node is gone, its neighbours' images read as before.  `m`: NULL: nobody has the disks.  -EAGAIN: somebody writes to an
 * image that is concerned; readers may be there.
 */
int tree_delete(struct job *j, struct tree_file *f, const char *name, const struct tree_machine *m,
                struct err *e);
