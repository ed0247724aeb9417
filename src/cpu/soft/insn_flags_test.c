/*
 * cpu/soft/insn_flags_test.c: PUSHF, POPF, CLI, STI and INT n by privilege, IOPL, virtual-8086 mode and its extensions.
 */
#include "cpu/soft/seg_rig.h"
#include "testlib/test.h"

static const u32 all_flags =
    RF_ARITH | RF_TF | RF_IF | RF_DF | RF_IOPL | RF_NT | RF_RF | RF_AC | RF_VIF | RF_VIP | RF_ID;

static void set_flags(struct seg_rig *r, u32 flags)
{
    soft_set_flags(r->c, RF_ONE | flags);
    soft_mode_changed(r->c);
}

/* SDM volume 2, table 4-15. */
TEST(popf_protected)
{
    for (u8 cpl = 0; cpl < 4; cpl++) {
        for (u32 i = 0; i < 8; i++) {
            struct seg_rig *r = seg_rig_get();
            u32 iopl = i & 3, wide = i >> 2, before = RF_ONE | RF_VIF | RF_VIP | iopl << 12;
            u32 mask = RF_ARITH | RF_TF | RF_DF | RF_NT | (wide ? RF_AC | RF_ID : 0);

            mask |= (cpl <= iopl ? RF_IF : 0) | (cpl == 0 ? RF_IOPL : 0);
            seg_rig_ring(r, cpl);
            set_flags(r, before);
            seg_rig_store(r, RIG_STACK, 4, all_flags | RF_VM);
            CHECK_EQ(wide ? RUN(r, 0x9d) : RUN(r, 0x66, 0x9d), NO_FAULT);
            if (wide)
                before &= ~(RF_VIF | RF_VIP);
            CHECK_EQ(soft_flags(r->c), (before & ~mask) | (all_flags & mask));
            CHECK_EQ(r->c->reg[GPR_RSP], RIG_STACK + (wide ? 4 : 2));
        }
    }
}

TEST(pushf_image)
{
    struct seg_rig *r = seg_rig_get();

    set_flags(r, (all_flags & ~RF_TF) | RF_RF);
    CHECK_EQ(RUN(r, 0x9c), NO_FAULT);
    CHECK_EQ(seg_rig_load(r, RIG_STACK - 4, 4), RF_ONE | (all_flags & ~(RF_TF | RF_RF)));

    seg_rig_long(r, 3);
    set_flags(r, RF_IF | RF_ID | RF_OF | RF_CF);
    seg_rig_store(r, RIG_STACK - 8, 8, ~0ull);
    CHECK_EQ(RUN(r, 0x9c), NO_FAULT);
    CHECK_EQ(seg_rig_load(r, RIG_STACK - 8, 8), RF_ONE | RF_IF | RF_ID | RF_OF | RF_CF);
}

