/*
 * cpu/kvm/kvm_test.c: the KVM engine with payloads of a few instructions, on whatever /dev/kvm there is.
 */
#include "cpu/engine.h"
#include "cpu/lapic.h"
#include "testlib/test.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { CODE_GPA = 0x1000 };

struct seen {
    u64 pio_written, mmio_written, mmio_gpa;
    u32 pio_writes, mmio_writes;
    struct cpu_vm *raise_in; /* whose line 4 rises when port 0x80 is written */
};

static void pio_read(void *arg [[maybe_unused]], u16 port, u32 len [[maybe_unused]], u64 *ret)
{
    *ret = port ^ 0x5a;
}

static void pio_write(void *arg, u16 port, u32 len [[maybe_unused]], u64 val)
{
    struct seen *s = arg;

    if (port == 0x80) {
        cpu_irq(s->raise_in, 4, true);
        return;
    }
    s->pio_written = val;
    s->pio_writes++;
}

static void mmio_read(void *arg [[maybe_unused]], u64 gpa, u32 len [[maybe_unused]], u64 *ret)
{
    *ret = gpa >> 4;
}

static void mmio_write(void *arg, u64 gpa, u32 len [[maybe_unused]], u64 val)
{
    struct seen *s = arg;

    s->mmio_gpa = gpa;
    s->mmio_written = val;
    s->mmio_writes++;
}

struct rig {
    struct mem *mem;
    struct cpu_vm *vm;
    struct seen seen;
};

static struct rig *rig_new(enum cpu_irqchip chip, bool legacy, u32 n_cpus)
{
    struct rig *r = xnew(struct rig);
    struct cpu_host host = { pio_read, pio_write, mmio_read, mmio_write, &r->seen };
    struct err e = {};

    if (access("/dev/kvm", R_OK | W_OK) < 0) {
        free(r);
        test_skip("no access to /dev/kvm");
    }
    CHECK_OK(mem_new(&(struct mem_cfg){ .size = 4 * MiB }, &r->mem, &e), &e);
    CHECK_OK(
        cpu_open(&kvm_engine, &(struct cpu_cfg){ n_cpus, chip, legacy }, r->mem, &host, &r->vm, &e),
        &e);
    vcpu_thread_init(cpu_vcpu(r->vm, 0));
    return r;
}

static void rig_free(struct rig *r)
{
    cpu_close(r->vm);
    mem_free(r->mem);
    free(r);
}

/* 16-bit real mode at CODE_GPA, segments at 0. */
static void load_code(struct rig *r, const void *code, size_t len)
{
    struct vcpu *v = cpu_vcpu(r->vm, 0);
    struct vcpu_state *s = xnew(struct vcpu_state);
    struct err e = {};

    mem_write(r->mem, CODE_GPA, code, len);
    CHECK_OK(vcpu_get(v, s, &e), &e);
    s->seg[SEG_CS].base = s->seg[SEG_CS].selector = 0;
    s->rip = CODE_GPA;
    s->rflags = 2;
    CHECK_OK(vcpu_set(v, s, &e), &e);
    free(s);
}

/* Ends a payload: out 0xf4, al; then jmp $ until kicked. */
#define END 0xe6, 0xf4, 0xeb, 0xfe

static void *kick_at_end(void *arg)
{
    struct rig *r = arg;

    while (!__atomic_load_n(&r->seen.pio_writes, __ATOMIC_ACQUIRE))
        sched_yield();
    vcpu_kick(cpu_vcpu(r->vm, 0));
    return NULL;
}

static enum vcpu_next run_to_end(struct rig *r)
{
    pthread_t t;
    enum vcpu_next next;

    pthread_create(&t, NULL, kick_at_end, r);
    next = vcpu_run(cpu_vcpu(r->vm, 0));
    if (next != VCPU_KICKED)
        __atomic_store_n(&r->seen.pio_writes, 1, __ATOMIC_RELEASE);
    pthread_join(t, NULL);
    return next;
}

