/*
 * host/tree_test.c: histories of snapshots on real files, without a machine: every disk reads at any time as it should; catalogues that are
 * refused; what an interruption leaves.
 */
#include "host/tree.h"

#include "disk/lock.h"
#include "testlib/test.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum { DISKS = 2, SIZE = 256 * 1024, PIECE = 4096, NODES_MAX = 12 };

static char *path_of(const char *name)
{
    return str_new("%s/%s", test_dir(), name);
}

/* What the disks should read as: now, and at each snapshot. */
struct model {
    u8 now[DISKS][SIZE];
    struct {
        bool there;
        u32 parent; /* its place here */
        u8 disk[DISKS][SIZE];
        struct timespec mtime[DISKS];
    } node[NODES_MAX];
};

static void open_tree(struct tree_file *f)
{
    AUTO(free) char *disk = path_of("a");
    struct err e = {};

    CHECK_OK(tree_open(f, disk, true, &e), &e);
}

/* Everything in the folder that an earlier history left, and empty disks. */
static void begin(void)
{
    AUTO(free) char *command = str_new("rm -rf %s/a* %s/b*", test_dir(), test_dir());

    CHECK_EQ(system(command), 0); /* tidy: allow banned: a test's own folder */
    for (u32 i = 0; i < DISKS; i++) {
        AUTO(free) char *path = path_of(i ? "b" : "a");
        AUTO(fd) int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0640);

        CHECK(fd >= 0 && ftruncate(fd, SIZE) == 0);
    }
}

static void read_image(const char *path, u8 *buf)
{
    AUTO(disk) struct disk *d = NULL;
    AUTO(disk_sync) struct disk_sync *s = NULL;
    struct err e = {};

    CHECK_OK(disk_open(&(struct disk_cfg){ .file = path, .fd = -1, .readonly = true }, &d, &e), &e);
    CHECK_EQ(d->size, SIZE);
    CHECK_OK(disk_sync_open(d, &s, &e), &e);
    CHECK_EQ(disk_pread(s, buf, SIZE, 0), 0);
}

static void write_some(struct model *m, u64 *seed)
{
    for (u32 i = 0; i < DISKS; i++) {
        AUTO(free) char *path = path_of(i ? "b" : "a");
        AUTO(disk) struct disk *d = NULL;
        AUTO(disk_sync) struct disk_sync *s = NULL;
        struct err e = {};
        u64 at = test_rand(seed) % (SIZE / PIECE) * PIECE;

        CHECK_OK(disk_open(&(struct disk_cfg){ .file = path, .fd = -1 }, &d, &e), &e);
        CHECK_OK(disk_sync_open(d, &s, &e), &e);
        memset(m->now[i] + at, (int)(test_rand(seed) % 200), PIECE);
        CHECK_EQ(disk_pwrite(s, m->now[i] + at, PIECE, at), 0);
        CHECK_EQ(disk_flush(s), 0);
    }
}

static void take(struct tree_file *f, const char *name, bool done)
{
    AUTO(free) char *a = path_of("a");
    AUTO(free) char *b = path_of("b");
    char *files[DISKS] = { a, b };
    struct tree_heads h = { .n = DISKS };
    struct tree_overlay o[DISKS];
    struct err e = {};

    for (u32 i = 0; i < DISKS; i++) {
        AUTO(disk) struct disk *d = NULL;

        CHECK_OK(
            disk_open(&(struct disk_cfg){ .file = files[i], .fd = -1, .readonly = true }, &d, &e),
            &e);
        h.head[i] = (struct tree_head){ files[i], d->ops->format, SIZE };
    }
    CHECK_OK(tree_take(f, name, false, &h, o, &e), &e);
    tree_overlays_close(o, DISKS);
    if (done)
        CHECK_OK(tree_taken(f, &e), &e);
}

static struct timespec mtime_of(const struct tree_file *f, const struct tree_node *n, u32 i)
{
    AUTO(free) char *path = tree_image_path(f, n, i);
    struct stat st = {};

    CHECK_EQ(stat(path, &st), 0);
    return st.st_mtim;
}

static void name_of(char name[16], u32 i)
{
    str_fmt(name, 16, "n%u", i);
}

