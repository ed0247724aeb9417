/*
 * disk/job_test.c: jobs on real files: what is copied, what is left behind, what is refused.
 */
#include "disk/job.h"

#include "disk/job_file.h"
#include "disk/lock.h"
#include "disk/zero.h"
#include "testlib/test.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum { SIZE = 5 * 1024 * 1024 + 512 };

static char *path_of(const char *name)
{
    return str_new("%s/%s", test_dir(), name);
}

static void write_image(const char *name, const u8 *bytes, u64 len)
{
    AUTO(free) char *path = path_of(name);
    AUTO(fd) int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

    CHECK(fd >= 0);
    CHECK_EQ(fd_write_all(fd, bytes, len), 0);
}

/* Data and zeroes in runs of every length, and a hole. */
static u8 *make_bytes(u64 seed)
{
    u8 *p = xnew_n(u8, SIZE);

    for (u64 at = 0; at < SIZE;) {
        u64 len = min((u64)SIZE - at, 1 + test_rand(&seed) % 200000);

        if (test_rand(&seed) % 3)
            for (u64 i = 0; i < len; i++)
                p[at + i] = (u8)test_rand(&seed);
        at += len;
    }
    return p;
}

static void check_same(const char *name, const u8 *bytes, u64 len)
{
    AUTO(free) char *path = path_of(name);
    AUTO(free) u8 *got = xnew_n(u8, len);
    AUTO(fd) int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct stat st;

    CHECK(fd >= 0);
    CHECK_EQ(fstat(fd, &st), 0);
    CHECK_EQ(st.st_size, len);
    CHECK_EQ(fd_pread_all(fd, got, len, 0), 0);
    CHECK_MEM(got, bytes, len);
}

static bool exists(const char *name)
{
    AUTO(free) char *path = path_of(name);

    return access(path, F_OK) == 0;
}

/* Files whose names have `part` in them. */
static u32 count_files(const char *part)
{
    DIR *dir = opendir(test_dir());
    struct dirent *d;
    u32 n = 0;

    while ((d = readdir(dir)))
        n += strstr(d->d_name, part) != NULL;
    closedir(dir);
    return n;
}

static void remove_file(const char *name)
{
    AUTO(free) char *path = path_of(name);

    unlink(path);
}

static int convert(const char *from, const char *to, bool replace, struct job *j, struct err *e)
{
    AUTO(free) char *a = path_of(from), *b = path_of(to);
    struct job_convert c = { .from = { .file = a, .format = "raw" },
                             .to = { .file = b, .replace = replace } };

    return job_convert(j, &c, e);
}

TEST(job_convert_raw)
{
    for (u64 seed = 1; seed < 20; seed++) {
        AUTO(free) u8 *bytes = make_bytes(seed);
        struct job j = {};
        struct err e = {};

        write_image("from", bytes, SIZE);
        CHECK_OK(convert("from", "to", seed > 1, &j, &e), &e);
        check_same("to", bytes, SIZE);
        CHECK_EQ(j.done, SIZE);
        CHECK_EQ(j.total, SIZE);
    }
    CHECK_EQ(count_files("part"), 0);
    remove_file("to");
}

/* Zeroes that were written take no room in the copy. */
TEST(job_convert_makes_holes)
{
    AUTO(free) u8 *bytes = xnew_n(u8, SIZE);
    AUTO(free) char *path = path_of("to");
    struct job j = {};
    struct stat st;
    struct err e = {};

    bytes[SIZE / 2] = 1;
    write_image("from", bytes, SIZE);
    CHECK_OK(convert("from", "to", false, &j, &e), &e);
    check_same("to", bytes, SIZE);
    CHECK_EQ(stat(path, &st), 0);
    CHECK(st.st_blocks * 512 < SIZE / 4);
    remove_file("to");
}

TEST(job_convert_cancelled_leaves_nothing)
{
    AUTO(free) u8 *bytes = make_bytes(3);
    struct job j = { .cancel = true };
    struct err e = {};

    write_image("from", bytes, SIZE);
    CHECK_EQ(convert("from", "cancelled", false, &j, &e), -ECANCELED);
    CHECK_EQ(count_files("cancelled"), 0);
}

