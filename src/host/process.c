/*
 * host/process.c: the process of a machine: started, found again, told what to do, seen to end.
 *   (1) It is alive exactly while its vm.log is locked: socled locks the file, and the process keeps that open file as its stderr.
 *   (2) Who it is, its control socket says, and only a pidfd that was taken before it answered is believed.
 *   (3) Its end is seen on the loop (on_end), which alone closes the pidfd; who waits for it waits for `changed`.
 */
#include "base/clock.h"
#include "host/exit_status.h"
#include "host/guard.h"
#include "host/host.h"
#include "host/newfile.h"
#include "host/nic.h"
#include "host/spawn.h"
#include "host/talk.h"
#include "host/tree.h"
#include "jail/jail.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
    START_SECONDS = 120, /* until it answers: a state may have to be read */
    ANSWER_SECONDS = 10,
    OFF_SECONDS = 10, /* after it was turned off; then it is killed */
    SAVE_SECONDS = 3600,
    AGAIN_MS = 500,
    LOG_MAX = 1024 * 1024, /* of vm.log, at a start */
    LOG_TAIL = 4096,
    SPEC_MAX = 1024 * 1024,
    BY_SIGNAL = 1000, /* plus n, in place of a status: signal n ended it */
};

static char *path_in(const struct instance *i, const char *name)
{
    return str_new("%s/instances/%s/%s", i->host->dir, i->id, name);
}

/* ---- the lock ---- */

/* vm.log with its lock; -EBUSY: the machine is alive. */
static int open_log(const struct instance *i, bool create, struct err *e)
{
    AUTO(free) char *path = path_in(i, "vm.log");
    AUTO(fd) int fd = open(path, O_RDWR | O_APPEND | O_CLOEXEC | (create ? O_CREAT : 0), 0600);

    if (fd < 0)
        return err_errno(e, "open '%s'", path);
    if (flock(fd, LOCK_EX | LOCK_NB) < 0)
        return errno == EWOULDBLOCK ? err_set(e, -EBUSY, "its process is alive")
                                    : err_errno(e, "lock '%s'", path);
    return TAKE_FD(fd);
}

static bool is_alive(const struct instance *i)
{
    AUTO(fd) int fd = open_log(i, false, NULL);

    return fd == -EBUSY;
}

/* ---- how it ended ---- */

/* The last thing that it complained of since its start; false: it did not. */
static bool last_error(const struct instance *i, char ret[240])
{
    AUTO(free) char *path = path_in(i, "vm.log");
    AUTO(fd) int fd = open(path, O_RDONLY | O_CLOEXEC);
    char text[LOG_TAIL + 1];
    struct stat st;
    const char *at, *line = NULL;
    ssize_t n;
    u64 from;

    if (fd < 0 || fstat(fd, &st) < 0)
        return false;
    from = max(i->run.log_at, st.st_size > LOG_TAIL ? (u64)st.st_size - LOG_TAIL : 0);
    n = pread(fd, text, LOG_TAIL, (off_t)from);
    text[n > 0 ? n : 0] = 0;
    for (at = text; (at = strstr(at, "error: ")); at++)
        line = at + strlen("error: ");
    if (!line)
        return false;
    str_fmt(ret, 240, "%.*s", (int)min(strcspn(line, "\n"), (size_t)239), line);
    return true;
}

/* By the debug exit port: odd.  Turned off by SIGTERM and a call that its jail forbids are, too (jail/jail.h). */
static bool is_guests(int status)
{
    return status > 0 && status < BY_SIGNAL && status % 2 == 1 && status != JAIL_EXIT_STATUS;
}

struct end {
    enum host_state state;
    char why[240];
};

/* `status`: of a child; -1: it was none of ours. */
static struct end how_it_ended(const struct instance *i, int status)
{
    struct end end = { .state = HOST_OFF };
    const bool complained = last_error(i, end.why);

