/*
 * disk/foreign_test.c: images of other formats, made here byte by byte: what they read as, and what is refused.
 * Each disk is of BLOCKS blocks; block 1 was never written, each other is filled with its number, and its first sector says so.
 */
#include "disk/foreign.h"

#include "base/endian.h"
#include "disk/vhdx.h"
#include "testlib/test.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

enum { BLOCKS = 4, IMAGE_MAX = 16 * 1024 * 1024, BIG = 1024 * 1024, GRAIN = 64 * 1024 };

struct image {
    u8 *bytes;
    u64 len, block, size; /* size: of the disk; the last block is only half of it */
};

static void put(struct image *m, u64 at, u64 value, u32 len)
{
    le_store(m->bytes + at, len, value);
    m->len = max(m->len, at + len);
}

static void put_be(struct image *m, u64 at, u64 value, u32 len)
{
    for (u32 i = 0; i < len; i++)
        m->bytes[at + i] = (u8)(value >> 8 * (len - 1 - i));
    m->len = max(m->len, at + len);
}

static void put_text(struct image *m, u64 at, const char *text)
{
    memcpy(m->bytes + at, text, strlen(text));
    m->len = max(m->len, at + strlen(text));
}

static void fill_block(u8 *to, u64 len, u64 i)
{
    memset(to, (int)i + 1, len);
    le_store(to + 8, 8, i);
}

static void put_block(struct image *m, u64 at, u64 i)
{
    fill_block(m->bytes + at, m->block, i);
    m->len = max(m->len, at + m->block);
}

static struct image image_new(u64 block)
{
    return (struct image){ .bytes = xnew_n(u8, IMAGE_MAX),
                           .block = block,
                           .size = BLOCKS * block - block / 2 };
}

static struct image make_vdi(void)
{
    struct image m = image_new(BIG);

    put(&m, 0x40, 0xbeda107f, 4);
    put(&m, 0x44, 0x10001, 4);
    put(&m, 0x48, 0x190, 4);
    put(&m, 0x4c, 1, 4);
    put(&m, 0x154, 512, 4);
    put(&m, 0x158, 1024, 4);
    put(&m, 0x168, 512, 4);
    put(&m, 0x170, m.size, 8);
    put(&m, 0x178, BIG, 4);
    put(&m, 0x180, BLOCKS, 4);
    for (u32 i = 0; i < BLOCKS; i++) { /* stored the other way round */
        u32 number = BLOCKS - 1 - i;

        put(&m, 512 + 4 * i, i == 1 ? 0xffffffff : number, 4);
        if (i != 1)
            put_block(&m, 1024 + (u64)number * BIG, i);
    }
    return m;
}

static void vhd_sum(struct image *m, u64 at, u32 len, u32 checksum_at)
{
    u32 sum = 0;

    put_be(m, at + checksum_at, 0, 4);
    for (u32 i = 0; i < len; i++)
        sum += m->bytes[at + i];
    put_be(m, at + checksum_at, ~sum, 4);
}

static void put_footer(struct image *m, u64 at, u32 type)
{
    put_text(m, at, "conectix");
    put_be(m, at + 12, 0x10000, 4);
    put_be(m, at + 16, type == 2 ? UINT64_MAX : 512, 8);
    put_text(m, at + 28, "win ");
    put_be(m, at + 48, m->size, 8);
    put_be(m, at + 60, type, 4);
    vhd_sum(m, at, 512, 64);
    m->len = max(m->len, at + 512);
}

static struct image make_vhd(void)
{
    struct image m = image_new(BIG);

    put_text(&m, 512, "cxsparse");
    put_be(&m, 512 + 16, 1536, 8);
    put_be(&m, 512 + 28, BLOCKS, 4);
    put_be(&m, 512 + 32, BIG, 4);
    vhd_sum(&m, 512, 1024, 36);
    for (u32 i = 0; i < BLOCKS; i++) {
        u64 at = 2048 + i * (512ull + BIG);

        put_be(&m, 1536 + 4 * i, i == 1 ? 0xffffffff : at / 512, 4);
        if (i != 1)
            put_block(&m, at + 512, i);
    }
    put_footer(&m, 0, 3);
    put_footer(&m, m.len, 3);
    return m;
}

