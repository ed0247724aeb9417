/*
 * layer/source.h: where an image comes from; what it is, is found by looking.
 *   an OCI image layout     a directory, or a tar of one, which may be packed
 *   `docker save`           a tar, which may be packed
 *   a root file system      a tar, which may be packed; or a directory
 */
#pragma once

#include "layer/blob.h"
#include "layer/stream.h"

enum { SOURCE_ENTRIES_MAX = 4096 }; /* files of an archive that is an image */

enum source_kind { SOURCE_OCI, SOURCE_DOCKER, SOURCE_TAR, SOURCE_DIR };

struct source_entry {
    char *name; /* "blobs/sha256/…", without "./" */
    char *link; /* a symbolic link's target; NULL: a file */
    u64 size;
    u64 place; /* which entry of the tar it is, from 0 */
};

struct source {
    enum source_kind kind;
    int fd;   /* a directory or a regular file */
    u64 size; /* of the file */
    bool is_tar;
    struct source_entry *entries; /* of an image that is a tar */
    u32 n_entries;
};

extern const char *const source_words[]; /* "oci", "docker", "tar", "dir" */

/*
 * `fd` belongs to the source afterwards, also after a failure.  An archive that is packed is unpacked into a file without a name
 * in the directory `spool`, because its parts are read in another order than they lie.
 */
int source_open(int fd, int spool, const struct stream_limits *limits, struct watch *w,
                struct source **ret, struct err *e);
/* A file of an image, by its name there.  -ENOENT with `e`. */
int source_blob(struct source *s, const char *name, struct blob **ret, struct err *e);
/* Accepts NULL. */
void source_free(struct source *s);
AUTO_DEFINE(source, struct source *, source_free)

/* layer/source_tar.c: is the file an image, and where are its parts?  Sets kind, and entries. */
int source_tar_look(struct source *s, int spool, const struct stream_limits *limits,
                    struct watch *w, struct err *e);
int source_tar_blob(struct source *s, const struct source_entry *at, struct blob **ret,
                    struct err *e);
