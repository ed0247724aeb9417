/*
 * cpu/soft/jit/jit_test.c: translated code does what the interpreter does, also where it faults, is rewritten or runs out of room.
 */
#include "cpu/soft/jit/cache.h"
#include "cpu/soft/jit/jit_rig.h"
#include "cpu/soft/jit/verify.h"
#include "testlib/test.h"

#include <sched.h>
#include <stdio.h>
#include <stdlib.h>

#define TRACE_DEF "cpu/trace.def"
#include "base/trace_points.h"

/* clang-format off */
static const struct program programs[] = {
    /* cmp %rbx,%rax; mov 0x10000,%rcx; setl %dl; setb %dh */
    ROW_OF("flags of a comparison live across a load", "\x48\x39\xd8\x48\x8b\x0c\x25\x00\x00\x01\x00\x0f\x9c\xc2\x0f\x92\xc6"),
    /* mov $-1,%eax; add $1,%eax; mov %ebx,0x10000; inc %ecx; mov 0x10000,%edx; adc $0,%esi */
    ROW_OF("INC keeps the carry over a store", "\xb8\xff\xff\xff\xff\x83\xc0\x01\x89\x1c\x25\x00\x00\x01\x00\xff\xc1\x8b\x14\x25\x00\x00\x01\x00\x83\xd6\x00"),
    /* xor %ecx,%ecx; cmp %rbx,%rax; shl %cl,%rdx; mov 0x10000,%rsi */
    ROW_OF("a shift by CL = 0 keeps all flags", "\x31\xc9\x48\x39\xd8\x48\xd3\xe2\x48\x8b\x34\x25\x00\x00\x01\x00"),
    /* sub %rbx,%rax; rol $3,%rdx; mov 0x10000,%rsi; ror $1,%r9 */
    ROW_OF("a rotate keeps the others", "\x48\x29\xd8\x48\xc1\xc2\x03\x48\x8b\x34\x25\x00\x00\x01\x00\x49\xd1\xc9"),
    /* add %rbx,%rax; adc 0x10000,%rcx; sbb %rcx,0x10008; adc $5,%r10 */
    ROW_OF("ADC and SBB with memory", "\x48\x01\xd8\x48\x13\x0c\x25\x00\x00\x01\x00\x48\x19\x0c\x25\x08\x00\x01\x00\x49\x83\xd2\x05"),
    /* cmp %rax,%rbx; setg 0x10003; cmovl 0x10008,%r11; cmovge 0x10008,%r14d */
    ROW_OF("SETcc and CMOVcc with memory", "\x48\x39\xc3\x0f\x9f\x04\x25\x03\x00\x01\x00\x4c\x0f\x4c\x1c\x25\x08\x00\x01\x00\x44\x0f\x4d\x34\x25\x08\x00\x01\x00"),
    /* add %r9,%r10; xor %r11,%r14; lea 8(%r15,%r9,4),%r11; imul %r14,%r15; bswap %r9; movsbl %r10b,%r11d */
    ROW_OF("registers that are in memory", "\x4d\x01\xca\x4d\x31\xde\x4f\x8d\x5c\x8f\x08\x4d\x0f\xaf\xfe\x49\x0f\xc9\x45\x0f\xbe\xda"),
    /* mov $0x10000,%r9d; mov $2,%r14d; mov 4(%r9,%r14,8),%r15; mov %r15,(%r9); xchg %r10,8(%r9) */
    ROW_OF("... as bases and indices", "\x41\xb9\x00\x00\x01\x00\x41\xbe\x02\x00\x00\x00\x4f\x8b\x7c\xf1\x04\x4d\x89\x39\x4d\x87\x51\x08"),
    /* add %ah,%bl; mov %bh,%ch; movzbl %dh,%esi; xchg %ah,%al; inc %bh */
    ROW_OF("AH to BH", "\x00\xe3\x88\xfd\x0f\xb6\xf6\x86\xe0\xfe\xc7"),
    /* mov %sil,%dil; add %bpl,%sil; mov %spl,%al; xor %r13b,%r12b */
    ROW_OF("SPL to DIL", "\x40\x88\xf7\x40\x00\xee\x40\x88\xe0\x45\x30\xec"),
    /* lea 5(%rip),%rax; mov 0xf000-0x100(%rip),%rbx; mov %eax,0xf000(%rip) */
    ROW_OF("addresses by RIP", "\x48\x8d\x05\x05\x00\x00\x00\x48\x8b\x1d\x00\xef\x00\x00\x89\x05\x00\xf0\x00\x00"),
    /* mov $0xffffffff00010000,%rsi; mov 8(%esi),%rax; lea -1(%esi),%rbx; lea 3(%esi,%esi),%ecx */
    ROW_OF("32-bit addresses", "\x48\xbe\x00\x00\x01\x00\xff\xff\xff\xff\x67\x48\x8b\x46\x08\x67\x48\x8d\x5e\xff\x67\x8d\x4c\x36\x03"),
    /* mov %fs:0x10,%rax; mov %rbx,%gs:0x20(%rcx) */
    ROW_OF("FS and GS", "\x64\x48\x8b\x04\x25\x10\x00\x00\x00\x65\x48\x89\x59\x20"),
    /* mov $-1,%rax; xor %ebx,%ebx; cmovne %ecx,%eax; mov $-1,%r9; cmovne %ecx,%r9d */
    ROW_OF("a CMOV not taken clears the upper half", "\x48\xc7\xc0\xff\xff\xff\xff\x31\xdb\x0f\x45\xc1\x49\xc7\xc1\xff\xff\xff\xff\x44\x0f\x45\xc9"),
    /* xor %eax,%eax; bsr %rax,%r9; bsf %eax,%ecx; bsf %rax,%rdx; tzcnt %rax,%r10; lzcnt %eax,%r11d */
    ROW_OF("BSR and BSF of 0", "\x31\xc0\x4c\x0f\xbd\xc8\x0f\xbc\xc8\x48\x0f\xbc\xd0\xf3\x4c\x0f\xbc\xd0\xf3\x44\x0f\xbd\xd8"),
    /* mov $100,%eax; bts %rax,0x10000; bt $3,0x10000; btr $5,%r14; btc %ebx,%ecx */
    ROW_OF("bits of memory", "\xb8\x64\x00\x00\x00\x48\x0f\xab\x04\x25\x00\x00\x01\x00\x0f\xba\x24\x25\x00\x00\x01\x00\x03\x49\x0f\xba\xf6\x05\x0f\xbb\xd9"),
    /* stc; mov $-100,%rax; bts %rax,0x10100; mov $-33,%r9; lock btc %r9d,0x10100; setb %bl; mov $77,%ecx; lock btr %rcx,0x10100; adc $0,%edx; btc %r9,0x7fff0000 */
    ROW_OF("bits by negative offsets, with LOCK", "\xf9\x48\xc7\xc0\x9c\xff\xff\xff\x48\x0f\xab\x04\x25\x00\x01\x01\x00\x49\xc7\xc1\xdf\xff\xff\xff\xf0\x44\x0f\xbb\x0c\x25\x00\x01\x01\x00\x0f\x92\xc3\xb9\x4d\x00\x00\x00\xf0\x48\x0f\xb3\x0c\x25\x00\x01\x01\x00\x83\xd2\x00\x4c\x0f\xbb\x0c\x25\x00\x00\xff\x7f"),
    /* cmp %rax,%rbx; pushfq; pop %r9; cli; pushfq; sti; pushfq; pop %rcx; pop %rdx; std; cld; pushfq; pop %r10; sbb %esi,%esi */
    ROW_OF("CLI, STI and what PUSHF sees", "\x48\x39\xc3\x9c\x41\x59\xfa\x9c\xfb\x9c\x59\x5a\xfd\xfc\x9c\x41\x5a\x19\xf6"),
    /* cmp %rax,%rbx; mov %gs:0x20(%rcx),%rdx; swapgs; mov %gs:0x10008,%rsi; swapgs; mov %gs:0x28(%rcx),%rdi */
    ROW_OF("SWAPGS", "\x48\x39\xc3\x65\x48\x8b\x51\x20\x0f\x01\xf8\x65\x48\x8b\x34\x25\x08\x00\x01\x00\x0f\x01\xf8\x65\x48\x8b\x79\x28"),
    /* mov 0x10000,%rax; mov 0x10008,%rdx; add $5,%rbx; lock cmpxchg16b 0x10000; sete %r9b; cmpxchg16b 0x10000; cmpxchg8b 0x10020; cmpxchg16b 0x10008 */
    ROW_OF("CMPXCHG16B", "\x48\x8b\x04\x25\x00\x00\x01\x00\x48\x8b\x14\x25\x08\x00\x01\x00\x48\x83\xc3\x05\xf0\x48\x0f\xc7\x0c\x25\x00\x00\x01\x00\x41\x0f\x94\xc1\x48\x0f\xc7\x0c\x25\x00\x00\x01\x00\x0f\xc7\x0c\x25\x20\x00\x01\x00\x48\x0f\xc7\x0c\x25\x08\x00\x01\x00"),
    /* push %rsp; push $-7; push 0x10000; pop %r9; pop %rax; pop %rsp; push %r15; pop %r10 */
    ROW_OF("the stack", "\x54\x6a\xf9\xff\x34\x25\x00\x00\x01\x00\x41\x59\x58\x5c\x41\x57\x41\x5a"),
    /* push %rbp; mov %rsp,%rbp; sub $64,%rsp; mov %rax,-8(%rbp); leave */
    ROW_OF("a frame", "\x55\x48\x89\xe5\x48\x83\xec\x40\x48\x89\x45\xf8\xc9"),
    /* call 1f; jmp 2f; 1: inc %r9; ret; 2: lea 3f(%rip),%rax; call *%rax; jmp 4f; 3: lea 5f(%rip),%r14; mov %r14,0x10000; jmp *0x10000; 5: ret; 4: nop */
    ROW_OF("calls", "\xe8\x02\x00\x00\x00\xeb\x04\x49\xff\xc1\xc3\x48\x8d\x05\x04\x00\x00\x00\xff\xd0\xeb\x17\x4c\x8d\x35\x0f\x00\x00\x00\x4c\x89\x34\x25\x00\x00\x01\x00\xff\x24\x25\x00\x00\x01\x00\xc3\x90"),
    /* push %rax; push %rbx; lea 1f(%rip),%rcx; push %rcx; ret $16; 1: nop */
    ROW_OF("RET with an immediate", "\x50\x53\x48\x8d\x0d\x04\x00\x00\x00\x51\xc2\x10\x00\x90"),
    /* mov $1000,%ecx; 1: lea (%rax,%rcx,2),%rax; xor %rax,%rbx; dec %ecx; jnz 1b */
    ROW_OF("a loop", "\xb9\xe8\x03\x00\x00\x48\x8d\x04\x48\x48\x31\xc3\xff\xc9\x75\xf5"),
    /* mov $20,%eax; 1: mov $7,%ecx; 2: add %rcx,%r9; loop 2b; jrcxz 3f; inc %r11; 3: dec %eax; jns 1b */
    ROW_OF("nested loops with LOOP and JRCXZ", "\xb8\x14\x00\x00\x00\xb9\x07\x00\x00\x00\x49\x01\xc9\xe2\xfb\xe3\x03\x49\xff\xc3\xff\xc8\x79\xed"),
    /* mul %r9; imul %ebx; cqo; cdqe; mul %r14b; imul $77,%r10,%r15; imul 0x10000,%rcx */
    ROW_OF("double width", "\x49\xf7\xe1\xf7\xeb\x48\x99\x48\x98\x41\xf6\xe6\x4d\x6b\xfa\x4d\x48\x0f\xaf\x0c\x25\x00\x00\x01\x00"),
    /* mov $12345,%eax; xor %edx,%edx; mov $7,%ecx; div %ecx; cdq; idivl 0x10004; mov $3,%r9d; xor %edx,%edx; div %r9 */
    ROW_OF("divisions", "\xb8\x39\x30\x00\x00\x31\xd2\xb9\x07\x00\x00\x00\xf7\xf1\x99\xf7\x3c\x25\x04\x00\x01\x00\x41\xb9\x03\x00\x00\x00\x31\xd2\x49\xf7\xf1"),
    /* xchg %rax,0x10000; lock xadd %r9,0x10000; lock cmpxchg %rbx,0x10000; cmpxchg %r10,%r11; lock incl 0x10008; lock btsq $4,0x10010 */
    ROW_OF("exchanges", "\x48\x87\x04\x25\x00\x00\x01\x00\xf0\x4c\x0f\xc1\x0c\x25\x00\x00\x01\x00\xf0\x48\x0f\xb1\x1c\x25\x00\x00\x01\x00\x4d\x0f\xb1\xd3\xf0\xff\x04\x25\x08\x00\x01\x00\xf0\x48\x0f\xba\x2c\x25\x10\x00\x01\x00\x04"),
    /* mov %ax,%r9w; add %bx,%cx; mov %r10b,0x10001; mov 0x10001,%r11b; neg %r14w; not %sil; shr $3,%dx */
    ROW_OF("16 and 8 bits", "\x66\x41\x89\xc1\x66\x01\xd9\x44\x88\x14\x25\x01\x00\x01\x00\x44\x8a\x1c\x25\x01\x00\x01\x00\x66\x41\xf7\xde\x40\xf6\xd6\x66\xc1\xea\x03"),
    /* shld $5,%rax,%rbx; shrd %cl,%r9,%r10; movbe 0x10000,%eax; movbe %r11w,0x10004; bswap %ecx */
    ROW_OF("double shifts, byte swaps", "\x48\x0f\xa4\xc3\x05\x4d\x0f\xad\xca\x0f\x38\xf0\x04\x25\x00\x00\x01\x00\x66\x44\x0f\x38\xf1\x1c\x25\x04\x00\x01\x00\x0f\xc9"),
    /* andn %rax,%rbx,%rcx; shlx %rdx,%r9,%r10; rorx $5,0x10000,%rsi; pdep %rax,%rbx,%r11; blsr %r14,%r15 */
    ROW_OF("BMI", "\xc4\xe2\xe0\xf2\xc8\xc4\x42\xe9\xf7\xd1\xc4\xe3\xfb\xf0\x34\x25\x00\x00\x01\x00\x05\xc4\x62\xe3\xf5\xd8\xc4\xc2\x80\xf3\xce"),
    /* mov $0x10000,%esi; mov $0x10100,%edi; mov $40,%ecx; rep movsb; mov $9,%ecx; rep stosq; lodsl; scasb */
    ROW_OF("string instructions", "\xbe\x00\x00\x01\x00\xbf\x00\x01\x01\x00\xb9\x28\x00\x00\x00\xf3\xa4\xb9\x09\x00\x00\x00\xf3\x48\xab\xad\xae"),
    /* stc; cmc; sbb %eax,%eax; stc; lahf; sahf; clc; setc %bl; std; cld; pushf; pop %rcx */
    ROW_OF("flags by name", "\xf9\xf5\x19\xc0\xf9\x9f\x9e\xf8\x0f\x92\xc3\xfd\xfc\x9c\x59"),
    /* movups 0x10000,%xmm0; movaps %xmm0,%xmm9; paddd %xmm9,%xmm0; mulps 0x10010,%xmm0; movd %r9d,%xmm3; movq %xmm3,%r14; cvtsi2sd %rax,%xmm4; ucomisd %xmm4,%xmm0; setb %bl; movups %xmm0,0x10020; pmovmskb %xmm9,%r10d */
    ROW_OF("SSE", "\x0f\x10\x04\x25\x00\x00\x01\x00\x44\x0f\x28\xc8\x66\x41\x0f\xfe\xc1\x0f\x59\x04\x25\x10\x00\x01\x00\x66\x41\x0f\x6e\xd9\x66\x49\x0f\x7e\xde\xf2\x48\x0f\x2a\xe0\x66\x0f\x2e\xc4\x0f\x92\xc3\x0f\x11\x04\x25\x20\x00\x01\x00\x66\x45\x0f\xd7\xd1"),
    /* vmovups 0x10000,%ymm1; vpaddq %ymm1,%ymm1,%ymm12; vextracti128 $1,%ymm12,%xmm2; vmovd %xmm2,%r9d; vptest %ymm12,%ymm1; sete %al; vmovups %ymm12,0x10040; vzeroupper; vaesenc 0x10000,%xmm1,%xmm2 */
    ROW_OF("AVX", "\xc5\xfc\x10\x0c\x25\x00\x00\x01\x00\xc5\x75\xd4\xe1\xc4\x63\x7d\x39\xe2\x01\xc4\xc1\x79\x7e\xd1\xc4\xc2\x7d\x17\xcc\x0f\x94\xc0\xc5\x7c\x11\x24\x25\x40\x00\x01\x00\xc5\xf8\x77\xc4\xe2\x71\xdc\x14\x25\x00\x00\x01\x00"),
    /* movups 0x10000,%xmm0; cpuid; paddb %xmm0,%xmm0; stmxcsr 0x10000; paddb %xmm0,%xmm0; movups %xmm0,0x10010 */
    ROW_OF("vectors around a handler", "\x0f\x10\x04\x25\x00\x00\x01\x00\x0f\xa2\x66\x0f\xfc\xc0\x0f\xae\x1c\x25\x00\x00\x01\x00\x66\x0f\xfc\xc0\x0f\x11\x04\x25\x10\x00\x01\x00"),
    /* fldl 0x10000; fld1; faddp; fstpl 0x10008; fnstsw %ax */
    ROW_OF("x87", "\xdd\x04\x25\x00\x00\x01\x00\xd9\xe8\xde\xc1\xdd\x1c\x25\x08\x00\x01\x00\xdf\xe0"),
    /* mov $30,%ecx; 1: fldl 0x10000; fmuls 0x10008; fadd %st(0),%st; fld1; fcomip %st(1),%st; setb %al; fstpl 0x10010(,%rcx,8); fildl 0x10004; fistpll 0x10008; dec %ecx; jnz 1b; fldt 0x10020; fxch %st(1) */
    ROW_OF("x87 in a loop, and where it was last", "\xb9\x1e\x00\x00\x00\xdd\x04\x25\x00\x00\x01\x00\xd8\x0c\x25\x08\x00\x01\x00\xd8\xc0\xd9\xe8\xdf\xf1\x0f\x92\xc0\xdd\x1c\xcd\x10\x00\x01\x00\xdb\x04\x25\x04\x00\x01\x00\xdf\x3c\x25\x08\x00\x01\x00\xff\xc9\x75\xd0\xdb\x2c\x25\x20\x00\x01\x00\xd9\xc9"),
    /* fninit; mov $0x33b,%eax; mov %ax,0x10000; fldz; fld1; fldcw 0x10000; stc; fdiv %st(1),%st; sbb %ebx,%ebx; inc %edx; fstpl 0x10008; inc %edx */
    ROW_OF("#MF of an x87 exception that waits", "\xdb\xe3\xb8\x3b\x03\x00\x00\x66\x89\x04\x25\x00\x00\x01\x00\xd9\xee\xd9\xe8\xd9\x2c\x25\x00\x00\x01\x00\xf9\xd8\xf1\x19\xdb\xff\xc2\xdd\x1c\x25\x08\x00\x01\x00\xff\xc2"),
    /* fld1; cmp %rax,%rbx; fstpl 0x7fff0000; inc %edx */
    ROW_OF("#PF of an x87 operand", "\xd9\xe8\x48\x39\xc3\xdd\x1c\x25\x00\x00\xff\x7f\xff\xc2"),
    /* mov $30,%ecx; 1: movb $0x90,2f(%rip); incb 3f+2(%rip); nop; 2: nop; 3: add $1,%eax; dec %ecx; jnz 1b */
    ROW_OF("code that changes itself, in the block", "\xb9\x1e\x00\x00\x00\xc6\x05\x07\x00\x00\x00\x90\xfe\x05\x04\x00\x00\x00\x90\x90\x83\xc0\x01\xff\xc9\x75\xea"),
    /* mov $30,%ecx; 1: call 2f; incb 2f+1(%rip); dec %ecx; jnz 1b; jmp 3f; 2: mov $1,%al; add %al,%bl; ret; 3: nop */
    ROW_OF("code that changes what it calls", "\xb9\x1e\x00\x00\x00\xe8\x0c\x00\x00\x00\xfe\x05\x07\x00\x00\x00\xff\xc9\x75\xf1\xeb\x05\xb0\x01\x00\xc3\xc3\x90"),
    /* mov $5,%eax; sub $6,%eax; mov 0x7fff0000,%rbx; add $1,%eax */
    ROW_OF("#PF in the middle, flags as they were", "\xb8\x05\x00\x00\x00\x83\xe8\x06\x48\x8b\x1c\x25\x00\x00\xff\x7f\x83\xc0\x01"),
    /* mov $0x7fff0000,%esp; add $1,%rax; push 0x10000; add $1,%eax */
    ROW_OF("#PF on the second of two operands", "\xbc\x00\x00\xff\x7f\x48\x83\xc0\x01\xff\x34\x25\x00\x00\x01\x00\x83\xc0\x01"),
    /* mov %rax,0x10000; sbb %rcx,%rcx; mov %rbx,0x7fff0000 */
    ROW_OF("#PF of a store, after one that was done", "\x48\x89\x04\x25\x00\x00\x01\x00\x48\x19\xc9\x48\x89\x1c\x25\x00\x00\xff\x7f"),
    /* cmp %rax,%rbx; addl $7,0x7fff0000 */
    ROW_OF("#PF of a read-modify-write", "\x48\x39\xc3\x83\x04\x25\x00\x00\xff\x7f\x07"),
    /* stc; mov 0x3ffffffd,%rax */
    ROW_OF("#PF by crossing into the next page", "\xf9\x48\x8b\x04\x25\xfd\xff\xff\x3f"),
    /* add $3,%rcx; xor %ebx,%ebx; div %rbx; inc %ecx */
    ROW_OF("#DE", "\x48\x83\xc1\x03\x31\xdb\x48\xf7\xf3\xff\xc1"),
    /* mov $1,%rax; shl $63,%rax; or $1,%eax; mov (%rax),%rbx */
    ROW_OF("#GP of an address", "\x48\xc7\xc0\x01\x00\x00\x00\x48\xc1\xe0\x3f\x83\xc8\x01\x48\x8b\x18"),
    /* mov $1,%rbp; shl $62,%rbp; cmp %rax,%rbx; mov 8(%rbp),%rcx */
    ROW_OF("#SS", "\x48\xc7\xc5\x01\x00\x00\x00\x48\xc1\xe5\x3e\x48\x39\xc3\x48\x8b\x4d\x08"),
    /* mov $1,%rax; shl $60,%rax; push %rax; cmp %rbx,%rax; ret */
    ROW_OF("#GP of a return", "\x48\xc7\xc0\x01\x00\x00\x00\x48\xc1\xe0\x3c\x50\x48\x39\xd8\xc3"),
    /* cmp %rax,%rbx; movups 0x10000,%xmm1; addps 0x10001,%xmm1 */
    ROW_OF("#GP of an operand that is not aligned", "\x48\x39\xc3\x0f\x10\x0c\x25\x00\x00\x01\x00\x0f\x58\x0c\x25\x01\x00\x01\x00"),
    /* movl $0x1f00,0x10000; ldmxcsr 0x10000; mov $1,%eax; cvtsi2ss %eax,%xmm0; dec %eax; cvtsi2ss %eax,%xmm1; movups 0x10010,%xmm2; divss %xmm1,%xmm0; nop */
    ROW_OF("#XM", "\xc7\x04\x25\x00\x00\x01\x00\x00\x1f\x00\x00\x0f\xae\x14\x25\x00\x00\x01\x00\xb8\x01\x00\x00\x00\xf3\x0f\x2a\xc0\xff\xc8\xf3\x0f\x2a\xc8\x0f\x10\x14\x25\x10\x00\x01\x00\xf3\x0f\x5e\xc1\x90"),
    /* mov %cr0,%rax; or $8,%eax; mov %rax,%cr0; cmp %rax,%rbx; paddd %xmm1,%xmm0 */
    ROW_OF("#NM", "\x0f\x20\xc0\x83\xc8\x08\x0f\x22\xc0\x48\x39\xc3\x66\x0f\xfe\xc1"),
    /* add $1,%eax; ud2 */
    ROW_OF("#UD", "\x83\xc0\x01\x0f\x0b"),
};
/* clang-format on */

