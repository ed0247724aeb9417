/*
 * disk/foreign_fuzz.h: what the fuzz targets of the foreign formats share: an image in memory, painted by the input, and the
 * comparison of a parser's layout with a slow reader's answers.
 * An input is a list of records: le32 offset, le16 length, so many bytes.  So a few hundred bytes make an image of megabytes.
 */
#pragma once

#include "base/endian.h"
#include "disk/foreign.h"
#include "testlib/fuzz.h"

#include <stdlib.h>

enum {
    IMAGE_MAX = 8 * 1024 * 1024,
    PAGE = 4096,
    RUNS_MAX = 4096, /* of a layout that are looked at */
};
#define ORACLE_ZERO UINT64_MAX

static u8 image_bytes[IMAGE_MAX];
static bool image_dirty[IMAGE_MAX / PAGE]; /* pages that may not be zeroes */

/* All images of one input have the same bytes. */
struct image {
    struct disk disk; /* a store */
    u8 *bytes;        /* disk.size of them; image_touch says which are written */
};

static void image_touch(u64 at, u64 len)
{
    for (u64 i = at / PAGE; len && i <= (at + len - 1) / PAGE; i++)
        image_dirty[i] = true;
}

static int image_now(struct disk *d, enum disk_op op, void *buf, u64 len, u64 offset)
{
    struct image *m = container_of(d, struct image, disk);
    u64 part = offset < d->size ? min(len, d->size - offset) : 0;

    must(op == DISK_READ && is_aligned(offset | len, DISK_SECTOR));
    memcpy(buf, m->bytes + offset, part);
    memset((u8 *)buf + part, 0, len - part);
    return 0;
}

static void image_close(struct disk *d)
{
    free(container_of(d, struct image, disk));
}

static const struct disk_ops image_ops = { .format = "image",
                                           .close = image_close,
                                           .now = image_now };

/* Owned by the layout that it is added to. */
static struct image *image_new(u64 size)
{
    struct image *m = xnew(struct image);

    m->bytes = image_bytes;
    m->disk.ops = &image_ops;
    m->disk.store = true;
    m->disk.size = size;
    return m;
}

static struct image *image_paint(const u8 *data, size_t size)
{
    struct image *m = image_new(0);
    struct fuzz_in in = { data, size };

    for (u32 i = 0; i < ARRAY_LEN(image_dirty); i++) {
        if (image_dirty[i])
            memset(image_bytes + (u64)i * PAGE, 0, PAGE);
        image_dirty[i] = false;
    }
    while (in.left > 6) {
        u64 at = fuzz_take(&in, 4) % IMAGE_MAX, len = fuzz_take(&in, 2);

        len = min(len, IMAGE_MAX - at);
        len = min(len, (u64)in.left);
        memcpy(m->bytes + at, in.p, len);
        image_touch(at, len);
        in.p += len;
        in.left -= len;
        m->disk.size = max(m->disk.size, at + len);
    }
    return m;
}

/*
 * Every run can be read, and the offset of its first and its last sector in the image is what `oracle` says: an offset, or
 * ORACLE_ZERO.
 */
static void image_check(const struct layout *l, const struct image *m,
                        u64 (*oracle)(const struct image *m, u64 at))
{
    u64 at = 0;

    must(l->size > 0 && l->size % 512 == 0);
    for (u32 n = 0; at < l->size && n < RUNS_MAX; n++) {
        struct layout_run run;

        layout_map(l, at, l->size - at, &run);
        must(run.len > 0 && run.len % 512 == 0 && range_ok(at, run.len, l->size));
        if (run.kind == LAYOUT_DATA)
            must(range_ok(run.at, run.len, l->files[run.file]->size));
        if (run.kind == LAYOUT_PACKED)
            must(run.unit <= LAYOUT_PACKED_MAX && run.skip + run.len <= run.unit &&
                 run.at < l->files[run.file]->size);
        if (oracle) {
            u64 first = oracle(m, at), last = oracle(m, at + run.len - 512);

            must(first == (run.kind == LAYOUT_ZERO ? ORACLE_ZERO : run.at));
            must(run.kind == LAYOUT_PACKED ? last == run.at
                 : run.kind == LAYOUT_ZERO ? last == ORACLE_ZERO
                                           : last == run.at + run.len - 512);
        }
        at += run.len;
    }
}
