/*
 * net/dial.c: connections to unix sockets of the host, for a process that can no longer open anything by path.
 *   (1) After fork the child makes system calls only: it may be the copy of a process with several threads.
 *   (2) It closes all that it inherited, and is a grandchild: nobody needs to wait for it.
 *   (3) It never waits for a peer: a listener with a full backlog is a refusal.
 */
#include "net/dial.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

struct question {
    u64 cookie;
    u32 number;
    u32 zero;
};

struct answer {
    u64 cookie;
    s32 code; /* 0 and a descriptor, or a negative errno */
    u32 zero;
};

enum { DIGITS_MAX = 10 }; /* of a u32 */

/* PREFIX_N without stdio.  False when it does not fit. */
static bool path_of(char *to, size_t size, const char *prefix, u32 number)
{
    char digits[DIGITS_MAX];
    size_t at = strlen(prefix), n = 0;

    do {
        digits[n++] = (char)('0' + number % 10);
        number /= 10;
    } while (number);
    if (at + 1 + n + 1 > size)
        return false;
    memcpy(to, prefix, at);
    to[at++] = '_';
    while (n > 0)
        to[at++] = digits[--n];
    to[at] = 0;
    return true;
}

static int connect_to(const char *prefix, u32 number)
{
    struct sockaddr_un sa = { .sun_family = AF_UNIX };
    int fd, code;

    if (!path_of(sa.sun_path, sizeof(sa.sun_path), prefix, number))
        return -ENAMETOOLONG;
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    if (connect(fd, (struct sockaddr *)&sa, sizeof(sa)) == 0)
        return fd;
    code = -errno;
    close(fd);
    return code;
}

/* 0, or a negative errno.  `passed` goes along when ≥ 0. */
static int reply(int to, const struct answer *a, int passed)
{
    union {
        char bytes[CMSG_SPACE(sizeof(int))];
        struct cmsghdr align;
    } control = {};
    struct iovec iov = { (void *)(uintptr_t)a, sizeof(*a) };
    struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1 };

    if (passed >= 0) {
        m.msg_control = control.bytes;
        m.msg_controllen = sizeof(control.bytes);
        control.align.cmsg_level = SOL_SOCKET;
        control.align.cmsg_type = SCM_RIGHTS;
        control.align.cmsg_len = CMSG_LEN(sizeof(int));
        memcpy(CMSG_DATA(&control.align), &passed, sizeof(passed));
    }
    return sendmsg(to, &m, MSG_NOSIGNAL) < 0 ? -errno : 0;
}

_Noreturn static void serve(int fd, const char *prefix)
{
    for (;;) {
        struct question q;
        struct answer a = {};
        ssize_t r = recv(fd, &q, sizeof(q), 0);
        int got;

        if (r < 0 && errno == EINTR)
            continue;
        if (r != sizeof(q))
            _exit(0); /* the asking end was closed */
        got = connect_to(prefix, q.number);
        a.cookie = q.cookie;
        a.code = min(got, 0);
        if (reply(fd, &a, got) < 0)
            _exit(1);
        if (got >= 0)
            close(got);
    }
}

_Noreturn static void child_main(int fd, const char *prefix)
{
    sigset_t all;
    pid_t again = fork();

    if (again != 0)
        _exit(again < 0);
    setsid(); /* signals of our terminal are not meant for it */
    sigfillset(&all);
    sigprocmask(SIG_SETMASK, &all, NULL); /* handlers of ours would find nothing to work with */
    if (fd > 0)
        close_range(0, (unsigned)fd - 1, 0);
    close_range((unsigned)fd + 1, ~0u, 0);
    serve(fd, prefix);
}

int dial_open(const char *prefix, struct err *e)
{
    AUTO(fd) int ours = -1;
    AUTO(fd) int theirs = -1;
    int pair[2], status;
    pid_t child;

    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
        return err_errno(e, "make a socket pair");
    ours = pair[0];
    theirs = pair[1];
    if (fcntl(ours, F_SETFL, O_NONBLOCK) < 0)
        return err_errno(e, "make a socket non-blocking");
    child = fork();
    if (child < 0)
        return err_errno(e, "make the process that connects to '%s_N'", prefix);
    if (child == 0)
        child_main(theirs, prefix);
    while (waitpid(child, &status, 0) < 0)
        if (errno != EINTR)
            return err_errno(e, "wait for a child");
    if (status != 0)
        return err_set(e, -EAGAIN, "make the process that connects to '%s_N': status 0x%x", prefix,
                       (unsigned)status);
    return TAKE_FD(ours);
}

int dial_ask(int fd, u64 cookie, u32 number)
{
    struct question q = { .cookie = cookie, .number = number };
    struct iovec iov = { &q, sizeof(q) };
    struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1 };

    return sendmsg(fd, &m, MSG_NOSIGNAL) < 0 ? -errno : 0;
}

int dial_answer(int fd, u64 *ret_cookie, int *ret_fd)
{
    union {
        char bytes[CMSG_SPACE(sizeof(int))];
        struct cmsghdr align;
    } control;
    struct answer a;
    struct iovec iov = { &a, sizeof(a) };
    struct msghdr m = { .msg_iov = &iov,
                        .msg_iovlen = 1,
                        .msg_control = control.bytes,
                        .msg_controllen = sizeof(control.bytes) };
    struct cmsghdr *c;
    ssize_t r = recvmsg(fd, &m, MSG_CMSG_CLOEXEC);

    if (r < 0)
        return errno == EAGAIN || errno == EINTR ? 0 : -errno;
    if (r != sizeof(a))
        return -EPIPE;
    *ret_cookie = a.cookie;
    *ret_fd = a.code;
    if (a.code < 0)
        return 1;
    c = CMSG_FIRSTHDR(&m);
    if (!c || c->cmsg_type != SCM_RIGHTS || c->cmsg_len != CMSG_LEN(sizeof(int)))
        *ret_fd = -EMFILE; /* we could not take it */
    else
        memcpy(ret_fd, CMSG_DATA(c), sizeof(*ret_fd));
    return 1;
}
