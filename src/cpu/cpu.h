/*
 * cpu/cpu.h: the contract between a machine and whatever executes its vCPUs: KVM or the software engine.
 * Nothing above this folder knows which of them runs.  Register, interrupt-controller and clock state have one format
 * (cpu/vcpu_state.h), so that a machine saved under one engine resumes under the other.
 *
 * Threads:
 *   (1) vcpu_run, vcpu_get, vcpu_set, vcpu_regs_*, vcpu_debug_set and vcpu_reset of one vCPU are called by one thread at a
 *       time: its own while the machine runs, the control loop while it is paused.
 *   (2) vcpu_kick, cpu_irq, cpu_msi_* and cpu_doorbell may be called from any thread at any time.
 *   (3) While a guest runs undisturbed, vcpu_run neither allocates, nor locks, nor logs.
 */
#pragma once

#include "base/base.h"

#include "cpu/features.h"
#include "cpu/vcpu_state.h"

struct mem;

enum {
    CPU_MAX = 64,        /* vCPUs of one machine */
    CPU_GSI_PINS = 24,   /* interrupt lines: pins of the IOAPIC */
    CPU_MSI_MAX = 2048,  /* message-signalled interrupts of one machine */
    CPU_EXIT_KINDS = 64, /* rows of the exit statistics */
    CPU_POINTS_MAX = 64, /* break- and watchpoints of a machine */
};

#define CPU_IOAPIC_BASE 0xfec00000ull
#define CPU_LAPIC_BASE  0xfee00000ull

enum cpu_irqchip {
    CPU_IRQCHIP_KERNEL, /* the engine's own: local APICs, IOAPIC, and PIC and PIT when `legacy` */
    CPU_IRQCHIP_SPLIT,  /* local APICs by the engine, IOAPIC by cpu/ioapic.c */
};

/* What the engine asks of the machine, on the thread of the vCPU that did the access.  len: 1, 2, 4 or 8. */
struct cpu_host {
    void (*pio_read)(void *arg, u16 port, u32 len, u64 *ret);
    void (*pio_write)(void *arg, u16 port, u32 len, u64 val);
    void (*mmio_read)(void *arg, u64 gpa, u32 len, u64 *ret);
    void (*mmio_write)(void *arg, u64 gpa, u32 len, u64 val);
    void *arg;
};

struct cpu_cfg {
    u32 n_cpus; /* 1..CPU_MAX */
    enum cpu_irqchip irqchip;
    bool legacy;          /* offer the 8259 pair and the 8254 too */
    enum cpu_model model; /* what CPU guests see */
    bool jit;             /* the software engine translates code that runs often */
    bool check;           /* ... and compares each run of it with the interpreter: slow */
    bool icount; /* the software engine with one vCPU: an instruction is 1 ns, sleep takes none */
};

struct engine;
struct cpu_vm;
struct msi;

/* Why vcpu_run came back. */
enum vcpu_next {
    VCPU_KICKED,       /* vcpu_kick, or a signal */
    VCPU_DEBUG,        /* what vcpu_debug_set asked for happened: v->debug says what */
    VCPU_TRIPLE_FAULT, /* the guest's CPU shut down */
    VCPU_FAILED,       /* the engine cannot go on; v->failure says why */
};

/* Where a debugger wants the guest to stop.  Addresses are linear. */
enum cpu_point_kind { CPU_POINT_EXEC, CPU_POINT_WRITE, CPU_POINT_ACCESS };
struct cpu_point {
    enum cpu_point_kind kind;
    u32 len; /* EXEC: 1; others 1, 2, 4 or 8, and `addr` a multiple of it */
    u64 addr;
};
struct cpu_debug {
    bool step; /* return after one instruction; interrupts wait where the engine can make them */
    u32 n_points;
    struct cpu_point point[CPU_POINTS_MAX];
};

/* An EXEC point stops before its instruction, the others after theirs. */
enum cpu_stop_kind { CPU_STOP_STEP, CPU_STOP_EXEC, CPU_STOP_WRITE, CPU_STOP_ACCESS };
struct cpu_stop {
    enum cpu_stop_kind kind;
    u64 addr; /* of the instruction, or of the point's data */
};

struct vcpu {
    struct cpu_vm *vm;
    u32 index;                 /* also its APIC id */
    u64 exits[CPU_EXIT_KINDS]; /* written by its thread, read by anyone: statistics */
    char failure[160];         /* set with VCPU_FAILED */
    struct cpu_stop debug;     /* set with VCPU_DEBUG */
    void *engine_data;
};

/* Which engine is wanted, and how it is to be measured. */
struct cpu_pick {
    const char *name; /* of an engine, or "auto" */
    const char
        *cache_dir; /* measurements are kept there until the host boots again; NULL: nowhere */
    bool jit;       /* as cpu_cfg.jit will be */
};

/* The engine that `p` names, or that `auto` finds to be the quickest here; `ret_why` says why, for people.  NULL with `e` when
 * none can run. */
const struct engine *cpu_engine_pick(const struct cpu_pick *p, char *ret_why, size_t why_size,
                                     struct err *e);
const char *cpu_engine_name(const struct engine *en);
/* Is it faster when RAM is a memfd (MEM_SHARED)? */
bool cpu_engine_maps_ram(const struct engine *en);

