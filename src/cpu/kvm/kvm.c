/*
 * cpu/kvm/kvm.c: opens KVM, makes the VM and its vCPUs; the engine's table.
 */
#include "cpu/kvm/kvm.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

/* Three pages that Intel's VMX needs in the guest's address space, where no PC has RAM. */
#define KVM_TSS_GPA          0xfffbd000ull
#define KVM_IDENTITY_MAP_GPA 0xfffbc000ull

int kvm_ioctl(int fd, unsigned long request, void *arg)
{
    int r;

    do
        r = ioctl(fd, request, arg);
    while (r < 0 && errno == EINTR);
    return r < 0 ? -errno : r;
}

int kvm_dev_open(struct err *e)
{
    AUTO(fd) int fd = open("/dev/kvm", O_RDWR | O_CLOEXEC);
    int version;

    if (fd < 0)
        return err_errno(e, "open /dev/kvm");
    version = kvm_ioctl(fd, KVM_GET_API_VERSION, NULL);
    if (version != KVM_API_VERSION)
        return err_set(e, -ENOTSUP, "/dev/kvm speaks API version %d, wanted is %d", version,
                       KVM_API_VERSION);
    return TAKE_FD(fd);
}

static int cap(int fd, int which)
{
    return kvm_ioctl(fd, KVM_CHECK_EXTENSION, (void *)(uintptr_t)which);
}

/* What we cannot do without. */
static int check_caps(int fd, struct err *e)
{
    /* clang-format off */
    static const struct { int cap; const char *name; } needed[] = {
        { KVM_CAP_IRQCHIP,        "in-kernel interrupt controllers" },
        { KVM_CAP_USER_MEMORY,    "user memory" },
        { KVM_CAP_IRQFD,          "irqfd" },
        { KVM_CAP_IOEVENTFD,      "ioeventfd" },
        { KVM_CAP_IRQ_ROUTING,    "interrupt routing" },
        { KVM_CAP_SIGNAL_MSI,     "messages" },
        { KVM_CAP_IMMEDIATE_EXIT, "immediate exit" },
        { KVM_CAP_MP_STATE,       "run states" },
        { KVM_CAP_VCPU_EVENTS,    "pending events" },
        { KVM_CAP_XSAVE,          "XSAVE" },
        { KVM_CAP_XCRS,           "XCR0" },
        { KVM_CAP_DEBUGREGS,      "debug registers" },
        { KVM_CAP_ADJUST_CLOCK,   "an adjustable clock" },
        { KVM_CAP_GET_TSC_KHZ,    "the TSC's frequency" },
    };
    /* clang-format on */

    for_each_row(n, needed)
        if (cap(fd, n->cap) <= 0)
            return err_set(e, -ENOTSUP, "/dev/kvm lacks %s", n->name);
    return 0;
}

static int load_msr_list(struct kvm_vm *k, struct err *e)
{
    struct {
        struct kvm_msr_list head;
        u32 rows[1024];
    } list = { .head = { .nmsrs = 1024 } };
    int r = kvm_ioctl(k->dev_fd, KVM_GET_MSR_INDEX_LIST, &list);

    if (r < 0)
        return err_code(e, r, "ask KVM which MSRs it saves");
    k->n_msrs = min(list.head.nmsrs, (u32)VCPU_MSRS_MAX);
    if (list.head.nmsrs > VCPU_MSRS_MAX)
        log_info("KVM saves %u MSRs, %u fit", list.head.nmsrs, VCPU_MSRS_MAX);
    memcpy(k->msrs, list.head.indices, k->n_msrs * sizeof(k->msrs[0]));
    return 0;
}

