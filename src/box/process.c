/*
 * box/process.c: prepares and runs a container's program.
 *   (1) The order of launch_exec is the order in which rights go: a step never needs one that an earlier step gave up.
 *   (2) The working directory is entered by a descriptor that was opened inside the root, and must be inside it (CVE-2024-21626).
 *   (3) The program is not reached by a link of /proc; /proc/self/exe would be ourselves (CVE-2019-5736; see box/sealed.h).
 */
#include "box/process.h"

#include "box/listener.h"
#include "box/numa.h"
#include "box/path.h"

#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <linux/close_range.h>
#include <linux/keyctl.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

int launch_close_inherited(unsigned preserve, struct err *e)
{
    return close_range(3 + preserve, ~0u, CLOSE_RANGE_CLOEXEC) < 0
               ? err_errno(e, "close other descriptors")
               : 0;
}

int launch_oom(pid_t pid, const struct oci_process *p, bool lenient, struct err *e)
{
    char path[64], text[16];
    AUTO(fd) int fd = -1;
    int r;

    if (p->oomScoreAdj == BOX_UNSET)
        return 0;
    str_fmt(path, sizeof(path), "/proc/%d/oom_score_adj", pid);
    str_fmt(text, sizeof(text), "%lld", p->oomScoreAdj);
    fd = open(path, O_WRONLY | O_CLOEXEC);
    r = fd < 0 ? -errno : fd_write_all(fd, text, strlen(text));
    if (r < 0 && lenient) {
        log_debug("process.oomScoreAdj: not allowed here");
        return 0;
    }
    return r < 0 ? err_code(e, r, "process.oomScoreAdj") : 0;
}

static int set_scheduler(pid_t pid, const struct oci_scheduler *s, struct err *e)
{
    static const struct {
        const char *name;
        u64 flag;
    } names[] = { { "SCHED_FLAG_RESET_ON_FORK", 1 },  { "SCHED_FLAG_RECLAIM", 2 },
                  { "SCHED_FLAG_DL_OVERRUN", 4 },     { "SCHED_FLAG_KEEP_POLICY", 8 },
                  { "SCHED_FLAG_KEEP_PARAMS", 16 },   { "SCHED_FLAG_UTIL_CLAMP_MIN", 32 },
                  { "SCHED_FLAG_UTIL_CLAMP_MAX", 64 } };
    /* struct sched_attr, whose header clashes with glibc's <sched.h> */
    struct {
        u32 size, policy;
        u64 flags;
        s32 nice;
        u32 priority;
        u64 runtime, deadline, period;
    } attr = { .size = sizeof(attr),
               .policy = (u32)s->policy,
               .nice = s->nice,
               .priority = (u32)s->priority,
               .runtime = s->runtime,
               .deadline = s->deadline,
               .period = s->period };

    if (s->policy == OCI_NO_SCHED)
        return 0;
    for (u32 i = 0; i < s->flags.n; i++) {
        u64 flag = 0;

        for_each_row(n, names)
            flag |= strcmp(n->name, s->flags.items[i]) == 0 ? n->flag : 0;
        if (!flag)
            return err_set(e, -EINVAL, "process.scheduler.flags: '%.40s' is unknown",
                           s->flags.items[i]);
        attr.flags |= flag;
    }
    return syscall(SYS_sched_setattr, pid, &attr, 0) < 0 ? err_errno(e, "process.scheduler") : 0;
}

int launch_limits(pid_t pid, const struct oci_process *p, struct err *e)
{
    int r = set_scheduler(pid, &p->scheduler, e);

    if (r == 0 && p->ioPriority.class &&
        syscall(SYS_ioprio_set, 1, pid, p->ioPriority.class << 13 | (int)p->ioPriority.priority) <
            0)
        r = err_errno(e, "process.ioPriority");
    for_each_of(const struct oci_rlimit, l, &p->rlimits)
    {
        const struct rlimit limit = { l->soft, l->hard };

        if (r == 0 && prlimit(pid, (enum __rlimit_resource)l->type, &limit, NULL) < 0)
            r = err_errno(e, "process.rlimits: %s %llu, %llu", oci_rlimit_words[l->type], l->soft,
                          l->hard);
    }
    return r;
}

static int enter_cwd(const struct launch *l, struct root *root, struct err *e)
{
    AUTO(fd)
    int fd = l->make_cwd ? path_make(root->fd, l->p->cwd, false)
                         : path_open(root->fd, l->p->cwd, O_PATH | O_DIRECTORY);
    char where[PATH_MAX];

    if (fd < 0)
        return err_code(e, fd, "process.cwd: chdir to '%.100s'", l->p->cwd);
    if (fchdir(fd) < 0)
        return err_errno(e, "process.cwd: chdir to '%.100s'", l->p->cwd);
    if (!getcwd(where, sizeof(where)) || where[0] != '/')
        return err_set(e, -EPERM, "process.cwd: '%.100s' is outside of the root", l->p->cwd);
    return 0;
}

