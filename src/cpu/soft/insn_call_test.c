/*
 * cpu/soft/insn_call_test.c: SYSCALL, SYSENTER and their returns, by mode, ring and vendor.
 */
#include "cpu/soft/cpuid.h"
#include "cpu/soft/seg_rig.h"
#include "testlib/test.h"

enum { AMD, INTEL };

static struct seg_rig *start(u32 vendor, bool is_long, u8 cpl)
{
    static const char names[][13] = { "AuthenticAMD", "GenuineIntel" };
    struct seg_rig *r = seg_rig_get();
    struct soft_msrs *m = r->c->msrs;

    memcpy(r->c->vm->cpuid->vendor, names[vendor], 12);
    if (is_long)
        seg_rig_long(r, cpl);
    else
        seg_rig_ring(r, cpl);
    m->star = 0x0063001012345678;
    m->lstar = 0xffffffff81000000;
    m->cstar = 0xffffffff82000000;
    m->sfmask = RF_IF | RF_DF | RF_TF;
    m->sysenter_cs = 0x10;
    m->sysenter_eip = 0xffffffff83000000;
    m->sysenter_esp = 0xffffffff84000000;
    r->c->efer |= EFER_SCE;
    soft_set_flags(r->c, RF_ONE | RF_IF | RF_DF | RF_CF);
    soft_mode_changed(r->c);
    return r;
}

static void check_flat(const struct seg_rig *r, u16 cs, u16 ss, u8 cpl, u16 code_attr)
{
    const struct soft_cpu *c = r->c;

    CHECK_EQ(c->cpl, cpl);
    CHECK_EQ(c->seg[SEG_CS].selector, cs | cpl);
    CHECK_EQ(c->seg[SEG_SS].selector, ss | cpl);
    CHECK_EQ(c->seg[SEG_CS].attr, code_attr | cpl << 5);
    CHECK_EQ(c->seg[SEG_SS].attr, 0xc093 | cpl << 5);
    CHECK_EQ(c->seg[SEG_CS].base | c->seg[SEG_SS].base, 0);
    CHECK_EQ(c->seg[SEG_CS].limit, ~0u);
}

TEST(syscall_64)
{
    struct seg_rig *r = start(AMD, true, 3);

    CHECK_EQ(RUN(r, 0x0f, 0x05), NO_FAULT);
    check_flat(r, 0x10, 0x18, 0, 0xa09b);
    CHECK_EQ(r->c->rip, 0xffffffff81000000);
    CHECK_EQ(r->c->reg[GPR_RCX], RIG_CODE + 2);
    CHECK_EQ(r->c->reg[11], RF_ONE | RF_IF | RF_DF | RF_CF);
    CHECK_EQ(soft_flags(r->c), RF_ONE | RF_CF);
    CHECK_EQ(r->c->reg[GPR_RSP], RIG_STACK);
}

TEST(sysret_64)
{
    struct seg_rig *r = start(AMD, true, 0);

    r->c->reg[GPR_RCX] = 0x7fff12345678;
    r->c->reg[11] = RF_IF | RF_OF | RF_VM | RF_RF;
    CHECK_EQ(RUN(r, 0x48, 0x0f, 0x07), NO_FAULT);
    check_flat(r, 0x70, 0x68, 3, 0xa09b);
    CHECK_EQ(r->c->rip, 0x7fff12345678);
    CHECK_EQ(soft_flags(r->c), RF_ONE | RF_IF | RF_OF);

    r = start(AMD, true, 0);
    r->c->reg[GPR_RCX] = 0xabcd00001000;
    CHECK_EQ(RUN(r, 0x0f, 0x07), NO_FAULT); /* to 32-bit code */
    check_flat(r, 0x60, 0x68, 3, 0xc09b);
    CHECK_EQ(r->c->rip, 0x1000);
}

