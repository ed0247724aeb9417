/*
 * layer/entry.h: one entry of a layer that is being unpacked: where it belongs, and what is made there.
 */
#pragma once

#include "layer/unpack.h"

#include <archive.h>
#include <archive_entry.h>
#include <limits.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

/* Of a directory that no entry tells of: the same each time. */
#define ENTRY_DIR_IMPLIED \
    (struct dir_end)      \
    {                     \
        .mode = 0755      \
    }

/* A directory gets its mode and its time at the end, when nothing is made in it any more. */
struct dir_end {
    size_t name; /* its place in unpack.dir_names */
    mode_t mode;
    struct timespec mtime;
};

struct unpack {
    int root;
    const struct unpack_cfg *cfg;
    struct unpack_stats *stats;
    struct archive *archive;
    struct strbuf dir_names; /* with a NUL after each */
    struct strbuf dirs;      /* struct dir_end, one after the other */
};

/* A name from the layer's root. */
struct entry_path {
    char text[PATH_MAX]; /* "a/b/c", without "." and ".."; "" is the root itself */
    size_t name;         /* where its last name begins */
};

/* What overlayfs takes for "not there". */
static inline bool entry_is_whiteout(const struct stat *st)
{
    return S_ISCHR(st->st_mode) && st->st_rdev == makedev(0, 0);
}

/* -EINVAL, -ENAMETOOLONG with `e` for what cannot be one. */
int entry_path_parse(const char *text, struct entry_path *ret, struct err *e);
/* An O_PATH descriptor of the directory that it lies in; those that are missing are made where `make`. */
int entry_parent(struct unpack *u, const struct entry_path *p, bool make, struct err *e);

/* Makes what `entry` says. */
int entry_make(struct unpack *u, struct archive_entry *entry, struct err *e);
/* Notes what the directory `path` gets at the end; the last note of one counts. */
int entry_note_dir(struct unpack *u, const char *path, struct dir_end d, struct err *e);
/* The mode and time of each directory. */
int entry_finish_dirs(struct unpack *u, struct err *e);

/* Hides what layers below have in the directory `name` of `parent`; "." is `parent` itself. */
int entry_set_opaque(struct unpack *u, int parent, const char *name, struct err *e);
/* The extended attributes of a file that is open. */
int entry_set_xattrs(struct unpack *u, struct archive_entry *entry, int fd, struct err *e);
