/*
 * cpu/kvm/kvm_run.c: the exit loop.
 *   (1) A kick sets `kicked`, then immediate_exit, then signals: whichever of the three the loop meets first ends KVM_RUN.
 *   (2) No exit handler allocates, takes a lock of ours other than the device's, or logs.
 */
#include "cpu/kvm/kvm.h"

#include <signal.h>
#include <stdio.h>
#include <sys/ioctl.h>

#define TRACE_DEF "cpu/trace.def"
#include "base/trace_points.h"

#define KICK_SIGNAL SIGUSR1

typedef enum vcpu_next (*exit_fn)(struct vcpu *v, struct kvm_run *run);

/* Handlers return GO_ON to enter the guest again. */
#define GO_ON ((enum vcpu_next) - 1)

/* One element of an IN or OUT goes as one access; string forms bring several. */
static enum vcpu_next on_io(struct vcpu *v, struct kvm_run *run)
{
    const struct cpu_host *h = &v->vm->host;
    u8 *p = (u8 *)run + run->io.data_offset;
    u32 size = run->io.size;

    for (u32 i = 0; i < run->io.count; i++, p += size) {
        u64 val;

        if (run->io.direction == KVM_EXIT_IO_OUT) {
            val = le_load(p, size);
            trace_cpu_pio_write(run->io.port, size, val);
            h->pio_write(h->arg, run->io.port, size, val);
            continue;
        }
        h->pio_read(h->arg, run->io.port, size, &val);
        trace_cpu_pio_read(run->io.port, size, val);
        le_store(p, size, val);
    }
    return GO_ON;
}

static enum vcpu_next on_mmio(struct vcpu *v, struct kvm_run *run)
{
    u64 gpa = run->mmio.phys_addr;
    u32 done = 0, total = run->mmio.len;

    while (done < total) { /* 3, 5, 6, 7: an access that crosses something; in natural pieces */
        u32 left = total - done, piece = left >= 8 ? 8 : left >= 4 ? 4 : left >= 2 ? 2 : 1;
        u64 val = ~0ull;

        if (run->mmio.is_write) {
            val = le_load(run->mmio.data + done, piece);
            trace_cpu_mmio_write(gpa + done, piece, val);
            cpu_mmio_write(v->vm, gpa + done, piece, val);
        } else {
            cpu_mmio_read(v->vm, gpa + done, piece, &val);
            trace_cpu_mmio_read(gpa + done, piece, val);
            le_store(run->mmio.data + done, piece, val);
        }
        done += piece;
    }
    return GO_ON;
}

static enum vcpu_next on_ioapic_eoi(struct vcpu *v, struct kvm_run *run)
{
    trace_cpu_eoi(run->eoi.vector);
    ioapic_eoi(&v->vm->ioapic, run->eoi.vector);
    return GO_ON;
}

static enum vcpu_next on_nothing(struct vcpu *v [[maybe_unused]],
                                 struct kvm_run *run [[maybe_unused]])
{
    return GO_ON;
}

static enum vcpu_next on_debug(struct vcpu *v, struct kvm_run *run)
{
    if (!kvm_debug_hit(v, &run->debug.arch))
        return GO_ON;
    trace_cpu_stop(v->debug.kind, v->debug.addr);
    return VCPU_DEBUG;
}

static enum vcpu_next on_shutdown(struct vcpu *v [[maybe_unused]],
                                  struct kvm_run *run [[maybe_unused]])
{
    return VCPU_TRIPLE_FAULT;
}

static enum vcpu_next on_fail_entry(struct vcpu *v, struct kvm_run *run)
{
    str_fmt(v->failure, sizeof(v->failure),
            "the CPU refused to enter the guest: hardware reason 0x%llx",
            (u64)run->fail_entry.hardware_entry_failure_reason);
    return VCPU_FAILED;
}

static enum vcpu_next on_internal_error(struct vcpu *v, struct kvm_run *run)
{
    if (run->internal.suberror == KVM_INTERNAL_ERROR_EMULATION && kvm_debug_stuck(v))
        return VCPU_DEBUG;
    str_fmt(v->failure, sizeof(v->failure), "KVM internal error %u%s", run->internal.suberror,
            run->internal.suberror == KVM_INTERNAL_ERROR_EMULATION
                ? ": an instruction it cannot emulate"
                : "");
    return VCPU_FAILED;
}

