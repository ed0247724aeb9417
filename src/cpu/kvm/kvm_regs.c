/*
 * cpu/kvm/kvm_regs.c: a vCPU's registers between KVM's structs and the engine-neutral state.
 * Order of setting matters: CPUID was set at open; segments and control registers before MSRs (EFER decides which are legal);
 * the local APIC after IA32_APIC_BASE and before the TSC deadline; the run state last.
 */
#include "cpu/kvm/kvm.h"

#include <stdlib.h>

#define MSR_TSC          0x10
#define MSR_TSC_DEADLINE 0x6e0

/* Where each SEG_* lies in kvm_sregs. */
static const u16 seg_at[SEG_COUNT] = {
    [SEG_ES] = offsetof(struct kvm_sregs, es),    [SEG_CS] = offsetof(struct kvm_sregs, cs),
    [SEG_SS] = offsetof(struct kvm_sregs, ss),    [SEG_DS] = offsetof(struct kvm_sregs, ds),
    [SEG_FS] = offsetof(struct kvm_sregs, fs),    [SEG_GS] = offsetof(struct kvm_sregs, gs),
    [SEG_LDTR] = offsetof(struct kvm_sregs, ldt), [SEG_TR] = offsetof(struct kvm_sregs, tr),
};

static void seg_from(struct seg_state *s, const struct kvm_segment *k)
{
    *s = (struct seg_state){
        .base = k->base,
        .limit = k->limit,
        .selector = k->selector,
        .attr = (u16)(k->type | k->s << 4 | k->dpl << 5 | k->present << 7 | k->avl << 12 |
                      k->l << 13 | k->db << 14 | k->g << 15),
        .unusable = k->unusable,
    };
}

static void seg_to(struct kvm_segment *k, const struct seg_state *s)
{
    *k = (struct kvm_segment){
        .base = s->base,
        .limit = s->limit,
        .selector = s->selector,
        .type = s->attr & 15,
        .s = s->attr >> 4 & 1,
        .dpl = s->attr >> 5 & 3,
        .present = s->attr >> 7 & 1,
        .avl = s->attr >> 12 & 1,
        .l = s->attr >> 13 & 1,
        .db = s->attr >> 14 & 1,
        .g = s->attr >> 15 & 1,
        .unusable = s->unusable,
    };
}

static void regs_from(struct vcpu_state *s, const struct kvm_regs *k)
{
    const u64 r[GPR_COUNT] = { k->rax, k->rcx, k->rdx, k->rbx, k->rsp, k->rbp, k->rsi, k->rdi,
                               k->r8,  k->r9,  k->r10, k->r11, k->r12, k->r13, k->r14, k->r15 };

    memcpy(s->reg, r, sizeof(r));
    s->rip = k->rip;
    s->rflags = k->rflags;
}

static void regs_to(struct kvm_regs *k, const struct vcpu_state *s)
{
    const u64(*r)[GPR_COUNT] = &s->reg;

    *k = (struct kvm_regs){ (*r)[GPR_RAX], (*r)[GPR_RBX], (*r)[GPR_RCX], (*r)[GPR_RDX],
                            (*r)[GPR_RSI], (*r)[GPR_RDI], (*r)[GPR_RSP], (*r)[GPR_RBP],
                            (*r)[8],       (*r)[9],       (*r)[10],      (*r)[11],
                            (*r)[12],      (*r)[13],      (*r)[14],      (*r)[15],
                            s->rip,        s->rflags };
}

static void sregs_from(struct vcpu_state *s, const struct kvm_sregs *k)
{
    for (u32 i = 0; i < SEG_COUNT; i++)
        seg_from(&s->seg[i], (const struct kvm_segment *)((const u8 *)k + seg_at[i]));
    s->gdt_base = k->gdt.base;
    s->gdt_limit = k->gdt.limit;
    s->idt_base = k->idt.base;
    s->idt_limit = k->idt.limit;
    s->cr0 = k->cr0;
    s->cr2 = k->cr2;
    s->cr3 = k->cr3;
    s->cr4 = k->cr4;
    s->cr8 = k->cr8;
    s->efer = k->efer;
    s->apic_base = k->apic_base;
}

