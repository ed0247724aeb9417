/*
 * api/routes.c: the rows of the API and what each does.
 */
#include "api/api.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- what is sent and answered ---- */

struct page {
    char *after;
    u32 limit;
};
struct log_query {
    int which;
    u64 bytes;
};
struct since {
    u64 since;
};
struct force {
    bool force;
};
struct rename_body {
    char *name;
};
struct action_body {
    int action;
    u32 timeout;
    bool force;
};
struct import_body {
    char *name;
    struct image_source source;
};
struct backup_body {
    char *file;
};
struct task_started {
    u64 task, revision;
};
struct instance_view {
    char *id, *state, *why, *control, *console, *console_log, *log;
    u64 revision, since;
    u32 pid;
};
struct image_view {
    char *name, *append;
    bool initrd, disk;
    u64 created;
};
struct task_view {
    u64 number, done, total;
};
struct edited {
    u64 revision;
    bool restart;
};
struct server_view {
    char *version, *dir;
    u64 revision;
    u32 instances, uid, pid;
};
struct summary {
    char *name, *id, *state;
    u32 cpus;
    u64 memory, revision;
};

static const char *const logs[] = { "console", "messages", NULL };
/* In the order of enum task_what from TASK_START on. */
static const char *const actions[] = { "start",  "stop",  "restart", "pause",
                                       "resume", "reset", "suspend", NULL };

static bool from_root(const char *s)
{
    return s[0] == '/';
}

/* clang-format off */
static const struct field page_fields[] = {
    FIELD_STR(page, after, "what comes after this name, or number", .sdflt = ""),
    FIELD_INT(page, limit, "at most so many", .dflt = API_PAGE, .min = 1, .max = API_PAGE_MAX),
    {},
};
static const struct field log_query_fields[] = {
    FIELD_ENUM(log_query, which, logs, "what the guest wrote, or what its process said"),
    FIELD_BYTES(log_query, bytes, "so much of its end", .dflt = API_LOG, .max = 1 << 20),
    {},
};
static const struct field since_fields[] = {
    FIELD_INT(since, since, "what was changed after this revision; 0: from now on", .max = INT64_MAX),
    {},
};
static const struct field force_fields[] = {
    FIELD_BOOL(force, force, "also when it runs: it is turned off"),
    {},
};
static const struct field rename_fields[] = {
    FIELD_STR(rename_body, name, "the new name", .required = true),
    {},
};
static const struct field action_fields[] = {
    FIELD_ENUM(action_body, action, actions, "what it shall do", .required = true),
    FIELD_INT(action_body, timeout, "stop, restart: seconds that the guest has to shut down; then it is turned off",
              .dflt = HOST_STOP_SECONDS, .max = HOST_STOP_SECONDS_MAX),
    FIELD_BOOL(action_body, force, "start: whatever the host's memory; stop, restart: turn it off at once"),
    {},
};
static const struct field import_fields[] = {
    FIELD_STR(import_body, name, "of the new image", .required = true),
    FIELD_OBJ(import_body, source, image_source_fields, "files of the host that it is made of", .required = true),
    {},
};
static const struct field backup_fields[] = {
    FIELD_STR(backup_body, file, "a new file of the host for a copy of the records", .required = true, .ok = from_root,
              .want = "a path from the root"),
    {},
};
static const struct field task_started_fields[] = {
    FIELD_INT(task_started, task, "its number"),
    FIELD_INT(task_started, revision, "events after this one tell how it goes"),
    {},
};
static const struct field instance_view_fields[] = {
    FIELD_STR(instance_view, id, "does not change, and is never used again"),
    FIELD_INT(instance_view, revision, "of what is configured: its ETag"),
    FIELD_STR(instance_view, state, "creating, off, starting, running, paused, stopping, suspended, failed or deleting"),
    FIELD_STR(instance_view, why, "failed: why"),
    FIELD_INT(instance_view, since, "when that state began, in seconds since 1970"),
    FIELD_INT(instance_view, pid, "its process; 0: none"),
    FIELD_STR(instance_view, control, "its control socket on the host"),
    FIELD_STR(instance_view, console, "its console's socket on the host"),
    FIELD_STR(instance_view, console_log, "what the guest wrote: a file of the host"),
    FIELD_STR(instance_view, log, "what its process said: a file of the host"),
    {},
};
static const struct field summary_fields[] = {
    FIELD_STR(summary, name, "its name"),
    FIELD_STR(summary, id, "does not change, and is never used again"),
    FIELD_STR(summary, state, "as of the instance"),
    FIELD_INT(summary, cpus, "virtual CPUs"),
    FIELD_INT(summary, memory, "bytes of guest RAM"),
    FIELD_INT(summary, revision, "of what is configured: its ETag"),
    {},
};
static const struct field image_view_fields[] = {
    FIELD_STR(image_view, name, "its name"),
    FIELD_STR(image_view, append, "kernel command line of instances that have none"),
    FIELD_BOOL(image_view, initrd, "it has an initial RAM disk"),
    FIELD_BOOL(image_view, disk, "it has a disk"),
    FIELD_INT(image_view, created, "when it was made, in seconds since 1970"),
    {},
};
static const struct field task_view_fields[] = {
    FIELD_INT(task_view, number, "its number"),
    FIELD_INT(task_view, done, "bytes that are done"),
    FIELD_INT(task_view, total, "bytes in all; 0: not known, or nothing to be counted"),
    {},
};
static const struct field edited_fields[] = {
    FIELD_INT(edited, revision, "the new one: its ETag"),
    FIELD_BOOL(edited, restart, "it counts from the next start"),
    {},
};
static const struct field server_fields[] = {
    FIELD_STR(server_view, version, "of socled"),
    FIELD_STR(server_view, dir, "its folder"),
    FIELD_INT(server_view, revision, "of the records"),
    FIELD_INT(server_view, instances, "how many there are"),
    FIELD_INT(server_view, uid, "the user that it runs as"),
    FIELD_INT(server_view, pid, "its process"),
    {},
};

