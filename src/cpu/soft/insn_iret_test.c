/*
 * cpu/soft/insn_iret_test.c: IRET: every ring to every ring, which flags come back, virtual-8086 and long mode.
 */
#include "cpu/soft/seg_rig.h"
#include "testlib/test.h"

enum { TARGET = 0x20000 };

static const u32 all_flags =
    RF_ARITH | RF_TF | RF_IF | RF_DF | RF_IOPL | RF_NT | RF_RF | RF_AC | RF_VIF | RF_VIP | RF_ID;

TEST(iret_every_ring)
{
    struct seg_rig *r = seg_rig_get();

    for (u32 i = 0; i < 256; i++) {
        u8 cpl = i & 3, rpl = (i >> 2) & 3, dpl = (i >> 4) & 3;
        bool conforming = (i >> 6) & 1, p = (i >> 7) & 1;
        const u64 frame[] = { TARGET, SEL_FREE | rpl, RF_ONE, 0x6000, seg_rig_data(rpl) };
        bool ok = rpl >= cpl && (conforming ? dpl <= rpl : dpl == rpl);
        u32 want = !ok ? FAULT(VEC_GP, SEL_FREE) : p ? NO_FAULT : FAULT(VEC_NP, SEL_FREE);

        seg_rig_ring(r, cpl);
        seg_rig_gdt(r, SEL_FREE, 0, 0xfffff, (u16)(0x401b | conforming << 2 | dpl << 5 | p << 7));
        seg_rig_put(r, RIG_STACK, frame, ARRAY_LEN(frame), 4);
        CHECK_EQ(RUN(r, 0xcf), want);
        if (want != NO_FAULT) {
            CHECK_EQ(r->c->reg[GPR_RSP], RIG_STACK);
            continue;
        }
        CHECK_EQ(r->c->rip, TARGET);
        CHECK_EQ(r->c->cpl, rpl);
        CHECK_EQ(r->c->reg[GPR_RSP], rpl > cpl ? 0x6000 : RIG_STACK + 12);
        CHECK_EQ(r->c->seg[SEG_DS].unusable, rpl > cpl);
    }
}

/* SDM volume 2, IRET, and table 3-... of POPF's kin: what each privilege may change. */
TEST(iret_flags)
{
    for (u8 cpl = 0; cpl < 4; cpl += 3) {
        for (u32 iopl = 0; iopl < 4; iopl++) {
            for (u32 wide = 0; wide < 2; wide++) {
                struct seg_rig *r = seg_rig_get();
                const u64 frame[] = { 0x2000, seg_rig_code(cpl),
                                      wide ? all_flags & ~RF_VM : all_flags };
                u32 before = RF_ONE | iopl << 12, mask = RF_ARITH | RF_TF | RF_DF | RF_NT;

                if (wide)
                    mask |= RF_RF | RF_AC | RF_ID;
                if (wide && cpl == 0)
                    mask |= RF_VIF | RF_VIP;
                if (cpl <= iopl)
                    mask |= RF_IF;
                if (cpl == 0)
                    mask |= RF_IOPL;
                seg_rig_ring(r, cpl);
                seg_rig_put(r, RIG_STACK, frame, 3, wide ? 4 : 2);
                soft_set_flags(r->c, before);
                soft_mode_changed(r->c);
                CHECK_EQ(wide ? RUN(r, 0xcf) : RUN(r, 0x66, 0xcf), NO_FAULT);
                CHECK_EQ(soft_flags(r->c), (before & ~mask) | (all_flags & mask));
            }
        }
    }
}

TEST(iret_to_vm86)
{
    struct seg_rig *r = seg_rig_get();
    u64 frame[] = { 0x1234, 0x1000, RF_ONE | RF_VM | RF_IF | RF_IOPL,
                    0x5678, 0x2000, 0x3000,
                    0x4000, 0x5000, 0x6000 };

    seg_rig_put(r, RIG_STACK, frame, 9, 4);
    CHECK_EQ(RUN(r, 0xcf), NO_FAULT);
    CHECK_EQ(r->c->cpl, 3);
    CHECK_EQ(r->c->rip, 0x1234);
    CHECK_EQ(r->c->eflags, RF_ONE | RF_VM | RF_IF | RF_IOPL);
    CHECK_EQ(r->c->seg[SEG_CS].base, 0x10000);
    CHECK_EQ(r->c->seg[SEG_SS].base, 0x20000);
    CHECK_EQ(r->c->seg[SEG_ES].base, 0x30000);
    CHECK_EQ(r->c->seg[SEG_DS].base, 0x40000);
    CHECK_EQ(r->c->seg[SEG_FS].base, 0x50000);
    CHECK_EQ(r->c->seg[SEG_GS].base, 0x60000);
    CHECK_EQ(r->c->reg[GPR_RSP], 0x5678);

    r = seg_rig_get();
    frame[0] = 0x10000;
    seg_rig_put(r, RIG_STACK, frame, 9, 4);
    CHECK_EQ(RUN(r, 0xcf), FAULT(VEC_GP, 0));
    CHECK_EQ(r->c->cpl, 0);
}

