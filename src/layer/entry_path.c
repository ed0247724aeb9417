/*
 * layer/entry_path.c: names of a layer's entries, and the directories that they lie in.
 */
#include "layer/beneath.h"
#include "layer/entry.h"

#include <fcntl.h>
#include <unistd.h>

/* Adds one name of `len` bytes; "" and "." add nothing. */
static int add_name(struct entry_path *p, const char *name, size_t len, struct err *e)
{
    size_t at = strlen(p->text);

    if (len == 0 || (len == 1 && name[0] == '.'))
        return 0;
    if (len == 2 && name[0] == '.' && name[1] == '.')
        return err_set(e, -EINVAL, "'..' is not allowed in a name");
    if (len > NAME_MAX || at + len + 2 > sizeof(p->text))
        return err_set(e, -ENAMETOOLONG, "its name is too long: at most %d bytes, %d in each part",
                       PATH_MAX - 1, NAME_MAX);
    if (at)
        p->text[at++] = '/';
    p->name = at;
    memcpy(p->text + at, name, len);
    p->text[at + len] = 0;
    return 1;
}

int entry_path_parse(const char *text, struct entry_path *ret, struct err *e)
{
    unsigned depth = 0;

    ret->text[0] = 0;
    ret->name = 0;
    if (!text)
        return err_set(e, -EINVAL, "it has no name that can be read");
    for (const char *at = text; *at;) {
        size_t len = strcspn(at, "/");
        int r = add_name(ret, at, len, e);

        if (r < 0)
            return r;
        depth += (unsigned)r;
        if (depth > UNPACK_DEPTH_MAX)
            return err_set(e, -ENAMETOOLONG, "it lies deeper than %d directories",
                           UNPACK_DEPTH_MAX);
        at += len + (at[len] == '/');
    }
    return 0;
}

/* Makes the directory `path`, whose last name is `name` in `parent`; it was missing, or only hidden. */
static int make_dir(struct unpack *u, int parent, const char *path, const char *name, struct err *e)
{
    const bool hidden = unlinkat(parent, name, 0) == 0;

    if (mkdirat(parent, name, 0755) < 0)
        return err_errno(e, "make directory '%.100s'", path);
    if (hidden && entry_set_opaque(u, parent, name, e) < 0)
        return e->code;
    return entry_note_dir(u, path, ENTRY_DIR_IMPLIED, e);
}

/* Is a directory to be made there before it can be opened? */
static bool is_missing(int parent, const char *name)
{
    struct stat st;

    return fstatat(parent, name, &st, AT_SYMLINK_NOFOLLOW) < 0 ? errno == ENOENT
                                                               : entry_is_whiteout(&st);
}

/* The directory `path`, whose last name is `name` in `parent`. */
static int open_dir(struct unpack *u, int parent, const char *path, const char *name, bool make,
                    struct err *e)
{
    int r = make && is_missing(parent, name) ? make_dir(u, parent, path, name, e) : 0;

    if (r < 0)
        return r;
    r = beneath_open(parent, name, O_PATH | O_DIRECTORY, 0);
    if (r == -ELOOP || r == -ENOTDIR)
        return err_set(e, -EINVAL, "'%.100s' in its path is no directory of this layer", path);
    return r < 0 ? err_code(e, r, "directory '%.100s'", path) : r;
}

int entry_parent(struct unpack *u, const struct entry_path *p, bool make, struct err *e)
{
    AUTO(fd) int fd = -1;
    char text[PATH_MAX];
    size_t len = p->name ? p->name - 1 : 0;
    int r;

    memcpy(text, p->text, len);
    text[len] = 0;
    fd = beneath_open(u->root, len ? text : ".", O_PATH | O_DIRECTORY, 0);
    if (fd >= 0)
        return TAKE_FD(fd);
    fd = beneath_open(u->root, ".", O_PATH | O_DIRECTORY, 0);
    if (fd < 0)
        return err_code(e, fd, "the layer's root");
    for (size_t at = 0, end; at < len; at = end + 1) {
        end = at + strcspn(text + at, "/");
        text[end] = 0;
        r = open_dir(u, fd, text, text + at, make, e);
        if (r < 0)
            return r;
        fd_close(&fd);
        fd = r;
        if (end < len)
            text[end] = '/';
    }
    return TAKE_FD(fd);
}
