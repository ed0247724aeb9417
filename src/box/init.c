/*
 * box/init.c: the first process of a container, from clone to exec.  What it says to the runtime meanwhile: box/sync.h.
 * It is in the new namespaces from the start; the root directory is the host's until root_enter, but only hooks use that.
 *   (1) Until the exec it dies with the runtime (PR_SET_PDEATHSIG); `create` ends that when all is well.
 *   (2) It cannot be traced or read by processes of a namespace that it joins (not dumpable: CVE-2016-9962).
 */
#include "box/apart.h"
#include "box/hook.h"
#include "box/listener.h"
#include "box/making.h"
#include "box/path.h"
#include "box/term.h"

#include <fcntl.h>
#include <linux/sched.h>
#include <net/if.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

enum { STATUS_FAILED = 127 };

static int wait_go(struct making *m, struct err *e)
{
    return sync_wait_go(m->sync[1], &m->state.pid, e);
}

static int tell(struct making *m, enum sync_kind kind, pid_t pid, struct err *e)
{
    int r = sync_send(m->sync[1], kind, pid);

    return r < 0 ? err_code(e, r, "tell the runtime") : 0;
}

static int not_dumpable(struct err *e)
{
    return prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0 ? err_errno(e, "not dumpable") : 0;
}

static int names(const struct oci *spec, struct err *e)
{
    if (spec->hostname && *spec->hostname &&
        sethostname(spec->hostname, strlen(spec->hostname)) < 0)
        return err_errno(e, "hostname '%.64s'", spec->hostname);
    if (spec->domainname && *spec->domainname &&
        setdomainname(spec->domainname, strlen(spec->domainname)) < 0)
        return err_errno(e, "domainname '%.64s'", spec->domainname);
    return 0;
}

static int loopback_up(struct err *e)
{
    AUTO(fd) int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    struct ifreq request = { .ifr_name = "lo", .ifr_flags = IFF_UP };

    if (fd < 0 && errno == EAFNOSUPPORT)
        return 0; /* a kernel without IPv4 */
    if (fd < 0 || ioctl(fd, SIOCSIFFLAGS, &request) < 0)
        return err_errno(e, "bring the loopback interface up");
    return 0;
}

/* "net.ipv4.ip_forward", or with '/' as sysctl(8) takes it for names that hold dots. */
static int set_sysctl(struct root *root, const char *key, const char *value, struct err *e)
{
    AUTO(free) char *path = str_new("sys/%s", key);
    int proc = root_proc(root, e), r;

    if (proc < 0)
        return proc;
    for (char *at = path; *at; at++)
        *at = *at == '.' ? '/' : *at;
    r = path_write(proc, path, value);
    return r < 0 ? err_code(e, r, "linux.sysctl: '%.60s'", key) : 0;
}

static int settings(struct making *m, struct root *root, struct err *e)
{
    const struct oci_linux *l = &m->spec.os;
    int r = names(&m->spec, e);

    if (r == 0 && (m->ns.make & CLONE_NEWNET))
        r = loopback_up(e);
    for (u32 i = 0; i < l->sysctl.n && r == 0 && !m->apart; i++)
        r = set_sysctl(root, l->sysctl.items[2 * i], l->sysctl.items[2 * i + 1], e);
    return r;
}

static bool has_hooks(const struct making *m, unsigned kind)
{
    return m->spec.hooks.kind[kind].n > 0;
}

static int run_hooks(struct making *m, unsigned kind, enum box_status status, struct err *e)
{
    AUTO(free) char *text = NULL;

    if (!has_hooks(m, kind))
        return 0;
    text = box_state_text(&m->state, status, &m->spec.annotations);
    return hooks_run(&m->spec, kind, text, e);
}

static int early_hooks(struct making *m, struct err *e)
{
    int r = 0;

    if (has_hooks(m, HOOK_PRESTART) || has_hooks(m, HOOK_CREATE_RUNTIME)) {
        r = tell(m, SYNC_HOOKS, 0, e);
        if (r == 0)
            r = wait_go(m, e);
    }
    return r < 0 ? r : run_hooks(m, HOOK_CREATE_CONTAINER, BOX_CREATING, e);
}

