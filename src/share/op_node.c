/*
 * share/op_node.c: requests about a file by its node: what is where, its attributes, its file system.
 */
#include "base/clock.h"
#include "share/share_internal.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <unistd.h>

/* So long does the guest believe what it was told of a name or a file before it asks again. */
#define VALID_S 1

/* As the guest's kernel takes a device number apart (new_decode_dev). */
static u32 encode_dev(u32 major, u32 minor)
{
    return (minor & 0xff) | major << 8 | (minor & ~0xffu) << 12;
}

u32 op_rdev(const struct statx *x)
{
    return encode_dev(x->stx_rdev_major, x->stx_rdev_minor);
}

void op_attr(const struct share *s, const struct node *dir, const struct statx *x,
             struct fuse_attr *ret)
{
    *ret = (struct fuse_attr){
        .ino = x->stx_ino,
        .size = x->stx_size,
        .blocks = x->stx_blocks,
        .atime = (u64)x->stx_atime.tv_sec,
        .mtime = (u64)x->stx_mtime.tv_sec,
        .ctime = (u64)x->stx_ctime.tv_sec,
        .atimensec = x->stx_atime.tv_nsec,
        .mtimensec = x->stx_mtime.tv_nsec,
        .ctimensec = x->stx_ctime.tv_nsec,
        .mode = x->stx_mode,
        .nlink = x->stx_nlink,
        .uid = x->stx_uid,
        .gid = x->stx_gid,
        .rdev = op_rdev(x),
        .blksize = x->stx_blksize,
    };
    if (s->submounts && dir && S_ISDIR(x->stx_mode) && dir->mount != x->stx_mnt_id)
        ret->flags = FUSE_ATTR_SUBMOUNT;
}

void op_entry(const struct share *s, const struct node *dir, const struct node *n,
              const struct statx *x, struct fuse_entry_out *ret)
{
    *ret = (struct fuse_entry_out){ .nodeid = node_id(&s->nodes, n),
                                    .entry_valid = VALID_S,
                                    .attr_valid = VALID_S };
    op_attr(s, dir, x, &ret->attr);
}

void op_put_entry(struct share *s, struct share_op *op, const struct node *n, const struct statx *x)
{
    struct fuse_entry_out out;

    op_entry(s, op->node, n, x, &out);
    op_put(op, &out, sizeof(out));
}

int op_lookup(struct share *s, struct share_op *op)
{
    struct statx x;
    struct node *n;
    int r = node_lookup(&s->nodes, op->node, op->name[0], &n, &x);

    if (r < 0)
        return r;
    op_put_entry(s, op, n, &x);
    return 0;
}

int op_forget(struct share *s, struct share_op *op)
{
    const struct fuse_forget_in *in = op->in;

    node_forget(&s->nodes, op->h->nodeid, in->nlookup);
    return 0;
}

int op_batch_forget(struct share *s, struct share_op *op)
{
    const struct fuse_batch_forget_in *in = op->in;
    const struct fuse_forget_one *one = (const struct fuse_forget_one *)op->data;

    if (in->count > op->data_len / sizeof(*one))
        return -EINVAL;
    for (u32 i = 0; i < in->count; i++)
        node_forget(&s->nodes, one[i].nodeid, one[i].nlookup);
    return 0;
}

static int put_attr(struct share *s, struct share_op *op)
{
    struct fuse_attr_out out = { .attr_valid = VALID_S };
    struct statx x;
    int r = node_fd(&s->nodes, op->node);

    if (r >= 0)
        r = node_stat(r, &x);
    if (r < 0)
        return r;
    op_attr(s, NULL, &x, &out.attr);
    op_put(op, &out, sizeof(out));
    return 0;
}

int op_getattr(struct share *s, struct share_op *op)
{
    return put_attr(s, op);
}

/* ---- changing attributes ---- */

static int set_owner(struct share *s, struct node *n, const struct fuse_setattr_in *in)
{
    const u32 uid = in->valid & FATTR_UID ? in->uid : ~0u,
              gid = in->valid & FATTR_GID ? in->gid : ~0u;
    int fd = node_fd(&s->nodes, n);

    if (fd < 0)
        return fd;
    if (fchownat(fd, "", uid, gid, AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW) == 0)
        return 0;
    return errno == EINVAL ? -EPERM : -errno; /* EINVAL: who is not mapped in our user namespace */
}

static int set_size_of(int fd, const struct fuse_setattr_in *in)
{
    if (ftruncate(fd, (off_t)in->size) < 0)
        return -errno;
    return in->valid & FATTR_KILL_SUIDGID ? op_strip_ids(fd) : 0;
}

