/*
 * cpu/soft/code.h: decoded code of one vCPU: found by address and mode, made by the decoder, dropped when the guest
 * writes to its bytes.
 *   (1) Before bytes of a page are decoded, the vCPU's bit in soft_vm.page_code says so; every writer looks at these bits after
 *       its write (mem.c for vCPUs, the hook of mem_watch for devices).
 *   (2) A vCPU that wrote through a write tag of before (1) is caught by a second look: when all other vCPUs have dropped their
 *       tags, the blocks of a newly marked page are compared with memory by their sum.
 *   (3) Memory of dropped blocks is reused when everything is dropped: a fixed budget, no list of free pieces.
 */
#pragma once

#include "cpu/soft/soft.h"

enum {
    CODE_GRANULE = 8, /* bytes; writes to other granules of a page leave its blocks alone */
    CODE_GRANULES = 4096 / CODE_GRANULE,
};

/* soft_vm.code_budget: all of it, and with less RAM than so much, half. */
#define SOFT_CODE_MAX   (64u << 20)
#define SOFT_CODE_LARGE (1 * GiB)

int soft_code_init(struct soft_cpu *c, struct err *e);
void soft_code_fini(struct soft_cpu *c);

/* The block at CS:RIP in the mode in force; raises what fetching raises. */
struct block *soft_block(struct soft_cpu *c);
/* Drops all blocks, and stubs. */
void soft_code_flush(struct soft_cpu *c);
/* A write to [gpa, gpa + len) inside page `page` of the memfd has been done by this vCPU (`op`) ... */
void soft_code_written(struct soft_cpu *c, const struct uop *op, u64 page, u64 gpa, u32 len);
/* ... or by a device, on any thread. */
void soft_code_dma(struct soft_vm *vm, u64 page);
/* REQ_CODE: drops what others wrote to. */
void soft_code_attend(struct soft_cpu *c);
/* (2), when the other vCPUs have dropped their tags. */
void soft_code_second_look(struct soft_cpu *c);
/* There is nothing to look at a second time. */
bool soft_code_is_settled(const struct soft_cpu *c);
/* The sum that struct block has of its bytes. */
u32 soft_code_sum(const u8 *bytes, u32 n);
/* For tests: every block is still what memory holds. */
bool soft_code_is_true(struct soft_cpu *c);

/* Is what follows `b`, which begins at `lin` and crosses into another page, still the page that it was decoded from?  Where `b` has a
 * translation, the TLB has that page then.  Raises. */
bool soft_code_crosses(struct soft_cpu *c, const struct block *b, u64 lin);
/* The bytes of a block, of both of its pages, to `ret`.  False: they are not in RAM. */
bool soft_code_bytes(const struct soft_vm *vm, const struct block *b, u8 *ret);

/* decode.c: decodes into `b` from at most `n` bytes; bytes and n of the block are set.  `alone`: one instruction.
 * 0: the block is whole.  -EAGAIN: not even one instruction fits into the bytes. */
int soft_decode(struct soft_cpu *c, struct block *b, const u8 *bytes, u32 n, u32 key, bool alone);
int soft_decode_init(void);

/* Block `b`, which is being run at RIP c->base_rip, is to be decoded and translated anew, though its bytes are the same. */
void soft_code_forget(struct soft_cpu *c, struct block *b);

/* mmu.c */
enum { PAGE_BITS = 12, LARGE_BITS = 21, GIANT_BITS = 30 };
/* Bit of tlb_set.large (.giant) for a page.  Kernels map all of RAM by large pages: their half of the bits is not that of user space,
 * of whose pages most INVLPGs are. */
static inline u64 soft_tlb_region(u64 lin, u32 shift)
{
    return 1ull << ((lin >> 63) * 32 + (lin >> shift) % 32);
}
int soft_tlb_init(struct soft_cpu *c);
/* c->tlb is another one, perhaps: what was copied from it is forgotten. */
void soft_recent_settle(struct soft_cpu *c);
/* Is the page of entry `t` of this set in all address spaces? */
bool soft_tlb_is_global(const struct tlb_set *s, const struct tlb_entry *t);
void soft_tlb_fini(struct soft_cpu *c);
void soft_tlb_drop_writes(struct soft_cpu *c);
/* Drops the write tags of the page at `host`. */
void soft_tlb_drop_write(struct soft_cpu *c, const u8 *host);
/* Host address of a page of the memfd. */
const u8 *soft_ram_page(const struct soft_vm *vm, u64 page);
struct tlb_entry *soft_tlb_never(struct soft_cpu *c);
/* Is each access of this mode to be looked at?  Then soft_tlb_never is its TLB, else that of its fetches. */
static inline bool soft_tlb_is_watched(const struct soft_cpu *c)
{
    bool watch = (c->dr7 & 0xff) || c->debug_watches || c->check_dry;
    bool align = c->cpl == 3 && (c->cr0 & CR0_AM) && (c->eflags & RF_AC);

    return watch || align;
}
struct tlb_entry *soft_tlb_of_fetches(struct soft_cpu *c);

/* jumps.c.  The stamp in force is that of the key and the set in force. */
void soft_jumps_settle(struct soft_cpu *c);
/* No jump_entry is believed before it was looked at again: blocks were dropped. */
void soft_jumps_doubt(struct soft_cpu *c);
/* The same: all pages were forgotten, global ones too. */
void soft_jumps_doubt_all_spaces(struct soft_cpu *c);
/* All pages of the set but global ones were forgotten. */
void soft_jumps_doubt_set(struct soft_cpu *c, struct tlb_set *s);
/* The page was forgotten in some address spaces. */
void soft_jumps_doubt_page(struct soft_cpu *c, u64 lin);
/* `j` is true now, by entry `t` of the set in force. */
void soft_jump_stamp(struct soft_cpu *c, struct jump_entry *j, const struct tlb_entry *t);
/* Where the jump_entry of RIP `lin` is. */
static inline u32 soft_jump_at(u64 lin)
{
    return (u32)(lin ^ lin >> SOFT_JUMP_BITS) % (1 << SOFT_JUMP_BITS);
}
static inline u32 soft_jump_page(u64 lin)
{
    return (u32)(lin >> 12) % (JUMP_PAGES / 2) |
           ((u32)(lin >> (63 - JUMP_HALF_BITS)) & JUMP_PAGES / 2);
}

/* stub.c */
bool soft_stubs_full(const struct soft_cpu *c);
void soft_stubs_reset(struct soft_cpu *c);

/* Ends the block in front of `op`: the handler of instructions that a write made void, and of what is to be begun again. */
void soft_op_cut(struct soft_cpu *c, const struct uop *op);
