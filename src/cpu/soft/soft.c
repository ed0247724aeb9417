/*
 * cpu/soft/soft.c: opens the software engine for a machine, makes its vCPUs, and is the engine's table.
 */
#include "base/clock.h"
#include "cpu/soft/check.h"
#include "cpu/soft/code.h"
#include "cpu/soft/cpuid.h"
#include "cpu/soft/debug.h"
#include "cpu/soft/fpu.h"
#include "cpu/soft/io.h"
#include "cpu/soft/jit/jit.h"
#include "cpu/soft/msr.h"
#include "cpu/soft/pv.h"
#include "cpu/soft/stub.h"
#include "cpu/soft/window.h"

#include <sched.h>
#include <stdlib.h>
#include <unistd.h>

/* clang-format off */
static const char *const exit_names[] = {
    [SOFT_EXIT_IO] = "io",
    [SOFT_EXIT_MMIO] = "mmio",
    [SOFT_EXIT_DOORBELL] = "doorbell",
    [SOFT_EXIT_LAPIC] = "lapic",
    [SOFT_EXIT_HLT] = "hlt",
    [SOFT_EXIT_MSR] = "msr",
    [SOFT_EXIT_CPUID] = "cpuid",
    [SOFT_EXIT_HYPERCALL] = "hypercall",
    [SOFT_EXIT_PAUSE] = "pause",
    [SOFT_EXIT_KICK] = "kick",
    [SOFT_EXIT_SHUTDOWN] = "shutdown",
};
/* clang-format on */
static_assert(ARRAY_LEN(exit_names) <= CPU_EXIT_KINDS, "exit statistics have a row for each");

static const char *soft_exit_name(u32 row)
{
    return row < ARRAY_LEN(exit_names) ? exit_names[row] : NULL;
}

/* Host CPUs that this process may use. */
static u32 host_cpus(void)
{
    cpu_set_t set;

    return sched_getaffinity(0, sizeof(set), &set) < 0 ? (u32)sysconf(_SC_NPROCESSORS_ONLN)
                                                       : (u32)CPU_COUNT(&set);
}

static int choose_cpuid(struct soft_vm *k, enum cpu_model model, struct err *e)
{
    int r;

    k->cpuid = xnew(struct soft_cpuid);
    r = soft_cpuid_init(k->cpuid, model, e);
    if (r < 0)
        return r;
    memcpy(k->features, k->cpuid->features, sizeof(k->features));
    k->gpa_mask = (1ull << k->cpuid->phys_bits) - 1;
    if (mem_end(k->mem) > k->gpa_mask)
        return err_set(e, -EINVAL, "CPU model '%s' has %u bits of physical address: too few",
                       k->cpuid->model, k->cpuid->phys_bits);
    return 0;
}

/* A device wrote to a page that holds decoded code. */
static void on_dma(void *arg, u64 page)
{
    soft_code_dma(arg, page);
}

static int soft_open(struct cpu_vm *vm, struct err *e)
{
    struct soft_vm *k = xnew(struct soft_vm);
    int r;

    vm->engine_data = k; /* cpu_close frees what is half-built */
    k->vm = vm;
    k->mem = vm->mem;
    k->ram = mem_regions(vm->mem, &k->n_ram);
    k->n_cpus = vm->cfg.n_cpus;
    k->crowded = k->n_cpus > host_cpus();
    k->icount = vm->cfg.icount;
    k->block_max = BLOCK_UOPS_MAX;
    k->jit_warm = vm->cfg.jit ? JIT_WARM : 0;
    k->code_budget = mem_size(vm->mem) < SOFT_CODE_LARGE ? SOFT_CODE_MAX / 2 : SOFT_CODE_MAX;
    k->window_after = mem_page_fd(vm->mem) >= 0 && vm->cfg.jit ? WINDOW_AFTER : 0;
    if (vm->cfg.check && !vm->cfg.jit)
        return err_set(e, -EINVAL, "engine-check: there is no translator to be checked");
    pthread_mutex_init(&k->lock, NULL);
    pthread_mutex_init(&k->exclusive, NULL);
    irqchip_init(&k->irqchip, vm->cfg.legacy, &soft_irqchip_host, k);
    r = choose_cpuid(k, vm->cfg.model, e);
    if (r >= 0)
        r = soft_decode_init();
    if (r < 0)
        return r;
    k->page_code = try_new(atomic_ullong, mem_pages(vm->mem), MEM_SIZE_MAX / MEM_PAGE * 8);
    if (!k->page_code)
        return err_set(e, -ENOMEM, "no memory for the code marks of %llu pages",
                       mem_pages(vm->mem));
    mem_watch(vm->mem, k->page_code, on_dma, k);
    return 0;
}

