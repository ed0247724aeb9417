/*
 * cpu/soft/seg_rig.c: see seg_rig.h.
 */
#include "cpu/soft/seg_rig.h"

#include "cpu/soft/code.h"
#include "testlib/test.h"

static u8 ram[RIG_RAM] __attribute__((aligned(4096)));
static atomic_ullong page_code[RIG_RAM / 4096];
static const struct mem_region regions[] = {
    { .gpa = 0, .size = RIG_RAM, .host = ram, .fd_offset = 0 }
};

static struct soft_msrs msrs;
static struct vcpu vcpu;
static struct soft_vm vm;
static struct soft_cpu cpu;
static struct seg_rig rig = { .c = &cpu, .ram = ram };

u64 seg_rig_load(const struct seg_rig *r, u64 at, u32 size)
{
    must(range_ok(at, size, RIG_RAM));
    return le_load(r->ram + at, size);
}

void seg_rig_store(struct seg_rig *r, u64 at, u32 size, u64 val)
{
    must(range_ok(at, size, RIG_RAM));
    le_store(r->ram + at, size, val);
}

void seg_rig_gdt(struct seg_rig *r, u16 selector, u32 base, u32 limit, u16 attr)
{
    u64 l = attr & SEG_G ? limit >> 12 : limit;
    u64 raw = (l & 0xffff) | (u64)(base & 0xffffff) << 16 | (u64)attr << 40 | (l & 0xf0000) << 32 |
              (u64)(base & 0xff000000) << 32;

    seg_rig_store(r, RIG_GDT + (selector & ~7u), 8, raw);
}

void seg_rig_gate(struct seg_rig *r, u64 at, const struct seg_gate *g)
{
    u64 attr = g->type | (u64)g->dpl << 5 | (u64)g->present << 7;

    seg_rig_store(r, at, 8,
                  (g->offset & 0xffff) | (u64)g->selector << 16 | (u64)g->count << 32 | attr << 40 |
                      (g->offset & 0xffff0000) << 32);
    if (soft_long_mode(r->c))
        seg_rig_store(r, at + 8, 8, g->offset >> 32);
}

static void make_tables(struct seg_rig *r)
{
    static const struct {
        u16 code, data;
    } rings[] = {
        { SEL_CODE0, SEL_DATA0 },
        { SEL_CODE1, SEL_DATA1 },
        { SEL_CODE2, SEL_DATA2 },
        { SEL_CODE3, SEL_DATA3 },
    };

    for (u16 i = 0; i < 4; i++) {
        seg_rig_gdt(r, rings[i].code, 0, ~0u, (u16)(0xc09b | i << 5));
        seg_rig_gdt(r, rings[i].data, 0, ~0u, (u16)(0xc093 | i << 5));
    }
    seg_rig_gdt(r, SEL_CODE64, 0, ~0u, 0xa09b);
    seg_rig_gdt(r, SEL_CODE64_3, 0, ~0u, 0xa0fb);
    seg_rig_gdt(r, SEL_TSS, RIG_TSS, 103, 0x8b);
    seg_rig_gdt(r, SEL_TSS2, RIG_TSS2, 103, 0x89);
    seg_rig_gdt(r, SEL_LDT, RIG_LDT, 0xfff, 0x82);
    for (u32 i = 0; i < 3; i++) {
        seg_rig_store(r, RIG_TSS + 4 + 8 * i, 4, RIG_STACK1 + 0x1000 * i);
        seg_rig_store(r, RIG_TSS + 8 + 8 * i, 2, rings[i].data | i);
    }
}

void seg_rig_ring(struct seg_rig *r, u8 cpl)
{
    static const u16 code[] = { SEL_CODE0, SEL_CODE1, SEL_CODE2, SEL_CODE3 };
    static const u8 segs[] = { SEG_ES, SEG_SS, SEG_DS, SEG_FS, SEG_GS };
    struct seg_state s = { .selector = (u16)(code[cpl] | cpl),
                           .limit = ~0u,
                           .attr = (u16)(0xc09b | cpl << 5) };

    r->c->cpl = cpl;
    r->c->seg[SEG_CS] = s;
    s.selector = (u16)((code[cpl] + 8) | cpl);
    s.attr = (u16)(0xc093 | cpl << 5);
    for_each_row(i, segs)
        r->c->seg[*i] = s;
    soft_mode_changed(r->c);
}

void seg_rig_long(struct seg_rig *r)
{
    r->c->efer |= EFER_LME | EFER_LMA | EFER_SCE;
    seg_rig_ring(r, 0);
    r->c->seg[SEG_CS].attr = 0xa09b;
    r->c->seg[SEG_CS].selector = SEL_CODE64;
    for (u32 i = 0; i < 3; i++)
        seg_rig_store(r, RIG_TSS + 4 + 8 * i, 8, RIG_STACK1 + 0x1000 * i);
    for (u32 i = 1; i < 8; i++)
        seg_rig_store(r, RIG_TSS + 28 + 8 * i, 8, 0x20000 + 0x1000 * i);
    soft_mode_changed(r->c);
}

static void wire(void)
{
    static bool done;

    if (done)
        return;
    done = true;
    vm.ram = regions;
    vm.n_ram = ARRAY_LEN(regions);
    vm.gpa_mask = (1ull << 40) - 1;
    vm.page_code = page_code;
    vm.cpus[0] = &cpu;
    vm.n_cpus = 1;
    cpu.vm = &vm;
    cpu.v = &vcpu;
    cpu.msrs = &msrs;
    must(soft_tlb_init(&cpu) == 0);
}

struct seg_rig *seg_rig_get(void)
{
    struct soft_cpu *c = &cpu;

    wire();
    memset(ram, 0, sizeof(ram));
    memset(c->reg, 0, sizeof(c->reg));
    memset(c->seg, 0, sizeof(c->seg));
    c->cr0 = CR0_PE;
    c->cr4 = c->efer = c->cr3 = c->dr7 = c->db_pending = 0;
    c->shadow = 0;
    c->nmi_masked = false;
    c->gdt_base = RIG_GDT;
    c->gdt_limit = 0xfff;
    c->idt_base = RIG_IDT;
    c->idt_limit = 0xfff;
    c->seg[SEG_LDTR] = seg_null(0);
    c->seg[SEG_TR] =
        (struct seg_state){ .selector = SEL_TSS, .base = RIG_TSS, .limit = 103, .attr = 0x8b };
    c->reg[GPR_RSP] = RIG_STACK;
    c->rip = 0x400;
    c->event = (struct soft_event){ 0 };
    soft_set_flags(c, RF_ONE);
    soft_tlb_flush_all(c);
    make_tables(&rig);
    seg_rig_ring(&rig, 0);
    return &rig;
}

u32 seg_rig_try(struct seg_rig *r, void (*fn)(struct seg_rig *r, void *arg), void *arg)
{
    jmp_buf here;

    r->c->fault = &here;
    r->c->in_delivery = false;
    if (setjmp(here) == 0) {
        fn(r, arg);
        return NO_FAULT;
    }
    return FAULT(r->c->event.vector, r->c->event.has_error ? r->c->event.error : 0);
}
