/*
 * host/snap.c: snapshots of an instance: taken, gone back to, deleted, listed.
 *   (1) A task notes the node's number before it begins.  Whoever does it again finds by that what is complete, and undoes what is not.
 *   (2) A snapshot that a clone builds on is not deleted.
 */
#include "host/snap.h"

#include "base/clock.h"
#include "disk/disk.h"
#include "host/os_snap.h"
#include "host/process.h"
#include "host/task_log.h"
#include "vm/statefile.h"

#include <poll.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum { LOCK_TRIES = 200, LOCK_TICK_MS = 20 };

/* A lock that nobody has any more lives on in a process that another thread forked, or a killed socled, until its execve. */
static bool is_locked_yet(int r, u32 *tries)
{
    if (r != -EAGAIN || (*tries)++ == LOCK_TRIES)
        return false;
    poll(NULL, 0, LOCK_TICK_MS);
    return true;
}

/* ---- the disks of a machine that is off ---- */

static int add_head(struct snap *s, const struct vm_disk *d, struct err *e)
{
    AUTO(disk) struct disk *disk = NULL;
    AUTO(free) char *real = realpath(d->file, NULL);
    struct stat st;
    int r;

    if (!real || stat(real, &st) < 0)
        return err_errno(e, "disk '%s'", d->file);
    if (!S_ISREG(st.st_mode))
        return err_set(e, -EINVAL, "disk '%s' cannot be part of a snapshot: it is no file", real);
    if (d->format && strcmp(d->format, "auto") != 0 && strcmp(d->format, "qcow2") != 0)
        return err_set(e, -EINVAL, "disk '%s' cannot be part of a snapshot: its format was given",
                       real);
    r = job_open_image(&(struct job_image){ .file = real, .format = d->format }, true, &disk, e);
    if (r < 0)
        return r;
    s->heads.head[s->heads.n] =
        (struct tree_head){ .file = real, .format = disk->ops->format, .size = disk->size };
    s->files[s->heads.n++] = TAKE(real);
    return 0;
}

static int find_heads(struct snap *s, struct err *e)
{
    struct vm_spec spec;
    int r;

    host_lock(s->task->host);
    r = process_spec_locked(s->inst, &spec, e);
    host_unlock(s->task->host);
    if (r < 0)
        return r;
    for (u32 i = 0; i < spec.disks.n && r >= 0; i++)
        if (!spec_disk(&spec, i)->readonly)
            r = add_head(s, spec_disk(&spec, i), e);
    spec_fini(&spec);
    if (r >= 0 && !s->heads.n)
        r = err_set(e, -EINVAL, "'%s' writes to no disk, beside which snapshots could be",
                    s->task->rec.name);
    return r;
}

/* ---- the tree ---- */

static void disconnect(struct snap *s)
{
    tree_live_close(&s->live);
    talk_close(&s->talk);
    for (u32 i = 0; i < s->heads.n; i++)
        free(s->files[i]);
    s->heads.n = 0;
}

static int connect_once(struct snap *s, struct err *e)
{
    int r = process_find_again(&s->task->job, s->inst, e);

    if (r == -EAGAIN)
        return -ETIMEDOUT; /* it was waited for long enough */
    disconnect(s);
    s->alive = r != -ESRCH;
    if (!s->alive)
        return find_heads(s, e);
    if (r >= 0)
        r = talk_open(&s->talk, s->control, TALK_SECONDS, e);
    return r < 0 ? r : tree_live_open(&s->live, &s->talk, e);
}

static int connect_machine(struct snap *s, struct err *e)
{
    u32 tries = 0;
    int r;

    do
        r = connect_once(s, e);
    while (is_locked_yet(r, &tries));
    return r;
}

int snap_open(struct snap *s, struct task *t, struct instance *i, bool create, struct err *e)
{
    u32 tries = 0;
    int r;

    *s = (struct snap){ .task = t, .inst = i, .f.lock = -1, .talk.fd = -1 };
    s->control = process_path(i, "control");
    r = connect_machine(s, e);
    if (r < 0)
        return r;
    do {
        tree_close(&s->f);
        r = tree_open(&s->f, snap_heads(s)->head[0].file, create, e);
    } while (is_locked_yet(r, &tries));
    return r;
}

void snap_close(struct snap *s)
{
    disconnect(s);
    tree_close(&s->f);
    free(TAKE(s->control));
}

int snap_drop(struct snap *s, struct job *j, const char *name, struct err *e)
{
    u32 tries = 0;
    int r;

    do {
        r = connect_machine(s, e); /* it may have ended meanwhile, or the conversation */
        if (r < 0)
            return r;
        r = s->alive ? tree_live_delete(j, &s->live, &s->f, name, e)
                     : tree_delete(j, &s->f, name, NULL, e);
    } while (is_locked_yet(r, &tries));
    return r;
}