TEST(kvm_port_exits)
{
    static const u8 code[] = { 0xe4, 0x60, END }; /* in al, 0x60 */
    struct rig *r = rig_new(CPU_IRQCHIP_KERNEL, true, 1);

    load_code(r, code, sizeof(code));
    CHECK_EQ(run_to_end(r), VCPU_KICKED);
    CHECK_EQ(r->seen.pio_written, 0x3a);
    CHECK(cpu_vcpu(r->vm, 0)->exits[2] >= 2); /* KVM_EXIT_IO */
    CHECK_STR(cpu_exit_name(r->vm, 2), "io");
    rig_free(r);
}

/* ds = 0xf000: 0xf0000 + … is RAM here only up to 4 MiB, so the hole must be reached in another way: a 32-bit address size
 * needs a big segment, which vcpu_set gives to ES. */
TEST(kvm_mmio_exits_and_doorbell)
{
    static const u8 code[] = {
        0x66, 0xbf, 0x00, 0x00, 0x00, 0xd0,       /* mov edi, 0xd0000000 */
        0x66, 0xb8, 0x78, 0x56, 0x34, 0x12,       /* mov eax, 0x12345678 */
        0x26, 0x67, 0x66, 0x89, 0x07,             /* mov es:[edi], eax: an exit */
        0x26, 0x67, 0x89, 0x87, 0x00, 0x10, 0, 0, /* mov es:[edi + 0x1000], ax: the doorbell */
        0x26, 0x67, 0x66, 0x8b, 0x07,             /* mov eax, es:[edi] */
        END,
    };
    struct rig *r = rig_new(CPU_IRQCHIP_SPLIT, false, 1);
    struct vcpu *v = cpu_vcpu(r->vm, 0);
    struct vcpu_state *s = xnew(struct vcpu_state);
    AUTO(fd) int fd = fd_eventfd();
    struct err e = {};

    load_code(r, code, sizeof(code));
    CHECK_OK(vcpu_get(v, s, &e), &e);
    s->seg[SEG_ES].base = 0;
    s->seg[SEG_ES].limit = 0xffffffff;
    s->seg[SEG_ES].attr |= 1u << 15;
    CHECK_OK(vcpu_set(v, s, &e), &e);
    CHECK_EQ(cpu_doorbell(r->vm, 0xd0001000, 2, fd, true), 0);
    CHECK_EQ(run_to_end(r), VCPU_KICKED);
    CHECK_EQ(r->seen.mmio_written, 0x12345678);
    CHECK_EQ(r->seen.mmio_gpa, 0xd0000000);
    CHECK_EQ(r->seen.mmio_writes, 1);
    CHECK_EQ(fd_event_take(fd), 1);
    CHECK_EQ(r->seen.pio_written, 0x00); /* the low byte of 0xd0000000 >> 4 */
    CHECK_EQ(cpu_doorbell(r->vm, 0xd0001000, 2, fd, false), 0);
    free(s);
    rig_free(r);
}

/* Protected mode, because some hosts emulate real mode and give up there. */
TEST(kvm_triple_fault)
{
    struct rig *r = rig_new(CPU_IRQCHIP_KERNEL, false, 1);
    struct vcpu *v = cpu_vcpu(r->vm, 0);
    struct vcpu_state *s = xnew(struct vcpu_state);
    struct err e = {};

    load_code(r, "\x0f\x0b", 2); /* ud2, and no IDT */
    CHECK_OK(vcpu_get(v, s, &e), &e);
    s->cr0 |= 1;
    for (u32 i = SEG_ES; i <= SEG_GS; i++)
        s->seg[i] = (struct seg_state){ .limit = 0xffffffff, .selector = 16, .attr = 0xc093 };
    s->seg[SEG_CS].selector = 8;
    s->seg[SEG_CS].attr = 0xc09b;
    s->idt_limit = 0;
    CHECK_OK(vcpu_set(v, s, &e), &e);
    enum vcpu_next next = run_to_end(r);
    if (next == VCPU_FAILED)
        printf("  %s\n", v->failure);
    CHECK_EQ(next, VCPU_TRIPLE_FAULT);
    free(s);
    rig_free(r);
}

