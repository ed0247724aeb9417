/*
 * host/change.c: what is asked of the host: instances made, edited, renamed.
 * Each is one transaction: what is wished, and the task that brings it about, are recorded together before the answer.
 */
#include "host/change.h"

#include "base/clock.h"
#include "host/cgroup.h"
#include "host/nic.h"
#include "host/process.h"

#include <stdlib.h>

/* The record of the counter, `used` further. */
static void add_next(struct host *h, struct host_change *c, u64 used)
{
    store_txn_if(&c->txn, "next", h->next_rev);
    host_change_put(c, "next", json_pack("{s:I}", "next", (json_int_t)(h->next + used)));
}

/* A new task's record with the rest of the change, and the task itself.  `rec` is moved on success. */
int change_accept(struct host *h, struct host_change *c, struct task_rec *rec, u64 numbers,
                  struct err *e)
{
    const u64 number = h->next + numbers - 1;
    u64 rev;
    int r;

    rec->created = clock_real_ns() / NSEC_PER_SEC;
    c->result = json_pack("{s:I, s:I}", "task", (json_int_t)number, "revision",
                          (json_int_t)store_revision(h->store));
    host_change_task(c, number, rec);
    add_next(h, c, numbers);
    r = host_change_do(h, c, &rev, e);
    if (r < 0)
        return r;
    h->next += numbers;
    h->next_rev = rev;
    return 0;
}

int host_begin_locked(struct host *h, struct host_change *c, struct task_rec *rec, u64 *ret_task,
                      struct err *e)
{
    int r = change_accept(h, c, rec, 1, e);

    if (r < 0) {
        conf_fini(task_fields, rec);
        return r;
    }
    *ret_task = h->next - 1;
    task_go_locked(task_new_locked(h, rec, NULL));
    return 0;
}

static void insert(struct host *h, struct instance *i)
{
    const u32 at = host_after_locked(h, i->cfg.spec.name);

    memmove(h->list + at + 1, h->list + at, (h->n - at) * sizeof(*h->list));
    h->list[at] = i;
    h->n++;
}

int change_check_new(struct host *h, struct instance_cfg *cfg, struct err *e)
{
    struct image_cfg image = {};
    int r = task_room_locked(h, e);

    if (r >= 0 && h->n == HOST_INSTANCES_MAX)
        r = err_set(e, -ENOSPC, "there are %u instances; more are not allowed", h->n);
    if (r >= 0 && host_find_locked(h, cfg->spec.name))
        r = err_set(e, -EEXIST, "there is an instance '%s'", cfg->spec.name);
    if (r >= 0 && cfg->image)
        r = images_get(h->images, cfg->image, &image, e);
    if (r >= 0)
        r = instance_settle_kind(cfg, &image, e);
    if (r >= 0)
        r = instance_check_iso(cfg, h->images, e);
    conf_fini(image_cfg_fields, &image);
    return r;
}

int change_create(struct host *h, struct instance_cfg *cfg, struct task_rec *rec,
                  struct base_rec *base, struct err *e)
{
    struct instance *i = xnew(struct instance);
    struct host_change c = {};
    const char *name;
    int r;

    *i = (struct instance){ .host = h, .pidfd = -1, .run.state = HOST_CREATING, .base = *base };
    str_fmt(i->id, sizeof(i->id), "i%llu", h->next);
    rec->id = xdup(i->id);
    rec->name = xdup(cfg->spec.name);
    name = host_change_key(&c, "name", cfg->spec.name);
    store_txn_if(&c.txn, name, 0);
    host_change_put(&c, name, json_pack("{s:s}", "id", i->id));
    host_change_put(&c, host_change_key(&c, "instance", i->id), conf_print(instance_fields(), cfg));
    host_change_run(&c, i, &i->run);
    if (base->id)
        host_change_base(&c, i);
    r = change_accept(h, &c, rec, 2, e);
    if (r < 0) {
        free(i);
        return r;
    }
    *base = (struct base_rec){};
    i->rev = h->next_rev;
    i->cfg = *cfg;
    *cfg = (struct instance_cfg){};
    insert(h, i);
    task_go_locked(task_new_locked(h, rec, i));
    return 0;
}

int host_create(struct host *h, struct instance_cfg *cfg, const struct host_who *who, u64 *ret_task,
                struct err *e)
{
    struct task_rec rec = { .what = TASK_CREATE, .uid = who->uid, .user = host_user_of(who) };
    struct base_rec none = {};
    int r = 0;

