/*
 * host/task.c: what takes time: a record that is durable before it begins, a thread that does it, a record of how it ended.
 * A task says what shall be so.  Its function looks at what is and does what is missing, so it can be run again after any
 * interruption; those that cannot have `once`.
 *
 *     WAITING ──> RUNNING ──> DONE, FAILED, CANCELLED
 *        ^───────────┘ socled ended; after HOST_TASK_TRIES_MAX of these: FAILED
 */
#include "base/clock.h"
#include "host/metrics.h"
#include "host/schedule.h"
#include "host/task_do.h"
#include "host/task_log.h"

#include <stdlib.h>

const char *const task_words[] = { "create",    "start",           "stop",    "restart",
                                   "pause",     "resume",          "reset",   "suspend",
                                   "delete",    "import",          "network", "snapshot",
                                   "restore",   "delete-snapshot", "clone",   "sweep",
                                   "catalogue", "export",          NULL };
static const char *const states[] = { "waiting", "running", "done", "failed", "cancelled", NULL };

/* clang-format off */
static const struct field task_line_fields[] = {
    FIELD_INT(task_line, time, "when it was, in seconds since 1970"),
    FIELD_STR(task_line, text, "what was done"),
    {},
};
const struct field task_fields[] = {
    FIELD_ENUM(task_rec, what, task_words, "what is wanted"),
    FIELD_ENUM(task_rec, state, states, "how far it is"),
    FIELD_STR(task_rec, id, "of the instance"),
    FIELD_STR(task_rec, name, "of the instance when it was asked, or of the image or network"),
    FIELD_INT(task_rec, timeout, "seconds that a guest has to shut down"),
    FIELD_BOOL(task_rec, force, "whatever speaks against it"),
    FIELD_OBJ(task_rec, source, image_source_fields, "what an image is made of", .secret = true), /* files of the host */
    FIELD_STR(task_rec, snapshot, "the snapshot's name"),
    FIELD_INT(task_rec, node, "number of the snapshot that was begun; 0: none"),
    FIELD_BOOL(task_rec, memory, "snapshot: of a machine that runs, its memory, too"),
    FIELD_BOOL(task_rec, by_itself, "nobody asked for it: the machine is one that is started again, or with the host"),
    FIELD_BOOL(task_rec, was_on, "it ran when it was asked"),
    FIELD_STR(task_rec, from, "clone: id of the instance that is cloned"),
    FIELD_ENUM(task_rec, mode, clone_words, "clone: of what kind"),
    FIELD_OBJ(task_rec, export, export_ask_fields, "export: what is wanted"),
    FIELD_STR(task_rec, error, "why it failed"),
    FIELD_INT(task_rec, uid, "the host's user who asked, or as whom socled asked for a user of its own"),
    FIELD_STR(task_rec, user, "who asked: a user of socled, or `uid N` of the host; it is missing when socled did by itself"),
    FIELD_INT(task_rec, created, "when it was asked, in seconds since 1970"),
    FIELD_INT(task_rec, ended, "when it ended, in seconds since 1970"),
    FIELD_INT(task_rec, tries, "how often it was begun"),
    FIELD_LIST(task_rec, log, task_line_fields, task_line, TASK_LOG_MAX, "what it did, the last of it; not where tasks are listed"),
    {},
};
/* clang-format on */

static bool unfinished(const struct task *t)
{
    return t->rec.state <= TASK_RUNNING;
}

int task_room_locked(struct host *h, struct err *e)
{
    u32 n = 0;

    for (const struct task *t = h->tasks; t; t = t->next)
        n += unfinished(t);
    if (h->closing || n >= HOST_TASKS_MAX)
        return err_set(e, -EAGAIN, "%u tasks are waiting; try again later", n);
    return 0;
}

/* Those whose task it is. */
static void attach(struct task *t)
{
    t->from = t->rec.from ? host_by_id_locked(t->host, t->rec.from) : NULL;
    if (t->inst)
        t->inst->task = t;
    if (t->from)
        t->from->task = t;
}

struct task *task_new_locked(struct host *h, struct task_rec *rec, struct instance *i)
{
    struct task *t = xnew(struct task);

    t->host = h;
    t->number = h->next - 1;
    t->rec = *rec;
    *rec = (struct task_rec){};
    t->inst = i;
    attach(t);
    t->next = h->tasks;
    h->tasks = t;
    return t;
}

/* The instance leaves: its records, and what is here of it. */
static void change_delete(struct host_change *c, const struct instance *i)
{
    store_txn_delete(&c->txn, host_change_key(c, "instance", i->id));
    store_txn_delete(&c->txn, host_change_key(c, "run", i->id));
    store_txn_delete(&c->txn, host_change_key(c, "name", i->cfg.spec.name));
    store_txn_delete(&c->txn, host_change_key(c, "base", i->id));
    if (i->told.pid)
        store_txn_delete(&c->txn, host_change_key(c, "addresses", i->id));
}

