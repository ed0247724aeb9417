/*
 * cpu/soft/deliver_test.c: interrupts and exceptions in every mode: which gates and handlers are refused and how, what is on
 * the stack and in the registers afterwards.
 */
#include "cpu/soft/seg_rig.h"
#include "testlib/test.h"

#define VECTOR 0x40

static void do_deliver(struct seg_rig *r, void *arg)
{
    soft_deliver(r->c, arg);
}

static struct soft_event external_event(void)
{
    return (struct soft_event){ .vector = VECTOR, .external = true };
}

/* ---- real mode ---- */

TEST(deliver_real)
{
    struct seg_rig *r = seg_rig_get();
    struct soft_event ev = { .vector = VEC_GP, .has_error = true, .error = 7 };
    struct soft_cpu *c = r->c;
    const u64 frame[] = { 0x400, 0x1234, RF_ONE | RF_IF | RF_TF | RF_CF };

    seg_rig_real(r);
    soft_seg_real(c, SEG_CS, 0x1234);
    c->rip = 0x400;
    soft_set_flags(c, RF_ONE | RF_IF | RF_TF | RF_CF);
    c->reg[GPR_RSP] = 0xabcd8000;
    c->idt_base = 0;
    seg_rig_store(r, VEC_GP * 4, 4, 0x56789abc);
    CHECK_EQ(seg_rig_try(r, do_deliver, &ev), NO_FAULT);
    CHECK_EQ(c->rip, 0x9abc);
    CHECK_EQ(c->seg[SEG_CS].base, 0x56780);
    CHECK_EQ(soft_flags(c), RF_ONE | RF_CF);
    CHECK_EQ(c->reg[GPR_RSP], 0xabcd7ffa);
    CHECK_SLOTS(r, 0x7ffa, frame, 3, 2); /* no error code */

    c->idt_limit = VEC_GP * 4 + 2;
    CHECK_EQ(seg_rig_try(r, do_deliver, &ev), FAULT(VEC_GP, VEC_GP * 8 + 3));
}

/* ---- protected mode ---- */

/* One gate and its handler's segment, out of all. */
struct combination {
    u8 cpl, gate_type, gate_dpl, code_dpl, code_type;
    bool soft, gate_p, code_p;
};
#define COMBINATIONS (1u << 17)

static struct combination combination_at(u32 i)
{
    return (struct combination){
        .cpl = i & 3,
        .gate_type = (i >> 2) & 15,
        .gate_dpl = (i >> 6) & 3,
        .code_dpl = (i >> 8) & 3,
        .code_type = (i >> 10) & 15,
        .soft = (i >> 14) & 1,
        .gate_p = (i >> 15) & 1,
        .code_p = (i >> 16) & 1,
    };
}

/* SDM volume 2, INT n, protected mode. */
static u32 expected(struct combination k)
{
    u32 idt = VECTOR * 8 + 2 + !k.soft, sel = SEL_FREE + !k.soft;
    bool code = k.code_type & 8;

    if (k.gate_type != 6 && k.gate_type != 7 && k.gate_type != 14 && k.gate_type != 15)
        return FAULT(VEC_GP, idt);
    if (k.soft && k.gate_dpl < k.cpl)
        return FAULT(VEC_GP, idt);
    if (!k.gate_p)
        return FAULT(VEC_NP, idt);
    if (!code || k.code_dpl > k.cpl)
        return FAULT(VEC_GP, sel);
    return k.code_p ? NO_FAULT : FAULT(VEC_NP, sel);
}

static void check_entered(const struct seg_rig *r, struct combination k)
{
    struct soft_cpu *c = r->c;
    bool conforming = k.code_type & 4, inner = !conforming && k.code_dpl < k.cpl;
    u8 cpl = inner ? k.code_dpl : k.cpl;
    u32 size = k.gate_type & 8 ? 4 : 2, n = inner ? 5 : 3;
    u64 sp = inner ? TAB_STACK + 0x1000u * cpl : RIG_STACK;
    const u64 frame[] = { 0x400, seg_rig_code(k.cpl), RF_ONE | RF_IF, RIG_STACK,
                          seg_rig_data(k.cpl) };

    CHECK_EQ(c->cpl, cpl);
    CHECK_EQ(c->rip, k.gate_type & 8 ? 0x12345 : 0x2345);
    CHECK_EQ(c->seg[SEG_CS].selector, SEL_FREE | cpl);
    CHECK_EQ(c->seg[SEG_SS].selector, seg_rig_data(cpl));
    CHECK_EQ(c->reg[GPR_RSP], sp - n * size);
    CHECK_EQ(c->eflags & RF_IF, k.gate_type & 1 ? RF_IF : 0);
    CHECK_SLOTS(r, sp - n * size, frame, n, size);
}

