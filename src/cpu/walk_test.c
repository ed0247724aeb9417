/*
 * cpu/walk_test.c: page walks over tables made by hand.
 */
#include "cpu/walk.h"

#include "mem/mem.h"
#include "testlib/test.h"

#include <stdlib.h>

#define PG   0x80000001ull /* CR0: PG, PE */
#define PSE  0x10ull
#define PAE  0x20ull
#define LA57 0x1000ull
#define LMA  0x400ull

struct entry {
    u64 at, value;
    u32 len;
};

struct rig {
    struct mem *mem;
    struct vcpu_state *s;
};

static struct rig rig_new(void)
{
    struct rig r = { .s = xnew(struct vcpu_state) };
    struct err e = {};

    CHECK_OK(mem_new(&(struct mem_cfg){ .size = 8 * MiB }, &r.mem, &e), &e);
    return r;
}

static void rig_free(struct rig *r)
{
    mem_free(r->mem);
    free(r->s);
}

TEST(walk_forms)
{
    enum { NONE = -1 };
    /* clang-format off */
    static const struct {
        const char *why;
        u64 cr0, cr4, efer, cr3;
        struct entry table[5];
        u64 gva;
        s64 gpa; /* NONE: not mapped */
        u64 left;
    } rows[] = {
        { "real mode", 0, 0, 0, 0, {}, 0xffff0 + 0x20, 0x100010, 0xff0 },
        { "protected, no paging", 1, 0, 0, 0, {}, 0x1234, 0x1234, 0xdcc },
        { "32-bit", PG, 0, 0, 0x1000,
          { { 0x1000 + 4 * 0x301, 0x2067, 4 }, { 0x2000 + 4 * 5, 0x7025, 4 } }, 0xc0405123, 0x7123, 0xedd },
        { "32-bit: high bits of the address do not count", PG, 0, 0, 0x1000,
          { { 0x1000 + 4 * 0x301, 0x2067, 4 }, { 0x2000 + 4 * 5, 0x7025, 4 } }, 0x1c0405123, 0x7123, 0xedd },
        { "32-bit: PS without CR4.PSE is a table", PG, 0, 0, 0x1000,
          { { 0x1000, 0x20e7, 4 }, { 0x2000, 0x7025, 4 } }, 0x10, 0x7010, 0xff0 },
        { "4 MiB", PG, PSE, 0, 0x1000, { { 0x1004, 0x4000e7, 4 } }, 0x512345, 0x512345, 0x2edcbb },
        { "4 MiB above 4 GiB (PSE-36)", PG, PSE, 0, 0x1000, { { 0x1004, 0x4060e7, 4 } }, 0x512345, 0x300512345, 0x2edcbb },
        { "directory entry not present", PG, 0, 0, 0x1000, { { 0x1000, 0x2066, 4 } }, 0x10, NONE, 0 },
        { "page not present", PG, 0, 0, 0x1000, { { 0x1000, 0x2067, 4 }, { 0x2000, 0x7024, 4 } }, 0x10, NONE, 0 },
        { "PAE, directory pointers at 32 bytes", PG, PAE, 0, 0x1020,
          { { 0x1020 + 8 * 3, 0x2001, 8 }, { 0x2000 + 8 * 1, 0x3067, 8 }, { 0x3000 + 8 * 2, 0x8000000000007025, 8 } },
          0xc0202abc, 0x7abc, 0x544 },
        { "PAE, 2 MiB", PG, PAE, 0, 0x1000, { { 0x1000, 0x2001, 8 }, { 0x2008, 0x4000e7, 8 } }, 0x234567, 0x434567, 0x1cba99 },
        { "4 levels", PG, PAE, LMA, 0x1000,
          { { 0x1000 + 8 * 0x1ff, 0x2067, 8 }, { 0x2000 + 8 * 0x1fe, 0x3067, 8 }, { 0x3000, 0x4067, 8 }, { 0x4000 + 8 * 1, 0x7025, 8 } },
          0xffffffff80001008, 0x7008, 0xff8 },
        { "4 levels, 2 MiB", PG, PAE, LMA, 0x1000,
          { { 0x1000, 0x2067, 8 }, { 0x2000, 0x3067, 8 }, { 0x3008, 0x4000e7, 8 } }, 0x200010, 0x400010, 0x1ffff0 },
        { "4 levels, 1 GiB", PG, PAE, LMA, 0x1000,
          { { 0x1000, 0x2067, 8 }, { 0x2008, 0xc00000e7, 8 } }, 0x40000010, 0xc0000010, 0x3ffffff0 },
        { "4 levels: PS in the topmost is a table", PG, PAE, LMA, 0x1000,
          { { 0x1000, 0x20e7, 8 }, { 0x2000, 0xe7, 8 } }, 0x10, 0x10, 0x3ffffff0 },
        { "not canonical", PG, PAE, LMA, 0x1000, { { 0x1000, 0x2067, 8 }, { 0x2000, 0xe7, 8 } }, 0x1000000000010, NONE, 0 },
        { "5 levels", PG, PAE | LA57, LMA, 0x1000,
          { { 0x1000, 0x2067, 8 }, { 0x2000, 0x3067, 8 }, { 0x3000, 0x4067, 8 }, { 0x4000, 0x5067, 8 }, { 0x5000, 0x7025, 8 } },
          0x8, 0x7008, 0xff8 },
        { "a table that is not RAM", PG, PAE, LMA, 0x1000, { { 0x1000, 0xd0000067, 8 } }, 0x10, NONE, 0 },
        { "CR3 beyond RAM", PG, PAE, LMA, 0x800000, {}, 0x10, NONE, 0 },
        { "a table that points at itself", PG, PAE, LMA, 0x1000, { { 0x1000, 0x1067, 8 } }, 0x10, 0x1010, 0xff0 },
    };
    /* clang-format on */

    for_each_row(c, rows) {
        struct rig r = rig_new();
        struct walk w = {};

        ROW(c);
        r.s->cr0 = c->cr0;
        r.s->cr4 = c->cr4;
        r.s->efer = c->efer;
        r.s->cr3 = c->cr3;
        for_each_row(t, c->table)
            if (t->len)
                CHECK_EQ(mem_write(r.mem, t->at, &t->value, t->len), 0);
        CHECK_EQ(walk_gva(r.s, r.mem, c->gva, &w), c->gpa == NONE ? -EFAULT : 0);
        CHECK_EQ(w.gpa, c->gpa == NONE ? 0 : c->gpa);
        CHECK_EQ(w.left, c->left);
        rig_free(&r);
    }
}

TEST(walk_copies_across_pages)
{
    static const struct entry table[] = {
        { 0x1000, 0x2067, 4 },
        { 0x2000, 0x7025, 4 },
        { 0x2004, 0x5025, 4 }, /* the third: not there */
    };
    struct rig r = rig_new();
    char got[16] = {};

    r.s->cr0 = PG;
    r.s->cr3 = 0x1000;
    for_each_row(t, table)
        mem_write(r.mem, t->at, &t->value, t->len);
    CHECK_EQ(walk_write(r.s, r.mem, 0xffc, "abcdefgh", 8), 8);
    mem_read(r.mem, 0x7ffc, got, 4);
    mem_read(r.mem, 0x5000, got + 4, 4);
    CHECK_MEM(got, "abcdefgh", 8);
    CHECK_EQ(walk_read(r.s, r.mem, 0x1ffc, got, 8), 4);
    CHECK_EQ(walk_read(r.s, r.mem, 0x2000, got, 8), 0);
    rig_free(&r);
}
