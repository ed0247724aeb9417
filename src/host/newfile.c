/*
 * host/newfile.c: a file that appears under its name when it is complete, or never.
 * It has no name until then (open(2), O_TMPFILE), so that nothing is left of one whose writer was killed; where the file system cannot do
 * that, it has a temporary one.
 */
#include "host/newfile.h"

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

/* The folder that `path` is in, with its last slash.  Owned. */
static char *folder_of(const char *path)
{
    const char *slash = strrchr(path, '/');

    return slash ? str_new("%.*s", (int)(slash + 1 - path), path) : xdup("./");
}

static int from_root(const char *path, char **ret, struct err *e)
{
    AUTO(free) char *folder = folder_of(path);
    const char *slash = strrchr(path, '/');
    char real[PATH_MAX];

    if (!realpath(folder, real))
        return err_errno(e, "folder '%s'", folder);
    *ret = str_new("%s/%s", strcmp(real, "/") == 0 ? "" : real, slash ? slash + 1 : path);
    return 0;
}

int newfile_open(struct newfile *f, const char *path, struct err *e)
{
    AUTO(free) char *folder = NULL;
    struct stat st;
    int r;

    *f = (struct newfile){ .fd = -1 };
    if (stat(path, &st) == 0 && !S_ISREG(st.st_mode))
        return err_set(e, -EEXIST, "'%s' is something else than a file", path);
    r = from_root(path, &f->path, e);
    if (r < 0)
        return r;
    folder = folder_of(f->path);
    f->fd = open(folder, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    if (f->fd >= 0)
        return 0;
    if (errno != EOPNOTSUPP && errno != EISDIR && errno != EINVAL)
        return err_errno(e, "make a file in '%s'", folder);
    f->temp = str_new("%s.XXXXXX", f->path);
    f->fd = mkostemp(f->temp, O_CLOEXEC);
    return f->fd < 0 ? err_errno(e, "make a file '%s'", f->temp) : 0;
}

/* Gives the file that has no name a temporary one: a link cannot take the place of another file. */
static int link_temp(struct newfile *f)
{
    char self[64];

    str_fmt(self, sizeof(self), "/proc/self/fd/%d", f->fd);
    for (u32 i = 0; i < 1000; i++) {
        char *temp = str_new("%s.%d.%u", f->path, (int)getpid(), i);

        if (linkat(AT_FDCWD, self, AT_FDCWD, temp, AT_SYMLINK_FOLLOW) == 0) {
            f->temp = temp;
            return 0;
        }
        free(temp);
        if (errno != EEXIST)
            return -errno;
    }
    return -EEXIST;
}

int newfile_keep(struct newfile *f, struct err *e)
{
    AUTO(free) char *folder = folder_of(f->path);
    AUTO(fd) int dir = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int r = f->temp ? 0 : link_temp(f);

    if (r < 0)
        return err_code(e, r, "give '%s' its name", f->path);
    if (rename(f->temp, f->path) < 0)
        return err_errno(e, "give '%s' its name", f->path);
    free(TAKE(f->temp));
    if (dir < 0 || fsync(dir) < 0)
        return err_errno(e, "folder '%s'", folder);
    return 0;
}

void newfile_fini(struct newfile *f)
{
    if (f->temp)
        unlink(f->temp);
    fd_close(&f->fd);
    free(f->temp);
    free(f->path);
    *f = (struct newfile){ .fd = -1 };
}

int newfile_json(const char *path, json_t *j, struct err *e)
{
    AUTO(free) char *text = json_dumps(j, JSON_INDENT(2));
    struct newfile f;
    int r = newfile_open(&f, path, e);

    json_decref(j);
    must(text);
    if (r >= 0 && ((r = fd_write_all(f.fd, text, strlen(text))) < 0 || fsync(f.fd) < 0))
        r = err_code(e, r < 0 ? r : -errno, "write '%s'", path);
    if (r >= 0)
        r = newfile_keep(&f, e);
    newfile_fini(&f);
    return r;
}