static void sregs_to(struct kvm_sregs *k, const struct vcpu_state *s)
{
    *k = (struct kvm_sregs){ .cr0 = s->cr0,
                             .cr2 = s->cr2,
                             .cr3 = s->cr3,
                             .cr4 = s->cr4,
                             .cr8 = s->cr8,
                             .efer = s->efer,
                             .apic_base = s->apic_base };
    for (u32 i = 0; i < SEG_COUNT; i++)
        seg_to((struct kvm_segment *)((u8 *)k + seg_at[i]), &s->seg[i]);
    k->gdt.base = s->gdt_base;
    k->gdt.limit = s->gdt_limit;
    k->idt.base = s->idt_base;
    k->idt.limit = s->idt_limit;
    if (s->interrupt_injected && !s->interrupt_soft)
        k->interrupt_bitmap[s->interrupt_vector / 64] = 1ull << (s->interrupt_vector % 64);
}

static void events_from(struct vcpu_state *s, const struct kvm_vcpu_events *k)
{
    s->exception_injected = k->exception.injected;
    s->exception_pending = k->exception.pending;
    s->exception_vector = k->exception.nr;
    s->exception_has_error = k->exception.has_error_code;
    s->exception_error = k->exception.error_code;
    s->exception_has_payload = k->exception_has_payload;
    s->exception_payload = k->exception_payload;
    s->interrupt_injected = k->interrupt.injected;
    s->interrupt_vector = k->interrupt.nr;
    s->interrupt_soft = k->interrupt.soft;
    s->interrupt_shadow = k->interrupt.shadow;
    s->nmi_injected = k->nmi.injected;
    s->nmi_pending = k->nmi.pending;
    s->nmi_masked = k->nmi.masked;
    s->sipi_vector = k->sipi_vector;
}

static void events_to(struct kvm_vcpu_events *k, const struct vcpu_state *s, bool has_payload)
{
    *k = (struct kvm_vcpu_events){
        .exception = { .injected = s->exception_injected,
                       .pending = s->exception_pending,
                       .nr = s->exception_vector,
                       .has_error_code = s->exception_has_error,
                       .error_code = s->exception_error },
        .interrupt = { .injected = s->interrupt_injected,
                       .nr = s->interrupt_vector,
                       .soft = s->interrupt_soft,
                       .shadow = s->interrupt_shadow },
        .nmi = { .injected = s->nmi_injected, .pending = s->nmi_pending, .masked = s->nmi_masked },
        .sipi_vector = s->sipi_vector,
        .flags = KVM_VCPUEVENT_VALID_NMI_PENDING | KVM_VCPUEVENT_VALID_SHADOW |
                 KVM_VCPUEVENT_VALID_SIPI_VECTOR,
    };
    if (has_payload) {
        k->flags |= KVM_VCPUEVENT_VALID_PAYLOAD;
        k->exception_has_payload = s->exception_has_payload;
        k->exception_payload = s->exception_payload;
    }
}

/* Room for one batch of MSRs behind KVM's head. */
struct msr_batch {
    struct kvm_msrs head;
    struct kvm_msr_entry rows[VCPU_MSRS_MAX];
};

static int msrs_get(struct kvm_vm *k, struct kvm_vcpu *kv, struct vcpu_state *s)
{
    AUTO(free) struct msr_batch *b = xnew(struct msr_batch);
    u32 done = 0;

    s->n_msrs = 0;
    while (
        done <
        k->n_msrs) { /* KVM stops at the first that it cannot read: skip that one, go on behind it */
        int n;

        b->head.nmsrs = k->n_msrs - done;
        for (u32 i = 0; i < b->head.nmsrs; i++)
            b->rows[i] = (struct kvm_msr_entry){ .index = k->msrs[done + i] };
        n = kvm_ioctl(kv->fd, KVM_GET_MSRS, b);
        if (n < 0)
            return n;
        for (int i = 0; i < n; i++)
            s->msr[s->n_msrs++] = (struct msr_state){ b->rows[i].index, b->rows[i].data };
        done += (u32)n + 1;
    }
    return 0;
}

