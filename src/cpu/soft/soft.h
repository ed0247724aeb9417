/*
 * cpu/soft/soft.h: the software engine's own structs: a vCPU as the interpreter sees it, decoded blocks, the software TLB.
 * (Intel SDM volumes 1-3, AMD APM volumes 1-5; doc/notes/006-software-engine.md says why it is built so)
 *
 *   (1) A vCPU's structs, its TLB and its decoded blocks belong to its thread.  Others reach it only through `request`,
 *       its local APIC's lapic_accept, and the atomics that say so below.
 *   (2) An instruction is a `struct uop`; its handler does all of it or, by soft_raise, nothing, and then calls the next.
 *       Registers and flags change after the last memory access that can fault.
 *   (3) No handler allocates, takes a lock of ours or makes a system call while the guest stays in RAM.
 *   (4) Guest memory is reached through soft_mem.h only.
 */
#pragma once

#include "cpu/engine.h"
#include "cpu/irqchip.h"
#include "cpu/lapic.h"

#include <pthread.h>
#include <setjmp.h>

struct soft_cpu;
struct uop;

typedef void (*uop_fn)(struct soft_cpu *c, const struct uop *op);

enum {
    SEG_FLAT = SEG_COUNT,     /* uop.seg: base 0, nothing to check */
    SEG_FLAT_SS,              /* the same, addressed through RSP or RBP: #SS where others get #GP */
    REG_ZERO = GPR_COUNT * 8, /* offset of the register that is always 0 */
    REG_RIP = REG_ZERO + 8,   /* offset of the address of the block's first instruction */
    REG_RIP_FAR = REG_RIP + 8, /* ... and 1 GiB more: for displacements that do not fit otherwise */
    REG_SLOTS = GPR_COUNT + 3,
    BLOCK_UOPS_MAX = 32, /* instructions of a block */
    BLOCK_SIDES = 2,     /* jumps in the middle of it */
    BLOCK_SUCCS = 2 + BLOCK_SIDES,
    INSN_LEN_MAX = 15,
    SOFT_TLB_BITS = 11,
    SOFT_TLB_SIZE = 1 << SOFT_TLB_BITS,
    SOFT_TLB_OTHER =
        SOFT_TLB_SIZE / 2, /* an entry that had to make room is there: its index XOR this */
    SOFT_TLB_SETS = 4,     /* PCIDs that are remembered at a time */
    SOFT_JUMP_BITS = 15,
    JUMP_HALF_BITS = 12,
    JUMP_PAGES =
        2
        << JUMP_HALF_BITS, /* marks of pages with targets of jumps; of each half of the address space */
    LOOP_RUNS = 8,
    RECENT_COUNT = 64, /* of soft_cpu.recent: */
    RECENT_KERNEL = 0, /* a kernel's stack; all others are of user code */
    RECENT_STACK = 1,
    RECENT_NONE = RECENT_COUNT,
    LOOP_WAITS = 16,
};

/* Code and address sizes, in this order everywhere. */
enum soft_size { SIZE_16, SIZE_32, SIZE_64 };

/* One decoded instruction.  dst, src, base and index are byte offsets into soft_cpu.reg (AH is 1). */
struct uop {
    uop_fn fn;
    u8 dst, src;
    u8 base, index; /* REG_ZERO: none */
    u8 scale;       /* index is shifted by it */
    u8 seg;         /* enum vcpu_seg, or SEG_FLAT */
    u8 asize;       /* enum soft_size */
    u8 len;         /* bytes of the instruction */
    u16 off;        /* from the first byte of the block */
    u16 aux;        /* the handler's own */
    s32 disp;
    u64 imm;
};
static_assert(sizeof(struct uop) == 32, "two to a cache line");

/* What, beside the address, decides how code decodes. */
enum {
    KEY_SIZE = 3,        /* enum soft_size of CS */
    KEY_STACK_SHIFT = 2, /* enum soft_size of the stack pointer */
    KEY_FLAT =
        1 << 4, /* ES, CS, SS, DS: base 0, limit 4 GiB, readable and writable; or 64-bit code */
    KEY_SINGLE = 1 << 5,  /* one instruction a block: something is to be looked at after it */
    KEY_USER = 1 << 6,    /* CPL 3 */
    KEY_REAL = 1 << 7,    /* real or virtual-8086 mode */
    KEY_DROPPED = 1 << 8, /* of a block: its bytes changed; equals no key in force */
    KEY_PLAIN = 1 << 9,   /* no translation: each block is traced */
    KEY_WINDOW = 1 << 10, /* ring 3 of the address space that has the user window */
};