const struct api_schema api_schemas[] = {
    { "Server",       server_fields },
    { "InstanceNew",  .fields_fn = instance_fields },
    { "InstanceEdit", .fields_fn = instance_fields, .optional = true },
    { "Instance",     .fields_fn = instance_fields },
    { "State",        instance_view_fields },
    { "Summary",      summary_fields },
    { "Edited",       edited_fields },
    { "Rename",       rename_fields, .size = sizeof(struct rename_body) },
    { "Action",       action_fields, .size = sizeof(struct action_body) },
    { "Image",        image_view_fields },
    { "Import",       import_fields, .size = sizeof(struct import_body) },
    { "TaskStarted",  task_started_fields },
    { "TaskRecord",   task_fields },
    { "Task",         task_view_fields },
    { "Backup",       backup_fields, .size = sizeof(struct backup_body) },
    {},
};
/* clang-format on */

/* ---- what the rows do ---- */

static int get_server(struct api_call *c, struct err *e [[maybe_unused]])
{
    struct host *h = c->host;
    json_t *j;

    host_lock(h);
    j = json_pack("{s:s, s:s, s:I, s:i, s:i, s:i}", "version", SOCLE_VERSION, "dir", h->dir,
                  "revision", (json_int_t)store_revision(h->store), "instances", (int)h->n, "uid",
                  (int)h->uid, "pid", (int)getpid());
    host_unlock(h);
    api_answer_json(c, j);
    return 0;
}

static int get_openapi(struct api_call *c, struct err *e [[maybe_unused]])
{
    api_answer_json(c, api_openapi());
    return 0;
}

static json_t *summary(const struct instance *i)
{
    return json_pack("{s:s, s:s, s:s, s:I, s:I, s:I}", "name", i->cfg.spec.name, "id", i->id,
                     "state", host_state_words[i->run.state], "cpus", (json_int_t)i->cfg.spec.cpus,
                     "memory", (json_int_t)i->cfg.spec.memory, "revision", (json_int_t)i->rev);
}

/* {"list": […], "next": "what to give as `after` for more"} */
static void answer_list(struct api_call *c, json_t *list, const char *next)
{
    json_t *j = json_pack("{s:o}", "list", list);

    if (next)
        json_object_set_new(j, "next", json_string(next));
    api_answer_json(c, j);
}

static int list_instances(struct api_call *c, struct err *e [[maybe_unused]])
{
    const struct page *q = c->query;
    struct host *h = c->host;
    json_t *list = json_array();
    AUTO(free) char *next = NULL;
    u32 at;

    host_lock(h);
    for (at = host_after_locked(h, q->after); at < h->n && json_array_size(list) < q->limit; at++)
        json_array_append_new(list, summary(h->list[at]));
    if (at < h->n)
        next = xdup(h->list[at - 1]->cfg.spec.name);
    host_unlock(h);
    answer_list(c, list, next);
    return 0;
}

static void answer_task(struct api_call *c, u64 task, u64 revision)
{
    api_answer_json(
        c, json_pack("{s:I, s:I}", "task", (json_int_t)task, "revision", (json_int_t)revision));
}