/* Sets `n` rows; those that this host refuses are told, not fatal. */
static int msrs_set(struct vcpu *v, const struct msr_state *rows, u32 n)
{
    struct kvm_vcpu *kv = kvm_vcpu_of(v);
    AUTO(free) struct msr_batch *b = xnew(struct msr_batch);
    u32 done = 0;

    while (done < n) {
        int r;

        b->head.nmsrs = n - done;
        for (u32 i = 0; i < b->head.nmsrs; i++)
            b->rows[i] = (struct kvm_msr_entry){ .index = rows[done + i].index,
                                                 .data = rows[done + i].value };
        r = kvm_ioctl(kv->fd, KVM_SET_MSRS, b);
        if (r < 0)
            return r;
        done += (u32)r;
        if (done == n)
            break;
        log_info("vCPU %u: this host refuses MSR 0x%x = 0x%llx", v->index, rows[done].index,
                 rows[done].value);
        done++;
    }
    return 0;
}

static int xsave_get(struct kvm_vcpu *kv, struct vcpu_state *s)
{
    static_assert(sizeof(struct kvm_xsave) == VCPU_XSAVE_SIZE,
                  "the standard XSAVE format, without dynamic features");
    struct kvm_xcrs xcrs = {};
    int r = kvm_ioctl(kv->fd, KVM_GET_XSAVE, s->xsave);

    if (r >= 0)
        r = kvm_ioctl(kv->fd, KVM_GET_XCRS, &xcrs);
    for (u32 i = 0; r >= 0 && i < xcrs.nr_xcrs; i++)
        if (xcrs.xcrs[i].xcr == 0)
            s->xcr0 = xcrs.xcrs[i].value;
    return r;
}

static int xsave_set(struct kvm_vcpu *kv, const struct vcpu_state *s)
{
    struct kvm_xcrs xcrs = { .nr_xcrs = 1, .xcrs = { { .xcr = 0, .value = s->xcr0 } } };
    u8 copy[VCPU_XSAVE_SIZE];
    int r;

    memcpy(copy, s->xsave, sizeof(copy));
    r = s->xcr0 ? kvm_ioctl(kv->fd, KVM_SET_XCRS, &xcrs) : 0;
    return r < 0 ? r : kvm_ioctl(kv->fd, KVM_SET_XSAVE, copy);
}

static int debug_get(struct kvm_vcpu *kv, struct vcpu_state *s)
{
    struct kvm_debugregs d = {};
    int r = kvm_ioctl(kv->fd, KVM_GET_DEBUGREGS, &d);

    for (u32 i = 0; i < 4; i++)
        s->dr[i] = d.db[i];
    s->dr6 = d.dr6;
    s->dr7 = d.dr7;
    return r;
}

static int debug_set(struct kvm_vcpu *kv, const struct vcpu_state *s)
{
    struct kvm_debugregs d = { .db = { s->dr[0], s->dr[1], s->dr[2], s->dr[3] },
                               .dr6 = s->dr6,
                               .dr7 = s->dr7 };

    return kvm_ioctl(kv->fd, KVM_SET_DEBUGREGS, &d);
}

static u8 run_state_from(const struct kvm_mp_state *mp)
{
    return (u8)(mp->mp_state <= KVM_MP_STATE_SIPI_RECEIVED ? mp->mp_state : KVM_MP_STATE_RUNNABLE);
}

int kvm_regs_get(struct vcpu *v, struct vcpu_state *s, struct err *e)
{
    struct kvm_vcpu *kv = kvm_vcpu_of(v);
    struct kvm_regs regs;
    struct kvm_sregs sregs;
    struct kvm_vcpu_events events;
    struct kvm_mp_state mp;
    int r;

    *s = (struct vcpu_state){};
    if ((r = kvm_ioctl(kv->fd, KVM_GET_MP_STATE, &mp)) < 0 ||
        (r = kvm_ioctl(kv->fd, KVM_GET_REGS, &regs)) < 0 ||
        (r = kvm_ioctl(kv->fd, KVM_GET_SREGS, &sregs)) < 0 ||
        (r = kvm_ioctl(kv->fd, KVM_GET_VCPU_EVENTS, &events)) < 0 || (r = xsave_get(kv, s)) < 0 ||
        (r = debug_get(kv, s)) < 0 || (r = kvm_ioctl(kv->fd, KVM_GET_LAPIC, s->lapic)) < 0 ||
        (r = msrs_get(kvm_vm_of(v->vm), kv, s)) < 0)
        return err_code(e, r, "read the registers of vCPU %u", v->index);
    regs_from(s, &regs);
    sregs_from(s, &sregs);
    events_from(s, &events);
    s->run_state = run_state_from(&mp);
    return 0;
}