static void setup(struct seg_rig *r, struct combination k)
{
    struct seg_gate g = { .offset = 0x12345,
                          .selector = SEL_FREE,
                          .type = k.gate_type,
                          .dpl = k.gate_dpl,
                          .present = k.gate_p };

    seg_rig_ring(r, k.cpl);
    soft_set_flags(r->c, RF_ONE | RF_IF);
    r->c->rip = 0x400;
    r->c->reg[GPR_RSP] = RIG_STACK;
    seg_rig_gdt(r, SEL_FREE, 0, 0xfffff,
                (u16)(0x4010 | k.code_type | k.code_dpl << 5 | k.code_p << 7));
    seg_rig_gate(r, TAB_IDT + VECTOR * 8, &g);
}

TEST(deliver_protected_every_gate)
{
    struct seg_rig *r = seg_rig_get();

    for (u32 i = 0; i < COMBINATIONS; i++) {
        struct combination k = combination_at(i);
        struct soft_event ev = { .vector = VECTOR, .soft = k.soft, .external = !k.soft };

        if (k.gate_type == SYS_TASK_GATE)
            continue; /* task_test.c */
        setup(r, k);
        CHECK_EQ(seg_rig_try(r, do_deliver, &ev), expected(k));
        if (expected(k) == NO_FAULT)
            check_entered(r, k);
        else
            CHECK_EQ(r->c->rip, 0x400);
    }
}

TEST(deliver_protected_error_code)
{
    struct seg_rig *r = seg_rig_get();
    struct soft_event ev = { .vector = VECTOR, .has_error = true, .error = 0x1234 };
    const u64 frame[] = { 0x1234, 0x400, SEL_CODE0, RF_ONE | RF_IF };

    setup(r, (struct combination){
                 .gate_type = SYS_INT32, .code_type = 10, .gate_p = true, .code_p = true });
    CHECK_EQ(seg_rig_try(r, do_deliver, &ev), NO_FAULT);
    CHECK_EQ(r->c->reg[GPR_RSP], RIG_STACK - 16);
    CHECK_SLOTS(r, RIG_STACK - 16, frame, 4, 4);
}

/* Faults will restart: their flags' image has RF; traps and interrupts do not. */
TEST(deliver_pushes_rf)
{
    static const struct {
        const char *why;
        struct soft_event ev;
        bool rf;
    } rows[] = {
        { "page fault", { .vector = VEC_PF, .has_error = true }, true },
        { "divide error", { .vector = VEC_DE }, true },
        { "debug trap", { .vector = VEC_DB }, false },
        { "INT3", { .vector = VEC_BP, .soft = true }, false },
        { "INT 0", { .vector = VEC_DE, .soft = true }, false },
        { "interrupt", { .vector = VECTOR, .external = true }, false },
        { "double fault", { .vector = VEC_DF, .has_error = true }, false },
    };
    struct seg_rig *r = seg_rig_get();

    for_each_row(row, rows) {
        ROW(row);
        CHECK_EQ(!!(soft_event_flags(r->c, &row->ev) & RF_RF), row->rf);
    }
}

