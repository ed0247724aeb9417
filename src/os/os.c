/*
 * os/os.c: from a description to a container that runs, and what becomes of it.
 *   (1) All that is made is in this process's mount namespace, in namespaces that it holds, in FOLDER, or in the container's control
 *       group: when it is killed, the next start finds FOLDER/box and the group, and removes what is left (socle-box delete --force).
 *   (2) It is a subreaper: what socle-box leaves behind is its child, so each end is seen with its status.
 *   (3) A container's first process that calls reboot(2) is ended by a signal that says which: pid_namespaces(7).
 */
#include "os/os.h"

#include "base/clock.h"
#include "base/exit_status.h"
#include "box/cgroup.h"
#include "net/pair.h"
#include "os/bundle.h"
#include "os/names.h"
#include "os/rootfs.h"
#include "os/runtime.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum { RTMIN_3 = 37, STATUS_MAX = 4096, END_MS = 5000 }; /* systemd(1), Signals: SIGRTMIN+3 halts */

/* ---- the container's own ---- */

/* "52:54:…" and "10.1.2.3/24" were made by socled; one that is not such is a fault of ours. */
static void place_of(const struct os_net *n, int ns, u32 card, char name[16],
                     struct pair_place *ret)
{
    *ret = (struct pair_place){ .ns = ns, .link = n->link, .name = name };
    str_fmt(name, 16, "eth%u", card);
    if (n->address)
        must(cidr_parse(n->address, &ret->address) == 0);
    if (n->gateway)
        must(cidr_parse(n->gateway, &ret->gateway) == 0);
}

static int plug_cards(struct os *o, struct err *e)
{
    int r = pair_loopback(o->ids.net, e);

    for (u32 i = 0; i < o->spec->nets.n && r >= 0; i++) {
        const struct os_net *n = os_net(o->spec, i);
        struct pair_place p;
        char name[16];

        place_of(n, o->ids.net, i, name, &p);
        r = n->link ? pair_move(&p, e) : os_user_net_open(&o->user_net[i], n, &p, e);
        if (r < 0)
            err_wrap(e, "card %u", i);
    }
    return r;
}

/* As far as the kernel lets groups be given away (cgroups(7), Delegation). */
static void give_group(int group, u32 owner)
{
    static const char *const files[] = { ".", "cgroup.procs", "cgroup.threads",
                                         "cgroup.subtree_control", "memory.oom.group" };

    for_each_row(file, files) /* what is not there is not given */
        (void)!fchownat(group, *file, owner, owner, AT_SYMLINK_NOFOLLOW);
}

/* The limit is that of the group above, less what is ours: a container that is full leaves room to pause it and to end it. */
static int limit_processes(int group, struct err *e)
{
    AUTO(fd) int above = openat(group, "../pids.max", O_RDONLY | O_CLOEXEC);
    AUTO(fd) int own = openat(group, "pids.max", O_WRONLY | O_CLOEXEC);
    char text[24];
    const ssize_t n = above < 0 ? -1 : read(above, text, sizeof(text) - 1);
    u64 limit;

    if (n <= 0 || own < 0)
        return 0; /* there is no such controller, which socled has said */
    text[n] = 0;
    if (!str_u64_after(text, "", &limit) || limit <= OS_PROCESSES_BESIDE)
        return 0; /* "max" */
    str_fmt(text, sizeof(text), "%llu", limit - OS_PROCESSES_BESIDE);
    return write(own, text, strlen(text)) < 0 ? err_errno(e, "limit processes to %s", text) : 0;
}

/* Its control group is its user 0's, but for its limits. */
static int settle_group(const struct os *o, struct err *e)
{
    struct cgroup g;
    int r = 0;

    cgroup_init(&g);
    if (o->spec->cgroup && cgroup_open(&g, o->spec->cgroup, NULL) >= 0 && g.fd >= 0) {
        if (o->spec->uid_first)
            give_group(g.fd, o->spec->uid_first);
        r = limit_processes(g.fd, e);
    }
    cgroup_fini(&g);
    return r;
}

