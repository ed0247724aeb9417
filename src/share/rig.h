/*
 * share/rig.h: a guest's kernel for the tests of a shared folder: makes requests, and looks whether each reply is well-formed.
 */
#pragma once

#include "base/base.h"

#include "share/share.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

struct rig_cfg {
    u32 files, handles; /* 0: plenty */
    bool readonly, ids;
};

struct rig {
    struct share *s;
    char dir[200];    /* the shared folder */
    char canary[220]; /* a file beside it */
    int root, fds, cwd;
    u64 unique;
    u64 request[SHARE_REQUEST_MAX / 8], reply[SHARE_REPLY_MAX / 8];
    u32 len; /* of the reply behind its header */
    int fd;  /* that came with it, borrowed */
};

struct rig_ask {
    u32 op;
    u64 node;
    const void *in; /* the opcode's structure */
    u32 in_len;
    const char *name[2];
    const void *data;
    u32 data_len;
    u32 room; /* of the reply in all; 0: plenty */
    u32 uid, gid;
};

/* The reply's structure. */
#define RIG_OUT(t, type, at) ((const struct type *)((const u8 *)((t)->reply + 2) + (at)))

static inline void rig_add(struct rig *t, u32 *at, const void *p, size_t len)
{
    must(range_ok(*at, len, sizeof(t->request)));
    if (len)
        memcpy((u8 *)t->request + *at, p, len);
    *at += (u32)len;
}

/* The bytes of a request; their number. */
static inline u32 rig_build(struct rig *t, const struct rig_ask *a)
{
    struct fuse_in_header h = {
        .opcode = a->op, .nodeid = a->node, .unique = ++t->unique, .uid = a->uid, .gid = a->gid
    };
    u32 at = sizeof(h);

    rig_add(t, &at, a->in, a->in_len);
    for (u32 i = 0; i < 2; i++)
        if (a->name[i])
            rig_add(t, &at, a->name[i], strlen(a->name[i]) + 1);
    rig_add(t, &at, a->data, a->data_len);
    h.len = at;
    memcpy(t->request, &h, sizeof(h));
    return at;
}

/* Serves the first `len` bytes of t->request.  The reply's error; 1: there was no reply. */
static inline int rig_serve(struct rig *t, u32 len, u32 room)
{
    const struct fuse_in_header *h = (const struct fuse_in_header *)t->request;
    const struct fuse_out_header *out = (const struct fuse_out_header *)t->reply;
    u32 n = share_serve(t->s, t->request, len, room, t->reply, &t->fd);

    must(n == 0 || (n >= sizeof(*out) && n <= room));
    must(n == 0 ||
         (out->len == n && out->error <= 0 && out->error > -4096 && out->unique == h->unique));
    must(n == 0 || out->error == 0 || n == sizeof(*out));
    t->len = n ? n - (u32)sizeof(*out) : 0;
    return n ? out->error : 1;
}

static inline int rig_ask(struct rig *t, const struct rig_ask *a)
{
    return rig_serve(t, rig_build(t, a), a->room ? a->room : SHARE_REPLY_MAX);
}

static inline int rig_init_session(struct rig *t)
{
    const struct fuse_init_in in = {
        .major = 7, .minor = 38, .max_readahead = 131072, .flags = ~0u
    };

    return rig_ask(t, &(struct rig_ask){ .op = FUSE_INIT, .in = &in, .in_len = sizeof(in) });
}

/* `parent`: an empty directory, in which the folder and a file beside it are made. */
static inline void rig_open(struct rig *t, const char *parent, const struct rig_cfg *cfg)
{
    struct share_cfg c = {
        .readonly = cfg->readonly,
        .ids = cfg->ids,
        .files_max = cfg->files ? cfg->files : 4096,
        .handles_max = cfg->handles ? cfg->handles : 512,
    };
    struct err e = {};
    int fd;

    memset(t, 0, sizeof(*t));
    str_fmt(t->dir, sizeof(t->dir), "%s/shared", parent);
    str_fmt(t->canary, sizeof(t->canary), "%s/canary", parent);
    must(mkdir(t->dir, 0755) == 0 || errno == EEXIST);
    fd = open(t->canary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    must(fd >= 0 && fd_write_all(fd, "canary", 6) == 0);
    close(fd);
    t->cwd = open(".", O_PATH | O_CLOEXEC);
    c.root = t->root = open(t->dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
    c.fds = t->fds = open("/proc/self/fd", O_PATH | O_DIRECTORY | O_CLOEXEC);
    must(t->cwd >= 0 && t->root >= 0 && t->fds >= 0 && fchdir(t->fds) == 0);
    must(share_open(&c, &t->s, &e) == 0);
}

static inline void rig_close(struct rig *t)
{
    share_free(t->s);
    must(fchdir(t->cwd) == 0);
    fd_close(&t->cwd);
    fd_close(&t->root);
    fd_close(&t->fds);
}