/* Other rings cannot make VM come true. */
TEST(iret_vm_in_ring3)
{
    struct seg_rig *r = seg_rig_get();
    const u64 frame[] = { 0x2000, SEL_CODE3 | 3, RF_ONE | RF_VM };

    seg_rig_ring(r, 3);
    seg_rig_put(r, RIG_STACK, frame, 3, 4);
    CHECK_EQ(RUN(r, 0xcf), NO_FAULT);
    CHECK_EQ(r->c->eflags, RF_ONE);
}

TEST(iret_real)
{
    struct seg_rig *r = seg_rig_get();

    seg_rig_real(r);
    seg_rig_put(r, RIG_STACK, (u64[]){ 0x1234, 0x5678, all_flags & 0xffff }, 3, 2);
    CHECK_EQ(RUN(r, 0xcf), NO_FAULT);
    CHECK_EQ(r->c->rip, 0x1234);
    CHECK_EQ(r->c->seg[SEG_CS].base, 0x56780);
    CHECK_EQ(soft_flags(r->c), RF_ONE | (all_flags & 0xffff));
}

/* 16-bit IRET in virtual-8086 mode by IOPL and VME. */
TEST(iret_in_vm86)
{
    /* clang-format off */
    static const struct { const char *why; u32 before, popped; bool vme; u32 want, after; } rows[] = {
        { "IOPL 3",            RF_IOPL,         RF_IF,         false, NO_FAULT,         RF_IOPL | RF_IF },
        { "IOPL 0",            0,               RF_IF,         false, FAULT(VEC_GP, 0), 0 },
        { "IOPL 0, VME",       0,               RF_IF,         true,  NO_FAULT,         RF_VIF },
        { "VME, IF cleared",   RF_VIF | RF_IF,  RF_CF,         true,  NO_FAULT,         RF_IF | RF_CF },
        { "VME, VIP waits",    RF_VIP,          RF_IF,         true,  FAULT(VEC_GP, 0), RF_VIP },
        { "VME, TF",           0,               RF_TF,         true,  FAULT(VEC_GP, 0), 0 },
        { "IOPL stays",        RF_IOPL,         0,             false, NO_FAULT,         RF_IOPL },
    };
    /* clang-format on */

    for_each_row(row, rows) {
        struct seg_rig *r = seg_rig_get();
        u64 at = 0x1020 + RIG_STACK; /* SS is 0x102 */

        ROW(row);
        r->c->cr4 |= row->vme ? CR4_VME : 0;
        seg_rig_vm86(r, row->before);
        seg_rig_put(r, at, (u64[]){ 0x1234, 0x5678, row->popped }, 3, 2);
        CHECK_EQ(RUN(r, 0xcf), row->want);
        CHECK_EQ(soft_flags(r->c), RF_ONE | RF_VM | row->after);
    }
}

TEST(iret_unmasks_nmi)
{
    struct seg_rig *r = seg_rig_get();

    r->c->nmi_masked = true;
    seg_rig_put(r, RIG_STACK, (u64[]){ 0x2000, SEL_CODE0, RF_ONE }, 3, 4);
    CHECK_EQ(RUN(r, 0xcf), NO_FAULT);
    CHECK(!r->c->nmi_masked);
}

/* ---- long mode ---- */

