/*
 * vm/statefile_test.c: what is written is read back; each way in which a file can lie is refused, with what is wrong; chains.
 */
#include "vm/statefile.h"

#include "fw/image.h"
#include "mem/mem.h"
#include "testlib/test.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

enum { RAM = 1 * MiB };
#define META_AT (STATEFILE_RAM_AT + RAM)
#define ID_A    "0123456789abcdef0123456789abcdef"
#define ID_B    "fedcba9876543210fedcba9876543210"
#define SPEC    "\"spec\": {\"kernel\": \"k\", \"memory\": 1048576}"

static int write_file(int fd, const char *meta_text, const u64 *pages)
{
    AUTO(strbuf) struct strbuf meta = {}, state = {};
    struct err e = {};

    strbuf_add(&meta, "%s", meta_text);
    strbuf_add(&state, "the state");
    CHECK_OK(statefile_finish(fd, &(struct statefile_new){ RAM, &meta, &state, pages }, &e), &e);
    return fd;
}

static int new_file(const char *meta_text)
{
    return write_file(memfd_create("state", MFD_CLOEXEC), meta_text, NULL);
}

TEST(statefile_round_trip)
{
    AUTO(statefile) struct statefile *f = NULL;
    struct err e = {};
    int fd = new_file("{\"id\": \"" ID_A "\", \"legacy\": true, \"disks\": [{\"size\": 512, "
                      "\"mtime_ns\": 1795874400123456789}], " SPEC "}");

    CHECK_OK(statefile_open_fd(fd, "f", &f, &e), &e);
    CHECK_EQ(f->n, 1);
    CHECK_EQ(f->ram_size, RAM);
    CHECK_EQ(f->part[0].ram_at, STATEFILE_RAM_AT);
    CHECK_STR(f->meta.id, ID_A);
    CHECK(f->meta.legacy);
    CHECK_EQ(f->meta.disks.n, 1);
    CHECK_EQ(state_meta_disk(&f->meta, 0)->mtime_ns, 1795874400123456789);
    CHECK_STR(f->meta.spec.kernel, "k");
    CHECK_EQ(f->state_len, 9);
    CHECK_MEM(f->state, "the state", 9);
}

/* Puts the right sum into a header that was changed: reads as this format's reader does. */
static void set_sum(int fd)
{
    u8 h[4096];
    u64 sum;

    CHECK_EQ(fd_pread_all(fd, h, sizeof(h), 0), 0);
    le_store(h + 24, 8, 0);
    sum = image_sum(0, h, sizeof(h));
    for (u32 at = 48; at < 96; at += 16) {
        u64 len = le_load(h + at + 8, 8);
        AUTO(free) u8 *p = try_new(u8, len + 1, 16 * MiB);

        if (!p || fd_pread_all(fd, p, len, le_load(h + at, 8)) < 0)
            return; /* it will be refused before */
        sum = image_sum(sum, p, len);
    }
    le_store(h + 24, 8, sum);
    CHECK_EQ(fd_pwrite_all(fd, h, sizeof(h), 0), 0);
}

TEST(statefile_lies)
{
    static const struct {
        const char *why;
        u64 at, len, value; /* little-endian, there */
        const char *has;
    } rows[] = {
        { "another magic", 0, 8, 0, "not a state file" },
        { "a later version", 8, 4, 2, "version 2; this program knows 1" },
        { "a reserved word", 12, 4, 1, "bytes that mean nothing" },
        { "a reserved byte at the end", 4095, 1, 1, "bytes that mean nothing" },
        { "a size that is not the file's", 16, 8, 5, "it was written with 5" },
        { "RAM in the header", 32, 8, 0, "RAM of 1048576 bytes at 0" },
        { "RAM off a page", 32, 8, STATEFILE_RAM_AT - 8, "not whole pages" },
        { "RAM past the end", 32, 8, STATEFILE_RAM_AT + MiB,
          "RAM of 1048576 bytes at 3145728; the" },
        { "RAM of an absurd size", 40, 8, ~0ull - 4095, "RAM of 18446744073709547520 bytes" },
        { "RAM that wraps", 32, 8, ~0ull - 4095, "RAM of 1048576 bytes at 18446744073709547520" },
        { "no RAM", 40, 8, 0, "RAM of 0 bytes" },
        { "too little RAM", 40, 8, 4096, "too little" },
        { "RAM of half a page", 40, 8, MiB - 1, "not whole pages" },
        { "a description in RAM", 48, 8, STATEFILE_RAM_AT, "overlap" },
        { "no description", 56, 8, 0, "description of 0 bytes" },
        { "a description past the end", 56, 8, 2 * MiB, "description of 2097152 bytes" },
        { "a state in the header", 64, 8, 64, "state of 9 bytes at 64" },
        { "no state", 72, 8, 0, "state of 0 bytes; allowed are 1 to" },
        { "a state that wraps", 72, 8, ~0ull, "state of 18446744073709551615 bytes" },
        { "a map that is too short", 88, 8, 8, "map" },
        { "a map past the end", 80, 8, ~0ull, "map of 0 bytes at 18446744073709551615" },
    };

    for_each_row(c, rows) {
        int fd = new_file("{\"id\": \"" ID_A "\", " SPEC "}");
        AUTO(statefile) struct statefile *f = NULL;
        struct err e = {};
        u8 raw[8];

        ROW(c);
        le_store(raw, c->len, c->value);
        CHECK_EQ(fd_pwrite_all(fd, raw, c->len, c->at), 0);
        set_sum(fd);
        CHECK(statefile_open_fd(fd, "f", &f, &e) < 0);
        CHECK_HAS(e.text, "state file 'f': ");
        CHECK_HAS(e.text, c->has);
    }
}