TEST(deliver_protected_bad_places)
{
    struct seg_rig *r = seg_rig_get();
    struct soft_event ev = external_event();
    struct combination k = {
        .cpl = 3, .gate_type = SYS_INT32, .code_type = 10, .gate_p = true, .code_p = true
    };

    setup(r, k);
    r->c->idt_limit = VECTOR * 8 + 6;
    CHECK_EQ(seg_rig_try(r, do_deliver, &ev), FAULT(VEC_GP, VECTOR * 8 + 3));
    r->c->idt_limit = 0xfff;

    seg_rig_gdt(r, SEL_FREE, 0, 0x12344, 0x409a); /* the handler is outside */
    CHECK_EQ(seg_rig_try(r, do_deliver, &ev), FAULT(VEC_GP, 1));
    setup(r, k);

    r->c->seg[SEG_TR].limit = 8; /* no SS0 */
    CHECK_EQ(seg_rig_try(r, do_deliver, &ev), FAULT(VEC_TS, SEL_TSS + 1));
    r->c->seg[SEG_TR].limit = 103;

    seg_rig_store(r, TAB_TSS + 8, 2, SEL_DATA1); /* SS0 of ring 1 */
    CHECK_EQ(seg_rig_try(r, do_deliver, &ev), FAULT(VEC_TS, SEL_DATA1 + 1));
    seg_rig_store(r, TAB_TSS + 8, 2, 0);
    CHECK_EQ(seg_rig_try(r, do_deliver, &ev), FAULT(VEC_TS, 1));

    seg_rig_store(r, TAB_TSS + 8, 2, SEL_DATA0);
    seg_rig_gdt(r, SEL_DATA0, 0, 0xfff, 0x4093); /* too small for ESP0 */
    CHECK_EQ(seg_rig_try(r, do_deliver, &ev), FAULT(VEC_SS, SEL_DATA0 + 1));
    seg_rig_gdt(r, SEL_DATA0, 0, ~0u, 0xc013); /* not present */
    CHECK_EQ(seg_rig_try(r, do_deliver, &ev), FAULT(VEC_SS, SEL_DATA0 + 1));
    CHECK_EQ(r->c->cpl, 3);
    CHECK_EQ(r->c->reg[GPR_RSP], RIG_STACK);
}

/* ---- virtual-8086 mode ---- */

TEST(deliver_from_vm86)
{
    struct seg_rig *r = seg_rig_get();
    struct soft_event ev = external_event();
    const u64 frame[] = { 0x400,     0,     RF_ONE | RF_IF | RF_VM | RF_IOPL,
                          RIG_STACK, 0x102, 0x100,
                          0x103,     0x104, 0x105 };
    struct combination k = {
        .gate_type = SYS_INT32, .code_type = 10, .gate_p = true, .code_p = true
    };

    setup(r, k);
    seg_rig_vm86(r, RF_IF | RF_IOPL);
    r->c->rip = 0x400;
    CHECK_EQ(seg_rig_try(r, do_deliver, &ev), NO_FAULT);
    CHECK_EQ(r->c->cpl, 0);
    CHECK_EQ(r->c->eflags, RF_ONE | RF_IOPL);
    CHECK_EQ(r->c->reg[GPR_RSP], TAB_STACK - sizeof(frame) / 2);
    CHECK_SLOTS(r, TAB_STACK - sizeof(frame) / 2, frame, ARRAY_LEN(frame), 4);
    CHECK(r->c->seg[SEG_ES].unusable && r->c->seg[SEG_GS].unusable);

    k.code_dpl = 1; /* a monitor has ring 0 */
    setup(r, k);
    seg_rig_vm86(r, RF_IF | RF_IOPL);
    r->c->rip = 0x400;
    CHECK_EQ(seg_rig_try(r, do_deliver, &ev), FAULT(VEC_GP, SEL_FREE + 1));
    k.code_dpl = 0;
    k.code_type = 14; /* conforming */
    setup(r, k);
    seg_rig_vm86(r, RF_IF | RF_IOPL);
    r->c->rip = 0x400;
    CHECK_EQ(seg_rig_try(r, do_deliver, &ev), FAULT(VEC_GP, SEL_FREE + 1));
}

/* ---- long mode ---- */

static void setup_long(struct seg_rig *r, u8 cpl, struct seg_gate g)
{
    seg_rig_long(r, cpl);
    soft_set_flags(r->c, RF_ONE | RF_IF | RF_NT | RF_TF);
    r->c->rip = 0x400;
    r->c->reg[GPR_RSP] = RIG_STACK - 5; /* frames are aligned */
    seg_rig_gate(r, TAB_IDT + VECTOR * 16, &g);
}

