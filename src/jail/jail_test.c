/*
 * jail/jail_test.c: children enter the jail, load a filter, and look at what is left to them.
 */
#include "jail/jail.h"

#include "testlib/test.h"

#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/kvm.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum { USER = 65533, CHILD_FAILED = 1, CHILD_SKIPS = 77 };

/* In a child: says what is wrong and ends it. */
#define NEED(cond)                                                                    \
    do {                                                                              \
        if (!(cond)) {                                                                \
            dprintf(2, "line %d: not true: %s (errno %d)\n", __LINE__, #cond, errno); \
            _exit(CHILD_FAILED);                                                      \
        }                                                                             \
    } while (0)

/* Runs fn in a child; its wait status, and what it wrote to stderr. */
static int in_child(void (*fn)(const void *arg), const void *arg, char *text, size_t size)
{
    int pipe_fds[2], status;
    size_t len = 0;
    ssize_t n;
    pid_t pid;

    must(pipe2(pipe_fds, O_CLOEXEC) == 0);
    pid = fork();
    must(pid >= 0);
    if (pid == 0) {
        dup3(pipe_fds[1], 2, 0);
        fn(arg);
        _exit(0);
    }
    close(pipe_fds[1]);
    while (len < size - 1 && (n = read(pipe_fds[0], text + len, size - 1 - len)) > 0)
        len += (size_t)n;
    text[len] = '\0';
    close(pipe_fds[0]);
    must(waitpid(pid, &status, 0) == pid);
    return status;
}

static void child_passes(void (*fn)(const void *arg), const void *arg)
{
    static char text[1024];
    int status = in_child(fn, arg, text, sizeof(text));

    if (WIFEXITED(status) && WEXITSTATUS(status) == CHILD_SKIPS)
        test_skip(text);
    CHECK_STR(text, "");
    CHECK_EQ(status, 0);
}

/* ---- roles: an allowed call of each, then one that is not ---- */

static void main_allowed(void)
{
    int fd = fd_eventfd();
    u8 *p = xnew_n(u8, 1 * MiB);

    NEED(fd >= 0 && p);
    memset(p, 1, 1 * MiB);
    free(p);
    fd_event_signal(fd);
    NEED(fd_event_take(fd) == 1);
    NEED(close(fd) == 0);
    NEED(syscall(SYS_tgkill, getpid(), gettid(), 0) == 0);
}

static void vcpu_allowed(void)
{
    NEED(ioctl(-1, KVM_RUN, 0) < 0 && errno == EBADF);
    NEED(ioctl(-1, KVM_GET_MSRS, 0) < 0 && errno == EBADF);
}

static void io_allowed(void)
{
    NEED(pwrite(2, "", 0, 0) <= 0);
    NEED(fdatasync(-1) < 0 && errno == EBADF);
    NEED(fallocate(-1, 0, 0, 1) < 0 && errno == EBADF);
}

static void io_net_allowed(void)
{
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

    NEED(fd >= 0);
    NEED(open("/nowhere", O_RDONLY) < 0 && errno == ENOENT);
}

static void call_socket(void)
{
    (void)!socket(AF_INET, SOCK_STREAM, 0);
}

static void call_unix_socket(void)
{
    (void)!socket(AF_UNIX, SOCK_STREAM, 0);
}

static void call_create_vm(void)
{
    (void)!ioctl(-1, KVM_CREATE_VM, 0);
}

static void call_execve(void)
{
    char *none[] = { NULL };

    execve("/bin/true", none, none);
}

static void call_mmap_exec(void)
{
    (void)!mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
}

static void call_kill_parent(void)
{
    (void)!syscall(SYS_tgkill, getppid(), getppid(), 0); /* getppid is refused first */
}

static void call_tgkill_init(void)
{
    (void)!syscall(SYS_tgkill, 1, 1, 0);
}

struct role_case {
    const char *why;
    enum jail_role role;
    void (*allowed)(void);
    void (*refused)(void);
    const char *message;
};

static void use_role(const void *arg)
{
    const struct role_case *c = arg;
    struct err e = {};

    prctl(PR_SET_NAME, "cell");
    NEED(jail_seccomp(c->role, &e) == 0);
    c->allowed();
    c->refused();
    dprintf(2, "still here\n");
}

TEST(each_role_may_do_its_work_and_nothing_else)
{
    /* clang-format off */
    static const struct role_case rows[] = {
        { "main: no sockets",         JAIL_MAIN,   main_allowed,   call_socket,      "'cell' (role main) called syscall 41 (socket), arguments 0x2 0x1 0x0" },
        { "vcpu: no new machine",     JAIL_VCPU,   vcpu_allowed,   call_create_vm,   "(role vcpu) called syscall 16 (ioctl), arguments 0xffffffff 0xae01 " },
        { "io: no programs",          JAIL_IO,     io_allowed,     call_execve,      "(role io) called syscall 59 (execve)" },
        { "io-net: no unix sockets",  JAIL_IO_NET, io_net_allowed, call_unix_socket, "(role io-net) called syscall 41 (socket), arguments 0x1 0x1 0x0" },
        { "main: no code",            JAIL_MAIN,   main_allowed,   call_mmap_exec,   "syscall 9 (mmap), arguments 0x0 0x1000 0x5" },
        { "vcpu: nobody else's pid",  JAIL_VCPU,   vcpu_allowed,   call_kill_parent, "syscall 110 (getppid)" },
        { "main: no signal to init",  JAIL_MAIN,   main_allowed,   call_tgkill_init, "syscall 234 (tgkill), arguments 0x1 0x1 0x0" },
    };
    /* clang-format on */
    static char text[1024];

    for_each_row(c, rows) {
        int status = in_child(use_role, c, text, sizeof(text));

        ROW(c);
        CHECK_HAS(text, "seccomp: thread ");
        CHECK_HAS(text, c->message);
        CHECK_HAS(text, ", for which it has no row\n");
        CHECK(WIFEXITED(status));
        CHECK_EQ(WEXITSTATUS(status), JAIL_EXIT_STATUS);
    }
}

static void *thread_body(void *arg)
{
    struct err e = {};
    u8 *p;

    NEED(jail_seccomp(*(const enum jail_role *)arg, &e) == 0);
    pthread_setname_np(pthread_self(), "other");
    p = xnew_n(u8, 300 * KiB);
    NEED(p);
    free(p);
    return NULL;
}

static void thread_ends(const void *)
{
    for (unsigned role = 0; role < JAIL_ROLES; role++) {
        enum jail_role r = role;
        pthread_t t;

        NEED(pthread_create(&t, NULL, thread_body, &r) == 0);
        NEED(pthread_join(t, NULL) == 0);
    }
}

TEST(a_thread_of_each_role_lives_and_ends)
{
    child_passes(thread_ends, NULL);
}

static void aborts(const void *)
{
    NEED(jail_seccomp(JAIL_VCPU, NULL) == 0);
    abort();
}

TEST(abort_is_still_an_abort)
{
    static char text[1024];
    int status = in_child(aborts, NULL, text, sizeof(text));

    CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
}

/* ---- entering ---- */

static u64 net_cookie(void)
{
    AUTO(fd) int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    u64 cookie = 0;
    socklen_t len = sizeof(cookie);

    if (getsockopt(fd, SOL_SOCKET, SO_NETNS_COOKIE, &cookie, &len) < 0)
        return 0;
    return cookie;
}

static void need_no_caps(void)
{
    struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
    struct __user_cap_data_struct data[2];

    NEED(syscall(SYS_capget, &header, data) == 0);
    for_each_row(d, data)
        NEED(!d->effective && !d->permitted && !d->inheritable);
}

/*
 * The keep list, in no order, with what is not open and what is there twice; the files in it and
 * one that is not.
 */
struct files {
    int list[6];
    int memory, kvm, other;
};

static struct files open_files(void)
{
    struct files f = {};

    f.other = memfd_create("other", MFD_CLOEXEC);
    f.memory = memfd_create("memory", MFD_CLOEXEC);
    f.kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
    NEED(f.other >= 0 && f.memory >= 0);
    memcpy(f.list, (int[]){ f.kvm, -1, f.memory, 0, f.memory, 2 }, sizeof(f.list));
    return f;
}

static void need_files(const struct files *f)
{
    u8 *p;

    NEED(fcntl(f->other, F_GETFD) < 0 && errno == EBADF);
    NEED(ftruncate(f->memory, 4096) == 0);
    p = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, f->memory, 0);
    NEED(p != MAP_FAILED);
    p[0] = 1;
    NEED(f->kvm < 0 || ioctl(f->kvm, KVM_GET_API_VERSION, 0) == 12);
}

