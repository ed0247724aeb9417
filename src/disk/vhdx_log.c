/*
 * disk/vhdx_log.c: the log of a vhdx image, replayed in memory.  ([MS-VHDX], "Log")
 * The log is a ring of 4 KiB sectors.  An entry is a header, descriptors, and a sector of data for each descriptor that is not of
 * zeroes.  The active sequence is the run of entries with rising numbers that begins where the `tail` of its last one points;
 * of several, that with the highest number.
 *   (1) An entry counts only when its checksum is right; each place is looked at once, and all checksums together read no more
 *       than LOG_WORK times the log: an image cannot make us work for hours.
 *   (2) The changes are kept in their order, since later ones win.
 */
#include "base/endian.h"
#include "disk/vhdx.h"

#include <stdlib.h>

enum {
    LOG_SECTOR = 4096,
    LOG_LEN_MAX = 16 * 1024 * 1024, /* Hyper-V and qemu make 1 MiB */
    LOG_WORK = 16,
    LOG_PATCHES_MAX = 65536,
};

struct log_header {
    char magic[4];
    le32 checksum, len, tail;
    le64 number;
    le32 descriptors, reserved;
    struct vhdx_guid id;
    le64 flushed_size, last_size;
} __attribute__((packed));
static_assert(sizeof(struct log_header) == 64, "as [MS-VHDX] says");

struct log_descriptor {
    char magic[4]; /* "desc" or "zero" */
    le32 trailing; /* the last 4 bytes of the page */
    le64 leading;  /* its first 8; of zeroes: their length */
    le64 at, number;
} __attribute__((packed));
static_assert(sizeof(struct log_descriptor) == 32, "as [MS-VHDX] says");

struct log_data {
    char magic[4];
    le32 number_high;
    u8 bytes[4084];
    le32 number_low;
} __attribute__((packed));
static_assert(sizeof(struct log_data) == LOG_SECTOR, "as [MS-VHDX] says");

/* What a place of the log was found to be. */
struct place {
    bool seen, valid;
    u32 len, tail, descriptors;
    u64 number, flushed_size;
};

struct log {
    const u8 *bytes;
    u32 len;
    const struct vhdx_guid *id;
    struct place *places; /* one a sector */
    u64 work;             /* bytes that may still be summed up */
};

u32 vhdx_crc(u32 crc, const void *p, size_t len)
{
    static const u32 table[16] = {
        0x00000000, 0x105ec76f, 0x20bd8ede, 0x30e349b1, 0x417b1dbc, 0x5125dad3,
        0x61c69362, 0x7198540d, 0x82f63b78, 0x92a8fc17, 0xa24bb5a6, 0xb21572c9,
        0xc38d26c4, 0xd3d3e1ab, 0xe330a81a, 0xf36e6f75,
    };
    const u8 *b = p;

    crc = ~crc;
    for (size_t i = 0; i < len; i++) {
        crc ^= b[i];
        crc = crc >> 4 ^ table[crc & 15];
        crc = crc >> 4 ^ table[crc & 15];
    }
    return ~crc;
}

/* The sector `n` places after that at `at`, around the ring's end. */
static const u8 *sector_at(const struct log *g, u32 at, u32 n)
{
    return g->bytes + (at + (u64)n * LOG_SECTOR) % g->len;
}

/* Sectors that the header and `n` descriptors take. */
static u32 head_sectors(u32 n)
{
    return (u32)((sizeof(struct log_header) + (u64)n * sizeof(struct log_descriptor) - 1) /
                     LOG_SECTOR +
                 1);
}

static void copy_descriptor(const struct log *g, u32 at, u32 i, struct log_descriptor *ret)
{
    u64 byte = sizeof(struct log_header) + (u64)i * sizeof(*ret);

    memcpy(ret, sector_at(g, at, (u32)(byte / LOG_SECTOR)) + byte % LOG_SECTOR, sizeof(*ret));
}

static bool is_data(const struct log_descriptor *d)
{
    return memcmp(d->magic, "desc", 4) == 0;
}

