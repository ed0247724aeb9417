/*
 * share/share_test.c: each request upon a real directory, and each way to ask for what is not there to be had.
 */
#include "share/share.h"

#include "share/ask.h"
#include "testlib/test.h"

#include <linux/securebits.h>
#include <sys/prctl.h>
#include <sys/xattr.h>

/* ---- the session ---- */

TEST(share_begins_with_init)
{
    struct rig *t = begin(&(struct rig_cfg){});
    struct fuse_init_in in = { .major = 7, .minor = 38, .max_readahead = 65536, .flags = ~0u };
    const struct fuse_init_out *out = RIG_OUT(t, fuse_init_out, 0);

    CHECK_EQ(ASK_IN(t, FUSE_INIT, 0, in), 0);
    CHECK_EQ(t->len, sizeof(*out));
    CHECK_EQ(out->major, 7);
    CHECK_EQ(out->max_write, 1 * MiB);
    CHECK_EQ(out->max_pages, 256);
    CHECK_EQ(out->max_readahead, 65536);
    CHECK(out->flags & FUSE_HANDLE_KILLPRIV_V2 && out->flags & FUSE_DO_READDIRPLUS);
    CHECK(!(out->flags &
            (FUSE_WRITEBACK_CACHE | FUSE_POSIX_LOCKS | FUSE_FLOCK_LOCKS | FUSE_POSIX_ACL)));
    in.flags = FUSE_MAX_PAGES; /* no more than it offers */
    CHECK_EQ(ASK_IN(t, FUSE_INIT, 0, in), 0);
    CHECK_EQ(out->flags, FUSE_MAX_PAGES);
    in.major = 8;
    CHECK_EQ(ASK_IN(t, FUSE_INIT, 0, in), 0);
    CHECK_EQ(out->major, 7);
    in.major = 7;
    in.minor = 26;
    CHECK_EQ(ASK_IN(t, FUSE_INIT, 0, in), -EPROTO);
    CHECK_EQ(ASK(t, .op = FUSE_DESTROY), 0);
    CHECK(!knows(t, 1)); /* ENOTCONN until the next FUSE_INIT */
    CHECK_EQ(((const struct fuse_out_header *)t->reply)->error, -ENOTCONN);
    CHECK_EQ(rig_init_session(t), 0);
    CHECK(knows(t, 1));
    CHECK_EQ(ASK(t, .op = 4711, .node = 1), -ENOSYS);
    CHECK_EQ(ASK(t, .op = FUSE_FLUSH, .node = 1), -ENOSYS);
    rig_close(t);
}

/* ---- files ---- */

TEST(share_makes_writes_and_removes_files)
{
    struct rig *t = begin(&(struct rig_cfg){});
    u64 fh, node;
    char text[16] = {};

    CHECK_EQ(create(t, 1, "a", O_RDWR, &fh), 0);
    node = RIG_OUT(t, fuse_entry_out, 0)->nodeid;
    CHECK(t->fd >= 0);
    CHECK_EQ(write_at(t, fh, 0, "hello", 0), 0);
    CHECK_EQ(RIG_OUT(t, fuse_write_out, 0)->size, 5);
    CHECK_EQ(attr_of(t, node)->size, 5);
    CHECK_EQ(look_up(t, 1, "a"), node);
    CHECK_EQ(release(t, node, fh), 0);
    CHECK_EQ(release(t, node, fh), -EBADF);
    CHECK_EQ(write_at(t, fh, 0, "x", 0), -EBADF);
    CHECK_EQ(open_node(t, node, O_RDONLY, &fh), 0);
    CHECK_EQ(pread(t->fd, text, sizeof(text), 0), 5);
    CHECK_STR(text, "hello");
    CHECK_EQ(write_at(t, fh, 0, "x", 0), -EBADF); /* it is open for reading */
    CHECK_EQ(open_node(t, node, O_WRONLY | O_TRUNC, &fh), 0);
    CHECK_EQ(attr_of(t, node)->size, 0);
    CHECK_EQ(open_node(t, node, O_ACCMODE, &fh), -EINVAL);
    CHECK_EQ(remove_name(t, FUSE_UNLINK, 1, "a"), 0);
    CHECK(!host_has("a"));
    CHECK_EQ(attr_of(t, node)->nlink, 0); /* it is still there for who has it */
    CHECK_EQ(create(t, 1, "b", O_RDWR | O_EXCL, &fh), 0);
    CHECK_EQ(create(t, 1, "b", O_RDWR | O_EXCL, &fh), -EEXIST);
    CHECK_EQ(create(t, 1, "b", O_RDWR, &fh),
             -ESTALE); /* the guest looks again, and asks itself who may */
    rig_close(t);
}

