/*
 * layer/entry.c: one entry of a layer: a file, a directory, a link, or a mark that hides something below.
 * Nobody else writes into the layer meanwhile, and each name was made by us: so what is done to a single name in a directory that
 * is held, after it was made there, reaches what was made.
 */
#include "layer/entry.h"

#include "layer/beneath.h"

#include <fcntl.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#define WHITEOUT     ".wh."
#define WHITEOUT_OWN ".wh..wh." /* of AUFS itself; ".wh..wh..opq" is the one that layers know */
#define OPAQUE       ".wh..wh..opq"

/* An entry at its place. */
struct place {
    struct archive_entry *entry;
    struct entry_path path;
    int parent;       /* O_PATH */
    const char *name; /* its last name */
    mode_t mode;      /* with its type */
    bool was_hidden;  /* this layer had a whiteout there */
};

static int errno_at(const struct place *p, const char *what, struct err *e)
{
    return err_errno(e, "%s '%.100s'", what, p->path.text);
}

/* Owner, mode, time of what is no link and no directory, in this order: chown(2) takes the set-uid bits away. */
static int set_owner(struct unpack *u, const struct place *p, struct err *e)
{
    const s64 uid = archive_entry_uid(p->entry), gid = archive_entry_gid(p->entry);

    if (uid < 0 || gid < 0 || uid >= UINT32_MAX || gid >= UINT32_MAX)
        return err_set(e, -EINVAL, "owner %lld:%lld is none", uid, gid);
    if (u->cfg->single_id)
        return 0;
    if (fchownat(p->parent, p->name, (uid_t)uid, (gid_t)gid, AT_SYMLINK_NOFOLLOW) == 0)
        return 0;
    if (errno == EINVAL)
        return err_set(e, -EINVAL,
                       "owner %lld:%lld is none of the ids that may be used here (/etc/subuid, "
                       "/etc/subgid)",
                       uid, gid);
    return errno_at(p, "give an owner to", e);
}

static void get_mtime(const struct place *p, struct timespec ret[2])
{
    ret[0] = ret[1] = (struct timespec){ 0, 0 };
    if (archive_entry_mtime_is_set(p->entry)) {
        ret[1].tv_sec = archive_entry_mtime(p->entry);
        ret[1].tv_nsec = archive_entry_mtime_nsec(p->entry);
    }
    if (ret[1].tv_nsec < 0 || ret[1].tv_nsec >= (long)NSEC_PER_SEC)
        ret[1].tv_nsec = 0;
    ret[0] = ret[1];
}

static int set_mtime(const struct place *p, struct err *e)
{
    struct timespec t[2];

    get_mtime(p, t);
    return utimensat(p->parent, p->name, t, AT_SYMLINK_NOFOLLOW) < 0
               ? errno_at(p, "set times of", e)
               : 0;
}

static int set_mode(const struct place *p, struct err *e)
{
    return fchmodat(p->parent, p->name, p->mode & 07777, 0) < 0 ? errno_at(p, "set the mode of", e)
                                                                : 0;
}

static int copy_data(struct unpack *u, const struct place *p, int fd, struct err *e)
{
    const u64 size = (u64)max(archive_entry_size(p->entry), (la_int64_t)0);
    const void *data;
    size_t len;
    la_int64_t at;
    int r;

    while ((r = archive_read_data_block(u->archive, &data, &len, &at)) == ARCHIVE_OK) {
        if (at < 0 || !range_ok((u64)at, len, size))
            return err_set(e, -EBADMSG, "'%.100s' has more data than its %llu bytes", p->path.text,
                           size);
        r = fd_pwrite_all(fd, data, len, (u64)at);
        if (r < 0)
            return err_code(e, r, "write '%.100s'", p->path.text);
    }
    if (r != ARCHIVE_EOF)
        return err_set(e, -EBADMSG, "the data of '%.100s' ends too soon: %s", p->path.text,
                       archive_error_string(u->archive));
    if (ftruncate(fd, (off_t)size) < 0) /* a hole at its end */
        return errno_at(p, "write", e);
    u->stats->bytes += size;
    return 0;
}

static int make_file(struct unpack *u, struct place *p, struct err *e)
{
    AUTO(fd) int fd = beneath_open(p->parent, p->name, O_WRONLY | O_CREAT | O_EXCL, 0600);
    int r;

    if (fd < 0)
        return err_code(e, fd, "make '%.100s'", p->path.text);
    r = copy_data(u, p, fd, e);
    if (r == 0)
        r = set_owner(u, p, e);
    if (r == 0)
        r = set_mode(p, e);
    if (r == 0)
        r = entry_set_xattrs(u, p->entry, fd, e);
    return r < 0 ? r : set_mtime(p, e);
}

