/*
 * cpu/soft/rate.c: how quick is this engine on this host?  The same loop that measures KVM, for a millisecond.
 */
#include "base/clock.h"
#include "cpu/soft/soft.h"

#include <stdlib.h>

enum { CODE_GPA = 0x1000, LOOPS = 100000, EXITS = 64, ROUNDS = 3 };

/* 32-bit: MOV ECX, LOOPS; DEC ECX; JNZ; then OUT for ever. */
/* clang-format off */
static const u8 code[] = {
    0xb9, LOOPS & 0xff, LOOPS >> 8 & 0xff, LOOPS >> 16 & 0xff, 0,
    0x49,
    0x75, 0xfd,
    0xe6, 0x80,
    0xeb, 0xfc,
};
/* clang-format on */

struct probe {
    struct mem *mem;
    struct cpu_vm *vm;
    u32 writes;
    u64 loop_end_ns, end_ns; /* of the loop, and of EXITS port writes */
};

static void pio_read(void *arg [[maybe_unused]], u16 port [[maybe_unused]],
                     u32 len [[maybe_unused]], u64 *ret)
{
    *ret = 0;
}

static void pio_write(void *arg, u16 port [[maybe_unused]], u32 len [[maybe_unused]],
                      u64 val [[maybe_unused]])
{
    struct probe *p = arg;

    if (p->writes++ == 0)
        p->loop_end_ns = clock_mono_ns();
    if (p->writes <= EXITS)
        return;
    p->end_ns = clock_mono_ns();
    vcpu_kick(cpu_vcpu(p->vm, 0));
}

static void mmio_read(void *arg [[maybe_unused]], u64 gpa [[maybe_unused]],
                      u32 len [[maybe_unused]], u64 *ret)
{
    *ret = 0;
}

static void mmio_write(void *arg [[maybe_unused]], u64 gpa [[maybe_unused]],
                       u32 len [[maybe_unused]], u64 val [[maybe_unused]])
{
}

/* Flat 32-bit protected mode at the code. */
static int set_state(struct probe *p, struct err *e)
{
    struct vcpu *v = cpu_vcpu(p->vm, 0);
    AUTO(free) struct vcpu_state *s = xnew(struct vcpu_state);
    int r = vcpu_get(v, s, e);

    if (r < 0)
        return r;
    for (u32 i = SEG_ES; i <= SEG_GS; i++)
        s->seg[i] = (struct seg_state){ .limit = 0xffffffff, .selector = 16, .attr = 0xc093 };
    s->seg[SEG_CS].attr = 0xc09b;
    s->seg[SEG_CS].selector = 8;
    s->cr0 |= CR0_PE;
    s->rip = CODE_GPA;
    s->rflags = RF_ONE;
    return vcpu_set(v, s, e);
}

/* The quickest of some rounds counts: the first decodes, and others may be disturbed. */
static int measure(struct probe *p, struct cpu_rating *ret, struct err *e)
{
    u64 loop_ns = ~0ull, exit_ns = ~0ull;

    for (u32 i = 0; i < ROUNDS; i++) {
        u64 start, took;
        int r = set_state(p, e);

        if (r < 0)
            return r;
        p->writes = 0;
        start = clock_mono_ns();
        if (vcpu_run(cpu_vcpu(p->vm, 0)) != VCPU_KICKED)
            return err_set(e, -EIO, "its measuring loop did not end");
        took = p->loop_end_ns - start;
        loop_ns = took < loop_ns ? took : loop_ns;
        took = (p->end_ns - p->loop_end_ns) / EXITS;
        exit_ns = took < exit_ns ? took : exit_ns;
    }
    ret->ips = 2 * LOOPS * NSEC_PER_SEC / max(loop_ns, 1ull);
    ret->exit_ns = exit_ns;
    return 0;
}

int soft_rate(const struct cpu_pick *how, struct cpu_rating *ret, struct err *e)
{
    struct probe p = {};
    struct cpu_host host = { pio_read, pio_write, mmio_read, mmio_write, &p };
    u64 start = clock_mono_ns();
    int r = mem_new(&(struct mem_cfg){ .size = MEM_SIZE_MIN }, &p.mem, e);

    if (r >= 0)
        r = mem_write(p.mem, CODE_GPA, code, sizeof(code));
    if (r >= 0)
        r = cpu_open(&soft_engine, &(struct cpu_cfg){ .n_cpus = 1, .jit = how->jit }, p.mem, &host,
                     &p.vm, e);
    if (r >= 0) {
        vcpu_thread_init(cpu_vcpu(p.vm, 0));
        r = measure(&p, ret, e);
    }
    cpu_close(p.vm);
    mem_free(p.mem);
    ret->took_ns = max(clock_mono_ns() - start, 1ull);
    return r;
}