TEST(share_makes_what_is_no_file)
{
    struct rig *t = begin(&(struct rig_cfg){});
    struct fuse_mknod_in in = { .mode = S_IFIFO | 0600 };
    struct fuse_link_in link = {};
    u64 fh, node;

    CHECK_EQ(ASK_IN(t, FUSE_MKNOD, 1, in, .name = { "fifo" }), 0);
    node = RIG_OUT(t, fuse_entry_out, 0)->nodeid;
    CHECK_EQ(open_node(t, node, O_RDONLY, &fh), -ENXIO); /* a host's FIFO is never opened */
    in.mode = S_IFSOCK | 0600;
    CHECK_EQ(ASK_IN(t, FUSE_MKNOD, 1, in, .name = { "socket" }), 0);
    CHECK_EQ(open_node(t, RIG_OUT(t, fuse_entry_out, 0)->nodeid, O_RDONLY, &fh), -ENXIO);
    CHECK_EQ(make_dir(t, 1, "d"), 0);
    node = RIG_OUT(t, fuse_entry_out, 0)->nodeid;
    CHECK_EQ(open_node(t, node, O_RDONLY, &fh), -EISDIR);
    CHECK_EQ(make_dir(t, 1, "d"), -EEXIST);
    CHECK_EQ(ASK(t, .op = FUSE_SYMLINK, .node = node, .name = { "l", "../target" }), 0);
    node = RIG_OUT(t, fuse_entry_out, 0)->nodeid;
    CHECK_EQ(ASK(t, .op = FUSE_READLINK, .node = node), 0);
    CHECK_EQ(t->len, 9);
    CHECK_MEM(RIG_OUT(t, fuse_entry_out, 0), "../target", 9);
    link.oldnodeid = node;
    CHECK_EQ(ASK_IN(t, FUSE_LINK, 1, link, .name = { "l2" }),
             0); /* the link itself, not what it says */
    CHECK_EQ(RIG_OUT(t, fuse_entry_out, 0)->nodeid, node);
    CHECK_EQ(RIG_OUT(t, fuse_entry_out, 0)->attr.nlink, 2);
    CHECK_EQ(remove_name(t, FUSE_RMDIR, 1, "d"), -ENOTEMPTY);
    CHECK_EQ(remove_name(t, FUSE_UNLINK, look_up(t, 1, "d"), "l"), 0);
    CHECK_EQ(remove_name(t, FUSE_RMDIR, 1, "d"), 0);
    CHECK_EQ(remove_name(t, FUSE_RMDIR, 1, "fifo"), -ENOTDIR);
    rig_close(t);
}

TEST(share_makes_no_devices)
{
    struct rig *t = begin(&(struct rig_cfg){});
    struct fuse_mknod_in in = { .mode = S_IFCHR | 0600, .rdev = 1 << 8 | 3 };

    CHECK_EQ(ASK_IN(t, FUSE_MKNOD, 1, in, .name = { "null" }), -EPERM);
    in.mode = S_IFBLK | 0600;
    CHECK_EQ(ASK_IN(t, FUSE_MKNOD, 1, in, .name = { "null" }), -EPERM);
    in = (struct fuse_mknod_in){ .mode = S_IFCHR }; /* a whiteout */
    CHECK_EQ(ASK_IN(t, FUSE_MKNOD, 1, in, .name = { "gone" }), 0);
    rig_close(t);
}