/* Before what is asked, so that the events after it are all that the task makes. */
static u64 revision_now(struct host *h)
{
    u64 rev;

    host_lock(h);
    rev = store_revision(h->store);
    host_unlock(h);
    return rev;
}

static int create_instance(struct api_call *c, struct err *e)
{
    const u64 rev = revision_now(c->host);
    const struct host_who who = { c->rq->uid };
    struct instance_cfg cfg = {};
    json_t *j;
    u64 task = 0;
    int r = conf_load(c->rq->body, c->rq->body_len, &j, e);

    if (r < 0)
        return r;
    r = instance_parse(&cfg, j, e);
    json_decref(j);
    if (r >= 0)
        r = host_create(c->host, &cfg, &who, &task, e);
    instance_cfg_fini(&cfg);
    if (r >= 0)
        answer_task(c, task, rev);
    return r;
}

static json_t *path_json(const struct host *h, const struct instance *i, const char *file)
{
    AUTO(free) char *folder = host_folder(h, i), *path = str_new("%s/%s", folder, file);

    return json_string(path);
}

static int get_instance(struct api_call *c, struct err *e)
{
    struct host *h = c->host;
    const struct instance *i;
    json_t *j = NULL, *state = NULL;

    host_lock(h);
    i = host_find_locked(h, c->name);
    if (i) {
        c->ret->etag = i->rev;
        j = conf_print(instance_fields(), &i->cfg);
        state = json_pack("{s:s, s:I, s:s, s:I, s:I, s:o, s:o, s:o, s:o}", "id", i->id, "revision",
                          (json_int_t)i->rev, "state", host_state_words[i->run.state], "since",
                          (json_int_t)i->run.since, "pid", (json_int_t)i->run.pid, "control",
                          path_json(h, i, "control"), "console", path_json(h, i, "console"),
                          "console_log", path_json(h, i, "console.log"), "log",
                          path_json(h, i, "vm.log"));
        if (i->run.why)
            json_object_set_new(state, "why", json_string(i->run.why));
    }
    host_unlock(h);
    if (!j)
        return err_set(e, -ENOENT, "there is no instance '%.63s'", c->name);
    json_object_set_new(j, "status", state);
    api_answer_json(c, j);
    return 0;
}

static u64 revision_of(struct host *h, const char *name)
{
    const struct instance *i;
    u64 rev;

    host_lock(h);
    i = host_find_locked(h, name);
    rev = i ? i->rev : 0;
    host_unlock(h);
    return rev;
}

static int edit_instance(struct api_call *c, struct err *e)
{
    bool restart = false;
    json_t *j;
    u64 rev;
    int r = api_if_match(c, &rev, e);

    if (r >= 0)
        r = conf_load(c->rq->body, c->rq->body_len, &j, e);
    if (r < 0)
        return r;
    r = json_is_object(j) ? host_edit(c->host, c->name, j, rev, &restart, e)
                          : err_set(e, -EINVAL, "an object with what is to be changed is expected");
    json_decref(j);
    if (r < 0)
        return r;
    c->ret->etag = revision_of(c->host, c->name);
    api_answer_json(
        c, json_pack("{s:I, s:b}", "revision", (json_int_t)c->ret->etag, "restart", restart));
    return 0;
}

static int act(struct api_call *c, const struct host_action *a, struct err *e)
{
    const u64 rev = revision_now(c->host);
    const struct host_who who = { c->rq->uid };
    u64 task;
    int r = host_act(c->host, c->name, a, &who, &task, e);

    if (r >= 0)
        answer_task(c, task, rev);
    return r;
}

static int delete_instance(struct api_call *c, struct err *e)
{
    const struct force *q = c->query;

    return act(c, &(struct host_action){ .what = TASK_DELETE, .force = q->force }, e);
}

static int rename_instance(struct api_call *c, struct err *e)
{
    const struct rename_body *b = c->body;
    int r = host_rename(c->host, c->name, b->name, e);

    if (r < 0)
        return r;
    c->ret->etag = revision_of(c->host, b->name);
    api_answer_json(c, json_pack("{s:I, s:b}", "revision", (json_int_t)c->ret->etag, "restart", 0));
    return 0;
}

static int act_instance(struct api_call *c, struct err *e)
{
    const struct action_body *b = c->body;
    const struct host_action a = { TASK_START + b->action, b->timeout, b->force };

    return act(c, &a, e);
}

