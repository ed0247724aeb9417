/*
 * host/upload.h: files that clients send in pieces, DIR/uploads/ID, of which images are then made.
 *   (1) A record says what the file is to be; how much of it has come is the file's own length.
 *   (2) The room for all of it is taken when it is begun, so that what has none is refused before its first byte.
 *   (3) One client at a time writes to it, behind what has come.  When all has come nobody does any more.
 *   (4) UPLOAD_IDLE_SECONDS after its last byte it is removed, and when an image was made of it.
 *   (5) A file without a record is garbage, and so is a record without a file: what a crash leaves between the two.
 */
#pragma once

#include "conf/conf.h"
#include "disk/job.h"
#include "host/images.h"

struct host;
struct task;

enum {
    UPLOADS_MAX = 64,
    UPLOAD_NAME_MAX = 255,
    UPLOAD_ID = 16, /* hex digits */
    UPLOAD_IDLE_SECONDS = 24 * 3600,
    UPLOAD_LOOK_SECONDS = 600, /* how exactly that is kept */
};
#define UPLOAD_SIZE_MAX (16 * TiB)
#define UPLOAD_LEAVES   (256 * MiB) /* of the file system, for what else there is */
#define UPLOAD_PREFIX   "upload:"   /* of an upload in place of a file's name */

/* Record upload/ID. */
struct upload_rec {
    char *name;   /* of the file at its sender's: for people */
    char *sha256; /* hex; NULL: not known */
    u64 size;
    u64 uid, created; /* created: seconds since 1970 */
};
extern const struct field upload_fields[];

struct upload {
    char id[UPLOAD_ID + 1];
    struct upload_rec rec;
    u64 received; /* bytes */
    u64 touched;  /* when the last ones came, seconds since 1970 */
    bool busy;    /* a client is sending */
    struct upload *next;
};

bool upload_name_ok(const char *name);

/* Reads the records, and removes what is garbage.  With host_open. */
int upload_open(struct host *h, struct err *e);
void upload_close(struct host *h);

/* `rec` is copied.  -ENOSPC: there is no room for it; `e` says what fits.  *ret: as upload_print_locked. */
int upload_new(struct host *h, const struct upload_rec *rec, json_t **ret, struct err *e);
/* Its sum, which was not known when it was begun. */
int upload_set_sum(struct host *h, const char *id, const char *sha256, struct err *e);
/* -EBUSY: a client is sending it, or an image is being made of it. */
int upload_delete(struct host *h, const char *id, struct err *e);
/* NULL with `e`. */
struct upload *upload_find_locked(struct host *h, const char *id, struct err *e);
/* A new reference: the record, with "id", "received" and "expires". */
json_t *upload_print_locked(const struct upload *u);

/* A client begins to send `len` bytes from `offset` on.  Owned fd, until upload_end.  -EBUSY: another does; -ESTALE: other bytes are
 * expected. */
int upload_begin(struct host *h, const char *id, u64 offset, u64 len, struct err *e);
/* So much has come in all. */
void upload_wrote(struct host *h, const char *id, u64 received);
void upload_end(struct host *h, const char *id);

/* Have all uploads that are named in place of files come?  With the host's lock. */
int upload_check_source_locked(struct host *h, const struct image_source *s, struct err *e);
bool upload_is_source(const struct image_source *s);
/* A job: their sums are what was said, and *ret names files.  Finish with conf_fini, also after a failure. */
int upload_resolve(struct job *j, struct host *h, const struct image_source *s,
                   struct image_source *ret, struct err *e);
/* An image was made of them. */
void upload_used(struct host *h, const struct image_source *s);