/* What is open for writing stays so, whatever the file's mode became. */
static int set_size(struct share *s, struct node *n, const struct fuse_setattr_in *in)
{
    const struct handle *h = in->valid & FATTR_FH ? handle_get(s, in->fh, false) : NULL;
    AUTO(fd) int fd = -1;
    struct fd_name name;
    int r;

    if (in->size > INT64_MAX)
        return -EFBIG;
    if (h)
        return set_size_of(h->fd, in);
    if (n->type != S_IFREG)
        return n->type == S_IFDIR ? -EISDIR : -EINVAL;
    r = op_name_of(s, n, &name);
    if (r < 0)
        return r;
    fd = openat(s->fds, name.text, O_WRONLY | O_CLOEXEC | O_NONBLOCK);
    return fd < 0 ? -errno : set_size_of(fd, in);
}

static struct timespec time_of(u32 valid, u32 set, u32 now, u64 sec, u32 nsec)
{
    if (!(valid & set))
        return (struct timespec){ .tv_nsec = UTIME_OMIT };
    if (valid & now)
        return (struct timespec){ .tv_nsec = UTIME_NOW };
    return (struct timespec){ (time_t)sec, (long)nsec };
}

static int set_times(struct share *s, struct node *n, const struct fuse_setattr_in *in)
{
    const struct timespec times[2] = {
        time_of(in->valid, FATTR_ATIME, FATTR_ATIME_NOW, in->atime, in->atimensec),
        time_of(in->valid, FATTR_MTIME, FATTR_MTIME_NOW, in->mtime, in->mtimensec),
    };
    struct fd_name name;
    int r;

    if (in->atimensec >= NSEC_PER_SEC || in->mtimensec >= NSEC_PER_SEC)
        return -EINVAL;
    r = op_name_of(s, n, &name);
    if (r < 0)
        return r;
    return utimensat(s->fds, name.text, times, 0) < 0 ? -errno : 0;
}

static int set_mode(struct share *s, struct node *n, const struct fuse_setattr_in *in)
{
    struct fd_name name;
    int r;

    if (n->type == S_IFLNK)
        return -EOPNOTSUPP;
    r = op_name_of(s, n, &name);
    if (r < 0)
        return r;
    return fchmodat(s->fds, name.text, in->mode & 07777, 0) < 0 ? -errno : 0;
}

/* The owner first: to change it takes set-id bits away, which the same request may give. */
int op_setattr(struct share *s, struct share_op *op)
{
    const struct fuse_setattr_in *in = op->in;
    int r = 0;

    if (in->valid & (FATTR_UID | FATTR_GID))
        r = set_owner(s, op->node, in);
    if (r >= 0 && in->valid & FATTR_SIZE)
        r = set_size(s, op->node, in);
    if (r >= 0 && in->valid & FATTR_MODE)
        r = set_mode(s, op->node, in);
    if (r >= 0 && in->valid & (FATTR_ATIME | FATTR_MTIME))
        r = set_times(s, op->node, in);
    return r < 0 ? r : put_attr(s, op);
}

/* ---- links and file systems ---- */

int op_readlink(struct share *s, struct share_op *op)
{
    int fd = node_fd(&s->nodes, op->node);
    ssize_t n;

    if (fd < 0)
        return fd;
    if (op->node->type != S_IFLNK || op->room == 0)
        return -EINVAL;
    n = readlinkat(fd, "", (char *)op->out, min(op->room, (u32)PATH_MAX));
    if (n < 0)
        return -errno;
    op->len = (u32)n;
    return 0;
}

int op_statfs(struct share *s, struct share_op *op)
{
    struct fuse_statfs_out out = {};
    struct statfs f;
    int fd = node_fd(&s->nodes, op->node);

    if (fd < 0)
        return fd;
    if (fstatfs(fd, &f) < 0)
        return -errno;
    out.st = (struct fuse_kstatfs){
        .blocks = f.f_blocks,
        .bfree = f.f_bfree,
        .bavail = f.f_bavail,
        .files = f.f_files,
        .ffree = f.f_ffree,
        .bsize = (u32)f.f_bsize,
        .namelen = (u32)f.f_namelen,
        .frsize = (u32)f.f_frsize,
    };
    op_put(op, &out, sizeof(out));
    return 0;
}

/* Of a mount below, its own file system. */
int op_syncfs(struct share *s, struct share_op *op)
{
    AUTO(fd) int fd = -1;
    struct fd_name name;
    int r;

    if (op->node->type != S_IFDIR)
        return -EINVAL;
    if (op->node == s->nodes.at)
        return syncfs(s->root_dir) < 0 ? -errno : 0;
    r = op_name_of(s, op->node, &name);
    if (r < 0)
        return r;
    fd = openat(s->fds, name.text, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return fd < 0 || syncfs(fd) < 0 ? -errno : 0;
}
