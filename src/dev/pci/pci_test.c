/*
 * dev/pci/pci_test.c: configuration space both ways, BARs, MSI-X and INTx, as a guest sees them.
 */
#include "dev/pci/pci.h"

#include "testlib/test.h"

enum { ECAM = 0xe0000000u, VENDOR_CAP_LEN = 8, MSIX_VECTORS = 5 };

/* A function with one BAR of each kind, a vendor capability, and MSI-X. */
struct card {
    struct pci_fn fn;
    u64 wrote, wrote_at;
    u32 cap_reads, cap_writes;
    u64 moved_from, moved_to;
    u32 moves;
};

static struct card *card_of(struct device *d)
{
    return container_of(d, struct card, fn.dev);
}

static u64 card_read(struct device *, u64 off, u32)
{
    return 0x40 + off;
}

static void card_write(struct device *d, u64 off, u32, u64 val)
{
    card_of(d)->wrote = val;
    card_of(d)->wrote_at = off;
}

static const struct bus_ops card_ops = { .read = card_read, .write = card_write };

static void on_moved(struct device *d, u64 old_base, u64 new_base)
{
    card_of(d)->moves++;
    card_of(d)->moved_from = old_base;
    card_of(d)->moved_to = new_base;
}

static void on_cap_read(struct pci_fn *f, u32, u32)
{
    card_of(&f->dev)->cap_reads++;
}

static void on_cap_wrote(struct pci_fn *f, u32, u32)
{
    card_of(&f->dev)->cap_writes++;
}

static int card_start(struct device *d, const void *, struct err *e)
{
    static const struct pci_ident id = { 0x1234, 0x5678, 0x9abc, 0xdef0, 0x020000, 3 };
    static const u8 cap[VENDOR_CAP_LEN] = { 9, 0, VENDOR_CAP_LEN, 0xcc };
    static const u8 mask[VENDOR_CAP_LEN] = { 0xff, 0xff, 0, 0, 0xff, 0x0f };
    struct pci_fn *f = pci_fn_of(d);

    CHECK_OK(pci_attach(f, &id, e), e);
    CHECK_OK(pci_bar_add(f, 0, PCI_BAR_MEM32, 8192, &card_ops, e), e);
    CHECK_OK(pci_bar_add(f, 1, PCI_BAR_IO, 32, &card_ops, e), e);
    CHECK_OK(pci_bar_add(f, 4, PCI_BAR_MEM64, 1 * MiB, &card_ops, e), e);
    CHECK_EQ(pci_cap_add(f, cap, sizeof(cap), mask, e), 0x40);
    CHECK_OK(pci_msix_add(f, 2, MSIX_VECTORS, e), e);
    f->bars[0].moved = on_moved;
    f->cap_read = on_cap_read;
    f->cap_wrote = on_cap_wrote;
    return 0;
}

static void card_stop(struct device *d)
{
    pci_detach(pci_fn_of(d));
}

static void card_reset(struct device *d)
{
    pci_reset(pci_fn_of(d));
}

static const struct device_def card_def = {
    .name = "card",
    .doc = "a function for tests",
    .size = sizeof(struct card),
    .parts = { STATE_PART(card, fn.pci, pci_state) },
    .start = card_start,
    .stop = card_stop,
    .reset = card_reset,
};

/* A machine with two cards, in slots 1 and 2. */
struct bench {
    struct fake_machine *f;
    struct card *card[2];
};

static void bench_init(struct bench *b)
{
    struct device *d;
    struct err e = {};

    b->f = fake_machine_new();
    for (u32 i = 0; i < 2; i++) {
        CHECK_OK(device_new(&card_def, &b->f->m, i ? "card1" : "card0", NULL, &d, &e), &e);
        b->card[i] = card_of(d);
        CHECK_EQ(b->card[i]->fn.slot, i + 1);
    }
}

static void bench_fini(struct bench *b)
{
    device_free(&b->card[0]->fn.dev);
    device_free(&b->card[1]->fn.dev);
    fake_machine_free(b->f);
}

