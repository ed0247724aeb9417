/*
 * cpu/soft/insn_far_test.c: far JMP, CALL and RET: every ring, every kind of code segment, gates; against the manual's tables
 * (SDM volume 2, JMP, CALL, RET).
 */
#include "cpu/soft/seg_rig.h"
#include "testlib/test.h"

enum { TARGET = 0x20000 };

/* Far to SEL_FREE | rpl : TARGET. */
static u32 run_far(struct seg_rig *r, bool call, u8 rpl)
{
    return RUN(r, call ? 0x9a : 0xea, 0x00, 0x00, 0x02, 0x00, SEL_FREE | rpl, 0);
}

/* ---- code segments ---- */

struct combination {
    u8 cpl, rpl, dpl, type;
    bool p, call;
};
#define COMBINATIONS (1u << 12)

static struct combination combination_at(u32 i)
{
    return (struct combination){
        .cpl = i & 3,
        .rpl = (i >> 2) & 3,
        .dpl = (i >> 4) & 3,
        .type = (i >> 6) & 15,
        .p = (i >> 10) & 1,
        .call = (i >> 11) & 1,
    };
}

static u32 expected(struct combination k)
{
    bool code = k.type & 8, conforming = k.type & 4;

    if (!code || (conforming ? k.dpl > k.cpl : k.rpl > k.cpl || k.dpl != k.cpl))
        return FAULT(VEC_GP, SEL_FREE);
    return k.p ? NO_FAULT : FAULT(VEC_NP, SEL_FREE);
}

TEST(far_every_segment)
{
    struct seg_rig *r = seg_rig_get();

    for (u32 i = 0; i < COMBINATIONS; i++) {
        struct combination k = combination_at(i);
        const u64 frame[] = { RIG_CODE + 7, seg_rig_code(k.cpl) };

        seg_rig_ring(r, k.cpl);
        seg_rig_gdt(r, SEL_FREE, 0, 0xfffff, (u16)(0x4010 | k.type | k.dpl << 5 | k.p << 7));
        CHECK_EQ(run_far(r, k.call, k.rpl), expected(k));
        if (expected(k) != NO_FAULT) {
            CHECK_EQ(r->c->rip, RIG_CODE);
            CHECK_EQ(r->c->reg[GPR_RSP], RIG_STACK);
            continue;
        }
        CHECK_EQ(r->c->rip, TARGET);
        CHECK_EQ(r->c->seg[SEG_CS].selector, SEL_FREE | k.cpl);
        CHECK_EQ(r->c->cpl, k.cpl);
        CHECK_EQ(r->c->reg[GPR_RSP], RIG_STACK - (k.call ? 8 : 0));
        if (k.call)
            CHECK_SLOTS(r, RIG_STACK - 8, frame, 2, 4);
    }
}

TEST(far_bad_targets)
{
    struct seg_rig *r = seg_rig_get();

    seg_rig_gdt(r, SEL_FREE, 0, TARGET - 1, 0x409a);
    CHECK_EQ(run_far(r, false, 0), FAULT(VEC_GP, 0)); /* past the limit */
    CHECK_EQ(run_far(r, true, 0), FAULT(VEC_GP, 0));
    CHECK_EQ(RUN(r, 0xea, 0, 0, 0, 0, 0, 0), FAULT(VEC_GP, 0));
    CHECK_EQ(RUN(r, 0xea, 0, 0, 0, 0, 0xf8, 0xff), FAULT(VEC_GP, 0xfff8));
    seg_rig_gdt(r, SEL_FREE, 0, ~0u, 0xc09b);
    r->c->seg[SEG_SS].limit = RIG_STACK - 9; /* no room to push */
    CHECK_EQ(run_far(r, true, 0), FAULT(VEC_SS, 0));
    CHECK_EQ(r->c->seg[SEG_CS].selector, SEL_CODE0);
}