/* Every program, inside a page and across its end, where jumps lead from page to page. */
TEST(jit_does_as_the_interpreter)
{
    static const u32 places[] = { RIG_CODE, RIG_CODE + 0xff9, RIG_CODE + 0xff0, RIG_CODE + 0xfe0 };

    for_each_row(p, places)
        for_each_row(c, programs) {
            struct rig *a = jit_machine(1, 1), *b = jit_machine(0, 1);
            u32 at;

            ROW(c);
            jit_begin(a, *p, c->code, c->n);
            jit_begin(b, *p, c->code, c->n);
            CHECK_EQ(vcpu_run(a->c->v), VCPU_KICKED);
            CHECK_EQ(vcpu_run(b->c->v), VCPU_KICKED);
            CHECK_STR(jit_differs(a, b), "");
            CHECK_STR(jit_verify(a->c, &at), "");
            CHECK(*p != RIG_CODE || a->c->jit->stats.blocks > 0);
            CHECK_EQ(b->c->jit->stats.blocks, 0);
            rig_free(a);
            rig_free(b);
        }
}

/* clang-format off */
static const struct program beside =
    /* lea 2f+1(%rip),%rdi; mov $30,%ecx; 1: call 2f; incb (%rdi); movups 0x10000(,%rcx,8),%xmm0; paddb %xmm0,%xmm1; mov $0x10200,%edi; dec %ecx; jnz 1b; jmp 3f; 2: mov $1,%al; add %al,%bl; ret; 3: movups %xmm1,0x10100 */
    ROW_OF("a block that wrote to the one beside it", "\x48\x8d\x3d\x24\x00\x00\x00\xb9\x1e\x00\x00\x00\xe8\x19\x00\x00\x00\xfe\x07\x0f\x10\x04\xcd\x00\x00\x01\x00\x66\x0f\xfc\xc8\xbf\x00\x02\x01\x00\xff\xc9\x75\xe4\xeb\x05\xb0\x01\x00\xc3\xc3\x0f\x11\x0c\x25\x00\x01\x01\x00");