/* 0 when it is a program; the reason when not. */
static int is_program(const char *path)
{
    AUTO(fd) int fd = path_open_here(path, O_PATH);
    struct stat st;

    if (fd < 0)
        return fd;
    if (fstat(fd, &st) < 0)
        return -errno;
    return S_ISREG(st.st_mode) && (st.st_mode & 0111) ? 0 : -EACCES;
}

static const char *path_of(const struct oci_process *p)
{
    for (u32 i = 0; i < p->env.n; i++)
        if (str_starts(p->env.items[i], "PATH="))
            return p->env.items[i] + strlen("PATH=");
    return "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
}

/* As execvp would.  The messages are those that engines look for. */
static int find_program(struct launch *l, struct err *e)
{
    const char *name = l->p->args.items[0], *at;
    int found = -ENOENT;

    if (strchr(name, '/')) {
        found = is_program(name);
        if (found < 0)
            return err_code(e, found, "exec: \"%.100s\": stat %.100s", name, name);
        l->program = xdup(name);
        return 0;
    }
    for (at = path_of(l->p); *at;) {
        size_t len = strcspn(at, ":");
        AUTO(free) char *path = str_new("%.*s%s%s", (int)len, at, len ? "/" : "./", name);
        int r = is_program(path);

        if (r == 0) {
            l->program = TAKE(path);
            return 0;
        }
        found = r == -EACCES ? r : found;
        at += len + (at[len] == ':');
    }
    if (found == -EACCES)
        return err_set(e, found, "exec: \"%.100s\": permission denied", name);
    return err_set(e, found,
                   "exec: \"%.100s\": executable file not found in $PATH: No such file or "
                   "directory",
                   name);
}

/* Is a variable one of those that we set, too?  Ours is to be the only one. */
static bool is_ours(const struct launch *l, const char *variable)
{
    const size_t len = strcspn(variable, "=") + 1;

    for (u32 i = 0; i < l->env.n; i++)
        if (strncmp(l->env.items[i], variable, len) == 0)
            return true;
    return false;
}

/* What execve wants ends with NULL. */
static void fill_vectors(struct launch *l)
{
    u32 n = 0;

    l->argv = xnew_n(char *, (size_t)l->p->args.n + 1);
    memcpy(l->argv, l->p->args.items, l->p->args.n * sizeof(*l->argv));
    l->envp = xnew_n(char *, (size_t)l->p->env.n + l->env.n + 1);
    for (u32 i = 0; i < l->p->env.n; i++)
        if (!is_ours(l, l->p->env.items[i]))
            l->envp[n++] = l->p->env.items[i];
    for (u32 i = 0; i < l->env.n; i++)
        l->envp[n++] = l->env.items[i];
}

/* The label of what will be executed: written to a procfs that nothing covers (CVE-2019-16884, CVE-2019-19921). */
static int set_labels(const struct launch *l, struct root *root, struct err *e)
{
    const struct {
        const char *field, *label, *file, *prefix;
    } rows[] = {
        { "apparmorProfile", l->p->apparmorProfile, "attr/apparmor/exec", "exec " },
        { "selinuxLabel", l->p->selinuxLabel, "attr/exec", "" },
    };

    for_each_row(row, rows) {
        AUTO(free) char *text = NULL;
        char path[96];
        int proc, r;

        if (!row->label || !*row->label)
            continue;
        proc = root_proc(root, e);
        if (proc < 0)
            return proc;
        text = str_new("%s%s", row->prefix, row->label);
        str_fmt(path, sizeof(path), "%ld/%s", (long)getpid(), row->file);
        r = path_write(proc, path, text);
        if (r < 0)
            return err_code(e, r, "process.%s: set '%.80s'", row->field, row->label);
    }
    return 0;
}

static int set_domain(const struct oci_linux *os, struct err *e)
{
    const char *domain = os->personality.domain;

    if (domain && personality(strcmp(domain, "LINUX32") == 0 ? PER_LINUX32 : PER_LINUX) < 0)
        return err_errno(e, "linux.personality");
    return 0;
}

/* ---- who it is ---- */

/* Is it a number of our user namespace?  Tried by the ids that are saved, which nothing else looks at. */
static bool is_user(uid_t uid)
{
    uid_t real, effective, saved;

    if (getresuid(&real, &effective, &saved) < 0 || setresuid((uid_t)-1, (uid_t)-1, uid) < 0)
        return errno != EINVAL;
    (void)!setresuid((uid_t)-1, (uid_t)-1, saved);
    return true;
}

static bool is_group(gid_t gid)
{
    gid_t real, effective, saved;

    if (getresgid(&real, &effective, &saved) < 0 || setresgid((gid_t)-1, (gid_t)-1, gid) < 0)
        return errno != EINVAL;
    (void)!setresgid((gid_t)-1, (gid_t)-1, saved);
    return true;
}

