/*
 * dev/pci/pci_internal.h: what the files of this folder ask of one another.
 * Order of locks: the bus's device, a function's device, a function's irq_lock, the bus's intx_lock.  The lock of a second
 * function is taken only with the bus's held and no other function's.
 */
#pragma once

#include "base/base.h"

#include "dev/pci/pci.h"

/* Registers of a type 0 header.  (PCI 3.0, 6.1) */
enum {
    PCI_VENDOR = 0x00,
    PCI_DEVICE = 0x02,
    PCI_COMMAND = 0x04,
    PCI_STATUS = 0x06,
    PCI_REVISION = 0x08,
    PCI_CLASS = 0x09,
    PCI_CACHE_LINE = 0x0c,
    PCI_BAR0 = 0x10,
    PCI_BAR_END = PCI_BAR0 + 4 * PCI_BARS,
    PCI_SUBVENDOR = 0x2c,
    PCI_SUBDEVICE = 0x2e,
    PCI_CAP_LIST = 0x34,
    PCI_INT_LINE = 0x3c,
    PCI_INT_PIN = 0x3d,
    PCI_HEADER_END = 0x40,
};

enum {
    PCI_COMMAND_IO = 1 << 0,
    PCI_COMMAND_MEM = 1 << 1,
    PCI_COMMAND_MASTER = 1 << 2,
    PCI_COMMAND_PARITY = 1 << 6,
    PCI_COMMAND_SERR = 1 << 8,
    PCI_COMMAND_INTX_OFF = 1 << 10,
    PCI_STATUS_INTX = 1 << 3,
    PCI_STATUS_CAPS = 1 << 4,
};

/* One access to the function's own 256 bytes; `off` + `len` may end behind them, where zeroes are.  dev.lock held. */
u64 pci_config_read(struct pci_fn *f, u32 off, u32 len);
void pci_config_write(struct pci_fn *f, u32 off, u32 len, u64 val);
/* Brings the BARs on the buses to where command register and BARs say.  dev.lock held. */
void pci_config_map(struct pci_fn *f);
void pci_config_unmap(struct pci_fn *f);
/* Tells the bus whether the function drives its INTx line now.  irq_lock held. */
void pci_config_intx(struct pci_fn *f);

/* Enabled, and not masked as a whole; irq_lock held. */
bool pci_msix_live(const struct pci_fn *f);
bool pci_msix_enabled(const struct pci_fn *f);
/* The function has come alive: aims its vectors and fires what is pending.  irq_lock held. */
void pci_msix_wake(struct pci_fn *f);
void pci_msix_reset(struct pci_fn *f);
void pci_msix_fini(struct pci_fn *f);

/* Gives `f` a slot.  -ENOSPC. */
int pci_bus_join(struct pci_bus *b, struct pci_fn *f, struct err *e);
void pci_bus_leave(struct pci_fn *f);
/* The level of a slot's INTA. */
void pci_bus_intx(struct pci_bus *b, u8 slot, bool level);
/* Maps what could not be mapped before because another function was in its place.  No function's lock held. */
void pci_bus_settle(struct pci_bus *b);