TEST(statefile_descriptions_that_are_refused)
{
    static const struct {
        const char *why, *meta, *has;
    } rows[] = {
        { "not JSON", "hello", "its description" },
        { "no id", "{" SPEC "}", "'id' is missing" },
        { "an id that is none", "{\"id\": \"x\", " SPEC "}", "32 hex digits" },
        { "an unknown member", "{\"id\": \"" ID_A "\", \"wings\": 2, " SPEC "}", "wings" },
        { "a bad machine", "{\"id\": \"" ID_A "\", \"spec\": {\"cpus\": 1000}}", "cpus" },
        { "a parent without a map",
          "{\"id\": \"" ID_A "\", \"parent\": {\"file\": \"p\", \"id\": \"" ID_B "\"}, " SPEC "}",
          "some are missing" },
        { "a parent without an id",
          "{\"id\": \"" ID_A "\", \"parent\": {\"file\": \"p\"}, " SPEC "}", "some are missing" },
    };

    for_each_row(c, rows) {
        AUTO(statefile) struct statefile *f = NULL;
        struct err e = {};

        ROW(c);
        CHECK(statefile_open_fd(new_file(c->meta), "f", &f, &e) < 0);
        CHECK_HAS(e.text, c->has);
    }
}

TEST(statefile_damage_is_seen)
{
    static const u64 places[] = { META_AT, META_AT + 8, META_AT + 9, META_AT + 60 };
    struct err e = {};

    for_each_row(at, places) {
        AUTO(statefile) struct statefile *f = NULL;
        int fd = new_file("{\"id\": \"" ID_A "\", \"legacy\": true, " SPEC "}");
        u8 byte;

        CHECK_EQ(fd_pread_all(fd, &byte, 1, *at), 0);
        byte ^= 0x10;
        CHECK_EQ(fd_pwrite_all(fd, &byte, 1, *at), 0);
        CHECK_EQ(statefile_open_fd(fd, "f", &f, &e), -EBADMSG);
        CHECK_HAS(e.text, "damaged");
        e = (struct err){};
    }
    for (u64 len = 0; len < META_AT + 60; len += len < 5000 ? 500 : 500000) {
        AUTO(statefile) struct statefile *f = NULL;
        int fd = new_file("{\"id\": \"" ID_A "\", " SPEC "}");

        CHECK_EQ(ftruncate(fd, (off_t)len), 0);
        CHECK_EQ(statefile_open_fd(fd, "f", &f, &e), -EBADMSG);
        e = (struct err){};
    }
}

static void put(const char *name, const char *id, const char *parent, const char *parent_id,
                u64 page)
{
    AUTO(free) char *path = str_new("%s/%s", test_dir(), name);
    AUTO(free)
    char *from =
        parent ? str_new("\"parent\": {\"file\": \"%s\", \"id\": \"%s\"}, ", parent, parent_id)
               : xdup("");
    AUTO(free) char *meta = str_new("{\"id\": \"%s\", %s" SPEC "}", id, from);
    AUTO(fd) int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    u64 pages[RAM / MEM_PAGE / 64] = {};

    pages[page / 64] |= 1ull << page % 64;
    write_file(fd, meta, parent ? pages : NULL);
}

static int open_chain(const char *name, struct statefile **f, struct err *e)
{
    AUTO(free) char *path = str_new("%s/%s", test_dir(), name);

    *e = (struct err){};
    return statefile_open(path, f, e);
}

TEST(statefile_chains)
{
    AUTO(statefile) struct statefile *f = NULL, *none = NULL;
    struct err e;

    put("base", ID_A, NULL, NULL, 0);
    put("one", ID_B, "/where/it/was/base", ID_A, 3);
    put("two", ID_A, "one", ID_B, 200);
    CHECK_OK(open_chain("two", &f, &e), &e);
    CHECK_EQ(f->n, 3);
    CHECK_EQ(f->part[0].pages[200 / 64], 1ull << 200 % 64);
    CHECK_EQ(f->part[1].pages[0], 1 << 3);
    CHECK(!f->part[2].pages);
    put("base", ID_B, NULL, NULL, 0);
    CHECK_EQ(open_chain("two", &none, &e), -EINVAL);
    CHECK_HAS(e.text, "it was replaced");
    put("loop", ID_A, "loop", ID_A, 0);
    CHECK_EQ(open_chain("loop", &none, &e), -E2BIG);
    CHECK_HAS(e.text, "more than 16 files");
    put("orphan", ID_A, "/where/it/was/gone", ID_B, 0);
    CHECK_EQ(open_chain("orphan", &none, &e), -ENOENT);
    CHECK_HAS(e.text, "which '");
    put("beyond", ID_A, "base", ID_B, 255);
    CHECK_OK(open_chain("beyond", &none, &e), &e);
}