static u64 mem_in(struct bench *b, u64 at, u32 len)
{
    u64 v;

    bus_read(b->f->m.mmio, at, len, &v);
    return v;
}

static u64 ecam_in(struct bench *b, u32 slot, u32 off, u32 len)
{
    return mem_in(b, ECAM + (slot << 15) + off, len);
}

static void ecam_out(struct bench *b, u32 slot, u32 off, u32 len, u64 val)
{
    bus_write(b->f->m.mmio, ECAM + (slot << 15) + off, len, val);
}

static u64 port_in(struct bench *b, u32 port, u32 len)
{
    u64 v;

    bus_read(b->f->m.pio, port, len, &v);
    return v;
}

static void port_out(struct bench *b, u32 port, u32 len, u64 val)
{
    bus_write(b->f->m.pio, port, len, val);
}

static u64 cf8_in(struct bench *b, u32 slot, u32 off, u32 len)
{
    port_out(b, 0xcf8, 4, 0x80000000u | slot << 11 | (off & 0xfc));
    return port_in(b, 0xcfc + (off & 3), len);
}

TEST(pci_header)
{
    /* clang-format off */
    static const struct {
        const char *why;
        u32 slot, off, len; u64 want;
    } rows[] = {
        { "vendor",                     1, 0x00, 2, 0x1234 },
        { "vendor and device",          1, 0x00, 4, 0x56781234 },
        { "command: nothing on",        1, 0x04, 2, 0 },
        { "status: capabilities",       1, 0x06, 2, 0x0010 },
        { "class and revision",         1, 0x08, 4, 0x02000003 },
        { "header type 0, one function",1, 0x0e, 1, 0 },
        { "a 32-bit BAR",               1, 0x10, 4, 0 },
        { "an I/O BAR",                 1, 0x14, 4, 1 },
        { "a 64-bit BAR",               1, 0x20, 4, 4 },
        { "subsystem",                  1, 0x2c, 4, 0xdef09abc },
        { "no expansion ROM",           1, 0x30, 4, 0 },
        { "first capability",           1, 0x34, 1, 0x40 },
        { "pin INTA",                   1, 0x3d, 1, 1 },
        { "vendor capability, linked",  1, 0x40, 4, 0xcc084809 },
        { "MSI-X, last, 5 vectors",     1, 0x48, 4, 0x00040011 },
        { "its table in BAR 2",         1, 0x4c, 4, 2 },
        { "its pending bits",           1, 0x50, 4, 0x802 },
        { "host bridge",                0, 0x00, 4, 0x00081b36 },
        { "host bridge's class",        0, 0x08, 4, 0x06000000 },
        { "host bridge has no pin",     0, 0x3c, 2, 0 },
        { "nobody there",               3, 0x00, 4, 0xffffffff },
        { "nobody there, a byte",       31, 0x0e, 1, 0xff },
    };
    /* clang-format on */
    struct bench b;

    bench_init(&b);
    for_each_row(r, rows) {
        ROW(r);
        CHECK_EQ(ecam_in(&b, r->slot, r->off, r->len), r->want);
        CHECK_EQ(cf8_in(&b, r->slot, r->off, r->len), r->want);
    }
    CHECK_EQ(ecam_in(&b, 1, 0x100, 4), 0); /* no extended capabilities */
    CHECK_EQ(ecam_in(&b, 1, 0xffc, 4), 0);
    CHECK_EQ(ecam_in(&b, 1, 0x1000, 4), 0xffffffff);       /* function 1 */
    CHECK_EQ(mem_in(&b, ECAM + (1 << 20), 4), 0xffffffff); /* bus 1 */
    CHECK_EQ(mem_in(&b, ECAM + 0xffe, 4), 0xffffffff);     /* across two functions */
    bench_fini(&b);
}

