/*
 * dev/bus.h: an address space of device registers (port I/O or MMIO): who answers at an address?
 * Dispatch takes no global lock: ranges stand in one sorted table of fixed size behind a sequence counter, and only the lock of
 * the device that answers is taken.  Accesses are 1, 2, 4 or 8 bytes; `off` counts from the range's base.
 */
#pragma once

#include "base/base.h"

struct device;

enum { BUS_RANGES_MAX = 256 };

/* Called with the device's lock held, on any vCPU's thread.  Off the end of what the device knows: read 0 or all ones, as it would. */
struct bus_ops {
    u64 (*read)(struct device *d, u64 off, u32 len);
    void (*write)(struct device *d, u64 off, u32 len, u64 val);
    u32 overhang; /* bytes that an access may reach past the range's end: 0xcf8 is a 32-bit register, 0xcf9 another's */
};

struct bus;

struct bus *bus_new(const char *name);
void bus_free(struct bus *b);

/* `ops` and `d` are borrowed until bus_remove.  -EEXIST with who holds an overlapping range; -ENOSPC; -EINVAL for len 0 or a wrap. */
int bus_add(struct bus *b, u64 base, u64 len, const struct bus_ops *ops, struct device *d,
            struct err *e);
/* Removes the range that `d` has at `base`; an access under way on another thread may still end after this. */
void bus_remove(struct bus *b, u64 base, struct device *d);

/* False, and all ones (of `len` bytes) in *ret, when nobody answers or the access crosses a range's end. */
bool bus_read(struct bus *b, u64 addr, u32 len, u64 *ret);
bool bus_write(struct bus *b, u64 addr, u32 len, u64 val);

/* Calls fn for every range, ascending. */
void bus_list(struct bus *b, void (*fn)(void *arg, u64 base, u64 len, struct device *d), void *arg);
