/*
 * disk/vdi.c: VirtualBox's disk image, version 1.1: a header, a map with a number a block, blocks.
 *   (1) A block of the disk is at `data_at` + its number in the map × block size.
 *   (2) 0xffffffff in the map: never written; 0xfffffffe: discarded.  Both read as zeroes.
 * Difference images ("undo", "differencing") hold only what their parent lacks, and are refused.
 */
#include "base/endian.h"
#include "disk/foreign.h"

enum {
    VDI_MAGIC = 0xbeda107f,
    VDI_VERSION = 0x00010001,
    VDI_DYNAMIC = 1,
    VDI_FIXED = 2,
    VDI_DISCARDED = 0xfffffffe, /* and above it, never written */
    VDI_PIECE = 4096,           /* entries read at once */
};

struct vdi_header {
    char text[64];
    le32 magic, version, header_size, type, flags;
    char comment[256];
    le32 map_at, data_at, geometry[3], sector_size, unused;
    le64 size;
    le32 block_size, block_extra, blocks, blocks_allocated;
    u8 uuid[16], snapshot[16], link[16], parent[16];
} __attribute__((packed));
static_assert(offsetof(struct vdi_header, size) == 0x170, "as VirtualBox lays it out");

static int check_header(const struct vdi_header *h, struct err *e)
{
    u32 type = le32_get(h->type), sector = le32_get(h->sector_size);

    if (le32_get(h->magic) != VDI_MAGIC)
        return err_set(e, -EBADMSG, "not a vdi image: its signature is 0x%08x", le32_get(h->magic));
    if (le32_get(h->version) != VDI_VERSION)
        return err_set(e, -ENOTSUP, "version %u.%u of vdi; 1.1 is known",
                       le32_get(h->version) >> 16, le32_get(h->version) & 0xffff);
    if (type != VDI_DYNAMIC && type != VDI_FIXED)
        return err_set(e, -ENOTSUP,
                       "vdi of type %u; 1 (dynamic) and 2 (fixed) are known, not differences of "
                       "another image",
                       type);
    if (sector != 512)
        return err_set(e, -ENOTSUP, "sectors of %u bytes; 512 is known", sector);
    if (le32_get(h->block_extra))
        return err_set(e, -ENOTSUP, "%u bytes of extra data with each block; 0 is known",
                       le32_get(h->block_extra));
    if (le32_get(h->map_at) % 512 || le32_get(h->data_at) % 512)
        return err_set(e, -EBADMSG, "map at %u and data at %u; multiples of 512 are allowed",
                       le32_get(h->map_at), le32_get(h->data_at));
    return 0;
}

/* Our entry 0 stands for zeroes, so that each number is one higher here, and the table counts from one block earlier. */
static int read_map(const struct layout *l, struct layout_segment *s, u32 map_at, u32 blocks,
                    struct err *e)
{
    le32 piece[VDI_PIECE];

    for (u64 i = 0; i < s->n; i += VDI_PIECE) {
        u64 n = min((u64)VDI_PIECE, s->n - i);
        int r = layout_read(l->files[0], piece, n * sizeof(le32), map_at + i * sizeof(le32),
                            "block map", e);

        if (r < 0)
            return r;
        for (u64 k = 0; k < n; k++) {
            u32 number = le32_get(piece[k]);

            if (number >= VDI_DISCARDED)
                continue;
            if (number >= blocks)
                return err_set(e, -EBADMSG, "block %llu is said to be number %u of %u", i + k,
                               number, blocks);
            s->entries[i + k] = number + 1;
        }
    }
    return 0;
}

int vdi_parse(struct layout *l, struct err *e)
{
    struct layout_segment s = { .kind = LAYOUT_DATA }, *seg;
    struct vdi_header h;
    u32 blocks;
    u64 size;
    int r = layout_read(l->files[0], &h, sizeof(h), 0, "vdi header", e);

    if (r == 0)
        r = check_header(&h, e);
    if (r < 0)
        return r;
    size = le64_get(h.size);
    if (size == 0 || size > INT64_MAX - 512)
        return err_set(e, -EBADMSG, "a disk of %llu bytes", size);
    blocks = le32_get(h.blocks);
    s.len = align_up(size, 512ull); /* what the last block has more than the disk is its own */
    s.unit = s.scale = le32_get(h.block_size);
    s.at = (u64)le32_get(h.data_at) - s.unit;
    r = layout_add_table(l, &s, &seg, e);
    if (r < 0)
        return r;
    if (seg->n > blocks)
        return err_set(e, -EBADMSG, "a disk of %llu bytes has %llu blocks, the header says %u",
                       size, seg->n, blocks);
    str_copy(l->variant, sizeof(l->variant), le32_get(h.type) == VDI_FIXED ? "fixed" : "dynamic");
    r = read_map(l, seg, le32_get(h.map_at), blocks, e);
    return r < 0 ? r : layout_check(l, seg, e);
}