static struct image make_vhd_fixed(void)
{
    struct image m = image_new(BIG);

    for (u32 i = 0; i < BLOCKS; i++)
        if (i != 1)
            put_block(&m, (u64)i * BIG, i);
    put_footer(&m, m.size, 2);
    m.len = m.size + 512;
    return m;
}

static void vhdx_sum(struct image *m, u64 at, u32 len)
{
    put(m, at + 4, 0, 4);
    put(m, at + 4, vhdx_crc(0, m->bytes + at, len), 4);
}

static void put_guid(struct image *m, u64 at, const char *hex)
{
    for (u32 i = 0; i < 16; i++) {
        const char two[] = { '0', 'x', hex[2 * i], hex[2 * i + 1], 0 };
        u64 v = 0;

        str_u64(two, &v);
        put(m, at + i, v, 1);
    }
}

static void put_vhdx_item(struct image *m, u32 i, const char *id, u64 value, u32 len)
{
    u64 at = 512 * KiB + 32 + 32ull * i;

    put_guid(m, at, id);
    put(m, at + 16, 64 * KiB + 8ull * i, 4);
    put(m, at + 20, len, 4);
    put(m, at + 24, 6, 4);
    put(m, 576 * KiB + 8ull * i, value, len);
}

static void vhdx_headers(struct image *m, const char *log)
{
    for (u64 at = 64 * KiB; at <= 128 * KiB; at += 64 * KiB) {
        put_text(m, at, "head");
        put(m, at + 8, at, 8);
        put_guid(m, at + 48, log);
        put(m, at + 66, 1, 2);
        put(m, at + 68, 64 * KiB, 4);
        put(m, at + 72, 320 * KiB, 8);
        vhdx_sum(m, at, 4096);
    }
}

static struct image make_vhdx(void)
{
    struct image m = image_new(BIG);

    put_text(&m, 0, "vhdxfile");
    vhdx_headers(&m, "00000000000000000000000000000000");
    for (u64 at = 192 * KiB; at <= 256 * KiB; at += 64 * KiB) {
        put_text(&m, at, "regi");
        put(&m, at + 8, 2, 4);
        put_guid(&m, at + 16, "6677c22d23f600429d64115e9bfd4a08");
        put(&m, at + 32, 448 * KiB, 8);
        put(&m, at + 40, 64 * KiB, 4);
        put_guid(&m, at + 48, "06a27c8b90479a4bb8fe575f050f886e");
        put(&m, at + 64, 512 * KiB, 8);
        put(&m, at + 72, 128 * KiB, 4);
        vhdx_sum(&m, at, 64 * KiB);
    }
    put_text(&m, 512 * KiB, "metadata");
    put(&m, 512 * KiB + 10, 3, 2);
    put_vhdx_item(&m, 0, "3767a1caf36a434db3b633f0aa44e76b", 0, 8);
    put_vhdx_item(&m, 0, "3767a1ca36fa434db3b633f0aa44e76b", BIG, 8);
    put_vhdx_item(&m, 1, "2442a52f1bcd7648b2115dbed83bf4b8", m.size, 8);
    put_vhdx_item(&m, 2, "1dbf41816fa90947ba47f233a8faab5f", 512, 4);
    for (u32 i = 0; i < BLOCKS; i++) {
        put(&m, 448 * KiB + 8 * i, i == 1 ? 2 : (u64)(BLOCKS - i) << 20 | 6, 8);
        if (i != 1)
            put_block(&m, (BLOCKS - i) * MiB, i);
    }
    return m;
}

/* The block table's first sector is only in the log. */
static struct image make_vhdx_log(void)
{
    struct image m = make_vhdx();
    u64 log = 320 * KiB, table = 448 * KiB;

