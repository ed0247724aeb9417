/*
 * vm/inspect.c: what a machine's devices, vCPUs and interrupt controllers hold, by the rows of their state lists.
 */
#include "vm/machine.h"

#include <stdlib.h>

static void print_vcpu(struct vm *vm, u32 i, struct strbuf *out)
{
    AUTO(free) struct vcpu_state *s = xnew(struct vcpu_state);
    struct err e = {};

    strbuf_add(out, "\"vcpu%u\": ", i);
    if (vcpu_get(cpu_vcpu(vm->cpu, i), s, &e) < 0)
        strbuf_add(out, "null");
    else
        state_print(&vcpu_state_def, s, out);
}

static void print_irqchip(struct vm *vm, struct strbuf *out)
{
    AUTO(free) struct cpu_vm_state *s = xnew(struct cpu_vm_state);
    struct err e = {};

    strbuf_add(out, "\"irqchip\": ");
    if (cpu_vm_get(vm->cpu, s, &e) < 0)
        strbuf_add(out, "null");
    else
        state_print(&cpu_vm_state_def, s, out);
}

static bool wanted(const char *want, const char *name)
{
    return !*want || strcmp(want, name) == 0;
}

u32 inspect_print(struct vm *vm, const char *want, struct strbuf *out)
{
    u32 n = 0;

    strbuf_add(out, "{");
    for (u32 i = 0; i < vm->n_devices; i++) {
        if (!wanted(want, vm->devices[i]->name))
            continue;
        strbuf_add(out, "%s\"%s\": ", n++ ? ", " : "", vm->devices[i]->name);
        device_inspect(vm->devices[i], out);
    }
    for (u32 i = 0; i < cpu_count(vm->cpu); i++) {
        char name[16];

        str_fmt(name, sizeof(name), "vcpu%u", i);
        if (!wanted(want, name))
            continue;
        strbuf_add(out, n++ ? ", " : "");
        print_vcpu(vm, i, out);
    }
    if (wanted(want, "irqchip")) {
        strbuf_add(out, n++ ? ", " : "");
        print_irqchip(vm, out);
    }
    strbuf_add(out, "}");
    return n;
}
