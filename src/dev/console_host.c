/*
 * dev/console_host.c: opens what is behind a console: standard input and output, given fds, a pseudo-terminal, a socket, a file.
 *   (1) O_NONBLOCK belongs to an open file, not to an fd, and a terminal is shared with the shell that started us.  So terminals
 *       and pipes are opened anew; what cannot be (a socket) gets its flags back when we close.
 *   (2) A confined process cannot remove files: a socket stays when we end, and is replaced when someone listens there again.
 */
#include "dev/console_host.h"

#include "base/base.h"

#include "dev/console.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <termios.h>
#include <unistd.h>

enum { FD_MAX = 1024 * 1024 };

/* "N" or "IN:OUT". */
static int parse_fds(const char *text, int *ret_in, int *ret_out)
{
    char first[16];
    const char *colon = strchr(text, ':');
    u64 in, out;

    if (!str_fmt(first, sizeof(first), "%.*s", colon ? (int)(colon - text) : 15, text) ||
        str_u64(first, &in) < 0 || str_u64(colon ? colon + 1 : first, &out) < 0 || in > FD_MAX ||
        out > FD_MAX)
        return -EINVAL;
    *ret_in = (int)in;
    *ret_out = (int)out;
    return 0;
}

/* An fd of ours for what `fd` is: not blocking, unless it is a regular file. */
static int take_fd(int fd, int access, int *ret_flags, struct err *e)
{
    struct stat st;
    char path[32];
    int own, flags;

    if (fstat(fd, &st) < 0)
        return err_errno(e, "file descriptor %d", fd);
    if (S_ISCHR(st.st_mode) || S_ISFIFO(st.st_mode)) {
        str_fmt(path, sizeof(path), "/proc/self/fd/%d", fd);
        own = open(path, access | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
        if (own >= 0)
            return own;
    }
    own = fcntl(fd, F_DUPFD_CLOEXEC, 3);
    if (own < 0)
        return err_errno(e, "file descriptor %d", fd);
    flags = fcntl(own, F_GETFL);
    if (S_ISREG(st.st_mode) || flags < 0 || flags & O_NONBLOCK)
        return own;
    fcntl(own, F_SETFL, flags | O_NONBLOCK);
    *ret_flags = flags;
    return own;
}

static bool is_file(int fd)
{
    struct stat st;

    return fstat(fd, &st) == 0 && S_ISREG(st.st_mode);
}

static int open_fds(struct console_host *h, int in, int out, struct err *e)
{
    h->waits = true;
    h->in = take_fd(in, in == out ? O_RDWR : O_RDONLY, &h->in_flags, e);
    if (h->in < 0)
        return h->in;
    h->out = in == out ? h->in : take_fd(out, O_WRONLY, &h->out_flags, e);
    if (h->out < 0)
        return h->out;
    h->to_file = is_file(h->out);
    return 0;
}

static int open_pty(struct console_host *h, struct err *e)
{
    struct termios mode;

    h->in = h->out = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC | O_NONBLOCK);
    if (h->in < 0 || grantpt(h->in) < 0 || unlockpt(h->in) < 0 ||
        ptsname_r(h->in, h->pty, sizeof(h->pty)) != 0)
        return err_errno(e, "make a pseudo-terminal");
    h->slave = open(h->pty, O_RDWR | O_NOCTTY | O_CLOEXEC);
    if (h->slave < 0 || tcgetattr(h->slave, &mode) < 0)
        return err_errno(e, "open pseudo-terminal '%s'", h->pty);
    cfmakeraw(&mode); /* the guest echoes, not the host */
    if (tcsetattr(h->slave, TCSANOW, &mode) < 0)
        return err_errno(e, "set the mode of pseudo-terminal '%s'", h->pty);
    return 0;
}

