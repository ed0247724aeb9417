/*
 * vm/build.c: a machine from its specification: RAM, buses, engine, devices.
 * Order: what others hang on comes first, and vm_free goes the other way.  A device that opens files of the user does so here,
 * before the jail.
 */
#include "dev/all.h"
#include "dev/pc/fw_cfg.h"
#include "dev/pc/hpet.h"
#include "dev/pc/i8042.h"
#include "dev/pc/pm.h"
#include "dev/pc/rtc.h"
#include "dev/pc/serial.h"
#include "dev/virtio/balloon.h"
#include "dev/virtio/blk.h"
#include "dev/virtio/console.h"
#include "dev/virtio/fs.h"
#include "dev/virtio/net.h"
#include "dev/virtio/port.h"
#include "dev/virtio/vsock.h"
#include "disk/disk.h"
#include "share/link.h"
#include "vm/clone.h"
#include "vm/machine.h"
#include "vm/save.h"
#include "vm/statefile.h"

#include <sys/resource.h>

/* 64-bit BARs get a window of this size above all RAM. */
#define PCI_MEM64_SIZE (16 * GiB)

static void host_pio_read(void *arg, u16 port, u32 len, u64 *ret)
{
    bus_read(((struct vm *)arg)->pio, port, len, ret);
}

static void host_pio_write(void *arg, u16 port, u32 len, u64 val)
{
    bus_write(((struct vm *)arg)->pio, port, len, val);
}

static void host_mmio_read(void *arg, u64 gpa, u32 len, u64 *ret)
{
    bus_read(((struct vm *)arg)->mmio, gpa, len, ret);
}

static void host_mmio_write(void *arg, u64 gpa, u32 len, u64 val)
{
    bus_write(((struct vm *)arg)->mmio, gpa, len, val);
}

/* A machine that goes on needs its kernel only for a reset. */
static int open_kernel(struct vm *vm, struct err *e)
{
    struct err why = {};

    if (!vm->from)
        return boot_open(vm, e);
    if (boot_open(vm, &why) < 0)
        log_warn("machine '%s' cannot start anew after a reset: %s", vm->spec->name, why.text);
    vm->st.legacy = vm->from->meta.legacy;
    return 0;
}

/* doc/notes/014; the software engine maps it a second time (doc/notes/050). */
static enum mem_backing backing(const struct vm *vm)
{
    if (vm->spec->hugepages)
        return MEM_HUGETLB;
    return cpu_engine_maps_ram(vm->engine) && vm->spec->jit && !vm->from ? MEM_SHARED : MEM_PRIVATE;
}

/* RAM that begins as the state file's is read as it is touched, and shared with others that begin so. */
static int build_memory(struct vm *vm, struct err *e)
{
    struct mem_layer layers[STATEFILE_CHAIN_MAX];
    struct mem_cfg cfg = {
        .size = vm->spec->memory,
        .from = backing(vm),
        .prealloc = vm->spec->prealloc,
        .layers = layers,
    };

    for (u32 i = vm->from ? vm->from->n : 0; i-- > 0;) {
        const struct statefile_part *p = &vm->from->part[i];

        layers[cfg.n_layers++] = (struct mem_layer){ p->fd, p->ram_at, p->pages };
    }
    return mem_new(&cfg, &vm->mem, e);
}

static int pick_engine(struct vm *vm, struct err *e)
{
    static const char *const names[] = {
        [SPEC_ENGINE_AUTO] = "auto",
        [SPEC_ENGINE_KVM] = "kvm",
        [SPEC_ENGINE_SOFT] = "soft",
    };
    const struct cpu_pick pick = { names[vm->spec->engine], vm->spec->cache_dir, vm->spec->jit };

    vm->engine = cpu_engine_pick(&pick, vm->engine_why, sizeof(vm->engine_why), e);
    if (!vm->engine)
        return e->code;
    if (vm->spec->engine_check && strcmp(cpu_engine_name(vm->engine), "soft") != 0)
        return err_set(e, -EINVAL, "engine-check: engine '%s' does not translate",
                       cpu_engine_name(vm->engine));
    log_info("engine '%s': %s", cpu_engine_name(vm->engine), vm->engine_why);
    return 0;
}

