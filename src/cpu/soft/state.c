/*
 * cpu/soft/state.c: a vCPU's registers between the engine's structs and the engine-neutral state; RESET# and INIT.
 * (Intel SDM volume 3, "Processor State After Reset"; KVM loads what is saved here, and the reverse)
 * Order of setting matters: the local APIC before the MSRs, since IA32_TSC_DEADLINE arms its timer; the mode last.
 */
#include "cpu/soft/code.h"
#include "cpu/soft/cpuid.h"
#include "cpu/soft/fpu.h"
#include "cpu/soft/io.h"
#include "cpu/soft/msr.h"
#include "cpu/soft/seg.h"
#include "cpu/soft/soft_mem.h"
#include "cpu/soft/sys.h"

#define CR0_RESET (CR0_CD | CR0_NW | CR0_ET)
#define DR6_RESET 0xffff0ff0ull
#define DR7_RESET 0x400ull
#define RESET_CS  0xf000
#define RESET_RIP 0xfff0

enum {
    ATTR_DATA = SEG_P | SEG_S | SEG_WRITE | SEG_ACCESS,
    ATTR_CODE = ATTR_DATA | SEG_CODE,
    ATTR_LDT = SEG_P | 2,
    ATTR_TSS = SEG_P | 11, /* 32-bit, busy */
};

static void reset_segments(struct soft_cpu *c)
{
    for (u32 i = 0; i < SEG_COUNT; i++)
        c->seg[i] = (struct seg_state){ .limit = 0xffff, .attr = ATTR_DATA };
    c->seg[SEG_CS] = (struct seg_state){
        .base = 0xffff0000, .limit = 0xffff, .selector = RESET_CS, .attr = ATTR_CODE
    };
    c->seg[SEG_LDTR].attr = ATTR_LDT;
    c->seg[SEG_TR].attr = ATTR_TSS;
    c->gdt_base = c->idt_base = 0;
    c->gdt_limit = c->idt_limit = 0xffff;
}

static void reset_events(struct soft_cpu *c)
{
    c->event = (struct soft_event){};
    c->in_delivery = c->triple = c->halted = c->nmi_masked = c->nmi_waits = false;
    c->shadow = 0;
    c->irq_wait = 0;
    c->db_pending = 0;
    atomic_store(&c->pv_kicked, false);
}

void soft_cpu_init(struct soft_cpu *c, bool is_init)
{
    u64 kept = is_init ? c->cr0 & (CR0_CD | CR0_NW) : CR0_CD | CR0_NW;

    memset(c->reg, 0, GPR_COUNT * sizeof(c->reg[0]));
    c->reg[GPR_RDX] = c->vm->cpuid->signature;
    soft_set_flags(c, RF_ONE);
    c->rip = RESET_RIP;
    c->cpl = 0;
    reset_segments(c);
    reset_events(c);
    c->cr0 = kept | CR0_ET;
    c->cr2 = c->cr3 = c->cr4 = c->efer = 0;
    memset(c->dr, 0, sizeof(c->dr));
    c->dr6 = DR6_RESET;
    c->dr7 = DR7_RESET;
    c->wait_sipi = c->v->index != 0;
    if (is_init) {
        lapic_on_init(&c->lapic);
    } else {
        c->xcr0 = XCR0_X87;
        c->pkru = 0;
        soft_fpu_init(c);
        lapic_reset(&c->lapic);
        soft_msrs_reset(c);
    }
    soft_tlb_flush_all(c);
    soft_mode_changed(c);
}

