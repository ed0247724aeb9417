/*
 * base/proc.c: /proc/PID/statm, and the processes below one (proc(5)).
 */
#include "base/proc.h"

#include <dirent.h>
#include <stdlib.h>
#include <unistd.h>

enum { TEXT_MAX = 1024 * 1024 };

/* Pages: the program's size, resident, and of these a file's or shared. */
static bool statm(u32 pid, u64 ret[3])
{
    AUTO(free) char *path = str_new("/proc/%u/statm", pid), *text = fd_read_virtual(path, TEXT_MAX);

    return text && str_take_u64s(text, ret, 3) == 3;
}

u64 proc_resident(u32 pid)
{
    u64 v[3];

    return statm(pid, v) ? v[1] * (u64)sysconf(_SC_PAGESIZE) : 0;
}

struct pids {
    u32 *pid;
    u32 n;
};

/* The children of one of its threads. */
static void add_children(struct pids *all, u32 pid, const char *thread)
{
    AUTO(free) char *path = str_new("/proc/%u/task/%s/children", pid, thread);
    AUTO(free) char *text = fd_read_virtual(path, TEXT_MAX);
    const char *at = text ? text : "";
    u64 child;

    while (all->n < PROC_BELOW_MAX && str_take_u64(&at, &child) == 0)
        all->pid[all->n++] = (u32)child;
}

u64 proc_below(u32 pid)
{
    struct pids all = { xnew_n(u32, PROC_BELOW_MAX), 1 };
    u64 pages = 0, v[3];

    all.pid[0] = pid;
    for (u32 i = 0; i < all.n; i++) {
        AUTO(free) char *path = str_new("/proc/%u/task", all.pid[i]);
        DIR *d = opendir(path);
        const struct dirent *de;

        while (d && (de = readdir(d)))
            if (de->d_name[0] != '.')
                add_children(&all, all.pid[i], de->d_name);
        if (d)
            closedir(d);
        if (i > 0 && statm(all.pid[i], v) && v[1] > v[2])
            pages += v[1] - v[2];
    }
    free(all.pid);
    return pages * (u64)sysconf(_SC_PAGESIZE);
}
