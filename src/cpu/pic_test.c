/*
 * cpu/pic_test.c: edges, levels, nesting, rotation, masks, polling, the cascade.
 */
#include "cpu/pic.h"

#include "testlib/test.h"

static bool intr;
static u32 changes;

static void on_intr(void *arg [[maybe_unused]], bool level)
{
    intr = level;
    changes++;
}

/* As Linux programs them: vectors 0x30 and 0x38, nothing masked; icw4 is 8086 mode and more. */
static void program(struct pic *p, u8 icw4)
{
    static const u16 base[] = { 0x20, 0xa0 };

    for (u32 i = 0; i < 2; i++) {
        pic_write(p, base[i], 0x11);
        pic_write(p, base[i] + 1, (u8)(0x30 + 8 * i));
        pic_write(p, base[i] + 1, i ? 2 : 4);
        pic_write(p, base[i] + 1, 1 | icw4);
        pic_write(p, base[i] + 1, 0);
    }
}

static void fresh(struct pic *p, u8 icw4)
{
    intr = false;
    pic_init(p, on_intr, NULL);
    program(p, icw4);
    changes = 0;
}

static void pulse(struct pic *p, u32 line)
{
    pic_set(p, line, true);
    pic_set(p, line, false);
}

TEST(pic_edge_is_taken_once)
{
    struct pic p;

    fresh(&p, 0);
    pic_set(&p, 4, true);
    CHECK(intr);
    CHECK_EQ(pic_ack(&p), 0x34);
    CHECK(!intr);
    pic_write(&p, 0x20, 0x20);
    pic_set(&p, 4, true);
    CHECK(!intr);
    pulse(&p, 4);
    CHECK(!intr); /* it was high already */
    pulse(&p, 4);
    CHECK(intr);
}

TEST(pic_level_comes_back_until_it_falls)
{
    struct pic p;

    fresh(&p, 0);
    pic_write(&p, 0x4d1, 0xff);
    CHECK_EQ(pic_read(&p, 0x4d1), 0xde);
    pic_write(&p, 0x4d0, 0xff);
    CHECK_EQ(pic_read(&p, 0x4d0), 0xf8);
    pic_set(&p, 11, true);
    CHECK_EQ(pic_ack(&p), 0x3b);
    pic_write(&p, 0xa0, 0x20);
    pic_write(&p, 0x20, 0x20);
    CHECK(intr);
    pic_set(&p, 11, false);
    CHECK(!intr);
    pic_set(&p, 5, true);
    pic_write(&p, 0x4d0, 0); /* edge again: what was asked stays asked */
    CHECK_EQ(pic_ack(&p), 0x35);
}

TEST(pic_nesting)
{
    struct pic p;

    fresh(&p, 0);
    pulse(&p, 4);
    CHECK_EQ(pic_ack(&p), 0x34);
    pulse(&p, 5);
    CHECK(!intr);
    pulse(&p, 1);
    CHECK(intr);
    CHECK_EQ(pic_ack(&p), 0x31);
    pic_write(&p, 0x20, 0x0b); /* read ISR */
    CHECK_EQ(pic_read(&p, 0x20), 0x12);
    pic_write(&p, 0x20, 0x20); /* ends 1 */
    CHECK_EQ(pic_read(&p, 0x20), 0x10);
    pic_write(&p, 0x20, 0x0a);
    CHECK_EQ(pic_read(&p, 0x20), 0x20);
    pic_write(&p, 0x20, 0x64); /* ends 4, by name */
    CHECK_EQ(pic_ack(&p), 0x35);
}

TEST(pic_cascade)
{
    struct pic p;

    fresh(&p, 0);
    pulse(&p, 12);
    CHECK_EQ(pic_ack(&p), 0x3c);
    pulse(&p, 9); /* above 12, but the master still serves its line 2 */
    CHECK(!intr);
    pulse(&p, 0);
    CHECK_EQ(pic_ack(&p), 0x30);
    pic_write(&p, 0x20, 0x20);
    pic_write(&p, 0x20, 0x20);
    CHECK_EQ(pic_ack(&p), 0x39);
    fresh(&p, 0x10); /* special fully nested */
    pulse(&p, 12);
    CHECK_EQ(pic_ack(&p), 0x3c);
    pulse(&p, 9);
    CHECK_EQ(pic_ack(&p), 0x39);
}

TEST(pic_spurious)
{
    struct pic p;

    fresh(&p, 0);
    pulse(&p, 5);
    pic_write(&p, 0x21, 0x20);
    CHECK(!intr);
    CHECK_EQ(pic_ack(&p), 0x37);
    pic_write(&p, 0x20, 0x0b);
    CHECK_EQ(pic_read(&p, 0x20), 0);
    pic_write(&p, 0x21, 0);
    CHECK_EQ(pic_ack(&p), 0x35);
}

