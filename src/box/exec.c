/*
 * box/exec.c: `exec`: one more process in a container that runs.
 * A process in between joins the container's namespaces by a pidfd of its first process, in one call; its child (CLONE_PARENT)
 * becomes the program.  Neither can be traced or read from inside before the exec (CVE-2016-9962), and both are in the
 * container's cgroup from their first instant.
 */
#include "box/apart.h"
#include "box/listener.h"
#include "box/making.h"
#include "box/numa.h"
#include "box/path.h"
#include "box/supervise.h"
#include "box/term.h"

#include <fcntl.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

struct joining {
    const struct box_exec *opts;
    struct oci spec; /* its process is the one to run */
    struct box_state state;
    struct box_dir dir;
    struct cgroup cgroup;
    int target; /* pidfd of the container's first process */
    int root;   /* that process's root directory */
    u64 flags;  /* namespaces to join */
    bool in_user_ns;
    const struct box_global *global;
    int sync[2];
    int console;
    int agent; /* a connection to who answers for the filter */
    pid_t own; /* the new process's number outside, when it knows it */
    pid_t pid;
    int pidfd;
};

static void joining_fini(struct joining *j)
{
    cgroup_fini(&j->cgroup);
    box_state_fini(&j->state);
    box_dir_fini(&j->dir);
    fd_close(&j->target);
    fd_close(&j->root);
    fd_close(&j->sync[0]);
    fd_close(&j->sync[1]);
    fd_close(&j->console);
    fd_close(&j->agent);
    fd_close(&j->pidfd);
    oci_fini(&j->spec);
}

static int read_process(struct joining *j, const char *path, struct err *e)
{
    AUTO(fd) int fd = open(path, O_RDONLY | O_CLOEXEC);
    AUTO(free) char *text = NULL;
    size_t len;
    int r = fd < 0 ? -errno : fd_read_whole(fd, OCI_TEXT_MAX, &text, &len);

    if (r < 0)
        return err_code(e, r, "--process '%.120s'", path);
    conf_fini(oci_process_fields, &j->spec.process);
    return oci_parse_part(oci_process_fields, "process", &j->spec.process, text, len, e);
}

/* "UID[:GID]" */
static int set_user(struct oci_user *u, const char *text, struct err *e)
{
    char uid[16] = "";
    const char *gid = strchr(text, ':');
    size_t len = gid ? (size_t)(gid - text) : strlen(text);
    u64 id;

    if (len < sizeof(uid))
        memcpy(uid, text, len);
    if (str_u64(uid, &id) < 0 || id >= BOX_NO_ID)
        return err_set(e, -EINVAL, "--user '%.40s': UID[:GID] as numbers is expected", text);
    u->uid = (u32)id;
    if (gid) {
        if (str_u64(gid + 1, &id) < 0 || id >= BOX_NO_ID)
            return err_set(e, -EINVAL, "--user '%.40s': UID[:GID] as numbers is expected", text);
        u->gid = (u32)id;
    }
    return 0;
}

static void set_text(char **at, const char *text)
{
    if (!text)
        return;
    free(*at);
    *at = xdup(text);
}

static const struct field *list_field(const struct field *fields, const char *name)
{
    while (strcmp(fields->name, name) != 0)
        fields++;
    return fields;
}

static int add_all(const struct field *f, void *obj, const struct field_strs *more, struct err *e)
{
    for (u32 i = 0; i < more->n; i++)
        if (!conf_strs_add(f, obj, more->items[i]))
            return err_set(e, -EINVAL, "more than %u of '%s'", f->list_max, f->name);
    return 0;
}

static int add_caps(struct oci_process *p, const struct field_strs *more, struct err *e)
{
    const struct field *caps = list_field(oci_process_fields, "capabilities")->sub;
    static const char *const sets[] = { "bounding", "effective", "permitted" };

    for_each_row(set, sets) {
        int r = add_all(list_field(caps, *set), &p->capabilities, more, e);

        if (r < 0)
            return r;
    }
    return 0;
}

