/*
 * box/create.c: `create`, `start` and `run`: the runtime's side of making a container (the other side: box/init.c).
 * What is made is noted in struct making as it is made, and undone by making_undo in any case of failure: process, cgroup,
 * state, pid file.  Mounts and namespaces end with the process.
 */
#include "box/hook.h"
#include "box/listener.h"
#include "box/making.h"
#include "box/notify.h"
#include "box/supervise.h"
#include "box/systemd.h"
#include "box/term.h"

#include <fcntl.h>
#include <linux/sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* What the program tells of itself is passed on by us, or by `start`. */
static int open_notify(struct making *m, struct err *e)
{
    int r;

    if (!notify_wanted())
        return 0;
    r = notify_prepare(&m->dir, &m->spec, e);
    if (r < 0)
        return r;
    m->env.items[m->env.n++] = xdup("NOTIFY_SOCKET=" NOTIFY_PLACE "/" NOTIFY_NAME);
    return m->run ? notify_listen(&m->dir, &m->notify, e) : 0;
}

/* sd_listen_fds(3): the descriptors are passed on, and the program is process 1 of its namespace. */
static u32 listen_fds(struct making *m)
{
    const char *n = getenv("LISTEN_FDS");
    u64 count;

    if (!n || str_u64(n, &count) < 0 || count == 0 || count > 1024)
        return 0;
    m->env.items[m->env.n++] = str_new("LISTEN_FDS=%llu", count);
    m->env.items[m->env.n++] = xdup("LISTEN_PID=1");
    return (u32)count;
}

static int make_fifo(struct making *m, struct err *e)
{
    if (m->run)
        return 0;
    if (mkfifoat(m->dir.fd, "start", 0600) < 0)
        return err_errno(e, "make the start FIFO");
    /* Both ways, so that opening does not wait, and reading does. */
    m->fifo = openat(m->dir.fd, "start", O_RDWR | O_CLOEXEC | O_NOFOLLOW);
    return m->fifo < 0 ? err_errno(e, "open the start FIFO") : 0;
}

/* Everything but the process. */
static int prepare(struct making *m, const struct box_global *g, const char *id, int *ret_console,
                   struct err *e)
{
    int r;

    m->env.items = xnew_n(char *, 3);
    m->preserve = m->opts->preserve_fds + listen_fds(m);
    r = launch_close_inherited(m->preserve, e);
    if (r == 0)
        r = making_claim(m, g, id, e);
    if (r == 0)
        r = open_notify(m, e);
    if (r == 0)
        r = ns_plan_make(&m->ns, &m->spec, e);
    m->ns.no_setgroups = geteuid() != 0 && m->spec.os.gidMappings.n == 1 &&
                         ((struct oci_map *)m->spec.os.gidMappings.items)->size == 1;
    m->late_files = geteuid() != 0;
    if (r == 0 && !m->late_files)
        r = host_files_open(&m->host, &m->spec, m->bundle, m->in_user_ns, m->ns.join[NS_USER], e);
    if (r == 0)
        r = making_console(m, ret_console, e);
    if (r == 0)
        r = listener_prepare(&m->dir, &m->spec.os.seccomp, &m->listener, e);
    if (r == 0)
        r = making_cgroup(m, g, e);
    return r < 0 ? r : make_fifo(m, e);
}

static int go(struct making *m, struct err *e)
{
    int r = sync_send(m->sync[0], SYNC_GO, m->state.pid);

    return r < 0 ? err_code(e, r, "tell the container's process") : 0;
}

/* When its network namespace is there: before it goes on. */
static int move_devices(struct making *m, struct err *e)
{
    return netdevs_move(&m->devices, &m->spec, m->state.pid, m->ns.join[NS_NETWORK], e);
}

/* The process in between is done; who it made is what counts from now on. */
static int take_pid(struct making *m, pid_t pid, struct err *e)
{
    const pid_t between = m->pid;
    int r;

    m->pid = pid; /* a child of ours (CLONE_PARENT) */
    m->state.pid = pid;
    r = ns_take_over(between, pid, &m->pidfd, e);
    if (r == 0)
        r = move_devices(m, e);
    return r < 0 ? r : go(m, e);
}

/* Until the process says that it is ready. */
static int converse(struct making *m, struct err *e)
{
    for (;;) {
        pid_t pid;
        int r = sync_wait(m->sync[0], &pid, e);

        switch (r) {
        case SYNC_MAPS:
            r = ns_write_maps(&m->ns, &m->spec, m->pid, e);
            if (r == 0)
                r = go(m, e);
            break;
        case SYNC_PID:
            r = take_pid(m, pid, e);
            break;
        case SYNC_HOOKS:
            r = making_runtime_hooks(m, e);
            if (r == 0)
                r = go(m, e);
            break;
        case SYNC_READY:
            return 0;
        default:
            return r < 0 ? r : err_set(e, -EPROTO, "unexpected message %d", r);
        }
        if (r < 0)
            return r;
    }
}

