/*
 * layer/beneath.c: openat2(2) with its restrictions, and removal of trees that an attacker made.
 */
#include "layer/beneath.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

enum {
    TRIES = 64
}; /* openat2 gives up when something is renamed meanwhile; a random name may be taken */

int beneath_open(int dir, const char *path, int flags, unsigned mode)
{
    struct open_how how = {
        .flags = (u64)(u32)(flags | O_CLOEXEC),
        .mode = mode,
        .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_XDEV,
    };
    long fd = -1;

    for (unsigned i = 0; i < TRIES; i++) {
        fd = syscall(SYS_openat2, dir, path, &how, sizeof(how));
        if (fd >= 0 || (errno != EAGAIN && errno != EINTR))
            break;
    }
    return fd < 0 ? -errno : (int)fd;
}

int beneath_make_dir(int dir, const char *prefix, char ret_name[64])
{
    u64 number;

    for (unsigned i = 0; i < TRIES; i++) {
        if (getrandom(&number, sizeof(number), 0) != sizeof(number))
            return -errno;
        str_fmt(ret_name, 64, "%s%016llx", prefix, number);
        if (mkdirat(dir, ret_name, 0700) == 0)
            return beneath_open(dir, ret_name, O_RDONLY | O_DIRECTORY, 0);
        if (errno != EEXIST)
            return -errno;
    }
    return -EEXIST;
}

/* Gives the directory `name` of `at` a name in `top` that nobody has. */
static int move_up(int at, const char *name, int top, u64 *serial)
{
    char fresh[64];

    (void)!fchmodat(at, name, 0700,
                    0); /* its ".." changes, which without CAP_DAC_OVERRIDE is a write */
    for (;;) {
        str_fmt(fresh, sizeof(fresh), ".socle-%llx", (*serial)++);
        if (renameat2(at, name, top, fresh, RENAME_NOREPLACE) == 0)
            return 0;
        if (errno != EEXIST)
            return -errno;
    }
}

/*
 * Empties the directory `at`, which lies in `top`.  A directory in it that is not empty is moved up into `top`, whose walk comes
 * to it later: so depth costs neither stack nor descriptors nor long paths.
 */
static int empty_one(int top, int at, u64 *serial)
{
    AUTO(fd) int copy = beneath_open(at, ".", O_RDONLY | O_DIRECTORY, 0);
    DIR *d = copy < 0 ? NULL : fdopendir(copy);
    struct dirent *de;
    int r = 0;

    if (!d)
        return -errno;
    TAKE_FD(copy);
    while (r == 0 && (de = readdir(d))) {
        if (strcmp(de->d_name, ".") == 0 || strcmp(de->d_name, "..") == 0)
            continue;
        if (unlinkat(at, de->d_name, 0) == 0 ||
            (errno == EISDIR && unlinkat(at, de->d_name, AT_REMOVEDIR) == 0))
            continue;
        if (errno != ENOTEMPTY && errno != EEXIST) {
            r = -errno;
            break;
        }
        r = move_up(at, de->d_name, top, serial);
    }
    closedir(d);
    return r;
}

/* One walk over `top`; *ret_more: there may be directories that were moved up. */
static int empty_top(int top, bool *ret_more, u64 *serial)
{
    AUTO(fd) int copy = beneath_open(top, ".", O_RDONLY | O_DIRECTORY, 0);
    DIR *d = copy < 0 ? NULL : fdopendir(copy);
    struct dirent *de;
    int r = 0;

    *ret_more = false;
    if (!d)
        return -errno;
    TAKE_FD(copy);
    while (r == 0 && (de = readdir(d))) {
        AUTO(fd) int sub = -1;

        if (strcmp(de->d_name, ".") == 0 || strcmp(de->d_name, "..") == 0)
            continue;
        *ret_more = true;
        if (unlinkat(top, de->d_name, 0) == 0)
            continue;
        if (errno != EISDIR) {
            r = -errno;
            break;
        }
        if (unlinkat(top, de->d_name, AT_REMOVEDIR) == 0)
            continue;
        (void)!fchmodat(top, de->d_name, 0700, 0); /* a directory: it is no link */
        sub = beneath_open(top, de->d_name, O_RDONLY | O_DIRECTORY, 0);
        r = sub < 0 ? sub : empty_one(top, sub, serial);
        if (r == 0 && unlinkat(top, de->d_name, AT_REMOVEDIR) < 0 && errno != ENOTEMPTY)
            r = -errno;
    }
    closedir(d);
    return r;
}

int beneath_remove(int dir, const char *name)
{
    AUTO(fd) int top = -1;
    bool more = true;
    u64 serial = 0;
    int r = 0;

    if (unlinkat(dir, name, 0) == 0 || errno == ENOENT)
        return 0;
    if (errno != EISDIR)
        return -errno;
    (void)!fchmodat(dir, name, 0700, 0);
    top = beneath_open(dir, name, O_RDONLY | O_DIRECTORY, 0);
    if (top < 0)
        return top;
    while (r == 0 && more)
        r = empty_top(top, &more, &serial);
    if (r < 0)
        return r;
    return unlinkat(dir, name, AT_REMOVEDIR) < 0 ? -errno : 0;
}