    if (i->run.state == HOST_DELETING)
        end.state = HOST_DELETING;
    else if (status == EXIT_STATUS_SUSPENDED || (status < 0 && i->run.saved && !complained))
        end.state = HOST_SUSPENDED;
    else if (i->run.state == HOST_STOPPING || status == EXIT_STATUS_OFF || is_guests(status))
        end.state = HOST_OFF;
    else if (status >= 0 || complained)
        end.state = HOST_FAILED;
    if (end.state == HOST_FAILED && !complained && status > BY_SIGNAL)
        str_fmt(end.why, sizeof(end.why), "its process was ended by signal %d", status - BY_SIGNAL);
    else if (end.state == HOST_FAILED && !complained)
        str_fmt(end.why, sizeof(end.why), "its process ended with status %d", status);
    return end;
}

/* Records the end.  Waiters look at pidfd, so it is closed before. */
static void ended_locked(struct instance *i, int status)
{
    const struct end end = how_it_ended(i, status);
    struct err e = {};

    i->run.pid = 0;
    if (end.state != HOST_SUSPENDED)
        i->run.saved = false;
    if (host_set_state_locked(i, end.state, end.state == HOST_FAILED ? end.why : NULL, &e) < 0) {
        log_error("%s", e.text); /* a full disk: the next socled will see it, too */
        i->run.state = (int)end.state;
    }
    if (end.state == HOST_FAILED)
        log_notice("machine '%s' failed: %s", i->cfg.spec.name, end.why);
    network_tidy_locked(i->host); /* its taps have no other end any more */
}

static int child_status(pid_t pid)
{
    int status;

    if (waitpid(pid, &status, 0) != pid)
        return -1;
    return WIFEXITED(status) ? WEXITSTATUS(status) : BY_SIGNAL + WTERMSIG(status);
}

static void on_end(struct loop_fd *f, int events [[maybe_unused]])
{
    struct instance *i = f->arg;
    struct host *h = i->host;

    host_lock(h);
    loop_fd_close(&i->watch);
    fd_close(&i->pidfd);
    ended_locked(i, i->child ? child_status((pid_t)i->run.pid) : -1);
    host_unlock(h);
}

/* ---- finding it ---- */

/* Asks a machine that may be anyone's; its pidfd.  *ret_state: what it is doing. */
static int ask_who(const struct instance *i, pid_t *ret_pid, enum host_state *ret_state,
                   struct err *e)
{
    AUTO(free) char *path = path_in(i, "control");
    AUTO(fd) int pidfd = -1;
    json_t *status = NULL;
    const char *state;
    struct talk t;
    int r = talk_open(&t, path, ANSWER_SECONDS, e);

    if (r >= 0) {
        *ret_pid = talk_peer(&t);
        pidfd = (int)syscall(SYS_pidfd_open, *ret_pid, 0);
        r = pidfd < 0 ? err_errno(e, "process %d", (int)*ret_pid) : 0;
    }
    if (r >= 0 && !(status = talk_result(&t, "{\"cmd\": \"status\", \"id\": 1}", NULL, 0, e)))
        r = e->code;
    talk_close(&t);
    if (r < 0)
        return r;
    state = json_string_value(json_object_get(status, "state"));
    *ret_state = state && str_starts(state, "paus") ? HOST_PAUSED : HOST_RUNNING;
    json_decref(status);
    return TAKE_FD(pidfd);
}

/* Watches it: `pidfd` is the instance's from now on.  Without the lock, but for the record. */
static int watch(struct instance *i, int pidfd, pid_t pid, bool child, enum host_state state,
                 struct err *e)
{
    struct host *h = i->host;
    int r;

    host_lock(h);
    i->pidfd = pidfd;
    i->child = child;
    i->run.pid = (u32)pid;
    i->run.saved = false;
    r = host_set_state_locked(i, state, NULL, e);
    host_unlock(h);
    if (r >= 0)
        r = loop_fd_attach(h->loop, &i->watch, pidfd, UV_READABLE, on_end, i);
    return r;
}

