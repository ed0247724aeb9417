/*
 * share/share.c: takes a guest's requests apart, by one table, and hands them to who does them.
 *   (1) A request is as long as its header says, and no longer than what arrived.
 *   (2) A handler sees a request whose structure is complete, whose names are checked, and whose reply has room for the row's `out`.
 */
#include "share/share.h"

#include "share/share_internal.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/uio.h>
#include <unistd.h>

enum {
    BACKGROUND_MAX =
        64,         /* requests that the guest's kernel has under way by itself, as reading ahead */
    MINOR_MIN = 31, /* of the protocol: Linux 5.4, the first with virtio-fs */
};

enum {
    WRITES = 1 << 0,  /* refused when the folder may only be read */
    NODE = 1 << 1,    /* the header names a node */
    ANYTIME = 1 << 2, /* also before FUSE_INIT */
};

/* What follows the structure. */
enum text { TEXT_NONE, TEXT_NAME, TEXT_TARGET, TEXT_XATTR };

struct row {
    const char *name;
    int (*run)(struct share *s, struct share_op *op);
    u16 in, out; /* bytes of the structures; of the reply, what it has at least */
    u8 flags;
    u8 text[2];
};

static int op_init(struct share *s, struct share_op *op);
static int op_destroy(struct share *s, struct share_op *op);
static int op_interrupt(struct share *s, struct share_op *op);

#define ENTRY sizeof(struct fuse_entry_out)
#define OPEN  sizeof(struct fuse_open_out)
#define ATTR  sizeof(struct fuse_attr_out)
#define IN(x) sizeof(struct fuse_##x##_in)

/* clang-format off */
static const struct row rows[] = {
    [FUSE_LOOKUP]          = { "lookup",       op_lookup,       0,                  ENTRY,        NODE,          { TEXT_NAME } },
    [FUSE_FORGET]          = { "forget",       op_forget,       IN(forget),         0,            0,             {} },
    [FUSE_GETATTR]         = { "getattr",      op_getattr,      IN(getattr),        ATTR,         NODE,          {} },
    [FUSE_SETATTR]         = { "setattr",      op_setattr,      IN(setattr),        ATTR,         NODE | WRITES, {} },
    [FUSE_READLINK]        = { "readlink",     op_readlink,     0,                  0,            NODE,          {} },
    [FUSE_SYMLINK]         = { "symlink",      op_symlink,      0,                  ENTRY,        NODE | WRITES, { TEXT_NAME, TEXT_TARGET } },
    [FUSE_MKNOD]           = { "mknod",        op_mknod,        IN(mknod),          ENTRY,        NODE | WRITES, { TEXT_NAME } },
    [FUSE_MKDIR]           = { "mkdir",        op_mkdir,        IN(mkdir),          ENTRY,        NODE | WRITES, { TEXT_NAME } },
    [FUSE_UNLINK]          = { "unlink",       op_unlink,       0,                  0,            NODE | WRITES, { TEXT_NAME } },
    [FUSE_RMDIR]           = { "rmdir",        op_rmdir,        0,                  0,            NODE | WRITES, { TEXT_NAME } },
    [FUSE_RENAME]          = { "rename",       op_rename,       IN(rename),         0,            NODE | WRITES, { TEXT_NAME, TEXT_NAME } },
    [FUSE_LINK]            = { "link",         op_link,         IN(link),           ENTRY,        NODE | WRITES, { TEXT_NAME } },
    [FUSE_OPEN]            = { "open",         op_open,         IN(open),           OPEN,         NODE,          {} },
    [FUSE_WRITE]           = { "write",        op_write,        IN(write),          sizeof(struct fuse_write_out), NODE | WRITES, {} },
    [FUSE_STATFS]          = { "statfs",       op_statfs,       0,                  sizeof(struct fuse_statfs_out), NODE, {} },
    [FUSE_RELEASE]         = { "release",      op_release,      IN(release),        0,            NODE,          {} },
    [FUSE_FSYNC]           = { "fsync",        op_fsync,        IN(fsync),          0,            NODE,          {} },
    [FUSE_SETXATTR]        = { "setxattr",     op_setxattr,     FUSE_COMPAT_SETXATTR_IN_SIZE, 0,  NODE | WRITES, { TEXT_XATTR } },
    [FUSE_GETXATTR]        = { "getxattr",     op_getxattr,     IN(getxattr),       0,            NODE,          { TEXT_XATTR } },
    [FUSE_LISTXATTR]       = { "listxattr",    op_listxattr,    IN(getxattr),       0,            NODE,          {} },
    [FUSE_REMOVEXATTR]     = { "removexattr",  op_removexattr,  0,                  0,            NODE | WRITES, { TEXT_XATTR } },
    [FUSE_INIT]            = { "init",         op_init,         8,                  0,            ANYTIME,       {} },
    [FUSE_OPENDIR]         = { "opendir",      op_opendir,      IN(open),           OPEN,         NODE,          {} },
    [FUSE_READDIR]         = { "readdir",      op_readdir,      IN(read),           0,            NODE,          {} },
    [FUSE_RELEASEDIR]      = { "releasedir",   op_releasedir,   IN(release),        0,            NODE,          {} },
    [FUSE_FSYNCDIR]        = { "fsyncdir",     op_fsyncdir,     IN(fsync),          0,            NODE,          {} },
    [FUSE_CREATE]          = { "create",       op_create,       IN(create),         ENTRY + OPEN, NODE | WRITES, { TEXT_NAME } },
    [FUSE_INTERRUPT]       = { "interrupt",    op_interrupt,    0,                  0,            ANYTIME,       {} },
    [FUSE_DESTROY]         = { "destroy",      op_destroy,      0,                  0,            ANYTIME,       {} },
    [FUSE_BATCH_FORGET]    = { "batch_forget", op_batch_forget, IN(batch_forget),   0,            0,             {} },
    [FUSE_FALLOCATE]       = { "fallocate",    op_fallocate,    IN(fallocate),      0,            NODE | WRITES, {} },
    [FUSE_READDIRPLUS]     = { "readdirplus",  op_readdirplus,  IN(read),           0,            NODE,          {} },
    [FUSE_RENAME2]         = { "rename2",      op_rename2,      IN(rename2),        0,            NODE | WRITES, { TEXT_NAME, TEXT_NAME } },
    [FUSE_LSEEK]           = { "lseek",        op_lseek,        IN(lseek),          sizeof(struct fuse_lseek_out), NODE, {} },
    [FUSE_COPY_FILE_RANGE] = { "copy_file_range", op_copy,      IN(copy_file_range), sizeof(struct fuse_write_out), NODE | WRITES, {} },
    [FUSE_SYNCFS]          = { "syncfs",       op_syncfs,       IN(syncfs),         0,            NODE,          {} },
    [FUSE_TMPFILE]         = { "tmpfile",      op_tmpfile,      IN(create),         ENTRY + OPEN, NODE | WRITES, { TEXT_TARGET } },
};
/* clang-format on */

