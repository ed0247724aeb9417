/*
 * host/lock.c: the lock of a folder.
 * The pid in it is believed only while the lock is held, as its holder wrote it.
 */
#include "host/lock.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/syscall.h>
#include <unistd.h>

enum {
    END_MS = 30000, /* until it has ended: what its tasks do is interrupted */
    LEFT_MS = 5000, /* until what a dead one left has let go */
    LOOK_MS = 20,
};

static bool try_lock(int fd)
{
    return flock(fd, LOCK_EX | LOCK_NB) == 0;
}

static int open_lock(const char *dir, struct err *e)
{
    AUTO(free) char *path = str_new("%s/lock", dir);
    AUTO(fd) int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);

    return fd < 0 ? err_errno(e, "open '%s'", path) : TAKE_FD(fd);
}

/* 0: it says none. */
static pid_t holder(int fd)
{
    char text[24];
    const ssize_t n = pread(fd, text, sizeof(text) - 1, 0);
    u64 pid = 0;

    text[n > 0 ? n : 0] = 0;
    text[strcspn(text, "\n")] = 0;
    return str_u64(text, &pid) == 0 && pid <= INT32_MAX ? (pid_t)pid : 0;
}

/* Its last child, which had begun and was not its own program yet when it was killed, may have the lock a moment longer. */
static bool is_dead(pid_t pid)
{
    AUTO(fd) int pidfd = pid ? (int)syscall(SYS_pidfd_open, pid, 0) : -1;
    struct pollfd p = { pidfd, POLLIN, 0 };

    return pid && (pidfd < 0 ? errno == ESRCH : poll(&p, 1, 0) > 0);
}

int lock_take(const char *dir, struct err *e)
{
    AUTO(fd) int fd = open_lock(dir, e);
    char pid[24];
    bool ours;

    if (fd < 0)
        return fd;
    for (u32 ms = 0; !(ours = try_lock(fd)) && ms < LEFT_MS && is_dead(holder(fd)); ms += LOOK_MS)
        poll(NULL, 0, LOOK_MS);
    if (!ours)
        return err_set(e, -EBUSY, "'%s' is in use by another socled", dir);
    str_fmt(pid, sizeof(pid), "%d\n", (int)getpid());
    if (ftruncate(fd, 0) < 0 || fd_pwrite_all(fd, pid, strlen(pid), 0) < 0)
        log_warn("'%s/lock' cannot be written: a service of the folder will not find us", dir);
    return TAKE_FD(fd);
}

/* Between the two looks it cannot have become another's. */
static int ask_to_end(int fd, struct err *e)
{
    const pid_t pid = holder(fd);
    AUTO(fd) int pidfd = pid ? (int)syscall(SYS_pidfd_open, pid, 0) : -1;

    if (try_lock(fd))
        return 0; /* it ended just now */
    if (pidfd < 0 || holder(fd) != pid)
        return err_set(e, -EBUSY, "which process it is, its file 'lock' does not say");
    log_notice("process %d has the folder: it is asked to end", (int)pid);
    return syscall(SYS_pidfd_send_signal, pidfd, SIGTERM, NULL, 0) < 0
               ? err_errno(e, "end process %d", (int)pid)
               : 0;
}

int lock_succeed(const char *dir, struct err *e)
{
    AUTO(fd) int fd = -1;
    bool ours;
    int r = 0;

    if (access(dir, F_OK) < 0)
        return 0;
    fd = open_lock(dir, e);
    if (fd < 0)
        return fd;
    ours = try_lock(fd);
    if (!ours)
        r = ask_to_end(fd, e);
    for (u32 ms = 0; ms < END_MS && r >= 0 && !ours; ms += LOOK_MS) {
        poll(NULL, 0, LOOK_MS);
        ours = try_lock(fd);
    }
    if (r >= 0 && !ours)
        r = err_set(e, -EBUSY, "it does not end");
    return r < 0 ? err_wrap(e, "'%s' is in use by another socled", dir) : 0;
}
