/*
 * host/images.h: the pool of images that instances are made from: a folder DIR/images/NAME each, with `image.json`, and
 *   of machines:    `kernel`, and maybe `initrd`, `disk` (qcow2; instances' disks are overlays of it)
 *   of a disk:      `disk`, to be booted with a kernel of the instance's own
 *   of an ISO:      `iso`, which instances get as a read-only disk
 *   of containers:  nothing more; its root file system is made of directories of DIR/layers, which images share (host/layers.h)
 * One appears under its name when it is complete.
 */
#pragma once

#include "conf/conf.h"
#include "disk/job.h"

enum {
    IMAGES_MAX = 1000,
    IMAGE_LAYERS_MAX = 127,
    IMAGE_WORDS_MAX = 4096,
    IMAGE_FILES_MAX = 4,
    IMAGE_SUM = 64
};

enum image_kind { IMAGE_MACHINE, IMAGE_CONTAINER, IMAGE_DISK, IMAGE_ISO };
extern const char *const image_kinds[];

/* A file in the image's folder. */
struct image_file {
    char *name; /* "kernel", "initrd", "disk", "iso" */
    char *sha256;
    u64 size;
};

/* What a container of the image runs. */
struct image_program {
    struct field_strs command, env;
    char *cwd, *user, *stop_signal;
};

/* image.json */
struct image_cfg {
    int kind;     /* enum image_kind */
    char *append; /* kernel command line of instances that have none; NULL: none */
    bool initrd, disk;
    u64 created;              /* seconds since 1970 */
    char *origin;             /* where it came from; NULL: an older version made it */
    struct field_strs layers; /* of containers: names in DIR/layers, the lowest first; else none */
    u64 bytes;                /* of these */
    struct image_program program;
    struct field_list files; /* struct image_file; those of older versions lack it */
};
extern const struct field image_cfg_fields[], image_program_fields[];

static inline bool image_is_os(const struct image_cfg *c)
{
    return c->layers.n > 0;
}
/* NULL: it has none of that name, or it is not known. */
const struct image_file *image_file(const struct image_cfg *c, const char *name);

/* What an image is made of: paths from the root, of which it has copies. */
struct image_source {
    char *kernel, *initrd, *disk, *append;
    char *rootfs,
        *tag; /* of containers: an OCI image or a root file system; `tag`: which of several */
    char *iso;
    char *url, *sha256,
        *part; /* in place of all of these a file that is fetched; its sum (hex, or NULL); which part it is, or NULL */
    char *from;   /* or an image of a catalogue, "CATALOGUE:IMAGE" */
    bool strange; /* its files came from elsewhere: what they name beside themselves is not read */
    const char *origin; /* what is told of where it came from; borrowed, NULL: nothing */
};
extern const struct field image_source_fields[];

/* -ENOENT: there is none of that name.  Finish with conf_fini. */
int images_get(const char *pool, const char *name, struct image_cfg *ret, struct err *e);
/* A new reference: [{"name": …, …}, …] in the order of names. */
json_t *images_list(const char *pool);
/* A new reference: an object with a member for each layer that an image has.  NULL with `e`: an image cannot be read, so nobody knows. */
json_t *images_layers(const char *pool, struct err *e);
/* A job.  -EEXIST: there is one of that name. */
int images_import(struct job *j, const char *pool, const char *name,
                  const struct image_source *from, struct err *e);
/* SHA-256 in hex of a whole file; adds to the job's progress. */
int images_sum(struct job *j, const char *file, char ret[IMAGE_SUM + 1], u64 *ret_size,
               struct err *e);
int images_delete(const char *pool, const char *name, struct err *e);
/* Removes what an interrupted import or deletion left. */
void images_clean(const char *pool);
/* An overlay of the image's disk; in place of what is there. */
int images_clone(struct job *j, const char *pool, const char *name, const char *file,
                 struct err *e);

/* `c` becomes the image of that name: its folder, which is complete. */
int images_put(const char *pool, const char *name, const struct image_cfg *c, struct err *e);

/* Removes a folder of files, if it is there. */
int folder_remove(const char *path, struct err *e);