static bool checksum_ok(const struct log *g, u32 at, const struct place *p, u32 want)
{
    static const u8 none[4];
    u32 crc = 0;

    for (u32 i = 0; i < p->len / LOG_SECTOR; i++) {
        const u8 *s = sector_at(g, at, i);

        if (i == 0) {
            crc = vhdx_crc(crc, s, 4);
            crc = vhdx_crc(crc, none, 4);
            crc = vhdx_crc(crc, s + 8, LOG_SECTOR - 8);
        } else {
            crc = vhdx_crc(crc, s, LOG_SECTOR);
        }
    }
    return crc == want;
}

/* Do descriptors and data belong to the entry, and fill it exactly? */
static bool parts_ok(const struct log *g, u32 at, const struct place *p)
{
    u32 data = head_sectors(p->descriptors), sectors = p->len / LOG_SECTOR;

    for (u32 i = 0; i < p->descriptors; i++) {
        struct log_descriptor d;
        struct log_data page;

        copy_descriptor(g, at, i, &d);
        if (le64_get(d.number) != p->number || le64_get(d.at) % LOG_SECTOR)
            return false;
        if (!is_data(&d)) {
            if (memcmp(d.magic, "zero", 4) != 0 || le64_get(d.leading) % LOG_SECTOR)
                return false;
            continue;
        }
        if (data >= sectors)
            return false;
        memcpy(&page, sector_at(g, at, data++), sizeof(page));
        if (memcmp(page.magic, "data", 4) != 0 ||
            ((u64)le32_get(page.number_high) << 32 | le32_get(page.number_low)) != p->number)
            return false;
    }
    return data == sectors;
}

static const struct place *look(struct log *g, u32 at)
{
    struct place *p = &g->places[at / LOG_SECTOR];
    struct log_header h;

    if (p->seen)
        return p;
    p->seen = true;
    memcpy(&h, g->bytes + at, sizeof(h));
    p->len = le32_get(h.len);
    p->tail = le32_get(h.tail);
    p->number = le64_get(h.number);
    p->descriptors = le32_get(h.descriptors);
    p->flushed_size = le64_get(h.flushed_size);
    if (memcmp(h.magic, "loge", 4) != 0 || memcmp(&h.id, g->id, sizeof(h.id)) != 0 || !p->number ||
        !p->len || p->len % LOG_SECTOR || p->len > g->len || p->tail % LOG_SECTOR ||
        p->tail >= g->len || head_sectors(p->descriptors) > p->len / LOG_SECTOR)
        return p;
    if (p->len > g->work)
        return p;
    g->work -= p->len;
    p->valid = checksum_ok(g, at, p, le32_get(h.checksum)) && parts_ok(g, at, p);
    return p;
}

/* The last entry of the sequence that begins at `at`, when it is complete; else UINT32_MAX. */
static u32 sequence_end(struct log *g, u32 at)
{
    const struct place *p = look(g, at), *next;
    u64 used = p->len;
    u32 last = at;

    if (!p->valid)
        return UINT32_MAX;
    for (; used < g->len; used += next->len) {
        u32 next_at = (u32)((last + (u64)p->len) % g->len);

        next = look(g, next_at);
        if (!next->valid || next->number != p->number + 1)
            break;
        p = next;
        last = next_at;
    }
    return used <= g->len && p->tail == at ? last : UINT32_MAX;
}

/* `sector`: the entry's data; NULL: it is a descriptor of zeroes. */
static int add_patch(struct vhdx *x, const struct log_descriptor *d, const u8 *sector,
                     struct err *e)
{
    struct vhdx_patch *p = &x->patches[x->n_patches];

    if (x->n_patches == LOG_PATCHES_MAX)
        return err_set(e, -EFBIG, "the log has more than %d changes", LOG_PATCHES_MAX);
    x->n_patches++;
    *p = (struct vhdx_patch){ .at = le64_get(d->at), .len = le64_get(d->leading) };
    if (!sector)
        return 0;
    p->len = LOG_SECTOR;
    p->data = xnew_n(u8, LOG_SECTOR);
    memcpy(p->data, &d->leading, 8);
    memcpy(p->data + 8, sector + offsetof(struct log_data, bytes),
           MEMBER_SIZE(struct log_data, bytes));
    memcpy(p->data + LOG_SECTOR - 4, &d->trailing, 4);
    return 0;
}

