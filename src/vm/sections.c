/*
 * vm/sections.c: the whole machine but RAM as a state stream, and back.
 *   (1) The order is fixed, and a stream must have exactly the sections that this machine would write: so a missing, a doubled and an
 *       unknown one are the same mistake, and are told with what stands there instead.
 *   (2) vCPUs and interrupt controllers are loaded first: devices raise lines and fire messages as they are loaded.
 */
#include "vm/machine.h"

#include <stdlib.h>

#define CLOCK_NS_MAX (1ull << 62) /* 146 years; what is added to it later must not overflow */

STATE_TABLE(machine_state, MACHINE_STATE);

static void vcpu_name(char name[16], u32 i)
{
    str_fmt(name, 16, "vcpu%u", i);
}

static int save_cpus(struct vm *vm, struct strbuf *out, struct err *e)
{
    AUTO(free) struct cpu_vm_state *vs = xnew(struct cpu_vm_state);
    AUTO(free) struct vcpu_state *s = xnew(struct vcpu_state);
    int r = cpu_vm_get(vm->cpu, vs, e);

    if (r >= 0)
        state_stream_put(out, "irqchip", &cpu_vm_state_def, vs);
    for (u32 i = 0; r >= 0 && i < cpu_count(vm->cpu); i++) {
        char name[16];

        r = vcpu_get(cpu_vcpu(vm->cpu, i), s, e);
        vcpu_name(name, i);
        if (r >= 0)
            state_stream_put(out, name, &vcpu_state_def, s);
    }
    return r;
}

int sections_save(struct vm *vm, struct strbuf *out, struct err *e)
{
    int r;

    state_stream_begin(out);
    state_stream_put(out, "machine", &machine_state_def, &vm->st);
    r = save_cpus(vm, out, e);
    if (r < 0)
        return r;
    device_save(pci_bus_device(vm->pci), out);
    for (u32 i = 0; i < vm->n_devices; i++)
        device_save(vm->devices[i], out);
    state_stream_end(out);
    return 0;
}

/* The next section, which must be this one. */
static int expect(struct state_reader *rd, const struct state_def *def, const char *instance,
                  struct state_section *ret, struct err *e)
{
    int r = state_reader_next(rd, ret, e);

    if (r < 0)
        return r;
    if (r == 0)
        return err_set(e, -EBADMSG, "the state ends where '%s' of '%s' is expected", def->name,
                       instance);
    if (strcmp(ret->name, def->name) != 0 || strcmp(ret->instance, instance) != 0)
        return err_set(e, -EBADMSG, "the state has '%s' of '%s' where '%s' of '%s' is expected",
                       ret->name, ret->instance, def->name, instance);
    return 0;
}

static int load_one(struct state_reader *rd, const struct state_def *def, const char *instance,
                    void *obj, struct err *e)
{
    struct state_section s;
    int r = expect(rd, def, instance, &s, e);

    if (r == 0)
        r = state_load(def, obj, s.version, s.body, s.len, e);
    return r;
}

static int load_machine(struct vm *vm, struct state_reader *rd, struct err *e)
{
    struct machine_state st = {};
    int r = load_one(rd, &machine_state_def, "machine", &st, e);

    if (r < 0)
        return r;
    if (st.legacy != vm->st.legacy) /* restore_open looked at it before the machine was built */
        return err_set(e, -EBADMSG, "a machine %s PIC and PIT", st.legacy ? "with" : "without");
    vm->st = st;
    return 0;
}

static int load_cpus(struct vm *vm, struct state_reader *rd, struct err *e)
{
    AUTO(free) struct cpu_vm_state *vs = xnew(struct cpu_vm_state);
    AUTO(free) struct vcpu_state *s = xnew(struct vcpu_state);
    int r = load_one(rd, &cpu_vm_state_def, "irqchip", vs, e);

    if (r == 0 && vs->clock_ns > CLOCK_NS_MAX)
        r = err_set(e, -EBADMSG, "a clock at %llu ns; %llu are allowed", vs->clock_ns,
                    CLOCK_NS_MAX);
    if (r == 0)
        r = cpu_vm_set(vm->cpu, vs, e);
    for (u32 i = 0; r >= 0 && i < cpu_count(vm->cpu); i++) {
        char name[16];

        vcpu_name(name, i);
        r = load_one(rd, &vcpu_state_def, name, s, e);
        if (r == 0)
            r = vcpu_set(cpu_vcpu(vm->cpu, i), s, e);
    }
    return r;
}

static int load_device(struct device *d, struct state_reader *rd, struct err *e)
{
    for_each_row(p, d->def->parts) {
        struct state_section s;
        int r;

        if (!p->def)
            continue;
        r = expect(rd, p->def, d->name, &s, e);
        if (r == 0)
            r = device_load(d, &s, e);
        if (r < 0)
            return r;
    }
    return 0;
}

int sections_load(struct vm *vm, const void *data, size_t len, struct err *e)
{
    struct state_section s;
    struct state_reader rd;
    int r = state_reader_init(&rd, data, len, e);

    device_pause(pci_bus_device(vm->pci));
    for (u32 i = 0; i < vm->n_devices; i++)
        device_pause(vm->devices[i]);
    if (r == 0)
        r = load_machine(vm, &rd, e);
    if (r == 0)
        r = load_cpus(vm, &rd, e);
    if (r >= 0)
        r = load_device(pci_bus_device(vm->pci), &rd, e);
    for (u32 i = 0; r == 0 && i < vm->n_devices; i++)
        r = load_device(vm->devices[i], &rd, e);
    if (r < 0)
        return r;
    r = state_reader_next(&rd, &s, e);
    if (r == 1)
        return err_set(e, -EBADMSG, "the state goes on with '%s' of '%s', which is not expected",
                       s.name, s.instance);
    return r;
}
