/*
 * box/supervise.c: signals and the terminal of a process in the foreground.
 */
#include "box/supervise.h"

#include "box/notify.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

static void passed_signals(sigset_t *set)
{
    static const int kept[] = { SIGCHLD, SIGSEGV, SIGBUS,  SIGFPE,  SIGILL,  SIGABRT, SIGTRAP,
                                SIGSYS,  SIGPIPE, SIGTTIN, SIGTTOU, SIGTSTP, SIGURG };

    sigfillset(set);
    for_each_row(s, kept)
        sigdelset(set, *s);
}

void supervise_block(void)
{
    sigset_t set;

    passed_signals(&set);
    sigprocmask(SIG_BLOCK, &set, NULL);
}

int supervise_status(int wait_status)
{
    return WIFSIGNALED(wait_status) ? 128 + WTERMSIG(wait_status) : WEXITSTATUS(wait_status);
}

static void copy_size(int master)
{
    struct winsize size;

    if (ioctl(STDIN_FILENO, TIOCGWINSZ, &size) == 0)
        ioctl(master, TIOCSWINSZ, &size);
}

static void pass_signal(int signals, int pidfd, int master)
{
    struct signalfd_siginfo info;

    if (read(signals, &info, sizeof(info)) != sizeof(info))
        return;
    if (info.ssi_signo == SIGWINCH && master >= 0)
        copy_size(master);
    else
        syscall(SYS_pidfd_send_signal, pidfd, (int)info.ssi_signo, NULL, 0);
}

/* False at the end of what there is to read. */
static bool copy(int from, int to)
{
    char buf[4096];
    ssize_t n = read(from, buf, sizeof(buf));

    return n > 0 && fd_write_all(to, buf, (size_t)n) == 0;
}

/* Standard input as it is typed; `old` is what it was.  False: it is no terminal. */
static bool make_raw(struct termios *old)
{
    struct termios raw;

    if (tcgetattr(STDIN_FILENO, old) < 0)
        return false;
    raw = *old;
    cfmakeraw(&raw);
    return tcsetattr(STDIN_FILENO, TCSANOW, &raw) == 0;
}

static void relay(int signals, int pidfd, int master, int notify)
{
    struct pollfd p[] = { { .fd = pidfd, .events = POLLIN },
                          { .fd = signals, .events = POLLIN },
                          { .fd = master, .events = POLLIN },
                          { .fd = master >= 0 ? STDIN_FILENO : -1, .events = POLLIN },
                          { .fd = notify, .events = POLLIN } };

    for (;;) {
        if (poll(p, ARRAY_LEN(p), -1) < 0 && errno != EINTR)
            return;
        if (p[1].revents)
            pass_signal(signals, pidfd, master);
        if (p[2].revents && !copy(master, STDOUT_FILENO))
            p[2].fd = -1;
        if (p[3].revents && !copy(STDIN_FILENO, master)) {
            static const char end = 4; /* Ctrl-D, as a terminal would */

            (void)!write(master, &end, 1);
            p[3].fd = -1;
        }
        /* We are the one to watch: signals come to us, and the end is ours. */
        if (p[4].revents && notify_pass(notify, getpid()))
            p[4].fd = -1;
        if (p[0].revents && (p[2].fd < 0 || !p[2].revents))
            return;
    }
}

int supervise(pid_t pid, int pidfd, int master, int notify, struct err *e)
{
    AUTO(fd) int signals = -1;
    struct termios old;
    bool raw = false;
    sigset_t set;
    int status;

    passed_signals(&set);
    signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    if (signals < 0)
        return err_errno(e, "signalfd");
    if (master >= 0) {
        copy_size(master);
        raw = make_raw(&old);
    }
    relay(signals, pidfd, master, notify);
    if (raw)
        tcsetattr(STDIN_FILENO, TCSANOW, &old);
    while (waitpid(pid, &status, 0) < 0)
        if (errno != EINTR)
            return err_errno(e, "wait for process %d", pid);
    return supervise_status(status);
}