TEST(syscall_by_vendor_and_mode)
{
    const u32 ud = FAULT(VEC_UD, 0), gp = FAULT(VEC_GP, 0);
    const u64 hole = 0x800000000000;
    /* clang-format off */
    const struct { const char *why; u32 vendor; bool is_long, compat; u8 cpl, insn; u64 rcx; bool sce; u32 want; u64 rip; } rows[] = {
        { "SCE is 0",                    AMD,   true,  false, 3, 0x05, 0,    false, ud,       0 },
        { "compatibility mode, AMD",     AMD,   true,  true,  3, 0x05, 0,    true,  NO_FAULT, 0xffffffff82000000 },
        { "compatibility mode, Intel",   INTEL, true,  true,  3, 0x05, 0,    true,  ud,       0 },
        { "32-bit mode, AMD",            AMD,   false, false, 3, 0x05, 0,    true,  NO_FAULT, 0x12345678 },
        { "32-bit mode, Intel",          INTEL, false, false, 3, 0x05, 0,    true,  ud,       0 },
        { "SYSRET in ring 3",            AMD,   true,  false, 3, 0x07, 0,    true,  gp,       0 },
        { "SYSRET, SCE is 0",            AMD,   true,  false, 0, 0x07, 0,    false, ud,       0 },
        { "SYSRET into the hole, Intel", INTEL, true,  false, 0, 0x07, hole, true,  gp,       0 },
        { "SYSRET into the hole, AMD",   AMD,   true,  false, 0, 0x07, hole, true,  NO_FAULT, hole },
    };
    /* clang-format on */

    for_each_row(row, rows) {
        struct seg_rig *r = start(row->vendor, row->is_long, row->cpl);
        bool wide = row->insn == 0x07;

        ROW(row);
        if (row->compat)
            r->c->seg[SEG_CS].attr = (u16)(0xc09b | row->cpl << 5);
        r->c->efer &= row->sce ? ~0ull : ~(u64)EFER_SCE;
        r->c->reg[GPR_RCX] = row->rcx;
        soft_mode_changed(r->c);
        CHECK_EQ(wide ? RUN(r, 0x48, 0x0f, row->insn) : RUN(r, 0x0f, row->insn), row->want);
        CHECK_EQ(r->c->rip, row->want == NO_FAULT ? row->rip : RIG_CODE);
    }
}

TEST(sysenter)
{
    struct seg_rig *r = start(INTEL, true, 3);

    CHECK_EQ(RUN(r, 0x0f, 0x34), NO_FAULT);
    check_flat(r, 0x10, 0x18, 0, 0xa09b);
    CHECK_EQ(r->c->rip, 0xffffffff83000000);
    CHECK_EQ(r->c->reg[GPR_RSP], 0xffffffff84000000);
    CHECK_EQ(soft_flags(r->c), RF_ONE | RF_DF | RF_CF);

    r = start(AMD, false, 3);
    CHECK_EQ(RUN(r, 0x0f, 0x34), NO_FAULT);
    check_flat(r, 0x10, 0x18, 0, 0xc09b);
    CHECK_EQ(r->c->rip, 0x83000000);
    CHECK_EQ(r->c->reg[GPR_RSP], 0x84000000);

    r = start(AMD, true, 3);
    CHECK_EQ(RUN(r, 0x0f, 0x34), FAULT(VEC_UD, 0));
    r = start(INTEL, true, 3);
    r->c->msrs->sysenter_cs = 3;
    CHECK_EQ(RUN(r, 0x0f, 0x34), FAULT(VEC_GP, 0));
}

TEST(sysexit)
{
    struct seg_rig *r = start(INTEL, true, 0);

    r->c->reg[GPR_RDX] = 0x7fff00001000;
    r->c->reg[GPR_RCX] = 0x7fff00002000;
    CHECK_EQ(RUN(r, 0x48, 0x0f, 0x35), NO_FAULT);
    check_flat(r, 0x30, 0x38, 3, 0xa09b);
    CHECK_EQ(r->c->rip, 0x7fff00001000);
    CHECK_EQ(r->c->reg[GPR_RSP], 0x7fff00002000);

    r = start(INTEL, true, 0);
    r->c->reg[GPR_RDX] = 0x7fff00001000;
    CHECK_EQ(RUN(r, 0x0f, 0x35), NO_FAULT);
    check_flat(r, 0x20, 0x28, 3, 0xc09b);
    CHECK_EQ(r->c->rip, 0x1000);

    r = start(INTEL, true, 3);
    CHECK_EQ(RUN(r, 0x0f, 0x35), FAULT(VEC_GP, 0));
    r = start(INTEL, true, 0);
    r->c->reg[GPR_RDX] = 0x800000000000;
    CHECK_EQ(RUN(r, 0x48, 0x0f, 0x35), FAULT(VEC_GP, 0));
}
