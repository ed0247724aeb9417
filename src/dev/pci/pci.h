/*
 * dev/pci/pci.h: PCI functions and the one root bus: configuration space, BARs, capabilities, MSI-X, INTx.
 * (PCI Local Bus 3.0; PCI Express 5.0 chapter 7 for ECAM)
 * The bus is flat (bus 0, 32 devices of one function).  Addresses are given out by pci_bus_assign before the guest runs (a
 * direct-booted kernel finds them set) and may be moved by the guest at any time.
 */
#pragma once

#include "base/base.h"

#include "dev/dev.h"

enum {
    PCI_DEVICES_MAX = 32,
    PCI_BARS = 6,
    PCI_CFG_SIZE = 256,
    PCI_MSIX_MAX = 128, /* vectors of one function */
};

enum pci_bar_kind { PCI_BAR_NONE, PCI_BAR_IO, PCI_BAR_MEM32, PCI_BAR_MEM64 };

struct pci_ident {
    u16 vendor, device, subvendor, subdevice;
    u32 class_code; /* 0xccsspp: class, subclass, programming interface */
    u8 revision;
};

#define PCI_MSIX_ROW(F, S)                  \
    F(S, VAL, u64, addr, "message address") \
    F(S, VAL, u32, data, "message data")    \
    F(S, VAL, u32, ctrl, "vector control: bit 0 masks")
STATE_STRUCT(pci_msix_row, PCI_MSIX_ROW);

#define PCI_STATE(F, S)                                                           \
    F(S, ARR, u8, cfg, PCI_CFG_SIZE, "configuration space as the guest reads it") \
    F(S, SUB, pci_msix_row, msix, PCI_MSIX_MAX, "the MSI-X table")                \
    F(S, ARR, u64, pending, PCI_MSIX_MAX / 64, "the MSI-X pending bits")          \
    F(S, VAL, bool, intx, "INTx is asserted by the function")
STATE_STRUCT(pci_state, PCI_STATE);

struct pci_bar {
    enum pci_bar_kind kind;
    u64 size;                  /* a power of two */
    const struct bus_ops *ops; /* called with the function as its device */
    bool mapped;
    u64 base;                                                    /* where, while mapped */
    void (*moved)(struct device *d, u64 old_base, u64 new_base); /* 0: not mapped; may be NULL */
};

/* First member of each PCI device; device_def.parts lists `pci` as one of its parts. */
struct pci_fn {
    struct device dev;
    struct pci_state pci; /* guarded by dev.lock, but for what irq_lock guards */
    pthread_mutex_t
        irq_lock; /* guards pci.msix, pci.pending, pci.intx and the MSI-X enable bits; innermost */
    struct pci_bar bars[PCI_BARS];
    u8 writable[PCI_CFG_SIZE]; /* fixed: mask of bits the guest may write */
    u8 fresh[PCI_CFG_SIZE];    /* fixed: configuration space after reset */
    u8 caps_end;               /* fixed: where the next capability goes */
    u8 msix_cap;               /* fixed: offset of the MSI-X capability; 0 none */
    u8 msix_bar;               /* fixed */
    u16 n_msix;                /* fixed: vectors, each with its msi */
    struct msi *msis[PCI_MSIX_MAX];
    struct pci_bus *bus;
    u8 slot; /* fixed: device number on the bus */
    /* A capability's bytes were read (before) or written (after), for those with side effects.  May be NULL. */
    void (*cap_read)(struct pci_fn *f, u32 off, u32 len);
    void (*cap_wrote)(struct pci_fn *f, u32 off, u32 len);
};
static inline struct pci_fn *pci_fn_of(struct device *d)
{
    return container_of(d, struct pci_fn, dev);
}

struct pci_bus_cfg {
    u64 ecam_base;        /* 0: none */
    u64 io_base, io_size; /* windows that pci_bus_assign gives out */
    u64 mem32_base, mem32_size;
    u64 mem64_base, mem64_size;
    u32 intx_gsi; /* device d, pin INTA → GSI intx_gsi + d % 4 */
};

/* Makes the root bus with its host bridge in slot 0, ECAM on the MMIO bus and 0xcf8/0xcfc on the port bus. */
int pci_bus_new(struct machine *m, const struct pci_bus_cfg *cfg, struct pci_bus **ret,
                struct err *e);
void pci_bus_free(struct pci_bus *b);
/* Places all BARs in the windows and enables decoding: as firmware would.  Also after each machine reset. */
int pci_bus_assign(struct pci_bus *b, struct err *e);
/* The host bridge's device (for save and inspect). */
struct device *pci_bus_device(struct pci_bus *b);

/* In a device's start, in this order: attach (gives it a slot on machine->pci), bars, capabilities, MSI-X. */
int pci_attach(struct pci_fn *f, const struct pci_ident *id, struct err *e);
void pci_detach(struct pci_fn *f); /* in stop: unmaps, frees MSIs, leaves the bus */
int pci_bar_add(struct pci_fn *f, u32 n, enum pci_bar_kind kind, u64 size,
                const struct bus_ops *ops, struct err *e);
/* Appends a capability: `len` bytes beginning with its id; the link byte is filled in.  Its offset, or -ENOSPC. */
int pci_cap_add(struct pci_fn *f, const void *cap, u32 len, const void *writable_mask,
                struct err *e);
/* `n` vectors, table and pending bits in BAR `bar` of their own. */
int pci_msix_add(struct pci_fn *f, u32 bar, u32 n, struct err *e);
void pci_reset(struct pci_fn *f); /* in the device's reset */

/* Any thread.  Fires MSI-X vector `v`, or sets its pending bit while masked. */
void pci_msix_fire(struct pci_fn *f, u32 v);
bool pci_msix_on(struct pci_fn *f);
/* Any thread.  The function's INTx level; lines of several functions on one GSI are ORed. */
void pci_intx_set(struct pci_fn *f, bool level);
