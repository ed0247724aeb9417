/*
 * host/host.c: the folder of a socled: its lock, its records read and written, its instances by name.
 */
#include "host/host.h"

#include "base/clock.h"
#include "host/cgroup.h"
#include "host/fetch.h"
#include "host/guest.h"
#include "host/guest_nets.h"
#include "host/load.h"
#include "host/lock.h"
#include "host/metrics.h"
#include "host/process.h"
#include "host/schedule.h"
#include "host/upload.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

const char *const host_state_words[] = { "creating", "off",       "starting", "running",  "paused",
                                         "stopping", "suspended", "failed",   "deleting", NULL };

/* clang-format off */
const struct field run_fields[] = {
    FIELD_ENUM(run_rec, state, host_state_words, "what it is doing"),
    FIELD_BOOL(run_rec, saved, "its state is in a file, from which it goes on"),
    FIELD_INT(run_rec, pid, "its process; 0: none"),
    FIELD_STR(run_rec, why, "why it failed"),
    FIELD_INT(run_rec, since, "when that began, in seconds since 1970"),
    FIELD_INT(run_rec, log_at, "where in vm.log the last start begins"),
    FIELD_INT(run_rec, start_at, "when it will be started by itself, in seconds since 1970; 0: not"),
    FIELD_INT(run_rec, restarts, "how often that was, in a row"),
    {},
};
const struct field base_fields[] = {
    FIELD_STR(base_rec, id, "of the instance on whose images its disks build"),
    FIELD_INT(base_rec, node, "of its tree of snapshots; 0: its disks themselves"),
    FIELD_STR(base_rec, snapshot, "the node's name"),
    {},
};
const struct field told_fields[] = {
    FIELD_INT(told_rec, pid, "its process then"),
    FIELD_STRS(told_rec, addresses, TOLD_MAX, "of its network cards"),
    {},
};
/* clang-format on */

int host_boot_id(char ret[HOST_BOOT_ID], struct err *e)
{
    static const char path[] = "/proc/sys/kernel/random/boot_id";
    AUTO(fd) int fd = open(path, O_RDONLY | O_CLOEXEC);
    char id[HOST_BOOT_ID] = "";

    if (fd < 0 || read(fd, id, sizeof(id) - 1) < 0)
        return err_errno(e, "read '%s'", path);
    id[strcspn(id, "\n")] = 0;
    if (!id[0])
        return err_set(e, -EIO, "'%s' is empty", path);
    memcpy(ret, id, sizeof(id));
    return 0;
}

bool host_is_alive(const struct instance *i)
{
    return i->run.state >= HOST_STARTING && i->run.state <= HOST_STOPPING;
}

char *host_folder(const struct host *h, const struct instance *i)
{
    return str_new("%s/instances/%s", h->dir, i->id);
}

u64 host_number(const struct instance *i)
{
    u64 n = 0;

    (void)str_u64(i->id + 1, &n);
    return n;
}

