/*
 * host/clone_make.c: clones are made.
 *     linked:  overlays over the images of a snapshot, or over the disks of a template
 *     full:    copies of them
 *     instant: linked, and it goes on from the snapshot's memory
 *   (1) The task is the original's, too: nothing else happens to it meanwhile.
 *   (2) base/ID says on what a clone builds before the first overlay is made.  What is named there is not deleted.
 *   (3) Done again, it makes the disks anew, unless the clone runs already.
 */
#include "host/clone_make.h"

#include "disk/format.h"
#include "host/process.h"
#include "host/snap.h"
#include "host/task_log.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- what it is made of ---- */

/* The images that its disks build on, or are copies of. */
struct origin {
    u32 n;
    char *file[TREE_DISKS_MAX], *format[TREE_DISKS_MAX], *state;
};

static void origin_fini(struct origin *o)
{
    for (u32 i = 0; i < o->n; i++) {
        free(o->file[i]);
        free(o->format[i]);
    }
    free(o->state);
    *o = (struct origin){};
}

static void origin_add(struct origin *o, const char *file, const char *format)
{
    o->file[o->n] = xdup(file);
    o->format[o->n++] = format ? xdup(format) : NULL;
}

/* base/ID: durable. */
static int note_base(struct task *t, u32 node, const char *snapshot, struct err *e)
{
    struct host_change c = {};
    struct base_rec *b = &t->inst->base;
    int r;

    host_lock(t->host);
    free(b->snapshot);
    b->snapshot = snapshot ? xdup(snapshot) : NULL;
    b->node = node;
    host_change_base(&c, t->inst);
    r = host_change_do(t->host, &c, NULL, e);
    host_unlock(t->host);
    return r;
}

static int from_node(struct task *t, const struct snap *s, const struct tree_node *n,
                     struct origin *o, struct err *e)
{
    if (t->rec.mode == CLONE_INSTANT && !n->state)
        return err_set(e, -EINVAL,
                       "snapshot '%s' is of the disks only: an instant clone needs one with memory",
                       n->name);
    for (u32 i = 0; i < n->images.n; i++) {
        AUTO(free) char *path = tree_image_path(&s->f, n, i);

        origin_add(o, path, NULL);
    }
    o->state = t->rec.mode == CLONE_INSTANT ? tree_state_path(&s->f, n) : NULL;
    return note_base(t, n->id, n->name, e);
}

/* Disks that nobody writes to while the task lasts. */
static int from_disks(const struct snap *s, struct origin *o)
{
    for (u32 i = 0; i < s->heads.n; i++)
        origin_add(o, s->heads.head[i].file, s->heads.head[i].format);
    return 0;
}

static int find_origin(struct task *t, struct snap *s, struct origin *o, struct err *e)
{
    const struct tree_node *n;
    int r = 0;

    if (t->from->cfg.template || (t->rec.mode == CLONE_FULL && snap_is_own(t) && !s->alive))
        return from_disks(s, o);
    if (snap_is_own(t))
        r = snap_take(s, "clone", t->rec.mode == CLONE_INSTANT, e);
    if (r < 0)
        return r;
    n = snap_find(s, e);
    return n ? from_node(t, s, n, o, e) : e->code;
}

/* ---- its disks ---- */

/* As an overlay names it: instances can be moved together. */
static char *backing_name(const struct host *h, const char *image)
{
    AUTO(free) char *dir = realpath(h->dir, NULL);
    AUTO(free) char *instances = str_new("%s/instances/", dir ? dir : h->dir);

    return str_starts(image, instances) ? str_new("../%s", image + strlen(instances)) : xdup(image);
}

static int make_overlay(struct task *t, const char *image, const char *format, const char *file,
                        struct err *e)
{
    AUTO(disk) struct disk *d = NULL;
    AUTO(free) char *backing = backing_name(t->host, image);
    struct job_new to = { .file = file, .qcow2 = true, .replace = true };
    int r = job_open_image(&(struct job_image){ .file = image, .format = format }, true, &d, e);

    if (r < 0)
        return r;
    to.cfg.size = d->size;
    to.cfg.backing = backing;
    to.cfg.backing_format = disk_format_written(d->ops->format);
    return job_create(&t->job, &to, e);
}

static int make_copy(struct task *t, const char *image, const char *format, const char *file,
                     struct err *e)
{
    const struct job_convert c = { .from = { .file = image, .format = format },
                                   .to = { .file = file, .qcow2 = true, .replace = true } };

    return job_convert(&t->job, &c, e);
}

static int make_disks(struct task *t, const struct origin *o, const struct vm_spec *spec,
                      struct err *e)
{
    u32 k = 0;
    int r = 0;