TEST(deliver_long)
{
    /* clang-format off */
    static const struct { const char *why; u8 cpl, stack; bool error; u64 sp; u16 ss; } rows[] = {
        { "same ring",          0, 0, false, RIG_STACK - 16,   SEL_DATA0 },
        { "same ring, error",   0, 0, true,  RIG_STACK - 16,   SEL_DATA0 },
        { "same ring, stack 1",   0, 1, false, TAB_IST + 0x1000,         SEL_DATA0 },
        { "from ring 3",        3, 0, false, TAB_STACK,       0 },
        { "from ring 3, error", 3, 0, true,  TAB_STACK,       0 },
        { "from ring 3, stack 7", 3, 7, true,  TAB_IST + 0x7000,         0 },
    };
    /* clang-format on */

    for_each_row(row, rows) {
        struct seg_rig *r = seg_rig_get();
        struct seg_gate g = { .offset = 0xffffffff81234567,
                              .selector = SEL_CODE64,
                              .type = SYS_INT32,
                              .count = row->stack,
                              .present = true };
        struct soft_event ev = { .vector = VECTOR, .has_error = row->error, .error = 6 };
        u64 frame[] = { 6, 0x400, 0, RF_ONE | RF_IF | RF_NT | RF_TF, RIG_STACK - 5, 0 };
        u32 skip = row->error ? 0 : 1, n = ARRAY_LEN(frame) - skip;

        ROW(row);
        setup_long(r, row->cpl, g);
        frame[2] = r->c->seg[SEG_CS].selector;
        frame[5] = r->c->seg[SEG_SS].selector;
        CHECK_EQ(seg_rig_try(r, do_deliver, &ev), NO_FAULT);
        CHECK_EQ(r->c->rip, 0xffffffff81234567);
        CHECK_EQ(r->c->cpl, 0);
        CHECK_EQ(r->c->seg[SEG_CS].selector, SEL_CODE64);
        CHECK_EQ(r->c->seg[SEG_SS].selector, row->ss);
        CHECK_EQ(soft_flags(r->c), RF_ONE);
        CHECK_EQ(r->c->reg[GPR_RSP], row->sp - n * 8);
        CHECK_SLOTS(r, row->sp - n * 8, frame + skip, n, 8);
    }
}

TEST(deliver_long_refusals)
{
    const u32 idt = VECTOR * 8 + 3;
    /* clang-format off */
    static const struct { const char *why; u16 selector; u8 type; u64 offset; u64 rsp0; u32 want; } rows[] = {
        { "16-bit gate",           SEL_CODE64, SYS_INT16,     0x1000,             0x9000,            FAULT(VEC_GP, 0x203) },
        { "task gate",             SEL_CODE64, SYS_TASK_GATE, 0x1000,             0x9000,            FAULT(VEC_GP, 0x203) },
        { "call gate",             SEL_CODE64, SYS_CALL32,    0x1000,             0x9000,            FAULT(VEC_GP, 0x203) },
        { "32-bit handler",        SEL_CODE0,  SYS_INT32,     0x1000,             0x9000,            FAULT(VEC_GP, SEL_CODE0 + 1) },
        { "null selector",         0,          SYS_INT32,     0x1000,             0x9000,            FAULT(VEC_GP, 1) },
        { "data segment",          SEL_DATA0,  SYS_INT32,     0x1000,             0x9000,            FAULT(VEC_GP, SEL_DATA0 + 1) },
        { "handler not canonical", SEL_CODE64, SYS_INT32,     0x0000800000000000, 0x9000,            FAULT(VEC_GP, 1) },
        { "stack not canonical",   SEL_CODE64, SYS_INT32,     0x1000,             0x800000000000,    FAULT(VEC_SS, 1) },
        { "frame across the hole", SEL_CODE64, SYS_INT32,     0x1000,             0xffff800000000010, FAULT(VEC_SS, 1) },
    };
    /* clang-format on */

    CHECK_EQ(idt, 0x203);
    for_each_row(row, rows) {
        struct seg_rig *r = seg_rig_get();
        struct seg_gate g = {
            .offset = row->offset, .selector = row->selector, .type = row->type, .present = true
        };
        struct soft_event ev = external_event();

        ROW(row);
        setup_long(r, 3, g);
        seg_rig_store(r, TAB_TSS + 4, 8, row->rsp0);
        CHECK_EQ(seg_rig_try(r, do_deliver, &ev), row->want);
        CHECK_EQ(r->c->rip, 0x400);
        CHECK_EQ(r->c->cpl, 3);
    }
}

/* ---- through the run loop: there and back ---- */

static enum vcpu_next run(struct seg_rig *r, const u8 *code, u32 n, const u8 *handler,
                          u32 handler_n)
{
    enum vcpu_next next = VCPU_KICKED;

    mem_write(r->rig->mem, RIG_CODE, code, n);
    mem_write(r->rig->mem, 0x2000, handler, handler_n);
    soft_set_flags(r->c, RF_ONE | RF_IOPL);
    r->rig->port_writes = 0;
    while (r->rig->port_writes == 0 && next == VCPU_KICKED)
        next = vcpu_run(r->c->v);
    return next;
}