static void need_inside(const struct jail_report *r)
{
    struct rlimit core;

    NEED(open("/etc/passwd", O_RDONLY | O_CLOEXEC) < 0);
    NEED(open("/tmp", O_TMPFILE | O_WRONLY | O_CLOEXEC, 0600) < 0);
    NEED(mkdir("/made", 0700) < 0);
    if (r->code[JAIL_ROOT] == JAIL_DONE)
        NEED(access("/etc/passwd", F_OK) < 0);
    if (r->code[JAIL_MOUNT_NS] == JAIL_DONE) /* the old root, if it is still mounted on ours */
        NEED(access("/../etc/passwd", F_OK) < 0 && errno == ENOENT);
    need_no_caps();
    NEED(setresuid(0, 0, 0) < 0);
    NEED(prctl(PR_GET_DUMPABLE, 0, 0, 0, 0) == 0);
    NEED(prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1);
    NEED(getrlimit(RLIMIT_CORE, &core) == 0 && core.rlim_max == 0);
}

/* Enters; when the host forbids one of `steps` the test is skipped with what it forbids. */
static void enter(const struct jail_cfg *cfg, struct jail_report *ret_report, unsigned steps)
{
    struct strbuf why = {};
    struct err e = {};

    if (jail_enter(cfg, ret_report, &e) < 0) {
        dprintf(2, "%s\n", e.text);
        _exit(CHILD_FAILED);
    }
    for (unsigned i = 0; i < JAIL_STEPS; i++) {
        int code = ret_report->code[i];

        if (!(steps & (1u << i)) || code == JAIL_DONE)
            continue;
        jail_report_text(ret_report, &why);
        dprintf(2, "%s", why.text);
        _exit(code == -EPERM || code == -EACCES || code == -ENOSYS || code == -ENOSPC ||
                      code == -EOPNOTSUPP
                  ? CHILD_SKIPS
                  : CHILD_FAILED);
    }
}