static void soft_close(struct cpu_vm *vm)
{
    struct soft_vm *k = soft_vm_of(vm);

    mem_watch(vm->mem, NULL, NULL, NULL);
    free(k->page_code);
    free(k->dirty);
    free(k->cpuid);
    free(k);
    vm->engine_data = NULL;
}

static void init_sleep(struct soft_cpu *c)
{
    pthread_condattr_t attr;

    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&c->awake, &attr);
    pthread_condattr_destroy(&attr);
    pthread_mutex_init(&c->sleep_lock, NULL);
}

/* Zeroed, and aligned as the vector registers in it are. */
static struct soft_cpu *cpu_new(void)
{
    struct soft_cpu *c = aligned_alloc(alignof(struct soft_cpu), sizeof(*c));

    must(c);
    memset(c, 0, sizeof(*c));
    return c;
}

static int soft_vcpu_open(struct vcpu *v, struct err *e)
{
    struct soft_vm *k = soft_vm_of(v->vm);
    struct soft_cpu *c = cpu_new();
    int r;

    v->engine_data = c;
    c->v = v;
    c->vm = k;
    c->msrs = xnew(struct soft_msrs);
    init_sleep(c);
    lapic_init(&c->lapic, v->index, k->cpuid->phys_bits, &soft_lapic_host, c);
    lapic_set_tsc_khz(&c->lapic, SOFT_TSC_KHZ);
    r = soft_tlb_init(c);
    if (r >= 0)
        r = soft_code_init(c, e);
    if (r >= 0)
        r = soft_stubs_open(c, e);
    if (r >= 0)
        r = soft_jit_open(c, e);
    if (r < 0)
        return r;
    if (v->vm->cfg.check)
        soft_check_open(c);
    k->cpus[v->index] = c;
    k->lapics[v->index] = &c->lapic;
    soft_cpu_init(c, false);
    return 0;
}

static void soft_vcpu_close(struct vcpu *v)
{
    struct soft_cpu *c = soft_cpu_of(v);

    soft_stubs_close(c); /* first: its traps are looked for in both */
    soft_window_close(c);
    soft_jit_close(c);
    soft_check_close(c);
    soft_code_fini(c);
    soft_tlb_fini(c);
    free(c->msrs);
    free(c);
    v->engine_data = NULL;
}

static void soft_thread_init(struct vcpu *v [[maybe_unused]])
{
}

static void soft_kick(struct vcpu *v)
{
    soft_request(soft_cpu_of(v), REQ_KICK);
}

/* soft_run leaves nothing under way. */
static void soft_settle(struct vcpu *v [[maybe_unused]])
{
}

static void soft_irq(struct cpu_vm *vm, u32 gsi, bool level)
{
    irqchip_line(&soft_vm_of(vm)->irqchip, gsi, level);
}

/* Entries are read when a message is sent. */
static void soft_ioapic_changed(struct cpu_vm *vm [[maybe_unused]], u32 pin [[maybe_unused]])
{
}

static int soft_nmi_one(struct vcpu *v)
{
    soft_nmi(soft_cpu_of(v));
    return 0;
}

/* The clock: guest ns.  TSCs are offsets to it, so that they stand and go with it. */

static int soft_vm_get(struct cpu_vm *vm, struct cpu_vm_state *ret, struct err *e [[maybe_unused]])
{
    struct soft_vm *k = soft_vm_of(vm);
    u64 now = soft_now_ns(k);

    ret->clock_ns = now;
    ret->tsc_khz = SOFT_TSC_KHZ;
    if (vm->cfg.irqchip != CPU_IRQCHIP_SPLIT)
        irqchip_save(&k->irqchip, ret, now);
    return 0;
}

/* The guest's time jumps, its TSCs do not; what the APICs' timers wait for moves along. */
static void clock_jump(struct soft_vm *k, u64 to_ns)
{
    u64 by = to_ns - soft_now_ns(k);

    if (k->icount)
        k->icount_ahead_ns += by;
    else if (k->clock_on)
        k->clock_base_ns -= by;
    else
        k->clock_stopped_ns += by;
    for (u32 i = 0; i < k->n_cpus; i++) {
        struct lapic *l = &k->cpus[i]->lapic;

        k->cpus[i]->msrs->tsc_offset -= by;
        if (l->expiry_ns != LAPIC_NEVER)
            l->expiry_ns += by;
        soft_pv_time_changed(k->cpus[i], false);
    }
}

