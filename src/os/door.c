/*
 * os/door.c: unix sockets of an instance.
 */
#include "os/door.h"

#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

int os_listen(const char *path, struct err *e)
{
    struct sockaddr_un at = { .sun_family = AF_UNIX };
    AUTO(fd) int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    mode_t was;
    int r;

    if (fd < 0)
        return err_errno(e, "make a socket");
    if (!str_copy(at.sun_path, sizeof(at.sun_path), path))
        return err_set(e, -EINVAL, "'%.60s…': a socket's path has at most %zu bytes", path,
                       sizeof(at.sun_path) - 1);
    unlink(path);
    was = umask(0177);
    r = bind(fd, (const struct sockaddr *)&at, sizeof(at));
    umask(was);
    if (r < 0 || listen(fd, 16) < 0)
        return err_errno(e, "listen on '%s'", path);
    return TAKE_FD(fd);
}