TEST(kvm_message_interrupts_a_halted_guest)
{
    static const u8 code[] = {
        0x31, 0xc0, 0x8e, 0xd8, 0xbc, 0x00, 0x30, /* xor ax, ax; mov ds, ax; mov sp, 0x3000 */
        0xc7, 0x06, 0x00, 0x01, 0x18, 0x10, 0xc7,
        0x06, 0x02, 0x01, 0x00, 0x00, /* vector 0x40 → 0:0x1018 */
        0xfb, 0xf4, 0xeb, 0xfd,       /* sti; hlt; jmp hlt */
        0x90, 0xb0, 0x42, END,        /* 0x1018: mov al, 0x42 */
    };
    struct rig *r = rig_new(CPU_IRQCHIP_KERNEL, false, 1);
    struct vcpu *v = cpu_vcpu(r->vm, 0);
    struct vcpu_state *s = xnew(struct vcpu_state);
    struct err e = {};
    struct msi *m = cpu_msi_new(r->vm);

    CHECK(m);
    load_code(r, code, sizeof(code));
    CHECK_OK(vcpu_get(v, s, &e), &e);
    le_store(s->lapic + 0xf0, 4, 0x1ff); /* spurious vector register: APIC enabled */
    CHECK_OK(vcpu_set(v, s, &e), &e);
    cpu_msi_aim(r->vm, m, 0xfee00000, 0x40);
    cpu_msi_fire(r->vm, m);
    CHECK_EQ(run_to_end(r), VCPU_KICKED);
    CHECK_EQ(r->seen.pio_written, 0x42);
    cpu_msi_free(r->vm, m);
    free(s);
    rig_free(r);
}

/* MSRs that nothing but the guest changes; clocks and counters go on while the two machines are compared. */
static bool stands_still(u32 msr)
{
    static const u32 msrs[] = { 0x174,      0x175,      0x176,      0x277,     0xc0000081,
                                0xc0000082, 0xc0000083, 0xc0000084, 0xc0000102 };

    for_each_row(m, msrs)
        if (*m == msr)
            return true;
    return false;
}

TEST(kvm_state_round_trip_between_machines)
{
    struct rig *a = rig_new(CPU_IRQCHIP_KERNEL, true, 2), *b = rig_new(CPU_IRQCHIP_KERNEL, true, 2);
    struct vcpu_state *s = xnew(struct vcpu_state), *t = xnew(struct vcpu_state);
    struct cpu_vm_state vs, vt;
    struct err e = {};

    load_code(a, "\xf4", 1);
    CHECK_OK(vcpu_get(cpu_vcpu(a->vm, 0), s, &e), &e);
    for (u32 i = 0; i < GPR_COUNT; i++)
        s->reg[i] = 0x1111111111111111ull * i;
    s->dr[1] = 0x1234;
    s->seg[SEG_FS].base = 0x7fff0000;
    le_store(s->xsave + 32, 4, 0xabcd); /* FPU: low bytes of ST0 */
    CHECK_OK(vcpu_set(cpu_vcpu(a->vm, 0), s, &e), &e);
    CHECK_OK(vcpu_get(cpu_vcpu(a->vm, 0), s, &e), &e);
    CHECK(s->n_msrs > 10);
    CHECK_OK(vcpu_set(cpu_vcpu(b->vm, 0), s, &e), &e);
    CHECK_OK(vcpu_get(cpu_vcpu(b->vm, 0), t, &e), &e);
    for (u32 i = 0; i < s->n_msrs; i++)
        if (!stands_still(s->msr[i].index))
            t->msr[i].value = s->msr[i].value;
    struct strbuf diff = {};
    if (state_compare(&vcpu_state_def, s, t, &diff))
        printf("  %.2000s\n", diff.text);
    CHECK_EQ(diff.len, 0);
    strbuf_fini(&diff);
    CHECK_OK(cpu_vm_get(a->vm, &vs, &e), &e);
    vs.ioapic[0].redir[5] = 0x10031;
    vs.pic[1].imr = 0xaa;
    CHECK_OK(cpu_vm_set(b->vm, &vs, &e), &e);
    CHECK_OK(cpu_vm_get(b->vm, &vt, &e), &e);
    CHECK_EQ(vt.ioapic[0].redir[5], 0x10031);
    CHECK_EQ(vt.pic[1].imr, 0xaa);
    CHECK(vt.clock_ns >= vs.clock_ns);
    CHECK_EQ(le_load(vs.pit + 16, 8), 0); /* channel 0 never ran: no time of the host's clock */
    free(s);
    free(t);
    rig_free(a);
    rig_free(b);
}