/* clang-format on */

/* A block that ran before it was translated, and wrote to other code of its page meanwhile, is translated whole. */
TEST(jit_translates_what_wrote_to_code_before)
{
    for (u32 warm = 1; warm < 5; warm++) {
        struct rig *a = jit_machine(warm, 1), *b = jit_machine(0, 1);

        jit_begin(a, RIG_CODE, beside.code, beside.n);
        jit_begin(b, RIG_CODE, beside.code, beside.n);
        CHECK_EQ(vcpu_run(a->c->v), VCPU_KICKED);
        CHECK_EQ(vcpu_run(b->c->v), VCPU_KICKED);
        CHECK_STR(jit_differs(a, b), "");
        CHECK(a->c->jit->stats.blocks > 0);
        rig_free(a);
        rig_free(b);
    }
}

/* xor eax, eax; mov ecx, 10000; 1: add eax, ecx; dec ecx; jnz 1b */
static const u8 sum[] = { 0x31, 0xc0, 0xb9, 0x10, 0x27, 0, 0, 0x01, 0xc8, 0xff, 0xc9, 0x75, 0xfa };
enum { SUM = 10000 * 10001 / 2 };

/* Does a line of /proc/self/maps begin with this address?  Its neighbours may be in one mapping with it. */
static bool is_at(const char *line, const u8 *at)
{
    u64 from = 0, to = 0;
    const char *p = line;

    for (; *p != '-'; p++)
        from = from * 16 + (u64)(*p <= '9' ? *p - '0' : *p - 'a' + 10);
    for (p++; *p != ' '; p++)
        to = to * 16 + (u64)(*p <= '9' ? *p - '0' : *p - 'a' + 10);
    return (uintptr_t)at >= from && (uintptr_t)at < to;
}

