/*
 * cpu/soft/seg_rig.h: a bare vCPU with RAM and descriptor tables, for tests of segments, delivery and tasks.  It runs no code.
 * After seg_rig_get: 32-bit protected mode, ring 0, flat segments, no paging.
 */
#pragma once

#include "cpu/soft/seg.h"

/* Where things are in RAM. */
enum {
    RIG_RAM = 0x100000,
    RIG_GDT = 0x1000,
    RIG_IDT = 0x2000,
    RIG_TSS = 0x3000,
    RIG_TSS2 = 0x4000,
    RIG_LDT = 0x5000,
    RIG_STACK = 0x8000,  /* initial ESP */
    RIG_STACK1 = 0x9000, /* of inner rings: + 0x1000 each */
};

/* Selectors that seg_rig_get makes; ring 0 to 3 of code and stack are 0x20 apart.  From SEL_FREE on the test's own. */
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
    struct soft_cpu *c;
    u8 *ram;
    struct uop op; /* for functions that want one */
};

/* The one rig, as new. */
struct seg_rig *seg_rig_get(void);
/* Writes a descriptor; `limit` and `attr` as in seg_state. */
void seg_rig_gdt(struct seg_rig *r, u16 selector, u32 base, u32 limit, u16 attr);
/* Writes a gate of 8 bytes into the GDT or, by vector, into the IDT; long mode: of 16 bytes. */
void seg_rig_gate(struct seg_rig *r, u64 at, const struct seg_gate *g);
/* CS, SS, DS, ES of ring `cpl`, all flat. */
void seg_rig_ring(struct seg_rig *r, u8 cpl);
/* 64-bit mode, ring 0. */
void seg_rig_long(struct seg_rig *r);
u64 seg_rig_load(const struct seg_rig *r, u64 at, u32 size);
void seg_rig_store(struct seg_rig *r, u64 at, u32 size, u64 val);

/* What a call raised. */
#define NO_FAULT             0xffffffffu
#define FAULT(vector, error) ((u32)(vector) << 16 | ((error)&0xffff))
u32 seg_rig_try(struct seg_rig *r, void (*fn)(struct seg_rig *r, void *arg), void *arg);
