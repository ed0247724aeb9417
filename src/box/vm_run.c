/*
 * box/vm_run.c: one process in the guest.  The first has namespaces of its own, as a container's has, so that it is process 1 and does not
 * see the guest's other processes; others join those.
 *   (1) Who it is and what it may is done by box/process.h, as on a host; masks are left out: this kernel is the container's own.
 */
#include "box/vm_run.h"

#include "box/ns.h"
#include "box/path.h"
#include "box/process.h"
#include "box/term.h"
#include "box/vm_guest.h"
#include "box/vm_link.h"

#include <fcntl.h>
#include <linux/sched.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum { NAMESPACES = CLONE_NEWPID | CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWIPC };
enum { OURS, THEIRS };
enum { FIRST_SECONDS = 60 };

struct run {
    struct vm_link link;
    struct vm_shared *shared;
    struct oci spec;
    bool first;
    int in[2], out[2],
        err[2]; /* our end, the process's; with a terminal in[OURS] is its master, and in[THEIRS] the terminal */
    int said[2]; /* why it was not started */
    pid_t pid;
    int pidfd;
    struct strbuf input; /* that it has not taken yet */
    bool input_ended;
};

static void close_all(int fds[2])
{
    fd_close(&fds[OURS]);
    fd_close(&fds[THEIRS]);
}

/* ---- in the new process ---- */

/* The guest's root is a file system that cannot be left: ours covers it. */
static int take_root(struct err *e)
{
    if (chdir(VM_ROOT) < 0 || mount(".", "/", NULL, MS_MOVE, NULL) < 0 || chroot(".") < 0 ||
        chdir("/") < 0)
        return err_errno(e, "enter the root file system");
    (void)mkdir("/proc", 0755);
    return mount("proc", "/proc", "proc", MS_NOSUID | MS_NOEXEC | MS_NODEV, NULL) < 0
               ? err_errno(e, "mount '/proc'")
               : 0;
}

/* Nothing of the container has run yet, and the procfs was made a moment ago. */
static int set_sysctls(const struct oci_linux *l, struct err *e)
{
    for (u32 i = 0; i < l->sysctl.n; i++) {
        AUTO(free) char *path = str_new("/proc/sys/%s", l->sysctl.items[2 * i]);
        AUTO(fd) int fd = -1;
        int r;

        for (char *at = path; *at; at++)
            *at = *at == '.' ? '/' : *at;
        fd = open(path, O_WRONLY | O_CLOEXEC);
        r = fd < 0
                ? -errno
                : fd_write_all(fd, l->sysctl.items[2 * i + 1], strlen(l->sysctl.items[2 * i + 1]));
        if (r < 0)
            return err_code(e, r, "linux.sysctl: '%.60s'", l->sysctl.items[2 * i]);
    }
    return 0;
}

static int settle(const struct oci *spec, struct err *e)
{
    int r = take_root(e);

    if (r == 0 && spec->hostname && *spec->hostname &&
        sethostname(spec->hostname, strlen(spec->hostname)) < 0)
        r = err_errno(e, "hostname '%.64s'", spec->hostname);
    if (r == 0 && spec->domainname && *spec->domainname &&
        setdomainname(spec->domainname, strlen(spec->domainname)) < 0)
        r = err_errno(e, "domainname '%.64s'", spec->domainname);
    return r < 0 ? r : set_sysctls(&spec->os, e);
}

static int take_files(struct run *p, struct err *e)
{
    const int fds[] = { p->in[THEIRS], p->out[THEIRS], p->err[THEIRS] };

    if (p->spec.process.terminal)
        return term_take(p->in[THEIRS], e);
    for (int i = 0; i < 3; i++)
        if (dup2(fds[i], i) < 0) /* tidy: allow banned: it is to survive the exec */
            return err_errno(e, "descriptor %d", i);
    return 0;
}

static int become(struct run *p, struct err *e)
{
    struct launch launch = { .p = &p->spec.process,
                             .os = &p->spec.os,
                             .agent = -1,
                             .make_cwd = p->first,
                             .new_keyring = p->first };
    struct root root;
    int r = p->first ? settle(&p->spec, e) : 0;

    root_init(&root);
    if (r == 0 && setsid() < 0)
        r = err_errno(e, "new session");
    root.fd = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (r == 0)
        r = launch_prepare(&launch, &root, e);
    root_fini(&root);
    if (r == 0)
        r = launch_oom(getpid(), &p->spec.process, false, e);
    if (r == 0)
        r = launch_limits(0, &p->spec.process, e);
    if (r == 0)
        r = take_files(p, e);
    return r < 0 ? r : launch_exec(&launch, e);
}

