/*
 * cpu/soft/seg_test.c: limits and rights, and what segment registers may be loaded with: every combination.
 * The expectations are written from the tables of the manual (SDM volume 3, chapters 5.3 to 5.7), not from the code.
 */
#include "cpu/soft/seg_rig.h"
#include "testlib/test.h"

struct access {
    u32 seg, size, access;
    u64 off, lin;
};

static void do_access(struct seg_rig *r, void *arg)
{
    struct access *a = arg;

    a->lin = soft_seg_linear(r->c, &r->op, a->seg, a->off, a->size, a->access);
}

TEST(seg_limits)
{
    /* clang-format off */
    static const struct { const char *why; u16 attr; u32 limit; u64 off; u32 size; bool ok; } rows[] = {
        { "last byte",                          0x4093, 0xfff,  0xfff,      1, true },
        { "one past the limit",                 0x4093, 0xfff,  0x1000,     1, false },
        { "word across the limit",              0x4093, 0xfff,  0xfff,      2, false },
        { "quadword up to the limit",           0x4093, 0xfff,  0xff8,      8, true },
        { "quadword across the limit",          0x4093, 0xfff,  0xff9,      8, false },
        { "limit 0 has one byte",               0x4093, 0,      0,          1, true },
        { "word at the end of 64 KiB",          0x0093, 0xffff, 0xffff,     2, false },
        { "4 GiB: last byte",                   0xc093, ~0u,    0xffffffff, 1, true },
        { "4 GiB wraps",                        0xc093, ~0u,    0xffffffff, 4, true },
        { "expand-down: below",                 0x4097, 0xfff,  0xfff,      1, false },
        { "expand-down: first byte",            0x4097, 0xfff,  0x1000,     1, true },
        { "expand-down: word across the limit", 0x4097, 0xfff,  0xfff,      2, false },
        { "expand-down, big: to 4 GiB",         0x4097, 0xfff,  0xfffffffc, 4, true },
        { "expand-down, big: past 4 GiB",       0x4097, 0xfff,  0xfffffffd, 4, false },
        { "expand-down, small: to 64 KiB",      0x0097, 0xfff,  0xfffe,     2, true },
        { "expand-down, small: past 64 KiB",    0x0097, 0xfff,  0xffff,     2, false },
        { "expand-down, 4 GiB: nothing",        0xc097, ~0u,    0xffffffff, 1, false },
    };
    /* clang-format on */
    struct seg_rig *r = seg_rig_get();

    for_each_row(row, rows) {
        static const u32 segs[] = { SEG_DS, SEG_SS };

        ROW(row);
        for_each_row(seg, segs) {
            struct access a = {
                .seg = *seg, .off = row->off, .size = row->size, .access = ACC_READ
            };
            u32 fault = FAULT(*seg == SEG_SS ? VEC_SS : VEC_GP, 0);

            r->c->seg[*seg] =
                (struct seg_state){ .base = 0x10, .limit = row->limit, .attr = row->attr };
            CHECK_EQ(seg_rig_try(r, do_access, &a), row->ok ? NO_FAULT : fault);
            if (row->ok)
                CHECK_EQ(a.lin, (u32)(row->off + 0x10));
        }
    }
}

TEST(seg_rights)
{
    struct seg_rig *r = seg_rig_get();

    for (u16 type = 0; type < 16; type++) {
        for (u32 access = ACC_READ; access <= ACC_WRITE; access++) {
            bool code = type & 8, rw = type & 2, down = !code && (type & 4);
            bool ok = access == ACC_READ ? !code || rw : !code && rw;
            struct access a = { .seg = SEG_ES, .off = 0x2000, .size = 4, .access = access };

            r->c->seg[SEG_ES] =
                (struct seg_state){ .limit = down ? 0xfff : 0xffff, .attr = (u16)(0x4090 | type) };
            CHECK_EQ(seg_rig_try(r, do_access, &a), ok ? NO_FAULT : FAULT(VEC_GP, 0));
        }
    }
}