/* What is announced of what the guest's kernel offers.  Not: its write-back cache, by which the host would not see what was written;
 * locks, which it keeps itself; POSIX ACLs, which mean other people where ids are not the host's. */
#define FEATURES                                                                           \
    (FUSE_ASYNC_READ | FUSE_ATOMIC_O_TRUNC | FUSE_BIG_WRITES | FUSE_AUTO_INVAL_DATA |      \
     FUSE_DO_READDIRPLUS | FUSE_READDIRPLUS_AUTO | FUSE_ASYNC_DIO | FUSE_PARALLEL_DIROPS | \
     FUSE_HANDLE_KILLPRIV_V2 | FUSE_MAX_PAGES | FUSE_CACHE_SYMLINKS | FUSE_SUBMOUNTS)

void op_put(struct share_op *op, const void *bytes, u32 len)
{
    must(range_ok(op->len, len, op->room));
    memcpy(op->out + op->len, bytes, len);
    op->len += len;
}

int op_name_of(struct share *s, struct node *n, struct fd_name *ret)
{
    int fd = node_fd(&s->nodes, n);

    if (fd < 0)
        return fd;
    str_fmt(ret->text, sizeof(ret->text), "%d", fd);
    return 0;
}

int share_write_flags(u32 flags)
{
    int r = flags & O_APPEND ? RWF_APPEND : 0;

    if ((flags & O_SYNC) == O_SYNC)
        return r | RWF_SYNC;
    return flags & O_DSYNC ? r | RWF_DSYNC : r;
}

/* ---- the beginning and the end ---- */

static int op_init(struct share *s, struct share_op *op)
{
    const struct fuse_init_in *in = op->in; /* its first two members are there */
    struct fuse_init_out out = { .major = FUSE_KERNEL_VERSION, .minor = FUSE_KERNEL_MINOR_VERSION };
    const bool complete =
        in->major == FUSE_KERNEL_VERSION && in->minor >= MINOR_MIN && op->data_len >= 8;

    if (op->room < sizeof(out))
        return -EINVAL;
    if (in->major > FUSE_KERNEL_VERSION) { /* it asks again, as what we are */
        op_put(op, &out, sizeof(out));
        return 0;
    }
    if (!complete)
        return -EPROTO;
    share_reset(s);
    out.max_readahead = in->max_readahead;
    out.flags = in->flags & FEATURES;
    out.max_background = BACKGROUND_MAX;
    out.congestion_threshold = BACKGROUND_MAX * 3 / 4;
    out.max_write = SHARE_IO_MAX;
    out.max_pages = SHARE_IO_PAGES;
    out.time_gran = 1;
    s->submounts = out.flags & FUSE_SUBMOUNTS;
    s->begun = true;
    op_put(op, &out, sizeof(out));
    return 0;
}

static int op_destroy(struct share *s, struct share_op *)
{
    share_reset(s);
    return 0;
}

/* No request waits for anything but the host's disk, so there is nothing that could be ended early. */
static int op_interrupt(struct share *, struct share_op *)
{
    return 0;
}