_Noreturn static void child(struct run *p)
{
    struct err e = {};

    sigaction(SIGPIPE, &(struct sigaction){ .sa_handler = SIG_DFL }, NULL);
    (void)become(p, &e);
    (void)!write(p->said[THEIRS], &e, sizeof(e));
    _exit(VM_STATUS_FAILED);
}

/* Joins the first one's namespaces; the process is ours by CLONE_PARENT, and its number goes through `told`. */
_Noreturn static void between(struct run *p, int told)
{
    AUTO(fd) int first = (int)syscall(SYS_pidfd_open, atomic_load(&p->shared->first), 0);
    struct err e = {};
    int pidfd = -1;
    pid_t pid;

    if (first < 0 || setns(first, NAMESPACES) < 0) {
        err_errno(&e, "join the container");
        (void)!write(p->said[THEIRS], &e, sizeof(e));
        _exit(VM_STATUS_FAILED);
    }
    pid = ns_clone(CLONE_PARENT, -1, &pidfd);
    if (pid == 0)
        child(p);
    (void)!write(told, &pid, sizeof(pid));
    _exit(0);
}

/* ---- its parent ---- */

static int start_first(struct run *p, struct err *e)
{
    if (atomic_exchange(&p->shared->claimed, true))
        return err_set(e, -EEXIST, "there is a first process already");
    p->pid = ns_clone(NAMESPACES, -1, &p->pidfd);
    if (p->pid == 0)
        child(p);
    return p->pid < 0 ? ns_clone_failed(p->pid, "the first process", e) : 0;
}

static int start_other(struct run *p, struct err *e)
{
    int told[2];
    pid_t middle;

    if (pipe2(told, O_CLOEXEC) < 0)
        return err_errno(e, "make a pipe");
    middle = fork();
    if (middle == 0)
        between(p, told[1]);
    close(told[1]);
    if (middle < 0 || read(told[0], &p->pid, sizeof(p->pid)) != sizeof(p->pid))
        p->pid = -EIO;
    close(told[0]);
    if (middle > 0)
        (void)waitpid(middle, NULL, 0);
    if (p->pid < 0)
        return err_code(e, p->pid, "start a process");
    p->pidfd = (int)syscall(SYS_pidfd_open, p->pid, 0);
    return p->pidfd < 0 ? err_errno(e, "pidfd_open") : 0;
}

static int open_files(struct run *p, struct err *e)
{
    AUTO(free)
    char *pts = str_new("/proc/%d/root/dev/pts", (int)atomic_load(&p->shared->first));
    AUTO(fd) int dir = -1;
    int pipe_ends[2];

    if (pipe2(p->said, O_CLOEXEC) < 0)
        return err_errno(e, "make a pipe");
    if (p->spec.process.terminal) {
        dir = open(p->first ? VM_ROOT "/dev/pts" : pts, O_PATH | O_DIRECTORY | O_CLOEXEC);
        if (dir < 0)
            return err_errno(e, "process.terminal: open /dev/pts");
        p->in[THEIRS] = term_open(dir, &p->spec.process, &p->in[OURS], e);
        return min(p->in[THEIRS], 0);
    }
    if (pipe2(pipe_ends, O_CLOEXEC) < 0)
        return err_errno(e, "make a pipe");
    p->in[OURS] = pipe_ends[1];
    p->in[THEIRS] = pipe_ends[0];
    return pipe2(p->out, O_CLOEXEC) < 0 || pipe2(p->err, O_CLOEXEC) < 0
               ? err_errno(e, "make a pipe")
               : 0;
}

/* Who asks for a process before the first one runs waits for that. */
static int wait_first(const struct run *p, struct err *e)
{
    for (int n = 0; atomic_load(&p->shared->first) == 0; n++) {
        if (n > FIRST_SECONDS * 100)
            return err_set(e, -ETIMEDOUT, "the container's first process does not begin");
        (void)poll(NULL, 0, 10);
    }
    return 0;
}

