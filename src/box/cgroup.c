/*
 * box/cgroup.c: makes, removes, freezes and kills a cgroup.
 * Everything is opened below the mount's descriptor, without links, so that no name of another file system is ever taken for it.
 */
#include "box/cgroup.h"

#include "base/clock.h"
#include "box/path.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

enum { DEPTH_MAX = 32, CHILDREN_MAX = 4096, WAIT_MS = 10000, STEP_MS = 10 };

int cgroup_root(void)
{
    static const char *const places[] = { "/sys/fs/cgroup", "/sys/fs/cgroup/unified" };

    for_each_row(p, places) {
        int fd = open(*p, O_DIRECTORY | O_CLOEXEC | O_RDONLY);
        struct statfs fs;

        if (fd < 0)
            continue;
        if (fstatfs(fd, &fs) == 0 && fs.f_type == CGROUP2_SUPER_MAGIC)
            return fd;
        close(fd);
    }
    return -ENODEV;
}

void cgroup_init(struct cgroup *g)
{
    *g = (struct cgroup){ .root = -1, .fd = -1 };
}

void cgroup_fini(struct cgroup *g)
{
    fd_close(&g->fd);
    fd_close(&g->root);
}

/* "a/b": no "..", no empty name. */
static int take_path(struct cgroup *g, const char *path, struct err *e)
{
    unsigned depth = 0;

    path += strspn(path, "/");
    if (!*path || !str_copy(g->path, sizeof(g->path), path))
        return err_set(e, -EINVAL, "linux.cgroupsPath: '%.80s' is no path below the root cgroup",
                       path);
    for (const char *at = g->path; *at; depth++) {
        size_t len = strcspn(at, "/");

        if (len == 0 || (len <= 2 && strspn(at, ".") >= len) || depth == DEPTH_MAX)
            return err_set(e, -EINVAL, "linux.cgroupsPath: '%.80s' is not allowed", path);
        at += len;
        at += *at == '/' && at[1];
        if (*at == '/')
            return err_set(e, -EINVAL, "linux.cgroupsPath: '%.80s' ends with '/'", path);
    }
    return 0;
}

/* Is the word in the list? */
static bool has_word(const char *list, const char *word)
{
    const size_t len = strlen(word);

    for (const char *at = list; (at = strstr(at, word)); at += len)
        if ((at == list || at[-1] == ' ') && strchr(" \n", at[len]))
            return true;
    return false;
}

/*
 * What `dir` has to give is given to its children.  Only what is missing is written, because a write costs the whole host
 * milliseconds.  Which controllers are missed, cgroup_apply tells.
 */
static void enable(int dir)
{
    char have[512], given[512], *rest = have, *word;

    if (path_read(dir, "cgroup.controllers", have, sizeof(have)) <= 1 ||
        path_read(dir, "cgroup.subtree_control", given, sizeof(given)) < 0)
        return;
    while ((word = strsep(&rest, " \n"))) {
        char change[64];

        if (*word && !has_word(given, word) && str_fmt(change, sizeof(change), "+%s", word))
            path_write(dir, "cgroup.subtree_control", change);
    }
}

/* One level more: opens `name` in `dir`, made where it is missing; the last one must be new. */
static int make_level(struct cgroup *g, int dir, const char *name, bool last)
{
    enable(dir);
    if (mkdirat(dir, name, 0755) == 0)
        g->made++;
    else if (errno != EEXIST || last)
        return -errno;
    return path_open_beneath(dir, name, O_DIRECTORY | O_RDONLY);
}

static int make_levels(struct cgroup *g)
{
    AUTO(fd) int dir = fcntl(g->root, F_DUPFD_CLOEXEC, 0);
    char name[256];

    if (dir < 0)
        return -errno;
    for (char *at = g->path; *at;) {
        const size_t len = strcspn(at, "/");
        const unsigned made = g->made;
        const bool last = !at[len];
        int next;

        if (len >= sizeof(name))
            return -ENAMETOOLONG;
        memcpy(name, at, len);
        name[len] = 0;
        next = make_level(g, dir, name, last);
        if (next < 0) { /* path ends with what was made, for cgroup_undo */
            at += g->made > made ? (ptrdiff_t)len : at > g->path ? -1 : 0;
            *at = 0;
            return next;
        }
        fd_close(&dir);
        dir = next;
        at += len + !last;
    }
    g->fd = TAKE_FD(dir);
    return 0;
}

int cgroup_make(struct cgroup *g, const char *path, struct err *e)
{
    int r = take_path(g, path, e);

    if (r < 0)
        return r;
    g->root = cgroup_root();
    if (g->root < 0)
        return err_set(e, -ENODEV, "this host has no cgroup v2");
    r = make_levels(g);
    return r < 0 ? err_code(e, r, "make cgroup '%.200s'", path) : 0;
}