/* ---- taking apart ---- */

static bool name_ok(const char *s, u32 len)
{
    return len > 0 && len <= NODE_NAME_MAX && !memchr(s, '/', len) && strcmp(s, ".") != 0 &&
           strcmp(s, "..") != 0;
}

/* Takes one text off the front of the data. */
static int take_text(struct share_op *op, enum text kind, const char **ret)
{
    const char *s = (const char *)op->data;
    const u8 *end = op->data_len ? memchr(s, 0, op->data_len) : NULL;
    u32 len;

    if (!end)
        return -EINVAL;
    len = (u32)(end - op->data);
    if (kind == TEXT_NAME && len > NODE_NAME_MAX)
        return -ENAMETOOLONG;
    if (kind == TEXT_NAME && !name_ok(s, len))
        return -EINVAL;
    if (kind == TEXT_TARGET && (len == 0 || len >= PATH_MAX))
        return len ? -ENAMETOOLONG : -ENOENT;
    if (kind == TEXT_XATTR && (len == 0 || len > XATTR_NAME_MAX))
        return -ERANGE;
    *ret = s;
    op->data += len + 1;
    op->data_len -= len + 1;
    return 0;
}

/* op->data: what follows the header. */
static int take_apart(struct share *s, const struct row *row, struct share_op *op)
{
    int r = 0;

    if (!s->begun && !(row->flags & ANYTIME))
        return -ENOTCONN;
    if (row->flags & WRITES && s->readonly)
        return -EROFS;
    if (op->data_len < row->in || op->room < row->out)
        return -EINVAL;
    op->in = op->data;
    op->data += row->in;
    op->data_len -= row->in;
    for (u32 i = 0; i < ARRAY_LEN(row->text) && row->text[i] && r == 0; i++)
        r = take_text(op, row->text[i], &op->name[i]);
    if (r < 0 || !(row->flags & NODE))
        return r;
    op->node = node_get(&s->nodes, op->h->nodeid);
    return op->node ? 0 : -ESTALE;
}

static const struct row *row_of(u32 opcode)
{
    return opcode < ARRAY_LEN(rows) && rows[opcode].run ? &rows[opcode] : NULL;
}

u32 share_serve(struct share *s, const void *request, u32 len, u32 room, void *reply, int *ret_fd)
{
    const struct fuse_in_header *h = request;
    struct fuse_out_header out = {};
    const struct row *row;
    struct share_op op = { .h = h, .fd = -1 };
    int r;

    *ret_fd = -1;
    room = min(room, (u32)SHARE_REPLY_MAX);
    if (len < sizeof(*h))
        return 0;
    row = row_of(h->opcode);
    if (room < sizeof(out) && !share_is_quiet(h->opcode))
        return 0; /* nothing could be said */
    op.data = (const u8 *)request + sizeof(*h);
    op.data_len = min(len, max(h->len, (u32)sizeof(*h))) - (u32)sizeof(*h);
    op.out = (u8 *)reply + sizeof(out);
    op.room = share_is_quiet(h->opcode) ? 0 : room - (u32)sizeof(out);
    r = row ? take_apart(s, row, &op) : -ENOSYS;
    if (r >= 0)
        r = row->run(s, &op);
    nodes_settle(&s->nodes);
    if (share_is_quiet(h->opcode))
        return 0;
    must(r <= 0 && r > -4096);
    out = (struct fuse_out_header){ .len = (u32)sizeof(out) + (r < 0 ? 0 : op.len),
                                    .error = r,
                                    .unique = h->unique };
    memcpy(reply, &out, sizeof(out));
    *ret_fd = r < 0 ? -1 : op.fd;
    return out.len;
}

/* ---- life ---- */

void share_reset(struct share *s)
{
    s->begun = s->submounts = false;
    handles_reset(s);
    nodes_reset(&s->nodes);
}

int share_open(const struct share_cfg *cfg, struct share **ret, struct err *e)
{
    AUTO(share) struct share *s = xnew(struct share);
    int r;

    s->root_dir = -1;
    s->fds = cfg->fds;
    s->readonly = cfg->readonly;
    s->ids = cfg->ids;
    if (cfg->files_max < SHARE_FILES_MIN || cfg->handles_max >= cfg->files_max)
        return err_set(e, -EMFILE, "%u files may be open; %d are needed", cfg->files_max,
                       SHARE_FILES_MIN);
    r = nodes_init(&s->nodes, cfg->root, cfg->files_max - cfg->handles_max, e);
    if (r < 0)
        return r;
    r = handles_init(s, cfg->handles_max);
    if (r < 0)
        return err_code(e, r, "memory for %u open files", cfg->handles_max);
    s->root_dir = openat(cfg->root, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (s->root_dir < 0)
        return err_errno(e, "open the folder for reading");
    *ret = TAKE(s);
    return 0;
}

void share_free(struct share *s)
{
    if (!s)
        return;
    handles_fini(s);
    nodes_fini(&s->nodes);
    fd_close(&s->root_dir);
    free(s);
}
