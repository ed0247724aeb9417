/*
 * layer/pool.c: a directory of layers that are shared.
 */
#include "layer/pool.h"

#include "layer/beneath.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#define INFO_ATTR "user.socle.layer"

int pool_open(const char *path, struct err *e)
{
    AUTO(fd) int fd = -1;
    struct stat st;

    if (mkdir(path, 0700) < 0 && errno != EEXIST)
        return err_errno(e, "make pool '%s'", path);
    fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &st) < 0)
        return err_errno(e, "open pool '%s'", path);
    if ((st.st_mode & 077) && fchmod(fd, 0700) < 0)
        return err_errno(e, "pool '%s' must be its owner's alone (mode 0700)", path);
    return TAKE_FD(fd);
}

void pool_name(const char *digest, char ret[POOL_NAME])
{
    str_fmt(ret, POOL_NAME, "sha256-%s", digest_hex(digest));
}

bool pool_name_ok(const char *name)
{
    const size_t prefix = strlen("sha256-");

    return str_starts(name, "sha256-") && strlen(name) == prefix + DIGEST_HEX &&
           strspn(name + prefix, "0123456789abcdef") == DIGEST_HEX;
}

int pool_find(int pool, const char *name, struct pool_info *ret)
{
    AUTO(fd) int fd = beneath_open(pool, name, O_RDONLY | O_DIRECTORY, 0);
    ssize_t n;

    if (fd < 0)
        return fd == -ENOENT ? 0 : fd;
    *ret = (struct pool_info){};
    n = fgetxattr(fd, INFO_ATTR, ret, sizeof(*ret));
    if (n != sizeof(*ret))
        *ret = (struct pool_info){}; /* a file system without such attributes: nobody knows */
    return 1;
}

int pool_list(int pool, struct strbuf *to, struct err *e)
{
    AUTO(fd) int fd = beneath_open(pool, ".", O_RDONLY | O_DIRECTORY, 0);
    DIR *d = fd < 0 ? NULL : fdopendir(fd);
    struct dirent *de;

    if (!d)
        return err_errno(e, "read the pool");
    TAKE_FD(fd);
    while ((de = readdir(d)))
        if (pool_name_ok(de->d_name))
            strbuf_add(to, "%s\n", de->d_name);
    closedir(d);
    return 0;
}

/* While it is held, nobody makes or looks for a directory that has no lock yet. */
static int lock_pool(int pool, struct err *e)
{
    AUTO(fd) int fd = beneath_open(pool, ".", O_RDONLY | O_DIRECTORY, 0);

    while (fd >= 0 && flock(fd, LOCK_EX) < 0)
        if (errno != EINTR)
            return err_errno(e, "lock the pool");
    return fd < 0 ? err_code(e, fd, "open the pool") : TAKE_FD(fd);
}

int pool_new(int pool, struct pool_new *ret, struct err *e)
{
    AUTO(fd) int lock = -1;

    *ret = (struct pool_new){ .pool = pool, .fd = -1 };
    lock = lock_pool(pool, e);
    if (lock < 0)
        return lock;
    ret->fd = beneath_make_dir(pool, POOL_NEW, ret->name);
    if (ret->fd < 0)
        return err_code(e, ret->fd, "make a directory in the pool");
    if (flock(ret->fd, LOCK_EX | LOCK_NB) < 0 || fchmod(ret->fd, 0755) < 0)
        return err_errno(e, "lock a directory of the pool");
    return 0;
}

int pool_keep(struct pool_new *n, const char *name, const struct pool_info *info, struct err *e)
{
    if (fsetxattr(n->fd, INFO_ATTR, info, sizeof(*info), 0) < 0 && errno != EOPNOTSUPP)
        return err_errno(e, "note the size of layer '%s'", name);
    if (syncfs(n->pool) < 0)
        return err_errno(e, "write layer '%s'", name);
    if (renameat2(n->pool, n->name, n->pool, name, RENAME_NOREPLACE) < 0)
        return errno == EEXIST ? 0 : err_errno(e, "give layer '%s' its name", name);
    fd_close(&n->fd);
    return fsync(n->pool) < 0 ? err_errno(e, "write the pool") : 1;
}

void pool_new_fini(struct pool_new *n)
{
    int r;

    if (n->fd < 0)
        return;
    r = beneath_remove(n->pool, n->name);
    if (r < 0)
        log_warn("'%s' is left in the pool: %s", n->name, strerror(-r));
    fd_close(&n->fd);
}

int pool_remove(int pool, const char *name, struct err *e)
{
    struct pool_new gone = { .pool = pool, .fd = -1 };

    if (!pool_name_ok(name))
        return err_set(e, -EINVAL, "'%.80s' is no layer: sha256- and 64 digits of 0-9a-f", name);
    gone.fd = beneath_open(pool, name, O_RDONLY | O_DIRECTORY, 0);
    if (gone.fd < 0)
        return err_code(e, gone.fd, "layer '%s'", name);
    if (flock(gone.fd, LOCK_EX | LOCK_NB) < 0)
        return err_errno(e, "layer '%s' is being removed", name);
    str_fmt(gone.name, sizeof(gone.name), POOL_NEW "%.32s", name + strlen("sha256-"));
    if (renameat2(pool, name, pool, gone.name, RENAME_NOREPLACE) < 0) {
        fd_close(&gone.fd);
        return err_errno(e, "remove layer '%s'", name);
    }
    pool_new_fini(&gone); /* what it cannot remove is no layer any more, and `clean` says why */
    return 0;
}

/* The first that nobody holds, locked; -1: there is none. */
static int take_left(int pool, DIR *d, char name[64], struct err *e)
{
    AUTO(fd) int lock = lock_pool(pool, e);
    struct dirent *de;

    if (lock < 0)
        return lock;
    rewinddir(d);
    while ((de = readdir(d))) {
        AUTO(fd) int fd = -1;

        if (!str_starts(de->d_name, POOL_NEW) || !str_copy(name, 64, de->d_name))
            continue;
        fd = beneath_open(pool, name, O_RDONLY | O_DIRECTORY, 0);
        if (fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) == 0)
            return TAKE_FD(fd);
    }
    return -ENOENT;
}

int pool_clean(int pool, u64 *ret_n, struct err *e)
{
    AUTO(fd) int copy = beneath_open(pool, ".", O_RDONLY | O_DIRECTORY, 0);
    DIR *d = copy < 0 ? NULL : fdopendir(copy);
    u64 n = 0;
    int r = 0;

    if (!d)
        return err_errno(e, "read the pool");
    TAKE_FD(copy);
    while (r == 0) {
        char name[64];
        AUTO(fd) int fd = take_left(pool, d, name, e);

        if (fd == -ENOENT)
            break;
        r = fd < 0 ? fd : beneath_remove(pool, name);
        if (r < 0 && fd >= 0)
            err_code(e, r, "remove '%s' of the pool", name);
        n += r == 0;
    }
    closedir(d);
    if (r == 0)
        *ret_n = n;
    return r;
}
