/*
 * cpu/soft/msr.h: the model-specific registers that have no place elsewhere in a vCPU.
 */
#pragma once

#include "cpu/soft/soft.h"

enum { MTRR_VARIABLE = 8, MTRR_FIXED = 11, MC_BANKS = 4 };

#define MSR_TSC          0x10
#define MSR_APIC_BASE    0x1b
#define MSR_TSC_ADJUST   0x3b
#define MSR_MC           0x400
#define MSR_TSC_DEADLINE 0x6e0
#define MSR_EFER         0xc0000080
#define MSR_FS_BASE      0xc0000100
#define MSR_GS_BASE      0xc0000101

struct soft_msrs {
    /* Time: the guest's TSC is its ns plus tsc_offset. */
    u64 tsc_offset, tsc_adjust, tsc_aux;
    /* SYSCALL and SYSENTER. */
    u64 star, lstar, cstar, sfmask, kernel_gs_base;
    u64 sysenter_cs, sysenter_esp, sysenter_eip;
    /* Memory types.  They change nothing here. */
    u64 pat, mtrr_def, mtrr_fixed[MTRR_FIXED], mtrr_var[2 * MTRR_VARIABLE];
    /* Machine check: never reported. */
    u64 mcg_status, mc[4 * MC_BANKS];
    u64 misc_enable, spec_ctrl, debugctl, hwcr, de_cfg;
    /* Paravirtual: pv.c. */
    u64 pv_wall, pv_time, pv_steal;
    u64 pv_seen_ns,
        pv_seen_cpu_ns; /* host time, and of it on the CPU, when stolen time was looked at last */
};

/* False: there is no such register, or no such value; RDMSR and WRMSR raise #GP. */
bool soft_msr_read(struct soft_cpu *c, u32 index, u64 *ret);
bool soft_msr_write(struct soft_cpu *c, u32 index, u64 val);
/* After RESET#.  INIT changes nothing here. */
void soft_msrs_reset(struct soft_cpu *c);
/* To and from vcpu_state.msr.  get sets s->n_msrs; set skips and logs what does not exist here. */
void soft_msrs_get(struct soft_cpu *c, struct vcpu_state *s);
void soft_msrs_set(struct soft_cpu *c, const struct vcpu_state *s);
/* WRMSR of IA32_EFER with all its checks. */
bool soft_set_efer(struct soft_cpu *c, u64 val);

static inline bool soft_canonical(u64 lin)
{
    return (u64)((s64)(lin << 16) >> 16) == lin;
}
