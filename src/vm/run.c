/*
 * vm/run.c: run states, vCPU threads, and what the guest's hardware asks of the machine.
 */
#include "base/clock.h"
#include "dev/pc/pm.h"
#include "vm/gdb.h"
#include "vm/machine.h"
#include "vm/profile.h"
#include "vm/save.h"
#include "vm/shed.h"

#include <signal.h>

/* From the start to giving back what only the start needed. */
#define SHED_MS 500

#define STATE_BIT(s) (1u << (s))
/* clang-format off */
static const struct run_state_def {
    const char *name;
    u32 next; /* states that may follow */
} states[RUN_STATES] = {
    [RUN_CREATED] = { "created", STATE_BIT(RUN_RUNNING) | STATE_BIT(RUN_ENDED) },
    [RUN_RUNNING] = { "running", STATE_BIT(RUN_PAUSING) | STATE_BIT(RUN_ENDED) },
    [RUN_PAUSING] = { "pausing", STATE_BIT(RUN_PAUSED) | STATE_BIT(RUN_ENDED) },
    [RUN_PAUSED]  = { "paused",  STATE_BIT(RUN_RUNNING) | STATE_BIT(RUN_ENDED) },
    [RUN_ENDED]   = { "ended",   0 },
};
/* clang-format on */

const char *run_state_name(enum run_state s)
{
    return states[s].name;
}

static void move_to(struct vm *vm, enum run_state to)
{
    must(states[vm->state].next & STATE_BIT(to));
    log_debug("machine '%s': %s -> %s", vm->spec->name, states[vm->state].name, states[to].name);
    vm->state = to;
}

/* vCPU threads. */

/* vm->lock is held. */
static bool is_held(const struct vcpu_thread *t)
{
    const struct vm *vm = t->vm;

    return !vm->quit && (vm->hold || vm->frozen >> t->v->index & 1);
}

/* Waits while the machine holds this vCPU.  False: the machine ended. */
static bool wait_while_held(struct vcpu_thread *t)
{
    struct vm *vm = t->vm;
    bool go_on;

    pthread_mutex_lock(&vm->lock);
    if (is_held(t)) {
        if (++vm->n_parked == cpu_count(vm->cpu))
            uv_async_send(&vm->parked);
        while (is_held(t))
            pthread_cond_wait(&vm->go, &vm->lock);
        vm->n_parked--;
    }
    go_on = !vm->quit;
    pthread_mutex_unlock(&vm->lock);
    return go_on;
}

/* This vCPU, and others when they come by, wait until the control loop has decided. */
static void hold_here(struct vm *vm)
{
    pthread_mutex_lock(&vm->lock);
    vm->hold = true;
    pthread_mutex_unlock(&vm->lock);
}

static void vcpu_ended(struct vcpu_thread *t, enum vcpu_next next)
{
    int none = -1;

    if (next == VCPU_KICKED) {
        vcpu_settle(t->v);
        profile_sample(t->vm->profile, t->v);
        return;
    }
    hold_here(t->vm);
    if (next == VCPU_DEBUG) {
        atomic_fetch_or(&t->vm->debug_hits, 1ull << t->v->index);
        uv_async_send(&t->vm->events);
        return;
    }
    atomic_compare_exchange_strong(&t->vm->failed_vcpu, &none, (int)t->v->index);
    machine_event(&t->vm->machine, MACHINE_PANIC, 0,
                  next == VCPU_TRIPLE_FAULT ? "triple fault" : t->v->failure);
}

static void *vcpu_main(void *arg)
{
    struct vcpu_thread *t = arg;
    struct err e = {};
    char name[16];

    str_fmt(name, sizeof(name), "vcpu%u", t->v->index);
    pthread_setname_np(pthread_self(), name);
    if (t->vm->confined && jail_seccomp(JAIL_VCPU, &e) < 0) {
        log_error("vCPU %u: %s", t->v->index, e.text);
        abort();
    }
    vcpu_thread_init(t->v);
    while (wait_while_held(t))
        vcpu_ended(t, vcpu_run(t->v));
    return NULL;
}

