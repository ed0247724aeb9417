/*
 * cpu/kvm/kvm_debug_test.c: stops of a debugger, with code of a few instructions on whatever /dev/kvm there is.
 */
#include "cpu/engine.h"
#include "cpu/soft/native_oracle.h"
#include "testlib/test.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { CODE = 0x1000 };

static void pio_write(void *, u16, u32, u64)
{
}
static void nothing_read(void *, u64, u32, u64 *ret)
{
    *ret = 0;
}
static void pio_read(void *, u16, u32, u64 *ret)
{
    *ret = 0;
}
static void nothing_write(void *, u64, u32, u64)
{
}

struct rig {
    struct mem *mem;
    struct cpu_vm *vm;
    struct vcpu *v;
    struct vcpu_state *s;
};

/*
 * A CPU that QEMU emulates runs KVM, but a guest's debug registers do nothing there, and its INT3 is not intercepted.
 */
static void need_debug_registers(void)
{
    if (oracle_is_emulated())
        test_skip("this host's CPU is emulated by QEMU, which has single steps only");
}

/* 32-bit protected mode without paging, at CODE. */
static struct rig *rig_new(const void *code, size_t len)
{
    struct rig *r = xnew(struct rig);
    const struct cpu_host host = { pio_read, pio_write, nothing_read, nothing_write, NULL };
    struct err e = {};

    if (access("/dev/kvm", R_OK | W_OK) < 0) {
        free(r);
        test_skip("no access to /dev/kvm");
    }
    CHECK_OK(mem_new(&(struct mem_cfg){ .size = 4 * MiB }, &r->mem, &e), &e);
    CHECK_OK(cpu_open(&kvm_engine, &(struct cpu_cfg){ 1, CPU_IRQCHIP_KERNEL, false }, r->mem, &host,
                      &r->vm, &e),
             &e);
    r->v = cpu_vcpu(r->vm, 0);
    r->s = xnew(struct vcpu_state);
    vcpu_thread_init(r->v);
    mem_write(r->mem, CODE, code, len);
    CHECK_OK(vcpu_regs_get(r->v, r->s, &e), &e);
    r->s->cr0 |= 1;
    for (u32 i = SEG_ES; i <= SEG_GS; i++)
        r->s->seg[i] = (struct seg_state){ .limit = 0xffffffff, .selector = 16, .attr = 0xc093 };
    r->s->seg[SEG_CS].selector = 8;
    r->s->seg[SEG_CS].attr = 0xc09b;
    r->s->rip = CODE;
    r->s->rflags = 2;
    CHECK_OK(vcpu_regs_set(r->v, r->s, &e), &e);
    return r;
}

static void rig_free(struct rig *r)
{
    cpu_close(r->vm);
    mem_free(r->mem);
    free(r->s);
    free(r);
}

static void set(struct rig *r, const struct cpu_debug *d)
{
    struct err e = {};

    CHECK_OK(vcpu_debug_set(r->v, d, &e), &e);
}

/* Runs to the next stop; RIP there. */
static u64 run(struct rig *r)
{
    struct err e = {};
    enum vcpu_next next = vcpu_run(r->v);

    if (next == VCPU_FAILED)
        printf("  %s\n", r->v->failure);
    CHECK_EQ(next, VCPU_DEBUG);
    CHECK_OK(vcpu_regs_get(r->v, r->s, &e), &e);
    return r->s->rip;
}

TEST(kvm_debug_steps)
{
    static const u8 code[] = {
        0xb8, 5, 0, 0, 0, 0x40, 0xeb, 0xfd
    }; /* mov eax, 5; inc eax; jmp inc */
    struct rig *r = rig_new(code, sizeof(code));

    set(r, &(struct cpu_debug){ .step = true });
    CHECK_EQ(run(r), CODE + 5);
    CHECK_EQ(r->v->debug.kind, CPU_STOP_STEP);
    CHECK_EQ(r->s->reg[GPR_RAX], 5);
    CHECK_EQ(run(r), CODE + 6);
    CHECK_EQ(r->s->reg[GPR_RAX], 6);
    CHECK_EQ(run(r), CODE + 5);
    CHECK(!(r->s->rflags & 0x100)); /* our trap flag is not the guest's */
    rig_free(r);
}