TEST(seg_unusable)
{
    struct seg_rig *r = seg_rig_get();
    struct access a = { .seg = SEG_DS, .size = 1, .access = ACC_READ };

    r->c->seg[SEG_DS] = seg_null(0);
    CHECK_EQ(seg_rig_try(r, do_access, &a), FAULT(VEC_GP, 0));
}

TEST(seg_base_in_64bit_code)
{
    struct seg_rig *r = seg_rig_get();
    struct access a = { .off = 0x1234567890, .size = 8, .access = ACC_WRITE };

    seg_rig_long(r, 0);
    for (u32 seg = SEG_ES; seg <= SEG_GS; seg++) {
        r->c->seg[seg].base = 0xffff800000000000;
        a.seg = seg;
        CHECK_EQ(seg_rig_try(r, do_access, &a), NO_FAULT);
        CHECK_EQ(a.lin, seg < SEG_FS ? a.off : a.off + 0xffff800000000000);
    }
}

/* ---- loads ---- */

struct load {
    enum vcpu_seg seg;
    u16 selector;
};

static void do_load(struct seg_rig *r, void *arg)
{
    const struct load *l = arg;

    soft_seg_load(r->c, &r->op, l->seg, l->selector);
}

/* One descriptor out of all. */
struct shape {
    u8 cpl, rpl, dpl, type;
    bool s, p;
};
#define SHAPES (1u << 12)

static struct shape shape_at(u32 i)
{
    return (struct shape){
        .cpl = i & 3,
        .rpl = (i >> 2) & 3,
        .dpl = (i >> 4) & 3,
        .type = (i >> 6) & 15,
        .s = (i >> 10) & 1,
        .p = (i >> 11) & 1,
    };
}

static u16 shape_put(struct seg_rig *r, struct shape s)
{
    seg_rig_gdt(r, SEL_FREE, 0x1000, 0xffff,
                (u16)(0x4000 | s.type | s.s << 4 | s.dpl << 5 | s.p << 7));
    return SEL_FREE | s.rpl;
}

/* SDM: loading DS, ES, FS, GS. */
static u32 data_fault(struct shape s)
{
    bool code = s.type & 8, conforming = code && (s.type & 4), readable = s.type & 2;

    if (!s.s || (code && !readable))
        return FAULT(VEC_GP, SEL_FREE);
    if (!conforming && (s.rpl > s.dpl || s.cpl > s.dpl))
        return FAULT(VEC_GP, SEL_FREE);
    return s.p ? NO_FAULT : FAULT(VEC_NP, SEL_FREE);
}

/* SDM: loading SS. */
static u32 stack_fault(struct shape s)
{
    if (s.rpl != s.cpl || !s.s || (s.type & 8) || !(s.type & 2) || s.dpl != s.cpl)
        return FAULT(VEC_GP, SEL_FREE);
    return s.p ? NO_FAULT : FAULT(VEC_SS, SEL_FREE);
}

TEST(seg_load_every_descriptor)
{
    struct seg_rig *r = seg_rig_get();

    for (u32 i = 0; i < SHAPES; i++) {
        struct shape s = shape_at(i);

        for (u32 stack = 0; stack < 2; stack++) {
            struct load l = { .seg = stack ? SEG_SS : SEG_FS };
            u32 want = stack ? stack_fault(s) : data_fault(s);
            struct seg_state before;

            seg_rig_ring(r, s.cpl);
            l.selector = shape_put(r, s);
            before = r->c->seg[l.seg];
            CHECK_EQ(seg_rig_try(r, do_load, &l), want);
            CHECK_EQ(seg_rig_load(r, TAB_GDT + SEL_FREE + 5, 1) & 1,
                     want == NO_FAULT || (s.type & 1));
            if (want != NO_FAULT)
                CHECK_MEM(&r->c->seg[l.seg], &before, sizeof(before));
            else
                CHECK_EQ(r->c->seg[l.seg].selector, SEL_FREE | s.rpl);
        }
    }
}