static int soft_vm_set(struct cpu_vm *vm, const struct cpu_vm_state *s,
                       struct err *e [[maybe_unused]])
{
    struct soft_vm *k = soft_vm_of(vm);

    if (s->tsc_khz && s->tsc_khz != SOFT_TSC_KHZ)
        log_info("the state's TSC ran at %u kHz, this engine's runs at %u kHz: guests that read it "
                 "must follow the paravirtual clock",
                 s->tsc_khz, SOFT_TSC_KHZ);
    clock_jump(k, s->clock_ns);
    if (vm->cfg.irqchip != CPU_IRQCHIP_SPLIT)
        irqchip_load(&k->irqchip, s, soft_now_ns(k));
    return 0;
}

static void soft_clock_stop(struct cpu_vm *vm)
{
    struct soft_vm *k = soft_vm_of(vm);

    k->clock_stopped_ns = soft_now_ns(k);
    k->clock_on = false;
}

static void soft_clock_start(struct cpu_vm *vm)
{
    struct soft_vm *k = soft_vm_of(vm);

    if (k->clock_on)
        return;
    k->clock_base_ns = clock_mono_ns() - k->clock_stopped_ns;
    k->clock_on = true;
    for (u32 i = 0; i < k->n_cpus; i++) /* tells the guest's watchdogs */
        soft_pv_time_changed(k->cpus[i], true);
}

/*
 * Dirty log: the engine's own bitmap, which mem.c's write path fills while write tags are off.  Nobody waits for the vCPUs: as
 * each drops its tags (REQ_TLB), it notes the pages behind them, which it may have written to since the log was started.
 */

static u64 dirty_words(const struct soft_vm *k)
{
    return (mem_pages(k->mem) + 63) / 64;
}

static int soft_dirty_start(struct cpu_vm *vm, struct err *e)
{
    struct soft_vm *k = soft_vm_of(vm);

    if (!k->dirty)
        k->dirty = try_new(atomic_ullong, dirty_words(k), MEM_SIZE_MAX / MEM_PAGE / 8);
    if (!k->dirty)
        return err_set(e, -ENOMEM, "no memory for the dirty log");
    for (u64 i = 0; i < dirty_words(k); i++)
        atomic_store(&k->dirty[i], 0);
    atomic_store(&k->dirty_log, true);
    for (u32 i = 0; i < k->n_cpus; i++)
        soft_request(k->cpus[i], REQ_TLB);
    return 0;
}

static int soft_dirty_take(struct cpu_vm *vm, u64 *bitmap, struct err *e [[maybe_unused]])
{
    struct soft_vm *k = soft_vm_of(vm);

    for (u64 i = 0; i < dirty_words(k); i++)
        bitmap[i] |= atomic_exchange(&k->dirty[i], 0);
    return 0;
}

static void soft_dirty_stop(struct cpu_vm *vm)
{
    atomic_store(&soft_vm_of(vm)->dirty_log, false);
}

/* The local APIC tells the I/O APIC by itself. */
static const char *const unseen[] = { "cpu_eoi", NULL };

const struct engine soft_engine = {
    .name = "soft",
    .rate = soft_rate,
    .maps_ram = true,
    .unseen = unseen,
    .open = soft_open,
    .close = soft_close,
    .vcpu_open = soft_vcpu_open,
    .vcpu_close = soft_vcpu_close,
    .thread_init = soft_thread_init,
    .run = soft_run,
    .kick = soft_kick,
    .settle = soft_settle,
    .get = soft_state_get,
    .set = soft_state_set,
    .regs_set = soft_regs_set,
    .debug_set = soft_debug_set,
    .exit_name = soft_exit_name,
    .jit_stat = soft_jit_stat,
    .jit_map = soft_jit_map,
    .irq = soft_irq,
    .msi_new = soft_msi_new,
    .msi_free = soft_msi_free,
    .msi_aim = soft_msi_aim,
    .msi_fire = soft_msi_fire,
    .msi_send = soft_msi_send,
    .ioapic_changed = soft_ioapic_changed,
    .nmi = soft_nmi_one,
    .doorbell = soft_doorbell_set,
    .vm_get = soft_vm_get,
    .vm_set = soft_vm_set,
    .clock_stop = soft_clock_stop,
    .clock_start = soft_clock_start,
    .dirty_start = soft_dirty_start,
    .dirty_take = soft_dirty_take,
    .dirty_stop = soft_dirty_stop,
};
