/*
 * host/process.c: the process of a machine: is it alive, how did it end, found again.
 *   (1) It is alive exactly while its vm.log is locked: socled locks the file, and the process keeps that open file as its stderr.
 *   (2) Who it is, its control socket says, and only a pidfd that was taken before it answered is believed.
 *   (3) Its end is seen on the loop (on_end), which alone closes the pidfd; who waits for it waits for `changed`.
 */
#include "host/process.h"

#include "base/clock.h"
#include "base/exit_status.h"
#include "host/cgroup.h"
#include "host/metrics.h"
#include "host/schedule.h"
#include "host/talk.h"
#include "jail/jail.h"

#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
    ANSWER_SECONDS = 10,
    AGAIN_MS = 500,
    LOG_TAIL = 4096,
    BY_SIGNAL = 1000, /* plus n, in place of a status: signal n ended it */
};

char *process_path(const struct instance *i, const char *name)
{
    return str_new("%s/instances/%s/%s", i->host->dir, i->id, name);
}

/* ---- the lock ---- */

/* vm.log with its lock; -EBUSY: the machine is alive. */
int process_log(const struct instance *i, bool create, struct err *e)
{
    AUTO(free) char *path = process_path(i, "vm.log");
    AUTO(fd) int fd = open(path, O_RDWR | O_APPEND | O_CLOEXEC | (create ? O_CREAT : 0), 0600);

    if (fd < 0)
        return err_errno(e, "open '%s'", path);
    if (flock(fd, LOCK_EX | LOCK_NB) < 0)
        return errno == EWOULDBLOCK ? err_set(e, -EBUSY, "its process is alive")
                                    : err_errno(e, "lock '%s'", path);
    return TAKE_FD(fd);
}

bool process_is_alive(const struct instance *i)
{
    AUTO(fd) int fd = process_log(i, false, NULL);

    return fd == -EBUSY;
}

/* ---- how it ended ---- */

/* The last thing that it complained of since its start; false: it did not. */
bool process_last_error(const struct instance *i, char ret[240])
{
    AUTO(free) char *path = process_path(i, "vm.log");
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
    const bool complained = process_last_error(i, end.why);

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

void process_leave_locked(struct instance *i)
{
    metrics_poke(i->host);
    cgroup_leave_locked(i);
    network_tidy_locked(i->host); /* its taps have no other end any more */
}

/* Records the end.  Waiters look at pidfd, so it is closed before. */
static void ended_locked(struct instance *i, int status)
{
    const bool wanted = i->run.state == HOST_STOPPING || i->run.state == HOST_DELETING;
    const struct end end = how_it_ended(i, status);
    const u64 now = clock_real_ns() / NSEC_PER_SEC;
    struct err e = {};

    i->run.pid = 0;
    if (end.state != HOST_SUSPENDED)
        i->run.saved = false;
    if (!wanted && end.state != HOST_SUSPENDED)
        schedule_ended_locked(i, end.state == HOST_FAILED,
                              now > i->run.since ? now - i->run.since : 0);
    if (host_set_state_locked(i, end.state, end.state == HOST_FAILED ? end.why : NULL, &e) < 0) {
        log_error("%s", e.text); /* a full disk: the next socled will see it, too */
        i->run.state = (int)end.state;
    }
    if (end.state == HOST_FAILED)
        log_notice("machine '%s' failed: %s", i->cfg.spec.name, end.why);
    process_leave_locked(i);
}

int process_child_status(pid_t pid)
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
    ended_locked(i, i->child ? process_child_status((pid_t)i->run.pid) : -1);
    host_unlock(h);
}

/* ---- finding it ---- */

/* A pause that is to stay has a reason: without, the machine stands still for a moment, as for a snapshot that an earlier socled began, and
 * goes on without telling anybody.  Containers have no such moments, and give no reasons. */
static bool is_paused(const json_t *status)
{
    const char *state = json_string_value(json_object_get(status, "state")),
               *reason = json_string_value(json_object_get(status, "reason"));

    return state && str_starts(state, "paus") && (!reason || *reason);
}