TEST(iretq)
{
    /* clang-format off */
    static const struct { const char *why; u8 cpl; u64 rip; u16 cs; u64 sp; u16 ss; u32 want; } rows[] = {
        { "to ring 3",               0, 0x7fff12345678,     SEL_CODE64_3 | 3, 0x7fff00000008,     SEL_DATA3 | 3, NO_FAULT },
        { "in ring 0",               0, 0xffffffff81000000, SEL_CODE64,       0xffffc90000000000, SEL_DATA0,     NO_FAULT },
        { "in ring 0, null SS",      0, 0xffffffff81000000, SEL_CODE64,       0xffffc90000000000, 0,             NO_FAULT },
        { "in ring 3",               3, 0x1000,             SEL_CODE64_3 | 3, 0x2000,             SEL_DATA3 | 3, NO_FAULT },
        { "to ring 3, 32-bit",       0, 0x1000,             SEL_CODE3 | 3,    0xffff0008,         SEL_DATA3 | 3, NO_FAULT },
        { "to ring 3, null SS",      0, 0x1000,             SEL_CODE64_3 | 3, 0x2000,             3,             FAULT(VEC_GP, 0) },
        { "32-bit, null SS",         0, 0x1000,             SEL_CODE0,        0x2000,             0,             FAULT(VEC_GP, 0) },
        { "null SS, other RPL",      0, 0x1000,             SEL_CODE64,       0x2000,             1,             FAULT(VEC_GP, 0) },
        { "not canonical",           0, 0x800000000000,     SEL_CODE64_3 | 3, 0x2000,             SEL_DATA3 | 3, FAULT(VEC_GP, 0) },
        { "to an inner ring",        3, 0x1000,             SEL_CODE64,       0x2000,             SEL_DATA0,     FAULT(VEC_GP, SEL_CODE64) },
        { "null CS",                 0, 0x1000,             0,                0x2000,             SEL_DATA0,     FAULT(VEC_GP, 0) },
        { "CS outside the GDT",      0, 0x1000,             0x2000,           0x2000,             SEL_DATA0,     FAULT(VEC_GP, 0x2000) },
        { "SS of another ring",      0, 0x1000,             SEL_CODE64_3 | 3, 0x2000,             SEL_DATA0,     FAULT(VEC_GP, SEL_DATA0) },
        { "SS is code",              0, 0x1000,             SEL_CODE64,       0x2000,             SEL_CODE0,     FAULT(VEC_GP, SEL_CODE0) },
    };
    /* clang-format on */

    for_each_row(row, rows) {
        struct seg_rig *r = seg_rig_get();

        ROW(row);
        seg_rig_long(r, row->cpl);
        seg_rig_put(r, RIG_STACK, (u64[]){ row->rip, row->cs, RF_ONE | RF_IF, row->sp, row->ss }, 5,
                    8);
        CHECK_EQ(RUN(r, 0x48, 0xcf), row->want);
        if (row->want != NO_FAULT) {
            CHECK_EQ(r->c->reg[GPR_RSP], RIG_STACK);
            CHECK_EQ(r->c->rip, RIG_CODE);
            continue;
        }
        CHECK_EQ(r->c->rip, row->rip);
        CHECK_EQ(r->c->reg[GPR_RSP], row->sp);
        CHECK_EQ(r->c->cpl, row->cs & 3);
        CHECK_EQ(r->c->seg[SEG_SS].selector, row->ss);
        CHECK_EQ(r->c->eflags, RF_ONE | (row->cpl == 0 ? RF_IF : 0));
    }
}

/* The frame may lie across two pages, or nowhere. */
TEST(iretq_stack)
{
    struct seg_rig *r = seg_rig_get();

    seg_rig_long(r, 0);
    r->c->reg[GPR_RSP] = 0x8ff0;
    seg_rig_put(r, 0x8ff0, (u64[]){ 0x1000, SEL_CODE64, RF_ONE, 0x6000, 0 }, 5, 8);
    CHECK_EQ(RUN(r, 0x48, 0xcf), NO_FAULT);
    CHECK_EQ(r->c->reg[GPR_RSP], 0x6000);

    seg_rig_long(r, 0);
    r->c->reg[GPR_RSP] = 0x800000000000;
    CHECK_EQ(RUN(r, 0x48, 0xcf), FAULT(VEC_SS, 0));
    seg_rig_long(r, 0);
    r->c->reg[GPR_RSP] = 1ull << 40;
    CHECK_EQ(RUN(r, 0x48, 0xcf), FAULT(VEC_PF, 0));
}

TEST(iretq_nested_task)
{
    struct seg_rig *r = seg_rig_get();

    seg_rig_long(r, 0);
    r->c->eflags |= RF_NT;
    CHECK_EQ(RUN(r, 0x48, 0xcf), FAULT(VEC_GP, 0));
}
