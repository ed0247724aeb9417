/*
 * vm/save.c: puts a machine's state into a file.
 * While the guest runs, RAM is copied in rounds: first all of it, then what was written meanwhile, until little is left.  Then the machine
 * stops for as long as it takes to copy the rest to memory and to save the devices, and goes on while all that is written out.
 *   (1) The control loop decides; the thread does one step at a time, and touches a job only between step_start and on_step.
 *   (2) The log is read before the pages are: a page that changes while it is copied is in the next round.
 *   (3) `since` has every page that was written since the last base or diff: a job that fails gives back what it took.
 *   (4) A disk's mark is taken while the machine stands still, all of the guest's writes are in its file then; they are on stable
 *       storage before the job is done.  A disk that goes on in an overlay changes to it while the machine stands still.
 */
#include "vm/save.h"

#include "base/clock.h"
#include "dev/virtio/blk.h"
#include "dev/virtio/net.h"
#include "disk/disk.h"
#include "vm/gdb.h"
#include "vm/save_copy.h"
#include "vm/save_disks.h"
#include "vm/workset.h"

#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    ROUNDS_MAX = 8,
    FEW_PAGES = 1024, /* 4 MiB: copied in a millisecond or two */
};
#define TAKEN_MAX (64 * MiB) /* copied while the machine stands; more is written while it stands */

struct job {
    struct save_cfg cfg;
    char *file; /* cfg.file, owned */
    char id[STATEFILE_ID_LEN + 1];
    struct save_copy copy;
    struct save_report report;
    u64 *todo;   /* pages of this round; NULL: all */
    u64 left;    /* how many are in todo */
    bool sealed; /* disks that went on in overlays are on stable storage */
    bool is_cut; /* cut() was done: */
    u64 *before; /* what `since` was then; of a DIFF, the pages that the file has */
    u8 *taken;
    u64 stop_ns; /* when the machine was told to stop; 0: it was not */
    struct strbuf meta, state;
    int (*step)(struct save *s, struct job *j); /* on the thread */
    void (*next)(struct save *s);               /* on the control loop, when the step went well */
    int r;
    struct err e;
};

struct save {
    struct vm *vm;
    struct loop loop; /* the thread */
    int work, worked; /* eventfds: to the thread, and back */
    struct loop_fd watch_work, watch_worked;
    struct save_disks disks;
    json_t *spec; /* as a file says it */
    u64 *since;   /* NULL: nobody wants to know */
    char *last_file, last_id[STATEFILE_ID_LEN + 1];
    struct job *job;          /* NULL: idle */
    struct job *_Atomic todo; /* for the thread: the job whose step it is to do */
    char from_id[STATEFILE_ID_LEN +
                 1];  /* of the state that this machine went on from; "": it booted */
    int pages_source; /* workset_source */
    u64 *workset;     /* pages that it will need; NULL: not known */
    atomic_bool fetch, fetch_cancel; /* the thread is to fetch them; has something better to do */
    bool suspended;
};

static const char *const kind_names[] = {
    [SAVE_MERGE] = "merge",   [SAVE_SUSPEND] = "suspend", [SAVE_DISKS] = "snapshot of disks",
    [SAVE_FULL] = "snapshot", [SAVE_BASE] = "snapshot",   [SAVE_DIFF] = "snapshot",
};

/* ---- what the file says of the machine ---- */

static void set_path(json_t *in, const char *name)
{
    const char *was = json_string_value(json_object_get(in, name));
    char path[PATH_MAX];

    if (was && realpath(was, path))
        json_object_set_new(in, name, json_string(path));
}

