/*
 * fw/smbios_test.c: the structures can be walked as a guest walks them, and hold what was asked for.
 */
#include "fw/smbios.h"

#include "fw/layout.h"
#include "testlib/test.h"

/* The structure after `p`, which ends with two zero bytes. */
static const u8 *after(const u8 *p)
{
    p += p[1];
    while (p[0] || p[1])
        p++;
    return p + 2;
}

static const char *string_of(const u8 *p, u8 n)
{
    const char *s = (const char *)p + p[1];

    while (--n > 0)
        s += strlen(s) + 1;
    return s;
}

TEST(smbios_walk)
{
    static const u8 types[] = { 0, 1, 3, 4, 4, 16, 17, 19, 32, 127 };
    static const u8 lengths[] = { 0x1a, 0x1b, 0x16, 0x30, 0x30, 0x17, 0x28, 0x1f, 0x0b, 4 };
    AUTO(mem) struct mem *m = NULL;
    struct smbios_cfg cfg = {
        .product = "Test", .serial = "S-1", .sockets = 2, .cores = 300, .threads = 2
    };
    struct err e;
    const u8 *entry, *p, *end;
    u8 sum = 0;

    for (u8 i = 0; i < 16; i++)
        cfg.uuid[i] = i;
    CHECK_OK(mem_new(&(struct mem_cfg){ .size = 64 * MiB }, &m, &e), &e);
    CHECK_OK(smbios_build(m, &cfg, &e), &e);
    entry = mem_at(m, LAYOUT_SMBIOS, 64 * KiB);
    CHECK_MEM(entry, "_SM3_", 5);
    for (unsigned i = 0; i < entry[6]; i++)
        sum = (u8)(sum + entry[i]);
    CHECK_EQ(sum, 0);
    p = mem_at(m, le_load(entry + 16, 8), le_load(entry + 12, 4));
    end = p + le_load(entry + 12, 4);
    for (unsigned i = 0; i < ARRAY_LEN(types); i++, p = after(p)) {
        CHECK(p < end);
        CHECK_EQ(p[0], types[i]);
        CHECK_EQ(p[1], lengths[i]);
        if (p[0] == 1) {
            CHECK_STR(string_of(p, p[4]), "Socle");
            CHECK_STR(string_of(p, p[5]), "Test");
            CHECK_STR(string_of(p, p[7]), "S-1");
            CHECK_MEM(p + 8, "\3\2\1\0\5\4\7\6\10\11\12\13\14\15\16\17", 16);
        }
        if (p[0] == 4) {
            CHECK_EQ(p[0x23], 255);
            CHECK_EQ(le_load(p + 0x2a, 2), 300);
            CHECK_EQ(le_load(p + 0x2e, 2), 600);
        }
        if (p[0] == 19)
            CHECK_EQ(le_load(p + 0x17, 8), 64 * MiB - 1);
    }
    CHECK(p == end);
}

TEST(smbios_limits)
{
    AUTO(mem) struct mem *m = NULL;
    struct smbios_cfg cfg = { .sockets = 64, .cores = 1, .threads = 1 };
    struct err e;

    CHECK_OK(mem_new(&(struct mem_cfg){ .size = 5 * GiB }, &m, &e), &e);
    CHECK_OK(smbios_build(m, &cfg, &e), &e);
    cfg.sockets = 65;
    CHECK_EQ(smbios_build(m, &cfg, &e), -EINVAL);
    CHECK_HAS(e.text, "1 to 64");
}
