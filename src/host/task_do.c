/*
 * host/task_do.c: what each kind of task does.
 */
#include "host/task_do.h"

#include "host/catalogue.h"
#include "host/clone_make.h"
#include "host/fetch.h"
#include "host/layers.h"
#include "host/os_snap.h"
#include "host/process.h"
#include "host/snap.h"
#include "host/task_log.h"
#include "host/upload.h"

#include <stdlib.h>
#include <sys/stat.h>

static int do_create(struct task *t, struct err *e)
{
    struct host *h = t->host;
    AUTO(free) char *folder = host_folder(h, t->inst), *disk = str_new("%s/disk", folder);
    struct image_cfg image = {};
    int r = 0;

    if (mkdir(folder, 0700) < 0 && errno != EEXIST)
        return err_errno(e, "make folder '%s'", folder);
    if (t->inst->cfg.image) /* it stays as it is: check_edit */
        r = images_get(h->images, t->inst->cfg.image, &image, e);
    if (r >= 0 && image.disk)
        task_log(t, "make its disk of image '%s'", t->inst->cfg.image);
    if (r >= 0 && image.disk)
        r = images_clone(&t->job, h->images, t->inst->cfg.image, disk, e);
    conf_fini(image_cfg_fields, &image);
    if (r < 0)
        return r;
    r = job_check(&t->job, e);
    if (r < 0)
        return r;
    host_lock(h);
    r = host_set_state_locked(t->inst, HOST_OFF, NULL, e);
    host_unlock(h);
    return r;
}

static int do_start(struct task *t, struct err *e)
{
    return process_start(t, NULL, e);
}

static int do_stop(struct task *t, struct err *e)
{
    return process_stop(t, t->rec.force, e);
}

static int do_restart(struct task *t, struct err *e)
{
    int r = process_stop(t, t->rec.force, e);

    return r < 0 ? r : process_start(t, NULL, e);
}

/* Of kind os: folders of socle-os, which are in its folder. */
static int remove_trees(struct task *t, const char *folder, struct err *e)
{
    static const char *const trees[] = { "rw", "snapshots", "l", "root", "box", "bundle" };
    struct job whole = {}; /* once begun it is done */
    int r = 0;

    for_each_row(tree, trees)
        if (r >= 0)
            r = layers_remove_tree(&whole, t->host, folder, *tree, e);
    return r;
}

static int do_delete(struct task *t, struct err *e)
{
    AUTO(free) char *folder = host_folder(t->host, t->inst);
    int r = process_stop(t, true, e);

    if (r >= 0)
        task_log(t, "remove its files");
    if (r >= 0)
        r = export_delete_all(t->inst, e);
    if (r >= 0 && t->inst->cfg.kind == INSTANCE_OS)
        r = remove_trees(t, folder, e);
    return r < 0 ? r : folder_remove(folder, e);
}

static int import_rootfs(struct task *t, const struct image_source *from, struct err *e)
{
    struct image_cfg image = {};
    int r = layers_import(&t->job, t->host, from, &image, e);

    if (r >= 0 && from->origin)
        image.origin = xdup(from->origin);
    if (r >= 0)
        r = images_put(t->host->images, t->rec.name, &image, e);
    conf_fini(image_cfg_fields, &image);
    return r;
}

static int import_files(struct task *t, const struct image_source *from, struct err *e)
{
    return from->rootfs ? import_rootfs(t, from, e)
                        : images_import(&t->job, t->host->images, t->rec.name, from, e);
}

/* What is told of where an image came from: of an address what is before its query, which may have a key.  Owned. */
static char *origin_of(const struct image_source *s)
{
    const char *const files[] = { s->rootfs, s->iso, s->disk, s->kernel };

    if (s->from)
        return str_new("catalogue %s", s->from);
    if (s->url)
        return str_new("%.*s", (int)strcspn(s->url, "?#"), s->url);
    for_each_row(file, files)
        if (*file)
            return str_starts(*file, "upload:") ? xdup("an upload") : xdup(*file);
    return NULL;
}

