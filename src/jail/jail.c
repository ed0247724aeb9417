/*
 * jail/jail.c: the steps by which socle-vm, socle-unpack and socle-share give up files, namespaces, user, capabilities; the
 * table below is their order.
 * Called once, by the only thread there is.
 *   (1) A root process makes its namespaces with its own capabilities, then becomes somebody else;
 *       any other makes a user namespace first (user_namespaces(7)), in which it is allowed the
 *       rest.
 *   (2) What needs /proc comes before the root is emptied; what needs a capability before they are
 *       dropped; Landlock last, because it forbids mounting (landlock(7)).
 *   (3) A step that the host may forbid reports it and the next one is tried; a must-step ends the
 *       start.
 */
#include "jail/jail.h"

#include "jail/jail_rows.h"

#include <cap-ng.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/landlock.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { NOBODY = 65534 };

#define RESOLV_CONF     "/etc/resolv.conf"
#define OWN_FDS         "/proc/self/fd"
#define RESOLV_CONF_MAX (64 * KiB)

struct jail {
    const struct jail_cfg *cfg;
    struct jail_report *report;
};

static int no_new_privs(struct jail *)
{
    return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ? -errno : JAIL_DONE;
}

static int by_number(const void *a, const void *b)
{
    return *(const int *)a - *(const int *)b;
}

static int close_others(const int *keep, unsigned n_keep)
{
    int *fds = xnew_n(int, n_keep + 1);
    unsigned next = STDERR_FILENO + 1;
    int r = JAIL_DONE;

    if (n_keep > 0)
        memcpy(fds, keep, n_keep * sizeof(*fds));
    qsort(fds, n_keep, sizeof(*fds), by_number);
    for (unsigned i = 0; i < n_keep && r == JAIL_DONE; i++) {
        if (fds[i] < (int)next) /* -1 for what is not open, stdio, or twice in the list */
            continue;
        if (fds[i] > (int)next && close_range(next, (unsigned)fds[i] - 1, 0) < 0)
            r = -errno;
        next = (unsigned)fds[i] + 1;
    }
    if (r == JAIL_DONE && close_range(next, ~0u, 0) < 0)
        r = -errno;
    free(fds);
    return r;
}

static int close_files(struct jail *j)
{
    return j->cfg->keep ? close_others(j->cfg->keep, j->cfg->n_keep) : JAIL_NOT_ASKED;
}

static int set_limits(struct jail *j)
{
    const struct rlimit core = { 0, 0 }, files = { j->cfg->files_max, j->cfg->files_max };

    if (setrlimit(RLIMIT_CORE, &core) < 0)
        return -errno;
    if (j->cfg->files_max && setrlimit(RLIMIT_NOFILE, &files) < 0)
        return -errno;
    return JAIL_DONE;
}

static int write_file(const char *path, const char *text)
{
    AUTO(fd) int fd = open(path, O_WRONLY | O_CLOEXEC);

    return fd < 0 ? -errno : fd_write_all(fd, text, strlen(text));
}

/* Our user keeps its number inside; nobody else exists there. */
static int map_ids(uid_t uid, gid_t gid)
{
    char text[64];
    int r;

    str_fmt(text, sizeof(text), "%u %u 1", uid, uid);
    r = write_file("/proc/self/uid_map", text);
    if (r < 0)
        return r;
    r = write_file("/proc/self/setgroups", "deny"); /* or gid_map is refused */
    if (r < 0)
        return r;
    str_fmt(text, sizeof(text), "%u %u 1", gid, gid);
    return write_file("/proc/self/gid_map", text);
}

static int user_ns(struct jail *j)
{
    const uid_t uid = geteuid();
    const gid_t gid = getegid();

    if (uid == 0 || !j->cfg->userns_ok)
        return JAIL_NOT_ASKED;
    if (unshare(CLONE_NEWUSER) < 0)
        return -errno;
    return map_ids(uid, gid);
}

static int leave(int which)
{
    return unshare(which) < 0 ? -errno : JAIL_DONE;
}

static int mount_ns(struct jail *)
{
    return leave(CLONE_NEWNS);
}

static int ipc_ns(struct jail *)
{
    return leave(CLONE_NEWIPC);
}

static int uts_ns(struct jail *)
{
    return leave(CLONE_NEWUTS);
}

static int net_ns(struct jail *j)
{
    return j->cfg->keep_net ? JAIL_NOT_ASKED : leave(CLONE_NEWNET);
}

static bool may(unsigned capability)
{
    return capng_have_capability(CAPNG_EFFECTIVE, capability);
}

