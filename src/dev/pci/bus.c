/*
 * dev/pci/bus.c: the root bus: its host bridge in slot 0, ways to configuration space, firmware's work, INTx lines.
 *   (1) Configuration space is reached through ECAM (PCI Express 5.0, 7.2.2) and ports 0xcf8 and 0xcfc (PCI 3.0, 3.2.2.3.2),
 *       both guarded by the bridge's lock, which also guards `slots`.
 *   (2) What is not there reads all ones and swallows writes.
 *   (3) Several functions drive one GSI: it is high while any of them is.
 */
#include "dev/pci/pci_internal.h"

enum {
    ADDRESS_PORT = 0xcf8,
    DATA_PORT = 0xcfc,
    ECAM_SIZE =
        1 << 28, /* 256 buses of 32 devices of 8 functions of 4 KiB; all but bus 0 are empty */
    LINES = 4,
};
#define ADDRESS_ENABLE (1u << 31)

#define PCI_BUS_STATE(F, S) F(S, VAL, u32, address, "port 0xcf8: what port 0xcfc reaches")
STATE_STRUCT(pci_bus_state, PCI_BUS_STATE);
STATE_TABLE(pci_bus_state, PCI_BUS_STATE);

struct pci_bus {
    struct pci_fn fn;
    struct pci_bus_state st;
    struct pci_bus_cfg cfg;
    struct pci_fn *slots[PCI_DEVICES_MAX];
    pthread_mutex_t intx_lock; /* guards driven; innermost of all */
    u32 driven[LINES];         /* derived: the slots that drive each line, a bit each */
};

static struct pci_bus *pci_bus_of(struct device *d)
{
    return container_of(d, struct pci_bus, fn.dev);
}

/* The bridge's own lock is held already by whoever accesses configuration space. */
static void lock_fn(struct pci_bus *b, struct pci_fn *f)
{
    if (f != &b->fn)
        pthread_mutex_lock(&f->dev.lock);
}

static void unlock_fn(struct pci_bus *b, struct pci_fn *f)
{
    if (f != &b->fn)
        pthread_mutex_unlock(&f->dev.lock);
}

static void settle_locked(struct pci_bus *b)
{
    for_each_row(f, b->slots) {
        if (!*f)
            continue;
        lock_fn(b, *f);
        pci_config_map(*f);
        unlock_fn(b, *f);
    }
}

void pci_bus_settle(struct pci_bus *b)
{
    pthread_mutex_lock(&b->fn.dev.lock);
    settle_locked(b);
    pthread_mutex_unlock(&b->fn.dev.lock);
}

/* A register of a function: bits 27:20 bus, 19:15 device, 14:12 function, 11:0 register, as ECAM lays them out. */
static u64 config_read(struct pci_bus *b, u32 where, u32 len)
{
    struct pci_fn *f = where >> 20 || where >> 12 & 7 ? NULL : b->slots[where >> 15 & 31];
    u64 v;

    if (!f || (where & 0xfff) + len > 0x1000)
        return ~0ull;
    lock_fn(b, f);
    v = pci_config_read(f, where & 0xfff, len);
    unlock_fn(b, f);
    return v;
}

static void config_write(struct pci_bus *b, u32 where, u32 len, u64 val)
{
    struct pci_fn *f = where >> 20 || where >> 12 & 7 ? NULL : b->slots[where >> 15 & 31];

    if (!f || (where & 0xfff) + len > 0x1000)
        return;
    lock_fn(b, f);
    pci_config_write(f, where & 0xfff, len, val);
    unlock_fn(b, f);
    if ((where & 0xfff) < PCI_BAR_END) /* it may have left a place that another waits for */
        settle_locked(b);
}

static u64 ecam_read(struct device *d, u64 off, u32 len)
{
    return config_read(pci_bus_of(d), (u32)off, len);
}

static void ecam_write(struct device *d, u64 off, u32 len, u64 val)
{
    config_write(pci_bus_of(d), (u32)off, len, val);
}

/* Only whole dwords reach the address register; 0xcf9 has another owner, a reset register. */
static u64 address_read(struct device *d, u64, u32 len)
{
    return len == 4 ? pci_bus_of(d)->st.address : ~0ull;
}

static void address_write(struct device *d, u64, u32 len, u64 val)
{
    if (len == 4)
        pci_bus_of(d)->st.address = (u32)val & ~3u;
}

/* Bits 27:24 are bits 11:8 of the register, AMD's way to extended configuration space. */
static u32 data_where(const struct pci_bus *b, u64 off)
{
    u32 a = b->st.address;

    return (a & 0xffff00) << 4 | (a >> 16 & 0xf00) | (a & 0xfc) | (u32)off;
}

