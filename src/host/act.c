/*
 * host/act.c: what is asked of the host: instances told to do something, images made and deleted.
 * Which states an action begins from is a row; what it does, its task does (task_do.c).
 */
#include "host/catalogue.h"
#include "host/change.h"
#include "host/upload.h"
#include "layer/registry.h"
#include "layer/url.h"

#include <stdlib.h>

#define IN(state) (1u << HOST_##state)
enum {
    ALIVE = IN(STARTING) | IN(RUNNING) | IN(PAUSED) | IN(STOPPING),
    IDLE = IN(OFF) | IN(FAILED)
};

/* clang-format off */
static const struct action_row {
    int what;
    u32 from;       /* states */
    u32 from_force; /* with force also */
    const char *want;
} action_rows[] = {
    { TASK_START,   IDLE | IN(SUSPENDED) | IN(STARTING), 0,     "off, failed or suspended" },
    { TASK_STOP,    ALIVE,                       0,     "running" },
    { TASK_RESTART, ALIVE | IDLE,                0,     "running or off" },
    { TASK_PAUSE,   IN(RUNNING),                 0,     "running" },
    { TASK_RESUME,  IN(PAUSED),                  0,     "paused" },
    { TASK_RESET,   IN(RUNNING) | IN(PAUSED),    0,     "running" },
    { TASK_SUSPEND, IN(RUNNING) | IN(PAUSED),    0,     "running or paused" },
    { TASK_DELETE,  IDLE | IN(SUSPENDED),        ALIVE, "off, failed or suspended (else stop it, or use force)" },
    { TASK_SNAPSHOT,   IDLE | IN(RUNNING) | IN(PAUSED), 0, "running, paused or off (a suspended machine: start it first)" },
    { TASK_UNSNAPSHOT, IDLE | IN(RUNNING) | IN(PAUSED), 0, "running, paused or off (a suspended machine: start it first)" },
    { TASK_RESTORE,    IDLE | IN(RUNNING) | IN(PAUSED) | IN(SUSPENDED), 0, "running, paused, suspended or off" },
    { TASK_EXPORT,     IDLE | IN(RUNNING) | IN(PAUSED) | IN(SUSPENDED), 0, "running, paused, suspended or off" },
};
/* clang-format on */

static const struct action_row *row_of(int what)
{
    for_each_row(row, action_rows)
        if (row->what == what)
            return row;
    return NULL;
}

static bool is_of_snapshot(int what)
{
    return what == TASK_SNAPSHOT || what == TASK_UNSNAPSHOT || what == TASK_RESTORE ||
           what == TASK_EXPORT;
}

static int check_snapshot(const struct host_action *a, struct err *e)
{
    if (a->snapshot ? spec_name_ok(a->snapshot)
                    : a->what == TASK_SNAPSHOT || a->what == TASK_EXPORT)
        return 0;
    err_set(e, -EINVAL,
            "the snapshot is '%.70s'; a name of 1 to 63 letters, digits, '.', '-' or '_', a letter "
            "or digit first, is needed",
            a->snapshot ? a->snapshot : "");
    return err_field(e, a->what == TASK_SNAPSHOT ? "name" : "snapshot");
}

/* What others have of it, and what it is. */
static int check_role(struct instance *i, const struct host_action *a, struct err *e)
{
    const char *name = i->cfg.spec.name;
    const struct instance *clone = a->what == TASK_DELETE ? host_clone_of_locked(i, 0) : NULL;

    if (a->what == TASK_DELETE && i->cfg.protected)
        return err_set(e, -EPERM, "'%s' is protected; set protected=off first", name);
    if (clone)
        return err_set(e, -EBUSY, "the disks of clone '%s' build on those of '%s'",
                       clone->cfg.spec.name, name);
    if (i->cfg.template && a->what != TASK_DELETE && a->what != TASK_EXPORT)
        return err_set(e, -EPERM,
                       "'%s' is a template: clones are made of it, and it stays as it is", name);
    return 0;
}

/* Who waits to be started again can be stopped from that. */
static u32 also_from(const struct instance *i, const struct host_action *a)
{
    return a->what == TASK_STOP && i->run.start_at ? IDLE : 0;
}

