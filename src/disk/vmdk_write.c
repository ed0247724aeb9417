/*
 * disk/vmdk_write.c: a vmdk of the kind streamOptimized, as appliances have it ("Virtual Disk Format 5.0", "Stream-Optimized Compressed
 * Sparse Extents").
 *
 *     header, descriptor ── for each table: its grains, packed, each behind its header; the table ── directory, footer, end of stream
 *
 *   (1) It is written from its beginning to its end; what lies where is known only behind it, so the footer repeats the header with that.
 *   (2) A grain of zeroes is not written, nor a table without grains.
 *   (3) Entries are sectors of 32 bits: a file of 2 TiB is the largest.
 */
#include "disk/job.h"
#include "disk/vmdk.h"
#include "disk/zero.h"

#include <stdlib.h>
#include <sys/random.h>
#include <zlib.h>

enum {
    GRAIN = 64 * 1024,
    GRAIN_SECTORS = GRAIN / DISK_SECTOR,
    TABLE_SPAN = VMDK_TABLE_MAX * GRAIN,
    TEXT_AT = 1, /* sectors */
    TEXT_LEN = 20,
    OVERHEAD = 128, /* sectors before the first grain: whole grains */
    PACKED_ROOM = 2 * GRAIN,
    MARK_END = 0, /* of the stream */
    MARK_TABLE = 1,
    MARK_DIRECTORY = 2,
    MARK_FOOTER = 3,
};

struct grain_header {
    le64 sector; /* of the disk */
    le32 len;
} __attribute__((packed));

struct marker {
    le64 sectors; /* of what follows */
    le32 zero, kind;
    u8 pad[496];
} __attribute__((packed));
static_assert(sizeof(struct marker) == DISK_SECTOR, "a sector");

struct writer {
    struct job *j;
    struct disk *from;
    struct disk_sync *sync;
    int fd;
    const char *name;
    u64 at;        /* in the file, whole sectors */
    u64 size;      /* of the disk */
    le32 *entries; /* the directory */
    u32 n_tables;
    struct disk_extent extent; /* of the source, from `looked` on */
    u64 looked;
    u8 *grain, *packed; /* packed: header and bytes */
    struct err *e;
};

/* ---- the file ---- */

static int put(struct writer *w, const void *p, size_t len)
{
    const u64 end = align_up(w->at + len, (u64)DISK_SECTOR);
    static const u8 zeroes[DISK_SECTOR];
    int r = fd_pwrite_all(w->fd, p, len, w->at);

    if (r == 0)
        r = fd_pwrite_all(w->fd, zeroes, end - w->at - len, w->at + len);
    if (r == 0 && end / DISK_SECTOR > UINT32_MAX)
        r = -EFBIG;
    w->at = end;
    return r < 0 ? err_code(w->e, r, "write '%s'", w->name) : 0;
}

static int put_marker(struct writer *w, u32 kind, u64 sectors)
{
    const struct marker m = { .sectors = le64_of(sectors), .kind = le32_of(kind) };

    return put(w, &m, sizeof(m));
}

static int put_header(struct writer *w, u64 directory_at)
{
    const struct vmdk_header h = {
        .magic = le32_of(VMDK_MAGIC),
        .version = le32_of(3),
        .flags = le32_of(VMDK_NEWLINES | VMDK_COMPRESSED | VMDK_MARKERS),
        .capacity = le64_of(w->size / DISK_SECTOR),
        .grain = le64_of(GRAIN_SECTORS),
        .text_at = le64_of(TEXT_AT),
        .text_len = le64_of(TEXT_LEN),
        .table_entries = le32_of(VMDK_TABLE_MAX),
        .directory_at = le64_of(directory_at),
        .overhead = le64_of(OVERHEAD),
        .newlines = { '\n', ' ', '\r', '\n' },
        .compression = le16_of(VMDK_DEFLATE),
    };

    return put(w, &h, sizeof(h));
}

/* The geometry is what a BIOS would say: 255 heads and 63 sectors. */
static int put_text(struct writer *w)
{
    char text[(OVERHEAD - TEXT_AT) * DISK_SECTOR] = {};
    const u64 sectors = w->size / DISK_SECTOR, cylinders = sectors / (255 * 63);
    u32 id = 0;

    if (getrandom(&id, sizeof(id), 0) != sizeof(id))
        return err_errno(w->e, "random bytes");
    str_fmt(text, TEXT_LEN * DISK_SECTOR,
            "# Disk DescriptorFile\nversion=1\nCID=%08x\nparentCID=ffffffff\n"
            "createType=\"streamOptimized\"\n\n# Extent description\n"
            "RW %llu SPARSE \"disk.vmdk\"\n\n# The Disk Data Base\n#DDB\n\n"
            "ddb.adapterType = \"lsilogic\"\nddb.geometry.cylinders = \"%llu\"\n"
            "ddb.geometry.heads = \"255\"\nddb.geometry.sectors = \"63\"\n"
            "ddb.virtualHWVersion = \"7\"\n",
            id & 0x7fffffff, sectors, max(cylinders, 1ull));
    return put(w, text, sizeof(text));
}