static int take_entry(struct vhdx *x, const struct log *g, u32 at, struct err *e)
{
    const struct place *p = &g->places[at / LOG_SECTOR];
    u32 data = head_sectors(p->descriptors);
    int r = 0;

    if (p->flushed_size > x->layout->files[0]->size)
        return err_set(e, -EBADMSG, "the file was cut: its log knows of %llu bytes",
                       p->flushed_size);
    for (u32 i = 0; i < p->descriptors && r == 0; i++) {
        struct log_descriptor d;

        copy_descriptor(g, at, i, &d);
        r = add_patch(x, &d, is_data(&d) ? sector_at(g, at, data++) : NULL, e);
    }
    return r;
}

/* The active sequence: from *ret to its end, which is returned; UINT32_MAX when there is none. */
static u32 find_active(struct log *g, u32 *ret)
{
    u32 best = UINT32_MAX;

    for (u32 at = 0; at < g->len; at += LOG_SECTOR) {
        u32 end = sequence_end(g, at);

        if (end == UINT32_MAX)
            continue;
        if (best == UINT32_MAX ||
            g->places[end / LOG_SECTOR].number > g->places[best / LOG_SECTOR].number) {
            best = end;
            *ret = at;
        }
    }
    return best;
}

static int replay(struct vhdx *x, struct log *g, struct err *e)
{
    u32 at = 0, end = find_active(g, &at);
    int r;

    if (g->work < LOG_SECTOR)
        return err_set(e, -EBADMSG, "a log whose entries overlap");
    if (end == UINT32_MAX)
        return err_set(e, -EBADMSG, "a log without one complete sequence of entries");
    x->patches = xnew_n(struct vhdx_patch, LOG_PATCHES_MAX);
    while ((r = take_entry(x, g, at, e)) == 0 && at != end)
        at = (u32)((at + (u64)g->places[at / LOG_SECTOR].len) % g->len);
    return r;
}

int vhdx_log_replay(struct vhdx *x, const struct vhdx_guid *id, u64 log_at, u32 log_len,
                    struct err *e)
{
    AUTO(free) u8 *bytes = NULL;
    AUTO(free) struct place *places = NULL;
    struct log g = { .len = log_len, .id = id, .work = (u64)log_len * LOG_WORK };
    int r;

    if (log_len == 0 || log_len % LOG_SECTOR || log_len > LOG_LEN_MAX)
        return err_set(e, -ENOTSUP, "a log of %u bytes; whole sectors of 4 KiB up to %d are known",
                       log_len, LOG_LEN_MAX);
    bytes = try_new(u8, log_len, LOG_LEN_MAX);
    places = try_new(struct place, log_len / LOG_SECTOR, LOG_LEN_MAX);
    if (!bytes || !places)
        return err_set(e, -ENOMEM, "no memory for the log");
    r = layout_read(x->layout->files[0], bytes, log_len, log_at, "log", e);
    if (r < 0)
        return r;
    g.bytes = bytes;
    g.places = places;
    return replay(x, &g, e);
}

int vhdx_read(const struct vhdx *x, void *buf, size_t len, u64 at, const char *what, struct err *e)
{
    int r = layout_read(x->layout->files[0], buf, len, at, what, e);

    for (u32 i = 0; r == 0 && i < x->n_patches; i++) {
        const struct vhdx_patch *p = &x->patches[i];
        u64 from = max(at, p->at), end;

        if (!add_ok(&end, p->at, p->len))
            end = UINT64_MAX;
        end = min(end, at + len);
        if (from >= end)
            continue;
        if (p->data)
            memcpy((u8 *)buf + (from - at), p->data + (from - p->at), end - from);
        else
            memset((u8 *)buf + (from - at), 0, end - from);
    }
    return r;
}

void vhdx_fini(struct vhdx *x)
{
    for (u32 i = 0; i < x->n_patches; i++)
        free(x->patches[i].data);
    free(x->patches);
    *x = (struct vhdx){};
}