/* What an earlier process of this instance left, of which FOLDER/box may know nothing any more. */
static int end_left(const struct os_spec *s, struct err *e)
{
    struct cgroup g;
    int r = os_box_delete(s, e);

    if (r < 0 || !s->cgroup)
        return r;
    cgroup_init(&g);
    r = cgroup_open(&g, s->cgroup, e);
    if (r >= 0)
        r = cgroup_remove(&g, e);
    cgroup_fini(&g);
    return r;
}

static int start_container(struct os *o, struct err *e)
{
    int master, r = end_left(o->spec, e);

    if (r >= 0)
        r = os_mend_now(
            o, e); /* all are there: the container's files are looked at while it is made */
    if (r >= 0)
        r = os_bundle_write(o->spec, &o->ids, o->view.fuse >= 0, e);
    if (r >= 0)
        r = os_box_create(o->spec, &o->pid, &master, e);
    if (r < 0)
        return r;
    r = os_console_plug(&o->console, master, e);
    if (r >= 0)
        r = settle_group(o, e);
    if (r >= 0)
        r = os_box_start(o->spec, e);
    if (r < 0) {
        (void)os_box_delete(o->spec, NULL);
        o->pid = 0;
        return r;
    }
    view_fs_restart(&o->view);
    o->state = OS_RUNNING;
    o->exec.ready = true;
    o->started_ns = clock_mono_ns();
    return 0;
}

/* ---- the end ---- */

static void finish(struct os *o, int status)
{
    o->status = status;
    loop_stop(&o->loop);
}

/* Its first process ended, and with it all others. */
static void first_ended(struct os *o, int status)
{
    const bool rebooted = WIFSIGNALED(status) && WTERMSIG(status) == SIGHUP && !o->stopping;
    const bool halted = WIFSIGNALED(status) && WTERMSIG(status) == SIGINT;

    o->pid = 0;
    o->state = OS_ENDED;
    o->exec.ready = false;
    os_console_unplug(&o->console);
    if (o->again || rebooted) {
        o->again = false;
        if (start_container(o, &o->why) < 0)
            finish(o, EXIT_STATUS_START);
        return;
    }
    if (o->stopping || halted || (WIFEXITED(status) && WEXITSTATUS(status) == 0)) {
        finish(o, EXIT_STATUS_OFF);
        return;
    }
    if (WIFEXITED(status))
        err_set(&o->why, -EIO, "'%.60s' ended with status %d", o->spec->command.items[0],
                WEXITSTATUS(status));
    else
        err_set(&o->why, -EIO, "'%.60s' was ended by signal %d", o->spec->command.items[0],
                WTERMSIG(status));
    finish(o, EXIT_STATUS_CRASH);
}

static bool user_net_ended(struct os *o, pid_t pid, int status)
{
    for_each_row(u, o->user_net)
        if (os_user_net_ended(u, pid, status))
            return true;
    return false;
}

static void on_child(uv_signal_t *s, int number [[maybe_unused]])
{
    struct os *o = s->data;
    int status;
    pid_t pid;

    while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
        if (pid == o->pid)
            first_ended(o, status);
        else if (user_net_ended(o, pid, status) || view_fs_ended(&o->view, pid, status))
            os_mend_later(o);
        else if (!os_files_ended(&o->files, pid, status))
            (void)os_exec_ended(&o->exec, pid, status);
    }
}

/* The first asks the container to end, the second ends it. */
static void on_term(uv_signal_t *s, int number [[maybe_unused]])
{
    struct os *o = s->data;
    struct err e = {};

    if ((o->stopping ? os_cut(o, &e) : os_shut_down(o, &e)) < 0)
        log_warn("%s", e.text);
}

/* ---- what it is told ---- */