/* No page of the code area is both written and run. */
TEST(jit_area_is_never_writable_and_executable)
{
    struct rig *r = jit_machine(1, 1);
    FILE *f = fopen("/proc/self/maps", "re");
    u32 written = 0, run = 0;
    char line[512];

    jit_begin(r, RIG_CODE, sum, sizeof(sum));
    CHECK_EQ(vcpu_run(r->c->v), VCPU_KICKED);
    CHECK_EQ((u32)r->c->reg[GPR_RAX], SUM);
    while (fgets(line, sizeof(line), f)) {
        const char *rights = strchr(line, ' ') + 1;

        CHECK(rights[1] != 'w' || rights[2] != 'x');
        run += is_at(line, r->c->jit->area.run_at) && rights[2] == 'x';
        written += is_at(line, r->c->jit->area.write_at) && rights[1] == 'w';
    }
    fclose(f);
    CHECK_EQ(written, 1);
    CHECK_EQ(run, 1);
    rig_free(r);
}

/* perf's map has each translation at its address, under its block's. */
TEST(jit_map_names_translations)
{
    struct rig *r = jit_machine(1, 1);
    AUTO(strbuf) struct strbuf out = {};
    char want[80];

    jit_begin(r, RIG_CODE, sum, sizeof(sum));
    CHECK_EQ(vcpu_run(r->c->v), VCPU_KICKED);
    soft_jit_map(r->c->v, &out);
    CHECK(r->c->jit->n_blocks > 1);
    for (u32 i = 0; i < r->c->jit->n_blocks; i++) {
        const struct jit_block *k = &r->c->jit->blocks[i];

        str_fmt(want, sizeof(want), "\n%llx %x guest kernel 0x%llx\n",
                (u64)(uintptr_t)(r->c->jit->area.run_at + k->at), k->end - k->at, k->b->gpa);
        CHECK_HAS(out.text, want);
    }
    rig_free(r);
}

