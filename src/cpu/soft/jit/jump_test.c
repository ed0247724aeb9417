/*
 * cpu/soft/jit/jump_test.c: an indirect jump goes where it leads now, not where it led; STI lets one more instruction pass.
 */
#include "cpu/soft/io.h"
#include "cpu/soft/jit/cache.h"
#include "cpu/soft/jit/jit_rig.h"
#include "testlib/test.h"

enum {
    CALLED = 0x20000,        /* inc %ebx; ret: at 0x40000000 */
    OTHER = CALLED + 0x1000, /* add $0x10,%ebx; ret: there later */
    MAPS = RIG_TABLES,       /* PML4, PDPT; then PDT, PT of 0x40000000 */
    MAPS2 = MAPS + 0x8000,   /* of another address space */
    IDT = RIG_TABLES + 0x3000,
    IRQ_HANDLER = RIG_CODE + 0xe00,
    VECTOR = 0x21,
};

static void put64(struct rig *r, u64 at, u64 v)
{
    mem_write(r->mem, at, &v, 8);
}

/* 50 calls, then what is said, then 50 calls. */
/* clang-format off */
static const struct {
    struct program p;
    u32 want; /* in RBX */
} remaps[] = {
    /* movl $0x21007,0x47000; invlpg (%rax) */
    { ROW_OF("INVLPG", "\xb8\x00\x00\x00\x40\xb9\x32\x00\x00\x00\xff\xd0\xff\xc9\x75\xfa\xc7\x04\x25\x00\x70\x04\x00\x07\x10\x02\x00\x0f\x01\x38\xb9\x32\x00\x00\x00\xff\xd0\xff\xc9\x75\xfa"), 50 + 800 },
    /* movl $0x21007,0x47000; mov %cr3,%rdx; mov %rdx,%cr3 */
    { ROW_OF("CR3", "\xb8\x00\x00\x00\x40\xb9\x32\x00\x00\x00\xff\xd0\xff\xc9\x75\xfa\xc7\x04\x25\x00\x70\x04\x00\x07\x10\x02\x00\x0f\x20\xda\x0f\x22\xda\xb9\x32\x00\x00\x00\xff\xd0\xff\xc9\x75\xfa"), 50 + 800 },
    /* mov $0x8000000000048001,%rdx; mov %rdx,%cr3 */
    { ROW_OF("another PCID", "\xb8\x00\x00\x00\x40\xb9\x32\x00\x00\x00\xff\xd0\xff\xc9\x75\xfa\x48\xba\x01\x80\x04\x00\x00\x00\x00\x80\x0f\x22\xda\xb9\x32\x00\x00\x00\xff\xd0\xff\xc9\x75\xfa"), 50 + 800 },
    /* mov $0x8000000000048001,%rdx; mov %rdx,%cr3; mov $50,%ecx; 3: call *%rax; dec %ecx; jnz 3b; mov $0x8000000000040000,%rdx; mov %rdx,%cr3 */
    { ROW_OF("another PCID, and back", "\xb8\x00\x00\x00\x40\xb9\x32\x00\x00\x00\xff\xd0\xff\xc9\x75\xfa\x48\xba\x01\x80\x04\x00\x00\x00\x00\x80\x0f\x22\xda\xb9\x32\x00\x00\x00\xff\xd0\xff\xc9\x75\xfa\x48\xba\x00\x00\x04\x00\x00\x00\x00\x80\x0f\x22\xda\xb9\x32\x00\x00\x00\xff\xd0\xff\xc9\x75\xfa"), 50 + 800 + 50 },
    /* movl $0xc310c383,0x20000 */
    { ROW_OF("other bytes", "\xb8\x00\x00\x00\x40\xb9\x32\x00\x00\x00\xff\xd0\xff\xc9\x75\xfa\xc7\x04\x25\x00\x00\x02\x00\x83\xc3\x10\xc3\xb9\x32\x00\x00\x00\xff\xd0\xff\xc9\x75\xfa"), 50 + 800 },
};
/* clang-format on */

