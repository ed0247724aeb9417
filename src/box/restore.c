/*
 * box/restore.c: `restore`: a container of CRIU's images.  A child of ours goes into the container's cgroup and cgroup namespace, has its root
 * in a mount namespace of its own, and there executes socle-box-criu; the processes that CRIU makes are in what that one is in.
 *   (1) Hooks run when namespaces are there, before sockets are; nothing runs before limits and device rules hold.
 *   (2) Limits come last: CRIU itself, which is gone then, may need more.
 *   (3) When anything fails, all processes of the cgroup end, and nothing is left (making_undo).
 */
#include "box/criu.h"
#include "box/hook.h"
#include "box/making.h"
#include "box/path.h"
#include "box/supervise.h"

#include <fcntl.h>
#include <net/if.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

struct restoring {
    struct making m;
    const struct box_criu *opts;
    struct criu_dirs dirs;
    struct criu_restore facts;
    struct criu_words words;
    char *state, *cgroup; /* paths */
};

static int read_streams(struct restoring *r, struct err *e)
{
    AUTO(fd) int fd = openat(r->dirs.images, CRIU_STREAMS, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    AUTO(free) char *text = NULL;
    size_t len;
    int ret;

    if (fd < 0 && errno == ENOENT)
        return 0; /* of another runtime */
    ret = fd < 0 ? -errno : fd_read_whole(fd, CRIU_TEXT_MAX, &text, &len);
    if (ret < 0)
        return err_code(e, ret, "read '" CRIU_STREAMS "' of the images");
    return criu_streams_parse(text, len, r->facts.streams, e);
}

static bool is_file(int dir, const char *path)
{
    struct stat st;

    return fstatat(dir, path, &st, 0) == 0 && !S_ISDIR(st.st_mode);
}

/* Is it in a file system that CRIU makes, or another mount of ours? */
static bool is_below_other(const struct oci *spec, const struct oci_mount *m)
{
    for_each_of(const struct oci_mount, other, &spec->mounts)
    {
        const size_t len = strlen(other->destination);

        if (other != m && strncmp(other->destination, m->destination, len) == 0 &&
            m->destination[len] == '/')
            return true;
    }
    return false;
}

/* Where mounts will be: CRIU makes none.  The root may be a new one, or one that cannot be written to and has all. */
static void make_places(const struct restoring *r, int root)
{
    for_each_of(const struct oci_mount, m, &r->m.spec.mounts)
    {
        const bool bind = m->source && *m->source && m->type && strcmp(m->type, "bind") == 0;
        int fd = is_below_other(&r->m.spec, m)
                     ? -1
                     : path_make(root, m->destination, bind && is_file(r->m.bundle, m->source));

        fd_close(&fd);
    }
}

/* A copy of its mount, which is nowhere yet. */
static int open_root(struct restoring *r, struct err *e)
{
    const struct mount_plan alone = { .propagation = MS_PRIVATE, .rec_propagation = true };
    const char *path = r->m.spec.root.path;
    int ret = r->m.host.root = mount_clone(r->m.bundle, path, AT_RECURSIVE);

    if (ret >= 0)
        ret = mount_change(r->m.host.root, &alone);
    if (ret < 0)
        return err_code(e, ret, "root.path: open '%.120s'", path);
    make_places(r, r->m.host.root);
    if (mkdirat(r->m.dir.fd, CRIU_ROOT, 0700) < 0 || mkdirat(r->m.dir.fd, "notify", 0755) < 0)
        return err_errno(e, "write the state of '%.60s'", r->m.dir.id);
    return 0;
}

/* What is where in this host's file system. */
static int find_paths(struct restoring *r, const struct box_global *g, struct err *e)
{
    AUTO(free) char *root = realpath(g->root, NULL);

    if (!root)
        return err_errno(e, "open '%.120s'", g->root);
    r->state = str_new("%s/%s", root, r->m.dir.id);
    if (r->m.cgroup.fd >= 0)
        r->cgroup = str_new("/%s", r->m.cgroup.path);
    return 0;
}

static int prepare(struct restoring *r, const struct box_global *g, const char *id,
                   int *ret_console, struct err *e)
{
    struct making *m = &r->m;
    int ret = making_claim(m, g, id, e);

    m->late_limits = true;
    if (ret == 0)
        ret = criu_check(&m->spec, r->opts, e);
    if (ret == 0)
        ret = ns_plan_make(&m->ns, &m->spec, e);
    if (ret == 0)
        ret = criu_dirs_open(&r->dirs, r->opts, false, e);
    if (ret == 0)
        ret = read_streams(r, e);
    if (ret == 0)
        ret = open_root(r, e);
    if (ret == 0)
        ret = making_console(m, ret_console, e);
    if (ret == 0)
        ret = making_cgroup(m, g, e);
    return ret < 0 ? ret : find_paths(r, g, e);
}

static void make_words(struct restoring *r)
{
    r->facts.images = r->dirs.images;
    r->facts.work = r->dirs.work;
    r->facts.ns = r->m.ns.join;
    r->facts.bundle = r->m.state.bundle;
    r->facts.state = r->state;
    r->facts.cgroup = r->cgroup;
    criu_words_restore(&r->words, &r->m.spec, r->opts, &r->facts);
}

/* Where CRIU's processes will be, and nothing that the host sees. */
static int enter(struct restoring *r, struct err *e)
{
    const bool stays = r->opts->manage_cgroups_mode == 0;
    AUTO(fd) int at = -1;

    /* CRIU that manages cgroups makes the namespace itself. */
    if (stays && (r->m.ns.make & CLONE_NEWCGROUP) && unshare(CLONE_NEWCGROUP) < 0)
        return err_errno(e, "new cgroup namespace");
    if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_SLAVE, NULL) < 0)
        return err_errno(e, "new mount namespace");
    at = open(r->state, O_DIRECTORY | O_RDONLY | O_CLOEXEC); /* in this one */
    if (at < 0 ||
        syscall(SYS_move_mount, r->m.host.root, "", at, CRIU_ROOT, MOVE_MOUNT_F_EMPTY_PATH) < 0)
        return err_errno(e, "attach the root file system");
    return 0;
}