static int build_engine(struct vm *vm, struct err *e)
{
    const struct cpu_cfg cfg = {
        .n_cpus = vm->spec->cpus,
        .irqchip = vm->spec->irqchip == SPEC_IRQCHIP_SPLIT ? CPU_IRQCHIP_SPLIT : CPU_IRQCHIP_KERNEL,
        .legacy = vm->st.legacy,
        .model = (enum cpu_model)vm->spec->cpu_model,
        .jit = vm->spec->jit,
        .check = vm->spec->engine_check,
    };
    const struct cpu_host host = { host_pio_read, host_pio_write, host_mmio_read, host_mmio_write,
                                   vm };

    return cpu_open(vm->engine, &cfg, vm->mem, &host, &vm->cpu, e);
}

static struct acpi_window mem64_window(const struct vm *vm)
{
    return (struct acpi_window){ align_up(mem_end(vm->mem), PCI_MEM64_SIZE), PCI_MEM64_SIZE };
}

static int build_pci(struct vm *vm, struct err *e)
{
    const struct acpi_window wide = mem64_window(vm);
    const struct pci_bus_cfg cfg = {
        .ecam_base = LAYOUT_ECAM,
        .io_base = LAYOUT_PCI_IO,
        .io_size = LAYOUT_PCI_IO_SIZE,
        .mem32_base = LAYOUT_PCI_MEM32,
        .mem32_size = LAYOUT_PCI_MEM32_SIZE,
        .mem64_base = wide.base,
        .mem64_size = wide.size,
        .intx_gsi = LAYOUT_GSI_INTX,
    };
    int r = pci_bus_new(&vm->machine, &cfg, &vm->pci, e);

    vm->machine.pci = vm->pci;
    return r;
}

static int add(struct vm *vm, const struct device_def *def, const char *name, const void *cfg,
               struct err *e)
{
    int r;

    must(vm->n_devices < VM_DEVICES_MAX);
    r = device_new(def, &vm->machine, name, cfg, &vm->devices[vm->n_devices], e);
    if (r < 0)
        return err_wrap(e, "%s", name);
    vm->n_devices++;
    return 0;
}

static struct device *last_added(struct vm *vm)
{
    return vm->devices[vm->n_devices - 1];
}

/* A device as its own fields' defaults have it. */
static int add_default(struct vm *vm, const struct device_def *def, const char *name, struct err *e)
{
    AUTO(free) void *cfg = alloc_x(1, def->cfg_size);
    int r;

    if (def->fields)
        conf_defaults(def->fields, cfg);
    r = add(vm, def, name, cfg, e);
    if (def->fields)
        conf_fini(def->fields, cfg);
    return r;
}

/* The one console is the serial port's or the virtio console's; the serial port is there in any case. */
static int add_console(struct vm *vm, struct err *e)
{
    static char none[] = "none";
    const struct vm_console *c = &vm->spec->console;
    const bool on_serial = c->device == SPEC_CONSOLE_SERIAL;
    const struct serial_cfg serial = { LAYOUT_COM1, LAYOUT_GSI_COM1, on_serial ? c->backend : none,
                                       on_serial ? c->log : NULL };
    const struct console_cfg virtio = { .backend = c->backend, .log = c->log };
    int r = add(vm, &serial_def, "serial0", &serial, e);
    const char *pty;

    if (r >= 0 && !on_serial)
        r = add(vm, &virtio_console_def, "console0", &virtio, e);
    if (r < 0)
        return r;
    pty = on_serial ? serial_pty(last_added(vm)) : console_pty(last_added(vm));
    if (pty)
        log_notice("the console is %s", pty);
    return 0;
}

static int add_test_devices(struct vm *vm, struct err *e)
{
    const struct fw_cfg_cfg fw_cfg = { vm->spec->cpus, vm->spec->memory };
    int r = add(vm, &fw_cfg_def, "fw-cfg", &fw_cfg, e);

    if (r >= 0)
        r = add_default(vm, &testdev_def, "testdev", e);
    if (r >= 0)
        r = add_default(vm, &pci_testdev_def, "pci-testdev", e);
    return r;
}

