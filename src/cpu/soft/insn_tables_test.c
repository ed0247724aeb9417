/*
 * cpu/soft/insn_tables_test.c: LGDT, SGDT and the like; LLDT and LTR with every descriptor type.
 */
#include "cpu/soft/seg_rig.h"
#include "testlib/test.h"

TEST(lgdt_sizes)
{
    struct seg_rig *r = seg_rig_get();

    seg_rig_put(r, RIG_DATA, (u64[]){ 0x1234, 0x5678, 0xabcd }, 3, 2);
    CHECK_EQ(RUN(r, 0x66, 0x0f, 0x01, 0x15, 0, 0, 1, 0),
             NO_FAULT); /* 16-bit operand size: 24 bits of base */
    CHECK_EQ(r->c->gdt_limit, 0x1234);
    CHECK_EQ(r->c->gdt_base, 0xcd5678);
    r->c->rip = RIG_CODE;
    CHECK_EQ(RUN(r, 0x0f, 0x01, 0x1d, 0, 0, 1, 0), NO_FAULT);
    CHECK_EQ(r->c->idt_base, 0xabcd5678);

    seg_rig_long(r, 0);
    seg_rig_store(r, RIG_DATA + 2, 8, 0xffffffff81000000);
    CHECK_EQ(RUN(r, 0x0f, 0x01, 0x1c, 0x25, 0, 0, 1, 0), NO_FAULT);
    CHECK_EQ(r->c->idt_base, 0xffffffff81000000);
    r->c->rip = RIG_CODE;
    seg_rig_store(r, RIG_DATA + 2, 8, 0x800000000000);
    CHECK_EQ(RUN(r, 0x0f, 0x01, 0x1c, 0x25, 0, 0, 1, 0), FAULT(VEC_GP, 0));
    CHECK_EQ(r->c->idt_base, 0xffffffff81000000);
}

TEST(sgdt_sizes)
{
    struct seg_rig *r = seg_rig_get();

    r->c->gdt_base = 0x89abcdef;
    r->c->gdt_limit = 0x4567;
    seg_rig_store(r, RIG_DATA, 8, ~0ull);
    CHECK_EQ(RUN(r, 0x0f, 0x01, 0x05, 0, 0, 1, 0), NO_FAULT);
    CHECK_EQ(seg_rig_load(r, RIG_DATA, 8), 0xffff89abcdef4567);

    seg_rig_long(r, 0);
    r->c->idt_base = 0xffffffff12345678;
    CHECK_EQ(RUN(r, 0x0f, 0x01, 0x0c, 0x25, 0, 0, 1, 0), NO_FAULT);
    CHECK_EQ(seg_rig_load(r, RIG_DATA, 2), 0xfff);
    CHECK_EQ(seg_rig_load(r, RIG_DATA + 2, 8), 0xffffffff12345678);
}

/* Who may: all but the stores need ring 0, and those too with UMIP. */
TEST(table_instructions_by_ring)
{
    /* clang-format off */
    static const struct { const char *why; u8 second, modrm; bool store; } rows[] = {
        { "SGDT", 0x01, 0x05, true },  { "SIDT", 0x01, 0x0d, true },
        { "LGDT", 0x01, 0x15, false }, { "LIDT", 0x01, 0x1d, false },
        { "SLDT", 0x00, 0x05, true },  { "STR",  0x00, 0x0d, true },
        { "LLDT", 0x00, 0x15, false }, { "LTR",  0x00, 0x1d, false },
    };
    /* clang-format on */

    for_each_row(row, rows)
        for (u32 umip = 0; umip < 2; umip++) {
            struct seg_rig *r = seg_rig_get();

            ROW(row);
            seg_rig_ring(r, 3);
            r->c->cr4 |= umip ? CR4_UMIP : 0;
            CHECK_EQ(RUN(r, 0x0f, row->second, row->modrm, 0, 0, 1, 0),
                     row->store && !umip ? NO_FAULT : FAULT(VEC_GP, 0));
        }
}

