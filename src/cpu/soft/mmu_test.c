/*
 * cpu/soft/mmu_test.c: what the software TLB forgets, and what is believed after that.
 */
#include "cpu/soft/rig.h"
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
