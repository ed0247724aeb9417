/*
 * disk/job_file.c: a new file that has no name before it is complete.
 *
 *     open ─ O_TMPFILE ─> no name ── commit: sync, link to a temporary name, rename ──> its name
 *        └─ else ───────> a temporary name ── commit: sync, rename ──────────────────> its name
 *
 * Where the file system has O_TMPFILE nothing is left when the host or we die; else a file NAME.XXXXXX.part may be.
 */
#include "disk/job_file.h"

#include "disk/lock.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum { MODE = 0666 }; /* less the umask */

static char *folder_of(const char *path)
{
    const char *slash = strrchr(path, '/');

    return slash ? str_new("%.*s", (int)(slash - path) + 1, path) : xdup(".");
}

/* Of what is there: may it be replaced, and by nobody used? */
static int look_at_old(struct job_file *f, bool replace, struct err *e)
{
    struct stat st;

    if (stat(f->path, &st) < 0)
        return errno == ENOENT ? 0 : err_errno(e, "look at '%s'", f->path);
    f->device = S_ISBLK(st.st_mode);
    if (f->device)
        return 0;
    if (!S_ISREG(st.st_mode))
        return err_set(e, -EEXIST, "'%s' is there, and is no file", f->path);
    if (!replace)
        return err_set(e, -EEXIST, "'%s' is there already; --force replaces it", f->path);
    f->replaced = open(f->path, O_RDWR | O_CLOEXEC | O_NONBLOCK);
    if (f->replaced < 0)
        return err_errno(e, "open '%s' for writing", f->path);
    return lock_image(f->replaced, true, f->path, e);
}

static int make_temporary(struct job_file *f, struct err *e)
{
    mode_t mask = umask(0);

    umask(mask);
    f->temporary = str_new("%s.XXXXXX.part", f->path);
    f->fd = mkostemps(f->temporary, 5, O_CLOEXEC);
    if (f->fd >= 0) {
        fchmod(f->fd, MODE & ~mask);
        return 0;
    }
    free(TAKE(f->temporary)); /* nothing to remove */
    return err_errno(e, "make a file beside '%s'", f->path);
}

int job_file_open(struct job_file *f, const char *path, bool replace, struct err *e)
{
    AUTO(free) char *folder = folder_of(path);
    int r;

    *f = (struct job_file){ .fd = -1, .replaced = -1, .path = xdup(path) };
    r = look_at_old(f, replace, e);
    if (r < 0 || f->device)
        return r;
    f->fd = open(folder, O_TMPFILE | O_RDWR | O_CLOEXEC, MODE);
    if (f->fd >= 0)
        return 0;
    if (errno != EOPNOTSUPP && errno != EISDIR && errno != EINVAL)
        return err_errno(e, "make a file in '%s'", folder);
    return make_temporary(f, e);
}

/* The first temporary name that is free.  0 or a negative errno. */
static int link_temporary(struct job_file *f, const char *from)
{
    for (u32 n = 0; n < 1000; n++) {
        char *name = str_new("%s.%d.%u.part", f->path, getpid(), n);

        if (linkat(AT_FDCWD, from, AT_FDCWD, name, AT_SYMLINK_FOLLOW) == 0) {
            f->temporary = name;
            return 0;
        }
        free(name);
        if (errno != EEXIST)
            break;
    }
    return -errno;
}

/* Gives the file without a name its own, or, because a link cannot replace a file, a temporary one. */
static int link_name(struct job_file *f, struct err *e)
{
    AUTO(free) char *from = str_new("/proc/self/fd/%d", f->fd);
    int r = 0;

    if (f->replaced >= 0)
        r = link_temporary(f, from);
    else if (linkat(AT_FDCWD, from, AT_FDCWD, f->path, AT_SYMLINK_FOLLOW) < 0)
        r = -errno;
    return r < 0 ? err_code(e, r, "give '%s' its name", f->path) : 0;
}

/* A name is on stable storage when its folder is. */
static int sync_folder(const char *path, struct err *e)
{
    AUTO(free) char *folder = folder_of(path);
    AUTO(fd) int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    if (fd < 0 || (fsync(fd) < 0 && errno != EINVAL))
        return err_errno(e, "sync folder '%s'", folder);
    return 0;
}

int job_file_commit(struct job_file *f, struct err *e)
{
    int r;

    if (f->device)
        return 0;
    if (fsync(f->fd) < 0)
        return err_errno(e, "sync '%s'", f->path);
    r = f->temporary ? 0 : link_name(f, e);
    if (r < 0)
        return r;
    if (f->temporary && renameat2(AT_FDCWD, f->temporary, AT_FDCWD, f->path,
                                  f->replaced >= 0 ? 0 : RENAME_NOREPLACE) < 0)
        return err_errno(e, "rename '%s' to '%s'", f->temporary, f->path);
    free(TAKE(f->temporary));
    return sync_folder(f->path, e);
}

void job_file_fini(struct job_file *f)
{
    if (f->temporary)
        unlink(f->temporary);
    free(f->temporary);
    fd_close(&f->replaced);
    fd_close(&f->fd);
    free(f->path);
    *f = (struct job_file){ .fd = -1, .replaced = -1 };
}
