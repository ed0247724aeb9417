/*
 * os/copy.h: files and trees over a connection, both ways: who has them sends, who gets them makes them below a directory that it holds.
 * socle-os and `socle file` are the one or the other (os/files.h).  Frames are as those of os/exec.h, and of these kinds:
 *
 *     COPY_ENTRY  what comes next: kind (one byte), mode (two), name, what a link leads to (each with a NUL)
 *     COPY_DATA   of the file that came last
 *     COPY_DONE   that was all
 *     4           the other side failed: why
 *
 * A folder comes before what is in it.  Neither side trusts the other: names are below the directory or refused, no link is followed on the
 * way, nothing but regular files, folders and links is opened or made.
 */
#pragma once

#include "os/exec.h"

enum { COPY_DATA = 1, COPY_ENTRY = 5, COPY_DONE = 6 };
enum copy_kind { COPY_FILE, COPY_FOLDER, COPY_LINK, COPY_KINDS };

enum {
    COPY_DEPTH_MAX = 64,         /* folders in each other */
    COPY_ENTRIES_MAX = 1 << 20,  /* of one conversation */
    COPY_NAME_MAX = 4095,        /* bytes */
    COPY_VIRTUAL_MAX = 16 << 20, /* of a file that says it has none, as those of /proc */
};

struct copy_entry {
    enum copy_kind kind;
    u32 mode;           /* at most 07777 */
    const char *name;   /* within what was parsed; below the directory */
    const char *target; /* "" unless it is a link */
};
/* 0, or -EBADMSG: it is none, or its name leads out. */
int copy_entry_parse(const u8 *p, size_t len, struct copy_entry *ret);
void copy_entry_add(struct strbuf *out, const struct copy_entry *n);

/* What comes on a connection, frame by frame. */
struct copy_in {
    int fd; /* borrowed */
    struct strbuf got;
    size_t at; /* of `got`, that was given out */
};
/* The next frame, which is valid until the next call.  Its kind; -EPIPE: it ended; or what frame 4 said. */
int copy_next(struct copy_in *in, const u8 **ret_data, size_t *ret_len, struct err *e);
void copy_in_fini(struct copy_in *in);
/* One frame.  0 or a negative errno. */
int copy_say(int fd, u8 kind, const void *data, size_t len);

/* Who sends. */
struct copy_from {
    int conn;
    bool listens; /* when the other side says something meanwhile, or goes, nothing more is sent */
    bool recursive; /* folders, too */
    u32 n_entries;
    u32 n_skipped; /* what is no file, folder or link */
};
/* `fd`: open to be read; it is sent as `name`. */
int copy_send(struct copy_from *f, int fd, const char *name, struct err *e);
/* What cannot be looked at, as a pipe: until it ends, as a file. */
int copy_send_stream(struct copy_from *f, int fd, const char *name, struct err *e);

/* Who gets. */
struct copy_to {
    struct copy_in *in;
    int dir;           /* O_PATH; -1: there is one file, and what is in it is written to `out` */
    const char *first; /* in place of the first name of each path; NULL: as it came */
    s64 uid, gid;      /* of what is made; -1: as it comes */
    s64 mode;          /* of files; -1: as the entry says */
    u32 mode_mask;     /* of modes */
    int out;
};
/* Until COPY_DONE. */
int copy_receive(struct copy_to *t, struct err *e);
