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

/* 50 calls, then what is said, then 50 calls; or as is said. */
/* clang-format off */
static const struct {
    struct program p;
    u32 want, want_global; /* in RBX */
} remaps[] = {
    /* movl $0x21007,0x47000; invlpg (%rax) */
    { ROW_OF("INVLPG", "\xb8\x00\x00\x00\x40\xb9\x32\x00\x00\x00\xff\xd0\xff\xc9\x75\xfa\xc7\x04\x25\x00\x70\x04\x00\x07\x10\x02\x00\x0f\x01\x38\xb9\x32\x00\x00\x00\xff\xd0\xff\xc9\x75\xfa"), 50 + 800, 50 + 800 },
    /* movl $0x21007,0x47000; mov $0x123000,%edi; invlpg (%rdi) */
    { ROW_OF("INVLPG of a page without code", "\xb8\x00\x00\x00\x40\xb9\x32\x00\x00\x00\xff\xd0\xff\xc9\x75\xfa\xc7\x04\x25\x00\x70\x04\x00\x07\x10\x02\x00\xbf\x00\x30\x12\x00\x0f\x01\x3f\xb9\x32\x00\x00\x00\xff\xd0\xff\xc9\x75\xfa"), 100, 100 },
    /* movl $0x21007,0x47000; mov %cr3,%rdx; mov %rdx,%cr3 */
    { ROW_OF("CR3", "\xb8\x00\x00\x00\x40\xb9\x32\x00\x00\x00\xff\xd0\xff\xc9\x75\xfa\xc7\x04\x25\x00\x70\x04\x00\x07\x10\x02\x00\x0f\x20\xda\x0f\x22\xda\xb9\x32\x00\x00\x00\xff\xd0\xff\xc9\x75\xfa"), 50 + 800, 100 },
    /* movl $0x21007,0x47000; mov $0x10000,%edi; xor %edx,%edx; mov %rdx,(%rdi); mov %rax,8(%rdi); invpcid (%rdi),%rdx */
    { ROW_OF("INVPCID of an address", "\xb8\x00\x00\x00\x40\xb9\x32\x00\x00\x00\xff\xd0\xff\xc9\x75\xfa\xc7\x04\x25\x00\x70\x04\x00\x07\x10\x02\x00\xbf\x00\x00\x01\x00\x31\xd2\x48\x89\x17\x48\x89\x47\x08\x66\x0f\x38\x82\x17\xb9\x32\x00\x00\x00\xff\xd0\xff\xc9\x75\xfa"), 50 + 800, 50 + 800 },
    /* movl $0x21007,0x47000; mov $0x10000,%edi; xor %edx,%edx; mov %rdx,(%rdi); mov %rdx,8(%rdi); inc %edx; invpcid (%rdi),%rdx */
    { ROW_OF("INVPCID of a PCID", "\xb8\x00\x00\x00\x40\xb9\x32\x00\x00\x00\xff\xd0\xff\xc9\x75\xfa\xc7\x04\x25\x00\x70\x04\x00\x07\x10\x02\x00\xbf\x00\x00\x01\x00\x31\xd2\x48\x89\x17\x48\x89\x57\x08\xff\xc2\x66\x0f\x38\x82\x17\xb9\x32\x00\x00\x00\xff\xd0\xff\xc9\x75\xfa"), 50 + 800, 100 },
    /* movl $0x21007,0x47000; mov $0x10000,%edi; xor %edx,%edx; mov %rdx,(%rdi); mov %rdx,8(%rdi); mov $2,%edx; invpcid (%rdi),%rdx */
    { ROW_OF("INVPCID of all", "\xb8\x00\x00\x00\x40\xb9\x32\x00\x00\x00\xff\xd0\xff\xc9\x75\xfa\xc7\x04\x25\x00\x70\x04\x00\x07\x10\x02\x00\xbf\x00\x00\x01\x00\x31\xd2\x48\x89\x17\x48\x89\x57\x08\xba\x02\x00\x00\x00\x66\x0f\x38\x82\x17\xb9\x32\x00\x00\x00\xff\xd0\xff\xc9\x75\xfa"), 50 + 800, 50 + 800 },
    /* movl $0x21007,0x47000; mov %cr4,%rdx; btc $7,%edx; mov %rdx,%cr4; btc $7,%edx; mov %rdx,%cr4 */
    { ROW_OF("PGE", "\xb8\x00\x00\x00\x40\xb9\x32\x00\x00\x00\xff\xd0\xff\xc9\x75\xfa\xc7\x04\x25\x00\x70\x04\x00\x07\x10\x02\x00\x0f\x20\xe2\x0f\xba\xfa\x07\x0f\x22\xe2\x0f\xba\xfa\x07\x0f\x22\xe2\xb9\x32\x00\x00\x00\xff\xd0\xff\xc9\x75\xfa"), 50 + 800, 50 + 800 },
    /* movl $0x21007,0x47000; invlpg (%rax); mov $50,%ecx; 3: call *%rax; dec %ecx; jnz 3b; movl $0x20007,0x47000; mov %cr3,%rdx; mov %rdx,%cr3 */
    { ROW_OF("one that is not global", "\xb8\x00\x00\x00\x40\xb9\x32\x00\x00\x00\xff\xd0\xff\xc9\x75\xfa\xc7\x04\x25\x00\x70\x04\x00\x07\x10\x02\x00\x0f\x01\x38\xb9\x32\x00\x00\x00\xff\xd0\xff\xc9\x75\xfa\xc7\x04\x25\x00\x70\x04\x00\x07\x00\x02\x00\x0f\x20\xda\x0f\x22\xda\xb9\x32\x00\x00\x00\xff\xd0\xff\xc9\x75\xfa"), 50 + 800 + 50, 50 + 800 + 50 },
    /* mov $0x8000000000048001,%rdx; mov %rdx,%cr3 */
    { ROW_OF("another PCID", "\xb8\x00\x00\x00\x40\xb9\x32\x00\x00\x00\xff\xd0\xff\xc9\x75\xfa\x48\xba\x01\x80\x04\x00\x00\x00\x00\x80\x0f\x22\xda\xb9\x32\x00\x00\x00\xff\xd0\xff\xc9\x75\xfa"), 50 + 800, 100 },
    /* mov $0x8000000000048001,%rdx; mov %rdx,%cr3; mov $50,%ecx; 3: call *%rax; dec %ecx; jnz 3b; mov $0x8000000000040000,%rdx; mov %rdx,%cr3 */
    { ROW_OF("another PCID, and back", "\xb8\x00\x00\x00\x40\xb9\x32\x00\x00\x00\xff\xd0\xff\xc9\x75\xfa\x48\xba\x01\x80\x04\x00\x00\x00\x00\x80\x0f\x22\xda\xb9\x32\x00\x00\x00\xff\xd0\xff\xc9\x75\xfa\x48\xba\x00\x00\x04\x00\x00\x00\x00\x80\x0f\x22\xda\xb9\x32\x00\x00\x00\xff\xd0\xff\xc9\x75\xfa"), 50 + 800 + 50, 150 },
    /* mov $0x40000000,%eax; mov $0x1000,%edi; mov $3,%edx; 0: invlpg (%rdi); push %rax; pop %rax; mov $50,%ecx; 1: call *%rax; dec %ecx; jnz 1b; dec %edx; jnz 0b; movl $0x21007,0x47000; invlpg (%rax) */
    { ROW_OF("INVLPG, when all were doubted", "\xb8\x00\x00\x00\x40\xbf\x00\x10\x00\x00\xba\x03\x00\x00\x00\x0f\x01\x3f\x50\x58\xb9\x32\x00\x00\x00\xff\xd0\xff\xc9\x75\xfa\xff\xca\x75\xec\xc7\x04\x25\x00\x70\x04\x00\x07\x10\x02\x00\x0f\x01\x38\xb9\x32\x00\x00\x00\xff\xd0\xff\xc9\x75\xfa"), 50 * 3 + 800, 50 * 3 + 800 },
    /* mov $0x40000000,%eax; mov $0x20107,%r8d; mov $2,%edx; 0: mov %r8d,0x47000; invlpg (%rax); mov (%rax),%esi; mov $50,%ecx; 1: call *%rax; dec %ecx; jnz 1b; mov $0x20007,%r8d; dec %edx; jnz 0b; movl $0x21007,0x47000; mov %cr3,%rdx; mov %rdx,%cr3 */
    { ROW_OF("one that is not global, doubted", "\xb8\x00\x00\x00\x40\x41\xb8\x07\x01\x02\x00\xba\x02\x00\x00\x00\x44\x89\x04\x25\x00\x70\x04\x00\x0f\x01\x38\x8b\x30\xb9\x32\x00\x00\x00\xff\xd0\xff\xc9\x75\xfa\x41\xb8\x07\x00\x02\x00\xff\xca\x75\xde\xc7\x04\x25\x00\x70\x04\x00\x07\x10\x02\x00\x0f\x20\xda\x0f\x22\xda\xb9\x32\x00\x00\x00\xff\xd0\xff\xc9\x75\xfa"), 50 * 2 + 800, 50 * 2 + 800 },
    /* movl $0xc310c383,0x20000 */
    { ROW_OF("other bytes", "\xb8\x00\x00\x00\x40\xb9\x32\x00\x00\x00\xff\xd0\xff\xc9\x75\xfa\xc7\x04\x25\x00\x00\x02\x00\x83\xc3\x10\xc3\xb9\x32\x00\x00\x00\xff\xd0\xff\xc9\x75\xfa"), 50 + 800, 50 + 800 },
};
/* clang-format on */

