/*
 * cpu/soft/task_test.c: task switches: what is saved, loaded and marked busy, and whose fault a fault is.
 */
#include "cpu/soft/seg_rig.h"
#include "testlib/test.h"

enum {
    NEW_RIP = 0x11223344,
    NEW_SP = 0x7000,
};

struct jump {
    u16 selector;
    enum soft_task_why why;
    struct soft_event *ev;
};

static void do_switch(struct seg_rig *r, void *arg)
{
    const struct jump *j = arg;

    soft_task_switch(r->c, j->ev ? NULL : &r->op, j->selector, j->why, j->ev, 0x456);
}

/* A 32-bit TSS of ring 0 in TSS2. */
static void make_task(struct seg_rig *r)
{
    static const u16 segs[] = { SEL_DATA0, SEL_CODE0, SEL_DATA0, SEL_DATA0, 0, SEL_DATA3 | 3 };

    seg_rig_store(r, TAB_TSS2 + 32, 4, NEW_RIP);
    seg_rig_store(r, TAB_TSS2 + 36, 4, RF_ONE | RF_DF | RF_CF);
    for (u32 i = 0; i < 8; i++)
        seg_rig_store(r, TAB_TSS2 + 40 + 4 * i, 4, 0xf0000000 + i);
    seg_rig_store(r, TAB_TSS2 + 56, 4, NEW_SP);
    for (u32 i = 0; i < 6; i++)
        seg_rig_store(r, TAB_TSS2 + 72 + 4 * i, 4, segs[i]);
    seg_rig_store(r, TAB_TSS2 + 96, 4, SEL_LDT);
}

static u8 type_of(const struct seg_rig *r, u16 selector)
{
    return seg_rig_load(r, TAB_GDT + selector + 5, 1) & 15;
}

static struct seg_rig *old_task(void)
{
    struct seg_rig *r = seg_rig_get();

    make_task(r);
    for (u32 i = 0; i < 8; i++)
        r->c->reg[i] = 0xe0000000 + i;
    soft_set_flags(r->c, RF_ONE | RF_IF | RF_ZF);
    r->c->dr7 = 0x7ff;
    return r;
}

static void check_new_task(const struct seg_rig *r, u32 flags)
{
    struct soft_cpu *c = r->c;

    CHECK_EQ(c->rip, NEW_RIP);
    CHECK_EQ(soft_flags(c), flags);
    CHECK_EQ(c->reg[GPR_RAX], 0xf0000000);
    CHECK_EQ(c->reg[GPR_RDI], 0xf0000007);
    CHECK_EQ(c->seg[SEG_CS].selector, SEL_CODE0);
    CHECK_EQ(c->seg[SEG_GS].selector, SEL_DATA3 | 3);
    CHECK(c->seg[SEG_FS].unusable);
    CHECK_EQ(c->seg[SEG_LDTR].base, TAB_LDT);
    CHECK_EQ(c->seg[SEG_TR].base, TAB_TSS2);
    CHECK_EQ(c->seg[SEG_TR].attr & 15, SYS_TSS32_BUSY);
    CHECK(c->cr0 & CR0_TS);
    CHECK_EQ(c->dr7, 0x7ff & ~0x155u);
    CHECK_EQ(type_of(r, SEL_TSS2), SYS_TSS32_BUSY);
}

static void check_saved(const struct seg_rig *r, u32 rip, u32 flags)
{
    CHECK_EQ(seg_rig_load(r, TAB_TSS + 32, 4), rip);
    CHECK_EQ(seg_rig_load(r, TAB_TSS + 36, 4), flags);
    CHECK_EQ(seg_rig_load(r, TAB_TSS + 40, 4), 0xe0000000);
    CHECK_EQ(seg_rig_load(r, TAB_TSS + 68, 4), 0xe0000007);
    CHECK_EQ(seg_rig_load(r, TAB_TSS + 76, 4), SEL_CODE0);
    CHECK_EQ(seg_rig_load(r, TAB_TSS + 80, 4), SEL_DATA0);
}

TEST(task_jump)
{
    struct seg_rig *r = old_task();
    struct jump j = { SEL_TSS2, TASK_JUMP, NULL };

    CHECK_EQ(seg_rig_try(r, do_switch, &j), NO_FAULT);
    check_new_task(r, RF_ONE | RF_DF | RF_CF);
    check_saved(r, 0x456, RF_ONE | RF_IF | RF_ZF);
    CHECK_EQ(r->c->reg[GPR_RSP], NEW_SP);
    CHECK_EQ(type_of(r, SEL_TSS), SYS_TSS32);
    CHECK_EQ(seg_rig_load(r, TAB_TSS2, 2), 0);
}

