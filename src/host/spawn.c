/*
 * host/spawn.c: starts socle-vm with what it inherits, and reads how it ended.
 */
#include "host/spawn.h"

#include "base/exit_status.h"
#include "base/program.h"
#include "os/spec.h"
#include "vm/spec.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

/* What the child keeps; the parent's copies are closed after the fork. */
struct inherit {
    int spec, console, control, messages;
    int log, cgroup; /* borrowed; -1: none */
    bool alone;
    int failed; /* a pipe that execve closes, or that takes its errno */
};

static void inherit_fini(struct inherit *in)
{
    fd_close(&in->spec);
    fd_close(&in->console);
    fd_close(&in->control);
    fd_close(&in->messages);
    fd_close(&in->failed);
}

void spawn_fini(struct spawn *s)
{
    fd_close(&s->pidfd);
    fd_close(&s->console);
    fd_close(&s->control);
    fd_close(&s->messages);
}

char *spawn_find(const char *name, const char *variable)
{
    return program_find(name, variable, SOCLE_LIBEXEC);
}

char *spawn_find_user(const char *name, const char *variable)
{
    return program_find(name, variable, SOCLE_BINDIR);
}

/* Our end does not block; both close on exec, and the child opens its own again. */
static int pair(int *ours, int *theirs, struct err *e)
{
    int fds[2];

    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) < 0)
        return err_errno(e, "make a socket pair");
    *ours = fds[0];
    *theirs = fds[1];
    if (fcntl(*ours, F_SETFL, O_NONBLOCK) < 0)
        return err_errno(e, "set a socket non-blocking");
    return 0;
}

/* The spec as JSON, with the descriptors that the child will have in place of the words. */
static char *spec_text(const struct vm_spec *spec, const struct inherit *in)
{
    json_t *j = conf_print(spec_fields, spec);
    char *text, *fds;

    if (in->console >= 0) {
        fds = str_new("fd:%d:%d", in->console, in->console);
        json_object_set_new(json_object_get(j, "console"), "backend", json_string(fds));
        free(fds);
    }
    if (in->control >= 0)
        json_object_set_new(j, "control_fd", json_integer(in->control));
    text = json_dumps(j, JSON_COMPACT);
    json_decref(j);
    return text;
}

/* `text` is freed. */
static int write_spec(char *text, struct inherit *in, struct err *e)
{
    int r;

    must(text);
    in->spec = memfd_create("socle-spec", MFD_CLOEXEC);
    r = in->spec < 0 ? -errno : fd_pwrite_all(in->spec, text, strlen(text), 0);
    free(text);
    return r < 0 ? err_code(e, r, "write the machine's description") : 0;
}

static int prepare(const struct vm_spec *spec, bool take_messages, struct spawn *s,
                   struct inherit *in, struct err *e)
{
    int r = in->alone ? 0 : pair(&s->control, &in->control, e);

    if (r >= 0 && strcmp(spec->console.backend, "stdio") == 0)
        r = pair(&s->console, &in->console, e);
    if (r >= 0 && take_messages)
        r = pair(&s->messages, &in->messages, e);
    return r < 0 ? r : write_spec(spec_text(spec, in), in, e);
}

/* Descriptor `fd` outlives execve. */
static void keep(int fd)
{
    if (fd >= 0)
        fcntl(fd, F_SETFD, 0);
}

static void default_signals(void)
{
    sigset_t none;

    /* SIGPIPE is the only one that we ignore; what we block is inherited too */
    sigaction(SIGPIPE, &(struct sigaction){ .sa_handler = SIG_DFL }, NULL);
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
}

/* In the child: of the group, or in the session, that spawn.h (3) says. */
static void settle(const struct inherit *in, pid_t parent)
{
    if (in->alone) {
        setsid();
        return;
    }
    setpgid(0, 0);
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    if (getppid() != parent)
        _exit(EXIT_STATUS_START); /* it went before we asked to be told */
}

/* In the child, before what takes time: what it does not need is not its.  A socled that is killed now leaves no locks of its own, of its folder
 * or of a disk that it copies, with a child that waits for its control group. */
static void shed(const struct inherit *in)
{
    const int keep[] = { in->spec, in->console, in->control, in->messages,
                         in->log,  in->cgroup,  in->failed };

    for (int fd = STDERR_FILENO + 1, next; fd >= 0; fd = next < 0 ? -1 : next + 1) {
        next = -1; /* the lowest that is kept, from here on */
        for (u32 i = 0; i < ARRAY_LEN(keep); i++)
            if (keep[i] >= fd && (next < 0 || keep[i] < next))
                next = keep[i];
        if (next != fd)
            (void)close_range((u32)fd, next < 0 ? ~0u : (u32)next - 1, 0);
    }
}

