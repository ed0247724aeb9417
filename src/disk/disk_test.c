/*
 * disk/disk_test.c: raw disks on real files, through both engines: contents, holes, alignment, refusals.
 */
#include "disk/disk.h"

#include "testlib/test.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum { SIZE = 4 * MiB };

static const enum disk_engine engines[] = { DISK_ENGINE_URING, DISK_ENGINE_THREADS };

struct fixture {
    struct loop loop;
    struct disk *disk;
    struct disk_queue *q;
    u32 done, batches;
    char path[200];
};

/* One request that counts itself. */
struct req {
    struct disk_req r;
    struct iovec iov[4];
    struct fixture *f;
};

static void on_done(struct disk_req *r)
{
    container_of(r, struct req, r)->f->done++;
}

static void on_batch(void *arg)
{
    ((struct fixture *)arg)->batches++;
}

static void make_file(char path[200], const char *name, u64 size)
{
    int fd;

    str_fmt(path, 200, "%s/%s", test_dir(), name);
    fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    CHECK(fd >= 0);
    CHECK_EQ(ftruncate(fd, (off_t)size), 0);
    close(fd);
}

static bool fixture_init(struct fixture *f, enum disk_engine engine, enum disk_cache cache)
{
    struct err e;

    *f = (struct fixture){};
    make_file(f->path, "a.img", SIZE);
    CHECK_EQ(loop_init(&f->loop, "test"), 0);
    if (disk_open(&(struct disk_cfg){ .file = f->path, .fd = -1, .cache = cache, .engine = engine },
                  &f->disk, &e) < 0 ||
        disk_queue_open(
            f->disk,
            &(struct disk_queue_cfg){ .loop = &f->loop, .depth = 16, .batch = on_batch, .arg = f },
            &f->q, &e) < 0) {
        fprintf(stderr, "  left out: %s\n", e.text);
        disk_close(f->disk);
        loop_fini(&f->loop);
        return false;
    }
    return true;
}

static void fixture_fini(struct fixture *f)
{
    disk_queue_close(f->q);
    disk_close(f->disk);
    loop_fini(&f->loop);
}

static void submit(struct fixture *f, struct req *q, enum disk_op op, u64 offset, void *buf,
                   u64 len)
{
    q->f = f;
    q->iov[0] = (struct iovec){ buf, len };
    q->r.op = op;
    q->r.offset = offset;
    q->r.len = len;
    q->r.iov = q->iov;
    q->r.n_iov = op == DISK_READ || op == DISK_WRITE ? 1 : 0;
    q->r.result = 1;
    q->r.done = on_done;
    disk_submit(f->q, &q->r);
}

/* Submits one request and runs the loop until it is done. */
static int do_one(struct fixture *f, struct req *q, enum disk_op op, u64 offset, void *buf, u64 len)
{
    u32 before = f->done;

    submit(f, q, op, offset, buf, len);
    disk_kick(f->q);
    while (f->done == before)
        uv_run(&f->loop.uv, UV_RUN_ONCE);
    CHECK_EQ(f->done, before + 1);
    return q->r.result;
}

static void fill(u8 *p, size_t len, u64 seed)
{
    for (size_t i = 0; i < len; i++)
        p[i] = (u8)test_rand(&seed);
}

static bool all_zero(const u8 *p, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if (p[i])
            return false;
    return true;
}

static void check_file(struct fixture *f, const u8 *want, u64 offset, size_t len)
{
    AUTO(fd) int fd = open(f->path, O_RDONLY | O_CLOEXEC);
    AUTO(free) u8 *got = alloc_x(1, len);

    CHECK_EQ(fd_pread_all(fd, got, len, offset), 0);
    CHECK_MEM(got, want, len);
}