u32 host_after_locked(struct host *h, const char *name)
{
    u32 low = 0, high = h->n;

    while (low < high) {
        const u32 mid = low + (high - low) / 2;

        if (strcmp(h->list[mid]->cfg.spec.name, name) <= 0)
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

struct instance *host_find_locked(struct host *h, const char *name)
{
    const u32 at = host_after_locked(h, name);

    return at > 0 && strcmp(h->list[at - 1]->cfg.spec.name, name) == 0 ? h->list[at - 1] : NULL;
}

struct instance *host_by_id_locked(struct host *h, const char *id)
{
    for (u32 i = 0; i < h->n; i++)
        if (strcmp(h->list[i]->id, id) == 0)
            return h->list[i];
    return NULL;
}

const struct instance *host_clone_of_locked(const struct instance *i, u32 node)
{
    const struct host *h = i->host;

    for (u32 k = 0; k < h->n; k++) {
        const struct base_rec *b = &h->list[k]->base;

        if (b->id && strcmp(b->id, i->id) == 0 && (!node || b->node == node))
            return h->list[k];
    }
    return NULL;
}

void host_instance_free(struct instance *i)
{
    instance_cfg_fini(&i->cfg);
    conf_fini(run_fields, &i->run);
    conf_fini(base_fields, &i->base);
    conf_fini(told_fields, &i->told);
    free(i);
}

/* ---- changes of records ---- */

const char *host_change_key(struct host_change *c, const char *kind, const char *id)
{
    must(c->n_texts < ARRAY_LEN(c->texts));
    return c->texts[c->n_texts++] = str_new("%s/%s", kind, id);
}

void host_change_put(struct host_change *c, const char *key, json_t *value)
{
    char *text = json_dumps(value, JSON_COMPACT);

    must(text && c->n_texts < ARRAY_LEN(c->texts));
    json_decref(value);
    c->texts[c->n_texts++] = text;
    store_txn_put(&c->txn, key, text);
}

void host_change_run(struct host_change *c, const struct instance *i, const struct run_rec *run)
{
    host_change_put(c, host_change_key(c, "run", i->id), conf_print(run_fields, run));
}

void host_change_base(struct host_change *c, const struct instance *i)
{
    host_change_put(c, host_change_key(c, "base", i->id), conf_print(base_fields, &i->base));
}

void host_change_task(struct host_change *c, u64 number, const struct task_rec *rec)
{
    char id[24];

    str_fmt(id, sizeof(id), "%010llu", number); /* in the order of numbers */
    host_change_put(c, host_change_key(c, "task", id), conf_print(task_fields, rec));
}

/* Of each thread its own: the changes of tasks are nobody's request. */
static _Thread_local struct host_rider *rider;

struct host_rider *host_ride(struct host_rider *r)
{
    struct host_rider *was = rider;

    rider = r;
    return was;
}

int host_change_do(struct host *h, struct host_change *c, u64 *ret_rev, struct err *e)
{
    struct host_rider *with = rider;
    int r;

    if (with)
        with->add(with, c);
    r = store_txn(h->store, &c->txn, ret_rev, e);
    if (with && r >= 0) {
        with->done = true;
        rider = NULL;
    }
    for (u32 i = 0; i < c->n_texts; i++)
        free(c->texts[i]);
    c->n_texts = 0;
    json_decref(c->result);
    c->result = NULL;
    return r;
}

int host_set_state_locked(struct instance *i, enum host_state state, const char *why, struct err *e)
{
    struct host_change c = {};
    struct run_rec run = i->run;
    int r;

    run.state = (int)state;
    run.since = clock_real_ns() / NSEC_PER_SEC;
    run.why = why ? xdup(why) : NULL;
    host_change_run(&c, i, &run);
    r = host_change_do(i->host, &c, NULL, e);
    if (r < 0) {
        free(run.why);
        return err_wrap(e, "record the state of '%s'", i->cfg.spec.name);
    }
    free(i->run.why);
    i->run = run;
    pthread_cond_broadcast(&i->host->changed);
    return 0;
}

/* ---- open and close ---- */

static int by_name(const void *a, const void *b)
{
    const struct instance *const *x = a, *const *y = b;

    return strcmp((*x)->cfg.spec.name, (*y)->cfg.spec.name);
}

/* The folders above DIR, too: ~/.local/share may be missing on a new machine. */
static void make_parents(const char *dir)
{
    AUTO(free) char *path = xdup(dir);

    for (char *slash = strchr(path + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = 0;
        (void)mkdir(path, 0700); /* what is missing in the end, make_folder says */
        *slash = '/';
    }
}

static int make_folder(const char *path, struct err *e)
{
    return mkdir(path, 0700) < 0 && errno != EEXIST ? err_errno(e, "make folder '%s'", path) : 0;
}

static int make_folders(struct host *h, struct err *e)
{
    static const char *const folders[] = { "",          "/instances", "/images",  "/cache",
                                           "/networks", "/metrics",   "/uploads", "/catalogues" };
    struct stat st;
    int r = 0;

    make_parents(h->dir);
    for_each_row(f, folders) {
        AUTO(free) char *path = str_new("%s%s", h->dir, *f);

        if (r >= 0)
            r = make_folder(path, e);
    }
    if (r < 0)
        return r;
    if (stat(h->dir, &st) < 0)
        return err_errno(e, "folder '%s'", h->dir);
    if (st.st_uid != geteuid())
        return err_set(e, -EPERM, "folder '%s' is of user %u", h->dir, st.st_uid);
    h->uid = st.st_uid;
    return 0;
}

/* Folders of instances that are in no record: a create that was undone by half, or a delete.  While loading: see load_by_id. */
static void remove_orphans(struct host *h)
{
    AUTO(free) char *path = str_new("%s/instances", h->dir);
    DIR *d = opendir(path);
    struct dirent *de;

    while (d && (de = readdir(d))) {
        AUTO(free) char *folder = str_new("%s/%s", path, de->d_name);
        AUTO(free) char *log = str_new("%s/vm.log", folder);
        AUTO(fd) int fd = -1;

        if (de->d_name[0] == '.' || load_by_id(h, de->d_name))
            continue;
        fd = open(log, O_RDWR | O_CLOEXEC);
        if (fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) < 0)
            log_warn("'%s' has a machine that no record knows; it is left alone", folder);
        else
            (void)folder_remove(folder, NULL);
    }
    if (d)
        closedir(d);
}

static void start(struct host *h, const char *name)
{
    const struct host_action action = { .what = TASK_START };
    const struct host_who who = { .uid = h->uid };
    struct err e = {};
    u64 task;

    if (host_act(h, name, &action, &who, &task, &e) < 0)
        log_warn("start '%s': %s", name, e.text);
}

static void start_those(struct host *h, bool (*which)(const struct instance *i))
{
    AUTO(free) char **names = NULL;
    u32 n = 0;

    host_lock(h);
    names = xnew_n(char *, h->n + 1);
    for (u32 i = 0; i < h->n; i++)
        if (which(h->list[i]) && !h->list[i]->task)
            names[n++] = xdup(h->list[i]->cfg.spec.name);
    host_unlock(h);
    for (u32 i = 0; i < n; i++) {
        start(h, names[i]);
        free(names[i]);
    }
}

/* Alive without an answer: a task waits for it. */
static bool is_silent(const struct instance *i)
{
    return i->silent;
}

static void on_store(void *arg)
{
    struct host *h = arg;

    if (h->on_change)
        h->on_change(h->on_change_arg);
}

static int find_processes(struct host *h, struct err *e)
{
    int r = 0;

    for (u32 i = 0; i < h->n && r >= 0; i++)
        r = process_find(h->list[i], &h->list[i]->silent, e);
    return r;
}

/* The loop runs: from now on tasks may ask it for something. */
static void on_begin(uv_timer_t *timer)
{
    struct host *h = timer->data;

    host_lock(h);
    h->begun = true;
    task_resume_locked(h);
    if (h->nets.n)
        network_tidy_locked(h);
    schedule_look_at_boot_locked(h);
    host_unlock(h);
    start_those(h, is_silent);
    schedule_look(h);
    metrics_begin(h);
}

int host_open(struct host *h, const char *dir, struct loop *l, struct err *e)
{
    AUTO(free) char *records = NULL;
    int r;

    *h = (struct host){ .lock_fd = -1, .loop = l, .next = 1 };
    h->dir = xdup(dir);
    for (const char *p = dir; *p; p++)
        h->mark = (h->mark * 31 + (u8)*p) & 0xffff;
    h->images = str_new("%s/images", dir);
    h->cache = str_new("%s/cache", dir);
    records = str_new("%s/records.db", dir);
    pthread_mutex_init(&h->lock, NULL);
    pthread_mutex_init(&h->nets.lock, NULL);
    pthread_cond_init(&h->changed, NULL);
    uv_timer_init(&l->uv, &h->begin);
    h->begin.data = h;
    uv_timer_init(&l->uv, &h->upload_look);
    h->upload_look.data = h;
    uv_timer_init(&l->uv, &h->export_look);
    h->export_look.data = h;
    schedule_open(h);
    metrics_open(h);
    if (dir[0] != '/' || strlen(dir) > HOST_DIR_MAX)
        return err_set(e, -EINVAL,
                       "folder '%.90s': a path from the root of at most %d bytes is needed", dir,
                       HOST_DIR_MAX);
    r = make_folders(h, e);
    if (r >= 0)
        r = lock_take(h->dir, e);
    if (r >= 0)
        h->lock_fd = r;
    if (r >= 0)
        r = store_open(records, &h->store, e);
    if (r >= 0)
        r = load_all(h, e);
    if (r >= 0)
        r = upload_open(h, e);
    if (r >= 0)
        r = export_open(h, e);
    if (r < 0)
        return r;
    store_on_change(h->store, on_store, h);
    images_clean(h->images);
    fetch_clean_all(h);
    remove_orphans(h);
    qsort(h->list, h->n, sizeof(*h->list), by_name);
    r = find_processes(h, e);
    if (r >= 0)
        uv_timer_start(&h->begin, on_begin, 0, 0);
    return r;
}

static void task_free(struct task *t)
{
    conf_fini(task_fields, &t->rec);
    free(t);
}

void host_close(struct host *h)
{
    struct task *t;

    host_lock(h);
    h->closing = true;
    pthread_cond_broadcast(&h->changed);
    for (t = h->tasks; t; t = t->next)
        if (t->rec.state == TASK_RUNNING)
            atomic_store(&t->job.cancel, true);
    while (h->n_running || h->nets.working)
        pthread_cond_wait(&h->changed, &h->lock);
    host_unlock(h);
    guest_close(h);
    guest_nets_close(h);
    metrics_close(h);
    while ((t = h->tasks)) {
        h->tasks = t->next;
        task_free(t);
    }
    for (u32 i = 0; i < h->n; i++) {
        loop_fd_close(&h->list[i]->watch);
        fd_close(&h->list[i]->pidfd);
        host_instance_free(h->list[i]);
    }
    uv_timer_stop(&h->begin);
    uv_timer_stop(&h->schedule);
    upload_close(h);
    export_close(h);
    free(h->list);
    for (u32 i = 0; i < h->nets.n; i++)
        network_free(h->nets.list[i]);
    free(h->nets.list);
    free(h->nets.rules);
    cgroup_close(h);
    store_close(h->store);
    fd_close(&h->lock_fd);
    free(h->dir);
    free(h->images);
    free(h->cache);
    pthread_cond_destroy(&h->changed);
    pthread_mutex_destroy(&h->nets.lock);
    pthread_mutex_destroy(&h->lock);
}
