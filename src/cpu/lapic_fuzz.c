/*
 * cpu/lapic_fuzz.c: any accesses, messages and times to four local APICs that send each other IPIs.  Priorities stay consistent,
 * a deadline is never in the past after a tick, and what is saved loads and saves to the same bytes.
 */
#include "cpu/lapic_regs.h"
#include "testlib/fuzz.h"

enum { CPUS = 4, OPS_MAX = 2000, TSC_PER_NS = 2 };

struct rig {
    struct lapic l[CPUS], *all[CPUS];
    struct lapic_time now;
    bool garbage; /* was loaded: the guest never took what ISR says */
};

static struct rig rig; /* what the host's functions find */

static void deliver(const struct lapic *from, const struct lapic_msg *m)
{
    u64 set = lapic_route(rig.all, CPUS, from, m);

    must(set >> CPUS == 0);
    for (u32 i = 0; i < CPUS; i++) {
        if (!(set >> i & 1))
            continue;
        if (m->delivery <= LAPIC_LOWEST)
            lapic_accept(&rig.l[i], m->vector, m->level);
        else if (m->delivery == LAPIC_INIT)
            lapic_on_init(&rig.l[i]);
    }
}

static void on_send(void *arg, const struct lapic_msg *m)
{
    deliver(arg, m);
}

static void on_eoi(void *, u8 vector)
{
    must(vector >= LAPIC_VECTOR_MIN);
}

static void on_wake(void *)
{
}

static const struct lapic_host host = { on_send, on_eoi, on_wake };

static int top_of(const struct lapic *l, u32 set)
{
    for (int v = 255; v >= 0; v--)
        if (lapic_get(l, set + (u32)v / 32) >> (v % 32) & 1)
            return v;
    return -1;
}

static u32 in_class(const struct lapic *l, u32 c)
{
    return lapic_get(l, LAPIC_ISR + c / 2) >> (c & 1 ? 16 : 0) & 0xffff;
}

static void check(const struct lapic *l)
{
    int isr = top_of(l, LAPIC_ISR), irr = top_of(l, LAPIC_IRR), pending = lapic_pending(l);
    u32 tpr = lapic_get(l, LAPIC_TPR), ppr = lapic_get(l, LAPIC_PPR);

    must(in_class(l, 0) == 0 && (lapic_get(l, LAPIC_IRR) & 0xffff) == 0);
    must(ppr >> 4 == max(tpr >> 4, isr < 0 ? 0 : (u32)isr >> 4));
    must(pending < 0 || (pending == irr && (u32)pending >> 4 > ppr >> 4));
    must(lapic_cr8(l) == tpr >> 4);
    for (u32 c = 1; c < 16 && !rig.garbage; c++)
        must((in_class(l, c) & (in_class(l, c) - 1)) == 0); /* one is taken at a time */
}

static void tick(struct lapic *l)
{
    lapic_tick(l, rig.now);
    must(lapic_deadline_ns(l) > rig.now.ns);
}

static void round_trip(struct lapic *l)
{
    u8 saved[VCPU_LAPIC_SIZE], again[VCPU_LAPIC_SIZE];
    struct lapic copy;

    lapic_init(&copy, l->id, 40, &host, &copy);
    lapic_set_tsc_khz(&copy, l->tsc_khz);
    lapic_save(l, saved, rig.now);
    must(lapic_load(&copy, saved, lapic_base(l), rig.now) == 0);
    lapic_set_tsc_deadline(&copy, lapic_tsc_deadline(l), rig.now);
    must(lapic_tsc_deadline(&copy) == lapic_tsc_deadline(l));
    must((lapic_deadline_ns(&copy) == LAPIC_NEVER) == (lapic_deadline_ns(l) == LAPIC_NEVER));
    lapic_save(&copy, again, rig.now);
    must(memcmp(saved, again, sizeof(saved)) == 0);
    must(lapic_pending(&copy) == lapic_pending(l));
}