/* The capabilities that stay, to the sets of `type`. */
static void add_kept(const struct jail *j, capng_type_t type)
{
    for (unsigned i = 0; i < 64; i++)
        if (j->cfg->keep_caps >> i & 1)
            (void)capng_update(CAPNG_ADD, type, i);
}

static int drop_bounding(struct jail *j)
{
    if (capng_get_caps_process() < 0)
        return -EPERM;
    if (!may(CAP_SETPCAP))
        return JAIL_NOT_ASKED; /* what an exec may gain is nothing already: no_new_privs */
    capng_clear(CAPNG_SELECT_BOUNDS);
    add_kept(j, CAPNG_BOUNDING_SET);
    return capng_apply(CAPNG_SELECT_BOUNDS) < 0 ? -EPERM : JAIL_DONE;
}

/*
 * libslirp looks there again and again, for the name servers.  A host without the file gives a
 * guest without names.
 */
static int copy_resolv_conf(int root)
{
    AUTO(fd) int from = open(RESOLV_CONF, O_RDONLY | O_CLOEXEC);
    AUTO(fd) int to = -1;
    AUTO(free) char *text = xnew_n(char, RESOLV_CONF_MAX);
    ssize_t len;

    if (from < 0)
        return 0;
    len = read(from, text, RESOLV_CONF_MAX);
    if (len < 0 || mkdirat(root, "etc", 0755) < 0)
        return -errno;
    to = openat(root, "etc/resolv.conf", O_WRONLY | O_CREAT | O_CLOEXEC, 0444);
    return to < 0 ? -errno : fd_write_all(to, text, (size_t)len);
}

/* A new tmpfs that nobody else can see. */
static int make_root(const struct jail_cfg *cfg)
{
    AUTO(fd) int fs = fsopen("tmpfs", FSOPEN_CLOEXEC);
    AUTO(fd) int root = -1;
    int r;

    if (fs < 0 || fsconfig(fs, FSCONFIG_SET_STRING, "mode", "0755", 0) < 0 ||
        fsconfig(fs, FSCONFIG_SET_STRING, "size", "128k", 0) < 0 ||
        fsconfig(fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0) < 0)
        return -errno;
    root = fsmount(fs, FSMOUNT_CLOEXEC, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC);
    if (root < 0)
        return -errno;
    r = cfg->keep_net ? copy_resolv_conf(root) : 0;
    return r < 0 ? r : TAKE_FD(root);
}

/* `root`, a mount that is nowhere yet, becomes the root.  A fixed number of calls, however many mounts the host has. */
static int swap_root(int root)
{
    /*
     * All of them private, or to detach ours below would detach the host's, too
     * (mount_namespaces(7)).
     */
    if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
        move_mount(root, "", AT_FDCWD, "/", MOVE_MOUNT_F_EMPTY_PATH) < 0 || fchdir(root) < 0)
        return -errno;
    /*
     * The new root above the old one, then swapped, so that it needs no directory (pivot_root(2),
     * ".").
     */
    if (syscall(SYS_pivot_root, ".", ".") < 0 || umount2(".", MNT_DETACH) < 0 || chdir("/") < 0)
        return -errno;
    return 0;
}

static int enter_new_root(const struct jail_cfg *cfg)
{
    struct mount_attr attr = { .attr_set = MOUNT_ATTR_RDONLY };
    AUTO(fd) int root = make_root(cfg);
    int r = root < 0 ? root : swap_root(root);

    if (r < 0)
        return r;
    return mount_setattr(AT_FDCWD, "/", 0, &attr, sizeof(attr)) < 0 ? -errno : 0;
}

/*
 * Where mounting is forbidden: a directory that is deleted already, in which nothing can be made.
 */
static int enter_deleted_dir(void)
{
    char path[] = "/tmp/socle-root-XXXXXX";

    if (!mkdtemp(path))
        return -errno;
    if (chdir(path) < 0 || rmdir(path) < 0 || chroot(".") < 0)
        return -errno;
    return 0;
}

/* A copy of the mounts from the directory on, in which nothing is executed and no device works. */
static int clone_root(const struct jail_root *root)
{
    struct mount_attr attr = {
        .attr_set = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC |
                    (root->readonly ? MOUNT_ATTR_RDONLY : 0),
    };
    AUTO(fd)
    int tree = open_tree(AT_FDCWD, root->path, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_RECURSIVE);

    if (tree < 0 || mount_setattr(tree, "", AT_EMPTY_PATH | AT_RECURSIVE, &attr, sizeof(attr)) < 0)
        return -errno;
    return TAKE_FD(tree);
}

