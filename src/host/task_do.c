/*
 * host/task_do.c: what each kind of task does.
 */
#include "host/task_do.h"

#include "host/clone_make.h"
#include "host/process.h"
#include "host/snap.h"

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

static int do_delete(struct task *t, struct err *e)
{
    AUTO(free) char *folder = host_folder(t->host, t->inst);
    int r = process_stop(t, true, e);

    return r < 0 ? r : folder_remove(folder, e);
}

static int do_import(struct task *t, struct err *e)
{
    struct image_cfg there = {};
    const bool done =
        t->rec.tries > 1 && images_get(t->host->images, t->rec.name, &there, NULL) >= 0;

    conf_fini(image_cfg_fields, &there);
    if (done)
        return 0; /* by who was interrupted after it */
    return images_import(&t->job, t->host->images, t->rec.name, &t->rec.source, e);
}

/* Made, changed or deleted: what its record says is done. */
static int do_network(struct task *t, struct err *e)
{
    return network_apply(t->host, t->rec.name, e);
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
    [TASK_SNAPSHOT]   = { snap_do_take,    .can_cancel = true, .undoes = true },
    [TASK_RESTORE]    = { snap_do_restore },
    [TASK_UNSNAPSHOT] = { snap_do_delete,  .can_cancel = true },
    [TASK_CLONE]      = { clone_do,        .can_cancel = true, .makes = true, .undoes = true },
};
/* clang-format on */

void task_unmake(struct task *t)
{
    AUTO(free) char *folder = host_folder(t->host, t->inst);
    struct err e = {};

    if (t->rec.what == TASK_CLONE)
        clone_undo(t);
    if (folder_remove(folder, &e) < 0)
        log_warn("%s", e.text);
}
