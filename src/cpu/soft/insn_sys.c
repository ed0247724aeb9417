/*
 * cpu/soft/insn_sys.c: what is left of the system: halting, time, CPUID, MSRs, bases, protection keys, hypercalls, caches.
 * (Intel SDM volume 2)
 */
#include "cpu/soft/cpuid.h"
#include "cpu/soft/fpu.h"
#include "cpu/soft/io.h"
#include "cpu/soft/msr.h"
#include "cpu/soft/pv.h"
#include "cpu/soft/soft_mem.h"
#include "cpu/soft/sys.h"

#include <sched.h>

#define TRACE_DEF "cpu/trace.def"
#include "base/trace_points.h"

static void emit_fn_only(struct emit *m)
{
    m->op->fn = m->row->fn;
}

static void emit_ud(struct emit *m)
{
    m->op->fn = soft_op_ud;
}

/* The memory operand, explicit or implied. */
static void emit_mem_only(struct emit *m)
{
    for (u32 i = 0; i < m->in->operand_count; i++)
        if (m->opnd[i].type == ZYDIS_OPERAND_TYPE_MEMORY)
            emit_mem(m, &m->opnd[i]);
    m->op->fn = m->row->fn;
}

/* Waiting. */

static void op_hlt(struct soft_cpu *c, const struct uop *op)
{
    soft_need_cpl0(c, op);
    c->v->exits[SOFT_EXIT_HLT]++;
    c->halted = !atomic_exchange(&c->pv_kicked, false);
    soft_leave(c, soft_next_rip(c, op));
}

/* A spinner gives its CPU away at once where vCPUs outnumber CPUs, and after some microseconds elsewhere. */
enum { PAUSES_CROWDED = 64, PAUSES_ALONE = 512 };

static void op_pause(struct soft_cpu *c, const struct uop *op)
{
    if (unlikely(++c->pauses >= (c->vm->crowded ? PAUSES_CROWDED : PAUSES_ALONE))) {
        c->pauses = 0;
        c->v->exits[SOFT_EXIT_PAUSE]++;
        sched_yield();
    }
    UOP_NEXT;
}

static void op_monitor(struct soft_cpu *c, const struct uop *op)
{
    if (c->cpl)
        soft_raise(c, op, VEC_UD);
    if ((u32)c->reg[GPR_RCX])
        soft_raise_error(c, op, VEC_GP, 0);
    soft_ro(c, op, soft_lin(c, op, 1, ACC_READ), 1);
    UOP_NEXT;
}

/* MWAIT may end for reasons of its own: no line is watched, so it always does. */
static void op_mwait(struct soft_cpu *c, const struct uop *op)
{
    if (c->cpl)
        soft_raise(c, op, VEC_UD);
    if ((u32)c->reg[GPR_RCX] > 1)
        soft_raise_error(c, op, VEC_GP, 0);
    sched_yield();
    soft_leave(c, soft_next_rip(c, op));
}

/* Time. */

static u64 read_tsc(struct soft_cpu *c, const struct uop *op)
{
    u64 tsc;

    soft_run_alone(c, op);
    if (c->cpl && (c->cr4 & CR4_TSD))
        soft_raise_error(c, op, VEC_GP, 0);
    tsc = soft_tsc(c);
    c->reg[GPR_RAX] = (u32)tsc;
    c->reg[GPR_RDX] = tsc >> 32;
    return tsc;
}

static void op_rdtsc(struct soft_cpu *c, const struct uop *op)
{
    read_tsc(c, op);
    UOP_NEXT;
}

static void op_rdtscp(struct soft_cpu *c, const struct uop *op)
{
    read_tsc(c, op);
    c->reg[GPR_RCX] = (u32)c->msrs->tsc_aux;
    UOP_NEXT;
}

static void op_rdpid(struct soft_cpu *c, const struct uop *op)
{
    *soft_reg(c, op->dst) = (u32)c->msrs->tsc_aux;
    UOP_NEXT;
}

/* No counter exists. */
static void op_rdpmc(struct soft_cpu *c, const struct uop *op)
{
    soft_raise_error(c, op, VEC_GP, 0);
}