/* A loop runs in its translation, which does not come back, also when time is up. */
TEST(jit_loops_are_linked)
{
    struct rig *r = jit_machine(2, 1);

    jit_begin(r, RIG_CODE, sum, sizeof(sum));
    CHECK_EQ(vcpu_run(r->c->v), VCPU_KICKED);
    CHECK_EQ((u32)r->c->reg[GPR_RAX], SUM);
    CHECK(r->c->jit->stats.links > 0);
    CHECK(r->c->jit->stats.exits[JIT_EXIT_EDGE] < 10);
    CHECK(r->c->jit->stats.quanta > 0);
    CHECK_EQ(r->c->jit->stats.exits[JIT_EXIT_POLL], 0);
    CHECK(soft_insns(r->c) > 30000);
    rig_free(r);
}

/* How often translations were entered. */
static u64 entries(const struct rig *r)
{
    u64 n = 0;

    for (u32 i = 0; i < JIT_EXITS; i++)
        n += r->c->jit->stats.exits[i];
    return n;
}

/* While blocks are traced none of them is run translated; then what was translated before is. */
TEST(jit_rests_while_blocks_are_traced)
{
    struct rig *r = jit_machine(1, 1);
    u64 before, blocks;

    jit_begin(r, RIG_CODE, sum, sizeof(sum));
    CHECK_EQ(vcpu_run(r->c->v), VCPU_KICKED);
    before = entries(r);
    blocks = r->c->jit->stats.blocks;
    CHECK(before > 0);
    for (u32 on = 2; on-- > 0;) {
        atomic_store(&trace_point_cpu_block.on, on);
        r->c->rip = RIG_CODE;
        soft_mode_changed(r->c);
        CHECK_EQ(vcpu_run(r->c->v), VCPU_KICKED);
        CHECK_EQ((u32)r->c->reg[GPR_RAX], SUM);
        CHECK_EQ(entries(r) == before, on);
    }
    CHECK_EQ(r->c->jit->stats.blocks, blocks);
    rig_free(r);
}