    put_text(&m, log, "loge");
    put(&m, log + 8, 8192, 4);
    put(&m, log + 16, 5, 8);
    put(&m, log + 24, 1, 4);
    put_guid(&m, log + 32, "01020304050607080910111213141516");
    put(&m, log + 48, m.len, 8);
    put(&m, log + 56, m.len, 8);
    put_text(&m, log + 64, "desc");
    memcpy(m.bytes + log + 68, m.bytes + table + 4092, 4);
    memcpy(m.bytes + log + 72, m.bytes + table, 8);
    put(&m, log + 80, table, 8);
    put(&m, log + 88, 5, 8);
    put_text(&m, log + 4096, "data");
    memcpy(m.bytes + log + 4096 + 8, m.bytes + table + 8, 4084);
    put(&m, log + 8188, 5, 4);
    vhdx_sum(&m, log, 8192);
    memset(m.bytes + table, 0, 4096);
    vhdx_headers(&m, "01020304050607080910111213141516");
    return m;
}

/* clang-format off */
#define TEXT(type, extents)                                                    \
    "# Disk DescriptorFile\nversion=1\nCID=1\nparentCID=ffffffff\ncreateType=" \
    "\"" type "\"\n" extents
/* clang-format on */

static void put_sparse(struct image *m, u32 flags, u64 directory)
{
    put_text(m, 0, "KDMV");
    put(m, 4, flags >> 16 ? 3 : 1, 4);
    put(m, 8, flags, 4);
    put(m, 12, m->size / 512, 8);
    put(m, 20, GRAIN / 512, 8);
    put(m, 28, 1, 8);
    put(m, 36, 2, 8);
    put(m, 44, 512, 4);
    put(m, 56, directory, 8);
    put_text(m, 73, "\n \r\n");
    put(m, 77, flags >> 16 ? 1 : 0, 2);
}

static struct image make_vmdk(void)
{
    struct image m = image_new(GRAIN);

    put_sparse(&m, 1, 4);
    put_text(&m, 512, TEXT("monolithicSparse", "RW 448 SPARSE \"x.vmdk\"\n"));
    put(&m, 4 * 512, 5, 4);
    for (u32 i = 0; i < BLOCKS; i++) {
        put(&m, 5 * 512 + 4 * i, i == 1 ? 0 : 16 + i * GRAIN / 512, 4);
        if (i != 1)
            put_block(&m, 16 * 512 + (u64)i * GRAIN, i);
    }
    return m;
}

/* As a stream writer makes it: grains, then the tables, and a footer that says where they are. */
static struct image make_vmdk_stream(void)
{
    struct image m = image_new(GRAIN);
    AUTO(free) u8 *block = xnew_n(u8, GRAIN);
    u64 at = 2048, table[BLOCKS] = {}, tables;

    put_text(&m, 512, TEXT("streamOptimized", "RW 448 SPARSE \"x.vmdk\"\n"));
    for (u32 i = 0; i < BLOCKS; i++) {
        uLongf len = GRAIN;

        if (i == 1)
            continue;
        fill_block(block, GRAIN, i);
        CHECK_EQ(compress2(m.bytes + at + 12, &len, block, GRAIN, 6), Z_OK);
        put(&m, at, i * GRAIN / 512, 8);
        put(&m, at + 8, len, 4);
        table[i] = at / 512;
        at = align_up(at + 12 + len, 512ull);
    }
    tables = at / 512;
    for (u32 i = 0; i < BLOCKS; i++)
        put(&m, tables * 512 + 4 * i, table[i], 4);
    put(&m, (tables + 4) * 512, tables, 4);
    put_sparse(&m, 0x30001, tables + 4);
    memcpy(m.bytes + (tables + 6) * 512, m.bytes, 512);
    put_sparse(&m, 0x30001, UINT64_MAX);
    m.len = (tables + 8) * 512;
    return m;
}

static struct image make_vmdk_flat(void)
{
    struct image m = image_new(GRAIN);

    put_text(&m, 0,
             TEXT("twoGbMaxExtentFlat", "RW 128 FLAT \"a-f1\" 8\n RW 128 ZERO\n\r\n"
                                        "RW 192 FLAT \"a-f2\"\nddb.x = \"y\"\n"));
    return m;
}

