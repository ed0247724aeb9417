/*
 * host/images.h: the pool of images that instances are made from: a folder DIR/images/NAME each, with `kernel`, and maybe `initrd`, `disk`
 * (qcow2; instances' disks are overlays of it) and `image.json`.  One appears under its name when it is complete.
 */
#pragma once

#include "conf/conf.h"
#include "disk/job.h"

enum { IMAGES_MAX = 1000 };

/* image.json */
struct image_cfg {
    char *append; /* kernel command line of instances that have none; NULL: none */
    bool initrd, disk;
    u64 created; /* seconds since 1970 */
};
extern const struct field image_cfg_fields[];

/* What an image is made of: paths from the root, of which it has copies. */
struct image_source {
    char *kernel, *initrd, *disk, *append;
};
extern const struct field image_source_fields[];

/* -ENOENT: there is none of that name.  Finish with conf_fini. */
int images_get(const char *pool, const char *name, struct image_cfg *ret, struct err *e);
/* A new reference: [{"name": …, …}, …] in the order of names. */
json_t *images_list(const char *pool);
/* A job.  -EEXIST: there is one of that name. */
int images_import(struct job *j, const char *pool, const char *name,
                  const struct image_source *from, struct err *e);
int images_delete(const char *pool, const char *name, struct err *e);
/* Removes what an interrupted import or deletion left. */
void images_clean(const char *pool);
/* An overlay of the image's disk; in place of what is there. */
int images_clone(struct job *j, const char *pool, const char *name, const char *file,
                 struct err *e);

/* Removes a folder of files, if it is there. */
int folder_remove(const char *path, struct err *e);
