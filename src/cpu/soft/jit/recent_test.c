/*
 * cpu/soft/jit/recent_test.c: translated code believes soft_cpu.recent, and only while it is true.
 */
#include "cpu/soft/code.h"
#include "cpu/soft/jit/jit_rig.h"
#include "cpu/soft/soft_mem.h"
#include "testlib/test.h"

enum {
    BEFORE = 0x20000,        /* a page that begins with 1: at 0x40000000 */
    AFTER = BEFORE + 0x1000, /* one that begins with 16: there later */
    MAPS = RIG_TABLES,
    MAPS2 = MAPS + 0x8000, /* of another address space */
};

static struct rig *machine(u32 warm, const struct program *p)
{
    struct rig *r = jit_machine(warm, 1);

    jit_begin(r, RIG_CODE, p->code, p->n);
    jit_map(r, MAPS, BEFORE);
    jit_map(r, MAPS2, AFTER);
    r->ram[BEFORE] = 1;
    r->ram[AFTER] = 16;
    r->c->cr0 |= CR0_WP;
    r->c->cr4 |= CR4_PCIDE;
    r->c->reg[GPR_RBX] = 0;
    return r;
}

/* At CPL 0, by its stack.  RBX += what is at 0x40000000, 50 times; what is said; the same once more.  Each round is two blocks. */
/* clang-format off */
static const struct {
    struct program p;
    u32 want; /* in RBX */
} remaps[] = {
    /* movl $0x21007,0x47000; invlpg (%rsp) */
    { ROW_OF("INVLPG", "\xbc\x00\x00\x00\x40\xb9\x32\x00\x00\x00\x03\x1c\x24\xeb\x00\xff\xc9\x75\xf7\xc7\x04\x25\x00\x70\x04\x00\x07\x10\x02\x00\x0f\x01\x3c\x24\xb9\x32\x00\x00\x00\x03\x1c\x24\xeb\x00\xff\xc9\x75\xf7"), 50 + 800 },
    /* movl $0x21007,0x47000; mov %cr3,%rdx; mov %rdx,%cr3 */
    { ROW_OF("CR3", "\xbc\x00\x00\x00\x40\xb9\x32\x00\x00\x00\x03\x1c\x24\xeb\x00\xff\xc9\x75\xf7\xc7\x04\x25\x00\x70\x04\x00\x07\x10\x02\x00\x0f\x20\xda\x0f\x22\xda\xb9\x32\x00\x00\x00\x03\x1c\x24\xeb\x00\xff\xc9\x75\xf7"), 50 + 800 },
    /* mov $0x8000000000048001,%rdx; mov %rdx,%cr3 */
    { ROW_OF("another PCID", "\xbc\x00\x00\x00\x40\xb9\x32\x00\x00\x00\x03\x1c\x24\xeb\x00\xff\xc9\x75\xf7\x48\xba\x01\x80\x04\x00\x00\x00\x00\x80\x0f\x22\xda\xb9\x32\x00\x00\x00\x03\x1c\x24\xeb\x00\xff\xc9\x75\xf7"), 50 + 800 },
    /* movl $0x21007,0x47000; mov $0x10000,%edi; xor %edx,%edx; mov %rdx,(%rdi); mov %rsp,8(%rdi); invpcid (%rdi),%rdx */
    { ROW_OF("INVPCID of an address", "\xbc\x00\x00\x00\x40\xb9\x32\x00\x00\x00\x03\x1c\x24\xeb\x00\xff\xc9\x75\xf7\xc7\x04\x25\x00\x70\x04\x00\x07\x10\x02\x00\xbf\x00\x00\x01\x00\x31\xd2\x48\x89\x17\x48\x89\x67\x08\x66\x0f\x38\x82\x17\xb9\x32\x00\x00\x00\x03\x1c\x24\xeb\x00\xff\xc9\x75\xf7"), 50 + 800 },
    /* movl $0x21007,0x47000; mov %cr0,%rdx; btr $16,%edx; mov %rdx,%cr0 */
    { ROW_OF("all rights of the page", "\xbc\x00\x00\x00\x40\xb9\x32\x00\x00\x00\x03\x1c\x24\xeb\x00\xff\xc9\x75\xf7\xc7\x04\x25\x00\x70\x04\x00\x07\x10\x02\x00\x0f\x20\xc2\x0f\xba\xf2\x10\x0f\x22\xc2\xb9\x32\x00\x00\x00\x03\x1c\x24\xeb\x00\xff\xc9\x75\xf7"), 50 + 800 },
};