static int vm_make(struct cpu_vm *vm, struct kvm_vm *k, struct err *e)
{
    u64 identity = KVM_IDENTITY_MAP_GPA;
    struct kvm_enable_cap payload = { .cap = KVM_CAP_EXCEPTION_PAYLOAD, .args = { 1 } };
    int most = cap(k->dev_fd, KVM_CAP_MAX_VCPUS);

    if (most > 0 && vm->cfg.n_cpus > (u32)most)
        return err_set(e, -EINVAL, "%u vCPUs: this host's KVM allows %d", vm->cfg.n_cpus, most);
    k->fd = kvm_ioctl(k->dev_fd, KVM_CREATE_VM, NULL);
    if (k->fd < 0)
        return err_code(e, k->fd, "create the VM");
    k->any_len_doorbell = cap(k->fd, KVM_CAP_IOEVENTFD_ANY_LENGTH) > 0;
    k->blocks_irq = cap(k->dev_fd, KVM_CAP_SET_GUEST_DEBUG2) & KVM_GUESTDBG_BLOCKIRQ;
    k->has_payload = cap(k->fd, KVM_CAP_EXCEPTION_PAYLOAD) > 0 &&
                     kvm_ioctl(k->fd, KVM_ENABLE_CAP, &payload) >= 0;
    if (kvm_ioctl(k->fd, KVM_SET_TSS_ADDR, (void *)(uintptr_t)KVM_TSS_GPA) < 0 ||
        kvm_ioctl(k->fd, KVM_SET_IDENTITY_MAP_ADDR, &identity) < 0)
        return err_errno(e, "place KVM's own pages");
    return 0;
}

static int kvm_open(struct cpu_vm *vm, struct err *e)
{
    struct kvm_vm *k = xnew(struct kvm_vm);
    int r;

    k->fd = -1;
    vm->engine_data = k; /* cpu_close frees what is half-built */
    k->dev_fd = kvm_dev_open(e);
    if (k->dev_fd < 0)
        return k->dev_fd;
    r = check_caps(k->dev_fd, e);
    if (r < 0 || (r = vm_make(vm, k, e)) < 0 || (r = kvm_irq_open(vm, e)) < 0 ||
        (r = kvm_slots_set(vm, false, e)) < 0 || (r = kvm_cpuid_load(k, vm->cfg.model, e)) < 0 ||
        (r = load_msr_list(k, e)) < 0)
        return r;
    k->run_size = (u32)kvm_ioctl(k->dev_fd, KVM_GET_VCPU_MMAP_SIZE, NULL);
    return 0;
}

static void kvm_close(struct cpu_vm *vm)
{
    struct kvm_vm *k = kvm_vm_of(vm);

    kvm_irq_close(vm);
    fd_close(&k->fd);
    fd_close(&k->dev_fd);
    free(k->cpuid);
    free(k);
    vm->engine_data = NULL;
}

static int kvm_vcpu_open(struct vcpu *v, struct err *e)
{
    struct kvm_vm *k = kvm_vm_of(v->vm);
    struct kvm_vcpu *kv = xnew(struct kvm_vcpu);
    int khz;

    v->engine_data = kv;
    kv->fd = kvm_ioctl(k->fd, KVM_CREATE_VCPU, (void *)(uintptr_t)v->index);
    if (kv->fd < 0)
        return err_code(e, kv->fd, "create it");
    kv->run = mmap(NULL, k->run_size, PROT_READ | PROT_WRITE, MAP_SHARED, kv->fd, 0);
    if (kv->run == MAP_FAILED) {
        kv->run = NULL;
        return err_errno(e, "map its run page");
    }
    khz = kvm_ioctl(kv->fd, KVM_GET_TSC_KHZ, NULL);
    k->tsc_khz = khz > 0 ? (u32)khz : 0;
    return kvm_cpuid_set(v->vm, kv, v->index, e);
}

static void kvm_vcpu_close(struct vcpu *v)
{
    struct kvm_vcpu *kv = kvm_vcpu_of(v);

    if (kv->run)
        munmap(kv->run, kvm_vm_of(v->vm)->run_size);
    fd_close(&kv->fd);
    free(kv);
    v->engine_data = NULL;
}