/* Instructions that follow each other in one page (the last may reach into the next page).  Conditional jumps forward are among them:
 * the block goes on where they are not taken, and ends there where one is. */
struct block {
    u64 gpa;  /* of its first byte */
    u64 gpa2; /* page of its last byte when that is another one, else BLOCK_ONE_PAGE */
    struct block *hash_next, *page_next;
    struct block *cross_next; /* of those that reach into the same page */
    /* What follows, where a direct jump at the end leads, and those in the middle: as it was found the last time, or NULL. */
    struct block *succ[BLOCK_SUCCS];
    u64 host; /* address of its first byte in our process; 0: it is not in RAM */
    u32 key;
    u16 n;     /* instructions */
    u16 bytes; /* that it was decoded from */
    u32 sum;   /* of its bytes as they were decoded */
    u32 runs;  /* since it was decoded, until it was translated; in check.c, since then */
    u32 code;  /* its translation: offset in the area; 0: none */
    struct jit_block *jit; /* the same; NULL: none */
    struct uop ops[];      /* n, then one that leaves the block */
};

#define BLOCK_ONE_PAGE (~0ull)

/* tag: page of the linear address, or TLB_NONE, which no page equals. */
struct tlb_entry {
    u64 tag_r, tag_w, tag_x; /* tag_w: see code.h for pages with code */
    s64 addend;              /* host address - linear address */
};
#define TLB_NONE (~0ull)

/* Rights under which memory is reached; each has its own TLB. */
enum soft_mmu { MMU_USER, MMU_KERNEL, MMU_KERNEL_AC /* SMAP does not apply */, MMU_MODES };

struct tlb_set {
    u64 pcid;               /* whose translations these are */
    u64 used_at;            /* for the choice of a victim */
    u64 stamp;              /* changes whenever something is forgotten: soft_cpu.stamp */
    bool made[MMU_MODES];   /* its entries are there (mmu.c, entries_of) */
    bool filled[MMU_MODES]; /* one of them may match something */
    u64 global[MMU_MODES]
              [SOFT_TLB_SIZE / 64]; /* one bit an entry: its page is in all address spaces */
    /* One bit for all 2 MiB (1 GiB) of the same number modulo 32, in each half: entries there may be of larger pages. */
    u64 large,
        giant; /* the last of what soft_tlb_init zeroes: it stays out of the gap to the entries */
    /* So aligned, an entry's address XOR something is another entry's. */
    alignas(SOFT_TLB_SIZE * 32) struct tlb_entry e[MMU_MODES][SOFT_TLB_SIZE];
};

/* Arithmetic flags as LAHF;SETO leave them in AX: OF in bit 0, the low byte of RFLAGS in bits 8 to 15. */
#define FL_OF 0x0001u
#define FL_CF 0x0100u
#define FL_PF 0x0400u
#define FL_AF 0x1000u
#define FL_ZF 0x4000u
#define FL_SF 0x8000u

/* RFLAGS. */
#define RF_CF    (1u << 0)
#define RF_ONE   (1u << 1)
#define RF_PF    (1u << 2)
#define RF_AF    (1u << 4)
#define RF_ZF    (1u << 6)
#define RF_SF    (1u << 7)
#define RF_TF    (1u << 8)
#define RF_IF    (1u << 9)
#define RF_DF    (1u << 10)
#define RF_OF    (1u << 11)
#define RF_IOPL  (3u << 12)
#define RF_NT    (1u << 14)
#define RF_RF    (1u << 16)
#define RF_VM    (1u << 17)
#define RF_AC    (1u << 18)
#define RF_VIF   (1u << 19)
#define RF_VIP   (1u << 20)
#define RF_ID    (1u << 21)
#define RF_ARITH (RF_CF | RF_PF | RF_AF | RF_ZF | RF_SF | RF_OF)

