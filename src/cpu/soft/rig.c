/*
 * cpu/soft/rig.c: see rig.h.
 */
#include "cpu/soft/rig.h"

#include "cpu/soft/io.h"
#include "cpu/soft/seg.h"
#include "cpu/soft/sys.h"

#include <stdlib.h>

#define RAM_SIZE (4 * MiB)

/* Selectors of the descriptor table, which fits what rig_mode puts into the hidden parts. */
enum { SEL_CODE = 0x08, SEL_DATA = 0x10, SEL_USER_CODE = 0x1b, SEL_USER_DATA = 0x23 };

static void pio_read(void *arg [[maybe_unused]], u16 port, u32 len [[maybe_unused]], u64 *ret)
{
    *ret = port ^ 0x5a5a5a5aull;
}

static void pio_write(void *arg, u16 port, u32 len [[maybe_unused]], u64 val)
{
    struct rig *r = arg;

    if (port != RIG_PORT)
        return;
    r->port_value = val;
    r->port_writes++;
    soft_request(r->c, REQ_KICK);
}

static void mmio_read(void *arg, u64 gpa, u32 len [[maybe_unused]], u64 *ret)
{
    ((struct rig *)arg)->mmio_at = gpa;
    *ret = gpa * 0x0101010101010101ull;
}

static void mmio_write(void *arg, u64 gpa, u32 len [[maybe_unused]], u64 val)
{
    struct rig *r = arg;

    r->mmio_at = gpa;
    r->mmio_value = val;
    r->mmio_writes++;
}

struct rig *rig_open(const struct cpu_cfg *cfg, u64 ram)
{
    struct rig *r = xnew(struct rig);
    struct cpu_host host = { pio_read, pio_write, mmio_read, mmio_write, r };
    struct err e = {};

    must(mem_new(&(struct mem_cfg){ .size = ram }, &r->mem, &e) >= 0);
    must(cpu_open(&soft_engine, cfg, r->mem, &host, &r->vm, &e) >= 0);
    r->c = cpu_vcpu(r->vm, 0)->engine_data;
    r->ram = mem_at_rw(r->mem, 0, ram);
    vcpu_thread_init(cpu_vcpu(r->vm, 0));
    cpu_clock_start(r->vm);
    return r;
}

struct rig *rig_new(u32 n_cpus)
{
    return rig_open(&(struct cpu_cfg){ .n_cpus = n_cpus }, RAM_SIZE);
}

void rig_free(struct rig *r)
{
    cpu_close(r->vm);
    mem_free(r->mem);
    free(r);
}

static void put64(struct rig *r, u64 at, u64 v)
{
    memcpy(r->ram + at, &v, 8);
}

/* One PML4, one PDPT, one 1 GiB page; a GDT with flat segments. */
static void write_tables(struct rig *r, bool code64)
{
    put64(r, RIG_TABLES, (RIG_TABLES + 0x1000) | 7);
    put64(r, RIG_TABLES + 0x1000, 0x87);
    for (u32 i = 0; i < 5; i++) {
        static const u64 flat[] = { 0, 0x00cf9b000000ffff, 0x00cf93000000ffff, 0x00cffb000000ffff,
                                    0x00cff3000000ffff };
        put64(r, RIG_TABLES + 0x2000 + i * 8,
              i % 2 && code64 ? flat[i] ^ 0x0060000000000000 : flat[i]);
    }
}

static struct seg_state flat_seg(u16 selector, u16 attr)
{
    return (struct seg_state){ .limit = 0xffffffff, .selector = selector, .attr = attr };
}

static void segments(struct soft_cpu *c, enum rig_mode m, u16 dpl)
{
    static const u16 sizes[] = { [RIG_PROT32] = SEG_DB, [RIG_LONG] = SEG_L };
    u16 big = m == RIG_PROT16 ? 0 : SEG_G | (m == RIG_LONG ? 0 : SEG_DB);
    u16 code = dpl ? SEL_USER_CODE : SEL_CODE, data = dpl ? SEL_USER_DATA : SEL_DATA;

    for (u32 i = SEG_ES; i <= SEG_GS; i++)
        c->seg[i] = flat_seg(data, (u16)(0x93 | dpl << 5 | big));
    c->seg[SEG_CS] = flat_seg(code, (u16)(0x9b | dpl << 5 | sizes[m] | SEG_G));
    c->seg[SEG_TR] = flat_seg(0x28, 0x8b);
    c->seg[SEG_LDTR] = flat_seg(0, 0x82);
    c->cpl = (u8)dpl;
}

void rig_mode(struct rig *r, enum rig_mode m)
{
    struct soft_cpu *c = r->c;

    soft_cpu_init(c, false);
    write_tables(r, m == RIG_LONG);
    memset(c->reg, 0, GPR_COUNT * 8);
    c->reg[GPR_RSP] = RIG_STACK;
    c->gdt_base = RIG_TABLES + 0x2000;
    c->gdt_limit = 0x27;
    c->cr4 = CR4_OSFXSR | CR4_OSXMMEXCPT | CR4_OSXSAVE | (m == RIG_LONG ? CR4_PAE : 0);
    c->xcr0 = 7;
    c->cr0 = CR0_ET | CR0_NE;
    if (m == RIG_REAL)
        for (u32 i = SEG_ES; i <= SEG_GS; i++)
            soft_seg_real(c, i, 0);
    else
        c->cr0 |= CR0_PE;
    if (m == RIG_LONG) {
        c->cr0 |= CR0_PG;
        c->cr3 = RIG_TABLES;
        c->efer = EFER_LME | EFER_LMA | EFER_SCE | EFER_NXE;
    }
    if (m != RIG_REAL)
        segments(c, m, 0);
    soft_set_flags(c, RF_ONE);
    c->rip = RIG_CODE;
    c->event.pending = false;
    soft_tlb_flush_all(c);
    soft_mode_changed(c);
}

void rig_user(struct rig *r)
{
    enum rig_mode m = soft_long_mode(r->c)              ? RIG_LONG
                      : r->c->seg[SEG_CS].attr & SEG_DB ? RIG_PROT32
                                                        : RIG_PROT16;

    segments(r->c, m, 3);
    soft_mode_changed(r->c);
}

void rig_code(struct rig *r, const void *code, u32 len)
{
    mem_write(r->mem, RIG_CODE, code, len);
}

enum rig_end rig_run(struct rig *r, u32 max)
{
    u32 before = r->port_writes;

    switch (soft_run_test(r->c, max)) {
    case VCPU_TRIPLE_FAULT:
        return RIG_END_TRIPLE;
    case VCPU_FAILED:
        return RIG_END_EXCEPTION;
    default:
        return r->port_writes != before ? RIG_END_PORT : r->c->halted ? RIG_END_HLT : RIG_END_LIMIT;
    }
}

enum rig_end rig_step(struct rig *r)
{
    return rig_run(r, 1);
}
