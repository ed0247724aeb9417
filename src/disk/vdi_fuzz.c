/*
 * disk/vdi_fuzz.c: any bytes as a vdi image: refused, or each block is where the map says.
 */
#include "disk/foreign_fuzz.h"

static u64 slow(const struct image *m, u64 at)
{
    u64 block = le_load(m->bytes + 0x178, 4), map = le_load(m->bytes + 0x154, 4);
    u64 number = le_load(m->bytes + map + at / block * 4, 4);

    return number >= 0xfffffffe ? ORACLE_ZERO
                                : le_load(m->bytes + 0x158, 4) + number * block + at % block;
}

FUZZ(vdi)
{
    struct image *m = image_paint(data, size);
    struct layout l = {};
    struct err e = {};

    layout_add_file(&l, &m->disk, &e);
    if (vdi_parse(&l, &e) == 0)
        image_check(&l, m, slow);
    else
        must(e.text[0]);
    layout_fini(&l);
}
