/*
 * cpu/soft/stub_test.c: what the comparison with the host's CPU cannot show about vector and x87 instructions: enabling bits,
 * features that are not offered, layouts of other modes, operands that are not plain RAM, the stubs' store.
 */
#include "cpu/soft/stub.h"

#include "cpu/soft/fpu.h"
#include "cpu/soft/insn.h"
#include "cpu/soft/rig.h"
#include "testlib/test.h"

#include <stdlib.h>

enum { NONE = 255 };

#define CODE(bytes) bytes, sizeof(bytes) - 1

#define ADDPS      "\x0f\x58\xc1"
#define PADDB_MM   "\x0f\xfc\xc1"
#define FLD1       "\xd9\xe8"
#define VADDPS     "\xc5\xf0\x58\xc2"
#define MFENCE     "\x0f\xae\xf0"
#define FWAIT      "\x9b"
#define FXSAVE_RDI "\x0f\xae\x07"
#define XSAVE_RDI  "\x0f\xae\x27"
#define POPCNT     "\xf3\x0f\xb8\xc1"
#define ANDN       "\xc4\xe2\x70\xf2\xc2"
#define DIVPS      "\x0f\x5e\xc1"
#define CVT_EAX    "\xf3\x0f\x2d\x07" /* CVTSS2SI EAX, [RDI] */

struct gate {
    const char *why;
    const char *code;
    u32 len;
    u64 cr0_set, cr4_clear, xcr0;
    u8 want;
};

/* clang-format off */
static const struct gate gates[] = {
    { "SSE: all is on",          CODE(ADDPS),      0, 0, 7, NONE },
    { "SSE: EM",                 CODE(ADDPS),      CR0_EM, 0, 7, VEC_UD },
    { "SSE: TS",                 CODE(ADDPS),      CR0_TS, 0, 7, VEC_NM },
    { "SSE: no OSFXSR",          CODE(ADDPS),      CR0_TS, CR4_OSFXSR, 7, VEC_UD },
    { "SSE without a register",  CODE(CVT_EAX),    0, CR4_OSFXSR, 7, VEC_UD },
    { "MMX: EM",                 CODE(PADDB_MM),   CR0_EM, 0, 7, VEC_UD },
    { "MMX: TS",                 CODE(PADDB_MM),   CR0_TS, 0, 7, VEC_NM },
    { "MMX needs no OSFXSR",     CODE(PADDB_MM),   0, CR4_OSFXSR, 7, NONE },
    { "x87: EM",                 CODE(FLD1),       CR0_EM, 0, 7, VEC_NM },
    { "x87: TS",                 CODE(FLD1),       CR0_TS, 0, 7, VEC_NM },
    { "FWAIT: TS alone",         CODE(FWAIT),      CR0_TS, 0, 7, NONE },
    { "FWAIT: TS and MP",        CODE(FWAIT),      CR0_TS | CR0_MP, 0, 7, VEC_NM },
    { "AVX: no OSXSAVE",         CODE(VADDPS),     CR0_TS, CR4_OSXSAVE, 7, VEC_UD },
    { "AVX: not in XCR0",        CODE(VADDPS),     0, 0, 3, VEC_UD },
    { "AVX: TS",                 CODE(VADDPS),     CR0_TS, 0, 7, VEC_NM },
    { "AVX does not mind EM",    CODE(VADDPS),     CR0_EM, 0, 7, NONE },
    { "a fence needs nothing",   CODE(MFENCE),     CR0_EM | CR0_TS, CR4_OSFXSR | CR4_OSXSAVE, 3, NONE },
    { "POPCNT needs nothing",    CODE(POPCNT),     CR0_EM | CR0_TS, CR4_OSFXSR | CR4_OSXSAVE, 3, NONE },
    { "ANDN needs nothing",      CODE(ANDN),       CR0_EM | CR0_TS, CR4_OSFXSR | CR4_OSXSAVE, 3, NONE },
    { "FXSAVE: EM",              CODE(FXSAVE_RDI), CR0_EM, 0, 7, VEC_NM },
    { "FXSAVE: TS",              CODE(FXSAVE_RDI), CR0_TS, 0, 7, VEC_NM },
    { "FXSAVE needs no OSFXSR",  CODE(FXSAVE_RDI), 0, CR4_OSFXSR, 7, NONE },
    { "XSAVE: no OSXSAVE",       CODE(XSAVE_RDI),  CR0_TS, CR4_OSXSAVE, 7, VEC_UD },
    { "XSAVE: TS",               CODE(XSAVE_RDI),  CR0_TS, 0, 7, VEC_NM },
};
/* clang-format on */