TEST(job_convert_replaces_only_when_told)
{
    static const u8 old[512] = "old";
    AUTO(free) u8 *bytes = make_bytes(4);
    AUTO(free) char *path = path_of("there");
    struct job j = {};
    struct err e = {};
    int fd;

    write_image("from", bytes, SIZE);
    write_image("there", old, sizeof(old));
    CHECK_EQ(convert("from", "there", false, &j, &e), -EEXIST);
    CHECK_HAS(e.text, "--force");
    j.cancel = true;
    CHECK_EQ(convert("from", "there", true, &j, &e), -ECANCELED);
    check_same("there", old, sizeof(old));
    j.cancel = false;
    fd = open(path, O_RDWR | O_CLOEXEC);
    CHECK_OK(lock_image(fd, true, "there", &e), &e);
    CHECK_EQ(convert("from", "there", true, &j, &e), -EAGAIN);
    check_same("there", old, sizeof(old));
    close(fd);
    CHECK_OK(convert("from", "there", true, &j, &e), &e);
    check_same("there", bytes, SIZE);
    CHECK_EQ(count_files("part"), 0);
    remove_file("there");
}

/* Whoever looks meanwhile sees the old file or the new one. */
TEST(job_file_has_no_name_before_it_is_complete)
{
    AUTO(free) char *path = path_of("new");
    struct job_file f;
    struct err e = {};

    CHECK_OK(job_file_open(&f, path, false, &e), &e);
    CHECK_EQ(fd_write_all(f.fd, "x", 1), 0);
    CHECK(!exists("new"));
    job_file_fini(&f);
    CHECK_EQ(count_files("new"), 0);

    CHECK_OK(job_file_open(&f, path, false, &e), &e);
    write_image("new", (const u8 *)"other", 5); /* somebody was quicker */
    CHECK_EQ(job_file_commit(&f, &e), -EEXIST);
    job_file_fini(&f);
    check_same("new", (const u8 *)"other", 5);

    CHECK_OK(job_file_open(&f, path, true, &e), &e);
    CHECK_EQ(fd_write_all(f.fd, "mine", 4), 0);
    check_same("new", (const u8 *)"other", 5);
    CHECK_OK(job_file_commit(&f, &e), &e);
    job_file_fini(&f);
    check_same("new", (const u8 *)"mine", 4);
    CHECK_EQ(count_files("new"), 1);
    remove_file("new");
}

TEST(job_create_refuses)
{
    AUTO(free) char *path = path_of("new");
    static const struct {
        const char *why;
        struct job_new to;
        const char *error;
    } rows[] = {
        { "no size", { .cfg = {} }, "a size of 0" },
        { "odd size", { .cfg = { .size = 700 } }, "a size of 700" },
        { "too large", { .cfg = { .size = 1ull << 63 } }, "2^62" },
        { "raw metadata",
          { .cfg = { .size = 512 }, .prealloc = JOB_PREALLOC_METADATA },
          "metadata" },
    };

    for_each_row(c, rows) {
        struct job_new to = c->to;
        struct job j = {};
        struct err e = {};

        ROW(c);
        to.file = path;
        CHECK_EQ(job_create(&j, &to, &e), -EINVAL);
        CHECK_HAS(e.text, c->error);
        CHECK(!exists("new"));
    }
}

static int compare(const char *a, const char *b, bool strict, u64 *ret_at, struct err *e)
{
    AUTO(free) char *pa = path_of(a), *pb = path_of(b);
    struct job_compare c = { .a = { .file = pa, .format = "raw" },
                             .b = { .file = pb, .format = "raw" },
                             .strict = strict };
    struct job j = {};
    int r = job_compare(&j, &c, e);

    *ret_at = c.differs_at;
    return r;
}

static void new_qcow2(const char *name, u64 size, const char *backing, const char *format)
{
    AUTO(free) char *path = path_of(name);
    struct job_new to = { .file = path,
                          .qcow2 = true,
                          .replace = true,
                          .cfg = { .size = size, .backing = backing, .backing_format = format } };
    struct job j = {};
    struct err e = {};

    CHECK_OK(job_create(&j, &to, &e), &e);
}

