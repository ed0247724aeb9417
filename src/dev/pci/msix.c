/*
 * dev/pci/msix.c: MSI-X of one function: its table, its pending bits, and firing.  (PCI 3.0, 6.8.2)
 *   (1) A vector that fires while masked, by itself or with the whole function, sets its pending bit.
 *   (2) A message is aimed (which costs the engine much) only when a vector comes alive or changes while alive; so a live
 *       vector is always aimed at what its row says.
 *   (3) A pending bit is never set while its vector is live.
 */
#include "dev/pci/pci_internal.h"

#include <assert.h>

#define TRACE_DEF "dev/trace.def"
#include "base/trace_points.h"

enum {
    CAP_MSIX = 0x11,
    CAP_LEN = 12,
    CTRL_AT = 3, /* upper byte of message control */
    CTRL_ENABLE = 0x80,
    CTRL_MASK_ALL = 0x40,
    ROW_SIZE = 16,
    ROW_MASKED = 1,
    PBA_AT = PCI_MSIX_MAX * ROW_SIZE, /* in the BAR, after the longest table */
    BAR_SIZE = 4096,
};
static_assert(PBA_AT + PCI_MSIX_MAX / 8 <= BAR_SIZE, "table and pending bits share one page");

bool pci_msix_enabled(const struct pci_fn *f)
{
    return f->msix_cap && f->pci.cfg[f->msix_cap + CTRL_AT] & CTRL_ENABLE;
}

bool pci_msix_live(const struct pci_fn *f)
{
    return pci_msix_enabled(f) && !(f->pci.cfg[f->msix_cap + CTRL_AT] & CTRL_MASK_ALL);
}

bool pci_msix_on(struct pci_fn *f)
{
    bool on;

    pthread_mutex_lock(&f->irq_lock);
    on = pci_msix_enabled(f);
    pthread_mutex_unlock(&f->irq_lock);
    return on;
}

static bool vector_live(const struct pci_fn *f, u32 v)
{
    return pci_msix_live(f) && !(f->pci.msix[v].ctrl & ROW_MASKED);
}

/* The vector has come alive, or has changed while it was. */
static void vector_wake(struct pci_fn *f, u32 v)
{
    struct machine *m = f->dev.machine;
    u64 *word = &f->pci.pending[v / 64], bit = 1ull << v % 64;

    m->ops->msi_aim(m->arg, f->msis[v], f->pci.msix[v].addr, f->pci.msix[v].data);
    if (*word & bit) {
        *word &= ~bit;
        trace_pci_msix_fire(f->slot, v);
        m->ops->msi_fire(m->arg, f->msis[v]);
    }
}

void pci_msix_wake(struct pci_fn *f)
{
    for (u32 v = 0; v < f->n_msix; v++)
        if (vector_live(f, v))
            vector_wake(f, v);
}

void pci_msix_fire(struct pci_fn *f, u32 v)
{
    struct machine *m = f->dev.machine;

    if (v >= f->n_msix) /* the guest chose the vector's number */
        return;
    pthread_mutex_lock(&f->irq_lock);
    if (vector_live(f, v)) {
        trace_pci_msix_fire(f->slot, v);
        m->ops->msi_fire(m->arg, f->msis[v]);
    } else if (pci_msix_enabled(f)) {
        trace_pci_msix_pend(f->slot, v);
        f->pci.pending[v / 64] |= 1ull << v % 64;
    }
    pthread_mutex_unlock(&f->irq_lock);
}

/* 6.8.2: software reads and writes whole, aligned dwords and qwords; anything else is undefined, and here reads 0. */
static bool access_ok(u64 off, u32 len)
{
    return (len == 4 || len == 8) && is_aligned(off, len);
}

static void row_to_bytes(const struct pci_msix_row *row, u8 *bytes)
{
    le_store(bytes, 8, row->addr);
    le_store(bytes + 8, 4, row->data);
    le_store(bytes + 12, 4, row->ctrl);
}