static void events_get(const struct soft_cpu *c, struct vcpu_state *s)
{
    s->exception_injected = c->event.pending && !c->event.external && !c->event.soft;
    s->exception_vector = s->exception_injected ? c->event.vector : 0;
    s->exception_has_error = s->exception_injected && c->event.has_error;
    s->exception_error = s->exception_has_error ? c->event.error : 0;
    s->interrupt_injected =
        c->event.pending && (c->event.external || c->event.soft) && c->event.vector != VEC_NMI;
    s->interrupt_vector = s->interrupt_injected ? c->event.vector : 0;
    s->interrupt_soft = s->interrupt_injected && c->event.soft;
    s->nmi_injected = c->event.pending && c->event.external && c->event.vector == VEC_NMI;
    s->interrupt_shadow = c->shadow;
    s->nmi_masked = c->nmi_masked;
    s->nmi_pending = c->nmi_waits || (atomic_load(&c->request) & REQ_NMI);
    s->sipi_vector = c->sipi_vector;
    s->run_state = c->wait_sipi ? VCPU_WAIT_SIPI : c->halted ? VCPU_HALTED : VCPU_RUNNABLE;
}

static void events_set(struct soft_cpu *c, const struct vcpu_state *s)
{
    bool exception = s->exception_injected || s->exception_pending;

    reset_events(c);
    if (exception) {
        c->event = (struct soft_event){ .pending = true,
                                        .vector = s->exception_vector & 31,
                                        .has_error = s->exception_has_error,
                                        .error = s->exception_error };
    } else if (s->interrupt_injected) {
        c->event = (struct soft_event){ .pending = true,
                                        .vector = s->interrupt_vector,
                                        .soft = s->interrupt_soft,
                                        .external = !s->interrupt_soft };
    } else if (s->nmi_injected) {
        c->event = (struct soft_event){ .pending = true, .vector = VEC_NMI, .external = true };
    }
    if (exception && s->exception_has_payload && s->exception_vector == VEC_PF)
        c->cr2 = s->exception_payload;
    if (exception && s->exception_has_payload && s->exception_vector == VEC_DB)
        c->dr6 |= s->exception_payload;
    c->shadow = s->interrupt_shadow & 3;
    c->nmi_masked = s->nmi_masked;
    c->sipi_vector = (u8)s->sipi_vector;
    c->halted = s->run_state == VCPU_HALTED;
    c->wait_sipi = s->run_state == VCPU_WAIT_SIPI || s->run_state == VCPU_INIT_RECEIVED;
    atomic_fetch_and(&c->request, ~(u32)(REQ_NMI | REQ_INIT | REQ_SIPI));
    soft_request(c, REQ_IRQ | REQ_TIMER | (s->nmi_pending ? REQ_NMI : 0));
}

int soft_state_get(struct vcpu *v, struct vcpu_state *s, struct err *e [[maybe_unused]])
{
    struct soft_cpu *c = soft_cpu_of(v);

    *s = (struct vcpu_state){};
    memcpy(s->reg, c->reg, sizeof(s->reg));
    memcpy(s->seg, c->seg, sizeof(s->seg));
    memcpy(s->dr, c->dr, sizeof(s->dr));
    s->rip = c->rip;
    s->rflags = soft_flags(c);
    s->gdt_base = c->gdt_base;
    s->gdt_limit = c->gdt_limit;
    s->idt_base = c->idt_base;
    s->idt_limit = c->idt_limit;
    s->cr0 = c->cr0;
    s->cr2 = c->cr2;
    s->cr3 = c->cr3;
    s->cr4 = c->cr4;
    s->cr8 = lapic_cr8(&c->lapic);
    s->efer = c->efer;
    s->apic_base = lapic_base(&c->lapic);
    s->xcr0 = c->xcr0;
    s->dr6 = c->dr6;
    s->dr7 = c->dr7;
    soft_fpu_save(c, s->xsave);
    events_get(c, s);
    lapic_save(&c->lapic, s->lapic, soft_time(c));
    soft_msrs_get(c, s);
    return 0;
}

#define RFLAGS_KNOWN                                                                       \
    (RF_ARITH | RF_TF | RF_IF | RF_DF | RF_IOPL | RF_NT | RF_RF | RF_VM | RF_AC | RF_VIF | \
     RF_VIP | RF_ID)