static void write_file(const char *name, const void *p, u64 len)
{
    AUTO(free) char *path = str_new("%s/%s", test_dir(), name);
    AUTO(fd) int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

    CHECK(fd >= 0);
    CHECK_EQ(fd_write_all(fd, p, len), 0);
}

static void write_flat_extents(void)
{
    AUTO(free) u8 *p = xnew_n(u8, 4096 + 2 * GRAIN);

    fill_block(p + 4096, GRAIN, 0);
    write_file("a-f1", p, 4096 + GRAIN);
    fill_block(p, GRAIN, 2);
    fill_block(p + GRAIN, GRAIN, 3);
    write_file("a-f2", p, 2 * GRAIN);
}

/* clang-format off */
static const struct {
    const char *why, *format;
    struct image (*make)(void);
    bool packed;
} kinds[] = {
    { "vdi",          "vdi",  make_vdi,         false },
    { "dynamic vhd",  "vhd",  make_vhd,         false },
    { "fixed vhd",    "vhd",  make_vhd_fixed,   false },
    { "vhdx",         "vhdx", make_vhdx,        false },
    { "vhdx's log",   "vhdx", make_vhdx_log,    false },
    { "sparse vmdk",  "vmdk", make_vmdk,        false },
    { "stream vmdk",  "vmdk", make_vmdk_stream, true },
    { "flat vmdk",    "vmdk", make_vmdk_flat,   false },
};
/* clang-format on */

static int open_image(const struct image *m, const char *format, struct disk **ret, struct err *e)
{
    AUTO(free) char *path = str_new("%s/image", test_dir());

    write_file("image", m->bytes, m->len);
    return disk_open(
        &(struct disk_cfg){ .file = path, .fd = -1, .readonly = true, .format = format }, ret, e);
}

/* Asked for in ranges that end anywhere. */
static void read_anywhere(struct disk_sync *s, const struct image *m, const u8 *want, u8 *got)
{
    u64 seed = 7;

    for (u32 n = 0; n < 200; n++) {
        u64 at = test_rand(&seed) % (m->size / 512) * 512;
        u64 len = min(m->size - at, 512 + test_rand(&seed) % (3 * m->block) / 512 * 512);

        CHECK_EQ(disk_pread(s, got, len, at), 0);
        CHECK_MEM(got, want + at, len);
    }
}

TEST(foreign_reads_each_sector)
{
    write_flat_extents();
    for_each_row(k, kinds) {
        struct image m = k->make();
        AUTO(free) u8 *want = xnew_n(u8, (BLOCKS * m.block)), *got = xnew_n(u8, m.size);
        AUTO(disk) struct disk *d = NULL;
        AUTO(disk_sync) struct disk_sync *s = NULL;
        struct err e = {};
        ROW(k);
        for (u32 i = 0; i < BLOCKS; i++)
            if (i != 1)
                fill_block(want + i * m.block, m.block, i);
        CHECK_OK(open_image(&m, k->format, &d, &e), &e);
        CHECK_EQ(d->size, m.size);
        CHECK_STR(d->ops->format, k->format);
        CHECK_OK(disk_sync_open(d, &s, &e), &e);
        CHECK_EQ(disk_pread(s, got, m.size, 0), 0);
        CHECK_MEM(got, want, m.size);
        read_anywhere(s, &m, want, got);
        free(m.bytes);
    }
}

struct many {
    struct disk_req r;
    struct iovec iov[5];
    u8 buf[4 * 4096];
    u32 *done;
};

static void on_done(struct disk_req *r)
{
    ++*container_of(r, struct many, r)->done;
}