TEST(disk_each_operation)
{
    static const struct {
        const char *why;
        enum disk_op op;
        bool may_unmap, durable;
        bool zeroes; /* what the range reads as next */
    } rows[] = {
        { "discard", DISK_DISCARD, false, false, true },
        { "zeroes, unmapped", DISK_ZERO, true, false, true },
        { "zeroes, kept", DISK_ZERO, false, false, true },
        { "zeroes, durable", DISK_ZERO, true, true, true },
        { "discard, durable", DISK_DISCARD, false, true, true },
    };
    static u8 data[256 * KiB], back[256 * KiB];

    for_each_row(engine, engines) {
        struct fixture f;

        if (!fixture_init(&f, *engine, DISK_WRITEBACK))
            continue;
        for_each_row(c, rows) {
            struct req q = { .r.durable = c->durable };

            ROW(c);
            fill(data, sizeof(data), 1 + (u64)(c - rows));
            CHECK_EQ(do_one(&f, &q, DISK_WRITE, 512, data, sizeof(data)), 0);
            check_file(&f, data, 512, sizeof(data));
            CHECK_EQ(do_one(&f, &q, DISK_FLUSH, 0, NULL, 0), 0);
            q.r.may_unmap = c->may_unmap;
            CHECK_EQ(do_one(&f, &q, c->op, 512 + 1024, NULL, 100 * KiB), 0);
            CHECK_EQ(do_one(&f, &q, DISK_READ, 512, back, sizeof(back)), 0);
            CHECK_MEM(back, data, 1024);
            CHECK_EQ(all_zero(back + 1024, 100 * KiB), c->zeroes);
            CHECK_MEM(back + 1024 + 100 * KiB, data + 1024 + 100 * KiB,
                      sizeof(data) - 1024 - 100 * KiB);
        }
        fixture_fini(&f);
    }
}

TEST(disk_holes_give_space_back)
{
    static u8 data[1 * MiB];
    struct fixture f;
    struct req q = { .r.may_unmap = true };
    struct stat before, after;

    CHECK(fixture_init(&f, DISK_ENGINE_AUTO, DISK_WRITEBACK));
    fill(data, sizeof(data), 3);
    CHECK_EQ(do_one(&f, &q, DISK_WRITE, 0, data, sizeof(data)), 0);
    CHECK_EQ(do_one(&f, &q, DISK_FLUSH, 0, NULL, 0), 0);
    CHECK_EQ(stat(f.path, &before), 0);
    CHECK_EQ(do_one(&f, &q, DISK_ZERO, 0, NULL, sizeof(data)), 0);
    CHECK_EQ(stat(f.path, &after), 0);
    CHECK(after.st_blocks < before.st_blocks);
    CHECK_EQ(after.st_size, before.st_size);
    fixture_fini(&f);
}

TEST(disk_many_at_once)
{
    enum { N = 300 };
    static struct req reqs[N];
    static u8 data[N][4096], back[N][4096];

    for_each_row(engine, engines) {
        struct fixture f;

        if (!fixture_init(&f, *engine, DISK_WRITEBACK))
            continue;
        fill(data[0], sizeof(data), 9);
        for (u32 i = 0; i < N; i++)
            submit(&f, &reqs[i], DISK_WRITE, (u64)i * 4096, data[i], 4096);
        disk_drain(f.q);
        CHECK_EQ(f.done, N);
        CHECK_EQ(f.q->busy, 0);
        for (u32 i = 0; i < N; i++)
            submit(&f, &reqs[i], DISK_READ, (u64)(N - 1 - i) * 4096, back[N - 1 - i], 4096);
        disk_kick(f.q);
        while (f.q->busy)
            uv_run(&f.loop.uv, UV_RUN_ONCE);
        for (u32 i = 0; i < N; i++)
            CHECK_EQ(reqs[i].r.result, 0);
        CHECK_MEM(back, data, sizeof(data));
        fixture_fini(&f);
    }
}

TEST(disk_direct_takes_any_buffer)
{
    static alignas(4096) u8 data[1 * MiB + 4096], back[1 * MiB + 4096];
    u32 ran = 0;

    for_each_row(engine, engines) {
        struct fixture f;
        struct req a = {}, b = {};

        if (!fixture_init(&f, *engine, DISK_DIRECT))
            continue;
        ran++;
        fill(data, sizeof(data), 5);
        CHECK_EQ(do_one(&f, &a, DISK_WRITE, 512, data, 64 * KiB), 0); /* aligned */
        check_file(&f, data, 512, 64 * KiB);
        /* two odd ones at once share the bounce buffer, and each is larger than it */
        submit(&f, &a, DISK_WRITE, 1 * MiB, data + 3, 512 * KiB);
        submit(&f, &b, DISK_WRITE, 2 * MiB, data + 512 * KiB + 1, 512 * KiB);
        disk_drain(f.q);
        CHECK_EQ(a.r.result, 0);
        CHECK_EQ(b.r.result, 0);
        check_file(&f, data + 3, 1 * MiB, 512 * KiB);
        check_file(&f, data + 512 * KiB + 1, 2 * MiB, 512 * KiB);
        submit(&f, &a, DISK_READ, 1 * MiB, back + 7, 512 * KiB);
        submit(&f, &b, DISK_READ, 2 * MiB, back + 512 * KiB + 9, 512 * KiB);
        disk_drain(f.q);
        CHECK_MEM(back + 7, data + 3, 512 * KiB);
        CHECK_MEM(back + 512 * KiB + 9, data + 512 * KiB + 1, 512 * KiB);
        fixture_fini(&f);
    }
    if (!ran)
        test_skip("no direct I/O here");
}

