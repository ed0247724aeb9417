/*
 * dev/pci/testdev.c: the PCI test device of kvm-unit-tests: counts writes, to measure what an exit costs.
 * BAR 0 (memory) and BAR 1 (ports) look alike.  Their first half is a header that tells of the chosen test:
 *     0 test (write: choose one)   1 width   4 offset, le32   8 data   12 count, le32   16 name
 * and the guest writes `data` with `width` bytes to `offset`, in the second half.  No test chosen: all zeroes.
 * The memory BAR's second test, "wildcard-eventfd", is counted through a doorbell where the engine has one.
 */
#include "dev/pci/pci.h"

enum {
    MEM_SIZE = 4096,
    IO_SIZE = 256,
    TESTS = 3, /* of each BAR; the memory BAR's come first */
    NONE = 0xff,
    NAME_AT = 16,
    HEADER_SIZE = 48,
    MATCH_DATA = 0xfa,
    ANY_DATA = 0xce,
    WILDCARD = 1,
};

#define PCI_TESTDEV_STATE(F, S)                                                       \
    F(S, VAL, u8, test, "test under way: 0 to 2 of BAR 0, 3 to 5 of BAR 1, 255 none") \
    F(S, VAL, u32, count, "writes that the test counted")
STATE_STRUCT(pci_testdev_state, PCI_TESTDEV_STATE);

static int check_test(void *obj, struct err *e)
{
    const struct pci_testdev_state *s = obj;

    if (s->test >= 2 * TESTS && s->test != NONE)
        return err_set(e, -EBADMSG, "test %u does not exist", s->test);
    return 0;
}
STATE_TABLE(pci_testdev_state, PCI_TESTDEV_STATE, .after_load = check_test);

struct pci_testdev {
    struct pci_fn fn;
    struct pci_testdev_state st;
    int bell;     /* host: eventfd of the doorbell */
    u64 bell_gpa; /* host: where the engine rings it now; 0: nowhere */
};

static const char *const names[2 * TESTS] = {
    "mmio-no-eventfd",   "mmio-wildcard-eventfd",   "mmio-datamatch-eventfd",
    "portio-no-eventfd", "portio-wildcard-eventfd", "portio-datamatch-eventfd",
};

static struct pci_testdev *pci_testdev_of(struct device *d)
{
    return container_of(d, struct pci_testdev, fn.dev);
}

/* Where the guest writes for `test`: behind the header's half, and a byte of its own for each. */
static u32 test_offset(u8 test)
{
    return (test < TESTS ? MEM_SIZE : IO_SIZE) / 2 + test;
}

static void take_rings(struct pci_testdev *t)
{
    if (t->bell_gpa)
        t->st.count += (u32)fd_event_take(t->bell);
}

/* Puts the doorbell to where the chosen test and the BAR's place want it. */
static void aim_bell(struct pci_testdev *t)
{
    struct machine *m = t->fn.dev.machine;
    bool want = t->st.test == WILDCARD && t->fn.bars[0].mapped;
    u64 gpa = want ? t->fn.bars[0].base + test_offset(WILDCARD) : 0;

    if (t->bell_gpa == gpa)
        return;
    if (t->bell_gpa)
        m->ops->doorbell(m->arg, t->bell_gpa, 1, t->bell, false);
    take_rings(t);
    t->bell_gpa = gpa && m->ops->doorbell(m->arg, gpa, 1, t->bell, true) >= 0 ? gpa : 0;
}

static void choose(struct pci_testdev *t, u8 test)
{
    t->st.test = test;
    aim_bell(t);
    take_rings(t);
    t->st.count = 0;
}

static u64 read_header(struct pci_testdev *t, u64 off, u32 len)
{
    const u8 test = t->st.test;
    u8 bytes[HEADER_SIZE] = {};

    if (test == NONE || !range_ok(off, len, sizeof(bytes)))
        return 0;
    take_rings(t);
    bytes[0] = test % TESTS;
    bytes[1] = 1;
    le_store(bytes + 4, 4, test_offset(test));
    bytes[8] = test % TESTS == WILDCARD ? ANY_DATA : MATCH_DATA;
    le_store(bytes + 12, 4, t->st.count);
    str_copy((char *)bytes + NAME_AT, sizeof(bytes) - NAME_AT, names[test]);
    return le_load(bytes + off, len);
}

static void write_bar(struct pci_testdev *t, u64 off, u32 len, u64 val, u8 first)
{
    u8 test = t->st.test;

    if (off == 0) {
        choose(t, val < TESTS ? (u8)(first + val) : NONE);
        return;
    }
    if (test == NONE || test / TESTS != first / TESTS || off != test_offset(test))
        return;
    if (test % TESTS == WILDCARD || (len == 1 && val == MATCH_DATA))
        t->st.count++;
}

static u64 bar_read(struct device *d, u64 off, u32 len)
{
    return read_header(pci_testdev_of(d), off, len);
}

static void mem_bar_write(struct device *d, u64 off, u32 len, u64 val)
{
    write_bar(pci_testdev_of(d), off, len, val, 0);
}

static void io_bar_write(struct device *d, u64 off, u32 len, u64 val)
{
    write_bar(pci_testdev_of(d), off, len, val, TESTS);
}

static const struct bus_ops mem_ops = { .read = bar_read, .write = mem_bar_write };
static const struct bus_ops io_ops = { .read = bar_read, .write = io_bar_write };

static void on_moved(struct device *d, u64, u64)
{
    aim_bell(pci_testdev_of(d));
}

static void testdev_stop(struct device *d)
{
    struct pci_testdev *t = pci_testdev_of(d);

    pci_detach(&t->fn); /* takes the doorbell off with the BAR */
    fd_close(&t->bell);
}

static int testdev_start(struct device *d, const void *, struct err *e)
{
    static const struct pci_ident id = { 0x1b36, 0x0005, 0x1af4, 0x1100, 0xff0000, 0 };
    struct pci_testdev *t = pci_testdev_of(d);
    int r;

    t->st.test = NONE;
    t->bell = fd_eventfd();
    if (t->bell < 0)
        return err_code(e, t->bell, "make an eventfd");
    r = pci_attach(&t->fn, &id, e);
    if (r == 0)
        r = pci_bar_add(&t->fn, 0, PCI_BAR_MEM32, MEM_SIZE, &mem_ops, e);
    if (r == 0)
        r = pci_bar_add(&t->fn, 1, PCI_BAR_IO, IO_SIZE, &io_ops, e);
    if (r < 0) {
        testdev_stop(d);
        return r;
    }
    t->fn.bars[0].moved = on_moved;
    t->fn.fresh[0x3d] = 0; /* no interrupt pin */
    return 0;
}

static void testdev_reset(struct device *d)
{
    struct pci_testdev *t = pci_testdev_of(d);

    pci_reset(&t->fn);
    choose(t, NONE);
}

static void testdev_pause(struct device *d)
{
    take_rings(pci_testdev_of(d));
}

static void testdev_resume(struct device *d)
{
    aim_bell(pci_testdev_of(d)); /* a loaded state may have chosen another test */
}

extern const struct device_def pci_testdev_def;
const struct device_def pci_testdev_def = {
    .name = "pci-testdev",
    .doc = "PCI test device of kvm-unit-tests",
    .size = sizeof(struct pci_testdev),
    .parts = { STATE_PART(pci_testdev, fn.pci, pci_state),
               STATE_PART(pci_testdev, st, pci_testdev_state) },
    .start = testdev_start,
    .stop = testdev_stop,
    .reset = testdev_reset,
    .pause = testdev_pause,
    .resume = testdev_resume,
};