void snap_undo(struct task *t, struct instance *i)
{
    const struct tree_node *n;
    struct job j = {};
    struct err e = {};
    struct snap s;
    int r;

    if (!t->rec.node)
        return;
    atomic_store(&t->job.cancel, false); /* what is undone is not cancelled */
    r = snap_open(&s, t, i, false, &e);
    n = r < 0 ? NULL : tree_by_id(&s.f.t, t->rec.node);
    if (n)
        r = snap_drop(&s, &j, t->rec.snapshot, &e);
    if (r < 0 && r != -ENOENT)
        log_warn("snapshot '%s', which task %llu needed, stays: %s", t->rec.snapshot, t->number,
                 e.text);
    snap_close(&s);
}

const struct tree_node *snap_find(const struct snap *s, struct err *e)
{
    const char *name = s->task->rec.snapshot;
    const struct tree_node *n = tree_by_name(&s->f.t, name);

    if (n && n->phase == TREE_COMPLETE)
        return n;
    if (n)
        err_set(e, -EINVAL, "snapshot '%s' is not complete: it can only be deleted", name);
    else
        err_set(e, -ENOENT, "there is no snapshot '%s'", name);
    return NULL;
}

/* ---- take ---- */

/* The number, and the name if it had none: durable. */
static int note(struct snap *s, const char *prefix, struct err *e)
{
    struct task *t = s->task;
    AUTO(free) char *name = t->rec.snapshot ? xdup(t->rec.snapshot) : NULL;

    for (u32 k = s->f.t.next; !name || (!t->rec.snapshot && tree_by_name(&s->f.t, name)); k++) {
        free(name);
        name = str_new("%s%u", prefix, k);
    }
    return task_note(t, s->f.t.next, name, e);
}

static int take_off(struct snap *s, struct err *e)
{
    struct tree_overlay overlays[TREE_DISKS_MAX];
    int r = tree_take(&s->f, s->task->rec.snapshot, false, &s->heads, overlays, e);

    if (r < 0)
        return r;
    tree_overlays_close(overlays, s->heads.n);
    return tree_taken(&s->f, e);
}

static int take_live(struct snap *s, bool memory, struct err *e)
{
    const struct tree_live_snapshot wanted = { s->task->rec.snapshot, memory };
    json_t *report = tree_live_take(&s->task->job, &s->live, &s->f, &wanted, e);

    json_decref(report);
    return report ? 0 : e->code;
}

int snap_take(struct snap *s, const char *prefix, bool memory, struct err *e)
{
    struct task *t = s->task;
    const struct tree_node *n = t->rec.node ? tree_by_id(&s->f.t, t->rec.node) : NULL;
    struct job undo = {};
    struct err why = {};
    int r = 0;

    if (n && n->phase == TREE_COMPLETE)
        return 0;
    if (n)
        r = snap_drop(s, &undo, t->rec.snapshot, e);
    if (r >= 0)
        r = job_check(&t->job, e);
    if (r >= 0)
        r = note(s, prefix, e);
    if (r < 0)
        return r;
    r = s->alive ? take_live(s, memory, e) : take_off(s, e);
    n = r < 0 ? tree_by_id(&s->f.t, t->rec.node) : NULL;
    if (n && !t->host->closing && snap_drop(s, &undo, t->rec.snapshot, &why) < 0)
        log_warn("snapshot '%s' of '%s' is not complete: %s", t->rec.snapshot, t->rec.name,
                 why.text);
    return r;
}

int snap_do_take(struct task *t, struct err *e)
{
    struct snap s;
    int r = snap_open(&s, t, t->inst, true, e);

    if (r >= 0)
        r = snap_take(&s, "snapshot", t->rec.memory, e);
    snap_close(&s);
    return r;
}

/* ---- delete ---- */

static int check_unused(struct snap *s, const struct tree_node *n, struct err *e)
{
    const struct instance *clone;
    int r = 0;

    host_lock(s->task->host);
    clone = host_clone_of_locked(s->inst, n->id);
    if (clone)
        r = err_set(e, -EBUSY, "snapshot '%s': the disks of clone '%s' build on it", n->name,
                    clone->cfg.spec.name);
    host_unlock(s->task->host);
    return r;
}