static int clone_process(struct making *m, struct err *e)
{
    u64 flags = m->ns.staged ? 0 : m->ns.make & ~(u64)CLONE_NEWCGROUP;
    pid_t pid;
    int r = sync_pair(m->sync, e);

    if (r < 0)
        return r;
    pid = ns_clone(flags, m->cgroup.fd, &m->pidfd);
    if (pid < 0)
        return ns_clone_failed(pid, "the container's process", e);
    if (pid == 0)
        init_main(m);
    m->pid = pid;
    m->state.pid = m->ns.staged ? 0 : pid;
    fd_close(&m->sync[1]);
    r = making_scope(m, e);
    if (r == 0 && (flags & CLONE_NEWUSER))
        r = ns_write_maps(&m->ns, &m->spec, pid, e);
    if (r == 0)
        r = launch_oom(pid, &m->spec.process, making_unprivileged(), e);
    if (r == 0 && !m->ns.staged)
        r = move_devices(m, e);
    if (r == 0)
        r = go(m, e);
    return r;
}

/* The container is there: created, or with `run` right before its exec. */
static int make(struct making *m, const struct box_global *g, const char *id, int *ret_console,
                struct err *e)
{
    int r = prepare(m, g, id, ret_console, e);

    if (r == 0)
        r = clone_process(m, e);
    if (r == 0)
        r = converse(m, e);
    if (r < 0)
        return r;
    host_files_fini(&m->host); /* the process has them */
    m->state.pid_started = box_pid_started(m->state.pid);
    r = making_devices(m, e);
    if (r == 0 && !m->apart) /* a machine's are set in it */
        r = launch_limits(m->state.pid, &m->spec.process, e);
    if (r == 0)
        r = box_state_save(&m->dir, &m->state, e);
    return r < 0 ? r : making_pid_file(m, e);
}

/*
 * Lets the process go on without us.  It closes its end when it no longer dies with us, or by its exec; or an error comes.
 */
static int let_go(struct making *m, struct err *e)
{
    struct err why = {};
    int r = go(m, e);

    if (r < 0)
        return r;
    r = sync_wait(m->sync[0], NULL, &why);
    if (r == -EPIPE)
        return 0;
    *e = why;
    return r < 0 ? r : err_set(e, -EPROTO, "unexpected message %d", r);
}

int box_create(const struct box_global *g, const struct box_new *o, const char *id, struct err *e)
{
    struct making m;
    int r;

    making_init(&m, o, false);
    r = make(&m, g, id, NULL, e);
    if (r == 0)
        r = let_go(&m, e);
    if (r < 0)
        making_undo(&m);
    making_fini(&m);
    return r;
}

/* After a start: a failing hook ends the container. */
static int poststart(const struct oci *spec, const struct box_state *s, struct err *e)
{
    AUTO(free) char *text = box_state_text(s, BOX_RUNNING, &spec->annotations);

    return hooks_run(spec, HOOK_POSTSTART, text, e);
}

static int start(const struct box_dir *d, const struct box_state *s, struct err *e)
{
    const enum box_status status = box_status_of(d, s);
    AUTO(fd) int notify = -1;
    AUTO(fd) int pidfd = -1;
    AUTO(fd) int fifo = -1;
    struct oci spec = {};
    int r;

    if (status == BOX_STOPPED)
        return err_set(e, -ESRCH, "cannot start a container that has stopped");
    if (status != BOX_CREATED)
        return err_set(e, -EBUSY, "cannot start an already running container");
    r = box_spec_load(d, &spec, e);
    if (r < 0)
        return r;
    r = notify_listen(d, &notify, e);
    if (r == 0)
        r = listener_offer(d, &spec.os.seccomp, e);
    if (r < 0) {
        oci_fini(&spec);
        return r;
    }
    pidfd = notify >= 0 ? (int)syscall(SYS_pidfd_open, s->pid, 0) : -1;
    fifo = openat(d->fd, "start", O_WRONLY | O_NONBLOCK | O_CLOEXEC | O_NOFOLLOW);
    if (fifo < 0 || unlinkat(d->fd, "start", 0) < 0 || fd_write_all(fifo, "", 1) < 0)
        r = err_errno(e, "start '%s'", d->id);
    if (r == 0)
        r = poststart(&spec, s, e);
    if (r < 0)
        kill(s->pid, SIGKILL);
    oci_fini(&spec);
    if (r == 0 && pidfd >= 0) {
        box_dir_unlock(d); /* other commands are to work meanwhile */
        notify_wait(notify, pidfd, s->pid);
    }
    return r;
}

int box_start(const struct box_global *g, const char *id, struct err *e)
{
    struct box_state s;
    struct box_dir d;
    int r = box_open(&d, &s, g->root, id, true, e);

    if (r == 0)
        r = launch_close_inherited(0, e);
    if (r == 0)
        r = start(&d, &s, e);
    box_state_fini(&s);
    box_dir_fini(&d);
    return r;
}

int box_run(const struct box_global *g, const struct box_new *o, const char *id, struct err *e)
{
    AUTO(fd) int console = -1;
    struct making m;
    int r;

    making_init(&m, o, true);
    if (!o->detach)
        supervise_block();
    r = make(&m, g, id, &console, e);
    if (r == 0)
        r = listener_offer(&m.dir, &m.spec.os.seccomp, e);
    if (r == 0)
        r = let_go(&m, e);
    if (r == 0)
        r = poststart(&m.spec, &m.state, e);
    if (r == 0 && !o->detach)
        r = making_wait(&m, console, e);
    if (r < 0)
        making_undo(&m);
    making_fini(&m);
    return r;
}
