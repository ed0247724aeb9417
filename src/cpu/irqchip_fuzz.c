/*
 * cpu/irqchip_fuzz.c: any accesses, lines and times to the 8259s, the 8254 and the I/O APIC.  INTR is what the registers say,
 * a deadline is never in the past after a tick, and what is saved loads and saves to the same bytes.
 */
#include "cpu/irqchip.h"

#include "cpu/cpu.h"
#include "testlib/fuzz.h"

enum { OPS_MAX = 2000 };

static const u16 ports[] = { 0x20, 0x21, 0xa0, 0xa1, 0x4d0, 0x4d1, 0x40, 0x41, 0x42, 0x43, 0x61 };

struct rig {
    struct irqchip c;
    u64 now_ns;
    bool intr;
};

static void on_send(void *, u64 addr, u32)
{
    must(addr >> 20 == 0xfee);
}

static void on_intr(void *arg, bool level)
{
    struct rig *r = arg;

    must(level != r->intr);
    r->intr = level;
}

static const struct irqchip_host host = { on_send, on_intr };

static void check_pic(const struct pic_state *s)
{
    must(s->priority_add < 8 && s->init_state < 4 && (s->irq_base & 7) == 0);
    must((s->elcr & ~s->elcr_mask) == 0);
    must((s->irr & s->elcr) == (s->last_irr & s->elcr));
}

/* INTR, and that an unmasked request with nothing in service raises it. */
static void check(struct rig *r)
{
    struct pic_state s[2];

    pic_get(&r->c.pic, s);
    check_pic(&s[0]);
    check_pic(&s[1]);
    must(r->c.pic.out == r->intr);
    if (!s[0].isr)
        must(r->intr == ((s[0].irr & ~s[0].imr) != 0));
    if (!s[1].isr)
        must((s[0].irr >> PIC_CASCADE & 1) == ((s[1].irr & ~s[1].imr) != 0));
}

static void tick(struct rig *r, u64 ns)
{
    u64 deadline;

    r->now_ns += ns;
    irqchip_tick(&r->c, r->now_ns);
    deadline = irqchip_deadline_ns(&r->c);
    must(deadline > r->now_ns);
}

static void round_trip(struct rig *r)
{
    AUTO(strbuf) struct strbuf differences = {};
    struct cpu_vm_state saved = {}, again = {};
    struct rig copy = {};

    irqchip_init(&copy.c, true, &host, &copy);
    irqchip_save(&r->c, &saved, r->now_ns);
    irqchip_load(&copy.c, &saved, r->now_ns);
    irqchip_save(&copy.c, &again, r->now_ns);
    must(state_compare(&cpu_vm_state_def, &saved, &again, &differences) == 0);
    must(copy.intr == r->intr);
    must(irqchip_deadline_ns(&copy.c) == irqchip_deadline_ns(&r->c));
}

static void load_garbage(struct rig *r, struct fuzz_in *in)
{
    struct cpu_vm_state s = { .legacy = true };

    for (u32 i = 0; i < sizeof(s.pit); i++)
        s.pit[i] = (u8)fuzz_take(in, 1);
    for (u32 i = 0; i < sizeof(s.pic); i++)
        ((u8 *)s.pic)[i] = (u8)fuzz_take(in, 1);
    irqchip_load(&r->c, &s, r->now_ns);
}

static void one_op(struct rig *r, struct fuzz_in *in)
{
    u8 op = (u8)fuzz_take(in, 1);
    u16 port = ports[fuzz_take(in, 1) % ARRAY_LEN(ports)];
    u64 v;

    switch (op & 15) {
    case 0:
    case 1:
    case 2:
    case 3:
        must(irqchip_pio_write(&r->c, port, 1, fuzz_take(in, 1), r->now_ns));
        break;
    case 4:
        must(irqchip_pio_write(&r->c, port, 4, fuzz_take(in, 4), r->now_ns));
        break;
    case 5:
    case 6:
        must(irqchip_pio_read(&r->c, port, 1u << (op >> 6), r->now_ns, &v));
        break;
    case 7:
    case 8:
        irqchip_line(&r->c, op >> 4 | (u32)(fuzz_take(in, 1) & 1) << 3, op & 1);
        break;
    case 9:
        irqchip_ack(&r->c);
        break;
    case 10:
        irqchip_eoi(&r->c, (u8)fuzz_take(in, 1));
        break;
    case 11:
        must(irqchip_mmio_write(&r->c, CPU_IOAPIC_BASE + (op >> 4 & 1) * 16, 4, fuzz_take(in, 4)));
        break;
    case 12:
        must(irqchip_mmio_read(&r->c, CPU_IOAPIC_BASE + fuzz_take(in, 1), 4, &v));
        break;
    case 13:
        tick(r, fuzz_take(in, 1u << (op >> 6)) & 0xffffffffff);
        break;
    case 14:
        round_trip(r);
        break;
    default:
        load_garbage(r, in);
    }
}

FUZZ(irqchip)
{
    struct fuzz_in in = { data, size };
    struct rig r = {};

    irqchip_init(&r.c, true, &host, &r);
    for (u32 i = 0; i < OPS_MAX && in.left; i++) {
        one_op(&r, &in);
        check(&r);
    }
    round_trip(&r);
    tick(&r, 0);
}
