/*
 * vm/machine.h: the parts of a running machine, and the calls between the files of this folder.
 *
 *   Threads: the control loop (the thread that called vm_run), one for each vCPU, I/O loops that devices own.
 *   Run states (vm/run.c holds the table):
 *       created ─start─> running ─pause─> pausing ─all vCPUs parked─> paused ─resume─> running;  any ─end─> ended
 *   (1) Only the control loop changes the run state and looks at the devices as a whole.
 *   (2) A vCPU thread parks when `hold` is set: outside vcpu_run, nothing half done, no lock held.
 *   (3) The control loop never waits for a vCPU (a vCPU may be waiting for it in loop_call): parking is reported by an async.
 */
#pragma once

#include "base/loop.h"
#include "cpu/cpu.h"
#include "dev/dev.h"
#include "dev/pci/pci.h"
#include "fw/acpi.h"
#include "fw/kernel.h"
#include "fw/layout.h"
#include "jail/jail.h"
#include "mem/mem.h"
#include "vm/vm.h"

enum {
    VM_DEVICES_MAX = 64,
    VM_CALLS_MAX = 64, /* work that waits for parked vCPUs */
    VM_IO_LOOPS_MAX = 192,
    RUN_GRACE_SECONDS =
        60, /* that a guest has to obey its power button, unless it is said otherwise */
};

/* What the machine is apart from its parts. */
#define MACHINE_STATE(F, S)                                              \
    F(S, ARR, u8, uuid, 16, "identity, as SMBIOS shows it after a boot") \
    F(S, ARR, u8, generation, 16, "VM generation id")                    \
    F(S, VAL, bool, legacy, "PIC and PIT: for Multiboot payloads and test devices")
STATE_STRUCT(machine_state, MACHINE_STATE);

enum run_state { RUN_CREATED, RUN_RUNNING, RUN_PAUSING, RUN_PAUSED, RUN_ENDED, RUN_STATES };

struct vcpu_thread {
    struct vm *vm;
    struct vcpu *v;
    pthread_t thread;
    bool started;
};

/* Work for the control loop that needs every vCPU parked. */
struct vm_call {
    void (*fn)(struct vm *vm, void *arg);
    void *arg;
};

struct io_loop {
    struct vm *vm;
    struct loop *loop;
    enum jail_role role;
};

struct control;
struct gdb;
struct profile;
struct save;
struct statefile;

struct vm {
    const struct vm_spec *spec;
    struct loop loop;
    struct mem *mem;
    struct bus *pio, *mmio;
    struct pci_bus *pci;
    struct machine machine;
    struct cpu_vm *cpu;
    const struct engine *engine;
    char engine_why[400];
    struct kernel *kernel;
    struct acpi_cfg acpi;
    u32 apic_ids[CPU_MAX];
    struct machine_state st;
    struct statefile *from; /* until the state in it is loaded; NULL: this machine boots */
    bool nameless_disks;    /* of a clone: what it writes to them is gone at its end */
    struct save *save;

    struct device *devices[VM_DEVICES_MAX];
    u32 n_devices;
    struct device *pm; /* one of them: the power button */
    struct io_loop io_loops[VM_IO_LOOPS_MAX];
    u32 n_io_loops;
    bool confined, io_started;

    /* Control loop only. */
    enum run_state state;
    bool user_paused;   /* pause was asked for and not taken back */
    bool debug_paused;  /* the debugger holds the guest */
    bool saving;        /* its state is being saved, and must not change */
    bool reset_owed;    /* the guest asked for a reset meanwhile */
    bool calling;       /* calls are being done */
    char crash_why[64]; /* a vCPU had a triple fault, and the debugger looks at it; empty: none */
    char pause_why[160];
    struct vm_call calls[VM_CALLS_MAX];
    u32 n_calls;
    struct vm_result result;
    u64 started_ns;
    u64 went_on_ns; /* when the guest went on after it was stopped, the last time */
    uv_signal_t sigterm, sigint, sighup;
    uv_timer_t grace; /* between the power button and cutting the power */
    uv_timer_t shed;  /* until the memory of the start is given back */
    bool ending;
    struct control *control;
    struct gdb *gdb;
    struct profile *profile;