static int note_dir(struct unpack *u, const struct place *p, struct err *e)
{
    struct timespec t[2];
    struct dir_end d = { .mode = p->mode & 07777 };

    get_mtime(p, t);
    d.mtime = t[1];
    return entry_note_dir(u, p->path.text, d, e);
}

static int make_dir(struct unpack *u, struct place *p, struct err *e)
{
    AUTO(fd) int fd = -1;
    int r = 0;

    if (mkdirat(p->parent, p->name, 0755) < 0 && errno != EEXIST)
        return errno_at(p, "make directory", e);
    fd = beneath_open(p->parent, p->name, O_RDONLY | O_DIRECTORY, 0);
    if (fd < 0)
        return err_code(e, fd, "directory '%.100s'", p->path.text);
    if (p->was_hidden)
        r = entry_set_opaque(u, p->parent, p->name, e);
    if (r == 0)
        r = set_owner(u, p, e);
    if (r == 0)
        r = entry_set_xattrs(u, p->entry, fd, e);
    return r < 0 ? r : note_dir(u, p, e);
}

static int make_symlink(struct unpack *u, struct place *p, struct err *e)
{
    const char *target = archive_entry_symlink(p->entry);
    int r;

    if (!target || !*target || strlen(target) >= PATH_MAX)
        return err_set(e, -EINVAL,
                       "a symbolic link without a target, or with one that is too long");
    if (symlinkat(target, p->parent, p->name) < 0)
        return errno_at(p, "make link", e);
    r = set_owner(u, p, e);
    if (r == 0)
        r = entry_set_xattrs(u, p->entry, -1, e);
    return r < 0 ? r : set_mtime(p, e);
}