/* Owned in *ret.  `m` and `host` are borrowed until cpu_close. */
int cpu_open(const struct engine *en, const struct cpu_cfg *cfg, struct mem *m,
             const struct cpu_host *host, struct cpu_vm **ret, struct err *e);
void cpu_close(struct cpu_vm *vm);
AUTO_DEFINE(cpu_vm, struct cpu_vm *, cpu_close)

u32 cpu_count(const struct cpu_vm *vm);
struct vcpu *cpu_vcpu(struct cpu_vm *vm, u32 i);

/* Runs the guest until there is a reason to return.  First on its own thread: vcpu_thread_init. */
void vcpu_thread_init(struct vcpu *v);
enum vcpu_next vcpu_run(struct vcpu *v);
/* Any thread: the vCPU's vcpu_run returns VCPU_KICKED soon, also when it is just being entered. */
void vcpu_kick(struct vcpu *v);
/* Finishes what the last exit left under way (the data of a read), so that vcpu_get tells the whole truth. */
void vcpu_settle(struct vcpu *v);

int vcpu_get(struct vcpu *v, struct vcpu_state *ret, struct err *e);
/* Registers that the engine does not know are reported by a log line, not refused. */
int vcpu_set(struct vcpu *v, const struct vcpu_state *s, struct err *e);
/*
 * As vcpu_get and vcpu_set, but only what a debugger looks at and changes: general registers, RIP, flags, segments, descriptor
 * tables, control registers, EFER, x87 and vector registers, run_state (get only).  Quick, and no clock moves.
 */
int vcpu_regs_get(struct vcpu *v, struct vcpu_state *ret, struct err *e);
int vcpu_regs_set(struct vcpu *v, const struct vcpu_state *s, struct err *e);
/*
 * What ends vcpu_run with VCPU_DEBUG from now on; NULL: nothing.  All vCPUs are stopped, since a breakpoint may be written into
 * memory that they share.  A vCPU that stands at an EXEC point stops there again.  Returns how many breakpoints are not in
 * force because this vCPU has no memory there now; another's may be.  -ENOSPC: more watchpoints than the engine has; then the
 * former points are gone, too.
 */
int vcpu_debug_set(struct vcpu *v, const struct cpu_debug *d, struct err *e);
/* Guest-physical address of linear `gva`, without side effects; -EFAULT: not mapped. */
int vcpu_translate(struct vcpu *v, u64 gva, u64 *ret_gpa, struct err *e);
/* Power-on state: what the CPU has after RESET#; vCPU 0 runs, others wait for SIPI. */
int vcpu_reset(struct vcpu *v, struct err *e);

/* Names of rows of v->exits; NULL where there is none. */
const char *cpu_exit_name(const struct cpu_vm *vm, u32 row);

/* Puts the points of cpu/trace.def on the list of base/trace.h. */
void cpu_trace_register(void);
/* False: this engine never records the point, since the hardware does such things by itself. */
bool cpu_trace_sees(const struct engine *en, const char *point);

/* Row `row` of what the engine's translator of this vCPU counts, which its thread may be writing.  NULL: there are no more. */
const char *cpu_jit_stat(const struct vcpu *v, u32 row, u64 *ret);
/* Lines of a map for perf(1) of what the translators of all vCPUs wrote, which stand still; none where the engine translates nothing. */
void cpu_jit_map(struct cpu_vm *vm, struct strbuf *out);

/* Interrupt lines and messages. */
void cpu_irq(struct cpu_vm *vm, u32 gsi, bool level);
struct msi *
cpu_msi_new(struct cpu_vm *vm); /* NULL when CPU_MSI_MAX are in use, or the host has no more */
void cpu_msi_free(struct cpu_vm *vm, struct msi *m);
void cpu_msi_aim(struct cpu_vm *vm, struct msi *m, u64 addr, u32 data);
void cpu_msi_fire(struct cpu_vm *vm, struct msi *m);
/* An NMI for one vCPU. */
int cpu_nmi(struct vcpu *v);

/* Signal `fd` on a guest write of `len` bytes, any value, to `addr`.  0, or negative when the engine cannot. */
int cpu_doorbell(struct cpu_vm *vm, u64 addr, u32 len, int fd, bool on);

/* The interrupt controllers and clocks that belong to the machine; all vCPUs are stopped. */
int cpu_vm_get(struct cpu_vm *vm, struct cpu_vm_state *ret, struct err *e);
int cpu_vm_set(struct cpu_vm *vm, const struct cpu_vm_state *s, struct err *e);
int cpu_vm_reset(struct cpu_vm *vm, struct err *e);
/* Guest time stands still between the two, and before the first start: the paravirtual clock goes on where it was. */
void cpu_clock_stop(struct cpu_vm *vm);
void cpu_clock_start(struct cpu_vm *vm);

/* Dirty log of what the vCPUs write: begin, then OR into `bitmap` (order of the memfd, as mem_dirty_take) what was written since. */
int cpu_dirty_start(struct cpu_vm *vm, struct err *e);
int cpu_dirty_take(struct cpu_vm *vm, u64 *bitmap, struct err *e);
void cpu_dirty_stop(struct cpu_vm *vm);
