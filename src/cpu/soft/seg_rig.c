/*
 * cpu/soft/seg_rig.c: see seg_rig.h.
 */
#include "cpu/soft/seg_rig.h"

static struct seg_rig rig;

u64 seg_rig_load(const struct seg_rig *r, u64 at, u32 size)
{
    return le_load(r->ram + at, size);
}

void seg_rig_store(struct seg_rig *r, u64 at, u32 size, u64 val)
{
    le_store(r->ram + at, size, val);
}

void seg_rig_put(struct seg_rig *r, u64 at, const u64 *vals, u32 n, u32 size)
{
    for (u32 i = 0; i < n; i++)
        seg_rig_store(r, at + i * size, size, vals[i]);
}

u16 seg_rig_code(u8 cpl)
{
    static const u16 code[] = { SEL_CODE0, SEL_CODE1 | 1, SEL_CODE2 | 2, SEL_CODE3 | 3 };

    return code[cpl];
}

u16 seg_rig_data(u8 cpl)
{
    return (u16)(seg_rig_code(cpl) + 8);
}

void seg_rig_gdt(struct seg_rig *r, u16 selector, u32 base, u32 limit, u16 attr)
{
    u64 l = attr & SEG_G ? limit >> 12 : limit;
    u64 raw = (l & 0xffff) | (u64)(base & 0xffffff) << 16 | (u64)attr << 40 | (l & 0xf0000) << 32 |
              (u64)(base & 0xff000000) << 32;

    seg_rig_store(r, TAB_GDT + (selector & ~7u), 8, raw);
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
    memset(r->ram + TAB_GDT, 0, TAB_STACK - TAB_GDT);
    for (u8 i = 0; i < 4; i++) {
        seg_rig_gdt(r, seg_rig_code(i), 0, ~0u, (u16)(0xc09b | i << 5));
        seg_rig_gdt(r, seg_rig_data(i), 0, ~0u, (u16)(0xc093 | i << 5));
    }
    seg_rig_gdt(r, SEL_CODE64, 0, ~0u, 0xa09b);
    seg_rig_gdt(r, SEL_CODE64_3, 0, ~0u, 0xa0fb);
    seg_rig_gdt(r, SEL_TSS, TAB_TSS, 103, 0x8b);
    seg_rig_gdt(r, SEL_TSS2, TAB_TSS2, 103, 0x89);
    seg_rig_gdt(r, SEL_LDT, TAB_LDT, 0xfff, 0x82);
    for (u8 i = 0; i < 3; i++) {
        seg_rig_store(r, TAB_TSS + 4 + 8 * i, 4, TAB_STACK + 0x1000 * i);
        seg_rig_store(r, TAB_TSS + 8 + 8 * i, 2, seg_rig_data(i));
    }
}

void seg_rig_ring(struct seg_rig *r, u8 cpl)
{
    static const u8 segs[] = { SEG_ES, SEG_SS, SEG_DS, SEG_FS, SEG_GS };
    struct soft_cpu *c = r->c;
    u16 size = c->seg[SEG_CS].attr & (SEG_L | SEG_DB);

    c->cpl = cpl;
    c->seg[SEG_CS] = (struct seg_state){
        .selector = size & SEG_L ? (cpl ? SEL_CODE64_3 | 3 : SEL_CODE64) : seg_rig_code(cpl),
        .limit = ~0u,
        .attr = (u16)(0x809b | size | cpl << 5),
    };
    for_each_row(i, segs)
        c->seg[*i] = (struct seg_state){ .selector = seg_rig_data(cpl),
                                         .limit = ~0u,
                                         .attr = (u16)(0xc093 | cpl << 5) };
    c->rip = RIG_CODE;
    c->reg[GPR_RSP] = RIG_STACK;
    c->event.pending = false;
    soft_mode_changed(c);
}

static void common(struct seg_rig *r)
{
    struct soft_cpu *c = r->c;

    c->gdt_base = TAB_GDT;
    c->gdt_limit = 0xfff;
    c->idt_base = TAB_IDT;
    c->idt_limit = 0xfff;
    c->seg[SEG_LDTR] = seg_null(0);
    c->seg[SEG_TR] =
        (struct seg_state){ .selector = SEL_TSS, .base = TAB_TSS, .limit = 103, .attr = 0x8b };
    c->shadow = 0;
    c->nmi_masked = c->nmi_waits = false;
    c->db_pending = 0;
}

void seg_rig_long(struct seg_rig *r, u8 cpl)
{
    rig_mode(r->rig, RIG_LONG);
    common(r);
    for (u32 i = 0; i < 3; i++)
        seg_rig_store(r, TAB_TSS + 4 + 8 * i, 8, TAB_STACK + 0x1000 * i);
    for (u32 i = 1; i < 8; i++)
        seg_rig_store(r, TAB_TSS + 28 + 8 * i, 8, TAB_IST + 0x1000 * i);
    seg_rig_ring(r, cpl);
}

void seg_rig_real(struct seg_rig *r)
{
    rig_mode(r->rig, RIG_REAL);
    r->c->idt_base = TAB_IDT;
    r->c->idt_limit = 0xfff;
}

void seg_rig_vm86(struct seg_rig *r, u32 flags)
{
    struct soft_cpu *c = r->c;

    soft_set_flags(c, RF_ONE | RF_VM | flags);
    c->cpl = 3;
    for (u32 i = SEG_ES; i <= SEG_GS; i++)
        soft_seg_real(c, i, i == SEG_CS ? 0 : (u16)(0x100 + i));
    c->rip = RIG_CODE;
    c->reg[GPR_RSP] = RIG_STACK;
    soft_mode_changed(c);
}

struct seg_rig *seg_rig_get(void)
{
    if (!rig.rig) {
        rig.rig = rig_new(1);
        rig.c = rig.rig->c;
        rig.ram = rig.rig->ram;
    }
    rig_mode(rig.rig, RIG_PROT32);
    common(&rig);
    make_tables(&rig);
    seg_rig_ring(&rig, 0);
    return &rig;
}

static u32 fault_of(const struct soft_cpu *c)
{
    return FAULT(c->event.vector, c->event.has_error ? c->event.error : 0);
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
    return fault_of(r->c);
}

u32 seg_rig_run(struct seg_rig *r, const u8 *code, u32 len)
{
    rig_code(r->rig, code, len);
    r->c->event.pending = false;
    return rig_step(r->rig) == RIG_END_EXCEPTION ? fault_of(r->c) : NO_FAULT;
}
