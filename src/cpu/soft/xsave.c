/*
 * cpu/soft/xsave.c: the XSAVE family in user-visible form; XSAVES and XRSTORS are not offered.
 * (Intel SDM volume 1, chapter 13; AMD APM volume 2, 11.5)  What is in its initial state is found by looking at it.
 */
#include "cpu/soft/xsave.h"

#include "cpu/soft/fpu.h"
#include "cpu/soft/insn.h"
#include "cpu/soft/soft_mem.h"

enum {
    AT_MXCSR = 24,
    AT_ST = 32,
    AT_XMM = 160,
    LEGACY_END = 416,
    HEADER_SIZE = 64,
    AVX_SIZE = 256,
    PKRU_SIZE = 8,
    AREA_MAX = VCPU_XSAVE_SIZE,
};
#define COMPACT (1ull << 63)

/* What one instruction works on. */
struct xs {
    u64 lin;
    u64 rfbm; /* components asked for that exist */
    bool wide;
    u32 avx_at, pkru_at;
};

/* Requested features, place and alignment; raises what all of the family raise. */
static struct xs begin(struct soft_cpu *c, const struct uop *op, u32 access)
{
    struct xs x = { .wide = op->aux == 64 };

    if (!(c->cr4 & CR4_OSXSAVE))
        soft_raise(c, op, VEC_UD);
    if (c->cr0 & CR0_TS)
        soft_raise(c, op, VEC_NM);
    soft_fpu_live(c);
    x.rfbm = ((c->reg[GPR_RDX] << 32) | (u32)c->reg[GPR_RAX]) & c->xcr0;
    x.lin = soft_lin(c, op, XSAVE_AVX, access);
    if (x.lin & 63)
        soft_raise_error(c, op, VEC_GP, 0);
    return x;
}

/* Offsets of the components: fixed, or one after the other when `bv` says which there are. */
static u32 place(struct xs *x, u64 bv)
{
    u32 at = XSAVE_AVX;

    if (!(bv & COMPACT)) {
        x->avx_at = XSAVE_AVX;
        x->pkru_at = soft_pkru_at();
        return x->rfbm & XCR0_PKRU ? x->pkru_at + PKRU_SIZE
                                   : XSAVE_AVX + (x->rfbm & XCR0_AVX ? AVX_SIZE : 0);
    }
    x->avx_at = at;
    at += bv & XCR0_AVX ? AVX_SIZE : 0;
    x->pkru_at = at;
    return at + (bv & XCR0_PKRU ? PKRU_SIZE : 0);
}

/* Writes the components of `which`; the whole area is known to be writable. */
static void store_parts(struct soft_cpu *c, const struct uop *op, const struct xs *x, u64 which,
                        bool mxcsr)
{
    u32 mask = soft_mxcsr_mask(), n = soft_vec_count(c);
    u8 image[LEGACY_END] = {}, high[AVX_SIZE];

    if (which & XCR0_X87) {
        soft_image_x87(c, image, x->wide);
        soft_store_bytes(c, op, x->lin, image, AT_MXCSR);
        soft_store_bytes(c, op, x->lin + AT_ST, image + AT_ST, AT_XMM - AT_ST);
    }
    if (mxcsr) {
        soft_store32(c, op, x->lin + AT_MXCSR, soft_mxcsr(c));
        soft_store32(c, op, x->lin + AT_MXCSR + 4, mask);
    }
    for (u32 i = 0; i < n; i++) {
        memcpy(image + AT_XMM + 16 * i, c->fpu.ymm[i], 16);
        memcpy(high + 16 * i, c->fpu.ymm[i] + 16, 16);
    }
    if (which & XCR0_SSE)
        soft_store_bytes(c, op, x->lin + AT_XMM, image + AT_XMM, 16 * n);
    if (which & XCR0_AVX)
        soft_store_bytes(c, op, x->lin + x->avx_at, high, 16 * n);
    if (which & XCR0_PKRU)
        soft_store64(c, op, x->lin + x->pkru_at, c->pkru);
}

static void xsave(struct soft_cpu *c, const struct uop *op, bool only_used)
{
    struct xs x = begin(c, op, ACC_WRITE);
    u32 size = place(&x, 0);
    u64 used = soft_xinuse(c);

    soft_probe_write(c, op, x.lin, size);
    u64 bv = soft_load64(c, op, x.lin + XSAVE_HEADER);
    store_parts(c, op, &x, only_used ? x.rfbm & used : x.rfbm, x.rfbm & (XCR0_SSE | XCR0_AVX));
    soft_store64(c, op, x.lin + XSAVE_HEADER, (bv & ~x.rfbm) | (x.rfbm & used));
}

