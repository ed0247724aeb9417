/*
 * fw/unpack_test.c: each format whole, cut, damaged, too long, too short.
 */
#include "fw/unpack.h"

#include "testlib/test.h"

#include <lz4.h>
#include <lzma.h>
#include <stdlib.h>
#include <zlib.h>
#include <zstd.h>

enum { PLAIN = 300000, ROOM = 400000 };

static size_t pack_gzip(const u8 *in, size_t len, u8 *out)
{
    z_stream z = {};

    CHECK_EQ(deflateInit2(&z, 6, Z_DEFLATED, 16 + MAX_WBITS, 8, Z_DEFAULT_STRATEGY), Z_OK);
    z.next_in = (Bytef *)(uintptr_t)in;
    z.avail_in = (uInt)len;
    z.next_out = out;
    z.avail_out = ROOM;
    CHECK_EQ(deflate(&z, Z_FINISH), Z_STREAM_END);
    deflateEnd(&z);
    return z.total_out;
}

static size_t pack_xz(const u8 *in, size_t len, u8 *out)
{
    size_t at = 0;

    CHECK_EQ(lzma_easy_buffer_encode(1, LZMA_CHECK_CRC32, NULL, in, len, out, &at, ROOM), LZMA_OK);
    return at;
}

static size_t pack_lz4(const u8 *in, size_t len, u8 *out)
{
    int n = LZ4_compress_default((const char *)in, (char *)out + 8, (int)len, ROOM - 8);

    CHECK(n > 0);
    le_store(out, 4, 0x184c2102);
    le_store(out + 4, 4, (u64)n);
    return (size_t)n + 8;
}

static size_t pack_zstd(const u8 *in, size_t len, u8 *out)
{
    return ZSTD_compress(out, ROOM, in, len, 3);
}

static const struct {
    const char *why;
    size_t (*pack)(const u8 *in, size_t len, u8 *out);
} formats[] = {
    { "gzip", pack_gzip }, { "xz", pack_xz }, { "lz4", pack_lz4 }, { "zstd", pack_zstd }
};

/* Words of few kinds, so that they pack. */
static u8 *plain_text(void)
{
    u8 *p = xnew_n(u8, PLAIN);
    u64 state = 7;

    for (size_t i = 0; i < PLAIN; i++)
        p[i] = (u8)(test_rand(&state) % 4);
    return p;
}

TEST(unpack_round_trip)
{
    AUTO(free) u8 *plain = plain_text();
    AUTO(free) u8 *packed = xnew_n(u8, ROOM + 8);
    AUTO(free) u8 *out = xnew_n(u8, PLAIN + 1);
    struct err e;

    for_each_row(f, formats) {
        size_t len = f->pack(plain, PLAIN, packed);

        ROW(f);
        CHECK_STR(unpack_format(packed, len), f->why);
        memset(out, 0, PLAIN);
        le_store(packed + len, 4, PLAIN); /* what kernel builds append */
        CHECK_OK(unpack(packed, len + 4, out, PLAIN, &e), &e);
        CHECK_MEM(out, plain, PLAIN);
        CHECK_EQ(unpack(packed, len + 4, out, PLAIN + 1, &e), -EBADMSG);
        CHECK_EQ(unpack(packed, len + 4, out, PLAIN - 1, &e), -EBADMSG);
        CHECK_EQ(out[PLAIN], 0);
        memset(packed + len, 0x11, 8);
        CHECK_EQ(unpack(packed, len + 8, out, PLAIN, &e), -EBADMSG);
        CHECK_EQ(unpack(packed, len / 2, out, PLAIN, &e), -EBADMSG);
        CHECK_HAS(e.text, f->why);
    }
}

/* Whatever byte is wrong: an answer, and none when a checksum of the format covers it. */
TEST(unpack_damage)
{
    AUTO(free) u8 *plain = plain_text();
    AUTO(free) u8 *packed = xnew_n(u8, ROOM);
    AUTO(free) u8 *out = xnew_n(u8, PLAIN);
    u64 state = 3;

    for_each_row(f, formats) {
        size_t len = f->pack(plain, PLAIN, packed);
        bool sums = f->pack == pack_gzip || f->pack == pack_xz;

        ROW(f);
        for (unsigned i = 0; i < 30; i++) {
            size_t at = 100 + test_rand(&state) % (len - 200);

            packed[at] ^= 0x55;
            int r = unpack(packed, len, out, PLAIN, NULL);
            CHECK(r == -EBADMSG || (r == 0 && !sums));
            packed[at] ^= 0x55;
        }
    }
}

TEST(unpack_unknown)
{
    struct err e;
    u8 out[4];

    CHECK_EQ(unpack("BZh9 not here", 13, out, 4, &e), -ENOSYS);
    CHECK_HAS(e.text, "none of gzip, xz, lz4, zstd");
    CHECK(unpack_format("\x1f", 1) == NULL);
    CHECK(unpack_format("", 0) == NULL);
}
