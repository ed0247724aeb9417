/*
 * cpu/soft/seg_fuzz.c: any descriptor tables, TSS and stack under code that uses them, in every mode.
 * Input: mode and ring, RFLAGS; then images, each of fixed size: GDT, IDT, TSS, stack; the rest is code.  Exceptions are
 * delivered through these tables; a fault in a delivery ends the run.
 * Oracle: after each instruction rings, code segment and instruction pointer agree with each other.
 */
#include "cpu/soft/seg.h"

#include "cpu/soft/code.h"
#include "cpu/soft/io.h"
#include "mem/mem.h"
#include "testlib/fuzz.h"

enum {
    RAM = 1024 * 1024,
    CODE_AT = 0x1000,
    CODE_MAX = 64,
    STACK_AT = 0x8000,
    GDT_AT = 0x20000,
    IDT_AT = 0x21000,
    TSS_AT = 0x22000,
    PAGES_AT = 0x40000,
    GDT_SIZE = 256,
    IDT_SIZE = 512,
    TSS_SIZE = 128,
    STACK_SIZE = 64,
    STEPS = 64,
    MODE_REAL = 0,
    MODE_16,
    MODE_32,
    MODE_LONG,
    MODE_VM86,
    MODES,
};

static void on_read(void *arg [[maybe_unused]], u64 at [[maybe_unused]], u32 len [[maybe_unused]],
                    u64 *ret)
{
    *ret = 0;
}

static void on_write(void *arg [[maybe_unused]], u64 at [[maybe_unused]], u32 len [[maybe_unused]],
                     u64 val [[maybe_unused]])
{
}

static void on_pio_read(void *arg [[maybe_unused]], u16 port [[maybe_unused]],
                        u32 len [[maybe_unused]], u64 *ret)
{
    *ret = 0;
}

static void on_pio_write(void *arg [[maybe_unused]], u16 port [[maybe_unused]],
                         u32 len [[maybe_unused]], u64 val [[maybe_unused]])
{
}

/* The machine, made once. */
static struct soft_cpu *machine(struct mem **ret_mem)
{
    static struct mem *mem;
    static struct cpu_vm *vm;
    struct cpu_host host = { on_pio_read, on_pio_write, on_read, on_write, NULL };
    struct cpu_cfg cfg = { .n_cpus = 1 };
    struct err e;

    if (!vm) {
        must(mem_new(&(struct mem_cfg){ .size = RAM }, &mem, &e) == 0);
        must(cpu_open(&soft_engine, &cfg, mem, &host, &vm, &e) == 0);
        vcpu_thread_init(cpu_vcpu(vm, 0));
    }
    *ret_mem = mem;
    return cpu_vcpu(vm, 0)->engine_data;
}

static void take_image(struct fuzz_in *in, u8 *to, u32 size)
{
    for (u32 i = 0; i < size; i++)
        to[i] = (u8)fuzz_take(in, 1);
}

static void load_images(struct fuzz_in *in, u8 *ram)
{
    memset(ram, 0, RAM);
    le_store(ram + PAGES_AT, 8, (PAGES_AT + 0x1000) | 7);
    le_store(ram + PAGES_AT + 0x1000, 8, 0x87); /* the first GiB, for all */
    take_image(in, ram + GDT_AT, GDT_SIZE);
    take_image(in, ram + IDT_AT, IDT_SIZE);
    take_image(in, ram + TSS_AT, TSS_SIZE);
    take_image(in, ram + STACK_AT, STACK_SIZE);
    take_image(in, ram + CODE_AT, (u32)min(in->left, (size_t)CODE_MAX));
}

static void set_segments(struct soft_cpu *c, u32 mode, u8 cpl)
{
    u16 size = mode == MODE_LONG ? SEG_L : mode == MODE_32 ? SEG_DB : 0;

    c->cpl = cpl;
    for (u32 i = SEG_ES; i <= SEG_GS; i++)
        c->seg[i] = (struct seg_state){ .selector = (u16)(0x10 | cpl),
                                        .limit = ~0u,
                                        .attr = (u16)(0x8093 | SEG_DB | cpl << 5) };
    c->seg[SEG_CS] = (struct seg_state){ .selector = (u16)(0x08 | cpl),
                                         .limit = ~0u,
                                         .attr = (u16)(0x809b | size | cpl << 5) };
    c->seg[SEG_LDTR] = seg_null(0);
    c->seg[SEG_TR] =
        (struct seg_state){ .selector = 0x18, .base = TSS_AT, .limit = TSS_SIZE - 1, .attr = 0x8b };
}

