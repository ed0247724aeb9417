/*
 * cpu/soft/debug.c: break- and watchpoints and single steps for a debugger.  While there are any, the vCPU runs instruction by
 * instruction, and with watchpoints each access is looked at: slow, and nothing in guest memory changes.
 * The guest's own debug registers work as ever.
 */
#include "cpu/soft/debug.h"

#define TRACE_DEF "cpu/trace.def"
#include "base/trace_points.h"

int soft_debug_set(struct vcpu *v, const struct cpu_debug *d, struct err *e [[maybe_unused]])
{
    struct soft_cpu *c = v->engine_data;

    must(d->n_points <= CPU_POINTS_MAX);
    c->debug = *d;
    c->debugging = d->step || d->n_points;
    c->debug_watches = false;
    for (u32 i = 0; i < d->n_points; i++)
        c->debug_watches |= d->point[i].kind != CPU_POINT_EXEC;
    c->debug_ran = c->debug_hit = false;
    c->link = NULL;
    soft_mode_changed(c);
    return 0;
}

static bool stop(struct soft_cpu *c, enum cpu_stop_kind kind, u64 addr)
{
    trace_cpu_stop(kind, addr);
    c->v->debug = (struct cpu_stop){ kind, addr };
    c->debug_ran = c->debug_hit = false;
    return true;
}

bool soft_debug_stop(struct soft_cpu *c)
{
    u64 lin = soft_code64(c) ? c->rip : (u32)(c->seg[SEG_CS].base + c->rip);

    if (c->debug_hit)
        return stop(c, c->debug_access.kind, c->debug_access.addr);
    if (c->debug.step && c->debug_ran)
        return stop(c, CPU_STOP_STEP, lin);
    for (u32 i = 0; i < c->debug.n_points; i++)
        if (c->debug.point[i].kind == CPU_POINT_EXEC && c->debug.point[i].addr == lin)
            return stop(c, CPU_STOP_EXEC, lin);
    c->debug_ran = true;
    return false;
}

void soft_debug_access(struct soft_cpu *c, u64 lin, u32 size, bool write)
{
    for (u32 i = 0; i < c->debug.n_points && !c->debug_hit; i++) {
        const struct cpu_point *p = &c->debug.point[i];
        bool is_write = p->kind == CPU_POINT_WRITE;

        if (p->kind == CPU_POINT_EXEC || (is_write && !write) || lin >= p->addr + p->len ||
            p->addr >= lin + size)
            continue;
        c->debug_hit = true;
        c->debug_access = (struct cpu_stop){ is_write ? CPU_STOP_WRITE : CPU_STOP_ACCESS, p->addr };
    }
}