/* The mount's copy has nothing above; where it cannot be made, Landlock must do. */
static int open_fds(void)
{
    int fd = open_tree(AT_FDCWD, OWN_FDS, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);

    if (fd < 0)
        fd = open(OWN_FDS, O_PATH | O_DIRECTORY | O_CLOEXEC);
    return fd < 0 ? -errno : fd;
}

static int enter_root(struct jail_root *root)
{
    AUTO(fd) int tree = clone_root(root);

    return tree < 0 ? tree : swap_root(tree);
}

/* What the directory is served from is open in any case; the result says whether anything else is out of reach. */
static int own_root(struct jail *j)
{
    struct jail_root *root = j->cfg->root;
    int r = j->report->code[JAIL_MOUNT_NS];

    root->fds = open_fds();
    if (root->fds < 0)
        return root->fds;
    if (r == JAIL_DONE)
        r = enter_root(root);
    root->dir = open(r == JAIL_DONE ? "/" : root->path, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (root->dir < 0)
        return -errno;
    if (r < 0 && may(CAP_SYS_CHROOT) && fchdir(root->dir) == 0 && chroot(".") == 0)
        r = JAIL_DONE;
    return r;
}

static int empty_root(struct jail *j)
{
    int r = j->report->code[JAIL_MOUNT_NS];

    if (j->cfg->root)
        return own_root(j);
    if (j->cfg->keep_root)
        return JAIL_NOT_ASKED;
    if (r == JAIL_DONE)
        r = enter_new_root(j->cfg);
    if (r < 0 && may(CAP_SYS_CHROOT) && !j->cfg->keep_net)
        r = enter_deleted_dir();
    return r;
}

static int change_ids(struct jail *j)
{
    const uid_t uid = j->cfg->uid ? j->cfg->uid : NOBODY;
    const gid_t gid = j->cfg->gid ? j->cfg->gid : NOBODY;

    if (geteuid() != 0 || j->cfg->keep_ids)
        return JAIL_NOT_ASKED;
    if (setgroups(0, NULL) < 0 || setresgid(gid, gid, gid) < 0 || setresuid(uid, uid, uid) < 0)
        return -errno;
    return JAIL_DONE;
}

static int drop_caps(struct jail *j)
{
    capng_clear(CAPNG_SELECT_CAPS);
    add_kept(j, CAPNG_EFFECTIVE | CAPNG_PERMITTED);
    return capng_apply(CAPNG_SELECT_CAPS) < 0 ? -EPERM : JAIL_DONE;
}

/* No other process of the same user may trace us or read our memory. */
static int not_dumpable(struct jail *)
{
    return prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0 ? -errno : JAIL_DONE;
}

/* As in newer <linux/landlock.h> than ours. */
struct landlock_rights {
    u64 fs, net, scoped;
};

/* What each version of Landlock can forbid: all of it is. */
static const struct {
    struct landlock_rights rights;
    size_t size;
} landlock_abi[] = {
    { { 0x1fff, 0, 0 }, 8 },      /* 1: files */
    { { 0x3fff, 0, 0 }, 8 },      /* 2: rename and link between directories */
    { { 0x7fff, 0, 0 }, 8 },      /* 3: truncate */
    { { 0x7fff, 0x3, 0 }, 16 },   /* 4: TCP bind and connect */
    { { 0xffff, 0x3, 0 }, 16 },   /* 5: ioctl of devices opened later */
    { { 0xffff, 0x3, 0x3 }, 24 }, /* 6: abstract unix sockets and signals of processes outside */
};

static int allow_resolv_conf(int rules)
{
    AUTO(fd) int fd = open(RESOLV_CONF, O_PATH | O_CLOEXEC);
    struct landlock_path_beneath_attr attr = { LANDLOCK_ACCESS_FS_READ_FILE, fd };

    if (fd < 0)
        return 0;
    return syscall(SYS_landlock_add_rule, rules, LANDLOCK_RULE_PATH_BENEATH, &attr, 0) < 0 ? -errno
                                                                                           : 0;
}

/* Below a directory that is kept: all that could be forbidden, or reading and executing. */
static int allow_dirs(const struct jail_dir *dirs, unsigned n, int rules, u64 all)
{
    const u64 read =
        LANDLOCK_ACCESS_FS_EXECUTE | LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR;

    for (unsigned i = 0; i < n; i++) {
        const struct landlock_path_beneath_attr attr = { dirs[i].write ? all : read, dirs[i].fd };

        if (syscall(SYS_landlock_add_rule, rules, LANDLOCK_RULE_PATH_BENEATH, &attr, 0) < 0)
            return -errno;
    }
    return 0;
}

static int allow_root(const struct jail_root *root, int rules, u64 all)
{
    const struct jail_dir dir = { root->dir, !root->readonly };

    return allow_dirs(&dir, 1, rules, all);
}

static int landlock(struct jail *j)
{
    AUTO(fd) int rules = -1;
    struct landlock_rights rights;
    long abi = syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
    size_t i;
    int r;

    if (abi < 1)
        return abi < 0 ? -errno : -EOPNOTSUPP;
    i = min((size_t)abi, ARRAY_LEN(landlock_abi)) - 1;
    rights = landlock_abi[i].rights;
    if (j->cfg->keep_net)
        rights.net = 0;
    rules = (int)syscall(SYS_landlock_create_ruleset, &rights, landlock_abi[i].size, 0);
    if (rules < 0)
        return -errno;
    if (j->cfg->keep_net && (r = allow_resolv_conf(rules)) < 0)
        return r;
    if ((r = allow_dirs(j->cfg->dirs, j->cfg->n_dirs, rules, rights.fs)) < 0)
        return r;
    if (j->cfg->root && (r = allow_root(j->cfg->root, rules, rights.fs)) < 0)
        return r;
    return syscall(SYS_landlock_restrict_self, rules, 0) < 0 ? -errno : JAIL_DONE;
}

/* clang-format off */
static const struct step {
    const char *name;
    bool required; /* no host forbids it: a failure is no question of what is allowed here */
    int (*run)(struct jail *j);
} steps[JAIL_STEPS] = {
    [JAIL_NO_NEW_PRIVS] = { "no new privileges",       true,  no_new_privs },
    [JAIL_CLOSE]        = { "other files closed",      true,  close_files },
    [JAIL_LIMITS]       = { "limits",                  true,  set_limits },
    [JAIL_USER_NS]      = { "user namespace",          false, user_ns },
    [JAIL_MOUNT_NS]     = { "mount namespace",         false, mount_ns },
    [JAIL_IPC_NS]       = { "ipc namespace",           false, ipc_ns },
    [JAIL_UTS_NS]       = { "uts namespace",           false, uts_ns },
    [JAIL_NET_NS]       = { "network namespace",       false, net_ns },
    [JAIL_BOUNDING]     = { "capability bound",        false, drop_bounding },
    [JAIL_ROOT]         = { "empty root",              false, empty_root },
    [JAIL_IDS]          = { "unprivileged user",       false, change_ids },
    [JAIL_CAPS]         = { "no capabilities",         true,  drop_caps },
    [JAIL_DUMPABLE]     = { "not traceable",           true,  not_dumpable },
    [JAIL_LANDLOCK]     = { "landlock",                false, landlock },
};
/* clang-format on */

#ifdef JAIL_SANITIZED
static bool entered;

/* The leak check at exit reads /proc and traces this process, which a jail forbids. */
int __lsan_is_turned_off(void);
__attribute__((visibility("default"))) int __lsan_is_turned_off(void)
{
    return entered;
}
#endif

int jail_enter(const struct jail_cfg *cfg, struct jail_report *ret_report, struct err *e)
{
    struct jail j = { cfg, ret_report };

#ifdef JAIL_SANITIZED
    entered = true;
#endif
    *ret_report = (struct jail_report){};
    for (unsigned i = 0; i < JAIL_STEPS; i++) {
        int r = steps[i].run(&j);

        ret_report->code[i] = r;
        if (r < 0 && (steps[i].required || cfg->strict))
            return err_code(e, r, "enter the jail: %s", steps[i].name);
    }
    return 0;
}

int jail_close_fds(const int *keep, unsigned n_keep, struct err *e)
{
    int r = close_others(keep, n_keep);

    return r < 0 ? err_code(e, r, "close inherited files") : 0;
}

static void add_names(const struct jail_report *r, bool done, struct strbuf *to)
{
    const char *sep = done ? "done: " : "; not possible: ";

    for (unsigned i = 0; i < JAIL_STEPS; i++) {
        int code = r->code[i];

        if (code == JAIL_NOT_ASKED || (code == JAIL_DONE) != done)
            continue;
        strbuf_add(to, "%s%s", sep, steps[i].name);
        if (code < 0)
            strbuf_add(to, " (%s)", strerror(-code));
        sep = ", ";
    }
}

void jail_report_text(const struct jail_report *r, struct strbuf *to)
{
    add_names(r, true, to);
    add_names(r, false, to);
}
