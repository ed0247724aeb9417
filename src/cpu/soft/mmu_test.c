/*
 * cpu/soft/mmu_test.c: what the software TLB forgets, and what is believed after that.
 */
#include "cpu/soft/jit/cache.h"
#include "cpu/soft/jit/jit_rig.h"
#include "testlib/test.h"

enum { DIRECTORY = RIG_TABLES + 0x5000, LARGE = 0x87 /* P, W, U, PS */ };

/* INVLPG of any address in a large page forgets all of it.  (SDM volume 3, "Operations that Invalidate TLBs") */
TEST(mmu_invlpg_of_a_large_page)
{
    /* clang-format off */
    static const struct {
        const char *why;
        u8 giant;     /* the directory comes into force by the store; else it is */
        u8 code[41];
    } rows[] = {
        /* mov 0x211000,%rax; mov 0x212000,%rbx; movl $0x87,0x45008; invlpg 0x211000; mov 0x212000,%rcx; out */
        { "2 MiB", 0, { 0x48, 0x8b, 0x04, 0x25, 0, 0x10, 0x21, 0, 0x48, 0x8b, 0x1c, 0x25, 0, 0x20, 0x21, 0, 0xc7, 0x04, 0x25, 0x08, 0x50, 0x04, 0, LARGE, 0, 0, 0,
                        0x0f, 0x01, 0x3c, 0x25, 0, 0x10, 0x21, 0, 0x48, 0x8b, 0x0c, 0x25, 0, 0x20 } },
        /* ...; movl $0x45007,0x41000; invlpg 0x8000; ... */
        { "1 GiB", 1, { 0x48, 0x8b, 0x04, 0x25, 0, 0x10, 0x21, 0, 0x48, 0x8b, 0x1c, 0x25, 0, 0x20, 0x21, 0, 0xc7, 0x04, 0x25, 0, 0x10, 0x04, 0, 0x07, 0x50, 0x04, 0,
                        0x0f, 0x01, 0x3c, 0x25, 0, 0x80, 0, 0, 0x48, 0x8b, 0x0c, 0x25, 0, 0x20 } },
    };
    /* clang-format on */
    static const u8 rest[] = { 0x21, 0, 0xe6, RIG_PORT };

    for_each_row(c, rows) {
        struct rig *r = rig_new(1);
        u64 pages[2] = { LARGE, c->giant ? LARGE : 0x200000 | LARGE }, directory = DIRECTORY | 7;

        ROW(c);
        rig_mode(r, RIG_LONG);
        memcpy(r->ram + DIRECTORY, pages, sizeof(pages));
        if (!c->giant)
            memcpy(r->ram + RIG_TABLES + 0x1000, &directory, sizeof(directory));
        r->ram[0x12000] = 2;
        r->ram[0x212000] = 1;
        rig_code(r, c->code, sizeof(c->code));
        mem_write(r->mem, RIG_CODE + sizeof(c->code), rest, sizeof(rest));
        CHECK_EQ(rig_run(r, 100), RIG_END_PORT);
        CHECK_EQ(r->c->reg[GPR_RBX], 1);
        CHECK_EQ(r->c->reg[GPR_RCX], 2);
        rig_free(r);
    }
}

/* Two pages that have one place in the TLB: a loop over both walks to each once, and INVLPG finds the one that made room. */
TEST(mmu_two_pages_at_one_place)
{
    /* clang-format off */
    /* xor %eax,%eax; xor %ebx,%ebx; mov $0x40010000,%edi; mov $100,%ecx; 1: add 0x10000,%eax; add (%rdi),%ebx; dec %ecx; jnz 1b;
       movl $0x21007,0x47080; invlpg (%rdi); mov (%rdi),%edx */
    static const u8 code[] = "\x31\xc0\x31\xdb\xbf\x00\x00\x01\x40\xb9\x64\x00\x00\x00\x03\x04\x25\x00\x00\x01\x00\x03\x1f\xff\xc9\x75\xf3\xc7\x04\x25\x80\x70\x04\x00\x07\x10\x02\x00\x0f\x01\x3f\x8b\x17";
    /* clang-format on */
    static const u64 tables[][2] = {
        { RIG_TABLES + 0x1008, (RIG_TABLES + 0x6000) | 7 },
        { RIG_TABLES + 0x6000, (RIG_TABLES + 0x7000) | 7 },
        { RIG_TABLES + 0x7080, 0x20007 },
    };
    static const u32 one = 1, two = 2, three = 3;

    static_assert(SOFT_TLB_SIZE * GUEST_PAGE <= 0x40000000,
                  "0x40010000 and 0x10000 have one place");
    for (u32 warm = 0; warm < 3; warm++) {
        struct rig *r = jit_machine(warm, 1);

        jit_begin(r, RIG_CODE, code, sizeof(code) - 1);
        for_each_row(t, tables)
            mem_write(r->mem, (*t)[0], &(*t)[1], 8);
        mem_write(r->mem, RIG_DATA, &one, 4);
        mem_write(r->mem, 0x20000, &two, 4);
        mem_write(r->mem, 0x21000, &three, 4);
        CHECK_EQ(vcpu_run(r->c->v), VCPU_KICKED);
        CHECK_EQ((u32)r->c->reg[GPR_RAX], 100);
        CHECK_EQ(r->c->reg[GPR_RBX], 200);
        CHECK_EQ(r->c->reg[GPR_RDX], 3);
        CHECK(r->c->jit->stats.misses < 10);
        rig_free(r);
    }
}