/* --engine-check: a translation that does what it should passes, one with a wrong byte stops the machine. */
TEST(jit_check_finds_a_wrong_byte)
{
    static const u8 count[] = { 0xb9, 0x10, 0x27, 0, 0 }; /* mov ecx, 10000 */
    const struct cpu_cfg cfg = { .n_cpus = 1, .jit = true, .check = true };
    struct rig *r = rig_open(&cfg, JIT_RAM);
    struct jit_cache *j = r->c->jit;
    u8 *code = j->area.write_at;
    u32 at;

    r->c->vm->jit_warm = 1;
    jit_begin(r, RIG_CODE, sum, sizeof(sum));
    CHECK_EQ(vcpu_run(r->c->v), VCPU_KICKED);
    CHECK_EQ((u32)r->c->reg[GPR_RAX], SUM);
    CHECK(j->stats.checked > 100);
    for (at = j->first; at < j->used && memcmp(code + at, count, sizeof(count)) != 0; at++)
        continue;
    CHECK(at < j->used);
    code[at + 1]++;
    r->c->rip = RIG_CODE;
    CHECK_EQ(vcpu_run(r->c->v), VCPU_FAILED);
    CHECK_HAS(r->c->v->failure, "engine-check: registers differ after the block of");
    rig_free(r);
}

