/*
 * cpu/cross_test.c: a machine that is stopped under one engine goes on under the other: registers, vectors, the local APIC's
 * timer and the interrupts that it makes.
 */
#include "cpu/engine.h"
#include "testlib/test.h"

#include <stdlib.h>
#include <unistd.h>

/* Where things are in RAM. */
enum {
    CODE = 0x1000,
    COUNTER = 0x3000, /* rounds of the payload, as R15 counts them too */
    TICKS = 0x3008,   /* interrupts */
    GOAL = 0x3010,    /* ticks at which it reports */
    VECTOR_COPY = 0x3020,
    IDT = 0x4000,
    GDT = 0x5000,
    TABLES = 0x6000,
    STACK = 0xb000,
};

static const u8 canary[16] = "fifteen letters";
/* Without arithmetic on vectors: a KVM that emulates ring 0 does not know it. */
/* clang-format off */
static const u8 payload[] = {
    0xbb, 0x00, 0x00, 0xe0, 0xfe,                                     /*    mov ebx, 0xfee00000 */
    0xc7, 0x83, 0xf0, 0x00, 0x00, 0x00, 0xff, 0x01, 0x00, 0x00,       /*    mov dword [rbx + 0xf0], 0x1ff: switched on */
    0xc7, 0x83, 0xe0, 0x03, 0x00, 0x00, 0x0b, 0x00, 0x00, 0x00,       /*    mov dword [rbx + 0x3e0], 11: divided by 1 */
    0xc7, 0x83, 0x20, 0x03, 0x00, 0x00, 0x40, 0x00, 0x02, 0x00,       /*    mov dword [rbx + 0x320], 0x20040: periodic */
    0xc7, 0x83, 0x80, 0x03, 0x00, 0x00, 0x40, 0x4b, 0x4c, 0x00,       /*    mov dword [rbx + 0x380], 5000000: each 5 ms */
    0xfb,                                                             /*    sti */
    0x48, 0xff, 0x04, 0x25, 0x00, 0x30, 0x00, 0x00,                   /* 1: inc qword [COUNTER] */
    0x49, 0xff, 0xc7,                                                 /*    inc r15 */
    0x0f, 0x11, 0x3c, 0x25, 0x20, 0x30, 0x00, 0x00,                   /*    movups [VECTOR_COPY], xmm7 */
    0x48, 0x8b, 0x04, 0x25, 0x10, 0x30, 0x00, 0x00,                   /*    mov rax, [GOAL] */
    0x48, 0x39, 0x04, 0x25, 0x08, 0x30, 0x00, 0x00,                   /*    cmp [TICKS], rax */
    0x72, 0xdb,                                                       /*    jb 1b */
    0xe6, 0xf4,                                                       /*    out 0xf4, al */
    0xeb, 0xd7,                                                       /*    jmp 1b */
};
static const u8 handler[] = {
    0x48, 0xff, 0x04, 0x25, 0x08, 0x30, 0x00, 0x00,                   /* inc qword [TICKS] */
    0x50,                                                             /* push rax */
    0xb8, 0xb0, 0x00, 0xe0, 0xfe,                                     /* mov eax, 0xfee000b0 */
    0xc7, 0x00, 0x00, 0x00, 0x00, 0x00,                               /* mov dword [rax], 0: end of interrupt */
    0x58,                                                             /* pop rax */
    0x48, 0xcf,                                                       /* iretq */
};
/* clang-format on */
enum { HANDLER = CODE + 0x100, VECTOR = 0x40, STAGE_TICKS = 4 };

struct cross {
    struct mem *mem;
    struct cpu_vm *vm;
    u64 seen; /* COUNTER at the last stop */
};

static void pio_read(void *, u16, u32, u64 *ret)
{
    *ret = 0;
}

static void pio_write(void *arg, u16, u32, u64)
{
    vcpu_kick(cpu_vcpu(((struct cross *)arg)->vm, 0));
}

static void mmio_read(void *, u64, u32, u64 *ret)
{
    *ret = ~0ull;
}

static void mmio_write(void *, u64, u32, u64)
{
}

static void put64(struct cross *x, u64 at, u64 v)
{
    mem_write(x->mem, at, &v, 8);
}

static u64 get64(const struct cross *x, u64 at)
{
    u64 v = 0;

    mem_read(x->mem, at, &v, 8);
    return v;
}

/* The first 2 MiB and the APIC's page, mapped to themselves; flat segments; one handler. */
static void write_ram(struct cross *x)
{
    mem_write(x->mem, CODE, payload, sizeof(payload));
    mem_write(x->mem, HANDLER, handler, sizeof(handler));
    put64(x, TABLES, (TABLES + 0x1000) | 3);
    put64(x, TABLES + 0x1000, (TABLES + 0x2000) | 3);
    put64(x, TABLES + 0x1018, (TABLES + 0x3000) | 3);
    put64(x, TABLES + 0x2000, 0x83);
    put64(x, TABLES + 0x3000 + (CPU_LAPIC_BASE >> 21 & 511) * 8, CPU_LAPIC_BASE | 0x93);
    put64(x, GDT + 8, 0x00af9b000000ffff);
    put64(x, GDT + 16, 0x00cf93000000ffff);
    put64(x, IDT + VECTOR * 16, 0x00008e0000080000 | (HANDLER & 0xffff));
}