static void lapic_ignores(void *arg [[maybe_unused]])
{
}

/* The local APIC of cpu/lapic.c and KVM's: the same after power-on, and each takes what the other saved. */
TEST(kvm_lapic_state_is_ours)
{
    static const struct lapic_host host = { .wake = lapic_ignores };
    static const struct lapic_time now = { 1000, 1000 };
    struct rig *r = rig_new(CPU_IRQCHIP_KERNEL, true, 2);
    struct vcpu_state *s = xnew(struct vcpu_state);
    u8 ours[VCPU_LAPIC_SIZE];
    struct err e = {};
    struct lapic l;

    for (u32 i = 0; i < 2; i++) {
        struct vcpu *v = cpu_vcpu(r->vm, i);

        lapic_init(&l, i, 40, &host, NULL);
        lapic_save(&l, ours, now);
        CHECK_OK(vcpu_get(v, s, &e), &e);
        CHECK_MEM(ours, s->lapic, sizeof(ours));
        CHECK_EQ(lapic_base(&l), s->apic_base);

        CHECK_EQ(lapic_set_base(&l, lapic_base(&l) | 1 << 10), 0);
        CHECK_EQ(lapic_msr_write(&l, 0x80f, 0x1ff, now), 0);
        CHECK_EQ(lapic_msr_write(&l, 0x832, 0x20040, now), 0); /* periodic */
        CHECK_EQ(lapic_msr_write(&l, 0x83e, 0xb, now), 0);
        CHECK_EQ(lapic_msr_write(&l, 0x838, 4000000000u, now), 0);
        lapic_accept(&l, 0x99, true);
        lapic_accept(&l, 0x55, false);
        lapic_ack(&l, 0x99);
        lapic_save(&l, ours, now);
        memcpy(s->lapic, ours, sizeof(ours));
        s->apic_base = lapic_base(&l);
        CHECK_OK(vcpu_set(v, s, &e), &e);
        CHECK_OK(vcpu_get(v, s, &e), &e);
        CHECK(le_load(s->lapic + 0x390, 4) > 1000000000); /* what is left of the 4 s goes on */
        memcpy(s->lapic + 0x390, ours + 0x390, 4);
        memcpy(s->lapic + 0xa0, ours + 0xa0, 4); /* PPR, which some bring up to date only to run */
        CHECK_MEM(s->lapic, ours, sizeof(ours));
        CHECK_EQ(lapic_load(&l, s->lapic, s->apic_base, now), 0);
        lapic_save(&l, ours, now);
        CHECK_MEM(ours, s->lapic, sizeof(ours));
    }
    free(s);
    rig_free(r);
}

TEST(kvm_reset_restores_power_on)
{
    struct rig *r = rig_new(CPU_IRQCHIP_KERNEL, false, 2);
    struct vcpu_state *s = xnew(struct vcpu_state);
    struct err e = {};

    load_code(r, "\xf4", 1);
    CHECK_OK(vcpu_reset(cpu_vcpu(r->vm, 0), &e), &e);
    CHECK_OK(vcpu_get(cpu_vcpu(r->vm, 0), s, &e), &e);
    CHECK_EQ(s->rip, 0xfff0);
    CHECK_EQ(s->seg[SEG_CS].base, 0xffff0000);
    CHECK_OK(vcpu_get(cpu_vcpu(r->vm, 1), s, &e), &e);
    CHECK_EQ(s->run_state, VCPU_WAIT_SIPI);
    free(s);
    rig_free(r);
}