TEST(far_operand_sizes)
{
    struct seg_rig *r = seg_rig_get();
    const u64 frame[] = { RIG_CODE + 6, SEL_CODE0 };

    seg_rig_gdt(r, SEL_FREE, 0, ~0u, 0xc09b);
    CHECK_EQ(RUN(r, 0x66, 0x9a, 0x34, 0x12, SEL_FREE, 0), NO_FAULT);
    CHECK_EQ(r->c->rip, 0x1234);
    CHECK_EQ(r->c->reg[GPR_RSP], RIG_STACK - 4);
    CHECK_SLOTS(r, RIG_STACK - 4, frame, 2, 2);

    seg_rig_ring(r, 0);
    seg_rig_store(r, RIG_DATA, 8, 0x1234 | (u64)SEL_FREE << 32);
    CHECK_EQ(RUN(r, 0xff, 0x2d, 0, 0, 1, 0), NO_FAULT); /* jmp far [RIG_DATA] */
    CHECK_EQ(r->c->rip, 0x1234);
    CHECK_EQ(r->c->seg[SEG_CS].selector, SEL_FREE);
}

/* ---- call gates ---- */

struct gate_case {
    u8 cpl, rpl, gate_dpl, dpl;
    bool conforming, call;
};
#define GATE_CASES (1u << 10)

static struct gate_case gate_case_at(u32 i)
{
    return (struct gate_case){
        .cpl = i & 3,
        .rpl = (i >> 2) & 3,
        .gate_dpl = (i >> 4) & 3,
        .dpl = (i >> 6) & 3,
        .conforming = (i >> 8) & 1,
        .call = (i >> 9) & 1,
    };
}

static u32 gate_expected(struct gate_case k)
{
    if (k.gate_dpl < k.cpl || k.gate_dpl < k.rpl)
        return FAULT(VEC_GP, SEL_FREE);
    if (k.dpl > k.cpl || (!k.call && !k.conforming && k.dpl != k.cpl))
        return FAULT(VEC_GP, SEL_FREE + 8);
    return NO_FAULT;
}

TEST(far_every_call_gate)
{
    struct seg_rig *r = seg_rig_get();

    for (u32 i = 0; i < GATE_CASES; i++) {
        struct gate_case k = gate_case_at(i);
        struct seg_gate g = { .offset = TARGET,
                              .selector = SEL_FREE + 8,
                              .type = SYS_CALL32,
                              .dpl = k.gate_dpl,
                              .count = 2,
                              .present = true };
        bool inner = k.call && !k.conforming && k.dpl < k.cpl;
        u8 cpl = inner ? k.dpl : k.cpl;
        u64 sp = inner ? TAB_STACK + 0x1000u * cpl : RIG_STACK;
        const u64 frame[] = { RIG_CODE + 7, seg_rig_code(k.cpl), 0x1111,
                              0x2222,       RIG_STACK,           seg_rig_data(k.cpl) };
        u32 n = !k.call ? 0 : inner ? 6 : 2;

        seg_rig_ring(r, k.cpl);
        seg_rig_gdt(r, SEL_FREE + 8, 0, ~0u, (u16)(0xc09b | k.dpl << 5 | k.conforming << 2));
        seg_rig_gate(r, TAB_GDT + SEL_FREE, &g);
        seg_rig_store(r, RIG_STACK, 8, 0x0000222200001111);
        CHECK_EQ(run_far(r, k.call, k.rpl), gate_expected(k));
        if (gate_expected(k) != NO_FAULT)
            continue;
        CHECK_EQ(r->c->rip, TARGET);
        CHECK_EQ(r->c->cpl, cpl);
        CHECK_EQ(r->c->seg[SEG_CS].selector, (SEL_FREE + 8) | cpl);
        CHECK_EQ(r->c->seg[SEG_SS].selector, seg_rig_data(cpl));
        CHECK_EQ(r->c->reg[GPR_RSP], sp - 4 * n);
        CHECK_SLOTS(r, sp - 4 * n, frame, n, 4);
    }
}