/* ... and so do exceptions, stores to code and what is done by handlers. */
TEST(jit_check_agrees)
{
    const struct cpu_cfg cfg = { .n_cpus = 1, .jit = true, .check = true };

    for_each_row(c, programs) {
        struct rig *r = rig_open(&cfg, JIT_RAM);

        ROW(c);
        r->c->vm->jit_warm = 1;
        jit_begin(r, RIG_CODE, c->code, c->n);
        CHECK_EQ(vcpu_run(r->c->v), VCPU_KICKED);
        CHECK_STR(r->c->v->failure, "");
        rig_free(r);
    }
}

/* When there is no room, everything is dropped, and made anew. */
TEST(jit_area_full)
{
    struct rig *r = jit_machine(1, 1);
    struct jit_cache *j = r->c->jit;

    for (u32 i = 0; i < 4; i++) {
        j->used = JIT_COLD - JIT_BLOCK_BYTES + 1;
        jit_begin(r, RIG_CODE + 64 * i, sum, sizeof(sum));
        CHECK_EQ(vcpu_run(r->c->v), VCPU_KICKED);
        CHECK_EQ((u32)r->c->reg[GPR_RAX], SUM);
        CHECK_EQ(j->stats.flushes, i + 1);
        CHECK(j->used < JIT_COLD / 2);
    }
    rig_free(r);
}

