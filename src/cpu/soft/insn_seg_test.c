/*
 * cpu/soft/insn_seg_test.c: MOV, PUSH, POP of segment registers, far pointers, and the questions about selectors.
 */
#include "cpu/soft/seg_rig.h"
#include "testlib/test.h"

/* ---- loads and stores ---- */

TEST(sreg_stores)
{
    struct seg_rig *r = seg_rig_get();

    r->c->seg[SEG_FS].selector = 0xabcd;
    r->c->reg[GPR_RAX] = r->c->reg[GPR_RCX] = ~0ull;
    CHECK_EQ(RUN(r, 0x8c, 0xe0), NO_FAULT); /* mov eax, fs */
    CHECK_EQ(r->c->reg[GPR_RAX], 0xabcd);
    r->c->rip = RIG_CODE;
    CHECK_EQ(RUN(r, 0x66, 0x8c, 0xe1), NO_FAULT); /* mov cx, fs */
    CHECK_EQ(r->c->reg[GPR_RCX], ~0ull << 16 | 0xabcd);
    r->c->rip = RIG_CODE;
    seg_rig_store(r, RIG_DATA, 4, ~0u);
    CHECK_EQ(RUN(r, 0x8c, 0x25, 0, 0, 1, 0), NO_FAULT); /* mov [RIG_DATA], fs: 16 bits always */
    CHECK_EQ(seg_rig_load(r, RIG_DATA, 4), 0xffffabcd);
}

TEST(sreg_push_pop)
{
    struct seg_rig *r = seg_rig_get();

    seg_rig_store(r, RIG_STACK - 4, 4, ~0u);
    CHECK_EQ(RUN(r, 0x1e), NO_FAULT); /* push ds */
    CHECK_EQ(seg_rig_load(r, RIG_STACK - 4, 4), SEL_DATA0);
    CHECK_EQ(r->c->reg[GPR_RSP], RIG_STACK - 4);

    seg_rig_ring(r, 0);
    seg_rig_store(r, RIG_STACK, 4, SEL_DATA3 | 0xffff0000);
    CHECK_EQ(RUN(r, 0x0f, 0xa1), NO_FAULT); /* pop fs */
    CHECK_EQ(r->c->seg[SEG_FS].selector, SEL_DATA3);
    CHECK_EQ(r->c->reg[GPR_RSP], RIG_STACK + 4);

    seg_rig_ring(r, 0);
    seg_rig_store(r, RIG_STACK, 4, SEL_TSS);
    CHECK_EQ(RUN(r, 0x0f, 0xa1), FAULT(VEC_GP, SEL_TSS));
    CHECK_EQ(r->c->reg[GPR_RSP], RIG_STACK);

    seg_rig_long(r, 0);
    CHECK_EQ(RUN(r, 0x0f, 0xa0), NO_FAULT); /* push fs */
    CHECK_EQ(seg_rig_load(r, RIG_STACK - 8, 8), SEL_DATA0);
    CHECK_EQ(r->c->reg[GPR_RSP], RIG_STACK - 8);
}

/* POP SS: the stack pointer moves in the width of the segment that is left. */
TEST(sreg_pop_ss_width)
{
    struct seg_rig *r = seg_rig_get();

    seg_rig_gdt(r, SEL_FREE, 0, 0xffff, 0x93); /* a 16-bit stack */
    r->c->reg[GPR_RSP] = 0x1fffe;
    seg_rig_store(r, 0x1fffe, 4, SEL_FREE);
    CHECK_EQ(RUN(r, 0x17), NO_FAULT);
    CHECK_EQ(r->c->reg[GPR_RSP], 0x20002);
    CHECK_EQ(r->c->seg[SEG_SS].selector, SEL_FREE);
}