static int kvm_doorbell(struct cpu_vm *vm, u64 addr, u32 len, int fd, bool on)
{
    struct kvm_vm *k = kvm_vm_of(vm);
    struct kvm_ioeventfd f = {
        .addr = addr,
        .len = k->any_len_doorbell ? 0 : len, /* 0: KVM need not even decode the instruction */
        .fd = fd,
        .flags = on ? 0 : KVM_IOEVENTFD_FLAG_DEASSIGN,
    };

    return kvm_ioctl(k->fd, KVM_IOEVENTFD, &f);
}

static int kvm_nmi(struct vcpu *v)
{
    return kvm_ioctl(kvm_vcpu_of(v)->fd, KVM_NMI, NULL);
}

static u64 clock_get(struct kvm_vm *k)
{
    struct kvm_clock_data c = {};

    return kvm_ioctl(k->fd, KVM_GET_CLOCK, &c) < 0 ? 0 : c.clock;
}

static int clock_set(struct kvm_vm *k, u64 ns)
{
    struct kvm_clock_data c = { .clock = ns };

    return kvm_ioctl(k->fd, KVM_SET_CLOCK, &c);
}

static void kvm_clock_stop(struct cpu_vm *vm)
{
    struct kvm_vm *k = kvm_vm_of(vm);

    k->clock_ns = clock_get(k);
}

static void kvm_clock_start(struct cpu_vm *vm)
{
    struct kvm_vm *k = kvm_vm_of(vm);

    clock_set(k, k->clock_ns);
    for (u32 i = 0; i < vm->cfg.n_cpus;
         i++) /* tells the guest's watchdogs; fails when it has not set up the clock */
        kvm_ioctl(kvm_vcpu_of(&vm->vcpus[i])->fd, KVM_KVMCLOCK_CTRL, NULL);
}

static int kvm_vm_get(struct cpu_vm *vm, struct cpu_vm_state *ret, struct err *e)
{
    struct kvm_vm *k = kvm_vm_of(vm);

    ret->clock_ns = clock_get(k);
    ret->tsc_khz = k->tsc_khz;
    return kvm_irq_get(vm, ret, e);
}

static int kvm_vm_set(struct cpu_vm *vm, const struct cpu_vm_state *s, struct err *e)
{
    struct kvm_vm *k = kvm_vm_of(vm);
    int r = clock_set(k, s->clock_ns);

    if (r < 0)
        return err_code(e, r, "set the paravirtual clock");
    k->clock_ns = s->clock_ns;
    return kvm_irq_set(vm, s, e);
}

/* The CPU does it in the guest. */
static const char *const unseen[] = {
    "cpu_msr_read", "cpu_msr_write", "cpu_exception", "cpu_interrupt", "cpu_block", "cpu_insn", NULL
};

const struct engine kvm_engine = {
    .name = "kvm",
    .rate = kvm_rate,
    .unseen = unseen,
    .open = kvm_open,
    .close = kvm_close,
    .vcpu_open = kvm_vcpu_open,
    .vcpu_close = kvm_vcpu_close,
    .thread_init = kvm_thread_init,
    .run = kvm_run_vcpu,
    .kick = kvm_kick,
    .settle = kvm_settle,
    .get = kvm_regs_get,
    .set = kvm_regs_set,
    .regs_get = kvm_core_get,
    .regs_set = kvm_core_set,
    .debug_set = kvm_debug_set,
    .exit_name = kvm_exit_name,
    .irq = kvm_irq_line,
    .msi_new = kvm_msi_new,
    .msi_free = kvm_msi_free,
    .msi_aim = kvm_msi_aim,
    .msi_fire = kvm_msi_fire,
    .msi_send = kvm_msi_send,
    .ioapic_changed = kvm_ioapic_changed,
    .nmi = kvm_nmi,
    .doorbell = kvm_doorbell,
    .vm_get = kvm_vm_get,
    .vm_set = kvm_vm_set,
    .clock_stop = kvm_clock_stop,
    .clock_start = kvm_clock_start,
    .dirty_start = kvm_dirty_start,
    .dirty_take = kvm_dirty_take,
    .dirty_stop = kvm_dirty_stop,
};