/* CPUID and MSRs. */

static void op_cpuid(struct soft_cpu *c, const struct uop *op)
{
    struct cpuid_regs r = soft_cpuid_query(c, (u32)c->reg[GPR_RAX], (u32)c->reg[GPR_RCX]);

    c->v->exits[SOFT_EXIT_CPUID]++;
    c->reg[GPR_RAX] = r.eax;
    c->reg[GPR_RBX] = r.ebx;
    c->reg[GPR_RCX] = r.ecx;
    c->reg[GPR_RDX] = r.edx;
    UOP_NEXT;
}

static void op_rdmsr(struct soft_cpu *c, const struct uop *op)
{
    u64 val;

    soft_run_alone(c, op);
    soft_need_cpl0(c, op);
    c->v->exits[SOFT_EXIT_MSR]++;
    if (!soft_msr_read(c, (u32)c->reg[GPR_RCX], &val))
        soft_raise_error(c, op, VEC_GP, 0);
    trace_cpu_msr_read(soft_next_rip(c, op), (u32)c->reg[GPR_RCX], val);
    c->reg[GPR_RAX] = (u32)val;
    c->reg[GPR_RDX] = val >> 32;
    UOP_NEXT;
}

static void op_wrmsr(struct soft_cpu *c, const struct uop *op)
{
    u64 val = (u64)(u32)c->reg[GPR_RDX] << 32 | (u32)c->reg[GPR_RAX];

    soft_need_cpl0(c, op);
    c->v->exits[SOFT_EXIT_MSR]++;
    trace_cpu_msr_write(soft_next_rip(c, op), (u32)c->reg[GPR_RCX], val);
    if (!soft_msr_write(c, (u32)c->reg[GPR_RCX], val))
        soft_raise_error(c, op, VEC_GP, 0);
    soft_leave(c, soft_next_rip(c, op));
}

/* FS and GS. */

static void op_swapgs(struct soft_cpu *c, const struct uop *op)
{
    u64 base = c->seg[SEG_GS].base;

    soft_need_cpl0(c, op);
    c->seg[SEG_GS].base = c->msrs->kernel_gs_base;
    c->msrs->kernel_gs_base = base;
    UOP_NEXT;
}

/* aux: bit 0 GS, bit 1 all 64 bits. */
enum { BASE_GS = 1, BASE_WIDE = 2 };

static void need_fsgsbase(struct soft_cpu *c, const struct uop *op)
{
    if (!(c->cr4 & CR4_FSGSBASE))
        soft_raise(c, op, VEC_UD);
}

static void op_rdbase(struct soft_cpu *c, const struct uop *op)
{
    u64 base = c->seg[op->aux & BASE_GS ? SEG_GS : SEG_FS].base;

    need_fsgsbase(c, op);
    *soft_reg(c, op->dst) = op->aux & BASE_WIDE ? base : (u32)base;
    UOP_NEXT;
}

static void op_wrbase(struct soft_cpu *c, const struct uop *op)
{
    u64 base = *soft_reg(c, op->src);

    need_fsgsbase(c, op);
    if (!(op->aux & BASE_WIDE))
        base = (u32)base;
    if (!soft_canonical(base))
        soft_raise_error(c, op, VEC_GP, 0);
    c->seg[op->aux & BASE_GS ? SEG_GS : SEG_FS].base = base;
    UOP_NEXT;
}

static void emit_base(struct emit *m)
{
    bool gs =
        m->row->mnemonic == ZYDIS_MNEMONIC_RDGSBASE || m->row->mnemonic == ZYDIS_MNEMONIC_WRGSBASE;

    m->op->dst = m->op->src = emit_reg(m->opnd[0].reg.value);
    m->op->aux = (u16)((gs ? BASE_GS : 0) | (m->opnd[0].size == 64 ? BASE_WIDE : 0));
    m->op->fn = m->row->fn;
}

static void emit_dst(struct emit *m)
{
    m->op->dst = emit_reg(m->opnd[0].reg.value);
    m->op->fn = m->row->fn;
}

/* Rights. */

