/*
 * cpu/kvm/kvm_irq.c: interrupt lines, messages (irqfd over the GSI routing table), and the in-kernel controllers' state.
 *   (1) GSI 0..23 are the pins; a message has a GSI of its own above them and an eventfd, so that a thread that may only
 *       write() can raise it, and so may vhost.
 *   (2) KVM_SET_GSI_ROUTING replaces the whole table: it is rebuilt from what we know under `lock`.
 */
#include "base/clock.h"
#include "cpu/kvm/kvm.h"

#include <stdlib.h>
#include <unistd.h>

static bool split(const struct cpu_vm *vm)
{
    return vm->cfg.irqchip == CPU_IRQCHIP_SPLIT;
}

static struct kvm_irq_routing_entry *entry_add(struct kvm_irq_routing *r, u32 gsi, u32 type)
{
    struct kvm_irq_routing_entry *en = &r->entries[r->nr++];

    *en = (struct kvm_irq_routing_entry){ .gsi = gsi, .type = type };
    return en;
}

static void add_msi(struct kvm_irq_routing *r, u32 gsi, u64 addr, u32 data)
{
    struct kvm_irq_routing_entry *en = entry_add(r, gsi, KVM_IRQ_ROUTING_MSI);

    en->u.msi.address_lo = (u32)addr;
    en->u.msi.address_hi = (u32)(addr >> 32);
    en->u.msi.data = data;
}

/* The ISA timer, GSI 0, arrives at IOAPIC pin 2, as on every PC (and as the MADT's override says). */
static void add_kernel_pin(struct kvm_irq_routing *r, u32 gsi)
{
    u32 pin = gsi == 0 ? 2 : gsi;

    if (gsi < 16) {
        struct kvm_irq_routing_entry *pic = entry_add(r, gsi, KVM_IRQ_ROUTING_IRQCHIP);

        pic->u.irqchip.irqchip = gsi < 8 ? KVM_IRQCHIP_PIC_MASTER : KVM_IRQCHIP_PIC_SLAVE;
        pic->u.irqchip.pin = gsi % 8;
    }
    if (gsi == 2)
        return;
    struct kvm_irq_routing_entry *io = entry_add(r, gsi, KVM_IRQ_ROUTING_IRQCHIP);
    io->u.irqchip.irqchip = KVM_IRQCHIP_IOAPIC;
    io->u.irqchip.pin = pin;
}

/* With `lock` held. */
static int routing_set(struct cpu_vm *vm)
{
    struct kvm_vm *k = kvm_vm_of(vm);
    struct kvm_irq_routing *r = k->routing;

    r->nr = 0;
    for (u32 pin = 0; pin < CPU_GSI_PINS; pin++) {
        if (!split(vm)) {
            add_kernel_pin(r, pin);
            continue;
        }
        struct ioapic_msg m =
            ioapic_msg_of(&vm->ioapic, pin); /* KVM reads from here which EOIs we want to see */
        if (!m.masked)
            add_msi(r, pin, m.addr, m.data);
    }
    for_each_row(m, k->msis)
        if (m->used && m->aimed)
            add_msi(r, m->gsi, m->addr, m->data);
    return kvm_ioctl(k->fd, KVM_SET_GSI_ROUTING, r);
}

int kvm_irq_open(struct cpu_vm *vm, struct err *e)
{
    struct kvm_vm *k = kvm_vm_of(vm);
    struct kvm_pit_config pit = { .flags = KVM_PIT_SPEAKER_DUMMY };
    struct kvm_enable_cap cap = { .cap = KVM_CAP_SPLIT_IRQCHIP, .args = { CPU_GSI_PINS } };
    int r;

    pthread_mutex_init(&k->lock, NULL);
    k->routing = alloc_x(1, sizeof(*k->routing) + (3ull * CPU_GSI_PINS + CPU_MSI_MAX) *
                                                      sizeof(k->routing->entries[0]));
    r = split(vm) ? kvm_ioctl(k->fd, KVM_ENABLE_CAP, &cap)
                  : kvm_ioctl(k->fd, KVM_CREATE_IRQCHIP, NULL);
    if (r < 0)
        return err_code(e, r, "create the %s irqchip", split(vm) ? "split" : "in-kernel");
    if (vm->cfg.legacy) {
        r = kvm_ioctl(k->fd, KVM_CREATE_PIT2, &pit);
        if (r < 0)
            return err_code(e, r, "create the PIT");
    }
    r = routing_set(vm);
    return r < 0 ? err_code(e, r, "route the interrupt lines") : 0;
}