    instance_identify(cfg);
    for (u32 k = 0; k < cfg->spec.nets.n && r >= 0; k++) {
        const char *network = spec_net(&cfg->spec, k)->network;

        if (network && strcmp(network, NETWORK_DEFAULT) == 0)
            r = network_need_default(h, who, e);
    }
    if (r < 0)
        return r;
    host_lock(h);
    r = change_check_new(h, cfg, e);
    if (r >= 0)
        r = nics_settle_locked(h, NULL, cfg, e);
    if (r >= 0)
        r = change_create(h, cfg, &rec, &none, e);
    if (r >= 0)
        *ret_task = h->next - 1;
    host_unlock(h);
    conf_fini(task_fields, &rec);
    return r;
}

struct instance *change_find(struct host *h, const char *name, struct err *e)
{
    struct instance *i = host_find_locked(h, name);

    if (!i)
        err_set(e, -ENOENT, "there is no instance '%.63s'", name);
    return i;
}

void host_merge(json_t *to, const json_t *changes)
{
    json_t *all = (json_t *)(uintptr_t)changes, *value;
    const char *name;

    json_object_foreach(all, name, value)
    {
        if (json_is_null(value))
            json_object_del(to, name);
        else
            json_object_set(to, name, value);
    }
}

/* A template's disks stay as they are, from when it is one to when nothing builds on them. */
static int check_template(const struct instance *i, bool template, struct err *e)
{
    const struct instance *clone = template ? NULL : host_clone_of_locked(i, 0);
    const char *name = i->cfg.spec.name;

    if (template == i->cfg.template)
        return 0;
    if (template && (i->task || (i->run.state != HOST_OFF && i->run.state != HOST_FAILED)))
        return err_set(e, -EBUSY, "'%s' is %s; only a machine that is off becomes a template", name,
                       i->task ? "busy" : host_state_words[i->run.state]);
    if (clone)
        return err_set(e, -EBUSY, "'%s' stays a template: the disks of clone '%s' build on its own",
                       name, clone->cfg.spec.name);
    return 0;
}

/* Of a container CPUs and memory are limits, which are kept by its control group. */
static bool is_live(const struct instance *i, const struct field *f)
{
    return instance_field_is_live(f) ||
           (i->cfg.kind == INSTANCE_OS &&
            (strcmp(f->name, "cpus") == 0 || strcmp(f->name, "memory") == 0));
}

/* May it become that?  *ret_restart: something is not live. */
static int check_edit(const struct instance *i, const struct instance_cfg *to, bool *ret_restart,
                      struct err *e)
{
    json_t *was = conf_print(instance_fields(), &i->cfg), *now = conf_print(instance_fields(), to);
    const char *changed = NULL;
    int r = 0;

    for (const struct field *f = instance_fields(); f->name && r >= 0; f++) {
        const json_t *a = json_object_get(was, f->name), *b = json_object_get(now, f->name);

        if (a == b || (a && b && json_equal(a, b)))
            continue;
        if (strcmp(f->name, "name") == 0)
            r = err_set(e, -EINVAL, "'name' is changed by rename");
        else if (strcmp(f->name, "image") == 0)
            r = err_set(e, -EINVAL, "'image' is what the instance was made of, and stays");
        else if (strcmp(f->name, "kind") == 0 &&
                 (i->cfg.kind == INSTANCE_OS || to->kind == INSTANCE_OS))
            r = err_set(e, -EINVAL, "'kind' os is what the image is of, and stays");
        else if (strcmp(f->name, "nets") == 0 && host_is_alive(i) &&
                 (nics_on_network(&i->cfg) || nics_on_network(to)))
            r = err_set(e, -EBUSY,
                        "'nets': a card on a network is changed while its machine is off");
        else if (!is_live(i, f))
            changed = f->name;
    }
    json_decref(was);
    json_decref(now);
    if (r >= 0)
        r = check_template(i, to->template, e);
    if (r >= 0 && changed && (i->run.state == HOST_SUSPENDED || i->run.saved))
        r = err_set(e, -EBUSY, "'%s': a suspended machine goes on as it was; start it first",
                    changed);
    *ret_restart = changed && host_is_alive(i);
    return r;
}

static void apply_limits(const struct instance *i)
{
    struct vm_spec spec = {};

    if (i->pidfd < 0)
        return;
    if (i->cfg.kind == INSTANCE_OS) {
        cgroup_apply_locked(i, i->cfg.spec.memory);
        return;
    }
    if (process_spec_locked(i, &spec, NULL) >= 0)
        cgroup_apply_locked(i, spec.memory);
    spec_fini(&spec);
}