TEST(task_call_and_return)
{
    struct seg_rig *r = old_task();
    struct jump j = { SEL_TSS2, TASK_CALL, NULL }, back = { SEL_TSS, TASK_IRET, NULL };

    CHECK_EQ(seg_rig_try(r, do_switch, &j), NO_FAULT);
    check_new_task(r, RF_ONE | RF_DF | RF_CF | RF_NT);
    CHECK_EQ(seg_rig_load(r, TAB_TSS2, 2), SEL_TSS);
    CHECK_EQ(type_of(r, SEL_TSS), SYS_TSS32_BUSY);

    CHECK_EQ(seg_rig_try(r, do_switch, &back), NO_FAULT);
    CHECK_EQ(r->c->rip, 0x456);
    CHECK_EQ(soft_flags(r->c), RF_ONE | RF_IF | RF_ZF);
    CHECK_EQ(r->c->reg[GPR_RDI], 0xe0000007);
    CHECK_EQ(type_of(r, SEL_TSS), SYS_TSS32_BUSY);
    CHECK_EQ(type_of(r, SEL_TSS2), SYS_TSS32);
    CHECK_EQ(seg_rig_load(r, TAB_TSS2 + 36, 4),
             RF_ONE | RF_DF | RF_CF); /* NT was cleared in what is saved */
}

/* An exception through a task gate: its error code is on the new task's stack, RF in the old one's flags. */
TEST(task_gate_error_code)
{
    struct seg_rig *r = old_task();
    struct soft_event ev = { .vector = VEC_DF, .has_error = true, .error = 0 };
    struct jump j = { SEL_TSS2, TASK_GATE, &ev };

    seg_rig_store(r, NEW_SP - 4, 4, 0x55555555);
    CHECK_EQ(seg_rig_try(r, do_switch, &j), NO_FAULT);
    CHECK_EQ(r->c->reg[GPR_RSP], NEW_SP - 4);
    CHECK_EQ(seg_rig_load(r, NEW_SP - 4, 4), 0);
    check_saved(r, 0x456, RF_ONE | RF_IF | RF_ZF);

    r = old_task();
    ev.vector = VEC_GP;
    CHECK_EQ(seg_rig_try(r, do_switch, &j), NO_FAULT);
    check_saved(r, 0x456, RF_ONE | RF_IF | RF_ZF | RF_RF);
}

TEST(task_refused)
{
    /* clang-format off */
    static const struct { const char *why; u16 selector; enum soft_task_why why_switch; u16 attr; u32 limit, want; } rows[] = {
        { "null",               0,              TASK_JUMP, 0x89, 103, FAULT(VEC_GP, 0) },
        { "in the LDT",         SEL_TSS2 | 4,   TASK_JUMP, 0x89, 103, FAULT(VEC_GP, SEL_TSS2 | 4) },
        { "outside the GDT",    0x1000,         TASK_CALL, 0x89, 103, FAULT(VEC_GP, 0x1000) },
        { "busy",               SEL_TSS2,       TASK_CALL, 0x8b, 103, FAULT(VEC_GP, SEL_TSS2) },
        { "return to not busy", SEL_TSS2,       TASK_IRET, 0x89, 103, FAULT(VEC_TS, SEL_TSS2) },
        { "return to null",     0,              TASK_IRET, 0x89, 103, FAULT(VEC_TS, 0) },
        { "an LDT",             SEL_TSS2,       TASK_JUMP, 0x82, 103, FAULT(VEC_GP, SEL_TSS2) },
        { "a data segment",     SEL_TSS2,       TASK_JUMP, 0x99, 103, FAULT(VEC_GP, SEL_TSS2) },
        { "not present",        SEL_TSS2,       TASK_JUMP, 0x09, 103, FAULT(VEC_NP, SEL_TSS2) },
        { "too small",          SEL_TSS2,       TASK_JUMP, 0x89, 102, FAULT(VEC_TS, SEL_TSS2) },
        { "16-bit: too small",  SEL_TSS2,       TASK_JUMP, 0x81, 42,  FAULT(VEC_TS, SEL_TSS2) },
    };
    /* clang-format on */

    for_each_row(row, rows) {
        struct seg_rig *r = old_task();
        struct jump j = { row->selector, row->why_switch, NULL };

        ROW(row);
        seg_rig_gdt(r, SEL_TSS2, TAB_TSS2, row->limit, row->attr);
        CHECK_EQ(seg_rig_try(r, do_switch, &j), row->want);
        CHECK_EQ(r->c->seg[SEG_TR].selector, SEL_TSS); /* still the old task */
        CHECK_EQ(r->c->reg[GPR_RDI], 0xe0000007);
        CHECK_EQ(type_of(r, SEL_TSS), SYS_TSS32_BUSY);
    }
}

