/*
 * cpu/soft/seg.h: segments, far transfers, delivery of events and tasks.  (Intel SDM volume 3, chapters 3, 5, 6 and 7)
 *
 *   (1) Whatever can fault comes first, on copies (struct seg_state, struct stack); then the registers change, all at once.
 *   (2) A descriptor is read once and believed as it was read: the guest may rewrite it while we look.
 */
#pragma once

#include "cpu/soft/msr.h"
#include "cpu/soft/soft_mem.h"

/* Descriptor bits in seg_state.attr. */
#define SEG_TYPE   0x000fu
#define SEG_S      0x0010u
#define SEG_DPL    0x0060u
#define SEG_P      0x0080u
#define SEG_L      0x2000u
#define SEG_DB     0x4000u
#define SEG_G      0x8000u
#define SEG_CODE   0x0008u /* of type, when S */
#define SEG_WRITE  0x0002u /* data: writable; code: readable */
#define SEG_DOWN   0x0004u /* data: expand-down; code: conforming */
#define SEG_ACCESS 0x0001u

/* Types of system descriptors. */
enum {
    SYS_TSS16 = 1,
    SYS_LDT = 2,
    SYS_TSS16_BUSY = 3,
    SYS_CALL16 = 4,
    SYS_TASK_GATE = 5,
    SYS_INT16 = 6,
    SYS_TRAP16 = 7,
    SYS_TSS32 = 9,
    SYS_TSS32_BUSY = 11,
    SYS_CALL32 = 12, /* in long mode: 64-bit */
    SYS_INT32 = 14,
    SYS_TRAP32 = 15,
    SYS_BUSY = 2, /* what makes a TSS busy */
};

/* MOV and POP to ES, SS, DS, FS, GS, in every mode.  Raises; on success the hidden part is loaded, and soft_mode_changed was called. */
void soft_seg_load(struct soft_cpu *c, const struct uop *op, enum vcpu_seg seg, u16 selector);
/* Real mode and virtual-8086: base = selector * 16, and in virtual-8086 mode limit and rights too. */
void soft_seg_real(struct soft_cpu *c, enum vcpu_seg seg, u16 selector);
/* deliver.c: enters the handler of an exception, INT n or interrupt; c->rip is what is pushed.  May raise: the caller merges the two. */
void soft_deliver(struct soft_cpu *c, const struct soft_event *ev);

/* The flags that the event pushes. */
u32 soft_event_flags(const struct soft_cpu *c, const struct soft_event *ev);

enum soft_task_why { TASK_JUMP, TASK_CALL, TASK_IRET, TASK_GATE };
/* task.c: 32- and 16-bit task switch; `rip` is the address the old task will go on at. */
void soft_task_switch(struct soft_cpu *c, const struct uop *op, u16 selector,
                      enum soft_task_why why, const struct soft_event *ev, u64 rip);

/* On whose behalf segments are looked at, hence what a failed check raises. */
struct seg_for {
    const struct uop *op; /* NULL: an event is being delivered */
    u8 vector;            /* VEC_GP; VEC_TS where the fault is in a TSS */
    u8 ext;               /* bit 0 of error codes: the event came from outside the program */
};
#define SEG_FOR(uop) ((struct seg_for){ .op = (uop), .vector = VEC_GP })

/* Raises `vector` with the selector as its error code. */
_Noreturn void seg_fail(struct soft_cpu *c, struct seg_for w, u8 vector, u32 selector);

/* A descriptor from the GDT or LDT. */
struct seg_desc {
    struct seg_state s; /* as a segment register would hold it */
    u64 raw;            /* its first 8 bytes */
    u64 at;             /* where it is; its accessed and busy bits are there */
};

static inline u32 seg_type(const struct seg_state *s)
{
    return s->attr & SEG_TYPE;
}

static inline u32 seg_dpl(const struct seg_state *s)
{
    return (s->attr & SEG_DPL) >> 5;
}

static inline bool seg_is_code(const struct seg_state *s)
{
    return (s->attr & (SEG_S | SEG_CODE)) == (SEG_S | SEG_CODE);
}

static inline bool seg_is_conforming(const struct seg_state *s)
{
    return s->attr & SEG_DOWN;
}

static inline bool seg_is_null(u32 selector)
{
    return (selector & 0xfffc) == 0;
}

/* A call, interrupt, trap or task gate. */
struct seg_gate {
    u64 offset;
    u16 selector;
    u8 type, dpl;
    u8 count; /* call gate: parameters; long mode: index of the stack, 0 is none */
    bool present;
};

static inline struct seg_gate seg_gate(u64 raw)
{
    bool wide = (raw >> 40) & 8;

    return (struct seg_gate){
        .offset = (raw & 0xffff) | (wide ? (raw >> 32) & 0xffff0000 : 0),
        .selector = (u16)(raw >> 16),
        .type = (raw >> 40) & 15,
        .dpl = (raw >> 45) & 3,
        .count = (raw >> 32) & 31,
        .present = (raw >> 47) & 1,
    };
}

