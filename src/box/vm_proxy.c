/*
 * box/vm_proxy.c: one process of a machine, seen from the host.
 */
#include "box/vm_proxy.h"

#include "box/caps.h"
#include "box/vm_link.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

enum { ANSWER_MAX = 32, ANSWER_MS = 1000, TRY_MS = 20, BOOT_SECONDS = 180 };

/* "OK PORT\n" comes when the guest's program has accepted; an end before it says that there is none. */
static int wait_accepted(int fd)
{
    char text[ANSWER_MAX] = "";
    size_t n = 0;

    while (n < sizeof(text) - 1) {
        struct pollfd p = { .fd = fd, .events = POLLIN };
        int r = poll(&p, 1, ANSWER_MS);

        if (r < 0 && errno == EINTR)
            continue;
        if (r <= 0 || read(fd, text + n, 1) != 1)
            return -EAGAIN;
        if (text[n++] == '\n')
            return str_starts(text, "OK ") ? 0 : -EAGAIN;
    }
    return -EAGAIN;
}

/* The connection; -EAGAIN: it does not answer yet. */
static int connect_guest(const char *path, struct err *e)
{
    AUTO(fd) int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    AUTO(free) char *ask = str_new("CONNECT %d\n", VM_PORT);
    struct sockaddr_un at = { .sun_family = AF_UNIX };

    if (fd < 0)
        return err_errno(e, "make a socket");
    if (!str_copy(at.sun_path, sizeof(at.sun_path), path))
        return err_set(e, -ENAMETOOLONG, "socket '%.120s': a path of one has at most %zu bytes",
                       path, sizeof(at.sun_path) - 1);
    if (connect(fd, (struct sockaddr *)&at, sizeof(at)) < 0 ||
        fd_write_all(fd, ask, strlen(ask)) < 0 || wait_accepted(fd) < 0 ||
        fcntl(fd, F_SETFL, O_NONBLOCK) < 0)
        return err_set(e, -EAGAIN, "its machine does not answer");
    return TAKE_FD(fd);
}

/* 0; or the signal that wants us to end.  Nobody is in the guest yet who could get it. */
static int wait_a_bit(int signals, const struct vm_waiting *w)
{
    struct pollfd p = { .fd = signals, .events = POLLIN };
    struct signalfd_siginfo info;

    if (poll(&p, 1, TRY_MS) <= 0 || read(signals, &info, sizeof(info)) != sizeof(info))
        return 0;
    if (info.ssi_signo == SIGCHLD && w->on_child)
        w->on_child();
    return info.ssi_signo == SIGTERM || info.ssi_signo == SIGINT || info.ssi_signo == SIGHUP
               ? (int)info.ssi_signo
               : 0;
}

int vm_proxy_reach(const char *path, int signals, const struct vm_waiting *w, int *ret_signal,
                   struct err *e)
{
    const time_t began = time(NULL);
    int r;

    *ret_signal = 0;
    while ((r = connect_guest(path, e)) == -EAGAIN) {
        *ret_signal = wait_a_bit(signals, w);
        if (*ret_signal)
            return -EINTR;
        if (w->is_gone(w->arg))
            return err_set(e, -ESRCH, "its machine ended");
        if (time(NULL) - began > BOOT_SECONDS)
            return err_set(
                e, -ETIMEDOUT,
                "its machine did not answer in %d s: console.log beside '%.120s' may say why",
                BOOT_SECONDS, path);
    }
    return r;
}

int vm_proxy_signals(struct err *e)
{
    sigset_t all;
    int fd;

    sigfillset(&all);
    sigprocmask(SIG_SETMASK, &all, NULL);
    fd = signalfd(-1, &all, SFD_CLOEXEC | SFD_NONBLOCK);
    return fd < 0 ? err_errno(e, "take signals") : fd;
}

int vm_proxy_drop_rights(u64 keep, struct err *e)
{
    const struct caps caps = { .effective = keep, .permitted = keep };
    int r = prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ? -errno : caps_set(&caps);

    return r < 0 ? err_code(e, r, "give up rights") : 0;
}

struct proxy {
    struct vm_link link;
    int signals;
    bool input; /* is there more of it? */
    void (*on_child)(void);
};