static void check_all(const struct tree_file *f, const struct model *m)
{
    AUTO(free) u8 *buf = xnew_n(u8, SIZE);

    for (u32 i = 0; i < DISKS; i++) {
        AUTO(free) char *path = path_of(i ? "b" : "a");

        read_image(path, buf);
        CHECK_MEM(buf, m->now[i], SIZE);
    }
    for (u32 k = 0; k < NODES_MAX; k++) {
        const struct tree_node *n;
        char name[16];

        name_of(name, k);
        n = tree_by_name(&f->t, name);
        CHECK_EQ(n != NULL, m->node[k].there);
        for (u32 i = 0; n && i < DISKS; i++) {
            AUTO(free) char *path = tree_image_path(f, n, i);
            struct timespec t = mtime_of(f, n, i);

            read_image(path, buf);
            CHECK_MEM(buf, m->node[k].disk[i], SIZE);
            CHECK_EQ(t.tv_nsec, m->node[k].mtime[i].tv_nsec);
            CHECK_EQ(t.tv_sec, m->node[k].mtime[i].tv_sec);
        }
    }
}

static void do_take(struct tree_file *f, struct model *m, u32 k)
{
    char name[16];

    name_of(name, k);
    take(f, name, true);
    m->node[k].there = true;
    memcpy(m->node[k].disk, m->now, sizeof(m->now));
    for (u32 i = 0; i < DISKS; i++)
        m->node[k].mtime[i] = mtime_of(f, tree_by_name(&f->t, name), i);
}

static void do_restore(struct tree_file *f, struct model *m, u32 k)
{
    struct err e = {};
    char name[16];

    name_of(name, k);
    CHECK_OK(tree_restore(f, name, &e), &e);
    memcpy(m->now, m->node[k].disk, sizeof(m->now));
}

static void do_delete(struct tree_file *f, struct model *m, u32 k)
{
    struct job j = {};
    struct err e = {};
    char name[16];

    name_of(name, k);
    CHECK_OK(tree_delete(&j, f, name, NULL, &e), &e);
    m->node[k].there = false;
}

static void history(u64 seed, u32 length)
{
    AUTO(free) struct model *m = xnew(struct model);
    struct tree_file f;

    begin();
    for (u32 i = 0; i < length; i++) {
        u32 what = (u32)(test_rand(&seed) % 8), k = (u32)(test_rand(&seed) % NODES_MAX);

        open_tree(&f);
        if (what < 3)
            write_some(m, &seed);
        else if (!m->node[k].there)
            do_take(&f, m, k);
        else if (what < 5)
            do_restore(&f, m, k);
        else
            do_delete(&f, m, k);
        check_all(&f, m);
        tree_close(&f);
    }
    open_tree(&f);
    for (u32 k = 0; k < NODES_MAX; k++)
        if (m->node[k].there)
            do_delete(&f, m, k);
    check_all(&f, m);
    CHECK_EQ(f.t.current, 0);
    tree_close(&f);
}

TEST(tree_histories)
{
    for (u64 seed = 1; seed <= 5; seed++)
        history(seed, 24);
}

/* Taken up to each of its steps, then undone, or deleted by who finds it. */
TEST(tree_interrupted_taking_is_deleted)
{
    struct model *m = xnew(struct model);
    AUTO(free) char *a = path_of("a");
    AUTO(free) char *image = path_of("a.s2");
    AUTO(free) char *third = path_of("a.s3");
    struct job j = {};
    struct tree_file f;
    struct err e = {};
    u64 seed = 5;

    begin();
    open_tree(&f);
    do_take(&f, m, 0);
    write_some(m, &seed);
    take(&f, "half", false);
    tree_close(&f);
    open_tree(&f);
    CHECK_EQ(tree_by_name(&f.t, "half")->phase, TREE_TAKING);
    CHECK(tree_restore(&f, "half", &e) < 0);
    CHECK_HAS(e.text, "is not complete");
    check_all(&f, m);
    CHECK_EQ(rename(image, a), 0); /* one disk had not got so far */
    CHECK_EQ(link(a, image), 0);
    CHECK_OK(tree_delete(&j, &f, "half", NULL, &e), &e);
    check_all(&f, m);
    take(&f, "undone", false);
    CHECK_OK(tree_take_undo(&f, &e), &e);
    CHECK(!tree_by_name(&f.t, "undone"));
    CHECK(access(third, F_OK) < 0); /* its name is the disk's again */
    check_all(&f, m);
    tree_close(&f);
    free(m);
}