static int unblock(const struct run *p, struct err *e)
{
    const int fds[] = { p->in[OURS], p->out[OURS], p->err[OURS] };

    for_each_row(fd, fds)
        if (*fd >= 0 && fcntl(*fd, F_SETFL, O_NONBLOCK) < 0)
            return err_errno(e, "a pipe");
    return 0;
}

static int start(struct run *p, struct err *e)
{
    struct err why = {};
    int r = p->first ? 0 : wait_first(p, e);

    if (r == 0)
        r = open_files(p, e);
    if (r == 0)
        r = p->first ? start_first(p, e) : start_other(p, e);
    fd_close(&p->in[THEIRS]);
    fd_close(&p->out[THEIRS]);
    fd_close(&p->err[THEIRS]);
    fd_close(&p->said[THEIRS]);
    if (r == 0 && read(p->said[OURS], &why, sizeof(why)) == sizeof(why))
        r = err_set(e, why.code ? why.code : -EIO, "%s", why.text);
    if (r == 0)
        r = unblock(p, e);
    if (r == 0 && p->first)
        atomic_store(&p->shared->first, p->pid);
    return r;
}

/* ---- while it runs ---- */

static void set_size(const struct run *p, const char *data, u32 len)
{
    u16 words[2];
    struct winsize size = {};

    if (len != sizeof(words) || !p->spec.process.terminal)
        return;
    memcpy(words, data, sizeof(words));
    size.ws_row = words[0];
    size.ws_col = words[1];
    (void)ioctl(p->in[OURS], TIOCSWINSZ, &size);
}

static void take_frame(struct run *p, int kind, const char *data, u32 len)
{
    switch (kind) {
    case VM_INPUT:
        if (len)
            strbuf_add_mem(&p->input, data, len);
        else
            p->input_ended = true;
        break;
    case VM_SIGNAL:
        if (len == 1 && data[0] > 0)
            (void)syscall(SYS_pidfd_send_signal, p->pidfd, (int)data[0], NULL, 0);
        break;
    case VM_SIZE:
        set_size(p, data, len);
        break;
    default:
        break;
    }
}

static void take_frames(struct run *p)
{
    const char *data;
    u32 len;
    int kind;

    while (p->input.len < VM_HELD_MAX && (kind = vm_link_next(&p->link, &data, &len)) > 0) {
        take_frame(p, kind, data, len);
        vm_link_drop(&p->link);
    }
}

static void give_input(struct run *p)
{
    ssize_t n = p->input.len ? write(p->in[OURS], p->input.text, p->input.len) : 0;

    if (n < 0 && errno != EAGAIN && errno != EINTR)
        n = (ssize_t)p->input.len; /* nobody reads it any more */
    if (n > 0) {
        memmove(p->input.text, p->input.text + n, p->input.len - (size_t)n);
        p->input.len -= (size_t)n;
    }
    if (p->input_ended && p->input.len == 0 && !p->spec.process.terminal)
        fd_close(&p->in[OURS]);
}

/* False: there is none now. */
static bool take_output(struct run *p, int *fd, enum vm_frame kind)
{
    char part[VM_PART_MAX];
    ssize_t n = *fd < 0 ? -1 : read(*fd, part, sizeof(part));

    if (*fd < 0 || (n < 0 && (errno == EAGAIN || errno == EINTR)))
        return false;
    if (n > 0)
        vm_link_add(&p->link, kind, part, (size_t)n);
    else
        fd_close(fd);
    return n > 0;
}

static int *output_of(struct run *p)
{
    return p->spec.process.terminal ? &p->in[OURS] : &p->out[OURS];
}

/* What came is taken first, as far as there is room for it: frames that are here already wake nobody. */
static void take_all(struct run *p)
{
    const char *data;
    u32 len;

    do {
        take_frames(p);
        if (p->in[OURS] >= 0)
            give_input(p);
        else
            p->input.len = 0; /* nobody reads it any more */
    } while (p->input.len < VM_HELD_MAX && vm_link_next(&p->link, &data, &len) > 0);
}