/* In the child. */
_Noreturn static void become(const char *program, const struct inherit *in, pid_t parent)
{
    char number[16];
    const char *const argv[] = { program, "--spec-fd", number, NULL };
    int null, code;

    if (in->alone) /* else a user may have handed in files, as /dev/fd/3 */
        shed(in);
    null = open("/dev/null", O_RDONLY | O_CLOEXEC);
    if (in->cgroup >= 0)
        (void)!write(in->cgroup, "0", 1); /* a machine outside its group runs, too */
    settle(in, parent);
    if (null >= 0)
        dup2(null, STDIN_FILENO); /* tidy: allow banned: it must survive execve */
    if (in->messages >= 0)
        dup2(in->messages, STDERR_FILENO); /* tidy: allow banned: it must survive execve */
    if (in->log >= 0) {
        dup2(in->log, STDOUT_FILENO); /* tidy: allow banned: it must survive execve */
        dup2(in->log, STDERR_FILENO); /* tidy: allow banned: it must survive execve */
    }
    keep(in->spec);
    keep(in->console);
    keep(in->control);
    default_signals();
    str_fmt(number, sizeof(number), "%d", in->spec);
    execv(program, (char *const *)(uintptr_t)argv);
    code = errno;
    (void)!write(in->failed, &code, sizeof(code));
    _exit(EXIT_STATUS_START);
}

/* 0 when execve was done: its end of the pipe is closed without a word. */
static int exec_result(int failed)
{
    int code = 0;
    ssize_t n;

    do
        n = read(failed, &code, sizeof(code));
    while (n < 0 && errno == EINTR);
    return n == (ssize_t)sizeof(code) ? -code : 0;
}

static int start(const char *program, struct inherit *in, struct spawn *s, struct err *e)
{
    AUTO(fd) int failed = -1;
    pid_t self = getpid();
    int fds[2], r;

    if (pipe2(fds, O_CLOEXEC) < 0)
        return err_errno(e, "make a pipe");
    failed = fds[0];
    in->failed = fds[1];
    s->pid = fork();
    if (s->pid < 0)
        return err_errno(e, "start a process");
    if (s->pid == 0)
        become(program, in, self);
    inherit_fini(in);
    r = exec_result(failed);
    if (r >= 0) {
        s->pidfd = (int)syscall(SYS_pidfd_open, s->pid, 0);
        r = s->pidfd < 0 ? -errno : 0;
    }
    if (r >= 0)
        return 0;
    kill(s->pid, SIGKILL);
    waitpid(s->pid, NULL, 0);
    return err_code(e, r, "start '%s'", program);
}

static struct inherit inherit_of(const struct spawn_how *how)
{
    return (struct inherit){
        -1, -1, -1, -1, how->alone ? how->log : -1, how->alone ? how->cgroup : -1, how->alone, -1
    };
}

/* `r`: is all there that the program is started with? */
static int finish(char *program, int r, struct inherit *in, struct spawn *s, struct err *e)
{
    if (r >= 0)
        r = start(program, in, s, e);
    free(program);
    inherit_fini(in);
    if (r < 0)
        spawn_fini(s);
    return r;
}

int spawn_start(const struct vm_spec *spec, const struct spawn_how *how, struct spawn *ret,
                struct err *e)
{
    struct inherit in = inherit_of(how);
    int r;

    *ret = (struct spawn){ .pidfd = -1, .console = -1, .control = -1, .messages = -1 };
    r = prepare(spec, how->take_messages, ret, &in, e);
    return finish(spawn_find("socle-vm", "SOCLE_VM"), r, &in, ret, e);
}

int spawn_os(const struct os_spec *spec, const struct spawn_how *how, struct spawn *ret,
             struct err *e)
{
    struct inherit in = inherit_of(how);
    json_t *j = conf_print(os_fields, spec);
    char *text = json_dumps(j, JSON_COMPACT);
    int r;

    must(text && how->alone);
    json_decref(j);
    *ret = (struct spawn){ .pidfd = -1, .console = -1, .control = -1, .messages = -1 };
    r = write_spec(text, &in, e);
    return finish(spawn_find("socle-os", "SOCLE_OS"), r, &in, ret, e);
}

int spawn_wait(struct spawn *s)
{
    int status;

    while (waitpid(s->pid, &status, 0) < 0)
        if (errno != EINTR)
            return EXIT_STATUS_VMM;
    if (WIFEXITED(status))
        return WEXITSTATUS(status);
    s->killed_by = WTERMSIG(status);
    return EXIT_STATUS_SIGNAL + WTERMSIG(status);
}
