/*
 * cpu/soft/jit/thunk.c: the ways into translated code, out of it, and from it to the interpreter's handlers.
 */
#include "cpu/soft/code.h"
#include "cpu/soft/jit/cache.h"
#include "cpu/soft/soft_mem.h"
#include "cpu/soft/window.h"

#include <stdlib.h>

const u8 jit_host[GPR_COUNT] = {
    [GPR_RAX] = RAX, [GPR_RCX] = RCX, [GPR_RDX] = RDX, [GPR_RBX] = RBX, [GPR_RSP] = GUEST_SP,
    [GPR_RBP] = RBP, [GPR_RSI] = RSI, [GPR_RDI] = RDI, [8] = R8,        [9] = NO_REG,
    [10] = NO_REG,   [11] = NO_REG,   [12] = R12,      [13] = R13,      [14] = NO_REG,
    [15] = NO_REG,
};

static const u8 saved[] = { RBX, RBP, R12, R13, R14, R15 };

static void move_all(struct jit_asm *a, u32 op)
{
    for (u32 g = 0; g < GPR_COUNT; g++)
        if (jit_host[g] != NO_REG)
            asm_rm(a, true, op, jit_host[g], CTX, jit_reg_at(g));
}

/* All vector registers, 256 bits; op: 0x10 loads, 0x11 stores. */
static void move_vecs(struct jit_asm *a, u32 op)
{
    for (u32 r = 0; r < 16; r++) { /* VMOVUPS [R15 + disp32] */
        asm_bytes(a, 3, 0x7c00c4 | (r > 7 ? 0x4100 : 0xc100));
        asm_byte(a, op);
        asm_byte(a, 0x87 | (r & 7) << 3);
        asm_bytes(a, 4, (u32)(CTX_AT(fpu.ymm) + 32 * (s32)r));
    }
}

/* With AL as scratch for a byte: T0 = soft_cpu.vec_ok. */
static void load_vecs(struct jit_asm *a, struct jit_thunks *ret)
{
    u32 no;

    ret->load = a->at;
    asm_rm(a, false, 0x0fb6, T0, CTX, CTX_AT(vec_ok)); /* MOVZX */
    asm_rr(a, false, OP_CMP, T0, T1);
    no = asm_jcc(a, 2); /* below */
    ret->reload = a->at;
    asm_rm(a, false, 0x0fb6, T0, CTX, CTX_AT(vec_ok));
    move_vecs(a, 0x10);
    asm_rm(a, false, 0x88, T0, CTX, CTX_AT(vec_live)); /* MOV of a byte; carry is still clear */
    asm_aim(a, no, a->at);
    asm_byte(a, 0xc3);
}

static void store_vecs(struct jit_asm *a, bool vec)
{
    if (vec) {
        move_vecs(a, 0x11);
        asm_bytes(a, 3, 0x77f8c5); /* VZEROUPPER */
    }
    asm_rm(a, false, 0x80, 4, CTX, CTX_AT(vec_live)); /* AND with 0 */
    asm_byte(a, 0);
    asm_byte(a, 0xc3);
}

/* What is in soft_cpu is to be true of vector registers, too. */
static void settle_vecs(struct jit_asm *a, u32 to_store)
{
    u32 no;

    asm_rm(a, false, 0x80, EXT_CMP, CTX, CTX_AT(vec_live));
    asm_byte(a, 0);
    no = asm_jcc(a, CC_NZ ^ 1);
    asm_aim(a, asm_call(a), to_store);
    asm_aim(a, no, a->at);
}

/* Returns where the displacement is of what a return without a call goes to. */
static u32 enter(struct jit_asm *a)
{
    u32 no_call;

    asm_bytes(a, 4, 0xfa1e0ff3); /* ENDBR64 */
    for_each_row(r, saved)
        asm_bytes(a, *r > 7 ? 2 : 1, *r > 7 ? 0x5041u | (*r & 7u) << 8 : 0x50u | *r);
    asm_ri(a, true, EXT_SUB, RSP, 8);
    asm_rm(a, true, OP_LEA, CTX, RDI, CTX_BIAS);
    asm_mov(a, T0, RSI);
    asm_bytes(a, 2, 0x006a);   /* PUSH 0: where no call was made, a return to 0 ... */
    asm_bytes(a, 3, 0x158d4c); /* LEA T1, [RIP + ...] */
    asm_bytes(a, 4, 0);
    no_call = a->at - 4;
    asm_bytes(a, 2, 0x5241); /* PUSH T1: ... goes on there */
    asm_rm(a, true, OP_MOV_TO, RSP, CTX, CTX_AT(calls));
    asm_rm(a, true, OP_LEA, T1, RSP, -CALLS_BYTES);
    asm_rm(a, true, OP_MOV_TO, T1, CTX, CTX_AT(calls_end));
    move_all(a, OP_MOV);
    asm_rr(a, false, 0xff, 4, T0); /* JMP */
    return no_call;
}

