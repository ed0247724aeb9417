/*
 * share/op_file.c: requests about open files.  What they read and write goes by the device that has the same file open (dev/virtio/fs.c),
 * but for writes that only our capabilities do right.
 */
#include "base/clock.h"
#include "share/share_internal.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

/* One copy between files; the guest asks for the rest. */
#define COPY_MAX (64 * MiB)
/* A file system's clock may stand still so long: a second change in it would not show. */
#define JUST_CHANGED_NS (40 * NSEC_PER_MSEC)

int op_strip_ids(int fd)
{
    struct stat st;
    mode_t mode;

    if (fstat(fd, &st) < 0)
        return -errno;
    mode = st.st_mode & 07777 & ~(mode_t)S_ISUID;
    if (mode & S_IXGRP)
        mode &= ~(mode_t)S_ISGID;
    return mode != (st.st_mode & 07777) && fchmod(fd, mode) < 0 ? -errno : 0;
}

int op_put_open(struct share *s, struct share_op *op, int fd, u32 flags)
{
    struct fuse_open_out out = { .open_flags = flags };
    int r = handle_new(s, fd, false, &out.fh);

    if (r < 0)
        return r;
    op->fd = fd;
    op_put(op, &out, sizeof(out));
    return 0;
}

/* Is the file what it was when it was opened last, so that what the guest has of it in its page cache is true? */
static bool is_unchanged(struct node *n, int fd)
{
    struct statx x;
    u64 changed_ns;
    bool same;

    if (statx(fd, "", AT_EMPTY_PATH, STATX_BASIC_STATS, &x) < 0)
        return false;
    changed_ns = (u64)x.stx_ctime.tv_sec * NSEC_PER_SEC + x.stx_ctime.tv_nsec;
    same = n->seen_ns && n->seen_ns == changed_ns && n->seen_size == x.stx_size;
    n->seen_size = x.stx_size;
    n->seen_ns = changed_ns + JUST_CHANGED_NS < clock_ns(CLOCK_REALTIME) ? changed_ns : 0;
    return same;
}

static int check_open(const struct share *s, const struct node *n, u32 flags)
{
    if (n->type == S_IFDIR)
        return -EISDIR;
    if (n->type != S_IFREG) /* the guest's kernel opens its own */
        return -ENXIO;
    if ((flags & O_ACCMODE) == O_ACCMODE)
        return -EINVAL;
    return s->readonly && ((flags & O_ACCMODE) != O_RDONLY || flags & O_TRUNC) ? -EROFS : 0;
}

int op_open(struct share *s, struct share_op *op)
{
    const struct fuse_open_in *in = op->in;
    const int flags = (int)(in->flags & (O_ACCMODE | O_TRUNC)) | O_CLOEXEC | O_NONBLOCK | O_NOCTTY;
    AUTO(fd) int fd = -1;
    struct fd_name name;
    u32 keep;
    int r = check_open(s, op->node, in->flags);

    if (r >= 0)
        r = op_name_of(s, op->node, &name);
    if (r < 0)
        return r;
    fd = openat(s->fds, name.text, flags);
    if (fd < 0)
        return -errno;
    if (in->flags & O_TRUNC && in->open_flags & FUSE_OPEN_KILL_SUIDGID &&
        (r = op_strip_ids(fd)) < 0)
        return r;
    keep = is_unchanged(op->node, fd) ? FOPEN_KEEP_CACHE : 0;
    return op_put_open(s, op, TAKE_FD(fd), keep);
}

int op_release(struct share *s, struct share_op *op)
{
    const struct fuse_release_in *in = op->in;
    struct handle *h = handle_get(s, in->fh, false);

    if (!h)
        return -EBADF;
    handle_close(s, h);
    return 0;
}

/* By who may keep a file's set-id bits: our rights leave them, where the device's would not. */
int op_write(struct share *s, struct share_op *op)
{
    const struct fuse_write_in *in = op->in;
    const struct handle *h = handle_get(s, in->fh, false);
    const struct iovec iov = { (void *)(uintptr_t)op->data, in->size };
    struct fuse_write_out out = {};
    ssize_t n;

    if (!h)
        return -EBADF;
    if (in->size > op->data_len || in->offset > INT64_MAX)
        return -EINVAL;
    n = pwritev2(h->fd, &iov, 1, (off_t)in->offset, share_write_flags(in->flags));
    if (n < 0)
        return -errno;
    if (in->write_flags & FUSE_WRITE_KILL_SUIDGID)
        (void)op_strip_ids(h->fd); /* what was written is written */
    out.size = (u32)n;
    op_put(op, &out, sizeof(out));
    return 0;
}

int op_fsync(struct share *s, struct share_op *op)
{
    const struct fuse_fsync_in *in = op->in;
    const struct handle *h = handle_get(s, in->fh, false);
    int r;

    if (!h)
        return -EBADF;
    r = in->fsync_flags & FUSE_FSYNC_FDATASYNC ? fdatasync(h->fd) : fsync(h->fd);
    return r < 0 ? -errno : 0;
}

int op_fallocate(struct share *s, struct share_op *op)
{
    const struct fuse_fallocate_in *in = op->in;
    const struct handle *h = handle_get(s, in->fh, false);

    if (!h)
        return -EBADF;
    return fallocate(h->fd, (int)in->mode, (off_t)in->offset, (off_t)in->length) < 0 ? -errno : 0;
}

int op_lseek(struct share *s, struct share_op *op)
{
    const struct fuse_lseek_in *in = op->in;
    const struct handle *h = handle_get(s, in->fh, false);
    struct fuse_lseek_out out = {};
    off_t at;

    if (!h)
        return -EBADF;
    if (in->whence != SEEK_DATA && in->whence != SEEK_HOLE)
        return -EINVAL;
    at = lseek(h->fd, (off_t)in->offset, (int)in->whence);
    if (at < 0)
        return -errno;
    out.offset = (u64)at;
    op_put(op, &out, sizeof(out));
    return 0;
}

int op_copy(struct share *s, struct share_op *op)
{
    const struct fuse_copy_file_range_in *in = op->in;
    const struct handle *from = handle_get(s, in->fh_in, false),
                        *to = handle_get(s, in->fh_out, false);
    off_t from_at = (off_t)in->off_in, to_at = (off_t)in->off_out;
    struct fuse_write_out out = {};
    ssize_t n;

    if (!from || !to)
        return -EBADF;
    if (in->flags)
        return -EINVAL;
    n = copy_file_range(from->fd, &from_at, to->fd, &to_at, (size_t)min(in->len, COPY_MAX), 0);
    if (n < 0)
        return -errno;
    out.size = (u32)n;
    op_put(op, &out, sizeof(out));
    return 0;
}
