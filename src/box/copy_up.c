/*
 * box/copy_up.c: copies a tree.  What is read is an image's: links are copied and not followed, nothing is waited for, and the
 * depth is limited, as each level keeps two descriptors open.
 */
#include "box/copy_up.h"

#include "box/path.h"

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <unistd.h>

enum { DEPTH_MAX = 128 };

struct level {
    DIR *from;
    int to;
    struct stat st; /* of the directory: set when all is in it */
};

struct copying {
    struct level levels[DEPTH_MAX];
    unsigned depth;
};

/* Owners that have no number here stay as they were made. */
static int set_all(int dir, const char *name, const struct stat *st)
{
    const struct timespec times[] = { st->st_atim, st->st_mtim };

    if (fchownat(dir, name, st->st_uid, st->st_gid, AT_SYMLINK_NOFOLLOW) < 0 && errno != EINVAL)
        return -errno;
    if (!S_ISLNK(st->st_mode) && fchmodat(dir, name, st->st_mode & 07777, 0) < 0)
        return -errno;
    return utimensat(dir, name, times, AT_SYMLINK_NOFOLLOW) < 0 ? -errno : 0;
}

static int copy_file(int from, int to, const char *name)
{
    AUTO(fd) int in = path_open_beneath(from, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK);
    AUTO(fd) int out = -1;
    ssize_t n;

    if (in < 0)
        return in;
    out = openat(to, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (out < 0)
        return -errno;
    do
        n = sendfile(out, in, NULL, 1 << 30);
    while (n > 0 || (n < 0 && errno == EINTR));
    return n < 0 ? -errno : 0;
}

static int copy_link(int from, int to, const char *name)
{
    char text[PATH_MAX];
    ssize_t n = readlinkat(from, name, text, sizeof(text) - 1);

    if (n < 0)
        return -errno;
    text[n] = 0;
    return symlinkat(text, to, name) < 0 ? -errno : 0;
}

static int push(struct copying *c, int from, int to, const struct stat *st)
{
    struct level *l = &c->levels[c->depth];

    if (c->depth == DEPTH_MAX)
        return -ELOOP;
    *l = (struct level){ .to = -1, .st = *st };
    l->from = fdopendir(from);
    if (!l->from) {
        close(from);
        return -errno;
    }
    c->depth++;
    l->to = openat(to, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return l->to < 0 ? -errno : 0;
}

static void pop(struct copying *c)
{
    struct level *l = &c->levels[--c->depth];

    closedir(l->from);
    fd_close(&l->to);
}

static int enter(struct copying *c, int from, int to, const char *name, const struct stat *st)
{
    AUTO(fd) int made = -1;
    int in;

    if (mkdirat(to, name, 0700) < 0)
        return -errno;
    in = path_open_beneath(from, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
    if (in == -EXDEV)
        return set_all(to, name, st);
    if (in < 0)
        return in;
    made = openat(to, name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (made < 0) {
        close(in);
        return -errno;
    }
    return push(c, in, made, st);
}

static int copy_entry(struct copying *c, const char *name)
{
    const struct level *l = &c->levels[c->depth - 1];
    const int from = dirfd(l->from);
    struct stat st;
    int r;

    if (fstatat(from, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return -errno;
    if (S_ISDIR(st.st_mode))
        return enter(c, from, l->to, name, &st);
    if (S_ISREG(st.st_mode))
        r = copy_file(from, l->to, name);
    else if (S_ISLNK(st.st_mode))
        r = copy_link(from, l->to, name);
    else
        r = mknodat(l->to, name, st.st_mode, st.st_rdev) < 0 ? -errno : 0;
    return r < 0 ? r : set_all(l->to, name, &st);
}

/* The next entry of the deepest directory, or its end. */
static int step(struct copying *c, bool top, struct err *e)
{
    struct level *l = &c->levels[c->depth - 1];
    struct dirent *entry;
    int r = 0;

    errno = 0;
    entry = readdir(l->from);
    if (!entry && errno)
        return err_errno(e, "read a directory");
    if (!entry) {
        if (c->depth > 1 || top)
            r = set_all(l->to, ".", &l->st);
        pop(c);
        return r < 0 ? err_code(e, r, "owner and mode of a directory") : 0;
    }
    if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
        return 0;
    r = copy_entry(c, entry->d_name);
    return r < 0 ? err_code(e, r, "copy '%.100s'", entry->d_name) : 0;
}

int copy_up(int from, int to, bool top, struct err *e)
{
    struct copying c = {};
    struct stat st;
    int in = openat(from, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), r;

    if (in < 0)
        return err_errno(e, "open the directory");
    if (fstat(in, &st) < 0) {
        close(in);
        return err_errno(e, "look at the directory");
    }
    r = push(&c, in, to, &st);
    if (r < 0)
        err_code(e, r, "open the directory");
    while (r == 0 && c.depth > 0)
        r = step(&c, top, e);
    while (c.depth > 0)
        pop(&c);
    return r;
}