TEST(pci_ports)
{
    struct bench b;

    bench_init(&b);
    CHECK_EQ(port_in(&b, 0xcf8, 4), 0);
    CHECK_EQ(port_in(&b, 0xcfc, 4), 0xffffffff); /* not enabled */
    port_out(&b, 0xcf8, 4, 0x80000803);
    CHECK_EQ(port_in(&b, 0xcf8, 4), 0x80000800);
    CHECK_EQ(port_in(&b, 0xcfe, 2), 0x5678);
    CHECK_EQ(port_in(&b, 0xcff, 2), 0xffff); /* across the end of the port */
    port_out(&b, 0xcf8, 2, 0);               /* not the address register */
    port_out(&b, 0xcf9, 1, 6);               /* somebody else's */
    CHECK_EQ(port_in(&b, 0xcf8, 4), 0x80000800);
    CHECK_EQ(port_in(&b, 0xcf8, 1), 0xff);
    port_out(&b, 0xcf8, 4, 0x80000900); /* function 1 */
    CHECK_EQ(port_in(&b, 0xcfc, 4), 0xffffffff);
    port_out(&b, 0xcf8, 4, 0x80010800); /* bus 1 */
    CHECK_EQ(port_in(&b, 0xcfc, 4), 0xffffffff);
    port_out(&b, 0xcf8, 4, 0x81000800); /* register 0x100, not 0 once more */
    CHECK_EQ(port_in(&b, 0xcfc, 4), 0);
    port_out(&b, 0xcf8, 4, 0x8000083c);
    port_out(&b, 0xcfc, 1, 0x5a);
    CHECK_EQ(ecam_in(&b, 1, 0x3c, 1), 0x5a);
    bench_fini(&b);
}

TEST(pci_writable_bits)
{
    /* clang-format off */
    static const struct {
        const char *why;
        u32 off, len; u64 write, want;
    } rows[] = {
        { "identity",              0x00, 4, 0xffffffff, 0x56781234 },
        { "command",               0x04, 2, 0xffff,     0x0547 },
        { "status",                0x06, 2, 0xffff,     0x0010 },
        { "interrupt line and pin",0x3c, 2, 0xffff,     0x01ff },
        { "capability id and link",0x40, 2, 0xffff,     0x4809 },
        { "capability's own mask", 0x44, 4, 0xffffffff, 0x0fff },
        { "MSI-X control",         0x4a, 2, 0xffff,     0xc004 },
        { "after capabilities",    0x60, 4, 0xffffffff, 0 },
        { "behind 256 bytes",      0x100, 4, 0xffffffff, 0 },
    };
    /* clang-format on */
    struct bench b;

    bench_init(&b);
    for_each_row(r, rows) {
        ROW(r);
        ecam_out(&b, 1, r->off, r->len, r->write);
        CHECK_EQ(ecam_in(&b, 1, r->off, r->len), r->want);
    }
    CHECK_EQ(b.card[0]->cap_writes, 4);
    CHECK_EQ(b.card[0]->cap_reads, 4);
    device_reset(&b.card[0]->fn.dev);
    CHECK_EQ(ecam_in(&b, 1, 0x04, 2), 0);
    CHECK_EQ(ecam_in(&b, 1, 0x44, 4), 0);
    bench_fini(&b);
}

TEST(pci_bar_sizing)
{
    /* clang-format off */
    static const struct {
        const char *why;
        u32 off; u64 want;
    } rows[] = {
        { "8 KiB of memory",          0x10, 0xffffe000 },
        { "32 ports",                 0x14, 0xffffffe1 },
        { "MSI-X table",              0x18, 0xfffff000 },
        { "none",                     0x1c, 0 },
        { "1 MiB of 64-bit memory",   0x20, 0xfff00004 },
        { "its upper half",           0x24, 0xffffffff },
        { "ROM",                      0x30, 0 },
    };
    /* clang-format on */
    struct bench b;

    bench_init(&b);
    for (u32 decoding = 0; decoding < 2; decoding++) /* some drivers size BARs that decode */
        for_each_row(r, rows) {
            ROW(r);
            ecam_out(&b, 1, 0x04, 2, decoding ? 3 : 0);
            ecam_out(&b, 1, r->off, 4, 0xffffffff);
            CHECK_EQ(ecam_in(&b, 1, r->off, 4), r->want);
        }
    for_each_row(bar, b.card[0]->fn.bars)
        CHECK(!bar->mapped);
    bench_fini(&b);
}