/* MSRs but the deadline, then the APIC, then the deadline: arming it needs an APIC in that mode. */
static int msrs_and_apic_set(struct vcpu *v, const struct vcpu_state *s)
{
    struct kvm_vcpu *kv = kvm_vcpu_of(v);
    AUTO(free) struct vcpu_state *copy = xdup_mem(s, sizeof(*s));
    struct msr_state late = {};
    u32 n = 0;
    int r;

    for (u32 i = 0; i < s->n_msrs; i++)
        if (s->msr[i].index == MSR_TSC_DEADLINE)
            late = s->msr[i];
        else
            copy->msr[n++] = s->msr[i];
    r = msrs_set(v, copy->msr, n);
    if (r >= 0)
        r = kvm_ioctl(kv->fd, KVM_SET_LAPIC, copy->lapic);
    if (r >= 0 && late.index)
        r = msrs_set(v, &late, 1);
    return r;
}

int kvm_regs_set(struct vcpu *v, const struct vcpu_state *s, struct err *e)
{
    struct kvm_vm *k = kvm_vm_of(v->vm);
    struct kvm_vcpu *kv = kvm_vcpu_of(v);
    struct kvm_mp_state mp = { .mp_state = s->run_state };
    struct kvm_regs regs;
    struct kvm_sregs sregs;
    struct kvm_vcpu_events events;
    int r;

    must(s->n_msrs <= VCPU_MSRS_MAX);
    regs_to(&regs, s);
    sregs_to(&sregs, s);
    events_to(&events, s, k->has_payload);
    if ((r = kvm_ioctl(kv->fd, KVM_SET_REGS, &regs)) < 0 || (r = xsave_set(kv, s)) < 0 ||
        (r = kvm_ioctl(kv->fd, KVM_SET_SREGS, &sregs)) < 0 || (r = msrs_and_apic_set(v, s)) < 0 ||
        (r = debug_set(kv, s)) < 0 || (r = kvm_ioctl(kv->fd, KVM_SET_VCPU_EVENTS, &events)) < 0 ||
        (r = kvm_ioctl(kv->fd, KVM_SET_MP_STATE, &mp)) < 0)
        return err_code(e, r, "set the registers of vCPU %u", v->index);
    return 0;
}

int kvm_core_get(struct vcpu *v, struct vcpu_state *s, struct err *e)
{
    struct kvm_vcpu *kv = kvm_vcpu_of(v);
    struct kvm_regs regs;
    struct kvm_sregs sregs;
    struct kvm_mp_state mp;
    int r;

    if ((r = kvm_ioctl(kv->fd, KVM_GET_REGS, &regs)) < 0 ||
        (r = kvm_ioctl(kv->fd, KVM_GET_SREGS, &sregs)) < 0 ||
        (r = kvm_ioctl(kv->fd, KVM_GET_MP_STATE, &mp)) < 0 || (r = xsave_get(kv, s)) < 0)
        return err_code(e, r, "read the registers of vCPU %u", v->index);
    regs_from(s, &regs);
    sregs_from(s, &sregs);
    s->run_state = run_state_from(&mp);
    return 0;
}

int kvm_core_set(struct vcpu *v, const struct vcpu_state *s, struct err *e)
{
    struct kvm_vcpu *kv = kvm_vcpu_of(v);
    struct kvm_regs regs;
    struct kvm_sregs now, sregs;
    int r;

    regs_to(&regs, s);
    sregs_to(&sregs, s);
    if ((r = kvm_ioctl(kv->fd, KVM_GET_SREGS, &now)) < 0)
        return err_code(e, r, "read the registers of vCPU %u", v->index);
    memcpy(sregs.interrupt_bitmap, now.interrupt_bitmap, sizeof(sregs.interrupt_bitmap));
    if ((r = kvm_ioctl(kv->fd, KVM_SET_REGS, &regs)) < 0 || (r = xsave_set(kv, s)) < 0 ||
        (r = kvm_ioctl(kv->fd, KVM_SET_SREGS, &sregs)) < 0)
        return err_code(e, r, "set the registers of vCPU %u", v->index);
    return 0;
}
