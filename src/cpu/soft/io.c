/*
 * cpu/soft/io.c: what is not RAM: device registers, ports, doorbells, interrupt messages; and the machine's time.
 *   (1) A message is decoded and routed by cpu/lapic_route.c, then put into each local APIC by its atomic operations: no lock,
 *       any thread.
 *   (2) vm->lock guards the tables of messages and doorbells.  A doorbell is signalled under it, so that its descriptor is still
 *       the one that was meant; addresses outside [bell_low, bell_high) are told from doorbells without it.
 */
#include "cpu/soft/io.h"

#include "base/clock.h"
#include "cpu/soft/msr.h"

#define TRACE_DEF "cpu/trace.def"
#include "base/trace_points.h"

/* Time. */

u64 soft_now_ns(struct soft_vm *vm)
{
    if (vm->icount) /* one instruction of the first vCPU is 1 ns */
        return soft_insns(vm->cpus[0]) + vm->icount_ahead_ns;
    return vm->clock_on ? clock_mono_ns() - vm->clock_base_ns : vm->clock_stopped_ns;
}

void soft_icount_skip(struct soft_cpu *c, u64 ns)
{
    u64 now = soft_now_ns(c->vm);

    if (ns != LAPIC_NEVER && ns > now)
        c->vm->icount_ahead_ns += ns - now;
}

u64 soft_tsc(struct soft_cpu *c)
{
    return soft_now_ns(c->vm) + c->msrs->tsc_offset;
}

struct lapic_time soft_time(struct soft_cpu *c)
{
    u64 now = soft_now_ns(c->vm);

    return (struct lapic_time){ now, now + c->msrs->tsc_offset };
}

/* Dirty log. */

void soft_dirty_host(struct soft_vm *vm, const u8 *at)
{
    for (const struct mem_region *r = vm->ram; r < vm->ram + vm->n_ram; r++)
        if (at >= r->host && at < r->host + r->size)
            soft_dirty(vm, (r->fd_offset + (u64)(at - r->host)) / MEM_PAGE);
}

/* Interrupts. */

/* Is the I/O APIC the machine's, not ours? */
static bool split(const struct soft_cpu *c)
{
    return c->vm->vm->cfg.irqchip == CPU_IRQCHIP_SPLIT;
}

void soft_nmi(struct soft_cpu *c)
{
    soft_request(c, REQ_NMI);
}

static void deliver(struct soft_cpu *c, const struct lapic_msg *m)
{
    switch (m->delivery) {
    case LAPIC_FIXED:
    case LAPIC_LOWEST:
        lapic_accept(&c->lapic, m->vector, m->level);
        break;
    case LAPIC_NMI:
        soft_nmi(c);
        break;
    case LAPIC_INIT:
        soft_request(c, REQ_INIT);
        break;
    case LAPIC_SIPI:
        c->sipi_vector = m->vector;
        soft_request(c, REQ_SIPI);
        break;
    case LAPIC_SMI: /* there is no system management mode */
    case LAPIC_EXTINT:
        break;
    }
}

void soft_msg(struct soft_vm *vm, const struct soft_cpu *from, const struct lapic_msg *m)
{
    u64 to = lapic_route(vm->lapics, vm->n_cpus, from ? &from->lapic : NULL, m);

    for (; to; to &= to - 1)
        deliver(vm->cpus[__builtin_ctzll(to)], m);
}

void soft_msi(struct soft_vm *vm, u64 addr, u32 data)
{
    struct lapic_msg m;

    if (lapic_msg_of_msi(&m, addr, data))
        soft_msg(vm, NULL, &m);
}

static void on_send(void *arg, const struct lapic_msg *m)
{
    struct soft_cpu *c = arg;

    soft_msg(c->vm, c, m);
}

static void on_eoi(void *arg, u8 vector)
{
    struct soft_cpu *c = arg;

    if (split(c))
        ioapic_eoi(&c->vm->vm->ioapic, vector);
    else
        irqchip_eoi(&c->vm->irqchip, vector);
}

