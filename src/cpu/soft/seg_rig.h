/*
 * cpu/soft/seg_rig.h: the test machine with descriptor tables, for tests of segments, far transfers, delivery and tasks.
 * After seg_rig_get: 32-bit protected mode, ring 0, flat segments, no paging.
 */
#pragma once

#include "cpu/soft/rig.h"
#include "cpu/soft/seg.h"

/* Where things are in RAM. */
enum {
    TAB_GDT = 0x50000,
    TAB_IDT = 0x51000,
    TAB_TSS = 0x52000,
    TAB_TSS2 = 0x53000,
    TAB_LDT = 0x54000,
    TAB_STACK = 0x60000, /* of inner rings: + 0x1000 each */
    TAB_IST = 0x70000,   /* + 0x1000 times the index */
};

/* Selectors that seg_rig_get makes.  From SEL_FREE on the test's own. */
enum {
    SEL_CODE0 = 0x08,
    SEL_DATA0 = 0x10,
    SEL_TSS = 0x18,  /* busy, 32-bit; two slots */
    SEL_TSS2 = 0x28, /* available */
    SEL_LDT = 0x38,
    SEL_CODE1 = 0x48,
    SEL_DATA1 = 0x50,
    SEL_CODE2 = 0x58,
    SEL_DATA2 = 0x60,
    SEL_CODE3 = 0x68,
    SEL_DATA3 = 0x70,
    SEL_CODE64 = 0x78, /* ring 0 */
    SEL_CODE64_3 = 0x80,
    SEL_FREE = 0x88,
};

struct seg_rig {
    struct rig *rig;
    struct soft_cpu *c;
    u8 *ram;
    struct uop op; /* for functions that want one */
};

/* The one rig, as new. */
struct seg_rig *seg_rig_get(void);
/* Code and data selectors by ring, RPL included. */
u16 seg_rig_code(u8 cpl);
u16 seg_rig_data(u8 cpl);
/* Writes a descriptor; `limit` and `attr` as in seg_state. */
void seg_rig_gdt(struct seg_rig *r, u16 selector, u32 base, u32 limit, u16 attr);
/* Writes a gate of 8 bytes; in long mode of 16. */
void seg_rig_gate(struct seg_rig *r, u64 at, const struct seg_gate *g);
/* CS, SS, DS, ES, FS, GS of ring `cpl`, all flat; code of the size in force. */
void seg_rig_ring(struct seg_rig *r, u8 cpl);
/* 64-bit mode, ring `cpl`. */
void seg_rig_long(struct seg_rig *r, u8 cpl);
/* Virtual-8086 mode: segment register i is 0x100 + i but CS, which is 0; `flags` beside VM. */
void seg_rig_vm86(struct seg_rig *r, u32 flags);
/* Real mode, all segments 0. */
void seg_rig_real(struct seg_rig *r);
u64 seg_rig_load(const struct seg_rig *r, u64 at, u32 size);
void seg_rig_store(struct seg_rig *r, u64 at, u32 size, u64 val);
/* `n` slots of `size` bytes from `at` on: writes them, and compares them (in a test). */
void seg_rig_put(struct seg_rig *r, u64 at, const u64 *vals, u32 n, u32 size);

#define CHECK_SLOTS(r, at, want, n, size)                                        \
    do {                                                                         \
        for (u32 i_ = 0; i_ < (n); i_++)                                         \
            CHECK_EQ(seg_rig_load((r), (at) + i_ * (size), (size)), (want)[i_]); \
    } while (0)

/* What a call or an instruction raised. */
#define NO_FAULT             0xffffffffu
#define FAULT(vector, error) ((u32)(vector) << 16 | ((error)&0xffff))
u32 seg_rig_try(struct seg_rig *r, void (*fn)(struct seg_rig *r, void *arg), void *arg);
/* Runs one instruction at RIG_CODE. */
#define RUN(r, ...) \
    seg_rig_run((r), (const u8[]){ __VA_ARGS__ }, sizeof((const u8[]){ __VA_ARGS__ }))
u32 seg_rig_run(struct seg_rig *r, const u8 *code, u32 len);
