/*
 * cpu/cpu.c: the engine contract: opens an engine for a machine, and hands each call to it.
 */
#include "cpu/engine.h"
#include "cpu/walk.h"

#include <stdlib.h>

bool cpu_engine_maps_ram(const struct engine *en)
{
    return en->maps_ram;
}

const char *cpu_engine_name(const struct engine *en)
{
    return en->name;
}

static void ioapic_send(void *arg, u64 addr, u32 data)
{
    struct cpu_vm *vm = arg;

    vm->en->msi_send(vm, addr, data);
}

static void ioapic_changed(void *arg, u32 pin)
{
    struct cpu_vm *vm = arg;

    if (vm->engine_data)
        vm->en->ioapic_changed(vm, pin);
}

/* What reset goes back to: the state in which the engine made things. */
static int keep_power_on(struct cpu_vm *vm, struct err *e)
{
    int r;

    vm->vm_power_on = xnew(struct cpu_vm_state);
    r = cpu_vm_get(vm, vm->vm_power_on, e);
    for (u32 i = 0; r >= 0 && i < vm->cfg.n_cpus; i++) {
        vm->power_on[i] = xnew(struct vcpu_state);
        r = vcpu_get(&vm->vcpus[i], vm->power_on[i], e);
    }
    return r;
}

static int open_vcpus(struct cpu_vm *vm, struct err *e)
{
    for (u32 i = 0; i < vm->cfg.n_cpus; i++) {
        struct vcpu *v = &vm->vcpus[i];
        int r;

        v->vm = vm;
        v->index = i;
        r = vm->en->vcpu_open(v, e);
        if (r < 0)
            return err_wrap(e, "vCPU %u", i);
    }
    return 0;
}

int cpu_open(const struct engine *en, const struct cpu_cfg *cfg, struct mem *m,
             const struct cpu_host *host, struct cpu_vm **ret, struct err *e)
{
    AUTO(cpu_vm) struct cpu_vm *vm = NULL;
    int r;

    if (cfg->n_cpus < 1 || cfg->n_cpus > CPU_MAX)
        return err_set(e, -EINVAL, "%u vCPUs: allowed are 1 to %u", cfg->n_cpus, CPU_MAX);
    if (cfg->legacy && cfg->irqchip == CPU_IRQCHIP_SPLIT)
        return err_set(e, -EINVAL, "a split irqchip has no PIC and PIT: use irqchip 'kernel'");
    if (cfg->icount && (en != &soft_engine || cfg->n_cpus != 1))
        return err_set(e, -EINVAL,
                       "time by count of instructions: only engine 'soft' with 1 vCPU has it");
    vm = xnew(struct cpu_vm);
    *vm = (struct cpu_vm){ .en = en, .cfg = *cfg, .mem = m, .host = *host };
    ioapic_init(&vm->ioapic, ioapic_send, ioapic_changed, vm);
    r = en->open(vm, e);
    if (r >= 0)
        r = open_vcpus(vm, e);
    if (r >= 0)
        r = keep_power_on(vm, e);
    if (r < 0)
        return err_wrap(e, "engine '%s'", en->name);
    *ret = TAKE(vm);
    return 0;
}

void cpu_close(struct cpu_vm *vm)
{
    if (!vm)
        return;
    for (u32 i = 0; i < vm->cfg.n_cpus; i++) {
        if (vm->vcpus[i].engine_data)
            vm->en->vcpu_close(&vm->vcpus[i]);
        free(vm->power_on[i]);
    }
    if (vm->engine_data)
        vm->en->close(vm);
    free(vm->vm_power_on);
    free(vm);
}

static bool is_ioapic(const struct cpu_vm *vm, u64 gpa)
{
    return vm->cfg.irqchip == CPU_IRQCHIP_SPLIT && gpa - CPU_IOAPIC_BASE < IOAPIC_SIZE;
}

void cpu_mmio_read(struct cpu_vm *vm, u64 gpa, u32 len, u64 *ret)
{
    if (unlikely(is_ioapic(vm, gpa)))
        *ret = ioapic_read(&vm->ioapic, gpa - CPU_IOAPIC_BASE, len);
    else
        vm->host.mmio_read(vm->host.arg, gpa, len, ret);
}

void cpu_mmio_write(struct cpu_vm *vm, u64 gpa, u32 len, u64 val)
{
    if (unlikely(is_ioapic(vm, gpa)))
        ioapic_write(&vm->ioapic, gpa - CPU_IOAPIC_BASE, len, val);
    else
        vm->host.mmio_write(vm->host.arg, gpa, len, val);
}

u32 cpu_count(const struct cpu_vm *vm)
{
    return vm->cfg.n_cpus;
}

struct vcpu *cpu_vcpu(struct cpu_vm *vm, u32 i)
{
    must(i < vm->cfg.n_cpus);
    return &vm->vcpus[i];
}

void vcpu_thread_init(struct vcpu *v)
{
    v->vm->en->thread_init(v);
}

enum vcpu_next vcpu_run(struct vcpu *v)
{
    return v->vm->en->run(v);
}

void vcpu_kick(struct vcpu *v)
{
    v->vm->en->kick(v);
}

void vcpu_settle(struct vcpu *v)
{
    v->vm->en->settle(v);
}

int vcpu_get(struct vcpu *v, struct vcpu_state *ret, struct err *e)
{
    return v->vm->en->get(v, ret, e);
}

