/*
 * cpu/kvm/kvm_debug.c: break- and watchpoints and single steps for a debugger, by KVM_SET_GUEST_DEBUG.
 *   (1) Watchpoints take the four debug registers first, breakpoints what is left of them; more breakpoints are INT3s in guest
 *       memory, which all vCPUs share: kvm_patch.users says whose they are.
 *   (2) An INT3 is taken out only where it still is: a reset or the guest may have written other code there.
 *   (3) While our debug registers are in use, the guest's own do not stop it (Documentation/virt/kvm/api.rst, 4.87); what it
 *       did itself by INT3 or its trap flag is handed back to it.
 */
#include "cpu/kvm/kvm.h"
#include "cpu/walk.h"

#include <stdlib.h>

#define INT3       0xcc
#define VECTOR_DB  1
#define VECTOR_BP  3
#define DR6_POINTS 0xfull
#define DR7_GE     0x200ull
#define DR7_FIXED  0x400ull

/* R/W and LEN fields of DR7. (Intel SDM volume 3, 17.2.4) */
static u64 dr7_field(const struct cpu_point *p, u32 i)
{
    static const u8 rw[] = { [CPU_POINT_EXEC] = 0, [CPU_POINT_WRITE] = 1, [CPU_POINT_ACCESS] = 3 };
    static const u8 len[] = { [1] = 0, [2] = 1, [4] = 3, [8] = 2 };

    return 2ull << (2 * i) | (u64)(rw[p->kind] | len[p->len] << 2) << (16 + 4 * i);
}

static bool point_ok(const struct cpu_point *p)
{
    if (p->kind == CPU_POINT_EXEC)
        return p->len == 1;
    return p->kind <= CPU_POINT_ACCESS && is_pow2(p->len) && p->len <= 8 &&
           is_aligned(p->addr, p->len);
}

static struct kvm_patch *patch_at(struct kvm_vm *k, u64 gpa)
{
    for_each_row(p, k->patches)
        if (p->users && p->gpa == gpa)
            return p;
    return NULL;
}

static struct kvm_patch *patch_free_row(struct kvm_vm *k)
{
    for_each_row(p, k->patches)
        if (!p->users)
            return p;
    return NULL;
}

static void patch_remove(struct mem *m, const struct kvm_patch *p)
{
    u8 now;

    if (mem_read(m, p->gpa, &now, 1) == 0 && now == INT3)
        mem_write(m, p->gpa, &p->was, 1);
}

static void patches_drop(struct vcpu *v)
{
    u64 bit = 1ull << v->index;

    for_each_row(p, kvm_vm_of(v->vm)->patches) {
        if (!(p->users & bit))
            continue;
        p->users &= ~bit;
        if (!p->users)
            patch_remove(v->vm->mem, p);
    }
}

/* 1: there is no memory. */
static int patch_add(struct vcpu *v, const struct vcpu_state *s, u64 addr, struct err *e)
{
    static const u8 int3 = INT3;
    struct kvm_vm *k = kvm_vm_of(v->vm);
    struct kvm_patch *p;
    struct walk w;

    if (walk_gva(s, v->vm->mem, addr, &w) < 0 || !mem_at(v->vm->mem, w.gpa, 1))
        return 1;
    p = patch_at(k, w.gpa);
    if (!p) {
        p = patch_free_row(k);
        if (!p)
            return err_set(e, -ENOSPC, "breakpoint at 0x%llx: more than %d", addr, KVM_PATCHES_MAX);
        must(mem_read(v->vm->mem, w.gpa, &p->was, 1) == 0 &&
             mem_write(v->vm->mem, w.gpa, &int3, 1) == 0);
        p->gpa = w.gpa;
    }
    p->users |= 1ull << v->index;
    return 0;
}

/* How many have no memory. */
static int patches_add(struct vcpu *v, const struct cpu_point *const *points, u32 n, struct err *e)
{
    AUTO(free) struct vcpu_state *s = xnew(struct vcpu_state);
    int r = kvm_core_get(v, s, e), missing = 0;

    for (u32 i = 0; i < n && r >= 0; i++) {
        r = patch_add(v, s, points[i]->addr, e);
        missing += r > 0;
    }
    return r < 0 ? r : missing;
}

/* Debug registers for what needs them and what fits; *ret_rest: the breakpoints that are left, for INT3s. */
static int use_registers(struct kvm_vcpu *kv, const struct cpu_debug *d,
                         const struct cpu_point **ret_rest, u32 *ret_n, struct err *e)
{
    u32 used = 0, rest = 0;

    memset(kv->points, 0, sizeof(kv->points));
    for (u32 exec = 0; exec < 2; exec++) {
        for (u32 i = 0; i < d->n_points; i++) {
            const struct cpu_point *p = &d->point[i];

            if ((p->kind == CPU_POINT_EXEC) != exec)
                continue;
            if (used < KVM_HW_POINTS)
                kv->points[used++] = *p;
            else if (exec)
                ret_rest[rest++] = p;
            else
                return err_set(e, -ENOSPC, "more than %d watchpoints", KVM_HW_POINTS);
        }
    }
    *ret_n = rest;
    return 0;
}

