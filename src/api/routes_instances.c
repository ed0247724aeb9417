/*
 * api/routes_instances.c: instances: what they are, how they run, what they wrote.
 */
#include "api/routes.h"
#include "host/cgroup.h"
#include "host/guest.h"
#include "host/guest_nets.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

struct log_query {
    int which;
    u64 bytes;
};
/* Which are listed. */
struct instances_query {
    union {
        struct page page;
        struct {
            char *after;
            u32 limit;
        };
    };
    int state, kind;
    char *tag, *name;
};
struct console_query {
    bool head;
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
struct instance_view {
    char *id, *state, *why, *base, *base_snapshot, *control, *console, *console_log, *log;
    u64 revision, since, start_at, cpu_us, memory_used;
    u32 pid, restarts;
    struct field_strs addresses;
};
struct edited {
    u64 revision;
    bool restart;
};
struct summary {
    char *name, *id, *kind, *state;
    struct field_strs tags, addresses;
    u32 cpus;
    u64 memory, revision;
};

static const char *const logs[] = { "console", "messages", NULL };
/* In the order of enum task_what from TASK_START on. */
static const char *const actions[] = { "start",  "stop",  "restart", "pause",
                                       "resume", "reset", "suspend", NULL };

/* clang-format off */
static const struct field log_query_fields[] = {
    FIELD_ENUM(log_query, which, logs, "what the guest wrote, or what its process said"),
    FIELD_BYTES(log_query, bytes, "so much of its end", .dflt = API_LOG, .max = 1 << 20),
    {},
};
static const struct field instances_query_fields[] = {
    FIELD_STR(instances_query, after, "what comes after this name", .sdflt = ""),
    FIELD_INT(instances_query, limit, "at most so many", .dflt = API_PAGE, .min = 1, .max = API_PAGE_MAX),
    FIELD_ENUM(instances_query, state, instance_states_wanted, "only those that are so"),
    FIELD_ENUM(instances_query, kind, instance_kinds_wanted, "only those of this kind"),
    FIELD_STR(instances_query, tag, "only those that have this tag", .sdflt = ""),
    FIELD_STR(instances_query, name, "only those with this in their name", .sdflt = ""),
    {},
};
static const struct field console_query_fields[] = {
    FIELD_BOOL(console_query, head, "the first message is text, {\"stream\", \"position\", \"before\"}: so many bytes of what was written before this position follow first, seen or not; a stream has one number as long as its process lives"),
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
static const struct field instance_view_fields[] = {
    FIELD_STR(instance_view, id, "does not change, and is never used again"),
    FIELD_INT(instance_view, revision, "of what is configured: its ETag"),
    FIELD_STR(instance_view, state, "creating, off, starting, running, paused, stopping, suspended, failed or deleting"),
    FIELD_STR(instance_view, why, "failed: why"),
    FIELD_INT(instance_view, since, "when that state began, in seconds since 1970"),
    FIELD_INT(instance_view, pid, "its process; 0: none"),
    FIELD_INT(instance_view, start_at, "when it will be started by itself, in seconds since 1970; 0: not"),
    FIELD_INT(instance_view, restarts, "how often it was, in a row"),
    FIELD_STR(instance_view, base, "a linked clone: the instance on whose images its disks build"),
    FIELD_STR(instance_view, base_snapshot, "a linked clone: of which snapshot they are"),
    FIELD_INT(instance_view, cpu_us, "CPU time that it used, in microseconds (where there are control groups)"),
    FIELD_INT(instance_view, memory_used, "bytes that it uses, what the host caches for it included (as above)"),
    FIELD_STRS(instance_view, addresses, TOLD_MAX, "addresses of its network cards while it runs: of a machine as its guest's agent told when somebody looked last, which has it asked again; of a container those of its configuration"),
    FIELD_STR(instance_view, control, "its control socket on the host"),
    FIELD_STR(instance_view, console, "its console's socket on the host"),
    FIELD_STR(instance_view, console_log, "what the guest wrote: a file of the host"),
    FIELD_STR(instance_view, log, "what its process said: a file of the host"),
    {},
};
static const struct field summary_fields[] = {
    FIELD_STR(summary, name, "its name"),
    FIELD_STR(summary, id, "does not change, and is never used again"),
    FIELD_STR(summary, kind, "full, para or os"),
    FIELD_STR(summary, state, "as of the instance"),
    FIELD_INT(summary, cpus, "virtual CPUs"),
    FIELD_INT(summary, memory, "bytes of guest RAM"),
    FIELD_INT(summary, revision, "of what is configured: its ETag"),
    FIELD_STRS(summary, tags, INSTANCE_TAGS_MAX, "words to find it by"),
    FIELD_STRS(summary, addresses, TOLD_MAX, "as of the instance"),
    {},
};
static const struct field edited_fields[] = {
    FIELD_INT(edited, revision, "the new one: its ETag"),
    FIELD_BOOL(edited, restart, "it counts from the next start"),
    {},
};
/* clang-format on */

static json_t *tags_json(const struct instance *i)
{
    const struct instance_tag *tag = i->cfg.tags.items;
    json_t *list = json_array();

    for (u32 n = 0; n < i->cfg.tags.n; n++)
        json_array_append_new(list, json_string(tag[n].tag));
    return list;
}

static u32 count(const struct host *h)
{
    return h->n;
}

static const char *name_of(const struct host *h, u32 at)
{
    return h->list[at]->cfg.spec.name;
}

/* The first word wants nothing in particular. */
static bool is_wanted(const char *const *words, int wanted, const char *is)
{
    return wanted == 0 || strcmp(words[wanted], is) == 0;
}

static bool has_tag(const struct instance *i, const char *wanted)
{
    const struct instance_tag *tag = i->cfg.tags.items;

    for (u32 n = 0; n < i->cfg.tags.n; n++)
        if (strcmp(tag[n].tag, wanted) == 0)
            return true;
    return !*wanted;
}

static json_t *summary(const struct api_call *c, u32 at)
{
    const struct instances_query *q = c->query;
    struct instance *i = c->host->list[at];

    if (!api_may_locked(c, API_VIEW, i) ||
        !is_wanted(instance_states_wanted, q->state, host_state_words[i->run.state]) ||
        !is_wanted(instance_kinds_wanted, q->kind, instance_kinds[i->cfg.kind]) ||
        !has_tag(i, q->tag) || !strstr(i->cfg.spec.name, q->name))
        return NULL;
    guest_nets_look_locked(i);
    return json_pack("{s:s, s:s, s:s, s:s, s:I, s:I, s:I, s:o, s:o}", "name", i->cfg.spec.name,
                     "id", i->id, "kind", instance_kinds[i->cfg.kind], "state",
                     host_state_words[i->run.state], "cpus", (json_int_t)i->cfg.spec.cpus, "memory",
                     (json_int_t)i->cfg.spec.memory, "revision", (json_int_t)i->rev, "tags",
                     tags_json(i), "addresses", guest_nets_print_locked(i));
}

static int list_instances(struct api_call *c, struct err *e [[maybe_unused]])
{
    static const struct api_pages pages = { count, host_after_locked, name_of, summary };

    api_answer_page(c, &pages);
    return 0;
}

static int create_instance(struct api_call *c, struct err *e)
{
    const u64 rev = api_revision_now(c->host);
    const struct host_who who = api_asker(c);
    struct instance_cfg cfg = {};
    json_t *j;
    u64 task = 0;
    int r = conf_load(c->rq->body, c->rq->body_len, &j, e);

    if (r < 0)
        return r;
    r = instance_parse(&cfg, j, e);
    json_decref(j);
    if (r >= 0)
        r = instance_check_folders(&cfg, e);
    if (r >= 0)
        r = host_create(c->host, &cfg, &who, &task, e);
    instance_cfg_fini(&cfg);
    if (r >= 0)
        api_answer_task(c, task, rev);
    return r;
}

static json_t *path_json(const struct host *h, const struct instance *i, const char *file)
{
    AUTO(free) char *folder = host_folder(h, i), *path = str_new("%s/%s", folder, file);

    return json_string(path);
}

static void add_base(struct host *h, const struct instance *i, json_t *state)
{
    const struct instance *base = i->base.id ? host_by_id_locked(h, i->base.id) : NULL;

    if (base)
        json_object_set_new(state, "base", json_string(base->cfg.spec.name));
    if (i->base.snapshot)
        json_object_set_new(state, "base_snapshot", json_string(i->base.snapshot));
}

static void add_usage(json_t *state, const struct instance *i)
{
    struct cgroup_usage u;

    if (!host_is_alive(i) || !cgroup_read_locked(i, &u))
        return;
    json_object_set_new(state, "cpu_us", json_integer((json_int_t)u.cpu_us));
    if (u.memory)
        json_object_set_new(state, "memory_used", json_integer((json_int_t)u.memory));
}

static int get_instance(struct api_call *c, struct err *e)
{
    struct host *h = c->host;
    struct instance *i;
    json_t *j = NULL, *state = NULL;

    host_lock(h);
    i = host_find_locked(h, c->name);
    if (i) {
        c->ret->etag = i->rev;
        j = (c->rights & API_ADMIN ? conf_print : conf_show)(instance_fields(), &i->cfg);
        state = json_pack("{s:s, s:I, s:s, s:I, s:I, s:I, s:I, s:o, s:o, s:o, s:o}", "id", i->id,
                          "revision", (json_int_t)i->rev, "state", host_state_words[i->run.state],
                          "since", (json_int_t)i->run.since, "pid", (json_int_t)i->run.pid,
                          "start_at", (json_int_t)i->run.start_at, "restarts",
                          (json_int_t)i->run.restarts, "control", path_json(h, i, "control"),
                          "console", path_json(h, i, "console"), "console_log",
                          path_json(h, i, "console.log"), "log", path_json(h, i, "vm.log"));
        if (i->run.why)
            json_object_set_new(state, "why", json_string(i->run.why));
        guest_nets_look_locked(i);
        json_object_set_new(state, "addresses", guest_nets_print_locked(i));
        add_base(h, i, state);
        add_usage(state, i);
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

int api_act(struct api_call *c, const struct host_action *a, struct err *e)
{
    const u64 rev = api_revision_now(c->host);
    const struct host_who who = api_asker(c);
    u64 task;
    int r = host_act(c->host, c->name, a, &who, &task, e);

    if (r >= 0)
        api_answer_task(c, task, rev);
    return r;
}

static int delete_instance(struct api_call *c, struct err *e)
{
    const struct force *q = c->query;

    return api_act(c, &(struct host_action){ .what = TASK_DELETE, .force = q->force }, e);
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
    const struct host_action a = { .what = TASK_START + b->action,
                                   .timeout = b->timeout,
                                   .force = b->force };

    str_copy(c->note, sizeof(c->note), actions[b->action]);
    return api_act(c, &a, e);
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

/* A WebSocket with a socket of an instance that runs.  `guest`: what makes one to the guest of a machine, which has no such socket; NULL: it
 * has. */
struct relay_how {
    const char *socket;
    int (*guest)(struct host *h, const char *id, int *ret_fd, struct err *e);
};

static int relay_to(struct api_call *c, const struct relay_how *how, struct err *e)
{
    struct host *h = c->host;
    const struct instance *i;
    bool by_agent = false;
    int r = 0;

    if (!c->rq->websocket)
        return err_set(e, -EINVAL, "this is a WebSocket");
    host_lock(h);
    i = host_find_locked(h, c->name);
    if (!i) {
        r = err_set(e, -ENOENT, "there is no instance '%.63s'", c->name);
    } else if (!host_is_alive(i)) {
        r = err_set(e, -EBUSY, "'%s' is %s", c->name, host_state_words[i->run.state]);
    } else {
        AUTO(free) char *folder = host_folder(h, i);

        by_agent = how->guest && i->cfg.kind != INSTANCE_OS;
        c->ret->relay = by_agent ? NULL : str_new("%s/%s", folder, how->socket);
        str_copy(c->ret->subject, sizeof(c->ret->subject), i->id);
    }
    host_unlock(h);
    return by_agent ? how->guest(h, c->ret->subject, &c->ret->relay_fd, e) : r;
}

static int get_console(struct api_call *c, struct err *e)
{
    const struct console_query *q = c->query;

    c->ret->relay_head = q->head;
    return relay_to(c, &(struct relay_how){ "console" }, e);
}

static int get_exec(struct api_call *c, struct err *e)
{
    return relay_to(c, &(struct relay_how){ "exec", guest_exec }, e);
}

static int get_files(struct api_call *c, struct err *e)
{
    return relay_to(c, &(struct relay_how){ "files", guest_files }, e);
}

/* clang-format off */
static const struct api_schema schemas[] = {
    { "InstanceNew",  .fields_fn = instance_fields },
    { "InstanceEdit", .fields_fn = instance_fields, .optional = true },
    { "Instance",     .fields_fn = instance_fields, .status = "State" },
    { "State",        instance_view_fields },
    { "Summary",      summary_fields },
    { "Edited",       edited_fields },
    { "Rename",       rename_fields, .size = sizeof(struct rename_body) },
    { "Action",       action_fields, .size = sizeof(struct action_body) },
    {},
};

static const struct api_route routes[] = {
    { "GET", "/1.0/instances", API_VIEW, 200, QUERY(instances_query), NULL, "Summary", true, list_instances, "List instances by name", .filters = true },
    { "POST", "/1.0/instances", API_ADMIN, 202, NULL, 0, "InstanceNew", "TaskStarted", false, create_instance, "Create an instance" },
    { "GET", "/1.0/instances/{name}", API_VIEW, 200, NULL, 0, NULL, "Instance", false, get_instance, "Show an instance" },
    { "PATCH", "/1.0/instances/{name}", API_ADMIN, 200, NULL, 0, "InstanceEdit", "Edited", false, edit_instance, "Change an instance; with If-Match only when nobody else did" },
    { "DELETE", "/1.0/instances/{name}", API_ADMIN, 202, QUERY(force), NULL, "TaskStarted", false, delete_instance, "Delete an instance and its files" },
    { "POST", "/1.0/instances/{name}/rename", API_ADMIN, 200, NULL, 0, "Rename", "Edited", false, rename_instance, "Give an instance another name" },
    { "POST", "/1.0/instances/{name}/action", API_OPERATE, 202, NULL, 0, "Action", "TaskStarted", false, act_instance, "Start an instance, stop it, and so on" },
    { "GET", "/1.0/instances/{name}/log", API_VIEW, 200, QUERY(log_query), NULL, NULL, false, get_log, "Show the end of a log, as text" },
    { "GET", "/1.0/instances/{name}/console", API_OPERATE, 101, QUERY(console_query), NULL, NULL, false, get_console, "Connect with the console: a WebSocket whose messages are its bytes" },
    { "GET", "/1.0/instances/{name}/exec", API_OPERATE, 101, NULL, 0, NULL, NULL, false, get_exec, "Run a program in a container, or in a machine by the agent in its guest: a WebSocket whose messages are the frames of doc/os.md" },
    { "GET", "/1.0/instances/{name}/files", API_OPERATE, 101, NULL, 0, NULL, NULL, false, get_files, "Put files into a container or a machine, or take some out: a WebSocket whose messages are the frames of doc/os.md" },
    {},
};
/* clang-format on */

const struct api_part api_part_instances = { "Instances", routes, schemas };
