/*
 * cpu/soft/soft_sys_fuzz.c: any order of system register accesses, messages, port and device accesses and loaded states.
 * Input: operations of 14 bytes: {u8 which, u8 vCPU, le32 where, le64 value}.
 * Oracle: nothing crashes; the mode stays one that a CPU can be in; a state that was taken is given back the same.
 */
#include "cpu/soft/cpuid.h"
#include "cpu/soft/io.h"
#include "cpu/soft/msr.h"
#include "cpu/soft/pv.h"
#include "cpu/soft/sys.h"
#include "testlib/fuzz.h"

#include <stdlib.h>

enum { RAM = 2 * 1024 * 1024, CPUS = 2 };

static struct mem *ram;
static struct cpu_vm *vm;

static void on_read(void *, u16, u32, u64 *ret)
{
    *ret = 0;
}
static void on_write(void *, u16, u32, u64)
{
}
static void on_mmio_read(void *, u64, u32, u64 *ret)
{
    *ret = 0;
}
static void on_mmio_write(void *, u64, u32, u64)
{
}

/* One machine for all inputs: each begins with a reset. */
static void begin(void)
{
    static const struct cpu_host host = { on_read, on_write, on_mmio_read, on_mmio_write, NULL };
    static const struct cpu_cfg cfg = { .n_cpus = CPUS, .legacy = true };
    struct err e;

    if (!vm) {
        must(mem_new(&(struct mem_cfg){ .size = RAM }, &ram, &e) >= 0);
        must(cpu_open(&soft_engine, &cfg, ram, &host, &vm, &e) >= 0);
    }
    for (u32 i = 0; i < CPUS; i++)
        must(vcpu_reset(cpu_vcpu(vm, i), &e) >= 0);
    must(cpu_vm_reset(vm, &e) >= 0);
}

static void check_mode(const struct soft_cpu *c)
{
    bool paging = c->cr0 & CR0_PG, lme = c->efer & EFER_LME, lma = c->efer & EFER_LMA;

    must(!paging || (c->cr0 & CR0_PE));
    must(lma == (paging && lme));
    must(!lma || (c->cr4 & CR4_PAE));
    must(soft_cr4_ok(c, c->cr4));
    must(!(c->xcr0 & ~c->vm->cpuid->xcr0) && (c->xcr0 & 1));
    must(c->cpl <= 3);
}

/* Parts of the state without bools, which the stream's loader has checked. */
static u32 place_of(u32 where)
{
    /* clang-format off */
    static const struct {
        u32 from, to;
    } parts[] = {
        { offsetof(struct vcpu_state, reg),      offsetof(struct vcpu_state, seg) },
        { offsetof(struct vcpu_state, seg),      offsetof(struct vcpu_state, seg[0].unusable) },
        { offsetof(struct vcpu_state, seg[1]),   offsetof(struct vcpu_state, seg[1].unusable) },
        { offsetof(struct vcpu_state, seg[2]),   offsetof(struct vcpu_state, seg[2].unusable) },
        { offsetof(struct vcpu_state, gdt_base), offsetof(struct vcpu_state, xsave) + 1024 },
        { offsetof(struct vcpu_state, msr),      offsetof(struct vcpu_state, msr[100]) },
        { offsetof(struct vcpu_state, lapic),    sizeof(struct vcpu_state) },
    };
    /* clang-format on */
    u32 i = where % ARRAY_LEN(parts);

    return parts[i].from + (where >> 8) % (parts[i].to - parts[i].from - 7);
}

/* Puts `val` somewhere into the state, and tries to load it. */
static void load_state(struct soft_cpu *c, u32 where, u64 val)
{
    struct vcpu_state *s = xnew(struct vcpu_state), *t = xnew(struct vcpu_state);
    struct err e;

    must(vcpu_get(c->v, s, &e) >= 0);
    memcpy((u8 *)s + place_of(where), &val, sizeof(val));
    if (vcpu_set(c->v, s, &e) >= 0) {
        must(vcpu_get(c->v, s, &e) >= 0);
        must(vcpu_set(c->v, s, &e) >= 0);
        must(vcpu_get(c->v, t, &e) >= 0);
        /* NOLINTNEXTLINE(bugprone-suspicious-memory-comparison): both were zeroes, so padding is too */
        must(memcmp(s, t, sizeof(*s)) == 0);
    }
    free(s);
    free(t);
}

/* Indices near those that exist. */
static u32 msr_index(u32 where)
{
    static const u32 bases[] = { 0,          0x100,      0x200,     0x250,      0x400,
                                 0x800,      0x830,      0x6e0,     0x4b564d00, 0xc0000080,
                                 0xc0000100, 0xc0010000, 0xc0011020 };

    return bases[where % ARRAY_LEN(bases)] + (where >> 8) % 64;
}

static void registers(struct soft_cpu *c, u8 which, u32 where, u64 val)
{
    u64 got;

    switch (which) {
    case 0:
        if (soft_msr_write(c, msr_index(where), val))
            soft_msr_read(c, msr_index(where), &got);
        break;
    case 1:
        soft_msr_read(c, where, &got);
        break;
    case 2:
        soft_set_cr0(c, val);
        break;
    case 3:
        soft_set_cr3(c, val);
        break;
    case 4:
        soft_set_cr4(c, val);
        break;
    case 5:
        soft_set_xcr0(c, val);
        break;
    case 6:
        soft_cpuid_query(c, where, (u32)val);
        break;
    default:
        load_state(c, where, val);
        break;
    }
}

static void outside(struct soft_cpu *c, u8 which, u32 where, u64 val)
{
    u32 len = 1u << (which & 3);
    u64 gpa =
        where & 1 ? CPU_LAPIC_BASE + (where >> 4) % 4096 : CPU_IOAPIC_BASE + (where >> 4) % 256;

    switch (which >> 2 & 7) {
    case 0:
        soft_mmio_write(c, gpa, len, val);
        break;
    case 1:
        soft_mmio_read(c, gpa, len);
        break;
    case 2:
        soft_pio_write(c, (u16)where, min(len, 4u), val);
        break;
    case 3:
        soft_pio_read(c, (u16)where, min(len, 4u));
        break;
    case 4:
        soft_msi(c->vm, CPU_LAPIC_BASE | (where & 0xffffc), (u32)val);
        break;
    case 5:
        c->reg[GPR_RAX] = where % 16;
        c->reg[GPR_RBX] = c->reg[GPR_RCX] = val;
        c->reg[GPR_RDX] = where >> 8;
        c->reg[GPR_RSI] = val & 0x7ff;
        soft_pv_hypercall(c);
        break;
    default:
        cpu_irq(vm, where % CPU_GSI_PINS, val & 1);
        break;
    }
}

FUZZ(soft_sys)
{
    struct fuzz_in in = { data, size };

    begin();
    while (in.left) {
        u8 which = (u8)fuzz_take(&in, 1);
        struct soft_cpu *c = soft_cpu_of(cpu_vcpu(vm, (u32)fuzz_take(&in, 1) % CPUS));
        u32 where = (u32)fuzz_take(&in, 4);
        u64 val = fuzz_take(&in, 8);

        if (which < 128)
            registers(c, which % 8, where, val);
        else
            outside(c, which, where, val);
        check_mode(c);
    }
}
