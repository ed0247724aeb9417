/*
 * fw/e820.c: the memory map that the guest is told.
 */
#include "fw/e820.h"

#include "fw/layout.h"

static int add(struct e820 *map, u64 gpa, u64 end, enum e820_type type)
{
    if (gpa >= end)
        return 0;
    if (map->n == E820_ROWS_MAX)
        return -ENOSPC;
    map->rows[map->n++] = (struct e820_row){ gpa, end - gpa, type };
    return 0;
}

int e820_set(struct e820 *map, u64 gpa, u64 size, enum e820_type type)
{
    struct e820 next = {};
    bool done = false;
    u64 end;
    int r = 0;

    if (size == 0 || !add_ok(&end, gpa, size))
        return -EINVAL;
    for (unsigned i = 0; i < map->n && r == 0; i++) {
        const struct e820_row *old = &map->rows[i];
        u64 old_end = old->gpa + old->size;

        r = add(&next, old->gpa, min(old_end, gpa), old->type);
        if (r == 0 && !done && old_end > gpa) {
            r = add(&next, gpa, end, type);
            done = true;
        }
        if (r == 0)
            r = add(&next, max(old->gpa, end), old_end, old->type);
    }
    if (r == 0 && !done)
        r = add(&next, gpa, end, type);
    if (r == 0)
        *map = next;
    return r;
}

void e820_init(struct e820 *map, const struct mem *m)
{
    unsigned n;
    const struct mem_region *regions = mem_regions(m, &n);

    must(n + 3 < E820_ROWS_MAX);
    *map = (struct e820){};
    for (unsigned i = 0; i < n; i++)
        must(e820_set(map, regions[i].gpa, regions[i].size, E820_RAM) == 0);
    must(e820_set(map, LAYOUT_EBDA, LAYOUT_HIGH_LOAD - LAYOUT_EBDA, E820_RESERVED) == 0);
    must(e820_set(map, LAYOUT_ECAM, LAYOUT_ECAM_SIZE, E820_RESERVED) == 0);
}

u64 e820_low_end(const struct e820 *map, u64 limit, u64 *ret_start)
{
    u64 top = 0;

    limit = min(limit, MEM_HIGH_START);
    for (unsigned i = 0; i < map->n; i++) {
        const struct e820_row *row = &map->rows[i];

        if (row->type != E820_RAM || row->gpa >= limit)
            continue;
        top = min(row->gpa + row->size, limit);
        *ret_start = row->gpa;
    }
    return top;
}
