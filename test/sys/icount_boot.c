/*
 * test/sys/icount_boot.c: boots a kernel twice, with time by count of instructions and without devices, under two configurations
 * of the software engine, and compares registers (RAM at the end): which instruction is the first that comes out differently?
 * `icount_boot KERNEL [millions [every [from]]]`: looks after each `every` instructions, beginning at `from`.
 * Whole blocks that are chained, and translated on their second run, against instructions one by one whose translations are forgotten at each look.
 */
#include "cpu/soft/io.h"
#include "cpu/soft/soft_mem.h"
#include "fw/acpi.h"
#include "fw/kernel.h"

#include <stdio.h>

#define RAM (128 * MiB)

enum { UART = 0x3f8, UART_LSR = 5, UART_IDLE = 0x60 };

struct machine {
    struct mem *mem;
    struct cpu_vm *vm;
    struct soft_cpu *c;
    bool talks; /* one console is enough */
};

static struct machine whole = { .talks = true }, cut;

static void pio_read(void *, u16 port, u32, u64 *ret)
{
    *ret = port == UART + UART_LSR ? UART_IDLE : ~0ull;
}

static void pio_write(void *arg, u16 port, u32, u64 val)
{
    const struct machine *m = arg;

    if (port == UART && m->talks)
        fputc((int)(val & 0x7f), stdout);
}

static void mmio_read(void *, u64, u32, u64 *ret)
{
    *ret = ~0ull;
}

static void mmio_write(void *, u64, u32, u64)
{
}

static int enter(struct machine *m, const struct kernel_entry *en, struct err *e)
{
    static struct vcpu_state s;
    bool wide = en->mode == KERNEL_LONG64;
    int r = vcpu_get(m->c->v, &s, e);

    if (r < 0)
        return r;
    for (u32 i = SEG_ES; i <= SEG_GS; i++)
        s.seg[i] = (struct seg_state){ .limit = 0xffffffff, .selector = en->ds, .attr = 0xc093 };
    s.seg[SEG_CS].selector = en->cs;
    s.seg[SEG_CS].attr = wide ? 0xa09b : 0xc09b;
    s.seg[SEG_TR] = (struct seg_state){ .limit = 0x67, .selector = en->tr, .attr = 0x8b };
    s.gdt_base = en->gdt_gpa;
    s.gdt_limit = en->gdt_limit;
    s.idt_limit = 0;
    s.cr0 = wide ? CR0_PE | CR0_MP | CR0_ET | CR0_NE | CR0_WP | CR0_PG : CR0_PE | CR0_ET;
    s.cr3 = wide ? en->cr3 : 0;
    s.cr4 = wide ? CR4_PAE : 0;
    s.efer = wide ? EFER_LME | EFER_LMA : 0;
    s.rip = en->rip;
    s.rflags = 2;
    memset(s.reg, 0, sizeof(s.reg));
    s.reg[GPR_RSP] = en->rsp;
    s.reg[GPR_RAX] = en->rax;
    s.reg[GPR_RBX] = en->rbx;
    s.reg[GPR_RSI] = en->rsi;
    return vcpu_set(m->c->v, &s, e);
}

static int load(struct machine *m, struct kernel *k, struct err *e)
{
    static const u32 apic_ids[] = { 0 };
    struct kernel_target t = { .m = m->mem, .ram_is_zero = true };
    struct kernel_entry en;
    struct acpi_cfg acpi;
    struct e820 map;
    int r;

    e820_init(&map, m->mem);
    acpi_cfg_init(&acpi);
    acpi.n_cpus = 1;
    acpi.apic_ids = apic_ids;
    acpi.legacy = true;
    t.map = &map;
    r = acpi_build(m->mem, &acpi, &t.rsdp, e);
    if (r >= 0)
        r = kernel_load(k, &t, &en, e);
    return r < 0 ? r : enter(m, &en, e);
}

