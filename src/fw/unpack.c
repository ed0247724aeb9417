/*
 * fw/unpack.c: one-shot decompression of a kernel's payload: gzip, xz, lz4 (legacy frames), zstd.
 */
/* zlib: input is const. */
#define ZLIB_CONST
#include "fw/unpack.h"

#include <lz4.h>
#include <lzma.h>
#include <zlib.h>
#include <zstd.h>

enum {
    TRAILER = 4, /* the length that kernel builds append */
    LZ4_BLOCK =
        8
        << 20, /* most that one block of a legacy frame unpacks to (LZ4 frame format, "Legacy frame") */
    GZIP_WINDOW = 16 + MAX_WBITS, /* zlib: gzip header and trailer wanted */
};

struct packed {
    const u8 *in;
    size_t in_len;
    u8 *out;
    size_t out_len;
};

static int damaged(struct err *e, const char *format, const char *why)
{
    return err_set(e, -EBADMSG, "damaged: its %s payload %s", format, why);
}

/* `left` input bytes and `room` output bytes remained when the stream ended. */
static int ended(struct err *e, const char *format, size_t left, size_t room)
{
    if (room > 0)
        return damaged(e, format, "is shorter than promised");
    return left <= TRAILER ? 0 : damaged(e, format, "is followed by other data");
}

static int unpack_gzip(const struct packed *p, struct err *e)
{
    z_stream z = { .next_in = p->in, .next_out = p->out };
    int r;

    if (p->in_len > UINT32_MAX || p->out_len > UINT32_MAX)
        return damaged(e, "gzip", "is longer than 4 GiB");
    z.avail_in = (uInt)p->in_len;
    z.avail_out = (uInt)p->out_len;
    if (inflateInit2(&z, GZIP_WINDOW) != Z_OK)
        return err_set(e, -ENOMEM, "no memory to unpack it");
    r = inflate(&z, Z_FINISH);
    inflateEnd(&z);
    if (r == Z_STREAM_END)
        return ended(e, "gzip", z.avail_in, z.avail_out);
    if (r == Z_MEM_ERROR)
        return err_set(e, -ENOMEM, "no memory to unpack it");
    return damaged(e, "gzip", z.avail_in == 0 ? "is truncated" : "does not decode");
}

static int unpack_xz(const struct packed *p, struct err *e)
{
    lzma_stream z = LZMA_STREAM_INIT;
    lzma_ret r;

    z.next_in = p->in;
    z.avail_in = p->in_len;
    z.next_out = p->out;
    z.avail_out = p->out_len;
    r = lzma_stream_decoder(&z, UNPACK_MEM_MAX, 0);
    if (r == LZMA_OK)
        r = lzma_code(&z, LZMA_FINISH);
    lzma_end(&z);
    if (r == LZMA_STREAM_END)
        return ended(e, "xz", z.avail_in, z.avail_out);
    if (r == LZMA_MEMLIMIT_ERROR)
        return damaged(e, "xz", "wants a dictionary of more than 256 MiB");
    if (r == LZMA_MEM_ERROR)
        return err_set(e, -ENOMEM, "no memory to unpack it");
    return damaged(e, "xz", z.avail_in == 0 ? "is truncated" : "does not decode");
}

/* The output is the window: zstd needs no memory but its context. */
static int unpack_zstd(const struct packed *p, struct err *e)
{
    size_t frame = ZSTD_findFrameCompressedSize(p->in, p->in_len), n;

    if (ZSTD_isError(frame))
        return damaged(e, "zstd", ZSTD_getErrorName(frame));
    n = ZSTD_decompress(p->out, p->out_len, p->in, frame);
    if (ZSTD_isError(n))
        return damaged(e, "zstd", ZSTD_getErrorName(n));
    return ended(e, "zstd", p->in_len - frame, p->out_len - n);
}

/* Magic, then blocks of {le32 packed length, data} up to the end or to the length that kernel builds append. */
static int unpack_lz4(const struct packed *p, struct err *e)
{
    size_t at = 4, done = 0;

    while (done < p->out_len && p->in_len - at > TRAILER) {
        size_t len = (size_t)le_load(p->in + at, 4),
               room = min(p->out_len - done, (size_t)LZ4_BLOCK);
        int n;

        at += 4;
        if (len == 0 || len > (size_t)LZ4_compressBound(LZ4_BLOCK) || len > p->in_len - at)
            return damaged(e, "lz4", "has a block that goes past its end");
        n = LZ4_decompress_safe((const char *)p->in + at, (char *)p->out + done, (int)len,
                                (int)room);
        if (n <= 0)
            return damaged(e, "lz4", "does not decode");
        at += len;
        done += (size_t)n;
    }
    return ended(e, "lz4", p->in_len - at, p->out_len - done);
}

static const struct format {
    const char *name, *magic;
    size_t magic_len;
    int (*fn)(const struct packed *p, struct err *e);
} formats[] = {
    /* clang-format off */
    { "gzip", "\x1f\x8b",          2, unpack_gzip },
    { "xz",   "\xfd" "7zXZ\0",     6, unpack_xz },
    { "lz4",  "\x02\x21\x4c\x18",  4, unpack_lz4 },
    { "zstd", "\x28\xb5\x2f\xfd",  4, unpack_zstd },
    /* clang-format on */
};

static const struct format *format_of(const void *in, size_t in_len)
{
    for_each_row(f, formats)
        if (in_len >= f->magic_len && memcmp(in, f->magic, f->magic_len) == 0)
            return f;
    return NULL;
}

const char *unpack_format(const void *in, size_t in_len)
{
    const struct format *f = format_of(in, in_len);

    return f ? f->name : NULL;
}

int unpack(const void *in, size_t in_len, void *out, size_t out_len, struct err *e)
{
    const struct format *f = format_of(in, in_len);

    if (!f)
        return err_set(e, -ENOSYS, "packed in a format that is none of gzip, xz, lz4, zstd");
    return f->fn(&(struct packed){ in, in_len, out, out_len }, e);
}
