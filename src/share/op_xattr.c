/*
 * share/op_xattr.c: requests about extended attributes.
 * The calls that take a descriptor refuse O_PATH ones, so they go by its name in /proc/self/fd, which is the current directory.  At its end
 * is the file itself, also where that is a symbolic link.
 */
#include "share/share_internal.h"

#include <sys/xattr.h>

/* A size that was asked for, or the attribute. */
static int put_value(struct share_op *op, u32 size, ssize_t n)
{
    const struct fuse_getxattr_out out = { .size = (u32)max(n, (ssize_t)0) };

    if (n < 0)
        return -errno;
    if (size > 0)
        op->len = (u32)n;
    else if (op->room < sizeof(out))
        return -EINVAL;
    else
        op_put(op, &out, sizeof(out));
    return 0;
}

/* The value of the attribute `which`; NULL: the names of all. */
static int read_attr(struct share *s, struct share_op *op, const char *which)
{
    const struct fuse_getxattr_in *in = op->in;
    const u32 size = min(in->size, op->room);
    struct fd_name name;
    int r = op_name_of(s, op->node, &name);

    if (r < 0)
        return r;
    if (in->size > 0 && op->room == 0)
        return -ERANGE;
    return put_value(op, in->size,
                     which ? getxattr(name.text, which, op->out, size)
                           : listxattr(name.text, (char *)op->out, size));
}

int op_getxattr(struct share *s, struct share_op *op)
{
    return read_attr(s, op, op->name[0]);
}

int op_listxattr(struct share *s, struct share_op *op)
{
    return read_attr(s, op, NULL);
}

int op_setxattr(struct share *s, struct share_op *op)
{
    const struct fuse_setxattr_in *in = op->in; /* its first two members are there */
    struct fd_name name;
    int r;

    if (in->size > op->data_len || in->flags & ~(u32)(XATTR_CREATE | XATTR_REPLACE))
        return -EINVAL;
    r = op_name_of(s, op->node, &name);
    if (r < 0)
        return r;
    return setxattr(name.text, op->name[0], op->data, in->size, (int)in->flags) < 0 ? -errno : 0;
}

int op_removexattr(struct share *s, struct share_op *op)
{
    struct fd_name name;
    int r = op_name_of(s, op->node, &name);

    if (r < 0)
        return r;
    return removexattr(name.text, op->name[0]) < 0 ? -errno : 0;
}
