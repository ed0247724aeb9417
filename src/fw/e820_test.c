/*
 * fw/e820_test.c: carving ranges out of the memory map.
 */
#include "fw/e820.h"

#include "fw/layout.h"
#include "testlib/test.h"

static void check_order(const struct e820 *map)
{
    for (unsigned i = 0; i < map->n; i++) {
        CHECK(map->rows[i].size > 0);
        if (i > 0)
            CHECK(map->rows[i - 1].gpa + map->rows[i - 1].size <= map->rows[i].gpa);
    }
}

TEST(e820_of_memory)
{
    static const struct {
        const char *why;
        u64 size;
        unsigned rows;
        u64 low_end;
    } cases[] = {
        { "only conventional memory", 1 * MiB, 3, 0x9fc00 },
        { "below the hole", 512 * MiB, 4, 512 * MiB },
        { "on both sides of the hole", 6 * GiB, 5, 3 * GiB },
    };

    for_each_row(c, cases) {
        AUTO(mem) struct mem *m = NULL;
        struct e820 map;
        struct err e;
        u64 from;

        ROW(c);
        CHECK_OK(mem_new(&(struct mem_cfg){ .size = c->size }, &m, &e), &e);
        e820_init(&map, m);
        check_order(&map);
        CHECK_EQ(map.n, c->rows);
        CHECK_EQ(map.rows[0].size, LAYOUT_EBDA);
        CHECK_EQ(map.rows[1].gpa, LAYOUT_EBDA);
        CHECK_EQ(map.rows[1].type, E820_RESERVED);
        CHECK_EQ(e820_low_end(&map, MEM_HIGH_START, &from), c->low_end);
    }
}

TEST(e820_set)
{
    static const struct {
        const char *why;
        u64 gpa, size;
        int r;
        unsigned rows;
        u64 ram; /* what stays RAM of [100, 200) */
    } cases[] = {
        { "in the middle", 120, 10, 0, 3, 90 }, { "at the start", 100, 10, 0, 2, 90 },
        { "at the end", 190, 10, 0, 2, 90 },    { "all of it", 100, 100, 0, 1, 0 },
        { "more than it", 50, 500, 0, 1, 0 },   { "before it", 0, 100, 0, 2, 100 },
        { "behind it", 200, 1, 0, 2, 100 },     { "over its end", 199, 100, 0, 2, 99 },
        { "nothing", 150, 0, -EINVAL, 1, 100 }, { "wraps", 150, ~0ull, -EINVAL, 1, 100 },
    };

    for_each_row(c, cases) {
        struct e820 map = { .n = 1, .rows = { { 100, 100, E820_RAM } } };
        u64 ram = 0;

        ROW(c);
        CHECK_EQ(e820_set(&map, c->gpa, c->size, E820_NVS), c->r);
        check_order(&map);
        CHECK_EQ(map.n, c->rows);
        for (unsigned i = 0; i < map.n; i++)
            ram += map.rows[i].type == E820_RAM ? map.rows[i].size : 0;
        CHECK_EQ(ram, c->ram);
    }
}

TEST(e820_full)
{
    struct e820 map = {}, old;
    unsigned i;

    for (i = 0; i < E820_ROWS_MAX; i++)
        CHECK_EQ(e820_set(&map, i * 10, 5, E820_RAM), 0);
    old = map;
    CHECK_EQ(e820_set(&map, i * 10, 5, E820_RAM), -ENOSPC);
    CHECK_MEM(&map, &old, sizeof(map));
}