/* Asks a machine that may be anyone's; its pidfd.  *ret_state: what it is doing. */
int process_ask(const struct instance *i, pid_t *ret_pid, enum host_state *ret_state, struct err *e)
{
    AUTO(free) char *path = process_path(i, "control");
    AUTO(fd) int pidfd = -1;
    json_t *status = NULL;
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
    *ret_state = is_paused(status) ? HOST_PAUSED : HOST_RUNNING;
    json_decref(status);
    return TAKE_FD(pidfd);
}

/* Is this what its record says?  Then `since` is right, too, and nothing needs to be written: a full disk does not keep a socled from starting,
 * nor do a hundred machines make it write a hundred times. */
static bool is_recorded(const struct run_rec *run, pid_t pid, enum host_state state)
{
    return run->state == (int)state && run->pid == (u32)pid && !run->saved && !run->start_at &&
           !run->why;
}

/* Watches it: `pidfd` is the instance's from now on.  Without the lock, but for the record. */
int process_watch(struct instance *i, int pidfd, pid_t pid, bool child, enum host_state state,
                  struct err *e)
{
    struct host *h = i->host;
    int r = 0;

    host_lock(h);
    i->pidfd = pidfd;
    i->silent = false;
    i->child = child;
    if (is_recorded(&i->run, pid, state)) {
        pthread_cond_broadcast(&h->changed);
    } else {
        i->run.pid = (u32)pid;
        i->run.saved = false;
        i->run.start_at = 0;
        r = host_set_state_locked(i, state, NULL, e);
    }
    host_unlock(h);
    metrics_poke(h);
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
    int pidfd = process_ask(i, &pid, &state, &why);

    if (pidfd < 0 && process_is_alive(i))
        return err_set(e, -EAGAIN, "it is alive and does not answer: %s", why.text);
    if (pidfd < 0)
        return err_set(e, -ESRCH, "it ended");
    if (i->run.state == HOST_STOPPING || i->run.state == HOST_DELETING)
        state = (enum host_state)i->run.state; /* a task is at it */
    return process_watch(i, pidfd, pid, false, state, e);
}

int process_find(struct instance *i, bool *ret_silent, struct err *e)
{
    int r = process_is_alive(i) ? adopt(i, e) : -ESRCH;

    *ret_silent = r == -EAGAIN;
    host_lock(i->host);
    if (r == -ESRCH && (host_is_alive(i) || i->run.pid))
        ended_locked(i, -1);
    if (r == -EAGAIN && i->run.state != HOST_DELETING && i->run.state != HOST_STOPPING)
        (void)host_set_state_locked(i, HOST_STARTING, NULL, NULL);
    host_unlock(i->host);
    return r == -ESRCH || r == -EAGAIN ? 0 : r;
}

bool process_is_watched(struct instance *i, enum host_state *ret_state)
{
    bool watched;

    host_lock(i->host);
    watched = i->pidfd >= 0;
    *ret_state = (enum host_state)i->run.state;
    host_unlock(i->host);
    return watched;
}

/* An earlier socled started it. */
static int wait_adopt(const struct job *j, struct instance *i, struct err *e)
{
    enum host_state state;
    int r = process_is_watched(i, &state) ? 0 : -EAGAIN;

    for (u32 k = 0; r == -EAGAIN && k < PROCESS_START_SECONDS * 1000 / AGAIN_MS; k++) {
        r = adopt(i, e);
        if (r == -EAGAIN)
            poll(NULL, 0, AGAIN_MS);
        if (r == -EAGAIN && job_check(j, e) < 0)
            return -ECANCELED;
    }
    return r;
}

int process_find_again(const struct job *j, struct instance *i, struct err *e)
{
    int r = process_is_alive(i) ? wait_adopt(j, i, e) : err_set(e, -ESRCH, "it ended");

    host_lock(i->host);
    if (r == -ESRCH && i->pidfd < 0 && host_is_alive(i))
        ended_locked(i, -1); /* nobody watched it */
    host_unlock(i->host);
    return r;
}