/* An unusable segment, as a null selector leaves it. */
struct seg_state seg_null(u16 selector);
/* What virtual-8086 mode has in every segment register. */
struct seg_state seg_vm86(u16 selector);
/* Reads the descriptor of `selector`, which is not null.  False: it is outside its table. */
bool seg_fetch(struct soft_cpu *c, struct seg_for w, u16 selector, struct seg_desc *ret);
/* As seg_fetch for a code segment, or raises `w.vector`. */
void seg_fetch_code(struct soft_cpu *c, struct seg_for w, u16 selector, struct seg_desc *ret);
/* Long mode: the upper half of a system descriptor.  Raises when it is outside its table or malformed. */
u64 seg_fetch_upper(struct soft_cpu *c, struct seg_for w, const struct seg_desc *d);
/* The limit allows `rip` and, in 64-bit code, it is canonical; else #GP(0). */
void seg_check_rip(struct soft_cpu *c, struct seg_for w, const struct seg_state *cs, u64 rip);
/* All checks for a code segment whose DPL suits; `cpl` is what it will run at.  Marks it accessed. */
void seg_check_code(struct soft_cpu *c, struct seg_for w, struct seg_desc *d, u8 cpl);
/* What ES, SS, DS, FS or GS would hold after a load at privilege `cpl`; `code64`: by 64-bit code.  Raises. */
struct seg_state seg_data(struct soft_cpu *c, struct seg_for w, enum vcpu_seg seg, u16 selector,
                          u8 cpl, bool code64);
/* Sets or clears bits of the type in a descriptor, in one step.  Returns the type before. */
u8 seg_type_set(struct soft_cpu *c, struct seg_for w, u64 desc_at, u8 bits);
u8 seg_type_clear(struct soft_cpu *c, struct seg_for w, u64 desc_at, u8 bits);
/* ES, DS, FS, GS that `cpl` may not use become null: after a return to an outer ring. */
void seg_drop_inner(struct soft_cpu *c, u8 cpl);
/* Long mode: stack pointer at `off` of the TSS. */
u64 seg_tss_rsp(struct soft_cpu *c, struct seg_for w, u32 off);

/* CS and RIP change; the CPL too.  Ends the block. */
void seg_jump(struct soft_cpu *c, const struct seg_state *cs, u64 rip, u8 cpl);

static inline u32 seg_code_size(const struct soft_cpu *c, const struct seg_state *cs)
{
    if (soft_long_mode(c) && (cs->attr & SEG_L))
        return SIZE_64;
    return cs->attr & SEG_DB ? SIZE_32 : SIZE_16;
}

/* Null, as SS is in 64-bit code of ring `cpl` < 3.  Its DPL is the CPL there too. */
static inline struct seg_state seg_null_ss(u8 cpl)
{
    return (struct seg_state){ .selector = cpl, .attr = (u16)(cpl << 5), .unusable = true };
}

static inline u32 soft_iopl(const struct soft_cpu *c)
{
    return (c->eflags & RF_IOPL) >> 12;
}

/* Replaces the flags of `mask`; soft_mode_changed is the caller's. */
static inline void seg_set_flags(struct soft_cpu *c, u32 mask, u32 val)
{
    soft_set_flags(c, (soft_flags(c) & ~mask) | (val & mask));
}

/* insn_flags.c: flags popped by 16-bit code in virtual-8086 mode with IOPL below 3: IF goes to VIF, or #GP. */
u32 flags_vme_pop(struct soft_cpu *c, const struct uop *op, u32 val, u8 size);

/* A stack in use by one instruction or event: the registers do not change until stack_commit. */
struct stack {
    struct soft_cpu *c;
    struct seg_for w;
    const struct seg_state *ss;
    u64 sp;
    u64 mask;   /* which bits of sp count */
    u8 size;    /* bytes of a slot */
    bool inner; /* of a ring other than the current: reached with supervisor rights */
    u16 error;  /* selector in a #SS */
};

/* The stack of `ss` at `sp`; code64: its width is that of 64-bit mode. */
struct stack stack_at(struct soft_cpu *c, struct seg_for w, const struct seg_state *ss, u64 sp,
                      bool code64);
/* The current one. */
struct stack stack_current(struct soft_cpu *c, struct seg_for w, u8 size);
/* That of the more privileged ring `cpl`, out of the TSS; its segment goes to *ret_ss, which it refers to. */
struct stack stack_inner(struct soft_cpu *c, struct seg_for w, u8 cpl, struct seg_state *ret_ss);
void stack_push(struct stack *s, u64 val);
u64 stack_pop(struct stack *s);
/* RSP becomes the stack's. */
void stack_commit(struct soft_cpu *c, const struct stack *s);

/* Loads and stores with supervisor rights; the common case inline. */
static inline struct tlb_entry *sys_tlb_at(struct soft_cpu *c, u64 lin)
{
    return &c->set->e[MMU_KERNEL][(lin / GUEST_PAGE) % SOFT_TLB_SIZE];
}

static inline u64 sys_load64(struct soft_cpu *c, const struct uop *op, u64 lin)
{
    const struct tlb_entry *t = sys_tlb_at(c, lin);

    if (likely(t->tag_r == ((lin + 7) & GUEST_PAGE_MASK)))
        return *(const volatile guest_u64 *)(uintptr_t)(lin + (u64)t->addend);
    return soft_sys_load(c, op, lin, 8);
}

static inline void sys_store64(struct soft_cpu *c, const struct uop *op, u64 lin, u64 val)
{
    struct tlb_entry *t = sys_tlb_at(c, lin);

    if (likely(t->tag_w == ((lin + 7) & GUEST_PAGE_MASK)))
        *(volatile guest_u64 *)(uintptr_t)(lin + (u64)t->addend) = val;
    else
        soft_sys_store(c, op, lin, 8, val);
}