static int put_cfg(struct instance *i, struct instance_cfg *to, struct host_change *c, bool restart,
                   struct err *e)
{
    const char *key = host_change_key(c, "instance", i->id);
    u64 rev;
    int r;

    c->etag = store_revision(i->host->store) + 1;
    c->result = json_pack("{s:I, s:b}", "revision", (json_int_t)c->etag, "restart", restart);
    store_txn_if(&c->txn, key, i->rev);
    host_change_put(c, key, conf_print(instance_fields(), to));
    r = host_change_do(i->host, c, &rev, e);
    if (r < 0)
        return r;
    instance_cfg_fini(&i->cfg);
    i->cfg = *to;
    *to = (struct instance_cfg){};
    i->rev = rev;
    apply_limits(i);
    network_tidy_locked(i->host); /* its name and addresses are others' to look up */
    return 0;
}

static int edit_locked(struct instance *i, const json_t *changes, u64 rev, bool *ret_restart,
                       struct err *e)
{
    struct instance_cfg to = {};
    struct host_change c = {};
    json_t *j;
    int r;

    if (rev && rev != i->rev)
        return err_set(e, -ESTALE, "'%s' was changed meanwhile: it has revision %llu, not %llu",
                       i->cfg.spec.name, i->rev, rev);
    if (i->run.state == HOST_DELETING)
        return err_set(e, -EBUSY, "'%s' is being deleted", i->cfg.spec.name);
    j = conf_print(instance_fields(), &i->cfg);
    host_merge(j, changes);
    r = instance_parse(&to, j, e);
    json_decref(j);
    if (r < 0)
        return r;
    instance_identify(&to);
    r = json_object_get(changes, "shares") ? instance_check_folders(&to, e) : 0;
    if (r >= 0)
        r = nics_settle_locked(i->host, i, &to, e);
    if (r >= 0)
        r = instance_check_iso(&to, i->host->images, e);
    if (r >= 0)
        r = check_edit(i, &to, ret_restart, e);
    if (r >= 0)
        r = put_cfg(i, &to, &c, *ret_restart, e);
    instance_cfg_fini(&to);
    return r;
}

int host_edit(struct host *h, const char *name, const json_t *changes, u64 rev, bool *ret_restart,
              struct err *e)
{
    struct instance *i;
    int r;

    host_lock(h);
    i = change_find(h, name, e);
    r = i ? edit_locked(i, changes, rev, ret_restart, e) : -ENOENT;
    host_unlock(h);
    return r;
}

int change_check_name(const char *name, struct err *e)
{
    if (spec_name_ok(name))
        return 0;
    err_set(e, -EINVAL,
            "'name' is '%.70s'; 1 to 63 letters, digits, '.', '-' or '_', a letter or digit first, "
            "are allowed",
            name);
    return err_field(e, "name");
}

/* The list is by name: it leaves its place, and takes the new one. */
static void move(struct host *h, struct instance *i)
{
    u32 at = 0;

    while (h->list[at] != i)
        at++;
    memmove(h->list + at, h->list + at + 1, (h->n - at - 1) * sizeof(*h->list));
    h->n--;
    insert(h, i);
}

static int rename_locked(struct instance *i, const char *to, struct err *e)
{
    struct host *h = i->host;
    struct instance_cfg cfg = {};
    struct host_change c = {};
    const char *was = host_change_key(&c, "name", i->cfg.spec.name),
               *now = host_change_key(&c, "name", to);
    int r;

    conf_copy(instance_fields(), &cfg, &i->cfg);
    free(cfg.spec.name);
    cfg.spec.name = xdup(to);
    store_txn_if(&c.txn, now, 0);
    store_txn_delete(&c.txn, was);
    host_change_put(&c, now, json_pack("{s:s}", "id", i->id));
    r = put_cfg(i, &cfg, &c, false, e);
    instance_cfg_fini(&cfg);
    if (r >= 0)
        move(h, i);
    return r;
}

int host_rename(struct host *h, const char *name, const char *to, struct err *e)
{
    struct instance *i;
    int r = 0;

    if (change_check_name(to, e) < 0)
        return -EINVAL;
    host_lock(h);
    i = change_find(h, name, e);
    if (!i)
        r = -ENOENT;
    else if (host_find_locked(h, to))
        r = err_set(e, -EEXIST, "there is an instance '%s'", to);
    else if (i->task)
        r = err_set(e, -EBUSY, "'%s' is busy: task %llu (%s)", name, i->task->number,
                    task_words[i->task->rec.what]);
    else
        r = rename_locked(i, to, e);
    host_unlock(h);
    return r;
}