TEST(sldt_str_operands)
{
    struct seg_rig *r = seg_rig_get();

    r->c->reg[GPR_RAX] = r->c->reg[GPR_RCX] = ~0ull;
    CHECK_EQ(RUN(r, 0x0f, 0x00, 0xc8), NO_FAULT); /* str eax */
    CHECK_EQ(r->c->reg[GPR_RAX], SEL_TSS);
    r->c->rip = RIG_CODE;
    CHECK_EQ(RUN(r, 0x66, 0x0f, 0x00, 0xc1), NO_FAULT); /* sldt cx */
    CHECK_EQ(r->c->reg[GPR_RCX], ~0ull << 16);
    r->c->rip = RIG_CODE;
    seg_rig_store(r, RIG_DATA, 4, ~0u);
    CHECK_EQ(RUN(r, 0x0f, 0x00, 0x0d, 0, 0, 1, 0), NO_FAULT);
    CHECK_EQ(seg_rig_load(r, RIG_DATA, 4), 0xffff0000 | SEL_TSS);

    seg_rig_real(r);
    CHECK_EQ(RUN(r, 0x0f, 0x00, 0xc8), FAULT(VEC_UD, 0));
}

TEST(lldt_ltr_every_type)
{
    for (u32 i = 0; i < 256; i++) {
        bool ltr = i & 1, is_long = i & 2, p = i & 4, s = i & 8;
        u8 type = (u8)(i >> 4);
        struct seg_rig *r = seg_rig_get();
        bool fits = !s && (ltr ? type == 9 || (type == 1 && !is_long) : type == 2);
        u32 want = !fits ? FAULT(VEC_GP, SEL_FREE) : p ? NO_FAULT : FAULT(VEC_NP, SEL_FREE);
        const struct seg_state *seg = &r->c->seg[ltr ? SEG_TR : SEG_LDTR];

        if (is_long)
            seg_rig_long(r, 0);
        seg_rig_gdt(r, SEL_FREE, 0x12345678, 103, (u16)(type | s << 4 | p << 7));
        seg_rig_store(r, TAB_GDT + SEL_FREE + 8, 8, 0xffff8000);
        r->c->reg[GPR_RAX] = SEL_FREE;
        CHECK_EQ(RUN(r, 0x0f, 0x00, ltr ? 0xd8 : 0xd0), want);
        if (want != NO_FAULT)
            continue;
        CHECK_EQ(seg->selector, SEL_FREE);
        CHECK_EQ(seg->base, is_long ? 0xffff800012345678 : 0x12345678);
        CHECK_EQ(seg_rig_load(r, TAB_GDT + SEL_FREE + 5, 1) & 15, ltr ? type | SYS_BUSY : type);
    }
}

TEST(lldt_ltr_selectors)
{
    struct seg_rig *r = seg_rig_get();

    CHECK_EQ(RUN(r, 0x0f, 0x00, 0xd0), NO_FAULT); /* lldt 0 */
    CHECK(r->c->seg[SEG_LDTR].unusable);
    r->c->rip = RIG_CODE;
    CHECK_EQ(RUN(r, 0x0f, 0x00, 0xd8), FAULT(VEC_GP, 0));
    r->c->reg[GPR_RAX] = SEL_LDT | 4;
    CHECK_EQ(RUN(r, 0x0f, 0x00, 0xd0), FAULT(VEC_GP, SEL_LDT | 4));

    seg_rig_long(r, 0);
    seg_rig_gdt(r, 0xff8, 0, 103, 0x89); /* its upper half is outside */
    r->c->reg[GPR_RAX] = 0xff8;
    CHECK_EQ(RUN(r, 0x0f, 0x00, 0xd8), FAULT(VEC_GP, 0xff8));
    seg_rig_store(r, TAB_GDT + SEL_TSS2 + 12, 4, 0x100); /* type bits in the upper half */
    r->c->reg[GPR_RAX] = SEL_TSS2;
    CHECK_EQ(RUN(r, 0x0f, 0x00, 0xd8), FAULT(VEC_GP, SEL_TSS2));
    seg_rig_store(r, TAB_GDT + SEL_TSS2 + 8, 8, 0x8000); /* base not canonical */
    CHECK_EQ(RUN(r, 0x0f, 0x00, 0xd8), FAULT(VEC_GP, SEL_TSS2));
    CHECK_EQ(seg_rig_load(r, TAB_GDT + SEL_TSS2 + 5, 1) & 15, SYS_TSS32);
}