enum {
    SPACES = 1 << JAIL_MOUNT_NS | 1 << JAIL_IPC_NS | 1 << JAIL_UTS_NS,
    ROOT_STEPS = SPACES | 1 << JAIL_NET_NS | 1 << JAIL_BOUNDING | 1 << JAIL_ROOT | 1 << JAIL_IDS,
    USER_STEPS =
        SPACES | 1 << JAIL_NET_NS | 1 << JAIL_USER_NS | 1 << JAIL_BOUNDING | 1 << JAIL_ROOT,
};

static void as_root(const void *)
{
    struct files f = open_files();
    struct jail_cfg cfg = { .keep = f.list, .n_keep = ARRAY_LEN(f.list), .files_max = 99 };
    u64 net = net_cookie();
    struct jail_report r;
    struct rlimit files;

    (void)!setgroups(1, (const gid_t[]){ 4321 });
    enter(&cfg, &r, ROOT_STEPS);
    need_files(&f);
    need_inside(&r);
    NEED(getuid() == 65534 && getgid() == 65534 && getgroups(0, NULL) == 0);
    NEED(r.code[JAIL_USER_NS] == JAIL_NOT_ASKED);
    NEED(!net || net_cookie() != net);
    NEED(getrlimit(RLIMIT_NOFILE, &files) == 0 && files.rlim_max == 99);
    for (int cap = 0; prctl(PR_CAPBSET_READ, cap, 0, 0, 0) >= 0; cap++)
        NEED(prctl(PR_CAPBSET_READ, cap, 0, 0, 0) == 0);
    NEED(jail_seccomp(JAIL_MAIN, NULL) == 0);
    NEED(fd_event_take(fd_eventfd()) == 0);
}

TEST(root_enters)
{
    if (geteuid() != 0)
        test_skip("not root");
    child_passes(as_root, NULL);
}

static void become_user(void)
{
    if (geteuid() != 0)
        return;
    NEED(setresgid(USER, USER, USER) == 0 && setresuid(USER, USER, USER) == 0);
    NEED(prctl(PR_SET_DUMPABLE, 1, 0, 0, 0) == 0); /* as a login's process is */
}

static void as_user(const void *)
{
    struct files f = open_files();
    struct jail_cfg cfg = { .userns_ok = true, .keep = f.list, .n_keep = ARRAY_LEN(f.list) };
    u64 net = net_cookie();
    struct jail_report r;
    uid_t uid;

    become_user();
    uid = geteuid();
    enter(&cfg, &r, USER_STEPS);
    need_files(&f);
    need_inside(&r);
    NEED(getuid() == uid);
    NEED(!net || net_cookie() != net);
    NEED(jail_seccomp(JAIL_IO, NULL) == 0);
}

TEST(user_enters)
{
    child_passes(as_user, NULL);
}

