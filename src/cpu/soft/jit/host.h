/*
 * cpu/soft/jit/host.h: what host registers hold in translated code.
 *
 *   RAX RCX RDX RBX RBP RSI RDI R8 R12 R13   the guest's of the same name
 *   R14                                      the guest's RSP
 *   R15                                      struct soft_cpu + CTX_BIAS
 *   R9 R10 R11                               scratch
 *   RSP                                      the thread's own stack, 16-byte aligned: for each call that has not returned, where in
 *                                            translated code it returns to, and the guest's RIP there (flow.c)
 *   flags                                    the guest's arithmetic ones where the translator says so; DF is clear
 *
 * The guest's R9, R10, R11, R14 and R15 are in soft_cpu.reg, and so is RIP's page in soft_cpu.page_rip.
 */
#pragma once

#include "cpu/soft/jit/asm.h"
#include "cpu/soft/soft_mem.h"

enum {
    CTX = R15,
    CTX_BIAS = 128, /* the first 256 bytes are reached by 8-bit displacements */
    T0 = R9,
    T1 = R10,
    T2 = R11,
    GUEST_SP = R14,
};

/* Offset in a TLB entry of the tag that has to be right. */
static inline s32 jit_tag_of(u32 access)
{
    return access & ACC_WRITE ? (s32)offsetof(struct tlb_entry, tag_w)
                              : (s32)offsetof(struct tlb_entry, tag_r);
}

#define CTX_AT(member) ((s32)offsetof(struct soft_cpu, member) - CTX_BIAS)

/* Host register of each general register of the guest; NO_REG: it is in memory. */
extern const u8 jit_host[GPR_COUNT];

static inline s32 jit_reg_at(u32 guest)
{
    return CTX_AT(reg) + 8 * (s32)guest;
}