/* Has the process one of the sets, as /proc/PID/status shows them, with signal `number`? */
static bool takes_signal(pid_t pid, int number)
{
    static const char *const sets[] = { "\nSigBlk:\t", "\nSigCgt:\t" };
    char path[64], text[STATUS_MAX];
    AUTO(fd) int fd = -1;
    ssize_t n;

    str_fmt(path, sizeof(path), "/proc/%d/status", pid);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    n = fd < 0 ? 0 : read(fd, text, sizeof(text) - 1);
    text[n > 0 ? n : 0] = 0;
    for_each_row(set, sets) {
        const char *at = strstr(text, *set);

        char mask[24];
        u64 bits;

        str_fmt(mask, sizeof(mask), "0x%.16s", at ? at + strlen(*set) : "0");
        if (str_u64(mask, &bits) == 0 && bits >> (number - 1) & 1)
            return true;
    }
    return false;
}

/* systemd blocks its signals and reads them from a descriptor. */
static int stop_signal(const struct os *o)
{
    if (o->spec->stop_signal)
        return os_signal(o->spec->stop_signal);
    if (takes_signal(o->pid, RTMIN_3))
        return RTMIN_3;
    return o->spec->init && takes_signal(o->pid, SIGUSR2) ? SIGUSR2 /* busybox: power off */
                                                          : SIGTERM;
}

static int check_running(const struct os *o, struct err *e)
{
    return o->pid ? 0 : err_set(e, -EBUSY, "the container is not running");
}

int os_cut(struct os *o, struct err *e)
{
    struct err ended = {};
    int r = check_running(o, e);

    if (r < 0)
        return r;
    o->stopping = true;
    if (kill(o->pid, SIGKILL) < 0)
        return err_errno(e, "end the container");
    if (o->state == OS_PAUSED)
        (void)os_pause(o, false,
                       &ended); /* cgroup v1 lets nobody die who is frozen; others are gone */
    return 0;
}

/* The first process of a namespace does not get signals that it has not asked for (pid_namespaces(7)): it would never end by one. */
int os_shut_down(struct os *o, struct err *e)
{
    int number, r = check_running(o, e);

    if (r < 0)
        return r;
    if (o->state == OS_PAUSED && (r = os_pause(o, false, e)) < 0)
        return r;
    number = stop_signal(o);
    if (!takes_signal(o->pid, number))
        return os_cut(o, e);
    o->stopping = true;
    return kill(o->pid, number) < 0 ? err_errno(e, "ask the container to end") : 0;
}

/* Until `pid`, a child that was killed, has ended; false: it has not within END_MS. */
static bool reap(pid_t pid, int *ret_status)
{
    AUTO(fd) int fd = (int)syscall(SYS_pidfd_open, pid, 0);
    struct pollfd p = { .fd = fd, .events = POLLIN };
    const u64 until = clock_mono_ns() + END_MS * NSEC_PER_MSEC;
    int r;

    do {
        const u64 now = clock_mono_ns();

        r = fd < 0 || now >= until ? 0 : poll(&p, 1, (int)((until - now) / NSEC_PER_MSEC + 1));
    } while (r < 0 && errno == EINTR);
    return r > 0 && waitpid(pid, ret_status, WNOHANG) == pid;
}

/* It runs again when this returns, so that what is asked of it next finds it. */
int os_reset(struct os *o, struct err *e)
{
    int status, r = os_cut(o, e);

    if (r < 0)
        return r;
    o->stopping = false;
    o->again = true;
    if (!reap(o->pid, &status))
        return err_set(e, -ETIMEDOUT, "it does not end; it is started again when it has");
    first_ended(o, status);
    return o->pid ? 0 : err_set(e, -EIO, "start it again: %s", o->why.text);
}

