/*
 * host/shell.c: a login shell for each client that may have one, on a terminal; and that nothing of it is left when the client went.
 *
 *   free → connected (a client, no program yet) → runs → ended (the client is told, and goes) → free
 *                                                 runs → leaving (its client went: SIGHUP) → free, by SIGKILL if it must be
 */
#include "host/shell.h"

#include "base/clock.h"
#include "conf/conf.h"
#include "os/run.h"

#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum { LOOK_MS = 100, CLOSE_MS = 500, STATUS_NOT_STARTED = 127 };

struct shell {
    struct shells *all;
    struct os_run *run; /* NULL: the client is gone */
    pid_t pid;          /* of the leader of its session, which is not reaped; 0: none */
    int pidfd;
    struct loop_fd watch;
    u64 kill_ns; /* leaving: when */
};

struct shells {
    struct os_runner by;
    struct shell one[SHELLS_MAX];
    uv_timer_t look; /* runs while one is leaving */
};

/* The first frame. */
struct wish {
    bool terminal;
    u32 rows, columns;
};

/* clang-format off */
static const struct field wish_fields[] = {
    FIELD_BOOL(wish, terminal, "it has a terminal; else three pipes", .dflt = true),
    FIELD_INT(wish, rows, "of the terminal", .dflt = 24, .min = 1, .max = 10000),
    FIELD_INT(wish, columns, "of the terminal", .dflt = 80, .min = 1, .max = 10000),
    {},
};
/* clang-format on */

/* ---- a session ---- */

/* Sends `sig` to all of a session that live, its leader's corpse aside; how many there are. */
static u32 signal_session(pid_t leader, int sig)
{
    DIR *d = opendir("/proc");
    const struct dirent *entry;
    u32 n = 0;
    u64 pid;

    while (d && (entry = readdir(d)))
        if (str_u64(entry->d_name, &pid) == 0 && getsid((pid_t)pid) == leader) {
            kill((pid_t)pid, sig);
            n++;
        }
    if (d)
        closedir(d);
    return n;
}

static bool is_dead(const struct shell *s)
{
    struct pollfd p = { .fd = s->pidfd, .events = POLLIN };

    return poll(&p, 1, 0) > 0;
}

/* Its leader has ended: its number may be somebody else's from now on. */
static int reap(struct shell *s)
{
    int status = 0;

    while (waitpid(s->pid, &status, 0) < 0 && errno == EINTR)
        ;
    loop_fd_close(&s->watch);
    fd_close(&s->pidfd);
    s->pid = 0;
    return status;
}

static void on_look(uv_timer_t *t)
{
    struct shells *all = t->data;
    bool more = false;

    for_each_row(s, all->one) {
        if (!s->pid || s->run)
            continue;
        /* the corpse of the leader is one of them */
        if (clock_mono_ns() >= s->kill_ns)
            signal_session(s->pid, SIGKILL);
        if (is_dead(s) && (signal_session(s->pid, 0) <= 1 || clock_mono_ns() >= s->kill_ns))
            reap(s);
        more |= s->pid != 0;
    }
    if (!more)
        uv_timer_stop(t);
}

static void on_end(struct loop_fd *f, int events [[maybe_unused]])
{
    struct shell *s = f->arg;

    if (s->run)
        os_run_ended(s->run, reap(s));
    else
        loop_fd_close(&s->watch); /* on_look takes it from there */
}

/* The client went; the terminal is closed by now. */
static void gone(void *arg, pid_t pid)
{
    struct shell *s = arg;

    s->run = NULL;
    if (pid <= 0)
        return;
    signal_session(s->pid, SIGHUP);
    s->kill_ns = clock_mono_ns() + SHELL_KILL_MS * NSEC_PER_MSEC;
    uv_timer_start(&s->all->look, on_look, LOOK_MS, LOOK_MS);
}

/* ---- its start ---- */

/* What the child needs, made before the fork: other threads may have any lock then. */
struct login {
    char *program, *name, *home; /* name: "-bash" */
    char *env[9];
};