/* What was uploaded is looked at first, and of no more use in the end. */
static int import_from(struct task *t, struct err *e)
{
    AUTO(free) char *origin = origin_of(&t->rec.source);
    struct image_source from = {};
    int r;

    if (t->rec.source.url)
        task_log(t, "fetch it");
    if (t->rec.source.url)
        r = fetch_source(&t->job, t->host, t->rec.name, &t->rec.source, &from, e);
    else
        r = upload_resolve(&t->job, t->host, &t->rec.source, &from, e);
    from.origin = origin;
    from.strange = t->rec.source.url || upload_is_source(&t->rec.source);
    if (r >= 0)
        task_log(t, "make the image");
    if (r >= 0)
        r = import_files(t, &from, e);
    conf_fini(image_source_fields, &from);
    if (r >= 0)
        upload_used(t->host, &t->rec.source);
    if (t->rec.source.url && !(r == -ECANCELED && t->host->closing)) /* else it is gone on with */
        fetch_clean(t->host, t->rec.name);
    return r;
}

/* Imports and this exclude each other: a layer that was just made is no image's yet. */
static int do_sweep(struct task *t, struct err *e)
{
    return layers_sweep(&t->job, t->host, e);
}

static int do_import(struct task *t, struct err *e)
{
    struct image_cfg there = {};
    const bool done =
        t->rec.tries > 1 && images_get(t->host->images, t->rec.name, &there, NULL) >= 0;

    conf_fini(image_cfg_fields, &there);
    if (done) { /* by who was interrupted after it */
        upload_used(t->host, &t->rec.source);
        fetch_clean(t->host, t->rec.name);
        return 0;
    }
    return import_from(t, e);
}

/* Made, changed or deleted: what its record says is done. */
static int do_network(struct task *t, struct err *e)
{
    return network_apply(t->host, t->rec.name, e);
}

static bool is_os(const struct task *t)
{
    return t->inst->cfg.kind == INSTANCE_OS;
}

static int do_snapshot(struct task *t, struct err *e)
{
    return is_os(t) ? os_snap_do_take(t, e) : snap_do_take(t, e);
}

static int do_restore(struct task *t, struct err *e)
{
    return is_os(t) ? os_snap_do_restore(t, e) : snap_do_restore(t, e);
}

static int do_unsnapshot(struct task *t, struct err *e)
{
    return is_os(t) ? os_snap_do_delete(t, e) : snap_do_delete(t, e);
}

static int do_clone(struct task *t, struct err *e)
{
    return is_os(t) ? os_clone_do(t, e) : clone_do(t, e);
}

/* clang-format off */
const struct task_row task_rows[] = {
    [TASK_CREATE]     = { do_create,       .can_cancel = true, .makes = true, .undoes = true },
    [TASK_START]      = { do_start,        .can_cancel = true },
    [TASK_STOP]       = { do_stop,         .can_cancel = true },
    [TASK_RESTART]    = { do_restart,      .can_cancel = true, .once = true },
    [TASK_PAUSE]      = { process_pause },
    [TASK_RESUME]     = { process_resume },
    [TASK_RESET]      = { process_reset,   .once = true },
    [TASK_SUSPEND]    = { process_suspend },
    [TASK_DELETE]     = { do_delete },
    [TASK_IMPORT]     = { do_import,       .can_cancel = true },
    [TASK_NETWORK]    = { do_network },
    [TASK_SNAPSHOT]   = { do_snapshot,     .can_cancel = true, .undoes = true },
    [TASK_RESTORE]    = { do_restore },
    [TASK_UNSNAPSHOT] = { do_unsnapshot,   .can_cancel = true },
    [TASK_CLONE]      = { do_clone,        .can_cancel = true, .makes = true, .undoes = true },
    [TASK_SWEEP]      = { do_sweep,        .can_cancel = true },
    [TASK_CATALOGUE]  = { catalogue_do,    .can_cancel = true },
    [TASK_EXPORT]     = { export_do,       .can_cancel = true, .undoes = true },
};
/* clang-format on */

void task_unmake(struct task *t)
{
    AUTO(free) char *folder = host_folder(t->host, t->inst);
    struct err e = {};

    if (t->rec.what == TASK_CLONE && is_os(t))
        os_clone_undo(t);
    else if (t->rec.what == TASK_CLONE)
        clone_undo(t);
    if (is_os(t) && remove_trees(t, folder, &e) < 0)
        log_warn("%s", e.text);
    if (folder_remove(folder, &e) < 0)
        log_warn("%s", e.text);
}
