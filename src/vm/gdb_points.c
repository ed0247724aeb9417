/*
 * vm/gdb_points.c: break- and watchpoints as gdb counts them, and as the engine does.
 * They are in force only while the guest runs, so that nobody who looks at a stopped guest sees an INT3 of ours.
 */
#include "cpu/walk.h"
#include "vm/gdb.h"
#include "vm/gdb_internal.h"

static bool same(const struct gdb_point *a, const struct gdb_point *b)
{
    return a->type == b->type && a->addr == b->addr && a->len == b->len;
}

static bool is_break(const struct gdb_point *p)
{
    return p->type == GDB_SOFT || p->type == GDB_HARD;
}

/* x86 has none for reads only: an access is the nearest. */
static const enum cpu_point_kind kinds[GDB_POINT_TYPES] = {
    [GDB_SOFT] = CPU_POINT_EXEC,   [GDB_HARD] = CPU_POINT_EXEC,     [GDB_WRITE] = CPU_POINT_WRITE,
    [GDB_READ] = CPU_POINT_ACCESS, [GDB_ACCESS] = CPU_POINT_ACCESS,
};

static bool has_exec(const struct cpu_debug *d, u64 addr)
{
    for (u32 i = 0; i < d->n_points; i++)
        if (d->point[i].kind == CPU_POINT_EXEC && d->point[i].addr == addr)
            return true;
    return false;
}

/* Adds what one point needs: one of the engine's, or several aligned ones for a watched range. */
static int add_to(struct cpu_debug *d, const struct gdb_point *p)
{
    u64 at = p->addr, left = p->len;

    if (is_break(p) && has_exec(d, at)) /* Z0 and Z1 at one place */
        return 0;
    while (left > 0) {
        u32 size = 8;

        if (d->n_points == CPU_POINTS_MAX)
            return -ENOSPC;
        while (size > left || !is_aligned(at, size))
            size /= 2;
        d->point[d->n_points++] = (struct cpu_point){ kinds[p->type], size, at };
        at += size;
        left -= size;
    }
    return 0;
}

static int rebuild(struct gdb *g)
{
    int r = 0;

    g->debug = (struct cpu_debug){};
    for (u32 i = 0; i < g->n_points && r >= 0; i++)
        r = add_to(&g->debug, &g->points[i]);
    return r;
}

/* Would the engine take them?  It is asked with the vCPU that gdb looks at.  As vcpu_debug_set. */
static int try_points(struct gdb *g)
{
    struct vcpu *v = cpu_vcpu(g->vm->cpu, g->cpu);
    int r = vcpu_debug_set(v, &g->debug, NULL);

    vcpu_debug_set(v, NULL, NULL);
    return r;
}

int gdb_point_add(struct gdb *g, const struct gdb_point *p)
{
    int r, missing;
    u8 byte;

    if (p->type >= GDB_POINT_TYPES || p->len < 1 || p->len > 8 * CPU_POINTS_MAX ||
        (is_break(p) && p->len != 1))
        return -EINVAL;
    for (u32 i = 0; i < g->n_points; i++)
        if (same(&g->points[i], p))
            return 0; /* to be done twice is the same as once */
    if (g->n_points == ARRAY_LEN(g->points))
        return -ENOSPC;
    if (p->type == GDB_SOFT && gdb_mem_read(g, p->addr, &byte, 1) != 1)
        return -EFAULT;
    missing = max(try_points(g), 0);
    g->points[g->n_points++] = *p;
    r = rebuild(g);
    if (r >= 0)
        r = try_points(g);
    if (r > missing) /* this one cannot be set now */
        r = -EFAULT;
    if (r >= 0)
        return 0;
    g->n_points--;
    rebuild(g);
    return r;
}

void gdb_point_remove(struct gdb *g, const struct gdb_point *p)
{
    for (u32 i = 0; i < g->n_points; i++)
        if (same(&g->points[i], p)) {
            g->points[i] = g->points[--g->n_points];
            break;
        }
    rebuild(g);
}

int gdb_points_apply(struct gdb *g, u64 steps, struct err *e)
{
    struct cpu_vm *cpu = g->vm->cpu;

    for (u32 i = 0; i < cpu_count(cpu); i++) {
        int r;

        g->debug.step = steps >> i & 1;
        r = vcpu_debug_set(cpu_vcpu(cpu, i), &g->debug, e);
        if (r < 0)
            return r;
    }
    return 0;
}

void gdb_points_clear(struct gdb *g)
{
    struct cpu_vm *cpu = g->vm->cpu;
    struct err e = {};

    for (u32 i = 0; i < cpu_count(cpu); i++)
        if (vcpu_debug_set(cpu_vcpu(cpu, i), NULL, &e) < 0)
            log_warn("debugger: %s", e.text);
}

const struct gdb_point *gdb_point_of(const struct gdb *g, const struct cpu_stop *stop)
{
    static const enum cpu_point_kind of_stop[] = { [CPU_STOP_EXEC] = CPU_POINT_EXEC,
                                                   [CPU_STOP_WRITE] = CPU_POINT_WRITE,
                                                   [CPU_STOP_ACCESS] = CPU_POINT_ACCESS };

    for (u32 i = 0; stop->kind != CPU_STOP_STEP && i < g->n_points; i++) {
        const struct gdb_point *p = &g->points[i];

        if (kinds[p->type] == of_stop[stop->kind] && stop->addr - p->addr < p->len)
            return p;
    }
    return NULL;
}

bool gdb_has_points(const struct gdb *g)
{
    return g && g->n_points > 0;
}
