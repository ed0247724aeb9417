/*
 * cpu/soft/pv.h: what a guest that knows it is one gets: clock, stolen time, hypercalls.  (Linux Documentation/virt/kvm/x86)
 */
#pragma once

#include "cpu/soft/soft.h"

/* Leaf 0x40000001 EAX: bits of what is served. */
#define PV_CLOCK       (1u << 0)
#define PV_NO_IO_DELAY (1u << 1)
#define PV_CLOCK2      (1u << 3)
#define PV_STEAL       (1u << 5)
#define PV_UNHALT      (1u << 7)
#define PV_SEND_IPI    (1u << 11)
#define PV_STABLE      (1u << 24)
#define PV_FEATURES \
    (PV_CLOCK | PV_NO_IO_DELAY | PV_CLOCK2 | PV_STEAL | PV_UNHALT | PV_SEND_IPI | PV_STABLE)

enum {
    MSR_PV_WALL_OLD = 0x11,
    MSR_PV_TIME_OLD = 0x12,
    MSR_PV_WALL = 0x4b564d00,
    MSR_PV_TIME = 0x4b564d01,
    MSR_PV_STEAL = 0x4b564d03,
};

/* The guest told where its clock page, wall clock or steal-time page is.  False: no such address. */
bool soft_pv_set_time(struct soft_cpu *c, u64 val);
bool soft_pv_set_wall(struct soft_cpu *c, u64 val);
bool soft_pv_set_steal(struct soft_cpu *c, u64 val);
/* Writes the clock page anew: the TSC or the clock was set.  `stopped`: the machine stood still, which a guest's watchdogs want
 * to know. */
void soft_pv_time_changed(struct soft_cpu *c, bool stopped);
/* Own thread: tells the guest how long this vCPU wanted to run and did not, since the last of these two calls ... */
void soft_pv_steal_update(struct soft_cpu *c);
/* ... and: it did not want to run (it slept, or was held). */
void soft_pv_steal_skip(struct soft_cpu *c);
/* VMCALL, VMMCALL: number and arguments in registers, result in RAX. */
void soft_pv_hypercall(struct soft_cpu *c);
