/*
 * mem/mem_test.c: the layout around the 32-bit hole, the door's checks, the dirty log.
 */
#include "mem/mem.h"

#include "testlib/test.h"

#include <stdlib.h>

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