static int check_action(struct instance *i, const struct host_action *a, struct err *e)
{
    const struct action_row *row = row_of(a->what);
    const char *name = i->cfg.spec.name;
    int r;

    if (!row)
        return err_set(e, -EINVAL, "this is nothing that an instance does");
    if (i->cfg.kind == INSTANCE_OS && a->what == TASK_SUSPEND)
        return err_set(e, -EOPNOTSUPP,
                       "'%s' is a container: it is stopped or paused; only machines are suspended",
                       name);
    if (i->task)
        return err_set(e, -EBUSY, "'%s' is busy: task %llu (%s)", name, i->task->number,
                       task_words[i->task->rec.what]);
    r = check_role(i, a, e);
    if (r >= 0 && is_of_snapshot(a->what))
        r = check_snapshot(a, e);
    if (r >= 0 && a->what == TASK_EXPORT)
        r = export_check_locked(i, &a->export, e);
    if (r < 0)
        return r;
    if (!((row->from | (a->force ? row->from_force : 0) | also_from(i, a)) >> i->run.state & 1))
        return err_set(e, -EBUSY, "'%s' is %s; %s needs it %s", name,
                       host_state_words[i->run.state], task_words[a->what], row->want);
    return task_room_locked(i->host, e);
}

static bool drops_schedule(const struct host_action *a)
{
    static const int rows[] = { TASK_START,   TASK_STOP,   TASK_RESTART,
                                TASK_SUSPEND, TASK_DELETE, TASK_RESTORE };

    for_each_row(row, rows)
        if (a->what == *row)
            return !a->by_itself;
    return false;
}

static int act_locked(struct instance *i, const struct host_action *a, const struct host_who *who,
                      u64 *ret_task, struct err *e)
{
    struct host *h = i->host;
    struct task_rec rec = { .what = a->what,
                            .timeout = a->timeout,
                            .force = a->force,
                            .uid = who->uid,
                            .user = host_user_of(who),
                            .memory = a->memory,
                            .by_itself = a->by_itself,
                            .export = a->export,
                            .was_on = host_is_alive(i) };
    struct run_rec run = i->run;
    struct host_change c = {};
    int r = check_action(i, a, e);

    if (r < 0)
        return r;
    rec.id = xdup(i->id);
    rec.name = xdup(i->cfg.spec.name);
    rec.snapshot = a->snapshot ? xdup(a->snapshot) : NULL;
    if (drops_schedule(a)) {
        run.start_at = 0;
        run.restarts = 0;
    }
    if (a->what == TASK_DELETE)
        run.state = HOST_DELETING;
    if (run.state != i->run.state || run.start_at != i->run.start_at ||
        run.restarts != i->run.restarts)
        host_change_run(&c, i, &run);
    r = change_accept(h, &c, &rec, 1, e);
    if (r < 0) {
        conf_fini(task_fields, &rec);
        return r;
    }
    i->run = run;
    *ret_task = h->next - 1;
    if (a->what == TASK_EXPORT)
        export_look_locked(h);
    task_go_locked(task_new_locked(h, &rec, i));
    return 0;
}

int host_act(struct host *h, const char *name, const struct host_action *a,
             const struct host_who *who, u64 *ret_task, struct err *e)
{
    struct instance *i;
    int r;

    host_lock(h);
    i = change_find(h, name, e);
    r = i ? act_locked(i, a, who, ret_task, e) : -ENOENT;
    host_unlock(h);
    return r;
}

static int import_locked(struct host *h, const char *name, const struct image_source *from,
                         const struct host_who *who, u64 *ret_task, struct err *e)
{
    struct task_rec rec = { .what = TASK_IMPORT, .uid = who->uid, .user = host_user_of(who) };
    struct host_change c = {};

    rec.name = xdup(name);
    conf_copy(image_source_fields, &rec.source, from);
    return host_begin_locked(h, &c, &rec, ret_task, e);
}

/* Is the image being made? */
static bool importing(const struct host *h, const char *name)
{
    for (const struct task *t = h->tasks; t; t = t->next)
        if (t->rec.what == TASK_IMPORT && t->rec.state <= TASK_RUNNING &&
            strcmp(t->rec.name, name) == 0)
            return true;
    return false;
}

/* From the root, or an upload. */
static int check_part(const char *what, const char *path, struct err *e)
{
    return path && str_starts(path, UPLOAD_PREFIX) ? 0 : instance_check_path(what, path, e);
}

