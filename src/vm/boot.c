/*
 * vm/boot.c: what firmware would have done: tables and kernel in RAM, BARs placed, the first vCPU at its entry.
 */
#include "fw/entry.h"
#include "fw/smbios.h"
#include "vm/machine.h"

#include <stdlib.h>

#define CR0_PE   (1ull << 0)
#define CR0_MP   (1ull << 1)
#define CR0_ET   (1ull << 4)
#define CR0_NE   (1ull << 5)
#define CR0_WP   (1ull << 16)
#define CR0_PG   (1ull << 31)
#define CR4_PAE  (1ull << 5)
#define EFER_LME (1ull << 8)
#define EFER_LMA (1ull << 10)

/* Attributes as in a descriptor's bits 40..55. */
#define ATTR_CODE32 0xc09b
#define ATTR_CODE64 0xa09b
#define ATTR_DATA   0xc093
#define ATTR_TSS    0x008b

int boot_open(struct vm *vm, struct err *e)
{
    const struct vm_spec *s = vm->spec;
    const struct kernel_cfg cfg = {
        .kernel = s->kernel,
        .initrd = s->initrd,
        .cmdline = s->append,
        .cache_dir = s->cache_dir,
    };
    int r = kernel_open(&cfg, &vm->kernel, e);

    if (r < 0)
        return r;
    vm->st.legacy = s->testdev || strcmp(kernel_kind(vm->kernel), "Multiboot") == 0;
    return 0;
}

static void set_entry(struct vcpu_state *s, const struct kernel_entry *en)
{
    const bool wide = en->mode == KERNEL_LONG64;

    for (u32 i = SEG_ES; i <= SEG_GS; i++)
        s->seg[i] =
            (struct seg_state){ .limit = 0xffffffff, .selector = en->ds, .attr = ATTR_DATA };
    s->seg[SEG_CS].selector = en->cs;
    s->seg[SEG_CS].attr = wide ? ATTR_CODE64 : ATTR_CODE32;
    s->seg[SEG_TR] = (struct seg_state){ .limit = 0x67, .selector = en->tr, .attr = ATTR_TSS };
    s->seg[SEG_LDTR].unusable = true;
    s->gdt_base = en->gdt_gpa;
    s->gdt_limit = en->gdt_limit;
    s->idt_base = s->idt_limit = 0;
    s->cr0 = wide ? CR0_PE | CR0_MP | CR0_ET | CR0_NE | CR0_WP | CR0_PG : CR0_PE | CR0_ET;
    s->cr3 = wide ? en->cr3 : 0;
    s->cr4 = wide ? CR4_PAE : 0;
    s->efer = wide ? EFER_LME | EFER_LMA : 0;
    s->rip = en->rip;
    s->rflags = 2;
    memset(s->reg, 0, sizeof(s->reg));
    s->reg[GPR_RSP] = en->rsp;
    s->reg[GPR_RAX] = en->rax;
    s->reg[GPR_RBX] = en->rbx;
    s->reg[GPR_RSI] = en->rsi;
    s->run_state = VCPU_RUNNABLE;
}

static int set_first_vcpu(struct vm *vm, const struct kernel_entry *en, struct err *e)
{
    struct vcpu *v = cpu_vcpu(vm->cpu, 0);
    AUTO(free) struct vcpu_state *s = xnew(struct vcpu_state);
    int r = vcpu_get(v, s, e);

    if (r < 0)
        return r;
    set_entry(s, en);
    return vcpu_set(v, s, e);
}

static int write_tables(struct vm *vm, u64 *ret_rsdp, struct err *e)
{
    const struct smbios_cfg smbios = {
        .version = "1",
        .sockets = 1,
        .cores = vm->spec->cpus,
        .threads = 1,
    };
    struct smbios_cfg cfg = smbios;
    int r;

    memcpy(cfg.uuid, vm->st.uuid, sizeof(cfg.uuid));
    r = acpi_build(vm->mem, &vm->acpi, ret_rsdp, e);
    if (r >= 0)
        r = smbios_build(vm->mem, &cfg, e);
    if (r >= 0)
        r = entry_reset_vector(vm->mem, e);
    if (r < 0)
        return err_wrap(e, "firmware tables");
    return mem_write(vm->mem, LAYOUT_VMGENID, vm->st.generation, sizeof(vm->st.generation));
}

int boot_load(struct vm *vm, bool fresh, struct err *e)
{
    struct e820 map;
    struct kernel_entry entry;
    u64 rsdp = 0;
    int r;

    if (!vm->kernel) /* vm/build.c has said why */
        return err_set(e, -ENOENT, "kernel '%s' was not to be had when the machine went on",
                       vm->spec->kernel);
    e820_init(&map, vm->mem);
    r = write_tables(vm, &rsdp, e);
    if (r < 0)
        return r;
    const struct kernel_target t = {
        .m = vm->mem, .map = &map, .rsdp = rsdp, .ram_is_zero = fresh
    };
    r = kernel_load(vm->kernel, &t, &entry, e);
    if (r < 0)
        return err_wrap(e, "kernel '%s'", vm->spec->kernel);
    r = pci_bus_assign(vm->pci, e);
    if (r < 0)
        return r;
    log_info("kernel '%s': %s, %s", vm->spec->kernel, kernel_kind(vm->kernel), entry.how);
    return set_first_vcpu(vm, &entry, e);
}
