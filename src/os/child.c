/*
 * os/child.c: what a forked process does not keep of socle-os.
 */
#include "os/child.h"

#include "jail/jail.h"

#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

int os_child_settle(const int *keep, u32 n, struct err *e)
{
    static const int watched[] = { SIGCHLD, SIGTERM };
    AUTO(fd) int null = open("/dev/null", O_RDWR | O_CLOEXEC);

    for_each_row(number, watched)
        sigaction(*number, &(struct sigaction){ .sa_handler = SIG_DFL }, NULL);
    for (int fd = 0; fd < 3; fd++)
        if (dup3(null, fd, 0) < 0)
            return err_errno(e, "open '/dev/null'");
    return jail_close_fds(keep, n, e);
}
