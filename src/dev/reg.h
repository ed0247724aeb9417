/*
 * dev/reg.h: register banks: one row is all about one register.  Masks first, hooks for what masks cannot say.
 *     static const struct reg_def wdt_regs[] = {
 *         REG(0x00, wdt, state.ctrl, .rw = 0x3, .wrote = wdt_ctrl_wrote), …
 *     };
 */
#pragma once

#include "base/base.h"

struct device;

struct reg_def {
    const char *name;
    u32 off;   /* in the bank */
    u32 at;    /* of the u8, u16, u32 or u64 in the device's struct */
    u8 size;   /* 1, 2, 4, 8: of the register and its member */
    u64 rw;    /* bits that a write sets */
    u64 w1c;   /* bits that writing 1 clears */
    u64 reset; /* value after reset */
    /* Instead of the stored value, what a read gives.  May have side effects (clear on read). */
    u64 (*peek)(struct device *d);
    /* After the masks were applied; `old` is the value before, `val` what was written. */
    void (*wrote)(struct device *d, u64 old, u64 val);
};
#define REG(offset, type, member, ...)                                         \
    {                                                                          \
        .name = #member, .off = (offset), .at = offsetof(struct type, member), \
        .size = MEMBER_SIZE(struct type, member), ##__VA_ARGS__                \
    }

struct reg_bank {
    const char *name;
    const struct reg_def *rows; /* ascending by `off`, no overlap */
    u32 n;
};
#define REG_BANK(name, rows)        \
    {                               \
        name, rows, ARRAY_LEN(rows) \
    }

/* A register answers accesses of its own size at its own offset, and narrower ones inside it; others read 0 and write nothing. */
u64 reg_read(const struct reg_bank *b, struct device *d, u64 off, u32 len);
void reg_write(const struct reg_bank *b, struct device *d, u64 off, u32 len, u64 val);
void reg_reset(const struct reg_bank *b, struct device *d);