static _Noreturn void child(struct restoring *r)
{
    const struct making *m = &r->m;
    const int fds[] = { r->dirs.images, r->dirs.work, m->ns.join[NS_PID], m->ns.join[NS_NETWORK] };
    const struct criu_call call = { .verb = "restore",
                                    .words = &r->words,
                                    .sync = m->sync[1],
                                    .console = m->console,
                                    .fds = fds,
                                    .n_fds = ARRAY_LEN(fds) };
    struct err e = {};
    sigset_t none;

    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    if (sync_wait_go(m->sync[1], NULL, &e) == 0 && enter(r, &e) == 0)
        criu_exec(&call, &e);
    sync_fail(m->sync[1], &e);
    _exit(1);
}

static int go(struct restoring *r, struct err *e)
{
    int ret = sync_send(r->m.sync[0], SYNC_GO, 0);

    return ret < 0 ? err_code(e, ret, "tell socle-box-criu") : 0;
}

static int start(struct restoring *r, struct err *e)
{
    struct making *m = &r->m;
    int ret = sync_pair(m->sync, e);

    if (ret < 0)
        return ret;
    m->pid = ns_clone(0, m->cgroup.fd, &m->pidfd);
    if (m->pid < 0)
        return ns_clone_failed(m->pid, "a process", e);
    if (m->pid == 0)
        child(r);
    fd_close(&m->sync[1]);
    ret = making_scope(m, e);
    return ret < 0 ? ret : go(r, e);
}

/* In another's network namespace: its loopback interface, which CRIU leaves as it was made. */
static int loopback_up(pid_t pid, struct err *e)
{
    AUTO(free) char *path = str_new("/proc/%d/ns/net", pid);
    AUTO(fd) int own = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
    AUTO(fd) int theirs = open(path, O_RDONLY | O_CLOEXEC);
    AUTO(fd) int fd = -1;
    struct ifreq request = { .ifr_name = "lo", .ifr_flags = IFF_UP };

    if (own < 0 || theirs < 0 || setns(theirs, CLONE_NEWNET) < 0)
        return err_errno(e, "enter the network namespace");
    fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    must(setns(own, CLONE_NEWNET) == 0); /* the socket stays there */
    if (fd >= 0 && ioctl(fd, SIOCSIFFLAGS, &request) < 0)
        return err_errno(e, "bring the loopback interface up");
    return 0;
}

static int namespaces_are_there(struct restoring *r, pid_t pid, struct err *e)
{
    int ret = 0;

    r->m.state.pid = pid;
    if (r->m.ns.make & CLONE_NEWNET)
        ret = loopback_up(pid, e);
    return ret < 0 ? ret : making_runtime_hooks(&r->m, e);
}

