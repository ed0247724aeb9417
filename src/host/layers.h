/*
 * host/layers.h: DIR/layers: directories of which root file systems are made, one for each layer of an image, by its digest.  Images that
 * have the same layer share it.  They are made and removed by socle-unpack, a process of its own, because images are hostile, and because
 * files of many owners are in them (doc/layers.md).
 */
#pragma once

#include "host/host.h"

/* A job: the image's layers are there, and *ret is what image.json is to say.  Finish with conf_fini, also after a failure. */
int layers_import(struct job *j, const struct host *h, const struct image_source *from,
                  struct image_cfg *ret, struct err *e);
/* A job: a file of the web becomes `body` in a folder; goes on where it was interrupted. */
struct layers_fetching {
    const char *url, *folder;
    bool plain; /* HTTP is allowed */
    u64 most;   /* bytes */
};
int layers_fetch(struct job *j, const struct layers_fetching *f, struct err *e);
/* Layers that no image names are removed, and what was left half made.  No import may run meanwhile. */
int layers_sweep(struct job *j, const struct host *h, struct err *e);
/* A tree with files of any owner, `name` in `folder`; it is out of the way at once.  0 also when there is none. */
int layers_remove_tree(struct job *j, const struct host *h, const char *folder, const char *name,
                       struct err *e);
/* The directories of an image's root file system are added to a list of texts, the lowest first. */
int layers_paths(const struct host *h, const struct image_cfg *image, const struct field *f,
                 void *to, struct err *e);