static void hold_vcpus(struct vm *vm)
{
    pthread_mutex_lock(&vm->lock);
    vm->hold = true;
    pthread_mutex_unlock(&vm->lock);
    for (u32 i = 0; i < cpu_count(vm->cpu); i++)
        vcpu_kick(cpu_vcpu(vm->cpu, i));
}

static void release_vcpus(struct vm *vm)
{
    pthread_mutex_lock(&vm->lock);
    vm->hold = false;
    pthread_cond_broadcast(&vm->go);
    pthread_mutex_unlock(&vm->lock);
}

static bool all_parked(struct vm *vm)
{
    bool all;

    pthread_mutex_lock(&vm->lock);
    all = vm->hold && vm->n_parked == cpu_count(vm->cpu);
    pthread_mutex_unlock(&vm->lock);
    return all;
}

/* The control loop. */

static void go_on(struct vm *vm)
{
    for (u32 i = 0; i < vm->n_devices; i++)
        device_resume(vm->devices[i]);
    cpu_clock_start(vm->cpu);
    vm->pause_why[0] = 0;
    move_to(vm, RUN_RUNNING);
    vm->went_on_ns = clock_mono_ns();
    release_vcpus(vm);
}

/* A vCPU that stands at a breakpoint is told to the debugger first: on_events is under way. */
static void go_on_if_free(struct vm *vm)
{
    if (vm->state == RUN_PAUSED && !vm->user_paused && !vm->debug_paused && !vm->saving &&
        !vm->calling && !atomic_load(&vm->debug_hits))
        go_on(vm);
}

/* Does what waited for parked vCPUs; none of it makes the guest go on before all is done. */
static void run_calls(struct vm *vm)
{
    vm->calling = true;
    for (u32 i = 0; i < vm->n_calls; i++)
        vm->calls[i].fn(vm, vm->calls[i].arg);
    vm->n_calls = 0;
    vm->calling = false;
}

static void on_parked(uv_async_t *a)
{
    struct vm *vm = container_of(a, struct vm, parked);

    if (vm->state != RUN_PAUSING || !all_parked(vm))
        return;
    cpu_clock_stop(vm->cpu);
    for (u32 i = 0; i < vm->n_devices; i++)
        device_pause(vm->devices[i]);
    move_to(vm, RUN_PAUSED);
    run_calls(vm);
    go_on_if_free(vm);
}

int run_parked(struct vm *vm, void (*fn)(struct vm *vm, void *arg), void *arg)
{
    if (vm->state == RUN_PAUSED || vm->state == RUN_CREATED) {
        fn(vm, arg);
        return 0;
    }
    if (vm->state == RUN_ENDED || vm->n_calls == VM_CALLS_MAX)
        return -EBUSY;
    vm->calls[vm->n_calls++] = (struct vm_call){ fn, arg };
    if (vm->state == RUN_RUNNING) {
        move_to(vm, RUN_PAUSING);
        hold_vcpus(vm);
        uv_async_send(&vm->parked); /* they may all have parked by themselves, at breakpoints */
    }
    return 0;
}

static void nothing(struct vm *vm [[maybe_unused]], void *arg [[maybe_unused]])
{
}

void run_pause(struct vm *vm, const char *why)
{
    vm->user_paused = true;
    str_fmt(vm->pause_why, sizeof(vm->pause_why), "%.159s", why);
    if (vm->state == RUN_RUNNING)
        run_parked(vm, nothing, NULL);
}

void run_resume(struct vm *vm)
{
    vm->user_paused = false;
    vm->pause_why[0] = 0;
    go_on_if_free(vm);
}

