/*
 * share/node_test.c: directories as they are listed, more files than there are descriptors for, and a host that moves things meanwhile.
 */
#include "share/node.h"

#include "share/ask.h"
#include "testlib/test.h"

#include <pthread.h>
#include <stdio.h>

/* ---- directories ---- */

struct listing {
    u32 n;
    bool seen[4000];
    bool dots;
};

static void take_entry(struct listing *l, const struct fuse_dirent *d)
{
    u64 i;
    char name[64] = {};

    must(d->namelen < sizeof(name));
    memcpy(name, d->name, d->namelen);
    l->dots = l->dots || strcmp(name, "..") == 0;
    if (name[0] != 'f' || str_u64(name + 1, &i) < 0)
        return;
    must(i < ARRAY_LEN(l->seen));
    CHECK(!l->seen[i]);
    l->seen[i] = true;
    l->n++;
}

/* All of a directory, in replies of `size` bytes. */
static void list_dir(struct rig *t, u64 dir, bool plus, u32 size, struct listing *l)
{
    const struct fuse_open_in open = {};
    struct fuse_read_in in = { .size = size };
    const struct fuse_release_in rel = {};
    u32 step;

    *l = (struct listing){};
    CHECK_EQ(ASK_IN(t, FUSE_OPENDIR, dir, open), 0);
    in.fh = RIG_OUT(t, fuse_open_out, 0)->fh;
    do {
        CHECK_EQ(ASK_IN(t, plus ? FUSE_READDIRPLUS : FUSE_READDIR, dir, in), 0);
        CHECK(t->len <= size);
        for (u32 at = 0; at < t->len; at += step) {
            const u32 head = plus ? (u32)sizeof(struct fuse_entry_out) : 0;
            const struct fuse_dirent *d = RIG_OUT(t, fuse_dirent, at + head);

            take_entry(l, d);
            in.offset = d->off;
            step = head + (u32)FUSE_DIRENT_SIZE(d);
        }
    } while (t->len > 0);
    CHECK_EQ(rig_ask(t, &(struct rig_ask){ .op = FUSE_RELEASEDIR,
                                           .node = dir,
                                           .in = &(struct fuse_release_in){ .fh = in.fh },
                                           .in_len = sizeof(rel) }),
             0);
}

static void make_many(struct rig *t, u64 dir, u32 n)
{
    const struct fuse_mknod_in in = { .mode = S_IFREG | 0644 };
    char name[16];

    for (u32 i = 0; i < n; i++) {
        str_fmt(name, sizeof(name), "f%u", i);
        CHECK_EQ(ASK_IN(t, FUSE_MKNOD, dir, in, .name = { name }), 0);
        forget(t, RIG_OUT(t, fuse_entry_out, 0)->nodeid, 1);
    }
}

TEST(share_lists_each_entry_once)
{
    static const u32 sizes[] = { 512, 4096, 65536 };
    static struct listing l;
    struct rig *t = begin(&(struct rig_cfg){ .files = 300, .handles = 8 });

    make_many(t, 1, 2000);
    for_each_row(size, sizes) {
        list_dir(t, 1, false, *size, &l);
        CHECK_EQ(l.n, 2000);
        CHECK(l.dots);
        list_dir(t, 1, true, *size, &l);
        CHECK_EQ(l.n, 2000);
    }
    rig_close(t);
}

/* ---- more files than descriptors ---- */

TEST(share_knows_more_files_than_it_has_descriptors_for)
{
    static u64 nodes[1500];
    struct rig *t = begin(&(struct rig_cfg){ .files = 300, .handles = 8 });
    char name[16];
    u64 dir, deep, fh;

    CHECK_EQ(make_dir(t, 1, "d"), 0);
    dir = RIG_OUT(t, fuse_entry_out, 0)->nodeid;
    CHECK_EQ(make_dir(t, dir, "e"), 0);
    deep = RIG_OUT(t, fuse_entry_out, 0)->nodeid;
    make_many(t, deep, ARRAY_LEN(nodes));
    for (u32 i = 0; i < ARRAY_LEN(nodes); i++) {
        str_fmt(name, sizeof(name), "f%u", i);
        nodes[i] = look_up(t, deep, name);
        CHECK(nodes[i]);
    }
    CHECK_EQ(rename2_to(t, 1, "d", 1, "moved", 0), 0);     /* what is below is found again */
    CHECK_EQ(rename2_to(t, deep, "f0", 1, "other", 0), 0); /* and so is what is elsewhere now */
    CHECK_EQ(remove_name(t, FUSE_UNLINK, deep, "f1"), 0);  /* and what has no name any more */
    must(rename(in_dir("moved/e/f2"), in_dir("f2")) == 0); /* but not what the host moves */
    host_file("moved/e/f3.new", "another");
    must(rename(in_dir("moved/e/f3.new"), in_dir("moved/e/f3")) == 0);
    for (u32 i = 0; i < ARRAY_LEN(nodes); i++)
        CHECK_EQ(!knows(t, nodes[i]), i == 2 || i == 3);
    CHECK_EQ(attr_of(t, nodes[1])->nlink, 0);
    CHECK_EQ(look_up(t, 1, "f2"), nodes[2]); /* until it is looked up again */
    CHECK(knows(t, nodes[2]));
    CHECK_EQ(open_node(t, nodes[0], O_RDONLY, &fh), 0);
    for (u32 i = 0; i < ARRAY_LEN(nodes); i++)
        forget(t, nodes[i], 2);
    forget(t, deep, 1);
    CHECK(!knows(t, deep));
    CHECK(knows(t, dir));
    rig_close(t);
}