TEST(far_gates_refused)
{
    /* clang-format off */
    static const struct { const char *why; u16 attr, target; u32 want; } rows[] = {
        { "gate not present",        SYS_CALL32,       SEL_CODE0, FAULT(VEC_NP, SEL_FREE) },
        { "null target",             SYS_CALL32 | 0x80, 0,        FAULT(VEC_GP, 0) },
        { "target is data",          SYS_CALL32 | 0x80, SEL_DATA0, FAULT(VEC_GP, SEL_DATA0) },
        { "target outside",          SYS_CALL32 | 0x80, 0x2000,   FAULT(VEC_GP, 0x2000) },
        { "an interrupt gate",       SYS_INT32 | 0x80, SEL_CODE0, FAULT(VEC_GP, SEL_FREE) },
        { "an LDT",                  SYS_LDT | 0x80,   SEL_CODE0, FAULT(VEC_GP, SEL_FREE) },
        { "a busy TSS",              SYS_TSS32_BUSY | 0x80, 0,    FAULT(VEC_GP, SEL_FREE) },
        { "task gate to a busy TSS", SYS_TASK_GATE | 0x80, SEL_TSS, FAULT(VEC_GP, SEL_TSS) },
    };
    /* clang-format on */

    for_each_row(row, rows) {
        struct seg_rig *r = seg_rig_get();

        ROW(row);
        seg_rig_store(r, TAB_GDT + SEL_FREE, 8,
                      TARGET % 0x10000 | (u64)row->target << 16 | (u64)row->attr << 40);
        CHECK_EQ(run_far(r, true, 0), row->want);
        CHECK_EQ(r->c->rip, RIG_CODE);
    }
}

TEST(far_to_a_task)
{
    struct seg_rig *r = seg_rig_get();
    const u16 segs[] = { SEL_DATA0, SEL_CODE0, SEL_DATA0, SEL_DATA0, 0, 0 };

    seg_rig_store(r, TAB_TSS2 + 32, 4, 0x4321);
    for (u32 i = 0; i < 6; i++)
        seg_rig_store(r, TAB_TSS2 + 72 + 4 * i, 2, segs[i]);
    CHECK_EQ(RUN(r, 0x9a, 0, 0, 0, 0, SEL_TSS2, 0), NO_FAULT);
    CHECK_EQ(r->c->rip, 0x4321);
    CHECK_EQ(seg_rig_load(r, TAB_TSS + 32, 4), RIG_CODE + 7);

    CHECK(r->c->eflags & RF_NT);
    r->c->rip = RIG_CODE;
    CHECK_EQ(RUN(r, 0xcf), NO_FAULT); /* back by IRET */
    CHECK_EQ(r->c->rip, RIG_CODE + 7);
    CHECK_EQ(r->c->seg[SEG_TR].selector, SEL_TSS);
}

/* ---- RET ---- */

static u32 ret_expected(struct combination k)
{
    bool code = k.type & 8, conforming = k.type & 4;

    if (!code || k.rpl < k.cpl || (conforming ? k.dpl > k.rpl : k.dpl != k.rpl))
        return FAULT(VEC_GP, SEL_FREE);
    return k.p ? NO_FAULT : FAULT(VEC_NP, SEL_FREE);
}

TEST(far_ret_every_segment)
{
    struct seg_rig *r = seg_rig_get();

    for (u32 i = 0; i < COMBINATIONS / 2; i++) {
        struct combination k = combination_at(i);
        const u64 frame[] = { TARGET, SEL_FREE | k.rpl, 0, 0, 0x6000, seg_rig_data(k.rpl) };

        seg_rig_ring(r, k.cpl);
        seg_rig_gdt(r, SEL_FREE, 0, 0xfffff, (u16)(0x4010 | k.type | k.dpl << 5 | k.p << 7));
        seg_rig_put(r, RIG_STACK, frame, ARRAY_LEN(frame), 4);
        CHECK_EQ(RUN(r, 0xca, 8, 0), ret_expected(k)); /* retf 8 */
        if (ret_expected(k) != NO_FAULT) {
            CHECK_EQ(r->c->reg[GPR_RSP], RIG_STACK);
            continue;
        }
        CHECK_EQ(r->c->rip, TARGET);
        CHECK_EQ(r->c->cpl, k.rpl);
        CHECK_EQ(r->c->reg[GPR_RSP], k.rpl > k.cpl ? 0x6008 : RIG_STACK + 16);
        CHECK_EQ(r->c->seg[SEG_SS].selector, seg_rig_data(k.rpl));
        CHECK_EQ(r->c->seg[SEG_DS].unusable, k.rpl > k.cpl); /* DS of the inner ring was dropped */
    }
}

