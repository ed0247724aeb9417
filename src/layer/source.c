/*
 * layer/source.c: where an image comes from.
 */
#include "layer/source.h"

#include "layer/beneath.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

const char *const source_words[] = { "oci", "docker", "tar", "dir", NULL };

static int look(struct source *s, int spool, const struct stream_limits *limits, struct watch *w,
                struct err *e)
{
    struct stat st;

    if (fstat(s->fd, &st) < 0)
        return err_errno(e, "look at it");
    if (S_ISREG(st.st_mode)) {
        s->is_tar = true;
        s->size = (u64)st.st_size;
        return source_tar_look(s, spool, limits, w, e);
    }
    if (!S_ISDIR(st.st_mode))
        return err_set(e, -EINVAL, "it is no regular file and no directory");
    s->kind = fstatat(s->fd, "oci-layout", &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(st.st_mode) &&
                      fstatat(s->fd, "index.json", &st, AT_SYMLINK_NOFOLLOW) == 0
                  ? SOURCE_OCI
                  : SOURCE_DIR;
    return 0;
}

int source_open(int fd, int spool, const struct stream_limits *limits, struct watch *w,
                struct source **ret, struct err *e)
{
    AUTO(source) struct source *s = xnew(struct source);
    int r;

    s->fd = fd;
    r = look(s, spool, limits, w, e);
    if (r == 0)
        *ret = TAKE(s);
    return r;
}

static int file_blob(struct source *s, const char *name, struct blob **ret, struct err *e)
{
    AUTO(fd) int fd = beneath_open(s->fd, name, O_RDONLY | O_NONBLOCK, 0);
    struct stat st;

    if (fd < 0)
        return err_code(e, fd, "'%.100s' of the image", name);
    if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
        return err_set(e, -EINVAL, "'%.100s' of the image is no regular file", name);
    *ret = blob_of_own_file(TAKE_FD(fd), (u64)st.st_size);
    return 0;
}

static const struct source_entry *find(const struct source *s, const char *name)
{
    for (u32 i = 0; i < s->n_entries; i++)
        if (strcmp(s->entries[i].name, name) == 0)
            return s->entries + i;
    return NULL;
}

/* Where a link "../x/layer.tar" of `docker save` leads, seen from its own name: one directory up, and no more. */
static void follow(const struct source_entry *at, char *ret, size_t size)
{
    const char *target = at->link, *slash = strchr(at->name, '/');

    if (slash && str_starts(target, "../"))
        str_copy(ret, size, target + strlen("../"));
    else if (slash)
        str_fmt(ret, size, "%.*s/%s", (int)(slash - at->name), at->name, target);
    else
        str_copy(ret, size, target);
}

int source_blob(struct source *s, const char *name, struct blob **ret, struct err *e)
{
    const struct source_entry *at;
    char next[512];

    if (!s->is_tar)
        return file_blob(s, name, ret, e);
    at = find(s, name);
    for (unsigned i = 0; at && at->link && i < 4; i++) {
        follow(at, next, sizeof(next));
        at = find(s, next);
    }
    if (!at || at->link)
        return err_set(e, -ENOENT, "the image has no '%.100s'", name);
    return source_tar_blob(s, at, ret, e);
}

void source_free(struct source *s)
{
    if (!s)
        return;
    fd_close(&s->fd);
    for (u32 i = 0; i < s->n_entries; i++) {
        free(s->entries[i].name);
        free(s->entries[i].link);
    }
    free(s->entries);
    free(s);
}