/* A machine that an earlier socled started, or that answers late.  -EAGAIN: alive, but it does not answer yet. */
static int adopt(struct instance *i, struct err *e)
{
    enum host_state state = HOST_RUNNING;
    struct err why = {};
    pid_t pid;
    int pidfd = ask_who(i, &pid, &state, &why);

    if (pidfd < 0 && is_alive(i))
        return err_set(e, -EAGAIN, "it is alive and does not answer: %s", why.text);
    if (pidfd < 0)
        return err_set(e, -ESRCH, "it ended");
    if (i->run.state == HOST_STOPPING || i->run.state == HOST_DELETING)
        state = (enum host_state)i->run.state; /* a task is at it */
    return watch(i, pidfd, pid, false, state, e);
}

int process_find(struct instance *i, bool *ret_silent, struct err *e)
{
    int r = is_alive(i) ? adopt(i, e) : -ESRCH;

    *ret_silent = r == -EAGAIN;
    host_lock(i->host);
    if (r == -ESRCH && (host_is_alive(i) || i->run.pid))
        ended_locked(i, -1);
    if (r == -EAGAIN && i->run.state != HOST_DELETING && i->run.state != HOST_STOPPING)
        (void)host_set_state_locked(i, HOST_STARTING, NULL, NULL);
    host_unlock(i->host);
    return r == -ESRCH || r == -EAGAIN ? 0 : r;
}

/* ---- start ---- */

static int check_memory_locked(const struct instance *i, struct err *e)
{
    struct host *h = i->host;
    AUTO(free) struct guard_vm *vms = xnew_n(struct guard_vm, h->n);
    struct guard_host host;
    int r = guard_read_host(&host, e);
    u32 n = 0;

    for (u32 k = 0; k < h->n; k++)
        if (h->list[k] != i && host_is_alive(h->list[k]))
            vms[n++] = (struct guard_vm){ h->list[k]->cfg.spec.memory,
                                          guard_resident((int)h->list[k]->run.pid) };
    return r < 0 ? r : guard_check(&host, vms, n, i->cfg.spec.name, i->cfg.spec.memory, e);
}

/* The description with which the machine was started last: what it was may have been edited since. */
static int read_spec(const struct instance *i, struct vm_spec *ret, struct err *e)
{
    AUTO(free) char *path = path_in(i, "machine"), *text = NULL;
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
    AUTO(free) char *path = path_in(i, "machine"), *text = NULL;
    json_t *j = conf_print(spec_fields, spec);
    struct newfile f;
    int r = newfile_open(&f, path, e);

    text = json_dumps(j, JSON_INDENT(2));
    json_decref(j);
    must(text);
    if (r >= 0 && ((r = fd_write_all(f.fd, text, strlen(text))) < 0 || fsync(f.fd) < 0))
        r = err_code(e, r < 0 ? r : -errno, "write '%s'", path);
    if (r >= 0)
        r = newfile_keep(&f, e);
    newfile_fini(&f);
    return r;
}

static int make_spec_locked(struct instance *i, struct vm_spec *ret, struct err *e)
{
    AUTO(free) char *folder = host_folder(i->host, i);
    const struct instance_paths paths = { folder, i->host->images, i->host->cache };
    struct image_cfg image = {};
    int r;

    if (i->run.saved) {
        r = read_spec(i, ret, e);
        if (r >= 0)
            ret->restore.file = path_in(i, "state");
        return r;
    }
    r = i->cfg.image ? images_get(i->host->images, i->cfg.image, &image, e) : 0;
    if (r >= 0)
        r = instance_spec(&i->cfg, &paths, i->cfg.image ? &image : NULL, ret, e);
    conf_fini(image_cfg_fields, &image);
    return r;
}

/* What it will be, and that it is being started; the memory of others is counted in the same moment. */
static int plan(struct task *t, u64 log_at, struct vm_spec *ret, struct err *e)
{
    struct instance *i = t->inst;
    int r;

    host_lock(t->host);
    r = t->rec.force ? 0 : check_memory_locked(i, e);
    if (r >= 0)
        r = make_spec_locked(i, ret, e);
    if (r >= 0) {
        i->run.log_at = log_at;
        r = host_set_state_locked(i, HOST_STARTING, NULL, e);
        if (r < 0)
            spec_fini(ret);
    }
    host_unlock(t->host);
    return r;
}

