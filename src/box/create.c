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

static void making_init(struct making *m, const struct box_new *o, bool run)
{
    *m = (struct making){ .opts = o,
                          .run = run,
                          .bundle = -1,
                          .sync = { -1, -1 },
                          .fifo = -1,
                          .console = -1,
                          .listener = -1,
                          .notify = -1,
                          .devices = { .net = -1 },
                          .pidfd = -1 };
    box_dir_init(&m->dir);
    cgroup_init(&m->cgroup);
    ns_plan_init(&m->ns);
    host_files_init(&m->host);
}

static void making_fini(struct making *m)
{
    host_files_fini(&m->host);
    ns_plan_fini(&m->ns);
    cgroup_fini(&m->cgroup);
    box_state_fini(&m->state);
    box_dir_fini(&m->dir);
    fd_close(&m->bundle);
    fd_close(&m->sync[0]);
    fd_close(&m->sync[1]);
    fd_close(&m->fifo);
    fd_close(&m->console);
    fd_close(&m->listener);
    fd_close(&m->notify);
    fd_close(&m->pidfd);
    netdevs_fini(&m->devices);
    for (u32 i = 0; i < m->env.n; i++)
        free(m->env.items[i]);
    free(m->env.items);
    oci_fini(&m->spec);
}

static void end_process(struct making *m)
{
    if (m->pid <= 0)
        return;
    kill(m->pid, SIGKILL); /* ours, and not waited for yet: nobody else has the number */
    while (waitpid(m->pid, NULL, 0) < 0 && errno == EINTR)
        ;
    m->pid = 0;
}

/* After a failure; who asked is told of that. */
static void stop_scope(struct making *m)
{
    struct err e = {};

    if (!m->state.scope)
        return;
    if (cgroup_remove(&m->cgroup, &e) < 0)
        log_warn("%s", e.text);
    if (systemd_stop(m->state.scope, &e) < 0) /* it ends what is still there */
        log_warn("%s", e.text);
}

static void making_undo(struct making *m)
{
    netdevs_return(&m->devices, &m->spec); /* while their namespace is there */
    end_process(m);
    cgroup_undo(&m->cgroup);
    stop_scope(m);
    if (m->opts->pid_file && m->state.pid > 0)
        unlink(m->opts->pid_file);
    box_dir_remove(&m->dir);
}

static int read_config(struct making *m, struct strbuf *text, struct err *e)
{
    const char *bundle = m->opts->bundle ? m->opts->bundle : ".";
    const char *name = m->opts->config ? m->opts->config : "config.json";
    AUTO(fd) int fd = -1;
    char *all;
    size_t len;
    int r;

    m->bundle = open(bundle, O_DIRECTORY | O_RDONLY | O_CLOEXEC);
    if (m->bundle < 0)
        return err_errno(e, "open bundle '%.120s'", bundle);
    m->state.bundle = realpath(bundle, NULL);
    if (!m->state.bundle)
        return err_errno(e, "open bundle '%.120s'", bundle);
    fd = openat(m->bundle, name, O_RDONLY | O_CLOEXEC);
    r = fd < 0 ? -errno : fd_read_whole(fd, OCI_TEXT_MAX, &all, &len);
    if (r < 0)
        return err_code(e, r, "open '%s' of bundle '%.120s'", name, bundle);
    strbuf_add_mem(text, all, len);
    free(all);
    r = oci_parse(&m->spec, text->text, text->len, e);
    if (r < 0)
        err_wrap(e, "%s", name);
    return r;
}

static int check_terminal(const struct making *m, struct err *e)
{
    const bool terminal = m->spec.process.terminal, socket = m->opts->console_socket;

    if (terminal && !socket && (!m->run || m->opts->detach))
        return err_set(e, -EINVAL,
                       "cannot allocate tty if the runtime will detach without setting "
                       "--console-socket");
    if (!terminal && socket)
        return err_set(e, -EINVAL, "cannot use --console-socket: process.terminal is false");
    return 0;
}

static char *now_text(void)
{
    struct timespec t;
    struct tm tm;

    clock_gettime(CLOCK_REALTIME, &t);
    gmtime_r(&t.tv_sec, &tm);
    /* strftime would read the host's time zone first */
    return str_new("%04d-%02d-%02dT%02d:%02d:%02d.%09ldZ", tm.tm_year + 1900, tm.tm_mon + 1,
                   tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec, t.tv_nsec);
}