static u8 fire(struct rig *r, const char *code, u32 len)
{
    rig_code(r, code, len);
    r->c->rip = RIG_CODE;
    return rig_step(r) == RIG_END_EXCEPTION ? r->c->event.vector : NONE;
}

TEST(soft_stub_enabling_bits)
{
    struct rig *r = rig_new(1);

    for_each_row(g, gates) {
        ROW(g);
        rig_mode(r, RIG_LONG);
        r->c->reg[GPR_RDI] = RIG_DATA;
        r->c->cr0 = (r->c->cr0 & ~(u64)CR0_MP) | g->cr0_set;
        r->c->cr4 &= ~g->cr4_clear;
        r->c->xcr0 = g->xcr0;
        CHECK_EQ(fire(r, g->code, g->len), g->want);
    }
    rig_free(r);
}

static void without(struct rig *r, enum cpu_feature f)
{
    r->c->vm->features[f / 64] &= ~(1ull << f % 64);
}

TEST(soft_stub_features_not_offered)
{
    static const struct {
        const char *why;
        const char *code;
        u32 len;
        u8 feature;
    } rows[] = {
        { "SSE", CODE(ADDPS), F_SSE },        { "MMX", CODE(PADDB_MM), F_MMX },
        { "x87", CODE(FLD1), F_FPU },         { "AVX", CODE(VADDPS), F_AVX },
        { "BMI1", CODE(ANDN), F_BMI1 },       { "POPCNT", CODE(POPCNT), F_POPCNT },
        { "FXSR", CODE(FXSAVE_RDI), F_FXSR },
    };

    for_each_row(row, rows) {
        struct rig *r = rig_new(1);
        ROW(row);
        without(r, row->feature);
        rig_mode(r, RIG_LONG);
        CHECK_EQ(fire(r, row->code, row->len), VEC_UD);
        rig_free(r);
    }
}

TEST(soft_stub_xm_by_osxmmexcpt)
{
    struct rig *r = rig_new(1);
    const float one = 1;

    for (u32 on = 0; on < 2; on++) {
        rig_mode(r, RIG_LONG);
        r->c->cr4 &= on ? ~0ull : ~(u64)CR4_OSXMMEXCPT;
        memset(r->c->fpu.ymm, 0, sizeof(r->c->fpu.ymm));
        memcpy(r->c->fpu.ymm[0], &one, 4);
        r->c->fpu.mxcsr = 0x1f80 & ~0x200u; /* division by zero is unmasked */
        CHECK_EQ(fire(r, CODE(DIVPS)), on ? VEC_XM : VEC_UD);
        CHECK_EQ(r->c->fpu.mxcsr & 0x3f, 0x04 | 0x01); /* … and the 0/0 beside it */
        CHECK_MEM(r->c->fpu.ymm[0], &one, 4);
        CHECK_EQ(r->c->rip, RIG_CODE);
    }
    rig_free(r);
}