/* SDM volume 2, tables of PUSHF, POPF, CLI, STI in virtual-8086 mode. */
TEST(flags_in_vm86)
{
    enum { PUSHF = 0x9c, POPF = 0x9d, CLI = 0xfa, STI = 0xfb };
    const u32 gp = FAULT(VEC_GP, 0), iopl3 = RF_IOPL;
    /* clang-format off */
    const struct { const char *why; u8 opcode; bool vme; u32 before, stack, want, after; } rows[] = {
        { "CLI, IOPL 3",           CLI,   false, iopl3 | RF_IF,   0,               NO_FAULT, iopl3 },
        { "CLI, IOPL 0",           CLI,   false, RF_IF,           0,               gp,       RF_IF },
        { "CLI, IOPL 0, VME",      CLI,   true,  RF_IF | RF_VIF,  0,               NO_FAULT, RF_IF },
        { "STI, IOPL 3",           STI,   false, iopl3,           0,               NO_FAULT, iopl3 | RF_IF },
        { "STI, IOPL 0",           STI,   false, 0,               0,               gp,       0 },
        { "STI, IOPL 0, VME",      STI,   true,  0,               0,               NO_FAULT, RF_VIF },
        { "STI, VME, VIP",         STI,   true,  RF_VIP,          0,               gp,       RF_VIP },
        { "PUSHF, IOPL 3",         PUSHF, false, iopl3 | RF_IF,   RF_ONE | iopl3 | RF_IF, NO_FAULT, iopl3 | RF_IF },
        { "PUSHF, IOPL 0",         PUSHF, false, RF_IF,           0,               gp,       RF_IF },
        { "PUSHF, VME, VIF",       PUSHF, true,  RF_VIF,          RF_ONE | iopl3 | RF_IF, NO_FAULT, RF_VIF },
        { "PUSHF, VME, no VIF",    PUSHF, true,  RF_IF,           RF_ONE | iopl3,  NO_FAULT, RF_IF },
        { "POPF, IOPL 3",          POPF,  false, iopl3,           RF_IF | RF_DF,   NO_FAULT, iopl3 | RF_IF | RF_DF },
        { "POPF, IOPL 0",          POPF,  false, 0,               RF_IF,           gp,       0 },
        { "POPF, VME",             POPF,  true,  0,               RF_IF | RF_DF,   NO_FAULT, RF_VIF | RF_DF },
        { "POPF, VME, clears VIF", POPF,  true,  RF_IF | RF_VIF,  RF_IOPL,         NO_FAULT, RF_IF },
        { "POPF, VME, VIP",        POPF,  true,  RF_VIP,          RF_IF,           gp,       RF_VIP },
        { "POPF, VME, TF",         POPF,  true,  0,               RF_TF,           gp,       0 },
    };
    /* clang-format on */

    for_each_row(row, rows) {
        struct seg_rig *r = seg_rig_get();
        u64 stack = 0x1020 + RIG_STACK;

        ROW(row);
        r->c->cr4 |= row->vme ? CR4_VME : 0;
        seg_rig_vm86(r, row->before);
        seg_rig_store(r, stack, 2, row->stack);
        CHECK_EQ(RUN(r, row->opcode), row->want);
        CHECK_EQ(soft_flags(r->c), RF_ONE | RF_VM | row->after);
        if (row->opcode == PUSHF && row->want == NO_FAULT)
            CHECK_EQ(seg_rig_load(r, stack - 2, 2), row->stack);
    }
}

TEST(cli_sti_by_ring)
{
    for (u32 i = 0; i < 64; i++) {
        struct seg_rig *r = seg_rig_get();
        u8 cpl = i & 3;
        u32 iopl = (i >> 2) & 3;
        bool pvi = i & 16, sti = i & 32;
        u32 before = RF_ONE | iopl << 12 | (sti ? 0 : RF_IF | RF_VIF);
        u32 flag = cpl <= iopl ? RF_IF : pvi && cpl == 3 ? RF_VIF : 0;

        seg_rig_ring(r, cpl);
        r->c->cr4 |= pvi ? CR4_PVI : 0;
        set_flags(r, before);
        CHECK_EQ(RUN(r, sti ? 0xfb : 0xfa), flag ? NO_FAULT : FAULT(VEC_GP, 0));
        CHECK_EQ(soft_flags(r->c), sti ? before | flag : before & ~flag);
        CHECK_EQ(r->c->shadow, sti && flag == RF_IF ? 2 : 0);
    }
}

/* Only the STI that sets IF holds interrupts off. */
TEST(sti_again)
{
    struct seg_rig *r = seg_rig_get();

    set_flags(r, RF_IF);
    CHECK_EQ(RUN(r, 0xfb), NO_FAULT);
    CHECK_EQ(r->c->shadow, 0);
}

/* ---- INT ---- */

TEST(int_events)
{
    struct seg_rig *r = seg_rig_get();

    CHECK_EQ(RUN(r, 0xcd, 0x80), FAULT(0x80, 0));
    CHECK(r->c->event.soft);
    CHECK_EQ(r->c->rip, RIG_CODE + 2);

    seg_rig_ring(r, 0);
    CHECK_EQ(RUN(r, 0xcc), FAULT(VEC_BP, 0));
    CHECK(r->c->event.soft);
    CHECK_EQ(r->c->rip, RIG_CODE + 1);

    seg_rig_ring(r, 0);
    CHECK_EQ(RUN(r, 0xf1), FAULT(VEC_DB, 0));
    CHECK(!r->c->event.soft);
    CHECK_EQ(r->c->rip, RIG_CODE + 1);

    seg_rig_ring(r, 0);
    CHECK_EQ(RUN(r, 0xce), NO_FAULT); /* INTO without OF */
    CHECK_EQ(r->c->rip, RIG_CODE + 1);
    seg_rig_ring(r, 0);
    set_flags(r, RF_OF);
    CHECK_EQ(RUN(r, 0xce), FAULT(VEC_OF, 0));
    CHECK_EQ(r->c->rip, RIG_CODE + 1);
}

