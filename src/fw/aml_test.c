/*
 * fw/aml_test.c: encodings that the specification gives, byte by byte.
 */
#include "fw/aml.h"

#include "testlib/test.h"

#include <stdlib.h>

TEST(aml_integers)
{
    static const struct {
        const char *why;
        u64 v;
        size_t len;
        u8 bytes[9];
    } rows[] = {
        { "ZeroOp", 0, 1, { 0 } },
        { "OneOp", 1, 1, { 1 } },
        { "byte", 2, 2, { 0x0a, 2 } },
        { "widest byte", 0xff, 2, { 0x0a, 0xff } },
        { "word", 0x100, 3, { 0x0b, 0, 1 } },
        { "double word", 0x10000, 5, { 0x0c, 0, 0, 1, 0 } },
        { "quad word", 1ull << 32, 9, { 0x0e, 0, 0, 0, 0, 1, 0, 0, 0 } },
    };

    for_each_row(c, rows) {
        u8 buf[16];
        struct aml a;

        ROW(c);
        aml_init(&a, buf, sizeof(buf));
        aml_int(&a, c->v);
        CHECK_EQ(a.len, c->len);
        CHECK_MEM(buf, c->bytes, c->len);
    }
}

TEST(aml_names)
{
    static const u8 hid[] = {
        0x08, '_', 'H', 'I', 'D', 0x0c, 0x41, 0xd0, 0x0a, 0x08
    }; /* PNP0A08 as iasl packs it */
    u8 buf[64];
    struct aml a;

    aml_init(&a, buf, sizeof(buf));
    aml_name(&a, "_HID");
    aml_eisaid(&a, "PNP0A08");
    CHECK_EQ(a.len, sizeof(hid));
    CHECK_MEM(buf, hid, sizeof(hid));

    aml_init(&a, buf, sizeof(buf));
    aml_path(&a, "\\_SB.PCI0");
    CHECK_EQ(a.len, 10);
    CHECK_MEM(buf, "\\\x2e_SB_PCI0", 10);
    aml_init(&a, buf, sizeof(buf));
    aml_path(&a, "A.B.C");
    CHECK_EQ(a.len, 14);
    CHECK_MEM(buf,
              "\x2f\x03"
              "A___B___C___",
              14);
}

/* The length of a package counts itself, in one to four bytes. */
TEST(aml_package_lengths)
{
    static const struct {
        const char *why;
        size_t inside, first;
        u8 length[4];
        size_t n;
    } rows[] = {
        { "largest of one byte", 62, 0, { 63 }, 1 },
        { "smallest of two", 63, 0, { 0x41, 0x04 }, 2 },
        { "largest of two", 4093, 0, { 0x4f, 0xff }, 2 },
        { "smallest of three", 4094, 0, { 0x81, 0x00, 0x01 }, 3 },
    };

    for_each_row(c, rows) {
        AUTO(free) u8 *buf = xnew_n(u8, 8192);
        struct aml a;

        ROW(c);
        aml_init(&a, buf, 8192);
        aml_package(&a, 0);
        for (size_t i = 1; i < c->inside; i++)
            aml_byte(&a, 0xaa);
        aml_close(&a);
        CHECK_EQ(a.len, 1 + c->n + c->inside);
        CHECK_MEM(buf + 1, c->length, c->n);
        CHECK_EQ(buf[1 + c->n], 0);
        CHECK_EQ(buf[a.len - 1], 0xaa);
        CHECK(!a.bad);
    }
}

TEST(aml_no_room)
{
    u8 buf[12] = {};
    struct aml a;

    aml_init(&a, buf, 11);
    aml_device(&a, "PCI0");
    aml_name_int(&a, "_UID", 7);
    aml_close(&a);
    CHECK(a.bad);
    CHECK_EQ(buf[11], 0);
    aml_init(&a, buf, sizeof(buf));
    for (unsigned i = 0; i < AML_DEPTH_MAX + 1; i++)
        aml_package(&a, 0);
    CHECK(a.bad);
}
