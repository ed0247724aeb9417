/*
 * cpu/soft/soft_mem.h: how handlers reach guest memory: linear address through the software TLB to the host.
 *   (1) One guest access is one host access of the same size when it does not cross a page: x86 memory order is kept.
 *   (2) A store that crosses a page has checked both pages before it writes the first byte.
 *   (3) What is not plain RAM under the rights in force (a miss, MMIO, a page with code, a watched page) goes to mem.c.
 */
#pragma once

#include "cpu/soft/soft.h"

#define GUEST_PAGE      4096ull
#define GUEST_PAGE_MASK (~(GUEST_PAGE - 1))

enum soft_access {
    ACC_READ = 1,
    ACC_WRITE = 2,
    ACC_EXEC = 4,
    ACC_SYSTEM = 8, /* descriptor tables, TSS: supervisor whatever the CPL */
};

/* Misaligned by the guest's leave; volatile so that each access is exactly one. */
typedef u8 guest_u8 __attribute__((may_alias));
typedef u16 guest_u16 __attribute__((aligned(1), may_alias));
typedef u32 guest_u32 __attribute__((aligned(1), may_alias));
typedef u64 guest_u64 __attribute__((aligned(1), may_alias));

/* mem.c.  size: 1, 2, 4, 8.  All raise what the guest's access raises; `op` is the instruction, NULL outside one. */
u64 soft_load_slow(struct soft_cpu *c, const struct uop *op, u64 lin, u32 size);
void soft_store_slow(struct soft_cpu *c, const struct uop *op, u64 lin, u32 size, u64 val);
/* Host address of [lin, lin + size) for reading and writing in place; NULL: not possible, use loads and stores. Raises as a write does. */
void *soft_rw_slow(struct soft_cpu *c, const struct uop *op, u64 lin, u32 size);
/* For reading only. */
const void *soft_ro_slow(struct soft_cpu *c, const struct uop *op, u64 lin, u32 size);
/* Any length up to a page, any place; a store checks all of it first (all or nothing). */
void soft_load_bytes(struct soft_cpu *c, const struct uop *op, u64 lin, void *buf, u32 n);
void soft_store_bytes(struct soft_cpu *c, const struct uop *op, u64 lin, const void *buf, u32 n);
/* Raises what a write of [lin, lin + n) would raise, writes nothing. */
void soft_probe_write(struct soft_cpu *c, const struct uop *op, u64 lin, u32 n);
/* Descriptor tables and TSS: supervisor rights.  size: 1, 2, 4, 8. */
u64 soft_sys_load(struct soft_cpu *c, const struct uop *op, u64 lin, u32 size);
void soft_sys_store(struct soft_cpu *c, const struct uop *op, u64 lin, u32 size, u64 val);
/* A read-modify-write that no other vCPU may see half done, where the host has no instruction for it (page-crossing, MMIO). */
void soft_exclusive_begin(struct soft_cpu *c);
void soft_exclusive_end(struct soft_cpu *c);

/* Host address of guest RAM, or NULL. */
u8 *soft_ram(const struct soft_vm *vm, u64 gpa, u64 len, u64 *ret_page);

/* mmu.c.  Walks the guest's tables, sets A and D, fills the TLB; raises #PF, #GP or #SS.  Returns the GPA. */
u64 soft_walk(struct soft_cpu *c, const struct uop *op, u64 lin, u32 access);
/* As soft_walk without effects: false when the page is not mapped.  Rights are not checked. */
bool soft_peek(struct soft_cpu *c, u64 lin, u64 *ret_gpa);
/* Forget translations.  flush_all: global ones too. */
void soft_tlb_flush_all(struct soft_cpu *c);
void soft_tlb_flush_page(struct soft_cpu *c, u64 lin);
/* MOV to CR3: the set of its PCID comes in force, emptied unless `keep`. */
void soft_tlb_switch(struct soft_cpu *c, u64 cr3, bool keep);
/* INVPCID types 0 to 3. */
void soft_tlb_invpcid(struct soft_cpu *c, u32 type, u64 pcid, u64 lin);

/* seg.c: linear address of [off, off + size) in segment `seg`; raises #GP or #SS on limit, rights, null. */
u64 soft_seg_linear(struct soft_cpu *c, const struct uop *op, u32 seg, u64 off, u32 size,
                    u32 access);

static inline __attribute__((always_inline)) u64 soft_ea(struct soft_cpu *c, const struct uop *op)
{
    u64 ea = *soft_reg(c, op->base) + (*soft_reg(c, op->index) << op->scale) + (u64)(s64)op->disp;

    if (likely(op->asize == SIZE_64))
        return ea;
    return op->asize == SIZE_32 ? (u32)ea : (u16)ea;
}