/* clang-format off */
static const struct exit_def {
    const char *name;
    exit_fn fn;
} exits[] = {
    [KVM_EXIT_IO]              = { "io",             on_io },
    [KVM_EXIT_MMIO]            = { "mmio",           on_mmio },
    [KVM_EXIT_IOAPIC_EOI]      = { "ioapic-eoi",     on_ioapic_eoi },
    [KVM_EXIT_INTR]            = { "intr",           on_nothing },
    [KVM_EXIT_IRQ_WINDOW_OPEN] = { "irq-window",     on_nothing },
    [KVM_EXIT_HLT]             = { "hlt",            on_nothing },
    [KVM_EXIT_DEBUG]           = { "debug",          on_debug },
    [KVM_EXIT_SHUTDOWN]        = { "shutdown",       on_shutdown },
    [KVM_EXIT_FAIL_ENTRY]      = { "fail-entry",     on_fail_entry },
    [KVM_EXIT_INTERNAL_ERROR]  = { "internal-error", on_internal_error },
};
/* clang-format on */
static_assert(ARRAY_LEN(exits) <= CPU_EXIT_KINDS - 1,
              "exit statistics have a row for each, and one for kicks");
enum { EXIT_KICK = CPU_EXIT_KINDS - 1 };

const char *kvm_exit_name(u32 row)
{
    if (row == EXIT_KICK)
        return "kick";
    return row < ARRAY_LEN(exits) ? exits[row].name : NULL;
}

static void on_kick_signal(int sig [[maybe_unused]])
{
}

void kvm_thread_init(struct vcpu *v)
{
    struct kvm_vcpu *kv = kvm_vcpu_of(v);
    struct sigaction sa = { .sa_handler = on_kick_signal }; /* no SA_RESTART: KVM_RUN must return */

    sigaction(KICK_SIGNAL, &sa, NULL);
    kv->thread = pthread_self();
    atomic_store(&kv->has_thread, true);
}

void kvm_kick(struct vcpu *v)
{
    struct kvm_vcpu *kv = kvm_vcpu_of(v);

    atomic_store(&kv->kicked, true);
    __atomic_store_n(&kv->run->immediate_exit, 1, __ATOMIC_SEQ_CST);
    if (atomic_load(&kv->has_thread))
        pthread_kill(kv->thread, KICK_SIGNAL);
}

static enum vcpu_next dispatch(struct vcpu *v, struct kvm_run *run)
{
    u32 why = run->exit_reason;

    if (unlikely(why >= ARRAY_LEN(exits) || !exits[why].fn)) {
        str_fmt(v->failure, sizeof(v->failure), "KVM exit reason %u has no handler", why);
        return VCPU_FAILED;
    }
    v->exits[why]++;
    return exits[why].fn(v, run);
}

static enum vcpu_next run_failed(struct vcpu *v, int code)
{
    str_fmt(v->failure, sizeof(v->failure), "KVM_RUN: %s", strerror(code));
    return VCPU_FAILED;
}

enum vcpu_next kvm_run_vcpu(struct vcpu *v)
{
    struct kvm_vcpu *kv = kvm_vcpu_of(v);
    enum vcpu_next next = GO_ON;

    while (next == GO_ON) {
        if (unlikely(ioctl(kv->fd, KVM_RUN, 0) < 0)) {
            if (errno != EINTR && errno != EAGAIN)
                return run_failed(v, errno);
        } else {
            next = dispatch(v, kv->run);
        }
        if (unlikely(atomic_load_explicit(&kv->kicked, memory_order_relaxed))) {
            __atomic_store_n(&kv->run->immediate_exit, 0, __ATOMIC_SEQ_CST);
            atomic_store(&kv->kicked, false);
            v->exits[EXIT_KICK]++;
            trace_cpu_kick(v->exits[EXIT_KICK]);
            next = next == GO_ON ? VCPU_KICKED : next;
        }
    }
    return next;
}

void kvm_settle(struct vcpu *v)
{
    struct kvm_vcpu *kv = kvm_vcpu_of(v);

    __atomic_store_n(&kv->run->immediate_exit, 1, __ATOMIC_SEQ_CST);
    while (ioctl(kv->fd, KVM_RUN, 0) ==
           0) /* a string instruction or a page-crossing access has more than one part */
        if (dispatch(v, kv->run) != GO_ON)
            break;
    __atomic_store_n(&kv->run->immediate_exit, 0, __ATOMIC_SEQ_CST);
}