/* CRIU keeps flags of all mounts but the root's, which it writes to meanwhile.  Only who is in a mount namespace may change a mount there. */
static int protect_root(const struct restoring *r, pid_t pid, struct err *e)
{
    const struct mount_plan readonly = { .set = MOUNT_ATTR_RDONLY };
    AUTO(free) char *path = str_new("/proc/%d", pid);
    AUTO(fd) int proc = open(path, O_DIRECTORY | O_PATH | O_CLOEXEC);
    AUTO(fd) int space = openat(proc, "ns/mnt", O_RDONLY | O_CLOEXEC);
    AUTO(fd) int root = openat(proc, "root", O_DIRECTORY | O_PATH | O_CLOEXEC);
    AUTO(fd) int pidfd = -1;
    int status = 0;
    pid_t child;

    if (!r->m.spec.root.readonly)
        return 0;
    if (space < 0 || root < 0)
        return err_errno(e, "open the container's root");
    child = ns_clone(0, -1, &pidfd);
    if (child < 0)
        return ns_clone_failed(child, "a process", e);
    if (child == 0)
        _exit(setns(space, CLONE_NEWNS) < 0 ? errno : -mount_change(root, &readonly));
    while (waitpid(child, &status, 0) < 0)
        if (errno != EINTR)
            return err_errno(e, "wait for a process");
    return status ? err_code(e, WIFEXITED(status) ? -WEXITSTATUS(status) : -EINTR,
                             "root.readonly: change the root file system's mount")
                  : 0;
}

/* All processes are there, and stand still. */
static int all_is_there(struct restoring *r, pid_t pid, struct err *e)
{
    struct making *m = &r->m;
    int ret;

    m->state.pid = pid;
    m->state.pid_started = box_pid_started(pid);
    ret = protect_root(r, pid, e);
    if (ret == 0 && m->cgroup.fd >= 0)
        ret = cgroup_apply(&m->cgroup, &m->spec.os.resources, e);
    return ret < 0 ? ret : making_devices(m, e);
}

static int converse(struct restoring *r, struct err *e)
{
    for (;;) {
        pid_t pid;
        int ret = sync_wait(r->m.sync[0], &pid, e);

        if (ret == SYNC_READY)
            return r->m.state.pid_started ? 0 : err_set(e, -ESRCH, "the restored process is gone");
        if (ret == SYNC_HOOKS)
            ret = namespaces_are_there(r, pid, e);
        else if (ret == SYNC_PID)
            ret = all_is_there(r, pid, e);
        else
            return ret < 0 ? ret : err_set(e, -EPROTO, "unexpected message %d", ret);
        if (ret == 0)
            ret = go(r, e);
        if (ret < 0)
            return ret;
    }
}

/* socle-box-criu ends; its child, the container's first process, is then ours in the foreground. */
static int take_over(struct restoring *r, struct err *e)
{
    struct making *m = &r->m;
    int ret = ns_take_over(m->pid, m->state.pid, &m->pidfd, e);

    m->pid = m->state.pid;
    if (ret == 0)
        ret = box_state_save(&m->dir, &m->state, e);
    return ret < 0 ? ret : making_pid_file(m, e);
}

static int restore(struct restoring *r, const struct box_global *g, const char *id,
                   int *ret_console, struct err *e)
{
    int ret = prepare(r, g, id, ret_console, e);

    if (ret < 0)
        return ret;
    make_words(r);
    ret = start(r, e);
    if (ret == 0)
        ret = converse(r, e);
    if (ret < 0)
        return criu_failed(&r->dirs, CRIU_RESTORED, e);
    host_files_fini(&r->m.host);
    return take_over(r, e);
}

/* What a checkpoint left of the same id. */
static int remove_stopped(const struct box_global *g, const char *id, struct err *e)
{
    struct err ignored = {};
    struct box_state s;
    struct box_dir d;
    bool stopped =
        box_open(&d, &s, g->root, id, true, &ignored) == 0 && box_status_of(&d, &s) == BOX_STOPPED;

    box_state_fini(&s);
    box_dir_fini(&d);
    return stopped ? box_delete(g, id, false, e) : 0; /* of another, making_claim tells */
}

static void restoring_fini(struct restoring *r)
{
    for_each_row(s, r->facts.streams)
        free(*s);
    free(r->state);
    free(r->cgroup);
    criu_words_fini(&r->words);
    criu_dirs_close(&r->dirs);
    making_fini(&r->m);
}

int box_restore(const struct box_global *g, const struct box_new *o, const struct box_criu *c,
                const char *id, struct err *e)
{
    struct restoring r = { .opts = c, .dirs = { .images = -1, .work = -1 } };
    AUTO(fd) int console = -1;
    int ret;

    if (making_unprivileged())
        return err_set(e, -EPERM, "restore needs root, and no user namespace: CRIU does");
    making_init(&r.m, o, true);
    if (!o->detach) {
        supervise_block();
        prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
    }
    ret = launch_close_inherited(0, e);
    if (ret == 0)
        ret = remove_stopped(g, id, e);
    if (ret == 0)
        ret = restore(&r, g, id, &console, e);
    if (ret == 0 && !o->detach)
        ret = making_wait(&r.m, console, e);
    if (ret < 0)
        making_undo(&r.m);
    restoring_fini(&r);
    return ret;
}
