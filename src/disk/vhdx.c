/*
 * disk/vhdx.c: Hyper-V's disk image.  ([MS-VHDX])
 * Two headers, of which the newer one with a right checksum counts; two region tables, likewise equal; a metadata region that
 * says what the disk is; a table with an entry a block, and after each chunk of blocks one for a bitmap of sectors, which only
 * differencing disks need.
 *   (1) Metadata is read through vhdx_read: as it is once the log was replayed (vhdx_log.c).  Data is never in the log.
 *   (2) A region or metadata item that is marked as required and that we do not know: refused.
 */
#include "disk/vhdx.h"

#include "base/endian.h"

#include <stdlib.h>

enum {
    VHDX_HEADER = 4096,
    VHDX_TABLE = 64 * 1024, /* a region table, and the metadata table */
    VHDX_ENTRIES_MAX = 2047,
    VHDX_PIECE = 1024 * 1024, /* bytes of the block table read at once */
    BLOCK_ZERO_MAX = 3,       /* not present, undefined, zero, unmapped: zeroes all */
    BLOCK_FULL = 6,
};

static const u64 header_at[] = { 64 * KiB, 128 * KiB }, regions_at[] = { 192 * KiB, 256 * KiB };

struct header {
    char magic[4];
    le32 checksum;
    le64 number;
    struct vhdx_guid file_write, data_write, log;
    le16 log_version, version;
    le32 log_len;
    le64 log_at;
} __attribute__((packed));

struct region_table {
    char magic[4];
    le32 checksum, entries, reserved;
    struct region {
        struct vhdx_guid id;
        le64 at;
        le32 len, required;
    } __attribute__((packed)) entry[VHDX_ENTRIES_MAX];
} __attribute__((packed));

struct metadata_table {
    char magic[8];
    le16 reserved, entries;
    u8 rest[20];
    struct item {
        struct vhdx_guid id;
        le32 at, len, flags, reserved;
    } __attribute__((packed)) entry[VHDX_ENTRIES_MAX];
} __attribute__((packed));
static_assert(sizeof(struct region_table) <= VHDX_TABLE, "as [MS-VHDX] says");
static_assert(sizeof(struct metadata_table) == VHDX_TABLE, "as [MS-VHDX] says");

enum { ITEM_REQUIRED = 4, FILE_HAS_PARENT = 2 };

/* As they lie in the file. */
#define GUID(...)               \
    {                           \
        .byte = { __VA_ARGS__ } \
    }
/* clang-format off */
static const struct vhdx_guid id_blocks =
    GUID(0x66, 0x77, 0xc2, 0x2d, 0x23, 0xf6, 0x00, 0x42, 0x9d, 0x64, 0x11, 0x5e, 0x9b, 0xfd, 0x4a, 0x08);
static const struct vhdx_guid id_metadata =
    GUID(0x06, 0xa2, 0x7c, 0x8b, 0x90, 0x47, 0x9a, 0x4b, 0xb8, 0xfe, 0x57, 0x5f, 0x05, 0x0f, 0x88, 0x6e);

/* What the metadata region holds. */
enum { ITEM_FILE, ITEM_SIZE, ITEM_SECTOR, ITEM_PHYSICAL, ITEM_DISK_ID, ITEM_PARENT, N_ITEMS };
static const struct {
    struct vhdx_guid id;
    u32 len; /* 0: not read */
} items[N_ITEMS] = {
    [ITEM_FILE]     = { GUID(0x37, 0x67, 0xa1, 0xca, 0x36, 0xfa, 0x43, 0x4d, 0xb3, 0xb6, 0x33, 0xf0, 0xaa, 0x44, 0xe7, 0x6b), 8 },
    [ITEM_SIZE]     = { GUID(0x24, 0x42, 0xa5, 0x2f, 0x1b, 0xcd, 0x76, 0x48, 0xb2, 0x11, 0x5d, 0xbe, 0xd8, 0x3b, 0xf4, 0xb8), 8 },
    [ITEM_SECTOR]   = { GUID(0x1d, 0xbf, 0x41, 0x81, 0x6f, 0xa9, 0x09, 0x47, 0xba, 0x47, 0xf2, 0x33, 0xa8, 0xfa, 0xab, 0x5f), 4 },
    [ITEM_PHYSICAL] = { GUID(0xc7, 0x48, 0xa3, 0xcd, 0x5d, 0x44, 0x71, 0x44, 0x9c, 0xc9, 0xe9, 0x88, 0x52, 0x51, 0xc5, 0x56), 0 },
    [ITEM_DISK_ID]  = { GUID(0xab, 0x12, 0xca, 0xbe, 0xe6, 0xb2, 0x23, 0x45, 0x93, 0xef, 0xc3, 0x09, 0xe0, 0x00, 0xc7, 0x46), 0 },
    [ITEM_PARENT]   = { GUID(0x2d, 0x5f, 0xd3, 0xa8, 0x0b, 0xb3, 0x4d, 0x45, 0xab, 0xf7, 0xd3, 0xd8, 0x48, 0x34, 0xab, 0x0c), 0 },
};
/* clang-format on */