TEST(share_renames)
{
    struct rig *t = begin(&(struct rig_cfg){});
    const struct fuse_rename_in plain = { .newdir = 1 };
    u64 d, a, b;

    host_file("a", "A");
    host_file("b", "B");
    CHECK_EQ(make_dir(t, 1, "d"), 0);
    d = RIG_OUT(t, fuse_entry_out, 0)->nodeid;
    a = look_up(t, 1, "a");
    b = look_up(t, 1, "b");
    CHECK_EQ(rename2_to(t, 1, "a", 1, "b", 1 /* NOREPLACE */), -EEXIST);
    CHECK_EQ(rename2_to(t, 1, "a", d, "b", 1), 0);
    CHECK_EQ(look_up(t, d, "b"), a);
    CHECK_EQ(rename2_to(t, 1, "b", d, "b", 2 /* EXCHANGE */), 0);
    CHECK_EQ(look_up(t, d, "b"), b);
    CHECK_EQ(look_up(t, 1, "b"), a);
    CHECK_EQ(rename2_to(t, 1, "b", d, "b", 8), -EINVAL);
    CHECK_EQ(rename2_to(t, 1, "b", d, "b", 0), 0);
    CHECK_EQ(attr_of(t, b)->nlink, 0);
    CHECK_EQ(ASK_IN(t, FUSE_RENAME, d, plain, .name = { "b", "c" }), 0);
    CHECK_EQ(look_up(t, 1, "c"), a);
    CHECK_EQ(rename2_to(t, 1, "d", d, "d", 0), -EINVAL); /* into itself */
    CHECK_EQ(rename2_to(t, 1, "c", 4711, "c", 0), -ESTALE);
    rig_close(t);
}

/* ---- what is refused ---- */

TEST(share_refuses_names_that_are_none)
{
    static char longest[257], too_long[258];
    static const struct {
        const char *why, *name;
        int result;
    } rows[] = {
        { "the folder above", "..", -EINVAL },
        { "the folder itself", ".", -EINVAL },
        { "nothing", "", -EINVAL },
        { "a path", "a/b", -EINVAL },
        { "an absolute path", "/etc", -EINVAL },
        { "a path up", "../canary", -EINVAL },
        { "a slash at the end", "a/", -EINVAL },
        { "a name too long", too_long, -ENAMETOOLONG },
        { "a longer one yet", longest, -ENAMETOOLONG },
    };
    struct rig *t = begin(&(struct rig_cfg){});
    const struct fuse_link_in link = { .oldnodeid = 1 };
    u64 fh, file;

    memset(longest, 'x', 256);
    memset(too_long, 'x', 257);
    host_file("f", "");
    file = look_up(t, 1, "f");
    for_each_row(c, rows) {
        ROW(c);
        CHECK(!look_up(t, 1, c->name));
        CHECK_EQ(errno, -c->result);
        CHECK_EQ(create(t, 1, c->name, O_RDWR, &fh), c->result);
        CHECK_EQ(make_dir(t, 1, c->name), c->result);
        CHECK_EQ(remove_name(t, FUSE_UNLINK, 1, c->name), c->result);
        CHECK_EQ(remove_name(t, FUSE_RMDIR, 1, c->name), c->result);
        CHECK_EQ(rename2_to(t, 1, "f", 1, c->name, 0), c->result);
        CHECK_EQ(rename2_to(t, 1, c->name, 1, "f", 0), c->result);
        CHECK_EQ(ASK_IN(t, FUSE_LINK, 1, link, .name = { c->name }), c->result);
        CHECK_EQ(ASK(t, .op = FUSE_SYMLINK, .node = 1, .name = { c->name, "x" }), c->result);
    }
    CHECK_EQ(ASK(t, .op = FUSE_LOOKUP, .node = 1, .data = "abc", .data_len = 3),
             -EINVAL); /* no end */
    CHECK(knows(t, file));
    rig_close(t);
}