static void load_garbage(struct lapic *l, struct fuzz_in *in)
{
    u8 bytes[VCPU_LAPIC_SIZE];

    for (u32 i = 0; i < sizeof(bytes); i++)
        bytes[i] = (u8)(fuzz_take(in, 1) * (i + 1));
    if (lapic_load(l, bytes, fuzz_take(in, 2) << 8, rig.now) == 0)
        rig.garbage = true;
}

static void take_interrupt(struct lapic *l)
{
    int v = lapic_pending(l);

    if (v < 0)
        return;
    lapic_ack(l, (u8)v);
    must(lapic_get(l, LAPIC_PPR) >> 4 == (u32)v >> 4);
}

static void access_page(struct lapic *l, struct fuzz_in *in, bool write)
{
    u64 off = fuzz_take(in, write ? 1 : 2), val = fuzz_take(in, write ? 4 : 1);

    if (!lapic_covers(l, lapic_base(l) & ~0xfffull))
        return;
    if (write)
        lapic_write(l, off << 4, 4, val, rig.now);
    else
        lapic_read(l, off, 1u << (val & 3), rig.now);
}

static void access_msr(struct lapic *l, struct fuzz_in *in, bool write)
{
    u32 msr = LAPIC_MSR + (u32)fuzz_take(in, 1);
    u64 v;

    if (write)
        lapic_msr_write(l, msr, fuzz_take(in, 5), rig.now);
    else
        lapic_msr_read(l, msr, rig.now, &v);
}

static void message(struct fuzz_in *in)
{
    struct lapic_msg m;

    if (lapic_msg_of_msi(&m, 0xfee00000ull | fuzz_take(in, 3), (u32)fuzz_take(in, 2)))
        deliver(NULL, &m);
}

/* A row's index is the operation's byte modulo 16. */
static void one_op(struct lapic *l, struct fuzz_in *in)
{
    switch (fuzz_take(in, 1) & 15) {
    case 0:
        access_page(l, in, false);
        break;
    case 1:
    case 2:
        access_page(l, in, true);
        break;
    case 3:
        access_msr(l, in, false);
        break;
    case 4:
        access_msr(l, in, true);
        break;
    case 5:
        lapic_accept(l, (u8)fuzz_take(in, 1), fuzz_take(in, 1) & 1);
        break;
    case 6:
        lapic_fire(l, (enum lapic_lvt)(fuzz_take(in, 1) % LAPIC_LVT_COUNT));
        break;
    case 7:
        lapic_set_base(l, fuzz_take(in, 2) << 8);
        break;
    case 8:
        lapic_set_cr8(l, (u8)fuzz_take(in, 1));
        break;
    case 9:
        take_interrupt(l);
        break;
    case 10:
        lapic_eoi(l);
        break;
    case 11:
        rig.now.ns += fuzz_take(in, 5);
        rig.now.tsc = rig.now.ns * TSC_PER_NS;
        tick(l);
        break;
    case 12:
        lapic_set_tsc_deadline(l, rig.now.tsc + fuzz_take(in, 3), rig.now);
        break;
    case 13:
        message(in);
        break;
    case 14:
        round_trip(l);
        break;
    default:
        load_garbage(l, in);
    }
}

FUZZ(lapic)
{
    struct fuzz_in in = { data, size };

    rig = (struct rig){};
    for (u32 i = 0; i < CPUS; i++) {
        lapic_init(&rig.l[i], i, 40, &host, &rig.l[i]);
        lapic_set_tsc_khz(&rig.l[i], TSC_PER_NS * 1000000);
        rig.all[i] = &rig.l[i];
    }
    for (u32 i = 0; i < OPS_MAX && in.left; i++) {
        struct lapic *l = rig.all[fuzz_take(&in, 1) % CPUS];

        one_op(l, &in);
        check(l);
    }
    for_each_row(l, rig.l) {
        check(l);
        round_trip(l);
    }
}
