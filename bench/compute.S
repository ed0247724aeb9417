# bench/compute.S: plain computing, one kind a run, chosen by the character after the @ of the command line; ends with value 0.
# bench/compute.sh knows how many instructions each kind is.  (Multiboot 0.6.96, 3.1 and 3.3: the command line)
    .include "start.inc"
    .globl main
main:
    mov %cr4, %eax              # FXSR and SSE exceptions on, no emulation
    or $0x600, %eax
    mov %eax, %cr4
    mov %cr0, %eax
    and $~0xc, %eax
    mov %eax, %cr0
    fninit
    mov 16(%ebx), %esi
1:  lodsb                       # other words may stand in front of it
    cmp $'@', %al
    je 2f
    test %al, %al
    jnz 1b
    ret
2:  lodsb
    cmp $'i', %al
    je integer
    cmp $'c', %al
    je calls
    cmp $'m', %al
    je memory
    cmp $'f', %al
    je scalar
    cmp $'s', %al
    je simd
    cmp $'x', %al
    je x87
    cmp $'r', %al
    je moves
    ret                         # n: nothing, for what a start costs

integer:                        # 40 M rounds of 10
    mov $40000000, %ecx
    mov $88172645, %eax
    xor %edi, %edi
1:  mov %eax, %edx
    shl $13, %edx
    xor %edx, %eax
    mov %eax, %edx
    shr $17, %edx
    xor %edx, %eax
    lea 1(%edi,%eax), %edi
    add %edx, %edi
    dec %ecx
    jnz 1b
    ret

calls:                          # 30 M rounds of 7
    mov $30000000, %ecx
1:  push %ecx
    call 2f
    pop %ecx
    dec %ecx
    jnz 1b
    ret
2:  inc %eax
    ret

memory:                         # a sieve's inner loop: 200 times 64 Ki rounds of 4
    mov $200, %ebx
1:  mov $0x10000, %ecx
2:  movzbl 0x800000(%ecx), %eax
    movb $1, 0x800000(%ecx)
    dec %ecx
    jnz 2b
    dec %ebx
    jnz 1b
    ret

scalar:                         # 5 M rounds of 3 and 2
    mov $5000000, %ecx
    movsd one, %xmm0
    movsd factor, %xmm1
    movsd term, %xmm2
1:  mulsd %xmm1, %xmm0
    addsd %xmm2, %xmm0
    divsd %xmm1, %xmm0
    dec %ecx
    jnz 1b
    ret

simd:                           # 2 M rounds of 5 and 2, and memory
    mov $2000000, %ecx
1:  movups 0x800000, %xmm0
    movups 0x800010, %xmm1
    paddd %xmm1, %xmm0
    mulps %xmm1, %xmm0
    movups %xmm0, 0x800020
    dec %ecx
    jnz 1b
    ret

x87:                            # 3 M rounds of 5 and 2
    mov $3000000, %ecx
1:  fldl factor
    fmull one
    faddl term
    fstpl 0x800000
    fwait
    dec %ecx
    jnz 1b
    ret

moves:                          # 4000 times 64 KiB
    mov $4000, %ebx
1:  mov $0x800000, %esi
    mov $0x900000, %edi
    mov $0x10000, %ecx
    rep movsb
    dec %ebx
    jnz 1b
    ret

    .section .rodata
    .align 8
one:    .double 1.0
factor: .double 1.0000001
term:   .double 0.25
