/*
 * share/share_internal.h: what the halves of a shared folder share: share.c takes requests apart, op_*.c do them.
 */
#pragma once

#include "share/node.h"
#include "share/share.h"

#include <linux/fuse.h>

/* An open file or directory of the guest; its number for the guest is its place. */
struct handle {
    int fd; /* -1: free */
    bool is_dir;
    u64 at;        /* of a directory: where its descriptor stands */
    u32 next_free; /* index + 1 */
};

struct share {
    int fds; /* borrowed: share_cfg.fds */
    bool readonly, ids;
    bool begun;     /* FUSE_INIT was answered */
    bool submounts; /* the guest's kernel can show mounts below */
    int root_dir;   /* the directory opened for reading, for syncfs */
    struct nodes nodes;
    struct handle *handles; /* handles_max of them; untouched ones cost nothing */
    u32 handles_max, n_fresh, free;
};

/* One request, in parts. */
struct share_op {
    const struct fuse_in_header *h;
    struct node *node;   /* that the header names */
    const void *in;      /* the opcode's own structure */
    const char *name[2]; /* what follows it, checked */
    const u8 *data;      /* what follows that */
    u32 data_len;
    u8 *out; /* behind the reply's header */
    u32 room, len;
    int fd; /* opened for the guest; -1 */
};

/* Adds to the reply; the table's `out` bytes always fit. */
void op_put(struct share_op *op, const void *bytes, u32 len);

/* "N": the name in `fds` of a node's descriptor, by which it can be opened and changed.  -errno as node_fd has it. */
struct fd_name {
    char text[12];
};
int op_name_of(struct share *s, struct node *n, struct fd_name *ret);

/* op_node.c: what is where, and how it looks. */
u32 op_rdev(const struct statx *x);
void op_attr(const struct share *s, const struct node *dir, const struct statx *x,
             struct fuse_attr *ret);
/* `n`, looked up in `dir`, as the reply's entry. */
void op_put_entry(struct share *s, struct share_op *op, const struct node *n,
                  const struct statx *x);
void op_entry(const struct share *s, const struct node *dir, const struct node *n,
              const struct statx *x, struct fuse_entry_out *ret);
int op_lookup(struct share *s, struct share_op *op);
int op_forget(struct share *s, struct share_op *op);
int op_batch_forget(struct share *s, struct share_op *op);
int op_getattr(struct share *s, struct share_op *op);
int op_setattr(struct share *s, struct share_op *op);
int op_readlink(struct share *s, struct share_op *op);
int op_statfs(struct share *s, struct share_op *op);
int op_syncfs(struct share *s, struct share_op *op);

/* op_make.c: names come and go. */
int op_mknod(struct share *s, struct share_op *op);
int op_mkdir(struct share *s, struct share_op *op);
int op_symlink(struct share *s, struct share_op *op);
int op_link(struct share *s, struct share_op *op);
int op_unlink(struct share *s, struct share_op *op);
int op_rmdir(struct share *s, struct share_op *op);
int op_rename(struct share *s, struct share_op *op);
int op_rename2(struct share *s, struct share_op *op);
int op_create(struct share *s, struct share_op *op);
int op_tmpfile(struct share *s, struct share_op *op);

/* op_file.c: open files. */
int op_open(struct share *s, struct share_op *op);
int op_release(struct share *s, struct share_op *op);
int op_write(struct share *s, struct share_op *op);
int op_fsync(struct share *s, struct share_op *op);
int op_fallocate(struct share *s, struct share_op *op);
int op_lseek(struct share *s, struct share_op *op);
int op_copy(struct share *s, struct share_op *op);
/* Gives the reply a handle for `fd`, owned from then on, with FOPEN_x flags. */
int op_put_open(struct share *s, struct share_op *op, int fd, u32 flags);
/* A regular file's set-user-id and set-group-id bits go, as for who may not keep them. */
int op_strip_ids(int fd);

/* op_dir.c: open directories. */
int op_opendir(struct share *s, struct share_op *op);
int op_readdir(struct share *s, struct share_op *op);
int op_readdirplus(struct share *s, struct share_op *op);
int op_releasedir(struct share *s, struct share_op *op);
int op_fsyncdir(struct share *s, struct share_op *op);

/* op_xattr.c */
int op_getxattr(struct share *s, struct share_op *op);
int op_listxattr(struct share *s, struct share_op *op);
int op_setxattr(struct share *s, struct share_op *op);
int op_removexattr(struct share *s, struct share_op *op);

/* handle.c */
int handles_init(struct share *s, u32 max);
void handles_reset(struct share *s);
void handles_fini(struct share *s);
/* A number for `fd`, owned from then on; -ENFILE. */
int handle_new(struct share *s, int fd, bool is_dir, uint64_t *ret);
/* NULL: the guest has no such handle of this kind. */
struct handle *handle_get(struct share *s, u64 number, bool is_dir);
void handle_close(struct share *s, struct handle *h);