#define CR0_PE (1u << 0)
#define CR0_MP (1u << 1)
#define CR0_EM (1u << 2)
#define CR0_TS (1u << 3)
#define CR0_ET (1u << 4)
#define CR0_NE (1u << 5)
#define CR0_WP (1u << 16)
#define CR0_AM (1u << 18)
#define CR0_NW (1u << 29)
#define CR0_CD (1u << 30)
#define CR0_PG (1u << 31)

#define CR4_VME        (1u << 0)
#define CR4_PVI        (1u << 1)
#define CR4_TSD        (1u << 2)
#define CR4_DE         (1u << 3)
#define CR4_PSE        (1u << 4)
#define CR4_PAE        (1u << 5)
#define CR4_MCE        (1u << 6)
#define CR4_PGE        (1u << 7)
#define CR4_PCE        (1u << 8)
#define CR4_OSFXSR     (1u << 9)
#define CR4_OSXMMEXCPT (1u << 10)
#define CR4_UMIP       (1u << 11)
#define CR4_FSGSBASE   (1u << 16)
#define CR4_PCIDE      (1u << 17)
#define CR4_OSXSAVE    (1u << 18)
#define CR4_SMEP       (1u << 20)
#define CR4_SMAP       (1u << 21)
#define CR4_PKE        (1u << 22)

#define EFER_SCE   (1u << 0)
#define EFER_LME   (1u << 8)
#define EFER_LMA   (1u << 10)
#define EFER_NXE   (1u << 11)
#define EFER_FFXSR (1u << 14)

enum soft_vector {
    VEC_DE,
    VEC_DB,
    VEC_NMI,
    VEC_BP,
    VEC_OF,
    VEC_BR,
    VEC_UD,
    VEC_NM,
    VEC_DF,
    VEC_TS = 10,
    VEC_NP,
    VEC_SS,
    VEC_GP,
    VEC_PF,
    VEC_MF = 16,
    VEC_AC,
    VEC_MC,
    VEC_XM,
};

/* Why a vCPU is to look up from its blocks: bits of soft_cpu.request, set by any thread. */
enum {
    REQ_KICK = 1 << 0, /* leave soft_run */
    REQ_IRQ = 1 << 1,  /* the local APIC or the PIC may have something */
    REQ_NMI = 1 << 2,
    REQ_INIT = 1 << 3,
    REQ_SIPI = 1 << 4,
    REQ_CODE = 1 << 5,  /* pages that hold code of this vCPU were written: see soft_vm.page_dirty */
    REQ_TLB = 1 << 6,   /* write tags are to be dropped: dirty log or code pages */
    REQ_TIMER = 1 << 7, /* deadlines changed */
    REQ_SHADOW =
        1 << 8, /* own: an instruction that holds interrupts off was just run, or a trap waits */
};

/* x87, MMX, SSE and AVX as the guest left them. */
struct soft_fpu {
    alignas(64) u8 ymm[16][32];
    alignas(64) u8 legacy[512]; /* FXSAVE64 image: x87 part while not live; XMM fields unused */
    u32 mxcsr;                  /* while not mxcsr_live */
    bool mxcsr_live;            /* this thread's own MXCSR is the guest's */
    bool x87_live;              /* the x87 state is in this thread's own registers */
    u64 fip, fdp;               /* of the last x87 instruction that sets them */
    u16 fop, fcs, fds;
};

/* An exception on its way: pending from soft_raise until its handler's first instruction. */
struct soft_event {
    bool pending, has_error, soft /* INT n, INT3, INTO: RIP is the next instruction */, external;
    u8 vector;
    u32 error;
    u64 cr2;
};

/* A jump's target, once found: true while soft_cpu.stamp is `stamp`; then to be held against the TLB and the block once more. */
struct jump_entry {
    u64 lin;
    u64 stamp;
    struct block *block;
    const u8 *code; /* of the block's translation, or what leaves translated code */
};
static_assert(sizeof(struct jump_entry) == 32, "translated code shifts by 5");
static_assert(sizeof(struct tlb_entry) == 32, "here, too");

/* Translated code's own, while it runs a loop without checks (jit/loop.c). */
struct soft_loop {
    s64 left;              /* rounds, beside the one under way */
    u64 addend[LOOP_RUNS]; /* of each run of accesses: host address - guest address */
    u32 wait[LOOP_WAITS];  /* rounds until a loop may try; by a hash of the loop */
};