static void set_ac(struct soft_cpu *c, const struct uop *op, u32 ac)
{
    if (c->cpl)
        soft_raise(c, op, VEC_UD);
    c->eflags = (c->eflags & ~RF_AC) | ac;
    soft_mode_changed(c);
    soft_leave(c, soft_next_rip(c, op));
}

static void op_stac(struct soft_cpu *c, const struct uop *op)
{
    set_ac(c, op, RF_AC);
}

static void op_clac(struct soft_cpu *c, const struct uop *op)
{
    set_ac(c, op, 0);
}

static void need_pke(struct soft_cpu *c, const struct uop *op)
{
    if (!(c->cr4 & CR4_PKE))
        soft_raise(c, op, VEC_UD);
    if ((u32)c->reg[GPR_RCX])
        soft_raise_error(c, op, VEC_GP, 0);
}

static void op_rdpkru(struct soft_cpu *c, const struct uop *op)
{
    need_pke(c, op);
    c->reg[GPR_RAX] = c->pkru;
    c->reg[GPR_RDX] = 0;
    UOP_NEXT;
}

static void op_wrpkru(struct soft_cpu *c, const struct uop *op)
{
    u32 old = c->pkru;

    need_pke(c, op);
    if ((u32)c->reg[GPR_RDX])
        soft_raise_error(c, op, VEC_GP, 0);
    c->pkru = (u32)c->reg[GPR_RAX];
    if (c->pkru != old) /* the TLB has the keys' rights in it */
        soft_tlb_flush_all(c);
    soft_leave(c, soft_next_rip(c, op));
}

static void op_xgetbv(struct soft_cpu *c, const struct uop *op)
{
    u32 index = (u32)c->reg[GPR_RCX];
    u64 val = c->xcr0;

    if (!(c->cr4 & CR4_OSXSAVE))
        soft_raise(c, op, VEC_UD);
    if (index > 1 || (index == 1 && !soft_has(c->vm, F_XGETBV1)))
        soft_raise_error(c, op, VEC_GP, 0);
    if (index == 1)
        val &= soft_xinuse(c);
    c->reg[GPR_RAX] = (u32)val;
    c->reg[GPR_RDX] = val >> 32;
    UOP_NEXT;
}

/* Caches: there are none to see. */

static void op_cache_all(struct soft_cpu *c, const struct uop *op)
{
    soft_need_cpl0(c, op);
    UOP_NEXT;
}

static void op_cache_line(struct soft_cpu *c, const struct uop *op)
{
    soft_ro(c, op, soft_lin(c, op, 1, ACC_READ), 1);
    UOP_NEXT;
}

static void op_hypercall(struct soft_cpu *c, const struct uop *op)
{
    c->v->exits[SOFT_EXIT_HYPERCALL]++;
    soft_pv_hypercall(c);
    soft_leave(c, soft_next_rip(c, op));
}

