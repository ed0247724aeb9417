/*
 * vm/control_rig.h: a machine without a guest, for the control socket's test and fuzz target: paused, one vCPU of an engine that
 * does nothing, and of the devices only the one with the power button.  Requests go in at one end of a socket pair, answers come out of it.
 */
#pragma once

#include "cpu/engine.h"
#include "dev/dev.h"
#include "dev/pc/pm.h"
#include "vm/machine.h"
#include "vm/profile.h"

#include <sys/socket.h>
#include <unistd.h>

static int rig_get(struct vcpu *v, struct vcpu_state *ret, struct err *)
{
    *ret = (struct vcpu_state){ .rip = 0x1000 + v->index };
    return 0;
}
static int rig_vm_get(struct cpu_vm *, struct cpu_vm_state *, struct err *)
{
    return 0;
}
static int rig_vm_set(struct cpu_vm *, const struct cpu_vm_state *, struct err *)
{
    return 0;
}
static const char *rig_exit_name(u32 row)
{
    return row == 2 ? "io" : NULL;
}
static void rig_clock(struct cpu_vm *)
{
}
static int rig_nmi(struct vcpu *)
{
    return 0;
}
static const char *const rig_unseen[] = { "cpu_insn", NULL };
static const struct engine rig_engine = {
    .name = "rig",
    .unseen = rig_unseen,
    .get = rig_get,
    .vm_get = rig_vm_get,
    .vm_set = rig_vm_set,
    .exit_name = rig_exit_name,
    .clock_start = rig_clock,
    .clock_stop = rig_clock,
    .nmi = rig_nmi,
};

enum { RIG_PM_GSI = 9 };

struct rig {
    struct vm vm;
    struct vm_spec spec;
    struct cpu_vm cpu;
    struct fake_machine *fake;
    char name[8];
    int fd; /* the client's end */
};

static inline struct rig *rig_new(void)
{
    struct rig *r = xnew(struct rig);
    struct err e = {};
    int pair[2];

    must(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) == 0);
    must(loop_init(&r->vm.loop, "rig") == 0);
    str_copy(r->name, sizeof(r->name), "rig");
    r->spec = (struct vm_spec){
        .name = r->name, .cpus = 1, .memory = 1 * GiB, .control_fd = (u32)pair[1]
    };
    r->cpu = (struct cpu_vm){ .en = &rig_engine, .cfg = { .n_cpus = 1 } };
    r->cpu.vcpus[0].vm = &r->cpu;
    r->vm.spec = &r->spec;
    r->vm.cpu = &r->cpu;
    r->vm.engine = &rig_engine;
    r->vm.state = RUN_PAUSED;
    r->vm.user_paused = true;
    pthread_mutex_init(&r->vm.lock, NULL);
    pthread_cond_init(&r->vm.go, NULL);
    r->fake = fake_machine_new();
    must(device_new(&pm_def, &r->fake->m, "pm", &(struct pm_cfg){ 0x600, 0x604, RIG_PM_GSI },
                    &r->vm.pm, &e) == 0);
    uv_timer_init(&r->vm.loop.uv, &r->vm.grace);
    profile_open(&r->vm, &r->vm.profile);
    must(control_open(&r->vm, NULL, &r->vm.control, &e) == 0);
    r->fd = pair[0];
    return r;
}

static inline void rig_free(struct rig *r)
{
    profile_close(r->vm.profile);
    control_close(r->vm.control);
    device_free(r->vm.pm);
    fake_machine_free(r->fake);
    loop_fini(&r->vm.loop);
    fd_close(&r->fd);
    free(r);
}

/* Lets the control loop see what was sent, and adds what it answered. */
static inline void rig_turn(struct rig *r, struct strbuf *answers)
{
    char buf[4096];
    ssize_t n;

    for (int i = 0; i < 4; i++)
        uv_run(&r->vm.loop.uv, UV_RUN_NOWAIT);
    while ((n = recv(r->fd, buf, sizeof(buf), MSG_DONTWAIT)) > 0)
        strbuf_add_mem(answers, buf, (size_t)n);
}

static inline void rig_send(struct rig *r, const void *p, size_t len)
{
    (void)!send(r->fd, p, len, MSG_NOSIGNAL | MSG_DONTWAIT);
}