/* What no CPU can be in. */
static int check(const struct soft_cpu *c, const struct vcpu_state *s, struct err *e)
{
    bool long_mode = s->efer & EFER_LMA;

    if (s->efer & ~(u64)(EFER_SCE | EFER_LME | EFER_LMA | EFER_NXE))
        return err_set(e, -EINVAL, "EFER 0x%llx has bits that this engine does not offer", s->efer);
    if (long_mode != ((s->efer & EFER_LME) && (s->cr0 & CR0_PG)))
        return err_set(e, -EINVAL, "EFER 0x%llx and CR0 0x%llx contradict each other", s->efer,
                       s->cr0);
    if (((s->cr0 & CR0_PG) && !(s->cr0 & CR0_PE)) || (long_mode && !(s->cr4 & CR4_PAE)))
        return err_set(e, -EINVAL, "CR0 0x%llx with CR4 0x%llx cannot be", s->cr0, s->cr4);
    if (!soft_cr4_ok(c, s->cr4))
        return err_set(e, -EINVAL, "CR4 0x%llx has bits that CPU model '%s' lacks", s->cr4,
                       c->vm->cpuid->model);
    if (s->xcr0 & ~c->vm->cpuid->xcr0)
        return err_set(e, -EINVAL, "XCR0 0x%llx has components that CPU model '%s' lacks", s->xcr0,
                       c->vm->cpuid->model);
    return 0;
}

static u8 cpl_of(const struct vcpu_state *s)
{
    if (!(s->cr0 & CR0_PE))
        return 0;
    return s->rflags & RF_VM ? 3 : (u8)(s->seg[SEG_SS].attr >> 5 & 3);
}

static void registers_set(struct soft_cpu *c, const struct vcpu_state *s)
{
    memcpy(c->reg, s->reg, sizeof(s->reg));
    memcpy(c->seg, s->seg, sizeof(s->seg));
    memcpy(c->dr, s->dr, sizeof(s->dr));
    c->rip = s->rip;
    soft_set_flags(c, (u32)s->rflags & RFLAGS_KNOWN);
    c->gdt_base = s->gdt_base;
    c->gdt_limit = s->gdt_limit;
    c->idt_base = s->idt_base;
    c->idt_limit = s->idt_limit;
    c->cr0 = (u32)s->cr0 | CR0_ET;
    c->cr2 = s->cr2;
    c->cr3 = s->cr3 & c->vm->gpa_mask;
    c->cr4 = s->cr4;
    c->efer = s->efer;
    c->xcr0 = s->xcr0 | XCR0_X87;
    c->dr6 = s->dr6 | DR6_RESET;
    c->dr7 = (u32)s->dr7 | DR7_RESET;
    c->cpl = cpl_of(s);
}

int soft_state_set(struct vcpu *v, const struct vcpu_state *s, struct err *e)
{
    struct soft_cpu *c = soft_cpu_of(v);
    int r = check(c, s, e);

    if (r >= 0)
        r = soft_fpu_load(c, s->xsave, e);
    if (r >= 0 && lapic_load(&c->lapic, s->lapic, s->apic_base, soft_time(c)) < 0)
        r = err_set(e, -EINVAL, "IA32_APIC_BASE 0x%llx cannot be", s->apic_base);
    if (r < 0)
        return err_wrap(e, "vCPU %u", v->index);
    registers_set(c, s);
    events_set(c, s);
    soft_msrs_set(c, s);
    lapic_set_cr8(&c->lapic, s->cr8 & 15);
    soft_tlb_flush_all(c);
    soft_code_flush(c); /* memory may have been loaded with it */
    soft_mode_changed(c);
    return 0;
}

/* What a debugger changes: no clock, no local APIC, no MSR. */
int soft_regs_set(struct vcpu *v, const struct vcpu_state *s, struct err *e)
{
    struct soft_cpu *c = soft_cpu_of(v);
    int r = check(c, s, e);

    if (r >= 0)
        r = soft_fpu_load(c, s->xsave, e);
    if (r < 0)
        return err_wrap(e, "vCPU %u", v->index);
    registers_set(c, s);
    lapic_set_cr8(&c->lapic, s->cr8 & 15);
    soft_tlb_flush_all(c);
    soft_code_flush(c); /* the debugger may have written to code, too */
    soft_mode_changed(c);
    return 0;
}