TEST(share_has_a_limit_on_what_is_held)
{
    struct rig *t = begin(&(struct rig_cfg){ .files = 256, .handles = 8 });
    u64 fh = 0, node;
    char name[16];
    u32 i;
    int r = 0;

    host_file("f", "");
    node = look_up(t, 1, "f");
    for (i = 0; i < 8; i++)
        CHECK_EQ(open_node(t, node, O_RDONLY, &fh), 0);
    CHECK_EQ(open_node(t, node, O_RDONLY, &fh), -ENFILE);
    CHECK_EQ(release(t, node, 3), 0);
    CHECK_EQ(open_node(t, node, O_RDONLY, &fh), 0);
    CHECK_EQ(fh, 3);
    for (i = 0; i < 8; i++)
        CHECK_EQ(release(t, node, i), 0);
    for (i = 0; i < 400 && r == 0; i++) { /* each keeps a descriptor, since no name leads to it */
        str_fmt(name, sizeof(name), "g%u", i);
        r = create(t, 1, name, O_RDWR, &fh);
        if (r == 0)
            CHECK_EQ(release(t, 1, fh), 0);
        if (r == 0)
            r = remove_name(t, FUSE_UNLINK, 1, name);
    }
    CHECK_EQ(r, -ENFILE);
    CHECK(i > 200);
    CHECK_EQ(rig_init_session(t), 0); /* a new guest has them all again */
    CHECK_EQ(create(t, 1, "again", O_RDWR, &fh), 0);
    rig_close(t);
}

TEST(share_forgets)
{
    struct rig *t = begin(&(struct rig_cfg){});
    struct {
        struct fuse_batch_forget_in head;
        struct fuse_forget_one one[2];
    } batch = { .head.count = 2 };
    u64 a, b;

    host_file("a", "");
    host_file("b", "");
    a = look_up(t, 1, "a");
    CHECK_EQ(look_up(t, 1, "a"), a);
    forget(t, a, 1);
    CHECK(knows(t, a)); /* it was looked up twice */
    forget(t, a, 1000);
    CHECK(!knows(t, a));
    forget(t, a, 1);
    forget(t, 1, 1);
    CHECK(knows(t, 1)); /* the root stays */
    a = look_up(t, 1, "a");
    b = look_up(t, 1, "b");
    batch.one[0] = (struct fuse_forget_one){ a, 1 };
    batch.one[1] = (struct fuse_forget_one){ b, 1 };
    CHECK_EQ(ASK_IN(t, FUSE_BATCH_FORGET, 0, batch), 1);
    CHECK(!knows(t, a) && !knows(t, b));
    rig_close(t);
}

/* ---- the host moves things meanwhile ---- */

struct mover {
    char from[300], to[300];
    atomic_bool stop;
};

/* A directory and a link to what is outside take each other's place. */
static void *move(void *arg)
{
    struct mover *m = arg;

    while (!atomic_load(&m->stop))
        must(renameat2(AT_FDCWD, m->from, AT_FDCWD, m->to, RENAME_EXCHANGE) == 0);
    return NULL;
}

TEST(share_does_not_escape_while_the_host_moves_things)
{
    struct rig *t = begin(&(struct rig_cfg){});
    struct mover m = {};
    pthread_t thread;
    u64 dir, fh;
    u32 through = 0;

    must(mkdir(in_dir("d"), 0755) == 0);
    must(symlink("..", in_dir("l")) == 0);
    str_fmt(m.from, sizeof(m.from), "%s/d", t->dir);
    str_fmt(m.to, sizeof(m.to), "%s/l", t->dir);
    must(pthread_create(&thread, NULL, move, &m) == 0);
    for (u32 i = 0; i < 3000; i++) {
        dir = look_up(t, 1, "d");
        CHECK(dir);
        CHECK(!look_up(t, dir, "canary"));
        if (create(t, dir, "x", O_RDWR, &fh) == 0) {
            through++;
            CHECK_EQ(release(t, dir, fh), 0);
            CHECK_EQ(remove_name(t, FUSE_UNLINK, dir, "x"), 0);
        }
        forget(t, dir, 1);
    }
    atomic_store(&m.stop, true);
    pthread_join(thread, NULL);
    CHECK(through > 0);
    CHECK_EQ(access(t->canary, F_OK), 0);
    rig_close(t);
}