TEST(share_does_not_follow_links_out)
{
    struct rig *t = begin(&(struct rig_cfg){});
    u64 link, dir, fh;

    must(symlink(t->canary, in_dir("file")) == 0 && symlink("..", in_dir("up")) == 0);
    link = look_up(t, 1, "file");
    CHECK(S_ISLNK(attr_of(t, link)->mode));
    CHECK_EQ(open_node(t, link, O_RDONLY, &fh), -ENXIO);
    dir = look_up(t, 1, "up");
    CHECK(!look_up(t, dir, "canary"));
    CHECK_EQ(errno, ENOTDIR);
    CHECK_EQ(create(t, dir, "new", O_RDWR, &fh), -ENOTDIR);
    CHECK_EQ(create(t, 1, "file", O_RDWR, &fh), -ESTALE);
    CHECK_EQ(make_dir(t, dir, "new"), -ENOTDIR);
    rig_close(t);
}

TEST(share_refuses_writes_when_it_may_only_be_read)
{
    static const u64 in[16];
    static const struct {
        const char *why;
        u32 op, in_len;
        const char *name[2];
    } rows[] = {
        { "setattr", FUSE_SETATTR, sizeof(struct fuse_setattr_in), {} },
        { "symlink", FUSE_SYMLINK, 0, { "l", "x" } },
        { "mknod", FUSE_MKNOD, sizeof(struct fuse_mknod_in), { "n" } },
        { "mkdir", FUSE_MKDIR, sizeof(struct fuse_mkdir_in), { "n" } },
        { "unlink", FUSE_UNLINK, 0, { "f" } },
        { "rmdir", FUSE_RMDIR, 0, { "f" } },
        { "rename", FUSE_RENAME, sizeof(struct fuse_rename_in), { "f", "g" } },
        { "rename2", FUSE_RENAME2, sizeof(struct fuse_rename2_in), { "f", "g" } },
        { "link", FUSE_LINK, sizeof(struct fuse_link_in), { "n" } },
        { "write", FUSE_WRITE, sizeof(struct fuse_write_in), {} },
        { "setxattr", FUSE_SETXATTR, FUSE_COMPAT_SETXATTR_IN_SIZE, { "user.x" } },
        { "removexattr", FUSE_REMOVEXATTR, 0, { "user.x" } },
        { "create", FUSE_CREATE, sizeof(struct fuse_create_in), { "n" } },
        { "fallocate", FUSE_FALLOCATE, sizeof(struct fuse_fallocate_in), {} },
        { "copy", FUSE_COPY_FILE_RANGE, sizeof(struct fuse_copy_file_range_in), {} },
        { "tmpfile", FUSE_TMPFILE, sizeof(struct fuse_create_in), { "x" } },
    };
    struct rig *t = begin(&(struct rig_cfg){ .readonly = true });
    u64 fh, node;

    host_file("f", "text");
    node = look_up(t, 1, "f");
    for_each_row(c, rows) {
        ROW(c);
        CHECK_EQ(rig_ask(t, &(struct rig_ask){ .op = c->op,
                                               .node = 1,
                                               .in = in,
                                               .in_len = c->in_len,
                                               .name = { c->name[0], c->name[1] } }),
                 -EROFS);
    }
    CHECK_EQ(open_node(t, node, O_RDWR, &fh), -EROFS);
    CHECK_EQ(open_node(t, node, O_RDONLY | O_TRUNC, &fh), -EROFS);
    CHECK_EQ(open_node(t, node, O_RDONLY, &fh), 0);
    CHECK_EQ(fcntl(t->fd, F_GETFL) & O_ACCMODE, O_RDONLY);
    rig_close(t);
}