static void open_engine(struct cross *x, const struct engine *en)
{
    const struct cpu_host host = { pio_read, pio_write, mmio_read, mmio_write, x };
    struct err e = {};

    CHECK_OK(cpu_open(en, &(struct cpu_cfg){ .n_cpus = 1 }, x->mem, &host, &x->vm, &e), &e);
    vcpu_thread_init(cpu_vcpu(x->vm, 0));
}

static void enter(struct cross *x)
{
    struct vcpu_state *s = xnew(struct vcpu_state);
    struct vcpu *v = cpu_vcpu(x->vm, 0);
    struct err e = {};
    u64 parts = 3;

    CHECK_OK(vcpu_get(v, s, &e), &e);
    for (u32 i = SEG_ES; i <= SEG_GS; i++)
        s->seg[i] = (struct seg_state){ .limit = 0xffffffff, .selector = 0x10, .attr = 0xc093 };
    s->seg[SEG_CS].selector = 8;
    s->seg[SEG_CS].attr = 0xa09b;
    s->seg[SEG_TR] = (struct seg_state){ .limit = 0x67, .selector = 0x18, .attr = 0x8b };
    s->gdt_base = GDT;
    s->gdt_limit = 23;
    s->idt_base = IDT;
    s->idt_limit = 0xfff;
    s->cr0 = 0x80000033; /* PG, NE, ET, MP, PE */
    s->cr3 = TABLES;
    s->cr4 = 0x620;  /* OSXMMEXCPT, OSFXSR, PAE */
    s->efer = 0x500; /* LMA, LME */
    s->rip = CODE;
    s->rflags = 2;
    memset(s->reg, 0, sizeof(s->reg));
    s->reg[GPR_RSP] = STACK;
    memcpy(s->xsave + 160 + 7 * 16, canary, sizeof(canary)); /* XMM7 */
    memcpy(s->xsave + 512, &parts, 8);
    CHECK_OK(vcpu_set(v, s, &e), &e);
    free(s);
}

/* Runs until STAGE_TICKS more interrupts came; R15 has counted with the memory, XMM7 is what it was. */
static void run_stage(struct cross *x)
{
    struct vcpu_state *s = xnew(struct vcpu_state);
    struct vcpu *v = cpu_vcpu(x->vm, 0);
    u64 goal = get64(x, TICKS) + STAGE_TICKS;
    enum vcpu_next next;
    struct err e = {};

    put64(x, GOAL, goal);
    cpu_clock_start(x->vm);
    next = vcpu_run(v);
    CHECK_STR(v->failure, "");
    CHECK_EQ(next, VCPU_KICKED);
    vcpu_settle(v);
    cpu_clock_stop(x->vm);
    CHECK_OK(vcpu_get(v, s, &e), &e);
    CHECK(get64(x, TICKS) >= goal);
    CHECK(get64(x, COUNTER) > x->seen);
    x->seen = get64(x, COUNTER);
    CHECK_EQ(s->reg[15], x->seen);
    CHECK_MEM(s->xsave + 160 + 7 * 16, canary, sizeof(canary));
    CHECK_MEM(mem_at(x->mem, VECTOR_COPY, sizeof(canary)), canary, sizeof(canary));
    put64(x, VECTOR_COPY, 0);
    free(s);
}

static void hand_over(struct cross *x, const struct engine *to)
{
    struct cpu_vm_state *vs = xnew(struct cpu_vm_state);
    struct vcpu_state *s = xnew(struct vcpu_state);
    struct err e = {};

    CHECK_OK(vcpu_get(cpu_vcpu(x->vm, 0), s, &e), &e);
    CHECK_OK(cpu_vm_get(x->vm, vs, &e), &e);
    cpu_close(x->vm);
    open_engine(x, to);
    CHECK_OK(cpu_vm_set(x->vm, vs, &e), &e);
    CHECK_OK(vcpu_set(cpu_vcpu(x->vm, 0), s, &e), &e);
    free(s);
    free(vs);
}

static void there_and_back(const struct engine *first, const struct engine *second)
{
    struct cross x = {};
    struct err e = {};

    if (first != second && access("/dev/kvm", R_OK | W_OK) < 0)
        test_skip("no access to /dev/kvm");
    CHECK_OK(mem_new(&(struct mem_cfg){ .size = 2 * MiB }, &x.mem, &e), &e);
    write_ram(&x);
    open_engine(&x, first);
    enter(&x);
    run_stage(&x);
    for (u32 i = 0; i < 3; i++) {
        hand_over(&x, i % 2 ? first : second);
        run_stage(&x);
    }
    cpu_close(x.vm);
    mem_free(x.mem);
}

TEST(cross_soft_to_kvm_and_back)
{
    there_and_back(&soft_engine, &kvm_engine);
}

TEST(cross_kvm_to_soft_and_back)
{
    there_and_back(&kvm_engine, &soft_engine);
}

TEST(cross_soft_to_soft)
{
    there_and_back(&soft_engine, &soft_engine);
}