/* ... also when nothing new is decoded. */
TEST(jit_area_full_of_what_was_decoded)
{
    struct rig *r = jit_machine(0, 1);
    struct jit_cache *j = r->c->jit;

    jit_begin(r, RIG_CODE, sum, sizeof(sum));
    CHECK_EQ(vcpu_run(r->c->v), VCPU_KICKED);
    j->used = JIT_COLD - JIT_BLOCK_BYTES + 1;
    r->c->vm->jit_warm = 2;
    r->c->rip = RIG_CODE;
    CHECK_EQ(vcpu_run(r->c->v), VCPU_KICKED);
    CHECK_EQ((u32)r->c->reg[GPR_RAX], SUM);
    CHECK_EQ(j->stats.flushes, 1);
    CHECK(j->stats.blocks > 0);
    rig_free(r);
}

/* Other threads. */

struct loop {
    struct rig *r;
    struct vcpu *v;
    enum vcpu_next end;
};

static void *run_loop(void *arg)
{
    struct loop *l = arg;

    vcpu_thread_init(l->v);
    l->end = vcpu_run(l->v);
    return NULL;
}

static void wait_for_links(const struct soft_cpu *c)
{
    while (*(const volatile u64 *)&c->jit->stats.links == 0)
        sched_yield();
}

static const u8 forever[] = { 0xff, 0xc0, 0xeb, 0xfc }; /* 1: inc eax; jmp 1b */

/* A device writes to code that is running. */
TEST(jit_code_is_written_by_a_device)
{
    struct rig *r = jit_machine(1, 1);
    struct loop l = { .r = r, .v = r->c->v };
    pthread_t t;

    jit_begin(r, RIG_CODE, forever, sizeof(forever));
    CHECK_EQ(pthread_create(&t, NULL, run_loop, &l), 0);
    wait_for_links(r->c);
    mem_write(r->mem, RIG_CODE, jit_the_end, sizeof(jit_the_end));
    pthread_join(t, NULL);
    CHECK_EQ(l.end, VCPU_KICKED);
    CHECK_EQ(r->port_writes, 1);
    rig_free(r);
}

/* vCPU 0 writes to code that vCPU 1 is running: mov dword [RIG_CODE], the end. */
TEST(jit_code_is_written_by_another_vcpu)
{
    static const u8 writer[] = { 0xc7, 0x04, 0x25,     0x00, RIG_CODE >> 8, 0,
                                 0,    0xe6, RIG_PORT, 0xeb, 0xfe };
    struct rig *r = jit_machine(1, 2);
    struct soft_cpu *first = r->c, *second = cpu_vcpu(r->vm, 1)->engine_data;
    struct loop l = { .r = r, .v = second->v };
    pthread_t t;

    r->c = second; /* whom the port kicks */
    jit_begin(r, RIG_CODE, forever, sizeof(forever));
    second->wait_sipi = false;
    r->c = first;
    jit_begin(r, RIG_CODE + 0x2000, writer, sizeof(writer));
    CHECK_EQ(pthread_create(&t, NULL, run_loop, &l), 0);
    wait_for_links(second);
    CHECK_EQ(vcpu_run(first->v), VCPU_KICKED);
    while (*(volatile u32 *)&r->port_writes < 2)
        sched_yield();
    vcpu_kick(second->v);
    pthread_join(t, NULL);
    CHECK_EQ(l.end, VCPU_KICKED);
    rig_free(r);
}