static int get_log(struct api_call *c, struct err *e)
{
    const struct log_query *q = c->query;
    struct host *h = c->host;
    const struct instance *i;
    AUTO(free) char *folder = NULL, *path = NULL;
    AUTO(free) char *text = NULL;
    AUTO(fd) int fd = -1;
    struct stat st;
    ssize_t n;

    host_lock(h);
    i = host_find_locked(h, c->name);
    folder = i ? host_folder(h, i) : NULL;
    host_unlock(h);
    if (!folder)
        return err_set(e, -ENOENT, "there is no instance '%.63s'", c->name);
    c->ret->type = "text/plain; charset=utf-8";
    path = str_new("%s/%s", folder, q->which ? "vm.log" : "console.log");
    fd = open(path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0 && errno == ENOENT)
        return 0; /* it never ran */
    if (fd < 0 || fstat(fd, &st) < 0)
        return err_errno(e, "open '%s'", path);
    text = xnew_n(char, q->bytes + 1);
    n = pread(fd, text, q->bytes, st.st_size > (off_t)q->bytes ? st.st_size - (off_t)q->bytes : 0);
    if (n > 0)
        strbuf_add_mem(&c->ret->body, text, (size_t)n);
    return 0;
}

static int list_images(struct api_call *c, struct err *e [[maybe_unused]])
{
    answer_list(c, images_list(c->host->images), NULL);
    return 0;
}

static int import_image(struct api_call *c, struct err *e)
{
    const u64 rev = revision_now(c->host);
    const struct import_body *b = c->body;
    const struct host_who who = { c->rq->uid };
    u64 task;
    int r = host_import(c->host, b->name, &b->source, &who, &task, e);

    if (r >= 0)
        answer_task(c, task, rev);
    return r;
}

static int delete_image(struct api_call *c, struct err *e)
{
    return host_image_delete(c->host, c->name, e);
}

/* Newest first; `after` is a number: those that are older. */
static int list_tasks(struct api_call *c, struct err *e)
{
    const struct page *q = c->query;
    struct host *h = c->host;
    json_t *list = json_array();
    AUTO(free) char *next = NULL;
    u64 below = ~0ull, last = 0;

    if (*q->after && str_u64(q->after, &below) < 0) {
        json_decref(list);
        err_set(e, -EINVAL, "'after' is '%.20s'; a task's number is expected", q->after);
        return err_field(e, "after");
    }
    host_lock(h);
    for (const struct task *t = h->tasks; t && !next; t = t->next) {
        if (t->number >= below)
            continue;
        if (json_array_size(list) == q->limit)
            next = str_new("%llu", last);
        else
            json_array_append_new(list, task_print_locked(t));
        last = t->number;
    }
    host_unlock(h);
    answer_list(c, list, next);
    return 0;
}

static int get_task(struct api_call *c, struct err *e)
{
    struct host *h = c->host;
    const struct task *t;
    json_t *j = NULL;
    u64 number;

    if (str_u64(c->name, &number) < 0)
        return err_set(e, -ENOENT, "there is no task '%.20s'", c->name);
    host_lock(h);
    t = task_find_locked(h, number);
    if (t)
        j = task_print_locked(t);
    host_unlock(h);
    if (!j)
        return err_set(e, -ENOENT, "there is no task %llu", number);
    api_answer_json(c, j);
    return 0;
}

static int cancel_task(struct api_call *c, struct err *e)
{
    u64 number;

    if (str_u64(c->name, &number) < 0)
        return err_set(e, -ENOENT, "there is no task '%.20s'", c->name);
    return task_cancel(c->host, number, e);
}

static int get_events(struct api_call *c, struct err *e)
{
    const struct since *q = c->query;
    struct host *h = c->host;
    AUTO(store_list) struct store_list l = {};
    int r = 0;

    host_lock(h);
    c->ret->from = q->since ? q->since : store_revision(h->store);
    r = store_changes(h->store, c->ret->from, 1, &l, e);
    if (c->ret->from > store_revision(h->store))
        r = err_set(e, -EINVAL, "'since' is %llu; the revision is %llu", q->since,
                    store_revision(h->store));
    host_unlock(h);
    if (r == -ESTALE) /* ask for the lists, then for the events after their revision */
        return err_set(e, -EOVERFLOW, "events after revision %llu are not kept any more", q->since);
    c->ret->stream = r >= 0;
    return r;
}

static int backup(struct api_call *c, struct err *e)
{
    const struct backup_body *b = c->body;
    int r;

    host_lock(c->host);
    r = store_backup(c->host->store, b->file, e);
    host_unlock(c->host);
    return r;
}