/* More under way than there are slots, in pieces that are no sectors. */
TEST(foreign_requests_side_by_side)
{
    write_flat_extents();
    for_each_row(k, kinds) {
        struct image m = k->make();
        AUTO(free) struct many *all = xnew_n(struct many, 300);
        AUTO(disk) struct disk *d = NULL;
        AUTO(disk_sync) struct disk_sync *s = NULL;
        struct err e = {};
        u64 seed = 3;
        u32 done = 0;

        ROW(k);
        CHECK_OK(open_image(&m, k->format, &d, &e), &e);
        CHECK_OK(disk_sync_open(d, &s, &e), &e);
        for (u32 i = 0; i < 300; i++) {
            struct many *r = &all[i];
            static const u32 cut[] = { 1, 511, 5000, 3000, 4 * 4096 - 8512 };
            u8 *p = r->buf;

            for (u32 n = 0; n < 5; p += cut[n++])
                r->iov[n] = (struct iovec){ p, cut[n] };
            memset(r->buf, 0x55, sizeof(r->buf));
            r->r = (struct disk_req){ .op = i % 50 ? DISK_READ : DISK_FLUSH,
                                      .offset = test_rand(&seed) % (m.size / 4096 - 3) * 4096,
                                      .len = sizeof(r->buf),
                                      .iov = r->iov,
                                      .n_iov = 5,
                                      .done = on_done };
            r->done = &done;
            disk_submit(disk_sync_queue(s), &r->r);
        }
        disk_drain(disk_sync_queue(s));
        CHECK_EQ(done, 300);
        for (u32 i = 0; i < 300; i++) {
            u64 end = all[i].r.offset, block = (end - 1) / m.block;

            CHECK_EQ(all[i].r.result, 0);
            if (all[i].r.op == DISK_READ)
                CHECK_EQ(all[i].buf[sizeof(all[i].buf) - 1], block == 1 ? 0 : block + 1);
        }
        free(m.bytes);
    }
}

TEST(foreign_maps)
{
    write_flat_extents();
    for_each_row(k, kinds) {
        struct image m = k->make();
        AUTO(disk) struct disk *d = NULL;
        struct disk_extent x;
        struct err e = {};

        ROW(k);
        CHECK_OK(open_image(&m, k->format, &d, &e), &e);
        CHECK_OK(disk_map(d, m.block / 2, m.size - m.block / 2, &x, &e), &e);
        CHECK_EQ(x.kind, DISK_MAP_DATA);
        CHECK_EQ(x.compressed, k->packed);
        if (m.len != m.size + 512) { /* a fixed one has no holes */
            CHECK_EQ(x.len, m.block / 2);
            CHECK_OK(disk_map(d, m.block + 512, m.size - m.block - 512, &x, &e), &e);
            CHECK_EQ(x.kind, DISK_MAP_ZERO);
            CHECK_EQ(x.len, m.block - 512);
        }
        free(m.bytes);
    }
}

