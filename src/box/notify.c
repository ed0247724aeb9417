/*
 * box/notify.c: the socket that a container's program tells of its readiness, and what of that goes on to systemd.
 */
#include "box/notify.h"

#include "box/sync.h"

#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

enum { MESSAGE_MAX = 4096, BARRIER_WAIT_MS = 5000 };

bool notify_wanted(void)
{
    const char *path = getenv("NOTIFY_SOCKET");

    return path && *path;
}

/* Where the state is, whatever --root was relative to. */
static char *folder_of(const struct box_dir *d)
{
    char link[64], path[4096];
    ssize_t n;

    str_fmt(link, sizeof(link), "/proc/self/fd/%d", d->fd);
    n = readlink(link, path, sizeof(path) - 1);
    return n <= 0 ? NULL : str_new("%.*s/notify", (int)n, path);
}

static int add_mount(struct oci *spec, const char *source, struct err *e)
{
    static const char *const options[] = { "bind", "nosuid", "noexec", "nodev", "ro" };
    struct oci_mount *m =
        conf_list_add(conf_field_at(oci_fields, offsetof(struct oci, mounts)), spec);

    if (!m)
        return err_set(e, -E2BIG, "NOTIFY_SOCKET: no mount is left for it");
    m->destination = xdup(NOTIFY_PLACE);
    m->source = xdup(source);
    m->options.items = xnew_n(char *, ARRAY_LEN(options));
    for_each_row(o, options)
        m->options.items[m->options.n++] = xdup(*o);
    return 0;
}

int notify_prepare(const struct box_dir *d, struct oci *spec, struct err *e)
{
    AUTO(free) char *folder = NULL;

    /* Anyone in the container may enter: it can be another user than we are. */
    if (mkdirat(d->fd, "notify", 0700) < 0 || fchmodat(d->fd, "notify", 0755, 0) < 0)
        return err_errno(e, "NOTIFY_SOCKET: make the directory of its socket");
    folder = folder_of(d);
    return folder ? add_mount(spec, folder, e) : err_errno(e, "NOTIFY_SOCKET");
}

int notify_listen(const struct box_dir *d, int *ret, struct err *e)
{
    AUTO(fd) int folder = -1;
    AUTO(fd) int fd = -1;
    struct sockaddr_un at = { .sun_family = AF_UNIX };

    if (!notify_wanted())
        return 0;
    folder = openat(d->fd, "notify", O_DIRECTORY | O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (folder < 0)
        return errno == ENOENT ? 0
                               : err_errno(e, "NOTIFY_SOCKET: open the directory of its socket");
    fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    /* By descriptor: a path of a socket may be too long. */
    str_fmt(at.sun_path, sizeof(at.sun_path), "/proc/self/fd/%d/%s", folder, NOTIFY_NAME);
    unlinkat(folder, NOTIFY_NAME, 0);
    if (fd < 0 || bind(fd, (struct sockaddr *)&at, sizeof(at)) < 0 ||
        fchmodat(folder, NOTIFY_NAME, 0777, 0) < 0)
        return err_errno(e, "NOTIFY_SOCKET: make the socket");
    *ret = TAKE_FD(fd);
    return 0;
}

/* Our supervisor's: a path, or an abstract name after '@'. */
static int open_supervisor(void)
{
    struct sockaddr_un at = { .sun_family = AF_UNIX };
    AUTO(fd) int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    const char *name = getenv("NOTIFY_SOCKET");
    socklen_t len;

    if (fd < 0 || !name || !str_copy(at.sun_path, sizeof(at.sun_path), name))
        return -1;
    len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(name));
    if (at.sun_path[0] == '@')
        at.sun_path[0] = 0;
    return connect(fd, (struct sockaddr *)&at, len) < 0 ? -1 : TAKE_FD(fd);
}

/* It closes the pipe's end when it has read all before: we may end only then, or it cannot tell who wrote. */
static void wait_barrier(int supervisor)
{
    AUTO(fd) int ours = -1;
    AUTO(fd) int theirs = -1;
    struct pollfd p = { .events = 0 };
    int pipe[2], r;

    if (pipe2(pipe, O_CLOEXEC) < 0)
        return;
    ours = pipe[0];
    theirs = pipe[1];
    r = sync_send_fd(supervisor, theirs, "BARRIER=1");
    fd_close(&theirs);
    p.fd = ours;
    if (r == 0)
        poll(&p, 1, BARRIER_WAIT_MS);
}

static void tell_supervisor(pid_t pid)
{
    AUTO(fd) int fd = open_supervisor();
    char text[64];

    str_fmt(text, sizeof(text), "MAINPID=%d\nREADY=1\n", pid);
    if (fd < 0 || send(fd, text, strlen(text), MSG_NOSIGNAL) < 0) {
        log_warn("NOTIFY_SOCKET: tell that the container is ready: %s", strerror(errno));
        return;
    }
    wait_barrier(fd);
}

bool notify_pass(int socket, pid_t pid)
{
    char text[MESSAGE_MAX + 1], *rest = text, *line;
    ssize_t n = recv(socket, text, MESSAGE_MAX, MSG_DONTWAIT);

    if (n <= 0)
        return false;
    text[n] = 0;
    while ((line = strsep(&rest, "\n"))) {
        if (strcmp(line, "READY=1") != 0)
            continue;
        tell_supervisor(pid);
        return true;
    }
    return false;
}

void notify_wait(int socket, int pidfd, pid_t pid)
{
    struct pollfd p[] = { { .fd = socket, .events = POLLIN }, { .fd = pidfd, .events = POLLIN } };

    for (;;) {
        if (poll(p, ARRAY_LEN(p), -1) < 0 && errno != EINTR)
            return;
        if (p[0].revents && notify_pass(socket, pid))
            return;
        if (p[1].revents && !p[0].revents)
            return;
    }
}