/* FLD1; FLDZ; FDIVP with everything unmasked, then FLD1. */
TEST(soft_stub_mf_comes_later)
{
    static const u8 code[] = { 0xd9, 0x2f, 0xd9, 0xe8, 0xd9, 0xee, 0xde, 0xf9, 0xd9, 0xe8 };
    struct rig *r = rig_new(1);
    u16 fcw = 0x340;

    rig_mode(r, RIG_LONG);
    r->c->reg[GPR_RDI] = RIG_DATA;
    memcpy(r->ram + RIG_DATA, &fcw, 2);
    rig_code(r, code, sizeof(code));
    CHECK_EQ(rig_run(r, 100), RIG_END_EXCEPTION);
    CHECK_EQ(r->c->event.vector, VEC_MF);
    CHECK_EQ(r->c->rip, RIG_CODE + 8);
    rig_free(r);
}

/* FLD dword [RDI]; FNSTENV [RSI], with the pointers of the guest, in the words of each mode. */
TEST(soft_fpu_environment_layouts)
{
    static const struct {
        const char *why;
        enum rig_mode mode;
        const char *code;
        u32 len;
        u32 fip, cs_fop, fdp;
        bool words16;
    } rows[] = {
        { "64-bit code", RIG_LONG, CODE("\xd9\x07\xd9\x36"), RIG_CODE, 0x01070008, RIG_DATA,
          false },
        { "32-bit code", RIG_PROT32, CODE("\xd9\x07\xd9\x36"), RIG_CODE, 0x01070008, RIG_DATA,
          false },
        { "32-bit code, 16-bit words", RIG_PROT32, CODE("\xd9\x07\x66\xd9\x36"), RIG_CODE, 0x08, 0,
          true },
        { "real mode", RIG_REAL, CODE("\xd9\x05\xd9\x34"), RIG_CODE, 0x105, 0x7000, true },
    };
    struct rig *r = rig_new(1);

    for_each_row(row, rows) {
        u32 size = row->words16 ? 2 : 4, w[7] = {};
        u64 out = row->mode == RIG_REAL ? 0x7100 : RIG_DATA + 0x100;

        ROW(row);
        rig_mode(r, row->mode);
        r->c->reg[GPR_RDI] = row->mode == RIG_REAL ? 0x7000 : RIG_DATA;
        r->c->reg[GPR_RSI] = out;
        rig_code(r, row->code, row->len);
        CHECK_EQ(rig_run(r, 2), RIG_END_LIMIT);
        for (u32 i = 0; i < 7; i++)
            memcpy(&w[i], r->ram + out + size * i, size);
        CHECK_EQ((u16)w[0], 0x37f);
        CHECK_EQ(w[3], row->fip | (row->words16 || row->mode != RIG_REAL ? 0 : 0xffff0000));
        CHECK_EQ(w[4], row->cs_fop);
        CHECK_EQ(w[5], row->fdp);
    }
    rig_free(r);
}

/* A vector operand in a device's registers, and one across two pages. */
TEST(soft_stub_operand_elsewhere)
{
    struct rig *r = rig_new(1);
    u8 got[16];

    rig_mode(r, RIG_PROT32);
    r->c->reg[GPR_RDI] = 0xfee80000; /* no RAM */
    memset(r->c->fpu.ymm[0], 0xa5, 16);
    CHECK_EQ(fire(r, CODE("\x0f\x11\x07")), NONE); /* MOVUPS [EDI], XMM0 */
    CHECK_EQ(r->mmio_writes, 2);
    CHECK_EQ(r->mmio_at, 0xfee80008);
    CHECK_EQ(r->mmio_value, 0xa5a5a5a5a5a5a5a5);

    r->c->reg[GPR_RDI] = RIG_DATA + 4096 - 5;
    CHECK_EQ(fire(r, CODE("\x0f\x11\x07")), NONE);
    memset(got, 0xa5, sizeof(got));
    CHECK_MEM(r->ram + RIG_DATA + 4096 - 5, got, 16);
    rig_free(r);
}