/* What ring 3 may use of ring 0's data segments: DPL 3, and conforming code. */
TEST(far_ret_keeps_segments)
{
    static const struct {
        const char *why;
        u16 attr;
        bool kept;
    } rows[] = {
        { "data of ring 0", 0xc093, false }, { "data of ring 3", 0xc0f3, true },
        { "code of ring 0", 0xc09b, false }, { "conforming code", 0xc09f, true },
        { "code of ring 3", 0xc0fb, true },
    };

    for_each_row(row, rows) {
        struct seg_rig *r = seg_rig_get();
        const u64 frame[] = { TARGET, SEL_CODE3 | 3, 0x6000, SEL_DATA3 | 3 };

        ROW(row);
        r->c->seg[SEG_FS].attr = row->attr;
        seg_rig_put(r, RIG_STACK, frame, ARRAY_LEN(frame), 4);
        CHECK_EQ(RUN(r, 0xcb), NO_FAULT);
        CHECK_EQ(r->c->seg[SEG_FS].unusable, !row->kept);
    }
}

TEST(far_ret_outer_stack_refused)
{
    /* clang-format off */
    static const struct { const char *why; u16 ss; u32 want; } rows[] = {
        { "null",            0,             FAULT(VEC_GP, 0) },
        { "of another ring", SEL_DATA0,     FAULT(VEC_GP, SEL_DATA0) },
        { "code",            SEL_CODE3 | 3, FAULT(VEC_GP, SEL_CODE3) },
        { "not present",     SEL_FREE | 3,  FAULT(VEC_SS, SEL_FREE) },
    };
    /* clang-format on */

    for_each_row(row, rows) {
        struct seg_rig *r = seg_rig_get();
        const u64 frame[] = { TARGET, SEL_CODE3 | 3, 0x6000, row->ss };

        ROW(row);
        seg_rig_gdt(r, SEL_FREE, 0, ~0u, 0xc073);
        seg_rig_put(r, RIG_STACK, frame, ARRAY_LEN(frame), 4);
        CHECK_EQ(RUN(r, 0xcb), row->want);
        CHECK_EQ(r->c->cpl, 0);
    }
}

/* ---- other modes ---- */

TEST(far_real)
{
    struct seg_rig *r = seg_rig_get();
    const u64 frame[] = { RIG_CODE + 5, 0 };

    seg_rig_real(r);
    CHECK_EQ(RUN(r, 0x9a, 0x78, 0x56, 0x34, 0x12), NO_FAULT); /* call 1234:5678 */
    CHECK_EQ(r->c->rip, 0x5678);
    CHECK_EQ(r->c->seg[SEG_CS].base, 0x12340);
    CHECK_EQ(r->c->reg[GPR_RSP], RIG_STACK - 4);
    CHECK_SLOTS(r, RIG_STACK - 4, frame, 2, 2);

    seg_rig_real(r);
    CHECK_EQ(RUN(r, 0x66, 0xea, 0, 0, 1, 0, 0, 0), FAULT(VEC_GP, 0)); /* jmp 0:10000 */
    seg_rig_store(r, RIG_STACK, 4, 0x43210123);
    CHECK_EQ(RUN(r, 0xcb), NO_FAULT);
    CHECK_EQ(r->c->rip, 0x123);
    CHECK_EQ(r->c->seg[SEG_CS].base, 0x43210);
}

TEST(far_long_to_compatibility_and_back)
{
    struct seg_rig *r = seg_rig_get();

    seg_rig_long(r, 0);
    seg_rig_store(r, RIG_DATA, 8, TARGET | (u64)SEL_CODE0 << 32);
    CHECK_EQ(RUN(r, 0xff, 0x2c, 0x25, 0, 0, 1, 0), NO_FAULT); /* jmp far [RIG_DATA] */
    CHECK_EQ(r->c->rip, TARGET);
    CHECK(!soft_code64(r->c));

    r->c->rip = RIG_CODE;
    CHECK_EQ(RUN(r, 0xea, 0, 0, 2, 0, SEL_CODE64, 0), NO_FAULT);
    CHECK_EQ(r->c->rip, TARGET);
    CHECK(soft_code64(r->c));
}