static u64 table_read(struct device *d, u64 off, u32 len)
{
    struct pci_fn *f = pci_fn_of(d);
    u8 bytes[ROW_SIZE] = {};
    u64 v = 0;

    if (!access_ok(off, len))
        return 0;
    pthread_mutex_lock(&f->irq_lock);
    if (off < f->n_msix * (u64)ROW_SIZE) {
        row_to_bytes(&f->pci.msix[off / ROW_SIZE], bytes);
        v = le_load(bytes + off % ROW_SIZE, len);
    } else if (off >= PBA_AT && off - PBA_AT < sizeof(f->pci.pending)) {
        v = le_load((u8 *)f->pci.pending + (off - PBA_AT), len);
    }
    pthread_mutex_unlock(&f->irq_lock);
    return v;
}

static void table_write(struct device *d, u64 off, u32 len, u64 val)
{
    struct pci_fn *f = pci_fn_of(d);
    u8 bytes[ROW_SIZE];
    u32 v = (u32)(off / ROW_SIZE);
    struct pci_msix_row *row, old;
    bool was_live;

    if (!access_ok(off, len) || off >= f->n_msix * (u64)ROW_SIZE) /* pending bits are read-only */
        return;
    pthread_mutex_lock(&f->irq_lock);
    row = &f->pci.msix[v];
    old = *row;
    was_live = vector_live(f, v);
    row_to_bytes(row, bytes);
    le_store(bytes + off % ROW_SIZE, len, val);
    row->addr = le_load(bytes, 8) & ~3ull;
    row->data = (u32)le_load(bytes + 8, 4);
    row->ctrl = (u32)le_load(bytes + 12, 4) & ROW_MASKED;
    if (vector_live(f, v) && (!was_live || old.addr != row->addr || old.data != row->data))
        vector_wake(f, v);
    pthread_mutex_unlock(&f->irq_lock);
}

static const struct bus_ops table_ops = { .read = table_read, .write = table_write };

int pci_msix_add(struct pci_fn *f, u32 bar, u32 n, struct err *e)
{
    struct machine *m = f->dev.machine;
    const u8 writable[CAP_LEN] = { [CTRL_AT] = CTRL_ENABLE | CTRL_MASK_ALL };
    u8 cap[CAP_LEN] = { CAP_MSIX };
    int r;

    if (n == 0 || n > PCI_MSIX_MAX)
        return err_set(e, -EINVAL, "%u MSI-X vectors; 1 to %u are allowed", n, PCI_MSIX_MAX);
    r = pci_bar_add(f, bar, PCI_BAR_MEM32, BAR_SIZE, &table_ops, e);
    if (r < 0)
        return r;
    le_store(cap + 2, 2, n - 1);
    le_store(cap + 4, 4, bar); /* the table begins at 0 */
    le_store(cap + 8, 4, PBA_AT | bar);
    r = pci_cap_add(f, cap, sizeof(cap), writable, e);
    if (r < 0)
        return r;
    f->msix_cap = (u8)r;
    f->msix_bar = (u8)bar;
    for (f->n_msix = 0; f->n_msix < n; f->n_msix++) {
        f->msis[f->n_msix] = m->ops->msi_new(m->arg);
        if (!f->msis[f->n_msix])
            return err_set(e, -ENOSPC, "no message interrupt for vector %u", f->n_msix);
    }
    return 0;
}

void pci_msix_reset(struct pci_fn *f)
{
    memset(f->pci.pending, 0, sizeof(f->pci.pending));
    for (u32 v = 0; v < PCI_MSIX_MAX; v++)
        f->pci.msix[v] = (struct pci_msix_row){ .ctrl = ROW_MASKED };
}

void pci_msix_fini(struct pci_fn *f)
{
    struct machine *m = f->dev.machine;

    while (f->n_msix > 0)
        m->ops->msi_free(m->arg, f->msis[--f->n_msix]);
}