int os_pause(struct os *o, bool on, struct err *e)
{
    int r = check_running(o, e);

    if (r < 0 || on == (o->state == OS_PAUSED))
        return r;
    if (!o->n_holds)
        r = os_box_pause(o->spec, on, e);
    if (r >= 0)
        o->state = on ? OS_PAUSED : OS_RUNNING;
    return r;
}

int os_hold(struct os *o, bool on, struct err *e)
{
    return o->pid && o->state == OS_RUNNING ? os_box_pause(o->spec, on, e) : 0;
}

/* ---- all of it ---- */

static int watch_signals(struct os *o, struct err *e)
{
    int r = uv_signal_init(&o->loop.uv, &o->child);

    if (r >= 0)
        r = uv_signal_init(&o->loop.uv, &o->term);
    o->child.data = o->term.data = o;
    if (r >= 0)
        r = uv_signal_start(&o->child, on_child, SIGCHLD);
    if (r >= 0)
        r = uv_signal_start(&o->term, on_term, SIGTERM);
    return r < 0 ? err_code(e, r, "watch signals") : 0;
}

/*
 * Who makes containers in it mounts /proc anew, which Linux does not let a user namespace do when parts of ours are covered
 * (mount_namespaces(7), "Restrictions").
 */
static void show_own(struct os *o)
{
    struct err e = {};

    if (!o->spec->nesting && view_fs_open(&o->view, o->spec, &e) < 0)
        log_warn("its /proc shows the host's memory and CPUs: %s", e.text);
}

static int prepare(struct os *o, struct err *e)
{
    int r = os_ids_open(&o->ids, o->spec->uid_first, e);

    if (r >= 0)
        r = os_rootfs_mount(o->spec, o->ids.user, e);
    if (r >= 0)
        r = os_mend_open(o, e);
    if (r >= 0)
        show_own(o);
    if (r >= 0)
        r = os_command_settle(o->spec, e);
    if (r >= 0)
        r = os_names_write(o->spec, e);
    if (r >= 0)
        r = plug_cards(o, e);
    if (r >= 0)
        r = os_console_open(&o->console, &o->loop, o->spec->folder, e);
    if (r >= 0)
        r = os_exec_open(&o->exec, &o->loop, o->spec, e);
    o->files.user = o->ids.user;
    o->files.of = &o->pid;
    if (r >= 0)
        r = os_files_open(&o->files, &o->loop, o->spec, e);
    if (r >= 0)
        r = watch_signals(o, e); /* before: it may end at once */
    if (r >= 0)
        r = start_container(o, e);
    return r < 0 ? r : os_control_open(o, e); /* who finds it, finds a container that runs */
}

static void fini(struct os *o)
{
    os_control_close(o);
    os_files_close(&o->files);
    view_fs_close(&o->view);
    os_exec_close(&o->exec);
    os_console_close(&o->console);
    for_each_row(u, o->user_net)
        os_user_net_close(u);
    os_ids_close(&o->ids);
    loop_fini(&o->loop);
}

int os_run(struct os_spec *s, struct err *e)
{
    struct os *o = xnew(struct os);
    int r;

    *o = (struct os){ .spec = s, .ids = { -1, -1 }, .view = { .fuse = -1 } };
    o->console.listener = o->console.log = o->console.master = o->exec.listener =
        o->files.listener = -1;
    for_each_row(k, o->console.client)
        k->fd = -1;
    for_each_row(u, o->user_net)
        u->tap = -1;
    umask(022); /* directories that we make are the container's root */
    if (prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) < 0)
        r = err_errno(e, "become a subreaper");
    else
        r = loop_init(&o->loop, "os");
    if (r >= 0)
        r = prepare(o, e);
    if (r >= 0) {
        loop_run(&o->loop);
        r = o->status;
        if (r != EXIT_STATUS_OFF)
            log_error("instance '%s': %s", s->name, o->why.text);
    }
    (void)os_box_delete(s, NULL);
    fini(o);
    free(o);
    return r;
}
