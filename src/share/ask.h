/*
 * share/ask.h: requests of a guest's kernel in short, for the tests of a shared folder.
 */
#pragma once

#include "share/rig.h"

static struct rig rig; /* large */

static inline struct rig *begin_in(const char *dir, const struct rig_cfg *cfg)
{
    static u32 n;
    char parent[120];

    do /* each file that includes this counts for itself */
        str_fmt(parent, sizeof(parent), "%s/%u", dir, n++);
    while (mkdir(parent, 0755) < 0);
    rig_open(&rig, parent, cfg);
    must(rig_init_session(&rig) == 0);
    return &rig;
}

#define begin(...) begin_in(test_dir(), __VA_ARGS__)

/* Valid until the next but one. */
static inline const char *in_dir(const char *name)
{
    static char path[2][512];
    static u32 n;

    str_fmt(path[++n % 2], sizeof(path[0]), "%s/%s", rig.dir, name);
    return path[n % 2];
}

static inline void host_file(const char *name, const char *text)
{
    int fd = open(in_dir(name), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

    must(fd >= 0 && fd_write_all(fd, text, strlen(text)) == 0);
    close(fd);
}

static inline bool host_has(const char *name)
{
    struct stat st;

    return lstat(in_dir(name), &st) == 0;
}

/* ---- short forms of requests ---- */

#define ASK(t, ...) rig_ask(t, &(struct rig_ask){ __VA_ARGS__ })
#define ASK_IN(t, code, id, s, ...) \
    ASK(t, .op = code, .node = id, .in = &(s), .in_len = sizeof(s), ##__VA_ARGS__)

/* The node's id; 0: refused, and errno says why. */
static inline u64 look_up(struct rig *t, u64 dir, const char *name)
{
    int r = ASK(t, .op = FUSE_LOOKUP, .node = dir, .name = { name });

    errno = -r;
    return r ? 0 : RIG_OUT(t, fuse_entry_out, 0)->nodeid;
}

static inline bool knows(struct rig *t, u64 node)
{
    const struct fuse_getattr_in in = {};

    return ASK_IN(t, FUSE_GETATTR, node, in) == 0;
}

/* Of a node that it knows. */
static inline const struct fuse_attr *attr_of(struct rig *t, u64 node)
{
    must(knows(t, node));
    return &RIG_OUT(t, fuse_attr_out, 0)->attr;
}

static inline int make_dir(struct rig *t, u64 dir, const char *name)
{
    const struct fuse_mkdir_in in = { .mode = 0755 };

    return ASK_IN(t, FUSE_MKDIR, dir, in, .name = { name });
}

/* 0 and the handle. */
static inline int create(struct rig *t, u64 dir, const char *name, u32 flags, u64 *ret_fh)
{
    const struct fuse_create_in in = { .flags = flags | O_CREAT, .mode = S_IFREG | 0644 };
    int r = ASK_IN(t, FUSE_CREATE, dir, in, .name = { name });

    *ret_fh = r ? ~0ull : RIG_OUT(t, fuse_open_out, sizeof(struct fuse_entry_out))->fh;
    return r;
}

static inline int open_node(struct rig *t, u64 node, u32 flags, u64 *ret_fh)
{
    const struct fuse_open_in in = { .flags = flags };
    int r = ASK_IN(t, FUSE_OPEN, node, in);

    *ret_fh = r ? ~0ull : RIG_OUT(t, fuse_open_out, 0)->fh;
    return r;
}

static inline int release(struct rig *t, u64 node, u64 fh)
{
    const struct fuse_release_in in = { .fh = fh };

    return ASK_IN(t, FUSE_RELEASE, node, in);
}

static inline int write_at(struct rig *t, u64 fh, u64 at, const char *text, u32 flags)
{
    const struct fuse_write_in in = {
        .fh = fh, .offset = at, .size = (u32)strlen(text), .write_flags = flags
    };

    return ASK_IN(t, FUSE_WRITE, 1, in, .data = text, .data_len = in.size);
}

static inline void forget(struct rig *t, u64 node, u64 n)
{
    const struct fuse_forget_in in = { .nlookup = n };

    must(ASK_IN(t, FUSE_FORGET, node, in) == 1);
}

static inline int remove_name(struct rig *t, u32 op, u64 dir, const char *name)
{
    return ASK(t, .op = op, .node = dir, .name = { name });
}

static inline int rename2_to(struct rig *t, u64 from, const char *name, u64 to, const char *as,
                             u32 flags)
{
    const struct fuse_rename2_in in = { .newdir = to, .flags = flags };

    return ASK_IN(t, FUSE_RENAME2, from, in, .name = { name, as });
}