TEST(seg_load_special_selectors)
{
    /* clang-format off */
    static const struct { const char *why; enum vcpu_seg seg; u16 selector; bool code64; u8 cpl; u32 want; } rows[] = {
        { "null DS",                      SEG_DS, 0,      false, 3, NO_FAULT },
        { "null DS, RPL 3",               SEG_DS, 3,      false, 0, NO_FAULT },
        { "null SS",                      SEG_SS, 0,      false, 0, FAULT(VEC_GP, 0) },
        { "null SS in 64-bit code",       SEG_SS, 0,      true,  0, NO_FAULT },
        { "null SS in 64-bit code, RPL",  SEG_SS, 1,      true,  0, FAULT(VEC_GP, 0) },
        { "null SS in ring 3",            SEG_SS, 3,      true,  3, FAULT(VEC_GP, 0) },
        { "last of the GDT",              SEG_DS, 0xff8,  false, 0, FAULT(VEC_GP, 0xff8) }, /* no segment */
        { "outside the GDT",              SEG_DS, 0x1000, false, 0, FAULT(VEC_GP, 0x1000) },
        { "no LDT",                       SEG_DS, 0x0c,   false, 0, FAULT(VEC_GP, 0x0c) },
        { "a TSS",                        SEG_DS, SEL_TSS, false, 0, FAULT(VEC_GP, SEL_TSS) },
    };
    /* clang-format on */

    for_each_row(row, rows) {
        struct seg_rig *r = seg_rig_get();
        struct load l = { row->seg, row->selector };

        ROW(row);
        if (row->code64)
            seg_rig_long(r, 0);
        r->c->cpl = row->cpl;
        CHECK_EQ(seg_rig_try(r, do_load, &l), row->want);
        if (row->want == NO_FAULT)
            CHECK(r->c->seg[row->seg].unusable);
    }
}

TEST(seg_load_from_ldt)
{
    struct seg_rig *r = seg_rig_get();
    struct load l = { SEG_GS, 0x0c };

    r->c->seg[SEG_LDTR] = (struct seg_state){ .base = TAB_LDT, .limit = 0xf, .attr = 0x82 };
    seg_rig_store(r, TAB_LDT + 8, 8,
                  0x12cf92345678ffff); /* base 0x12345678, 4 GiB, not yet accessed */
    CHECK_EQ(seg_rig_try(r, do_load, &l), NO_FAULT);
    CHECK_EQ(r->c->seg[SEG_GS].base, 0x12345678);
    CHECK_EQ(r->c->seg[SEG_GS].limit, ~0u);
    CHECK_EQ(r->c->seg[SEG_GS].attr, 0xc093);
    CHECK_EQ(seg_rig_load(r, TAB_LDT + 8, 8), 0x12cf93345678ffff);
}

TEST(seg_real_and_vm86)
{
    struct seg_rig *r = seg_rig_get();
    struct load l = { SEG_DS, 0x1234 };

    r->c->cr0 &= ~CR0_PE;
    CHECK_EQ(seg_rig_try(r, do_load, &l), NO_FAULT);
    CHECK_EQ(r->c->seg[SEG_DS].base, 0x12340);
    CHECK_EQ(r->c->seg[SEG_DS].limit, ~0u); /* "unreal" mode */

    r->c->seg[SEG_DS] = seg_null(0);
    CHECK_EQ(seg_rig_try(r, do_load, &l), NO_FAULT);
    CHECK_EQ(r->c->seg[SEG_DS].limit, 0xffff);

    r->c->cr0 |= CR0_PE;
    r->c->eflags |= RF_VM;
    CHECK_EQ(seg_rig_try(r, do_load, &l), NO_FAULT);
    CHECK_EQ(r->c->seg[SEG_DS].base, 0x12340);
    CHECK_EQ(r->c->seg[SEG_DS].limit, 0xffff);
    CHECK_EQ(r->c->seg[SEG_DS].attr, 0xf3);
}