/* The spec without what belongs to this process, with all names from the root, and without defaults that follow from others. */
static void describe_spec(struct save *s)
{
    static const char *const ours[] = { "control",   "control_fd", "gdb", "restore",     "no_jail",
                                        "cache_dir", "verbose",    "jit", "engine_check" };
    const struct vm *vm = s->vm;
    json_t *j = conf_print(spec_fields, vm->spec), *disks = json_object_get(j, "disks");
    const u8 *u = vm->st.uuid;
    char uuid[37];

    for_each_row(o, ours)
        json_object_del(j, *o);
    json_object_del(json_object_get(j, "console"), "backend");
    set_path(j, "kernel");
    set_path(j, "initrd");
    for (u32 i = 0; i < s->disks.n; i++)
        json_object_set_new(json_array_get(disks, i), "file",
                            json_string(s->disks.disk[i].mark.path));
    for (u32 i = 0; i < vm->spec->nets.n; i++) {
        AUTO(free) char *mac = build_mac(vm, i);

        json_object_set_new(json_array_get(json_object_get(j, "nets"), i), "mac", json_string(mac));
    }
    str_fmt(uuid, sizeof(uuid),
            "%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x", u[0], u[1],
            u[2], u[3], u[4], u[5], u[6], u[7], u[8], u[9], u[10], u[11], u[12], u[13], u[14],
            u[15]);
    json_object_set_new(j, "uuid", json_string(uuid));
    json_object_set_new(j, "engine", json_string(cpu_engine_name(vm->engine)));
    s->spec = j;
}

static int describe(struct save *s, struct job *j)
{
    json_t *disks = save_disks_describe(&s->disks, &j->e), *meta;
    char *text;

    if (!disks)
        return j->e.code;
    meta = json_pack("{s:s, s:o, s:b, s:O}", "id", j->id, "disks", disks, "legacy",
                     (int)s->vm->st.legacy, "spec", s->spec);
    if (j->cfg.kind == SAVE_DIFF)
        json_object_set_new(meta, "parent",
                            json_pack("{s:s, s:s}", "file", s->last_file, "id", s->last_id));
    text = json_dumps(meta, JSON_INDENT(1));
    json_decref(meta);
    must(text);
    strbuf_add(&j->meta, "%s\n", text);
    free(text);
    return 0;
}

const struct save_disks *save_get_disks(const struct save *s)
{
    return &s->disks;
}

int save_check_disks(struct save *s, const struct state_meta *meta, struct err *e)
{
    return save_disks_check(&s->disks, meta, e);
}

/* ---- the log ---- */

static int log_start(struct save *s, struct err *e)
{
    mem_dirty_start(s->vm->mem);
    return cpu_dirty_start(s->vm->cpu, e);
}

static void log_stop(struct save *s)
{
    mem_dirty_stop(s->vm->mem);
    cpu_dirty_stop(s->vm->cpu);
}

/* What was written since the last call: adds it to `since` and to `todo`. */
static int log_take(struct save *s, struct job *j)
{
    const u64 words = save_words(s->vm->mem);
    int r;

    if (!j->todo)
        j->todo = xnew_n(u64, words);
    mem_dirty_take(s->vm->mem, j->todo);
    r = cpu_dirty_take(s->vm->cpu, j->todo, &j->e);
    for (u64 i = 0; s->since && i < words; i++)
        s->since[i] |= j->todo[i];
    j->left = save_count(s->vm->mem, j->todo);
    return r;
}

/* ---- the thread's steps ---- */

static int step_copy(struct save *, struct job *j)
{
    return save_copy(&j->copy, j->todo);
}

static int step_finish(struct save *s, struct job *j)
{
    const struct statefile_new n = { mem_size(s->vm->mem), &j->meta, &j->state,
                                     j->cfg.kind == SAVE_DIFF ? j->before : NULL };
    int r = j->taken ? save_write(&j->copy, j->todo, j->taken) : 0;

    if (r >= 0 && !j->sealed)
        r = save_disks_seal(&s->disks, &j->e);
    return r < 0 ? r : statefile_finish(j->copy.fd, &n, &j->e);
}

static int step_merge(struct save *, struct job *j)
{
    return blk_merge_fill(j->cfg.disk, &j->e);
}

static int step_seal(struct save *s, struct job *j)
{
    return save_disks_seal(&s->disks, &j->e);
}

