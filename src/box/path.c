/*
 * box/path.c: openat2(2) with its restrictions, and making directories by descriptors.
 */
#include "box/path.h"

#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { TRIES = 64 }; /* openat2 gives up when something is renamed meanwhile */

static int open_how(int dir, const char *path, int flags, u64 resolve)
{
    struct open_how how = { .flags = (u64)(u32)(flags | O_CLOEXEC), .resolve = resolve };
    long fd = -1;

    for (unsigned i = 0; i < TRIES; i++) {
        fd = syscall(SYS_openat2, dir, path, &how, sizeof(how));
        if (fd >= 0 || (errno != EAGAIN && errno != EINTR))
            break;
    }
    return fd < 0 ? -errno : (int)fd;
}

int path_open(int root, const char *path, int flags)
{
    return open_how(root, path, flags, RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS);
}

int path_open_beneath(int dir, const char *path, int flags)
{
    return open_how(dir, path, flags, RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_XDEV);
}

int path_open_here(const char *path, int flags)
{
    return open_how(AT_FDCWD, path, flags, RESOLVE_NO_MAGICLINKS);
}

/* The part of `path` before its last name, "." where there is none; the name.  False: there is no name, or it is "..". */
static bool split(const char *path, char dir[PATH_MAX], char name[256])
{
    size_t end = strlen(path), start;

    while (end > 0 && path[end - 1] == '/')
        end--;
    for (start = end; start > 0 && path[start - 1] != '/';)
        start--;
    if (end == start || end - start > 255 || start >= PATH_MAX)
        return false;
    memcpy(name, path + start, end - start);
    name[end - start] = 0;
    memcpy(dir, path, start);
    dir[start] = 0;
    if (!start)
        str_copy(dir, PATH_MAX, ".");
    return strcmp(name, ".") != 0 && strcmp(name, "..") != 0;
}

/* Makes the directories of `path` that are missing, from the left. */
static int make_dirs(int root, const char *path)
{
    char part[PATH_MAX], dir[PATH_MAX], name[256];

    for (const char *at = path; *at;) {
        AUTO(fd) int fd = -1;
        AUTO(fd) int parent = -1;

        at += strspn(at, "/");
        at += strcspn(at, "/");
        if (at - path >= PATH_MAX)
            return -ENAMETOOLONG;
        memcpy(part, path, (size_t)(at - path));
        part[at - path] = 0;
        fd = *part ? path_open(root, part, O_PATH | O_DIRECTORY) : 0;
        if (fd != -ENOENT) {
            if (fd < 0)
                return fd;
            fd = *part ? fd : -1;
            continue;
        }
        if (!split(part, dir, name))
            return -EINVAL;
        parent = path_open(root, dir, O_PATH | O_DIRECTORY);
        if (parent < 0)
            return parent;
        if (mkdirat(parent, name, 0755) < 0)
            return -errno; /* EEXIST: a link that leads nowhere */
    }
    return 0;
}

int path_make_parent(int root, const char *path, char name[256])
{
    char dir[PATH_MAX];
    int r;

    if (!split(path, dir, name))
        return -EINVAL;
    r = path_open(root, dir, O_PATH | O_DIRECTORY);
    if (r != -ENOENT)
        return r;
    r = make_dirs(root, dir);
    return r < 0 ? r : path_open(root, dir, O_PATH | O_DIRECTORY);
}

int path_make(int root, const char *path, bool is_file)
{
    AUTO(fd) int parent = -1;
    char name[256];
    int r = path_open(root, path, O_PATH);

    if (r != -ENOENT)
        return r;
    parent = path_make_parent(root, path, name);
    if (parent < 0)
        return parent;
    r = is_file ? mknodat(parent, name, S_IFREG | 0644, 0) : mkdirat(parent, name, 0755);
    if (r < 0 && errno != EEXIST)
        return -errno;
    return path_open(root, path, O_PATH);
}

int path_make_nofollow(int root, const char *path, bool is_file)
{
    AUTO(fd) int parent = -1;
    char name[256];
    int r;

    parent = path_make_parent(root, path, name);
    if (parent < 0)
        return parent;
    r = is_file ? mknodat(parent, name, S_IFREG | 0644, 0) : mkdirat(parent, name, 0755);
    if (r < 0 && errno != EEXIST)
        return -errno;
    return open_how(parent, name, O_PATH | O_NOFOLLOW, RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS);
}

int path_write(int dir, const char *path, const char *text)
{
    AUTO(fd) int fd = path_open_beneath(dir, path, O_WRONLY);

    return fd < 0 ? fd : fd_write_all(fd, text, strlen(text));
}

int path_read(int dir, const char *path, char *buf, size_t size)
{
    AUTO(fd) int fd = path_open_beneath(dir, path, O_RDONLY);
    ssize_t n;

    if (fd < 0)
        return fd;
    n = read(fd, buf, size - 1);
    if (n < 0)
        return -errno;
    buf[n] = 0;
    return (int)n;
}