static int add_pc_devices(struct vm *vm, struct err *e)
{
    const u64 low = min(vm->spec->memory, MEM_LOW_END);
    const struct rtc_cfg rtc = { LAYOUT_GSI_RTC, low, vm->spec->memory - low };
    const struct i8042_cfg i8042 = { .gsi = 1 };
    const struct hpet_cfg hpet = { LAYOUT_HPET };
    const struct pm_cfg pm = { LAYOUT_GED_PORT, LAYOUT_SLEEP_CTL, LAYOUT_GSI_GED };
    int r = add_console(vm, e);

    if (r >= 0)
        r = add(vm, &rtc_def, "rtc0", &rtc, e);
    if (r >= 0)
        r = add(vm, &i8042_def, "i8042", &i8042, e);
    if (r >= 0 && vm->spec->hpet)
        r = add(vm, &hpet_def, "hpet", &hpet, e);
    if (r >= 0)
        r = add(vm, &pm_def, "pm", &pm, e);
    if (r < 0)
        return r;
    vm->pm = last_added(vm);
    r = add_default(vm, &debug_def, "debug", e);
    return r < 0 || !vm->spec->testdev ? r : add_test_devices(vm, e);
}

static int add_disk(struct vm *vm, u32 i, struct err *e)
{
    static const int caches[] = {
        [SPEC_CACHE_WRITEBACK] = DISK_WRITEBACK,
        [SPEC_CACHE_DIRECT] = DISK_DIRECT,
        [SPEC_CACHE_UNSAFE] = DISK_UNSAFE,
    };
    static char qcow2[] = "qcow2";
    const struct vm_disk *d = spec_disk(vm->spec, i);
    struct blk_cfg cfg = {
        .file = d->file,
        .readonly = d->readonly,
        .queues = d->queues ? d->queues : (u16)min(vm->spec->cpus, 8u),
        .iothreads = 1,
        .serial = d->serial,
        .cache = caches[d->cache],
        .format = d->format,
        .bandwidth = d->bandwidth,
        .iops = d->iops,
        .burst = d->burst,
    };
    char name[DEVICE_NAME_MAX];

    if (vm->spec->restore.clone && clone_shares_disk(vm->spec, &vm->from->meta.spec, i)) {
        int fd = clone_overlay(d, state_meta_disk(&vm->from->meta, i)->image, e);

        if (fd < 0)
            return fd;
        cfg.fd = (u32)fd;
        cfg.format = qcow2;
        vm->nameless_disks = true;
    }
    str_fmt(name, sizeof(name), "disk%u", i);
    return add(vm, &virtio_blk_def, name, &cfg, e);
}

/* 52:54:00 and three bytes of a hash of the machine's name and the card's place, so that leases outlive a restart. */
char *build_mac(const struct vm *vm, u32 i)
{
    const char *mac = spec_net(vm->spec, i)->mac;
    u32 h = 0x811c9dc5u + i;

    if (mac)
        return xdup(mac);
    for (const char *p = vm->spec->name; *p; p++)
        h = (h ^ (u8)*p) * 0x01000193u; /* FNV-1a */
    return str_new("52:54:00:%02x:%02x:%02x", h >> 16 & 0xff, h >> 8 & 0xff, h & 0xff);
}

static int add_net(struct vm *vm, u32 i, struct err *e)
{
    const struct vm_net *n = spec_net(vm->spec, i);
    AUTO(free) char *mac = build_mac(vm, i);
    static_assert(sizeof(struct vm_forward) == sizeof(struct net_forward_cfg),
                  "lists of one string");
    const struct net_cfg cfg = {
        .kind = n->kind == SPEC_NET_TAP ? NET_TAP : NET_USER,
        .ifname = n->tap,
        .mac = mac,
        .queues = n->queues,
        .forward = n->forward,
    };
    char name[DEVICE_NAME_MAX];

    if (n->network)
        return err_set(e, -EINVAL, "net %u: 'network' is for machines of socled (`socle create`)",
                       i);
    str_fmt(name, sizeof(name), "net%u", i);
    return add(vm, &virtio_net_def, name, &cfg, e);
}

static int add_vsock(struct vm *vm, struct err *e)
{
    const struct vsock_cfg cfg = { .cid = vm->spec->vsock.cid, .path = vm->spec->vsock.path };

    return add(vm, &virtio_vsock_def, "vsock0", &cfg, e);
}