/* The page becomes one to be read only after 50 stores. */
static const struct program stores =
    ROW_OF("stores", "\xbc\x00\x00\x00\x40\xb9\x32\x00\x00\x00\xff\x04\x24\xeb\x00\xff\xc9\x75\xf7\xc7\x04\x25\x00\x70\x04\x00\x05\x00\x02\x00\x0f\x01\x3c\x24\xb9\x32\x00\x00\x00\xff\x04\x24\xeb\x00\xff\xc9\x75\xf7");

/* 4 bytes at 0x40000ff8, and from there on at each address: the next page is not there. */
static const struct {
    struct program p;
    bool user;
    u32 reg; /* with the address */
} crossing[] = {
    { ROW_OF("a kernel's stack", "\xbc\xf8\x0f\x00\x40\x31\xdb\xb9\x32\x00\x00\x00\x8b\x14\x24\x01\xd3\xeb\x00\xff\xc9\x75\xf5\xb9\x08\x00\x00\x00\x8b\x14\x24\x48\xff\xc4\xeb\x00\xff\xc9\x75\xf4"), false, GPR_RSP },
    { ROW_OF("user code's stack", "\xbc\xf8\x0f\x00\x40\x31\xdb\xb9\x32\x00\x00\x00\x8b\x14\x24\x01\xd3\xeb\x00\xff\xc9\x75\xf5\xb9\x08\x00\x00\x00\x8b\x14\x24\x48\xff\xc4\xeb\x00\xff\xc9\x75\xf4"), true, GPR_RSP },
    { ROW_OF("user code's RAX", "\xb8\xf8\x0f\x00\x40\x31\xdb\xb9\x32\x00\x00\x00\x8b\x10\x01\xd3\xeb\x00\xff\xc9\x75\xf6\xb9\x08\x00\x00\x00\x8b\x10\x48\xff\xc0\xeb\x00\xff\xc9\x75\xf5"), true, GPR_RAX },
};
/* clang-format on */

TEST(jit_loads_see_other_mappings)
{
    for (u32 warm = 0; warm < 3; warm++)
        for_each_row(m, remaps) {
            struct rig *r = machine(warm, &m->p);

            ROW(&m->p);
            CHECK_EQ(vcpu_run(r->c->v), VCPU_KICKED);
            CHECK_EQ(r->c->reg[GPR_RBX], m->want);
            rig_free(r);
        }
}

TEST(jit_stores_see_other_rights)
{
    for (u32 warm = 0; warm < 3; warm++) {
        struct rig *r = machine(warm, &stores);

        CHECK_EQ(vcpu_run(r->c->v), VCPU_KICKED);
        CHECK_EQ(r->ram[BEFORE], 51);
        CHECK_EQ(r->c->cr2, 0x40000000);
        CHECK_EQ((u32)r->c->reg[GPR_RCX], 50);
        rig_free(r);
    }
}

TEST(jit_loads_do_not_leave_the_page)
{
    for (u32 warm = 0; warm < 3; warm++)
        for_each_row(p, crossing) {
            struct rig *r = machine(warm, &p->p);

            ROW(&p->p);
            if (p->user)
                rig_user(r);
            CHECK_EQ(vcpu_run(r->c->v), VCPU_KICKED);
            CHECK_EQ(r->c->cr2, 0x40001000);
            if (p->reg != GPR_RSP) /* which the handler has */
                CHECK_EQ(r->c->reg[p->reg], 0x40000ffd);
            CHECK_EQ(r->c->reg[GPR_RCX], 3);
            rig_free(r);
        }
}

TEST(jit_drops_write_tags_of_recent_pages)
{
    struct rig *r = machine(1, &stores);
    struct soft_cpu *c = r->c;

    CHECK_EQ(vcpu_run(c->v), VCPU_KICKED);
    for (u32 i = 0; i < RECENT_COUNT; i++)
        c->recent[i] = (struct tlb_entry){ RIG_DATA, RIG_DATA, TLB_NONE, (s64)(uintptr_t)r->ram };
    soft_tlb_drop_write(c, r->ram + BEFORE);
    CHECK_EQ(c->recent[5].tag_w, RIG_DATA);
    soft_tlb_drop_write(c, r->ram + RIG_DATA);
    for (u32 i = 0; i < RECENT_COUNT; i++)
        CHECK_EQ(c->recent[i].tag_w, TLB_NONE);
    CHECK_EQ(c->recent[7].tag_r, RIG_DATA);
    rig_free(r);
}
