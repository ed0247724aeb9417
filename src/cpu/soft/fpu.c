/*
 * cpu/soft/fpu.c: where x87, SSE and AVX state of a vCPU is, and its image in the engine-neutral format.
 */
#include "cpu/soft/fpu.h"

#include "cpu/soft/soft_mem.h"

#include <cpuid.h>

/* FXRSTOR of the host also loads XMM and MXCSR. */
#define CLOBBERS_XMM                                                                         \
    "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10", \
        "xmm11", "xmm12", "xmm13", "xmm14", "xmm15"

enum {
    IMAGE_FOP = 6,
    IMAGE_FIP = 8,
    IMAGE_FDP = 16,
    IMAGE_MXCSR = 24,
    IMAGE_ST = 32,
    IMAGE_ST_END = 160,
    IMAGE_XMM = 160,
    FCW_INIT = 0x37f,
    FSW_ES_B = 0x8080,
    FPU_EXCEPTIONS = 0x3f,
};

void soft_fpu_enter(struct soft_cpu *c)
{
    _mm_setcsr(c->fpu.mxcsr);
    c->fpu.mxcsr_live = true;
}

void soft_x87_unpark(struct soft_cpu *c)
{
    u32 mxcsr = _mm_getcsr();

    memcpy(c->fpu.legacy + IMAGE_MXCSR, &mxcsr, sizeof(mxcsr));
    __asm__ volatile("fxrstor64 %0" : : "m"(c->fpu.legacy) : CLOBBERS_XMM);
    c->fpu.x87_live = true;
}

void soft_fpu_park(struct soft_cpu *c)
{
    if (c->fpu.mxcsr_live) {
        c->fpu.mxcsr = _mm_getcsr();
        c->fpu.mxcsr_live = false;
        _mm_setcsr(MXCSR_INIT);
    }
    if (!c->fpu.x87_live)
        return;
    __asm__ volatile("fxsave64 %0\n\tfninit" : "=m"(c->fpu.legacy));
    c->fpu.x87_live = false;
}

void soft_fpu_note(struct soft_cpu *c, const struct uop *op, bool mem)
{
    u64 rip = c->base_rip + op->off;
    u32 seg = op->seg;

    c->fpu.fip = soft_code64(c) ? rip : (u32)rip;
    c->fpu.fcs = c->seg[SEG_CS].selector;
    c->fpu.fop = op->aux;
    if (!mem)
        return;
    c->fpu.fdp = soft_ea(c, op);
    if (seg >= SEG_COUNT) /* flat: only the register tells which one it was */
        seg = op->base == GPR_RSP * 8 || op->base == GPR_RBP * 8 ? SEG_SS : SEG_DS;
    c->fpu.fds = c->seg[seg].selector;
}

void soft_x87_store(struct soft_cpu *c, u8 *image)
{
    struct soft_fpu *f = &c->fpu;

    if (f->x87_live)
        __asm__ volatile("fxsave64 %0" : "=m"(f->legacy));
    memcpy(image, f->legacy, IMAGE_FOP);
    memcpy(image + IMAGE_FOP, &f->fop, 2);
    memcpy(image + IMAGE_FIP, &f->fip, 8);
    memcpy(image + IMAGE_FDP, &f->fdp, 8);
    memcpy(image + IMAGE_ST, f->legacy + IMAGE_ST, IMAGE_ST_END - IMAGE_ST);
}

void soft_x87_load(struct soft_cpu *c, const u8 *image)
{
    struct soft_fpu *f = &c->fpu;
    u16 fcw, fsw;

    memcpy(&fcw, image, 2);
    memcpy(&fsw, image + 2, 2);
    memcpy(&f->fop, image + IMAGE_FOP, 2);
    memcpy(&f->fip, image + IMAGE_FIP, 8);
    memcpy(&f->fdp, image + IMAGE_FDP, 8);
    f->fop &= 0x7ff;
    fcw = (fcw & 0x1f3f) | 0x40; /* the other bits do not exist */
    fsw = (u16)(fsw & ~FSW_ES_B) | (fsw & ~fcw & FPU_EXCEPTIONS ? FSW_ES_B : 0);
    memset(f->legacy, 0, sizeof(f->legacy));
    memcpy(f->legacy, &fcw, 2);
    memcpy(f->legacy + 2, &fsw, 2);
    f->legacy[4] = image[4];
    for (u32 i = 0; i < 8; i++) /* ten bytes of each sixteen */
        memcpy(f->legacy + IMAGE_ST + 16 * i, image + IMAGE_ST + 16 * i, 10);
    if (f->x87_live)
        soft_x87_unpark(c);
}

void soft_fpu_init_x87(struct soft_cpu *c)
{
    static const u8 image[IMAGE_ST_END] = { FCW_INIT & 0xff, FCW_INIT >> 8 };

    soft_x87_load(c, image);
    c->fpu.fcs = c->fpu.fds = 0;
}

