/*
 * host/catalogue.h: lists of images that somebody vouches for: JSON with a detached ed25519 signature.
 *   (1) Nothing of a catalogue is looked at before its signature was found to be of the key that its user gave.
 *   (2) Each image has its SHA-256, so where it is fetched from need not be trusted.
 *   (3) `version` never goes down: an old catalogue, with what has been found wrong since, is refused, however well it is signed.
 * DIR/catalogues/NAME has the signature in its first line, then the bytes that were signed.
 */
#pragma once

#include "conf/conf.h"
#include "host/images.h"

struct host;
struct host_who;
struct task;

enum {
    CATALOGUES_MAX = 32,
    CATALOGUE_BYTES_MAX = 1024 * 1024, /* of one that is fetched */
    CATALOGUE_IMAGES_MAX = 1000,
    CATALOGUE_TEXT = 64 * 1024, /* of one that is sent with a request */
    CATALOGUE_SIGNATURE_MAX = 200,
    CATALOGUE_DESCRIPTION_MAX = 500,
};

struct catalogue_image {
    char *name, *version, *part, *url, *sha256, *description, *append;
    u64 size;
};
struct catalogue {
    u64 version;
    char *description;
    struct field_list images; /* struct catalogue_image */
};
extern const struct field catalogue_fields[], catalogue_image_fields[];

/* Record catalogue/NAME. */
struct catalogue_rec {
    char *url; /* where it is fetched from, with ".sig" its signature; NULL: it was sent */
    char *key; /* ed25519, base64 */
    u64 version, fetched; /* of the last; when, in seconds since 1970; 0: none has come */
};
extern const struct field catalogue_rec_fields[];

bool catalogue_key_ok(const char *text);
/* Is the signature (base64, perhaps with a line feed) of the key, and of these bytes?  -EBADMSG. */
int catalogue_verify(const char *key, const char *signature, const void *p, size_t len,
                     struct err *e);
/* What one is, and that its images can be.  Finish with conf_fini, also after a failure. */
int catalogue_parse(const char *text, size_t len, struct catalogue *ret, struct err *e);

/* A new catalogue, and the task that fetches it; or another fetch of one (`key` NULL). */
int catalogue_add(struct host *h, const char *name, const struct catalogue_rec *rec,
                  const struct host_who *who, u64 *ret_task, struct err *e);
int catalogue_update(struct host *h, const char *name, const struct host_who *who, u64 *ret_task,
                     struct err *e);
/* One that is sent: new, or a newer version.  `key` may be NULL when there is one. */
int catalogue_put(struct host *h, const char *name, const char *key, const char *text,
                  const char *signature, struct err *e);
int catalogue_remove(struct host *h, const char *name, struct err *e);
/* A new reference: a list of all, with their images. */
json_t *catalogue_list(struct host *h, struct err *e);
/* "CATALOGUE:IMAGE" becomes where it is fetched from, and its sum.  With the host's lock. */
int catalogue_resolve_locked(struct host *h, const char *from, struct image_source *s,
                             struct err *e);
/* TASK_CATALOGUE */
int catalogue_do(struct task *t, struct err *e);