static int make_hardlink(struct unpack *u, struct place *p, struct err *e)
{
    const char *target = archive_entry_hardlink(p->entry);
    AUTO(fd) int parent = -1;
    struct entry_path to;
    struct stat st;
    int r = entry_path_parse(target, &to, e);

    if (r < 0)
        return err_wrap(e, "hard link to '%.40s'", target ? target : "");
    parent = entry_parent(u, &to, false, e);
    if (parent < 0)
        return err_wrap(e, "hard link to '%.100s', which is not in this layer", to.text);
    if (fstatat(parent, to.text + to.name, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return err_set(e, -EINVAL, "hard link to '%.100s', which is not in this layer", to.text);
    if (S_ISDIR(st.st_mode) || entry_is_whiteout(&st))
        return err_set(e, -EINVAL, "hard link to '%.100s', which is no file", to.text);
    if (linkat(parent, to.text + to.name, p->parent, p->name, 0) < 0)
        return errno_at(p, "make hard link", e);
    return 0;
}

/* A FIFO, or a device where they are allowed. */
static int make_node(struct unpack *u, struct place *p, struct err *e)
{
    const dev_t dev = S_ISFIFO(p->mode) ? 0 : archive_entry_rdev(p->entry);
    int r;

    if (mknodat(p->parent, p->name, p->mode & (S_IFMT | 0777), dev) < 0)
        return errno_at(p, S_ISFIFO(p->mode) ? "make FIFO" : "make device", e);
    r = set_owner(u, p, e);
    if (r == 0)
        r = set_mode(p, e);
    if (r == 0)
        r = entry_set_xattrs(u, p->entry, -1, e);
    return r < 0 ? r : set_mtime(p, e);
}

static int make_device(struct unpack *u, struct place *p, struct err *e)
{
    if (u->cfg->devices == UNPACK_DEVICES_MAKE)
        return make_node(u, p, e);
    return err_set(e, -EPERM,
                   "it is a device, which an image may not have; --allow-devices allows it");
}

/* What was at the entry's name goes, but a directory that becomes one again. */
static int clear_place(struct place *p, struct err *e)
{
    struct stat st;

    if (fstatat(p->parent, p->name, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return 0;
    p->was_hidden = entry_is_whiteout(&st);
    if (S_ISDIR(st.st_mode) && S_ISDIR(p->mode))
        return 0;
    if (unlinkat(p->parent, p->name, S_ISDIR(st.st_mode) ? AT_REMOVEDIR : 0) < 0)
        return errno_at(p, "replace", e);
    return 0;
}

/* ".wh.NAME" */
static int hide(struct unpack *u, struct place *p, struct err *e)
{
    const char *name = p->name + strlen(WHITEOUT);
    struct stat st;

    if (!*name || strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
        return err_set(e, -EINVAL, "it hides nothing that has a name");
    if (fstatat(p->parent, name, &st, AT_SYMLINK_NOFOLLOW) == 0) /* what is here stays */
        return S_ISDIR(st.st_mode) ? entry_set_opaque(u, p->parent, name, e) : 0;
    return mknodat(p->parent, name, S_IFCHR, makedev(0, 0)) < 0 ? errno_at(p, "make whiteout", e)
                                                                : 0;
}

static int make_root(struct unpack *u, struct place *p, struct err *e)
{
    int r;

    if (!S_ISDIR(p->mode))
        return err_set(e, -EINVAL, "it is the layer's root and no directory");
    p->parent = u->root;
    p->name = ".";
    r = set_owner(u, p, e);
    if (r == 0)
        r = entry_set_xattrs(u, p->entry, u->root, e);
    return r < 0 ? r : note_dir(u, p, e);
}

static int make_kind(struct unpack *u, struct place *p, struct err *e)
{
    if (archive_entry_hardlink(p->entry))
        return make_hardlink(u, p, e);
    switch (p->mode & S_IFMT) {
    case S_IFREG:
        return make_file(u, p, e);
    case S_IFDIR:
        return make_dir(u, p, e);
    case S_IFLNK:
        return make_symlink(u, p, e);
    case S_IFIFO:
        return make_node(u, p, e);
    case S_IFBLK:
    case S_IFCHR:
        return make_device(u, p, e);
    default:
        return err_set(e, -EINVAL, "it is of a kind that no file system has");
    }
}

/* Is there something in the path that would be taken for a mark when it is read again? */
static bool marks_in_path(const struct entry_path *p)
{
    return str_starts(p->text, WHITEOUT)
               ? p->name > 0
               : memmem(p->text, p->name, "/" WHITEOUT, strlen("/" WHITEOUT)) != NULL;
}

static bool is_left_out(const struct unpack *u, const struct place *p)
{
    const bool device = !archive_entry_hardlink(p->entry) && (S_ISBLK(p->mode) || S_ISCHR(p->mode));

    return S_ISSOCK(p->mode) || (device && u->cfg->devices == UNPACK_DEVICES_LEAVE_OUT) ||
           (str_starts(p->name, WHITEOUT_OWN) && strcmp(p->name, OPAQUE) != 0);
}

static int make_at(struct unpack *u, struct place *p, struct err *e)
{
    AUTO(fd) int parent = -1;
    int r;

    if (!p->path.text[0])
        return make_root(u, p, e);
    if (marks_in_path(&p->path))
        return err_set(e, -EINVAL, "'" WHITEOUT "' begins the name of a directory");
    p->name = p->path.text + p->path.name;
    if (is_left_out(u, p)) {
        u->stats->left_out++;
        return 0;
    }
    p->parent = parent = entry_parent(u, &p->path, true, e);
    if (parent < 0)
        return parent;
    if (strcmp(p->name, OPAQUE) == 0)
        return entry_set_opaque(u, parent, ".", e);
    if (str_starts(p->name, WHITEOUT))
        return hide(u, p, e);
    r = clear_place(p, e);
    return r < 0 ? r : make_kind(u, p, e);
}

int entry_make(struct unpack *u, struct archive_entry *entry, struct err *e)
{
    const char *name = archive_entry_pathname(entry);
    struct place p = { .entry = entry, .parent = -1, .mode = archive_entry_mode(entry) };
    int r = entry_path_parse(name, &p.path, e);

    if (r == 0)
        r = make_at(u, &p, e);
    return r < 0 ? err_wrap(e, "entry '%.60s'", name ? name : "") : 0;
}

int entry_note_dir(struct unpack *u, const char *path, struct dir_end d, struct err *e)
{
    if (u->dir_names.len + u->dirs.len > UNPACK_DIR_NAMES_MAX)
        return err_set(e, -EFBIG, "it has too many directories: at most %d bytes of their names",
                       UNPACK_DIR_NAMES_MAX);
    d.name = u->dir_names.len;
    strbuf_add_mem(&u->dir_names, path, strlen(path) + 1);
    strbuf_add_mem(&u->dirs, &d, sizeof(d));
    return 0;
}

int entry_finish_dirs(struct unpack *u, struct err *e)
{
    for (size_t at = 0; at < u->dirs.len; at += sizeof(struct dir_end)) {
        AUTO(fd) int fd = -1;
        struct dir_end d;
        const char *name;
        struct timespec t[2];

        memcpy(&d, u->dirs.text + at, sizeof(d));
        name = u->dir_names.text + d.name;
        fd = beneath_open(u->root, *name ? name : ".", O_RDONLY | O_DIRECTORY, 0);
        if (fd == -ENOENT || fd == -ENOTDIR || fd == -ELOOP)
            continue; /* something else took its place later */
        if (fd < 0)
            return err_code(e, fd, "directory '%.100s'", name);
        t[0] = t[1] = d.mtime;
        if (fchmod(fd, d.mode) < 0 || futimens(fd, t) < 0)
            return err_errno(e, "set mode and times of '%.100s'", name);
    }
    return 0;
}