TEST(pci_bar_moves)
{
    struct bench b;
    struct card *c;

    bench_init(&b);
    c = b.card[0];
    ecam_out(&b, 1, 0x10, 4, 0xc0002000);
    CHECK_EQ(mem_in(&b, 0xc0002004, 1), 0xff); /* not decoded yet */
    ecam_out(&b, 1, 0x04, 2, 2);
    CHECK_EQ(mem_in(&b, 0xc0002004, 1), 0x44);
    CHECK_EQ(c->moved_from, 0);
    CHECK_EQ(c->moved_to, 0xc0002000);
    ecam_out(&b, 1, 0x10, 4, 0xc0004000);
    CHECK_EQ(mem_in(&b, 0xc0002004, 1), 0xff);
    CHECK_EQ(mem_in(&b, 0xc0005fff, 1), 0x3f);
    CHECK_EQ(c->moved_from, 0xc0002000);
    CHECK_EQ(c->moved_to, 0xc0004000);
    ecam_out(&b, 1, 0x24, 4, 0x80);
    ecam_out(&b, 1, 0x20, 4, 0x300000);
    CHECK_EQ(mem_in(&b, 0x8000300008, 1), 0x48);
    CHECK_EQ(port_in(&b, 0x2000, 1), 0xff);
    ecam_out(&b, 1, 0x14, 4, 0x2000);
    ecam_out(&b, 1, 0x04, 2, 3);
    CHECK_EQ(port_in(&b, 0x2001, 1), 0x41);
    port_out(&b, 0x201f, 1, 0x77);
    CHECK_EQ(c->wrote, 0x77);
    CHECK_EQ(c->wrote_at, 0x1f);
    CHECK_EQ(c->moves, 2);
    ecam_out(&b, 1, 0x04, 2, 0);
    CHECK_EQ(c->moves, 3);
    CHECK_EQ(c->moved_to, 0);
    CHECK_EQ(mem_in(&b, 0xc0004004, 1), 0xff);
    CHECK_EQ(port_in(&b, 0x2001, 1), 0xff);
    bench_fini(&b);
}

/* A guest may put one BAR on another for a moment, and may make two functions change places. */
TEST(pci_bar_waits_for_its_place)
{
    struct bench b;

    bench_init(&b);
    ecam_out(&b, 1, 0x10, 4, 0xc0000000);
    ecam_out(&b, 1, 0x04, 2, 2);
    ecam_out(&b, 2, 0x10, 4, 0xc0000000);
    ecam_out(&b, 2, 0x04, 2, 2);
    CHECK(b.card[0]->fn.bars[0].mapped);
    CHECK(!b.card[1]->fn.bars[0].mapped);
    ecam_out(&b, 1, 0x10, 4, 0xc0100000);
    CHECK(b.card[1]->fn.bars[0].mapped);
    bus_write(b.f->m.mmio, 0xc0000010, 1, 9);
    CHECK_EQ(b.card[1]->wrote, 9);
    CHECK_EQ(b.card[0]->wrote, 0);
    bench_fini(&b);
}

TEST(pci_assign)
{
    struct bench b;
    struct err e = {};

    bench_init(&b);
    for (u32 again = 0; again < 2; again++) {
        CHECK_OK(pci_bus_assign(b.f->m.pci, &e), &e);
        for (u32 i = 0; i < 2; i++) {
            struct pci_fn *f = &b.card[i]->fn;

            CHECK(f->bars[0].mapped && f->bars[1].mapped && f->bars[2].mapped && f->bars[4].mapped);
            CHECK(f->bars[0].base >= 0xc0000000 && f->bars[0].base < 0xc0010000);
            CHECK(f->bars[1].base >= 0x1000 && f->bars[1].base < 0x1100);
            CHECK(f->bars[4].base >= 0x8000000000 && f->bars[4].base < 0x8000200000);
            CHECK_EQ(ecam_in(&b, i + 1, 0x04, 2), 3);
            CHECK_EQ(ecam_in(&b, i + 1, 0x3c, 1), 17 + i);
            device_reset(&f->dev);
            CHECK(!f->bars[0].mapped);
        }
    }
    CHECK_OK(bus_add(b.f->m.pio, 0x1000, 1, &card_ops, &b.card[0]->fn.dev, &e), &e);
    CHECK_EQ(pci_bus_assign(b.f->m.pci, &e), -EEXIST);
    CHECK_HAS(e.text, "BAR 1 of 'card0'");
    bench_fini(&b);
}