/* Linear address of the memory operand of `op`. */
static inline __attribute__((always_inline)) u64 soft_lin(struct soft_cpu *c, const struct uop *op,
                                                          u32 size, u32 access)
{
    u64 ea = soft_ea(c, op);

    if (likely(op->seg >= SEG_FLAT))
        return ea;
    return soft_seg_linear(c, op, op->seg, ea, size, access);
}

static inline __attribute__((always_inline)) struct tlb_entry *soft_tlb_at(struct soft_cpu *c,
                                                                           u64 lin)
{
    return &c->tlb[(lin / GUEST_PAGE) % SOFT_TLB_SIZE];
}

/* The entry by which the code at `lin` can be fetched, if there is one; else the one that will be, once it was walked to. */
static inline struct tlb_entry *soft_fetch_at(const struct soft_cpu *c, u64 lin)
{
    u32 at = (u32)(lin / GUEST_PAGE) % SOFT_TLB_SIZE;
    struct tlb_entry *t = &c->tlb_fetch[at], *other = &c->tlb_fetch[at ^ SOFT_TLB_OTHER];

    return t->tag_x != (lin & GUEST_PAGE_MASK) && other->tag_x == (lin & GUEST_PAGE_MASK) ? other
                                                                                          : t;
}

#define SOFT_MEM_FUNCTIONS(bits)                                                       \
    static inline __attribute__((always_inline))                                       \
    u##bits soft_load##bits(struct soft_cpu *c, const struct uop *op, u64 lin)         \
    {                                                                                  \
        struct tlb_entry *t = soft_tlb_at(c, lin);                                     \
        if (likely(t->tag_r == ((lin + bits / 8 - 1) & GUEST_PAGE_MASK)))              \
            return *(const volatile guest_u##bits *)(uintptr_t)(lin + (u64)t->addend); \
        return (u##bits)soft_load_slow(c, op, lin, bits / 8);                          \
    }                                                                                  \
    static inline __attribute__((always_inline)) void soft_store##bits(                \
        struct soft_cpu *c, const struct uop *op, u64 lin, u##bits v)                  \
    {                                                                                  \
        struct tlb_entry *t = soft_tlb_at(c, lin);                                     \
        if (likely(t->tag_w == ((lin + bits / 8 - 1) & GUEST_PAGE_MASK)))              \
            *(volatile guest_u##bits *)(uintptr_t)(lin + (u64)t->addend) = v;          \
        else                                                                           \
            soft_store_slow(c, op, lin, bits / 8, v);                                  \
    }
SOFT_MEM_FUNCTIONS(8)
SOFT_MEM_FUNCTIONS(16)
SOFT_MEM_FUNCTIONS(32)
SOFT_MEM_FUNCTIONS(64)

/* Host address for an access in place, or NULL.  See soft_rw_slow. */
static inline void *soft_rw(struct soft_cpu *c, const struct uop *op, u64 lin, u32 size)
{
    struct tlb_entry *t = soft_tlb_at(c, lin);

    if (likely(t->tag_w == ((lin + size - 1) & GUEST_PAGE_MASK)))
        return (void *)(uintptr_t)(lin + (u64)t->addend);
    return soft_rw_slow(c, op, lin, size);
}

static inline const void *soft_ro(struct soft_cpu *c, const struct uop *op, u64 lin, u32 size)
{
    struct tlb_entry *t = soft_tlb_at(c, lin);

    if (likely(t->tag_r == ((lin + size - 1) & GUEST_PAGE_MASK)))
        return (const void *)(uintptr_t)(lin + (u64)t->addend);
    return soft_ro_slow(c, op, lin, size);
}

/* Linear address of [RSP + delta, + size) on the stack. */
static inline u64 soft_stack_lin(struct soft_cpu *c, const struct uop *op, s64 delta, u32 size,
                                 u32 access)
{
    u64 sp = c->reg[GPR_RSP] + (u64)delta;
    u32 kind = (c->key >> KEY_STACK_SHIFT) & 3;

    if (likely(kind == SIZE_64))
        return sp;
    return soft_seg_linear(c, op, SEG_SS, kind == SIZE_32 ? (u32)sp : (u16)sp, size, access);
}

/* RSP += delta in the width of the stack segment. */
static inline void soft_stack_move(struct soft_cpu *c, s64 delta)
{
    u32 kind = (c->key >> KEY_STACK_SHIFT) & 3;
    u64 sp = c->reg[GPR_RSP] + (u64)delta;

    if (likely(kind == SIZE_64))
        c->reg[GPR_RSP] = sp;
    else if (kind == SIZE_32)
        c->reg[GPR_RSP] = (u32)sp;
    else
        c->reg[GPR_RSP] = (c->reg[GPR_RSP] & ~0xffffull) | (u16)sp;
}