TEST(foreign_refuses)
{
    /* clang-format off */
    static const struct {
        const char *why;
        struct image (*make)(void);
        u64 at, value;
        u32 len;
        const char *error;
    } rows[] = {
        { "vdi of differences",      make_vdi,         0x4c,      4,          4, "not differences" },
        { "old vdi",                 make_vdi,         0x44,      0x00000001, 4, "version 0.1" },
        { "vdi's block past all",    make_vdi,         512,       9,          4, "number 9 of 4" },
        { "vdi's disk too large",    make_vdi,         0x170,     1ull << 40, 8, "the header says 4" },
        { "vdi's blocks odd",        make_vdi,         0x178,     3000000,    4, "blocks of 3000000 bytes" },
        { "vdi's data past the end", make_vdi,         0x158,     0x7ffffe00, 4, "past the file's end" },
        { "vdi's size 2^63",         make_vdi,         0x170,     1ull << 63, 8, "a disk of" },
        { "vhd's checksum",          make_vhd,         700,       1,          1, "no header with a right checksum" },
        { "vhd's block at 0",        make_vhd,         1536,      0,          4, "where the footer is" },
        { "vhd's block far away",    make_vhd,         1536,      0x7f,       1, "past the file's end" },
        { "vhdx without headers",    make_vhdx_log,    0,         'x',        1, "does not begin with vhdxfile" },
        { "vhdx's region table",     make_vhdx,        448*KiB,   7,          1, "has state 7" },
        { "vhdx's block at 0",       make_vhdx,        448*KiB,   6,          8, "lie at 0 MiB" },
        { "vhdx's parent",           make_vhdx,        576*KiB+4, 2,          4, "differencing" },
        { "vhdx's metadata",         make_vhdx,        512*KiB,   0,          1, "no metadata table" },
        { "vhdx's log cut",          make_vhdx_log,    320*KiB+9, 1,          1, "one complete sequence" },
        { "vhdx's log's sum",        make_vhdx_log,    320*KiB+100, 1,        1, "one complete sequence" },
        { "vmdk's version",          make_vmdk,        4,         9,          4, "version 9" },
        { "vmdk as text",            make_vmdk,        75,        '\n',       1, "transfer as text" },
        { "vmdk's grain",            make_vmdk,        5*512,     0x7fffffff, 4, "past the file's end" },
        { "vmdk's table",            make_vmdk,        4*512,     0x7fffffff, 4, "the file ends at" },
        { "vmdk's grains of 1",      make_vmdk,        20,        3,          8, "blocks of 1536 bytes" },
        { "vmdk's capacity",         make_vmdk,        12,        1ull << 60, 8, "capacity" },
        { "vmdk's snapshot",         make_vmdk,        560,       '0',        1, "consolidate" },
        { "vmdk's compression",      make_vmdk_stream, 77,        2,          2, "compression 2" },
        { "vmdk's footer",           make_vmdk_stream, 12,        7,          1, "no footer that fits" },
        { "vmdk's path",             make_vmdk_flat,   102,       '/',        1, "beside the descriptor" },
        { "vmdk's missing extent",   make_vmdk_flat,   102,       'x',        1, "extent 0 'x-f1'" },
        { "vmdk's extent too long",  make_vmdk_flat,   92,        '9',        1, "are wanted" },
    };
    /* clang-format on */

    write_flat_extents();
    for_each_row(c, rows) {
        struct image m = c->make();
        AUTO(disk) struct disk *d = NULL;
        struct err e = {};
        const char *format = NULL;

        ROW(c);
        for_each_row(k, kinds)
            if (k->make == c->make)
                format = k->format;
        put(&m, c->at, c->value, c->len);
        CHECK(open_image(&m, format, &d, &e) < 0);
        CHECK_HAS(e.text, c->error);
        free(m.bytes);
    }
}

/* A grain that is not what its header says is an error of the requests that want it, and of no other. */
TEST(foreign_damaged_grain)
{
    static const struct {
        const char *why;
        u64 at, value;
        u32 len;
    } rows[] = {
        { "its bytes", 2048 + 20, 0x99, 1 },
        { "of another place", 2048, GRAIN / 512, 8 },
        { "longer than the file", 2048 + 8, 0x7fffffff, 4 },
        { "longer than a grain can be", 2048 + 8, GRAIN + 64 * 1024, 4 },
        { "cut", 2048 + 8, 9, 4 },
    };

    for_each_row(c, rows) {
        struct image m = make_vmdk_stream();
        AUTO(disk) struct disk *d = NULL;
        AUTO(disk_sync) struct disk_sync *s = NULL;
        u8 sector[512];
        struct err e = {};

        ROW(c);
        put(&m, c->at, c->value, c->len);
        CHECK_OK(open_image(&m, NULL, &d, &e), &e);
        CHECK_OK(disk_sync_open(d, &s, &e), &e);
        CHECK_EQ(disk_pread(s, sector, 512, 2 * GRAIN), 0);
        CHECK_EQ(sector[0], 3);
        CHECK_EQ(disk_pread(s, sector, 512, 0), -EBADMSG);
        CHECK_EQ(disk_pread(s, sector, 512, 3 * GRAIN), 0);
        CHECK_EQ(sector[0], 4);
        free(m.bytes);
    }
}

/* Which images are recognised, and that a fixed vhd is not: a guest can write its mark. */
TEST(foreign_probes)
{
    write_flat_extents();
    for_each_row(k, kinds) {
        struct image m = k->make();
        AUTO(disk) struct disk *d = NULL;
        struct err e = {};

        ROW(k);
        CHECK_OK(open_image(&m, NULL, &d, &e), &e);
        CHECK_STR(d->ops->format, k->make == make_vhd_fixed ? "raw" : k->format);
        free(m.bytes);
    }
}