void kvm_irq_close(struct cpu_vm *vm)
{
    struct kvm_vm *k = kvm_vm_of(vm);

    for_each_row(m, k->msis)
        if (m->used)
            close(m->fd);
    free(k->routing);
}

void kvm_irq_line(struct cpu_vm *vm, u32 gsi, bool level)
{
    struct kvm_irq_level l = { .irq = gsi, .level = level };

    kvm_ioctl(kvm_vm_of(vm)->fd, KVM_IRQ_LINE, &l);
}

static int irqfd(struct kvm_vm *k, const struct msi *m, bool on)
{
    struct kvm_irqfd f = { .fd = (u32)m->fd,
                           .gsi = m->gsi,
                           .flags = on ? 0 : KVM_IRQFD_FLAG_DEASSIGN };

    return kvm_ioctl(k->fd, KVM_IRQFD, &f);
}

struct msi *kvm_msi_new(struct cpu_vm *vm)
{
    struct kvm_vm *k = kvm_vm_of(vm);
    struct msi *found = NULL;

    pthread_mutex_lock(&k->lock);
    for (u32 i = 0; i < CPU_MSI_MAX && !found; i++) {
        struct msi *m = &k->msis[i];

        if (m->used)
            continue;
        *m = (struct msi){ .used = true, .gsi = CPU_GSI_PINS + i, .fd = fd_eventfd() };
        if (m->fd >= 0 && irqfd(k, m, true) == 0) {
            found = m;
            break;
        }
        fd_close(&m->fd);
        m->used = false;
        break;
    }
    pthread_mutex_unlock(&k->lock);
    return found;
}

void kvm_msi_free(struct cpu_vm *vm, struct msi *m)
{
    struct kvm_vm *k = kvm_vm_of(vm);

    pthread_mutex_lock(&k->lock);
    irqfd(k, m, false);
    fd_close(&m->fd);
    m->used = false;
    pthread_mutex_unlock(&k->lock);
}

void kvm_msi_aim(struct cpu_vm *vm, struct msi *m, u64 addr, u32 data)
{
    struct kvm_vm *k = kvm_vm_of(vm);

    if (split(vm))
        pthread_mutex_lock(&vm->ioapic.lock); /* routing_set reads its table; always before ours */
    pthread_mutex_lock(&k->lock);
    if (!m->aimed || m->addr != addr || m->data != data) {
        m->addr = addr;
        m->data = data;
        m->aimed = true;
        routing_set(vm);
    }
    pthread_mutex_unlock(&k->lock);
    if (split(vm))
        pthread_mutex_unlock(&vm->ioapic.lock);
}

void kvm_msi_fire(struct cpu_vm *vm [[maybe_unused]], struct msi *m)
{
    fd_event_signal(m->fd);
}

void kvm_msi_send(struct cpu_vm *vm, u64 addr, u32 data)
{
    struct kvm_msi m = { .address_lo = (u32)addr, .address_hi = (u32)(addr >> 32), .data = data };

    kvm_ioctl(kvm_vm_of(vm)->fd, KVM_SIGNAL_MSI, &m);
}

void kvm_ioapic_changed(struct cpu_vm *vm, u32 pin [[maybe_unused]])
{
    struct kvm_vm *k = kvm_vm_of(vm);

    pthread_mutex_lock(&k->lock);
    routing_set(vm);
    pthread_mutex_unlock(&k->lock);
}

static void pic_from(struct pic_state *s, const struct kvm_pic_state *p)
{
    *s = (struct pic_state){ p->last_irr,
                             p->irr,
                             p->imr,
                             p->isr,
                             p->priority_add,
                             p->irq_base,
                             p->read_reg_select,
                             p->poll,
                             p->special_mask,
                             p->init_state,
                             p->auto_eoi,
                             p->rotate_on_auto_eoi,
                             p->special_fully_nested_mode,
                             p->init4,
                             p->elcr,
                             p->elcr_mask };
}

