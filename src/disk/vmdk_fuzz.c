/*
 * disk/vmdk_fuzz.c: any bytes as a vmdk image, whose extents are all the image itself: refused, or each grain of a sparse image
 * is where its table says.
 */
#include "disk/foreign_fuzz.h"

static int open_again(void *arg, const char *name, struct disk **ret, struct err *)
{
    const struct image *m = arg;

    must(name[0] && !strchr(name, '/'));
    *ret = &image_new(m->disk.size)->disk;
    return 0;
}

static u64 slow(const struct image *m, u64 at)
{
    const u8 *h = m->bytes;
    u64 grain = le_load(h + 20, 8) * 512, i = at / grain, n = le_load(h + 44, 4);
    u64 directory = le_load(h + 56, 8), table, sector;
    bool packed = le_load(h + 8, 4) >> 16 & 1, zero = le_load(h + 8, 4) >> 2 & 1;

    if (directory == UINT64_MAX)
        directory = le_load(h + m->disk.size - 1024 + 56, 8);
    table = le_load(h + directory * 512 + i / n * 4, 4);
    sector = table ? le_load(h + table * 512 + i % n * 4, 4) : 0;
    if (sector == 0 || (zero && sector == 1))
        return ORACLE_ZERO;
    return sector * 512 + (packed ? 0 : at % grain);
}

FUZZ(vmdk)
{
    struct image *m = image_paint(data, size);
    struct layout l = {};
    struct err e = {};

    layout_add_file(&l, &m->disk, &e);
    if (vmdk_parse(&l, open_again, m, &e) == 0)
        image_check(&l, m, memcmp(m->bytes, "KDMV", 4) == 0 ? slow : NULL);
    else
        must(e.text[0]);
    layout_fini(&l);
}