TEST(pci_slots_run_out)
{
    struct fake_machine *f = fake_machine_new();
    struct device *d[PCI_DEVICES_MAX] = {};
    struct pci_fn extra = { .dev.machine = &f->m };
    struct err e = {};

    for (u32 i = 1; i < PCI_DEVICES_MAX; i++)
        CHECK_OK(device_new(&card_def, &f->m, "card", NULL, &d[i], &e), &e);
    CHECK_EQ(pci_attach(&extra, &(struct pci_ident){}, &e), -ENOSPC);
    CHECK_HAS(e.text, "32 slots");
    pci_detach(&extra); /* half-built: harmless */
    for_each_row(p, d)
        device_free(*p);
    fake_machine_free(f);
}

TEST(pci_room_for_capabilities)
{
    struct bench b;
    u8 cap[64] = { 9 };
    struct err e = {};

    bench_init(&b);
    CHECK_EQ(pci_cap_add(&b.card[0]->fn, cap, 64, NULL, &e), 0x54);
    CHECK_EQ(pci_cap_add(&b.card[0]->fn, cap, 64, NULL, &e), 0x94);
    CHECK_EQ(pci_cap_add(&b.card[0]->fn, cap, 64, NULL, &e), -ENOSPC);
    CHECK_EQ(pci_bar_add(&b.card[0]->fn, 3, PCI_BAR_IO, 512, &card_ops, &e), -EINVAL);
    CHECK_EQ(pci_bar_add(&b.card[0]->fn, 3, PCI_BAR_MEM32, 48, &card_ops, &e), -EINVAL);
    bench_fini(&b);
}

/* ---- interrupts ---- */

static u64 msix_table(struct bench *b)
{
    CHECK_EQ(pci_bus_assign(b->f->m.pci, NULL), 0);
    return b->card[0]->fn.bars[2].base;
}

static void msix_row(struct bench *b, u64 table, u32 v, u32 ctrl)
{
    bus_write(b->f->m.mmio, table + 16 * v, 4, 0xfee01000);
    bus_write(b->f->m.mmio, table + 16 * v + 4, 4, 0);
    bus_write(b->f->m.mmio, table + 16 * v + 8, 4, 0x4000 + v);
    bus_write(b->f->m.mmio, table + 16 * v + 12, 4, ctrl);
}

TEST(pci_msix_table)
{
    struct bench b;
    u64 table;

    bench_init(&b);
    table = msix_table(&b);
    CHECK_EQ(mem_in(&b, table + 12, 4), 1); /* masked after reset */
    msix_row(&b, table, 4, 0xfffffffe);
    CHECK_EQ(mem_in(&b, table + 64, 8), 0xfee01000);
    CHECK_EQ(mem_in(&b, table + 72, 8), 0x4004);
    bus_write(b.f->m.mmio, table + 64, 8, 0x12345678fee0200f);
    CHECK_EQ(mem_in(&b, table + 64, 8), 0x12345678fee0200c);
    bus_write(b.f->m.mmio, table + 64, 2, 0); /* undefined: nothing happens */
    bus_write(b.f->m.mmio, table + 66, 4, 0);
    CHECK_EQ(mem_in(&b, table + 64, 8), 0x12345678fee0200c);
    msix_row(&b, table, 5, 0); /* there is no vector 5 */
    CHECK_EQ(mem_in(&b, table + 80, 8), 0);
    bench_fini(&b);
}