/* Both pages of jit_map: 1 GiB at 0, and the one with what is called. */
static void make_global(struct rig *r, u64 tables)
{
    r->ram[tables + 0x1001] |= 1;
    r->ram[tables + 0x7001] |= 1;
}

static struct rig *machine(u32 warm, const struct program *p, bool global)
{
    static const u8 called[] = { 0xff, 0xc3, 0xc3 }, other[] = { 0x83, 0xc3, 0x10, 0xc3 };
    struct rig *r = jit_machine(warm, 1);

    jit_begin(r, RIG_CODE, p->code, p->n);
    jit_map(r, MAPS, CALLED);
    jit_map(r, MAPS2, OTHER);
    if (global) {
        make_global(r, MAPS);
        make_global(r, MAPS2);
    }
    mem_write(r->mem, CALLED, called, sizeof(called));
    mem_write(r->mem, OTHER, other, sizeof(other));
    r->c->cr4 |= CR4_PCIDE | CR4_PGE;
    r->c->reg[GPR_RBX] = 0;
    return r;
}

TEST(jit_indirect_calls_see_other_mappings)
{
    for (u32 i = 0; i < 6; i++)
        for_each_row(m, remaps) {
            u32 warm = i % 3;
            struct rig *r = machine(warm, &m->p, i >= 3);

            ROW(&m->p);
            CHECK_EQ(vcpu_run(r->c->v), VCPU_KICKED);
            CHECK_EQ(r->c->reg[GPR_RBX], i >= 3 ? m->want_global : m->want);
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