static int add_agent(struct vm *vm, struct err *e)
{
    static char name[] = PORT_GUEST_AGENT;
    static_assert(SPEC_DEVICES_MAX == PCI_DEVICES_MAX - 1, "the bridge is one");

    return add(vm, &virtio_port_def, "agent0", &(struct port_cfg){ vm->spec->agent, name }, e);
}

/* The machine has each file of the guest open, too, and much else. */
static u32 files_of_share(const struct vm *vm)
{
    struct rlimit r = {};

    getrlimit(RLIMIT_NOFILE, &r);
    r.rlim_cur = r.rlim_max;
    setrlimit(RLIMIT_NOFILE, &r);
    return (u32)min((u64)r.rlim_max / 2 / vm->spec->shares.n, (u64)SHARE_HANDLES_MAX);
}

static int add_share(struct vm *vm, u32 i, struct err *e)
{
    const struct vm_share *sh = spec_share(vm->spec, i);
    const struct share_start how = { sh->path, sh->readonly, vm->spec->no_jail,
                                     files_of_share(vm) };
    struct fs_cfg cfg = { .tag = sh->tag, .files = how.handles };
    char name[DEVICE_NAME_MAX];
    int r = share_spawn(&how, e);

    if (r < 0)
        return err_wrap(e, "share '%s', folder '%s'", sh->tag, sh->path);
    cfg.link = (u32)r;
    str_fmt(name, sizeof(name), "share%u", i);
    return add(vm, &virtio_fs_def, name, &cfg, e);
}

static int add_virtio_devices(struct vm *vm, struct err *e)
{
    const struct vm_spec *s = vm->spec;
    int r = 0;

    for (u32 i = 0; i < s->disks.n && r >= 0; i++)
        r = add_disk(vm, i, e);
    for (u32 i = 0; i < s->nets.n && r >= 0; i++)
        r = add_net(vm, i, e);
    if (r >= 0 && s->rng)
        r = add_default(vm, &virtio_rng_def, "rng0", e);
    if (r >= 0 && s->balloon)
        r = add_default(vm, &virtio_balloon_def, "balloon0", e);
    if (r >= 0 && s->vsock.cid)
        r = add_vsock(vm, e);
    if (r >= 0 && s->agent) /* others keep the places that they have in older saved states */
        r = add_agent(vm, e);
    for (u32 i = 0; i < s->shares.n && r >= 0; i++)
        r = add_share(vm, i, e);
    return r;
}

static void describe(struct vm *vm)
{
    acpi_cfg_init(&vm->acpi);
    for (u32 i = 0; i < vm->spec->cpus; i++)
        vm->apic_ids[i] = i;
    vm->acpi.n_cpus = vm->spec->cpus;
    vm->acpi.apic_ids = vm->apic_ids;
    vm->acpi.legacy = vm->st.legacy;
    vm->acpi.hpet = vm->spec->hpet ? LAYOUT_HPET : 0;
    vm->acpi.hpet_id = HPET_BLOCK_ID;
    vm->acpi.pci_mem64 = mem64_window(vm);
}

int build_machine(struct vm *vm, struct err *e)
{
    int r = restore_open(vm, e);

    if (r >= 0)
        r = open_kernel(vm, e);
    if (r >= 0)
        r = pick_engine(vm, e);
    if (r >= 0)
        r = build_memory(vm, e);
    if (r < 0)
        return r;
    dev_trace_register();
    cpu_trace_register();
    vm->pio = bus_new("port");
    vm->mmio = bus_new("address");
    vm->machine =
        (struct machine){ vm->mem, vm->pio, vm->mmio, NULL, &vm->loop, &run_machine_ops, vm };
    r = build_engine(vm, e);
    if (r >= 0)
        r = build_pci(vm, e);
    if (r >= 0)
        r = add_pc_devices(vm, e);
    if (r >= 0)
        r = add_virtio_devices(vm, e);
    if (r < 0)
        return r;
    describe(vm);
    r = save_open(vm, &vm->save, e);
    if (r < 0)
        return r;
    return vm->from ? restore_load(vm, e) : boot_load(vm, true, e);
}
