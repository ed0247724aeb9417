/*
 * host/clone.c: a clone is asked for: what it will be, and the task that makes it (clone_make.c).
 */
#include "host/change.h"
#include "host/nic.h"

#include <stdlib.h>

/* A card or a socket of the host is one machine's: a clone has its own, or none. */
static void set_apart(struct instance_cfg *c, const char *folder)
{
    const struct field *nets = conf_field_at(spec_fields, offsetof(struct vm_spec, nets)),
                       *forward = conf_field_at(nets->sub, offsetof(struct vm_net, forward));

    free(TAKE(c->spec.uuid));
    for (u32 i = 0; i < c->spec.nets.n; i++) {
        struct vm_net *n = spec_net(&c->spec, i);

        free(TAKE(n->mac));
        free(TAKE(n->address));
        while (n->forward.n)
            conf_list_remove(forward, n, n->forward.n - 1);
    }
    for (u32 i = 0; i < c->spec.disks.n; i++) {
        struct vm_disk *d = spec_disk(&c->spec, i);

        if (d->readonly)
            continue;
        free(d->file);
        d->file = str_new("%s/disk%u", folder, i + 1);
        free(TAKE(d->format));
    }
    if (c->spec.vsock.path) {
        free(c->spec.vsock.path);
        c->spec.vsock.path = str_new("%s/vsock", folder);
    }
    free(TAKE(c->cloud.hostname)); /* it is called as it is */
    c->autostart = c->protected = c->template = false;
}

static void clone_cfg(const struct instance *from, const char *name, struct instance_cfg *ret)
{
    AUTO(free) char *folder = str_new("%s/instances/i%llu", from->host->dir, from->host->next);

    conf_copy(instance_fields(), ret, &from->cfg);
    free(ret->spec.name);
    ret->spec.name = xdup(name);
    set_apart(ret, folder);
    instance_identify(ret);
}

static int check_clone(const struct instance *from, const struct host_cloning *c, struct err *e)
{
    const char *name = from->cfg.spec.name;
    const int state = from->run.state;

    if (c->snapshot && !spec_name_ok(c->snapshot)) {
        err_set(e, -EINVAL, "'%.70s' is no name of a snapshot", c->snapshot);
        return err_field(e, "snapshot");
    }
    if (from->cfg.kind == INSTANCE_OS && c->mode == CLONE_INSTANT)
        return err_set(e, -EOPNOTSUPP,
                       "'%s' is a container: its clones begin anew; instant ones are of machines",
                       name);
    if (from->task)
        return err_set(e, -EBUSY, "'%s' is busy: task %llu (%s)", name, from->task->number,
                       task_words[from->task->rec.what]);
    if (from->cfg.template && (c->snapshot || c->mode == CLONE_INSTANT))
        return err_set(e, -EINVAL, "'%s' is a template: clones are of its disks as they are", name);
    if (c->mode == CLONE_INSTANT && !c->snapshot && state != HOST_RUNNING && state != HOST_PAUSED)
        return err_set(e, -EBUSY, "'%s' is %s; an instant clone is of a machine that runs", name,
                       host_state_words[state]);
    if (state != HOST_OFF && state != HOST_FAILED && state != HOST_RUNNING &&
        state != HOST_PAUSED && !(state == HOST_SUSPENDED && c->snapshot))
        return err_set(e, -EBUSY,
                       "'%s' is %s; a clone is of a machine that runs, is paused or off, or of a "
                       "snapshot",
                       name, host_state_words[state]);
    return 0;
}

static int clone_locked(struct host *h, struct instance *from, const struct host_cloning *c,
                        struct task_rec *rec, struct err *e)
{
    struct base_rec base = { .id = xdup(from->id) };
    struct instance_cfg cfg = {};
    int r = check_clone(from, c, e);

    if (r >= 0)
        clone_cfg(from, c->name, &cfg);
    if (r >= 0)
        r = change_check_new(h, &cfg, e);
    if (r >= 0)
        r = nics_settle_locked(h, NULL, &cfg, e);
    if (r >= 0) {
        rec->from = xdup(from->id);
        rec->snapshot = c->snapshot ? xdup(c->snapshot) : NULL;
        rec->mode = c->mode;
        r = change_create(h, &cfg, rec, &base, e);
    }
    conf_fini(base_fields, &base);
    instance_cfg_fini(&cfg);
    return r;
}

int host_clone(struct host *h, const char *name, const struct host_cloning *c,
               const struct host_who *who, u64 *ret_task, struct err *e)
{
    struct task_rec rec = { .what = TASK_CLONE, .uid = who->uid, .user = host_user_of(who) };
    struct instance *from;
    int r;

    if (change_check_name(c->name, e) < 0)
        return -EINVAL;
    host_lock(h);
    from = change_find(h, name, e);
    r = from ? clone_locked(h, from, c, &rec, e) : -ENOENT;
    if (r >= 0)
        *ret_task = h->next - 1;
    host_unlock(h);
    conf_fini(task_fields, &rec);
    return r;
}
