/*
 * api/routes_tasks.c: tasks: what was asked and takes time.
 */
#include "api/routes.h"

#include <stdlib.h>

struct task_started {
    u64 task, revision;
};
struct task_view {
    u64 number, done, total;
};

/* Which are listed. */
struct tasks_query {
    char *after;
    u32 limit;
    int state;
    char *name;
};
static const char *const states_wanted[] = { "any",    "waiting",   "running", "done",
                                             "failed", "cancelled", NULL };

/* clang-format off */
static const struct field tasks_query_fields[] = {
    FIELD_STR(tasks_query, after, "those that are older than this number", .sdflt = ""),
    FIELD_INT(tasks_query, limit, "at most so many", .dflt = API_PAGE, .min = 1, .max = API_PAGE_MAX),
    FIELD_ENUM(tasks_query, state, states_wanted, "only those that are so"),
    FIELD_STR(tasks_query, name, "only those of the instance, image or network of this name", .sdflt = ""),
    {},
};
static const struct field task_started_fields[] = {
    FIELD_INT(task_started, task, "its number"),
    FIELD_INT(task_started, revision, "events after this one tell how it goes"),
    {},
};
static const struct field task_view_fields[] = {
    FIELD_INT(task_view, number, "its number"),
    FIELD_INT(task_view, done, "bytes that are done"),
    FIELD_INT(task_view, total, "bytes in all; 0: not known, or nothing to be counted"),
    {},
};
/* clang-format on */

/* A task is its instance's; one that is about none is for who may do so to everything.  Of an instance that is gone: for these, too. */
static bool may_locked(const struct api_call *c, u32 rights, const struct task *t)
{
    return api_may_locked(c, rights, NULL) ||
           (t->rec.id && api_may_locked(c, rights, host_by_id_locked(c->host, t->rec.id)));
}

static bool is_wanted(const struct tasks_query *q, const struct task *t)
{
    return (q->state == 0 || t->rec.state == q->state - 1) &&
           (!*q->name || (t->rec.name && strcmp(t->rec.name, q->name) == 0));
}

/* A page of a thousand would be mostly that. */
static void add_without_log(json_t *list, json_t *task)
{
    json_object_del(task, "log");
    json_array_append_new(list, task);
}

/* Newest first; `after` is a number: those that are older. */
static int list_tasks(struct api_call *c, struct err *e)
{
    const struct tasks_query *q = c->query;
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
        if (t->number >= below || !may_locked(c, API_VIEW, t) || !is_wanted(q, t))
            continue;
        if (json_array_size(list) == q->limit)
            next = str_new("%llu", last);
        else
            add_without_log(list, task_print_locked(t));
        last = t->number;
    }
    host_unlock(h);
    api_answer_list(c, list, next);
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
    if (t && may_locked(c, API_VIEW, t))
        j = task_print_locked(t);
    host_unlock(h);
    if (!j)
        return err_set(e, -ENOENT, "there is no task %llu", number);
    api_answer_json(c, j);
    return 0;
}

static int cancel_task(struct api_call *c, struct err *e)
{
    struct host *h = c->host;
    const struct task *t;
    bool sees, may;
    u64 number;

    if (str_u64(c->name, &number) < 0)
        return err_set(e, -ENOENT, "there is no task '%.20s'", c->name);
    host_lock(h);
    t = task_find_locked(h, number);
    sees = t && may_locked(c, API_VIEW | API_OPERATE, t);
    may = t && may_locked(c, API_OPERATE, t);
    host_unlock(h);
    if (!sees)
        return err_set(e, -ENOENT, "there is no task %llu", number);
    return may ? task_cancel(h, number, e)
               : err_set(e, -EACCES, "this needs a right that you do not have");
}

/* clang-format off */
static const struct api_schema schemas[] = {
    { "TaskStarted",  task_started_fields },
    { "Task",         task_view_fields, .also = task_fields },
    {},
};

static const struct api_route routes[] = {
    { "GET", "/1.0/tasks", API_VIEW, 200, QUERY(tasks_query), NULL, "Task", true, list_tasks, "List tasks, the newest first", .filters = true },
    { "GET", "/1.0/tasks/{number}", API_VIEW, 200, NULL, 0, NULL, "Task", false, get_task, "Show a task", .filters = true },
    { "DELETE", "/1.0/tasks/{number}", API_OPERATE, 204, NULL, 0, NULL, NULL, false, cancel_task, "Cancel a task", .filters = true },
    {},
};
/* clang-format on */

const struct api_part api_part_tasks = { "Tasks", routes, schemas };