int run_save_stop(struct vm *vm, void (*fn)(struct vm *vm, void *arg), void *arg)
{
    int r;

    vm->saving = true;
    r = run_parked(vm, fn, arg);
    vm->saving = vm->saving && r >= 0;
    return r;
}

void run_save_go(struct vm *vm)
{
    vm->saving = false;
    if (vm->reset_owed)
        run_reset(vm);
    go_on_if_free(vm);
}

static void do_reset(struct vm *vm, void *arg [[maybe_unused]])
{
    struct err e = {};
    int r = 0;

    if (vm->state == RUN_ENDED)
        return;
    vm->crash_why[0] = 0;
    for (u32 i = 0; i < vm->n_devices; i++)
        device_reset(vm->devices[i]);
    for (u32 i = 0; r >= 0 && i < cpu_count(vm->cpu); i++)
        r = vcpu_reset(cpu_vcpu(vm->cpu, i), &e);
    if (r >= 0)
        r = cpu_vm_reset(vm->cpu, &e);
    if (r >= 0)
        r = boot_load(vm, false, &e);
    if (r < 0)
        run_end(vm, VM_END_RESET, 0, e.text);
}

int run_reset(struct vm *vm)
{
    vm->reset_owed = vm->saving; /* run_save_settle or run_save_go does it */
    return vm->saving ? 0 : run_parked(vm, do_reset, NULL);
}

void run_end(struct vm *vm, enum vm_end end, u32 status, const char *why)
{
    if (vm->state == RUN_ENDED)
        return;
    move_to(vm, RUN_ENDED);
    vm->result = (struct vm_result){ .end = end, .status = status };
    str_fmt(vm->result.why, sizeof(vm->result.why), "%.199s", why ? why : "");
    loop_stop(&vm->loop);
}

int run_debug_stop(struct vm *vm, void (*fn)(struct vm *vm, void *arg), void *arg)
{
    vm->debug_paused = true;
    return run_parked(vm, fn, arg);
}

void run_debug_go(struct vm *vm, u64 frozen)
{
    pthread_mutex_lock(&vm->lock);
    vm->frozen = frozen;
    pthread_mutex_unlock(&vm->lock);
    vm->debug_paused = false;
    if (vm->crash_why[0])
        run_end(vm, VM_END_CRASH, 0, vm->crash_why);
    else
        go_on_if_free(vm);
}

static void on_grace_over(uv_timer_t *t)
{
    struct vm *vm = container_of(t, struct vm, grace);

    log_warn("machine '%s' did not switch itself off in time after its power button: power cut",
             vm->spec->name);
    run_end(vm, VM_END_CUT, 0, NULL);
}

void run_shutdown(struct vm *vm, u64 seconds)
{
    if (vm->ending) { /* asked twice: meant */
        run_end(vm, VM_END_CUT, 0, NULL);
        return;
    }
    vm->ending = true;
    run_resume(vm); /* a paused guest cannot shut down */
    pm_power_button(vm->pm);
    uv_timer_start(&vm->grace, on_grace_over, seconds * 1000, 0);
}

static void on_signal(uv_signal_t *s, int sig [[maybe_unused]])
{
    run_shutdown(s->data, RUN_GRACE_SECONDS);
}

/* Events of devices and vCPUs, from any thread. */

static void ops_event(void *arg, enum machine_event what, u64 value, const char *why)
{
    struct vm *vm = arg;

    if (what == MACHINE_EXIT)
        atomic_store(&vm->exit_value, value);
    if (why) {
        pthread_mutex_lock(&vm->why_lock);
        str_fmt(vm->event_why, sizeof(vm->event_why), "%.159s", why);
        pthread_mutex_unlock(&vm->why_lock);
    }
    atomic_fetch_or(&vm->event_bits, 1u << what);
    uv_async_send(&vm->events);
}