struct soft_cpu {
    u64 reg[REG_SLOTS];          /* then REG_ZERO, REG_RIP, REG_RIP_FAR */
    u32 fl;                      /* arithmetic flags: FL_* */
    u32 eflags;                  /* all other flags; RF_ONE is set, the arithmetic ones are 0 */
    struct tlb_entry *tlb;       /* of the rights in force; soft_mode_changed sets it */
    struct tlb_entry *tlb_fetch; /* the same for code: also while each access is looked at */
    u64 stamp;    /* and the key: what was found in the same state is found again; jumps.c */
    u64 page_rip; /* in translated code: RIP of the first byte of its page */
    u64 rip;      /* of the next instruction, true between blocks */
    u64 window_end; /* in translated code with KEY_WINDOW: guest addresses from here on are not in the window */
    u64 window_low_end; /* ... nor in its low part, which is so far from where the guest has it: */
    u64 window_low_delta;
    u64 calls_end; /* in translated code: calls that nest deeper are not paired with their returns */
    s64 budget;    /* instructions until time is looked at */
    atomic_uint request; /* REQ_* */
    u32 irq_wait;        /* RF_IF while an interrupt waits for that flag, else 0 */
    u32 key;             /* KEY_* in force */
    u64 calls;           /* ... the stack pointer while none is */
    struct block *block; /* being run */
    u64 base_rip;        /* of its first instruction */
    struct block **link; /* set by what ends a block: where to remember the successor, or NULL */
    bool link_near;      /* with it: the successor is in the same page */
    s64 quantum;         /* what `budget` was when `insns` was counted */
    u32 jit_exit;        /* enum jit_exit: why translated code came back */
    u8 vec_ok;           /* in translated code: enum jit_vec that the guest may use */
    u8 vec_live;         /* ... the same, while its YMM registers are in the host's; else 0 */
    u8 x87_ok;     /* in translated code: the guest may use the x87, whose state is in the host's */
    bool jit_next; /* a handler called from translated code goes on with the next instruction */
    u64 jit_temp[2]; /* translated code's own */
    u64 window_miss; /* where an access of translated code trapped, set by the signal handler; or WINDOW_NO_MISS */
    struct soft_loop loop;
    /* Copies of TLB entries: those of the stacks, others by a hash of the register and of where the code is. */
    struct tlb_entry recent[RECENT_COUNT];
    const struct tlb_entry
        *recent_of[2]; /* the TLB they were copied from: that of a kernel, of user code */
    u8 cpl;
    u8 shadow; /* interrupts wait one instruction: bit 0 MOV SS, bit 1 STI */

    struct seg_state seg[SEG_COUNT];
    u64 cr0, cr2, cr3, cr4, efer, xcr0;
    u64 dr[4], dr6, dr7;
    u64 gdt_base, idt_base;
    u16 gdt_limit, idt_limit;
    u32 pkru;
    struct soft_fpu fpu;

    jmp_buf *fault;          /* where soft_raise goes */
    struct soft_event event; /* being delivered */
    u64 delivery_rip;        /* what RIP falls back to when that fails */
    bool delivering_soft;    /* the first is INT n or an interrupt */
    bool in_delivery;        /* a fault now is a second one: double fault rules apply */
    u8 delivering;           /* vector of the first */
    bool triple;             /* shut down */
    bool halted, wait_sipi, nmi_masked, nmi_waits;
    u32 step_flags; /* RFLAGS before the instruction that is stepped */
    u8 sipi_vector; /* valid with REQ_SIPI */
    u64 db_pending; /* DR6 bits of a trap that is due after this instruction */

    struct tlb_set *set; /* of the current PCID */
    struct tlb_set *sets[SOFT_TLB_SETS];
    struct tlb_entry *tlb_never; /* matches nothing: every access is looked at; by soft_tlb_never */
    bool never_made;
    u64 tlb_clock;
    u64 last_stamp, kernel_stamp;
    bool kernel_local; /* kernel_stamp is not in use */
    bool stamp_shared; /* `stamp` is of kernel_stamp */
    u8 jump_pages[JUMP_PAGES];
    struct jump_entry *jumps; /* 1 << SOFT_JUMP_BITS: linear RIP -> block */
    struct code_cache *code;  /* block.c */
    struct stub_cache *stubs; /* stub.c */
    struct jit_cache *jit;    /* jit/cache.c */
    struct window *window;    /* window.c */
    struct check *check;      /* check.c; NULL: not asked for */
    bool check_dry;           /* memory is written to on a copy */