int vcpu_set(struct vcpu *v, const struct vcpu_state *s, struct err *e)
{
    return v->vm->en->set(v, s, e);
}

int vcpu_regs_get(struct vcpu *v, struct vcpu_state *ret, struct err *e)
{
    const struct engine *en = v->vm->en;

    return en->regs_get ? en->regs_get(v, ret, e) : en->get(v, ret, e);
}

int vcpu_regs_set(struct vcpu *v, const struct vcpu_state *s, struct err *e)
{
    const struct engine *en = v->vm->en;

    return en->regs_set ? en->regs_set(v, s, e) : en->set(v, s, e);
}

int vcpu_debug_set(struct vcpu *v, const struct cpu_debug *d, struct err *e)
{
    static const struct cpu_debug none;
    const struct engine *en = v->vm->en;

    if (en->debug_set)
        return en->debug_set(v, d ? d : &none, e);
    if (!d || (!d->step && !d->n_points))
        return 0;
    return err_set(e, -EOPNOTSUPP, "engine '%s' has no breakpoints and steps", en->name);
}

int vcpu_translate(struct vcpu *v, u64 gva, u64 *ret_gpa, struct err *e)
{
    AUTO(free) struct vcpu_state *s = xnew(struct vcpu_state);
    struct walk w;
    int r = vcpu_regs_get(v, s, e);

    if (r < 0)
        return r;
    r = walk_gva(s, v->vm->mem, gva, &w);
    if (r < 0)
        return err_set(e, r, "vCPU %u has nothing at 0x%llx", v->index, gva);
    *ret_gpa = w.gpa;
    return 0;
}

int vcpu_reset(struct vcpu *v, struct err *e)
{
    return vcpu_set(v, v->vm->power_on[v->index], e);
}

const char *cpu_exit_name(const struct cpu_vm *vm, u32 row)
{
    return vm->en->exit_name(row);
}

const char *cpu_jit_stat(const struct vcpu *v, u32 row, u64 *ret)
{
    return v->vm->en->jit_stat ? v->vm->en->jit_stat(v, row, ret) : NULL;
}

void cpu_jit_map(struct cpu_vm *vm, struct strbuf *out)
{
    for (u32 i = 0; i < cpu_count(vm) && vm->en->jit_map; i++)
        vm->en->jit_map(cpu_vcpu(vm, i), out);
}

void cpu_irq(struct cpu_vm *vm, u32 gsi, bool level)
{
    must(gsi < CPU_GSI_PINS);
    if (vm->cfg.irqchip == CPU_IRQCHIP_SPLIT)
        ioapic_set(&vm->ioapic, gsi == 0 ? 2 : gsi, level); /* as everywhere: the timer's pin */
    else
        vm->en->irq(vm, gsi, level);
}

struct msi *cpu_msi_new(struct cpu_vm *vm)
{
    return vm->en->msi_new(vm);
}

void cpu_msi_free(struct cpu_vm *vm, struct msi *m)
{
    if (m)
        vm->en->msi_free(vm, m);
}

void cpu_msi_aim(struct cpu_vm *vm, struct msi *m, u64 addr, u32 data)
{
    vm->en->msi_aim(vm, m, addr, data);
}

void cpu_msi_fire(struct cpu_vm *vm, struct msi *m)
{
    vm->en->msi_fire(vm, m);
}

int cpu_nmi(struct vcpu *v)
{
    return v->vm->en->nmi(v);
}

int cpu_doorbell(struct cpu_vm *vm, u64 addr, u32 len, int fd, bool on)
{
    return vm->en->doorbell(vm, addr, len, fd, on);
}

int cpu_vm_get(struct cpu_vm *vm, struct cpu_vm_state *ret, struct err *e)
{
    int r;

    *ret = (struct cpu_vm_state){ .legacy = vm->cfg.legacy };
    r = vm->en->vm_get(vm, ret, e);
    if (r >= 0 && vm->cfg.irqchip == CPU_IRQCHIP_SPLIT)
        ioapic_get(&vm->ioapic, &ret->ioapic[0]);
    return r;
}

int cpu_vm_set(struct cpu_vm *vm, const struct cpu_vm_state *s, struct err *e)
{
    if (s->legacy && !vm->cfg.legacy)
        return err_set(e, -EINVAL, "the state has a PIC and a PIT, this machine has none");
    if (vm->cfg.irqchip == CPU_IRQCHIP_SPLIT)
        ioapic_put(&vm->ioapic, &s->ioapic[0]);
    return vm->en->vm_set(vm, s, e);
}

int cpu_vm_reset(struct cpu_vm *vm, struct err *e)
{
    struct cpu_vm_state s = *vm->vm_power_on, now;
    int r = cpu_vm_get(vm, &now, e);

    if (r < 0)
        return r;
    s.clock_ns = now.clock_ns; /* a reset does not turn time back */
    return cpu_vm_set(vm, &s, e);
}

void cpu_clock_stop(struct cpu_vm *vm)
{
    vm->en->clock_stop(vm);
}

void cpu_clock_start(struct cpu_vm *vm)
{
    vm->en->clock_start(vm);
}

int cpu_dirty_start(struct cpu_vm *vm, struct err *e)
{
    return vm->en->dirty_start(vm, e);
}

int cpu_dirty_take(struct cpu_vm *vm, u64 *bitmap, struct err *e)
{
    return vm->en->dirty_take(vm, bitmap, e);
}

void cpu_dirty_stop(struct cpu_vm *vm)
{
    vm->en->dirty_stop(vm);
}