static void on_wake(void *arg)
{
    soft_request(arg, REQ_IRQ);
}

/* INTR of the 8259s. */
static void on_intr(void *arg, bool level)
{
    struct soft_vm *vm = arg;

    atomic_store(&vm->pic_intr, level);
    if (level && vm->cpus[0])
        soft_request(vm->cpus[0], REQ_IRQ);
}

static void on_ioapic_send(void *arg, u64 addr, u32 data)
{
    soft_msi(arg, addr, data);
}

const struct irqchip_host soft_irqchip_host = { .send = on_ioapic_send, .intr = on_intr };
const struct lapic_host soft_lapic_host = { .send = on_send, .eoi = on_eoi, .wake = on_wake };

struct msi *soft_msi_new(struct cpu_vm *vm)
{
    struct soft_vm *k = soft_vm_of(vm);
    struct msi *found = NULL;

    pthread_mutex_lock(&k->lock);
    for (u32 i = 0; i < CPU_MSI_MAX && !found; i++)
        if (!k->msis[i].used)
            found = &k->msis[i];
    if (found)
        *found = (struct msi){ .used = true };
    pthread_mutex_unlock(&k->lock);
    return found;
}

void soft_msi_free(struct cpu_vm *vm, struct msi *m)
{
    struct soft_vm *k = soft_vm_of(vm);

    pthread_mutex_lock(&k->lock);
    *m = (struct msi){};
    pthread_mutex_unlock(&k->lock);
}

void soft_msi_aim(struct cpu_vm *vm, struct msi *m, u64 addr, u32 data)
{
    struct soft_vm *k = soft_vm_of(vm);

    pthread_mutex_lock(&k->lock);
    m->addr = addr;
    m->data = data;
    pthread_mutex_unlock(&k->lock);
}

void soft_msi_fire(struct cpu_vm *vm, struct msi *m)
{
    struct soft_vm *k = soft_vm_of(vm);
    struct msi now;

    pthread_mutex_lock(&k->lock);
    now = *m;
    pthread_mutex_unlock(&k->lock);
    soft_msi(k, now.addr, now.data);
}

void soft_msi_send(struct cpu_vm *vm, u64 addr, u32 data)
{
    soft_msi(soft_vm_of(vm), addr, data);
}

/* Doorbells: sorted by address. */