static int check_source(const struct image_source *s, struct err *e)
{
    const bool machine = s->kernel || s->disk, elsewhere = s->url || s->from;
    int r = check_part("kernel", s->kernel, e);

    if (s->url ? !s->sha256 && url_is_plain(s->url) : s->sha256 != NULL)
        return err_set(
            e, -EINVAL,
            s->url ? "'url' is plain http, where anybody may change what comes: 'sha256' is missing"
                   : "'sha256' is of what a 'url' has");
    if (!!machine + !!s->rootfs + !!s->iso + !!s->url + !!s->from != 1 || (s->part && !s->url) ||
        (s->initrd && !s->kernel) || (s->append && !s->kernel && !elsewhere) ||
        (s->tag && !s->rootfs && !elsewhere))
        return err_set(e, -EINVAL,
                       "an image is made of 'kernel' (and 'initrd', 'disk', 'append'), of 'disk' "
                       "alone, of 'iso', of 'rootfs' (and 'tag'), of a 'url' (and 'sha256', "
                       "'part'), or 'from' a catalogue");
    if (r >= 0)
        r = check_part("initrd", s->initrd, e);
    if (r >= 0)
        r = check_part("iso", s->iso, e);
    if (r >= 0 && s->rootfs && !registry_is_ref(s->rootfs))
        r = check_part("rootfs", s->rootfs, e);
    return r < 0 ? r : check_part("disk", s->disk, e);
}

static int begin_import_locked(struct host *h, const char *name, const struct image_source *from,
                               const struct host_who *who, u64 *ret_task, struct err *e)
{
    struct image_cfg there = {};
    int r = task_room_locked(h, e);

    if (r >= 0)
        r = upload_check_source_locked(h, from, e);
    if (r >= 0 && (importing(h, name) || images_get(h->images, name, &there, NULL) >= 0))
        r = err_set(e, -EEXIST, "there is an image '%s'", name);
    if (r >= 0)
        r = import_locked(h, name, from, who, ret_task, e);
    conf_fini(image_cfg_fields, &there);
    return r;
}

int host_import(struct host *h, const char *name, const struct image_source *from,
                const struct host_who *who, u64 *ret_task, struct err *e)
{
    struct image_source copy = {};
    int r = 0;

    if (change_check_name(name, e) < 0 || check_source(from, e) < 0)
        return -EINVAL;
    conf_copy(image_source_fields, &copy, from);
    host_lock(h);
    if (from->from) /* what it is now: the task does not depend on what becomes of the catalogue */
        r = catalogue_resolve_locked(h, from->from, &copy, e);
    if (r >= 0)
        r = begin_import_locked(h, name, &copy, who, ret_task, e);
    host_unlock(h);
    conf_fini(image_source_fields, &copy);
    return r;
}

/* A task, so that it is done again when we end meanwhile; one is enough for all that is not used. */
static int sweep_locked(struct host *h, const char *name, const struct host_who *who, struct err *e)
{
    struct task_rec rec = { .what = TASK_SWEEP, .uid = who->uid, .user = host_user_of(who) };
    struct host_change c = {};
    struct host_rider *rider;
    u64 task;
    int r;

    for (const struct task *t = h->tasks; t; t = t->next)
        if (t->rec.what == TASK_SWEEP && t->rec.state == TASK_WAITING)
            return 0;
    rec.name = xdup(name);
    rider = host_ride(NULL); /* it is no answer to who asked for the deletion */
    r = host_begin_locked(h, &c, &rec, &task, e);
    host_ride(rider);
    return r;
}

static int check_unused(const struct instance_cfg *c, const char *image, struct err *e)
{
    if (c->image && strcmp(c->image, image) == 0)
        return err_set(e, -EBUSY, "instance '%s' was made of image '%s', and its disk builds on it",
                       c->spec.name, image);
    if (c->iso && strcmp(c->iso, image) == 0)
        return err_set(e, -EBUSY, "instance '%s' has the ISO '%s'", c->spec.name, image);
    return 0;
}

int host_image_delete(struct host *h, const char *name, const struct host_who *who, struct err *e)
{
    struct image_cfg image = {};
    int r = 0;

    host_lock(h);
    for (u32 i = 0; i < h->n && r >= 0; i++)
        r = check_unused(&h->list[i]->cfg, name, e);
    if (r >= 0)
        r = images_get(h->images, name, &image, e);
    if (r >= 0)
        r = images_delete(h->images, name, e);
    if (r >= 0 && image_is_os(&image))
        r = sweep_locked(h, name, who, e);
    host_unlock(h);
    conf_fini(image_cfg_fields, &image);
    return r;
}
