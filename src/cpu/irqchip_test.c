/*
 * cpu/irqchip_test.c: where lines go, which addresses are claimed, and that state passes through.
 */
#include "cpu/irqchip.h"

#include "testlib/test.h"

static u32 sent;
static u64 last_addr;
static u32 last_data;
static bool intr;

static void on_send(void *arg [[maybe_unused]], u64 addr, u32 data)
{
    sent++;
    last_addr = addr;
    last_data = data;
}

static void on_intr(void *arg [[maybe_unused]], bool level)
{
    intr = level;
}

static const struct irqchip_host host = { on_send, on_intr };

static void aim(struct irqchip *c, u32 pin, u64 entry)
{
    CHECK(irqchip_mmio_write(c, 0xfec00000, 4, 0x11 + 2 * pin));
    CHECK(irqchip_mmio_write(c, 0xfec00010, 4, entry >> 32));
    CHECK(irqchip_mmio_write(c, 0xfec00000, 4, 0x10 + 2 * pin));
    CHECK(irqchip_mmio_write(c, 0xfec00010, 4, entry & 0xffffffff));
}

static void out(struct irqchip *c, u16 port, u8 val)
{
    CHECK(irqchip_pio_write(c, port, 1, val, 0));
}

static void fresh(struct irqchip *c, bool legacy)
{
    sent = 0;
    intr = false;
    irqchip_init(c, legacy, &host, NULL);
}

static void program_pics(struct irqchip *c)
{
    static const u8 words[] = { 0x11, 0x30, 4, 1, 0 };

    for (u32 i = 0; i < sizeof(words); i++)
        out(c, i ? 0x21 : 0x20, words[i]);
}

TEST(irqchip_lines)
{
    struct irqchip c;

    fresh(&c, true);
    program_pics(&c);
    aim(&c, 4, 0x44);
    aim(&c, 20, 1 << 15 | 0x54);
    irqchip_line(&c, 4, true);
    CHECK(intr);
    CHECK_EQ(sent, 1);
    CHECK_EQ(last_data & 0xff, 0x44);
    CHECK_EQ(irqchip_ack(&c), 0x34);
    irqchip_line(&c, 20, true);
    CHECK(!intr);
    CHECK_EQ(sent, 2);
    irqchip_eoi(&c, 0x54);
    CHECK_EQ(sent, 3);
    CHECK_EQ(last_addr, 0xfee00000);
    irqchip_line(&c, 2, true);
    CHECK_EQ(sent, 3);
}

TEST(irqchip_timer_is_line_0_and_pin_2)
{
    struct irqchip c;

    fresh(&c, true);
    program_pics(&c);
    aim(&c, 2, 0x42);
    aim(&c, 0, 0x40);
    CHECK(irqchip_pio_write(&c, 0x43, 1, 0x14, 0)); /* rate, low byte only */
    CHECK(irqchip_pio_write(&c, 0x40, 1, 100, 0));
    CHECK_EQ(irqchip_deadline_ns(&c), 83810);
    irqchip_tick(&c, 83809);
    CHECK(!intr);
    irqchip_tick(&c, 83810);
    CHECK(intr);
    CHECK_EQ(irqchip_ack(&c), 0x30);
    CHECK_EQ(sent, 1);
    CHECK_EQ(last_data & 0xff, 0x42);
    irqchip_reset(&c);
    CHECK_EQ(irqchip_deadline_ns(&c), UINT64_MAX);
}

TEST(irqchip_claims)
{
    struct irqchip c;
    u64 v = 5;

    fresh(&c, true);
    program_pics(&c);
    out(&c, 0x21, 0xa5);
    CHECK(irqchip_pio_read(&c, 0x21, 2, 0, &v));
    CHECK_EQ(v, 0xffa5);
    CHECK(
        irqchip_pio_write(&c, 0x4d0, 2, 0xffff, 0)); /* both ELCRs at once, as some firmware does */
    CHECK(irqchip_pio_read(&c, 0x4d0, 2, 0, &v));
    CHECK_EQ(v, 0xdef8);
    v = 5;
    CHECK(!irqchip_pio_read(&c, 0x60, 1, 0, &v));
    CHECK(!irqchip_mmio_read(&c, 0xfec00100, 4, &v));
    CHECK(!irqchip_mmio_write(&c, 0xfebffffc, 4, 0));
    CHECK_EQ(v, 5);
    fresh(&c, false);
    CHECK(!irqchip_pio_read(&c, 0x21, 1, 0, &v));
    CHECK(!irqchip_pio_write(&c, 0x61, 1, 0, 0));
    CHECK(irqchip_mmio_read(&c, 0xfec00000, 4, &v));
    irqchip_line(&c, 4, true);
    CHECK(!intr);
}

TEST(irqchip_state_round_trip)
{
    AUTO(strbuf) struct strbuf differences = {};
    struct cpu_vm_state s = {}, again = {};
    struct irqchip c, copy;

    fresh(&c, true);
    program_pics(&c);
    aim(&c, 2, 0x42);
    CHECK(irqchip_pio_write(&c, 0x43, 1, 0x14, 0));
    CHECK(irqchip_pio_write(&c, 0x40, 1, 100, 0));
    irqchip_line(&c, 5, true);
    irqchip_save(&c, &s, 100000); /* the timer's edge, which nobody had ticked for, is in it */
    fresh(&copy, true);
    irqchip_load(&copy, &s, 7);
    CHECK(intr);
    CHECK_EQ(irqchip_deadline_ns(&copy), 7 + 167620 - 100000);
    irqchip_save(&copy, &again, 7);
    CHECK_EQ(state_compare(&cpu_vm_state_def, &again, &s, &differences), 0);
    CHECK_EQ(irqchip_ack(&copy), 0x30);
}