static void forget_calls(struct jit_asm *a)
{
    asm_rm(a, true, OP_MOV, RSP, CTX, CTX_AT(calls));
}

/* What is in soft_cpu is true. */
static void leave_plain(struct jit_asm *a)
{
    forget_calls(a);
    asm_ri(a, true, EXT_ADD, RSP, 2 * 8 + 8);
    for (u32 i = ARRAY_LEN(saved); i-- > 0;)
        asm_bytes(a, saved[i] > 7 ? 2 : 1,
                  saved[i] > 7 ? 0x5841u | (saved[i] & 7u) << 8 : 0x58u | saved[i]);
    asm_byte(a, 0xc3);
}

/* From a thunk that was called itself; its arguments are there, and all of the guest's state is in soft_cpu. */
static void call_c(struct jit_asm *a, u64 fn)
{
    asm_ri(a, true, EXT_SUB, RSP, 8); /* beside the return address */
    asm_mov_imm(a, RAX, fn);
    asm_rr(a, false, 0xff, EXT_CALL, RAX);
    asm_ri(a, true, EXT_ADD, RSP, 8);
}

static void call_handler(struct jit_asm *a, u32 to_store)
{
    u32 ends, done;

    move_all(a, OP_MOV_TO);
    settle_vecs(a, to_store);
    asm_rm(a, true, OP_LEA, RDI, CTX, -CTX_BIAS);
    asm_mov(a, RSI, T2);
    asm_mov(a, RDX, T0);
    asm_mov(a, RCX, T1);
    call_c(a, (uintptr_t)jit_call);
    asm_ri(a, true, EXT_CMP, RAX, JIT_CALL_NEXT);
    ends = asm_jcc(a, CC_NZ);
    move_all(a, OP_MOV);
    asm_byte(a, 0xc3);
    asm_aim(a, ends, a->at);
    done = asm_jcc(a, CC_B);
    forget_calls(a); /* it does not come back */
    asm_mov(a, T0, RAX);
    move_all(a, OP_MOV);
    asm_rr(a, false, 0xff, 4, T0); /* JMP */
    asm_aim(a, done, a->at);
    leave_plain(a);
}

static void quantum(struct jit_asm *a, u32 to_store)
{
    move_all(a, OP_MOV_TO);
    settle_vecs(a, to_store);
    asm_rm(a, true, OP_LEA, RDI, CTX, -CTX_BIAS);
    asm_mov(a, RSI, T2);
    call_c(a, (uintptr_t)jit_quantum);
    asm_bytes(a, 2, 0xc084); /* TEST AL, AL */
    move_all(a, OP_MOV);
    asm_byte(a, 0xc3);
}

static void leave(struct jit_asm *a, u32 to_store)
{
    asm_rm(a, true, OP_ADD, T0, CTX, CTX_AT(page_rip));
    asm_rm(a, true, OP_MOV_TO, T0, CTX, CTX_AT(rip));
    asm_rm(a, false, OP_MOV_TO, T1, CTX, CTX_AT(jit_exit));
    asm_rm(a, true, OP_MOV_TO, T2, CTX, CTX_AT(block));
    move_all(a, OP_MOV_TO);
    settle_vecs(a, to_store);
    leave_plain(a);
}

/* Returns where what leaves to RIP = T0 begins. */
static u32 cold(struct jit_asm *a, u32 to_leave)
{
    u32 at;

    asm_rm(a, true, OP_MOV, T0, T1, offsetof(struct jump_entry, lin));
    at = a->at;
    asm_rm(a, true, OP_SUB, T0, CTX, CTX_AT(page_rip));
    asm_rm(a, true, OP_MOV, T2, CTX, CTX_AT(block)); /* no one's */
    asm_mov_imm(a, T1, JIT_EXIT_COLD);
    asm_jmp_to(a, to_leave);
    return at;
}