/* ---- grains ---- */

/* Is it known to be zeroes without being read? */
static int is_hole(struct writer *w, u64 at, u64 len)
{
    if (at >= w->from->size)
        return 1;
    len = min(len, w->from->size - at);
    while (w->looked + w->extent.len <= at || w->extent.len == 0) {
        w->looked += w->extent.len;
        if (w->looked < at)
            w->looked = at;
        if (disk_map_deep(w->from, w->looked, w->from->size - w->looked, &w->extent, w->e) < 0)
            return w->e->code;
    }
    return w->extent.kind != DISK_MAP_DATA && at >= w->looked &&
           at + len <= w->looked + w->extent.len;
}

/* 1: it is zeroes. */
static int read_grain(struct writer *w, u64 at)
{
    const u64 len = at < w->from->size ? min((u64)GRAIN, w->from->size - at) : 0;
    int r = is_hole(w, at, GRAIN);

    if (r)
        return r;
    memset(w->grain + len, 0, GRAIN - len);
    r = disk_pread(w->sync, w->grain, len, at);
    if (r < 0)
        return err_code(w->e, r, "read '%s' at %llu", w->from->name, at);
    return is_zero(w->grain, GRAIN);
}

/* *ret: its sector in the file; 0: it is zeroes. */
static int put_grain(struct writer *w, u64 at, le32 *ret)
{
    struct grain_header *h = (void *)w->packed;
    uLongf len = PACKED_ROOM - sizeof(*h);
    int r = read_grain(w, at);

    *ret = le32_of(0);
    job_add(w->j, min((u64)GRAIN, w->size - at));
    if (r)
        return r < 0 ? r : 0;
    must(compress2(w->packed + sizeof(*h), &len, w->grain, GRAIN, Z_DEFAULT_COMPRESSION) == Z_OK);
    *h = (struct grain_header){ le64_of(at / DISK_SECTOR), le32_of((u32)len) };
    *ret = le32_of((u32)(w->at / DISK_SECTOR));
    return put(w, w->packed, sizeof(*h) + len);
}

static int put_table(struct writer *w, u32 table)
{
    const u64 begin = (u64)table * TABLE_SPAN, end = min(w->size, begin + TABLE_SPAN);
    le32 entries[VMDK_TABLE_MAX] = {};
    bool any = false;
    u32 i = 0;
    int r = 0;

    for (u64 at = begin; at < end && r == 0; at += GRAIN, i++) {
        r = job_check(w->j, w->e);
        if (r == 0)
            r = put_grain(w, at, &entries[i]);
        any = any || le32_get(entries[i]);
    }
    if (r < 0 || !any)
        return r;
    r = put_marker(w, MARK_TABLE, sizeof(entries) / DISK_SECTOR);
    w->entries[table] = le32_of((u32)(w->at / DISK_SECTOR));
    return r < 0 ? r : put(w, entries, sizeof(entries));
}

static int put_end(struct writer *w)
{
    const u64 len = w->n_tables * sizeof(le32);
    u64 directory_at;
    int r = put_marker(w, MARK_DIRECTORY, align_up(len, (u64)DISK_SECTOR) / DISK_SECTOR);

    directory_at = w->at / DISK_SECTOR;
    if (r == 0)
        r = put(w, w->entries, len);
    if (r == 0)
        r = put_marker(w, MARK_FOOTER, 1);
    if (r == 0)
        r = put_header(w, directory_at);
    return r < 0 ? r : put_marker(w, MARK_END, 0);
}

static int write_all(struct writer *w)
{
    int r = put_header(w, VMDK_AT_END);

    if (r == 0)
        r = put_text(w);
    for (u32 i = 0; i < w->n_tables && r == 0; i++)
        r = put_table(w, i);
    return r < 0 ? r : put_end(w);
}

int vmdk_write(struct job *j, struct disk *from, u64 size, int fd, const char *name, struct err *e)
{
    AUTO(free) u8 *grain = xnew_n(u8, GRAIN), *packed = xnew_n(u8, PACKED_ROOM);
    struct writer w = {
        .j = j,
        .from = from,
        .fd = fd,
        .name = name,
        .size = size,
        .grain = grain,
        .packed = packed,
        .e = e,
    };
    int r;

    if (size > VMDK_WRITE_MAX)
        return err_set(e, -EFBIG, "'%s': a vmdk of %llu bytes; at most %llu are allowed", name,
                       size, VMDK_WRITE_MAX);
    w.n_tables = (u32)((size - 1) / TABLE_SPAN + 1);
    w.entries = xnew_n(le32, w.n_tables);
    r = disk_sync_open(from, &w.sync, e);
    if (r == 0)
        r = write_all(&w);
    disk_sync_close(w.sync);
    free(w.entries);
    return r;
}