static void drop_instance(struct host *h, struct instance *i)
{
    u32 at = 0;

    while (h->list[at] != i)
        at++;
    memmove(h->list + at, h->list + at + 1, (h->n - at - 1) * sizeof(*h->list));
    h->n--;
    for (struct task *t = h->tasks; t; t = t->next)
        if (t->inst == i)
            t->inst = NULL;
    must(i->pidfd < 0);
    metrics_forget(h, i->id);
    host_instance_free(i);
    network_tidy_locked(h);
}

/* The oldest of those that are done, when there are too many: it leaves with the change. */
static struct task **too_old(struct host *h)
{
    struct task **old = NULL;
    u32 n = 0;

    for (struct task **p = &h->tasks; *p; p = &(*p)->next) {
        if (unfinished(*p))
            continue;
        old = p;
        n++;
    }
    return n >= HOST_TASKS_KEPT ? old : NULL;
}

static void drop_task(struct task **p)
{
    struct task *t = *p;

    *p = t->next;
    conf_fini(task_fields, &t->rec);
    free(t);
}

/* What was to be made and was not leaves nothing; a delete that is done neither. */
static bool leaves(const struct task *t, enum task_state state)
{
    return t->inst && t->inst->pidfd < 0 &&
           ((task_rows[t->rec.what].makes && state != TASK_DONE) ||
            (t->rec.what == TASK_DELETE && state == TASK_DONE));
}

/* A deletion that failed: the machine is off, and can be deleted again. */
static bool is_stuck(const struct task *t, enum task_state state)
{
    return t->inst && t->rec.what == TASK_DELETE && state != TASK_DONE;
}

static void finish_locked(struct task *t, enum task_state state, const char *why)
{
    struct host *h = t->host;
    struct task **old = too_old(h);
    struct instance *i = t->inst;
    struct host_change c = {};
    struct run_rec run = {};
    char number[24];
    struct err e = {};

    free(t->rec.error);
    t->rec.error = why ? xdup(why) : NULL;
    t->rec.state = (int)state;
    t->rec.ended = clock_real_ns() / NSEC_PER_SEC;
    task_log_locked(t, "%s", states[state]);
    host_change_task(&c, t->number, &t->rec);
    if (leaves(t, state))
        change_delete(&c, i);
    if (is_stuck(t, state)) {
        run = i->run;
        run.state = HOST_FAILED;
        run.why = t->rec.error;
        host_change_run(&c, i, &run);
    }
    if (i && t->rec.by_itself && state != TASK_DONE) {
        schedule_not_started_locked(i, state == TASK_FAILED);
        host_change_run(&c, i, &i->run);
    }
    if (old) {
        str_fmt(number, sizeof(number), "%010llu", (*old)->number);
        store_txn_delete(&c.txn, host_change_key(&c, "task", number));
    }
    if (host_change_do(h, &c, NULL, &e) < 0)
        log_error("task %llu ended, which cannot be recorded: %s", t->number, e.text);
    if (is_stuck(t, state)) {
        free(i->run.why);
        i->run = run;
        i->run.why = xdup(t->rec.error ? t->rec.error : "");
    }
    if (i)
        i->task = NULL;
    if (t->from)
        t->from->task = NULL;
    t->from = NULL;
    if (leaves(t, state))
        drop_instance(h, i);
    if (old)
        drop_task(old);
    schedule_look(h);
    pthread_cond_broadcast(&h->changed);
}

/* How it went, on the task's thread. */
static void end_locked(struct task *t, int r, const struct err *e)
{
    struct host_change c = {};

    if (r == -ECANCELED && t->host->closing) { /* the next socled goes on with it */
        t->rec.state = TASK_WAITING;
        t->rec.tries--;
        task_log_locked(t, "socled ends; the next one goes on with it");
        host_change_task(&c, t->number, &t->rec);
        (void)host_change_do(t->host, &c, NULL, NULL);
    } else if (r == -ECANCELED) {
        finish_locked(t, TASK_CANCELLED, NULL);
    } else {
        finish_locked(t, r < 0 ? TASK_FAILED : TASK_DONE, r < 0 ? e->text : NULL);
    }
}

static void begin_waiting_locked(struct host *h);

static void *task_main(void *arg)
{
    struct task *t = arg;
    struct host *h = t->host;
    struct err e = {};
    int r = task_rows[t->rec.what].fn(t, &e);

    if (r < 0 && task_rows[t->rec.what].makes && !(r == -ECANCELED && h->closing))
        task_unmake(t);
    host_lock(h);
    end_locked(t, r, &e);
    h->n_running--;
    if (!h->closing)
        begin_waiting_locked(h);
    pthread_cond_broadcast(&h->changed);
    host_unlock(h);
    return NULL;
}

static void begin_locked(struct task *t)
{
    struct host_change c = {};
    pthread_t thread;
    struct err e = {};
    int r;

    t->rec.state = TASK_RUNNING;
    t->rec.tries++;
    if (t->loaded)
        task_log_locked(t, "begun by a socled that found it, try %u", t->rec.tries);
    else
        task_log_locked(t, "begun");
    host_change_task(&c, t->number, &t->rec);
    r = host_change_do(t->host, &c, NULL, &e);
    if (r >= 0)
        r = -pthread_create(&thread, NULL, task_main, t);
    if (r < 0) {
        finish_locked(t, TASK_FAILED, e.code ? e.text : strerror(-r));
        return;
    }
    pthread_detach(thread);
    t->host->n_running++;
}