TEST(far_long_code_segments)
{
    struct seg_rig *r = seg_rig_get();

    seg_rig_long(r, 0);
    seg_rig_store(r, RIG_DATA, 8, TARGET | (u64)SEL_FREE << 32);
    seg_rig_gdt(r, SEL_FREE, 0, ~0u, 0xe09b); /* L and D */
    CHECK_EQ(RUN(r, 0xff, 0x2c, 0x25, 0, 0, 1, 0), FAULT(VEC_GP, SEL_FREE));
    seg_rig_gdt(r, SEL_FREE, 0, 0, 0x209b); /* no limit in 64-bit code */
    CHECK_EQ(RUN(r, 0xff, 0x2c, 0x25, 0, 0, 1, 0), NO_FAULT);
    CHECK_EQ(r->c->rip, TARGET);
}

TEST(far_long_call_gate)
{
    struct seg_rig *r = seg_rig_get();
    struct seg_gate g = { .offset = 0xffffffff80001234,
                          .selector = SEL_CODE64,
                          .type = SYS_CALL32,
                          .dpl = 3,
                          .present = true };
    const u64 frame[] = { RIG_CODE + 7, SEL_CODE64_3 | 3, RIG_STACK, SEL_DATA3 | 3 };

    seg_rig_long(r, 3);
    seg_rig_gate(r, TAB_GDT + SEL_FREE, &g);
    seg_rig_store(r, RIG_DATA, 8, (u64)SEL_FREE << 32);
    CHECK_EQ(RUN(r, 0xff, 0x1c, 0x25, 0, 0, 1, 0), NO_FAULT); /* call far [RIG_DATA] */
    CHECK_EQ(r->c->rip, 0xffffffff80001234);
    CHECK_EQ(r->c->cpl, 0);
    CHECK_EQ(r->c->seg[SEG_SS].selector, 0);
    CHECK_EQ(r->c->reg[GPR_RSP], TAB_STACK - sizeof(frame));
    CHECK_SLOTS(r, TAB_STACK - sizeof(frame), frame, 4, 8);

    seg_rig_long(r, 3);
    seg_rig_store(r, TAB_GDT + SEL_FREE + 12, 4, 0x100); /* type bits of the upper half */
    CHECK_EQ(RUN(r, 0xff, 0x1c, 0x25, 0, 0, 1, 0), FAULT(VEC_GP, SEL_FREE));
    g.selector = SEL_CODE0; /* not 64-bit code */
    seg_rig_gate(r, TAB_GDT + SEL_FREE, &g);
    CHECK_EQ(RUN(r, 0xff, 0x1c, 0x25, 0, 0, 1, 0), FAULT(VEC_GP, SEL_CODE0));
}

TEST(far_long_ret_to_user)
{
    struct seg_rig *r = seg_rig_get();
    const u64 frame[] = { 0x7ffff0001234, SEL_CODE64_3 | 3, 0x7ffff0008000, SEL_DATA3 | 3 };
    u64 bad[] = { 0x800000000000, SEL_CODE64_3 | 3, 0, SEL_DATA3 | 3 };

    seg_rig_long(r, 0);
    seg_rig_put(r, RIG_STACK, frame, 4, 8);
    CHECK_EQ(RUN(r, 0x48, 0xcb), NO_FAULT);
    CHECK_EQ(r->c->rip, frame[0]);
    CHECK_EQ(r->c->reg[GPR_RSP], frame[2]);
    CHECK_EQ(r->c->cpl, 3);

    seg_rig_long(r, 0);
    seg_rig_put(r, RIG_STACK, bad, 4, 8);
    CHECK_EQ(RUN(r, 0x48, 0xcb), FAULT(VEC_GP, 0)); /* not canonical */
    bad[0] = 0x1000;
    bad[3] = 0;
    seg_rig_put(r, RIG_STACK, bad, 4, 8);
    CHECK_EQ(RUN(r, 0x48, 0xcb), FAULT(VEC_GP, 0)); /* null SS in ring 3 */
}
