/*
 * cpu/soft/jit/loop_test.c: loops that run many rounds without checks come to what the interpreter comes to.
 */
#include "cpu/soft/jit/cache.h"
#include "cpu/soft/jit/jit_rig.h"
#include "cpu/soft/jit/verify.h"
#include "testlib/test.h"

/* clang-format off */
static const struct program loops[] = {
    /* mov $0x10f01,%esi; mov $0x20003,%edi; mov $5000,%ecx; 1: mov (%rsi),%rax; add %rax,%rbx; mov %rbx,8(%rdi); add $8,%rsi; add $8,%rdi; sub $1,%rcx; jnz 1b; pushf; pop %rdx */
    ROW_OF("forward, across pages, not aligned", "\xbe\x01\x0f\x01\x00\xbf\x03\x00\x02\x00\xb9\x88\x13\x00\x00\x48\x8b\x06\x48\x01\xc3\x48\x89\x5f\x08\x48\x83\xc6\x08\x48\x83\xc7\x08\x48\x83\xe9\x01\x75\xe8\x9c\x5a"),
    /* mov $0x14000,%esi; mov $9000,%eax; 1: movzbl -3(%rsi,%rax,2),%edx; add %edx,%ebx; sub $3,%rax; jns 1b */
    ROW_OF("backward, by a scaled index", "\xbe\x00\x40\x01\x00\xb8\x28\x23\x00\x00\x0f\xb6\x54\x46\xfd\x01\xd3\x48\x83\xe8\x03\x79\xf3"),
    /* mov $0x10008,%esi; mov $0x20000,%edi; lea 0x5000(%rsi),%r12; 1: movups (%rsi),%xmm0; paddd %xmm0,%xmm1; movaps %xmm1,(%rdi); add $16,%rsi; lea 16(%rdi),%rdi; cmp %rsi,%r12; ja 1b */
    ROW_OF("SSE", "\xbe\x08\x00\x01\x00\xbf\x00\x00\x02\x00\x4c\x8d\xa6\x00\x50\x00\x00\x0f\x10\x06\x66\x0f\xfe\xc8\x0f\x29\x0f\x48\x83\xc6\x10\x48\x8d\x7f\x10\x49\x39\xf4\x77\xe9"),
    /* mov $0x10010,%r9d; mov $0x20000,%r15d; mov $300,%r10d; 1: vmovdqu (%r9),%ymm0; vmovdqu 32(%r9),%ymm9; vmovdqu 64(%r9),%ymm2; vpaddq 96(%r9),%ymm2,%ymm3; sub $-128,%r9; vmovdqa %ymm0,(%r15); vmovdqa %ymm9,32(%r15); vmovdqa %ymm2,64(%r15); vmovdqu %ymm3,96(%r15); sub $-128,%r15; sub $1,%r10; ja 1b */
    ROW_OF("AVX, many accesses, registers in memory", "\x41\xb9\x10\x00\x01\x00\x41\xbf\x00\x00\x02\x00\x41\xba\x2c\x01\x00\x00\xc4\xc1\x7e\x6f\x01\xc4\x41\x7e\x6f\x49\x20\xc4\xc1\x7e\x6f\x51\x40\xc4\xc1\x6d\xd4\x59\x60\x49\x83\xe9\x80\xc4\xc1\x7d\x7f\x07\xc4\x41\x7d\x7f\x4f\x20\xc4\xc1\x7d\x7f\x57\x40\xc4\xc1\x7e\x7f\x5f\x60\x49\x83\xef\x80\x49\x83\xea\x01\x77\xc4"),
    /* mov $0x10000,%esi; mov $100,%ecx; 1: mov (%rsi),%rax; mov %rax,0x1000(%rsi); mov 0x2008(%rsi),%r11; add %r11,0x3000(%rsi); add $24,%rsi; sub $1,%rcx; jnz 1b */
    ROW_OF("pages side by side", "\xbe\x00\x00\x01\x00\xb9\x64\x00\x00\x00\x48\x8b\x06\x48\x89\x86\x00\x10\x00\x00\x4c\x8b\x9e\x08\x20\x00\x00\x4c\x01\x9e\x00\x30\x00\x00\x48\x83\xc6\x18\x48\x83\xe9\x01\x75\xde"),
    /* mov $900,%ecx; 1: movsd 1b(%rip),%xmm2; addsd %xmm2,%xmm3; lea 3(%rdx,%rcx,4),%rdx; mov 0x10100,%eax; add %rax,%rbx; sub $1,%ecx; jnz 1b */
    ROW_OF("constants by RIP, and LEA", "\xb9\x84\x03\x00\x00\xf2\x0f\x10\x15\xf8\xff\xff\xff\xf2\x0f\x58\xda\x48\x8d\x54\x8a\x03\x8b\x04\x25\x00\x01\x01\x00\x48\x01\xc3\x83\xe9\x01\x75\xe0"),
    /* mov $9000,%ecx; 1: imul %rbx,%rax; bswap %rax; xor %ecx,%eax; nop; sub $1,%ecx; jnz 1b */
    ROW_OF("no memory at all", "\xb9\x28\x23\x00\x00\x48\x0f\xaf\xc3\x48\x0f\xc8\x31\xc8\x90\x83\xe9\x01\x75\xf1"),
    /* mov $0x10000,%esi; mov $400,%ecx; mov $399,%r13d; 1: sbb %rdx,%rdx; add %rdx,%rbx; movzbl (%rsi),%eax; lea 1(%rsi),%rsi; mov %al,0x4000(%rsi); sub $1,%ecx; cmp $0x80,%al; lea (%rcx,%rcx),%r8; dec %r13; jnz 1b */
    ROW_OF("flags of the round before", "\xbe\x00\x00\x01\x00\xb9\x90\x01\x00\x00\x41\xbd\x8f\x01\x00\x00\x48\x19\xd2\x48\x01\xd3\x0f\xb6\x06\x48\x8d\x76\x01\x88\x86\x00\x40\x00\x00\x83\xe9\x01\x3c\x80\x4c\x8d\x04\x09\x49\xff\xcd\x75\xdf"),
    /* mov $60,%r12d; 2: mov $0x10000,%esi; mov %r12d,%ecx; 1: add (%rsi),%al; add $1,%rsi; add $-1,%rcx; jnz 1b; sub $1,%r12d; jnz 2b */
    ROW_OF("left early, again and again", "\x41\xbc\x3c\x00\x00\x00\xbe\x00\x00\x01\x00\x44\x89\xe1\x02\x06\x48\x83\xc6\x01\x48\x83\xc1\xff\x75\xf4\x41\x83\xec\x01\x75\xe6"),
    /* movl $0x1d80,0x10000; ldmxcsr 0x10000; mov $300,%ecx; movups 0x10010,%xmm0; 1: cvtsi2ss %ecx,%xmm1; mov %ecx,0x20000(,%rcx,4); divss %xmm1,%xmm0; add $7,%ebx; sub $1,%rcx; jns 1b */
    ROW_OF("#XM in a round", "\xc7\x04\x25\x00\x00\x01\x00\x80\x1d\x00\x00\x0f\xae\x14\x25\x00\x00\x01\x00\xb9\x2c\x01\x00\x00\x0f\x10\x04\x25\x10\x00\x01\x00\xf3\x0f\x2a\xc9\x89\x0c\x8d\x00\x00\x02\x00\xf3\x0f\x5e\xc1\x83\xc3\x07\x48\x83\xe9\x01\x79\xe8"),
    /* mov $300,%ecx; 1: mov $100000,%eax; xor %edx,%edx; div %rcx; add %rax,%rbx; sub $1,%rcx; jns 1b */
    ROW_OF("#DE in a round", "\xb9\x2c\x01\x00\x00\xb8\xa0\x86\x01\x00\x31\xd2\x48\xf7\xf1\x48\x01\xc3\x48\x83\xe9\x01\x79\xed"),
    /* mov $0x3fe000,%esi; mov $1200,%ecx; 1: mov (%rsi),%rax; add %rax,%rbx; add $8,%rsi; sub $1,%ecx; jnz 1b */
    ROW_OF("out of RAM, to a device", "\xbe\x00\xe0\x3f\x00\xb9\xb0\x04\x00\x00\x48\x8b\x06\x48\x01\xc3\x48\x83\xc6\x08\x83\xe9\x01\x75\xf1"),
    /* mov $0x500,%edi; mov $700,%ecx; 1: mov %al,(%rdi); add $1,%rdi; sub $1,%ecx; jnz 1b */
    ROW_OF("stores that reach the loop", "\xbf\x00\x05\x00\x00\xb9\xbc\x02\x00\x00\x88\x07\x48\x83\xc7\x01\x83\xe9\x01\x75\xf5"),
    /* mov $0x10000,%edi; mov $700,%ecx; 1: lock xadd %rax,(%rdi); xchg %rbx,8(%rdi); add $8,%rdi; sub $1,%ecx; jnz 1b */
    ROW_OF("a lock, and an exchange", "\xbf\x00\x00\x01\x00\xb9\xbc\x02\x00\x00\xf0\x48\x0f\xc1\x07\x48\x87\x5f\x08\x48\x83\xc7\x08\x83\xe9\x01\x75\xee"),
};
/* clang-format on */

