/*
 * disk/vhd_fuzz.c: any bytes as a vhd image, its checksums made right: refused, or each block is where the table says.
 */
#include "disk/foreign_fuzz.h"

static void fix(u8 *p, size_t len, size_t checksum_at)
{
    u32 sum = 0;

    image_touch((u64)(p - image_bytes) + checksum_at, 4);
    for (size_t i = 0; i < len; i++)
        if (i - checksum_at >= 4)
            sum += p[i];
    for (u32 i = 0; i < 4; i++)
        p[checksum_at + i] = (u8)(~sum >> (24 - 8 * i));
}

static u64 big(const u8 *p, u32 len)
{
    u64 v = 0;

    for (u32 i = 0; i < len; i++)
        v = v << 8 | p[i];
    return v;
}

/* The footer that counts: at the end, else at the beginning. */
static const u8 *footer(const struct image *m)
{
    const u8 *last = m->bytes + m->disk.size - 512;

    return memcmp(last, "conectix", 8) == 0 ? last : m->bytes;
}

static u64 slow(const struct image *m, u64 at)
{
    const u8 *header = m->bytes + big(footer(m) + 16, 8);
    u64 table = big(header + 16, 8), block = big(header + 32, 4), bitmap = 0;
    u64 sector = big(m->bytes + table + at / block * 4, 4);

    if (big(footer(m) + 60, 4) == 2)
        return at;
    while (bitmap * 8 * 512 < block)
        bitmap += 512;
    return sector == 0xffffffff ? ORACLE_ZERO : sector * 512 + bitmap + at % block;
}

FUZZ(vhd)
{
    struct image *m = image_paint(data, size);
    struct layout l = {};
    struct err e = {};

    if (m->disk.size >= 2048) {
        u64 header = big(footer(m) + 16, 8);

        if (range_ok(header, 1024, m->disk.size))
            fix(m->bytes + header, 1024, 36);
        fix(m->bytes, 512, 64);
        fix(m->bytes + m->disk.size - 512, 512, 64);
    }
    layout_add_file(&l, &m->disk, &e);
    if (vhd_parse(&l, &e) == 0)
        image_check(&l, m, big(footer(m) + 60, 4) == 3 ? slow : NULL);
    else
        must(e.text[0]);
    layout_fini(&l);
}