static u64 data_read(struct device *d, u64 off, u32 len)
{
    struct pci_bus *b = pci_bus_of(d);

    return b->st.address & ADDRESS_ENABLE ? config_read(b, data_where(b, off), len) : ~0ull;
}

static void data_write(struct device *d, u64 off, u32 len, u64 val)
{
    struct pci_bus *b = pci_bus_of(d);

    if (b->st.address & ADDRESS_ENABLE)
        config_write(b, data_where(b, off), len, val);
}

static const struct bus_ops ecam_ops = { .read = ecam_read, .write = ecam_write };
static const struct bus_ops data_ops = { .read = data_read, .write = data_write };
static const struct bus_ops address_ops = { .read = address_read,
                                            .write = address_write,
                                            .overhang = 3 };

int pci_bus_join(struct pci_bus *b, struct pci_fn *f, struct err *e)
{
    u8 slot = 0;

    pthread_mutex_lock(&b->fn.dev.lock);
    while (slot < PCI_DEVICES_MAX && b->slots[slot])
        slot++;
    if (slot < PCI_DEVICES_MAX) {
        b->slots[slot] = f;
        f->slot = slot;
    }
    pthread_mutex_unlock(&b->fn.dev.lock);
    if (slot == PCI_DEVICES_MAX)
        return err_set(e, -ENOSPC, "all %u slots of the PCI bus are taken", slot);
    return 0;
}

void pci_bus_leave(struct pci_fn *f)
{
    struct pci_bus *b = f->bus;

    pthread_mutex_lock(&b->fn.dev.lock);
    b->slots[f->slot] = NULL;
    pthread_mutex_unlock(&b->fn.dev.lock);
}

void pci_bus_intx(struct pci_bus *b, u8 slot, bool level)
{
    u32 *line = &b->driven[slot % LINES], was, bit = 1u << slot;

    pthread_mutex_lock(&b->intx_lock);
    was = *line;
    *line = level ? was | bit : was & ~bit;
    if (!was != !*line)
        machine_irq(b->fn.dev.machine, b->cfg.intx_gsi + slot % LINES, *line);
    pthread_mutex_unlock(&b->intx_lock);
}

/* ---- what firmware would do ---- */

struct window {
    const char *name;
    u64 at, end;
};

static int window_take(struct window *w, u64 size, u64 *ret)
{
    u64 at = align_up(w->at, size);

    if (at < w->at || !range_ok(at, size, w->end))
        return -ENOSPC;
    *ret = at;
    w->at = at + size;
    return 0;
}

static int assign_bar(struct pci_fn *f, u32 n, struct window *windows, struct err *e)
{
    struct window *w = &windows[f->bars[n].kind];
    u32 reg = PCI_BAR0 + 4 * n;
    u64 base;

    if (f->bars[n].kind == PCI_BAR_MEM64 && w->end == 0)
        w = &windows[PCI_BAR_MEM32];
    if (window_take(w, f->bars[n].size, &base) < 0)
        return err_set(e, -ENOSPC, "no room in the PCI %s window for BAR %u of '%s', 0x%llx bytes",
                       w->name, n, f->dev.name, f->bars[n].size);
    pci_config_write(f, reg, 4, base);
    if (f->bars[n].kind == PCI_BAR_MEM64)
        pci_config_write(f, reg + 4, 4, base >> 32);
    return 0;
}

/* Places the BARs of `size` bytes; done from the largest size to the smallest, no room is lost to alignment. */
static int assign_size(struct pci_bus *b, struct window *windows, u64 size, struct err *e)
{
    int r = 0;

    for_each_row(f, b->slots) {
        if (!*f)
            continue;
        lock_fn(b, *f);
        for (u32 n = 0; n < PCI_BARS && r == 0; n++)
            if ((*f)->bars[n].kind != PCI_BAR_NONE && (*f)->bars[n].size == size)
                r = assign_bar(*f, n, windows, e);
        unlock_fn(b, *f);
        if (r < 0)
            return r;
    }
    return 0;
}

/* Sets what of the command register decodes BARs. */
static int decode(struct pci_bus *b, struct pci_fn *f, bool on, struct err *e)
{
    u32 command = (u32)pci_config_read(f, PCI_COMMAND, 2);

    command &= ~(u32)(PCI_COMMAND_IO | PCI_COMMAND_MEM);
    for_each_row(bar, f->bars)
        if (on && bar->kind != PCI_BAR_NONE)
            command |= bar->kind == PCI_BAR_IO ? PCI_COMMAND_IO : PCI_COMMAND_MEM;
    pci_config_write(f, PCI_COMMAND, 2, command);
    if (f->fresh[PCI_INT_PIN])
        pci_config_write(f, PCI_INT_LINE, 1, b->cfg.intx_gsi + f->slot % LINES);
    for_each_row(bar, f->bars)
        if (on && bar->kind != PCI_BAR_NONE && !bar->mapped)
            return err_set(e, -EEXIST, "BAR %td of '%s': something else answers at its address",
                           bar - f->bars, f->dev.name);
    return 0;
}

