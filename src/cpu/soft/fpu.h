/*
 * cpu/soft/fpu.h: x87, MMX, SSE and AVX state of a vCPU, and its images in memory.
 * (Intel SDM volume 1, chapters 8 to 14; AMD APM volume 2, chapter 11)
 *
 *   (1) From soft_fpu_enter to soft_fpu_park, around soft_run, MXCSR of the vCPU's thread is the guest's; the x87 state is in the
 *       thread's registers from its first use on (x87_live).  So no C code of such a thread, a device's included, may calculate
 *       with floating point: the guest's rounding and unmasked exceptions would be its own.  The lint knows no float and double.
 *   (2) FIP, FDP and FOP of the host's registers are never shown to the guest: soft_fpu has the guest's.
 *   (3) XMM and YMM are always in soft_fpu.ymm.
 */
#pragma once

#include "cpu/features.h"
#include "cpu/soft/soft.h"

#include <xmmintrin.h>

enum {
    XCR0_AVX_ALL = XCR0_SSE | XCR0_AVX,
    XCR0_KNOWN = XCR0_X87 | XCR0_SSE | XCR0_AVX | XCR0_PKRU,
    FXSAVE_SIZE = 512,
    XSAVE_HEADER = 512, /* offset; 64 bytes */
    XSAVE_AVX = 576,
    MXCSR_INIT = 0x1f80,
};

/* As after RESET. */
void soft_fpu_init(struct soft_cpu *c);
/* The part that FNINIT sets, parked or live. */
void soft_fpu_init_x87(struct soft_cpu *c);
/* The thread is about to run the guest; it runs no more. */
void soft_fpu_enter(struct soft_cpu *c);
void soft_fpu_park(struct soft_cpu *c);
void soft_x87_unpark(struct soft_cpu *c);
static inline void soft_fpu_live(struct soft_cpu *c)
{
    if (unlikely(!c->fpu.x87_live))
        soft_x87_unpark(c);
}
/* Raises #MF when an exception waits: what all but the FN… instructions do first. */
void soft_fpu_wait(struct soft_cpu *c, const struct uop *op);
/* After an x87 instruction that is none of control: notes where it was. */
void soft_fpu_note(struct soft_cpu *c, const struct uop *op, bool mem);

/* To and from vcpu_state.xsave: standard format, VCPU_XSAVE_SIZE bytes.  Load refuses reserved bits. */
void soft_fpu_save(struct soft_cpu *c, u8 *ret);
int soft_fpu_load(struct soft_cpu *c, const u8 *xsave, struct err *e);

/* The guest's MXCSR, wherever it is.  `v` has bits of soft_mxcsr_mask only. */
static inline u32 soft_mxcsr(const struct soft_cpu *c)
{
    return c->fpu.mxcsr_live ? _mm_getcsr() : c->fpu.mxcsr;
}
static inline void soft_mxcsr_set(struct soft_cpu *c, u32 v)
{
    c->fpu.mxcsr = v;
    if (c->fpu.mxcsr_live)
        _mm_setcsr(v);
}
/* MXCSR bits that exist, here and in guests. */
u32 soft_mxcsr_mask(void);
/* Where PKRU is in the standard format: as on the host, so that guests may move between engines. */
u32 soft_pkru_at(void);

/* The x87 part of an FXSAVE image: bytes 0 to 23 and 32 to 159, 64-bit pointers. */
void soft_x87_store(struct soft_cpu *c, u8 *image);
void soft_x87_load(struct soft_cpu *c, const u8 *image);
/* Components that are not in their initial state: also what XGETBV(1) reads. */
u64 soft_xinuse(struct soft_cpu *c);