/* Any part of a request, and less room than its reply needs. */
TEST(share_refuses_requests_that_are_cut)
{
    static const u64 in[16];
    struct rig *t = begin(&(struct rig_cfg){});

    for (u32 op = 0; op < 64; op++) {
        u32 len =
            rig_build(t, &(struct rig_ask){ .op = op, .node = 1, .in = in, .in_len = sizeof(in) });

        if (op == FUSE_DESTROY || op == FUSE_INIT)
            continue;
        for (u32 n = 0; n <= len; n++) {
            ((struct fuse_in_header *)t->request)->len =
                n % 3 ? len : n; /* what it says is not what there is */
            rig_serve(t, n, SHARE_REPLY_MAX);
            rig_serve(t, n, n);
        }
    }
    CHECK(knows(t, 1));
    rig_close(t);
}

TEST(share_refuses_lengths_that_lie)
{
    struct rig *t = begin(&(struct rig_cfg){});
    const struct fuse_batch_forget_in many = { .count = ~0u };
    struct fuse_write_in write = { .size = ~0u };
    const u32 setxattr[2] = { ~0u, 0 };
    struct fuse_read_in read = { .size = ~0u };
    u64 fh;
    const struct fuse_open_in open = {};

    CHECK_EQ(create(t, 1, "f", O_RDWR, &fh), 0);
    write.fh = fh;
    CHECK_EQ(ASK_IN(t, FUSE_WRITE, 1, write, .data = "x", .data_len = 1), -EINVAL);
    write.size = 1;
    write.offset = ~0ull;
    CHECK_EQ(ASK_IN(t, FUSE_WRITE, 1, write, .data = "x", .data_len = 1), -EINVAL);
    CHECK_EQ(ASK_IN(t, FUSE_BATCH_FORGET, 0, many), 1);
    CHECK_EQ(ASK_IN(t, FUSE_SETXATTR, 1, setxattr, .name = { "user.x" }), -EINVAL);
    CHECK_EQ(ASK_IN(t, FUSE_OPENDIR, 1, open), 0);
    read.fh = RIG_OUT(t, fuse_open_out, 0)->fh;
    CHECK_EQ(ASK_IN(t, FUSE_READDIR, 1, read, .room = 200), 0);
    CHECK_EQ(ASK_IN(t, FUSE_READDIR, 1, read, .room = 20), -EINVAL); /* not one entry fits */
    CHECK_EQ(ASK(t, .op = FUSE_LOOKUP, .node = 1, .name = { "f" }, .room = 100), -EINVAL);
    rig_close(t);
}

/* ---- attributes ---- */