/* Into the image, and into what it should read as; `byte` 0: as zeroes. */
static void write_at(const char *name, u8 *want, u64 at, u64 len, u8 byte)
{
    AUTO(free) char *path = path_of(name);
    AUTO(disk) struct disk *d = NULL;
    AUTO(disk_sync) struct disk_sync *s = NULL;
    struct err e = {};

    memset(want + at, byte, len);
    CHECK_OK(disk_open(&(struct disk_cfg){ .file = path, .fd = -1 }, &d, &e), &e);
    CHECK_OK(disk_sync_open(d, &s, &e), &e);
    CHECK_EQ(byte ? disk_pwrite(s, want + at, len, at) : disk_zero(s, len, at, true), 0);
    CHECK_EQ(disk_flush(s), 0);
}

/* The image reads as `want`. */
static void check_reads(const char *name, const u8 *want, u64 len)
{
    AUTO(free) char *a = path_of(name), *b = path_of("want");
    struct job_compare c = { .a = { .file = a },
                             .b = { .file = b, .format = "raw" },
                             .strict = true };
    struct job j = {};
    struct err e = {};

    write_image("want", want, len);
    CHECK_OK(job_compare(&j, &c, &e), &e);
    CHECK_EQ(c.differs_at, len);
}

static int convert_to_vmdk(const char *from, const char *to, u64 size, struct job_convert c,
                           struct err *e)
{
    AUTO(free) char *a = path_of(from), *b = path_of(to);
    struct job j = {};
    int r;

    c.from.file = a;
    c.to.file = b;
    c.to.vmdk = c.to.replace = true;
    c.to.cfg.size = size;
    r = job_convert(&j, &c, e);
    if (r == 0)
        CHECK_EQ(j.done, j.total);
    return r;
}

TEST(job_vmdk)
{
    AUTO(free) u8 *bytes = make_bytes(7), *sparse = xnew_n(u8, 100 * MiB);
    AUTO(free) char *path = path_of("made.vmdk");
    struct err e = {};
    struct stat st;

    /* what does not end with a grain */
    write_image("raw", bytes, SIZE);
    CHECK_OK(convert_to_vmdk("raw", "made.vmdk", 0, (struct job_convert){}, &e), &e);
    check_reads("made.vmdk", bytes, SIZE);
    /* tables with grains, and without; an overlay of zeroes and data */
    new_qcow2("sparse", 100 * MiB, NULL, NULL);
    write_at("sparse", sparse, 0, 512, 1);
    write_at("sparse", sparse, 31 * MiB + 65024, 3 * MiB, 2);
    write_at("sparse", sparse, 33 * MiB, 1 * MiB, 0);
    write_at("sparse", sparse, 100 * MiB - 512, 512, 3);
    CHECK_OK(convert_to_vmdk("sparse", "made.vmdk", 0, (struct job_convert){}, &e), &e);
    check_reads("made.vmdk", sparse, 100 * MiB);
    CHECK_EQ(stat(path, &st), 0);
    CHECK(st.st_size < 256 * KiB); /* runs of one byte */
}

TEST(job_vmdk_refuses)
{
    static const struct {
        const char *why;
        struct job_convert c;
        u64 size;
        const char *want;
    } rows[] = {
        { "compression to choose", { .compress = true }, 0, "only qcow2 has compression" },
        { "a backing file", { .to.cfg.backing = "raw" }, 0, "only qcow2 has a backing file" },
        { "preallocation", { .to.prealloc = JOB_PREALLOC_FALLOC }, 0, "preallocated" },
        { "more than is read again", {}, 4 * TiB + 512, "at most" },
    };
    AUTO(free) u8 *bytes = make_bytes(8);
    struct job_new to = { .file = "x", .vmdk = true, .cfg = { .size = MiB } };
    struct job j = {};
    struct err e = {};

    write_image("raw", bytes, SIZE);
    for_each_row(row, rows) {
        ROW(row);
        CHECK(convert_to_vmdk("raw", "no.vmdk", row->size, row->c, &e) < 0);
        CHECK_HAS(e.text, row->want);
        CHECK(!exists("no.vmdk"));
    }
    CHECK_EQ(job_create(&j, &to, &e), -EINVAL);
}

static int rebase(const char *name, const char *backing, bool unsafe, struct err *e)
{
    AUTO(free) char *path = path_of(name);
    struct job_rebase r = { .overlay = { .file = path }, .backing = backing, .unsafe = unsafe };
    struct job j = {};

    return job_rebase(&j, &r, e);
}

