/*
 * dev/dev.h: what a device is, and what it may ask of the machine that it is part of.
 *
 * A device is declared once, by a `struct device_def` at the foot of its file, and listed in dev/all.c.  It is three structs:
 * its configuration (immutable, from the user), its state (what the guest can observe: made by a state list), and itself (fds,
 * timers, threads; rebuilt).
 *
 * Threads and locks:
 *   (1) `lock` guards a device against the vCPUs: the bus takes it around every register access, the machine around reset,
 *       save and load.  It is never taken on an I/O thread.
 *   (2) What an I/O thread owns (rings, timers, host fds) is touched by others only through loop_call to its loop, which may
 *       be done with `lock` held.
 *   (3) Interrupts may be raised from any thread, with or without `lock`.
 */
#pragma once

#include "base/base.h"

#include "dev/bus.h"
#include "state/state.h"

#include <pthread.h>

struct field;
struct reg_bank;
struct loop;
struct mem;
struct msi;

enum machine_event {
    MACHINE_RESET,    /* the guest asked for a reset */
    MACHINE_POWEROFF, /* … or to be powered off */
    MACHINE_EXIT,     /* debug exit: `value` is the process's exit status */
    MACHINE_IO_STOP,  /* the host cannot serve a request (disk full): pause, and say `why` */
    MACHINE_PANIC,    /* the guest reported that it crashed */
};

/* What an I/O thread may do once the machine is confined. */
enum io_role {
    IO_FILES,   /* disks, taps, eventfds */
    IO_SOCKETS, /* … and makes sockets of the internet families: user-mode network */
};

/* The machine as its devices see it.  Implemented by vm/ (and by dev/fake.c for tests).  All functions: any thread. */
struct machine_ops {
    /* Level of one interrupt line (GSI).  Lines are level-triggered or edge-triggered as the guest programs them. */
    void (*irq)(void *arg, u32 gsi, bool level);
    /* A message-signalled interrupt: made once, aimed as often as the guest likes.  msi_new: NULL when there are no more. */
    struct msi *(*msi_new)(void *arg);
    void (*msi_free)(void *arg, struct msi *m);
    void (*msi_aim)(void *arg, struct msi *m, u64 addr, u32 data);
    void (*msi_fire)(void *arg, struct msi *m);
    /* Lets the engine signal `fd` itself on a write of any value and of `len` bytes to `addr` (MMIO).  Negative: it cannot; the
     * access then arrives at the device as any other. */
    int (*doorbell)(void *arg, u64 addr, u32 len, int fd, bool on);
    /* Starts the thread of an I/O loop; the machine may do so later, when it is confined, and calls run on the caller's
     * thread until then.  NULL: loop_start. */
    int (*io_start)(void *arg, struct loop *l, enum io_role role);
    /* Asks for something; returns at once, the control loop does it. */
    void (*event)(void *arg, enum machine_event what, u64 value, const char *why);
};

struct machine {
    struct mem *mem;
    struct bus *pio, *mmio;
    struct pci_bus *pci; /* NULL where there is none */
    struct loop *loop;   /* the control loop: timers of slow devices */
    const struct machine_ops *ops;
    void *arg; /* first argument of the ops */
};

enum { DEVICE_PARTS_MAX = 5, DEVICE_NAME_MAX = 32 };

/* One state list of a device: where its struct lies in the device's. */
struct state_part {
    const struct state_def *def;
    u32 at;
};
#define STATE_PART(type, member, state)             \
    {                                               \
        &state##_def, offsetof(struct type, member) \
    }

/* A register range for the generic random-access test and the fuzzers of a device that is not on PCI. */
struct device_range {
    bool pio;
    u64 base, len;
};

struct device;

struct device_def {
    const char *name; /* kind: "serial", "virtio-blk" */
    const char *doc;
    u32 size;                   /* of the device's struct, whose first member is a struct device */
    const struct field *fields; /* its configuration; NULL when it has none */
    u32 cfg_size;
    struct state_part parts[DEVICE_PARTS_MAX]; /* unused ones zero */
    struct device_range ranges[4];
    const struct reg_bank
        *banks[4]; /* its register banks, if any, for the generic test; unused ones NULL */
    /* Without `lock`.  Makes it live: claims addresses, opens what the host gives.  `cfg` as parsed by `fields`.  On failure, undoes itself. */
    int (*start)(struct device *d, const void *cfg, struct err *e);
    /* The reverse, also without `lock`.  Called once for each successful start. */
    void (*stop)(struct device *d);
    /* Power-on values of the state.  With `lock` held; reset twice is reset once. */
    void (*reset)(struct device *d);
    /* Before save: everything under way is finished and nothing new begins, until resume.  May be NULL.  With `lock` held. */
    void (*pause)(struct device *d);
    void (*resume)(struct device *d);
    /* Adds counters by calling put(arg, "reads", 12).  May be NULL. */
    void (*stats)(struct device *d, void (*put)(void *arg, const char *name, u64 value), void *arg);
};

struct device {
    const struct device_def *def;
    char name[DEVICE_NAME_MAX]; /* of the instance, unique in the machine: "disk0" */
    struct machine *machine;
    pthread_mutex_t lock;
    bool started;
    /* Set in start by what the device is built on (PCI): rebuilds what derives from a part just loaded, or refuses it with
     * -EBADMSG and nothing changed.  Without `lock`.  May be NULL. */
    int (*loaded)(struct device *d, const struct state_def *part, struct err *e);
};

/* Allocates, starts and resets a device.  Owned in *ret.  `cfg` is borrowed for the call. */
int device_new(const struct device_def *def, struct machine *m, const char *name, const void *cfg,
               struct device **ret, struct err *e);
/* Stops and frees.  NULL is harmless. */
void device_free(struct device *d);
AUTO_DEFINE(device, struct device *, device_free)

void device_reset(struct device *d);
void device_pause(struct device *d);
void device_resume(struct device *d);
/* Appends one section a part, instance = d->name.  The device is paused. */
void device_save(struct device *d, struct strbuf *out);
/* Loads the part that `s` names.  -ENOENT: the device has no such part.  The device is paused. */
int device_load(struct device *d, const struct state_section *s, struct err *e);
/* Appends a JSON object: each part's state by its name. */
void device_inspect(struct device *d, struct strbuf *out);

/* Short forms of the machine's ops. */
static inline void machine_irq(struct machine *m, u32 gsi, bool level)
{
    m->ops->irq(m->arg, gsi, level);
}
static inline void machine_event(struct machine *m, enum machine_event what, u64 value,
                                 const char *why)
{
    m->ops->event(m->arg, what, value, why);
}

/* In a device's start, instead of loop_start; the device joins the loop in its stop. */
int machine_io_start(struct machine *m, struct loop *l, enum io_role role);

/* Every kind of device, in dev/all.c; ends with NULL. */
extern const struct device_def *const all_devices[];

/* Puts this folder's trace points on the list of base/trace.h; once, at start. */
void dev_trace_register(void);

/* A machine for tests and fuzzers: 64 MiB of RAM, buses, a PCI bus, its own loop; counts interrupts and events.  dev/fake.c */
struct fake_machine {
    struct machine m;
    u32 irqs[64]; /* rising edges of each GSI */
    bool level[64];
    u32 msis;     /* messages fired */
    u64 msi_addr; /* of the last one */
    u32 msi_data;
    u32 events[8]; /* by enum machine_event */
    u64 event_value;
};
struct fake_machine *fake_machine_new(void);
void fake_machine_free(struct fake_machine *f);