/* Layers that an import made are no image's until its end, so nothing is swept meanwhile; nor does an import find what is being swept. */
static bool has_to_wait(const struct task *t)
{
    const int other = t->rec.what == TASK_SWEEP    ? TASK_IMPORT
                      : t->rec.what == TASK_IMPORT ? TASK_SWEEP
                                                   : -1;

    for (const struct task *o = t->host->tasks; o; o = o->next)
        if (o->rec.what == other && o->rec.state == TASK_RUNNING)
            return true;
    return false;
}

/* The oldest first. */
static void begin_waiting_locked(struct host *h)
{
    struct task *oldest;

    if (!h->begun)
        return;
    do {
        oldest = NULL;
        for (struct task *t = h->tasks; t && h->n_running < HOST_TASK_THREADS_MAX; t = t->next)
            if (t->rec.state == TASK_WAITING && !has_to_wait(t))
                oldest = t;
        if (oldest)
            begin_locked(oldest);
    } while (oldest);
}

void task_go_locked(struct task *t)
{
    begin_waiting_locked(t->host);
}

struct task *task_find_locked(struct host *h, u64 number)
{
    struct task *t = h->tasks;

    while (t && t->number != number)
        t = t->next;
    return t;
}

int task_note(struct task *t, u32 node, const char *snapshot, struct err *e)
{
    struct host_change c = {};
    int r;

    host_lock(t->host);
    t->rec.node = node;
    if (!t->rec.snapshot)
        t->rec.snapshot = xdup(snapshot);
    task_log_locked(t, "take snapshot '%s'", t->rec.snapshot);
    host_change_task(&c, t->number, &t->rec);
    r = host_change_do(t->host, &c, NULL, e);
    host_unlock(t->host);
    return r;
}

static int cancel_locked(struct host *h, u64 number, struct err *e)
{
    struct task *t = task_find_locked(h, number);

    if (!t)
        return err_set(e, -ENOENT, "there is no task %llu", number);
    if (!unfinished(t))
        return err_set(e, -EBUSY, "task %llu has ended", number);
    if (!task_rows[t->rec.what].can_cancel)
        return err_set(e, -EBUSY, "a task that is to %s cannot be cancelled",
                       task_words[t->rec.what]);
    atomic_store(&t->job.cancel, true);
    task_log_locked(t, "to be cancelled");
    pthread_cond_broadcast(&h->changed);
    if (t->rec.state == TASK_WAITING && !t->loaded)
        finish_locked(t, TASK_CANCELLED, NULL); /* else there may be something to be undone */
    return 0;
}

int task_cancel(struct host *h, u64 number, struct err *e)
{
    int r;

    host_lock(h);
    r = cancel_locked(h, number, e);
    host_unlock(h);
    return r;
}

json_t *task_print_locked(const struct task *t)
{
    json_t *j = conf_show(task_fields, &t->rec);

    json_object_set_new(j, "number", json_integer((json_int_t)t->number));
    json_object_set_new(j, "done", json_integer((json_int_t)atomic_load(&t->job.done)));
    json_object_set_new(j, "total", json_integer((json_int_t)atomic_load(&t->job.total)));
    return j;
}

int task_load_locked(struct host *h, u64 number, const char *text, size_t len, struct err *e)
{
    struct task *t = xnew(struct task);
    int r = conf_parse_text(task_fields, &t->rec, text, len, e);

    if (r < 0) {
        free(t);
        return r;
    }
    t->host = h;
    t->number = number;
    t->loaded = true;
    if (unfinished(t)) {
        t->inst = t->rec.id ? host_by_id_locked(h, t->rec.id) : NULL;
        attach(t);
        if ((t->rec.what != TASK_IMPORT && t->rec.what != TASK_NETWORK &&
             t->rec.what != TASK_SWEEP && t->rec.what != TASK_CATALOGUE && !t->inst) ||
            (t->rec.from && !t->from))
            r = err_set(e, -EBADMSG, "its instance is missing");
    }
    t->next = h->tasks;
    h->tasks = t;
    return r;
}

/* One that an earlier socled had begun; NULL: none is left. */
static struct task *interrupted(struct host *h)
{
    struct task *t = h->tasks;

    while (t && t->rec.state != TASK_RUNNING)
        t = t->next;
    return t;
}

void task_resume_locked(struct host *h)
{
    struct task *t;

    while ((t = interrupted(h))) {
        const struct task_row *row = &task_rows[t->rec.what];
        const bool enough = t->rec.tries >= HOST_TASK_TRIES_MAX;

        if (row->once)
            finish_locked(t, TASK_FAILED, "socled ended meanwhile; how far it came is not known");
        else if (enough && !row->undoes)
            finish_locked(t, TASK_FAILED, "socled ended each time that it was tried");
        else
            t->rec.state = TASK_WAITING;
        if (enough && row->undoes)
            atomic_store(&t->job.cancel, true);
    }
    begin_waiting_locked(h);
}