static void on_work(struct loop_fd *f, int)
{
    struct save *s = f->arg;
    struct job *j;

    fd_event_take(s->work);
    if (atomic_exchange(&s->fetch, false))
        workset_fetch(s->vm->mem, s->workset, &s->fetch_cancel);
    j = atomic_exchange(&s->todo, NULL);
    if (!j)
        return;
    j->r = j->step(s, j);
    fd_event_signal(s->worked);
}

static void step_start(struct save *s, int (*step)(struct save *, struct job *),
                       void (*next)(struct save *))
{
    s->job->step = step;
    s->job->next = next;
    atomic_store(&s->todo, s->job);
    fd_event_signal(s->work);
}

/* ---- the control loop's part ---- */

static void job_free(struct job *j)
{
    fd_close(&j->copy.fd);
    strbuf_fini(&j->meta);
    strbuf_fini(&j->state);
    free(j->file);
    free(j->todo);
    free(j->before);
    free(j->taken);
    free(j);
}

/* What a failed job took of `since` counts again. */
static void undo(struct save *s, struct job *j)
{
    const bool was_base = j->is_cut && j->cfg.kind >= SAVE_BASE;

    for (u64 i = 0; was_base && j->before && i < save_words(s->vm->mem); i++)
        s->since[i] |= j->before[i];
    if (was_base && !j->before) { /* it would have been the first */
        free(s->since);
        s->since = NULL;
    }
    if (j->cfg.kind >= SAVE_FULL && !s->since)
        log_stop(s);
}

/* The end of a job: `r` as j->e says, or as its number. */
static void end(struct save *s, int r)
{
    struct job *j = TAKE(s->job);

    if (r < 0) {
        if (!j->e.code)
            err_code(&j->e, r, "%s", kind_names[j->cfg.kind]);
        undo(s, j);
    }
    if (!j->sealed)
        save_disks_done(&s->disks, false);
    save_disks_forget(&s->disks);
    s->suspended = r >= 0 && j->cfg.kind == SAVE_SUSPEND;
    if (r >= 0 && s->since && j->cfg.kind >= SAVE_BASE) {
        free(s->last_file);
        s->last_file = TAKE(j->file);
        str_copy(s->last_id, sizeof(s->last_id), j->id);
    }
    j->report.pages = j->copy.pages;
    if (j->stop_ns && j->cfg.kind != SAVE_SUSPEND)
        j->report.pause_ns = s->vm->went_on_ns > j->stop_ns ? s->vm->went_on_ns - j->stop_ns : 0;
    if (!s->suspended && s->vm->state != RUN_ENDED)
        run_save_go(s->vm);
    if (j->cfg.disk)
        blk_merge_close(j->cfg.disk);
    j->cfg.done(s->vm, &j->report, r < 0 ? &j->e : NULL, j->cfg.arg);
    job_free(j);
}

static void finished(struct save *s)
{
    end(s, 0);
}

/* Now the files below the overlays are what they will be. */
static void sealed(struct save *s)
{
    struct job *j = s->job;
    int r;

    save_disks_done(&s->disks, true);
    j->sealed = true;
    r = j->cfg.kind == SAVE_DISKS ? 0 : describe(s, j);
    if (r < 0 || j->cfg.kind == SAVE_DISKS)
        end(s, r);
    else
        step_start(s, step_finish, finished);
}

static void finish(struct save *s)
{
    if (s->job->cfg.kind != SAVE_SUSPEND)
        run_save_go(s->vm);
    if (save_disks_any(&s->disks))
        step_start(s, step_seal, sealed);
    else
        step_start(s, step_finish, finished);
}

/* The cut: what is written from here on belongs to the next file. */
static void cut(struct save *s, struct job *j)
{
    if (j->cfg.kind >= SAVE_BASE) {
        j->before = TAKE(s->since);
        s->since = xnew_n(u64, save_words(s->vm->mem));
    }
    j->is_cut = true;
    if (!s->since)
        log_stop(s);
}

