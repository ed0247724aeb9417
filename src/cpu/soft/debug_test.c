/*
 * cpu/soft/debug_test.c: stops of a debugger.
 */
#include "cpu/soft/debug.h"

#include "cpu/soft/rig.h"
#include "testlib/test.h"

/* mov eax, [0x10000]; inc eax; mov [0x10004], eax; cli; hlt */
static const u8 code[] = { 0xa1, 0, 0, 1, 0, 0x40, 0xa3, 4, 0, 1, 0, 0xfa, 0xf4 };

static struct rig *start(const struct cpu_debug *d)
{
    struct rig *r = rig_new(1);

    rig_mode(r, RIG_PROT32);
    rig_code(r, code, sizeof(code));
    CHECK_EQ(vcpu_debug_set(r->c->v, d, NULL), 0);
    return r;
}

static void want_stop(struct rig *r, u64 rip, enum cpu_stop_kind kind, u64 addr)
{
    CHECK_EQ(vcpu_run(r->c->v), VCPU_DEBUG);
    CHECK_EQ(r->c->rip, rip);
    CHECK_EQ(r->c->v->debug.kind, kind);
    CHECK_EQ(r->c->v->debug.addr, addr);
}

TEST(soft_debug_steps)
{
    struct rig *r = start(&(struct cpu_debug){ .step = true });

    want_stop(r, RIG_CODE + 5, CPU_STOP_STEP, RIG_CODE + 5);
    want_stop(r, RIG_CODE + 6, CPU_STOP_STEP, RIG_CODE + 6);
    CHECK_EQ(r->c->reg[GPR_RAX], 1);
    want_stop(r, RIG_CODE + 11, CPU_STOP_STEP, RIG_CODE + 11);
    want_stop(r, RIG_CODE + 12, CPU_STOP_STEP, RIG_CODE + 12);
    want_stop(r, RIG_CODE + 13, CPU_STOP_STEP, RIG_CODE + 13); /* HLT is one, too */
    CHECK(r->c->halted);
    rig_free(r);
}

TEST(soft_debug_breakpoint_stops_before_and_again)
{
    const struct cpu_debug d = { .n_points = 1, .point = { { CPU_POINT_EXEC, 1, RIG_CODE + 6 } } };
    struct rig *r = start(&d);

    want_stop(r, RIG_CODE + 6, CPU_STOP_EXEC, RIG_CODE + 6);
    CHECK_EQ(r->c->reg[GPR_RAX], 1);
    want_stop(r, RIG_CODE + 6, CPU_STOP_EXEC, RIG_CODE + 6);
    CHECK_EQ(vcpu_debug_set(r->c->v, &(struct cpu_debug){ .step = true }, NULL), 0);
    want_stop(r, RIG_CODE + 11, CPU_STOP_STEP, RIG_CODE + 11);
    rig_free(r);
}

TEST(soft_debug_watchpoints)
{
    const struct cpu_debug d = { .n_points = 3,
                                 .point = { { CPU_POINT_WRITE, 4, RIG_DATA },
                                            { CPU_POINT_ACCESS, 1, RIG_DATA + 3 },
                                            { CPU_POINT_WRITE, 8, RIG_DATA } } };
    struct rig *r = start(&d);

    want_stop(r, RIG_CODE + 5, CPU_STOP_ACCESS, RIG_DATA + 3);
    want_stop(r, RIG_CODE + 11, CPU_STOP_WRITE, RIG_DATA);
    CHECK_EQ(le_load(r->ram + RIG_DATA + 4, 4), 1);
    rig_free(r);
}