TEST(pci_msix_fires)
{
    struct bench b;
    struct pci_fn *f;
    u64 table;

    bench_init(&b);
    f = &b.card[0]->fn;
    table = msix_table(&b);
    msix_row(&b, table, 0, 0);
    msix_row(&b, table, 1, 1);
    CHECK(!pci_msix_on(f));
    pci_msix_fire(f, 0); /* not enabled: lost */
    ecam_out(&b, 1, 0x4a, 2, 0x8000);
    CHECK(pci_msix_on(f));
    CHECK_EQ(b.f->msis, 0);
    pci_msix_fire(f, 0);
    CHECK_EQ(b.f->msis, 1);
    CHECK_EQ(b.f->msi_addr, 0xfee01000);
    CHECK_EQ(b.f->msi_data, 0x4000);
    bus_write(b.f->m.mmio, table + 8, 4, 0x5555); /* changed while alive */
    pci_msix_fire(f, 0);
    CHECK_EQ(b.f->msi_data, 0x5555);
    CHECK_EQ(b.f->msis, 2);
    pci_msix_fire(f, 1); /* masked: pends, once */
    pci_msix_fire(f, 1);
    CHECK_EQ(b.f->msis, 2);
    CHECK_EQ(mem_in(&b, table + 0x800, 8), 2);
    bus_write(b.f->m.mmio, table + 0x800, 8, 0); /* read-only */
    CHECK_EQ(mem_in(&b, table + 0x800, 8), 2);
    bus_write(b.f->m.mmio, table + 28, 4, 0);
    CHECK_EQ(b.f->msis, 3);
    CHECK_EQ(b.f->msi_data, 0x4001);
    CHECK_EQ(mem_in(&b, table + 0x800, 8), 0);
    pci_msix_fire(f, MSIX_VECTORS); /* a vector that the guest made up */
    pci_msix_fire(f, 0xffff);
    CHECK_EQ(b.f->msis, 3);
    bench_fini(&b);
}

TEST(pci_msix_function_mask)
{
    struct bench b;
    struct pci_fn *f;
    u64 table;

    bench_init(&b);
    f = &b.card[0]->fn;
    table = msix_table(&b);
    ecam_out(&b, 1, 0x4a, 2, 0xc000);
    for (u32 v = 0; v < MSIX_VECTORS; v++)
        msix_row(&b, table, v, v == 2);
    pci_msix_fire(f, 2);
    pci_msix_fire(f, 3);
    CHECK_EQ(b.f->msis, 0);
    CHECK_EQ(mem_in(&b, table + 0x800, 4), 0xc);
    ecam_out(&b, 1, 0x4b, 1, 0x80);
    CHECK_EQ(b.f->msis, 1);
    CHECK_EQ(b.f->msi_data, 0x4003);
    CHECK_EQ(mem_in(&b, table + 0x800, 4), 4); /* masked by itself still */
    device_reset(&f->dev);
    pci_msix_fire(f, 2);
    CHECK_EQ(b.f->msis, 1);
    CHECK_EQ(f->pci.pending[0], 0);
    bench_fini(&b);
}

TEST(pci_intx_lines)
{
    struct bench b;
    struct device *d[2];
    struct pci_fn *f[3];
    struct err e = {};

    bench_init(&b);
    for (u32 i = 0; i < 2; i++) /* slots 3 and 4 */
        CHECK_OK(device_new(&card_def, &b.f->m, "more", NULL, &d[i], &e), &e);
    f[0] = &b.card[0]->fn;  /* slot 1: GSI 17 */
    f[1] = pci_fn_of(d[1]); /* slot 4: GSI 16 */
    CHECK_OK(device_new(&card_def, &b.f->m, "last", NULL, &d[1], &e), &e);
    f[2] = pci_fn_of(d[1]); /* slot 5: GSI 17 too */
    pci_intx_set(f[1], true);
    CHECK(b.f->level[16] && !b.f->level[17]);
    pci_intx_set(f[0], true);
    pci_intx_set(f[2], true);
    CHECK(b.f->level[17]);
    CHECK_EQ(b.f->irqs[17], 1);
    pci_intx_set(f[0], false);
    CHECK(b.f->level[17]); /* the other drives it still */
    CHECK_EQ(ecam_in(&b, 5, 0x06, 2), 0x18);
    ecam_out(&b, 5, 0x04, 2, 0x400); /* INTx disable */
    CHECK(!b.f->level[17]);
    CHECK_EQ(ecam_in(&b, 5, 0x06, 2), 0x18); /* status shows it all the same */
    ecam_out(&b, 5, 0x04, 2, 0);
    CHECK(b.f->level[17]);
    ecam_out(&b, 5, 0x4a, 2, 0x8000); /* MSI-X instead */
    CHECK(!b.f->level[17]);
    ecam_out(&b, 5, 0x4a, 2, 0);
    CHECK(b.f->level[17]);
    device_free(&f[2]->dev);
    CHECK(!b.f->level[17]);
    device_reset(&f[1]->dev);
    CHECK(!b.f->level[16]);
    device_free(&f[1]->dev);
    device_free(d[0]);
    bench_fini(&b);
}

