/*
 * box/ns.c: making and joining namespaces.
 * One clone3 makes all that are new, unless
 *   - a user or pid namespace is joined: the others must be made from within, and a pid namespace holds children only;
 *   - a time namespace is made: its clocks are set before the first process is in it (time_namespaces(7)).
 * Then a process in between does that, and its child, cloned with CLONE_PARENT, is the container's first (box/start.c).
 * A cgroup namespace is always made later, by the first process: its root is the cgroup that one is in at that instant, and for
 * clone3 that would be ours.
 */
#include "box/ns.h"

#include <fcntl.h>
#include <linux/nsfs.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

/* clang-format off */
const struct ns_kind ns_kinds[NS_KINDS] = {
    [NS_USER]    = { CLONE_NEWUSER,   "user" },
    [NS_MOUNT]   = { CLONE_NEWNS,     "mnt" },
    [NS_PID]     = { CLONE_NEWPID,    "pid" },
    [NS_NETWORK] = { CLONE_NEWNET,    "net" },
    [NS_IPC]     = { CLONE_NEWIPC,    "ipc" },
    [NS_UTS]     = { CLONE_NEWUTS,    "uts" },
    [NS_CGROUP]  = { CLONE_NEWCGROUP, "cgroup" },
    [NS_TIME]    = { CLONE_NEWTIME,   "time" },
};
/* clang-format on */

void ns_plan_init(struct ns_plan *p)
{
    *p = (struct ns_plan){};
    for_each_row(fd, p->join)
        *fd = -1;
}

void ns_plan_fini(struct ns_plan *p)
{
    for_each_row(fd, p->join)
        fd_close(fd);
}

static int open_join(struct ns_plan *p, const struct oci_namespace *n, struct err *e)
{
    int fd = open(n->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK), type;

    if (fd < 0)
        return err_errno(e, "linux.namespaces: open '%s'", n->path);
    p->join[n->type] = fd;
    type = ioctl(fd, NS_GET_NSTYPE);
    if (type < 0 || (u64)(u32)type != ns_kinds[n->type].flag)
        return err_set(e, -EINVAL, "linux.namespaces: '%.80s' is no %s namespace", n->path,
                       oci_ns_words[n->type]);
    return 0;
}

int ns_plan_make(struct ns_plan *p, const struct oci *spec, struct err *e)
{
    for_each_of(const struct oci_namespace, n, &spec->os.namespaces)
    {
        int r = 0;

        if (n->path && *n->path)
            r = open_join(p, n, e);
        else
            p->make |= ns_kinds[n->type].flag;
        if (r < 0)
            return r;
    }
    p->staged = p->join[NS_USER] >= 0 || p->join[NS_PID] >= 0 || (p->make & CLONE_NEWTIME);
    return 0;
}

pid_t ns_clone(u64 flags, int cgroup, int *ret_pidfd)
{
    struct clone_args args = {
        .flags = flags | CLONE_PIDFD | (cgroup >= 0 ? CLONE_INTO_CGROUP : 0),
        .pidfd = (uintptr_t)ret_pidfd,
        .exit_signal = flags & CLONE_PARENT ? 0 : SIGCHLD,
        .cgroup = cgroup >= 0 ? (u64)cgroup : 0,
    };
    long pid = syscall(SYS_clone3, &args, sizeof(args));

    return pid < 0 ? -errno : (pid_t)pid;
}

int ns_clone_failed(pid_t r, const char *whose, struct err *e)
{
    if (r == -EAGAIN) /* clone(2) says no more */
        return err_set(e, r,
                       "clone %s: no process more is allowed, by pids.max of its control group or "
                       "one above, by RLIMIT_NPROC or by the host's pid_max",
                       whose);
    return err_code(e, r, "clone %s", whose);
}

int ns_take_over(pid_t between, pid_t pid, int *pidfd, struct err *e)
{
    while (waitpid(between, NULL, 0) < 0)
        if (errno != EINTR)
            return err_errno(e, "wait for the process in between");
    fd_close(pidfd);
    *pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
    return *pidfd < 0 ? err_errno(e, "pidfd_open") : 0;
}

int ns_join(const struct ns_plan *p, struct err *e)
{
    for (unsigned i = 0; i < NS_KINDS; i++)
        if (p->join[i] >= 0 && setns(p->join[i], (int)ns_kinds[i].flag) < 0)
            return err_errno(e, "linux.namespaces: join the %s namespace", oci_ns_words[i]);
    return 0;
}

int ns_become_root(struct err *e)
{
    if (setresgid(0, 0, 0) < 0 || setresuid(0, 0, 0) < 0)
        return err_errno(e, "become root of the user namespace");
    return 0;
}

