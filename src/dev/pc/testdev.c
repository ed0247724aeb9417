/*
 * dev/pc/testdev.c: the test device that kvm-unit-tests drive through ports.
 *   0xe0    a scratch register of 32 bits, for accesses of any width
 *   0xe4    "flush page": asks the host to forget how it maps the page at the written address.  Nothing that the guest can
 *           observe comes of it under any engine, hence nothing is done
 *   0xe8    the same register as 0xe0, at bytes
 *   0x2000  and following: writing 1 or 0 sets or clears that interrupt line
 *   0xff000000, 64 KiB: memory that is reached by exits
 */
#include "dev/pc/testdev.h"

#include "dev/pc/ports.h"

enum {
    SCRATCH_PORT = 0xe0,
    FLUSH_PORT = 0xe4,
    BYTES_PORT = 0xe8,
    LINES_PORT = 0x2000,
    LINES = 24,
    MEM_SIZE = 64 * 1024,
};
#define MEM_GPA 0xff000000ull

#define TESTDEV_STATE(F, S)                                           \
    F(S, VAL, u32, scratch, "the register at ports 0xe0 and 0xe8")    \
    F(S, VAL, u32, lines, "interrupt lines that are set, a bit each") \
    F(S, ARR, u8, mem, MEM_SIZE, "the memory at 0xff000000")
STATE_STRUCT(testdev_state, TESTDEV_STATE);

static int check_state(void *obj, struct err *e)
{
    const struct testdev_state *s = obj;

    if (s->lines >> LINES)
        return err_set(e, -EBADMSG, "interrupt lines 0x%08x", s->lines);
    return 0;
}
STATE_TABLE(testdev_state, TESTDEV_STATE, .after_load = check_state);

struct testdev {
    struct device dev;
    struct testdev_state st;
};

static struct testdev_state *state_of(struct device *d)
{
    return &container_of(d, struct testdev, dev)->st;
}

static u8 scratch_get(struct device *d, u32 reg)
{
    return (u8)(state_of(d)->scratch >> 8 * reg);
}

static void scratch_set(struct device *d, u32 reg, u8 v)
{
    struct testdev_state *st = state_of(d);

    st->scratch = (st->scratch & ~(0xffu << 8 * reg)) | (u32)v << 8 * reg;
}

static u64 scratch_read(struct device *d, u64 off, u32 len)
{
    return ports_read_bytes(d, off, len, scratch_get);
}

static void scratch_write(struct device *d, u64 off, u32 len, u64 val)
{
    ports_write_bytes(d, off, len, val, scratch_set);
}

static u64 zero_read(struct device *, u64, u32)
{
    return 0;
}

static void flush_write(struct device *, u64, u32, u64)
{
}

static void set_line(struct device *d, u32 line, u8 v)
{
    u32 *lines = &state_of(d)->lines;

    *lines = (*lines & ~(1u << line)) | (v ? 1u << line : 0);
    machine_irq(d->machine, line, v != 0);
}

static void lines_write(struct device *d, u64 off, u32, u64 val)
{
    set_line(d, (u32)off, (u8)(val & 0xff));
}

static u64 mem_read(struct device *d, u64 off, u32 len)
{
    return le_load(state_of(d)->mem + off, len);
}

static void mem_write_some(struct device *d, u64 off, u32 len, u64 val)
{
    le_store(state_of(d)->mem + off, len, val);
}

static const struct bus_ops scratch_ops = { .read = scratch_read, .write = scratch_write };
static const struct bus_ops flush_ops = { .read = zero_read, .write = flush_write };
static const struct bus_ops lines_ops = { .read = zero_read, .write = lines_write };
static const struct bus_ops mem_ops = { .read = mem_read, .write = mem_write_some };

static const struct ports testdev_ports[] = {
    { SCRATCH_PORT, 4, &scratch_ops, false }, { FLUSH_PORT, 4, &flush_ops, false },
    { BYTES_PORT, 4, &scratch_ops, false },   { LINES_PORT, LINES, &lines_ops, false },
    { MEM_GPA, MEM_SIZE, &mem_ops, true },
};

static void testdev_stop(struct device *d)
{
    ports_remove(d, testdev_ports, ARRAY_LEN(testdev_ports));
}

static int testdev_start(struct device *d, const void *, struct err *e)
{
    return ports_add(d, testdev_ports, ARRAY_LEN(testdev_ports), e);
}

static void testdev_reset(struct device *d)
{
    struct testdev_state *st = state_of(d);

    for (u32 i = 0; i < LINES; i++)
        if (st->lines >> i & 1)
            machine_irq(d->machine, i, false);
    *st = (struct testdev_state){};
}

const struct device_def testdev_def = {
    .name = "testdev",
    .doc = "port test device of kvm-unit-tests",
    .size = sizeof(struct testdev),
    .parts = { STATE_PART(testdev, st, testdev_state) },
    .ranges = { { true, SCRATCH_PORT, 12 },
                { true, LINES_PORT, LINES },
                { false, MEM_GPA, MEM_SIZE } },
    .start = testdev_start,
    .stop = testdev_stop,
    .reset = testdev_reset,
};