/* What is saved while all stands still. */
static int take_state(struct save *s, struct job *j)
{
    int r = j->cfg.kind >= SAVE_FULL ? log_take(s, j) : 0;

    if (r >= 0 && j->cfg.kind != SAVE_DISKS)
        r = sections_save(s->vm, &j->state, &j->e);
    if (r >= 0 && !save_disks_any(&s->disks))
        r = describe(s, j);
    if (r >= 0)
        save_disks_take(&s->disks);
    return r;
}

/* All vCPUs are parked, the devices paused. */
static void on_stopped(struct vm *vm, void *arg)
{
    struct save *s = arg;
    struct job *j = s->job;
    int r;

    if (!run_save_settle(vm))
        return; /* save_close ends the job */
    if (j->cfg.kind == SAVE_MERGE) {
        r = blk_merge_cut(j->cfg.disk, &j->e);
        run_save_go(vm);
        end(s, r);
        return;
    }
    r = take_state(s, j);
    if (r < 0) {
        end(s, r);
        return;
    }
    if (j->cfg.kind == SAVE_DISKS) {
        finish(s);
        return;
    }
    if (j->cfg.kind == SAVE_SUSPEND) {
        step_start(s, step_copy, finish);
        return;
    }
    cut(s, j);
    j->copy.again = true;
    j->taken = save_take(vm->mem, j->todo, TAKEN_MAX);
    if (j->taken || j->left == 0)
        finish(s);
    else
        step_start(s, step_copy, finish);
}

static void stop(struct save *s)
{
    int r;

    s->job->stop_ns = clock_mono_ns();
    r = run_save_stop(s->vm, on_stopped, s);
    if (r < 0)
        end(s, r);
}

static void after_round(struct save *s)
{
    struct job *j = s->job;
    u64 before = j->report.rounds > 0 ? j->left : mem_pages(s->vm->mem);
    int r;

    if (j->todo) /* these are copied */
        memset(j->todo, 0, save_words(s->vm->mem) * sizeof(u64));
    r = log_take(s, j);
    j->report.rounds++;
    j->copy.again = true;
    if (r < 0)
        end(s, r);
    else if (s->vm->state != RUN_RUNNING || j->left <= FEW_PAGES || j->left > before / 4 * 3 ||
             j->report.rounds == ROUNDS_MAX)
        stop(s);
    else
        step_start(s, step_copy, after_round);
}

static void on_worked(struct loop_fd *f, int)
{
    struct save *s = f->arg;
    struct job *j = s->job;

    fd_event_take(s->worked);
    if (j->r < 0)
        end(s, j->r);
    else
        j->next(s);
}

/* ---- starting ---- */

static int check_fd(int fd, const struct vm *vm, struct err *e)
{
    struct stat st;
    int flags = fcntl(fd, F_GETFL);

    if (flags < 0 || fstat(fd, &st) < 0)
        return err_errno(e, "the file that was handed in");
    if (!S_ISREG(st.st_mode) || (flags & O_ACCMODE) != O_RDWR || st.st_size != 0)
        return err_set(e, -EINVAL,
                       "the file that was handed in: a regular, empty file is needed, "
                       "open for reading and writing");
    if (ftruncate(fd, (off_t)(STATEFILE_RAM_AT + mem_size(vm->mem))) < 0)
        return err_errno(e, "make the file as large as RAM");
    return 0;
}

