/*
 * cpu/irqchip.c: the machine's interrupt controllers and its interval timer, wired together.
 *   (1) Lines 0..15 go to the 8259s and to the I/O APIC; the timer's, 0, arrives there at pin 2, as on every PC, and line 2 is
 *       the cascade, which nobody drives.
 *   (2) Locks are taken in the order 8254, 8259s, I/O APIC; the host's functions are called with one held.
 */
#include "cpu/irqchip.h"

#include "cpu/cpu.h"

enum { TIMER_LINE = 0, TIMER_PIN = 2 };

static void on_send(void *arg, u64 addr, u32 data)
{
    struct irqchip *c = arg;

    c->host->send(c->arg, addr, data);
}

static void on_changed(void *, u32)
{
}

static void on_intr(void *arg, bool level)
{
    struct irqchip *c = arg;

    c->host->intr(c->arg, level);
}

static void on_timer(void *arg)
{
    irqchip_line(arg, TIMER_LINE, true);
    irqchip_line(arg, TIMER_LINE, false);
}

void irqchip_init(struct irqchip *c, bool legacy, const struct irqchip_host *host, void *arg)
{
    *c = (struct irqchip){ .legacy = legacy, .host = host, .arg = arg };
    ioapic_init(&c->ioapic, on_send, on_changed, c);
    pic_init(&c->pic, on_intr, c);
    pit_init(&c->pit, on_timer, c);
}

void irqchip_reset(struct irqchip *c)
{
    pit_reset(&c->pit);
    pic_reset(&c->pic);
    ioapic_reset(&c->ioapic);
}

void irqchip_line(struct irqchip *c, u32 gsi, bool level)
{
    must(gsi < CPU_GSI_PINS);
    if (gsi == PIC_CASCADE)
        return;
    if (c->legacy && gsi < PIC_LINES)
        pic_set(&c->pic, gsi, level);
    ioapic_set(&c->ioapic, gsi == TIMER_LINE ? TIMER_PIN : gsi, level);
}

void irqchip_eoi(struct irqchip *c, u8 vector)
{
    ioapic_eoi(&c->ioapic, vector);
}

u8 irqchip_ack(struct irqchip *c)
{
    return pic_ack(&c->pic);
}

/* ---- accesses ---- */

static bool is_ours(const struct irqchip *c, u32 port)
{
    return c->legacy && port <= UINT16_MAX && (pic_has_port((u16)port) || pit_has_port((u16)port));
}

static u8 read_port(struct irqchip *c, u32 port, u64 now_ns)
{
    if (!is_ours(c, port))
        return 0xff;
    if (pic_has_port((u16)port))
        return pic_read(&c->pic, (u16)port);
    return pit_read(&c->pit, (u16)port, now_ns);
}

static void write_port(struct irqchip *c, u32 port, u8 val, u64 now_ns)
{
    if (!is_ours(c, port))
        return;
    if (pic_has_port((u16)port))
        pic_write(&c->pic, (u16)port, val);
    else
        pit_write(&c->pit, (u16)port, val, now_ns);
}

/* The ports are bytes: a wide access is one of each, as ISA splits it. */
bool irqchip_pio_read(struct irqchip *c, u16 port, u32 len, u64 now_ns, u64 *ret)
{
    u64 v = 0;

    if (!is_ours(c, port))
        return false;
    for (u32 i = 0; i < len; i++)
        v |= (u64)read_port(c, port + i, now_ns) << 8 * i;
    *ret = v;
    return true;
}

bool irqchip_pio_write(struct irqchip *c, u16 port, u32 len, u64 val, u64 now_ns)
{
    if (!is_ours(c, port))
        return false;
    for (u32 i = 0; i < len; i++)
        write_port(c, port + i, (u8)(val >> 8 * i), now_ns);
    return true;
}

bool irqchip_mmio_read(struct irqchip *c, u64 gpa, u32 len, u64 *ret)
{
    if (gpa - CPU_IOAPIC_BASE >= IOAPIC_SIZE)
        return false;
    *ret = ioapic_read(&c->ioapic, gpa - CPU_IOAPIC_BASE, len);
    return true;
}

bool irqchip_mmio_write(struct irqchip *c, u64 gpa, u32 len, u64 val)
{
    if (gpa - CPU_IOAPIC_BASE >= IOAPIC_SIZE)
        return false;
    ioapic_write(&c->ioapic, gpa - CPU_IOAPIC_BASE, len, val);
    return true;
}

/* ---- time, state ---- */

u64 irqchip_deadline_ns(struct irqchip *c)
{
    return pit_deadline_ns(&c->pit); /* without `legacy` nobody ever programs it */
}

void irqchip_tick(struct irqchip *c, u64 now_ns)
{
    pit_tick(&c->pit, now_ns);
}

/* The timer first: what it owes goes through the others. */
void irqchip_save(struct irqchip *c, struct cpu_vm_state *ret, u64 now_ns)
{
    static_assert(sizeof(ret->pit) == PIT_STATE_SIZE, "the PIT's layout");

    ret->legacy = c->legacy;
    if (c->legacy) {
        pit_save(&c->pit, ret->pit, now_ns);
        pic_get(&c->pic, ret->pic);
    }
    ioapic_get(&c->ioapic, &ret->ioapic[0]);
}

void irqchip_load(struct irqchip *c, const struct cpu_vm_state *s, u64 now_ns)
{
    if (c->legacy && s->legacy) {
        pit_load(&c->pit, s->pit, now_ns);
        pic_put(&c->pic, s->pic);
    }
    ioapic_put(&c->ioapic, &s->ioapic[0]);
}