/* First one at or above `addr`. */
static u32 bell_search(const struct soft_vm *vm, u64 addr)
{
    u32 low = 0, high = vm->n_doorbells;

    while (low < high) {
        u32 mid = (low + high) / 2;

        if (vm->doorbells[mid].addr < addr)
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

static void bell_bounds(struct soft_vm *vm)
{
    u32 n = vm->n_doorbells;

    atomic_store(&vm->bell_low, n ? vm->doorbells[0].addr : 0);
    atomic_store(&vm->bell_high, n ? vm->doorbells[n - 1].addr + 1 : 0);
}

static int bell_add(struct soft_vm *vm, const struct soft_doorbell *b)
{
    u32 at = bell_search(vm, b->addr);

    if (vm->n_doorbells == SOFT_DOORBELLS_MAX)
        return -ENOSPC;
    memmove(&vm->doorbells[at + 1], &vm->doorbells[at],
            (vm->n_doorbells - at) * sizeof(vm->doorbells[0]));
    vm->doorbells[at] = *b;
    vm->n_doorbells++;
    return 0;
}

static int bell_remove(struct soft_vm *vm, const struct soft_doorbell *b)
{
    for (u32 i = bell_search(vm, b->addr); i < vm->n_doorbells && vm->doorbells[i].addr == b->addr;
         i++) {
        if (vm->doorbells[i].fd != b->fd || vm->doorbells[i].len != b->len)
            continue;
        vm->n_doorbells--;
        memmove(&vm->doorbells[i], &vm->doorbells[i + 1],
                (vm->n_doorbells - i) * sizeof(vm->doorbells[0]));
        return 0;
    }
    return -ENOENT;
}

int soft_doorbell_set(struct cpu_vm *vm, u64 addr, u32 len, int fd, bool on)
{
    struct soft_vm *k = soft_vm_of(vm);
    struct soft_doorbell b = { addr, len, fd };
    int r;

    pthread_mutex_lock(&k->lock);
    r = on ? bell_add(k, &b) : bell_remove(k, &b);
    bell_bounds(k);
    pthread_mutex_unlock(&k->lock);
    return r;
}

bool soft_doorbell(struct soft_vm *vm, u64 gpa, u32 len)
{
    bool hit = false;

    if (gpa < atomic_load_explicit(&vm->bell_low, memory_order_relaxed) ||
        gpa >= atomic_load_explicit(&vm->bell_high, memory_order_relaxed))
        return false;
    pthread_mutex_lock(&vm->lock);
    for (u32 i = bell_search(vm, gpa); i < vm->n_doorbells && vm->doorbells[i].addr == gpa; i++) {
        if (vm->doorbells[i].len && vm->doorbells[i].len != len)
            continue;
        fd_event_signal(vm->doorbells[i].fd);
        hit = true;
    }
    pthread_mutex_unlock(&vm->lock);
    return hit;
}

/* Device registers and ports. */

static void timer_moved(struct soft_cpu *c, u64 before)
{
    if (lapic_deadline_ns(&c->lapic) != before)
        soft_request(c, REQ_TIMER);
}

u64 soft_mmio_read(struct soft_cpu *c, u64 gpa, u32 len)
{
    u64 val = ~0ull;

    if (lapic_covers(&c->lapic, gpa)) {
        c->v->exits[SOFT_EXIT_LAPIC]++;
        val = lapic_read(&c->lapic, gpa % LAPIC_SIZE, len, soft_time(c));
        trace_cpu_mmio_read(gpa, len, val);
        return val;
    }
    c->v->exits[SOFT_EXIT_MMIO]++;
    if (split(c) || !irqchip_mmio_read(&c->vm->irqchip, gpa, len, &val))
        cpu_mmio_read(c->vm->vm, gpa, len, &val);
    trace_cpu_mmio_read(gpa, len, val);
    return val;
}

void soft_mmio_write(struct soft_cpu *c, u64 gpa, u32 len, u64 val)
{
    trace_cpu_mmio_write(gpa, len, val);
    if (lapic_covers(&c->lapic, gpa)) {
        u64 before = lapic_deadline_ns(&c->lapic);

        c->v->exits[SOFT_EXIT_LAPIC]++;
        lapic_write(&c->lapic, gpa % LAPIC_SIZE, len, val, soft_time(c));
        timer_moved(c, before);
        return;
    }
    if (soft_doorbell(c->vm, gpa, len)) {
        c->v->exits[SOFT_EXIT_DOORBELL]++;
        return;
    }
    c->v->exits[SOFT_EXIT_MMIO]++;
    if (split(c) || !irqchip_mmio_write(&c->vm->irqchip, gpa, len, val))
        cpu_mmio_write(c->vm->vm, gpa, len, val);
}

u64 soft_pio_read(struct soft_cpu *c, u16 port, u32 len)
{
    const struct cpu_host *h = &c->vm->vm->host;
    u64 val = ~0ull;

    c->v->exits[SOFT_EXIT_IO]++;
    if (!irqchip_pio_read(&c->vm->irqchip, port, len, soft_now_ns(c->vm), &val))
        h->pio_read(h->arg, port, len, &val);
    trace_cpu_pio_read(port, len, val);
    return val;
}

void soft_pio_write(struct soft_cpu *c, u16 port, u32 len, u64 val)
{
    const struct cpu_host *h = &c->vm->vm->host;

    c->v->exits[SOFT_EXIT_IO]++;
    trace_cpu_pio_write(port, len, val);
    if (irqchip_pio_write(&c->vm->irqchip, port, len, val, soft_now_ns(c->vm)))
        soft_request(c->vm->cpus[0], REQ_TIMER); /* it watches the 8254 */
    else
        h->pio_write(h->arg, port, len, val);
}