static int check_machine(const struct save *s, const struct save_cfg *cfg, struct err *e)
{
    const struct vm *vm = s->vm;

    if (s->job || s->suspended)
        return err_set(e, -EBUSY, "the state is being saved already");
    if (vm->state == RUN_ENDED || vm->debug_paused)
        return err_set(e, -EBUSY, "the machine is %s",
                       vm->debug_paused ? "held by the debugger" : run_state_name(vm->state));
    if (gdb_has_points(vm->gdb))
        return err_set(e, -EBUSY, "the debugger has points, which may be in the guest's memory");
    if (vm->nameless_disks)
        return err_set(
            e, -EINVAL,
            "this clone's disks have no names: nothing could go on from its state (give a "
            "clone images of its own with --disk)");
    if (vm->spec->shares.n && cfg->kind != SAVE_MERGE && cfg->kind != SAVE_DISKS)
        return err_set(e, -EINVAL, "machine has the shared folder '%s': it cannot be saved",
                       spec_share(vm->spec, 0)->tag);
    if (cfg->kind == SAVE_DIFF && !s->since)
        return err_set(e, -ENOENT, "there is no base that a differential snapshot could build on");
    return 0;
}

static void new_id(char id[STATEFILE_ID_LEN + 1])
{
    u8 raw[STATEFILE_ID_LEN / 2];

    must(getrandom(raw, sizeof(raw), 0) == sizeof(raw));
    for (u32 i = 0; i < sizeof(raw); i++)
        str_fmt(id + 2 * i, 3, "%02x", raw[i]);
}

static void drop_overlays(const struct save_cfg *cfg)
{
    for (u32 i = 0; i < cfg->n_overlays; i++) {
        fd_close(&cfg->overlays[i].fd);
        fd_close(&cfg->overlays[i].lock_fd);
    }
}

int save_start(struct save *s, int fd, const struct save_cfg *cfg, struct err *e)
{
    AUTO(fd) int file = fd;
    struct job *j;
    int r = check_machine(s, cfg, e);

    if (r >= 0 && cfg->kind == SAVE_MERGE)
        r = blk_merge_open(cfg->disk, cfg->inode, &s->loop, e);
    else if (r >= 0 && cfg->kind != SAVE_DISKS)
        r = check_fd(file, s->vm, e);
    if (r >= 0)
        r = save_disks_prepare(&s->disks, cfg->overlays, cfg->n_overlays, e);
    else
        drop_overlays(cfg);
    if (r >= 0 && cfg->kind >= SAVE_FULL && !s->since && (r = log_start(s, e)) < 0)
        save_disks_done(&s->disks, false);
    if (r < 0)
        return r;
    atomic_store(&s->fetch_cancel, true);
    j = xnew(struct job);
    j->cfg = *cfg;
    j->cfg.overlays = NULL;
    j->file = xdup(cfg->file);
    j->cfg.file = j->file;
    j->report.kind = cfg->kind;
    j->copy = (struct save_copy){ .mem = s->vm->mem, .fd = TAKE_FD(file) };
    new_id(j->id);
    s->job = j;
    if (cfg->kind == SAVE_MERGE) {
        step_start(s, step_merge, stop);
        return 0;
    }
    if (cfg->kind < SAVE_FULL) {
        stop(s);
        return 0;
    }
    if (cfg->kind == SAVE_DIFF && (r = log_take(s, j)) < 0) {
        if (e)
            *e = j->e;
        save_disks_done(&s->disks, false);
        job_free(TAKE(s->job));
        return r;
    }
    if (cfg->kind == SAVE_DIFF)
        memcpy(j->todo, s->since, save_words(s->vm->mem) * sizeof(u64));
    step_start(s, step_copy, after_round);
    return 0;
}

void save_cancel(struct save *s)
{
    if (!s->job)
        return;
    atomic_store(&s->job->copy.cancel, true);
    if (s->job->cfg.disk)
        blk_merge_cancel(s->job->cfg.disk);
}

bool save_end(struct save *s)
{
    if (!s->suspended)
        return false;
    s->suspended = false;
    run_end(s->vm, VM_END_SUSPENDED, 0, NULL);
    return true;
}

bool save_back(struct save *s)
{
    if (!s->suspended)
        return false;
    s->suspended = false;
    run_save_go(s->vm);
    return true;
}