int cgroup_open(struct cgroup *g, const char *path, struct err *e)
{
    int r;

    if (!*path)
        return 0;
    r = take_path(g, path, e);
    if (r < 0)
        return r;
    g->root = cgroup_root();
    if (g->root < 0)
        return err_set(e, -ENODEV, "this host has no cgroup v2");
    r = path_open_beneath(g->root, g->path, O_DIRECTORY | O_RDONLY);
    if (r == -ENOENT)
        return 0; /* somebody removed it */
    if (r < 0)
        return err_code(e, r, "open cgroup '%s'", g->path);
    g->fd = r;
    return 0;
}

/* "0::/PATH" of /proc/PID/cgroup, among lines of v1; in place. */
static char *path_of_v2(char *text)
{
    char *at = str_starts(text, "0::/") ? text : strstr(text, "\n0::/");

    if (!at)
        return NULL;
    at += strcspn(at, "/");
    at[strcspn(at, "\n")] = 0;
    return at;
}

int cgroup_open_scope(struct cgroup *g, pid_t pid, const char *scope, struct err *e)
{
    AUTO(free) char *name = str_new("/proc/%d", pid);
    AUTO(fd) int dir = open(name, O_DIRECTORY | O_PATH | O_CLOEXEC);
    char text[8192]; /* 20 lines of v1 at most, and one path */
    const char *path, *last;
    int r = dir < 0 ? -errno : path_read(dir, "cgroup", text, sizeof(text));

    if (r < 0)
        return err_code(e, r, "read '%s/cgroup'", name);
    path = path_of_v2(text);
    last = path ? strrchr(path, '/') : NULL;
    if (!last || strcmp(last + 1, scope) != 0)
        return err_set(e, -EPROTO, "systemd put process %d into cgroup '%.100s', not into '%.100s'",
                       pid, path ? path : "of v1", scope);
    r = cgroup_open(g, path, e);
    return r == 0 && g->fd < 0 ? err_set(e, -ESRCH, "cgroup '%.120s' is gone", path) : r;
}

int cgroup_kill(const struct cgroup *g)
{
    pid_t *pids;
    int n, r;

    if (g->fd < 0)
        return 0;
    r = path_write(g->fd, "cgroup.kill", "1");
    if (r != -ENOENT)
        return r;
    n = cgroup_pids(g, &pids); /* before Linux 5.14 */
    if (n < 0)
        return n;
    for (int i = 0; i < n; i++)
        kill(pids[i], SIGKILL);
    free(pids);
    return 0;
}

/* Is the line "word N" in the file, with what N? */
static int event(const struct cgroup *g, const char *word)
{
    char text[256];
    const char *at;
    int r = path_read(g->fd, "cgroup.events", text, sizeof(text));

    if (r < 0)
        return r;
    at = strstr(text, word);
    return at ? at[strlen(word)] == '1' : -ENOENT;
}

/* Waits until cgroup.events says so; the kernel signals each change. */
static int wait_event(const struct cgroup *g, const char *word, bool value)
{
    AUTO(fd) int fd = path_open_beneath(g->fd, "cgroup.events", O_RDONLY);
    struct pollfd p = { .fd = fd, .events = POLLPRI };
    u64 end = clock_mono_ns() + WAIT_MS * NSEC_PER_MSEC;

    if (fd < 0)
        return fd;
    for (;;) {
        int now = event(g, word);
        char skip[256];

        if (now < 0 || now == value)
            return min(now, 0);
        if (clock_mono_ns() > end)
            return -ETIMEDOUT;
        if (pread(fd, skip, sizeof(skip), 0) < 0) /* or poll tells of no more */
            return -errno;
        poll(&p, 1, STEP_MS);
    }
}

/* Children first; `depth` is bounded, and so are the calls of itself. */
static int remove_children(int dir, unsigned depth)
{
    int copy = fcntl(dir, F_DUPFD_CLOEXEC, 0);
    DIR *list = copy < 0 ? NULL : fdopendir(copy);
    struct dirent *d;
    int r = 0;

    if (!list)
        return -errno;
    rewinddir(list);
    for (unsigned n = 0; r == 0 && (d = readdir(list)); n++) {
        AUTO(fd) int child = -1;

        if (d->d_type != DT_DIR || d->d_name[0] == '.')
            continue;
        if (depth == 0 || n == CHILDREN_MAX) {
            r = -EMLINK;
            break;
        }
        child = path_open_beneath(dir, d->d_name, O_DIRECTORY | O_RDONLY);
        r = child < 0 ? child : remove_children(child, depth - 1);
        if (r == 0 && unlinkat(dir, d->d_name, AT_REMOVEDIR) < 0 && errno != ENOENT)
            r = -errno;
    }
    closedir(list);
    return r;
}

