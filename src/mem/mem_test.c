/*
 * mem/mem_test.c: the layout around the 32-bit hole, the door's checks, the dirty log, RAM that begins as files.
 */
#include "mem/mem.h"

#include "testlib/test.h"

#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

TEST(mem_sizes)
{
    static const struct {
        const char *why;
        u64 size;
        int r;
        unsigned regions;
        u64 end;
    } rows[] = {
        { "smallest", 1 * MiB, 0, 1, 4 * GiB },
        { "odd pages", 1 * MiB + 4096, 0, 1, 4 * GiB },
        { "just below the hole", 3 * GiB, 0, 1, 4 * GiB },
        { "one page above", 3 * GiB + 4096, 0, 2, 4 * GiB + 4096 },
        { "large and sparse", 64 * GiB, 0, 2, 65 * GiB },
        { "not a page", 1 * MiB + 1, -EINVAL, 0, 0 },
        { "zero", 0, -EINVAL, 0, 0 },
        { "absurd", 1ull << 62, -EINVAL, 0, 0 },
    };

    for_each_row(c, rows) {
        AUTO(mem) struct mem *m = NULL;
        struct err e = {};
        unsigned n;

        ROW(c);
        CHECK_EQ(mem_new(&(struct mem_cfg){ .size = c->size }, &m, &e), c->r);
        if (c->r < 0) {
            CHECK_HAS(e.text, "memory of");
            continue;
        }
        mem_regions(m, &n);
        CHECK_EQ(n, c->regions);
        CHECK_EQ(mem_end(m), c->end);
    }
}

TEST(mem_door)
{
    AUTO(mem) struct mem *m = NULL;
    struct err e;
    u64 v = 0x1122334455667788, got = 0;

    CHECK_OK(mem_new(&(struct mem_cfg){ .size = 3 * GiB + 2 * MiB }, &m, &e), &e);
    CHECK_EQ(mem_write(m, 4 * GiB + 8, &v, 8), 0);
    CHECK_EQ(mem_read(m, 4 * GiB + 8, &got, 8), 0);
    CHECK_EQ(got, v);
    static const struct {
        const char *why;
        u64 gpa, len;
        bool ok;
    } rows[] = {
        { "last byte below the hole", 3 * GiB - 1, 1, true },
        { "into the hole", 3 * GiB - 1, 2, false },
        { "in the hole", 3 * GiB, 1, false },
        { "across the hole", 3 * GiB - 1, 1 * GiB + 2, false },
        { "end of RAM", 4 * GiB + 2 * MiB - 1, 1, true },
        { "past the end", 4 * GiB + 2 * MiB, 1, false },
        { "length wraps", 4096, ~0ull, false },
        { "address wraps", ~0ull, 2, false },
    };
    for_each_row(c, rows) {
        ROW(c);
        CHECK_EQ(mem_at(m, c->gpa, c->len) != NULL, c->ok);
    }
}

TEST(mem_dirty_log_follows_the_memfd)
{
    AUTO(mem) struct mem *m = NULL;
    struct err e;
    u64 *bits;

    CHECK_OK(mem_new(&(struct mem_cfg){ .size = 3 * GiB + 2 * MiB }, &m, &e), &e);
    bits = xnew_n(u64, mem_pages(m) / 64 + 1);
    mem_write(m, 0, "x", 1); /* before start: not noted */
    mem_dirty_start(m);
    mem_write(m, 5 * 4096 + 4095, "xy", 2);
    mem_write(m, 4 * GiB, "x", 1);
    mem_dirty_take(m, bits);
    CHECK_EQ(bits[0], 3ull << 5);
    CHECK_EQ(bits[3 * GiB / 4096 / 64], 1);
    bits[0] = 0;
    mem_dirty_take(m, bits);
    CHECK_EQ(bits[0], 0);
    free(bits);
}

static void check_discard(enum mem_backing from)
{
    AUTO(mem) struct mem *m = NULL;
    struct err e;
    u8 got[2] = {};

    CHECK_OK(mem_new(&(struct mem_cfg){ .size = 2 * MiB, .from = from }, &m, &e), &e);
    CHECK_EQ(mem_fd(m) >= 0, from == MEM_SHARED);
    mem_write(m, 4095, "\1\2", 2);
    CHECK_EQ(mem_discard(m, 100, 8192 + 200), 0); /* whole pages inside: 1 only */
    mem_read(m, 4095, got, 2);
    CHECK_EQ(got[0], 1);
    CHECK_EQ(got[1], 0);
    CHECK_EQ(mem_discard(m, 2 * MiB, 4096), -EFAULT);
}

struct watcher {
    u32 calls;
    u64 page;
};

static void on_write(void *arg, u64 page)
{
    struct watcher *w = arg;

    w->calls++;
    w->page = page;
}

TEST(mem_watched_page_tells_of_writes)
{
    AUTO(mem) struct mem *m = NULL;
    struct watcher w = {};
    struct err e = {};

    CHECK_OK(mem_new(&(struct mem_cfg){ .size = 1 * MiB }, &m, &e), &e);
    atomic_ullong *pages = xnew_n(atomic_ullong, mem_pages(m));
    mem_watch(m, pages, on_write, &w);
    mem_write(m, 0x3000, "x", 1);
    CHECK_EQ(w.calls, 0);
    atomic_store(&pages[3], 1);
    mem_write(m, 0x2fff, "xy", 2);
    CHECK(w.calls > 0);
    CHECK_EQ(w.page, 3);
    w.calls = 0;
    CHECK_OK(mem_discard(m, 0x3000, 0x1000), &e);
    CHECK(w.calls > 0);
    mem_watch(m, NULL, NULL, NULL);
    free(pages);
}