int ns_set_clocks(const struct oci *spec, struct err *e)
{
    const struct oci_offset *m = &spec->os.timeOffsets.monotonic,
                            *b = &spec->os.timeOffsets.boottime;
    AUTO(fd) int fd = -1;
    char text[128];
    int r;

    if (!m->secs && !m->nanosecs && !b->secs && !b->nanosecs)
        return 0;
    fd = open("/proc/self/timens_offsets",
              O_WRONLY | O_CLOEXEC); /* our own root still is the host's */
    str_fmt(text, sizeof(text), "monotonic %lld %u\nboottime %lld %u\n", m->secs, m->nanosecs,
            b->secs, b->nanosecs);
    r = fd < 0 ? -errno : fd_write_all(fd, text, strlen(text));
    return r < 0 ? err_code(e, r, "linux.timeOffsets") : 0;
}

static int write_proc(pid_t pid, const char *file, const char *text)
{
    char path[64];
    AUTO(fd) int fd = -1;

    str_fmt(path, sizeof(path), "/proc/%d/%s", pid, file);
    fd = open(path, O_WRONLY | O_CLOEXEC);
    return fd < 0 ? -errno : fd_write_all(fd, text, strlen(text));
}

static void maps_text(const struct field_list *maps, char end, struct strbuf *out)
{
    for_each_of(const struct oci_map, m, maps)
        strbuf_add(out, "%u %u %u%c", m->containerID, m->hostID, m->size, end);
}

enum { WORDS_MAX = 3 * OCI_MAPS_MAX + 3 };

/* newuidmap PID CONTAINER HOST SIZE…: it is set-uid and looks into /etc/subuid. */
static int run_mapper(const char *program, pid_t pid, const struct field_list *maps, struct err *e)
{
    AUTO(strbuf) struct strbuf text = {};
    AUTO(free) char **argv = xnew_n(char *, WORDS_MAX);
    char *rest;
    unsigned n = 0;
    pid_t child;
    int status, r;

    strbuf_add(&text, "%s %d ", program, pid);
    maps_text(maps, ' ', &text);
    rest = text.text;
    for (char *word; (word = strsep(&rest, " ")) && n < WORDS_MAX - 1;)
        if (*word)
            argv[n++] = word;
    r = posix_spawnp(&child, program, NULL, NULL, argv, environ);
    if (r)
        return err_code(e, -r, "run %s", program);
    while (waitpid(child, &status, 0) < 0)
        if (errno != EINTR)
            return err_errno(e, "wait for %s", program);
    if (status)
        return err_set(e, -EPERM, "%s refused the ranges (see /etc/subuid, /etc/subgid)", program);
    return 0;
}

/* A user without privilege may map itself alone without help. */
static bool is_own(const struct field_list *maps, u32 id)
{
    const struct oci_map *m = maps->items;

    return maps->n == 1 && m->size == 1 && m->hostID == id;
}

static int write_map(pid_t pid, bool groups, const struct field_list *maps, struct err *e)
{
    AUTO(strbuf) struct strbuf text = {};
    const char *file = groups ? "gid_map" : "uid_map";
    int r;

    if (geteuid() != 0 && !is_own(maps, groups ? getegid() : geteuid()))
        return run_mapper(groups ? "newgidmap" : "newuidmap", pid, maps, e);
    maps_text(maps, '\n', &text);
    must(text.text); /* there are some, or there is no namespace */
    r = write_proc(pid, file, text.text);
    return r < 0 ? err_code(e, r, "linux.%cidMappings: write %s", *file, file) : 0;
}

int ns_write_maps(const struct ns_plan *p, const struct oci *spec, pid_t pid, struct err *e)
{
    int r = 0;

    if (p->no_setgroups)
        r = write_proc(pid, "setgroups", "deny"); /* or gid_map is refused (user_namespaces(7)) */
    if (r < 0)
        return err_code(e, r, "user namespace: deny setgroups");
    r = write_map(pid, false, &spec->os.uidMappings, e);
    return r < 0 ? r : write_map(pid, true, &spec->os.gidMappings, e);
}

static int hold_user(pid_t pid, const struct field_list *uids, const struct field_list *gids,
                     struct err *e)
{
    char path[64];
    int r = write_map(pid, false, uids, e);

    if (r == 0)
        r = write_map(pid, true, gids, e);
    if (r < 0)
        return r;
    str_fmt(path, sizeof(path), "/proc/%d/ns/user", pid);
    r = open(path, O_RDONLY | O_CLOEXEC);
    return r < 0 ? err_errno(e, "open a user namespace") : r;
}

/* There is no other way than a process that was there for a moment. */
int ns_new_user(const struct field_list *uids, const struct field_list *gids, struct err *e)
{
    AUTO(fd) int pidfd = -1;
    const pid_t us = getpid();
    pid_t pid = ns_clone(CLONE_NEWUSER, -1, &pidfd);
    int r;

    if (pid < 0)
        return err_code(e, pid, "new user namespace");
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
        while (getppid() == us)
            pause();
        _exit(0);
    }
    r = hold_user(pid, uids, gids, e);
    kill(pid, SIGKILL);
    while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
        ;
    return r;
}

bool ns_is_initial_user(void)
{
    struct stat st;

    /* The initial one's inode number is fixed: PROC_USER_INIT_INO. */
    return stat("/proc/self/ns/user", &st) == 0 && st.st_ino == 0xEFFFFFFD;
}