int snap_do_delete(struct task *t, struct err *e)
{
    const struct tree_node *n;
    struct snap s;
    int r = snap_open(&s, t, t->inst, false, e);

    n = r < 0 ? NULL : tree_by_name(&s.f.t, t->rec.snapshot);
    if (n)
        r = check_unused(&s, n, e);
    if (n && r >= 0)
        r = snap_drop(&s, &t->job, t->rec.snapshot, e);
    if (!n && r >= 0 && t->rec.tries == 1) /* else it is gone since the last try */
        r = err_set(e, -ENOENT, "there is no snapshot '%s'", t->rec.snapshot);
    snap_close(&s);
    return r;
}

/* ---- go back ---- */

/* What it is gone back to; *ret_state: the machine's state, owned, NULL: there is none. */
static int find_target(struct snap *s, char **ret_state, struct err *e)
{
    AUTO(statefile) struct statefile *f = NULL;
    const struct tree_node *n = snap_find(s, e);
    AUTO(free) char *path = n && n->state ? tree_state_path(&s->f, n) : NULL;
    int r = 0;

    if (!n)
        return e->code;
    if (path)
        r = statefile_open(path, &f, e); /* looked at while the machine still runs */
    if (r < 0)
        return r;
    *ret_state = TAKE(path);
    return 0;
}

/* What it was suspended as is of disks that are not any more. */
static int forget_suspended(struct task *t, struct err *e)
{
    AUTO(free) char *state = process_path(t->inst, "state");
    int r = 0;

    host_lock(t->host);
    if (t->inst->run.saved || t->inst->run.state == HOST_SUSPENDED) {
        t->inst->run.saved = false;
        r = host_set_state_locked(t->inst, HOST_OFF, NULL, e);
    }
    host_unlock(t->host);
    if (r >= 0 && unlink(state) < 0 && errno != ENOENT)
        r = err_errno(e, "remove '%s'", state);
    return r;
}

int snap_do_restore(struct task *t, struct err *e)
{
    AUTO(free) char *state = NULL;
    struct process_from from = {};
    struct snap s;
    u32 tries = 0;
    int r = snap_open(&s, t, t->inst, false, e);

    if (r >= 0)
        r = find_target(&s, &state, e);
    disconnect(&s);
    if (r >= 0)
        r = process_stop(t, true, e);
    if (r >= 0)
        r = forget_suspended(t, e);
    if (r >= 0)
        do
            r = tree_restore(&s.f, t->rec.snapshot, e);
        while (is_locked_yet(r, &tries));
    if (r >= 0)
        task_log(t, "its disks are those of snapshot '%s'", t->rec.snapshot);
    snap_close(&s);
    from.file = state;
    if (r >= 0 && (state || t->rec.was_on))
        r = process_start(t, state ? &from : NULL, e);
    return r;
}

/* ---- list ---- */

static json_t *describe(const struct tree *t, const struct tree_node *n)
{
    const struct tree_node *parent = tree_by_id(t, n->parent);
    json_t *j = json_pack("{s:s, s:I, s:b, s:b, s:b}", "name", n->name, "created",
                          (json_int_t)n->time, "memory", n->state != NULL, "current",
                          t->current == n->id, "complete", n->phase == TREE_COMPLETE);

    if (parent)
        json_object_set_new(j, "parent", json_string(parent->name));
    return j;
}

/* The first disk that it writes to; owned, NULL: there is none. */
static char *first_disk_locked(const struct instance *i)
{
    struct vm_spec spec;
    char *file = NULL;

    if (process_spec_locked(i, &spec, NULL) < 0)
        return NULL;
    for (u32 k = 0; k < spec.disks.n && !file; k++)
        if (!spec_disk(&spec, k)->readonly)
            file = xdup(spec_disk(&spec, k)->file);
    spec_fini(&spec);
    return file;
}

int host_snapshots(struct host *h, const char *name, json_t **ret, struct err *e)
{
    AUTO(free) char *disk = NULL;
    AUTO(free) char *folder = NULL; /* of kind os */
    const struct instance *i;
    struct tree t = {};
    json_t *list;
    int r = 0;

    host_lock(h);
    i = host_find_locked(h, name);
    if (i && i->cfg.kind == INSTANCE_OS)
        folder = host_folder(h, i);
    else
        disk = i ? first_disk_locked(i) : NULL;
    host_unlock(h);
    if (!i)
        return err_set(e, -ENOENT, "there is no instance '%.63s'", name);
    if (folder)
        return os_snap_list(folder, ret, e);
    if (disk)
        r = tree_read(disk, &t, e);
    if (r < 0 && r != -ENOENT)
        return r;
    list = json_array();
    for (u32 k = 0; k < t.nodes.n; k++)
        json_array_append_new(list, describe(&t, tree_node(&t, k)));
    conf_fini(tree_fields, &t);
    *ret = list;
    return 0;
}
