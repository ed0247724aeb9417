/*
 * host/process_start.c: a machine's process is started: from its configuration, or from a saved state.
 */
#include "base/clock.h"
#include "host/again.h"
#include "host/cgroup.h"
#include "host/newfile.h"
#include "host/nic.h"
#include "host/process.h"
#include "host/room.h"
#include "host/seed.h"
#include "host/spawn.h"
#include "host/task_log.h"
#include "host/tree.h"
#include "vm/statefile.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    LOG_MAX = 1024 * 1024, /* of vm.log, at a start */
    SPEC_MAX = 1024 * 1024,
    MACHINE_UID =
        0x70000000, /* systemd, "Users, Groups, UIDs and GIDs": from here on nobody has them */
    MACHINE_UIDS = 0x10000000,
};

/* What is to be started. */
struct plan {
    struct room room;
    struct vm_spec spec;
    bool resumes; /* from its suspended state, as the machine that its last start was of */
    char *seed;   /* NULL: none is to be made */
    struct cloud_texts texts;
};

static void plan_fini(struct plan *p)
{
    spec_fini(&p->spec);
    cloud_texts_fini(&p->texts);
    free(TAKE(p->seed));
    room_fini(&p->room);
}

/* The description with which the machine was started last: what it was may have been edited since. */
static int read_spec(const struct instance *i, struct vm_spec *ret, struct err *e)
{
    AUTO(free) char *path = process_path(i, "machine"), *text = NULL;
    AUTO(fd) int fd = open(path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    size_t len = 0;
    int r;

    if (fd < 0)
        return err_errno(e, "'%s'", path);
    r = fd_read_whole(fd, SPEC_MAX, &text, &len);
    if (r == -EFBIG)
        return err_set(e, -EBADMSG, "'%s' has an impossible size", path);
    return r < 0 ? err_code(e, r, "read '%s'", path) : spec_parse(ret, text, len, e);
}

static int write_spec(const struct instance *i, const struct vm_spec *spec, struct err *e)
{
    AUTO(free) char *path = process_path(i, "machine");
    json_t *j = conf_print(spec_fields, spec);

    json_object_del(j, "restore"); /* from what it went on this time */
    return newfile_json(path, j, e);
}

static int configured_locked(const struct instance *i, struct vm_spec *ret, struct err *e)
{
    AUTO(free) char *folder = host_folder(i->host, i);
    const struct instance_paths paths = { folder, i->host->images, i->host->cache };
    struct image_cfg image = {};
    int r = i->cfg.image ? images_get(i->host->images, i->cfg.image, &image, e) : 0;

    if (r >= 0)
        r = instance_spec(&i->cfg, &paths, i->cfg.image ? &image : NULL, ret, e);
    conf_fini(image_cfg_fields, &image);
    if (r >= 0 && i->host->uid == 0)
        ret->uid = MACHINE_UID + (u32)(host_number(i) % MACHINE_UIDS);
    return r;
}

int process_spec_locked(const struct instance *i, struct vm_spec *ret, struct err *e)
{
    return host_is_alive(i) || i->run.saved ? read_spec(i, ret, e) : configured_locked(i, ret, e);
}

static int make_spec_locked(const struct instance *i, struct vm_spec *ret, struct err *e)
{
    int r;

    if (!i->run.saved)
        return configured_locked(i, ret, e);
    r = read_spec(i, ret, e);
    if (r >= 0)
        ret->restore.file = process_path(i, "state");
    return r;
}

/* A clone's disks are its own, but for those that nobody writes to. */
static int take_clone_disks(struct vm_spec *was, struct vm_spec *now, struct err *e)
{
    u32 k = 0;

    for (u32 i = 0; i < was->disks.n; i++) {
        if (spec_disk(was, i)->readonly)
            continue;
        while (k < now->disks.n && spec_disk(now, k)->readonly)
            k++;
        if (k == now->disks.n)
            return err_set(e, -EINVAL, "the saved machine writes to more disks than the clone has");
        again_move(&spec_disk(was, i)->file, &spec_disk(now, k++)->file);
    }
    return 0;
}

/* The state's machine, with what the host provides now.  Its disks are those of then. */
static int go_on_from(const struct process_from *from, struct vm_spec *was, struct vm_spec *now,
                      struct err *e)
{
    const struct field *disks = conf_field_at(spec_fields, offsetof(struct vm_spec, disks));
    int r = from->clone ? take_clone_disks(was, now, e) : 0;

    if (r < 0)
        return r;
    while (now->disks.n)
        conf_list_remove(disks, now, now->disks.n - 1);
    now->restore = (struct vm_restore){ .file = xdup(from->file), .clone = from->clone };
    return again_merge(was, now, e);
}

/* What cloud-init is told is the last disk. */
static void add_seed(struct plan *p, const struct instance *i)
{
    const struct field *disks = conf_field_at(spec_fields, offsetof(struct vm_spec, disks));
    const struct cloud_who who = { i->cfg.spec.name, i->cfg.spec.uuid, &i->cfg.spec.nets };
    AUTO(free) char *folder = host_folder(i->host, i);
    struct vm_disk *d = conf_list_add(disks, &p->spec);

    must(d); /* instance_spec left room */
    cloud_texts(&i->cfg.cloud, &who, &p->texts);
    p->seed = seed_path(folder, &p->texts);
    d->file = xdup(p->seed);
    d->format = xdup("raw");
    d->readonly = true;
}

static bool has_snapshots(const struct vm_spec *spec)
{
    bool any = false;

    for (u32 i = 0; i < spec->disks.n && !any; i++) {
        struct tree t = {};
        int r =
            spec_disk(spec, i)->readonly ? -ENOENT : tree_read(spec_disk(spec, i)->file, &t, NULL);

        any = t.nodes.n || (r < 0 && r != -ENOENT);
        conf_fini(tree_fields, &t);
    }
    return any;
}

/* Older seeds are of use for saved states only: while there is a snapshot, they stay. */
static int make_seed(const struct instance *i, const struct plan *p, struct err *e)
{
    AUTO(free) char *folder = host_folder(i->host, i);
    int r = seed_make(p->seed, &p->texts, e);

    if (r >= 0 && !has_snapshots(&p->spec))
        seed_clean(folder, p->seed);
    return r;
}

static int read_state(const char *file, struct vm_spec *ret, struct err *e)
{
    AUTO(statefile) struct statefile *f = NULL;
    int r = statefile_open(file, &f, e);

    if (r < 0)
        return r;
    *ret = f->meta.spec;
    f->meta.spec = (struct vm_spec){};
    return 0;
}

static int plan_locked(struct task *t, const struct process_from *from, struct vm_spec *was,
                       struct plan *p, struct err *e)
{
    struct instance *i = t->inst;
    int r = make_spec_locked(i, &p->spec, e);

    if (r < 0)
        return r;
    p->resumes = i->run.saved;
    if (from && (r = go_on_from(from, was, &p->spec, e)) >= 0) {
        spec_fini(&p->spec);
        p->spec = *was;
        *was = (struct vm_spec){};
    }
    if (!from && !p->resumes && cloud_is_used(&i->cfg.cloud))
        add_seed(p, i);
    if (r >= 0 && !t->rec.force)
        r = room_check_locked(&p->room, i, p->spec.memory, e);
    return r < 0 ? r : host_set_state_locked(i, HOST_STARTING, NULL, e);
}

/* What it will be, and that it is being started; the memory of others is counted in the same moment.  Finish with plan_fini. */
static int make_plan(struct task *t, const struct process_from *from, u64 log_at, struct plan *p,
                     struct err *e)
{
    struct vm_spec was = {};
    int r = from ? read_state(from->file, &was, e) : 0;

    *p = (struct plan){};
    if (r >= 0 && !t->rec.force)
        r = room_read(&p->room, t->host, e);
    if (r >= 0) {
        host_lock(t->host);
        t->inst->run.log_at = log_at;
        r = plan_locked(t, from, &was, p, e);
        host_unlock(t->host);
    }
    spec_fini(&was);
    return r;
}

/* Until it answers, or ends. */
static int wait_for(struct task *t, const struct spawn *vm, struct err *e)
{
    const u64 limit = clock_mono_ns() + PROCESS_START_SECONDS * NSEC_PER_SEC;
    struct pollfd p = { .fd = vm->pidfd, .events = POLLIN };
    enum host_state state;
    pid_t pid;

    while (clock_mono_ns() < limit) {
        int fd = process_ask(t->inst, &pid, &state, e), r = job_check(&t->job, e);

        if (fd >= 0 && pid == vm->pid) {
            fd_close(&fd);
            return 0;
        }
        fd_close(&fd);
        if (r < 0)
            return r;
        if (poll(&p, 1, 1) > 0)
            return -ECHILD;
    }
    return err_set(e, -ETIMEDOUT, "it does not answer");
}

/* It did not get as far as to be watched. */
static void start_failed(struct task *t, struct spawn *vm, int r, struct err *e)
{
    struct instance *i = t->inst;
    int status;

    if (r != -ECHILD)
        kill(vm->pid, SIGKILL);
    status = process_child_status(vm->pid);
    host_lock(t->host);
    if (r == -ECHILD && !process_last_error(i, e->text))
        err_set(e, r, "its process ended with status %d", status);
    if (host_set_state_locked(i, i->run.saved ? HOST_SUSPENDED : HOST_FAILED, e->text, NULL) < 0)
        log_error("machine '%s' did not start, which cannot be recorded", i->cfg.spec.name);
    process_leave_locked(i);
    host_unlock(t->host);
}

int process_not_started(struct task *t, int r, const struct err *e)
{
    struct instance *i = t->inst;

    host_lock(i->host);
    (void)host_set_state_locked(i, i->run.saved ? HOST_SUSPENDED : HOST_FAILED, e->text, NULL);
    process_leave_locked(i);
    host_unlock(i->host);
    return r;
}

int process_started(struct task *t, struct spawn *vm, struct err *e)
{
    int r = wait_for(t, vm, e);

    if (r == -ECANCELED && t->host->closing) {
        spawn_fini(vm);
        return r; /* the next socled finds it */
    }
    if (r < 0)
        start_failed(t, vm, r, e);
    else
        r = process_watch(t->inst, TAKE_FD(vm->pidfd), vm->pid, true, HOST_RUNNING, e);
    if (r >= 0)
        task_log(t, "it runs, as process %d", (int)vm->pid);
    spawn_fini(vm);
    return r;
}

static int launch(struct task *t, int log, struct plan *p, struct err *e)
{
    struct spawn_how how = { .alone = true, .log = log };
    AUTO(fd) int cgroup = -1;
    AUTO(free) char *state = process_path(t->inst, "state");
    struct vm_spec *spec = &p->spec;
    struct spawn vm;
    int r;

    host_lock(t->host);
    how.cgroup = cgroup = cgroup_enter_locked(t->inst, spec->memory);
    host_unlock(t->host);
    r = nics_plug(t->inst, spec, e);
    if (r >= 0 && !p->resumes)
        r = write_spec(t->inst, spec, e);
    if (r >= 0 && p->seed)
        r = make_seed(t->inst, p, e);
    for (u32 k = 0; k < spec->disks.n && r >= 0; k++)
        r = tree_usable(spec_disk(spec, k)->file, e);
    if (r >= 0)
        r = spawn_start(spec, &how, &vm, e);
    if (r < 0)
        return process_not_started(t, r, e);
    r = process_started(t, &vm, e);
    if (r >= 0)
        unlink(state); /* it is mapped, and nobody may go on from it twice */
    return r;
}

static int start_with(struct task *t, const struct process_from *from, int log, struct err *e)
{
    struct plan p;
    struct stat st;
    int r;

    if (fstat(log, &st) < 0 || (st.st_size > LOG_MAX && ftruncate(log, 0) < 0))
        return err_errno(e, "the log of '%s'", t->rec.name);
    if (st.st_size > LOG_MAX)
        st.st_size = 0;
    if (t->inst->cfg.kind == INSTANCE_OS) /* which stays: check_edit */
        return process_os_start(t, log, (u64)st.st_size, e);
    r = make_plan(t, from, (u64)st.st_size, &p, e);
    if (r >= 0)
        r = launch(t, log, &p, e);
    plan_fini(&p);
    return r;
}

static bool take_silent(struct instance *i)
{
    bool silent;

    host_lock(i->host);
    silent = i->silent;
    i->silent = false;
    host_unlock(i->host);
    return silent;
}

int process_start(struct task *t, const struct process_from *from, struct err *e)
{
    int r;

    if (take_silent(t->inst))
        return process_find_again(&t->job, t->inst,
                                  e); /* it was started: one that ends now is not started again */
    do {
        AUTO(fd) int log = process_log(t->inst, true, e);

        r = log;
        if (log >= 0)
            return start_with(t, from, log, e);
        if (log == -EBUSY)
            r = process_find_again(&t->job, t->inst, e);
    } while (r == -ESRCH); /* it ended, or another's fork had the lock until its execve */
    return r;
}