static void on_panic(struct vm *vm, const char *why)
{
    int v = atomic_load(&vm->failed_vcpu);
    bool triple = strcmp(why, "triple fault") == 0;
    char text[200];

    if (v < 0) {
        run_end(vm, VM_END_CRASH, 0, why);
        return;
    }
    str_fmt(text, sizeof(text), "vCPU %d: %s", v, why);
    if (triple && gdb_crash(vm->gdb, (u32)v)) {
        atomic_store(&vm->failed_vcpu, -1); /* a reset may bring it back to life */
        str_fmt(vm->crash_why, sizeof(vm->crash_why), "%.60s", text);
        return;
    }
    run_end(vm, triple ? VM_END_CRASH : VM_END_ENGINE, 0, text);
}

static void on_events(uv_async_t *a)
{
    struct vm *vm = container_of(a, struct vm, events);
    u32 bits = atomic_exchange(&vm->event_bits, 0);
    u64 hits = atomic_exchange(&vm->debug_hits, 0);
    char why[sizeof(vm->event_why)];

    pthread_mutex_lock(&vm->why_lock);
    memcpy(why, vm->event_why, sizeof(why));
    pthread_mutex_unlock(&vm->why_lock);
    if (bits & 1u << MACHINE_EXIT)
        run_end(vm, VM_END_EXIT, (u32)atomic_load(&vm->exit_value) & 0xff, NULL);
    else if (bits & 1u << MACHINE_POWEROFF)
        run_end(vm, VM_END_POWEROFF, 0, NULL);
    else if (bits & 1u << MACHINE_PANIC)
        on_panic(vm, why);
    else if (bits & 1u << MACHINE_RESET)
        run_reset(vm);
    if (hits && vm->state != RUN_ENDED)
        gdb_hit(vm->gdb, hits);
    if (bits & 1u << MACHINE_IO_STOP && vm->state != RUN_ENDED) {
        log_warn("machine '%s' is paused: %s", vm->spec->name, why);
        run_pause(vm, why);
    }
}

bool run_save_settle(struct vm *vm)
{
    on_events(&vm->events);
    if (vm->reset_owed) {
        vm->reset_owed = false;
        do_reset(vm, NULL);
    }
    return vm->state != RUN_ENDED;
}

static void ops_irq(void *arg, u32 gsi, bool level)
{
    cpu_irq(((struct vm *)arg)->cpu, gsi, level);
}

static struct msi *ops_msi_new(void *arg)
{
    return cpu_msi_new(((struct vm *)arg)->cpu);
}

static void ops_msi_free(void *arg, struct msi *m)
{
    cpu_msi_free(((struct vm *)arg)->cpu, m);
}

static void ops_msi_aim(void *arg, struct msi *m, u64 addr, u32 data)
{
    cpu_msi_aim(((struct vm *)arg)->cpu, m, addr, data);
}

static void ops_msi_fire(void *arg, struct msi *m)
{
    cpu_msi_fire(((struct vm *)arg)->cpu, m);
}

static int ops_doorbell(void *arg, u64 addr, u32 len, int fd, bool on)
{
    return cpu_doorbell(((struct vm *)arg)->cpu, addr, len, fd, on);
}

static int ops_io_start(void *arg, struct loop *l, enum io_role role)
{
    struct vm *vm = arg;

    if (vm->io_started)
        return loop_start(l);
    if (vm->n_io_loops == VM_IO_LOOPS_MAX)
        return -ENOSPC;
    vm->io_loops[vm->n_io_loops++] =
        (struct io_loop){ vm, l, role == IO_SOCKETS ? JAIL_IO_NET : JAIL_IO };
    return 0;
}

const struct machine_ops run_machine_ops = {
    .irq = ops_irq,
    .msi_new = ops_msi_new,
    .msi_free = ops_msi_free,
    .msi_aim = ops_msi_aim,
    .msi_fire = ops_msi_fire,
    .doorbell = ops_doorbell,
    .io_start = ops_io_start,
    .event = ops_event,
};