void save_progress(const struct save *s, char *text, size_t size, u64 *done, u64 *total)
{
    const struct job *j = s->job;
    const bool merge = j && j->cfg.kind == SAVE_MERGE;

    text[0] = 0;
    *done = !j ? 0 : merge ? blk_merge_done(j->cfg.disk) : atomic_load(&j->copy.done);
    *total = !j ? 0 : merge ? blk_disk(j->cfg.disk)->size : mem_size(s->vm->mem);
    if (merge)
        str_fmt(text, size, "%s: %llu of %llu MiB", kind_names[SAVE_MERGE], *done / MiB,
                *total / MiB);
    else if (j)
        str_fmt(text, size, "%s: round %u, %llu of %llu MiB", kind_names[j->cfg.kind],
                j->report.rounds + 1, *done / MiB, *total / MiB);
    else if (s->suspended)
        str_fmt(text, size, "suspended, its file has no name yet");
}

/* ---- life ---- */

static void watch_work(void *arg)
{
    struct save *s = arg;

    if (loop_fd_open(&s->loop, &s->watch_work, s->work, UV_READABLE, on_work, s) < 0)
        s->watch_work = (struct loop_fd){};
}

static void unwatch_work(void *arg)
{
    loop_fd_close(&((struct save *)arg)->watch_work);
}

static int open_thread(struct save *s, struct err *e)
{
    struct vm *vm = s->vm;
    int r = loop_init(&s->loop, "state");

    if (r >= 0)
        r = s->work = fd_eventfd();
    if (r >= 0)
        r = s->worked = fd_eventfd();
    if (r >= 0)
        r = loop_fd_open(&vm->loop, &s->watch_worked, s->worked, UV_READABLE, on_worked, s);
    if (r >= 0)
        loop_call(&s->loop, watch_work, s);
    if (r >= 0)
        r = machine_io_start(&vm->machine, &s->loop, IO_FILES);
    return r < 0 ? err_code(e, r, "start the thread that saves states") : 0;
}

static void open_workset(struct save *s)
{
    const struct statefile *from = s->vm->from;

    if (!from)
        return;
    str_copy(s->from_id, sizeof(s->from_id), from->meta.id);
    s->pages_source = workset_source();
    s->workset = workset_open(from->part[0].name, s->from_id, mem_pages(s->vm->mem));
}

void save_fetch(struct save *s)
{
    if (!s || !s->workset)
        return;
    atomic_store(&s->fetch, true);
    fd_event_signal(s->work);
}

int save_record_pages(const struct save *s, int fd, struct err *e)
{
    AUTO(fd) int file = fd;
    s64 n;

    if (!s->from_id[0])
        return err_set(e, -EINVAL, "this machine did not go on from a saved state");
    n = workset_record(s->vm->mem, s->pages_source, s->from_id, file, e);
    return n < 0 ? (int)n : (int)min(n, (s64)INT32_MAX);
}

int save_open(struct vm *vm, struct save **ret, struct err *e)
{
    struct save *s = xnew(struct save);
    int r;

    s->vm = vm;
    s->work = s->worked = s->pages_source = -1;
    *ret = s;
    open_workset(s);
    r = save_disks_open(&s->disks, vm, e);
    if (r < 0)
        return r;
    describe_spec(s);
    return open_thread(s, e);
}

void save_close(struct save *s)
{
    if (!s)
        return;
    save_cancel(s);
    atomic_store(&s->fetch_cancel, true);
    if (s->loop.name) { /* else it was never made */
        loop_call(&s->loop, unwatch_work, s);
        loop_join(&s->loop);
        if (s->job && s->job->cfg.disk)
            blk_merge_close(s->job->cfg.disk); /* its queue is on that loop */
        loop_fini(&s->loop);
    }
    loop_fd_close(&s->watch_worked);
    if (s->job) {
        err_set(&s->job->e, -ECANCELED, "the machine ended");
        end(s, -ECANCELED);
    }
    save_disks_close(&s->disks);
    fd_close(&s->work);
    fd_close(&s->worked);
    fd_close(&s->pages_source);
    free(s->workset);
    json_decref(s->spec);
    free(s->since);
    free(s->last_file);
    free(s);
}
