/*
 * vm/restore.c: a machine that goes on from a state file.
 * It is built as any other, from what the file says it is (cmd/restore.c put that into the specification), but its RAM begins as the
 * file's, and in place of a boot its parts are loaded.
 *   (1) The generation id is a new one each time: whoever keeps a state file may use it again, and nobody can tell the first time
 *       from the second.  The guest is told by ACPI, and mixes it into its random numbers before it makes a key twice.
 *   (2) Guest time goes on where it stood; the real-time clock is the host's and has gone on.
 */
#include "cpu/features.h"
#include "dev/pc/pm.h"
#include "dev/virtio/net.h"
#include "vm/save.h"
#include "vm/statefile.h"

#include <stdlib.h>
#include <sys/random.h>

/* What the file says and what we are asked to build may differ in what the host provides, not in what the guest has seen. */
static int check_spec(const struct vm_spec *now, const struct vm_spec *was, u64 ram, struct err *e)
{
    if (now->memory != ram || was->memory != ram)
        return err_set(e, -EINVAL, "it has %llu bytes of RAM; the machine is to have %llu", ram,
                       now->memory);
    if (now->cpus != was->cpus || now->irqchip != was->irqchip)
        return err_set(e, -EINVAL, "it has %u CPUs and irqchip %d; the machine is to have %u, %d",
                       was->cpus, was->irqchip, now->cpus, now->irqchip);
    if (now->cpu_model != was->cpu_model)
        return err_set(e, -EINVAL, "its CPU model is '%s'; the machine is to have '%s'",
                       cpu_models[was->cpu_model], cpu_models[now->cpu_model]);
    if (now->disks.n != was->disks.n || now->nets.n != was->nets.n)
        return err_set(e, -EINVAL, "it has %u disks and %u cards; the machine is to have %u, %u",
                       was->disks.n, was->nets.n, now->disks.n, now->nets.n);
    return 0;
}

int restore_open(struct vm *vm, struct err *e)
{
    const struct vm_restore *cfg = &vm->spec->restore;
    int r;

    if (!cfg->file)
        return 0;
    r = statefile_open(cfg->file, &vm->from, e);
    if (r < 0)
        return r;
    r = check_spec(vm->spec, &vm->from->meta.spec, vm->from->ram_size, e);
    if (r >= 0 && vm->from->meta.disks.n != vm->spec->disks.n)
        r = err_set(e, -EBADMSG, "%u disks are described, the machine has %u",
                    vm->from->meta.disks.n, vm->spec->disks.n);
    return r < 0 ? err_wrap(e, "state file '%s'", cfg->file) : 0;
}

/* Disks of now that a state of then believes in. */
static int check_disks(struct vm *vm, struct err *e)
{
    struct err why = {};
    int r = save_check_disks(vm->save, &vm->from->meta, &why);

    if (r >= 0)
        return 0;
    if (r != -ESTALE || !vm->spec->restore.force) {
        *e = why;
        return r;
    }
    log_warn("going on as told: %s", why.text);
    return 0;
}

/* A clone's cards have addresses of their own, from the next start of their drivers on: a driver that runs goes on with what it has read. */
static void give_addresses(struct vm *vm)
{
    u32 card = 0;

    for (u32 i = 0; i < vm->n_devices; i++) {
        u8 mac[6];

        if (vm->devices[i]->def != &virtio_net_def)
            continue;
        must(card < vm->spec->nets.n);
        if (spec_net(vm->spec, card)->mac && spec_mac(spec_net(vm->spec, card)->mac, mac) == 0)
            net_mac_set(vm->devices[i], mac);
        card++;
    }
}

static int new_generation(struct vm *vm)
{
    must(getrandom(vm->st.generation, sizeof(vm->st.generation), 0) == sizeof(vm->st.generation));
    return mem_write(vm->mem, LAYOUT_VMGENID, vm->st.generation, sizeof(vm->st.generation));
}

int restore_load(struct vm *vm, struct err *e)
{
    const struct vm_restore *cfg = &vm->spec->restore;
    u8 uuid[sizeof(vm->st.uuid)];
    int r = check_disks(vm, e);

    memcpy(uuid, vm->st.uuid, sizeof(uuid)); /* as the specification has it */
    if (r >= 0)
        r = sections_load(vm, vm->from->state, vm->from->state_len, e);
    if (r < 0)
        return err_wrap(e, "state file '%s'", cfg->file);
    memcpy(vm->st.uuid, uuid, sizeof(uuid));
    if (cfg->clone)
        give_addresses(vm);
    r = new_generation(vm);
    if (r < 0)
        return err_code(e, r, "write the generation id");
    pm_vmgenid_changed(vm->pm);
    statefile_free(TAKE(vm->from)); /* RAM's mapping keeps the files */
    log_info("machine '%s' goes on from '%s'", vm->spec->name, cfg->file);
    return 0;
}