static void login_fini(struct login *l)
{
    free(l->program);
    free(l->name);
    free(l->home);
    for (u32 i = 0; l->env[i]; i++)
        free(l->env[i]);
}

static int login_of(uid_t uid, struct login *l, struct err *e)
{
    const struct passwd *p = getpwuid(uid);
    const char *lang = getenv("LANG"), *base;
    u32 n = 0;

    if (!p)
        return err_set(e, -ENOENT, "user %u, as whom we run, is not in the list of users", uid);
    l->program = xdup(p->pw_shell && p->pw_shell[0] ? p->pw_shell : "/bin/sh");
    base = strrchr(l->program, '/');
    l->name = str_new("-%s", base ? base + 1 : l->program);
    l->home = xdup(p->pw_dir && p->pw_dir[0] == '/' ? p->pw_dir : "/");
    l->env[n++] = xdup("TERM=xterm-256color");
    l->env[n++] = str_new("HOME=%s", l->home);
    l->env[n++] = str_new("USER=%s", p->pw_name);
    l->env[n++] = str_new("LOGNAME=%s", p->pw_name);
    l->env[n++] = str_new("SHELL=%s", l->program);
    l->env[n++] =
        xdup(uid == 0 ? "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
                      : "PATH=/usr/local/bin:/usr/bin:/bin");
    l->env[n++] = str_new("LANG=%s", lang && lang[0] ? lang : "C.UTF-8");
    must(n < ARRAY_LEN(l->env));
    return 0;
}

/* What a shell has as its input, output and errors; -1: none yet.  Of a terminal `theirs` are not open: the child opens it by its name. */
struct ends {
    int ours[3], theirs[3];
    char terminal[64]; /* "": pipes */
};

static void ends_fini(struct ends *x)
{
    for (u32 i = 0; i < 3; i++) {
        fd_close(&x->ours[i]);
        fd_close(&x->theirs[i]);
    }
}

/* In the child: its terminal is that of its session. */
static int take_terminal(const char *name)
{
    const int fd = open(name, O_RDWR | O_CLOEXEC);

    return fd < 0 || ioctl(fd, TIOCSCTTY, 0) < 0 ? -1 : fd;
}

/* In the child.  From the fork on nothing that may need a lock: other threads had it. */
_Noreturn static void become(const struct login *l, const struct ends *x)
{
    char *const argv[] = { l->name, NULL };
    int terminal = -1;

    for (int sig = 1; sig < NSIG; sig++)
        (void)sigaction(sig, &(struct sigaction){ .sa_handler = SIG_DFL }, NULL);
    (void)sigprocmask(SIG_SETMASK, &(sigset_t){}, NULL);
    setsid();
    if (x->terminal[0] && (terminal = take_terminal(x->terminal)) < 0)
        _exit(STATUS_NOT_STARTED);
    for (int to = 0; to < 3; to++)
        if (dup3(terminal >= 0 ? terminal : x->theirs[to], to, 0) < 0)
            _exit(STATUS_NOT_STARTED);
    if (close_range(3, ~0u, 0) < 0)
        _exit(STATUS_NOT_STARTED);
    umask(022);
    (void)prctl(PR_SET_PDEATHSIG, SIGHUP); /* as when the line breaks */
    if (chdir(l->home) < 0 && chdir("/") < 0)
        _exit(STATUS_NOT_STARTED);
    execve(l->program, argv, l->env);
    fd_write_all(2, "socled: this shell cannot be started\r\n", 38);
    _exit(STATUS_NOT_STARTED);
}

/* One descriptor is read and written; the loop watches each way by one of its own. */
static int open_terminal(const struct wish *wish, struct ends *x, struct err *e)
{
    const struct winsize w = { .ws_row = (u16)wish->rows, .ws_col = (u16)wish->columns };
    const int master = x->ours[1] = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);

    if (master < 0 || grantpt(master) < 0 || unlockpt(master) < 0 ||
        ptsname_r(master, x->terminal, sizeof(x->terminal)) != 0 ||
        ioctl(master, TIOCSWINSZ, &w) < 0 || fcntl(master, F_SETFL, O_NONBLOCK) < 0 ||
        (x->ours[0] = fcntl(master, F_DUPFD_CLOEXEC, 3)) < 0)
        return err_errno(e, "make a terminal");
    return 0;
}

