# bench/fill.S: writes to each page from 8 MiB to the end of low RAM, says "F", and waits for another VM generation id: then the machine
# was restored, it says the character 2 and ends with value 0.  (src/fw/layout.h: LAYOUT_VMGENID; Multiboot 0.6.96, 3.3: mem_upper)
.include "start.inc"
main:
    mov 8(%ebx), %ecx           # KiB above 1 MiB
    shr $2, %ecx
    sub $(7 * 256), %ecx        # pages from 8 MiB on
    mov $0x800000, %edi
1:  mov %edi, (%edi)
    add $4096, %edi
    loop 1b
    mov 0xef000, %ebp
    mov $full, %esi
    call puts
2:  pause
    cmp %ebp, 0xef000
    je 2b
    mov $restored, %esi
    call puts
    xor %eax, %eax
    jmp exit
full:     .asciz "F\n"
restored: .asciz "\002\n"
