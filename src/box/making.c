/*
 * box/making.c: what making a container anew (box/create.c) and from a checkpoint (box/restore.c) have in common: claiming its id, its
 * cgroup, terminal and hooks, waiting for its end; and undoing it all.
 */
#include "box/making.h"

#include "box/apart.h"
#include "box/hook.h"
#include "box/supervise.h"
#include "box/systemd.h"
#include "box/term.h"

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

void making_init(struct making *m, const struct box_new *o, bool run)
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

void making_fini(struct making *m)
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
    free(m->vm_dir);
    free(m->vm_program);
    free(m->vm_socle);
    free(m->vm_kernel);
    free(m->vm_initrd);
    free(m->config_text);
    m->spec.mounts.n = max(m->spec.mounts.n, m->n_mounts);
    oci_fini(&m->spec);
}

static void end_process(struct making *m)
{
    if (m->pid <= 0)
        return;
    kill(m->pid, SIGKILL); /* ours, and not waited for yet: nobody else has the number */
    fd_close(&m->sync[0]);
    /* And whom a process in between made and could not tell us of: it ends as it hears nothing more. */
    while (waitpid(-1, NULL, 0) > 0 || errno == EINTR)
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

void making_undo(struct making *m)
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

static int check_host(const struct oci *spec, struct err *e)
{
    const char *label = spec->os.mountLabel;

    return label && *label && access("/sys/fs/selinux/enforce", F_OK) < 0
               ? err_set(e, -ENOTSUP, "linux.mountLabel '%.80s': SELinux is not active here", label)
               : 0;
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

bool making_unprivileged(void)
{
    return geteuid() != 0 || !ns_is_initial_user();
}

int making_claim(struct making *m, const struct box_global *g, const char *id, struct err *e)
{
    AUTO(strbuf) struct strbuf text = {};
    int r = read_config(m, &text, e);

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
    m->in_user_ns = oci_ns(&m->spec, NS_USER) || making_unprivileged();
    m->config_text = xdup(text.text);
    r = apart_prepare(m, g, e);
    if (r < 0)
        return r;
    return check_host(&m->spec, e);
}

/* When the device files are made, which the rules may forbid. */
int making_devices(struct making *m, struct err *e)
{
    /* A machine's devices are its own, and the rules would keep /dev/kvm from it. */
    int r = m->cgroup.fd < 0 || m->apart
                ? 0
                : cgroup_devices(&m->cgroup, &m->spec.os.resources.devices, e);

    return r == -EPERM && making_unprivileged()
               ? 0
               : r; /* without CAP_MKNOD on the host there is no danger */
}

/* Who has no right to a cgroup may go without, when none is asked for. */
int making_cgroup(struct making *m, const struct box_global *g, struct err *e)
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
        return m->late_limits ? 0 : cgroup_apply(&m->cgroup, &l->resources, e);
    }
    if ((r != -ENODEV && !making_unprivileged()) || r == -EEXIST || wants_limits(&l->resources))
        return r;
    cgroup_undo(&m->cgroup);
    log_debug("no cgroup: %s",
              e->text); /* what we say is in the container's log, and a user's usual case */
    *e = (struct err){};
    m->state.cgroup = xdup("");
    return 0;
}

int making_console(struct making *m, int *ret_ours, struct err *e)
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

char *making_state_text(const struct making *m, enum box_status status)
{
    return box_state_text(&m->state, status, &m->spec.annotations);
}

int making_runtime_hooks(struct making *m, struct err *e)
{
    AUTO(free) char *text = making_state_text(m, BOX_CREATING);
    int r = hooks_run(&m->spec, HOOK_PRESTART, text, e);

    return r < 0 ? r : hooks_run(&m->spec, HOOK_CREATE_RUNTIME, text, e);
}

/* While the process waits for us, and has no namespaces of its own cgroup yet. */
int making_scope(struct making *m, struct err *e)
{
    int r =
        m->systemd ? systemd_start(&m->spec, m->dir.id, m->pid, &m->cgroup, &m->state.scope, e) : 1;

    if (r != 0)
        return min(r, 0);
    m->state.cgroup = xdup(m->cgroup.path);
    return m->late_limits ? 0 : cgroup_apply(&m->cgroup, &m->spec.os.resources, e);
}

int making_pid_file(const struct making *m, struct err *e)
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

/* What is left of a container that ran in the foreground. */
static int clean_up(struct making *m, struct err *e)
{
    AUTO(free) char *text = making_state_text(m, BOX_STOPPED);
    int r = cgroup_remove(&m->cgroup, e);

    if (r == 0 && m->state.scope)
        r = systemd_stop(m->state.scope, e);
    hooks_run_all(&m->spec, HOOK_POSTSTOP, text);
    box_dir_remove(&m->dir);
    return r;
}

int making_wait(struct making *m, int console, struct err *e)
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