/* The slave, or -1 without a terminal. */
static int terminal(struct making *m, struct root *root, struct err *e)
{
    struct oci_process p = m->spec.process;
    AUTO(fd) int master = -1;
    AUTO(fd) int slave = -1;
    int r;

    if (!m->spec.process.terminal)
        return -1;
    if (m->apart) { /* the host's, for socle-box-vm, and nobody else's: its user is one of the guest's */
        root->pts = open("/dev/pts", O_PATH | O_DIRECTORY | O_CLOEXEC);
        p.user.uid = 0;
    }
    if (root->pts < 0)
        return err_set(e, -EINVAL, "process.terminal: no devpts is mounted at /dev/pts");
    slave = term_open(root->pts, &p, &master, e);
    r = slave;
    if (r >= 0 && root->dev >= 0)
        r = term_console(root->dev, slave, e);
    if (r >= 0) {
        r = sync_send_fd(m->console, master, "/dev/console");
        if (r < 0)
            err_code(e, r, "process.terminal: hand over its master");
    }
    return r < 0 ? r : TAKE_FD(slave);
}

/*
 * The null device that we were given is a file of the host's /dev; the container's own is the same, and what CRIU can find again.  Where
 * that one is not there, or is another thing, nothing changes.
 */
static int own_null(struct err *e)
{
    AUTO(fd) int fd = path_open_here("/dev/null", O_RDWR | O_NOCTTY);
    const dev_t null = makedev(1, 3);
    struct stat st;

    if (fd < 0 || fstat(fd, &st) < 0 || !S_ISCHR(st.st_mode) || st.st_rdev != null)
        return 0;
    for (int i = 0; i <= STDERR_FILENO; i++) {
        if (fstat(i, &st) < 0 || !S_ISCHR(st.st_mode) || st.st_rdev != null)
            continue;
        if (dup2(fd, i) < 0) /* tidy: allow banned: it is to survive the exec */
            return err_errno(e, "descriptor %d", i);
    }
    return 0;
}

/* Nobody else is in our namespaces yet, and the root still is the host's. */
static int open_files(struct making *m, struct err *e)
{
    AUTO(fd) int bundle = open(m->state.bundle, O_DIRECTORY | O_RDONLY | O_CLOEXEC);

    if (bundle < 0)
        return err_errno(e, "open bundle '%.120s'", m->state.bundle);
    return host_files_open(&m->host, &m->spec, bundle, true, m->ns.join[NS_USER], e);
}

/* Where a machine's root is on the host, in our mount namespace alone. */
static int open_place(const struct making *m)
{
    AUTO(free) char *path = str_new("%s/root", m->vm_dir);

    return open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
}

static int enter(struct making *m, struct launch *launch, struct root *root, struct err *e)
{
    int r = root_enter(root, m->opts->no_pivot, e);

    if (r == 0)
        r = own_null(e);
    if (r == 0)
        r = launch_prepare(launch, root, e);
    return r < 0 ? r : root_protect(root, &m->spec, &m->host, e);
}

static int build(struct making *m, struct launch *launch, struct err *e)
{
    struct root root;
    int slave = -1, r;

    root_init(&root);
    if (m->apart)
        root.at = open_place(m);
    r = m->late_files ? open_files(m, e) : 0;
    if (r == 0)
        r = root_build(&root, &m->spec, &m->host, e);
    if (r == 0)
        r = settings(m, &root, e);
    if (r == 0)
        r = early_hooks(m, e);
    if (r == 0) {
        slave = terminal(m, &root, e);
        r = slave < -1 ? slave : 0;
    }
    if (r == 0)
        r = m->apart ? root_settle(&root, &m->spec, e) : enter(m, launch, &root, e);
    if (r == 0 && slave >= 0)
        r = term_take(slave, e);
    root_fini(&root);
    host_files_fini(&m->host);
    fd_close(&m->console);
    fd_close(&slave);
    return r;
}

/* `create`: until `start` writes a byte. */
static int wait_start(struct making *m, struct err *e)
{
    char byte;
    ssize_t n;

    fd_close(&m->sync[1]);
    do
        n = read(m->fifo, &byte, 1);
    while (n < 0 && errno == EINTR);
    fd_close(&m->fifo);
    return n == 1 ? 0 : err_set(e, -EIO, "wait for start");
}

static int become_first(struct making *m, struct err *e)
{
    const bool user = (m->ns.make & CLONE_NEWUSER) || m->ns.join[NS_USER] >= 0;
    int r = 0;

    umask(0); /* modes are as they are written; launch_exec sets the program's */
    if (user && !m->ns.staged)
        r = ns_become_root(e);
    if (r == 0)
        r = not_dumpable(e);
    /* After the last change of user, which would undo it; then the runtime may be gone already. */
    if (r == 0 && prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) < 0)
        r = err_errno(e, "die with the runtime");
    if (r == 0 && (m->ns.make & CLONE_NEWCGROUP) && unshare(CLONE_NEWCGROUP) < 0)
        r = err_errno(e, "new cgroup namespace");
    if (r == 0 && setsid() < 0)
        r = err_errno(e, "new session");
    return r;
}

