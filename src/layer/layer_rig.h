/*
 * layer/layer_rig.h: for tests and fuzz targets: bytes in memory as a blob, and a small writer of tars.
 */
#pragma once

#include "layer/blob.h"

#include <stdio.h>

struct mem_blob {
    struct blob blob;
    const u8 *p;
    size_t at, step; /* so many bytes at a time */
};

static ssize_t mem_read(struct blob *b, const void **ret, struct err *)
{
    struct mem_blob *m = container_of(b, struct mem_blob, blob);
    const size_t n = min(m->step, (size_t)b->size - m->at);

    *ret = m->p + m->at;
    m->at += n;
    return (ssize_t)n;
}

static void mem_free(struct blob *)
{
}

static inline void mem_blob_init(struct mem_blob *m, const void *p, size_t len, size_t step)
{
    *m = (struct mem_blob){ .blob = { mem_read, NULL, mem_free, len }, .p = p, .step = step };
}

enum { TAR_BLOCK = 512 };

/* One entry of a ustar; `type` as in the format: '0' file, '1' hard link, '2' symbolic link, '3' device, '5' directory, '6' FIFO. */
static inline void tar_add(struct strbuf *to, char type, const char *name, const char *data,
                           const char *link)
{
    static const char zeros[TAR_BLOCK];
    char h[TAR_BLOCK] = {};
    const size_t len = strlen(data);
    unsigned sum = 0;

    str_copy(h, 100, name);
    str_fmt(h + 100, 8, "%07o", type == '5' ? 0755u : 0644u);
    str_fmt(h + 108, 8, "%07o", 0u);
    str_fmt(h + 116, 8, "%07o", 0u);
    str_fmt(h + 124, 12, "%011zo", len);
    str_fmt(h + 136, 12, "%011o", 1000000000u);
    h[156] = type;
    str_copy(h + 157, 100, link);
    memcpy(h + 257, "ustar\00000", 8);
    str_fmt(h + 329, 8, "%07o", 1u);
    str_fmt(h + 337, 8, "%07o", 3u);
    memset(h + 148, ' ', 8);
    for_each_row(c, h)
        sum += (u8)*c;
    str_fmt(h + 148, 8, "%06o", sum);
    strbuf_add_mem(to, h, sizeof(h));
    strbuf_add_mem(to, data, len);
    strbuf_add_mem(to, zeros, (TAR_BLOCK - len % TAR_BLOCK) % TAR_BLOCK);
}

static inline void tar_end(struct strbuf *to)
{
    static const char zeros[2 * TAR_BLOCK];

    strbuf_add_mem(to, zeros, sizeof(zeros));
}