/* clang-format off */
const struct insn_row insn_sys_rows[] = {
    { ZYDIS_MNEMONIC_HLT,        F_ALWAYS,     INSN_ENDS | INSN_NO_FUZZ, emit_fn_only,  .fn = op_hlt },
    { ZYDIS_MNEMONIC_PAUSE,      F_ALWAYS,     0,                        emit_fn_only,  .fn = op_pause },
    { ZYDIS_MNEMONIC_MONITOR,    F_MONITOR,    INSN_NO_FUZZ,             emit_mem_only, .fn = op_monitor },
    { ZYDIS_MNEMONIC_MWAIT,      F_MONITOR,    INSN_ENDS | INSN_NO_FUZZ, emit_fn_only,  .fn = op_mwait },
    { ZYDIS_MNEMONIC_RDTSC,      F_TSC,        INSN_NO_FUZZ,             emit_fn_only,  .fn = op_rdtsc },
    { ZYDIS_MNEMONIC_RDTSCP,     F_RDTSCP,     INSN_NO_FUZZ,             emit_fn_only,  .fn = op_rdtscp },
    { ZYDIS_MNEMONIC_RDPID,      F_RDPID,      INSN_NO_FUZZ,             emit_dst,      .fn = op_rdpid },
    { ZYDIS_MNEMONIC_RDPMC,      F_ALWAYS,     INSN_ENDS | INSN_NO_FUZZ, emit_fn_only,  .fn = op_rdpmc },
    { ZYDIS_MNEMONIC_CPUID,      F_ALWAYS,     INSN_NO_FUZZ,             emit_fn_only,  .fn = op_cpuid },
    { ZYDIS_MNEMONIC_RDMSR,      F_MSR,        INSN_NO_FUZZ,             emit_fn_only,  .fn = op_rdmsr },
    { ZYDIS_MNEMONIC_WRMSR,      F_MSR,        INSN_ENDS | INSN_NO_FUZZ, emit_fn_only,  .fn = op_wrmsr },
    { ZYDIS_MNEMONIC_SWAPGS,     F_LM,         INSN_NO_FUZZ,             emit_fn_only,  .fn = op_swapgs },
    { ZYDIS_MNEMONIC_RDFSBASE,   F_FSGSBASE,   INSN_NO_FUZZ,             emit_base,     .fn = op_rdbase },
    { ZYDIS_MNEMONIC_RDGSBASE,   F_FSGSBASE,   INSN_NO_FUZZ,             emit_base,     .fn = op_rdbase },
    { ZYDIS_MNEMONIC_WRFSBASE,   F_FSGSBASE,   INSN_NO_FUZZ,             emit_base,     .fn = op_wrbase },
    { ZYDIS_MNEMONIC_WRGSBASE,   F_FSGSBASE,   INSN_NO_FUZZ,             emit_base,     .fn = op_wrbase },
    { ZYDIS_MNEMONIC_STAC,       F_SMAP,       INSN_ENDS | INSN_NO_FUZZ, emit_fn_only,  .fn = op_stac },
    { ZYDIS_MNEMONIC_CLAC,       F_SMAP,       INSN_ENDS | INSN_NO_FUZZ, emit_fn_only,  .fn = op_clac },
    { ZYDIS_MNEMONIC_RDPKRU,     F_PKU,        INSN_NO_FUZZ,             emit_fn_only,  .fn = op_rdpkru },
    { ZYDIS_MNEMONIC_WRPKRU,     F_PKU,        INSN_ENDS | INSN_NO_FUZZ, emit_fn_only,  .fn = op_wrpkru },
    { ZYDIS_MNEMONIC_XGETBV,     F_XSAVE,      INSN_NO_FUZZ,             emit_fn_only,  .fn = op_xgetbv },
    { ZYDIS_MNEMONIC_INVD,       F_ALWAYS,     INSN_NO_FUZZ,             emit_fn_only,  .fn = op_cache_all },
    { ZYDIS_MNEMONIC_WBINVD,     F_ALWAYS,     INSN_NO_FUZZ,             emit_fn_only,  .fn = op_cache_all },
    { ZYDIS_MNEMONIC_CLFLUSH,    F_CLFLUSH,    0,                        emit_mem_only, .fn = op_cache_line },
    { ZYDIS_MNEMONIC_CLFLUSHOPT, F_CLFLUSHOPT, 0,                        emit_mem_only, .fn = op_cache_line },
    { ZYDIS_MNEMONIC_CLWB,       F_CLWB,       0,                        emit_mem_only, .fn = op_cache_line },
    { ZYDIS_MNEMONIC_VMCALL,     F_ALWAYS,     INSN_ENDS | INSN_NO_FUZZ, emit_fn_only,  .fn = op_hypercall },
    { ZYDIS_MNEMONIC_VMMCALL,    F_ALWAYS,     INSN_ENDS | INSN_NO_FUZZ, emit_fn_only,  .fn = op_hypercall },
    { ZYDIS_MNEMONIC_RSM,        F_ALWAYS,     INSN_NO_FUZZ,             emit_ud },
    { ZYDIS_MNEMONIC_UD0,        F_ALWAYS,     0,                        emit_ud },
    { ZYDIS_MNEMONIC_UD1,        F_ALWAYS,     0,                        emit_ud },
    { ZYDIS_MNEMONIC_UD2,        F_ALWAYS,     0,                        emit_ud },
    {},
};
/* clang-format on */