static void on_io_thread(void *arg)
{
    struct io_loop *io = arg;
    struct err e = {};

    if (io->vm->confined && jail_seccomp(io->role, &e) < 0) {
        log_error("I/O thread '%s': %s", io->loop->name, e.text);
        abort();
    }
}

static int start_io(struct vm *vm, struct err *e)
{
    vm->io_started = true;
    for (u32 i = 0; i < vm->n_io_loops; i++) {
        struct io_loop *io = &vm->io_loops[i];
        int r;

        io->loop->on_start = on_io_thread;
        io->loop->on_start_arg = io;
        r = loop_start(io->loop);
        if (r < 0)
            return err_code(e, r, "start I/O thread '%s'", io->loop->name);
    }
    return 0;
}

static int start_vcpus(struct vm *vm, struct err *e)
{
    vm->hold = true;
    for (u32 i = 0; i < cpu_count(vm->cpu); i++) {
        struct vcpu_thread *t = &vm->vcpus[i];
        int r;

        *t = (struct vcpu_thread){ .vm = vm, .v = cpu_vcpu(vm->cpu, i) };
        r = pthread_create(&t->thread, NULL, vcpu_main, t);
        if (r)
            return err_code(e, -r, "start the thread of vCPU %u", i);
        t->started = true;
    }
    return 0;
}

static void watch_signal(struct vm *vm, uv_signal_t *s, int sig)
{
    uv_signal_init(&vm->loop.uv, s);
    s->data = vm;
    uv_signal_start(s, on_signal, sig);
}

static void on_shed(uv_timer_t *)
{
    shed_startup();
}

int run_start(struct vm *vm, struct err *e)
{
    int r;

    uv_async_init(&vm->loop.uv, &vm->parked, on_parked);
    uv_async_init(&vm->loop.uv, &vm->events, on_events);
    uv_timer_init(&vm->loop.uv, &vm->grace);
    uv_timer_init(&vm->loop.uv, &vm->shed);
    watch_signal(vm, &vm->sigterm, SIGTERM);
    watch_signal(vm, &vm->sigint, SIGINT);
    watch_signal(vm, &vm->sighup, SIGHUP);
    r = start_io(vm, e);
    if (r >= 0)
        r = start_vcpus(vm, e);
    if (r >= 0 && vm->confined)
        r = jail_seccomp(JAIL_MAIN, e);
    if (r < 0)
        return r;
    vm->started_ns = clock_mono_ns();
    log_info("machine '%s' enters its guest after %llu us of CPU time", vm->spec->name,
             clock_ns(CLOCK_PROCESS_CPUTIME_ID) / NSEC_PER_USEC);
    for (u32 i = 0; vm->spec->restore.file && i < vm->n_devices; i++)
        device_resume(vm->devices[i]); /* they were loaded, and stand still since */
    cpu_clock_start(vm->cpu);
    move_to(vm, RUN_RUNNING);
    if (vm->debug_paused)
        run_parked(vm, nothing, NULL); /* the first instruction waits for the debugger */
    else
        release_vcpus(vm);
    save_fetch(vm->save);
    if (vm->confined) /* else somebody debugs, and may have breakpoints */
        uv_timer_start(&vm->shed, on_shed, SHED_MS, 0);
    return 0;
}

void run_join(struct vm *vm)
{
    pthread_mutex_lock(&vm->lock);
    vm->quit = true;
    pthread_cond_broadcast(&vm->go);
    pthread_mutex_unlock(&vm->lock);
    for (u32 i = 0; vm->cpu && i < cpu_count(vm->cpu); i++) {
        struct vcpu_thread *t = &vm->vcpus[i];

        if (!t->started)
            continue;
        vcpu_kick(t->v);
        pthread_join(t->thread, NULL);
        t->started = false;
    }
    run_calls(vm); /* whoever still waits is answered, or freed */
}