static int open_machine(struct machine *m, struct kernel *k, struct err *e)
{
    /* The model has no RDRAND, of which no two readers see the same. */
    static const struct cpu_cfg cfg = {
        .n_cpus = 1, .legacy = true, .icount = true, .model = CPU_MODEL_V3
    };
    const struct cpu_host host = { pio_read, pio_write, mmio_read, mmio_write, m };
    int r = mem_new(&(struct mem_cfg){ .size = RAM }, &m->mem, e);

    if (r >= 0)
        r = cpu_open(&soft_engine, &cfg, m->mem, &host, &m->vm, e);
    if (r < 0)
        return r;
    m->c = soft_cpu_of(cpu_vcpu(m->vm, 0));
    vcpu_thread_init(m->c->v);
    cpu_clock_start(m->vm);
    return load(m, k, e);
}

/* False: this machine has come to its end. */
static bool run_to(struct machine *m, u64 insns)
{
    m->c->stop_insns = insns;
    return vcpu_run(m->c->v) == VCPU_KICKED && (!m->c->halted || m->c->eflags & RF_IF);
}

static void show(const struct machine *m, const char *name)
{
    const struct soft_cpu *c = m->c;

    printf("%s: after %llu: rip %llx flags %x cr0 %llx cr2 %llx cr3 %llx cr4 %llx\n", name,
           soft_insns(c), c->rip, soft_flags(c), c->cr0, c->cr2, c->cr3, c->cr4);
    for (u32 i = 0; i < GPR_COUNT; i++)
        printf(" %llx", c->reg[i]);
    printf("\n");
}

static bool alike(void)
{
    const struct soft_cpu *a = whole.c, *b = cut.c;

    return memcmp(a->reg, b->reg, GPR_COUNT * 8) == 0 && a->rip == b->rip &&
           soft_flags(a) == soft_flags(b) && a->cr0 == b->cr0 && a->cr2 == b->cr2 &&
           a->cr3 == b->cr3 && a->cr4 == b->cr4 && soft_insns(a) == soft_insns(b) &&
           soft_now_ns(a->vm) == soft_now_ns(b->vm) &&
           memcmp(a->fpu.ymm, b->fpu.ymm, sizeof(a->fpu.ymm)) == 0;
}

static int compare(u64 total, u64 every, u64 from)
{
    bool on = true;
    u64 n = max(from, every);

    for (; on && n <= total; n += every) {
        on = run_to(&whole, n);
        if (run_to(&cut, n) != on || !alike()) {
            printf("\nthe two part between instruction %llu and %llu\n", n - every, n);
            show(&whole, "blocks");
            show(&cut, "single");
            return 1;
        }
        soft_tlb_flush_all(cut.c);
    }
    show(&whole, "\nboth");
    if (memcmp(mem_at(whole.mem, 0, RAM), mem_at(cut.mem, 0, RAM), RAM) != 0) {
        printf("their RAM differs\n");
        return 1;
    }
    printf("alike in registers, at each look, and in RAM\n");
    return 0;
}

/* The i-th argument, or `otherwise`. */
static u64 number(int argc, char **argv, int i, u64 otherwise)
{
    u64 v;

    return i < argc && str_u64(argv[i], &v) >= 0 ? v : otherwise;
}

int main(int argc, char **argv)
{
    struct kernel_cfg cfg = { .cmdline =
                                  "console=ttyS0 earlyprintk=ttyS0,115200,keep panic=-1 nokaslr" };
    AUTO(kernel) struct kernel *k = NULL;
    struct err e = {};
    int r;

    if (argc < 2) {
        fprintf(
            stderr,
            "usage: icount_boot KERNEL [millions of instructions [compared after each [from]]]\n");
        return 2;
    }
    cfg.kernel = argv[1];
    r = kernel_open(&cfg, &k, &e);
    if (r >= 0)
        r = open_machine(&whole, k, &e);
    if (r >= 0)
        r = open_machine(&cut, k, &e);
    if (r < 0) {
        fprintf(stderr, "icount_boot: %s\n", e.text);
        return 1;
    }
    whole.c->vm->jit_warm = 2;
    cut.c->vm->block_max = 1;
    return compare(number(argc, argv, 2, 300) * 1000 * 1000, number(argc, argv, 3, 100 * 1000),
                   number(argc, argv, 4, 0));
}