TEST(tree_interrupted_restore_is_said)
{
    AUTO(free) char *a = path_of("a");
    struct model *m = xnew(struct model);
    struct tree_file f;
    struct err e = {};

    begin();
    CHECK_OK(tree_usable(a, &e), &e);
    open_tree(&f);
    do_take(&f, m, 0);
    CHECK_OK(tree_usable(a, &e), &e);
    f.t.restoring = 1;
    CHECK_OK(tree_store(&f, &e), &e);
    CHECK(tree_usable(a, &e) < 0);
    CHECK_HAS(e.text, "going back to snapshot 'n0' was interrupted");
    do_restore(&f, m, 0);
    CHECK_OK(tree_usable(a, &e), &e);
    tree_close(&f);
    free(m);
}

TEST(tree_is_used_by_one)
{
    AUTO(free) char *a = path_of("a");
    AUTO(fd) int machine = -1;
    struct model *m = xnew(struct model);
    struct tree_file f, other;
    struct job j = {};
    struct err e = {};

    begin();
    open_tree(&f);
    CHECK(tree_open(&other, a, false, &e) < 0);
    CHECK_HAS(e.text, "in use");
    tree_close(&other);
    do_take(&f, m, 0);
    do_take(&f, m, 1);
    CHECK(tree_open(&other, a, false, &e) < 0); /* also after it was replaced */
    tree_close(&other);
    machine = open(a, O_RDWR | O_CLOEXEC);
    CHECK_OK(lock_image(machine, true, a, &e), &e);
    CHECK(tree_restore(&f, "n0", &e) < 0);
    CHECK_HAS(e.text, "in use");
    CHECK(tree_delete(&j, &f, "n1", NULL, &e) < 0);
    CHECK_HAS(e.text, "in use by process");
    CHECK_HAS(e.text, "a machine that runs");
    CHECK_EQ(tree_by_name(&f.t, "n1")->phase, TREE_COMPLETE);
    fd_close(&machine);
    check_all(&f, m);
    tree_close(&f);
    free(m);
}

/* Who reads an image of the tree reads the same afterwards, through tables of before. */
TEST(tree_is_deleted_from_beside_readers)
{
    AUTO(free) struct model *m = xnew(struct model);
    AUTO(free) u8 *buf = xnew_n(u8, SIZE);
    AUTO(disk) struct disk *reader = NULL;
    AUTO(disk_sync) struct disk_sync *s = NULL;
    AUTO(free) char *third = path_of("a.s3");
    struct tree_file f;
    struct err e = {};
    u64 seed = 9;

    begin();
    open_tree(&f);
    for (u32 k = 0; k < 4; k++) {
        write_some(m, &seed);
        write_some(m, &seed);
        do_take(&f, m, k);
    }
    CHECK_OK(
        disk_open(&(struct disk_cfg){ .file = third, .fd = -1, .readonly = true }, &reader, &e),
        &e);
    CHECK_OK(disk_sync_open(reader, &s, &e), &e);
    do_delete(&f, m, 1);
    check_all(&f, m);
    do_delete(&f, m, 0);
    check_all(&f, m);
    CHECK_EQ(disk_pread(s, buf, SIZE, 0), 0);
    CHECK_MEM(buf, m->node[2].disk[0], SIZE);
    tree_close(&f);
}

struct machine {
    u32 merges;
    int r;
};

static int on_merge(void *arg, struct job *, u32 disk, const char *image, struct err *e)
{
    struct machine *m = arg;

    CHECK_EQ(disk, m->merges);
    CHECK_EQ(access(image, F_OK), 0); /* it reads it until now */
    m->merges++;
    return m->r < 0 ? err_set(e, m->r, "as wanted") : 0;
}

/* The machine merges what it writes; its refusal leaves what can be done again. */
TEST(tree_is_deleted_from_with_its_machine)
{
    AUTO(free) struct model *m = xnew(struct model);
    AUTO(free) char *a = path_of("a");
    AUTO(fd) int fd = -1;
    struct machine own = { .r = -EIO };
    const struct tree_machine machine = { on_merge, &own };
    struct tree_file f;
    struct job j = {};
    struct err e = {};
    u64 seed = 3;

    begin();
    open_tree(&f);
    write_some(m, &seed);
    do_take(&f, m, 0);
    write_some(m, &seed);
    do_take(&f, m, 1);
    fd = open(a, O_RDWR | O_CLOEXEC);
    CHECK_OK(lock_image(fd, true, a, &e), &e);
    CHECK_EQ(tree_delete(&j, &f, "n1", &machine, &e), -EIO);
    CHECK_EQ(tree_by_name(&f.t, "n1")->phase, TREE_DELETING);
    CHECK(tree_delete(&j, &f, "n0", &machine, &e) < 0);
    CHECK_HAS(e.text, "'n1', which builds on it, must be deleted first");
    fd_close(&fd);
    check_all(&f, m);
    do_delete(&f, m, 1);
    own = (struct machine){};
    CHECK_OK(tree_delete(&j, &f, "n0", &machine, &e), &e);
    CHECK_EQ(own.merges, DISKS);
    tree_close(&f);
}