TEST(kvm_dirty_log)
{
    static const u8 code[] = {
        0x31, 0xc0, 0x8e, 0xd8, 0xc7, 0x06, 0x00, 0x50, 1, 0, END
    }; /* mov word [0x5000], 1 */
    struct rig *r = rig_new(CPU_IRQCHIP_KERNEL, false, 1);
    u64 bits[16] = {};
    struct err e = {};

    load_code(r, code, sizeof(code));
    CHECK_OK(cpu_dirty_start(r->vm, &e), &e);
    CHECK_EQ(run_to_end(r), VCPU_KICKED);
    CHECK_OK(cpu_dirty_take(r->vm, bits, &e), &e);
    CHECK(bits[0] & 1u << 5);
    CHECK(!(bits[0] & 1u << 6));
    cpu_dirty_stop(r->vm);
    rig_free(r);
}

TEST(kvm_is_measured_once_a_boot)
{
    struct cpu_rating first, again;
    struct err e = {};

    if (access("/dev/kvm", R_OK | W_OK) < 0)
        test_skip("no access to /dev/kvm");
    CHECK_OK(kvm_engine.rate(&(struct cpu_pick){ .cache_dir = test_dir() }, &first, &e), &e);
    CHECK(first.ips > 1000 && first.exit_ns > 100 && first.took_ns > 0);
    CHECK_OK(kvm_engine.rate(&(struct cpu_pick){ .cache_dir = test_dir() }, &again, &e), &e);
    CHECK_EQ(again.ips, first.ips);
    CHECK_EQ(again.exit_ns, first.exit_ns);
    CHECK_EQ(again.took_ns, 0);
    CHECK_OK(kvm_engine.rate(&(struct cpu_pick){ .cache_dir = "/nonexistent" }, &again, &e), &e);
    CHECK(again.took_ns > 0);
}

/* The guest programs its I/O APIC, a line rises, the interrupt arrives. */
TEST(kvm_split_ioapic_delivers)
{
    static const u8 code[] = {
        0x31, 0xc0, 0x8e, 0xd8, 0xbc, 0x00, 0x30, /* xor ax, ax; mov ds, ax; mov sp, 0x3000 */
        0xc7, 0x06, 0x00, 0x01, 0x3a, 0x10, 0xc7, 0x06, 0x02, 0x01,
        0x00, 0x00,                                        /* vector 0x40 → 0:0x103a */
        0x66, 0xbf, 0x00, 0x00, 0xc0, 0xfe,                /* mov edi, 0xfec00000 */
        0x26, 0x67, 0x66, 0xc7, 0x07, 0x18, 0,    0,    0, /* mov dword es:[edi], 0x18: entry of pin 4 */
        0x26, 0x67, 0x66, 0xc7, 0x47, 0x10, 0x40, 0,    0,    0, /* mov dword es:[edi + 16], 0x40 */
        0xb0, 0x01, 0xe6, 0x80, /* mov al, 1; out 0x80, al: the line rises */
        0xfb, 0xf4, 0xeb, 0xfd, /* sti; hlt; jmp hlt */
        0x90, 0x90, 0x90, 0x90, 0x90, 0x90, 0xb0, 0x42, END, /* 0x103a */
    };
    struct rig *r = rig_new(CPU_IRQCHIP_SPLIT, false, 1);
    struct vcpu *v = cpu_vcpu(r->vm, 0);
    struct vcpu_state *s = xnew(struct vcpu_state);
    struct err e = {};

    CHECK_EQ(code[0x3a], 0xb0); /* the handler stands where the vector points */
    load_code(r, code, sizeof(code));
    CHECK_OK(vcpu_get(v, s, &e), &e);
    s->seg[SEG_ES].base = 0;
    s->seg[SEG_ES].limit = 0xffffffff;
    s->seg[SEG_ES].attr |= 1u << 15;
    le_store(s->lapic + 0xf0, 4, 0x1ff);
    CHECK_OK(vcpu_set(v, s, &e), &e);
    r->seen.raise_in = r->vm;
    CHECK_EQ(run_to_end(r), VCPU_KICKED);
    CHECK_EQ(r->seen.pio_written, 0x42);
    free(s);
    rig_free(r);
}