TEST(share_changes_attributes)
{
    struct rig *t = begin(&(struct rig_cfg){});
    struct fuse_setattr_in in = { .valid = FATTR_MODE | FATTR_SIZE | FATTR_MTIME | FATTR_ATIME |
                                           FATTR_ATIME_NOW,
                                  .mode = 04711,
                                  .size = 10000,
                                  .mtime = 123456789,
                                  .mtimensec = 5 };
    const struct fuse_attr *a = &RIG_OUT(t, fuse_attr_out, 0)->attr;
    u64 node, link;

    host_file("f", "x");
    must(symlink("gone", in_dir("l")) == 0);
    node = look_up(t, 1, "f");
    link = look_up(t, 1, "l");
    CHECK_EQ(ASK_IN(t, FUSE_SETATTR, node, in), 0);
    CHECK_EQ(a->mode, S_IFREG | 04711);
    CHECK_EQ(a->size, 10000);
    CHECK_EQ(a->mtime, 123456789);
    CHECK_EQ(a->mtimensec, 5);
    CHECK(a->atime > 1000000000);
    in = (struct fuse_setattr_in){ .valid = FATTR_SIZE | FATTR_KILL_SUIDGID, .size = 1 };
    CHECK_EQ(ASK_IN(t, FUSE_SETATTR, node, in), 0);
    CHECK_EQ(a->mode, S_IFREG | 0711);
    in = (struct fuse_setattr_in){ .valid = FATTR_MTIME, .mtime = 1 };
    CHECK_EQ(ASK_IN(t, FUSE_SETATTR, link, in), 0); /* its own, not what it leads to */
    CHECK_EQ(a->mtime, 1);
    CHECK(S_ISLNK(a->mode));
    in.valid = FATTR_MODE;
    CHECK_EQ(ASK_IN(t, FUSE_SETATTR, link, in), -EOPNOTSUPP);
    in.valid = FATTR_SIZE;
    CHECK_EQ(ASK_IN(t, FUSE_SETATTR, link, in), -EINVAL);
    CHECK_EQ(ASK_IN(t, FUSE_SETATTR, 1, in), -EISDIR);
    in.size = ~0ull;
    CHECK_EQ(ASK_IN(t, FUSE_SETATTR, node, in), -EFBIG);
    in.valid = FATTR_MTIME;
    in.mtimensec = 1000000000;
    CHECK_EQ(ASK_IN(t, FUSE_SETATTR, node, in), -EINVAL);
    CHECK_EQ(ASK(t, .op = FUSE_STATFS, .node = 1), 0);
    CHECK_EQ(RIG_OUT(t, fuse_statfs_out, 0)->st.namelen, 255);
    CHECK_EQ(ASK(t, .op = FUSE_SYNCFS, .node = 1, .in = &in, .in_len = 8), 0);
    rig_close(t);
}

TEST(share_makes_files_for_who_asks)
{
    struct fuse_setattr_in own = {
        .valid = FATTR_UID | FATTR_GID | FATTR_MODE, .mode = 02755, .uid = 7, .gid = 8
    };
    const struct fuse_attr *a;
    struct rig *t;
    const struct fuse_mkdir_in in = { .mode = 0700 };
    u64 dir;

    if (geteuid() != 0)
        test_skip("needs root");
    must(prctl(PR_SET_SECUREBITS, SECBIT_NO_SETUID_FIXUP, 0, 0, 0) == 0); /* as socle-share does */
    t = begin(&(struct rig_cfg){ .ids = true });
    CHECK_EQ(ASK_IN(t, FUSE_MKDIR, 1, in, .name = { "d" }, .uid = 1234, .gid = 5678), 0);
    a = &RIG_OUT(t, fuse_entry_out, 0)->attr;
    dir = RIG_OUT(t, fuse_entry_out, 0)->nodeid;
    CHECK_EQ(a->uid, 1234);
    CHECK_EQ(a->gid, 5678);
    CHECK_EQ(ASK_IN(t, FUSE_SETATTR, dir, own), 0);
    CHECK_EQ(attr_of(t, dir)->uid, 7);
    CHECK_EQ(make_dir(t, dir, "e"), 0); /* as root, in a set-group-id directory */
    a = &RIG_OUT(t, fuse_entry_out, 0)->attr;
    CHECK_EQ(a->uid, 0);
    CHECK_EQ(a->gid, 8);
    rig_close(t);
}

TEST(share_keeps_set_id_bits_as_it_is_told)
{
    struct rig *t = begin(&(struct rig_cfg){});
    const struct fuse_open_in kill = { .flags = O_RDWR | O_TRUNC,
                                       .open_flags = FUSE_OPEN_KILL_SUIDGID };
    u64 fh, node;

    if (geteuid() != 0) {
        rig_close(t);
        test_skip("needs root, who keeps them");
    }
    host_file("f", "x");
    must(chmod(in_dir("f"), 06755) == 0);
    node = look_up(t, 1, "f");
    CHECK_EQ(open_node(t, node, O_RDWR, &fh), 0);
    CHECK_EQ(write_at(t, fh, 0, "y", 0), 0);
    CHECK_EQ(attr_of(t, node)->mode, S_IFREG | 06755);
    CHECK_EQ(write_at(t, fh, 0, "y", FUSE_WRITE_KILL_SUIDGID), 0);
    CHECK_EQ(attr_of(t, node)->mode, S_IFREG | 0755);
    must(chmod(in_dir("f"), 06745) == 0); /* set-group-id without execute is no right */
    CHECK_EQ(ASK_IN(t, FUSE_OPEN, node, kill), 0);
    CHECK_EQ(attr_of(t, node)->mode, S_IFREG | 02745);
    rig_close(t);
}