/* Z: entry T2 of the set in force is of a global page (soft_tlb_is_global); RAX and T2 are lost. */
static void is_global(struct jit_asm *a)
{
    asm_rm(a, true, OP_MOV, RAX, CTX, CTX_AT(set));
    asm_rr(a, true, OP_SUB, T2, RAX);
    asm_ri(a, true, EXT_SUB, T2, offsetof(struct tlb_set, e));
    asm_shift(a, true, EXT_SHR, T2, 5);
    asm_rm(a, true, OP_BT_TO, T2, RAX, offsetof(struct tlb_set, global)); /* carry */
    asm_rr(a, false, OP_SBB, T2, T2);
    asm_ri(a, false, EXT_CMP, T2, -1);
}

/* The page of T0 has a target of jumps (soft_jump_page); RAX and T2 are lost. */
static void mark_page(struct jit_asm *a)
{
    asm_mov(a, RAX, T0);
    asm_shift(a, true, EXT_SHR, RAX, 12);
    asm_ri(a, false, EXT_AND, RAX, JUMP_PAGES / 2 - 1);
    asm_mov(a, T2, T0);
    asm_shift(a, true, EXT_SHR, T2, 63 - JUMP_HALF_BITS);
    asm_ri(a, false, EXT_AND, T2, JUMP_PAGES / 2);
    asm_rr(a, true, OP_ADD, RAX, T2);
    asm_rr(a, true, OP_ADD, RAX, CTX);
    asm_rm(a, false, 0xc6, 0, RAX, CTX_AT(jump_pages)); /* MOV byte */
    asm_byte(a, 1);
}

static void doubt(struct jit_asm *a)
{
    u32 no[5], local;

    asm_byte(a, 0x50); /* PUSH RAX */
    asm_mov(a, T2, T0);
    asm_shift(a, true, EXT_SHR, T2, 7);
    asm_ri(a, false, EXT_AND, T2, (SOFT_TLB_SIZE - 1) * (s32)sizeof(struct tlb_entry));
    asm_rm(a, true, OP_ADD, T2, CTX, CTX_AT(tlb_fetch));
    asm_mov(a, RAX, T0);
    asm_ri(a, true, EXT_AND, RAX, -4096);
    asm_rm(a, true, OP_CMP, RAX, T2, offsetof(struct tlb_entry, tag_x));
    no[0] = asm_jcc(a, CC_NZ);
    asm_rm(a, true, OP_MOV, RAX, T1, offsetof(struct jump_entry, block));
    asm_ri(a, true, EXT_CMP, RAX, 1); /* NULL: of RIP 0 */
    no[1] = asm_jcc(a, CC_B);
    asm_bytes(a, 2, 0x5341); /* PUSH T2 */
    asm_rm(a, true, OP_MOV, T2, T2, offsetof(struct tlb_entry, addend));
    asm_rr(a, true, OP_ADD, T2, T0);
    asm_rm(a, true, OP_CMP, T2, RAX, offsetof(struct block, host));
    asm_bytes(a, 2, 0x5b41); /* POP T2 */
    no[2] = asm_jcc(a, CC_NZ);
    asm_rm(a, false, 0x80, EXT_CMP, CTX, CTX_AT(stamp_shared));
    asm_byte(a, 0);
    local = asm_jcc(a, CC_Z);
    is_global(a);
    no[3] = asm_jcc(a, CC_NZ);
    asm_aim(a, local, a->at);
    mark_page(a);
    asm_rm(a, true, OP_MOV, RAX, T1, offsetof(struct jump_entry, block));
    asm_rm(a, false, OP_MOV, RAX, RAX, offsetof(struct block, key));
    asm_rm(a, false, OP_CMP, RAX, CTX, CTX_AT(key));
    no[4] = asm_jcc(a, CC_NZ);
    asm_rm(a, true, OP_MOV, T2, CTX, CTX_AT(stamp));
    asm_rm(a, true, OP_MOV_TO, T2, T1, offsetof(struct jump_entry, stamp));
    for_each_row(n, no)
        asm_aim(a, *n, a->at);
    asm_byte(a, 0x58); /* POP RAX */
    asm_byte(a, 0xc3);
}

