/*
 * host/process_tell.c: what a machine that runs is told: to pause, to shut down, to go into a file.
 */
#include "host/newfile.h"
#include "host/process.h"
#include "host/talk.h"
#include "host/task_log.h"

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

enum {
    ANSWER_SECONDS = 10,
    SAVE_SECONDS = 3600,
    AFTER_US_SECONDS = 60, /* a machine turns itself off, if we are gone when its time is over */
};

static int command(const struct instance *i, const char *request, struct err *e)
{
    AUTO(free) char *path = process_path(i, "control");
    json_t *result = NULL;
    struct err why = {};
    struct talk k;
    int r = talk_open(&k, path, ANSWER_SECONDS, &why);

    if (r >= 0) {
        result = talk_result(&k, request, NULL, 0, &why);
        r = result ? 0 : why.code;
    }
    talk_close(&k);
    json_decref(result);
    if (r < 0 && e)
        *e = why;
    return r;
}

static int command_state(struct task *t, const char *request, enum host_state state, struct err *e)
{
    int r = command(t->inst, request, e);

    if (r < 0)
        return r;
    host_lock(t->host);
    if (t->inst->pidfd >= 0)
        r = host_set_state_locked(t->inst, state, NULL, e);
    host_unlock(t->host);
    return r;
}

int process_pause(struct task *t, struct err *e)
{
    return command_state(t, "{\"cmd\": \"pause\", \"id\": 1}", HOST_PAUSED, e);
}

int process_resume(struct task *t, struct err *e)
{
    return command_state(t, "{\"cmd\": \"resume\", \"id\": 1}", HOST_RUNNING, e);
}

/* A paused machine stays so; a container is another one then, which runs. */
int process_reset(struct task *t, struct err *e)
{
    static const char reset[] = "{\"cmd\": \"reset\", \"id\": 1}";

    return t->inst->cfg.kind == INSTANCE_OS ? command_state(t, reset, HOST_RUNNING, e)
                                            : command(t->inst, reset, e);
}

int process_hold(struct task *t, struct instance *i, struct talk *k, struct err *e)
{
    AUTO(free) char *path = process_path(i, "control");
    json_t *result = NULL;
    int r = process_find_again(&t->job, i, e);

    *k = (struct talk){ .fd = -1 };
    if (r >= 0)
        r = talk_open(k, path, ANSWER_SECONDS, e);
    if (r >= 0) {
        result = talk_result(k, "{\"cmd\": \"hold\", \"id\": 1}", NULL, 0, e);
        r = result ? 0 : e->code;
    }
    json_decref(result);
    k->path = NULL; /* it was of ours */
    return r;
}

/* ---- stop ---- */

/* True: it is gone.  False: time is over, or the task is cancelled. */
static bool wait_gone(struct task *t, u32 seconds)
{
    struct host *h = t->host;
    struct timespec until;
    int r = 0;

    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += seconds;
    host_lock(h);
    while (t->inst->pidfd >= 0 && r == 0 && !atomic_load(&t->job.cancel))
        r = pthread_cond_timedwait(&h->changed, &h->lock, &until);
    r = t->inst->pidfd < 0;
    host_unlock(h);
    return r;
}

int process_press(struct instance *i, u32 seconds, struct err *e)
{
    const bool waits = i->cfg.kind != INSTANCE_OS; /* a container's never gives up by itself */
    AUTO(free)
    char *more = waits ? str_new(", \"seconds\": %u", seconds + AFTER_US_SECONDS) : xdup("");
    AUTO(free)
    char *button = str_new("{\"cmd\": \"power\", \"action\": \"button\"%s, \"id\": 1}", more);

    /* a paused guest hears nothing */
    (void)command(i, "{\"cmd\": \"resume\", \"id\": 1}", NULL);
    return command(i, button, e);
}

int process_turn_off(struct instance *i, struct err *e)
{
    return command(i, "{\"cmd\": \"power\", \"action\": \"off\", \"id\": 1}", e);
}

void process_kill(struct instance *i)
{
    host_lock(i->host);
    if (i->pidfd >= 0)
        syscall(SYS_pidfd_send_signal, i->pidfd, SIGKILL, NULL, 0);
    host_unlock(i->host);
}

