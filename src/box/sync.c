/*
 * box/sync.c: messages and files between the runtime and the process that becomes the container's.
 */
#include "box/sync.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

int sync_pair(int ret[2], struct err *e)
{
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ret) < 0)
        return err_errno(e, "make a socket pair");
    return 0;
}

static int send_msg(int fd, const struct sync_msg *m)
{
    ssize_t n;

    do
        n = send(fd, m, sizeof(*m), MSG_NOSIGNAL);
    while (n < 0 && errno == EINTR);
    return n < 0 ? -errno : 0;
}

int sync_send(int fd, enum sync_kind kind, pid_t pid)
{
    struct sync_msg m = { .kind = kind, .pid = pid };

    return send_msg(fd, &m);
}

void sync_fail(int fd, const struct err *err)
{
    struct sync_msg m = { .kind = SYNC_ERROR, .err = *err };

    send_msg(fd, &m);
}

int sync_wait(int fd, pid_t *ret_pid, struct err *e)
{
    struct sync_msg m;
    ssize_t n;

    do
        n = recv(fd, &m, sizeof(m), 0);
    while (n < 0 && errno == EINTR);
    if (n < 0)
        return err_errno(e, "wait for the container's process");
    if (n != sizeof(m))
        return err_set(e, -EPIPE, "the container's process ended while it was being made");
    if (m.kind == SYNC_ERROR) {
        m.err.text[sizeof(m.err.text) - 1] = 0;
        m.err.field[sizeof(m.err.field) - 1] = 0;
        if (e)
            *e = m.err;
        return m.err.code < 0 ? m.err.code : -EPROTO;
    }
    if (ret_pid)
        *ret_pid = m.pid;
    return (int)m.kind;
}

int sync_wait_go(int fd, pid_t *ret_pid, struct err *e)
{
    int r = sync_wait(fd, ret_pid, e);

    if (r < 0)
        return r;
    return r == SYNC_GO ? 0 : err_set(e, -EPROTO, "unexpected message %d", r);
}

int sync_send_fd(int socket, int fd, const char *word)
{
    union {
        char room[CMSG_SPACE(sizeof(int))];
        struct cmsghdr head;
    } control = {};
    struct iovec data = { (void *)(uintptr_t)word, strlen(word) };
    struct msghdr m = { .msg_iov = &data,
                        .msg_iovlen = 1,
                        .msg_control = &control,
                        .msg_controllen = sizeof(control) };

    control.head = (struct cmsghdr){ CMSG_LEN(sizeof(int)), SOL_SOCKET, SCM_RIGHTS };
    memcpy(CMSG_DATA(&control.head), &fd, sizeof(fd));
    return sendmsg(socket, &m, MSG_NOSIGNAL) < 0 ? -errno : 0;
}

int sync_take_fd(int socket)
{
    union {
        char room[CMSG_SPACE(sizeof(int))];
        struct cmsghdr head;
    } control = {};
    char word[64];
    struct iovec data = { word, sizeof(word) };
    struct msghdr m = { .msg_iov = &data,
                        .msg_iovlen = 1,
                        .msg_control = &control,
                        .msg_controllen = sizeof(control) };
    ssize_t n = recvmsg(socket, &m, MSG_CMSG_CLOEXEC);
    int fd;

    if (n < 0)
        return -errno;
    if (m.msg_controllen < CMSG_LEN(sizeof(int)) || control.head.cmsg_type != SCM_RIGHTS)
        return -EPIPE;
    memcpy(&fd, CMSG_DATA(&control.head), sizeof(fd));
    return fd;
}
