/*
 * cpu/soft/rig.h: for the engine's tests: a machine of RAM and vCPUs, put into a mode of the CPU, that runs a few bytes of code.
 */
#pragma once

#include "cpu/soft/soft_mem.h"

enum {
    RIG_CODE = 0x1000, /* where code goes; CS has base 0 */
    RIG_STACK = 0x8000,
    RIG_DATA = 0x10000,   /* 64 KiB that tests may use */
    RIG_TABLES = 0x40000, /* page tables, GDT, IDT */
    RIG_PORT = 0xf4,      /* OUT to it ends the run */
};

enum rig_mode { RIG_REAL, RIG_PROT16, RIG_PROT32, RIG_LONG, RIG_MODES };

struct rig {
    struct mem *mem;
    struct cpu_vm *vm;
    struct soft_cpu *c; /* vCPU 0 */
    u8 *ram;            /* GPA 0 */
    u64 port_value;     /* of the last OUT to RIG_PORT */
    u32 port_writes;
    u64 mmio_at, mmio_value; /* of the last access outside RAM */
    u32 mmio_writes;
};

/* 4 MiB of RAM; or as said.  Free of testlib: fuzz targets have it too. */
struct rig *rig_new(u32 n_cpus);
struct rig *rig_open(const struct cpu_cfg *cfg, u64 ram);
void rig_free(struct rig *r);

/* CPL 0, flat segments (real mode: all at 0), paging off but in RIG_LONG, where the first GiB is mapped to itself, user and writable.
 * RSP is RIG_STACK, RFLAGS 2, RIP RIG_CODE. */
void rig_mode(struct rig *r, enum rig_mode m);
/* The same at CPL 3; not in real mode. */
void rig_user(struct rig *r);
void rig_code(struct rig *r, const void *code, u32 len);
/* Runs until an exception, the port, HLT, or `max` instructions.  What it was: */
enum rig_end { RIG_END_PORT, RIG_END_HLT, RIG_END_EXCEPTION, RIG_END_TRIPLE, RIG_END_LIMIT };
/* RIG_END_EXCEPTION: c->event says which; it is not delivered. */
enum rig_end rig_run(struct rig *r, u32 max);
/* Runs exactly one instruction; exceptions as above. */
enum rig_end rig_step(struct rig *r);
