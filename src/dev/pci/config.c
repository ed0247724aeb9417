/*
 * dev/pci/config.c: configuration space of one function, and where its BARs lie on the buses.  (PCI 3.0, 6.2)
 *   (1) Bytes of pci.cfg change under dev.lock and irq_lock, so that either is enough to read them.
 *   (2) A BAR is on its bus exactly while the command register decodes it, its address is possible, and nobody else is there.
 */
#include "dev/pci/pci_internal.h"

#define TRACE_DEF "dev/trace.def"
#include "base/trace_points.h"

static u32 cfg_get(const struct pci_fn *f, u32 off, u32 len)
{
    return (u32)le_load(f->pci.cfg + off, len);
}

static bool touches(u32 off, u32 len, u32 from, u32 to)
{
    return off < to && off + len > from;
}

static struct bus *bus_of(const struct pci_fn *f, const struct pci_bar *bar)
{
    return bar->kind == PCI_BAR_IO ? f->dev.machine->pio : f->dev.machine->mmio;
}

/*
 * Where BAR `n` decodes; 0 when it does not.  Address 0 and the last addresses of a space, which every driver writes to learn
 * a BAR's size, decode nothing.
 */
static u64 bar_wants(const struct pci_fn *f, u32 n)
{
    const struct pci_bar *bar = &f->bars[n];
    u32 enable = bar->kind == PCI_BAR_IO ? PCI_COMMAND_IO : PCI_COMMAND_MEM;
    u64 last, base = cfg_get(f, PCI_BAR0 + 4 * n, 4);

    if (bar->kind == PCI_BAR_NONE || !(cfg_get(f, PCI_COMMAND, 2) & enable))
        return 0;
    if (bar->kind == PCI_BAR_MEM64)
        base |= (u64)cfg_get(f, PCI_BAR0 + 4 * n + 4, 4) << 32;
    base = align_down(base, bar->size);
    last = base + bar->size - 1;
    if (bar->kind == PCI_BAR_IO && last >= 0xffff)
        return 0;
    if (bar->kind == PCI_BAR_MEM32 && last >= 0xffffffff)
        return 0;
    return last == ~0ull ? 0 : base;
}

static void bar_take_off(struct pci_fn *f, u32 n)
{
    struct pci_bar *bar = &f->bars[n];

    bus_remove(bus_of(f, bar), bar->base, &f->dev);
    bar->mapped = false;
    trace_pci_bar_unmapped(f->slot, n, bar->base);
}

static void bar_put(struct pci_fn *f, u32 n, u64 base)
{
    struct pci_bar *bar = &f->bars[n];
    int r = bus_add(bus_of(f, bar), base, bar->size, bar->ops, &f->dev, NULL);

    if (r < 0) {
        trace_pci_bar_refused(f->slot, n, base, (u64)-r);
        return;
    }
    bar->mapped = true;
    bar->base = base;
    trace_pci_bar_mapped(f->slot, n, base, bar->size);
}

static void map_to(struct pci_fn *f, const u64 *want)
{
    u64 was[PCI_BARS];

    for (u32 n = 0; n < PCI_BARS; n++) { /* first off, then on: BARs may swap places */
        was[n] = f->bars[n].mapped ? f->bars[n].base : 0;
        if (was[n] && was[n] != want[n])
            bar_take_off(f, n);
    }
    for (u32 n = 0; n < PCI_BARS; n++) {
        struct pci_bar *bar = &f->bars[n];
        u64 now;

        if (want[n] && !bar->mapped)
            bar_put(f, n, want[n]);
        now = bar->mapped ? bar->base : 0;
        if (bar->moved && now != was[n])
            bar->moved(&f->dev, was[n], now);
    }
}

void pci_config_map(struct pci_fn *f)
{
    u64 want[PCI_BARS];

    for (u32 n = 0; n < PCI_BARS; n++)
        want[n] = bar_wants(f, n);
    map_to(f, want);
}

void pci_config_unmap(struct pci_fn *f)
{
    static const u64 nowhere[PCI_BARS];

    map_to(f, nowhere);
}

void pci_config_intx(struct pci_fn *f)
{
    bool off = cfg_get(f, PCI_COMMAND, 2) & PCI_COMMAND_INTX_OFF;

    pci_bus_intx(f->bus, f->slot, f->pci.intx && !off && !pci_msix_enabled(f));
}

void pci_intx_set(struct pci_fn *f, bool level)
{
    pthread_mutex_lock(&f->irq_lock);
    if (f->pci.intx != level) {
        f->pci.intx = level;
        pci_config_intx(f);
    }
    pthread_mutex_unlock(&f->irq_lock);
}

u64 pci_config_read(struct pci_fn *f, u32 off, u32 len)
{
    u8 out
        [8] = {}; /* capabilities of PCI Express would begin at 0x100: zeroes say that there are none */

    if (f->cap_read && touches(off, len, PCI_HEADER_END, PCI_CFG_SIZE))
        f->cap_read(f, off, len);
    for (u32 i = 0; i < len && off + i < PCI_CFG_SIZE; i++)
        out[i] = f->pci.cfg[off + i];
    if (touches(off, len, PCI_STATUS, PCI_STATUS + 1)) {
        pthread_mutex_lock(&f->irq_lock);
        out[PCI_STATUS - off] |= f->pci.intx ? PCI_STATUS_INTX : 0;
        pthread_mutex_unlock(&f->irq_lock);
    }
    trace_pci_config_read(f->slot, off, len, le_load(out, len));
    return le_load(out, len);
}

static void store_masked(struct pci_fn *f, u32 off, u32 len, u64 val)
{
    for (u32 i = 0; i < len && off + i < PCI_CFG_SIZE; i++) {
        u8 mask = f->writable[off + i], *at = &f->pci.cfg[off + i];

        *at = (u8)((*at & ~mask) | (val >> 8 * i & mask));
    }
}

void pci_config_write(struct pci_fn *f, u32 off, u32 len, u64 val)
{
    bool was_live;

    trace_pci_config_write(f->slot, off, len, val);
    pthread_mutex_lock(&f->irq_lock);
    was_live = pci_msix_live(f);
    store_masked(f, off, len, val);
    pci_config_intx(f);
    if (!was_live && pci_msix_live(f))
        pci_msix_wake(f);
    pthread_mutex_unlock(&f->irq_lock);
    if (touches(off, len, PCI_COMMAND, PCI_COMMAND + 2) || touches(off, len, PCI_BAR0, PCI_BAR_END))
        pci_config_map(f);
    if (f->cap_wrote && touches(off, len, PCI_HEADER_END, PCI_CFG_SIZE))
        f->cap_wrote(f, off, len);
}
