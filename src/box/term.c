/*
 * box/term.c: pseudo-terminals: the slave is got from the master (TIOCGPTPEER), so that no name in /dev/pts is trusted.
 */
#include "box/term.h"

#include "box/path.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/vfs.h>
#include <termios.h>
#include <unistd.h>

int term_open(int pts, const struct oci_process *p, int *ret_master, struct err *e)
{
    AUTO(fd) int master = path_open_beneath(pts, "ptmx", O_RDWR | O_NOCTTY);
    const struct winsize size = { .ws_row = (u16)p->consoleSize.height,
                                  .ws_col = (u16)p->consoleSize.width };
    AUTO(fd) int slave = -1;
    struct statfs fs;
    int unlock = 0;

    if (master < 0)
        return err_code(e, master, "process.terminal: open /dev/pts/ptmx");
    if (fstatfs(master, &fs) < 0 || fs.f_type != DEVPTS_SUPER_MAGIC)
        return err_set(e, -ENOTTY, "process.terminal: /dev/pts is no devpts");
    if (ioctl(master, TIOCSPTLCK, &unlock) < 0)
        return err_errno(e, "process.terminal: unlock");
    slave = ioctl(master, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
    if (slave < 0)
        return err_errno(e, "process.terminal: open");
    if (size.ws_row && size.ws_col && ioctl(slave, TIOCSWINSZ, &size) < 0)
        return err_errno(e, "process.consoleSize");
    if (fchown(slave, p->user.uid, (gid_t)-1) < 0)
        return err_errno(e, "process.terminal: give it to user %u", p->user.uid);
    *ret_master = TAKE_FD(master);
    return TAKE_FD(slave);
}

int term_take(int slave, struct err *e)
{
    if (setsid() < 0 && errno != EPERM) /* EPERM: it leads one already */
        return err_errno(e, "process.terminal: new session");
    if (ioctl(slave, TIOCSCTTY, 0) < 0)
        return err_errno(e, "process.terminal: take it");
    for (int fd = 0; fd <= STDERR_FILENO; fd++)
        if (dup2(slave, fd) < 0) /* tidy: allow banned: it is to survive the exec */
            return err_errno(e, "process.terminal: descriptor %d", fd);
    return 0;
}

int term_console(int dev, int slave, struct err *e)
{
    AUTO(fd) int copy = mount_clone(slave, "", 0);
    AUTO(fd) int target = -1;
    int r = copy;

    if (r >= 0 && mknodat(dev, "console", S_IFREG | 0600, 0) < 0 && errno != EEXIST)
        r = -errno;
    if (r >= 0)
        r = target = path_open_beneath(dev, "console", O_PATH | O_NOFOLLOW);
    if (r >= 0)
        r = mount_attach(copy, target);
    return r < 0 ? err_code(e, r, "process.terminal: /dev/console") : 0;
}

int term_connect(const char *path, struct err *e)
{
    AUTO(fd) int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_un at = { .sun_family = AF_UNIX };

    if (fd < 0)
        return err_errno(e, "--console-socket");
    if (!str_copy(at.sun_path, sizeof(at.sun_path), path))
        return err_set(e, -EINVAL, "--console-socket: a path of a socket has at most %zu bytes",
                       sizeof(at.sun_path) - 1);
    if (connect(fd, (struct sockaddr *)&at, sizeof(at)) < 0)
        return err_errno(e, "--console-socket: connect to '%s'", path);
    return TAKE_FD(fd);
}
