/*
 * dev/pc/ports.h: what the devices of the ISA bus share: several port ranges each, and registers of one byte.
 */
#pragma once

#include "base/base.h"

#include "dev/dev.h"

struct ports {
    u64 base, len;
    const struct bus_ops *ops;
    bool mmio;
};

/* Claims all rows or, on failure, none. */
int ports_add(struct device *d, const struct ports *rows, u32 n, struct err *e);
void ports_remove(struct device *d, const struct ports *rows, u32 n);

/* A wider access to a device of 8 bits is split by the bus's controller into bytes, the lowest address first. */
static inline u64 ports_read_bytes(struct device *d, u64 off, u32 len,
                                   u8 (*get)(struct device *d, u32 reg))
{
    u64 v = 0;

    for (u32 i = 0; i < len; i++)
        v |= (u64)get(d, (u32)off + i) << 8 * i;
    return v;
}

static inline void ports_write_bytes(struct device *d, u64 off, u32 len, u64 val,
                                     void (*set)(struct device *d, u32 reg, u8 v))
{
    for (u32 i = 0; i < len; i++)
        set(d, (u32)off + i, (u8)(val >> 8 * i & 0xff));
}
