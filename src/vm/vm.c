/*
 * vm/vm.c: a machine from its specification to its end.
 */
#include "vm/vm.h"

#include "vm/gdb.h"
#include "vm/machine.h"
#include "vm/profile.h"
#include "vm/save.h"
#include "vm/statefile.h"

#include <stdlib.h>
#include <sys/random.h>

/* Identity: the UUID that the user chose, or one that follows from the name, so that a guest sees the same at each start. */
static void set_identity(struct vm *vm)
{
    u64 h = 0xcbf29ce484222325ull;

    if (vm->spec->uuid) {
        const char *p = vm->spec->uuid;

        for (u32 i = 0; i < sizeof(vm->st.uuid); i++, p += 2) {
            p += *p == '-';
            const char digits[5] = { '0', 'x', p[0], p[1], 0 };
            u64 byte = 0;
            must(str_u64(digits, &byte) == 0); /* vm/spec.c let nothing else through */
            vm->st.uuid[i] = (u8)byte;
        }
    } else {
        for (u32 half = 0; half < 2; half++) { /* FNV-1a, twice */
            for (const char *p = vm->spec->name; *p; p++)
                h = (h ^ (u8)*p) * 0x100000001b3ull;
            le_store(vm->st.uuid + 8 * half, 8, h);
            h ^= 0xff;
        }
        vm->st.uuid[6] = (u8)((vm->st.uuid[6] & 0x0f) | 0x80); /* RFC 9562: version 8, variant 10 */
        vm->st.uuid[8] = (u8)((vm->st.uuid[8] & 0x3f) | 0x80);
    }
    must(getrandom(vm->st.generation, sizeof(vm->st.generation), 0) == sizeof(vm->st.generation));
}

int vm_new(const struct vm_spec *spec, struct vm **ret, struct err *e)
{
    AUTO(vm) struct vm *vm = xnew(struct vm);
    int r;

    vm->spec = spec;
    atomic_init(&vm->failed_vcpu, -1);
    pthread_mutex_init(&vm->lock, NULL);
    pthread_mutex_init(&vm->why_lock, NULL);
    pthread_cond_init(&vm->go, NULL);
    set_identity(vm);
    r = loop_init(&vm->loop, "control");
    if (r < 0)
        return err_code(e, r, "control loop");
    profile_open(vm, &vm->profile);
    r = build_machine(vm, e);
    if (r < 0)
        return r;
    r = control_open(vm, spec->control, &vm->control, e);
    if (r < 0)
        return r;
    r = gdb_open(vm, spec->gdb.listen, &vm->gdb, e);
    if (r < 0)
        return r;
    vm->debug_paused = spec->gdb.wait;
    *ret = TAKE(vm);
    return 0;
}

void vm_free(struct vm *vm)
{
    if (!vm)
        return;
    profile_close(vm->profile); /* answers its client */
    save_close(TAKE(vm->save)); /* so does it */
    control_close(vm->control);
    gdb_close(vm->gdb);
    while (vm->n_devices > 0) /* the reverse of their making: children first */
        device_free(vm->devices[--vm->n_devices]);
    pci_bus_free(vm->pci);
    cpu_close(vm->cpu);
    kernel_free(vm->kernel);
    bus_free(vm->pio);
    bus_free(vm->mmio);
    mem_free(vm->mem);
    statefile_free(vm->from);
    loop_fini(&vm->loop);
    free(vm);
}

int vm_confine(struct vm *vm, struct err *e)
{
    struct jail_cfg cfg = { .userns_ok = true, .uid = vm->spec->uid, .gid = vm->spec->uid };
    struct jail_report report;
    struct strbuf text = {};
    int r;

    for (u32 i = 0; i < vm->n_io_loops; i++)
        if (vm->io_loops[i].role == JAIL_IO_NET)
            cfg.keep_net = true;
    r = jail_enter(&cfg, &report, e);
    if (r < 0)
        return err_wrap(e, "confine the machine");
    vm->confined = true;
    jail_report_text(&report, &text);
    log_info("jail: %s", text.text);
    strbuf_fini(&text);
    return 0;
}

int vm_run(struct vm *vm, struct vm_result *ret, struct err *e)
{
    int r = run_start(vm, e);

    if (r >= 0)
        loop_run(&vm->loop);
    run_join(vm);
    *ret = vm->result;
    return r;
}