static int remove_dir(const struct cgroup *g)
{
    int r = 0;

    for (u64 end = clock_mono_ns() + WAIT_MS * NSEC_PER_MSEC; clock_mono_ns() < end;) {
        if (unlinkat(g->root, g->path, AT_REMOVEDIR) == 0 || errno == ENOENT)
            return 0;
        r = -errno;
        if (r != -EBUSY)
            return r;
        r = remove_children(g->fd, DEPTH_MAX);
        if (r < 0 && r != -EBUSY)
            return r;
        poll(NULL, 0, 1); /* the last one's end is still being noted */
    }
    return r < 0 ? r : -EBUSY;
}

int cgroup_remove(struct cgroup *g, struct err *e)
{
    int r;

    if (g->fd < 0)
        return 0;
    /* Most often nobody is left in it, and nothing below it. */
    if (unlinkat(g->root, g->path, AT_REMOVEDIR) == 0 || errno == ENOENT)
        return 0;
    r = cgroup_kill(g);
    if (r == 0)
        r = wait_event(g, "populated ", false);
    if (r == 0)
        r = remove_dir(g);
    return r < 0 ? err_code(e, r, "remove cgroup '%s'", g->path) : 0;
}

void cgroup_undo(struct cgroup *g)
{
    struct err e = {};

    if (g->made && cgroup_remove(g, &e) < 0)
        log_warn("%s", e.text);
    for (; g->made > 0; g->made--) {
        char *last = strrchr(g->path, '/');

        if (unlinkat(g->root, g->path, AT_REMOVEDIR) < 0 && errno != ENOENT)
            return; /* others use it by now */
        *(last ? last : g->path) = 0;
    }
}

int cgroup_freeze(const struct cgroup *g, bool on, struct err *e)
{
    int r;

    if (g->fd < 0)
        return err_set(e, -ENOENT, "the container has no cgroup");
    r = path_write(g->fd, "cgroup.freeze", on ? "1" : "0");
    if (r == 0)
        r = wait_event(g, "frozen ", on);
    if (r < 0 && on)
        path_write(g->fd, "cgroup.freeze", "0");
    return r < 0 ? err_code(e, r, "%s cgroup '%s'", on ? "freeze" : "thaw", g->path) : 0;
}

int cgroup_is_frozen(const struct cgroup *g)
{
    return g->fd < 0 ? 0 : event(g, "frozen ");
}

/* Adds those of one directory. */
static int add_pids(int dir, pid_t *pids, int n)
{
    AUTO(fd) int fd = path_open_beneath(dir, "cgroup.procs", O_RDONLY);
    FILE *f = fd < 0 ? NULL : fdopen(fd, "re");
    char line[32];

    if (!f)
        return fd < 0 ? fd : -errno;
    (void)TAKE_FD(fd);
    while (n < CGROUP_PIDS_MAX && fgets(line, sizeof(line), f)) {
        u64 pid;

        line[strcspn(line, "\n")] = 0;
        if (str_u64(line, &pid) == 0 && pid > 0 && pid <= INT32_MAX)
            pids[n++] = (pid_t)pid;
    }
    fclose(f);
    return n;
}

static int pids_below(int dir, pid_t *pids, int n, unsigned depth)
{
    int copy = fcntl(dir, F_DUPFD_CLOEXEC, 0);
    DIR *list = copy < 0 ? NULL : fdopendir(copy);
    struct dirent *d;

    if (!list)
        return -errno;
    rewinddir(list);
    n = add_pids(dir, pids, n);
    while (depth > 0 && n >= 0 && (d = readdir(list))) {
        AUTO(fd) int child = -1;

        if (d->d_type != DT_DIR || d->d_name[0] == '.')
            continue;
        child = path_open_beneath(dir, d->d_name, O_DIRECTORY | O_RDONLY);
        n = child < 0 ? n : pids_below(child, pids, n, depth - 1);
    }
    closedir(list);
    return n;
}

int cgroup_pids(const struct cgroup *g, pid_t **ret)
{
    pid_t *pids;
    int n;

    if (g->fd < 0)
        return -ENOENT;
    pids = xnew_n(pid_t, CGROUP_PIDS_MAX);
    n = pids_below(g->fd, pids, 0, DEPTH_MAX);
    if (n < 0)
        free(pids);
    else
        *ret = pids;
    return n;
}
