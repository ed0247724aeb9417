/*
 * layer/pack.c: a directory becomes the tar of a layer, by libarchive.
 * The walk holds one descriptor for each directory from the root to where it is, and the sorted names that are left in each.
 */
#include "layer/pack.h"

#include "layer/beneath.h"

#include <archive.h>
#include <archive_entry.h>
#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

enum { CHUNK = 256 * 1024, NAMES_MAX = 64 * 1024 * 1024 };

struct level {
    int fd;
    char **names; /* sorted, owned from `at` on */
    size_t n, at;
};

struct pack {
    struct archive *archive;
    struct archive_entry_linkresolver *links;
    struct level levels[PACK_DEPTH_MAX];
    unsigned depth;
    char path[PATH_MAX];
    u64 entries;
    char buf[CHUNK];
};

static int by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static int add_names(struct level *l, DIR *d, struct err *e)
{
    struct dirent *de;
    size_t room = 0;

    while ((de = readdir(d))) {
        if (strcmp(de->d_name, ".") == 0 || strcmp(de->d_name, "..") == 0)
            continue;
        if (l->n == room) {
            char **more = try_new(char *, room ? 2 * room : 64, NAMES_MAX);

            if (!more)
                return err_set(e, -EFBIG, "a directory has more than %zu entries", room);
            if (l->n)
                memcpy(more, l->names, l->n * sizeof(*more));
            free(l->names);
            l->names = more;
            room = room ? 2 * room : 64;
        }
        l->names[l->n++] = xdup(de->d_name);
    }
    if (l->n)
        qsort(l->names, l->n, sizeof(*l->names), by_name);
    return 0;
}

/* `fd` is the level's afterwards, also after a failure. */
static int enter(struct pack *p, int fd, struct err *e)
{
    struct level *l = p->levels + p->depth;
    AUTO(fd) int copy = -1;
    DIR *d;
    int r;

    if (p->depth == PACK_DEPTH_MAX) {
        close(fd);
        return err_set(e, -ENAMETOOLONG, "'%.100s' lies deeper than %d directories", p->path,
                       PACK_DEPTH_MAX);
    }
    *l = (struct level){ .fd = fd };
    p->depth++;
    copy = beneath_open(fd, ".", O_RDONLY | O_DIRECTORY, 0);
    d = copy < 0 ? NULL : fdopendir(copy);
    if (!d)
        return err_errno(e, "read directory '%.100s'", p->path);
    TAKE_FD(copy);
    r = add_names(l, d, e);
    closedir(d);
    return r;
}

static void leave(struct pack *p)
{
    struct level *l = p->levels + --p->depth;
    char *slash = strrchr(p->path, '/');

    while (l->at < l->n)
        free(l->names[l->at++]);
    free(l->names);
    fd_close(&l->fd);
    *(slash ? slash : p->path) = 0;
}

static int archive_fail(struct pack *p, struct err *e)
{
    const char *why = archive_error_string(p->archive);

    return err_set(e, -EIO, "pack '%.100s': %s", p->path, why ? why : "it cannot be written");
}

/* Those that a layer keeps; others would be left out there. */
static void add_xattrs(struct pack *p, struct archive_entry *entry, int fd)
{
    char names[4096];
    ssize_t len = flistxattr(fd, names, sizeof(names));

    for (ssize_t at = 0; at < len; at += (ssize_t)strlen(names + at) + 1) {
        const char *name = names + at;
        ssize_t n;

        if (strcmp(name, "security.capability") != 0 && !str_starts(name, "user."))
            continue;
        n = fgetxattr(fd, name, p->buf, sizeof(p->buf));
        if (n >= 0)
            archive_entry_xattr_add_entry(entry, name, p->buf, (size_t)n);
    }
}

static int write_data(struct pack *p, int fd, u64 size, struct err *e)
{
    for (u64 at = 0; at < size;) {
        ssize_t n = pread(fd, p->buf, (size_t)min((u64)CHUNK, size - at), (off_t)at);

        if (n < 0)
            return err_errno(e, "read '%.100s'", p->path);
        if (n == 0)
            return err_set(e, -EIO, "'%.100s' became shorter meanwhile", p->path);
        if (archive_write_data(p->archive, p->buf, (size_t)n) != n)
            return archive_fail(p, e);
        at += (u64)n;
    }
    return 0;
}

/* What lies at the level's name; a descriptor of what can be opened, else -1 in *ret_fd. */
static int look(struct pack *p, const char *name, int *ret_fd, struct stat *st, struct err *e)
{
    const int dir = p->levels[p->depth - 1].fd;

    if (fstatat(dir, name, st, AT_SYMLINK_NOFOLLOW) < 0)
        return err_errno(e, "'%.100s'", p->path);
    if (!S_ISDIR(st->st_mode) && !S_ISREG(st->st_mode))
        return 0;
    *ret_fd = beneath_open(dir, name, O_RDONLY | O_NONBLOCK | O_NOFOLLOW, 0);
    if (*ret_fd == -EXDEV)
        return 0; /* something is mounted there: an empty directory */
    if (*ret_fd < 0)
        return err_code(e, *ret_fd, "open '%.100s'", p->path);
    return fstat(*ret_fd, st) < 0 ? err_errno(e, "'%.100s'", p->path) : 0;
}