TEST(sreg_interrupt_shadow)
{
    struct seg_rig *r = seg_rig_get();

    r->c->reg[GPR_RAX] = SEL_DATA0;
    CHECK_EQ(RUN(r, 0x8e, 0xd0), NO_FAULT); /* mov ss, eax */
    CHECK_EQ(r->c->shadow, 1);
    CHECK_EQ(RUN(r, 0x90), NO_FAULT);
    CHECK_EQ(r->c->shadow, 0);
    r->c->rip = RIG_CODE;
    CHECK_EQ(RUN(r, 0x8e, 0xd8), NO_FAULT); /* mov ds, eax */
    CHECK_EQ(r->c->shadow, 0);
}

TEST(sreg_load_cs)
{
    struct seg_rig *r = seg_rig_get();

    CHECK_EQ(RUN(r, 0x8e, 0xc8), FAULT(VEC_UD, 0));
}

TEST(far_pointers)
{
    struct seg_rig *r = seg_rig_get();

    seg_rig_store(r, RIG_DATA, 8, 0x12345678 | (u64)SEL_DATA3 << 32);
    CHECK_EQ(RUN(r, 0xc5, 0x05, 0, 0, 1, 0), NO_FAULT); /* lds eax, [RIG_DATA] */
    CHECK_EQ(r->c->reg[GPR_RAX], 0x12345678);
    CHECK_EQ(r->c->seg[SEG_DS].selector, SEL_DATA3);

    seg_rig_ring(r, 0);
    seg_rig_store(r, RIG_DATA, 8, 0x1234 | (u64)SEL_TSS << 32);
    CHECK_EQ(RUN(r, 0xc5, 0x05, 0, 0, 1, 0), FAULT(VEC_GP, SEL_TSS));
    CHECK_EQ(r->c->reg[GPR_RAX], 0x12345678); /* not loaded either */

    seg_rig_store(r, RIG_DATA, 8, 0x5678 | (u64)SEL_DATA0 << 16);
    r->c->reg[GPR_RBX] = ~0ull;
    CHECK_EQ(RUN(r, 0x66, 0x0f, 0xb2, 0x1d, 0, 0, 1, 0), NO_FAULT); /* lss bx, [RIG_DATA] */
    CHECK_EQ(r->c->reg[GPR_RBX], ~0ull << 16 | 0x5678);
}

/* ---- LAR, LSL, VERR, VERW ---- */

struct question {
    u8 cpl, rpl, dpl, type;
    bool s;
};
#define QUESTIONS (1u << 11)

static struct question question_at(u32 i)
{
    return (struct question){ i & 3, (i >> 2) & 3, (i >> 4) & 3, (i >> 6) & 15, (i >> 10) & 1 };
}

static bool known(struct question q, u32 system_types)
{
    bool conforming = q.s && (q.type & 12) == 12;

    if (!q.s && !(system_types >> q.type & 1))
        return false;
    return conforming || (q.dpl >= q.cpl && q.dpl >= q.rpl);
}

static void ask(struct seg_rig *r, struct question q, u8 opcode, u8 modrm, bool want, u64 value)
{
    r->c->rip = RIG_CODE;
    r->c->reg[GPR_RAX] = SEL_FREE | q.rpl;
    r->c->reg[GPR_RCX] = 0x5555555555555555;
    CHECK_EQ(RUN(r, 0x0f, opcode, modrm), NO_FAULT);
    CHECK_EQ(!!(soft_flags(r->c) & RF_ZF), want);
    CHECK_EQ(r->c->reg[GPR_RCX], want ? value : 0x5555555555555555);
}