/* A user namespace made without privilege lets nobody set groups (user_namespaces(7)); the kernel says so before it looks at how many. */
static bool may_set_groups(void)
{
    return setgroups(NGROUPS_MAX + 1, NULL) == 0 || errno != EPERM;
}

/* Its first group is there without setgroups, as engines and initgroups(3) name it again. */
static bool has_more_groups(const struct oci_user *u)
{
    for_each_of(const struct oci_gid, g, &u->additionalGids)
    {
        if (g->gid != u->gid)
            return true;
    }
    return false;
}

int launch_check_user(const struct launch *l, struct err *e)
{
    static const char why[] = "is none of its user namespace; a user without a range of "
                              "/etc/subuid and /etc/subgid has one number alone";
    const struct oci_user *u = &l->p->user;

    if (!l->in_user_ns)
        return 0;
    if (!is_user(u->uid))
        return err_set(e, -EINVAL, "process.user.uid %u %s", u->uid, why);
    if (!is_group(u->gid))
        return err_set(e, -EINVAL, "process.user.gid %u %s", u->gid, why);
    if (has_more_groups(u) && !may_set_groups())
        return err_set(e, -EPERM,
                       "process.user.additionalGids: groups may not be set in this user namespace; "
                       "a range of /etc/subgid, and newgidmap, allow it");
    for_each_of(const struct oci_gid, g, &u->additionalGids)
    {
        if (!is_group(g->gid))
            return err_set(e, -EINVAL, "process.user.additionalGids: %u %s", g->gid, why);
    }
    return 0;
}

int launch_prepare(struct launch *l, struct root *root, struct err *e)
{
    int r = caps_parse(&l->p->capabilities, &l->caps, e);

    if (r == 0)
        r = set_domain(l->os, e);
    if (r == 0)
        r = numa_set_policy(&l->os->memoryPolicy, e);

    if (r == 0)
        r = enter_cwd(l, root, e);
    if (r == 0)
        r = find_program(l, e);
    if (r == 0)
        r = set_labels(l, root, e);
    if (r == 0)
        r = box_filter_new(&l->os->seccomp, &l->filter, e);
    if (r == 0)
        fill_vectors(l);
    return r;
}

static int join_keyring(struct err *e)
{
    /* A kernel may have none, or a policy forbid it. */
    if (syscall(SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, "_ses.socle-box") < 0 && errno != ENOSYS &&
        errno != EPERM && errno != EACCES)
        return err_errno(e, "new session keyring");
    return 0;
}

static int become_user(const struct launch *l, struct err *e)
{
    const struct oci_user *u = &l->p->user;
    AUTO(free) gid_t *gids = u->additionalGids.n ? xnew_n(gid_t, u->additionalGids.n) : NULL;
    u32 n = 0;

    for_each_of(const struct oci_gid, g, &u->additionalGids) gids[n++] = g->gid;
    /* Where it is forbidden there is nothing to set: launch_check_user. */
    if (setgroups(n, gids) < 0 && (errno != EPERM || has_more_groups(u) || !l->in_user_ns))
        return err_errno(e, "process.user.additionalGids");
    if (setresgid(u->gid, u->gid, u->gid) < 0)
        return err_errno(e, "process.user.gid %u", u->gid);
    if (setresuid(u->uid, u->uid, u->uid) < 0)
        return err_errno(e, "process.user.uid %u", u->uid);
    umask(u->umask != BOX_NO_ID ? u->umask & 0777 : 0022);
    return 0;
}

static int load_filter(const struct launch *l, struct err *e)
{
    if (!l->filter)
        return 0;
    return l->agent >= 0 ? listener_load(l->filter, l->agent, l->agent_text, e)
                         : box_filter_load(l->filter, e);
}

static int give_up_rights(struct launch *l, struct err *e)
{
    int r;

    if (l->p->noNewPrivileges && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
        return err_errno(e, "process.noNewPrivileges");
    /* Without it a filter needs CAP_SYS_ADMIN, which goes below. */
    r = l->p->noNewPrivileges ? 0 : load_filter(l, e);
    if (r < 0)
        return r;
    r = caps_bound(&l->caps);
    if (r < 0)
        return err_code(e, r, "process.capabilities: bounding");
    r = become_user(l, e);
    if (r < 0)
        return r;
    r = caps_set(&l->caps);
    if (r < 0)
        return err_code(e, r, "process.capabilities");
    return l->p->noNewPrivileges ? load_filter(l, e) : 0;
}

int launch_exec(struct launch *l, struct err *e)
{
    sigset_t none;
    int r = l->new_keyring ? join_keyring(e) : 0;

    if (r < 0)
        return r;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    r = launch_close_inherited(l->preserve, e);
    if (r == 0)
        r = give_up_rights(l, e);
    if (r < 0)
        return r;
    execve(l->program, l->argv, l->envp);
    return err_errno(e, "exec %.100s", l->program);
}