    bool debugging, debug_watches; /* `debug` asks for something, for watchpoints */
    bool debug_ran;                /* an instruction since the debugger let go */
    bool debug_hit;                /* debug_access is to be told after this instruction */
    struct cpu_stop debug_access;
    struct cpu_debug debug;

    struct lapic lapic;
    struct soft_msrs *msrs; /* msr.c */
    struct vcpu *v;
    struct soft_vm *vm;
    u64 insns;            /* run so far; exact between blocks: soft_insns() */
    u64 stop_insns;       /* icount: soft_run returns when so many were run; 0: never */
    bool exact;           /* icount: something is due, instructions run one by one */
    bool exclusive;       /* holds soft_vm.exclusive */
    atomic_uint tlb_acks; /* REQ_TLB attended to, so often */
    atomic_bool in_guest; /* runs blocks now */
    atomic_bool sleeping;
    atomic_bool pv_kicked;      /* by the hypercall: HLT is over, or the next one does not begin */
    u32 pauses;                 /* PAUSE, since the last yield */
    pthread_mutex_t sleep_lock; /* with `awake`: a halted vCPU waits */
    pthread_cond_t awake;
    u64 poll_ns; /* idle.c: for so long a halted vCPU looks for requests before it sleeps */
};

static inline u64 *soft_reg(struct soft_cpu *c, u32 at)
{
    return (u64 *)((u8 *)c->reg + at);
}

static inline u64 soft_next_rip(const struct soft_cpu *c, const struct uop *op)
{
    u64 next = c->base_rip + op->off + op->len;

    return (c->key & KEY_SIZE) == SIZE_64   ? next
           : (c->key & KEY_SIZE) == SIZE_32 ? (u32)next
                                            : (u16)next;
}

static inline bool soft_long_mode(const struct soft_cpu *c)
{
    return c->efer & EFER_LMA;
}

static inline bool soft_code64(const struct soft_cpu *c)
{
    return (c->key & KEY_SIZE) == SIZE_64;
}

static inline bool soft_protected(const struct soft_cpu *c)
{
    return (c->cr0 & CR0_PE) && !(c->eflags & RF_VM);
}

/* run.c.  Gives up the instruction `op` (NULL: no instruction was under way) and raises an exception.  c->rip becomes that of `op`. */
_Noreturn void soft_raise(struct soft_cpu *c, const struct uop *op, u8 vector);
_Noreturn void soft_raise_error(struct soft_cpu *c, const struct uop *op, u8 vector, u32 error);
_Noreturn void soft_raise_pf(struct soft_cpu *c, const struct uop *op, u64 lin, u32 error);
/* INT n, INT3, INTO, ICEBP: a trap with c->rip already at the next instruction. */
_Noreturn void soft_raise_int(struct soft_cpu *c, const struct uop *op, u8 vector);
/* Ends the block here: c->rip is set, and what is in force changed (mode, interrupts, translations).  A handler that calls this returns at once. */
static inline void soft_leave(struct soft_cpu *c, u64 rip)
{
    c->rip = rip;
    c->link = NULL;
}
/* Any thread. */
void soft_request(struct soft_cpu *c, u32 bits);

/* Recomputes cpl-, mode- and segment-dependent caches (key, tlb).  After any change of CS, SS, DS, ES, CR0, CR4, EFER, RFLAGS.VM/AC/TF, DR7, CPL. */
void soft_mode_changed(struct soft_cpu *c);

/* Flags as a guest sees them. */
static inline u32 soft_flags(const struct soft_cpu *c)
{
    return c->eflags | ((c->fl >> 8) & (RF_CF | RF_PF | RF_AF | RF_ZF | RF_SF)) | (c->fl & 1) << 11;
}
/* Sets all flags to `f`; the caller has masked what may change, and calls soft_mode_changed when VM, AC or TF did. */
static inline void soft_set_flags(struct soft_cpu *c, u32 f)
{
    c->fl = (f & 0xff) << 8 | ((f >> 11) & 1);
    c->eflags = (f & ~RF_ARITH) | RF_ONE;
}

