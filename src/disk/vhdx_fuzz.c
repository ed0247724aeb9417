/*
 * disk/vhdx_fuzz.c: any bytes as a vhdx image, its checksums made right: refused, or each block is where the table says.
 */
#include "disk/vhdx.h"

#include "disk/foreign_fuzz.h"

/* One bit at a time, not by a table. */
static u32 slow_crc(const u8 *p, size_t len)
{
    u32 crc = ~0u;

    for (size_t i = 0; i < 8 * len; i++) {
        u32 bit = (crc ^ p[i / 8] >> i % 8) & 1;

        crc = crc >> 1 ^ (bit ? 0x82f63b78 : 0);
    }
    return ~crc;
}

static void fix(struct image *m, u64 at, u64 len)
{
    if (!range_ok(at, len, m->disk.size))
        return;
    image_touch(at + 4, 4);
    le_store(m->bytes + at + 4, 4, 0);
    le_store(m->bytes + at + 4, 4, vhdx_crc(0, m->bytes + at, len));
}

static void fix_log(struct image *m, u64 header)
{
    u64 len = le_load(m->bytes + header + 68, 4), at = le_load(m->bytes + header + 72, 8);

    if (!range_ok(at, len, m->disk.size))
        return;
    for (u64 i = 0; i + 4096 <= len; i += 4096) {
        u8 *entry = m->bytes + at + i;

        if (memcmp(entry, "loge", 4) == 0 && range_ok(i, le_load(entry + 8, 4), len))
            fix(m, at + i, le_load(entry + 8, 4));
    }
}

/* The last entry of a table with this id. */
static const u8 *find(const struct image *m, u64 table, u64 first, u64 n, const u8 id[16])
{
    const u8 *found = NULL;

    for (u64 i = 0; i < n; i++) {
        const u8 *p = m->bytes + table + first + i * 32;

        if (memcmp(p, id, 16) == 0)
            found = p;
    }
    return found;
}

/* clang-format off */
static const u8 id_blocks[]   = { 0x66, 0x77, 0xc2, 0x2d, 0x23, 0xf6, 0x00, 0x42, 0x9d, 0x64, 0x11, 0x5e, 0x9b, 0xfd, 0x4a, 0x08 };
static const u8 id_metadata[] = { 0x06, 0xa2, 0x7c, 0x8b, 0x90, 0x47, 0x9a, 0x4b, 0xb8, 0xfe, 0x57, 0x5f, 0x05, 0x0f, 0x88, 0x6e };
static const u8 id_file[]     = { 0x37, 0x67, 0xa1, 0xca, 0x36, 0xfa, 0x43, 0x4d, 0xb3, 0xb6, 0x33, 0xf0, 0xaa, 0x44, 0xe7, 0x6b };
static const u8 id_sector[]   = { 0x1d, 0xbf, 0x41, 0x81, 0x6f, 0xa9, 0x09, 0x47, 0xba, 0x47, 0xf2, 0x33, 0xa8, 0xfa, 0xab, 0x5f };
/* clang-format on */

static u64 slow(const struct image *m, u64 at)
{
    u64 n = le_load(m->bytes + 192 * KiB + 8, 4), items_at, items, block, chunk, entry, i;
    const u8 *blocks = find(m, 192 * KiB, 16, n, id_blocks);
    const u8 *metadata = find(m, 192 * KiB, 16, n, id_metadata), *file, *sector;

    must(blocks && metadata);
    items_at = le_load(metadata + 16, 8);
    items = le_load(m->bytes + items_at + 10, 2);
    file = find(m, items_at, 32, items, id_file);
    sector = find(m, items_at, 32, items, id_sector);
    must(file && sector);
    block = le_load(m->bytes + items_at + le_load(file + 16, 4), 4);
    chunk = (le_load(m->bytes + items_at + le_load(sector + 16, 4), 4) << 23) / block;
    i = at / block;
    entry = le_load(m->bytes + le_load(blocks + 16, 8) + (i + i / chunk) * 8, 8);
    return (entry & 7) != 6 ? ORACLE_ZERO : (entry >> 20) * MiB + at % block;
}

static bool is_plain(const struct image *m)
{
    static const u8 none[16];
    const u8 *at[] = { m->bytes + 64 * KiB, m->bytes + 128 * KiB };

    for_each_row(h, at)
        if (memcmp(*h, "head", 4) == 0 && memcmp(*h + 48, none, 16) != 0)
            return false;
    return le_load(m->bytes + 192 * KiB + 8, 4) == 2 &&
           memcmp(m->bytes + 192 * KiB, "regi", 4) == 0;
}

FUZZ(vhdx)
{
    struct image *m = image_paint(data, size);
    struct layout l = {};
    struct err e = {};
    bool plain;

    if (m->disk.size > 320 * KiB) {
        fix(m, 64 * KiB, 4096);
        fix(m, 128 * KiB, 4096);
        fix_log(m, 64 * KiB);
        fix_log(m, 128 * KiB);
        fix(m, 192 * KiB, 64 * KiB);
        fix(m, 256 * KiB, 64 * KiB);
        must(vhdx_crc(vhdx_crc(0, m->bytes, 3), m->bytes + 3, 61) == slow_crc(m->bytes, 64));
    }
    plain = m->disk.size > 320 * KiB && is_plain(m);
    layout_add_file(&l, &m->disk, &e);
    if (vhdx_parse(&l, &e) == 0)
        image_check(&l, m, plain ? slow : NULL);
    else
        must(e.text[0]);
    layout_fini(&l);
}
