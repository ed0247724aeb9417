# test/payload/steps.S: prints the numbers from 1 on, one a line, until 'q' comes, which ends it with value 2.  The number is kept in a
# register and in memory; when the two differ it says so and ends with value 3.
.include "start.inc"
main:
    xor %ebp, %ebp
1:  inc %ebp
    incl counter
    cmp %ebp, counter
    jne bad
    mov %ebp, %eax
    mov $digits_end, %edi
2:  xor %edx, %edx
    mov $10, %ecx
    div %ecx
    add $'0', %dl
    dec %edi
    mov %dl, (%edi)
    test %eax, %eax
    jnz 2b
    mov %edi, %esi
    call puts
    mov $400000, %ecx
3:  loop 3b
    mov $0x3fd, %dx
    in %dx, %al
    test $1, %al
    jz 1b
    mov $0x3f8, %dx
    in %dx, %al
    cmp $'q', %al
    jne 1b
    mov $2, %eax
    jmp exit
bad:
    mov $text, %esi
    call puts
    mov $3, %eax
    jmp exit
text: .asciz "register and memory differ\n"
    .section .data
    .align 4
counter: .long 0
    .skip 16
digits_end: .asciz "\n"
