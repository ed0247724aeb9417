/*
 * cpu/soft/code_test.c: code that rewrites itself, and time by count of instructions; what code_fuzz.c found stands here as rows.
 */
#include "cpu/soft/code_run.h"
#include "cpu/soft/io.h"
#include "cpu/soft/rig.h"
#include "testlib/test.h"

#include <stdlib.h>

static struct rig *icount_rig(u32 block_max)
{
    struct rig *r = rig_open(&(struct cpu_cfg){ .n_cpus = 1, .icount = true }, MiB);

    r->c->vm->block_max = block_max;
    return r;
}

static enum vcpu_next run_to(struct rig *r, u64 insns)
{
    r->c->stop_insns = insns;
    return vcpu_run(r->c->v);
}

#define CODE(r, ...) rig_code((r), (const u8[]){ __VA_ARGS__ }, sizeof((const u8[]){ __VA_ARGS__ }))

/* Two readings of the TSC differ by the instructions between them, wherever blocks end. */
TEST(icount_tsc_is_exact)
{
    for (u32 max = 1; max <= BLOCK_UOPS_MAX; max *= 2) {
        struct rig *r = icount_rig(max);

        rig_mode(r, RIG_LONG);
        CODE(r, 0x0f, 0x31, 0x48, 0x89, 0xc3, 0x90, 0x90, 0x0f, 0x31, 0xeb,
             0xfe); /* rdtsc; mov rbx, rax; nop; nop; rdtsc; jmp $ */
        CHECK_EQ(run_to(r, 100), VCPU_KICKED);
        CHECK_EQ(soft_insns(r->c), 100);
        CHECK_EQ(r->c->reg[GPR_RAX] - r->c->reg[GPR_RBX], 4);
        rig_free(r);
    }
}

/* An engine that is asked to stop after n instructions has run n, also inside a repeated one. */
TEST(icount_stops_inside_rep)
{
    struct rig *r = icount_rig(BLOCK_UOPS_MAX);

    rig_mode(r, RIG_LONG);
    CODE(r, 0x90, 0xf3, 0xaa, 0xeb, 0xfe); /* nop; rep stosb; jmp $ */
    r->c->reg[GPR_RCX] = 5000;
    r->c->reg[GPR_RDI] = RIG_DATA;
    CHECK_EQ(run_to(r, 1001), VCPU_KICKED);
    CHECK_EQ(r->c->reg[GPR_RCX], 4000);
    CHECK_EQ(r->c->rip, RIG_CODE + 1);
    CHECK_EQ(run_to(r, 5002), VCPU_KICKED);
    CHECK_EQ(r->c->reg[GPR_RCX], 0);
    CHECK_EQ(r->c->rip, RIG_CODE + 3);
    rig_free(r);
}

/* ... and not beyond: a string instruction that is not repeated counts as one. */
TEST(icount_stops_between_string_instructions)
{
    struct rig *r = icount_rig(BLOCK_UOPS_MAX);
    u8 code[64];

    memset(code, 0xab, sizeof(code)); /* stosd */
    rig_mode(r, RIG_LONG);
    rig_code(r, code, sizeof(code));
    r->c->reg[GPR_RDI] = RIG_DATA;
    CHECK_EQ(run_to(r, 45), VCPU_KICKED);
    CHECK_EQ(soft_insns(r->c), 45);
    CHECK_EQ(r->c->rip, RIG_CODE + 45);
    rig_free(r);
}

/* A vCPU whose handler faults before its first instruction is not out of time. */
TEST(icount_counts_deliveries)
{
    struct rig *r = icount_rig(BLOCK_UOPS_MAX);
    u16 ud = RIG_CODE;

    rig_mode(r, RIG_REAL);
    CODE(r, 0x0f, 0x0b); /* ud2, whose handler it is */
    mem_write(r->mem, VEC_UD * 4, &ud, 2);
    CHECK_EQ(run_to(r, 1000), VCPU_KICKED);
    CHECK_EQ(soft_insns(r->c), 1000);
    rig_free(r);
}

