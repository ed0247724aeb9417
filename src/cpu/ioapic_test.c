/*
 * cpu/ioapic_test.c: edges, levels, Remote IRR, masking; the message an entry stands for.
 */
#include "cpu/ioapic.h"

#include "testlib/test.h"

static u32 sent, changes;
static u64 last_addr;
static u32 last_data;

static void on_send(void *arg [[maybe_unused]], u64 addr, u32 data)
{
    sent++;
    last_addr = addr;
    last_data = data;
}

static void on_changed(void *arg [[maybe_unused]], u32 pin [[maybe_unused]])
{
    changes++;
}

static void program(struct ioapic *io, u32 pin, u64 entry)
{
    ioapic_write(io, 0, 4, 0x11 + 2 * pin);
    ioapic_write(io, 0x10, 4, entry >> 32);
    ioapic_write(io, 0, 4, 0x10 + 2 * pin);
    ioapic_write(io, 0x10, 4, entry & 0xffffffff);
}

static struct ioapic fresh(void)
{
    struct ioapic io;

    ioapic_init(&io, on_send, on_changed, NULL);
    sent = 0;
    return io;
}

TEST(ioapic_edge_sends_once_a_rise)
{
    struct ioapic io = fresh();

    program(&io, 4, 3ull << 56 | 0x31);
    ioapic_set(&io, 4, true);
    ioapic_set(&io, 4, true);
    CHECK_EQ(sent, 1);
    CHECK_EQ(last_addr, 0xfee03000);
    CHECK_EQ(last_data, 0x4031);
    ioapic_set(&io, 4, false);
    ioapic_set(&io, 4, true);
    CHECK_EQ(sent, 2);
}

TEST(ioapic_edge_while_masked_is_sent_at_unmask)
{
    struct ioapic io = fresh();

    program(&io, 4, 1 << 16 | 0x31);
    ioapic_set(&io, 4, true);
    ioapic_set(&io, 4, false);
    CHECK_EQ(sent, 0);
    program(&io, 4, 0x31);
    CHECK_EQ(sent, 1);
}

TEST(ioapic_level_waits_for_eoi)
{
    struct ioapic io = fresh();

    program(&io, 16, 1 << 15 | 0x50);
    ioapic_set(&io, 16, true);
    ioapic_set(&io, 16, false);
    ioapic_set(&io, 16, true);
    CHECK_EQ(sent, 1);
    ioapic_eoi(&io, 0x51);
    CHECK_EQ(sent, 1);
    ioapic_eoi(&io, 0x50); /* the line is still high */
    CHECK_EQ(sent, 2);
    ioapic_set(&io, 16, false);
    ioapic_eoi(&io, 0x50);
    CHECK_EQ(sent, 2);
}

TEST(ioapic_registers)
{
    struct ioapic io = fresh();
    u64 entry;

    ioapic_write(&io, 0, 4, 1);
    CHECK_EQ(ioapic_read(&io, 0x10, 4), 0x170020);
    program(&io, 23, ~0ull);
    ioapic_write(&io, 0, 4, 0x10 + 46);
    entry = ioapic_read(&io, 0x10, 4);
    CHECK_EQ(entry, 0x1afff); /* delivery status and Remote IRR are not writable */
    ioapic_write(&io, 0, 4, 0x40);
    CHECK_EQ(ioapic_read(&io, 0x10, 4), 0);
    changes = 0;
    ioapic_reset(&io);
    CHECK_EQ(changes, IOAPIC_PINS);
}