/* Off at once: asked to, so that the disks are flushed; else killed. */
static int cut(struct task *t, struct err *e)
{
    if (process_turn_off(t->inst, e) >= 0 && wait_gone(t, PROCESS_OFF_SECONDS))
        return 0;
    task_log(t, "its process does not end by itself: kill it");
    process_kill(t->inst);
    if (wait_gone(t, PROCESS_OFF_SECONDS))
        return 0;
    return job_check(&t->job, e) < 0 ? -ECANCELED
                                     : err_set(e, -ETIMEDOUT, "its process does not end");
}

/* The button is pressed once: what comes after an interruption waits only, since a second time cuts the power. */
static int shut_down(struct task *t, bool pressed, struct err *e)
{
    int r = pressed ? 0 : process_press(t->inst, t->rec.timeout, e);

    if (r >= 0)
        task_log(t, "the guest has %u seconds to shut down", t->rec.timeout);
    if (r >= 0 && wait_gone(t, t->rec.timeout))
        return 0;
    if (job_check(&t->job, e) < 0)
        return -ECANCELED;
    task_log(t, "it did not: turn it off");
    return cut(t, e);
}

/* It goes on: its user thought better of it. */
static void not_stopped(struct task *t)
{
    host_lock(t->host);
    if (t->inst->pidfd >= 0 && t->inst->run.state == HOST_STOPPING && !t->host->closing)
        (void)host_set_state_locked(t->inst, HOST_RUNNING, NULL, NULL);
    host_unlock(t->host);
}

int process_note_stopping(struct instance *i, struct err *e)
{
    int r = 0;

    host_lock(i->host);
    if (i->pidfd >= 0 && i->run.state != HOST_DELETING)
        r = host_set_state_locked(i, HOST_STOPPING, NULL, e);
    host_unlock(i->host);
    return r;
}

int process_stop(struct task *t, bool force, struct err *e)
{
    enum host_state was;
    int r = process_find_again(&t->job, t->inst, e);

    if (r == -ESRCH)
        r = 0;
    if (r < 0 || !process_is_watched(t->inst, &was))
        return r; /* 0: there is none, or not any more */
    r = process_note_stopping(t->inst, e);
    if (r >= 0)
        r = force ? cut(t, e) : shut_down(t, was == HOST_STOPPING, e);
    if (r == -ECANCELED)
        not_stopped(t);
    return r;
}

/* ---- suspend ---- */

static int note_saved(struct task *t, struct err *e)
{
    int r;

    host_lock(t->host);
    t->inst->run.saved = true;
    task_log_locked(t, "its state is saved");
    r = host_set_state_locked(t->inst, HOST_STOPPING, NULL, e);
    host_unlock(t->host);
    return r;
}

/* The state gets its name, the record says so, then it ends (doc/control.md).  Without that last word it would run on. */
static int save(struct task *t, struct talk *k, struct newfile *f, struct err *e)
{
    json_t *done = talk_result(k, "{\"cmd\": \"suspend\", \"id\": 1}", &f->fd, 1, e);
    int r = done ? newfile_keep(f, e) : e->code;

    json_decref(done);
    if (r >= 0)
        r = note_saved(t, e);
    if (r < 0)
        return r;
    done = talk_result(k, "{\"cmd\": \"suspend\", \"action\": \"end\", \"id\": 1}", NULL, 0, e);
    r = done || e->code == -EPIPE ? 0 : e->code;
    json_decref(done);
    return r;
}

int process_suspend(struct task *t, struct err *e)
{
    AUTO(free)
    char *control = process_path(t->inst, "control"), *state = process_path(t->inst, "state");
    struct newfile f = { .fd = -1 };
    struct talk k = { .fd = -1 };
    enum host_state was;
    int r = process_find_again(&t->job, t->inst, e);

    if (r == -ESRCH && !process_is_watched(t->inst, &was) && was == HOST_SUSPENDED)
        return 0; /* before an interruption */
    if (r == -ESRCH)
        return err_set(e, r, "'%s' is not running", t->rec.name);
    if (r >= 0)
        r = newfile_open(&f, state, e);
    if (r >= 0)
        r = talk_open(&k, control, SAVE_SECONDS, e);
    if (r >= 0)
        r = save(t, &k, &f, e);
    talk_close(&k);
    newfile_fini(&f);
    if (r >= 0 && !wait_gone(t, PROCESS_OFF_SECONDS))
        r = err_set(e, -ETIMEDOUT, "its process does not end");
    if (r < 0)
        not_stopped(t);
    return r;
}
