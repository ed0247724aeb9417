/*
 * vm/control_save.c: requests of the control socket that put the machine's state into a file.  (doc/control.md)
 * The process cannot open files: the client opens an empty one, hands it in with its request (unix(7), SCM_RIGHTS), and gives it its
 * name when the answer says that it is complete.
 *   (1) A suspended machine waits for its client, who gives the file its name and then says `end`.  A client that goes without a word
 *       leaves a machine that runs on.
 */
#include "dev/virtio/blk.h"
#include "disk/disk.h"
#include "disk/overlay.h"
#include "vm/control_internal.h"
#include "vm/save.h"
#include "vm/save_disks.h"

#include <stdlib.h>

static void done(struct vm *vm, const struct save_report *report, const struct err *e, void *arg)
{
    AUTO(free) struct later *l = arg;
    struct client *cl = control_later_client(l);

    if (!cl) {
        save_back(vm->save); /* who asked has gone */
        return;
    }
    cl->saving = !e && report->kind == SAVE_SUSPEND;
    if (e)
        control_answer_error(cl, e->text);
    else
        control_answer_json(cl,
                            json_pack("{s:I, s:I, s:i}", "pages", (json_int_t)report->pages,
                                      "pause_us", (json_int_t)(report->pause_ns / NSEC_PER_USEC),
                                      "rounds", (int)report->rounds));
    if (vm->state != RUN_ENDED && cl->fd >= 0)
        control_serve(cl);
}

/* clang-format off */
const struct field control_overlay_fields[] = {
    FIELD_INT(request_overlay, disk, "number of the disk", .required = true, .max = SPEC_DISKS_MAX - 1),
    FIELD_STR(request_overlay, image, "the name of the file by which the disk was written until now", .required = true,
              .ok = statefile_image_ok, .want = "the name of a file, without its folder"),
    {},
};
/* clang-format on */

/* The files that were handed in: the state's unless only disks are meant, then two for each overlay. */
static int take_files(struct client *cl, const struct request *rq, enum save_kind kind,
                      struct save_overlay *overlays, int *ret_state, struct err *e)
{
    const u32 state = kind != SAVE_DISKS, want = state + 2 * rq->overlays.n;

    if (cl->n_files != want)
        return err_set(e, -EBADF,
                       "%s%u overlays: %u files are to be handed in with this request, not %u",
                       state ? "a state and " : "", rq->overlays.n, want, cl->n_files);
    for (u32 i = 0; i < rq->overlays.n; i++) {
        const struct request_overlay *o = (const struct request_overlay *)rq->overlays.items + i;

        overlays[i] = (struct save_overlay){ .disk = o->disk,
                                             .image = o->image,
                                             .fd = cl->files[state + 2 * i],
                                             .lock_fd = cl->files[state + 2 * i + 1] };
    }
    cl->n_files = 0;
    *ret_state = state ? cl->files[0] : -1;
    return 0;
}

static int start(struct client *cl, enum save_kind kind, const struct request *rq, struct err *e)
{
    struct save_overlay overlays[SPEC_DISKS_MAX];
    struct save_cfg cfg = { .kind = kind,
                            .file = rq->file,
                            .overlays = overlays,
                            .n_overlays = rq->overlays.n,
                            .done = done };
    struct later *l;
    int fd = -1, r;

    if (!cl->c->vm->save)
        return err_set(e, -EOPNOTSUPP, "this machine cannot be saved");
    if (kind == SAVE_DISKS && !rq->overlays.n)
        return err_set(e, -EINVAL, "a snapshot of disks wants 'overlays'");
    r = take_files(cl, rq, kind, overlays, &fd, e);
    if (r < 0)
        return r;
    cfg.arg = l = control_later(cl, NULL);
    cl->saving = true;
    r = save_start(cl->c->vm->save, fd, &cfg, e);
    if (r >= 0)
        return 0;
    cl->saving = cl->waiting = false;
    free(l);
    return r;
}

int control_suspend(struct client *cl, const struct request *rq, struct err *e)
{
    const char *action = rq->action ? rq->action : "save";

    if (strcmp(action, "save") == 0)
        return start(cl, SAVE_SUSPEND, rq, e);
    if (strcmp(action, "end") != 0)
        return err_set(e, -EINVAL, "suspend action '%.40s': allowed are 'save' and 'end'", action);
    if (!cl->saving || !save_end(cl->c->vm->save))
        return err_set(e, -EINVAL, "this client has not suspended the machine");
    cl->saving = false;
    control_answer(cl, "null");
    return 0;
}

int control_snapshot(struct client *cl, const struct request *rq, struct err *e)
{
    static const struct {
        const char *mode;
        enum save_kind kind;
    } modes[] = {
        { "full", SAVE_FULL }, { "base", SAVE_BASE }, { "diff", SAVE_DIFF }, { "disks", SAVE_DISKS }
    };

    for_each_row(m, modes)
        if (strcmp(m->mode, rq->mode) == 0)
            return start(cl, m->kind, rq, e);
    return err_set(e, -EINVAL,
                   "snapshot mode '%.40s': allowed are 'full', 'base', 'diff' and 'disks'",
                   rq->mode);
}