/* Of a block that is left by a fault only what was done before it counts, also where the operand's address is the handler's own sum. */
TEST(icount_ends_at_faults_of_masked_stores)
{
    for (u32 max = 1; max <= BLOCK_UOPS_MAX; max *= 2) {
        struct rig *r = icount_rig(max);
        u16 gp = RIG_CODE + 0x80;

        rig_mode(r, RIG_REAL);
        /* nop; maskmovdqu [edi], xmm0, xmm1; nop; nop */
        CODE(r, 0x90, 0x67, 0x66, 0x0f, 0xf7, 0xc1, 0x90, 0x90);
        mem_write(r->mem, gp, (const u8[]){ 0x0f, 0x31, 0xeb, 0xfe }, 4); /* rdtsc; jmp $ */
        mem_write(r->mem, VEC_GP * 4, &gp, 2);
        r->c->reg[GPR_RDI] = 0x20000;
        CHECK_EQ(run_to(r, 100), VCPU_KICKED);
        CHECK_EQ(r->c->reg[GPR_RAX], 3); /* the first one, the delivery, RDTSC */
        rig_free(r);
    }
}

/* REP STOSB writes INC EDX (real mode: INC DX) over its first byte: it is fetched again after the element that does. */
TEST(rep_overwrites_itself)
{
    for (u32 single = 0; single < 2; single++) {
        struct rig *r = icount_rig(single ? 1 : BLOCK_UOPS_MAX);

        rig_mode(r, RIG_PROT32);
        CODE(r, 0xb0, 0x42, 0xf3, 0xaa, 0x90, 0xeb, 0xfe); /* mov al, 0x42; rep stosb; nop; jmp $ */
        r->c->reg[GPR_RCX] = 3;
        r->c->reg[GPR_RDI] = RIG_CODE + 2;
        run_to(r, 100);
        CHECK_EQ(r->c->reg[GPR_RCX], 2);
        CHECK_EQ(r->c->rip, RIG_CODE + 5);
        rig_free(r);
    }
}

/* What was no instruction becomes one by a write to bytes beyond the first. */
TEST(undecodable_bytes_are_rewritten)
{
    static const u8 none[] = { 0x44, 0x66, 0x0f, 0x38, 0xe7, 0x2f };
    static const u8 store[] = {
        0x66, 0xc7, 0x05, 0xff, 0xfe, 0xff, 0xff, 0xb6, 0x60
    }; /* mov word [RIG_CODE + 8], 0x60b6 */
    struct rig *r = icount_rig(1);
    u32 at = RIG_CODE + 6; /* of which the first two bytes are in another granule than the rest */

    rig_mode(r, RIG_LONG);
    mem_write(r->mem, at, none, sizeof(none));
    mem_write(r->mem, RIG_CODE + 0x100, store, sizeof(store));
    r->c->rip = at;
    CHECK_EQ(rig_step(r), RIG_END_EXCEPTION);
    CHECK_EQ(r->c->event.vector, VEC_UD);
    r->c->rip = RIG_CODE + 0x100;
    CHECK_EQ(rig_step(r), RIG_END_LIMIT);
    r->c->rip = at; /* now it is mov dh, 0x60 */
    CHECK_EQ(rig_step(r), RIG_END_LIMIT);
    CHECK_EQ(r->c->reg[GPR_RDX], 0x6000);
    rig_free(r);
}