/* ---- saved state ---- */

static void load_all(struct device *d, const struct strbuf *in, int want)
{
    struct state_reader r;
    struct state_section s;
    struct err e = {};

    CHECK_OK(state_reader_init(&r, in->text, in->len, &e), &e);
    while (state_reader_next(&r, &s, &e) > 0)
        CHECK_EQ(device_load(d, &s, &e), want);
}

TEST(pci_load_rebuilds)
{
    AUTO(strbuf) struct strbuf saved = {};
    struct bench b, to;
    u64 table;

    bench_init(&b);
    table = msix_table(&b);
    msix_row(&b, table, 0, 0);
    ecam_out(&b, 1, 0x4a, 2, 0x8000);
    pci_msix_fire(&b.card[0]->fn, 1); /* masked: pends */
    ecam_out(&b, 1, 0x4a, 2, 0x0000);
    pci_intx_set(&b.card[0]->fn, true);
    state_stream_begin(&saved);
    device_save(&b.card[0]->fn.dev, &saved);
    state_stream_end(&saved);

    bench_init(&to);
    load_all(&to.card[0]->fn.dev, &saved, 0);
    CHECK(to.f->level[17]);
    CHECK_EQ(to.card[0]->fn.bars[2].base, table);
    CHECK_EQ(mem_in(&to, table + 0x800, 4), 2);
    CHECK_EQ(to.card[0]->moved_to, b.card[0]->fn.bars[0].base);
    ecam_out(&to, 1, 0x4a, 2, 0x8000);
    pci_msix_fire(&to.card[0]->fn, 0);
    CHECK_EQ(to.f->msi_data, 0x4000);
    bench_fini(&b);
    bench_fini(&to);
}

TEST(pci_load_aims_messages)
{
    AUTO(strbuf) struct strbuf saved = {};
    struct bench b, to;

    bench_init(&b);
    msix_row(&b, msix_table(&b), 0, 0);
    ecam_out(&b, 1, 0x4a, 2, 0x8000);
    state_stream_begin(&saved);
    device_save(&b.card[0]->fn.dev, &saved);
    state_stream_end(&saved);
    bench_init(&to);
    load_all(&to.card[0]->fn.dev, &saved, 0);
    pci_msix_fire(&to.card[0]->fn, 0);
    CHECK_EQ(to.f->msis, 1);
    CHECK_EQ(to.f->msi_data, 0x4000);
    bench_fini(&b);
    bench_fini(&to);
}