TEST(jit_indirect_calls_see_other_mappings)
{
    static const u8 called[] = { 0xff, 0xc3, 0xc3 }, other[] = { 0x83, 0xc3, 0x10, 0xc3 };

    for (u32 warm = 0; warm < 3; warm++)
        for_each_row(m, remaps) {
            struct rig *r = jit_machine(warm, 1);

            ROW(&m->p);
            jit_begin(r, RIG_CODE, m->p.code, m->p.n);
            jit_map(r, MAPS, CALLED);
            jit_map(r, MAPS2, OTHER);
            mem_write(r->mem, CALLED, called, sizeof(called));
            mem_write(r->mem, OTHER, other, sizeof(other));
            r->c->cr4 |= CR4_PCIDE;
            r->c->reg[GPR_RBX] = 0;
            CHECK_EQ(vcpu_run(r->c->v), VCPU_KICKED);
            CHECK_EQ(r->c->reg[GPR_RBX], m->want);
            CHECK(!warm || r->c->jit->stats.exits[JIT_EXIT_COLD] < 20);
            rig_free(r);
        }
}

/* An interrupt to itself waits while IF is clear; 20 rounds, the handler compares where it was taken. */
TEST(jit_sti_lets_one_instruction_pass)
{
    static const struct {
        struct program p;
        u32 want; /* RIP that the handler finds */
    } rows[] = {
        /* clang-format off */
        /* mov $20,%r12d; 1: cli; mov $0x83f,%ecx; mov $0x21,%eax; xor %edx,%edx; wrmsr; nop; sti; inc %ebx; inc %ebx; dec %r12d; jnz 1b */
        { ROW_OF("INC", "\x41\xbc\x14\x00\x00\x00\xfa\xb9\x3f\x08\x00\x00\xb8\x21\x00\x00\x00\x31\xd2\x0f\x30\x90\xfb\xff\xc3\xff\xc3\x41\xff\xcc\x75\xe6"), 25 },
        /* mov $20,%r12d; 1: cli; mov $0x83f,%ecx; mov $0x21,%eax; xor %edx,%edx; wrmsr; nop; sti; hlt; inc %ebx; dec %r12d; jnz 1b */
        { ROW_OF("HLT", "\x41\xbc\x14\x00\x00\x00\xfa\xb9\x3f\x08\x00\x00\xb8\x21\x00\x00\x00\x31\xd2\x0f\x30\x90\xfb\xf4\xff\xc3\x41\xff\xcc\x75\xe7"), 24 },
        /* clang-format on */
    };
    /* incl 0x10000; mov (%rsp),%rdi; cmp %rdi,%rsi; jne 1f; mov $0x80b,%ecx; xor %eax,%eax; xor %edx,%edx; wrmsr; iretq; 1: out %al,$0xf4 */
    static const u8 handler[] = "\xff\x04\x25\x00\x00\x01\x00\x48\x8b\x3c\x24\x48\x39\xfe\x75\x0d"
                                "\xb9\x0b\x08\x00\x00\x31\xc0\x31\xd2\x0f\x30\x48\xcf\xe6\xf4";

    for (u32 warm = 0; warm < 3; warm++)
        for_each_row(p, rows) {
            struct rig *r = jit_machine(warm, 1);
            struct soft_cpu *c = r->c;
            u64 gate = IRQ_HANDLER | 0x08ull << 16 | 1ull << 32 | 0x8eull << 40;

            ROW(&p->p);
            jit_begin(r, RIG_CODE, p->p.code, p->p.n);
            put64(r, IDT + 16 * VECTOR, gate);
            mem_write(r->mem, IRQ_HANDLER, handler, sizeof(handler) - 1);
            put64(r, RIG_DATA, 0);
            c->idt_limit = 256 * 16 - 1;
            lapic_write(&c->lapic, 0xf0, 4, 0x1ff, soft_time(c));
            CHECK_EQ(lapic_set_base(&c->lapic, lapic_base(&c->lapic) | 0xc00), 0); /* x2APIC */
            c->reg[GPR_RSI] = RIG_CODE + p->want;
            CHECK_EQ(vcpu_run(c->v), VCPU_KICKED);
            CHECK_EQ((u32)c->reg[GPR_R8 + 4], 0);
            CHECK_EQ(r->ram[RIG_DATA], 20);
            rig_free(r);
        }
}
