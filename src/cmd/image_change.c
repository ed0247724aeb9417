/*
 * cmd/image_change.c: `socle image create, resize, commit, rebase`.
 */
#include "cmd/image.h"
#include "disk/format.h"

#include <stdio.h>
#include <stdlib.h>

static int create(struct job *j, void *arg, struct err *e)
{
    return job_create(j, arg, e);
}

int image_look_below(struct job_new *to, struct err *e)
{
    AUTO(free) char *path = disk_path_beside(to->file, to->cfg.backing);
    AUTO(disk) struct disk *d = NULL;
    const struct job_image below = { .file = path, .format = to->cfg.backing_format };
    int r = job_open_image(&below, true, &d, e);

    if (r < 0) {
        err_wrap(e, "backing file");
        return r;
    }
    if (!to->cfg.size)
        to->cfg.size = d->size;
    if (!to->cfg.backing_format)
        to->cfg.backing_format = d->ops->format;
    return 0;
}

int image_do_create(struct image *im, struct err *e)
{
    struct job_new to = image_new_of(im, 0, 0);
    int r = 0;

    if (im->args.n > 1)
        r = str_size(im->args.arg[1], &to.cfg.size);
    if (r < 0)
        return err_set(e, -EINVAL, "'%.60s' is no size; 512, 64K, 10G are", im->args.arg[1]);
    if (to.cfg.backing && !to.qcow2)
        return err_set(e, -EINVAL, "only a qcow2 image has a backing file; --format=qcow2");
    if (to.cfg.backing)
        r = image_look_below(&to, e);
    if (r < 0)
        return r;
    if (!to.cfg.size)
        return err_set(e, -EINVAL, "a SIZE, or --backing, is needed");
    return image_job(im, "create", create, &to, e);
}

static int resize(struct job *j, void *arg, struct err *e)
{
    return job_resize(j, arg, e);
}

int image_do_resize(struct image *im, struct err *e)
{
    const char *text = im->args.arg[1];
    struct job_resize r = { .image = image_ref_of(im, 0),
                            .grow = text[0] == '+',
                            .shrink = im->shrink };

    if (str_size(text + r.grow, &r.size) < 0)
        return err_set(e, -EINVAL, "'%.60s' is no size; 10G and +10G are", text);
    return image_job(im, "resize", resize, &r, e);
}

static int commit(struct job *j, void *arg, struct err *e)
{
    return job_commit(j, arg, e);
}

int image_do_commit(struct image *im, struct err *e)
{
    struct job_image ref = image_ref_of(im, 0);

    return image_job(im, "commit", commit, &ref, e);
}

static int rebase(struct job *j, void *arg, struct err *e)
{
    return job_rebase(j, arg, e);
}

int image_do_rebase(struct image *im, struct err *e)
{
    struct job_rebase r = {
        .overlay = image_ref_of(im, 0),
        .backing = im->backing && im->backing[0] ? im->backing : NULL,
        .backing_format = im->backing_format,
        .unsafe = im->unsafe,
    };

    if (!im->backing)
        return err_set(e, -EINVAL, "--backing FILE is needed; an empty one: no backing file");
    return image_job(im, "rebase", rebase, &r, e);
}
