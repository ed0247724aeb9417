/*
 * cpu/vcpu_state.c: the tables of the engine-neutral CPU state.
 */
#include "cpu/vcpu_state.h"

static int vcpu_state_check(void *obj, struct err *e)
{
    const struct vcpu_state *s = obj;

    if (s->n_msrs > VCPU_MSRS_MAX)
        return err_set(e, -EBADMSG, "%u MSRs, at most %u are allowed", s->n_msrs, VCPU_MSRS_MAX);
    if (s->run_state > VCPU_SIPI_RECEIVED)
        return err_set(e, -EBADMSG, "run state %u does not exist", s->run_state);
    return 0;
}

STATE_TABLE(seg_state, SEG_STATE);
STATE_TABLE(msr_state, MSR_STATE);
STATE_TABLE(vcpu_state, VCPU_STATE, .after_load = vcpu_state_check);
STATE_TABLE(pic_state, PIC_STATE);
STATE_TABLE(cpu_vm_state, CPU_VM_STATE);