static int add_gids(struct oci_user *u, const struct field_strs *more, struct err *e)
{
    const struct field *user = list_field(oci_process_fields, "user")->sub;
    const struct field *f = list_field(user, "additionalGids");

    for (u32 i = 0; i < more->n; i++) {
        struct oci_gid *g = conf_list_add(f, u);
        u64 id;

        if (!g || str_u64(more->items[i], &id) < 0 || id >= BOX_NO_ID)
            return err_set(e, -EINVAL, "--additional-gids '%.40s': a number is expected",
                           more->items[i]);
        g->gid = (u32)id;
    }
    return 0;
}

/* The container's process with what the options change. */
static int change_process(struct joining *j, unsigned n_args, char *const *args, struct err *e)
{
    struct oci_process *p = &j->spec.process;
    const struct box_exec *o = j->opts;
    const struct field *f = list_field(oci_process_fields, "args");
    int r = 0;

    while (p->args.n)
        free(p->args.items[--p->args.n]);
    for (unsigned i = 0; i < n_args; i++)
        if (!conf_strs_add(f, p, args[i]))
            return err_set(e, -E2BIG, "more than %u arguments", f->list_max);
    p->terminal = o->tty;
    p->noNewPrivileges |= o->no_new_privs;
    set_text(&p->cwd, o->cwd);
    set_text(&p->apparmorProfile, o->apparmor);
    set_text(&p->selinuxLabel, o->process_label);
    if (o->user)
        r = set_user(&p->user, o->user, e);
    if (r == 0)
        r = add_all(list_field(oci_process_fields, "env"), p, &o->env, e);
    if (r == 0)
        r = add_caps(p, &o->cap, e);
    return r < 0 ? r : add_gids(&p->user, &o->additional_gids, e);
}

static int choose_process(struct joining *j, unsigned n_args, char *const *args, struct err *e)
{
    int r;

    if (j->opts->process)
        r = read_process(j, j->opts->process, e);
    else
        r = change_process(j, n_args, args, e);
    if (r == 0 && j->opts->tty)
        j->spec.process.terminal = true;
    if (r == 0)
        r = oci_check_process(&j->spec.process, e);
    if (r == 0 && j->spec.process.terminal && j->opts->detach && !j->opts->console_socket)
        r = err_set(e, -EINVAL,
                    "cannot allocate tty if the runtime will detach without setting "
                    "--console-socket");
    return r;
}

static int check_status(struct joining *j, struct err *e)
{
    const enum box_status status = box_status_of(&j->dir, &j->state);
    char path[64];

    if (status == BOX_STOPPED)
        return err_set(e, -ESRCH, "cannot exec in a stopped container: container not running");
    if (status == BOX_PAUSED && !j->opts->ignore_paused)
        return err_set(e, -EBUSY,
                       "cannot exec in a paused container (use --ignore-paused to override)");
    j->target = (int)syscall(SYS_pidfd_open, j->state.pid, 0);
    if (j->target < 0)
        return err_errno(e, "container not running");
    str_fmt(path, sizeof(path), "/proc/%d/root", j->state.pid);
    j->root = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (j->root < 0)
        return err_errno(e, "open the container's root");
    /* The number may be another's since we looked, but not any more now that we hold it. */
    if (box_pid_started(j->state.pid) != j->state.pid_started)
        return err_set(e, -ESRCH, "container not running");
    return 0;
}

static bool is_same_ns(pid_t pid, const char *file)
{
    char path[64];
    struct stat a, b;

    str_fmt(path, sizeof(path), "/proc/self/ns/%s", file);
    if (stat(path, &a) < 0)
        return false;
    str_fmt(path, sizeof(path), "/proc/%d/ns/%s", pid, file);
    return stat(path, &b) == 0 && a.st_ino == b.st_ino && a.st_dev == b.st_dev;
}