/* SDM volume 3, table 20-2: by IOPL, VME and the redirection bitmap. */
TEST(int_in_vm86)
{
    const u32 monitor = FAULT(0x21, 0), gp = FAULT(VEC_GP, 0);
    /* clang-format off */
    const struct { const char *why; bool vme, bit; u32 flags, want, after, pushed; } rows[] = {
        { "no VME, IOPL 0",      false, false, RF_IF,           gp,       RF_IF, 0 },
        { "no VME, IOPL 3",      false, false, RF_IF | RF_IOPL, monitor,  RF_IF | RF_IOPL, 0 },
        { "to the monitor",      true,  true,  RF_IF | RF_IOPL, monitor,  RF_IF | RF_IOPL, 0 },
        { "monitor, IOPL 0",     true,  true,  RF_IF,           gp,       RF_IF, 0 },
        { "redirected, IOPL 3",  true,  false, RF_IF | RF_IOPL, NO_FAULT, RF_IOPL, RF_IF | RF_IOPL },
        { "redirected, IOPL 0",  true,  false, RF_IF,           NO_FAULT, RF_IF, RF_IOPL },
        { "redirected, VIF",     true,  false, RF_IF | RF_VIF,  NO_FAULT, RF_IF, RF_IOPL | RF_IF },
    };
    /* clang-format on */

    for_each_row(row, rows) {
        struct seg_rig *r = seg_rig_get();
        const u64 frame[] = { RIG_CODE + 2, 0, RF_ONE | row->pushed };

        ROW(row);
        r->c->cr4 |= row->vme ? CR4_VME : 0;
        r->c->seg[SEG_TR].limit = 0xfff;
        seg_rig_store(r, TAB_TSS + 102, 2, 0x100);
        seg_rig_store(r, TAB_TSS + 0x100 - 32 + 4, 1, row->bit ? 2 : 0);
        seg_rig_store(r, 0x21 * 4, 4, 0x12345678);
        seg_rig_vm86(r, row->flags);
        CHECK_EQ(RUN(r, 0xcd, 0x21), row->want);
        CHECK_EQ(soft_flags(r->c), RF_ONE | RF_VM | row->after);
        if (row->want != NO_FAULT)
            continue;
        CHECK_EQ(r->c->rip, 0x5678);
        CHECK_EQ(r->c->seg[SEG_CS].base, 0x12340);
        CHECK_SLOTS(r, 0x1020 + RIG_STACK - 6, frame, 3, 2);
    }
}

/* A bitmap that the TSS does not hold counts as all ones. */
TEST(int_in_vm86_no_bitmap)
{
    struct seg_rig *r = seg_rig_get();

    r->c->cr4 |= CR4_VME;
    seg_rig_store(r, TAB_TSS + 102, 2, 0xffff);
    seg_rig_vm86(r, RF_IOPL);
    CHECK_EQ(RUN(r, 0xcd, 0x21), FAULT(0x21, 0));
    seg_rig_store(r, TAB_TSS + 102, 2, 0x100);
    r->c->seg[SEG_TR].limit = 0x100 - 32 + 3; /* the byte after the limit is 0 */
    seg_rig_vm86(r, RF_IOPL);
    CHECK_EQ(RUN(r, 0xcd, 0x21), FAULT(0x21, 0));
    r->c->seg[SEG_TR].limit++;
    seg_rig_vm86(r, RF_IOPL);
    CHECK_EQ(RUN(r, 0xcd, 0x21), NO_FAULT);
    seg_rig_store(r, TAB_TSS + 102, 2, 0); /* its beginning is before the TSS */
    seg_rig_vm86(r, RF_IOPL);
    CHECK_EQ(RUN(r, 0xcd, 0x21), FAULT(0x21, 0));
}