TEST(share_has_extended_attributes)
{
    struct rig *t = begin(&(struct rig_cfg){});
    u32 set[2] = { 5, XATTR_CREATE };
    struct fuse_getxattr_in get = { .size = 100 };
    u64 node;
    int r;

    host_file("f", "");
    node = look_up(t, 1, "f");
    r = ASK_IN(t, FUSE_SETXATTR, node, set, .name = { "user.a" }, .data = "value", .data_len = 5);
    if (r == -EOPNOTSUPP) {
        rig_close(t);
        test_skip("the file system has none");
    }
    CHECK_EQ(r, 0);
    CHECK_EQ(
        ASK_IN(t, FUSE_SETXATTR, node, set, .name = { "user.a" }, .data = "value", .data_len = 5),
        -EEXIST);
    CHECK_EQ(ASK_IN(t, FUSE_GETXATTR, node, get, .name = { "user.a" }), 0);
    CHECK_EQ(t->len, 5);
    CHECK_MEM(t->reply + 2, "value", 5);
    CHECK_EQ(ASK_IN(t, FUSE_LISTXATTR, node, get), 0);
    CHECK_MEM(t->reply + 2, "user.a", 7);
    get.size = 2;
    CHECK_EQ(ASK_IN(t, FUSE_GETXATTR, node, get, .name = { "user.a" }), -ERANGE);
    get.size = 0;
    CHECK_EQ(ASK_IN(t, FUSE_GETXATTR, node, get, .name = { "user.a" }), 0);
    CHECK_EQ(RIG_OUT(t, fuse_getxattr_out, 0)->size, 5);
    CHECK_EQ(ASK(t, .op = FUSE_REMOVEXATTR, .node = node, .name = { "user.a" }), 0);
    CHECK_EQ(ASK(t, .op = FUSE_REMOVEXATTR, .node = node, .name = { "user.a" }), -ENODATA);
    CHECK_EQ(ASK(t, .op = FUSE_REMOVEXATTR, .node = node, .name = { "" }), -ERANGE);
    set[1] = 8;
    CHECK_EQ(
        ASK_IN(t, FUSE_SETXATTR, node, set, .name = { "user.a" }, .data = "value", .data_len = 5),
        -EINVAL);
    rig_close(t);
}

/* ---- open files ---- */