static int decode_all(struct pci_bus *b, bool on, struct err *e)
{
    int r = 0;

    for_each_row(f, b->slots) {
        if (!*f || r < 0)
            continue;
        lock_fn(b, *f);
        r = decode(b, *f, on, e);
        unlock_fn(b, *f);
    }
    return r;
}

int pci_bus_assign(struct pci_bus *b, struct err *e)
{
    const struct pci_bus_cfg *c = &b->cfg;
    struct window windows[] = {
        [PCI_BAR_IO] = { "port", c->io_base, c->io_base + c->io_size },
        [PCI_BAR_MEM32] = { "32-bit memory", c->mem32_base, c->mem32_base + c->mem32_size },
        [PCI_BAR_MEM64] = { "64-bit memory", c->mem64_base,
                            c->mem64_size ? c->mem64_base + c->mem64_size : 0 },
    };
    int r;

    pthread_mutex_lock(&b->fn.dev.lock);
    r = decode_all(b, false, e);
    for (u64 size = 1ull << 63; size && r == 0; size >>= 1)
        r = assign_size(b, windows, size, e);
    if (r == 0)
        r = decode_all(b, true, e);
    pthread_mutex_unlock(&b->fn.dev.lock);
    return r;
}

/* ---- the host bridge ---- */

static int bridge_ports(struct pci_bus *b, struct err *e)
{
    struct machine *m = b->fn.dev.machine;
    int r = bus_add(m->pio, ADDRESS_PORT, 1, &address_ops, &b->fn.dev, e);

    if (r == 0)
        r = bus_add(m->pio, DATA_PORT, 4, &data_ops, &b->fn.dev, e);
    if (r == 0 && b->cfg.ecam_base)
        r = bus_add(m->mmio, b->cfg.ecam_base, ECAM_SIZE, &ecam_ops, &b->fn.dev, e);
    return r;
}

static void bridge_stop(struct device *d)
{
    struct pci_bus *b = pci_bus_of(d);

    bus_remove(d->machine->pio, ADDRESS_PORT, d);
    bus_remove(d->machine->pio, DATA_PORT, d);
    bus_remove(d->machine->mmio, b->cfg.ecam_base, d);
    pci_detach(&b->fn);
    pthread_mutex_destroy(&b->intx_lock);
}

static int bridge_start(struct device *d, const void *cfg, struct err *e)
{
    /* The identity of QEMU's generic host bridge: known to every OS, and no driver takes it for a real chipset. */
    static const struct pci_ident id = { 0x1b36, 0x0008, 0x1af4, 0x1100, 0x060000, 0 };
    struct pci_bus *b = pci_bus_of(d);
    int r;

    b->cfg = *(const struct pci_bus_cfg *)cfg;
    b->fn.bus = b;
    pthread_mutex_init(&b->intx_lock, NULL);
    r = pci_attach(&b->fn, &id, e);
    b->fn.fresh[PCI_INT_PIN] = 0;
    if (r == 0)
        r = bridge_ports(b, e);
    if (r < 0)
        bridge_stop(d);
    return r;
}

static void bridge_reset(struct device *d)
{
    pci_reset(pci_fn_of(d));
    pci_bus_of(d)->st = (struct pci_bus_state){};
}

extern const struct device_def pci_bus_def;
const struct device_def pci_bus_def = {
    .name = "pci-bus",
    .doc = "PCI root bus and host bridge",
    .size = sizeof(struct pci_bus),
    .cfg_size = sizeof(struct pci_bus_cfg),
    .parts = { STATE_PART(pci_bus, fn.pci, pci_state), STATE_PART(pci_bus, st, pci_bus_state) },
    .ranges = { { true, ADDRESS_PORT, 8 } },
    .start = bridge_start,
    .stop = bridge_stop,
    .reset = bridge_reset,
};

int pci_bus_new(struct machine *m, const struct pci_bus_cfg *cfg, struct pci_bus **ret,
                struct err *e)
{
    struct device *d;
    int r = device_new(&pci_bus_def, m, "pci", cfg, &d, e);

    if (r == 0)
        *ret = pci_bus_of(d);
    return r;
}

void pci_bus_free(struct pci_bus *b)
{
    if (b)
        device_free(&b->fn.dev);
}

struct device *pci_bus_device(struct pci_bus *b)
{
    return &b->fn.dev;
}
