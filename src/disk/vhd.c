/*
 * disk/vhd.c: Virtual PC's and Hyper-V's first disk image ("Virtual Hard Disk Image Format Specification", 1.0): fixed (the
 * bytes, then a footer) and dynamic (a copy of the footer, a header, a table of blocks, blocks, the footer).
 *   (1) A block begins with a bitmap of its sectors, in whole sectors; the data follows.  The bitmap is not read: a sector of a
 *       dynamic disk whose bit is 0 was never written, and new blocks are zeroes.
 *   (2) The footer at the end is believed first, then the copy.
 * Differencing disks are refused: what they lack is in a parent, named by paths of another host.
 */
#include "base/endian.h"
#include "disk/foreign.h"

enum {
    VHD_FIXED = 2,
    VHD_DYNAMIC = 3,
    VHD_DIFFERENCING = 4,
    VHD_FOOTER = 512,
    VHD_UNUSED = 0xffffffff,
    VHD_PIECE = 4096,
    VHD_CHS_MAX = 65535 * 16 * 255, /* sectors: the largest that the geometry can tell */
};

struct vhd_footer {
    char cookie[8];
    be32 features, version;
    be64 header_at;
    be32 time;
    char creator[4];
    be32 creator_version, creator_os;
    be64 first_size, size;
    be16 cylinders;
    u8 heads, sectors;
    be32 type, checksum;
    u8 uuid[16], saved_state, reserved[427];
} __attribute__((packed));
static_assert(sizeof(struct vhd_footer) == VHD_FOOTER, "as the specification says");

struct vhd_header {
    char cookie[8];
    be64 next, table_at;
    be32 version, entries, block_size, checksum;
    u8 rest[984];
} __attribute__((packed));
static_assert(sizeof(struct vhd_header) == 1024, "as the specification says");

/* The complement of the sum of all bytes but the checksum's own. */
static u32 checksum(const void *p, size_t len, size_t checksum_at)
{
    const u8 *b = p;
    u32 sum = 0;

    for (size_t i = 0; i < len; i++)
        if (i < checksum_at || i >= checksum_at + 4)
            sum += b[i];
    return ~sum;
}

static bool footer_ok(const struct vhd_footer *f)
{
    return memcmp(f->cookie, "conectix", 8) == 0 &&
           be32_get(f->checksum) == checksum(f, sizeof(*f), offsetof(struct vhd_footer, checksum));
}

static int read_footer(const struct layout *l, struct vhd_footer *f, struct err *e)
{
    u64 size = l->files[0]->size;
    int r;

    if (size < VHD_FOOTER)
        return err_set(e, -EBADMSG, "not a vhd image: it has %llu bytes", size);
    r = layout_read(l->files[0], f, sizeof(*f), size - VHD_FOOTER, "vhd footer", e);
    if (r == 0 && !footer_ok(f))
        r = layout_read(l->files[0], f, sizeof(*f), 0, "vhd footer", e);
    if (r == 0 && !footer_ok(f))
        return err_set(e, -EBADMSG, "not a vhd image: no footer with a right checksum");
    return r;
}

/*
 * Virtual PC shows its guests what the geometry says, which is a little less than the size in the footer; so do old images of
 * qemu.  All others mean the size.
 */
static u64 disk_size(const struct vhd_footer *f)
{
    static const char by_geometry[][5] = { "vpc ", "vs  ", "qemu" };
    u64 chs = (u64)be16_get(f->cylinders) * f->heads * f->sectors;

    for_each_row(c, by_geometry)
        if (memcmp(f->creator, *c, 4) == 0 && chs && chs != VHD_CHS_MAX)
            return chs * 512;
    return be64_get(f->size);
}

static int read_table(const struct layout *l, struct layout_segment *s, u64 table_at, struct err *e)
{
    be32 piece[VHD_PIECE];

    for (u64 i = 0; i < s->n; i += VHD_PIECE) {
        u64 n = min((u64)VHD_PIECE, s->n - i);
        int r = layout_read(l->files[0], piece, n * sizeof(be32), table_at + i * sizeof(be32),
                            "block table", e);

        if (r < 0)
            return r;
        for (u64 k = 0; k < n; k++) {
            u32 sector = be32_get(piece[k]);

            if (sector == 0)
                return err_set(e, -EBADMSG, "block %llu is said to lie at 0, where the footer is",
                               i + k);
            s->entries[i + k] = sector == VHD_UNUSED ? 0 : sector;
        }
    }
    return 0;
}

static int parse_dynamic(struct layout *l, const struct vhd_footer *f, struct err *e)
{
    struct layout_segment s = { .kind = LAYOUT_DATA, .len = disk_size(f), .scale = 512 }, *seg;
    struct vhd_header h;
    u64 table_at;
    int r = layout_read(l->files[0], &h, sizeof(h), be64_get(f->header_at), "vhd header", e);

    if (r < 0)
        return r;
    if (memcmp(h.cookie, "cxsparse", 8) != 0 ||
        be32_get(h.checksum) != checksum(&h, sizeof(h), offsetof(struct vhd_header, checksum)))
        return err_set(e, -EBADMSG, "no header with a right checksum at %llu",
                       be64_get(f->header_at));
    s.unit = be32_get(h.block_size);
    s.at = align_up(((u64)s.unit / 512 + 7) / 8, 512ull); /* past the bitmap */
    r = layout_add_table(l, &s, &seg, e);
    if (r < 0)
        return r;
    table_at = be64_get(h.table_at);
    if (seg->n > be32_get(h.entries) || table_at > INT64_MAX)
        return err_set(e, -EBADMSG,
                       "a disk of %llu bytes has %llu blocks; the table at %llu has %u", s.len,
                       seg->n, table_at, be32_get(h.entries));
    r = read_table(l, seg, table_at, e);
    return r < 0 ? r : layout_check(l, seg, e);
}

int vhd_parse(struct layout *l, struct err *e)
{
    struct vhd_footer f;
    int r = read_footer(l, &f, e);

    if (r < 0)
        return r;
    if (be32_get(f.version) >> 16 != 1)
        return err_set(e, -ENOTSUP, "version %u.%u of vhd; 1.0 is known", be32_get(f.version) >> 16,
                       be32_get(f.version) & 0xffff);
    switch (be32_get(f.type)) {
    case VHD_FIXED:
        str_copy(l->variant, sizeof(l->variant), "fixed");
        return layout_add_run(l, LAYOUT_DATA, disk_size(&f), 0, 0, e);
    case VHD_DYNAMIC:
        str_copy(l->variant, sizeof(l->variant), "dynamic");
        return parse_dynamic(l, &f, e);
    case VHD_DIFFERENCING:
        return err_set(e, -ENOTSUP, "a differencing vhd: merge it with its parent first");
    default:
        return err_set(e, -EBADMSG, "vhd of type %u; 2 (fixed) and 3 (dynamic) are known",
                       be32_get(f.type));
    }
}
