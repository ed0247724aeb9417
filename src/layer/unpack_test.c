/*
 * layer/unpack_test.c: what a layer may say, what comes of it, and where it ends.
 */
#include "layer/unpack.h"

#include "layer/beneath.h"
#include "layer/entry.h"
#include "layer/layer_rig.h"
#include "testlib/test.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/xattr.h>
#include <unistd.h>

static const struct stream_limits wide = { .bytes = 1 * GiB, .ratio = 1000, .ratio_free = 1 * GiB };
static const struct unpack_cfg plain = {
    .user_xattr = true, .single_id = true, .entries_max = 1000, .bytes_max = 1 * MiB
};

/* A new empty directory. */
static int new_dir(void)
{
    AUTO(fd) int top = open(test_dir(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    char name[64];

    return beneath_make_dir(top, "layer-", name);
}

static int unpack_bytes(const struct strbuf *tar, int dir, const struct unpack_cfg *cfg,
                        struct unpack_stats *stats, struct err *e)
{
    AUTO(stream) struct stream *s = NULL;
    struct mem_blob b;
    int r;

    mem_blob_init(&b, tar->text, tar->len, 1000);
    r = stream_open(&b.blob, &wide, NULL, &s, e);
    return r < 0 ? r : unpack_layer(s, dir, cfg, stats, e);
}

TEST(paths_of_entries)
{
    /* clang-format off */
    static const struct {
        const char *why, *text, *want; /* NULL: refused */
        size_t name;
    } rows[] = {
        { "a name",             "a",            "a",     0 },
        { "below",              "a/b",          "a/b",   2 },
        { "absolute",           "//a//b/",      "a/b",   2 },
        { "dots",               "./a/./b/.",    "a/b",   2 },
        { "the root",           "./",           "",      0 },
        { "nothing",            "",             "",      0 },
        { "up",                 "..",           NULL,    0 },
        { "up later",           "a/../b",       NULL,    0 },
        { "three dots",         "a/...",        "a/...", 2 },
        { "a name that begins", "..a",          "..a",   0 },
    };
    /* clang-format on */
    struct entry_path p;
    struct err e;

    for_each_row(row, rows) {
        int r = entry_path_parse(row->text, &p, &e);

        ROW(row);
        CHECK_EQ(r, row->want ? 0 : -EINVAL);
        if (row->want) {
            CHECK_STR(p.text, row->want);
            CHECK_EQ(p.name, row->name);
        }
    }
    CHECK_EQ(entry_path_parse(NULL, &p, &e), -EINVAL);
}

TEST(marks_hide_what_lies_below_and_not_what_is_here)
{
    static const char *const hiding[] = { "again", "deep", "o" };
    AUTO(strbuf) struct strbuf tar = {};
    AUTO(fd) int dir = new_dir();
    struct unpack_stats stats;
    struct stat st;
    struct err e;
    char value[4];

    tar_add(&tar, '0', "d/.wh.gone", "", "");
    tar_add(&tar, '0', "here", "x", "");
    tar_add(&tar, '0', ".wh.here", "", "");
    tar_add(&tar, '0', ".wh.again", "", "");
    tar_add(&tar, '5', "again", "", "");
    tar_add(&tar, '0', ".wh.deep", "", "");
    tar_add(&tar, '0', "deep/er/file", "yz", "");
    tar_add(&tar, '0', "o/.wh..wh..opq", "", "");
    tar_add(&tar, '0', ".wh..wh.aufs", "", "");
    tar_end(&tar);
    CHECK_OK(unpack_bytes(&tar, dir, &plain, &stats, &e), &e);
    CHECK(fstatat(dir, "d/gone", &st, AT_SYMLINK_NOFOLLOW) == 0 && entry_is_whiteout(&st));
    CHECK(fstatat(dir, "here", &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(st.st_mode));
    for_each_row(name, hiding) {
        AUTO(fd) int fd = openat(dir, *name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

        test_row(*name);
        CHECK(fd >= 0);
        CHECK_EQ(fgetxattr(fd, "user.overlay.opaque", value, sizeof(value)), 1);
    }
    test_row(NULL);
    CHECK_EQ(stats.bytes, 3);
    CHECK_EQ(stats.entries, 9);
    CHECK_EQ(stats.left_out, 1);
    CHECK(fstatat(dir, "deep/er", &st, 0) == 0 && st.st_mtime == 0); /* no entry tells of it */
    CHECK(fstatat(dir, "again", &st, 0) == 0 && st.st_mtime == 1000000000);
}

TEST(what_a_layer_may_not_say)
{
    /* clang-format off */
    static const struct {
        const char *why;
        struct { char type; const char *name, *link; } first, second;
        const char *words;
    } rows[] = {
        { "up",                   { '0', "../a", "" },      {},                       "'..' is not allowed" },
        { "through its own link", { '2', "a", "/" },        { '0', "a/etc/b", "" },   "'a' in its path is no directory" },
        { "through a file",       { '0', "a", "" },         { '0', "a/b", "" },       "'a' in its path is no directory" },
        { "a link far away",      { '1', "a", "/etc/passwd" }, {},                    "not in this layer" },
        { "a link up",            { '1', "a", "../b" },     {},                       "'..' is not allowed" },
        { "a link to itself",     { '1', "a", "a" },        {},                       "not in this layer" },
        { "a link to a folder",   { '5', "a", "" },         { '1', "b", "a" },        "which is no file" },
        { "a device",             { '3', "null", "" },      {},                       "--allow-devices" },
        { "hides itself",         { '0', "a/.wh..", "" },   {},                       "hides nothing" },
        { "hides up",             { '0', ".wh...", "" },    {},                       "hides nothing" },
        { "in what is hidden",    { '0', ".wh.a/b", "" },   {},                       "begins the name of a directory" },
        { "no target",            { '2', "a", "" },         {},                       "without a target" },
        { "root is a file",       { '0', "./", "" },        {},                       "" },
        { "over a full folder",   { '0', "a/b", "" },       { '0', "a", "" },         "not empty" },
    };
    /* clang-format on */

    for_each_row(row, rows) {
        AUTO(strbuf) struct strbuf tar = {};
        AUTO(fd) int dir = new_dir();
        struct unpack_stats stats;
        struct err e = {};

        ROW(row);
        tar_add(&tar, row->first.type, row->first.name, "", row->first.link);
        if (row->second.name)
            tar_add(&tar, row->second.type, row->second.name, "", row->second.link);
        tar_end(&tar);
        if (!*row->words) { /* ustar takes a name with a slash for a directory */
            CHECK_OK(unpack_bytes(&tar, dir, &plain, &stats, &e), &e);
            continue;
        }
        CHECK(unpack_bytes(&tar, dir, &plain, &stats, &e) < 0);
        for (char *c = e.text; *c; c++)
            *c = (char)(*c == 'N' ? 'n' : *c);
        CHECK_HAS(e.text, row->words);
    }
}

TEST(limits_of_a_layer)
{
    AUTO(strbuf) struct strbuf tar = {};
    struct unpack_cfg cfg = plain;
    struct unpack_stats stats;
    struct err e = {};

    for (unsigned i = 0; i < 4; i++) {
        char name[8];

        str_fmt(name, sizeof(name), "f%u", i);
        tar_add(&tar, '0', name, "0123456789", "");
    }
    tar_end(&tar);
    for (cfg.entries_max = 3; cfg.entries_max < 5; cfg.entries_max++) {
        AUTO(fd) int dir = new_dir();

        CHECK_EQ(unpack_bytes(&tar, dir, &cfg, &stats, &e), cfg.entries_max < 4 ? -EFBIG : 0);
    }
    CHECK_HAS(e.text, "more than 3 entries");
    for (cfg.bytes_max = 39; cfg.bytes_max < 41; cfg.bytes_max++) {
        AUTO(fd) int dir = new_dir();

        CHECK_EQ(unpack_bytes(&tar, dir, &cfg, &stats, &e), cfg.bytes_max < 40 ? -EFBIG : 0);
    }
    CHECK_HAS(e.text, "more than 39 bytes");
}

TEST(devices_are_left_out_when_that_is_said)
{
    AUTO(strbuf) struct strbuf tar = {};
    struct unpack_cfg cfg = plain;
    AUTO(fd) int dir = new_dir();
    struct unpack_stats stats;
    struct stat st;
    struct err e;

    cfg.devices = UNPACK_DEVICES_LEAVE_OUT;
    tar_add(&tar, '3', "dev/null", "", "");
    tar_add(&tar, '6', "dev/pipe", "", "");
    tar_end(&tar);
    CHECK_OK(unpack_bytes(&tar, dir, &cfg, &stats, &e), &e);
    CHECK_EQ(stats.left_out, 1);
    CHECK(fstatat(dir, "dev/null", &st, 0) < 0);
    CHECK(fstatat(dir, "dev/pipe", &st, 0) == 0 && S_ISFIFO(st.st_mode));
}

static void pack_gzip(const void *p, size_t len, u8 *to, size_t size, size_t *ret_len)
{
    struct archive *a = archive_write_new();
    struct archive_entry *entry = archive_entry_new();

    archive_write_set_format_raw(a);
    archive_write_add_filter_gzip(a);
    must(archive_write_open_memory(a, to, size, ret_len) == ARCHIVE_OK);
    archive_entry_set_filetype(entry, AE_IFREG);
    must(archive_write_header(a, entry) == ARCHIVE_OK);
    must(archive_write_data(a, p, len) == (la_ssize_t)len);
    archive_entry_free(entry);
    archive_write_free(a);
}

TEST(a_stream_is_hashed_on_both_sides_and_ends_at_its_limits)
{
    const size_t len = 1 * MiB;
    AUTO(free) u8 *zeros = xnew_n(u8, len), *packed = xnew_n(u8, len);
    struct stream_limits limits[] = { wide,
                                      { .bytes = len - 1, .ratio = 10000, .ratio_free = 0 },
                                      { .bytes = len, .ratio = 20, .ratio_free = 1000 } };
    struct stream_sums sums;
    size_t n = 0;
    struct err e;

    pack_gzip(zeros, len, packed, len, &n);
    for_each_row(l, limits) {
        AUTO(stream) struct stream *s = NULL;
        struct mem_blob b;

        mem_blob_init(&b, packed, n, 100);
        CHECK_OK(stream_open(&b.blob, l, NULL, &s, &e), &e);
        CHECK(stream_is_packed(s));
        if (l != limits) {
            CHECK_EQ(stream_end(s, &sums, &e), -EFBIG);
            CHECK_HAS(e.text,
                      l == limits + 1 ? "more than 1048575 bytes" : "20 times above 1000 bytes");
            continue;
        }
        CHECK_OK(stream_end(s, &sums, &e), &e);
        CHECK_EQ(sums.packed_len, n);
        CHECK_EQ(sums.unpacked_len, len);
        CHECK_STR(sums.unpacked,
                  "sha256:30e14955ebf1352266dc2ff8067e68104607e750abb9d3b36582b8af909fcb58");
    }
}

TEST(what_is_packed_twice_or_broken)
{
    AUTO(free) u8 *once = xnew_n(u8, 64 * KiB), *twice = xnew_n(u8, 64 * KiB);
    AUTO(stream) struct stream *s = NULL;
    struct stream_sums sums;
    struct mem_blob b;
    size_t n = 0, m = 0;
    struct err e;

    pack_gzip("hello", 5, once, 64 * KiB, &n);
    pack_gzip(once, n, twice, 64 * KiB, &m);
    mem_blob_init(&b, twice, m, 100);
    CHECK_EQ(stream_open(&b.blob, &wide, NULL, &s, &e), -EBADMSG);
    CHECK_HAS(e.text, "more than once");
    mem_blob_init(&b, once, n - 10, 100);
    CHECK(stream_open(&b.blob, &wide, NULL, &s, &e) < 0 || stream_end(s, &sums, &e) < 0);
}
