/*
 * dev/reg_test.c: masks, lanes and hooks of register banks.
 */
#include "dev/reg.h"

#include "dev/dev.h"
#include "testlib/test.h"

struct chip {
    struct device dev;
    u32 ctrl, status;
    u8 low;
    u16 count;
    u64 wide;
    u64 wrote_old, wrote_val;
    u32 reads;
};

static void ctrl_wrote(struct device *d, u64 old, u64 val)
{
    struct chip *c = container_of(d, struct chip, dev);

    c->wrote_old = old;
    c->wrote_val = val;
}

static u64 count_now(struct device *d)
{
    return 0x1234 + container_of(d, struct chip, dev)->reads++;
}

/* clang-format off */
static const struct reg_def chip_regs[] = {
    REG(0x00, chip, ctrl,   .rw = 0xff00ff, .reset = 0x80, .wrote = ctrl_wrote),
    REG(0x04, chip, status, .w1c = 0x0f),
    REG(0x08, chip, low,    .rw = 0xff),
    REG(0x0a, chip, count,  .peek = count_now),
    REG(0x10, chip, wide,   .rw = ~0ull, .reset = 5),
};
/* clang-format on */
static const struct reg_bank bank = REG_BANK("chip", chip_regs);

TEST(reg_access)
{
    /* clang-format off */
    static const struct {
        const char *why;
        u64 off; u32 len; u64 write, read;
    } rows[] = {
        { "read-only bits stay",             0x00, 4, 0xffffffff,          0xff00ff },
        { "a byte inside",                   0x02, 1, 0x55,                0x55 },
        { "a byte of read-only bits",        0x01, 1, 0x55,                0 },
        { "a word across lanes",             0x01, 2, 0xffff,              0xff00 },
        { "wider than the register: no",     0x08, 2, 0xffff,              0 },
        { "a byte",                          0x08, 1, 0x1a7,               0xa7 },
        { "past its end: no",                0x03, 2, 0xffff,              0 },
        { "a hole",                          0x09, 1, 0xff,                0 },
        { "64 bits",                         0x10, 8, 0x1122334455667788,  0x1122334455667788 },
        { "upper half of 64 bits",           0x14, 4, 0xaabbccdd,          0xaabbccdd },
        { "behind the last",                 0x18, 4, 1,                   0 },
    };
    /* clang-format on */
    struct chip c = {};

    for_each_row(r, rows) {
        ROW(r);
        reg_reset(&bank, &c.dev);
        reg_write(&bank, &c.dev, r->off, r->len, r->write);
        CHECK_EQ(reg_read(&bank, &c.dev, r->off, r->len), r->read);
    }
}

TEST(reg_write_one_clears)
{
    struct chip c = { .status = 0xff };

    reg_write(&bank, &c.dev, 4, 4, 0xf5);
    CHECK_EQ(c.status, 0xfa);
    reg_write(&bank, &c.dev, 5, 1, 0xff); /* another lane clears nothing here */
    CHECK_EQ(c.status, 0xfa);
    reg_write(&bank, &c.dev, 4, 1, 0x0a);
    CHECK_EQ(c.status, 0xf0);
}

TEST(reg_hooks)
{
    struct chip c = {};

    reg_reset(&bank, &c.dev);
    CHECK_EQ(c.ctrl, 0x80);
    CHECK_EQ(c.wide, 5);
    reg_write(&bank, &c.dev, 2, 1, 0x7f);
    CHECK_EQ(c.wrote_old, 0x80);
    CHECK_EQ(c.wrote_val, 0x7f0000); /* as it lies in the register */
    CHECK_EQ(c.ctrl, 0x7f0080);
    CHECK_EQ(reg_read(&bank, &c.dev, 0x0a, 2), 0x1234);
    CHECK_EQ(reg_read(&bank, &c.dev, 0x0b, 1), 0x12);
    CHECK_EQ(c.reads, 2);
}