/* Two functions that change places by a load: the first one loaded has to wait for the second. */
TEST(pci_load_swaps_places)
{
    struct strbuf saved[2] = {};
    struct bench b;

    bench_init(&b);
    for (u32 swap = 0; swap < 2; swap++) {
        for (u32 i = 0; i < 2; i++)
            ecam_out(&b, i + 1, 0x04, 2, 0);
        for (u32 i = 0; i < 2; i++) {
            ecam_out(&b, i + 1, 0x10, 4, i == swap ? 0xc0000000 : 0xc0100000);
            ecam_out(&b, i + 1, 0x04, 2, 2);
        }
        for (u32 i = 0; i < 2 && !swap; i++) {
            state_stream_begin(&saved[i]);
            device_save(&b.card[i]->fn.dev, &saved[i]);
            state_stream_end(&saved[i]);
        }
    }
    CHECK_EQ(b.card[0]->fn.bars[0].base, 0xc0100000);
    load_all(&b.card[0]->fn.dev, &saved[0], 0);
    CHECK(!b.card[0]->fn.bars[0].mapped);
    load_all(&b.card[1]->fn.dev, &saved[1], 0);
    CHECK(b.card[0]->fn.bars[0].mapped && b.card[1]->fn.bars[0].mapped);
    CHECK_EQ(b.card[0]->fn.bars[0].base, 0xc0000000);
    CHECK_EQ(b.card[1]->fn.bars[0].base, 0xc0100000);
    strbuf_fini(&saved[0]);
    strbuf_fini(&saved[1]);
    bench_fini(&b);
}

TEST(pci_load_refuses)
{
    AUTO(strbuf) struct strbuf saved = {};
    struct bench b;

    bench_init(&b);
    b.card[0]->fn.pci.msix[7].ctrl = 2;
    state_stream_begin(&saved);
    device_save(&b.card[0]->fn.dev, &saved);
    state_stream_end(&saved);
    load_all(&b.card[1]->fn.dev, &saved, -EBADMSG);
    CHECK_EQ(b.card[1]->fn.pci.msix[7].ctrl, 1);
    bench_fini(&b);
}

/* ---- pci-testdev ---- */

extern const struct device_def pci_testdev_def;

static u64 count_of(struct bench *b, bool pio, u64 base)
{
    return pio ? port_in(b, (u32)base + 12, 4) : mem_in(b, base + 12, 4);
}

TEST(pci_testdev_counts)
{
    /* clang-format off */
    static const struct {
        const char *why;
        bool pio; u8 test; u32 len; u64 offset, data, counted; const char *name;
    } rows[] = {
        { "memory",                     false, 0, 1, 2048,     0xfa, 1, "mmio-no-eventfd" },
        { "memory, other data",         false, 0, 1, 2048,     0xfb, 0, "mmio-no-eventfd" },
        { "memory, other place",        false, 0, 1, 2049,     0xfa, 0, "mmio-no-eventfd" },
        { "memory, other width",        false, 0, 2, 2048,     0xfa, 0, "mmio-no-eventfd" },
        { "any data",                   false, 1, 1, 2049,     0x12, 1, "mmio-wildcard-eventfd" },
        { "data must match",            false, 2, 1, 2050,     0xfa, 1, "mmio-datamatch-eventfd" },
        { "ports",                      true,  0, 1, 128 + 3,  0xfa, 1, "portio-no-eventfd" },
        { "ports, any data",            true,  1, 1, 128 + 4,  0x34, 1, "portio-wildcard-eventfd" },
        { "ports, data must match",     true,  2, 1, 128 + 5,  0xf0, 0, "portio-datamatch-eventfd" },
        { "no such test",               false, 3, 1, 2048,     0xfa, 0, "" },
    };
    /* clang-format on */
    struct bench b = { fake_machine_new() };
    struct device *d;
    struct err e = {};
    char name[33] = {};

    CHECK_OK(device_new(&pci_testdev_def, &b.f->m, "t", NULL, &d, &e), &e);
    CHECK_OK(pci_bus_assign(b.f->m.pci, &e), &e);
    for_each_row(r, rows) {
        struct bus *bus = r->pio ? b.f->m.pio : b.f->m.mmio;
        u64 base = pci_fn_of(d)->bars[r->pio].base;

        ROW(r);
        bus_write(bus, base, 1, r->test);
        CHECK_EQ(count_of(&b, r->pio, base), 0);
        bus_write(bus, base + r->offset, r->len, r->data);
        CHECK_EQ(count_of(&b, r->pio, base), r->counted);
        for (u32 i = 0; i < 32; i++) {
            u64 c;

            bus_read(bus, base + 16 + i, 1, &c);
            name[i] = (char)c;
        }
        CHECK_STR(name, r->name);
    }
    device_free(d);
    fake_machine_free(b.f);
}