static bool same(const struct vhdx_guid *a, const struct vhdx_guid *b)
{
    return memcmp(a, b, sizeof(*a)) == 0;
}

/* Is the checksum, 4 bytes after the beginning, right? */
static bool checksum_ok(u8 *p, size_t len)
{
    u32 want = (u32)le_load(p + 4, 4);

    memset(p + 4, 0, 4);
    return vhdx_crc(0, p, len) == want;
}

static int read_header(const struct layout *l, struct header *ret, struct err *e)
{
    bool found = false;

    for_each_row(at, header_at) {
        u8 page[VHDX_HEADER];
        struct header h;
        int r = layout_read(l->files[0], page, sizeof(page), *at, "vhdx header", e);

        if (r < 0)
            return r;
        memcpy(&h, page, sizeof(h));
        if (memcmp(h.magic, "head", 4) != 0 || !checksum_ok(page, sizeof(page)))
            continue;
        if (found && le64_get(h.number) <= le64_get(ret->number))
            continue;
        *ret = h;
        found = true;
    }
    if (!found)
        return err_set(e, -EBADMSG, "no vhdx header with a right checksum");
    if (le16_get(ret->version) != 1)
        return err_set(e, -ENOTSUP, "version %u of vhdx; 1 is known", le16_get(ret->version));
    return 0;
}

/* Reads one region table; false when it is not sound. */
static int read_regions(const struct vhdx *x, u64 at, u8 *buf, struct err *e)
{
    const struct region_table *t = (const void *)buf;
    int r = vhdx_read(x, buf, VHDX_TABLE, at, "region table", e);

    if (r < 0)
        return r;
    return memcmp(t->magic, "regi", 4) == 0 && checksum_ok(buf, VHDX_TABLE) &&
           le32_get(t->entries) <= VHDX_ENTRIES_MAX;
}

struct regions {
    u64 blocks_at, blocks_len, metadata_at, metadata_len;
};

static int find_regions(const struct vhdx *x, struct regions *ret, struct err *e)
{
    AUTO(free) u8 *buf = xnew_n(u8, VHDX_TABLE);
    const struct region_table *t = (const void *)buf;
    int r = read_regions(x, regions_at[0], buf, e);

    if (r == 0)
        r = read_regions(x, regions_at[1], buf, e);
    if (r < 0)
        return r;
    if (r == 0)
        return err_set(e, -EBADMSG, "no region table with a right checksum");
    for (u32 i = 0; i < le32_get(t->entries); i++) {
        const struct region *g = &t->entry[i];

        if (same(&g->id, &id_blocks)) {
            ret->blocks_at = le64_get(g->at);
            ret->blocks_len = le32_get(g->len);
        } else if (same(&g->id, &id_metadata)) {
            ret->metadata_at = le64_get(g->at);
            ret->metadata_len = le32_get(g->len);
        } else if (le32_get(g->required) & 1) {
            return err_set(e, -ENOTSUP, "region %u is required, and not known", i);
        }
    }
    if (!ret->blocks_len || !ret->metadata_len)
        return err_set(e, -EBADMSG, "no region of blocks, or none of metadata");
    return 0;
}

static int find_item(const struct item *it, struct err *e)
{
    for (int i = 0; i < N_ITEMS; i++)
        if (same(&it->id, &items[i].id))
            return i;
    if (le32_get(it->flags) & ITEM_REQUIRED)
        return err_set(e, -ENOTSUP, "an item of metadata is required, and not known");
    return N_ITEMS;
}

/* The numbers of the metadata items, as far as they are read. */
static int read_metadata(const struct vhdx *x, const struct regions *g, u64 value[N_ITEMS],
                         struct err *e)
{
    AUTO(free) struct metadata_table *t = xnew(struct metadata_table);
    bool found[N_ITEMS] = {};
    int r = vhdx_read(x, t, sizeof(*t), g->metadata_at, "metadata table", e);