static int apply(struct vcpu *v, bool step, bool patched, struct err *e)
{
    struct kvm_vcpu *kv = kvm_vcpu_of(v);
    struct kvm_guest_debug g = {};
    u64 dr7 = 0;
    int r;

    for (u32 i = 0; i < KVM_HW_POINTS && kv->points[i].len; i++) {
        g.arch.debugreg[i] = kv->points[i].addr;
        dr7 |= dr7_field(&kv->points[i], i);
    }
    if (dr7) {
        g.control |= KVM_GUESTDBG_USE_HW_BP;
        g.arch.debugreg[7] = dr7 | DR7_GE | DR7_FIXED;
    }
    if (patched)
        g.control |= KVM_GUESTDBG_USE_SW_BP;
    if (step)
        g.control |=
            KVM_GUESTDBG_SINGLESTEP | (kvm_vm_of(v->vm)->blocks_irq ? KVM_GUESTDBG_BLOCKIRQ : 0);
    if (g.control)
        g.control |= KVM_GUESTDBG_ENABLE;
    kv->steps = step;
    kv->debug = g;
    r = kvm_ioctl(kv->fd, KVM_SET_GUEST_DEBUG, &g);
    return r < 0 ? err_code(e, r, "set the debug registers of vCPU %u", v->index) : 0;
}

int kvm_debug_set(struct vcpu *v, const struct cpu_debug *d, struct err *e)
{
    const struct cpu_point *rest[CPU_POINTS_MAX];
    u32 n_rest = 0;
    int missing = 0, r;

    must(d->n_points <= CPU_POINTS_MAX);
    for (u32 i = 0; i < d->n_points; i++)
        must(point_ok(&d->point[i]));
    patches_drop(v);
    r = use_registers(kvm_vcpu_of(v), d, rest, &n_rest, e);
    if (r >= 0 && n_rest)
        r = missing = patches_add(v, rest, n_rest, e);
    if (r >= 0)
        r = apply(v, d->step, n_rest > 0, e);
    if (r >= 0)
        return missing;
    patches_drop(v);
    memset(kvm_vcpu_of(v)->points, 0, sizeof(kvm_vcpu_of(v)->points));
    apply(v, false, false, NULL);
    return r;
}

/* An exception that the guest made itself: it gets it. */
static void give_back(struct kvm_vcpu *kv, u32 inject)
{
    struct kvm_guest_debug g = kv->debug;

    g.control |= inject;
    kvm_ioctl(kv->fd, KVM_SET_GUEST_DEBUG, &g);
}

/* By where it lies, not by its address: the guest may run the same page under another one. */
static bool hit_patch(struct vcpu *v, u64 pc)
{
    u64 gpa;

    if (vcpu_translate(v, pc, &gpa, NULL) < 0 || !patch_at(kvm_vm_of(v->vm), gpa))
        return false;
    v->debug = (struct cpu_stop){ CPU_STOP_EXEC, pc };
    return true;
}

bool kvm_debug_stuck(struct vcpu *v)
{
    struct kvm_regs regs;
    struct kvm_sregs sregs;
    int fd = kvm_vcpu_of(v)->fd;

    return kvm_ioctl(fd, KVM_GET_REGS, &regs) >= 0 && kvm_ioctl(fd, KVM_GET_SREGS, &sregs) >= 0 &&
           hit_patch(v, sregs.cs.base + regs.rip);
}

bool kvm_debug_hit(struct vcpu *v, const struct kvm_debug_exit_arch *x)
{
    static const u8 stops[] = { [CPU_POINT_EXEC] = CPU_STOP_EXEC,
                                [CPU_POINT_WRITE] = CPU_STOP_WRITE,
                                [CPU_POINT_ACCESS] = CPU_STOP_ACCESS };
    struct kvm_vcpu *kv = kvm_vcpu_of(v);

    if (x->exception == VECTOR_BP) {
        if (hit_patch(v, x->pc))
            return true;
        give_back(kv, KVM_GUESTDBG_INJECT_BP);
        return false;
    }
    for (u32 i = 0; i < KVM_HW_POINTS; i++) {
        if (!(x->dr6 & DR6_POINTS & 1ull << i) || !kv->points[i].len)
            continue;
        v->debug = (struct cpu_stop){ stops[kv->points[i].kind], kv->points[i].addr };
        return true;
    }
    if (kv->steps) { /* some hosts do not set DR6.BS */
        v->debug = (struct cpu_stop){ CPU_STOP_STEP, x->pc };
        return true;
    }
    if (x->exception == VECTOR_DB)
        give_back(kv, KVM_GUESTDBG_INJECT_DB);
    return false;
}