/* Until it answers, or ends. */
static int wait_for(struct task *t, const struct spawn *vm, struct err *e)
{
    const u64 limit = clock_mono_ns() + START_SECONDS * NSEC_PER_SEC;
    struct pollfd p = { .fd = vm->pidfd, .events = POLLIN };
    enum host_state state;
    pid_t pid;

    while (clock_mono_ns() < limit) {
        int fd = ask_who(t->inst, &pid, &state, e), r = job_check(&t->job, e);

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
    status = child_status(vm->pid);
    host_lock(t->host);
    if (r == -ECHILD && !last_error(i, e->text))
        err_set(e, r, "its process ended with status %d", status);
    if (host_set_state_locked(i, i->run.saved ? HOST_SUSPENDED : HOST_FAILED, e->text, NULL) < 0)
        log_error("machine '%s' did not start, which cannot be recorded", i->cfg.spec.name);
    host_unlock(t->host);
}

static int launch(struct task *t, int log, struct vm_spec *spec, struct err *e)
{
    const struct spawn_how how = { .alone = true, .log = log };
    AUTO(free) char *state = path_in(t->inst, "state");
    struct spawn vm;
    int r = 0;

    r = nics_plug(t->inst, spec, e);
    if (r >= 0 && !spec->restore.file)
        r = write_spec(t->inst, spec, e);
    for (u32 k = 0; k < spec->disks.n && r >= 0; k++)
        r = tree_usable(spec_disk(spec, k)->file, e);
    if (r >= 0)
        r = spawn_start(spec, &how, &vm, e);
    if (r < 0) {
        host_lock(t->host);
        (void)host_set_state_locked(t->inst, t->inst->run.saved ? HOST_SUSPENDED : HOST_FAILED,
                                    e->text, NULL);
        host_unlock(t->host);
        return r;
    }
    r = wait_for(t, &vm, e);
    if (r == -ECANCELED && t->host->closing) {
        spawn_fini(&vm);
        return r; /* the next socled finds it */
    }
    if (r < 0) {
        start_failed(t, &vm, r, e);
        spawn_fini(&vm);
        return r;
    }
    r = watch(t->inst, TAKE_FD(vm.pidfd), vm.pid, true, HOST_RUNNING, e);
    unlink(state); /* it is mapped, and nobody may go on from it twice */
    spawn_fini(&vm);
    return r;
}

static bool is_watched(struct task *t, enum host_state *ret_state)
{
    bool watched;

    host_lock(t->host);
    watched = t->inst->pidfd >= 0;
    *ret_state = (enum host_state)t->inst->run.state;
    host_unlock(t->host);
    return watched;
}

/* An earlier socled started it. */
static int wait_adopt(struct task *t, struct err *e)
{
    enum host_state state;
    int r = is_watched(t, &state) ? 0 : -EAGAIN;

    for (u32 k = 0; r == -EAGAIN && k < START_SECONDS * 1000 / AGAIN_MS; k++) {
        r = adopt(t->inst, e);
        if (r == -EAGAIN)
            poll(NULL, 0, AGAIN_MS);
        if (r == -EAGAIN && job_check(&t->job, e) < 0)
            return -ECANCELED;
    }
    return r;
}

/* It is watched, or (-ESRCH) it ended, which is recorded. */
static int find_again(struct task *t, struct err *e)
{
    struct instance *i = t->inst;
    int r = is_alive(i) ? wait_adopt(t, e) : err_set(e, -ESRCH, "it ended");

    host_lock(t->host);
    if (r == -ESRCH && i->pidfd < 0 && host_is_alive(i))
        ended_locked(i, -1); /* nobody watched it */
    host_unlock(t->host);
    return r;
}

static int start_with(struct task *t, int log, struct err *e)
{
    struct vm_spec spec;
    struct stat st;
    int r;

    if (fstat(log, &st) < 0 || (st.st_size > LOG_MAX && ftruncate(log, 0) < 0))
        return err_errno(e, "the log of '%s'", t->rec.name);
    r = plan(t, st.st_size > LOG_MAX ? 0 : (u64)st.st_size, &spec, e);
    if (r < 0)
        return r;
    r = launch(t, log, &spec, e);
    spec_fini(&spec);
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

int process_start(struct task *t, struct err *e)
{
    int r;

    if (take_silent(t->inst))
        return find_again(t, e); /* it was started: one that ends now is not started again */
    do {
        AUTO(fd) int log = open_log(t->inst, true, e);

        r = log;
        if (log >= 0)
            return start_with(t, log, e);
        if (log == -EBUSY)
            r = find_again(t, e);
    } while (r == -ESRCH); /* it ended, or another's fork had the lock until its execve */
    return r;
}

/* ---- talking to it ---- */

static int command(struct task *t, const char *request, struct err *e)
{
    AUTO(free) char *path = path_in(t->inst, "control");
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
    int r = command(t, request, e);

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

int process_reset(struct task *t, struct err *e)
{
    return command(t, "{\"cmd\": \"reset\", \"id\": 1}", e);
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

/* Off at once: asked to, so that the disks are flushed; else killed. */
static int cut(struct task *t, struct err *e)
{
    int pidfd;

    if (command(t, "{\"cmd\": \"power\", \"action\": \"off\", \"id\": 1}", e) >= 0 &&
        wait_gone(t, OFF_SECONDS))
        return 0;
    host_lock(t->host);
    pidfd = t->inst->pidfd;
    if (pidfd >= 0)
        syscall(SYS_pidfd_send_signal, pidfd, SIGKILL, NULL, 0);
    host_unlock(t->host);
    if (wait_gone(t, OFF_SECONDS))
        return 0;
    return job_check(&t->job, e) < 0 ? -ECANCELED
                                     : err_set(e, -ETIMEDOUT, "its process does not end");
}

/* The button is pressed once: what comes after an interruption waits only, since a second time cuts the power. */
static int shut_down(struct task *t, bool pressed, struct err *e)
{
    int r = 0;

    if (!pressed) {
        (void)command(t, "{\"cmd\": \"resume\", \"id\": 1}",
                      NULL); /* a paused guest hears nothing */
        r = command(t, "{\"cmd\": \"power\", \"action\": \"button\", \"id\": 1}", e);
    }
    if (r >= 0 && wait_gone(t, t->rec.timeout))
        return 0;
    return job_check(&t->job, e) < 0 ? -ECANCELED : cut(t, e);
}

/* It goes on: its user thought better of it. */
static void not_stopped(struct task *t)
{
    host_lock(t->host);
    if (t->inst->pidfd >= 0 && t->inst->run.state == HOST_STOPPING && !t->host->closing)
        (void)host_set_state_locked(t->inst, HOST_RUNNING, NULL, NULL);
    host_unlock(t->host);
}

static int note_stopping(struct task *t, struct err *e)
{
    int r = 0;

    host_lock(t->host);
    if (t->inst->pidfd >= 0 && t->inst->run.state != HOST_DELETING)
        r = host_set_state_locked(t->inst, HOST_STOPPING, NULL, e);
    host_unlock(t->host);
    return r;
}

int process_stop(struct task *t, bool force, struct err *e)
{
    enum host_state was;
    int r = find_again(t, e);

    if (r == -ESRCH)
        r = 0;
    if (r < 0 || !is_watched(t, &was))
        return r; /* 0: there is none, or not any more */
    r = note_stopping(t, e);
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
    AUTO(free) char *control = path_in(t->inst, "control"), *state = path_in(t->inst, "state");
    struct newfile f = { .fd = -1 };
    struct talk k = { .fd = -1 };
    enum host_state was;
    int r = find_again(t, e);

    if (r == -ESRCH && !is_watched(t, &was) && was == HOST_SUSPENDED)
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
    if (r >= 0 && !wait_gone(t, OFF_SECONDS))
        r = err_set(e, -ETIMEDOUT, "its process does not end");
    if (r < 0)
        not_stopped(t);
    return r;
}