static void as_user_without_spaces(const void *)
{
    struct jail_cfg cfg = {};
    struct jail_report r;

    become_user();
    enter(&cfg, &r, 1 << JAIL_LANDLOCK);
    NEED(r.code[JAIL_USER_NS] == JAIL_NOT_ASKED);
    NEED(r.code[JAIL_MOUNT_NS] == -EPERM && r.code[JAIL_ROOT] == -EPERM);
    need_inside(&r);
    NEED(open("/etc/passwd", O_RDONLY | O_CLOEXEC) < 0 && errno == EACCES);
}

TEST(user_without_namespaces_has_landlock)
{
    child_passes(as_user_without_spaces, NULL);
}

static void strictly(const void *)
{
    struct jail_cfg cfg = { .strict = true };
    struct jail_report r;
    struct err e = {};

    become_user();
    NEED(jail_enter(&cfg, &r, &e) == -EPERM);
    NEED(strcmp(e.text, "enter the jail: mount namespace: Operation not permitted") == 0);
}

TEST(strict_names_what_is_not_possible)
{
    child_passes(strictly, NULL);
}

static void with_net(const void *arg)
{
    struct jail_cfg cfg = { .userns_ok = true, .keep_net = true };
    bool has_file = access("/etc/resolv.conf", R_OK) == 0;
    u64 net = net_cookie();
    struct jail_report r;

    if (arg)
        become_user();
    enter(&cfg, &r, SPACES | 1 << JAIL_ROOT);
    need_inside(&r);
    NEED(r.code[JAIL_NET_NS] == JAIL_NOT_ASKED);
    NEED(net_cookie() == net);
    NEED(jail_seccomp(JAIL_IO_NET, NULL) == 0);
    if (has_file) {
        FILE *f = fopen("/etc/resolv.conf", "r");
        char line[4];

        NEED(f);
        (void)!fgets(line, sizeof(line), f);
        fclose(f);
        NEED(open("/etc/resolv.conf", O_RDONLY | O_CLOEXEC) >= 0);
    }
    NEED(open("/etc/passwd", O_RDONLY | O_CLOEXEC) < 0);
}

TEST(user_mode_network_keeps_net_and_name_servers)
{
    child_passes(with_net, "as a user");
    if (geteuid() == 0)
        child_passes(with_net, NULL);
}

/* As a container manager's filter: no namespaces. */
static void forbid_unshare(void)
{
    struct sock_filter ins[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_unshare, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog prog = { ARRAY_LEN(ins), ins };

    NEED(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
    NEED(syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &prog) == 0);
}

static void root_in_a_container(const void *)
{
    struct jail_cfg cfg = { .userns_ok = true };
    struct jail_report r;

    forbid_unshare();
    enter(&cfg, &r, 1 << JAIL_ROOT | 1 << JAIL_IDS);
    NEED(r.code[JAIL_MOUNT_NS] == -EPERM && r.code[JAIL_NET_NS] == -EPERM);
    need_inside(&r);
    NEED(getuid() == 65534);
}

TEST(root_where_namespaces_are_forbidden_has_a_deleted_directory_as_root)
{
    if (geteuid() != 0)
        test_skip("not root");
    child_passes(root_in_a_container, NULL);
}

static void closes(const void *)
{
    int a = memfd_create("a", 0), b = memfd_create("b", 0), c = memfd_create("c", 0);

    NEED(jail_close_fds((int[]){ b, 1, -1, b }, 4, NULL) == 0);
    NEED(fcntl(a, F_GETFD) < 0 && fcntl(b, F_GETFD) >= 0 && fcntl(c, F_GETFD) < 0 &&
         fcntl(2, F_GETFD) >= 0);
    NEED(jail_close_fds(NULL, 0, NULL) == 0);
    NEED(fcntl(b, F_GETFD) < 0 && fcntl(0, F_GETFD) >= 0 && fcntl(2, F_GETFD) >= 0);
}

TEST(close_fds_keeps_the_list_and_stdio)
{
    child_passes(closes, NULL);
}

TEST(report_says_what_was_and_what_was_not_possible)
{
    struct jail_report r = {};
    AUTO(strbuf) struct strbuf b = {};

    for (unsigned i = 0; i < JAIL_STEPS; i++)
        r.code[i] = JAIL_NOT_ASKED;
    r.code[JAIL_LIMITS] = r.code[JAIL_CAPS] = JAIL_DONE;
    r.code[JAIL_MOUNT_NS] = -EPERM;
    jail_report_text(&r, &b);
    CHECK_STR(
        b.text,
        "done: limits, no capabilities; not possible: mount namespace (Operation not permitted)");
}