/* Is anything asked of the cgroup, but device rules? */
static bool wants_limits(const struct oci_resources *r)
{
    struct oci_resources none = {};
    json_t *a, *b;
    bool same;

    conf_defaults(oci_resources_fields, &none);
    a = conf_print(oci_resources_fields, r);
    b = conf_print(oci_resources_fields, &none);
    json_object_del(a, "devices");
    json_object_del(b, "devices");
    same = json_equal(a, b);
    json_decref(a);
    json_decref(b);
    conf_fini(oci_resources_fields, &none);
    return !same;
}

static bool is_unprivileged(void)
{
    return geteuid() != 0 || !ns_is_initial_user();
}

/* When the device files are made, which the rules may forbid. */
static int limit_devices(struct making *m, struct err *e)
{
    int r = m->cgroup.fd < 0 ? 0 : cgroup_devices(&m->cgroup, &m->spec.os.resources.devices, e);

    return r == -EPERM && is_unprivileged()
               ? 0
               : r; /* without CAP_MKNOD on the host there is no danger */
}

/* Who has no right to a cgroup may go without, when none is asked for. */
static int make_cgroup(struct making *m, const struct box_global *g, struct err *e)
{
    const struct oci_linux *l = &m->spec.os;
    AUTO(free) char *own = str_new("socle-box-%s", m->dir.id);
    const bool named = l->cgroupsPath && *l->cgroupsPath;
    int r;

    m->systemd = g->systemd_cgroup || g->cgroup_manager == CGROUPS_SYSTEMD;
    if (m->systemd) /* a scope needs a process: enter_scope */
        return systemd_check(&m->spec, m->dir.id, e);
    if (g->cgroup_manager == CGROUPS_NONE) {
        m->state.cgroup = xdup("");
        return wants_limits(&l->resources) ? err_set(e, -EINVAL, "linux.resources need a cgroup")
                                           : 0;
    }
    r = cgroup_make(&m->cgroup, named ? l->cgroupsPath : own, e);
    if (r == 0) {
        m->state.cgroup = xdup(m->cgroup.path);
        return cgroup_apply(&m->cgroup, &l->resources, e);
    }
    if ((r != -ENODEV && !is_unprivileged()) || r == -EEXIST || wants_limits(&l->resources))
        return r;
    cgroup_undo(&m->cgroup);
    log_debug("no cgroup: %s",
              e->text); /* what we say is in the container's log, and a user's usual case */
    *e = (struct err){};
    m->state.cgroup = xdup("");
    return 0;
}

static int open_console(struct making *m, int *ret_ours, struct err *e)
{
    int pair[2], r;

    if (!m->spec.process.terminal)
        return 0;
    if (m->opts->console_socket) {
        m->console = term_connect(m->opts->console_socket, e);
        return min(m->console, 0);
    }
    r = sync_pair(pair, e);
    if (r == 0) {
        m->console = pair[0];
        *ret_ours = pair[1];
    }
    return r;
}

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

static int check_host(const struct oci *spec, struct err *e)
{
    const char *label = spec->os.mountLabel;

    return label && *label && access("/sys/fs/selinux/enforce", F_OK) < 0
               ? err_set(e, -ENOTSUP, "linux.mountLabel '%.80s': SELinux is not active here", label)
               : 0;
}

/* Everything but the process. */
static int prepare(struct making *m, const struct box_global *g, const char *id, int *ret_console,
                   struct err *e)
{
    AUTO(strbuf) struct strbuf text = {};
    const struct oci_namespace *user;
    int r;

