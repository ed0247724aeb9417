/*
 * box/listener.c: hands the descriptor of a seccomp filter to the agent that answers for it.
 * From the instant that the filter is loaded, a system call of this process may be one that waits for the agent, which does not
 * have the descriptor yet.  So another process sends it, which has no filter and shares our table of descriptors: it waits until
 * the number that the kernel will give is open.
 */
#include "box/listener.h"

#include "box/ns.h"
#include "box/sync.h"

#include <fcntl.h>
#include <linux/sched.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

static const char socket_name[] = "seccomp";

/* By descriptor: a path of a socket may be too long. */
static void place_of(const struct box_dir *d, struct sockaddr_un *ret)
{
    *ret = (struct sockaddr_un){ .sun_family = AF_UNIX };
    str_fmt(ret->sun_path, sizeof(ret->sun_path), "/proc/self/fd/%d/%s", d->fd, socket_name);
}

int listener_prepare(const struct box_dir *d, const struct oci_seccomp *spec, int *ret,
                     struct err *e)
{
    AUTO(fd) int fd = -1;
    struct sockaddr_un at;

    if (!box_filter_asks(spec))
        return 0;
    place_of(d, &at);
    fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0 || bind(fd, (struct sockaddr *)&at, sizeof(at)) < 0)
        return err_errno(e, "make the socket for linux.seccomp.listenerPath");
    *ret = TAKE_FD(fd);
    return 0;
}

int listener_connect(const struct oci_seccomp *spec, struct err *e)
{
    AUTO(fd) int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_un at = { .sun_family = AF_UNIX };

    if (!str_copy(at.sun_path, sizeof(at.sun_path), spec->listenerPath))
        return err_set(e, -EINVAL,
                       "linux.seccomp.listenerPath: a path of a socket has at most %zu bytes",
                       sizeof(at.sun_path) - 1);
    if (fd < 0 || connect(fd, (struct sockaddr *)&at, sizeof(at)) < 0)
        return err_errno(e, "linux.seccomp.listenerPath: connect to '%s'", spec->listenerPath);
    return TAKE_FD(fd);
}

int listener_offer(const struct box_dir *d, const struct oci_seccomp *spec, struct err *e)
{
    AUTO(fd) int agent = -1;
    AUTO(fd) int fd = -1;
    struct sockaddr_un at;
    int r;

    if (!box_filter_asks(spec))
        return 0;
    agent = listener_connect(spec, e);
    if (agent < 0)
        return agent;
    place_of(d, &at);
    fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || connect(fd, (struct sockaddr *)&at, sizeof(at)) < 0)
        return err_errno(e, "linux.seccomp.listenerPath: reach the container's process");
    r = sync_send_fd(fd, agent, "agent");
    return r < 0 ? err_code(e, r, "linux.seccomp.listenerPath: give it the connection") : 0;
}

int listener_take(int socket, struct err *e)
{
    int r = sync_take_fd(socket);

    return r < 0 ? err_code(e, r, "linux.seccomp.listenerPath: take the connection") : r;
}

/*
 * In the helper.  It closes both in any case, for the process, too: a call that waits is then answered by the agent or, without
 * one, fails.
 */
static _Noreturn void deliver(int agent, int listener, const char *text, pid_t parent)
{
    int r;

    prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
    while (fcntl(listener, F_GETFD) < 0) {
        if (getppid() != parent)
            _exit(1);
        poll(NULL, 0, 1);
    }
    r = sync_send_fd(agent, listener, text);
    close(listener);
    close(agent);
    _exit(r < 0 ? -r : 0);
}

/* The two lowest numbers that are free: the next two descriptors get them. */
static int next_two(int any, int ret[2])
{
    AUTO(fd) int a = fcntl(any, F_DUPFD_CLOEXEC, 0);
    AUTO(fd) int b = fcntl(any, F_DUPFD_CLOEXEC, 0);

    if (a < 0 || b < 0)
        return -errno;
    ret[0] = a;
    ret[1] = b;
    return 0;
}

int listener_load(const struct box_filter *filter, int agent, const char *text, struct err *e)
{
    int next[2] = { -1, -1 }, pidfd = -1, status = 0, r = next_two(agent, next);
    const pid_t us = getpid();
    pid_t pid;

    if (r < 0)
        return err_code(e, r, "linux.seccomp");
    pid = ns_clone(CLONE_FILES, -1, &pidfd);
    if (pid < 0)
        return err_code(e, pid, "linux.seccomp: clone a helper");
    if (pid == 0)
        deliver(agent, next[1], text, us);
    must(pidfd == next[0]);
    r = box_filter_load(filter, e);
    must(r < 0 || r == next[1]);
    if (r < 0)
        kill(pid, SIGKILL);
    while (waitpid(pid, &status, 0) < 0)
        if (errno != EINTR)
            return err_errno(e, "linux.seccomp: wait for a helper");
    if (r < 0)
        return r;
    r = WIFEXITED(status) ? -WEXITSTATUS(status) : -EIO;
    return r < 0 ? err_code(e, r, "linux.seccomp.listenerPath: send the descriptor") : 0;
}
