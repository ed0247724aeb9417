/*
 * dev/pci/pci.c: what a PCI function is made of, put together once by a device's start; its reset and its saved state.
 */
#include "dev/pci/pci_internal.h"

static int row_check(void *obj, struct err *e)
{
    const struct pci_msix_row *row = obj;

    if (row->ctrl > 1 || row->addr & 3)
        return err_set(e, -EBADMSG, "MSI-X row with control 0x%x, address 0x%llx", row->ctrl,
                       row->addr);
    return 0;
}
STATE_TABLE(pci_msix_row, PCI_MSIX_ROW, .after_load = row_check);
STATE_TABLE(pci_state, PCI_STATE);

/* What a stream may not change: the bytes that the guest cannot write either. */
static int check_loaded(struct pci_fn *f, struct err *e)
{
    for (u32 i = 0; i < PCI_CFG_SIZE; i++) {
        u8 differs = (u8)((f->pci.cfg[i] ^ f->fresh[i]) & ~f->writable[i]);

        if (differs)
            return err_set(e, -EBADMSG,
                           "the stream is of another device: configuration byte 0x%02x is 0x%02x, "
                           "here it is 0x%02x",
                           i, f->pci.cfg[i], f->fresh[i]);
    }
    return 0;
}

/* Rebuilds what derives from the state: BARs on the buses, aimed messages, the INTx line. */
static int pci_loaded(struct device *d, const struct state_def *part, struct err *e)
{
    struct pci_fn *f = pci_fn_of(d);
    int r;

    if (part != &pci_state_def)
        return 0;
    pthread_mutex_lock(&d->lock);
    r = check_loaded(f, e);
    if (r == 0) {
        pthread_mutex_lock(&f->irq_lock);
        pci_config_intx(f);
        pci_msix_wake(f);
        pthread_mutex_unlock(&f->irq_lock);
        pci_config_map(f);
    }
    pthread_mutex_unlock(&d->lock);
    if (r == 0)
        pci_bus_settle(f->bus);
    return r;
}

static void fresh_header(struct pci_fn *f, const struct pci_ident *id)
{
    const u32 command = PCI_COMMAND_IO | PCI_COMMAND_MEM | PCI_COMMAND_MASTER | PCI_COMMAND_PARITY |
                        PCI_COMMAND_SERR | PCI_COMMAND_INTX_OFF;

    le_store(f->fresh + PCI_VENDOR, 2, id->vendor);
    le_store(f->fresh + PCI_DEVICE, 2, id->device);
    le_store(f->fresh + PCI_REVISION, 1, id->revision);
    le_store(f->fresh + PCI_CLASS, 3, id->class_code);
    le_store(f->fresh + PCI_SUBVENDOR, 2, id->subvendor);
    le_store(f->fresh + PCI_SUBDEVICE, 2, id->subdevice);
    le_store(f->fresh + PCI_INT_PIN, 1, 1); /* INTA; a device without sets 0 */
    le_store(f->writable + PCI_COMMAND, 2, command);
    le_store(f->writable + PCI_CACHE_LINE, 1, 0xff);
    le_store(f->writable + PCI_INT_LINE, 1, 0xff);
}

int pci_attach(struct pci_fn *f, const struct pci_ident *id, struct err *e)
{
    int r;

    if (!f->bus) /* the bus's own function has set it */
        f->bus = f->dev.machine->pci;
    if (!f->bus)
        return err_set(e, -ENODEV, "the machine has no PCI bus");
    r = pci_bus_join(f->bus, f, e);
    if (r < 0) {
        f->bus = NULL;
        return r;
    }
    pthread_mutex_init(&f->irq_lock, NULL);
    f->caps_end = PCI_HEADER_END;
    fresh_header(f, id);
    f->dev.loaded = pci_loaded;
    return 0;
}

void pci_detach(struct pci_fn *f)
{
    if (!f->bus)
        return;
    pthread_mutex_lock(&f->dev.lock);
    pci_config_unmap(f);
    pthread_mutex_unlock(&f->dev.lock);
    pci_bus_intx(f->bus, f->slot, false);
    pci_msix_fini(f);
    pci_bus_leave(f);
    pthread_mutex_destroy(&f->irq_lock);
    f->bus = NULL;
}

int pci_bar_add(struct pci_fn *f, u32 n, enum pci_bar_kind kind, u64 size,
                const struct bus_ops *ops, struct err *e)
{
    bool wide = kind == PCI_BAR_MEM64;
    u64 size_min = kind == PCI_BAR_IO ? 4 : 16, size_max = 1ull << (wide ? 46 : 31);
    u64 mask = ~(size - 1);

    must(kind != PCI_BAR_NONE && n + wide < PCI_BARS && f->bars[n].kind == PCI_BAR_NONE);
    if (kind == PCI_BAR_IO)
        size_max = 256; /* PCI 3.0, 6.2.5.1 */
    if (!is_pow2(size) || size < size_min || size > size_max)
        return err_set(e, -EINVAL, "BAR %u of 0x%llx bytes; a power of two from 0x%llx to 0x%llx",
                       n, size, size_min, size_max);
    f->bars[n] = (struct pci_bar){ .kind = kind, .size = size, .ops = ops };
    f->fresh[PCI_BAR0 + 4 * n] = kind == PCI_BAR_IO ? 1 : wide ? 4 : 0;
    le_store(f->writable + PCI_BAR0 + 4 * n, 4, mask);
    if (wide)
        le_store(f->writable + PCI_BAR0 + 4 * n + 4, 4, mask >> 32);
    return 0;
}

int pci_cap_add(struct pci_fn *f, const void *cap, u32 len, const void *writable_mask,
                struct err *e)
{
    u32 at = f->caps_end, link = PCI_CAP_LIST;

    /* caps_end must stay below 256, so the last dword is never used. */
    if (len < 2 || at + align_up(len, 4u) > PCI_CFG_SIZE - 4)
        return err_set(e, -ENOSPC, "no room for %u bytes of PCI capability", len);
    while (f->fresh[link]) /* ours, never the guest's */
        link = f->fresh[link] + 1;
    f->fresh[link] = (u8)at;
    memcpy(f->fresh + at, cap, len);
    f->fresh[at + 1] = 0;
    if (writable_mask)
        memcpy(f->writable + at, writable_mask, len);
    f->writable[at] = f->writable[at + 1] = 0;
    f->fresh[PCI_STATUS] |= PCI_STATUS_CAPS;
    f->caps_end = (u8)(at + align_up(len, 4u));
    return (int)at;
}

void pci_reset(struct pci_fn *f)
{
    pthread_mutex_lock(&f->irq_lock);
    memcpy(f->pci.cfg, f->fresh, sizeof(f->pci.cfg));
    pci_msix_reset(f);
    f->pci.intx = false;
    pci_config_intx(f);
    pthread_mutex_unlock(&f->irq_lock);
    pci_config_map(f);
}