/* A flush of an unsafe disk is done without the host, but still not from inside submit. */
TEST(disk_unsafe_flush)
{
    struct fixture f;
    struct req q = {};

    CHECK(fixture_init(&f, DISK_ENGINE_AUTO, DISK_UNSAFE));
    submit(&f, &q, DISK_FLUSH, 0, NULL, 0);
    CHECK_EQ(f.done, 0);
    disk_kick(f.q);
    CHECK_EQ(f.done, 1);
    CHECK_EQ(q.r.result, 0);
    fixture_fini(&f);
}

/* The file shrinks under us: an error, not zeroes that never were there. */
TEST(disk_file_shrinks)
{
    static u8 buf[64 * KiB];

    for_each_row(engine, engines) {
        struct fixture f;
        struct req q = {};

        if (!fixture_init(&f, *engine, DISK_WRITEBACK))
            continue;
        CHECK_EQ(truncate(f.path, 1 * MiB), 0);
        CHECK_EQ(do_one(&f, &q, DISK_READ, 1 * MiB - 4096, buf, sizeof(buf)), -EIO);
        CHECK_EQ(q.r.len, sizeof(buf) - 4096);
        fixture_fini(&f);
    }
}

TEST(disk_refuses)
{
    static const struct {
        const char *why;
        const char *name;
        u64 size;
        bool readonly;
        int r;
        const char *text;
    } rows[] = {
        { "missing", "missing", 0, false, -ENOENT, "open disk" },
        { "directory", ".", 0, false, -EISDIR, "is a directory" },
        { "directory, read", ".", 0, true, -EISDIR, "is a directory" },
        { "empty", "e.img", 0, false, -EINVAL, "is empty" },
        { "odd", "o.img", 1000, false, -EINVAL, "has 1000 bytes, which is no multiple of 512" },
        { "character device", "/dev/null", 0, false, -EINVAL, "neither a file nor a block device" },
    };

    for_each_row(c, rows) {
        AUTO(disk) struct disk *d = NULL;
        char path[200];
        struct err e = {};

        ROW(c);
        if (c->r == -EINVAL && c->name[0] != '/')
            make_file(path, c->name, c->size);
        else
            str_fmt(path, sizeof(path), "%s%s%s", c->name[0] == '/' ? "" : test_dir(),
                    c->name[0] == '/' ? "" : "/", c->name);
        CHECK_EQ(disk_open(&(struct disk_cfg){ .file = path, .fd = -1, .readonly = c->readonly },
                           &d, &e),
                 c->r);
        CHECK_HAS(e.text, c->text);
    }
}

TEST(disk_fifo_does_not_block)
{
    AUTO(disk) struct disk *d = NULL;
    char path[200];
    struct err e = {};

    str_fmt(path, sizeof(path), "%s/fifo", test_dir());
    CHECK_EQ(mkfifo(path, 0600), 0);
    CHECK_EQ(disk_open(&(struct disk_cfg){ .file = path, .fd = -1, .readonly = true }, &d, &e),
             -EINVAL);
    CHECK_HAS(e.text, "neither");
}

TEST(disk_handed_fd)
{
    AUTO(disk) struct disk *d = NULL;
    char path[200];
    struct err e = {};
    int fd;

    make_file(path, "fd.img", 1 * MiB);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    CHECK_EQ(disk_open(&(struct disk_cfg){ .fd = fd }, &d, &e), -EACCES);
    CHECK_HAS(e.text, "handed in read-only");
    fd = open(path, O_RDONLY | O_CLOEXEC);
    CHECK_OK(disk_open(&(struct disk_cfg){ .fd = fd, .readonly = true }, &d, &e), &e);
    CHECK_EQ(d->size, 1 * MiB);
    CHECK(d->readonly);
    CHECK_EQ(d->discard, 0);
}