/* The new task's segments are its own affair: it is the new RIP that faults. */
TEST(task_bad_segments)
{
    /* clang-format off */
    static const struct { const char *why; u32 at; u16 selector; u32 want; } rows[] = {
        { "null CS",             76, 0,             FAULT(VEC_TS, 0) },
        { "CS is data",          76, SEL_DATA0,     FAULT(VEC_TS, SEL_DATA0) },
        { "CS of another ring",  76, SEL_CODE3,     FAULT(VEC_TS, SEL_CODE3) },
        { "null SS",             80, 0,             FAULT(VEC_TS, 0) },
        { "SS of another ring",  80, SEL_DATA3 | 3, FAULT(VEC_TS, SEL_DATA3) },
        { "DS is a TSS",         84, SEL_TSS,       FAULT(VEC_TS, SEL_TSS) },
        { "ES outside the GDT",  72, 0x2000,        FAULT(VEC_TS, 0x2000) },
        { "DS not present",      84, SEL_FREE,      FAULT(VEC_NP, SEL_FREE) },
        { "SS not present",      80, SEL_FREE,      FAULT(VEC_SS, SEL_FREE) },
        { "LDT is a segment",    96, SEL_DATA0,     FAULT(VEC_TS, SEL_DATA0) },
    };
    /* clang-format on */

    for_each_row(row, rows) {
        struct seg_rig *r = old_task();
        struct jump j = { SEL_TSS2, TASK_JUMP, NULL };

        ROW(row);
        seg_rig_gdt(r, SEL_FREE, 0, ~0u, 0xc013);
        seg_rig_store(r, TAB_TSS2 + row->at, 2, row->selector);
        CHECK_EQ(seg_rig_try(r, do_switch, &j), row->want);
        CHECK_EQ(r->c->rip, NEW_RIP);
        CHECK_EQ(r->c->seg[SEG_TR].selector, SEL_TSS2);
    }
}

TEST(task_trap_bit)
{
    struct seg_rig *r = old_task();
    struct jump j = { SEL_TSS2, TASK_JUMP, NULL };

    seg_rig_store(r, TAB_TSS2 + 100, 2, 1);
    CHECK_EQ(seg_rig_try(r, do_switch, &j), FAULT(VEC_DB, 0));
    check_new_task(r, RF_ONE | RF_DF | RF_CF);
    CHECK(r->c->dr6 & 1u << 15);
}

TEST(task_vm86)
{
    struct seg_rig *r = old_task();
    struct jump j = { SEL_TSS2, TASK_JUMP, NULL };

    seg_rig_store(r, TAB_TSS2 + 32, 4, 0x1000);
    seg_rig_store(r, TAB_TSS2 + 36, 4, RF_ONE | RF_VM | RF_IF);
    seg_rig_store(r, TAB_TSS2 + 76, 2, 0x1234);
    CHECK_EQ(seg_rig_try(r, do_switch, &j), NO_FAULT);
    CHECK_EQ(r->c->cpl, 3);
    CHECK_EQ(r->c->seg[SEG_CS].base, 0x12340);
    CHECK_EQ(r->c->seg[SEG_CS].limit, 0xffff);
}

TEST(task_16bit)
{
    struct seg_rig *r = old_task();
    struct jump j = { SEL_TSS2, TASK_CALL, NULL }, back = { SEL_TSS, TASK_IRET, NULL };
    static const u16 segs[] = { SEL_DATA0, SEL_CODE0, SEL_DATA0, SEL_DATA0 };

    memset(r->ram + TAB_TSS2, 0, 104);
    seg_rig_gdt(r, SEL_TSS2, TAB_TSS2, 43, 0x81);
    seg_rig_store(r, TAB_TSS2 + 14, 2, 0x3344);
    seg_rig_store(r, TAB_TSS2 + 16, 2, RF_ONE | RF_SF);
    seg_rig_store(r, TAB_TSS2 + 18, 2, 0xaaaa);
    for (u32 i = 0; i < 4; i++)
        seg_rig_store(r, TAB_TSS2 + 34 + 2 * i, 2, segs[i]);
    CHECK_EQ(seg_rig_try(r, do_switch, &j), NO_FAULT);
    CHECK_EQ(r->c->rip, 0x3344);
    CHECK_EQ(soft_flags(r->c), RF_ONE | RF_SF | RF_NT);
    CHECK_EQ(r->c->reg[GPR_RAX], 0xaaaa);
    CHECK(r->c->seg[SEG_FS].unusable && r->c->seg[SEG_GS].unusable);
    CHECK_EQ(type_of(r, SEL_TSS2), SYS_TSS16_BUSY);

    r->c->reg[GPR_RAX] = 0xbbbbcccc;
    CHECK_EQ(seg_rig_try(r, do_switch, &back), NO_FAULT);
    CHECK_EQ(seg_rig_load(r, TAB_TSS2 + 18, 2), 0xcccc);
    CHECK_EQ(seg_rig_load(r, TAB_TSS2 + 20, 2), 0); /* ECX of the 16-bit task: not beyond */
    CHECK_EQ(r->c->reg[GPR_RAX], 0xe0000000);
}