static void choose_namespaces(struct joining *j)
{
    for_each_of(const struct oci_namespace, n, &j->spec.os.namespaces) j->flags |=
        ns_kinds[n->type].flag;
    if (is_same_ns(j->state.pid, "user"))
        j->flags &= ~(u64)CLONE_NEWUSER; /* joining one's own is an error */
}

static int open_cgroup(struct joining *j, struct err *e)
{
    const char *below = j->opts->cgroup;
    AUTO(free) char *path = NULL;
    int r;

    if (!below || !*below || strcmp(below, "/") == 0)
        return cgroup_open(&j->cgroup, j->state.cgroup, e);
    path = str_new("%s/%s", j->state.cgroup, below + strspn(below, "/"));
    r = cgroup_open(&j->cgroup, path, e);
    if (r == 0 && j->cgroup.fd < 0)
        r = err_set(e, -ENOENT, "--cgroup: '%.80s' does not exist", path);
    return r;
}

static int tell(int fd, enum sync_kind kind, pid_t pid, struct err *e)
{
    int r = sync_send(fd, kind, pid);

    return r < 0 ? err_code(e, r, "tell the other process") : 0;
}

/* ---- in the new processes ---- */

static int terminal(struct joining *j, struct root *root, struct err *e)
{
    AUTO(fd) int master = -1;
    AUTO(fd) int slave = -1;
    int r;

    if (!j->spec.process.terminal)
        return 0;
    root->pts = path_open(root->fd, "/dev/pts", O_PATH | O_DIRECTORY);
    if (root->pts < 0)
        return err_code(e, root->pts, "process.terminal: open /dev/pts");
    slave = term_open(root->pts, &j->spec.process, &master, e);
    if (slave < 0)
        return slave;
    r = sync_send_fd(j->console, master, "/dev/pts");
    return r < 0 ? err_code(e, r, "process.terminal: hand over its master") : term_take(slave, e);
}

/* In a container that is a machine: stands for a process there. */
static int stand(struct joining *j, struct err *e)
{
    const u32 uid = j->spec.process.user.uid;
    struct root root;
    int r = sync_wait_go(j->sync[1], NULL, e);

    root_init(&root);
    root.fd = TAKE_FD(j->root); /* the host's, whose terminal it is */
    j->spec.process.user.uid = 0;
    if (r == 0 && setsid() < 0)
        r = err_errno(e, "new session");
    if (r == 0)
        r = terminal(j, &root, e);
    root_fini(&root);
    j->spec.process.user.uid = uid;
    if (r == 0)
        r = tell(j->sync[1], SYNC_READY, 0, e);
    if (r == 0)
        r = sync_wait_go(j->sync[1], NULL, e);
    if (r == 0 && prctl(PR_SET_PDEATHSIG, 0, 0, 0, 0) < 0)
        r = err_errno(e, "outlive the runtime");
    return r < 0 ? r : apart_exec_other(&j->dir, j->global, j->state.pid, &j->spec.process, e);
}

static int program(struct joining *j, struct err *e)
{
    struct launch launch = { .p = &j->spec.process,
                             .os = &j->spec.os,
                             .agent = j->agent,
                             .preserve = j->opts->preserve_fds,
                             .new_keyring = false,
                             .in_user_ns = j->in_user_ns };
    struct root root;
    int r = 0;

    root_init(&root);
    if (prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) < 0 || setsid() < 0)
        r = err_errno(e, "new session");
    if (r == 0)
        r = sync_wait_go(j->sync[1], &j->own,
                         e); /* whatever we say now must come after our number */
    root.fd = TAKE_FD(j->root);
    if (r == 0)
        r = launch_check_user(&launch, e);
    if (r == 0)
        r = launch_prepare(&launch, &root, e);
    if (r == 0)
        r = terminal(j, &root, e);
    if (r == 0)
        r = tell(j->sync[1], SYNC_READY, 0, e);
    if (r == 0)
        r = sync_wait_go(j->sync[1], NULL, e);
    if (r == 0)
        r = prctl(PR_SET_PDEATHSIG, 0, 0, 0, 0) < 0 ? err_errno(e, "outlive the runtime") : 0;
    root_fini(&root);
    if (r == 0 && j->agent >= 0)
        launch.agent_text = box_process_text(&j->state, BOX_RUNNING, &j->spec.annotations, j->own,
                                             j->spec.os.seccomp.listenerMetadata);
    return r < 0 ? r : launch_exec(&launch, e);
}