/* With RAX as scratch: both places of the page in the TLB. */
static void recent(struct jit_asm *a, u32 access)
{
    static const s32 parts[] = { offsetof(struct tlb_entry, tag_r),
                                 offsetof(struct tlb_entry, tag_w),
                                 offsetof(struct tlb_entry, addend) };
    u32 found, no;

    asm_byte(a, 0x50); /* PUSH RAX */
    asm_ri(a, true, EXT_AND, T2, -(s32)GUEST_PAGE);
    asm_mov(a, RAX, T0);
    asm_shift(a, true, EXT_SHR, RAX, 7);
    asm_ri(a, false, EXT_AND, RAX, (SOFT_TLB_SIZE - 1) * (s32)sizeof(struct tlb_entry));
    asm_rm(a, true, OP_ADD, RAX, CTX, CTX_AT(tlb));
    asm_rm(a, true, OP_CMP, T2, RAX, jit_tag_of(access));
    found = asm_jcc(a, CC_Z);
    asm_ri(a, true, EXT_XOR, RAX, SOFT_TLB_OTHER * (s32)sizeof(struct tlb_entry));
    asm_rm(a, true, OP_CMP, T2, RAX, jit_tag_of(access));
    no = asm_jcc(a, CC_NZ);
    asm_aim(a, found, a->at);
    for_each_row(p, parts) {
        asm_rm(a, true, OP_MOV, T2, RAX, *p);
        asm_rm(a, true, OP_MOV_TO, T2, T1, *p);
    }
    asm_aim(a, no, a->at);
    asm_byte(a, 0x58); /* POP RAX */
    asm_byte(a, 0xc3);
}

void jit_thunks(struct jit_asm *a, struct jit_thunks *ret, bool vec)
{
    u32 no_call;

    ret->store = a->at;
    store_vecs(a, vec);
    if (vec)
        load_vecs(a, ret);
    ret->enter = a->at;
    no_call = enter(a);
    ret->call = a->at;
    call_handler(a, ret->store);
    ret->quantum = a->at;
    quantum(a, ret->store);
    ret->leave = a->at;
    leave(a, ret->store);
    ret->doubt = a->at;
    doubt(a);
    ret->recent_r = a->at;
    recent(a, ACC_READ);
    ret->recent_w = a->at;
    recent(a, ACC_WRITE);
    ret->cold = a->at;
    asm_aim(a, no_call, cold(a, ret->leave));
}

void jit_next(struct soft_cpu *c, const struct uop *op [[maybe_unused]])
{
    c->jit_next = true;
}

bool jit_quantum(struct soft_cpu *c, struct block *b)
{
    bool on;

    c->block = b;
    c->rip = c->page_rip + b->gpa % GUEST_PAGE;
    on = soft_run_quantum(c, b);
    c->jit->stats.quanta += on;
    return on;
}

u64 jit_call(struct soft_cpu *c, struct block *b, u32 i, uop_fn fn)
{
    const u32 at = i & (JIT_CALL_MISS - 1);
    const u64 miss = c->window_miss;

    c->block = b;
    c->base_rip = c->page_rip + b->gpa % 4096;
    *soft_reg(c, REG_RIP) = c->base_rip;
    *soft_reg(c, REG_RIP_FAR) = c->base_rip + GiB;
    c->window_miss = WINDOW_NO_MISS;
    c->jit_next = false;
    if (i >= JIT_CALL_MISS)
        c->jit->stats.misses++;
    else
        c->jit->stats.calls++;
    fn(c, &b->ops[at]);
    if (unlikely(miss != WINDOW_NO_MISS))
        soft_window_missed(c, b, at, miss);
    if (i >= JIT_CALL_OUTSIDE)
        soft_window_outside(c, b, at, i & JIT_CALL_OUTSIDE_LOW ? WINDOW_HIGH : WINDOW_NONE);
    if (unlikely(c->jit_next &&
                 b->key & KEY_DROPPED)) { /* who writes to it now would not be seen */
        c->jit_next = false;
        soft_op_cut(c, &b->ops[at + 1]);
    }
    jit_x87_settle(c);
    return c->jit_next ? JIT_CALL_NEXT : (uintptr_t)soft_run_follow(c);
}