    for (u32 i = 0; i < spec->disks.n && r >= 0; i++) {
        const char *file = spec_disk(spec, i)->file;

        if (spec_disk(spec, i)->readonly)
            continue;
        if (k == o->n)
            return err_set(e, -EINVAL, "its disks were changed since: restart it, then clone it");
        r = t->rec.mode == CLONE_FULL ? make_copy(t, o->file[k], o->format[k], file, e)
                                      : make_overlay(t, o->file[k], o->format[k], file, e);
        k++;
    }
    if (r >= 0 && k != o->n)
        r = err_set(e, -EINVAL, "its disks were changed since: restart it, then clone it");
    return r;
}

/* ---- an instant clone's start ---- */

/* A clone's folder has no other links. */
static void remove_links(const struct task *t)
{
    AUTO(free) char *folder = host_folder(t->host, t->inst);
    DIR *d = opendir(folder);
    struct dirent *de;
    struct stat st;

    while (d && (de = readdir(d)))
        if (fstatat(dirfd(d), de->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISLNK(st.st_mode))
            unlinkat(dirfd(d), de->d_name, 0);
    if (d)
        closedir(d);
}

/* A state looks for the images of then beside the disks (vm/save_disks.c): while it is loaded, they are there by that name, too. */
static int make_links(const struct task *t, const struct origin *o, struct err *e)
{
    int r = 0;

    remove_links(t);
    for (u32 i = 0; i < o->n && r >= 0; i++) {
        AUTO(free) char *path = process_path(t->inst, strrchr(o->file[i], '/') + 1);

        if (symlink(o->file[i], path) < 0)
            r = err_errno(e, "link to '%s'", o->file[i]);
    }
    return r;
}

static int go_on(struct task *t, const struct origin *o, struct err *e)
{
    const struct process_from from = { .file = o->state, .clone = true };
    int r = make_links(t, o, e);

    if (r >= 0)
        r = process_start(t, &from, e);
    if (!(r == -ECANCELED && t->host->closing)) /* else it may be reading them */
        remove_links(t);
    return r;
}

/* ---- the task ---- */

static int make_folder(const struct task *t, struct err *e)
{
    AUTO(free) char *folder = host_folder(t->host, t->inst);

    return mkdir(folder, 0700) < 0 && errno != EEXIST ? err_errno(e, "make folder '%s'", folder)
                                                      : 0;
}

static int make(struct task *t, struct snap *s, struct origin *o, struct err *e)
{
    struct vm_spec spec;
    int r = make_folder(t, e);

    if (r >= 0)
        r = find_origin(t, s, o, e);
    if (r < 0)
        return r;
    host_lock(t->host);
    r = process_spec_locked(t->inst, &spec, e);
    host_unlock(t->host);
    if (r < 0)
        return r;
    task_log(t, "make its disks");
    r = make_disks(t, o, &spec, e);
    spec_fini(&spec);
    return r;
}

/* It stands alone, and so is what it was copied from. */
static int let_go(struct task *t, struct snap *s, struct err *e)
{
    const bool taken = t->rec.node != 0;
    struct host_change c = {};
    int r;

    host_lock(t->host);
    store_txn_delete(&c.txn, host_change_key(&c, "base", t->inst->id));
    r = host_change_do(t->host, &c, NULL, e);
    if (r >= 0)
        conf_fini(base_fields, &t->inst->base);
    host_unlock(t->host);
    if (r >= 0 && taken && tree_by_id(&s->f.t, t->rec.node))
        r = snap_drop(s, &t->job, t->rec.snapshot, e);
    return r;
}

static int set_off(struct task *t, struct err *e)
{
    int r;

    host_lock(t->host);
    r = host_set_state_locked(t->inst, HOST_OFF, NULL, e);
    host_unlock(t->host);
    return r;
}

int clone_do(struct task *t, struct err *e)
{
    struct origin o = {};
    struct snap s;
    int r;

    if (t->rec.mode == CLONE_INSTANT && process_find_again(&t->job, t->inst, e) == 0) {
        remove_links(t); /* an earlier try started it */
        return 0;
    }
    r = snap_open(&s, t, t->from, true, e);
    if (r >= 0)
        r = make(t, &s, &o, e);
    if (r >= 0 && t->rec.mode == CLONE_FULL)
        r = let_go(t, &s, e);
    snap_close(&s);
    if (r >= 0)
        r = t->rec.mode == CLONE_INSTANT ? go_on(t, &o, e) : set_off(t, e);
    origin_fini(&o);
    return r;
}

void clone_undo(struct task *t)
{
    struct err e = {};

    atomic_store(&t->job.cancel, false); /* what is undone is not cancelled */
    if (process_stop(t, true, &e) < 0)
        log_warn("clone '%s': %s", t->rec.name, e.text);
    snap_undo(t, t->from);
}
