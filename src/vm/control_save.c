/*
 * vm/control_save.c: requests of the control socket that put the machine's state into a file.  (doc/control.md)
 * The process cannot open files: the client opens an empty one, hands it in with its request (unix(7), SCM_RIGHTS), and gives it its
 * name when the answer says that it is complete.
 *   (1) A suspended machine waits for its client, who gives the file its name and then says `end`.  A client that goes without a word
 *       leaves a machine that runs on.
 */
#include "vm/control_internal.h"
#include "vm/save.h"

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

static int start(struct client *cl, enum save_kind kind, const char *file, struct err *e)
{
    struct save_cfg cfg = { .kind = kind, .file = file, .done = done };
    struct later *l;
    int r;

    if (cl->file < 0)
        return err_set(e, -EBADF, "a file is to be handed in with this request");
    if (!cl->c->vm->save)
        return err_set(e, -EOPNOTSUPP, "this machine cannot be saved");
    cfg.arg = l = control_later(cl, NULL);
    cl->saving = true;
    r = save_start(cl->c->vm->save, TAKE_FD(cl->file), &cfg, e);
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
        return start(cl, SAVE_SUSPEND, rq->file, e);
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
    } modes[] = { { "full", SAVE_FULL }, { "base", SAVE_BASE }, { "diff", SAVE_DIFF } };

    for_each_row(m, modes)
        if (strcmp(m->mode, rq->mode) == 0)
            return start(cl, m->kind, rq->file, e);
    return err_set(e, -EINVAL, "snapshot mode '%.40s': allowed are 'full', 'base' and 'diff'",
                   rq->mode);
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