static int between(struct joining *j, struct err *e)
{
    int pidfd = -1, r = sync_wait_go(j->sync[1], NULL, e);
    pid_t pid;

    if (r < 0)
        return r;
    if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0)
        return err_errno(e, "not dumpable");
    if (setns(j->target, (int)j->flags) < 0)
        return err_errno(e, "join the container's namespaces");
    r = j->flags & CLONE_NEWUSER ? ns_become_root(e) : 0;
    if (r < 0)
        return r;
    /* setns led to the root of the mount namespace: where the container was made in a chroot, that is above of it. */
    if (fchdir(j->root) < 0 || chroot(".") < 0)
        return err_errno(e, "enter the container's root");
    pid = ns_clone(CLONE_PARENT, -1, &pidfd);
    if (pid < 0)
        return ns_clone_failed(pid, "the process", e);
    if (pid == 0) {
        fd_close(&j->target);
        return program(j, e);
    }
    fd_close(&pidfd);
    r = tell(j->sync[1], SYNC_PID, pid, e);
    if (r < 0)
        return r;
    _exit(0);
}

static _Noreturn void join_main(struct joining *j)
{
    struct err e = {};
    int r;

    fd_close(&j->sync[0]);
    if (!j->state.isolate)
        box_dir_fini(&j->dir);
    cgroup_fini(&j->cgroup);
    prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
    r = j->state.isolate ? stand(j, &e) : between(j, &e);
    must(r < 0);
    sync_fail(j->sync[1], &e);
    _exit(127);
}

/* ---- in the runtime ---- */

static int take_pid(struct joining *j, struct err *e)
{
    const pid_t middle = j->pid;
    pid_t pid = 0;
    int r = sync_wait(j->sync[0], &pid, e);

    if (r < 0)
        return r;
    if (r != SYNC_PID || pid <= 0)
        return err_set(e, -EPROTO, "unexpected message %d", r);
    j->pid = pid;
    r = ns_take_over(middle, pid, &j->pidfd, e);
    return r < 0 ? r : tell(j->sync[0], SYNC_GO, pid, e);
}

static int write_pid(const char *path, pid_t pid, struct err *e)
{
    AUTO(fd) int fd = path ? open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644) : -1;
    char text[16];
    int r;

    if (!path)
        return 0;
    str_fmt(text, sizeof(text), "%d", pid);
    r = fd < 0 ? -errno : fd_write_all(fd, text, strlen(text));
    return r < 0 ? err_code(e, r, "--pid-file '%.120s'", path) : 0;
}

/* Without one it is the cgroup that says, not what this process began with. */
static int set_final(const struct joining *j, struct err *e)
{
    const struct oci_affinity *a = &j->spec.process.execCPUAffinity;

    if (a->final && *a->final)
        return numa_run_on(j->pid, a->final, "process.execCPUAffinity.final", e);
    return a->initial && *a->initial ? numa_run_on(j->pid, NULL, "process.execCPUAffinity", e) : 0;
}