static int describe(struct pack *p, struct archive_entry *entry, const char *name, int fd,
                    const struct stat *st, struct err *e)
{
    char target[PATH_MAX];
    ssize_t n;

    archive_entry_copy_stat(entry, st);
    archive_entry_copy_pathname(entry, p->path);
    archive_entry_unset_atime(entry); /* they change by being read, and by being copied */
    archive_entry_unset_ctime(entry);
    archive_entry_unset_birthtime(entry);
    if (S_ISLNK(st->st_mode)) {
        n = readlinkat(p->levels[p->depth - 1].fd, name, target, sizeof(target) - 1);
        if (n < 0)
            return err_errno(e, "read link '%.100s'", p->path);
        target[n] = 0;
        archive_entry_copy_symlink(entry, target);
    }
    if (fd >= 0)
        add_xattrs(p, entry, fd);
    return 0;
}

static int write_entry(struct pack *p, struct archive_entry *entry, int fd, struct err *e)
{
    struct archive_entry *whole = entry, *later = NULL;

    if (++p->entries > PACK_ENTRIES_MAX)
        return err_set(e, -EFBIG, "it has more than %d entries", PACK_ENTRIES_MAX);
    if (archive_entry_filetype(entry) != AE_IFDIR)
        archive_entry_linkify(p->links, &whole, &later);
    if (archive_write_header(p->archive, entry) != ARCHIVE_OK)
        return archive_fail(p, e);
    return fd >= 0 && S_ISREG(archive_entry_mode(entry))
               ? write_data(p, fd, (u64)archive_entry_size(entry), e)
               : 0;
}

/* The next name of the deepest level. */
static int pack_one(struct pack *p, const char *name, struct err *e)
{
    struct archive_entry *entry;
    size_t len = strlen(p->path);
    AUTO(fd) int fd = -1;
    struct stat st;
    int r;

    if (!str_fmt(p->path + len, sizeof(p->path) - len, "%s%s", len ? "/" : "", name))
        return err_set(e, -ENAMETOOLONG, "the name of '%.60s' is longer than %d bytes", name,
                       PATH_MAX - 1);
    r = look(p, name, &fd, &st, e);
    if (r == 0 && !S_ISSOCK(st.st_mode)) {
        entry = archive_entry_new();
        r = describe(p, entry, name, fd, &st, e);
        if (r == 0)
            r = write_entry(p, entry, fd, e);
        archive_entry_free(entry);
    }
    if (r == 0 && fd >= 0 && S_ISDIR(st.st_mode))
        return enter(p, TAKE_FD(fd), e);
    p->path[len] = 0;
    return r;
}

static int pack_root(struct pack *p, int dir, struct err *e)
{
    struct archive_entry *entry = archive_entry_new();
    AUTO(fd) int fd = beneath_open(dir, ".", O_RDONLY | O_DIRECTORY, 0);
    struct stat st;
    int r = fd < 0 || fstat(fd, &st) < 0 ? err_errno(e, "open the directory") : 0;

    str_copy(p->path, sizeof(p->path), ".");
    if (r == 0)
        r = describe(p, entry, ".", fd, &st, e);
    if (r == 0)
        r = write_entry(p, entry, fd, e);
    archive_entry_free(entry);
    p->path[0] = 0;
    return r < 0 ? r : enter(p, TAKE_FD(fd), e);
}

static int pack_all(struct pack *p, int dir, struct err *e)
{
    int r = pack_root(p, dir, e);

    while (r == 0 && p->depth) {
        struct level *l = p->levels + p->depth - 1;
        char *name;

        if (l->at == l->n) {
            leave(p);
            continue;
        }
        name = l->names[l->at++];
        r = pack_one(p, name, e);
        free(name);
    }
    while (p->depth)
        leave(p);
    return r;
}

int pack_dir(int dir, int spool, u64 *ret_size, struct err *e)
{
    AUTO(fd) int fd = beneath_open(spool, ".", O_TMPFILE | O_RDWR, 0600);
    struct pack *p;
    struct stat st;
    int r;

    if (fd < 0)
        return err_code(e, fd, "make a file for the directory's tar");
    p = xnew(struct pack);
    p->archive = archive_write_new();
    p->links = archive_entry_linkresolver_new();
    must(p->archive && p->links);
    archive_write_set_format_pax_restricted(p->archive);
    archive_write_set_options(p->archive, "hdrcharset=BINARY");
    archive_entry_linkresolver_set_strategy(p->links, ARCHIVE_FORMAT_TAR);
    r = archive_write_open_fd(p->archive, fd) == ARCHIVE_OK ? pack_all(p, dir, e)
                                                            : archive_fail(p, e);
    if (r == 0 && archive_write_close(p->archive) != ARCHIVE_OK)
        r = archive_fail(p, e);
    archive_write_free(p->archive);
    archive_entry_linkresolver_free(p->links);
    free(p);
    if (r == 0 && fstat(fd, &st) < 0)
        r = err_errno(e, "size of the directory's tar");
    if (r < 0)
        return r;
    *ret_size = (u64)st.st_size;
    return TAKE_FD(fd);
}