/* An image below a disk leaves its chain: the client has seen to other images, and removes the file after. */
int control_merge(struct client *cl, const struct request *rq, struct err *e)
{
    const struct save_disks *s = cl->c->vm->save ? save_get_disks(cl->c->vm->save) : NULL;
    struct save_cfg cfg = { .kind = SAVE_MERGE, .inode = rq->inode, .file = "", .done = done };
    struct later *l;
    int r;

    if (!s)
        return err_set(e, -EOPNOTSUPP, "this machine cannot be saved");
    for (u32 i = 0; i < s->n && rq->device; i++)
        if (strcmp(s->disk[i].dev->name, rq->device) == 0)
            cfg.disk = s->disk[i].dev;
    if (!cfg.disk)
        return err_set(e, -EINVAL, "merge: 'device' is not one of the machine's disks");
    cfg.arg = l = control_later(cl, NULL);
    cl->saving = true;
    r = save_start(cl->c->vm->save, -1, &cfg, e);
    if (r >= 0)
        return 0;
    cl->saving = cl->waiting = false;
    free(l);
    return r;
}

int control_record_pages(struct client *cl, const struct request *, struct err *e)
{
    int r;

    if (!cl->c->vm->save)
        return err_set(e, -EOPNOTSUPP, "this machine cannot be saved");
    if (cl->n_files != 1)
        return err_set(e, -EBADF, "1 file is to be handed in with this request, not %u",
                       cl->n_files);
    cl->n_files = 0;
    r = save_record_pages(cl->c->vm->save, cl->files[0], e);
    if (r >= 0)
        control_answer_json(cl, json_pack("{s:i}", "pages", r));
    return r;
}

/* The process ends; who started it starts another, in the same terminal, that goes on from the file. */
int control_restore(struct client *cl, const struct request *rq, struct err *e)
{
    struct control *c = cl->c;
    json_t *event;

    if (!rq->file[0])
        return err_set(e, -EINVAL, "restore: 'file' is missing");
    if (!rq->disk != !rq->snapshot)
        return err_set(e, -EINVAL, "restore: of 'disk' and 'snapshot' one is missing");
    if (!c->starter || c->starter->fd < 0 || c->starter->serial != 1)
        return err_set(e, -EOPNOTSUPP, "nobody is there who would start the machine again");
    if (c->vm->saving || c->vm->state == RUN_ENDED)
        return err_set(e, -EBUSY, "the machine is %s",
                       c->vm->saving ? "being saved" : run_state_name(c->vm->state));
    event = json_pack("{s:s, s:s}", "event", "restore", "file", rq->file);
    if (rq->snapshot) {
        json_object_set_new(event, "disk", json_string(rq->disk));
        json_object_set_new(event, "snapshot", json_string(rq->snapshot));
    }
    control_event(c->starter, event);
    control_answer(cl, "null");
    run_end(c->vm, VM_END_RESTORE, 0, NULL);
    return 0;
}

/* Why a disk cannot go on in an overlay; NULL: it can. */
static const char *in_the_way(const struct vm *vm, const struct vm_disk *spec, const struct disk *d,
                              const struct overlay_file *f)
{
    if (d->readonly)
        return "it is read-only";
    if (vm->nameless_disks)
        return "it has no name";
    if (!f->regular)
        return "it is a block device";
    if (spec->format && strcmp(spec->format, "auto") != 0 && strcmp(spec->format, "qcow2") != 0)
        return "its format was given, and will be another one";
    return NULL;
}

/* The files that a disk builds on, the nearest first. */
static json_t *list_below(const struct disk *d)
{
    json_t *list = json_array();
    struct overlay_file f;

    while ((d = d->backing))
        if (overlay_file(d, &f) == 0)
            json_array_append_new(list, json_integer((json_int_t)f.ino));
    return list;
}

int control_disks(struct client *cl, const struct request *, struct err *e)
{
    const struct vm *vm = cl->c->vm;
    const struct save_disks *s = vm->save ? save_get_disks(vm->save) : NULL;
    json_t *list;

    if (!s)
        return err_set(e, -EOPNOTSUPP, "this machine cannot be saved");
    list = json_array();
    for (u32 i = 0; i < s->n; i++) {
        const struct disk *d = blk_disk(s->disk[i].dev);
        struct overlay_file f = {};
        const char *why;

        overlay_file(d, &f);
        why = in_the_way(vm, spec_disk(vm->spec, i), d, &f);
        json_array_append_new(list,
                              json_pack("{s:s, s:s, s:s, s:I, s:b, s:I, s:s, s:o}", "name",
                                        s->disk[i].dev->name, "file", s->disk[i].mark.path,
                                        "format", d->ops->format, "size", (json_int_t)d->size,
                                        "readonly", (int)d->readonly, "inode", (json_int_t)f.ino,
                                        "no_overlay", why ? why : "", "below", list_below(d)));
    }
    control_answer_json(cl, list);
    return 0;
}

void control_save_gone(struct client *cl)
{
    struct save *s = cl->c->vm->save;

    if (!cl->saving || !s)
        return;
    cl->saving = false;
    if (!save_back(s))
        save_cancel(s);
}
