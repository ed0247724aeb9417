/*
 * layer/import.h: an image, whatever it comes in, becomes layers of a pool and a description.
 *   (1) Nothing is believed that is not hashed: each file of an image has the size and the SHA-256 that is told of it, and each
 *       layer's tar the diff_id of the configuration.
 *   (2) A layer that the pool has is not read again.  A layer that stands twice in an image is listed once, at its upper place,
 *       where it hides what its lower place could show; overlayfs takes no directory twice.
 *   (3) A failure leaves nothing but layers that are complete, which another image may have, too.
 */
#pragma once

#include "layer/manifest.h"
#include "layer/source.h"

enum {
    IMPORT_ENTRIES_MAX = 2000000, /* of one layer */
    IMPORT_RATIO_MAX = 200,       /* unpacked to packed, above IMPORT_RATIO_FREE */
    IMPORT_RATIO_FREE = 256 * 1024 * 1024,
};
#define IMPORT_BYTES_MAX (256 * GiB) /* of one layer, unpacked */

struct import_cfg {
    int pool;        /* borrowed */
    const char *tag; /* which image of several; NULL */
    bool devices;    /* devices are made */
    bool user_xattr; /* as in struct unpack_cfg */
    bool single_id;
    u64 entries_max, bytes_max; /* 0: the limits above */
};

struct import_layer {
    char *name; /* its directory in the pool */
    u64 entries, bytes, left_out, xattrs_left_out;
    bool reused;
};

/* What is told of an image.  The members of `config` are those of the OCI specification. */
struct import_image {
    int kind; /* enum source_kind */
    char *tag, *digest, *id;
    char *architecture, *os, *created;
    struct manifest_run config;
    struct field_list layers; /* struct import_layer, bottom first */
    u64 bytes;
    bool single_id, user_xattr;
};

extern const struct field import_image_fields[];

/* Finish with conf_fini(import_image_fields, ret), also after a failure. */
int import_run(const struct import_cfg *cfg, struct source *s, struct watch *w,
               struct import_image *ret, struct err *e);
/* The limits of a layer's stream, for source_open. */
struct stream_limits import_limits(const struct import_cfg *cfg);

/* layer/import_layer.c */

/* A layer that an image wants. */
struct import_want {
    const char *file;    /* of the source; NULL: the whole source is the layer */
    const char *digest;  /* of the file; NULL: only diff_id is known */
    const char *diff_id; /* of the tar; NULL: not known, it is what comes out */
    u64 size;            /* of the file; UINT64_MAX: not known */
};

/* One layer into the pool, or found there. */
int import_layer(const struct import_cfg *cfg, struct source *s, const struct import_want *want,
                 struct watch *w, struct import_layer *ret, struct err *e);
/* A whole file of an image as text, of which size and digest are checked where they are known. */
int import_text(struct source *s, const struct import_want *want, struct strbuf *ret,
                struct err *e);