#define QUERY(of) of##_fields, sizeof(struct of)
/* clang-format off */
const struct api_route api_routes[] = {
    { "GET", "/1.0", API_VIEW, 200, NULL, 0, NULL, "Server", false, get_server, "Show what this socled is" },
    { "GET", "/1.0/openapi.json", API_VIEW, 200, NULL, 0, NULL, NULL, false, get_openapi, "Show this document" },
    { "GET", "/1.0/instances", API_VIEW, 200, QUERY(page), NULL, "Summary", true, list_instances, "List instances by name" },
    { "POST", "/1.0/instances", API_ADMIN, 202, NULL, 0, "InstanceNew", "TaskStarted", false, create_instance, "Create an instance" },
    { "GET", "/1.0/instances/{name}", API_VIEW, 200, NULL, 0, NULL, "Instance", false, get_instance, "Show an instance" },
    { "PATCH", "/1.0/instances/{name}", API_ADMIN, 200, NULL, 0, "InstanceEdit", "Edited", false, edit_instance, "Change an instance; with If-Match only when nobody else did" },
    { "DELETE", "/1.0/instances/{name}", API_ADMIN, 202, QUERY(force), NULL, "TaskStarted", false, delete_instance, "Delete an instance and its files" },
    { "POST", "/1.0/instances/{name}/rename", API_ADMIN, 200, NULL, 0, "Rename", "Edited", false, rename_instance, "Give an instance another name" },
    { "POST", "/1.0/instances/{name}/action", API_OPERATE, 202, NULL, 0, "Action", "TaskStarted", false, act_instance, "Start an instance, stop it, and so on" },
    { "GET", "/1.0/instances/{name}/log", API_VIEW, 200, QUERY(log_query), NULL, NULL, false, get_log, "Show the end of a log, as text" },
    { "GET", "/1.0/images", API_VIEW, 200, NULL, 0, NULL, "Image", true, list_images, "List images by name" },
    { "POST", "/1.0/images", API_ADMIN, 202, NULL, 0, "Import", "TaskStarted", false, import_image, "Make an image of files of the host" },
    { "DELETE", "/1.0/images/{name}", API_ADMIN, 204, NULL, 0, NULL, NULL, false, delete_image, "Delete an image of which no instance was made" },
    { "GET", "/1.0/tasks", API_VIEW, 200, QUERY(page), NULL, "Task", true, list_tasks, "List tasks, the newest first" },
    { "GET", "/1.0/tasks/{number}", API_VIEW, 200, NULL, 0, NULL, "Task", false, get_task, "Show a task" },
    { "DELETE", "/1.0/tasks/{number}", API_OPERATE, 204, NULL, 0, NULL, NULL, false, cancel_task, "Cancel a task" },
    { "GET", "/1.0/events", API_VIEW, 200, QUERY(since), NULL, NULL, false, get_events, "Follow what changes, as server-sent events whose ids are revisions" },
    { "POST", "/1.0/backup", API_ADMIN, 204, NULL, 0, "Backup", NULL, false, backup, "Copy the records into a new file" },
    {},
};
/* clang-format on */
const u32 api_route_count = ARRAY_LEN(api_routes) - 1;

/* ---- events ---- */

static void copy_members(json_t *to, const json_t *from, const char *const *names)
{
    for (; *names; names++)
        if (json_object_get(from, *names))
            json_object_set(to, *names, json_object_get(from, *names));
}

json_t *api_event(const struct store_rec *r)
{
    static const char *const instance[] = { "name", NULL };
    static const char *const state[] = { "state", "why", "pid", NULL };
    static const char *const task[] = { "what", "state", "name", "id", "error", NULL };
    static const struct {
        const char *prefix, *type, *key;
        const char *const *members;
    } rows[] = {
        { "instance/", "instance", "id", instance },
        { "run/", "state", "id", state },
        { "task/", "task", "number", task },
    };

    for_each_row(row, rows) {
        const char *id = r->key + strlen(row->prefix);
        json_t *value, *j;
        u64 number;

        if (!str_starts(r->key, row->prefix))
            continue;
        j = json_pack("{s:s, s:I}", "type", row->type, "revision", (json_int_t)r->rev);
        value = r->value ? json_loadb(r->value, r->len, 0, NULL) : NULL;
        copy_members(j, value, row->members);
        json_decref(value);
        if (str_u64(id, &number) == 0)
            json_object_set_new(j, row->key, json_integer((json_int_t)number));
        else
            json_object_set_new(j, row->key, json_string(id));
        if (!r->value)
            json_object_set_new(j, "deleted", json_true());
        return j;
    }
    return NULL;
}
