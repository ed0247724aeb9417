/*
 * share/op_dir.c: requests about open directories.
 * The host's entries are read into a buffer of our own that is no larger than what they become, and what did not fit is read again: an
 * offset of the guest is one that the host's file system gave with an entry before.
 */
#include "share/share_internal.h"

#include <dirent.h>
#include <fcntl.h>
#include <unistd.h>

enum {
    BUFFER_MAX = 32 * 1024,
    BUFFER_MIN = 512, /* an entry with the longest name fits */
    PLUS_RATIO = 5,   /* an entry with attributes against one of the host's */
};

int op_opendir(struct share *s, struct share_op *op)
{
    struct fuse_open_out out = {};
    struct fd_name name;
    int fd, r;

    if (op->node->type != S_IFDIR)
        return -ENOTDIR;
    r = op_name_of(s, op->node, &name);
    if (r < 0)
        return r;
    fd = openat(s->fds, name.text, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    r = handle_new(s, fd, true, &out.fh);
    if (r < 0)
        return r;
    op_put(op, &out, sizeof(out));
    return 0;
}

static bool is_dots(const char *name)
{
    return strcmp(name, ".") == 0 || strcmp(name, "..") == 0;
}

/* The number of a directory outside is nobody's affair. */
static u64 number_of(const struct share *s, const struct share_op *op, const struct dirent64 *d)
{
    return op->node == s->nodes.at && is_dots(d->d_name) ? s->nodes.at->ino : d->d_ino;
}

/* What the guest learns of the file beside its name; an entry without a node when there is none or it is gone. */
static void look_at(struct share *s, struct share_op *op, const struct dirent64 *d,
                    struct fuse_entry_out *ret)
{
    struct node *n;
    struct statx x;

    *ret =
        (struct fuse_entry_out){ .attr.ino = number_of(s, op, d), .attr.mode = DTTOIF(d->d_type) };
    if (!is_dots(d->d_name) && node_lookup(&s->nodes, op->node, d->d_name, &n, &x) >= 0)
        op_entry(s, op->node, n, &x, ret);
}

/* False: no room. */
static bool put_dirent(struct share *s, struct share_op *op, const struct dirent64 *d, u32 limit,
                       bool plus)
{
    const u32 len = (u32)strnlen(d->d_name, NODE_NAME_MAX);
    const u32 before = plus ? sizeof(struct fuse_entry_out) : 0, size = (u32)FUSE_NAME_OFFSET + len;
    const struct fuse_dirent out = {
        .ino = number_of(s, op, d), .off = (u64)d->d_off, .namelen = len, .type = d->d_type
    };
    static const u8 zero[8];
    struct fuse_entry_out entry;

    if (!range_ok(op->len, before + align_up(size, 8u), limit))
        return false;
    if (plus) {
        look_at(s, op, d, &entry);
        op_put(op, &entry, sizeof(entry));
    }
    op_put(op, &out, FUSE_NAME_OFFSET);
    op_put(op, d->d_name, len);
    op_put(op, zero, align_up(size, 8u) - size);
    return true;
}

/* All entries of the buffer that fit; h->at is then where the next one is. */
static bool put_all(struct share *s, struct share_op *op, struct handle *h, const u8 *buf, u32 len,
                    bool plus)
{
    const struct fuse_read_in *in = op->in;
    const u32 limit = min(in->size, op->room);

    for (u32 at = 0; at < len;) {
        const struct dirent64 *d = (const struct dirent64 *)(buf + at);

        if (!put_dirent(s, op, d, limit, plus))
            return false;
        h->at = (u64)d->d_off;
        at += d->d_reclen;
    }
    return true;
}

static int read_entries(struct share *s, struct share_op *op, bool plus)
{
    const struct fuse_read_in *in = op->in;
    struct handle *h = handle_get(s, in->fh, true);
    alignas(struct dirent64) u8 buf[BUFFER_MAX];
    const u32 limit = min(in->size, op->room), want = plus ? limit / PLUS_RATIO : limit;
    bool all = true;
    ssize_t n;

    if (!h)
        return -EBADF;
    if (in->offset != h->at && lseek(h->fd, (off_t)in->offset, SEEK_SET) < 0)
        return -errno;
    h->at = in->offset;
    n = getdents64(h->fd, buf, min(max(want, (u32)BUFFER_MIN), (u32)BUFFER_MAX));
    if (n < 0)
        return -errno;
    if (n > 0)
        all = put_all(s, op, h, buf, (u32)n, plus);
    if (!all && lseek(h->fd, (off_t)h->at, SEEK_SET) < 0)
        return -errno;
    return !all && op->len == 0 ? -EINVAL : 0; /* getdents(2): not one fits */
}

int op_readdir(struct share *s, struct share_op *op)
{
    return read_entries(s, op, false);
}

int op_readdirplus(struct share *s, struct share_op *op)
{
    return read_entries(s, op, true);
}

int op_releasedir(struct share *s, struct share_op *op)
{
    const struct fuse_release_in *in = op->in;
    struct handle *h = handle_get(s, in->fh, true);

    if (!h)
        return -EBADF;
    handle_close(s, h);
    return 0;
}

int op_fsyncdir(struct share *s, struct share_op *op)
{
    const struct fuse_fsync_in *in = op->in;
    const struct handle *h = handle_get(s, in->fh, true);
    int r;

    if (!h)
        return -EBADF;
    r = in->fsync_flags & FUSE_FSYNC_FDATASYNC ? fdatasync(h->fd) : fsync(h->fd);
    return r < 0 ? -errno : 0;
}