    if (r < 0)
        return r;
    if (memcmp(t->magic, "metadata", 8) != 0 || le16_get(t->entries) > VHDX_ENTRIES_MAX)
        return err_set(e, -EBADMSG, "no metadata table where one should be");
    for (u32 k = 0; k < le16_get(t->entries); k++) {
        const struct item *it = &t->entry[k];
        u8 bytes[8] = {};
        int i = find_item(it, e);

        if (i < 0)
            return i;
        if (i == N_ITEMS || items[i].len == 0)
            continue;
        if (le32_get(it->len) != items[i].len ||
            !range_ok(le32_get(it->at), items[i].len, g->metadata_len))
            return err_set(e, -EBADMSG, "metadata item %u: %u bytes at %u", k, le32_get(it->len),
                           le32_get(it->at));
        r = vhdx_read(x, bytes, items[i].len, g->metadata_at + le32_get(it->at), "metadata", e);
        if (r < 0)
            return r;
        value[i] = le_load(bytes, 8);
        found[i] = true;
    }
    if (!found[ITEM_FILE] || !found[ITEM_SIZE] || !found[ITEM_SECTOR])
        return err_set(e, -EBADMSG,
                       "the metadata does not say the size of the disk and its blocks");
    return 0;
}

/* One block's entry into our table, which counts in MiB. */
static int take_block(struct layout_segment *s, u64 i, u64 entry, struct err *e)
{
    u64 state = entry & 7, mib = entry >> 20;

    if (state <= BLOCK_ZERO_MAX)
        return 0;
    if (state != BLOCK_FULL)
        return err_set(e, -EBADMSG, "block %llu has state %llu; 0 to 3 and 6 are known", i, state);
    if (mib == 0 || mib > UINT32_MAX)
        return err_set(e, -EBADMSG, "block %llu is said to lie at %llu MiB", i, mib);
    s->entries[i] = (u32)mib;
    return 0;
}

static int read_blocks(const struct vhdx *x, const struct regions *g, struct layout_segment *s,
                       u64 chunk, struct err *e)
{
    AUTO(free) u8 *piece = xnew_n(u8, VHDX_PIECE);
    u64 entries = s->n + (s->n - 1) / chunk;

    if (entries > g->blocks_len / 8)
        return err_set(e, -EBADMSG, "a table of %llu entries is needed, the region has %llu bytes",
                       entries, g->blocks_len);
    for (u64 k = 0, i = 0; k < entries; k++) {
        u64 in = k * 8 % VHDX_PIECE;
        int r = 0;

        if (in == 0)
            r = vhdx_read(x, piece, min((u64)VHDX_PIECE, (entries - k) * 8), g->blocks_at + k * 8,
                          "block table", e);
        if (r == 0 && k % (chunk + 1) != chunk) {
            r = take_block(s, i, le_load(piece + in, 8), e);
            i++;
        }
        if (r < 0)
            return r;
    }
    return 0;
}

static int parse(struct vhdx *x, struct layout *l, struct err *e)
{
    struct layout_segment s = { .kind = LAYOUT_DATA, .scale = MiB }, *seg;
    u64 value[N_ITEMS] = {}, sector;
    struct regions g = {};
    int r = find_regions(x, &g, e);

    if (r == 0)
        r = read_metadata(x, &g, value, e);
    if (r < 0)
        return r;
    if (value[ITEM_FILE] >> 32 & FILE_HAS_PARENT)
        return err_set(e, -ENOTSUP, "a differencing vhdx: merge it with its parent first");
    sector = value[ITEM_SECTOR];
    if (sector != 512 && sector != 4096)
        return err_set(e, -EBADMSG, "sectors of %llu bytes; 512 and 4096 are allowed", sector);
    s.unit = (u32)value[ITEM_FILE];
    s.len = value[ITEM_SIZE];
    if (s.unit < MiB)
        return err_set(e, -EBADMSG, "blocks of %u bytes; 1 MiB to 256 MiB are allowed", s.unit);
    r = layout_add_table(l, &s, &seg, e);
    if (r == 0)
        r = read_blocks(x, &g, seg, (sector << 23) / s.unit, e);
    return r < 0 ? r : layout_check(l, seg, e);
}

int vhdx_parse(struct layout *l, struct err *e)
{
    static const struct vhdx_guid none;
    struct vhdx x = { .layout = l };
    struct header h = {};
    char magic[8];
    int r = layout_read(l->files[0], magic, sizeof(magic), 0, "vhdx signature", e);

    if (r == 0 && memcmp(magic, "vhdxfile", 8) != 0)
        r = err_set(e, -EBADMSG, "not a vhdx image: it does not begin with vhdxfile");
    if (r == 0)
        r = read_header(l, &h, e);
    if (r == 0 && !same(&h.log, &none))
        r = vhdx_log_replay(&x, &h.log, le64_get(h.log_at), le32_get(h.log_len), e);
    if (r == 0)
        r = parse(&x, l, e);
    str_copy(l->variant, sizeof(l->variant), x.n_patches ? "log replayed in memory" : "");
    vhdx_fini(&x);
    return r;
}
