/*
 * share/op_make.c: requests by which names come and go.
 */
#include "share/cred.h"
#include "share/share_internal.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

/* No device files: they would be the host's, for whoever on the host reaches the folder. */
int op_mknod(struct share *s, struct share_op *op)
{
    const struct fuse_mknod_in *in = op->in;
    const dev_t dev =
        makedev(in->rdev >> 8 & 0xfff, (in->rdev & 0xff) | (in->rdev >> 12 & 0xfff00));
    const bool whiteout = S_ISCHR(in->mode) && dev == 0; /* of overlayfs, which is no device */
    int r, at = node_fd(&s->nodes, op->node);

    if (at < 0)
        return at;
    if ((S_ISCHR(in->mode) || S_ISBLK(in->mode)) && !whiteout)
        return -EPERM;
    cred_take(s, op->h);
    r = mknodat(at, op->name[0], in->mode, dev) < 0 ? -errno : 0;
    cred_back(s);
    return r < 0 ? r : op_lookup(s, op);
}

int op_mkdir(struct share *s, struct share_op *op)
{
    const struct fuse_mkdir_in *in = op->in;
    int r, at = node_fd(&s->nodes, op->node);

    if (at < 0)
        return at;
    cred_take(s, op->h);
    r = mkdirat(at, op->name[0], in->mode & 07777) < 0 ? -errno : 0;
    cred_back(s);
    return r < 0 ? r : op_lookup(s, op);
}

int op_symlink(struct share *s, struct share_op *op)
{
    int r, at = node_fd(&s->nodes, op->node);

    if (at < 0)
        return at;
    cred_take(s, op->h);
    r = symlinkat(op->name[1], at, op->name[0]) < 0 ? -errno : 0;
    cred_back(s);
    return r < 0 ? r : op_lookup(s, op);
}

/* By its name in /proc/self/fd, which also is how a file without any name gets its first. */
int op_link(struct share *s, struct share_op *op)
{
    const struct fuse_link_in *in = op->in;
    struct node *n = node_get(&s->nodes, in->oldnodeid);
    struct fd_name name;
    int at, r;

    if (!n)
        return -ESTALE;
    at = node_fd(&s->nodes, op->node);
    if (at < 0)
        return at;
    r = op_name_of(s, n, &name);
    if (r < 0)
        return r;
    if (linkat(s->fds, name.text, at, op->name[0], AT_SYMLINK_FOLLOW) < 0)
        return -errno;
    return op_lookup(s, op);
}

static int take_away(struct share *s, struct share_op *op, int flags)
{
    struct node *gone;
    int at, r = node_hold(&s->nodes, op->node, op->name[0], &gone);

    if (r < 0)
        return r;
    at = node_fd(&s->nodes, op->node);
    if (at < 0)
        return at;
    if (unlinkat(at, op->name[0], flags) < 0)
        return -errno;
    node_unlinked(&s->nodes, gone);
    return 0;
}

int op_unlink(struct share *s, struct share_op *op)
{
    return take_away(s, op, 0);
}

int op_rmdir(struct share *s, struct share_op *op)
{
    return take_away(s, op, AT_REMOVEDIR);
}

static int rename_to(struct share *s, struct share_op *op, u64 dir_id, u32 flags)
{
    struct node *dir = node_get(&s->nodes, dir_id), *moved, *replaced;
    int from, to, r;

    if (!dir)
        return -ESTALE;
    r = node_hold(&s->nodes, op->node, op->name[0], &moved);
    if (r >= 0)
        r = node_hold(&s->nodes, dir, op->name[1], &replaced);
    if (r < 0)
        return r;
    to = node_fd(&s->nodes, dir);
    from = node_fd(&s->nodes, op->node);
    if (to < 0 || from < 0)
        return min(to, from);
    if (renameat2(from, op->name[0], to, op->name[1], flags) < 0)
        return -errno;
    if (flags & RENAME_EXCHANGE) {
        node_renamed(&s->nodes, moved, dir, op->name[1]);
        node_renamed(&s->nodes, replaced, op->node, op->name[0]);
        return 0;
    }
    if (replaced != moved)
        node_unlinked(&s->nodes, replaced);
    node_renamed(&s->nodes, moved, dir, op->name[1]);
    return 0;
}

int op_rename(struct share *s, struct share_op *op)
{
    const struct fuse_rename_in *in = op->in;

    return rename_to(s, op, in->newdir, 0);
}

int op_rename2(struct share *s, struct share_op *op)
{
    const struct fuse_rename2_in *in = op->in;

    if (in->flags & ~(u32)(RENAME_NOREPLACE | RENAME_EXCHANGE | RENAME_WHITEOUT))
        return -EINVAL;
    return rename_to(s, op, in->newdir, in->flags);
}

/* ---- made and opened at once ---- */

/* The new file `fd`, called `name` in the request's directory, or nothing yet. */
static int put_created(struct share *s, struct share_op *op, const char *name, int fd)
{
    AUTO(fd) int own = fd;
    AUTO(fd) int path = -1;
    char number[12];
    struct statx x;
    struct node *n;
    int r;

    str_fmt(number, sizeof(number), "%d", own);
    path = openat(s->fds, number, O_PATH | O_CLOEXEC);
    if (path < 0)
        return -errno;
    r = node_found(&s->nodes, op->node, name, TAKE_FD(path), &n, &x);
    if (r < 0)
        return r;
    op_put_entry(s, op, n, &x);
    r = op_put_open(s, op, TAKE_FD(own), 0);
    if (r < 0)
        node_forget(&s->nodes, node_id(&s->nodes, n), 1);
    return r;
}

/*
 * That the name is new is what the guest believes, and so it did not look whether its program may open what is there: ESTALE makes it look.
 * (fs/namei.c, do_filp_open)
 */
int op_create(struct share *s, struct share_op *op)
{
    const struct fuse_create_in *in = op->in;
    const int flags = (int)(in->flags & O_ACCMODE) | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC;
    int fd, r, at = node_fd(&s->nodes, op->node);

    if (at < 0)
        return at;
    if ((in->flags & O_ACCMODE) == O_ACCMODE)
        return -EINVAL;
    cred_take(s, op->h);
    fd = openat(at, op->name[0], flags, in->mode & 07777);
    r = -errno;
    cred_back(s);
    if (fd < 0)
        return r == -EEXIST && !(in->flags & O_EXCL) ? -ESTALE : r;
    return put_created(s, op, op->name[0], fd);
}

int op_tmpfile(struct share *s, struct share_op *op)
{
    const struct fuse_create_in *in = op->in;
    const int flags = (int)(in->flags & (O_ACCMODE | O_EXCL)) | O_TMPFILE | O_CLOEXEC;
    struct fd_name name;
    int fd, r = op_name_of(s, op->node, &name);

    if (r < 0)
        return r;
    if (op->node->type != S_IFDIR)
        return -ENOTDIR;
    if ((in->flags & O_ACCMODE) != O_RDWR && (in->flags & O_ACCMODE) != O_WRONLY)
        return -EINVAL;
    cred_take(s, op->h);
    fd = openat(s->fds, name.text, flags, in->mode & 07777);
    r = -errno;
    cred_back(s);
    return fd < 0 ? r : put_created(s, op, NULL, fd);
}