TEST(kvm_debug_breakpoints_in_registers_and_memory)
{
    need_debug_registers();

    static const u8 code[] = { 0x90, 0x90, 0x90, 0x90, 0x90, 0x90, 0x90, 0x90, 0xeb, 0xf6 };
    struct rig *r = rig_new(code, sizeof(code));
    struct cpu_debug d = { .n_points = 6 };
    struct err e = {};
    u8 byte;

    for (u32 i = 0; i < 6; i++)
        d.point[i] = (struct cpu_point){ CPU_POINT_EXEC, 1, CODE + 1 + i };
    set(r, &d);
    mem_read(r->mem, CODE + 5, &byte, 1);
    CHECK_EQ(byte, 0xcc);
    for (u32 i = 0; i < 6; i++) { /* each is passed by a step without points, as debuggers do it */
        CHECK_EQ(run(r), CODE + 1 + i);
        CHECK_EQ(r->v->debug.kind, CPU_STOP_EXEC);
        CHECK_EQ(r->v->debug.addr, CODE + 1 + i);
        set(r, &(struct cpu_debug){ .step = true });
        CHECK_EQ(run(r), CODE + 2 + i);
        set(r, &d);
    }
    d.point[5].addr = 0xd0000000;
    CHECK_EQ(vcpu_debug_set(r->v, &d, &e), 1);
    CHECK_EQ(run(r), CODE + 1);
    set(r, NULL);
    for (u32 i = 0; i < sizeof(code); i++) {
        mem_read(r->mem, CODE + i, &byte, 1);
        CHECK_EQ(byte, code[i]);
    }
    rig_free(r);
}

TEST(kvm_debug_watchpoints)
{
    static const u8 code[] = {
        0xa1, 0x00, 0x20, 0, 0,       /* mov eax, [0x2000] */
        0xa3, 0x04, 0x20, 0, 0,       /* mov [0x2004], eax */
        0xa3, 0x08, 0x20, 0, 0, 0x90, /* mov [0x2008], eax; nop */
    };
    const struct cpu_debug d = {
        .n_points = 2, .point = { { CPU_POINT_ACCESS, 4, 0x2000 }, { CPU_POINT_WRITE, 4, 0x2008 } }
    };
    struct err e = {};
    struct rig *r;

    need_debug_registers();
    r = rig_new(code, sizeof(code));
    set(r, &d);
    if (vcpu_run(r->v) == VCPU_FAILED) { /* it emulates the kernel's instructions, and ran on */
        rig_free(r);
        test_skip("this host's KVM looks at breakpoints, but not at data");
    }
    CHECK_OK(vcpu_regs_get(r->v, r->s, &e), &e);
    CHECK_EQ(r->s->rip, CODE + 5);
    CHECK_EQ(r->v->debug.kind, CPU_STOP_ACCESS);
    CHECK_EQ(r->v->debug.addr, 0x2000);
    CHECK_EQ(run(r), CODE + 15);
    CHECK_EQ(r->v->debug.kind, CPU_STOP_WRITE);
    CHECK_EQ(r->v->debug.addr, 0x2008);
    rig_free(r);
}

TEST(kvm_debug_refuses_a_fifth_watchpoint)
{
    struct rig *r = rig_new("\xf4", 1);
    struct cpu_debug d = { .n_points = 5 };
    struct err e = {};

    for (u32 i = 0; i < 5; i++)
        d.point[i] = (struct cpu_point){ CPU_POINT_WRITE, 1, 0x2000 + i };
    CHECK_EQ(vcpu_debug_set(r->v, &d, &e), -ENOSPC);
    CHECK_HAS(e.text, "watchpoints");
    rig_free(r);
}

TEST(kvm_debug_translates)
{
    struct rig *r = rig_new("\xf4", 1);
    struct err e = {};
    u64 gpa = 0;

    CHECK_OK(vcpu_translate(r->v, 0x12345678, &gpa, &e), &e);
    CHECK_EQ(gpa, 0x12345678);
    rig_free(r);
}