void soft_op_xsave(struct soft_cpu *c, const struct uop *op)
{
    xsave(c, op, false);
    UOP_NEXT;
}

void soft_op_xsaveopt(struct soft_cpu *c, const struct uop *op)
{
    xsave(c, op, true);
    UOP_NEXT;
}

void soft_op_xsavec(struct soft_cpu *c, const struct uop *op)
{
    struct xs x = begin(c, op, ACC_WRITE);
    u32 size = place(&x, x.rfbm | COMPACT);
    u64 used = soft_xinuse(c) | (soft_mxcsr(c) != MXCSR_INIT ? XCR0_SSE : 0);

    soft_probe_write(c, op, x.lin, size);
    store_parts(c, op, &x, x.rfbm & used, x.rfbm & used & XCR0_SSE);
    soft_store64(c, op, x.lin + XSAVE_HEADER, x.rfbm & used);
    soft_store64(c, op, x.lin + XSAVE_HEADER + 8, x.rfbm | COMPACT);
    UOP_NEXT;
}

/* What of the header a CPU refuses. */
static bool header_bad(const struct soft_cpu *c, u64 bv, u64 comp, const u64 *rest)
{
    if (!(comp & COMPACT))
        return comp || rest[0] || (bv & ~c->xcr0);
    for (u32 i = 0; i < 6; i++) {
        if (rest[i])
            return true;
    }
    return ((comp & ~COMPACT) & ~c->xcr0) || (bv & ~(comp & ~COMPACT));
}

static void load_vectors(struct soft_cpu *c, const u8 *from, u32 half)
{
    for (u32 i = 0; i < soft_vec_count(c); i++)
        memcpy(c->fpu.ymm[i] + 16 * half, from + 16 * i, 16);
}

/* The area as the instruction reads it: components that are not to be loaded are those of the initial state. */
struct image {
    u8 legacy[LEGACY_END];
    u8 high[AVX_SIZE];
    u32 pkru, mxcsr;
};

static void load_image(struct soft_cpu *c, const struct uop *op, const struct xs *x, u64 bv,
                       struct image *im)
{
    u32 n = soft_vec_count(c);

    im->legacy[0] = 0x7f; /* FCW */
    im->legacy[1] = 0x03;
    if (bv & XCR0_X87)
        soft_load_bytes(c, op, x->lin, im->legacy, AT_XMM);
    if (bv & XCR0_SSE)
        soft_load_bytes(c, op, x->lin + AT_XMM, im->legacy + AT_XMM, 16 * n);
    if (bv & XCR0_AVX)
        soft_load_bytes(c, op, x->lin + x->avx_at, im->high, 16 * n);
    if (bv & XCR0_PKRU)
        im->pkru = soft_load32(c, op, x->lin + x->pkru_at);
}

void soft_op_xrstor(struct soft_cpu *c, const struct uop *op)
{
    struct xs x = begin(c, op, ACC_READ);
    struct image im = { .mxcsr = MXCSR_INIT };
    u64 head[HEADER_SIZE / 8];

    soft_load8(c, op, x.lin);
    soft_load_bytes(c, op, x.lin + XSAVE_HEADER, head, HEADER_SIZE);
    if (header_bad(c, head[0], head[1], head + 2))
        soft_raise_error(c, op, VEC_GP, 0);
    place(&x, head[1]);
    bool compact = head[1] & COMPACT;
    bool mxcsr = x.rfbm & (compact ? XCR0_SSE : XCR0_SSE | XCR0_AVX);
    if (mxcsr && (!compact || (head[0] & XCR0_SSE)))
        im.mxcsr = soft_load32(c, op, x.lin + AT_MXCSR);
    if (im.mxcsr & ~soft_mxcsr_mask())
        soft_raise_error(c, op, VEC_GP, 0);
    load_image(c, op, &x, head[0] & x.rfbm, &im);

    if (x.rfbm & XCR0_X87)
        soft_image_x87_take(c, im.legacy, x.wide || !(head[0] & XCR0_X87));
    if (mxcsr)
        soft_mxcsr_set(c, im.mxcsr);
    if (x.rfbm & XCR0_SSE)
        load_vectors(c, im.legacy + AT_XMM, 0);
    if (x.rfbm & XCR0_AVX)
        load_vectors(c, im.high, 1);
    if (x.rfbm & XCR0_PKRU && c->pkru != im.pkru) {
        c->pkru = im.pkru;
        soft_tlb_flush_all(c);
    }
    UOP_NEXT;
}
