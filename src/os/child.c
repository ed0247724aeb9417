/*
 * os/child.c: what a forked process does not keep of socle-os.
 */
#include "os/child.h"

#include "jail/jail.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
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

int os_child_start(pid_t *ret, os_child_fn *serve, void *arg, struct err *e)
{
    struct err said = {};
    int fds[2];

    if (pipe2(fds, O_CLOEXEC) < 0)
        return err_errno(e, "make a pipe");
    *ret = fork();
    if (*ret == 0)
        serve(arg, fds[1]);
    close(fds[1]);
    if (*ret < 0)
        said.code = err_errno(&said, "start a process");
    else if (read(fds[0], &said, sizeof(said)) != sizeof(said))
        said.code = err_set(&said, -EIO, "its process ended");
    close(fds[0]);
    if (said.code >= 0)
        return 0;
    if (*ret > 0)
        (void)waitpid(*ret, NULL, 0);
    *ret = 0;
    return err_set(e, said.code, "%s", said.text);
}
