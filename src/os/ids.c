/*
 * os/ids.c: user and network namespaces, made by a child that ends when they are held.
 */
#include "os/ids.h"

#include "os/spec.h"

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

enum { MAP_MAX = 16 * 1024 }; /* 340 lines */

static int write_map(pid_t pid, const char *file, u32 first, u32 n, struct err *e)
{
    char path[64], text[64];
    AUTO(fd) int fd = -1;
    int r;

    str_fmt(path, sizeof(path), "/proc/%d/%s", pid, file);
    str_fmt(text, sizeof(text), "0 %u %u\n", first, n);
    fd = open(path, O_WRONLY | O_CLOEXEC);
    r = fd < 0 ? -errno : fd_write_all(fd, text, strlen(text));
    return r < 0 ? err_code(e, r, "user namespace: write %s", file) : 0;
}

static int open_ns(pid_t pid, const char *name, struct err *e)
{
    char path[64];
    int fd;

    str_fmt(path, sizeof(path), "/proc/%d/ns/%s", pid, name);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    return fd < 0 ? err_errno(e, "open '%s'", path) : fd;
}

static int take_namespaces(struct os_ids *ids, pid_t pid, u32 first, struct err *e)
{
    int r = 0;

    if (first) {
        r = write_map(pid, "uid_map", first, OS_IDS, e);
        if (r >= 0)
            r = write_map(pid, "gid_map", first, OS_IDS, e);
        if (r >= 0)
            r = ids->user = open_ns(pid, "user", e);
    }
    if (r >= 0)
        r = ids->net = open_ns(pid, "net", e);
    return min(r, 0);
}

/* In the child: the namespaces are made, the parent is told, and they last until it ends. */
_Noreturn static void hold(int flags, int ready, pid_t parent)
{
    int code = unshare(flags) < 0 ? errno : 0;

    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() == parent && write(ready, &code, sizeof(code)) == sizeof(code))
        while (pause() < 0)
            ;
    _exit(1);
}

int os_ids_open(struct os_ids *ids, u32 first, struct err *e)
{
    const int flags = CLONE_NEWNET | (first ? CLONE_NEWUSER : 0);
    const pid_t self = getpid();
    int fds[2], code = EIO, r;
    pid_t pid;

    *ids = (struct os_ids){ -1, -1 };
    if (pipe2(fds, O_CLOEXEC) < 0)
        return err_errno(e, "make a pipe");
    pid = fork();
    if (pid == 0)
        hold(flags, fds[1], self);
    r = pid < 0 ? err_errno(e, "start a process") : 0;
    close(fds[1]);
    if (r >= 0 && read(fds[0], &code, sizeof(code)) != sizeof(code))
        code = EIO;
    close(fds[0]);
    if (r >= 0 && code)
        r = err_code(e, -code, "make %s",
                     first ? "user and network namespaces" : "a network namespace");
    if (r >= 0)
        r = take_namespaces(ids, pid, first, e);
    if (pid > 0) {
        kill(pid, SIGKILL);
        waitpid(pid, NULL, 0);
    }
    if (r < 0)
        os_ids_close(ids);
    return r;
}

/* The next of its numbers; false: there is none. */
static bool next_number(char **rest, u64 *ret)
{
    const char *word;

    while ((word = strsep(rest, " \n")))
        if (*word)
            return str_u64(word, ret) == 0;
    return false;
}

bool os_ids_in_map(char *text, u32 id)
{
    u64 inside, outside, n;

    while (next_number(&text, &inside) && next_number(&text, &outside) && next_number(&text, &n))
        if (id >= inside && id - inside < n)
            return true;
    return false;
}

bool os_ids_has_group(const struct os_ids *ids, u32 gid)
{
    AUTO(free) char *map = fd_read_virtual("/proc/self/gid_map", MAP_MAX);

    return ids->user >= 0 ? gid < OS_IDS : map && os_ids_in_map(map, gid);
}

void os_ids_close(struct os_ids *ids)
{
    fd_close(&ids->user);
    fd_close(&ids->net);
}