/* A base, shorter than its overlay, which covers it with data and with zeroes. */
static u8 *make_overlay(void)
{
    u8 *want = xnew_n(u8, 8 * MiB);

    new_qcow2("base", 6 * MiB, NULL, NULL);
    write_at("base", want, 0, 3 * MiB, 1);
    write_at("base", want, 5 * MiB, 1 * MiB, 2);
    new_qcow2("over", 8 * MiB, "base", "qcow2");
    write_at("over", want, 1 * MiB + 512, 100000 / 512 * 512, 3);
    write_at("over", want, 2 * MiB, 512 * KiB, 0);
    write_at("over", want, 7 * MiB, 64 * KiB, 4);
    return want;
}

TEST(job_rebase_reads_the_same)
{
    AUTO(free) u8 *want = make_overlay(), *other = make_bytes(7);
    struct err e = {};

    check_reads("over", want, 8 * MiB);
    write_image("other", other, SIZE);
    CHECK_OK(rebase("over", "other", false, &e), &e);
    check_reads("over", want, 8 * MiB);
    CHECK_OK(rebase("over", "base", false, &e), &e);
    check_reads("over", want, 8 * MiB);
    CHECK_OK(rebase("over", NULL, false, &e), &e);
    check_reads("over", want, 8 * MiB);
    remove_file("base");
    check_reads("over", want, 8 * MiB);
    CHECK_EQ(rebase("over", "over", false, &e), -ELOOP);
    CHECK_EQ(rebase("other", "over", false, &e), -ENOTSUP);
}

TEST(job_commit_brings_all_down)
{
    AUTO(free) u8 *want = make_overlay();
    AUTO(free) char *over = path_of("over");
    struct job_image image = { .file = over };
    struct job j = {};
    struct err e = {};

    CHECK_OK(job_commit(&j, &image, &e), &e);
    CHECK_EQ(j.done, 8 * MiB);
    check_reads("base", want, 8 * MiB);
    check_reads("over", want, 8 * MiB);
    CHECK_OK(rebase("over", NULL, true, &e), &e);
    CHECK_EQ(job_commit(&j, &image, &e), -EINVAL);
    CHECK_HAS(e.text, "has no backing file");
}

/* A guest that wrote a header does not choose what its raw disk is taken for. */
TEST(job_commit_makes_no_header)
{
    static const u8 magic[DISK_SECTOR] = { 'Q', 'F', 'I', 0xfb };
    AUTO(free) u8 *zeroes = xnew_n(u8, MiB);
    AUTO(free) char *over = path_of("over");
    struct job_image image = { .file = over };
    struct job j = {};
    struct err e = {};

    write_image("base", zeroes, MiB);
    new_qcow2("over", MiB, "base", "raw");
    {
        AUTO(disk) struct disk *d = NULL;
        AUTO(disk_sync) struct disk_sync *s = NULL;

        CHECK_OK(disk_open(&(struct disk_cfg){ .file = over, .fd = -1 }, &d, &e), &e);
        CHECK_OK(disk_sync_open(d, &s, &e), &e);
        CHECK_EQ(disk_pwrite(s, magic, sizeof(magic), 0), 0);
    }
    CHECK_EQ(job_commit(&j, &image, &e), -EPERM);
    CHECK_HAS(e.text, "the header of a qcow2 image");
    check_reads("base", zeroes, MiB);
}

TEST(job_resize_cuts_only_when_told)
{
    AUTO(free) u8 *want = make_overlay();
    AUTO(free) char *over = path_of("over");
    struct job_resize r = { .image = { .file = over }, .size = MiB + 512 };
    struct job j = {};
    struct err e = {};

    CHECK_EQ(job_resize(&j, &r, &e), -ERANGE);
    check_reads("over", want, 8 * MiB);
    r.shrink = true;
    CHECK_OK(job_resize(&j, &r, &e), &e);
    check_reads("over", want, MiB + 512);
    r = (struct job_resize){ .image = r.image, .size = 2 * MiB, .grow = true };
    CHECK_OK(job_resize(&j, &r, &e), &e);
    memset(want + MiB + 512, 0, 2 * MiB);
    check_reads("over", want, 3 * MiB + 512);
}