/* Time by count of instructions: rounds that are taken off the budget at once, and given back, show in the count. */
static struct rig *counting(u32 warm, const struct program *p, u64 at)
{
    struct rig *r = rig_open(&(struct cpu_cfg){ .n_cpus = 1, .icount = true }, JIT_RAM);

    r->c->vm->jit_warm = warm;
    jit_begin(r, at, p->code, p->n);
    return r;
}

static bool ended(const struct rig *r)
{
    return r->port_writes > 0;
}

/* Each loop, in steps: after each both have run as many instructions, and are alike. */
TEST(jit_loops_do_as_the_interpreter)
{
    static const u32 steps[] = { 100, 333, 2000, 9999 };

    for_each_row(n, steps)
        for_each_row(p, loops) {
            struct rig *a = counting(1, p, RIG_CODE), *b = counting(0, p, RIG_CODE);
            u32 at;

            ROW(p);
            for (u64 stop = *n; !ended(a); stop += *n) {
                a->c->stop_insns = b->c->stop_insns = stop;
                CHECK_EQ(vcpu_run(a->c->v), VCPU_KICKED);
                CHECK_EQ(vcpu_run(b->c->v), VCPU_KICKED);
                CHECK_EQ(soft_insns(a->c), soft_insns(b->c));
                CHECK_STR(jit_differs(a, b), "");
            }
            CHECK(ended(b));
            CHECK_STR(jit_verify(a->c, &at), "");
            CHECK(a->c->jit->stats.loops > 0);
            rig_free(a);
            rig_free(b);
        }
}
