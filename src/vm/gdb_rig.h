/*
 * vm/gdb_rig.h: a machine whose vCPUs do nothing but count, for the stub's test and fuzz target.  The client's end of its socket
 * is `fd`.  A vCPU's RIP goes round from CODE to CODE_END, RAX counts its instructions, and the one at WRITES writes to DATA.
 */
#pragma once

#include "cpu/engine.h"
#include "vm/gdb_internal.h"
#include "vm/machine.h"
#include "vm/profile.h"

#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    CODE = 0x1000,
    CODE_END = 0x1100,
    WRITES = 0x1080,
    DATA = 0x2000,
    RAM = 0x100000,
    RIG_CPUS_MAX = 4
};

struct fake_cpu {
    struct vcpu_state s;
    struct cpu_debug d;
    atomic_bool kicked, crashes;
};

struct rig {
    struct vm vm;
    struct vm_spec spec;
    struct cpu_vm cpu;
    struct fake_cpu cpus[RIG_CPUS_MAX];
    char name[8];
    int fd;
    struct gdb_reader reader;
};

static inline struct fake_cpu *fake_of(struct vcpu *v)
{
    return v->engine_data;
}

static void fake_thread_init(struct vcpu *)
{
}
static void fake_settle(struct vcpu *)
{
}
static void fake_clock(struct cpu_vm *)
{
}

static void fake_kick(struct vcpu *v)
{
    atomic_store(&fake_of(v)->kicked, true);
}

static bool fake_stops(struct vcpu *v, enum cpu_point_kind kind, u64 addr, enum cpu_stop_kind stop)
{
    struct cpu_debug *d = &fake_of(v)->d;

    for (u32 i = 0; i < d->n_points; i++) {
        if (d->point[i].kind != kind || addr - d->point[i].addr >= d->point[i].len)
            continue;
        v->debug = (struct cpu_stop){ stop, d->point[i].addr };
        return true;
    }
    return false;
}

static enum vcpu_next fake_run(struct vcpu *v)
{
    struct fake_cpu *f = fake_of(v);

    for (;;) {
        u64 rip = f->s.rip;

        if (atomic_exchange(&f->kicked, false))
            return VCPU_KICKED;
        if (atomic_load(&f->crashes))
            return VCPU_TRIPLE_FAULT;
        if (fake_stops(v, CPU_POINT_EXEC, rip, CPU_STOP_EXEC))
            return VCPU_DEBUG;
        f->s.rip = rip + 1 < CODE_END ? rip + 1 : CODE;
        f->s.reg[GPR_RAX]++;
        if (rip == WRITES && fake_stops(v, CPU_POINT_WRITE, DATA, CPU_STOP_WRITE))
            return VCPU_DEBUG;
        if (f->d.step) {
            v->debug = (struct cpu_stop){ CPU_STOP_STEP, f->s.rip };
            return VCPU_DEBUG;
        }
    }
}

static int fake_get(struct vcpu *v, struct vcpu_state *ret, struct err *)
{
    *ret = fake_of(v)->s;
    return 0;
}

static int fake_set(struct vcpu *v, const struct vcpu_state *s, struct err *)
{
    fake_of(v)->s = *s;
    return 0;
}

static int fake_debug_set(struct vcpu *v, const struct cpu_debug *d, struct err *e)
{
    u32 watches = 0, missing = 0;

    for (u32 i = 0; i < d->n_points; i++) {
        watches += d->point[i].kind != CPU_POINT_EXEC;
        missing += d->point[i].addr >= RAM;
    }
    if (watches > 4)
        return err_set(e, -ENOSPC, "more than 4 watchpoints");
    fake_of(v)->d = *d;
    return (int)missing;
}

static int fake_vm_get(struct cpu_vm *, struct cpu_vm_state *, struct err *)
{
    return 0;
}

static const struct engine fake_engine = {
    .name = "fake",
    .thread_init = fake_thread_init,
    .run = fake_run,
    .kick = fake_kick,
    .settle = fake_settle,
    .get = fake_get,
    .set = fake_set,
    .regs_get = fake_get,
    .regs_set = fake_set,
    .debug_set = fake_debug_set,
    .vm_get = fake_vm_get,
    .clock_start = fake_clock,
    .clock_stop = fake_clock,
};

/* A machine with memory and vCPUs at CODE; nothing runs. */
static inline struct rig *rig_new(u32 n_cpus)
{
    struct rig *r = xnew(struct rig);
    struct err e = {};

    str_copy(r->name, sizeof(r->name), "rig");
    r->spec = (struct vm_spec){ .name = r->name, .cpus = n_cpus, .memory = RAM };
    must(loop_init(&r->vm.loop, "rig") == 0);
    must(mem_new(&(struct mem_cfg){ .size = RAM }, &r->vm.mem, &e) == 0);
    r->cpu = (struct cpu_vm){ .en = &fake_engine, .cfg = { .n_cpus = n_cpus }, .mem = r->vm.mem };
    for (u32 i = 0; i < n_cpus; i++) {
        r->cpu.vcpus[i].vm = &r->cpu;
        r->cpu.vcpus[i].index = i;
        r->cpu.vcpus[i].engine_data = &r->cpus[i];
        r->cpus[i].s.rip = CODE;
        r->cpus[i].s.cr0 = 1;
    }
    r->vm.machine = (struct machine){ .ops = &run_machine_ops, .arg = &r->vm };
    r->vm.spec = &r->spec;
    r->vm.cpu = &r->cpu;
    r->vm.engine = &fake_engine;
    atomic_init(&r->vm.failed_vcpu, -1);
    pthread_mutex_init(&r->vm.lock, NULL);
    pthread_mutex_init(&r->vm.why_lock, NULL);
    pthread_cond_init(&r->vm.go, NULL);
    profile_open(&r->vm, &r->vm.profile);
    must(gdb_open(&r->vm, NULL, &r->vm.gdb, &e) == 0);
    r->fd = -1;
    return r;
}

static inline void rig_attach(struct rig *r)
{
    int pair[2];

    must(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) == 0);
    must(gdb_attach(r->vm.gdb, pair[1]) == 0);
    r->fd = pair[0];
    r->reader = (struct gdb_reader){};
}

static inline void rig_free(struct rig *r)
{
    run_join(&r->vm);
    gdb_close(r->vm.gdb);
    profile_close(r->vm.profile);
    loop_fini(&r->vm.loop);
    mem_free(r->vm.mem);
    fd_close(&r->fd);
    free(r);
}

static inline void rig_send(struct rig *r, const void *p, size_t len)
{
    (void)!send(r->fd, p, len, MSG_NOSIGNAL | MSG_DONTWAIT);
}

static inline void rig_turn(struct rig *r)
{
    uv_run(&r->vm.loop.uv, UV_RUN_NOWAIT);
}