void soft_fpu_init(struct soft_cpu *c)
{
    memset(c->fpu.ymm, 0, sizeof(c->fpu.ymm));
    soft_mxcsr_set(c, MXCSR_INIT);
    soft_fpu_init_x87(c);
}

u32 soft_mxcsr_mask(void)
{
    static _Atomic u32 mask;
    alignas(16) u8 image[FXSAVE_SIZE] = {};
    u32 m = mask;

    if (m)
        return m;
    __asm__ volatile("fxsave64 %0" : "=m"(image));
    memcpy(&m, image + 28, sizeof(m));
    m = m ? m : 0xffbf; /* what 0 stands for */
    mask = m;
    return m;
}

u32 soft_pkru_at(void)
{
    static _Atomic u32 known;
    u32 at = known, a, b = 0, d, n;

    if (at)
        return at;
    if (__get_cpuid_count(0xd, 9, &a, &b, &n, &d) == 0 || b < XSAVE_AVX + 256 ||
        b + 8 > VCPU_XSAVE_SIZE)
        b = 2688; /* after AVX-512, as on CPUs that have both */
    known = b;
    return b;
}

static bool is_zero(const u8 *p, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (p[i])
            return false;
    }
    return true;
}

static bool x87_initial(struct soft_cpu *c)
{
    u8 image[IMAGE_ST_END] = {};
    u16 fcw;

    soft_x87_store(c, image);
    memcpy(&fcw, image, 2);
    return fcw == FCW_INIT && is_zero(image + 2, IMAGE_MXCSR - 2) &&
           is_zero(image + IMAGE_ST, IMAGE_ST_END - IMAGE_ST);
}

u64 soft_xinuse(struct soft_cpu *c)
{
    u64 used = x87_initial(c) ? 0 : XCR0_X87;

    for (u32 i = 0; i < 16; i++) {
        used |= is_zero(c->fpu.ymm[i], 16) ? 0 : XCR0_SSE;
        used |= is_zero(c->fpu.ymm[i] + 16, 16) ? 0 : XCR0_AVX;
    }
    return used | (c->pkru ? XCR0_PKRU : 0);
}

void soft_fpu_save(struct soft_cpu *c, u8 *ret)
{
    u64 bv = XCR0_X87 | XCR0_SSE | (c->xcr0 & XCR0_KNOWN) | soft_xinuse(c);
    u32 mask = soft_mxcsr_mask(), mxcsr = soft_mxcsr(c);

    memset(ret, 0, VCPU_XSAVE_SIZE);
    soft_x87_store(c, ret);
    memcpy(ret + IMAGE_MXCSR, &mxcsr, 4);
    memcpy(ret + 28, &mask, 4);
    memcpy(ret + XSAVE_HEADER, &bv, 8);
    for (u32 i = 0; i < 16; i++) {
        memcpy(ret + IMAGE_XMM + 16 * i, c->fpu.ymm[i], 16);
        memcpy(ret + XSAVE_AVX + 16 * i, c->fpu.ymm[i] + 16, 16);
    }
    if (bv & XCR0_PKRU)
        memcpy(ret + soft_pkru_at(), &c->pkru, 4);
}

static int check_image(const u8 *xsave, u64 *ret_bv, u32 *ret_mxcsr, struct err *e)
{
    u64 compact;

    memcpy(ret_bv, xsave + XSAVE_HEADER, 8);
    memcpy(&compact, xsave + XSAVE_HEADER + 8, 8);
    memcpy(ret_mxcsr, xsave + IMAGE_MXCSR, 4);
    if (compact)
        return err_set(e, -EINVAL, "the XSAVE image is compacted");
    if (*ret_bv & ~(u64)XCR0_KNOWN)
        return err_set(e, -EINVAL,
                       "the XSAVE image has components %#llx; the software engine knows %#x",
                       *ret_bv, XCR0_KNOWN);
    if (*ret_mxcsr & ~soft_mxcsr_mask())
        return err_set(e, -EINVAL, "MXCSR %#x has bits outside %#x", *ret_mxcsr, soft_mxcsr_mask());
    return 0;
}

int soft_fpu_load(struct soft_cpu *c, const u8 *xsave, struct err *e)
{
    u64 bv;
    u32 mxcsr;
    int r = check_image(xsave, &bv, &mxcsr, e);

    if (r < 0)
        return r;
    soft_fpu_init(c);
    if (bv & XCR0_X87)
        soft_x87_load(c, xsave);
    if (bv & (XCR0_SSE | XCR0_AVX))
        soft_mxcsr_set(c, mxcsr);
    for (u32 i = 0; i < 16; i++) {
        if (bv & XCR0_SSE)
            memcpy(c->fpu.ymm[i], xsave + IMAGE_XMM + 16 * i, 16);
        if (bv & XCR0_AVX)
            memcpy(c->fpu.ymm[i] + 16, xsave + XSAVE_AVX + 16 * i, 16);
    }
    c->pkru = 0;
    if (bv & XCR0_PKRU)
        memcpy(&c->pkru, xsave + soft_pkru_at(), 4);
    return 0;
}