TEST(pic_masks)
{
    struct pic p;

    fresh(&p, 0);
    pic_write(&p, 0x21, 0x10);
    CHECK_EQ(pic_read(&p, 0x21), 0x10);
    pulse(&p, 4);
    CHECK(!intr);
    pic_write(&p, 0x21, 0);
    CHECK_EQ(pic_ack(&p), 0x34);
    pulse(&p, 6);
    CHECK(!intr);
    pic_write(&p, 0x21, 0x10);
    CHECK(!intr);
    pic_write(&p, 0x20, 0x68); /* special mask: 4, masked, holds nobody back */
    CHECK_EQ(pic_ack(&p), 0x36);
    pic_write(&p, 0x20, 0x20); /* ends 6, not the masked 4 */
    pic_write(&p, 0x20, 0x0b);
    CHECK_EQ(pic_read(&p, 0x20), 0x10);
    pic_write(&p, 0x20, 0x48);
    pulse(&p, 6);
    CHECK(!intr);
}

TEST(pic_rotation)
{
    struct pic p;

    fresh(&p, 0);
    pic_write(&p, 0x20, 0xc3); /* 3 is the lowest, 4 the highest */
    pulse(&p, 3);
    pulse(&p, 4);
    pulse(&p, 0);
    CHECK_EQ(pic_ack(&p), 0x34);
    pic_write(&p, 0x20, 0xa0); /* rotate on EOI: 5 is the highest */
    CHECK_EQ(pic_ack(&p), 0x30);
    pic_write(&p, 0x20, 0xe0);
    pulse(&p, 1);
    CHECK_EQ(pic_ack(&p), 0x31);
}

TEST(pic_automatic_eoi)
{
    struct pic p;

    fresh(&p, 2);
    pic_write(&p, 0x20, 0x80); /* … with rotation */
    pulse(&p, 1);
    pulse(&p, 3);
    CHECK_EQ(pic_ack(&p), 0x31);
    CHECK_EQ(pic_ack(&p), 0x33);
    pulse(&p, 3);
    pulse(&p, 4);
    CHECK_EQ(pic_ack(&p), 0x34);
    pic_write(&p, 0x20, 0);
    pic_write(&p, 0x20, 0x0b);
    CHECK_EQ(pic_read(&p, 0x20), 0);
}

TEST(pic_poll)
{
    struct pic p;

    fresh(&p, 0);
    pic_write(&p, 0x20, 0x0c);
    CHECK_EQ(pic_read(&p, 0x20), 0);
    pulse(&p, 10);
    pic_write(&p, 0xa0, 0x0c);
    CHECK_EQ(pic_read(&p, 0xa0), 0x82);
    CHECK(!intr); /* so the slave asks no more */
    CHECK_EQ(pic_read(&p, 0xa0), 0);
    pic_write(&p, 0xa0, 0x0b);
    CHECK_EQ(pic_read(&p, 0xa0), 4);
}

/* The wires stay as devices drive them; a high edge line asks again only after it fell. */
TEST(pic_icw1_and_reset)
{
    struct pic p;

    fresh(&p, 0);
    pic_set(&p, 3, true);
    CHECK(intr);
    program(&p, 0);
    CHECK(!intr);
    pic_set(&p, 3, true);
    CHECK(!intr);
    pic_write(&p, 0x4d0, 8);
    CHECK(intr);
    pic_reset(&p);
    CHECK(!intr);
    CHECK_EQ(pic_read(&p, 0x4d0), 0);
}

TEST(pic_state_round_trip)
{
    struct pic_state s[2], again[2];
    struct pic p, copy;

    fresh(&p, 0x10);
    pulse(&p, 12);
    pic_ack(&p);
    pulse(&p, 8);
    pulse(&p, 1);
    pic_write(&p, 0xa0, 0x11); /* in the middle of it */
    pic_get(&p, s);
    fresh(&copy, 0);
    pic_put(&copy, s);
    CHECK(intr);
    pic_get(&copy, again);
    CHECK_MEM(again, s, sizeof(s));
}

/* What lies in a file need not be what we wrote. */
TEST(pic_put_brings_into_range)
{
    struct pic_state s[2];
    struct pic p;

    fresh(&p, 0);
    memset(s, 0xff, sizeof(s));
    s[0].last_irr = 0;
    pic_put(&p, s);
    pic_get(&p, s);
    CHECK_EQ(s[0].elcr, 0xf8);
    CHECK_EQ(s[0].irr,
             3); /* a level's request is its line; the slave, all masked, asks for nothing */
    CHECK_EQ(s[0].priority_add, 7);
    pic_ack(&p);
}