TEST(mem_discard_zeroes_whole_pages_only)
{
    check_discard(MEM_SHARED);
    check_discard(MEM_PRIVATE);
}

/* A file of RAM, of which the pages listed are full of `what`; ~0 ends the list. */
static int ram_file(u64 at, u64 size, const u64 *pages, u8 what)
{
    int fd = memfd_create("ram", MFD_CLOEXEC);
    u8 page[MEM_PAGE];

    memset(page, what, sizeof(page));
    CHECK(fd >= 0 && ftruncate(fd, (off_t)(at + size)) == 0);
    for (; *pages != ~0ull; pages++)
        CHECK_EQ(fd_pwrite_all(fd, page, sizeof(page), at + *pages * MEM_PAGE), 0);
    return fd;
}

static u8 byte_at(struct mem *m, u64 page)
{
    u8 v = 0xff;

    CHECK_EQ(mem_read(m, page * MEM_PAGE + 7, &v, 1), 0);
    return v;
}

static void set_pages(u64 *bits, u64 from, u64 n)
{
    for (u64 page = from; page < from + n; page++)
        bits[page / 64] |= 1ull << page % 64;
}

/* Two layers: the upper has pages 3 (short: read), 600 to 640 (mapped), of them only 610 not zero, and 5000 on (a long hole). */
static void check_layers(enum mem_backing from)
{
    const u64 at = 64 * KiB, size = 32 * MiB;
    static const u64 ones[] = { 0, 3, 4, 500, 610, 611, 700, 5001, 8191, ~0ull };
    static const u64 twos[] = { 3, 610, ~0ull };
    AUTO(fd) int low = ram_file(at, size, ones, 1), high = ram_file(at, size, twos, 2);
    AUTO(free) u64 *bits = xnew_n(u64, size / MEM_PAGE / 64);
    const struct mem_layer layers[] = { { low, at, NULL }, { high, at, bits } };
    AUTO(mem) struct mem *m = NULL;
    struct err e = {};
    static const struct {
        const char *why;
        u64 page;
        u8 want;
    } rows[] = {
        { "the lower layer", 0, 1 },
        { "a page of the upper one", 3, 2 },
        { "the page after it", 4, 1 },
        { "below a short hole", 500, 1 },
        { "the upper one, mapped", 610, 2 },
        { "its hole hides the lower one", 611, 0 },
        { "behind it", 700, 1 },
        { "a long hole hides it", 5001, 0 },
        { "the last page", 8191, 1 },
        { "a hole of both", 6500, 0 },
    };

    set_pages(bits, 3, 1);
    set_pages(bits, 600, 41);
    set_pages(bits, 5000, 1000);
    CHECK_OK(
        mem_new(&(struct mem_cfg){ .size = size, .from = from, .layers = layers, .n_layers = 2 },
                &m, &e),
        &e);
    for_each_row(c, rows) {
        u8 v = 9;

        ROW(c);
        CHECK_EQ(byte_at(m, c->page), c->want);
        CHECK_EQ(mem_write(m, c->page * MEM_PAGE + 7, &v, 1), 0);
        CHECK_EQ(byte_at(m, c->page), 9);
        CHECK_EQ(mem_discard(m, c->page * MEM_PAGE, MEM_PAGE), 0);
        CHECK_EQ(byte_at(m, c->page), 0);
    }
    CHECK_EQ(fd_pread_all(low, &(u8){ 0 }, 1, at), 0);
    u8 first = 0;
    CHECK_EQ(fd_pread_all(low, &first, 1, at), 0);
    CHECK_EQ(first, 1); /* the file is as it was */
}

TEST(mem_begins_as_files)
{
    check_layers(MEM_PRIVATE);
    check_layers(MEM_SHARED);
}

TEST(mem_discard_of_file_pages_reads_as_zeroes)
{
    const u64 size = 4 * MiB;
    AUTO(fd) int fd = memfd_create("ram", MFD_CLOEXEC);
    AUTO(free) u8 *ones = xnew_n(u8, size);
    AUTO(mem) struct mem *m = NULL;
    const struct mem_layer layer = { .fd = fd };
    struct err e = {};

    memset(ones, 1, size);
    CHECK_EQ(fd_pwrite_all(fd, ones, size, 0), 0);
    CHECK_OK(
        mem_new(
            &(struct mem_cfg){ .size = size, .from = MEM_PRIVATE, .layers = &layer, .n_layers = 1 },
            &m, &e),
        &e);
    CHECK_EQ(mem_discard(m, 100 * MEM_PAGE, 64 * MEM_PAGE), 0); /* memory of ours comes there */
    CHECK_EQ(mem_discard(m, 90 * MEM_PAGE, 100 * MEM_PAGE), 0); /* … and on both sides of it */
    for (u64 page = 0; page < size / MEM_PAGE; page++)
        CHECK_EQ(byte_at(m, page), page < 90 || page >= 190);
}

TEST(mem_data_skips_what_was_never_touched)
{
    AUTO(mem) struct mem *m = NULL;
    struct err e = {};
    u64 at = 0, len = 0, found = 0;

    CHECK_OK(mem_new(&(struct mem_cfg){ .size = 4 * GiB }, &m, &e), &e);
    mem_write(m, 0x5000, "x", 1);
    mem_write(m, MEM_HIGH_START + 0x3000, "y", 1);
    for (; mem_data(m, &at, &len); at += len) {
        CHECK(len < 16 * MiB);
        for (u64 i = at; i < at + len; i++)
            found += *mem_ordered(m, i) != 0;
    }
    CHECK_EQ(found, 2);
}