    /* vCPU threads and the control loop; guarded by lock. */
    pthread_mutex_t lock;
    pthread_cond_t go;
    bool hold, quit;
    u64 frozen; /* vCPUs that stay parked while the others run, for the debugger */
    u32 n_parked;
    uv_async_t parked; /* the last vCPU parked */
    struct vcpu_thread vcpus[CPU_MAX];

    /* Any thread to the control loop. */
    uv_async_t events;
    atomic_uint event_bits; /* by enum machine_event */
    atomic_ullong exit_value;
    atomic_int failed_vcpu;   /* index, or -1 */
    atomic_ullong debug_hits; /* vCPUs that came back with VCPU_DEBUG */
    pthread_mutex_t why_lock;
    char event_why[160]; /* guarded by why_lock: of the last MACHINE_IO_STOP or MACHINE_PANIC */
};

/* vm/build.c: everything from spec; what it made is freed by vm_free, also when it failed half-way. */
int build_machine(struct vm *vm, struct err *e);
/* The address of card `i`: as the spec says, or derived from the machine's name.  Owned. */
char *build_mac(const struct vm *vm, u32 i);

/* vm/boot.c: puts tables and kernel into RAM and the first vCPU at its entry.  At start (`fresh`), and at each reset. */
int boot_open(struct vm *vm, struct err *e);
int boot_load(struct vm *vm, bool fresh, struct err *e);

/* vm/run.c */
const char *run_state_name(enum run_state s);
/* Runs fn on the control loop when all vCPUs are parked, at once when they are; then the machine goes on unless it is to be paused. */
int run_parked(struct vm *vm, void (*fn)(struct vm *vm, void *arg), void *arg);
/* Control loop.  `why` is shown by status. */
void run_pause(struct vm *vm, const char *why);
void run_resume(struct vm *vm);
/* As run_parked, and the guest does not go on before run_debug_go; then without the vCPUs of the mask `frozen`. */
int run_debug_stop(struct vm *vm, void (*fn)(struct vm *vm, void *arg), void *arg);
void run_debug_go(struct vm *vm, u64 frozen);
/* As run_parked, and the guest does not go on before run_save_go. */
int run_save_stop(struct vm *vm, void (*fn)(struct vm *vm, void *arg), void *arg);
void run_save_go(struct vm *vm);
/* In run_save_stop's fn: does what the guest asked for before it was stopped, such as a reset.  False: the machine ended. */
bool run_save_settle(struct vm *vm);
int run_reset(struct vm *vm);
void run_end(struct vm *vm, enum vm_end end, u32 status, const char *why);
/* Presses the power button; after so many seconds the power is cut. */
void run_shutdown(struct vm *vm, u64 seconds);
int run_start(struct vm *vm, struct err *e);
void run_join(struct vm *vm);
extern const struct machine_ops run_machine_ops;

/* vm/control.c: the control socket; see doc/control.md.  NULL path: none. */
int control_open(struct vm *vm, const char *path, struct control **ret, struct err *e);
void control_close(struct control *c);
/* A unix socket that listens at `path`, mode 0600; what a dead machine left there is replaced.  Owned fd. */
int control_listen(const char *path, int backlog, struct err *e);

/*
 * vm/sections.c: the whole machine but RAM as a state stream (state/state.h), in a fixed order: the machine, its interrupt controllers
 * and clock, each vCPU, the PCI bus, each device as it was added.
 */
/* All vCPUs are parked and the devices paused. */
int sections_save(struct vm *vm, struct strbuf *out, struct err *e);
/* Into a machine that was built from the same specification and has not run.  Its devices are paused after it, also after a failure,
 * which leaves a machine that can only be freed.  -EBADMSG: the stream lies. */
int sections_load(struct vm *vm, const void *data, size_t len, struct err *e);

/* vm/restore.c: what becomes of spec->restore.  open: before anything is built.  load: in place of a boot. */
int restore_open(struct vm *vm, struct err *e);
int restore_load(struct vm *vm, struct err *e);

/* vm/inspect.c: JSON of the device `want` ("vcpuN", "irqchip"; "": all); how many there were.  All vCPUs are parked. */
u32 inspect_print(struct vm *vm, const char *want, struct strbuf *out);