TEST(job_compare_finds_the_first_byte)
{
    static const u64 places[] = { 0, 511, 512, 4096, 2 * MiB - 1, 2 * MiB, SIZE - 1 };
    AUTO(free) u8 *bytes = make_bytes(5);
    struct err e = {};
    u64 at;

    write_image("a", bytes, SIZE);
    write_image("b", bytes, SIZE);
    CHECK_EQ(compare("a", "b", true, &at, &e), 0);
    for_each_row(p, places) {
        bytes[*p] ^= 1;
        write_image("b", bytes, SIZE);
        bytes[*p] ^= 1;
        CHECK_EQ(compare("a", "b", false, &at, &e), 1);
        CHECK_EQ(at, *p);
        CHECK_EQ(compare("b", "a", false, &at, &e), 1);
        CHECK_EQ(at, *p);
    }
}

TEST(job_compare_sizes)
{
    AUTO(free) u8 *bytes = xnew_n(u8, SIZE + 4096);
    struct err e = {};
    u64 at;

    bytes[0] = 1;
    write_image("a", bytes, SIZE);
    write_image("b", bytes, SIZE + 4096);
    CHECK_EQ(compare("a", "b", false, &at, &e), 0);
    CHECK_EQ(compare("a", "b", true, &at, &e), 1);
    bytes[SIZE + 7] = 1;
    write_image("b", bytes, SIZE + 4096);
    CHECK_EQ(compare("a", "b", false, &at, &e), 1);
    CHECK_EQ(at, SIZE + 7);
    CHECK_EQ(compare("b", "a", false, &at, &e), 1);
    CHECK_EQ(at, SIZE + 7);
}

TEST(job_bench_counts)
{
    AUTO(free) u8 *bytes = make_bytes(6);
    AUTO(free) char *path = path_of("a");
    struct job_bench b = { .image = { .file = path, .format = "raw" },
                           .depth = 16,
                           .block = 4096,
                           .count = 5000,
                           .random = true };
    struct job j = {};
    struct err e = {};

    write_image("a", bytes, SIZE);
    CHECK_OK(job_bench(&j, &b, &e), &e);
    CHECK_EQ(j.done, 5000 * 4096);
    CHECK(b.ns > 0 && b.latency_ns_sum > 0 && b.latency_ns_max <= b.ns);
    check_same("a", bytes, SIZE);
    b.write = true;
    b.random = false;
    b.flush_every = 100;
    b.pattern = 7;
    CHECK_OK(job_bench(&j, &b, &e), &e);
    memset(bytes, 7, SIZE - 512);
    check_same("a", bytes, SIZE);
    b.block = 1000;
    CHECK_EQ(job_bench(&j, &b, &e), -EINVAL);
    CHECK_HAS(e.text, "requests of 1000 bytes");
}

static int bench(struct job *j, void *arg, struct err *e)
{
    return job_bench(j, arg, e);
}

/* A job on a thread of its own, which is cancelled. */
TEST(job_is_cancelled)
{
    AUTO(free) char *path = path_of("a");
    AUTO(free) u8 *bytes = make_bytes(6);
    struct job_bench b = {
        .image = { .file = path, .format = "raw" }, .depth = 4, .block = 4096, .count = 1ull << 40
    };
    struct job j = {};
    struct err e = {};

    write_image("a", bytes, SIZE);
    CHECK_EQ(job_start(&j, bench, &b), 0);
    CHECK(!job_wait(&j, 1000));
    atomic_store(&j.cancel, true);
    CHECK_EQ(job_join(&j, &e), -ECANCELED);
    CHECK_STR(e.text, "cancelled");
    CHECK(job_wait(&j, 0));
}

static void check_each_byte(u8 *p, u32 len)
{
    CHECK(is_zero(p, len));
    for (u32 i = 0; i < len; i++) {
        p[i] = 0x80;
        if (is_zero(p, len))
            CHECK_EQ(i, len); /* shows which */
        p[i] = 0;
    }
}

TEST(zero_sees_each_byte)
{
    AUTO(free) u8 *p = xnew_n(u8, 4096 + 1);

    for (u32 len = 0; len <= 4096; len += 512)
        for (u32 off = 0; off < 2; off++)
            check_each_byte(p + off, len);
}