/* What a guest wrote into its first sector does not choose what its host takes its disk for. */
TEST(tree_delete_makes_no_header)
{
    AUTO(free) struct model *m = xnew(struct model);
    AUTO(free) char *a = path_of("a");
    static const u8 magic[] = { 'Q', 'F', 'I', 0xfb, 0, 0, 0, 3 };
    struct tree_file f;

    begin();
    open_tree(&f);
    do_take(&f, m, 0);
    {
        AUTO(disk) struct disk *d = NULL;
        AUTO(disk_sync) struct disk_sync *s = NULL;
        struct err e = {};

        CHECK_OK(disk_open(&(struct disk_cfg){ .file = a, .fd = -1 }, &d, &e), &e);
        CHECK_OK(disk_sync_open(d, &s, &e), &e);
        memcpy(m->now[0], magic, sizeof(magic));
        CHECK_EQ(disk_pwrite(s, m->now[0], PIECE, 0), 0);
    }
    do_delete(&f, m, 0);
    check_all(&f, m);
    tree_close(&f);
}

TEST(tree_catalogues_that_are_refused)
{
#define TREE(rest)     "{\"version\": 1, \"next\": 9, \"disks\": [{\"file\": \"a\"}]" rest "}"
#define NODE(id, rest) "{\"id\": " id ", \"images\": [{\"file\": \"i\"}]" rest "}"
    static const struct {
        const char *why, *text, *has;
    } rows[] = {
        { "not JSON", "hello", "JSON" },
        { "another version", "{\"version\": 2, \"next\": 1}", "'version' is 2" },
        { "no such node", TREE(", \"current\": 3"), "build on 3, which is not there" },
        { "restoring to nothing", TREE(", \"restoring\": 3"), "build on 3, which is not there" },
        { "one number twice",
          TREE(", \"nodes\": [" NODE("1", ", \"name\": \"x\"") "," NODE("1",
                                                                        ", \"name\": \"y\"") "]"),
          "there twice" },
        { "one name twice",
          TREE(", \"nodes\": [" NODE("1", ", \"name\": \"x\"") "," NODE("2",
                                                                        ", \"name\": \"x\"") "]"),
          "there twice" },
        { "a cycle", TREE(", \"nodes\": [" NODE("1", ", \"name\": \"x\", \"parent\": 1") "]"),
          "not older" },
        { "a parent that is not there",
          TREE(", \"nodes\": [" NODE("2", ", \"name\": \"x\", \"parent\": 1") "]"),
          "not older, or not there" },
        { "a number to come", TREE(", \"nodes\": [" NODE("9", ", \"name\": \"x\"") "]"),
          "the next is 9" },
        { "too few images", TREE(", \"nodes\": [{\"id\": 1, \"name\": \"x\"}]"),
          "0 images for 1 disks" },
        { "an image elsewhere",
          TREE(", \"nodes\": [{\"id\": 1, \"name\": \"x\", \"images\": [{\"file\": \"../x\"}]}]"),
          "without its folder" },
        { "a state elsewhere",
          TREE(", \"nodes\": [" NODE("1", ", \"name\": \"x\", \"state\": \"/etc/passwd\"") "]"),
          "without its folder" },
        { "a name like a path", TREE(", \"nodes\": [" NODE("1", ", \"name\": \"a/b\"") "]"),
          "letters, digits" },
    };
    AUTO(free) char *a = path_of("a");
    AUTO(free) char *path = path_of("a.snapshots");

    begin();
    for_each_row(c, rows) {
        AUTO(fd) int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
        struct tree_file f;
        struct err e = {};

        ROW(c);
        CHECK_EQ(fd_write_all(fd, c->text, strlen(c->text)), 0);
        CHECK(tree_open(&f, a, false, &e) < 0);
        CHECK_HAS(e.text, c->has);
        tree_close(&f);
    }
}
