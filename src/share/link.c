/*
 * share/link.c: both ends of the link between a machine and the server of one of its folders, and the start of the server.
 */
#include "share/link.h"

#include "base/program.h"

#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <unistd.h>

extern char **environ;

enum { LINK_FD = 3 }; /* in the server */

union fd_message {
    struct cmsghdr head;
    char space[CMSG_SPACE(sizeof(int))];
};

/* ---- the server's end ---- */

static int reply_to(int link, void *bytes, size_t len, int fd)
{
    struct iovec iov = { bytes, len };
    union fd_message with = {};
    struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1 };

    if (fd >= 0) {
        m.msg_control = with.space;
        m.msg_controllen = sizeof(with.space);
        with.head = (struct cmsghdr){ .cmsg_len = CMSG_LEN(sizeof(int)),
                                      .cmsg_level = SOL_SOCKET,
                                      .cmsg_type = SCM_RIGHTS };
        memcpy(CMSG_DATA(&with.head), &fd, sizeof(fd));
    }
    return sendmsg(link, &m, MSG_NOSIGNAL) < 0 ? -errno : 0;
}

int share_tell(int link, const struct err *e)
{
    static char ready[1];
    struct err copy = e ? *e : (struct err){};

    return e ? reply_to(link, copy.text, strlen(copy.text), -1) : reply_to(link, ready, 1, -1);
}

int share_run(struct share *s, int link)
{
    static u64 asked[SHARE_ASK_MAX / sizeof(u64)], reply[SHARE_REPLY_MAX / sizeof(u64)];
    const struct share_ask *ask = (const struct share_ask *)asked;
    ssize_t n;
    int r = 0, fd;

    while (r >= 0 && (n = recv(link, asked, sizeof(asked), 0)) >= (ssize_t)sizeof(*ask)) {
        u32 len = 0;

        if (ask->reset)
            share_reset(s);
        else
            len = share_serve(s, ask + 1, (u32)n - (u32)sizeof(*ask), ask->room, reply, &fd);
        if (len > 0)
            r = reply_to(link, reply, len, fd);
    }
    return 0;
}

/* ---- the machine's end ---- */

ssize_t share_take(int link, void *buf, size_t size, int *ret_fd)
{
    struct iovec iov = { buf, size };
    union fd_message with = {};
    struct msghdr m = { .msg_iov = &iov,
                        .msg_iovlen = 1,
                        .msg_control = with.space,
                        .msg_controllen = sizeof(with.space) };
    ssize_t n = recvmsg(link, &m, MSG_CMSG_CLOEXEC);

    *ret_fd = -1;
    if (n < 0)
        return errno == EAGAIN || errno == EINTR ? -EAGAIN : 0;
    if (CMSG_FIRSTHDR(&m) && with.head.cmsg_type == SCM_RIGHTS &&
        with.head.cmsg_len == CMSG_LEN(sizeof(int)))
        memcpy(ret_fd, CMSG_DATA(&with.head), sizeof(*ret_fd));
    return n;
}

static int wait_ready(int link, struct err *e)
{
    char text[sizeof(e->text)];
    ssize_t n = recv(link, text, sizeof(text) - 1, 0);

    if (n <= 0)
        return err_set(e, -EIO, "its server ended before it served");
    text[n] = 0;
    return text[0] ? err_set(e, -EIO, "%s", text) : 0;
}

/* `link` becomes descriptor 3 of it; the others close on exec, or are closed by it (cmd/socle_share.c). */
static int spawn(int link, const struct share_start *how, struct err *e)
{
    AUTO(free) char *program = program_find("socle-share", "SOCLE_SHARE", SOCLE_LIBEXEC);
    AUTO(free) char *handles = str_new("%u", how->handles);
    const char *argv[8] = { program, "--dir", how->dir, "--handles", handles };
    u32 n = 5;
    posix_spawn_file_actions_t files;
    pid_t pid;
    int r;

    if (how->readonly)
        argv[n++] = "--readonly";
    if (how->no_jail)
        argv[n++] = "--no-jail";
    posix_spawn_file_actions_init(&files);
    posix_spawn_file_actions_adddup2(&files, link, LINK_FD);
    r = posix_spawn(&pid, program, &files, NULL, (char *const *)(uintptr_t)argv, environ);
    posix_spawn_file_actions_destroy(&files);
    return r ? err_code(e, -r, "start '%s'", program) : 0;
}

int share_spawn(const struct share_start *how, struct err *e)
{
    AUTO(fd) int ours = -1;
    AUTO(fd) int theirs = -1;
    int fds[2], r;

    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds) < 0)
        return err_errno(e, "make a socket pair");
    ours = fds[0];
    theirs = fds[1];
    r = spawn(theirs, how, e);
    if (r < 0)
        return r;
    fd_close(&theirs);
    r = wait_ready(ours, e);
    if (r >= 0 && fcntl(ours, F_SETFL, O_NONBLOCK) < 0)
        r = err_errno(e, "set a socket non-blocking");
    return r < 0 ? r : TAKE_FD(ours);
}