    m->env.items = xnew_n(char *, 3);
    m->preserve = m->opts->preserve_fds + listen_fds(m);
    r = launch_close_inherited(m->preserve, e);
    if (r == 0)
        r = read_config(m, &text, e);
    if (r == 0)
        r = check_terminal(m, e);
    if (r == 0)
        r = box_dir_make(&m->dir, g->root, id, e);
    if (r < 0)
        return r;
    r = box_dir_write(&m->dir, "config.json", text.text, text.len);
    if (r < 0)
        return err_code(e, r, "write the state of '%s'", id);
    m->state.id = xdup(id);
    m->state.created = now_text();
    m->state.owner = str_new("%u", getuid());
    r = open_notify(m, e);
    if (r < 0)
        return r;
    user = oci_ns(&m->spec, NS_USER);
    m->in_user_ns = user || is_unprivileged();
    r = check_host(&m->spec, e);
    if (r == 0)
        r = ns_plan_make(&m->ns, &m->spec, e);
    m->ns.no_setgroups = geteuid() != 0 && m->spec.os.gidMappings.n == 1 &&
                         ((struct oci_map *)m->spec.os.gidMappings.items)->size == 1;
    m->late_files = geteuid() != 0;
    if (r == 0 && !m->late_files)
        r = host_files_open(&m->host, &m->spec, m->bundle, m->in_user_ns, m->ns.join[NS_USER], e);
    if (r == 0)
        r = open_console(m, ret_console, e);
    if (r == 0)
        r = listener_prepare(&m->dir, &m->spec.os.seccomp, &m->listener, e);
    if (r == 0)
        r = make_cgroup(m, g, e);
    return r < 0 ? r : make_fifo(m, e);
}

static char *state_text(const struct making *m, enum box_status status)
{
    return box_state_text(&m->state, status, &m->spec.annotations);
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

static int runtime_hooks(struct making *m, struct err *e)
{
    AUTO(free) char *text = state_text(m, BOX_CREATING);
    int r = hooks_run(&m->spec, HOOK_PRESTART, text, e);

    return r < 0 ? r : hooks_run(&m->spec, HOOK_CREATE_RUNTIME, text, e);
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
            r = runtime_hooks(m, e);
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

/* While the process waits for us, and has no namespaces of its own cgroup yet. */
static int enter_scope(struct making *m, struct err *e)
{
    int r =
        m->systemd ? systemd_start(&m->spec, m->dir.id, m->pid, &m->cgroup, &m->state.scope, e) : 1;

    if (r != 0)
        return min(r, 0);
    m->state.cgroup = xdup(m->cgroup.path);
    return cgroup_apply(&m->cgroup, &m->spec.os.resources, e);
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
    r = enter_scope(m, e);
    if (r == 0 && (flags & CLONE_NEWUSER))
        r = ns_write_maps(&m->ns, &m->spec, pid, e);
    if (r == 0)
        r = launch_oom(pid, &m->spec.process, is_unprivileged(), e);
    if (r == 0 && !m->ns.staged)
        r = move_devices(m, e);
    if (r == 0)
        r = go(m, e);
    return r;
}

static int write_pid_file(const struct making *m, struct err *e)
{
    const char *path = m->opts->pid_file;
    AUTO(fd) int fd = -1;
    char text[16];
    int r;

    if (!path)
        return 0;
    str_fmt(text, sizeof(text), "%d", m->state.pid);
    fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    r = fd < 0 ? -errno : fd_write_all(fd, text, strlen(text));
    return r < 0 ? err_code(e, r, "--pid-file '%.120s'", path) : 0;
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
    r = limit_devices(m, e);
    if (r == 0)
        r = launch_limits(m->state.pid, &m->spec.process, e);
    if (r == 0)
        r = box_state_save(&m->dir, &m->state, e);
    return r < 0 ? r : write_pid_file(m, e);
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

/* What is left of a container that ran in the foreground. */
static int clean_up(struct making *m, struct err *e)
{
    AUTO(free) char *text = state_text(m, BOX_STOPPED);
    int r = cgroup_remove(&m->cgroup, e);

    if (r == 0 && m->state.scope)
        r = systemd_stop(m->state.scope, e);
    hooks_run_all(&m->spec, HOOK_POSTSTOP, text);
    box_dir_remove(&m->dir);
    return r;
}

static int wait_end(struct making *m, int console, struct err *e)
{
    AUTO(fd) int master = console >= 0 ? sync_take_fd(console) : -1;
    int status, r;

    if (console >= 0 && master < 0)
        return err_code(e, master, "take the terminal");
    box_dir_unlock(&m->dir); /* other commands are to work meanwhile */
    status = supervise(m->pid, m->pidfd, master, m->notify, e);
    if (status < 0)
        return status;
    m->pid = 0;
    r = m->opts->keep ? 0 : clean_up(m, e);
    return r < 0 ? r : status;
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
        r = wait_end(&m, console, e);
    if (r < 0)
        making_undo(&m);
    making_fini(&m);
    return r;
}
