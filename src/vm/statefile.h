/*
 * vm/statefile.h: the file that a machine's state is kept in (doc/state-file.md), alone or as the end of a chain of differential ones.
 * Knows what is where, nothing of a machine: a header, a JSON text that says what the machine is, a state stream, a map of pages, RAM.
 */
#pragma once

#include "vm/spec.h"

enum {
    STATEFILE_CHAIN_MAX = 16, /* files of a chain */
    STATEFILE_ID_LEN = 32,    /* hex digits */
};
#define STATEFILE_META_MAX  (1 * MiB)
#define STATEFILE_STATE_MAX (16 * MiB)
#define STATEFILE_RAM_AT    (2 * MiB) /* where we put RAM; a reader takes what the header says */

/* What a disk was when the state was saved. */
struct state_disk {
    u64 size;     /* bytes */
    u64 mtime_ns; /* of its last change, since 1970; 0: a block device, which does not tell */
    /*
     * The file, beside the disk's, that is the disk of then: what was written since is in an overlay.  `size` is then the disk's, and
     * mtime_ns this file's.  NULL: the disk's own file.
     */
    char *image;
};

struct state_parent {
    char *file; /* NULL: the file is complete */
    char *id;
};

struct state_meta {
    char *id; /* of this file: random */
    struct state_parent parent;
    struct field_list disks; /* struct state_disk, in the order of the spec's */
    bool legacy;             /* PIC and PIT exist, which a spec does not say */
    struct vm_spec spec;
};
extern const struct field state_meta_fields[];
/* A file's name without a folder? */
bool statefile_image_ok(const char *s);

static inline const struct state_disk *state_meta_disk(const struct state_meta *m, u32 i)
{
    return (const struct state_disk *)m->disks.items + i;
}

/* One file of a chain. */
struct statefile_part {
    char *name; /* for messages, and to find its parent */
    char *id;
    struct state_parent parent;
    int fd;
    u64 ram_at; /* RAM's first byte in the file */
    u64 *pages; /* a bit for each page that is in this file; NULL: all are */
};

struct statefile {
    struct state_meta meta; /* of the newest file, as `state` */
    u8 *state;
    u64 state_len, ram_size;
    u32 n;
    struct statefile_part part[STATEFILE_CHAIN_MAX]; /* newest first; the last is complete */
};

/*
 * Opens and checks a file and those that it builds on, which are looked for in its own folder first, then where they were when it
 * was written.  RAM is not read.  Owned in *ret.  -EBADMSG: damaged, or no state file; -EINVAL: the parent is another file.
 */
int statefile_open(const char *path, struct statefile **ret, struct err *e);
/* As statefile_open, of a file that is complete and open; `fd` is taken over, also on failure. */
int statefile_open_fd(int fd, const char *name, struct statefile **ret, struct err *e);
void statefile_free(struct statefile *f);
AUTO_DEFINE(statefile, struct statefile *, statefile_free)

/* What is put around RAM, which the caller has written to STATEFILE_RAM_AT and on; zeroes may be holes. */
struct statefile_new {
    u64 ram_size;
    const struct strbuf *meta, *state;
    const u64 *pages; /* NULL: all */
};
/* Writes the rest of the file, and waits until all of it is on stable storage. */
int statefile_finish(int fd, const struct statefile_new *n, struct err *e);