static void set_mode(struct soft_cpu *c, u32 mode, u8 cpl, u32 flags)
{
    soft_cpu_init(c, false);
    soft_set_flags(c, RF_ONE | (flags & ~(RF_VM | RF_TF)) | (mode == MODE_VM86 ? RF_VM : 0));
    c->cr0 = CR0_NE | CR0_ET | (mode == MODE_REAL ? 0 : CR0_PE);
    c->cr4 = CR4_VME | CR4_PVI;
    set_segments(c, mode, mode == MODE_REAL ? 0 : mode == MODE_VM86 ? 3 : cpl);
    if (mode == MODE_REAL || mode == MODE_VM86)
        for (u32 i = SEG_ES; i <= SEG_GS; i++)
            soft_seg_real(c, i, 0);
    if (mode == MODE_LONG) {
        c->cr0 |= CR0_PG;
        c->cr4 |= CR4_PAE;
        c->cr3 = PAGES_AT;
        c->efer = EFER_LME | EFER_LMA | EFER_SCE;
    }
    c->gdt_base = GDT_AT;
    c->gdt_limit = GDT_SIZE - 1;
    c->idt_base = IDT_AT;
    c->idt_limit = IDT_SIZE - 1;
    c->reg[GPR_RSP] = STACK_AT;
    c->rip = CODE_AT;
    c->event.pending = c->in_delivery = c->triple = false;
    soft_tlb_flush_all(c);
    soft_code_flush(c);
    soft_mode_changed(c);
}

/* False: the event found no handler. */
static bool deliver(struct soft_cpu *c)
{
    struct soft_event ev = c->event;
    jmp_buf here;

    c->event.pending = false;
    c->fault = &here;
    if (setjmp(here))
        return false;
    soft_deliver(c, &ev);
    return true;
}

static void check(const struct soft_cpu *c)
{
    const struct seg_state *cs = &c->seg[SEG_CS], *ss = &c->seg[SEG_SS];

    if (!(c->cr0 & CR0_PE))
        return;
    if (c->eflags & RF_VM) {
        must(c->cpl == 3 && !soft_long_mode(c));
        must(cs->base == cs->selector * 16u && cs->limit == 0xffff && cs->attr == 0xf3);
        return;
    }
    must((cs->selector & 3) == c->cpl);
    must(cs->unusable || (seg_is_code(cs) && (cs->attr & SEG_P)));
    must(cs->unusable || (seg_is_conforming(cs) ? seg_dpl(cs) <= c->cpl : seg_dpl(cs) == c->cpl));
    must(ss->unusable || (seg_dpl(ss) == c->cpl && (ss->selector & 3) == c->cpl));
    must(soft_code64(c) || c->rip <= ~0u);
    must(!(cs->attr & SEG_L) || !soft_long_mode(c) || !(cs->attr & SEG_DB));
    must(soft_canonical(c->seg[SEG_TR].base) && soft_canonical(c->seg[SEG_LDTR].base));
}

FUZZ(seg)
{
    struct fuzz_in in = { data, size };
    struct mem *mem;
    struct soft_cpu *c = machine(&mem);
    u8 start = (u8)fuzz_take(&in, 1);
    u32 mode = (start & 15) % MODES, flags = (u32)fuzz_take(&in, 4);

    load_images(&in, mem_at_rw(mem, 0, RAM));
    set_mode(c, mode, (start >> 4) & 3, flags);
    for (u32 i = 0; i < STEPS && !c->halted && !c->triple; i++) {
        u64 cr0 = c->cr0;

        if (soft_run_test(c, 1) == VCPU_FAILED && !deliver(c))
            return;
        if ((c->cr0 ^ cr0) & CR0_PE)
            return; /* between modes segments are what they were */
        check(c);
    }
}