static void pic_to(struct kvm_pic_state *p, const struct pic_state *s)
{
    *p = (struct kvm_pic_state){ s->last_irr,
                                 s->irr,
                                 s->imr,
                                 s->isr,
                                 s->priority_add,
                                 s->irq_base,
                                 s->read_reg_select,
                                 s->poll,
                                 s->special_mask,
                                 s->init_state,
                                 s->auto_eoi,
                                 s->rotate_on_auto_eoi,
                                 s->special_fully_nested_mode,
                                 s->init4,
                                 s->elcr,
                                 s->elcr_mask };
}

static void ioapic_from(struct ioapic_state *s, const struct kvm_ioapic_state *p)
{
    *s = (struct ioapic_state){ .select = (u8)p->ioregsel, .id = (u8)p->id, .irr = p->irr };
    for (u32 i = 0; i < IOAPIC_PINS; i++)
        s->redir[i] = p->redirtbl[i].bits;
}

static void ioapic_to(struct kvm_ioapic_state *p, const struct ioapic_state *s)
{
    *p = (struct kvm_ioapic_state){
        .base_address = CPU_IOAPIC_BASE, .ioregsel = s->select, .id = s->id, .irr = s->irr
    };
    for (u32 i = 0; i < IOAPIC_PINS; i++)
        p->redirtbl[i].bits = s->redir[i];
}

/* KVM's load times are those of the host's clock; what is saved is how long ago they were.  A channel that had no control word
 * yet (mode 0xff) does not count. */
static void pit_turn_times(struct kvm_pit_state2 *pit)
{
    s64 now = (s64)clock_mono_ns();

    for_each_row(c, pit->channels)
        c->count_load_time = c->mode > 5 ? 0 : now - c->count_load_time;
}

static int chip(struct kvm_vm *k, unsigned long request, u32 id, struct kvm_irqchip *c,
                struct err *e)
{
    int r;

    c->chip_id = id;
    r = kvm_ioctl(k->fd, request, c);
    return r < 0 ? err_code(e, r, "irqchip %u", id) : 0;
}

int kvm_irq_get(struct cpu_vm *vm, struct cpu_vm_state *ret, struct err *e)
{
    struct kvm_vm *k = kvm_vm_of(vm);
    struct kvm_irqchip c = {};
    int r;

    if (split(vm))
        return 0;
    r = chip(k, KVM_GET_IRQCHIP, KVM_IRQCHIP_IOAPIC, &c, e);
    if (r < 0)
        return r;
    ioapic_from(&ret->ioapic[0], &c.chip.ioapic);
    for (u32 i = 0; vm->cfg.legacy && i < 2; i++) {
        r = chip(k, KVM_GET_IRQCHIP, i ? KVM_IRQCHIP_PIC_SLAVE : KVM_IRQCHIP_PIC_MASTER, &c, e);
        if (r < 0)
            return r;
        pic_from(&ret->pic[i], &c.chip.pic);
    }
    if (vm->cfg.legacy) {
        static_assert(sizeof(struct kvm_pit_state2) == sizeof(ret->pit), "the PIT's layout");
        struct kvm_pit_state2 pit;

        r = kvm_ioctl(k->fd, KVM_GET_PIT2, &pit);
        if (r < 0)
            return err_code(e, r, "PIT");
        pit_turn_times(&pit);
        memcpy(ret->pit, &pit, sizeof(pit));
    }
    return 0;
}

int kvm_irq_set(struct cpu_vm *vm, const struct cpu_vm_state *s, struct err *e)
{
    struct kvm_vm *k = kvm_vm_of(vm);
    struct kvm_irqchip c = {};
    int r;

    if (split(vm))
        return 0;
    ioapic_to(&c.chip.ioapic, &s->ioapic[0]);
    r = chip(k, KVM_SET_IRQCHIP, KVM_IRQCHIP_IOAPIC, &c, e);
    for (u32 i = 0; r >= 0 && s->legacy && i < 2; i++) {
        pic_to(&c.chip.pic, &s->pic[i]);
        r = chip(k, KVM_SET_IRQCHIP, i ? KVM_IRQCHIP_PIC_SLAVE : KVM_IRQCHIP_PIC_MASTER, &c, e);
    }
    if (r >= 0 && s->legacy) {
        struct kvm_pit_state2 pit;

        memcpy(&pit, s->pit, sizeof(pit));
        pit_turn_times(&pit); /* and back; today's KVM begins all periods anew */
        r = kvm_ioctl(k->fd, KVM_SET_PIT2, &pit);
        if (r < 0)
            return err_code(e, r, "PIT");
    }
    return r;
}
