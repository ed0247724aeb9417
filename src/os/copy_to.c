/*
 * os/copy_to.c: what comes over a connection is made below a directory.
 *   (1) Each name is walked by beneath_open: no link is followed, no other file system is entered.  The other side, or a process that
 *       renames while we look, can choose among names below the directory and no others.
 *   (2) A file that is there is opened without blocking and looked at before it is changed: a FIFO or a device in its place is refused.
 */
#include "layer/beneath.h"
#include "os/copy.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

/* ret: owned; the name with what stands in place of its first part. */
static char *own_name(const struct copy_to *t, const char *name)
{
    return t->first ? str_new("%s%s", t->first, name + strcspn(name, "/")) : xdup(name);
}

/* The folder that `path` lies in, O_PATH, and the last name of it. */
static int open_parent(const struct copy_to *t, char *path, const char **ret_name)
{
    char *slash = strrchr(path, '/');

    *ret_name = slash ? slash + 1 : path;
    if (!slash)
        return beneath_open(t->dir, ".", O_PATH | O_DIRECTORY, 0);
    *slash = 0;
    return beneath_open(t->dir, path, O_PATH | O_DIRECTORY, 0);
}

static int set_owner(const struct copy_to *t, int dir, const char *name)
{
    if (t->uid < 0 && t->gid < 0)
        return 0;
    return fchownat(dir, name, (uid_t)t->uid, (gid_t)t->gid, AT_SYMLINK_NOFOLLOW) < 0 ? -errno : 0;
}

static int make_folder(const struct copy_to *t, int dir, const char *name, u32 mode)
{
    AUTO(fd) int fd = -1;

    if (mkdirat(dir, name, 0700) < 0) {
        if (errno != EEXIST)
            return -errno;
        fd = beneath_open(dir, name, O_PATH | O_DIRECTORY, 0); /* as it is */
        return min(fd, 0);
    }
    fd = beneath_open(dir, name, O_RDONLY | O_DIRECTORY, 0);
    if (fd < 0)
        return fd;
    if (t->uid >= 0 || t->gid >= 0)
        if (fchownat(fd, "", (uid_t)t->uid, (gid_t)t->gid, AT_EMPTY_PATH) < 0)
            return -errno;
    return fchmod(fd, mode & t->mode_mask) < 0 ? -errno : 0;
}

static int make_link(const struct copy_to *t, int dir, const char *name, const char *target)
{
    struct stat st;

    if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISLNK(st.st_mode))
        (void)unlinkat(dir, name, 0);
    return symlinkat(target, dir, name) < 0 ? -errno : set_owner(t, dir, name);
}

/* Its fd: a new file with its owner and mode, or an old one, empty. */
static int make_file(const struct copy_to *t, int dir, const char *name, u32 mode)
{
    const int flags = O_WRONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY;
    AUTO(fd) int fd = beneath_open(dir, name, flags | O_CREAT | O_EXCL, 0600);
    const bool is_new = fd >= 0;
    struct stat st;

    if (fd == -EEXIST)
        fd = beneath_open(dir, name, flags, 0);
    if (fd == -ENXIO)
        return -ENOTSUP; /* a FIFO that nobody reads */
    if (fd < 0)
        return fd;
    if (fstat(fd, &st) < 0 || (S_ISREG(st.st_mode) && ftruncate(fd, 0) < 0))
        return -errno;
    if (!S_ISREG(st.st_mode))
        return -ENOTSUP;
    if (t->uid >= 0 || t->gid >= 0)
        if (fchownat(fd, "", (uid_t)t->uid, (gid_t)t->gid, AT_EMPTY_PATH) < 0)
            return -errno;
    if (t->mode >= 0)
        mode = (u32)t->mode;
    if ((is_new || t->mode >= 0) && fchmod(fd, mode & t->mode_mask) < 0)
        return -errno;
    return TAKE_FD(fd);
}

static int failed(struct err *e, int r, const char *name)
{
    if (r == -ELOOP || r == -EXDEV)
        return err_set(e, r,
                       "'%.120s': a link or another file system is on the way: give the path that "
                       "it leads to",
                       name);
    if (r == -ENOTSUP)
        return err_set(e, r, "'%.120s' is there, and is no file", name);
    return err_code(e, r, "make '%.120s'", name);
}

/* ret_fd: of a file, owned. */
static int make(const struct copy_to *t, const struct copy_entry *n, int *ret_fd, struct err *e)
{
    AUTO(free) char *path = own_name(t, n->name);
    AUTO(fd) int dir = -1;
    const char *name;
    int r = dir = open_parent(t, path, &name);

    if (r >= 0 && n->kind == COPY_FOLDER)
        r = make_folder(t, dir, name, n->mode);
    else if (r >= 0 && n->kind == COPY_LINK)
        r = make_link(t, dir, name, n->target);
    else if (r >= 0)
        r = *ret_fd = make_file(t, dir, name, n->mode);
    return r < 0 ? failed(e, r, n->name) : 0;
}

static int take_entry(struct copy_to *t, const u8 *data, size_t len, int *fd, struct err *e)
{
    struct copy_entry n;

    if (*fd != t->out)
        fd_close(fd);
    *fd = -1;
    if (copy_entry_parse(data, len, &n) < 0)
        return err_set(e, -EBADMSG, "an entry that is none, or whose name leads out");
    if (t->dir >= 0)
        return make(t, &n, fd, e);
    if (n.kind != COPY_FILE || t->out < 0)
        return err_set(e, -EISDIR, "'%.80s' is not one file", n.name);
    *fd = t->out;
    return 0;
}

int copy_receive(struct copy_to *t, struct err *e)
{
    const u8 *data;
    u32 n_entries = 0;
    size_t len;
    int fd = -1, r = 0;

    while (r >= 0 && (r = copy_next(t->in, &data, &len, e)) >= 0 && r != COPY_DONE) {
        if (r == COPY_ENTRY && ++n_entries <= COPY_ENTRIES_MAX)
            r = take_entry(t, data, len, &fd, e);
        else if (r == COPY_DATA && fd >= 0)
            (void)((r = fd_write_all(fd, data, len)) < 0 && err_code(e, r, "write"));
        else
            r = err_set(e, -EPROTO, "a frame of kind %d is not expected", r);
    }
    if (fd != t->out)
        fd_close(&fd);
    return min(r, 0);
}