/* LZCNT and TZCNT without their features are BSR and BSF. */
TEST(soft_stub_older_meaning)
{
    struct rig *r = rig_new(1);

    rig_mode(r, RIG_LONG);
    r->c->reg[GPR_RCX] = 0x100;
    CHECK_EQ(fire(r, CODE("\xf3\x0f\xbd\xc1")), NONE);
    CHECK_EQ(r->c->reg[GPR_RAX], 23);
    without(r, F_LZCNT);
    r->c->vm->features[F_BMI1 / 64] &= ~(1ull << F_BMI1 % 64);
    rig_mode(r, RIG_LONG);
    r->c->reg[GPR_RCX] = 0x100;
    rig_code(r, CODE("\x90\xf3\x0f\xbd\xc1\xf3\x0f\xbc\xd1"));
    CHECK_EQ(rig_run(r, 3), RIG_END_LIMIT);
    CHECK_EQ(r->c->reg[GPR_RAX], 8);
    CHECK_EQ(r->c->reg[GPR_RDX], 8);
    rig_free(r);
}

/* More forms than the store holds: it is emptied, together with the blocks, and the guest sees nothing of it. */
TEST(soft_stub_store_is_reused)
{
    struct rig *r = rig_new(1);
    struct stub_cache *sc;
    u32 resets = 0, before = 0;

    rig_mode(r, RIG_LONG);
    sc = r->c->stubs;
    for (u32 i = 0; i < 12000; i++) { /* SHUFPS XMMi, XMMj, n: each is another stub */
        u8 code[] = { 0x0f, 0xc6, (u8)(0xc0 | (i & 63)), (u8)(i >> 6) };
        r->c->rip = RIG_CODE + (i % 512) * 4;
        mem_write(r->mem, r->c->rip, code, 4);
        if (soft_stubs_full(r->c))
            soft_stubs_reset(r->c);
        CHECK_EQ(rig_step(r), RIG_END_LIMIT);
        resets += sc->n < before;
        before = sc->n;
    }
    CHECK(resets > 0);
    CHECK(sc->used <= STUB_AREA);
    rig_free(r);
}

static void xsave_image(u8 *image, u64 bv, u64 compact, u32 mxcsr)
{
    memset(image, 0, VCPU_XSAVE_SIZE);
    memcpy(image + XSAVE_HEADER, &bv, 8);
    memcpy(image + XSAVE_HEADER + 8, &compact, 8);
    memcpy(image + 24, &mxcsr, 4);
}

TEST(soft_fpu_image_round_trip)
{
    static u8 image[VCPU_XSAVE_SIZE], again[VCPU_XSAVE_SIZE];
    struct rig *r = rig_new(1);
    u64 seed = 7;
    struct err e = {};

    rig_mode(r, RIG_LONG);
    xsave_image(image, 7, 0, 0x1fa0);
    for (u32 i = 160; i < 416; i++)
        image[i] = (u8)test_rand(&seed);
    for (u32 i = XSAVE_AVX; i < XSAVE_AVX + 256; i++)
        image[i] = (u8)test_rand(&seed);
    memcpy(image, "\x7f\x03\x00\x38\x80\x00\x21\x01", 8);
    CHECK_OK(soft_fpu_load(r->c, image, &e), &e);
    u32 mask = soft_mxcsr_mask();
    memcpy(image + 28, &mask, 4);
    soft_fpu_save(r->c, again);
    CHECK_MEM(again, image, XSAVE_AVX + 256);
    rig_free(r);
}

TEST(soft_fpu_image_refused)
{
    static const struct {
        const char *why;
        u64 bv, compact;
        u32 mxcsr;
    } rows[] = {
        { "AVX-512", 0xe7, 0, 0x1f80 },
        { "compacted", 7, 1ull << 63 | 7, 0x1f80 },
        { "MXCSR", 7, 0, 1u << 31 },
    };
    static u8 image[VCPU_XSAVE_SIZE];
    struct rig *r = rig_new(1);
    struct err e;

    rig_mode(r, RIG_LONG);
    for_each_row(row, rows) {
        ROW(row);
        e = (struct err){};
        xsave_image(image, row->bv, row->compact, row->mxcsr);
        CHECK_EQ(soft_fpu_load(r->c, image, &e), -EINVAL);
        CHECK(e.text[0]);
    }
    rig_free(r);
}
