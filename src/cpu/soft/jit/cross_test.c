/*
 * cpu/soft/jit/cross_test.c: an instruction that crosses into another page is translated, and is the one that is there now.
 */
#include "cpu/soft/code.h"
#include "cpu/soft/io.h"
#include "cpu/soft/jit/cache.h"
#include "cpu/soft/jit/jit_rig.h"
#include "cpu/soft/jit/verify.h"
#include "testlib/test.h"

enum {
    HERE = 0x40000000, /* two pages of code ... */
    FIRST = 0x20000,   /* ... are these */
    SECOND = FIRST + 0x1000,
    OTHER = FIRST + 0x8000, /* in place of SECOND, later */
    BEGIN = 0xff7,
    MAPS = RIG_TABLES,
    MAPS2 = MAPS + 0x8000,
    ROUNDS = 20,
};

/* mov $20,%ecx; xor %ebx,%ebx; 1: mov $7,%eax, of which three bytes are in SECOND; add %eax,%ebx; dec %ecx; jnz 1b */
static const u8 code[] = { 0xb9, ROUNDS, 0,    0,    0,    0x31, 0xdb, 0xb8, 0x07,
                           0,    0,      0x00, 0x01, 0xc3, 0xff, 0xc9, 0x75, 0xf5 };

static void map(struct rig *r, u64 tables, u64 second)
{
    u64 entry = second | 7;

    jit_map(r, tables, FIRST);
    mem_write(r->mem, tables + 0x7008, &entry, 8);
}

static struct rig *machine(void)
{
    struct rig *r = jit_machine(1, 1);

    jit_begin(r, FIRST + BEGIN, code, sizeof(code));
    map(r, MAPS, SECOND);
    map(r, MAPS2, OTHER);
    mem_write(r->mem, OTHER, r->ram + SECOND, 64);
    r->ram[OTHER] = 1;
    r->c->cr4 |= CR4_PCIDE;
    return r;
}

static u32 run(struct rig *r)
{
    u32 at;

    r->c->rip = HERE + BEGIN;
    CHECK_EQ(vcpu_run(r->c->v), VCPU_KICKED);
    CHECK_STR(jit_verify(r->c, &at), "");
    return (u32)r->c->reg[GPR_RBX];
}

TEST(jit_crossing_code_is_translated)
{
    struct rig *r = machine();

    CHECK_EQ(run(r), 7 * ROUNDS);
    CHECK_EQ(r->c->jit->stats.exits[JIT_EXIT_POLL], 0);
    CHECK(r->c->jit->stats.exits[JIT_EXIT_EDGE] + r->c->jit->stats.exits[JIT_EXIT_HANDLER] < 10);
    rig_free(r);
}

TEST(jit_crossing_code_is_written)
{
    struct rig *r = machine();

    CHECK_EQ(run(r), 7 * ROUNDS);
    mem_write(r->mem, SECOND, &(u8){ 2 }, 1);
    CHECK_EQ(run(r), 0x207 * ROUNDS);
    mem_write(r->mem, FIRST + 0xfff, &(u8){ 9 }, 1);
    CHECK_EQ(run(r), 0x209 * ROUNDS);
    mem_write(r->mem, SECOND + 0x800, &(u8){ 3 }, 1);
    CHECK_EQ(run(r), 0x209 * ROUNDS);
    CHECK(soft_code_is_true(r->c));
    rig_free(r);
}

/* movb $5,HERE + 0x1000; jmp to `code` */
TEST(jit_crossing_code_is_written_by_the_guest)
{
    static const u8 writes[] = { 0xc6, 0x04, 0x25, 0x00, 0x10, 0x00, 0x40,
                                 0x05, 0xe9, 0xea, 0x0f, 0,    0 };
    struct rig *r = machine();

    mem_write(r->mem, FIRST, writes, sizeof(writes));
    CHECK_EQ(run(r), 7 * ROUNDS);
    r->c->rip = HERE;
    CHECK_EQ(vcpu_run(r->c->v), VCPU_KICKED);
    CHECK_EQ((u32)r->c->reg[GPR_RBX], 0x507 * ROUNDS);
    CHECK(soft_code_is_true(r->c));
    rig_free(r);
}

TEST(jit_crossing_code_is_mapped_elsewhere)
{
    struct rig *r = machine();
    u64 cr3 = r->c->cr3;

    for (u32 i = 0; i < 4; i++) {
        map(r, MAPS, SECOND);
        soft_tlb_flush_page(r->c, HERE + GUEST_PAGE);
        CHECK_EQ(run(r), 7 * ROUNDS);
        map(r, MAPS, OTHER);
        soft_tlb_flush_page(r->c, HERE + GUEST_PAGE);
        CHECK_EQ(run(r), 0x107 * ROUNDS);
    }
    map(r, MAPS, SECOND);
    soft_tlb_flush_page(r->c, HERE + GUEST_PAGE);
    for (u32 i = 0; i < 4; i++) { /* two address spaces */
        r->c->cr3 = cr3;
        soft_tlb_switch(r->c, r->c->cr3, true);
        CHECK_EQ(run(r), 7 * ROUNDS);
        r->c->cr3 = MAPS2 | 1;
        soft_tlb_switch(r->c, r->c->cr3, true);
        CHECK_EQ(run(r), 0x107 * ROUNDS);
    }
    rig_free(r);
}

TEST(jit_crossing_code_is_gone)
{
    struct rig *r = machine();
    u64 none = 0;

    CHECK_EQ(run(r), 7 * ROUNDS);
    mem_write(r->mem, MAPS + 0x7008, &none, 8);
    soft_tlb_flush_page(r->c, HERE + GUEST_PAGE);
    r->c->cr2 = 0;
    CHECK_EQ(run(r), 0);
    CHECK_EQ(r->c->cr2, HERE + GUEST_PAGE);
    rig_free(r);
}