/* Who answers for the filter: `start` and `run` have sent the connection before they let us go on. */
static int meet_agent(struct making *m, struct launch *launch, struct err *e)
{
    if (m->listener < 0)
        return 0;
    launch->agent_text = box_process_text(&m->state, BOX_CREATED, &m->spec.annotations,
                                          m->state.pid, m->spec.os.seccomp.listenerMetadata);
    launch->agent = listener_take(m->listener, e);
    return min(launch->agent, 0);
}

static int first_process(struct making *m, struct err *e)
{
    struct launch launch = { .p = &m->spec.process,
                             .os = &m->spec.os,
                             .env = m->env,
                             .agent = -1,
                             .preserve = m->preserve,
                             .make_cwd = true,
                             .new_keyring = !m->opts->no_new_keyring,
                             .in_user_ns = m->in_user_ns };
    int r = become_first(m, e);

    if (r == 0)
        r = launch_check_user(&launch, e);
    if (r == 0)
        r = build(m, &launch, e);
    if (r == 0)
        r = tell(m, SYNC_READY, 0, e);
    if (r == 0)
        r = wait_go(m, e);
    if (r == 0 && prctl(PR_SET_PDEATHSIG, 0, 0, 0, 0) < 0)
        r = err_errno(e, "outlive the runtime");
    if (r == 0 && !m->run)
        r = wait_start(m, e);
    if (r == 0)
        r = run_hooks(m, HOOK_START_CONTAINER, BOX_CREATED, e);
    if (r == 0)
        r = meet_agent(m, &launch, e);
    if (r < 0)
        return r;
    return m->apart ? apart_exec(m, e) : launch_exec(&launch, e);
}

/* Joins and makes namespaces; its child is the container's first process (box/ns.c says when this is needed). */
static int between(struct making *m, struct err *e)
{
    const bool new_user = m->ns.make & CLONE_NEWUSER;
    int pidfd = -1, r = 0;
    pid_t pid;

    if (!new_user) /* else the maps could not be written */
        r = not_dumpable(e);
    if (r == 0)
        r = ns_join(&m->ns, e);
    if (r == 0 && new_user) {
        if (unshare(CLONE_NEWUSER) < 0)
            return err_errno(e, "new user namespace");
        r = tell(m, SYNC_MAPS, 0, e);
        if (r == 0)
            r = wait_go(m, e);
    }
    if (r == 0 && (new_user || m->ns.join[NS_USER] >= 0))
        r = ns_become_root(e);
    if (r == 0 && unshare((int)(m->ns.make & ~(u64)(CLONE_NEWUSER | CLONE_NEWCGROUP))) < 0)
        r = err_errno(e, "new namespaces");
    if (r == 0 && (m->ns.make & CLONE_NEWTIME))
        r = ns_set_clocks(&m->spec, e);
    if (r < 0)
        return r;
    pid = ns_clone(CLONE_PARENT, -1, &pidfd);
    if (pid < 0)
        return ns_clone_failed(pid, "the first process", e);
    if (pid == 0) {
        r = wait_go(m, e); /* whatever we say now must come after our number */
        return r < 0 ? r : first_process(m, e);
    }
    fd_close(&pidfd);
    r = tell(m, SYNC_PID, pid, e);
    if (r < 0)
        return r;
    _exit(0);
}

_Noreturn void init_main(struct making *m)
{
    struct err e = {};
    int r;

    fd_close(&m->sync[0]);
    /* The host's directories are the runtime's business (CVE-2024-21626), and its lock is not ours to keep. */
    box_dir_fini(&m->dir);
    cgroup_fini(&m->cgroup);
    fd_close(&m->bundle);
    prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
    r = wait_go(m, &e);
    if (r == 0 && !m->ns.staged)
        r = ns_join(&m->ns, &e);
    if (r == 0)
        r = m->ns.staged ? between(m, &e) : first_process(m, &e);
    must(r < 0);
    if (m->sync[1] >= 0)
        sync_fail(m->sync[1], &e);
    else
        log_error("%s", e.text); /* after `create` nobody else hears it */
    _exit(STATUS_FAILED);
}