/* True: it has ended. */
static bool turn(struct run *p)
{
    const bool terminal = p->spec.process.terminal, room = vm_link_has_room(&p->link);
    short reads = 0, writes = 0;

    take_all(p);
    reads = room ? POLLIN : 0;
    writes = p->input.len ? POLLOUT : 0;

    struct pollfd fds[] = {
        { .fd = p->pidfd, .events = POLLIN },
        { .fd = p->link.fd,
          .events = (short)((p->input.len < VM_HELD_MAX ? POLLIN : 0) |
                            (p->link.out.len ? POLLOUT : 0)) },
        { .fd = p->in[OURS], .events = (short)((terminal ? reads : 0) | writes) },
        { .fd = terminal || !room ? -1 : p->out[OURS], .events = POLLIN },
        { .fd = terminal || !room ? -1 : p->err[OURS], .events = POLLIN },
    };

    if (poll(fds, ARRAY_LEN(fds), -1) < 0)
        return false;
    if (vm_link_pump(&p->link) < 0 || p->link.ended)
        return true; /* who asked is gone, and so what it asked for */
    if (room) {
        (void)take_output(p, output_of(p), VM_OUTPUT);
        (void)take_output(p, &p->err[OURS], VM_ERROR);
    }
    return fds[0].revents;
}

/* All frames that are there go out, as long as the host takes them. */
static void flush(struct run *p)
{
    while (p->link.out.len > 0 && !p->link.ended) {
        struct pollfd out = { .fd = p->link.fd, .events = POLLOUT };

        if (poll(&out, 1, -1) < 0 && errno != EINTR)
            return;
        if (vm_link_pump(&p->link) < 0)
            return;
    }
}

static void finish(struct run *p)
{
    int status = 0;
    u8 code;

    (void)syscall(SYS_pidfd_send_signal, p->pidfd, SIGKILL, NULL,
                  0); /* it has ended, or who asked is gone */
    while (waitpid(p->pid, &status, __WALL) < 0 && errno == EINTR)
        ;
    while (take_output(p, output_of(p), VM_OUTPUT) || take_output(p, &p->err[OURS], VM_ERROR))
        if (!vm_link_has_room(&p->link))
            flush(p);
    code = (u8)(WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status));
    vm_link_add(&p->link, VM_ENDED, &code, sizeof(code));
    flush(p);
}

/* ---- from begin to end ---- */

static int parse(struct run *p, const char *text, size_t len, struct err *e)
{
    struct vm_process ask = {};
    int r = conf_parse_text(vm_process_fields, &ask, text, len, e);

    if (r >= 0)
        r = oci_parse(&p->spec, ask.config, strlen(ask.config), e);
    p->first = !ask.process;
    if (r >= 0 && ask.process) {
        conf_fini(oci_process_fields, &p->spec.process);
        conf_defaults(oci_process_fields, &p->spec.process);
        r = conf_parse_text(oci_process_fields, &p->spec.process, ask.process, strlen(ask.process),
                            e);
    }
    conf_fini(vm_process_fields, &ask);
    return min(r, 0);
}

static int take_question(struct run *p, struct err *e)
{
    const char *data;
    u32 len;
    int kind, r;

    while ((kind = vm_link_next(&p->link, &data, &len)) == 0) {
        struct pollfd in = { .fd = p->link.fd, .events = POLLIN };

        (void)poll(&in, 1, -1);
        if (vm_link_pump(&p->link) < 0 || p->link.ended)
            return err_set(e, -EPIPE, "the host is gone");
    }
    if (kind != VM_PROCESS)
        return err_set(e, -EPROTO, "a process is to come first");
    r = parse(p, data, len, e);
    vm_link_drop(&p->link);
    return r;
}

void vm_run(int link, struct vm_shared *shared)
{
    struct run p = { .shared = shared,
                     .in = { -1, -1 },
                     .out = { -1, -1 },
                     .err = { -1, -1 },
                     .said = { -1, -1 },
                     .pidfd = -1 };
    struct err e = {};
    int r;

    sigaction(SIGPIPE, &(struct sigaction){ .sa_handler = SIG_IGN }, NULL);
    vm_link_init(&p.link, link, VM_PROCESS_MAX);
    r = take_question(&p, &e);
    if (r == 0)
        r = start(&p, &e);
    if (r < 0) {
        vm_link_add(&p.link, VM_FAILED, e.text, strlen(e.text));
        flush(&p);
    } else {
        while (!turn(&p))
            ;
        finish(&p);
    }
    close_all(p.in);
    close_all(p.out);
    close_all(p.err);
    close_all(p.said);
    fd_close(&p.pidfd);
    strbuf_fini(&p.input);
    vm_link_fini(&p.link);
    oci_fini(&p.spec);
}