static void gate(struct seg_rig *r, u8 vector, u16 selector)
{
    struct seg_gate g = {
        .offset = 0x2000, .selector = selector, .type = SYS_INT32, .dpl = 3, .present = true
    };

    seg_rig_gate(r, TAB_IDT + vector * (soft_long_mode(r->c) ? 16 : 8), &g);
}

/* int 0x80; mov al, bl; out RIG_PORT, al; jmp $ */
static const u8 caller[] = { 0xcd, 0x80, 0x88, 0xd8, 0xe6, RIG_PORT, 0xeb, 0xfe };

TEST(deliver_and_return)
{
    static const u8 handler[] = { 0xb3, 0x07, 0xcf },
                    handler64[] = { 0xb3, 0x07, 0x48, 0xcf }; /* mov bl, 7; iret */
    struct seg_rig *r = seg_rig_get();

    gate(r, 0x80, SEL_CODE0);
    seg_rig_ring(r, 3);
    CHECK_EQ(run(r, caller, sizeof(caller), handler, sizeof(handler)), VCPU_KICKED);
    CHECK_EQ(r->rig->port_value & 0xff, 7);
    CHECK_EQ(r->c->cpl, 3);
    CHECK_EQ(r->c->reg[GPR_RSP], RIG_STACK);

    seg_rig_long(r, 3);
    gate(r, 0x80, SEL_CODE64);
    CHECK_EQ(run(r, caller, sizeof(caller), handler64, sizeof(handler64)), VCPU_KICKED);
    CHECK_EQ(r->rig->port_value & 0xff, 7);
    CHECK_EQ(r->c->cpl, 3);
    CHECK_EQ(r->c->reg[GPR_RSP], RIG_STACK);

    seg_rig_real(r);
    seg_rig_store(r, TAB_IDT + 0x80 * 4, 4, 0x2000);
    CHECK_EQ(run(r, caller, sizeof(caller), handler, sizeof(handler)), VCPU_KICKED);
    CHECK_EQ(r->rig->port_value & 0xff, 7);
    CHECK_EQ(r->c->reg[GPR_RSP], RIG_STACK);
}

/* A fault is pushed with the address of its instruction; the handler goes past it. */
TEST(deliver_fault_restarts)
{
    static const u8 code[] = { 0x0f, 0x0b, 0xe6, RIG_PORT, 0xeb, 0xfe }; /* ud2; out */
    static const u8 handler[] = { 0x83, 0x04, 0x24, 0x02, 0xcf }; /* add dword [esp], 2; iret */
    struct seg_rig *r = seg_rig_get();

    gate(r, VEC_UD, SEL_CODE0);
    seg_rig_ring(r, 3);
    CHECK_EQ(run(r, code, sizeof(code), handler, sizeof(handler)), VCPU_KICKED);
    CHECK_EQ(r->rig->port_writes, 1);
}

/* INT n is benign: what fails in it comes alone.  A fault in a fault's delivery is a double fault; one more, the end. */
TEST(deliver_fails)
{
    static const u8 divide[] = { 0x31, 0xc9, 0xf7, 0xf1 }; /* xor ecx, ecx; div ecx */
    static const u8 handler[] = { 0x58, 0xe6, RIG_PORT, 0xeb,
                                  0xfe }; /* pop eax; out: the error code */
    struct seg_rig *r = seg_rig_get();

    gate(r, 0x80, SEL_DATA0);
    gate(r, VEC_GP, SEL_CODE0);
    CHECK_EQ(run(r, caller, sizeof(caller), handler, sizeof(handler)), VCPU_KICKED);
    CHECK_EQ(r->rig->port_value & 0xff, SEL_DATA0);

    r = seg_rig_get();
    gate(r, VEC_DE, SEL_DATA0);
    gate(r, VEC_DF, SEL_CODE0);
    CHECK_EQ(run(r, divide, sizeof(divide), handler, sizeof(handler)), VCPU_KICKED);
    CHECK_EQ(r->rig->port_value & 0xff, 0);

    r = seg_rig_get();
    gate(r, VEC_DE, SEL_DATA0);
    CHECK_EQ(run(r, divide, sizeof(divide), handler, sizeof(handler)), VCPU_TRIPLE_FAULT);
    r->c->triple = false;
}