/* CR0.PE is cleared in 32-bit code above 64 KiB: until CS is loaded EIP stays as wide as it was. */
TEST(real_mode_keeps_wide_eip)
{
    struct rig *r = icount_rig(1);

    rig_mode(r, RIG_PROT32);
    r->c->rip = RIG_DATA;
    mem_write(r->mem, RIG_DATA,
              (const u8[]){ 0x0f, 0x20, 0xc0, 0x24, 0xfe, 0x0f, 0x22, 0xc0, 0x90, 0xeb, 0xfe }, 11);
    run_to(r, 10);
    CHECK_EQ(r->c->cr0 & CR0_PE, 0);
    CHECK_EQ(r->c->rip, RIG_DATA + 9);
    rig_free(r);
}

/* A loop whose counter lies inside it: the page is rewritten in each round. */
TEST(code_counts_in_itself)
{
    struct rig *r = icount_rig(BLOCK_UOPS_MAX);
    u32 rounds;

    rig_mode(r, RIG_LONG);
    CODE(r, 0xff, 0x05, 0x01, 0x00, 0x00, 0x00, 0xb8, 0x00, 0x00, 0x00, 0x00, 0xeb,
         0xf3); /* inc dword [imm]; mov eax, imm; jmp */
    run_to(r, 30000);
    mem_read(r->mem, RIG_CODE + 7, &rounds, 4);
    CHECK_EQ(rounds, 10000);
    CHECK_EQ(r->c->reg[GPR_RAX], 10000);
    rig_free(r);
}

/* RFLAGS.TF: a trap after each element of a repeated instruction, as CPUs have it. */
TEST(rep_is_stepped_by_element)
{
    static const u8 ops[] = { 0xa4, 0xaa, 0xac, 0xa6,
                              0xae }; /* MOVSB, STOSB, LODSB, CMPSB, SCASB */

    for (u32 icount = 0; icount < 2; icount++)
        for_each_row(op, ops) {
            struct rig *r = icount ? icount_rig(BLOCK_UOPS_MAX) : rig_new(1);

            rig_mode(r, RIG_LONG);
            CODE(r, 0xf3, *op);
            r->c->reg[GPR_RCX] = 3;
            r->c->reg[GPR_RSI] = RIG_DATA;
            r->c->reg[GPR_RDI] = RIG_DATA + 100;
            r->c->eflags |= RF_TF;
            r->c->budget = 100;
            soft_mode_changed(r->c);
            CHECK_EQ(rig_step(r), RIG_END_EXCEPTION);
            CHECK_EQ(r->c->event.vector, VEC_DB);
            CHECK_EQ(r->c->reg[GPR_RCX], 2);
            CHECK_EQ(r->c->rip, RIG_CODE);
            rig_free(r);
        }
}

/* The accessed and dirty bits that a walk sets are writes that a migration must see. */
TEST(walk_marks_are_in_the_dirty_log)
{
    struct rig *r = rig_new(1);
    struct err e = {};
    u64 *bitmap = xnew_n(u64, mem_pages(r->mem) / 64);

    rig_mode(r, RIG_LONG);
    CODE(r, 0x90);
    CHECK_OK(cpu_dirty_start(r->vm, &e), &e);
    CHECK_EQ(rig_step(r), RIG_END_LIMIT);
    CHECK_OK(cpu_dirty_take(r->vm, bitmap, &e), &e);
    CHECK(bitmap[RIG_TABLES / GUEST_PAGE / 64] >> (RIG_TABLES / GUEST_PAGE % 64) & 1);
    free(bitmap);
    rig_free(r);
}

/* Random programs, in whole blocks and in short ones; soft_code and code_fuzz.c run many more. */
TEST(random_programs)
{
    struct code_count count = {};
    u64 seed = 0x1234567;

    for (u32 i = 0; i < 150; i++) {
        u64 few = code_rand(&seed), bits = code_rand(&seed) & few;
        u8 in[11] = { (u8)i, (u8)bits, (u8)code_rand(&seed) };
        u64 s = code_rand(&seed);

        memcpy(in + 3, &s, 8);
        code_run(in, sizeof(in), &count);
    }
    CHECK_EQ(count.programs, 150);
    CHECK(count.blocks > 10000);
}