static void add_size(struct proxy *p)
{
    struct winsize size;
    u16 words[2];

    if (ioctl(STDIN_FILENO, TIOCGWINSZ, &size) < 0)
        return;
    words[0] = size.ws_row;
    words[1] = size.ws_col;
    vm_link_add(&p->link, VM_SIZE, words, sizeof(words));
}

static void take_signals(struct proxy *p)
{
    struct signalfd_siginfo info;
    u8 number;

    while (read(p->signals, &info, sizeof(info)) == sizeof(info)) {
        number = (u8)info.ssi_signo;
        switch (number) {
        case SIGCHLD:
            if (p->on_child)
                p->on_child();
            break;
        case SIGWINCH:
            add_size(p);
            break;
        case SIGPIPE:
        case SIGTTIN:
        case SIGTTOU:
        case SIGTSTP:
        case SIGCONT: /* of this process, not of that one */
            break;
        default:
            vm_link_add(&p->link, VM_SIGNAL, &number, sizeof(number));
        }
    }
}

static void take_input(struct proxy *p)
{
    char part[VM_PART_MAX];
    ssize_t n = read(STDIN_FILENO, part, sizeof(part));

    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    p->input = n > 0;
    vm_link_add(&p->link, VM_INPUT, part, n > 0 ? (size_t)n : 0);
}

/* Status when it ended, -EAGAIN when there is more to come. */
static int take_frame(int kind, const char *data, u32 len, struct err *e)
{
    switch (kind) {
    case VM_OUTPUT:
    case VM_ERROR: /* who does not read it holds the guest's program up, as a pipe would; nobody to read it is no error of ours */
        (void)!fd_write_all(kind == VM_OUTPUT ? STDOUT_FILENO : STDERR_FILENO, data, len);
        return -EAGAIN;
    case VM_ENDED:
        return len == 1 ? (u8)data[0] : err_set(e, -EBADMSG, "its machine says no status");
    case VM_FAILED:
        return err_set(e, -ENOENT, "%.*s", (int)min(len, 200u), data);
    default:
        return err_set(e, -EBADMSG, "its machine says what only we may");
    }
}

static int take_frames(struct proxy *p, struct err *e)
{
    const char *data;
    u32 len;
    int kind, r;

    while ((kind = vm_link_next(&p->link, &data, &len)) > 0) {
        r = take_frame(kind, data, len, e);
        if (r != -EAGAIN)
            return r;
        vm_link_drop(&p->link);
    }
    if (kind < 0)
        return err_set(e, kind, "its machine says what is no frame");
    return p->link.ended ? err_set(e, -EPIPE, "its machine ended") : -EAGAIN;
}

static int turn(struct proxy *p, struct err *e)
{
    struct pollfd fds[] = {
        { .fd = p->signals, .events = POLLIN },
        { .fd = p->link.fd, .events = (short)(POLLIN | (p->link.out.len ? POLLOUT : 0)) },
        { .fd = p->input && vm_link_has_room(&p->link) ? STDIN_FILENO : -1, .events = POLLIN },
    };

    if (poll(fds, ARRAY_LEN(fds), -1) < 0)
        return errno == EINTR ? -EAGAIN : err_errno(e, "wait");
    if (fds[0].revents)
        take_signals(p);
    if (fds[2].revents)
        take_input(p);
    if (vm_link_pump(&p->link) < 0)
        return err_set(e, -EPIPE, "its machine ended");
    return take_frames(p, e);
}

int vm_proxy_run(int link, int signals, const char *process, void (*on_child)(void), struct err *e)
{
    struct proxy p = { .signals = signals, .input = true, .on_child = on_child };
    struct termios raw;
    int r;

    vm_link_init(&p.link, link, VM_PART_MAX);
    vm_link_add(&p.link, VM_PROCESS, process, strlen(process));
    /* The guest's terminal does what a terminal does; ours only carries. */
    if (tcgetattr(STDIN_FILENO, &raw) == 0) {
        cfmakeraw(&raw);
        (void)tcsetattr(STDIN_FILENO, TCSANOW, &raw);
        add_size(&p);
    }
    do
        r = turn(&p, e);
    while (r == -EAGAIN);
    vm_link_fini(&p.link);
    return r;
}