TEST(share_knows_holes_and_copies)
{
    struct rig *t = begin(&(struct rig_cfg){});
    struct fuse_fallocate_in alloc = { .length = 1 * MiB };
    struct fuse_lseek_in seek = { .whence = SEEK_HOLE };
    struct fuse_copy_file_range_in copy = { .len = 5, .off_out = 3 };
    struct fuse_fsync_in sync = {};
    u64 a, b;

    CHECK_EQ(create(t, 1, "a", O_RDWR, &a), 0);
    CHECK_EQ(create(t, 1, "b", O_RDWR, &b), 0);
    CHECK_EQ(write_at(t, a, 0, "hello", 0), 0);
    alloc.fh = seek.fh = a;
    CHECK_EQ(ASK_IN(t, FUSE_FALLOCATE, 1, alloc), 0);
    CHECK_EQ(attr_of(t, look_up(t, 1, "a"))->size, 1 * MiB);
    CHECK_EQ(ASK_IN(t, FUSE_LSEEK, 1, seek), 0);
    CHECK(RIG_OUT(t, fuse_lseek_out, 0)->offset > 0);
    seek.whence = SEEK_SET;
    CHECK_EQ(ASK_IN(t, FUSE_LSEEK, 1, seek), -EINVAL);
    seek.whence = SEEK_DATA;
    seek.offset = 2 * MiB;
    CHECK_EQ(ASK_IN(t, FUSE_LSEEK, 1, seek), -ENXIO);
    copy.fh_in = a;
    copy.fh_out = b;
    CHECK_EQ(ASK_IN(t, FUSE_COPY_FILE_RANGE, 1, copy), 0);
    CHECK_EQ(RIG_OUT(t, fuse_write_out, 0)->size, 5);
    CHECK_EQ(attr_of(t, look_up(t, 1, "b"))->size, 8);
    copy.flags = 1;
    CHECK_EQ(ASK_IN(t, FUSE_COPY_FILE_RANGE, 1, copy), -EINVAL);
    sync.fh = a;
    CHECK_EQ(ASK_IN(t, FUSE_FSYNC, 1, sync), 0);
    sync.fsync_flags = FUSE_FSYNC_FDATASYNC;
    CHECK_EQ(ASK_IN(t, FUSE_FSYNC, 1, sync), 0);
    CHECK_EQ(ASK_IN(t, FUSE_FSYNCDIR, 1, sync), -EBADF); /* it is no directory's */
    rig_close(t);
}

TEST(share_makes_files_without_a_name)
{
    struct rig *t = begin(&(struct rig_cfg){});
    struct fuse_create_in in = { .flags = O_RDWR, .mode = S_IFREG | 0600 };
    struct fuse_link_in link = {};
    int r = ASK_IN(t, FUSE_TMPFILE, 1, in, .name = { "/" });

    if (r == -EOPNOTSUPP) {
        rig_close(t);
        test_skip("the file system makes none");
    }
    CHECK_EQ(r, 0);
    link.oldnodeid = RIG_OUT(t, fuse_entry_out, 0)->nodeid;
    CHECK_EQ(RIG_OUT(t, fuse_entry_out, 0)->attr.nlink, 0);
    CHECK_EQ(ASK_IN(t, FUSE_LINK, 1, link, .name = { "named" }), 0);
    CHECK_EQ(RIG_OUT(t, fuse_entry_out, 0)->nodeid, link.oldnodeid);
    CHECK(host_has("named"));
    in.flags = O_RDONLY;
    CHECK_EQ(ASK_IN(t, FUSE_TMPFILE, 1, in, .name = { "/" }), -EINVAL);
    rig_close(t);
}

TEST(share_lets_a_cache_live_while_nothing_changes)
{
    struct rig *t = begin(&(struct rig_cfg){});
    const struct timespec old[2] = { { 1000000000, 0 }, { 1000000000, 0 } };
    u64 node, fh;

    host_file("f", "1");
    node = look_up(t, 1, "f");
    CHECK_EQ(open_node(t, node, O_RDONLY, &fh), 0);
    CHECK_EQ(RIG_OUT(t, fuse_open_out, 0)->open_flags, 0); /* never seen */
    usleep(60000); /* tidy: allow banned: the file system's clock must have gone on */
    CHECK_EQ(open_node(t, node, O_RDONLY, &fh), 0);
    CHECK_EQ(open_node(t, node, O_RDONLY, &fh), 0);
    CHECK_EQ(RIG_OUT(t, fuse_open_out, 0)->open_flags, FOPEN_KEEP_CACHE);
    host_file("f", "2");
    must(utimensat(AT_FDCWD, in_dir("f"), old, 0) ==
         0); /* whoever hides it by the time of the contents */
    CHECK_EQ(open_node(t, node, O_RDONLY, &fh), 0);
    CHECK_EQ(RIG_OUT(t, fuse_open_out, 0)->open_flags, 0);
    rig_close(t);
}