static int make(struct joining *j, struct err *e)
{
    const struct oci_affinity *affinity = &j->spec.process.execCPUAffinity;
    int r = sync_pair(j->sync, e);

    if (r < 0)
        return r;
    if (affinity->initial && *affinity->initial)
        r = numa_run_on(0, affinity->initial, "process.execCPUAffinity.initial", e);
    if (r < 0)
        return r;
    j->in_user_ns = (j->flags & CLONE_NEWUSER) || making_unprivileged();
    j->pid = ns_clone(0, j->cgroup.fd, &j->pidfd);
    if (j->pid < 0)
        return ns_clone_failed(j->pid, "a process", e);
    if (j->pid == 0)
        join_main(j);
    fd_close(&j->sync[1]);
    fd_close(&j->agent); /* its end tells the agent that all was said */
    r = launch_oom(j->pid, &j->spec.process, making_unprivileged(), e);
    if (r == 0)
        r = tell(j->sync[0], SYNC_GO, 0, e);
    if (r == 0 && !j->state.isolate)
        r = take_pid(j, e);
    if (r == 0)
        r = sync_wait(j->sync[0], NULL, e);
    if (r >= 0 && r != SYNC_READY)
        r = err_set(e, -EPROTO, "unexpected message %d", r);
    if (r >= 0)
        r = set_final(j, e);
    if (r == 0 && !j->state.isolate)
        r = launch_limits(j->pid, &j->spec.process, e);
    if (r == 0)
        r = write_pid(j->opts->pid_file, j->pid, e);
    if (r == 0)
        r = tell(j->sync[0], SYNC_GO, 0, e);
    return r;
}

/* The exec closes the other end; an error comes before. */
static int begin(struct joining *j, struct err *e)
{
    struct err why = {};
    int r = sync_wait(j->sync[0], NULL, &why);

    if (r == -EPIPE)
        return 0;
    *e = why;
    return r < 0 ? r : err_set(e, -EPROTO, "unexpected message %d", r);
}

static int open_console(struct joining *j, int *ret_ours, struct err *e)
{
    int pair[2], r;

    if (!j->spec.process.terminal)
        return 0;
    if (j->opts->console_socket) {
        j->console = term_connect(j->opts->console_socket, e);
        return min(j->console, 0);
    }
    r = sync_pair(pair, e);
    if (r == 0) {
        j->console = pair[0];
        *ret_ours = pair[1];
    }
    return r;
}

static int run(struct joining *j, struct err *e)
{
    AUTO(fd) int console = -1;
    AUTO(fd) int master = -1;
    int r = open_console(j, &console, e);

    if (r == 0 && box_filter_asks(&j->spec.os.seccomp))
        j->agent = r = listener_connect(&j->spec.os.seccomp, e);
    if (r >= 0)
        r = make(j, e);
    if (r == 0)
        r = begin(j, e);
    if (r == 0 && console >= 0) {
        master = sync_take_fd(console);
        r = master < 0 ? err_code(e, master, "take the terminal") : 0;
    }
    if (r == 0 && !j->opts->detach)
        r = supervise(j->pid, j->pidfd, master, -1, e);
    if (r < 0 && j->pid > 0) {
        kill(j->pid, SIGKILL); /* ours, and not waited for yet */
        fd_close(&j->sync[0]);
        /* And whom the process in between made and could not tell us of: it ends as it hears nothing more. */
        while (waitpid(-1, NULL, 0) > 0 || errno == EINTR)
            ;
        if (j->opts->pid_file)
            unlink(j->opts->pid_file);
    }
    return r;
}

int box_exec(const struct box_global *g, const struct box_exec *o, const char *id, unsigned n_args,
             char *const *args, struct err *e)
{
    struct joining j = { .opts = o,
                         .global = g,
                         .target = -1,
                         .root = -1,
                         .sync = { -1, -1 },
                         .console = -1,
                         .agent = -1,
                         .pidfd = -1 };
    int r;

    if (!o->process && n_args == 0)
        return err_set(e, -EINVAL, "process args cannot be empty");
    cgroup_init(&j.cgroup);
    r = box_open(&j.dir, &j.state, g->root, id, false, e);
    if (r == 0)
        r = launch_close_inherited(o->preserve_fds, e);
    if (r == 0)
        r = box_spec_load(&j.dir, &j.spec, e);
    if (r == 0)
        r = check_status(&j, e);
    if (r == 0)
        r = choose_process(&j, n_args, args, e);
    if (r == 0) {
        choose_namespaces(&j);
        r = open_cgroup(&j, e);
    }
    if (r == 0) {
        if (!o->detach)
            supervise_block();
        r = run(&j, e);
    }
    joining_fini(&j);
    return r;
}
