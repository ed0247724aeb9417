/*
 * vm/gdb_internal.h: the stub's parts: gdb.c (socket, stopping and going on), gdb_cmd.c (what packets mean), gdb_points.c.
 */
#pragma once

#include "vm/gdb.h"
#include "vm/gdb_packet.h"
#include "vm/machine.h"

/*
 *            attach                     all vCPUs parked              c, s, vCont
 *   IDLE ─────────────> STOPPING ──────────────────────> STOPPED ──────────────────> RUNNING
 *     ^                    ^                                │                           │ ^C, a stop
 *     └────────────────────┼──────── detach ────────────────┘                           │
 *                          └────────────────────────────────────────────────────────────┘
 */
enum gdb_state { GDB_IDLE, GDB_STOPPING, GDB_STOPPED, GDB_RUNNING };

enum { GDB_SIGINT = 2, GDB_SIGTRAP = 5, GDB_SIGABRT = 6 };

/* As gdb asked for it: Z0 to Z4. */
enum gdb_point_type { GDB_SOFT, GDB_HARD, GDB_WRITE, GDB_READ, GDB_ACCESS, GDB_POINT_TYPES };
struct gdb_point {
    enum gdb_point_type type;
    u64 addr, len; /* len of a breakpoint: 1 */
};

struct gdb {
    struct vm *vm;
    int listener, fd; /* fd: the client's; -1: none */
    struct loop_fd listen_watch, watch;
    enum gdb_state state;
    bool no_ack, phys, says_swbreak, says_hwbreak;
    bool owes_stop; /* the client waits to be told of the next stop */
    char in[4096];
    size_t in_len, in_at;
    struct gdb_reader reader;
    struct strbuf out; /* framed, not yet sent */
    size_t out_sent;
    struct strbuf last; /* the last packet, for a client that did not get it */

    u32 cpu;                 /* that g, m, … are about */
    s64 cpu_go;              /* that c and s are about; -1: all */
    struct vcpu_state *regs; /* of vCPU regs_of; -1: not read */
    s64 regs_of;

    u32 signal; /* of the last stop, and the vCPU that made it */
    u32 stop_cpu;
    bool stop_is_hit; /* it came from the vCPU: v->debug says more */
    u32 n_points;
    struct gdb_point points[CPU_POINTS_MAX];
    struct cpu_debug debug; /* the same for the engine */
};

/* A bit for each vCPU. */
static inline u64 cpu_mask(const struct cpu_vm *cpu)
{
    return ~0ull >> (64 - cpu_count(cpu));
}

/* gdb.c */
/* The vCPUs that are not `frozen` go on; those of `steps` for one instruction. */
void gdb_go(struct gdb *g, u64 frozen, u64 steps);
/* Sends one packet. */
void gdb_send(struct gdb *g, const void *data, size_t len);
/* The client leaves, or is left: no points, and the guest goes on. */
void gdb_detach(struct gdb *g);

/* gdb_cmd.c: does one packet, in state GDB_STOPPED, and answers it. */
void gdb_command(struct gdb *g, const char *packet, size_t len);
/* The stop reply: "T05…". */
void gdb_tell_stop(struct gdb *g);
/* Registers of vCPU g->cpu, read when they were not; NULL: the engine refuses. */
struct vcpu_state *gdb_regs(struct gdb *g);
/* Bytes done. */
u64 gdb_mem_read(struct gdb *g, u64 addr, void *buf, u64 len);
u64 gdb_mem_write(struct gdb *g, u64 addr, const void *buf, u64 len);

/* gdb_points.c */
/* -EINVAL: such a point cannot be; -EFAULT: nothing there; -ENOSPC: too many. */
int gdb_point_add(struct gdb *g, const struct gdb_point *p);
void gdb_point_remove(struct gdb *g, const struct gdb_point *p);
/* Gives the points to the vCPUs. */
int gdb_points_apply(struct gdb *g, u64 steps, struct err *e);
/* Takes them away; the guest's memory is as it was. */
void gdb_points_clear(struct gdb *g);
/* The point that explains `stop`, or NULL. */
const struct gdb_point *gdb_point_of(const struct gdb *g, const struct cpu_stop *stop);

/* gdb_monitor.c: `monitor TEXT`; its output. */
void gdb_monitor(struct gdb *g, const char *text, struct strbuf *out);