static int open_pipes(struct ends *x, struct err *e)
{
    int fds[2];

    for (u32 i = 0; i < 3; i++) {
        if (pipe2(fds, O_CLOEXEC) < 0)
            return err_errno(e, "make a pipe");
        x->ours[i] = fds[i == 0];
        x->theirs[i] = fds[i != 0];
        if (fcntl(x->ours[i], F_SETFL, O_NONBLOCK) < 0)
            return err_errno(e, "make a pipe");
    }
    return 0;
}

/* `s` has a leader from now on, unless it fails. */
static int fork_shell(struct shell *s, const struct login *l, const struct ends *x, struct err *e)
{
    int r;

    s->pid = fork();
    if (s->pid == 0)
        become(l, x);
    if (s->pid < 0) {
        s->pid = 0;
        return err_errno(e, "start a shell");
    }
    s->pidfd = (int)syscall(SYS_pidfd_open, s->pid, 0);
    r = s->pidfd < 0 ? err_errno(e, "watch the shell")
                     : loop_fd_open(s->all->by.loop, &s->watch, s->pidfd, UV_READABLE, on_end, s);
    if (r < 0) {
        kill(s->pid, SIGKILL);
        reap(s);
    }
    return r;
}

static int start(void *arg, const u8 *text, size_t len, struct os_started *ret, struct err *e)
{
    struct shell *s = arg;
    struct login l = {};
    struct wish wish = {};
    struct ends x = { { -1, -1, -1 }, { -1, -1, -1 }, "" };
    int r = conf_parse_text(wish_fields, &wish, (const char *)text, len, e);

    if (r >= 0)
        r = login_of(geteuid(), &l, e);
    if (r >= 0)
        r = wish.terminal ? open_terminal(&wish, &x, e) : open_pipes(&x, e);
    if (r >= 0)
        r = fork_shell(s, &l, &x, e);
    if (r >= 0)
        *ret = (struct os_started){ s->pid, wish.terminal, TAKE_FD(x.ours[0]), TAKE_FD(x.ours[1]),
                                    TAKE_FD(x.ours[2]) };
    ends_fini(&x);
    login_fini(&l);
    conf_fini(wish_fields, &wish);
    return r;
}

/* ---- all ---- */

struct shells *shells_new(struct loop *l)
{
    struct shells *all = xnew(struct shells);

    *all = (struct shells){ .by = { l, start, gone } };
    for_each_row(s, all->one)
        *s = (struct shell){ .all = all, .pidfd = -1 };
    uv_timer_init(&l->uv, &all->look);
    all->look.data = all;
    return all;
}

int shells_open(struct shells *all, struct err *e)
{
    int fds[2];

    for_each_row(s, all->one) {
        if (s->run || s->pid)
            continue;
        if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds) < 0)
            return err_errno(e, "make a socket pair");
        s->run = os_run_new(&all->by, s, fds[1]);
        if (s->run)
            return fds[0];
        close(fds[0]);
        return err_set(e, -ENOMEM, "the shell's client cannot be watched");
    }
    return err_set(e, -EAGAIN, "%d shells of the host are open; more are not allowed", SHELLS_MAX);
}

static void on_closed(uv_handle_t *h)
{
    free(h->data);
}

void shells_free(struct shells *all)
{
    const u64 end = clock_mono_ns() + CLOSE_MS * NSEC_PER_MSEC;

    if (!all)
        return;
    for_each_row(s, all->one)
        if (s->run)
            os_run_free(s->run);
    for_each_row(s, all->one) {
        if (!s->pid)
            continue;
        while (!is_dead(s) && clock_mono_ns() < end)
            (void)poll(NULL, 0, 10);
        signal_session(s->pid, SIGKILL);
        reap(s);
    }
    uv_timer_stop(&all->look);
    uv_close((uv_handle_t *)&all->look, on_closed);
}