/* Time of the machine: guest ns since it was made, and the TSC (1 GHz: it counts those ns). */
u64 soft_now_ns(struct soft_vm *vm);
u64 soft_tsc(struct soft_cpu *c);
/* Instructions this vCPU has run.  Own thread. */
u64 soft_insns(const struct soft_cpu *c);
/* icount: time jumps to `ns`. */
void soft_icount_skip(struct soft_cpu *c, u64 ns);
/* icount: what reads time or reaches a device runs as a block of its own, so that the count is exact and what it asks for is
 * seen right after it.  Called before the instruction has had an effect: it may be given up, to be run again. */
void soft_run_alone(struct soft_cpu *c, const struct uop *op);
enum vcpu_next soft_run(struct vcpu *v);
/* Interprets `b` at c->rip. */
void soft_run_block(struct soft_cpu *c, struct block *b);
/* A block has ended in a handler that translated code called: where that goes on.  NULL: in soft_run, where c->rip and c->link say. */
const u8 *soft_run_follow(struct soft_cpu *c);
/* A quantum has ended where the translation of `b` is to begin, and nothing was asked for.  True: another one has begun, the key and all blocks
 * are as they were, and the translation may go on; else soft_run has to look. */
bool soft_run_quantum(struct soft_cpu *c, const struct block *b);
/* idle.c.  Waits for a request, at most `ns` (LAPIC_NEVER: without end). */
void soft_idle_wait(struct soft_cpu *c, u64 ns);
/* rate.c */
int soft_rate(const struct cpu_pick *p, struct cpu_rating *ret, struct err *e);
/* For tests: at most `max` instructions, one by one; VCPU_FAILED: c->event was raised, and is not delivered. */
enum vcpu_next soft_run_test(struct soft_cpu *c, u32 max);

struct msi {
    bool used;
    u64 addr;
    u32 data;
};

enum { SOFT_DOORBELLS_MAX = 1024 };

struct soft_doorbell {
    u64 addr;
    u32 len;
    int fd;
};

struct soft_vm {
    struct cpu_vm *vm;
    struct soft_cpu *cpus[CPU_MAX];
    struct lapic *lapics[CPU_MAX]; /* theirs, as lapic_route wants them */
    u32 n_cpus;
    struct mem *mem;
    const struct mem_region *ram; /* ascending */
    u32 n_ram;
    u64 gpa_mask;             /* MAXPHYADDR */
    struct soft_cpuid *cpuid; /* cpuid.c: what guests see */
    u64 features[4];          /* enum cpu_feature as bits: what decodes */
    struct irqchip irqchip;
    atomic_bool pic_intr; /* the 8259s ask vCPU 0 for attention */
    u64 clock_base_ns;    /* host time at guest time 0, while the clock runs */
    u64 clock_stopped_ns; /* guest time while it stands */
    bool clock_on;
    bool icount;         /* time is counted in instructions: 1 ns each; one vCPU */
    u64 icount_ahead_ns; /* icount: time that was slept through */
    u32 block_max;       /* instructions of a block: BLOCK_UOPS_MAX, or fewer for a comparison */
    u32 jit_warm;        /* runs of a block until it is translated; 0: never */
    u32 code_budget;     /* bytes of decoded code, and of translated code, of a vCPU */
    u32 window_after; /* quanta in ring 3 until an address space gets the user window; 0: none does */
    atomic_bool dirty_log;     /* every write goes through mem.c, which calls soft_dirty */
    atomic_ullong *dirty;      /* one bit a page of the memfd; made by the first start of the log */
    bool crowded;              /* more vCPUs than host CPUs: spinners yield */
    atomic_ullong *page_code;  /* by page of the memfd: bit i = vCPU i has decoded code in it */
    pthread_mutex_t exclusive; /* soft_exclusive_begin */
    pthread_mutex_t lock;      /* guards msis, doorbells */
    struct msi msis[CPU_MSI_MAX];
    struct soft_doorbell doorbells[SOFT_DOORBELLS_MAX];
    u32 n_doorbells;                   /* sorted by address */
    atomic_ullong bell_low, bell_high; /* all are in [low, high) */
};