/* Removes a socket that nobody listens on any more. */
static int remove_stale(const struct sockaddr_un *at, struct err *e)
{
    AUTO(fd) int fd = -1;
    struct stat st;

    if (lstat(at->sun_path, &st) < 0)
        return errno == ENOENT ? 0 : err_errno(e, "socket '%s'", at->sun_path);
    if (!S_ISSOCK(st.st_mode))
        return err_set(e, -EEXIST, "'%s' exists and is not a socket", at->sun_path);
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return err_errno(e, "make a socket");
    if (connect(fd, (const struct sockaddr *)at, sizeof(*at)) == 0 || errno != ECONNREFUSED)
        return err_set(e, -EADDRINUSE, "someone listens on socket '%s'", at->sun_path);
    if (unlink(at->sun_path) < 0)
        return err_errno(e, "remove socket '%s'", at->sun_path);
    return 0;
}

static int open_socket(struct console_host *h, const char *path, struct err *e)
{
    struct sockaddr_un at = { .sun_family = AF_UNIX };
    int r;

    h->waits = true;
    if (!str_copy(at.sun_path, sizeof(at.sun_path), path))
        return err_set(e, -ENAMETOOLONG, "socket path '%s' is longer than %zu", path,
                       sizeof(at.sun_path) - 1);
    r = remove_stale(&at, e);
    if (r < 0)
        return r;
    h->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    /* bind gives the file the mode of the socket, so it is never open to others, not even for a moment */
    if (h->listener < 0 || fchmod(h->listener, 0600) < 0 ||
        bind(h->listener, (const struct sockaddr *)&at, sizeof(at)) < 0 ||
        listen(h->listener, 8) < 0)
        return err_errno(e, "listen on socket '%s'", path);
    return 0;
}

static int open_file(struct console_host *h, const char *path, struct err *e)
{
    /* O_NONBLOCK: a FIFO without a reader fails at once */
    h->out = open(path, O_WRONLY | O_CREAT | O_APPEND | O_NONBLOCK | O_NOCTTY | O_CLOEXEC, 0600);
    if (h->out < 0)
        return err_errno(e, "open '%s'", path);
    h->to_file = is_file(h->out);
    h->waits = true;
    return 0;
}

static int open_backend(const char *b, struct console_host *h, struct err *e)
{
    int in, out;

    if (strcmp(b, "none") == 0)
        return 0;
    if (strcmp(b, "stdio") == 0)
        return open_fds(h, STDIN_FILENO, STDOUT_FILENO, e);
    if (strcmp(b, "pty") == 0)
        return open_pty(h, e);
    if (str_starts(b, "unix:"))
        return open_socket(h, b + 5, e);
    if (str_starts(b, "file:"))
        return open_file(h, b + 5, e);
    if (parse_fds(b + 3, &in, &out) < 0)
        return err_set(e, -EINVAL, "console '%s' has no file descriptor", b);
    return open_fds(h, in, out, e);
}

bool chardev_backend_ok(const char *b)
{
    int in, out;

    if (strcmp(b, "none") == 0 || strcmp(b, "stdio") == 0 || strcmp(b, "pty") == 0)
        return true;
    if (str_starts(b, "unix:") || str_starts(b, "file:"))
        return b[5] != 0;
    return str_starts(b, "fd:") && parse_fds(b + 3, &in, &out) == 0;
}

int console_host_open(const char *backend, struct console_host *ret, struct err *e)
{
    struct console_host h = { -1, -1, -1, -1, .in_flags = -1, .out_flags = -1 };
    int r;

    if (!chardev_backend_ok(backend))
        return err_set(e, -EINVAL,
                       "console '%s' is not stdio, pty, none, unix:PATH, file:PATH, fd:N "
                       "or fd:IN:OUT",
                       backend);
    r = open_backend(backend, &h, e);
    if (r < 0) {
        console_host_close(&h);
        return err_wrap(e, "console '%s'", backend);
    }
    *ret = h;
    return 0;
}

void console_host_close(struct console_host *h)
{
    if (h->in_flags >= 0)
        fcntl(h->in, F_SETFL, h->in_flags);
    if (h->out_flags >= 0)
        fcntl(h->out, F_SETFL, h->out_flags);
    if (h->out != h->in)
        fd_close(&h->out);
    fd_close(&h->in);
    fd_close(&h->listener);
    fd_close(&h->slave);
    h->in_flags = h->out_flags = h->out = -1;
}

int console_host_accept(struct console_host *h)
{
    return accept4(h->listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
}