/* Types by SDM volume 2: LAR 1-5, 9, 11, 12; LSL 1, 2, 3, 9, 11; in long mode without 16-bit ones and task gates. */
static void ask_all(struct seg_rig *r, bool is_long)
{
    const u64 nothing = 0x5555555555555555;
    const u32 lar = is_long ? 0x1a04 : 0x1a3e, lsl = is_long ? 0x0a04 : 0x0a0e;

    for (u32 i = 0; i < QUESTIONS; i++) {
        struct question q = question_at(i);
        bool code = q.type & 8, rw = q.type & 2;
        u16 attr = (u16)(0x9080 | q.type | q.s << 4 | q.dpl << 5);

        if (is_long && (q.cpl == 1 || q.cpl == 2))
            continue;
        seg_rig_ring(r, q.cpl);
        seg_rig_gdt(r, SEL_FREE, 0x12345678, 0xabcdefff, attr);
        ask(r, q, 0x02, 0xc8, known(q, lar), (u32)(attr << 8) | 0xa0000); /* lar ecx, ax */
        ask(r, q, 0x03, 0xc8, known(q, lsl), 0xabcdefff);
        ask(r, q, 0x00, 0xe0, q.s && known(q, 0) && (!code || rw), nothing); /* verr ax */
        ask(r, q, 0x00, 0xe8, q.s && known(q, 0) && !code && rw, nothing);
    }
}

TEST(questions_about_every_descriptor)
{
    struct seg_rig *r = seg_rig_get();

    ask_all(r, false);
    seg_rig_long(r, 0);
    ask_all(r, true);
}

TEST(questions_special)
{
    static const u16 selectors[] = { 0, 3, 0x2000, 0x0c };
    struct seg_rig *r = seg_rig_get();

    for_each_row(s, selectors) {
        r->c->rip = RIG_CODE;
        r->c->reg[GPR_RAX] = *s;
        soft_set_flags(r->c, RF_ONE | RF_ZF);
        CHECK_EQ(RUN(r, 0x0f, 0x02, 0xc8), NO_FAULT);
        CHECK_EQ(soft_flags(r->c), RF_ONE);
    }
    seg_rig_real(r);
    CHECK_EQ(RUN(r, 0x0f, 0x02, 0xc8), FAULT(VEC_UD, 0));
    r = seg_rig_get();
    seg_rig_vm86(r, 0);
    CHECK_EQ(RUN(r, 0x0f, 0x00, 0xe0), FAULT(VEC_UD, 0));
}

TEST(arpl)
{
    struct seg_rig *r = seg_rig_get();

    for (u32 i = 0; i < 16; i++) {
        u32 dst = i & 3, src = i >> 2;

        r->c->rip = RIG_CODE;
        r->c->reg[GPR_RAX] = 0xffff1230 | dst;
        r->c->reg[GPR_RCX] = 0xabc0 | src;
        CHECK_EQ(RUN(r, 0x63, 0xc8), NO_FAULT); /* arpl ax, cx */
        CHECK_EQ(r->c->reg[GPR_RAX], 0xffff1230 | max(dst, src));
        CHECK_EQ(!!(soft_flags(r->c) & RF_ZF), dst < src);
    }
}

TEST(bound)
{
    /* clang-format off */
    static const struct { const char *why; u32 val; bool wide; u32 want; } rows[] = {
        { "lower bound",     (u32)-5, true,  NO_FAULT },
        { "below",           (u32)-6, true,  FAULT(VEC_BR, 0) },
        { "upper bound",     7,       true,  NO_FAULT },
        { "above",           8,       true,  FAULT(VEC_BR, 0) },
        { "16 bits, inside", 0x1fffe, false, NO_FAULT },
        { "16 bits, above",  0x10008, false, FAULT(VEC_BR, 0) },
    };
    /* clang-format on */
    struct seg_rig *r = seg_rig_get();

    for_each_row(row, rows) {
        u32 size = row->wide ? 4 : 2;

        ROW(row);
        seg_rig_ring(r, 0);
        seg_rig_put(r, RIG_DATA, (u64[]){ (u64)-5, 7 }, 2, size);
        r->c->reg[GPR_RAX] = row->val;
        CHECK_EQ(row->wide ? RUN(r, 0x62, 0x05, 0, 0, 1, 0) : RUN(r, 0x66, 0x62, 0x05, 0, 0, 1, 0),
                 row->want);
    }
}
